//! The kernel's log of what it measured into a TPM (IMA), as the kernel shows it, as it travels, and what it replays to.
//!
//! As it travels an entry is one of
//!
//! ```text
//! 0, length (2, big-endian), template data    what was measured, with its name
//! 1, SHA-1 of the template data (20), SHA-256 (32)    the same of a file whose name is nobody's business
//! 2                                                   a violation: the kernel could not measure what it should
//! ```
//! so a name outside of the system's own folders never leaves the box, and the register still replays.
//!
//! # Design
//! A register is extended by the SHA-256 of the template data; by kernels before 5.8 by its SHA-1 and zeros. Both are
//! computed beside each other. The log grows while it is read, so a quoted register is looked for after each entry.
//! Source: Linux, `security/integrity/ima/ima_fs.c` and `ima_template.c`; the TCG's canonical form is another one.

use ring::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::wire::Bytes;

/// Its register.
pub const REGISTER: u8 = 10;
/// Longest template data of one entry, bytes: a name and two digests are far shorter.
pub const MAX_DATA: usize = 8 * 1024;
/// Longest name of a template, bytes.
const MAX_TEMPLATE: usize = 64;
/// Where names say nothing of who lives here.
const NAMED: [&[u8]; 7] = [
    b"/usr/",
    b"/lib/",
    b"/lib64/",
    b"/bin/",
    b"/sbin/",
    b"/boot/",
    b"boot_aggregate",
];
/// What a violation extends the register with.
const VIOLATION: [u8; 32] = [0xff; 32];

/// Why bytes are not such a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ImaError {
    /// It ends inside of an entry.
    #[error("the log ends inside an entry")]
    Short,
    /// A rule of the format is broken.
    #[error("not a log of the kernel's measurements: {0}")]
    Rule(&'static str),
}

/// One entry, as it travels.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Entry {
    /// The template data.
    Named(Vec<u8>),
    /// Its two digests.
    Hashed([u8; 20], [u8; 32]),
    /// Something could not be measured.
    Violation,
}

/// Reads the first entry of the kernel's own list (`binary_runtime_measurements`), and gives what follows it; nothing at
/// the end. Entries of other registers than [`REGISTER`] come back as `None`.
///
/// # Errors
/// When the list ends inside of it, or has lengths that no entry has.
#[expect(clippy::type_complexity, reason = "an entry or none, and the rest")]
pub fn first(list: &[u8]) -> Result<Option<(Option<Entry>, &[u8])>, ImaError> {
    if list.is_empty() {
        return Ok(None);
    }
    let (register, rest) = number(list)?;
    let (sha1, rest) = rest.split_first_chunk::<20>().ok_or(ImaError::Short)?;
    let (template, rest) = sized(rest, MAX_TEMPLATE, "the name of a template")?;
    if template == b"ima" {
        return Err(ImaError::Rule("the template of kernels before 3.13"));
    }
    let (data, rest) = sized(rest, MAX_DATA, "the data of an entry")?;
    if register != u32::from(REGISTER) {
        return Ok(Some((None, rest)));
    }
    let entry = if *sha1 == [0; 20] {
        Entry::Violation
    } else if is_named(data) {
        Entry::Named(data.to_vec())
    } else {
        Entry::Hashed(*sha1, hash(data))
    };
    Ok(Some((Some(entry), rest)))
}

fn number(bytes: &[u8]) -> Result<(u32, &[u8]), ImaError> {
    let (number, rest) = bytes.split_first_chunk().ok_or(ImaError::Short)?;
    Ok((u32::from_le_bytes(*number), rest))
}

fn sized<'a>(bytes: &'a [u8], most: usize, what: &'static str) -> Result<(&'a [u8], &'a [u8]), ImaError> {
    let (length, rest) = number(bytes)?;
    let length = usize::try_from(length).ok().filter(|length| *length <= most);
    let length = length.ok_or(ImaError::Rule(what))?;
    rest.split_at_checked(length).ok_or(ImaError::Short)
}

