//! The list of software on a box, as it travels and is kept; [`cyclonedx`] makes an SBOM of it.
//!
//! # Design
//! - What travels is the list, not the SBOM: 840 packages are 50 KB instead of 400 KB, every field is parsed at the
//!   door, nothing has to be unpacked (so nothing can explode), and the server can ask "which boxes have X".
//! - It is named by the hash of its bytes, which are the same for the same software: boxes of one make share one list,
//!   and it travels only when its hash is not the one that was sent.
//! - It goes up in pieces that fit records of the outbox.

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::facts::Mark;
use crate::wire::{self, Bytes, WireError};

pub mod cyclonedx;

/// Most components of a list: a full desktop has some 3,000.
pub const MAX_COMPONENTS: usize = 16_384;
/// Most bytes of a list.
pub const MAX_INVENTORY: usize = MAX_PIECES as usize * MAX_PIECE;
/// Most bytes of one piece.
pub const MAX_PIECE: usize = 40 * 1024;
/// Most pieces.
pub const MAX_PIECES: u16 = 40;
/// Longest name, version, architecture or source, bytes.
pub const MAX_WORD: usize = 128;

/// Where a component comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Kind {
    /// A package of dpkg.
    Deb,
    /// A package of RPM.
    Rpm,
    /// A package of opkg.
    Ipk,
    /// A package of Alpine's apk.
    Apk,
    /// A program of ours.
    Program,
    /// A Rust crate that a program of ours is built of.
    Crate,
}

impl Kind {
    /// The word on the wire and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Deb => "deb",
            Kind::Rpm => "rpm",
            Kind::Ipk => "ipk",
            Kind::Apk => "apk",
            Kind::Program => "program",
            Kind::Crate => "crate",
        }
    }
}

/// A word of a package's description: 1 to [`MAX_WORD`] printable bytes without blanks.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Word(String);

impl Word {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for Word {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Word, &'static str> {
        Word::try_from(text.to_owned())
    }
}

impl TryFrom<String> for Word {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Word, &'static str> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        if plain && !text.is_empty() && text.len() <= MAX_WORD {
            Ok(Word(text))
        } else {
            Err("a word of a package is 1 to 128 printable characters")
        }
    }
}

impl From<Word> for String {
    fn from(word: Word) -> String {
        word.0
    }
}

/// One piece of software. On the wire a list of its five fields.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "Row", into = "Row")]
pub struct Component {
    /// Where it comes from.
    pub kind: Kind,
    /// Its name.
    pub name: Word,
    /// Its version, as its own packaging writes it.
    pub version: Word,
    /// Architecture of a package; of a program of ours, the SHA-256 of its file.
    pub arch: Option<Word>,
    /// The source package's name and version, where they differ from the package's.
    pub origin: Option<(Word, Word)>,
}

type Row = (Kind, Word, Word, Option<Word>, Option<(Word, Word)>);

impl From<Row> for Component {
    fn from((kind, name, version, arch, origin): Row) -> Component {
        Component {
            kind,
            name,
            version,
            arch,
            origin,
        }
    }
}

impl From<Component> for Row {
    fn from(c: Component) -> Row {
        (c.kind, c.name, c.version, c.arch, c.origin)
    }
}

/// The software of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Inventory {
    /// `ID` and `VERSION_ID` of `/etc/os-release`.
    pub system: (Word, Option<Word>),
    /// In order, each once.
    pub components: Vec<Component>,
}

impl Inventory {
    /// This software, in order; what is more than [`MAX_COMPONENTS`] is left out.
    pub fn new(system: (Word, Option<Word>), mut components: Vec<Component>) -> Inventory {
        components.sort_unstable();
        components.dedup();
        components.truncate(MAX_COMPONENTS);
        Inventory { system, components }
    }

    /// As it is kept and hashed.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_INVENTORY)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<Inventory, WireError> {
        let read: Inventory = wire::decode(bytes, MAX_INVENTORY)?;
        let ordered = read.components.windows(2).all(|two| two[0] < two[1]);
        if ordered && read.components.len() <= MAX_COMPONENTS {
            Ok(read)
        } else {
            Err(WireError::Rule(
                "the components of a list stand in order, each once",
            ))
        }
    }
}

