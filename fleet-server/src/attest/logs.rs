//! The logs beside a quote: gathered over several answers, replayed, and held against the registers that were quoted.
//!
//! # Design
//! A box sends what is new since what is held here for its boot, 40 KiB at a time. That the boot is the same is its own
//! word, and costs nothing: whatever is held has to replay to registers that were quoted now. A log that does not is
//! forgotten, so that the next answer brings all of it, and decides.

use std::collections::BTreeMap;

use homeward_protocol::attest::{Held, Nonce};
use homeward_protocol::event_log::{Bank, EventLog, MAX_LOG};
use homeward_protocol::evidence::bundle::{Tail, TpmPart};
use homeward_protocol::ima::{Entry, REGISTER, Replay};
use homeward_protocol::tpm::quote::Registers;
use homeward_protocol::wire::Bytes;
use serde::{Deserialize, Serialize};

use super::{Ima, Log};

/// Most bytes of [`Logs`] as they are kept: a firmware log of which the end is still missing, and little more.
pub const MAX_LOGS: usize = MAX_LOG + 4096;
/// The firmware's registers.
const FIRMWARE: std::ops::RangeInclusive<u8> = 0..=7;

/// What is held of one gateway's logs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Logs {
    /// Of which boot.
    boot: Nonce,
    firmware: Firmware,
    ima: Replay,
    /// How they stood in its newest answer.
    found: (Log, Ima),
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
enum Firmware {
    /// Its beginning.
    Partly(Bytes),
    /// How long it was, and what it replays to.
    Whole(u32, BTreeMap<u8, Bytes>),
}

impl Logs {
    fn begin(boot: Nonce) -> Logs {
        Logs {
            boot,
            firmware: Firmware::Partly(Bytes(Vec::new())),
            ima: Replay::default(),
            found: (Log::None, Ima::None),
        }
    }

    /// What the gateway is told that is held.
    pub fn held(&self) -> Held {
        Held {
            boot: self.boot,
            log_bytes: self.firmware.bytes(),
            ima_entries: self.ima.entries,
        }
    }

    /// How they stood to the registers that were quoted with them: the firmware's and the kernel's.
    pub const fn found(&self) -> (Log, Ima) {
        self.found
    }

    /// Takes what came beside a quote that holds over these registers; says how the firmware's log and the kernel's
    /// stand to them, and what is held now. What was found in a boot is not undone by leaving a log out, or some of it.
    pub fn take(
        before: Option<&Logs>,
        boot: Nonce,
        part: &TpmPart,
        registers: &Registers,
    ) -> (Log, Ima, Logs) {
        let held = before.filter(|logs| logs.boot == boot).cloned();
        let mut logs = held.unwrap_or_else(|| Logs::begin(boot));
        let log = match (logs.found.0, logs.firmware.take(part.log.as_ref(), registers)) {
            (Log::Differs, Log::None | Log::Incomplete) => Log::Differs,
            (Log::Replays | Log::Incomplete, Log::None) => Log::Incomplete,
            (_, now) => now,
        };
        let ima = match (
            logs.found.1,
            take_ima(&mut logs.ima, part.ima.as_ref(), registers),
        ) {
            (bad @ (Ima::Differs | Ima::Violations(_)), Ima::None | Ima::Incomplete) => bad,
            (Ima::Replays | Ima::Incomplete, Ima::None) => Ima::Incomplete,
            (_, now) => now,
        };
        logs.found = (log, ima);
        (log, ima, logs)
    }
}

impl Firmware {
    fn bytes(&self) -> u32 {
        match self {
            Firmware::Partly(bytes) => u32::try_from(bytes.0.len()).unwrap_or(u32::MAX),
            Firmware::Whole(bytes, _) => *bytes,
        }
    }

    fn take(&mut self, tail: Option<&Tail>, registers: &Registers) -> Log {
        let Some(tail) = tail else {
            return Log::None;
        };
        if tail.from == 0 && !tail.bytes.0.is_empty() {
            *self = Firmware::Partly(Bytes(Vec::new()));
        }
        if tail.from != self.bytes() {
            *self = Firmware::Partly(Bytes(Vec::new()));
            return Log::Incomplete;
        }
        let found = self.go_on(tail, registers);
        if found == Log::Differs {
            *self = Firmware::Partly(Bytes(Vec::new()));
        }
        found
    }

