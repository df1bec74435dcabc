//! Device profiles: everything that is known of a model, as data.
//!
//! A profile is a TOML file. It says how to ask (transport, unit id, functions, addresses *as in the frame*, how
//! many registers at once, how long to wait), what the words mean (type, word order, scale as a decimal text, the
//! device's own unit, codes, sentinels, range) and what the device is for. The shipped ones lie in `profiles/`,
//! each with its source.

mod raw;
mod shipped;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use homeward_protocol::reading::{Kind, State};
use homeward_protocol::unit::Decimal;
use serde::Deserialize;

pub use shipped::{shipped, shipped_ids};

use crate::unit::{Conversion, DeviceUnit};

/// Longest profile, bytes: the longest shipped one has 5 KiB.
pub const MAX_TEXT: usize = 64 * 1024;
/// Most registers of one profile: what fits a poll of some seconds on a slow serial line.
pub const MAX_REGISTERS: usize = 128;

/// The name of a profile: `a-z 0-9 -`, as in its file name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct ProfileId(String);

impl ProfileId {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for ProfileId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        if (2..=60).contains(&text.len()) && text.bytes().all(plain) && !text.starts_with('-') {
            Ok(ProfileId(text.to_owned()))
        } else {
            Err("a profile's id has 2 to 60 characters of a-z, 0-9 and inner hyphens".to_owned())
        }
    }
}

impl TryFrom<String> for ProfileId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for ProfileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// How far the profile may be leaned on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// Written from a maker's manual; not tried on a device.
    FromManual,
    /// Tried on the device it names.
    Tried,
    /// Has the shape of such a device's map, but is of another kind of device: readings by it are unverified.
    Shape,
}

/// What it means for the person when this device stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Criticality {
    /// Comfort.
    Comfort,
    /// Treatment goes on, worse.
    Supporting,
    /// Life or a treatment hangs on it.
    Vital,
}

/// A way to the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Transport {
    /// Modbus/TCP.
    Tcp,
    /// Modbus RTU on a serial line.
    Rtu,
}

/// Parity of a serial line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Parity {
    /// None.
    None,
    /// Even.
    Even,
    /// Odd.
    Odd,
}

/// Settings of a serial line; always 8 data bits, as RTU demands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LineSettings {
    /// Bits per second.
    pub baud: u32,
    /// Parity.
    pub parity: Parity,
    /// Stop bits, 1 or 2.
    pub stop_bits: u8,
}

/// A read function of Modbus.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "u8")]
pub enum Function {
    /// 1, read coils.
    Coils,
    /// 2, read discrete inputs.
    DiscreteInputs,
    /// 3, read holding registers.
    HoldingRegisters,
    /// 4, read input registers.
    InputRegisters,
}

impl Function {
    /// The number in the frame.
    pub const fn code(self) -> u8 {
        match self {
            Function::Coils => 1,
            Function::DiscreteInputs => 2,
            Function::HoldingRegisters => 3,
            Function::InputRegisters => 4,
        }
    }

    /// Whether it reads single bits.
    pub const fn reads_bits(self) -> bool {
        matches!(self, Function::Coils | Function::DiscreteInputs)
    }
}

impl TryFrom<u8> for Function {
    type Error = String;
    fn try_from(code: u8) -> Result<Self, String> {
        match code {
            1 => Ok(Function::Coils),
            2 => Ok(Function::DiscreteInputs),
            3 => Ok(Function::HoldingRegisters),
            4 => Ok(Function::InputRegisters),
            other => Err(format!("function {other} does not read: 1 to 4 do")),
        }
    }
}

/// Which word of a pair comes first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WordOrder {
    /// The high word, as the Modbus specification shows it.
    #[default]
    HighFirst,
    /// The low word.
    LowFirst,
}

/// How a value lies in its words.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One bit.
    Coil,
    /// One word, a code.
    Enum,
    /// One word.
    U16,
    /// One word, two's complement.
    I16,
    /// Two words.
    U32(WordOrder),
    /// Two words, two's complement.
    I32(WordOrder),
    /// Two words, IEEE 754 single.
    F32(WordOrder),
}

impl Format {
    /// How many words (or bits) it takes.
    pub const fn words(self) -> u16 {
        match self {
            Format::Coil | Format::Enum | Format::U16 | Format::I16 => 1,
            Format::U32(_) | Format::I32(_) | Format::F32(_) => 2,
        }
    }