/// Whether the name in template data (its second field: `ima-ng` and those after it) may travel.
fn is_named(data: &[u8]) -> bool {
    let name = || -> Option<&[u8]> {
        let (_, rest) = sized(data, MAX_DATA, "").ok()?;
        Some(sized(rest, MAX_DATA, "").ok()?.0)
    };
    name().is_some_and(|name| NAMED.iter().any(|folder| name.starts_with(folder)))
}

fn hash(data: &[u8]) -> [u8; 32] {
    digest(&SHA256, data).as_ref().try_into().unwrap_or_default()
}

impl Entry {
    /// Appends it, as it travels.
    pub fn write(&self, to: &mut Vec<u8>) {
        match self {
            Entry::Named(data) => {
                to.push(0);
                to.extend(u16::try_from(data.len()).unwrap_or(u16::MAX).to_be_bytes());
                to.extend(data);
            }
            Entry::Hashed(sha1, sha256) => {
                to.push(1);
                to.extend(sha1);
                to.extend(sha256);
            }
            Entry::Violation => to.push(2),
        }
    }

    /// Reads the first one, and gives what follows it; nothing at the end.
    ///
    /// # Errors
    /// When it is not as [`Entry::write`] writes it.
    pub fn read(bytes: &[u8]) -> Result<Option<(Entry, &[u8])>, ImaError> {
        let Some((kind, rest)) = bytes.split_first() else {
            return Ok(None);
        };
        match kind {
            0 => {
                let (length, rest) = rest.split_first_chunk().ok_or(ImaError::Short)?;
                let length = usize::from(u16::from_be_bytes(*length));
                if length > MAX_DATA {
                    return Err(ImaError::Rule("the data of an entry"));
                }
                let (data, rest) = rest.split_at_checked(length).ok_or(ImaError::Short)?;
                Ok(Some((Entry::Named(data.to_vec()), rest)))
            }
            1 => {
                let (sha1, rest) = rest.split_first_chunk().ok_or(ImaError::Short)?;
                let (sha256, rest) = rest.split_first_chunk().ok_or(ImaError::Short)?;
                Ok(Some((Entry::Hashed(*sha1, *sha256), rest)))
            }
            2 => Ok(Some((Entry::Violation, rest))),
            _ => Err(ImaError::Rule("a kind of entry")),
        }
    }

    /// What the register is extended with: by kernels of today, and by those before 5.8.
    fn extended(&self) -> [[u8; 32]; 2] {
        let padded = |sha1: &[u8]| {
            let mut padded = [0; 32];
            for (to, from) in padded.iter_mut().zip(sha1) {
                *to = *from;
            }
            padded
        };
        match self {
            Entry::Named(data) => {
                let sha1 = digest(&SHA1_FOR_LEGACY_USE_ONLY, data);
                [hash(data), padded(sha1.as_ref())]
            }
            Entry::Hashed(sha1, sha256) => [*sha256, padded(sha1)],
            Entry::Violation => {
                let mut old = [0; 32];
                for byte in old.iter_mut().take(20) {
                    *byte = 0xff;
                }
                [VIOLATION, old]
            }
        }
    }
}

/// The register after some entries.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Replay {
    /// How many.
    pub entries: u32,
    /// How many of them were violations.
    pub violations: u32,
    /// The register by kernels of today, and by those before 5.8.
    registers: [Bytes; 2],
}

impl Default for Replay {
    fn default() -> Replay {
        Replay {
            entries: 0,
            violations: 0,
            registers: [Bytes(vec![0; 32]), Bytes(vec![0; 32])],
        }
    }
}

impl Replay {
    /// One entry more.
    pub fn take(&mut self, entry: &Entry) {
        self.entries = self.entries.saturating_add(1);
        self.violations = self
            .violations
            .saturating_add(u32::from(*entry == Entry::Violation));
        for (register, extended) in self.registers.iter_mut().zip(entry.extended()) {
            let both = [register.0.as_slice(), &extended].concat();
            register.0 = hash(&both).to_vec();
        }
    }

