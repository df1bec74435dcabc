//! Sensors that are worn: an oximeter, and a heart rate strap that is open to anybody.

use homeward_devices::link::ble::At;
use homeward_protocol::bond::BleAddress;

use super::cuff::{about, battery};
use super::device::Device;
use super::sensor::{Asks, Characteristic, Pairing, Sensor, Service};

/// Continuous measurement of an oximeter.
pub const CONTINUOUS: At = At {
    service: 0x1822,
    characteristic: 0x2A5F,
};
/// Heart rate.
pub const HEART_RATE: At = At {
    service: 0x180D,
    characteristic: 0x2A37,
};

/// One continuous value: saturation in per cent, pulse in beats a minute. Source: Pulse Oximeter Service 1.0, 3.2.
pub fn continuous(saturation: u16, pulse: u16) -> Vec<u8> {
    let mut value = vec![0];
    value.extend(saturation.to_le_bytes());
    value.extend(pulse.to_le_bytes());
    value
}

/// An oximeter at `address`, that shows a passkey when it is paired.
pub fn oximeter(address: BleAddress) -> Sensor {
    Sensor {
        address,
        random: true,
        name: "Finger Clip".into(),
        services: vec![
            about("Example", "FC-2", "8001"),
            Service {
                number: 0x1822,
                values: vec![Characteristic::sends(0x2A5F, "notify")],
            },
            battery(0x42),
        ],
        pairing: Pairing::checked(Asks::Passkey(314_159)),
        device: Device::Obedient,
    }
}

/// One heart rate, beats a minute. Source: Heart Rate Service 1.0, 3.1.
pub fn heart_rate(beats: u8) -> Vec<u8> {
    vec![0, beats]
}

/// A strap at `address`, that gives its values to anybody and pairs by Just Works.
pub fn strap(address: BleAddress) -> Sensor {
    let mut sends = Characteristic::sends(0x2A37, "notify");
    sends.guarded = false;
    Sensor {
        address,
        random: false,
        name: "Strap".into(),
        services: vec![
            Service {
                number: 0x180D,
                values: vec![sends],
            },
            battery(0x63),
        ],
        pairing: Pairing::just_works(),
        device: Device::Obedient,
    }
}