/// The name of a list of software: the first 16 bytes of SHA-256 over its bytes.
pub fn name(bytes: &[u8]) -> Mark {
    let mut mark = [0; 16];
    mark.copy_from_slice(&digest(&SHA256, bytes).as_ref()[..16]);
    Mark(mark)
}

/// A piece of a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Piece {
    /// Of which list.
    pub of: Mark,
    /// Which piece, from 0.
    pub part: u16,
    /// How many there are.
    pub parts: u16,
    /// Its bytes.
    pub bytes: Bytes,
}

impl Piece {
    /// Whether it keeps its limits.
    pub fn check(&self) -> Result<(), WireError> {
        let sized = !self.bytes.0.is_empty() && self.bytes.0.len() <= MAX_PIECE;
        if self.part < self.parts && self.parts <= MAX_PIECES && sized {
            Ok(())
        } else {
            Err(WireError::Rule("a piece of a list of software that cannot be"))
        }
    }
}

/// The pieces of a list's bytes.
pub fn pieces(bytes: &[u8]) -> Vec<Piece> {
    let of = name(bytes);
    let parts = u16::try_from(bytes.len().div_ceil(MAX_PIECE)).unwrap_or(u16::MAX);
    let piece = |(part, bytes): (u16, &[u8])| Piece {
        of,
        part,
        parts,
        bytes: Bytes(bytes.to_vec()),
    };
    (0..).zip(bytes.chunks(MAX_PIECE)).map(piece).collect()
}

/// Puts pieces of one list together, in any order. `None` until all are there and their hash is the list's name.
pub fn joined(of: Mark, mut pieces: Vec<Piece>) -> Option<Vec<u8>> {
    let parts = pieces.first()?.parts;
    pieces.retain(|piece| piece.of == of && piece.parts == parts);
    pieces.sort_by_key(|piece| piece.part);
    pieces.dedup_by_key(|piece| piece.part);
    if pieces.len() != usize::from(parts) {
        return None;
    }
    let bytes: Vec<u8> = pieces.into_iter().flat_map(|piece| piece.bytes.0).collect();
    (name(&bytes) == of).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn word(text: &str) -> Word {
        text.parse().expect("a word")
    }

    fn list(count: usize) -> Inventory {
        let one = |n: usize| Component {
            kind: Kind::Deb,
            name: word(&format!("package-number-{n}")),
            version: word("1:2.36-9+deb12u14"),
            arch: Some(word("amd64")),
            origin: Some((word("source-of-it"), word("2.36-9+deb12u14"))),
        };
        Inventory::new((word("debian"), Some(word("12"))), (0..count).map(one).collect())
    }

    #[test]
    fn pieces_in_any_order_make_the_list_again_and_a_changed_one_makes_none() {
        let bytes = list(2000).encode().expect("it fits");
        let mut all = pieces(&bytes);
        assert!(all.len() > 1 && all.iter().all(|piece| piece.check().is_ok()));
        all.reverse();
        let twice: Vec<Piece> = all.iter().chain(&all).cloned().collect();
        assert_eq!(joined(name(&bytes), twice), Some(bytes.clone()));
        assert_eq!(joined(name(&bytes), all[1..].to_vec()), None);
        all[0].bytes.0[7] ^= 1;
        assert_eq!(joined(name(&bytes), all), None);
        assert_eq!(joined(name(&bytes), Vec::new()), None);
    }

    #[test]
    fn a_list_reads_back_and_one_in_disorder_does_not() {
        let mut made = list(3);
        let bytes = made.encode().expect("it fits");
        assert_eq!(Inventory::decode(&bytes).expect("reads"), made);
        made.components.reverse();
        let bytes = made.encode().expect("it fits");
        assert!(Inventory::decode(&bytes).is_err());
        assert!(
            "a b".parse::<Word>().is_err() && "".parse::<Word>().is_err() && "é".parse::<Word>().is_err()
        );
    }
}
