//! The firmware's log of what it measured into a TPM, and the registers (PCRs) that it replays to.
//!
//! # Design
//! A log proves nothing by itself: its registers do, once they equal quoted ones. Only digests are covered by them,
//! never event types, and event data only where its digest is the hash of it ([`Event::says`]). So replay first, compare
//! with the quote, and look at events only then. Logs with SHA-1 alone (no "Spec ID Event03" header) are refused:
//! nothing that is built today measures so.
//!
//! Source: TCG PC Client Platform Firmware Profile 1.06, sections 10.2 (structures) and 3.3.2 (start-up locality).

pub mod secure_boot;

use std::collections::BTreeMap;
use std::fmt;

use ring::digest;

/// Longest log, bytes: real ones have 15 to 130 KiB.
pub const MAX_LOG: usize = 1024 * 1024;
/// Most events after the header: real ones have some hundred.
pub const MAX_EVENTS: usize = 4096;
/// Most banks that one log may hold: the TCG has assigned fewer hash algorithms.
pub const MAX_BANKS: usize = 8;
/// Registers of a PC client TPM.
pub const REGISTERS: u32 = 24;

const NO_ACTION: u32 = 3;
const SPEC_ID: &[u8; 16] = b"Spec ID Event03\0";
const STARTUP_LOCALITY: &[u8; 16] = b"StartupLocality\0";

/// A hash algorithm of a bank, by its TPM number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Bank(pub u16);

impl Bank {
    /// SHA-1.
    pub const SHA1: Bank = Bank(0x0004);
    /// SHA-256.
    pub const SHA256: Bank = Bank(0x000b);
    /// SHA-384.
    pub const SHA384: Bank = Bank(0x000c);
    /// SHA-512.
    pub const SHA512: Bank = Bank(0x000d);

    fn algorithm(self) -> Option<&'static digest::Algorithm> {
        match self {
            Bank::SHA1 => Some(&digest::SHA1_FOR_LEGACY_USE_ONLY),
            Bank::SHA256 => Some(&digest::SHA256),
            Bank::SHA384 => Some(&digest::SHA384),
            Bank::SHA512 => Some(&digest::SHA512),
            Bank(_) => None,
        }
    }

    /// Whether its registers can be computed here.
    pub fn is_known(self) -> bool {
        self.algorithm().is_some()
    }
}

impl fmt::Display for Bank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Bank::SHA1 => f.write_str("sha1"),
            Bank::SHA256 => f.write_str("sha256"),
            Bank::SHA384 => f.write_str("sha384"),
            Bank::SHA512 => f.write_str("sha512"),
            Bank(other) => write!(f, "algorithm-{other:#06x}"),
        }
    }
}

/// One measurement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event<'a> {
    /// Into which register.
    pub pcr: u32,
    /// What kind, as the firmware says; no register covers it, so it is a hint.
    pub kind: u32,
    /// One digest a bank, in the order of the log's header.
    pub digests: Vec<(Bank, &'a [u8])>,
    /// What was measured, or a description of it.
    pub data: &'a [u8],
}

impl Event<'_> {
    /// Whether the data is what was measured: in every known bank the digest is the hash of it. Only then may the data
    /// be believed, and only after the replayed registers equalled quoted ones.
    pub fn says(&self) -> bool {
        let mut known = self
            .digests
            .iter()
            .filter_map(|(bank, digest)| Some((bank.algorithm()?, *digest)))
            .peekable();
        known.peek().is_some()
            && known.all(|(algorithm, digest)| digest::digest(algorithm, self.data).as_ref() == digest)
    }
}

/// A log that reads to its end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventLog<'a> {
    /// The banks that the header announces.
    pub banks: Vec<Bank>,
    /// The locality in which the TPM was started, when the log says so.
    pub locality: Option<u8>,
    /// The events after the header, in order.
    pub events: Vec<Event<'a>>,
}

