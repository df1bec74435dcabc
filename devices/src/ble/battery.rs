//! Battery Level (2A19) and Battery Level Status (2BED) of service 180F.
//!
//! # Design
//! A sensor's battery is a fact about the sensor and no reading: nothing here makes a sample.

use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::field::Field;
use super::number::Number;
use super::{Characteristic, DecodeError};

/// Charge of a sensor's battery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Battery {
    /// Per cent, at most 100.
    pub level: u8,
}

/// How a sensor's battery is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatteryStatus {
    /// Power state bits, as they came.
    pub power: u16,
    /// Which battery: a code.
    pub identifier: Option<u16>,
    /// Per cent, at most 100.
    pub level: Option<u8>,
    /// Additional status bits, as they came.
    pub additional: Option<u8>,
}

fn level(bytes: &mut Bytes<'_>) -> Result<u8, DecodeError> {
    let level = bytes.u8("battery_level")?;
    if level > 100 {
        return Err(DecodeError::Malformed {
            field: "battery_level",
            fault: "is above 100 %",
        });
    }
    Ok(level)
}

fn level_field(level: u8) -> Field {
    Field::measure("battery_level", Number::whole(u16::from(level)), Unit::Percent)
}

impl Characteristic for Battery {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        level(bytes).map(|level| Battery { level })
    }

    fn fields(&self) -> Vec<Field> {
        vec![level_field(self.level)]
    }
}

impl Characteristic for BatteryStatus {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        bytes.note_reserved(u32::from(flags & 0xf8));
        Ok(BatteryStatus {
            power: bytes.u16("power_state")?,
            identifier: when(flags & 1 != 0, || bytes.u16("identifier"))?,
            level: when(flags & 2 != 0, || level(bytes))?,
            additional: when(flags & 4 != 0, || bytes.u8("additional_status"))?,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let power = Field::text("power_state", format!("{:04x}", self.power));
        let identifier = self.identifier.map(|code| Field::count("identifier", code));
        let additional = self
            .additional
            .map(|bits| Field::text("additional_status", format!("{bits:02x}")));
        let level = self.level.map(level_field);
        [power]
            .into_iter()
            .chain(identifier)
            .chain(level)
            .chain(additional)
            .collect()
    }
}
