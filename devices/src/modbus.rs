//! Registers to samples: which questions to ask for a profile, and what the words of an answer mean.

pub mod bus;
pub mod frame;
mod identity;
pub mod role;
pub mod serial;
pub mod tcp;
pub mod tls;
mod wire;
mod write;

use std::fmt;

use homeward_protocol::reading::{Quality, Value};
use homeward_protocol::unit::Decimal;

use crate::exact::Exact;
use crate::link::LinkError;
use crate::profile::{Format, Function, Meaning, Number, Profile, Register, WordOrder};
use crate::sample::Sample;
use crate::unit::Conversion;

pub use identity::Identity;
pub use write::Write;

/// What can be put to a device.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// To read registers.
    Read(Request),
    /// To write. The agent never does so by itself.
    Write(Write),
    /// Who it is, from that object on (function 43/14, basic level).
    Identify(u8),
}

/// What a device answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The words: as many as were asked for.
    Words(Vec<u16>),
    /// The write was confirmed.
    Written,
    /// Part of who it is.
    Identity(Identity),
}

impl Answer {
    /// The words of a read; none when it is an answer to something else.
    pub fn words(self) -> Option<Vec<u16>> {
        match self {
            Answer::Words(words) => Some(words),
            Answer::Written | Answer::Identity(_) => None,
        }
    }
}

/// One question: `count` registers from `address` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Request {
    /// The read function.
    pub function: Function,
    /// The number in the frame of the first register.
    pub address: u16,
    /// How many registers; at least 1.
    pub count: u16,
}

impl Request {
    /// One past the last register.
    const fn end(self) -> u32 {
        self.address as u32 + self.count as u32
    }

    fn covers(self, register: &Register) -> bool {
        self.function == register.function && self.address <= register.address && register.end() <= self.end()
    }
}

impl fmt::Display for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Request {
            function,
            address,
            count,
        } = self;
        write!(f, "function {} address {address} count {count}", function.code())
    }
}

/// The questions that read every register of `profile`, fewest first: neighbours travel together as far as the
/// profile's `most_registers` and `widest_gap` allow.
pub fn requests(profile: &Profile) -> Vec<Request> {
    let mut registers: Vec<&Register> = profile.registers.iter().collect();
    registers.sort_by_key(|r| (r.function, r.address));
    let mut out: Vec<Request> = Vec::new();
    for register in registers {
        match out.last_mut() {
            Some(last) if joins(profile, *last, register) => {
                last.count = u16::try_from(register.end() - u32::from(last.address)).unwrap_or(last.count);
            }
            _ => out.push(Request {
                function: register.function,
                address: register.address,
                count: register.format.words(),
            }),
        }
    }
    out
}

fn joins(profile: &Profile, last: Request, register: &Register) -> bool {
    let gap = u32::from(register.address).saturating_sub(last.end());
    let span = register.end().saturating_sub(u32::from(last.address));
    last.function == register.function
        && gap <= u32::from(profile.widest_gap)
        && span <= u32::from(profile.most_registers)
}

/// The names of the registers that `request` reads, for errors.
pub fn names(profile: &Profile, request: Request) -> String {
    let mut covered = profile.registers.iter().filter(|r| request.covers(r));
    match (covered.next(), covered.next_back()) {
        (Some(only), None) => only.name.clone(),
        (Some(first), Some(last)) => format!("{} to {}", first.name, last.name),
        (None, _) => request.to_string(),
    }
}

/// What one answer told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Decoded {
    /// The values.
    pub samples: Vec<Sample>,
    /// For each register that the device sets when it alarms: its name and whether it is set now.
    pub alarms: Vec<(String, bool)>,
    /// Registers that a profile expects to be constant, and that are not: another model, or another device.
    pub unexpected: Vec<String>,
}

