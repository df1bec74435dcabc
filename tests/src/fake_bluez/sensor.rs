//! What a virtual sensor is: its name on the air, what it serves, and how it wants to be paired.

use homeward_devices::bluez::objects::long_uuid;
use homeward_devices::link::ble::At;
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};

use super::device::Device;

/// A sensor within reach of the fake stack, or out of it.
#[derive(Debug, Clone)]
pub struct Sensor {
    /// Its address.
    pub address: BleAddress,
    /// Whether that is one it made up.
    pub random: bool,
    /// What it calls itself.
    pub name: String,
    /// What it serves, in order; equal numbers are allowed, as on the air.
    pub services: Vec<Service>,
    /// How it is paired.
    pub pairing: Pairing,
    /// What it does.
    pub device: Device,
}

/// A service.
#[derive(Debug, Clone)]
pub struct Service {
    /// Its 16-bit number.
    pub number: u16,
    /// What is in it, in order.
    pub values: Vec<Characteristic>,
}

/// A characteristic.
#[derive(Debug, Clone)]
pub struct Characteristic {
    /// Its 16-bit number.
    pub number: u16,
    /// As the stack names them: `read`, `write`, `notify`, `indicate`.
    pub flags: Vec<&'static str>,
    /// Whether it is given to the bonded only.
    pub guarded: bool,
    /// What a read gives, unless the device makes it up at each read.
    pub value: Vec<u8>,
}

/// What a person sees and does at the sensor while it is paired.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Asks {
    /// Nothing: Just Works.
    Nothing,
    /// It shows this passkey, to be typed on the box.
    Passkey(u32),
    /// It takes the digits that the box shows; somebody types these.
    Typed(u32),
    /// Both show this number; at the sensor the button is pressed for yes, or not.
    Compare {
        /// The number.
        number: u32,
        /// What the person at the sensor presses.
        same: bool,
    },
    /// It refuses.
    Refuses,
}

/// How a sensor is paired, and what key comes of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pairing {
    /// What happens at the sensor.
    pub asks: Asks,
    /// What comes of it.
    pub bond: Bond,
}

impl Pairing {
    /// LE Secure Connections with a full key, checked by a person: by numbers, or by the passkey that it shows.
    pub const fn checked(asks: Asks) -> Pairing {
        Pairing {
            asks,
            bond: Bond {
                class: KeyClass::SecureAuthenticated,
                key_size: 16,
            },
        }
    }

    /// Just Works with a full key.
    pub const fn just_works() -> Pairing {
        Pairing {
            asks: Asks::Nothing,
            bond: Bond {
                class: KeyClass::SecureUnauthenticated,
                key_size: 16,
            },
        }
    }
}

impl Sensor {
    /// Where each thing of it stands: number of service and of value in it, and the place.
    pub fn places(&self) -> impl Iterator<Item = (usize, usize, At)> + '_ {
        self.services.iter().enumerate().flat_map(|(s, service)| {
            let at = |number| At {
                service: service.number,
                characteristic: number,
            };
            service
                .values
                .iter()
                .enumerate()
                .map(move |(v, value)| (s, v, at(value.number)))
        })
    }

    /// The services as they stand in its advertisement.
    pub fn advertised(&self) -> Vec<String> {
        self.services
            .iter()
            .map(|s| long_uuid(s.number).to_string())
            .collect()
    }

    /// The same, for somebody else's address: a look-alike.
    #[must_use]
    pub fn at(mut self, address: BleAddress) -> Sensor {
        self.address = address;
        self
    }

    /// The same, paired in another way.
    #[must_use]
    pub fn paired_by(mut self, pairing: Pairing) -> Sensor {
        self.pairing = pairing;
        self
    }
}

impl Characteristic {
    /// One that can be read, with its value.
    pub fn read(number: u16, value: &[u8]) -> Characteristic {
        Characteristic {
            number,
            flags: vec!["read"],
            guarded: false,
            value: value.to_vec(),
        }
    }

    /// One that sends by itself, to the bonded only.
    pub fn sends(number: u16, flag: &'static str) -> Characteristic {
        Characteristic {
            number,
            flags: vec![flag],
            guarded: true,
            value: Vec::new(),
        }
    }
}
