//! Which Bluetooth device was paired as which sensor of this home, by whom, with what bond, and from when to when.
//!
//! `homeward-agent sensor pair` makes an association and `sensor forget` ends it; the running agent only reads them.
//! What a device measured outside of its association is nobody's here: a cuff that had another owner before keeps
//! that owner's values in its memory.
//!
//! # Design
//! - Ended associations stay in the file, so that a value that was measured before the end can still be told from
//!   one after it; only the oldest are forgotten ([`MAX_ENDED`]).
//! - An address belongs to one sensor at a time. A device that serves two homes after each other is paired anew.

use homeward_devices::ble::{self, DeviceText, Fields};
use homeward_devices::link::ble::At;
use homeward_protocol::bond::{BleAddress, Bond};
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{MAX_SENSORS, ShortText};
use homeward_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

pub mod file;
pub mod pair;

/// Ended associations that are kept: years of a home that exchanges its devices now and then.
pub const MAX_ENDED: usize = 256;

/// What a device says of itself (service 180A). Anybody can claim it: it tells models apart, it proves nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Declared {
    /// 2A29.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub maker: Option<ShortText>,
    /// 2A24.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub model: Option<ShortText>,
    /// 2A25.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub serial: Option<ShortText>,
    /// 2A26.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub firmware: Option<ShortText>,
}

impl Declared {
    /// Where a device says it: the characteristics of service 180A in which [`Declared::learn`] finds something.
    pub const WHERE: [At; 4] = [told_at(0x2A29), told_at(0x2A24), told_at(0x2A25), told_at(0x2A26)];

    /// Takes what the device says at `at`. What is no text, or an empty one, is not said. At the pairing and at each
    /// connection it is read in this one way, so that the same device never contradicts itself.
    pub fn learn(&mut self, at: At, value: &[u8]) {
        let said = match at.characteristic {
            0x2A29 => &mut self.maker,
            0x2A24 => &mut self.model,
            0x2A25 => &mut self.serial,
            0x2A26 => &mut self.firmware,
            _ => return,
        };
        let decoded = ble::decode(at.characteristic, value).unwrap_or_default();
        let text = decoded.into_iter().find_map(|measured| match measured.fields {
            Fields::DeviceText(DeviceText(text)) if !text.is_empty() => Some(ShortText::cut(&text)),
            _ => None,
        });
        *said = text;
    }

    /// Whether `now` contradicts this: another maker, model or serial number. What one of the two does not tell is
    /// no contradiction, and a new firmware none either.
    pub fn contradicts(&self, now: &Declared) -> bool {
        let differ = |a: &Option<ShortText>, b: &Option<ShortText>| a.is_some() && b.is_some() && a != b;
        differ(&self.maker, &now.maker)
            || differ(&self.model, &now.model)
            || differ(&self.serial, &now.serial)
    }
}

const fn told_at(characteristic: u16) -> At {
    At {
        service: 0x180A,
        characteristic,
    }
}

/// One device as one sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Association {
    /// Which sensor it is in this home.
    pub sensor: SensorId,
    /// Which device.
    pub address: BleAddress,
    /// Its bond when it was paired; none for a device that gives its values to anybody.
    pub bond: Option<Bond>,
    /// Who paired it, as the command line was told.
    pub by: ShortText,
    /// From when on.
    pub since: Timestamp,
    /// Until when; not yet ended without it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Timestamp>,
    /// What the device said of itself then.
    #[serde(default)]
    pub declared: Declared,
}

impl Association {
    /// Whether it stood at `ms` (milliseconds since 1970).
    pub fn stood_at(&self, ms: i64) -> bool {
        self.since.ms <= ms && self.ended.is_none_or(|end| ms < end.ms)
    }
}

/// Why a device cannot become a sensor.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PairError {
    /// The device is already another sensor of this home.
    #[error(
        "{address} is already the sensor {sensor}: end that first with `homeward-agent sensor forget {sensor}`"
    )]
    Taken {
        /// Which device.
        address: BleAddress,
        /// Which sensor it is.
        sensor: SensorId,
    },
    /// More sensors than a gateway watches.
    #[error("{MAX_SENSORS} devices are already paired, and a gateway watches no more")]
    Many,
}

/// All associations of a box, the oldest first.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Associations {
    #[serde(default)]
    association: Vec<Association>,
}

impl Associations {
    /// All of them, ended ones too, the oldest first.
    pub fn all(&self) -> &[Association] {
        &self.association
    }

    /// The one of `sensor` that stands now.
    pub fn of(&self, sensor: &SensorId) -> Option<&Association> {
        self.standing().find(|a| a.sensor == *sensor)
    }

    /// The one of the device at `address` that stands now.
    pub fn at(&self, address: BleAddress) -> Option<&Association> {
        self.standing().find(|a| a.address == address)
    }

    /// Those that stand now.
    pub fn standing(&self) -> impl Iterator<Item = &Association> {
        self.association.iter().filter(|a| a.ended.is_none())
    }

