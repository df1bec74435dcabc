//! Event logs of real firmware replay to the registers that are known of them, and nothing that was changed does.
#![expect(clippy::disallowed_methods, reason = "shell: tests read the logs")]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use homeward_protocol::event_log::{Bank, EventLog, EventLogError, MAX_LOG};
use homeward_tests::programs::{binary, finish};
use homeward_tests::shared;

type Registers = BTreeMap<(String, u32), String>;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// Every register of the banks whose values are published.
fn replayed(log: &EventLog<'_>) -> Registers {
    let mut all = Registers::new();
    for bank in [Bank::SHA1, Bank::SHA256] {
        for (pcr, value) in log.replay(bank).unwrap_or_default() {
            all.insert((bank.to_string(), pcr), hex(&value));
        }
    }
    all
}

/// Log, and the registers that it must replay to. `expected.txt` says: log, bank, register, value.
fn known(folder: &Path) -> BTreeMap<String, Registers> {
    let text = fs::read_to_string(folder.join("expected.txt")).expect("the expected values");
    let mut all: BTreeMap<String, Registers> = BTreeMap::new();
    for line in text
        .lines()
        .filter(|l| !l.starts_with('#') && !l.trim().is_empty())
    {
        let [log, bank, pcr, value] = line.split_whitespace().collect::<Vec<_>>()[..] else {
            panic!("`{line}` has not four words")
        };
        let bank = bank.to_lowercase().replace('-', "");
        let pcr = pcr.parse().expect("a register");
        all.entry(log.to_owned())
            .or_default()
            .insert((bank, pcr), value.to_lowercase());
    }
    all
}