/// Why bytes are no event log. Offsets count from the start of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EventLogError {
    /// Longer than [`MAX_LOG`].
    #[error("an event log has at most {MAX_LOG} bytes, this has {0}")]
    Long(usize),
    /// It ends inside of something.
    #[error("the log ends inside the {part} that begins at byte {at}")]
    Short {
        /// Inside of what.
        part: &'static str,
        /// Where that begins.
        at: usize,
    },
    /// It begins with another header than "Spec ID Event03": SHA-1 only, or no event log at all.
    #[error("this is no log of the crypto-agile form (its first event is not \"Spec ID Event03\")")]
    NotAgile,
    /// A rule of the format is broken.
    #[error("at byte {at}: {rule}")]
    Rule {
        /// Where.
        at: usize,
        /// Which.
        rule: &'static str,
    },
}

impl<'a> EventLog<'a> {
    /// Reads a log (`binary_bios_measurements`), little-endian as it lies. Never panics.
    pub fn parse(bytes: &'a [u8]) -> Result<EventLog<'a>, EventLogError> {
        if bytes.len() > MAX_LOG {
            return Err(EventLogError::Long(bytes.len()));
        }
        let mut from = Reader { bytes, at: 0 };
        let sizes = header(&mut from)?;
        let mut log = EventLog {
            banks: sizes.iter().map(|(bank, _)| *bank).collect(),
            locality: None,
            events: Vec::new(),
        };
        while from.at < bytes.len() {
            log.take(event(&mut from, &sizes)?, from.at)?;
        }
        Ok(log)
    }

    fn take(&mut self, event: Event<'a>, at: usize) -> Result<(), EventLogError> {
        let rule = |rule| Err(EventLogError::Rule { at, rule });
        if self.events.len() >= MAX_EVENTS {
            return rule("more events than any firmware makes");
        }
        if event.kind == NO_ACTION
            && let Some(locality) = event.data.strip_prefix(STARTUP_LOCALITY)
        {
            let measured = |e: &Event<'_>| e.pcr == 0 && e.kind != NO_ACTION;
            match locality {
                [0 | 3 | 4] if event.pcr == 0 && self.locality.is_none() => {}
                _ => {
                    return rule(
                        "a start-up locality that is not one of 0, 3, 4, not alone, or not of register 0",
                    );
                }
            }
            if self.events.iter().any(measured) {
                return rule("a start-up locality after the first measurement of register 0");
            }
            self.locality = locality.first().copied();
        }
        self.events.push(event);
        Ok(())
    }

    /// The registers of a bank that the log touches, after all its events; none for a bank that it does not hold or
    /// whose algorithm is not known here.
    pub fn replay(&self, bank: Bank) -> Option<BTreeMap<u32, Vec<u8>>> {
        let algorithm = bank.algorithm().filter(|_| self.banks.contains(&bank))?;
        let zero = vec![0; algorithm.output_len()];
        let mut registers: BTreeMap<u32, Vec<u8>> = BTreeMap::new();
        for event in self.events.iter().filter(|e| e.kind != NO_ACTION) {
            let register = registers.entry(event.pcr).or_insert_with(|| {
                let mut start = zero.clone();
                if let (0, Some(last), Some(locality)) = (event.pcr, start.last_mut(), self.locality) {
                    *last = locality;
                }
                start
            });
            let extended = event.digests.iter().find(|(b, _)| *b == bank)?.1;
            let mut ctx = digest::Context::new(algorithm);
            ctx.update(register);
            ctx.update(extended);
            *register = ctx.finish().as_ref().to_vec();
        }
        Some(registers)
    }
}

/// The banks and the sizes of their digests. An old SHA-1 log, or anything else, has no such header.
fn header(from: &mut Reader<'_>) -> Result<Vec<(Bank, usize)>, EventLogError> {
    let data = first(from).map_err(|_| EventLogError::NotAgile)?;
    let Some(data) = data.filter(|d| d.starts_with(SPEC_ID)) else {
        return Err(EventLogError::NotAgile);
    };
    let mut inner = Reader {
        bytes: data,
        at: SPEC_ID.len(),
    };
    inner.take(8, "header")?; // platform class, version, errata, size of UINTN
    banks(&mut inner)
}

/// The data of the first event, which has the old form; none when it measures something.
fn first<'a>(from: &mut Reader<'a>) -> Result<Option<&'a [u8]>, EventLogError> {
    let (pcr, kind) = (from.u32("header")?, from.u32("header")?);
    from.take(20, "header")?; // a SHA-1 digest, zero
    let size = from.u32("header")? as usize;
    let data = from.take(size, "header")?;
    Ok((pcr == 0 && kind == NO_ACTION).then_some(data))
}