    fn go_on(&mut self, tail: &Tail, registers: &Registers) -> Log {
        if let Firmware::Partly(bytes) = self {
            bytes.0.extend_from_slice(&tail.bytes.0);
            let whole = usize::try_from(tail.whole).unwrap_or(usize::MAX);
            if whole > MAX_LOG || bytes.0.len() > whole {
                return Log::Differs;
            }
            if bytes.0.len() < whole {
                return Log::Incomplete;
            }
            match replay(&bytes.0) {
                Some(replayed) => *self = Firmware::Whole(tail.whole, replayed),
                None => return Log::Differs,
            }
        } else if tail.whole != self.bytes() || !tail.bytes.0.is_empty() {
            // Firmware writes its log before the kernel runs.
            return Log::Differs;
        }
        match self {
            Firmware::Whole(_, replayed) if fits(replayed, registers) => Log::Replays,
            _ => Log::Differs,
        }
    }
}

/// The SHA-256 registers that a log touches.
fn replay(log: &[u8]) -> Option<BTreeMap<u8, Bytes>> {
    let replayed = EventLog::parse(log).ok()?.replay(Bank::SHA256)?;
    let register = |(index, value): (u32, Vec<u8>)| Some((u8::try_from(index).ok()?, Bytes(value)));
    Some(replayed.into_iter().filter_map(register).collect())
}

/// Whether the firmware's registers are what the log gives; those that it does not touch are zero.
fn fits(replayed: &BTreeMap<u8, Bytes>, registers: &Registers) -> bool {
    let of_firmware = registers.iter().filter(|(index, _)| FIRMWARE.contains(index));
    of_firmware.into_iter().all(|(index, value)| {
        replayed
            .get(index)
            .map_or(*value == [0; 32], |replayed| replayed.0 == value)
    })
}

fn take_ima(replay: &mut Replay, tail: Option<&Tail>, registers: &Registers) -> Ima {
    let (Some(tail), Some(register)) = (tail, registers.get(&REGISTER)) else {
        return Ima::None;
    };
    if tail.from == 0 {
        *replay = Replay::default();
    }
    if tail.from != replay.entries {
        *replay = Replay::default();
        return Ima::Incomplete;
    }
    let found = follow(replay, tail, register);
    if found == Ima::Differs {
        *replay = Replay::default();
    }
    found
}

