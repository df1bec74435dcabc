//! What a virtual sensor does when it is subscribed, written to, or read. Pure: the time is given.

use std::time::Duration;

use homeward_devices::link::ble::At;
use homeward_protocol::time::Timestamp;

use super::cuff::Cuff;
use super::meter::Meter;

/// A value on its way to whoever subscribed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sent {
    /// Where it comes from.
    pub at: At,
    /// Its octets.
    pub value: Vec<u8>,
    /// How long after the one before.
    pub after: Duration,
}

/// What is behind the radio.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Device {
    /// Sends what the test or the demo tells it to.
    Obedient,
    /// A cuff.
    Cuff(Cuff),
    /// A glucose meter.
    Meter(Meter),
}

/// The error that a sensor answers with: a code of the Attribute Protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Att(pub u8);

impl Device {
    /// What it makes up when it is read there; none where its value stands.
    pub fn read(&self, at: At, now: Timestamp) -> Option<Vec<u8>> {
        match self {
            Device::Cuff(cuff) => cuff.read(at, now),
            Device::Obedient | Device::Meter(_) => None,
        }
    }

    /// What it sends because somebody subscribed there.
    pub fn subscribed(&mut self, at: At) -> Vec<Sent> {
        match self {
            Device::Cuff(cuff) => cuff.subscribed(at),
            Device::Obedient | Device::Meter(_) => Vec::new(),
        }
    }

    /// It sent a value from there.
    pub fn sent(&mut self, at: At) {
        if let Device::Meter(meter) = self {
            meter.sent(at);
        }
    }

    /// There is a new link to it.
    pub fn linked(&mut self) {
        if let Device::Meter(meter) = self {
            meter.linked();
        }
    }

    /// What it sends because of what was written there.
    pub fn written(&mut self, at: At, value: &[u8]) -> Result<Vec<Sent>, Att> {
        match self {
            Device::Meter(meter) => meter.written(at, value),
            Device::Obedient | Device::Cuff(_) => Err(Att(0x03)), // write not permitted
        }
    }
}

/// A time as sensors send it: 7 octets, no zone. Source: GATT Specification Supplement, Date Time.
pub fn date_time(ms: i64) -> [u8; 7] {
    let (year, month, day, hour, minute, second) = Timestamp::synced(ms).civil();
    let small = |n: u32| u8::try_from(n).unwrap_or(0);
    let [low, high] = u16::try_from(year).unwrap_or(0).to_le_bytes();
    [
        low,
        high,
        small(month),
        small(day),
        small(hour),
        small(minute),
        small(second),
    ]
}