    /// Whether the register holds this.
    pub fn gives(&self, register: &[u8; 32]) -> bool {
        self.registers.iter().any(|held| held.0 == register)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An entry as the kernel shows it.
    fn shown(register: u32, name: &str, violation: bool) -> Vec<u8> {
        let field =
            |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_le_bytes(), bytes].concat();
        let digest_ng = [b"sha256:\0".as_slice(), &[7; 32]].concat();
        let data = [field(&digest_ng), field(&[name.as_bytes(), b"\0"].concat())].concat();
        let sha1 = if violation {
            vec![0; 20]
        } else {
            digest(&SHA1_FOR_LEGACY_USE_ONLY, &data).as_ref().to_vec()
        };
        [
            &register.to_le_bytes()[..],
            &sha1,
            &field(b"ima-ng"),
            &field(&data),
        ]
        .concat()
    }

    fn all(mut list: &[u8]) -> Vec<Option<Entry>> {
        let mut entries = Vec::new();
        while let Some((entry, rest)) = first(list).expect("reads") {
            entries.push(entry);
            list = rest;
        }
        entries
    }

    #[test]
    fn names_of_the_system_travel_and_others_only_as_their_digests() {
        let list = [
            shown(10, "boot_aggregate", false),
            shown(10, "/usr/bin/homeward-agent", false),
            shown(10, "/home/anna/diary.txt", false),
            shown(10, "/usr/lib/x", true),
            shown(11, "/usr/lib/other", false),
        ]
        .concat();
        let entries = all(&list);
        assert!(matches!(
            entries.as_slice(),
            [
                Some(Entry::Named(_)),
                Some(Entry::Named(_)),
                Some(Entry::Hashed(..)),
                Some(Entry::Violation),
                None
            ]
        ));
        let mut sent = Vec::new();
        let entries: Vec<Entry> = entries.into_iter().flatten().collect();
        for entry in &entries {
            entry.write(&mut sent);
        }
        assert!(!sent.windows(5).any(|w| w == b"diary"));
        let (mut rest, mut back) = (sent.as_slice(), Vec::new());
        while let Some((entry, after)) = Entry::read(rest).expect("reads") {
            back.push(entry);
            rest = after;
        }
        assert_eq!(back, entries);
        for cut in 1..list.len() {
            let mut rest = &list[..cut];
            while let Ok(Some((_, after))) = first(rest) {
                rest = after;
            }
        }
    }

    /// Extends as a TPM does, by what the kernel of that time gives it.
    fn register(list: &[Vec<u8>], old: bool) -> [u8; 32] {
        list.iter().fold([0; 32], |register, entry| {
            let data = &entry[4 + 20 + 4 + 6 + 4..];
            let extended = match (entry[4..24] == [0; 20], old) {
                (false, false) => hash(data).to_vec(),
                (false, true) => [&entry[4..24], &[0; 12]].concat(),
                (true, false) => vec![0xff; 32],
                (true, true) => [[0xff; 20].as_slice(), &[0; 12]].concat(),
            };
            hash(&[register.as_slice(), &extended].concat())
        })
    }

    #[test]
    fn the_register_replays_for_kernels_old_and_new_and_one_changed_name_shows() {
        let list: Vec<Vec<u8>> = (0..20)
            .map(|n| shown(10, &format!("/usr/bin/{n}"), n == 7))
            .collect();
        let replayed = |list: &[Vec<u8>]| {
            let mut replay = Replay::default();
            for entry in all(&list.concat()).into_iter().flatten() {
                replay.take(&entry);
            }
            replay
        };
        let replay = replayed(&list);
        assert_eq!((replay.entries, replay.violations), (20, 1));
        for old in [false, true] {
            assert!(replay.gives(&register(&list, old)));
            assert!(!replayed(&list[1..]).gives(&register(&list, old)));
        }
        let mut changed = list.clone();
        changed[3] = shown(10, "/usr/bin/evil", false);
        assert!(!replayed(&changed).gives(&register(&list, false)));
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut rest = bytes.as_slice();
            while let Ok(Some((_, after))) = first(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
            let mut rest = bytes.as_slice();
            while let Ok(Some((_, after))) = Entry::read(rest) {
                prop_assert!(after.len() < rest.len());
                rest = after;
            }
        }
    }
}
