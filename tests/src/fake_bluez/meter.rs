//! A glucose meter: it keeps numbered records and sends those that are asked for at its record access point.
//!
//! Source: Glucose Service 1.0.1, 3.1 and 3.4.

use std::time::Duration;

use homeward_devices::link::ble::At;
use homeward_protocol::bond::BleAddress;

use super::cuff::{about, battery};
use super::device::{Att, Device, Sent, date_time};
use super::sensor::{Asks, Characteristic, Pairing, Sensor, Service};

/// Glucose Measurement.
pub const RECORD: At = At {
    service: 0x1808,
    characteristic: 0x2A18,
};
/// Record Access Control Point.
pub const POINT: At = At {
    service: 0x1808,
    characteristic: 0x2A52,
};
/// Concentration, type and site follow; kilograms a litre.
const FLAGS: u8 = 0b0000_0010;
/// Capillary whole blood, from a finger.
const FINGER: u8 = 0x11;

/// A meter's memory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Meter {
    records: Vec<(u16, Vec<u8>)>,
    /// How long it takes between two records.
    pub pace: Duration,
    /// How often records were asked for.
    pub asked: u32,
    /// It is sending what was asked for.
    busy: bool,
}

impl Meter {
    /// An empty memory that takes `pace` from one record to the next.
    pub fn paced(pace: Duration) -> Meter {
        Meter {
            pace,
            ..Meter::default()
        }
    }

    /// Measures: the next number, at the time that its clock shows.
    pub fn measure(&mut self, milligrams_per_decilitre: u16, shown_ms: i64) {
        let number = self.records.last().map_or(1, |(last, _)| last + 1);
        self.records
            .push((number, record(number, milligrams_per_decilitre, shown_ms)));
    }

    /// How many records it keeps. It never deletes one.
    pub fn kept(&self) -> usize {
        self.records.len()
    }

    /// It sent a value from there; its answer is the last of what was asked for.
    pub fn sent(&mut self, at: At) {
        self.busy &= at != POINT;
    }

    /// There is a new link: what it was asked over another one is over.
    pub fn linked(&mut self) {
        self.busy = false;
    }

    /// A command at the record access point. One while it is sending is refused.
    ///
    /// Source: Core Specification Supplement, part B, 1.2: 0xFE, "Procedure Already in Progress".
    pub fn written(&mut self, at: At, value: &[u8]) -> Result<Vec<Sent>, Att> {
        if at != POINT {
            return Err(Att(0x03));
        }
        if self.busy && value != [3, 0] {
            return Err(Att(0xFE));
        }
        let from = match value {
            [1, 1] => 0,
            [1, 3, 1, low, high] => u16::from_le_bytes([*low, *high]),
            [1, 6] => self.records.last().map_or(0, |(last, _)| *last),
            [3, 0] => {
                self.busy = false;
                return Ok(vec![answer(3, 1)]);
            }
            [1, ..] => return Ok(vec![answer(1, 4)]),
            [operation, ..] => return Ok(vec![answer(*operation, 2)]),
            [] => return Err(Att(0x0D)),
        };
        self.asked += 1;
        self.busy = true;
        let wanted = self.records.iter().filter(|(number, _)| *number >= from);
        let mut all: Vec<Sent> = wanted
            .map(|(_, value)| Sent {
                at: RECORD,
                value: value.clone(),
                after: self.pace,
            })
            .collect();
        let code = if all.is_empty() { 6 } else { 1 };
        all.push(answer(1, code));
        Ok(all)
    }
}

fn answer(request: u8, code: u8) -> Sent {
    Sent {
        at: POINT,
        value: vec![6, 0, request, code],
        after: Duration::ZERO,
    }
}

/// 90 mg/dL is 0.00090 kg/L: 90 with the exponent -5.
fn record(number: u16, milligrams_per_decilitre: u16, shown_ms: i64) -> Vec<u8> {
    const EXPONENT: u16 = 0xB000;
    let mut value = vec![FLAGS];
    value.extend(number.to_le_bytes());
    value.extend(date_time(shown_ms));
    value.extend((EXPONENT | milligrams_per_decilitre & 0x0FFF).to_le_bytes());
    value.push(FINGER);
    value
}

/// A meter at `address`, that shows a passkey when it is paired.
pub fn meter(address: BleAddress) -> Sensor {
    let mut point = Characteristic::sends(0x2A52, "indicate");
    point.flags.push("write");
    Sensor {
        address,
        random: true,
        name: "Drop".into(),
        services: vec![
            about("Example", "D-3", "9001"),
            Service {
                number: 0x1808,
                values: vec![Characteristic::sends(0x2A18, "notify"), point],
            },
            battery(0x30),
        ],
        pairing: Pairing::checked(Asks::Passkey(161_803)),
        device: Device::Meter(Meter::default()),
    }
}