    /// The smallest and the largest whole number it can hold; none for a float.
    pub const fn bounds(self) -> Option<(i64, i64)> {
        match self {
            Format::Coil => Some((0, 1)),
            Format::Enum | Format::U16 => Some((0, u16::MAX as i64)),
            Format::I16 => Some((i16::MIN as i64, i16::MAX as i64)),
            Format::U32(_) => Some((0, u32::MAX as i64)),
            Format::I32(_) => Some((i32::MIN as i64, i32::MAX as i64)),
            Format::F32(_) => None,
        }
    }
}

/// How a raw number becomes one in the unit of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Number {
    /// What is measured.
    pub kind: Kind,
    /// Multiplies the raw number.
    pub scale: Decimal,
    /// The unit after scaling, as the device has it.
    pub unit: DeviceUnit,
    /// The way to the unit of the kind.
    pub conversion: Conversion,
    /// The power of ten that the result is rounded to: the scale's own where nothing is converted.
    pub resolution: i8,
    /// Lowest and highest value that makes sense, in the unit of the kind.
    pub range: Option<(Decimal, Decimal)>,
}

/// What a register's value says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Meaning {
    /// A number.
    Number(Number),
    /// A state by its code.
    State {
        /// What has that state.
        kind: Kind,
        /// Every code the manual names.
        codes: Vec<(i64, State)>,
    },
}

impl Meaning {
    /// What is measured.
    pub const fn kind(&self) -> Kind {
        match self {
            Meaning::Number(number) => number.kind,
            Meaning::State { kind, .. } => *kind,
        }
    }
}

/// One register, or the pair of registers that holds one value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Register {
    /// Its name in the manual, in `snake_case`.
    pub name: String,
    /// The read function.
    pub function: Function,
    /// The number in the frame.
    pub address: u16,
    /// How the value lies in its words.
    pub format: Format,
    /// What it says; none for a register that is read for its alarm or as a fingerprint only.
    pub meaning: Option<Meaning>,
    /// Raw values that mean "no value" or "not fitted".
    pub absent: Vec<i64>,
    /// Raw values that may mean "not fitted", or be a value.
    pub doubtful: Vec<i64>,
    /// Raw values by which the device reports an alarm or a fault.
    pub alarm: Vec<i64>,
    /// The raw value that this model always has here.
    pub expect: Option<i64>,
}

impl Register {
    /// One past its last word.
    pub const fn end(&self) -> u32 {
        self.address as u32 + self.format.words() as u32
    }
}

/// Everything that is known of a model.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Profile {
    /// Its name in configurations.
    pub id: ProfileId,
    /// Maker and model.
    pub name: String,
    /// Where the facts come from.
    pub source: String,
    /// What to know before use.
    pub notes: String,
    /// How far it may be leaned on.
    pub standing: Standing,
    /// What the device does for the person.
    pub role: String,
    /// What it means when it stops.
    pub criticality: Criticality,
    /// Ways to the device.
    pub transports: Vec<Transport>,
    /// Settings of the serial line; there when `transports` holds [`Transport::Rtu`].
    pub line: Option<LineSettings>,
    /// The Modbus unit id as it leaves the factory.
    pub unit: u8,
    /// How often to ask.
    pub interval: Duration,
    /// Without a value for this long, it is silent.
    pub silent_after: Duration,
    /// How long to wait for one answer.
    pub time_limit: Duration,
    /// Most registers in one question.
    pub most_registers: u16,
    /// Most foreign registers that may be read along between two of ours.
    pub widest_gap: u16,
    /// What to read.
    pub registers: Vec<Register>,
    /// Registers of the manual that are not read, each with the reason.
    pub left_out: Vec<(String, String)>,
}

impl Profile {
    /// Reads a profile. Every fault is listed with its line; unknown keys are faults.
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        raw::parse(text)
    }

    /// Whether a device of this profile can be reached that way.
    pub fn goes_over(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }
}

/// Something wrong in a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The line, counted from 1.
    pub line: usize,
    /// What is wrong, and what would be right.
    pub what: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}: {}", self.line, self.what)
    }
}

/// Why a text is not a profile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// Longer than [`MAX_TEXT`].
    #[error("a profile has at most {MAX_TEXT} bytes, this has {0}")]
    Long(usize),
    /// What is wrong, in the order of the lines.
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
    Faults(Vec<Fault>),
}

#[cfg(test)]
mod tests;
