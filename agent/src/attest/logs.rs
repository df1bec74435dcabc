//! Shell: the logs of what was measured into the TPM, from where the server stopped: the firmware's and the kernel's.
//!
//! Both are closed to everybody but root when the kernel starts; `tmpfiles.conf` of the package opens them to the group
//! `tss`, whose members may use the TPM and so are believed with what it was given. A log that cannot be read is left
//! out, and the server says so.
#![expect(clippy::disallowed_methods, reason = "shell: files of the kernel")]

use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use homeward_protocol::event_log::MAX_LOG;
use homeward_protocol::evidence::bundle::{MAX_TAIL, Tail};
use homeward_protocol::ima::first;
use homeward_protocol::wire::Bytes;

/// Most bytes of the kernel's log that are read, some 40,000 entries: what is longer is left out from there on, and the
/// server says that it is incomplete.
const MOST_IMA: u64 = 4 << 20;

/// Where the logs are.
#[derive(Debug, Clone)]
pub struct Places {
    /// The firmware's.
    pub firmware: PathBuf,
    /// The kernel's, when it measures what it runs.
    pub kernel: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            firmware: "/sys/kernel/security/tpm0/binary_bios_measurements".into(),
            kernel: "/sys/kernel/security/ima/binary_runtime_measurements".into(),
        }
    }
}

impl Places {
    /// Whether the kernel measures what it runs: more than its first entry, which says only what booted.
    pub fn kernel_measures(&self) -> bool {
        read(&self.kernel, MOST_IMA).is_some_and(|list| entries(&list) > 1)
    }

    /// What is new of both: of the firmware's from this byte on, of the kernel's from this entry on. Together they fit an
    /// answer; the rest follows with the next.
    pub fn since(&self, bytes: u32, entries: u32, kernel: bool) -> (Option<Tail>, Option<Tail>) {
        let firmware = read(&self.firmware, MAX_LOG as u64).and_then(|log| firmware(&log, bytes));
        let taken = firmware.as_ref().map_or(0, |tail| tail.bytes.0.len());
        let room = MAX_TAIL.saturating_sub(taken);
        let list = kernel.then(|| read(&self.kernel, MOST_IMA + 1)).flatten();
        (firmware, list.map(|list| ima(&list, entries, room)))
    }
}

fn read(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(most).read_to_end(&mut bytes).ok()?;
    (!bytes.is_empty()).then_some(bytes)
}

/// From `from` on, or all of it when it is no longer than that.
fn firmware(log: &[u8], from: u32) -> Option<Tail> {
    let at = usize::try_from(from)
        .ok()
        .filter(|at| *at <= log.len())
        .unwrap_or(0);
    let end = log.len().min(at.saturating_add(MAX_TAIL));
    Some(Tail {
        from: u32::try_from(at).ok()?,
        whole: u32::try_from(log.len()).ok()?,
        bytes: Bytes(log.get(at..end)?.to_vec()),
    })
}

fn entries(mut list: &[u8]) -> u32 {
    let mut count = 0u32;
    while let Ok(Some((entry, rest))) = first(list) {
        count = count.saturating_add(u32::from(entry.is_some()));
        list = rest;
    }
    count
}

fn ima(mut list: &[u8], from: u32, room: usize) -> Tail {
    let from = if from > entries(list) { 0 } else { from };
    let cut = list.len() as u64 > MOST_IMA;
    let (mut count, mut bytes, mut full) = (0u32, Vec::new(), false);
    let ended = loop {
        let (entry, rest) = match first(list) {
            Ok(Some(next)) => next,
            ended => break ended.is_ok() && !cut,
        };
        if let Some(entry) = entry {
            if count >= from && !full {
                let before = bytes.len();
                entry.write(&mut bytes);
                full = bytes.len() > room;
                if full {
                    bytes.truncate(before);
                }
            }
            count = count.saturating_add(1);
        }
        list = rest;
    };
    Tail {
        from,
        // What cannot be read is at least one entry more: the server then finds the log incomplete, not forged.
        whole: count.saturating_add(u32::from(!ended)),
        bytes: Bytes(bytes),
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::ima::{Entry, Replay};

    use super::*;

    fn shown(n: u32) -> Vec<u8> {
        let field =
            |bytes: &[u8]| [&u32::try_from(bytes.len()).expect("short").to_le_bytes(), bytes].concat();
        let data = [field(&[7; 40]), field(format!("/usr/bin/{n}\0").as_bytes())].concat();
        [
            &10u32.to_le_bytes()[..],
            &[1; 20],
            &field(b"ima-ng"),
            &field(&data),
        ]
        .concat()
    }

    #[test]
    fn the_firmware_s_log_goes_up_in_parts_and_a_shorter_one_from_its_beginning() {
        let log: Vec<u8> = (0..100_000u32)
            .map(|n| u8::try_from(n % 251).unwrap_or(0))
            .collect();
        let (mut sent, mut at) = (Vec::new(), 0);
        for _ in 0..3 {
            let tail = firmware(&log, at).expect("a part");
            assert_eq!((tail.from, tail.whole), (at, 100_000));
            at += u32::try_from(tail.bytes.0.len()).expect("short");
            sent.extend(tail.bytes.0);
        }
        assert_eq!(sent, log);
        assert!(firmware(&log, at).expect("nothing new").bytes.0.is_empty());
        assert_eq!(firmware(&log, 100_001).expect("another log").from, 0);
    }

    #[test]
    fn the_kernel_s_log_goes_up_entry_by_entry_within_its_room() {
        let list: Vec<u8> = (0..1000).flat_map(shown).collect();
        let (mut replay, mut at, mut answers) = (Replay::default(), 0, 0);
        while at < 1000 {
            let tail = ima(&list, at, 10_000);
            assert!(tail.bytes.0.len() <= 10_000 && tail.from == at && tail.whole == 1000);
            let mut rest = tail.bytes.0.as_slice();
            while let Some((entry, after)) = Entry::read(rest).expect("reads") {
                replay.take(&entry);
                rest = after;
            }
            at = replay.entries;
            answers += 1;
        }
        assert!((5..15).contains(&answers), "{answers}");
        let mut whole = Replay::default();
        let mut rest = list.as_slice();
        while let Some((entry, after)) = first(rest).expect("reads") {
            whole.take(&entry.expect("of the register"));
            rest = after;
        }
        assert_eq!(replay, whole);
        assert!(ima(&list, 1000, 10_000).bytes.0.is_empty());
        assert_eq!(ima(&list, 2000, 10_000).from, 0, "another list");
    }

    #[test]
    fn a_kernel_s_log_that_cannot_be_read_to_its_end_is_said_to_be_longer() {
        let list: Vec<u8> = (0..10).flat_map(shown).collect();
        assert_eq!(ima(&list, 0, 10_000).whole, 10);
        let (mut cut, mut odd) = (list.clone(), list.clone());
        cut.extend(shown(10).split_last().expect("an entry").1);
        odd.extend([&10u32.to_le_bytes()[..], &[1; 20], &u32::MAX.to_le_bytes()].concat());
        for list in [cut, odd] {
            assert_eq!(ima(&list, 0, 10_000).whole, 11);
            let rest = ima(&list, 10, 10_000);
            assert!(rest.from == 10 && rest.whole == 11 && rest.bytes.0.is_empty());
        }
        // More than is read, cut between two entries.
        let one = shown(1);
        let count = usize::try_from(MOST_IMA).expect("small") / one.len() + 1;
        let whole = ima(&one.repeat(count), 0, 10_000).whole;
        assert_eq!(usize::try_from(whole).expect("small"), count + 1);
    }
}