/// Reads the words of the answer to `request`.
///
/// `words` are as they came, most significant octet first; a coil or an input is 0 or 1. Values come back in the
/// unit of their kind. Fails when the number of words is not the one asked for; a word that makes no sense is
/// a quality of its sample, never an error and never a panic.
pub fn samples(profile: &Profile, request: Request, words: &[u16]) -> Result<Decoded, LinkError> {
    if words.len() != usize::from(request.count) {
        return Err(LinkError::Count {
            asked: request.count,
            got: words.len(),
        });
    }
    let mut out = Decoded::default();
    for register in profile.registers.iter().filter(|r| request.covers(r)) {
        let at = usize::from(register.address - request.address);
        let Some(own) = words.get(at..at + usize::from(register.format.words())) else {
            continue;
        };
        decode(register, own, &mut out);
    }
    Ok(out)
}

fn decode(register: &Register, words: &[u16], out: &mut Decoded) {
    let raw = raw(register.format, words);
    let code = match raw {
        Raw::Whole(code) => Some(code),
        Raw::Float(_) => None,
    };
    let listed = |list: &[i64]| code.is_some_and(|c| list.contains(&c));
    if !register.alarm.is_empty() {
        out.alarms.push((register.name.clone(), listed(&register.alarm)));
    }
    if register.expect.is_some() && register.expect != code {
        out.unexpected.push(register.name.clone());
    }
    let Some(meaning) = &register.meaning else {
        return;
    };
    let absent = (Value::Absent, Quality::Good);
    let (value, mut quality) = match (meaning, raw) {
        _ if listed(&register.absent) => absent,
        (Meaning::State { codes, .. }, Raw::Whole(code)) => codes
            .iter()
            .find(|(known, _)| *known == code)
            .map_or((Value::Absent, Quality::Doubtful), |(_, state)| {
                (Value::State(*state), Quality::Good)
            }),
        (Meaning::State { .. }, Raw::Float(_)) => (Value::Absent, Quality::Doubtful),
        (Meaning::Number(_), Raw::Float(float)) if float.is_nan() => absent,
        (Meaning::Number(number), raw) => measure(number, raw),
    };
    if quality == Quality::Good && listed(&register.doubtful) {
        quality = Quality::Doubtful;
    }
    out.samples.push(Sample {
        kind: meaning.kind(),
        value,
        quality,
        marks: Vec::new(),
        sent: None,
    });
}

/// A word pattern as the number it stands for.
#[derive(Debug, Clone, Copy)]
enum Raw {
    Whole(i64),
    Float(f32),
}

fn raw(format: Format, words: &[u16]) -> Raw {
    let double = |order: WordOrder| {
        let first = u32::from(words.first().copied().unwrap_or(0));
        let second = u32::from(words.get(1).copied().unwrap_or(0));
        match order {
            WordOrder::HighFirst => first << 16 | second,
            WordOrder::LowFirst => second << 16 | first,
        }
    };
    let single = words.first().copied().unwrap_or(0);
    match format {
        Format::Coil => Raw::Whole(i64::from(single != 0)),
        Format::U16 | Format::Enum => Raw::Whole(i64::from(single)),
        Format::I16 => Raw::Whole(i64::from(single.cast_signed())),
        Format::U32(order) => Raw::Whole(i64::from(double(order))),
        Format::I32(order) => Raw::Whole(i64::from(double(order).cast_signed())),
        Format::F32(order) => Raw::Float(f32::from_bits(double(order))),
    }
}

/// A number in the unit of its kind. A number that cannot be held (an infinity) is absent and doubtful.
fn measure(number: &Number, raw: Raw) -> (Value, Quality) {
    let Some((value, exact)) = number_of(number, raw) else {
        return (Value::Absent, Quality::Doubtful);
    };
    let inside = number.range.is_none_or(|(low, high)| exact.within(low, high));
    let quality = if inside {
        Quality::Good
    } else {
        Quality::OutOfRange
    };
    (Value::Number(value), quality)
}

fn number_of(number: &Number, raw: Raw) -> Option<(Decimal, Exact)> {
    let bare = match raw {
        Raw::Whole(whole) => Exact::whole(whole),
        Raw::Float(float) => Exact::from_f32(float)?,
    };
    let scaled = bare.times(Exact::from_decimal(number.scale)?)?;
    let exact = match number.conversion {
        Conversion::Same => scaled,
        Conversion::Linear { factor, offset } => scaled.times(factor)?.plus(offset)?,
    };
    let value = exact.round(number.resolution)?;
    Some((value, exact))
}

#[cfg(test)]
mod tests;