fn banks(from: &mut Reader<'_>) -> Result<Vec<(Bank, usize)>, EventLogError> {
    let count = from.u32("list of banks")? as usize;
    let rule = |at, rule| Err(EventLogError::Rule { at, rule });
    if !(1..=MAX_BANKS).contains(&count) {
        return rule(from.at, "a number of banks that no TPM has");
    }
    let mut sizes = Vec::with_capacity(count);
    for _ in 0..count {
        let (bank, size) = (Bank(from.u16("bank")?), usize::from(from.u16("bank")?));
        if bank.algorithm().is_some_and(|a| a.output_len() != size) || !(1..=64).contains(&size) {
            return rule(from.at, "a digest size that is not the one of its algorithm");
        }
        if sizes.iter().any(|(known, _)| *known == bank) {
            return rule(from.at, "a bank that is listed twice");
        }
        sizes.push((bank, size));
    }
    let vendor = usize::from(from.u8("vendor information")?);
    from.take(vendor, "vendor information")?;
    if from.at != from.bytes.len() {
        return rule(from.at, "something behind the vendor information of the header");
    }
    Ok(sizes)
}

fn event<'a>(from: &mut Reader<'a>, sizes: &[(Bank, usize)]) -> Result<Event<'a>, EventLogError> {
    let at = from.at;
    let rule = |rule| Err(EventLogError::Rule { at, rule });
    let (pcr, kind) = (from.u32("event")?, from.u32("event")?);
    if pcr >= REGISTERS {
        return rule("a register that no TPM has");
    }
    if from.u32("event")? as usize != sizes.len() {
        return rule("another number of digests than the header announces");
    }
    let mut digests: Vec<(Bank, &[u8])> = Vec::with_capacity(sizes.len());
    for _ in sizes {
        let bank = Bank(from.u16("digest")?);
        let Some((_, size)) = sizes.iter().find(|(known, _)| *known == bank) else {
            return rule("a digest of a bank that the header does not announce");
        };
        if digests.iter().any(|(had, _)| *had == bank) {
            return rule("two digests of one bank");
        }
        digests.push((bank, from.take(*size, "digest")?));
    }
    let size = from.u32("event data")? as usize;
    let data = from.take(size, "event data")?;
    Ok(Event {
        pcr,
        kind,
        digests,
        data,
    })
}

/// Bytes from front to back; every length is checked against what is left.
struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize, part: &'static str) -> Result<&'a [u8], EventLogError> {
        let taken = self
            .at
            .checked_add(count)
            .and_then(|end| self.bytes.get(self.at..end))
            .ok_or(EventLogError::Short { part, at: self.at })?;
        self.at += count;
        Ok(taken)
    }

    fn u8(&mut self, part: &'static str) -> Result<u8, EventLogError> {
        Ok(self.take(1, part)?.first().copied().unwrap_or(0))
    }

    fn u16(&mut self, part: &'static str) -> Result<u16, EventLogError> {
        let bytes = self.take(2, part)?;
        Ok(u16::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }

    fn u32(&mut self, part: &'static str) -> Result<u32, EventLogError> {
        let bytes = self.take(4, part)?;
        Ok(u32::from_le_bytes(bytes.try_into().unwrap_or_default()))
    }
}
