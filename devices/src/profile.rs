//! Device profiles: everything that is known of a model, as data.
//!
//! A profile is a TOML file. For Bluetooth it says what a sensor serves and which bond it must have ([`Session`]). For
//! Modbus it says how to ask (transport, unit id, functions, addresses *as in the frame*, how
//! many registers at once, how long to wait), what the words mean (type, word order, scale as a decimal text, the
//! device's own unit, codes, sentinels, range) and what the device is for. The shipped ones lie in `profiles/`,
//! each with its source.

mod raw;
mod register;
mod session;
mod shipped;

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::Deserialize;

use crate::modbus::Write;

pub use register::{Format, Function, Meaning, Number, Register, WordOrder};
pub use session::{Characteristic, Memory, Session, Visits, Way};
pub use shipped::{shipped, shipped_ids};

/// Longest profile, bytes: the longest shipped one has 5 KiB.
pub const MAX_TEXT: usize = 64 * 1024;
/// Most registers of one profile: what fits a poll of some seconds on a slow serial line.
pub const MAX_REGISTERS: usize = 128;

/// Most characteristics of one profile: the richest service has a handful.
pub const MAX_CHARACTERISTICS: usize = 32;

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
    /// Bluetooth Low Energy. Stands alone.
    Ble,
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
    /// How it is talked to over Bluetooth; there when `transports` holds [`Transport::Ble`], and then no register is.
    pub session: Option<Session>,
    /// The Modbus unit id as it leaves the factory.
    pub unit: u8,
    /// How often to ask; over Bluetooth, how often a value is to be expected.
    pub interval: Duration,
    /// Without a value for this long, it is silent.
    pub silent_after: Duration,
    /// How long to wait for one answer; over Bluetooth, for a connection.
    pub time_limit: Duration,
    /// Most registers in one question.
    pub most_registers: u16,
    /// Most foreign registers that may be read along between two of ours.
    pub widest_gap: u16,
    /// Whether it says who it is (Modbus function 43/14). Only then it is asked: one that does not know the function
    /// may not answer at all, and spoil a serial line each time.
    pub identifies: bool,
    /// What to read.
    pub registers: Vec<Register>,
    /// What other masters may be allowed to write, through the guard. Nothing else is ever written.
    pub writable: Vec<Writable>,
    /// Registers of the manual that are not read, each with the reason.
    pub left_out: Vec<(String, String)>,
}

impl Profile {
    /// Reads a profile. Every fault is listed with its line; unknown keys are faults.
    pub fn parse(text: &str) -> Result<Profile, ProfileError> {
        raw::parse(text)
    }

    /// Whether all that `write` sets is listed as writable, by its very function.
    pub fn may_write(&self, write: &Write) -> bool {
        let (first, end) = (
            write.address(),
            u32::from(write.address()) + u32::from(write.count()),
        );
        let listed = |w: &Writable| w.function == write.function() && w.address <= first && end <= w.end();
        self.writable.iter().any(listed)
    }

    /// Whether a device of this profile can be reached that way.
    pub fn goes_over(&self, transport: Transport) -> bool {
        self.transports.contains(&transport)
    }
}

/// Coils or holding registers that may be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Writable {
    /// What it is, as in the manual, in `snake_case`.
    pub name: String,
    /// The function: 5 or 15 for coils, 6 or 16 for holding registers.
    pub function: u8,
    /// The number in the frame of the first.
    pub address: u16,
    /// How many; at least 1.
    pub count: u16,
}

impl Writable {
    /// One past the last.
    pub const fn end(&self) -> u32 {
        self.address as u32 + self.count as u32
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