#[test]
fn every_known_log_replays_to_its_registers() {
    let Some(folder) = shared::data("data/eventlogs") else {
        return;
    };
    let known = known(&folder);
    assert_eq!(
        (known.len(), known.values().map(BTreeMap::len).sum::<usize>()),
        (7, 144)
    );
    for (name, expected) in known {
        let bytes = fs::read(folder.join(&name)).expect("a log");
        let log = EventLog::parse(&bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(replayed(&log), expected, "{name}");
        let sha384 = log.replay(Bank::SHA384);
        assert_eq!(sha384.is_some(), name != "arch-linux-workstation.bin", "{name}");
    }
}

#[test]
fn every_truncation_is_refused_or_gives_other_registers() {
    let Some(folder) = shared::data("data/eventlogs") else {
        return;
    };
    let bytes = fs::read(folder.join("rhel8-uefi.bin")).expect("a log");
    let whole = replayed(&EventLog::parse(&bytes).expect("the whole log"));
    for end in 0..bytes.len() {
        if let Ok(log) = EventLog::parse(&bytes[..end]) {
            assert_ne!(replayed(&log), whole, "cut at {end}");
        }
    }
}

/// A changed bit is refused, or shows in the registers, or lies in data that no longer says what was measured, or in
/// what no register covers (types, and data that is a description only).
#[test]
fn a_changed_bit_is_refused_shows_or_was_never_vouched_for() {
    let Some(folder) = shared::data("data/eventlogs") else {
        return;
    };
    let good = fs::read(folder.join("arch-linux-workstation.bin")).expect("a log");
    let log = EventLog::parse(&good).expect("a log");
    let whole = replayed(&log);
    let vouched: Vec<bool> = log
        .events
        .iter()
        .map(homeward_protocol::event_log::Event::says)
        .collect();
    let (mut refused, mut shown, mut noticed) = (0, 0, 0);
    let mut bytes = good.clone();
    for at in 0..good.len() {
        bytes[at] ^= 1 << (at % 8);
        match EventLog::parse(&bytes) {
            Err(_) => refused += 1,
            Ok(changed) if replayed(&changed) != whole => shown += 1,
            Ok(changed) => {
                for ((before, after), vouched) in log.events.iter().zip(&changed.events).zip(&vouched) {
                    let same_data = before.data == after.data;
                    assert!(
                        same_data || !after.says(),
                        "byte {at}: changed data still vouched for"
                    );
                    noticed += usize::from(!same_data && *vouched);
                }
            }
        }
        bytes[at] = good[at];
    }
    assert!(
        refused > 0 && shown > 0 && noticed > 0,
        "{refused} {shown} {noticed}"
    );
}

#[test]
fn old_and_oversized_logs_are_refused_with_their_reason() {
    assert_eq!(EventLog::parse(b""), Err(EventLogError::NotAgile));
    assert_eq!(EventLog::parse(&[0; 64]), Err(EventLogError::NotAgile));
    assert_eq!(
        EventLog::parse(&vec![0; MAX_LOG + 1]),
        Err(EventLogError::Long(MAX_LOG + 1))
    );
}

/// A log made here, so that each rule can be broken alone.
struct Made(Vec<u8>);

impl Made {
    /// SHA-256 alone.
    fn new() -> Made {
        let mut header = b"Spec ID Event03\0".to_vec();
        header.extend([0, 0, 0, 0, 0, 2, 0, 2, 1, 0, 0, 0, 0x0b, 0, 32, 0, 0]);
        let mut log = [0u32, 3]
            .iter()
            .flat_map(|w| w.to_le_bytes())
            .collect::<Vec<u8>>();
        log.extend([0; 20]);
        log.extend(u32::try_from(header.len()).expect("short").to_le_bytes());
        log.extend(header);
        Made(log)
    }

    fn event(mut self, pcr: u32, kind: u32, digest: u8, data: &[u8]) -> Made {
        for word in [pcr, kind, 1] {
            self.0.extend(word.to_le_bytes());
        }
        self.0.extend([0x0b, 0]);
        self.0.extend([digest; 32]);
        self.0
            .extend(u32::try_from(data.len()).expect("short").to_le_bytes());
        self.0.extend(data);
        self
    }

    fn first_register(&self) -> Option<Vec<u8>> {
        EventLog::parse(&self.0)
            .ok()?
            .replay(Bank::SHA256)?
            .get(&0)
            .cloned()
    }
}

#[test]
fn the_start_up_locality_counts_once_and_before_the_first_measurement() {
    let locality = |n: u8| [b"StartupLocality\0".as_slice(), &[n]].concat();
    let plain = Made::new().event(0, 8, 7, b"x");
    let three = Made::new().event(0, 3, 0, &locality(3)).event(0, 8, 7, b"x");
    assert!(plain.first_register().is_some());
    assert!(three.first_register().is_some());
    assert_ne!(plain.first_register(), three.first_register());
    for bad in [
        Made::new().event(0, 3, 0, &locality(1)),
        Made::new().event(1, 3, 0, &locality(3)),
        Made::new()
            .event(0, 3, 0, &locality(3))
            .event(0, 3, 0, &locality(3)),
        Made::new().event(0, 8, 7, b"x").event(0, 3, 0, &locality(3)),
    ] {
        assert!(matches!(EventLog::parse(&bad.0), Err(EventLogError::Rule { .. })));
    }
}

#[test]
fn lengths_from_the_log_never_overflow_and_registers_have_bounds() {
    let mut huge = Made::new().event(0, 8, 7, b"").0;
    let end = huge.len();
    huge[end - 4..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(EventLog::parse(&huge), Err(EventLogError::Short { .. })));
    let beyond = Made::new().event(24, 8, 7, b"");
    assert!(matches!(
        EventLog::parse(&beyond.0),
        Err(EventLogError::Rule { .. })
    ));
}

/// What the command prints of a file, and how it ends.
fn command(file: &Path) -> (Option<i32>, serde_json::Value) {
    let mut fleet = Command::new(binary("homeward-fleet"));
    fleet.args(["--json", "evidence", "replay"]).arg(file);
    let ended = finish(&mut fleet, b"", Duration::from_mins(1));
    (
        ended.status.code(),
        serde_json::from_str(&ended.stdout).unwrap_or_default(),
    )
}

#[test]
fn the_command_prints_the_registers_of_every_known_log_and_what_it_cannot_vouch_for() {
    let Some(folder) = shared::data("data/eventlogs") else {
        return;
    };
    for (name, expected) in known(&folder) {
        let (code, said) = command(&folder.join(&name));
        assert_eq!((code, &said["ok"]), (Some(0), &true.into()), "{name}");
        for ((bank, register), value) in expected {
            assert_eq!(
                said["banks"][&bank][register.to_string()],
                value,
                "{name} {bank} {register}"
            );
        }
        let cannot = said["cannot_vouch_for"].as_array().expect("a list");
        assert!(cannot.len() >= 3, "{name}: {cannot:?}");
        assert_ne!(said["secure_boot"], "not said", "{name}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let odd = folder.path().join("odd");
    fs::write(&odd, b"no log").expect("writes");
    let (code, said) = command(&odd);
    assert_eq!((code, &said["ok"]), (Some(1), &false.into()));
    assert_eq!(command(&folder.path().join("none")).0, Some(2));
}