/// The log goes on while it is read: the register that was quoted stands after one of its entries.
fn follow(replay: &mut Replay, tail: &Tail, register: &[u8; 32]) -> Ima {
    let mut met = replay.gives(register);
    let mut rest = tail.bytes.0.as_slice();
    loop {
        match Entry::read(rest) {
            Ok(Some((entry, after))) => {
                replay.take(&entry);
                met |= replay.gives(register);
                rest = after;
            }
            Ok(None) => break,
            Err(_) => return Ima::Differs,
        }
    }
    match (met, replay.entries < tail.whole) {
        (true, _) if replay.violations > 0 => Ima::Violations(replay.violations),
        (true, _) => Ima::Replays,
        (false, true) => Ima::Incomplete,
        (false, false) => Ima::Differs,
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::evidence::bundle::Register;

    use super::*;

    const BOOT: Nonce = Nonce([1; 32]);

    /// A log of one bank with as many events for register 4, each of a kilobyte.
    fn firmware(events: u8) -> (Vec<u8>, Registers) {
        let spec = [
            b"Spec ID Event03\0".as_slice(),
            &[0, 0, 0, 0, 0, 2, 0, 2],
            &1u32.to_le_bytes(),
            &[0x0b, 0, 32, 0],
            &[0],
        ]
        .concat();
        let length = |bytes: &[u8]| u32::try_from(bytes.len()).expect("short").to_le_bytes();
        let mut log = [
            &0u32.to_le_bytes()[..],
            &3u32.to_le_bytes(),
            &[0; 20],
            &length(&spec),
            &spec,
        ]
        .concat();
        let mut register = [0u8; 32];
        for n in 0..events {
            let data = vec![n; 1024];
            let digest: [u8; 32] = ring::digest::digest(&ring::digest::SHA256, &data)
                .as_ref()
                .try_into()
                .expect("32");
            let event = [
                &4u32.to_le_bytes()[..],
                &0x0du32.to_le_bytes(),
                &1u32.to_le_bytes(),
                &[0x0b, 0],
                &digest,
                &length(&data),
                &data,
            ];
            log.extend(event.concat());
            let both = [register, digest].concat();
            register.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &both).as_ref());
        }
        (log, Registers::from([(0, [0; 32]), (4, register)]))
    }

    fn part(log: Option<Tail>, ima: Option<Tail>) -> TpmPart {
        TpmPart {
            attest: Bytes(Vec::new()),
            signature: Bytes(Vec::new()),
            registers: Vec::<Register>::new(),
            log,
            ima,
        }
    }

    fn tail(from: usize, whole: usize, bytes: &[u8]) -> Tail {
        Tail {
            from: u32::try_from(from).expect("short"),
            whole: u32::try_from(whole).expect("short"),
            bytes: Bytes(bytes.to_vec()),
        }
    }

    /// Answers in turn, each with what is new to the server, `step` bytes at a time.
    fn answers(log: &[u8], step: usize, registers: &Registers, most: usize) -> Vec<Log> {
        let (mut logs, mut found) = (None::<Logs>, Vec::new());
        for _ in 0..most {
            let from = logs.as_ref().map_or(0, |logs| logs.held().log_bytes) as usize;
            let end = log.len().min(from + step);
            let sent = part(Some(tail(from, log.len(), &log[from..end])), None);
            let (one, _, next) = Logs::take(logs.as_ref(), BOOT, &sent, registers);
            logs = Some(next);
            found.push(one);
        }
        found
    }

    #[test]
    fn a_long_log_comes_in_parts_and_then_only_what_is_new() {
        let (log, registers) = firmware(100);
        assert!(log.len() > 80 * 1024);
        let found = answers(&log, 40 * 1024, &registers, 5);
        assert_eq!(
            found,
            [
                Log::Incomplete,
                Log::Incomplete,
                Log::Replays,
                Log::Replays,
                Log::Replays
            ]
        );
        // Other registers now: what is held is no way around them, and all is asked for again.
        let (_, others) = firmware(99);
        let found = answers(&log, 200 * 1024, &others, 2);
        assert_eq!(found, [Log::Differs, Log::Differs]);
    }

    #[test]
    fn another_boot_begins_anew_and_a_hole_is_asked_for_again() {
        let (log, registers) = firmware(10);
        let whole = part(Some(tail(0, log.len(), &log)), None);
        let (found, _, logs) = Logs::take(None, BOOT, &whole, &registers);
        assert_eq!((found, logs.held().log_bytes as usize), (Log::Replays, log.len()));
        let nothing_new = part(Some(tail(log.len(), log.len(), &[])), None);
        let (found, _, other) = Logs::take(Some(&logs), Nonce([2; 32]), &nothing_new, &registers);
        assert_eq!((found, other.held().log_bytes), (Log::Incomplete, 0));
        let grown = part(Some(tail(log.len(), log.len() + 9, &[0; 9])), None);
        assert_eq!(Logs::take(Some(&logs), BOOT, &grown, &registers).0, Log::Differs);
        assert_eq!(Logs::take(None, BOOT, &part(None, None), &registers).0, Log::None);
    }

    #[test]
    fn what_was_found_in_a_boot_is_not_undone_by_leaving_it_out() {
        let (log, registers) = firmware(10);
        let mut violated = Vec::new();
        Entry::Violation.write(&mut violated);
        let value = ring::digest::digest(&ring::digest::SHA256, &[[0u8; 32], [0xff; 32]].concat());
        let mut registers = registers;
        registers.insert(REGISTER, value.as_ref().try_into().expect("32"));
        let whole = part(Some(tail(0, log.len(), &log)), Some(tail(0, 1, &violated)));
        let (good, bad, logs) = Logs::take(None, BOOT, &whole, &registers);
        assert_eq!((good, bad), (Log::Replays, Ima::Violations(1)));
        let nothing = part(None, None);
        let (left_out, still, after) = Logs::take(Some(&logs), BOOT, &nothing, &registers);
        assert_eq!((left_out, still), (Log::Incomplete, Ima::Violations(1)));
        let (_, still, _) = Logs::take(Some(&after), BOOT, &nothing, &registers);
        assert_eq!(still, Ima::Violations(1));

        let (_, others) = firmware(9);
        let (differs, _, logs) = Logs::take(None, BOOT, &whole, &others);
        assert_eq!(differs, Log::Differs);
        let hole = part(Some(tail(5, log.len(), &log[5..])), None);
        for less in [&nothing, &hole] {
            let (still, _, kept) = Logs::take(Some(&logs), BOOT, less, &others);
            assert_eq!((still, kept.held().log_bytes), (Log::Differs, 0));
        }
        // All of it again decides, and another boot is another story.
        assert_eq!(Logs::take(Some(&logs), BOOT, &whole, &registers).0, Log::Replays);
        let other = Logs::take(Some(&logs), Nonce([2; 32]), &nothing, &others);
        assert_eq!(other.0, Log::None);
    }

    #[test]
    fn the_kernel_s_log_is_followed_to_the_quoted_register_and_not_past_it() {
        let entries: Vec<Entry> = (0..30).map(|n| Entry::Hashed([n; 20], [n; 32])).collect();
        let register = |count: usize| {
            let mut replay = Replay::default();
            for entry in &entries[..count] {
                replay.take(entry);
            }
            // The register of a kernel of today.
            let mut value = [0u8; 32];
            for entry in &entries[..count] {
                let Entry::Hashed(_, sha256) = entry else {
                    unreachable!("all are")
                };
                let both = [value, *sha256].concat();
                value.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &both).as_ref());
            }
            assert!(replay.gives(&value));
            Registers::from([(10, value)])
        };
        let sent = |from: usize, to: usize, whole: usize| {
            let mut bytes = Vec::new();
            for entry in &entries[from..to] {
                entry.write(&mut bytes);
            }
            part(None, Some(tail(from, whole, &bytes)))
        };
        // Ten were there at the quote, twelve when the log was read.
        let (_, found, logs) = Logs::take(None, BOOT, &sent(0, 12, 12), &register(10));
        assert_eq!((found, logs.held().ima_entries), (Ima::Replays, 12));
        let (_, found, logs) = Logs::take(Some(&logs), BOOT, &sent(12, 20, 30), &register(25));
        assert_eq!((found, logs.held().ima_entries), (Ima::Incomplete, 20));
        let (_, found, _) = Logs::take(Some(&logs), BOOT, &sent(20, 30, 30), &register(25));
        assert_eq!(found, Ima::Replays);
        // An entry was left out.
        let (_, found, again) = Logs::take(Some(&logs), BOOT, &sent(21, 30, 30), &register(25));
        assert_eq!((found, again.held().ima_entries), (Ima::Incomplete, 0));
        let mut lied = sent(20, 30, 30);
        lied.ima = lied.ima.map(|tail| Tail {
            bytes: Bytes(tail.bytes.0[53..].to_vec()),
            whole: 29,
            ..tail
        });
        assert_eq!(
            Logs::take(Some(&logs), BOOT, &lied, &register(25)).1,
            Ima::Differs
        );
        let mut violated = Vec::new();
        Entry::Violation.write(&mut violated);
        let with = part(None, Some(tail(0, 1, &violated)));
        let mut replay = Replay::default();
        replay.take(&Entry::Violation);
        let value = ring::digest::digest(&ring::digest::SHA256, &[[0u8; 32], [0xff; 32]].concat());
        let registers = Registers::from([(10, value.as_ref().try_into().expect("32"))]);
        assert_eq!(Logs::take(None, BOOT, &with, &registers).1, Ima::Violations(1));
    }
}