    /// From `new.since` on the device is that sensor. An earlier device of that sensor is it no more.
    ///
    /// # Errors
    /// When the device is another sensor now, or there are too many.
    pub fn pair(&mut self, new: Association) -> Result<(), PairError> {
        if let Some(other) = self.at(new.address).filter(|a| a.sensor != new.sensor) {
            return Err(PairError::Taken {
                address: new.address,
                sensor: other.sensor.clone(),
            });
        }
        self.forget(&new.sensor, new.since);
        if self.standing().count() >= MAX_SENSORS {
            return Err(PairError::Many);
        }
        self.association.push(new);
        Ok(())
    }

    /// Ends the association of `sensor` at that moment; gives the one that ended.
    pub fn forget(&mut self, sensor: &SensorId, at: Timestamp) -> Option<Association> {
        let mut standing = self.association.iter_mut().filter(|a| a.ended.is_none());
        let association = standing.find(|a| a.sensor == *sensor)?;
        // A clock that was set back must not make it end before it began.
        association.ended = Some(at.plus_ms(association.since.ms.saturating_sub(at.ms).max(0)));
        let ended = association.clone();
        self.trim();
        Some(ended)
    }

    fn trim(&mut self) {
        let ended = self.association.iter().filter(|a| a.ended.is_some()).count();
        let mut beyond = ended.saturating_sub(MAX_ENDED);
        self.association.retain(|a| {
            let goes = beyond > 0 && a.ended.is_some();
            beyond -= usize::from(goes);
            !goes
        });
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::bond::KeyClass;

    use super::*;

    #[test]
    fn a_device_that_pads_its_texts_does_not_contradict_itself() {
        let [_, _, serial, _] = Declared::WHERE;
        let learned = |value: &[u8]| {
            let mut declared = Declared::default();
            declared.learn(serial, value);
            declared
        };
        let paired = learned(b"SN 12 \0\0");
        assert_eq!(paired.serial.as_ref().map(ShortText::as_str), Some("SN 12"));
        assert!(!paired.contradicts(&learned(b"SN 12")));
        assert!(paired.contradicts(&learned(b"SN 13")));
        for unsaid in [b"".as_slice(), b" \0", &[0xff, 0xfe]] {
            assert_eq!(learned(unsaid), Declared::default());
        }
    }

    fn association(sensor: &str, last: u8, since: i64) -> Association {
        Association {
            sensor: sensor.parse().expect("an id"),
            address: BleAddress([0xC1, 0, 0, 0, 0, last]),
            bond: Some(Bond {
                class: KeyClass::SecureAuthenticated,
                key_size: 16,
            }),
            by: ShortText::cut("an installer"),
            since: Timestamp::synced(since),
            ended: None,
            declared: Declared::default(),
        }
    }

    #[test]
    fn a_device_is_one_sensor_at_a_time_and_a_sensor_one_device() {
        let mut all = Associations::default();
        all.pair(association("cuff", 1, 10)).expect("the first");
        let taken = all.pair(association("other", 1, 20)).expect_err("is taken");
        assert!(taken.to_string().contains("sensor forget cuff"), "{taken}");
        all.pair(association("cuff", 2, 30)).expect("an exchange");
        let cuff = "cuff".parse().expect("an id");
        assert_eq!(all.of(&cuff).map(|a| a.address.0[5]), Some(2));
        assert_eq!(all.at(BleAddress([0xC1, 0, 0, 0, 0, 1])), None);
        assert_eq!(all.all()[0].ended, Some(Timestamp::synced(30)));
    }

    #[test]
    fn an_association_stands_from_its_beginning_to_before_its_end() {
        let mut all = Associations::default();
        all.pair(association("cuff", 1, 10)).expect("pairs");
        let ended = all.forget(&"cuff".parse().expect("an id"), Timestamp::synced(20));
        let ended = ended.expect("stood");
        let stood: Vec<bool> = [9, 10, 19, 20].map(|ms| ended.stood_at(ms)).to_vec();
        assert_eq!(stood, [false, true, true, false]);
        assert_eq!(
            all.forget(&"cuff".parse().expect("an id"), Timestamp::synced(30)),
            None
        );
    }

    #[test]
    fn a_clock_set_back_does_not_end_what_had_not_begun() {
        let mut all = Associations::default();
        all.pair(association("cuff", 1, 10)).expect("pairs");
        let ended = all.forget(&"cuff".parse().expect("an id"), Timestamp::synced(3));
        assert_eq!(ended.and_then(|a| a.ended), Some(Timestamp::synced(10)));
    }

    #[test]
    fn only_the_oldest_ends_are_forgotten() {
        let mut all = Associations::default();
        let ends = i64::try_from(MAX_ENDED).expect("small") + 3;
        for round in 0..=ends {
            all.pair(association("cuff", 1, round)).expect("pairs again");
        }
        assert_eq!(all.all().len(), MAX_ENDED + 1);
        assert_eq!(all.all()[0].since, Timestamp::synced(3));
        assert_eq!(all.standing().count(), 1);
    }

    #[test]
    fn another_serial_number_contradicts_and_a_missing_one_does_not() {
        let declared = |serial: Option<&str>, firmware: &str| Declared {
            serial: serial.map(ShortText::cut),
            firmware: Some(ShortText::cut(firmware)),
            ..Declared::default()
        };
        let then = declared(Some("A1"), "1.0");
        assert!(then.contradicts(&declared(Some("A2"), "1.0")));
        assert!(!then.contradicts(&declared(Some("A1"), "2.0")));
        assert!(!then.contradicts(&declared(None, "1.0")));
    }
}
