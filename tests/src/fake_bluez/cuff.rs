//! A cuff: it keeps what it measured until somebody subscribes, then sends all of it, each with its own time.

use std::time::Duration;

use homeward_devices::link::ble::At;
use homeward_protocol::bond::BleAddress;
use homeward_protocol::time::Timestamp;

use super::device::{Device, Sent, date_time};
use super::sensor::{Asks, Characteristic, Pairing, Sensor, Service};

/// Blood Pressure Measurement.
pub const MEASUREMENT: At = At {
    service: 0x1810,
    characteristic: 0x2A35,
};
const CURRENT_TIME: At = At {
    service: 0x1805,
    characteristic: 0x2A2B,
};
/// Time and pulse follow.
const FLAGS: u8 = 0b0000_0110;

/// A cuff's memory and clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Cuff {
    /// What nobody has fetched yet, the oldest first.
    pub stored: Vec<Vec<u8>>,
    /// How far its clock is ahead, milliseconds.
    pub ahead_ms: i64,
    /// How long it takes between two values.
    pub pace: Duration,
}

impl Cuff {
    /// Its current time: date, day of the week (not told), fraction, no reason to adjust.
    pub fn read(&self, at: At, now: Timestamp) -> Option<Vec<u8>> {
        let shown = date_time(now.ms.saturating_add(self.ahead_ms));
        (at == CURRENT_TIME).then(|| [shown.as_slice(), &[0, 0, 0]].concat())
    }

    /// Everything that it keeps.
    pub fn subscribed(&mut self, at: At) -> Vec<Sent> {
        if at != MEASUREMENT {
            return Vec::new();
        }
        let after = self.pace;
        let send = |value| Sent { at, value, after };
        std::mem::take(&mut self.stored).into_iter().map(send).collect()
    }
}

/// One measurement in millimetres of mercury, by a clock that shows `shown_ms`.
///
/// Source: Blood Pressure Service 1.1.1, 3.1; the mean is not told, as by many cuffs.
pub fn measurement(systolic: u16, diastolic: u16, pulse: u16, shown_ms: i64) -> Vec<u8> {
    const NOT_A_NUMBER: u16 = 0x07FF;
    let mut value = vec![FLAGS];
    for word in [systolic, diastolic, NOT_A_NUMBER] {
        value.extend(word.to_le_bytes());
    }
    value.extend(date_time(shown_ms));
    value.extend(pulse.to_le_bytes());
    value
}

/// A cuff at `address`, that is paired by comparing numbers.
pub fn cuff(address: BleAddress) -> Sensor {
    Sensor {
        address,
        random: true,
        name: "Upper Arm".into(),
        services: vec![
            about("Example", "UA-1", "7001"),
            Service {
                number: 0x1810,
                values: vec![
                    Characteristic::sends(0x2A35, "indicate"),
                    Characteristic::read(0x2A49, &[0, 0]),
                ],
            },
            Service {
                number: 0x1805,
                values: vec![Characteristic::read(0x2A2B, &[])],
            },
            battery(0x57),
        ],
        pairing: Pairing::checked(Asks::Compare {
            number: 271_828,
            same: true,
        }),
        device: Device::Cuff(Cuff::default()),
    }
}

/// Device Information.
pub fn about(maker: &str, model: &str, serial: &str) -> Service {
    let text = |number, text: &str| Characteristic::read(number, text.as_bytes());
    Service {
        number: 0x180A,
        values: vec![
            text(0x2A29, maker),
            text(0x2A24, model),
            text(0x2A25, serial),
            text(0x2A26, "1.0"),
        ],
    }
}

/// A battery that can be read.
pub fn battery(level: u8) -> Service {
    Service {
        number: 0x180F,
        values: vec![Characteristic::read(0x2A19, &[level])],
    }
}
