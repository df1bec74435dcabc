//! Spot-check (2A5E) and continuous (2A5F) measurements of a pulse oximeter (service 1822).
//!
//! Source: Pulse Oximeter Service 1.0; the bits as three public implementations agree on them.

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError};
use crate::sample::Sample;

const STATUS_RESERVED: u16 = 0x001f;
const QUESTIONABLE_PULSE: u32 = 8;

const STATUS_MARKS: [(u32, Mark); 9] = [
    (5, Mark::Ongoing),
    (6, Mark::EarlyEstimate),
    (9, Mark::FromStorage),
    (10, Mark::NotAPatient),
    (11, Mark::NotAPatient),
    (12, Mark::NotAPatient),
    (13, Mark::Invalid),
    (14, Mark::Questionable),
    (15, Mark::Invalid),
];

const DEVICE_MARKS: [(u32, Mark); 14] = [
    (1, Mark::DeviceFault),
    (2, Mark::Questionable),
    (3, Mark::PoorSignal),
    (4, Mark::PoorSignal),
    (5, Mark::PoorSignal),
    (6, Mark::PoorSignal),
    (7, Mark::PoorSignal),
    (9, Mark::Ongoing),
    (10, Mark::PoorSignal),
    (11, Mark::OffBody),
    (12, Mark::Questionable),
    (13, Mark::OffBody),
    (14, Mark::DeviceFault),
    (15, Mark::OffBody),
];

const STATUS_NAMES: [(u32, &str); 11] = [
    (5, "measurement ongoing"),
    (6, "early estimate"),
    (7, "validated"),
    (8, "fully qualified"),
    (9, "from storage"),
    (10, "demonstration"),
    (11, "testing"),
    (12, "calibrating"),
    (13, "measurement unavailable"),
    (14, "questionable"),
    (15, "invalid"),
];

const DEVICE_NAMES: [(u32, &str); 16] = [
    (0, "display update ongoing"),
    (1, "equipment malfunction"),
    (2, "irregular signal processing"),
    (3, "inadequate signal"),
    (4, "poor signal"),
    (5, "low perfusion"),
    (6, "erratic signal"),
    (7, "not pulsating"),
    (8, "questionable pulse"),
    (9, "signal analysis ongoing"),
    (10, "sensor interference"),
    (11, "sensor not on the user"),
    (12, "unknown sensor"),
    (13, "sensor displaced"),
    (14, "sensor malfunction"),
    (15, "sensor disconnected"),
];

/// A saturation and a pulse that belong together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pair {
    /// Oxygen saturation, per cent.
    pub saturation: Number,
    /// Pulse, per minute.
    pub pulse: Number,
}

/// What both measurements say of themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Condition {
    /// Status of the measurement, as it came.
    pub status: Option<u16>,
    /// Status of device and sensor, as it came (24 bits).
    pub device: Option<u32>,
    /// Pulse amplitude index, per cent.
    pub amplitude: Option<Number>,
}

/// One spot check, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SpotCheck {
    /// What was measured.
    pub normal: Pair,
    /// The oximeter's own time.
    pub time: Option<DateTime>,
    /// How it was measured.
    pub condition: Condition,
    /// The oximeter says that its clock is not set.
    pub clock_not_set: bool,
}

/// One moment of a continuous measurement, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Continuous {
    /// With the oximeter's usual averaging: the value for people.
    pub normal: Pair,
    /// With its fast averaging.
    pub fast: Option<Pair>,
    /// With its slow averaging.
    pub slow: Option<Pair>,
    /// How it was measured.
    pub condition: Condition,
}

impl Pair {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        Ok(Pair {
            saturation: bytes.sfloat("saturation")?,
            pulse: bytes.sfloat("pulse")?,
        })
    }

    fn fields(self, [saturation, pulse]: [&'static str; 2]) -> [Field; 2] {
        [
            Field::measure(saturation, self.saturation, Unit::Percent),
            Field::measure(pulse, self.pulse, Unit::PerMinute),
        ]
    }
}

impl Condition {
    /// Reads those of the three that are there.
    fn read(bytes: &mut Bytes<'_>, [status, device, amplitude]: [bool; 3]) -> Result<Self, DecodeError> {
        let read = Condition {
            status: when(status, || bytes.u16("status"))?,
            device: when(device, || bytes.u24("device_status"))?,
            amplitude: when(amplitude, || bytes.sfloat("amplitude"))?,
        };
        bytes.note_reserved(u32::from(read.status.unwrap_or(0) & STATUS_RESERVED));
        bytes.note_reserved(read.device.unwrap_or(0) >> 16);
        Ok(read)
    }

    fn samples(&self, normal: Pair) -> Vec<Sample> {
        let device = self.device.unwrap_or(0);
        let mut marks = Marks::of(u32::from(self.status.unwrap_or(0)), &STATUS_MARKS);
        marks.add_all(&Marks::of(device, &DEVICE_MARKS));
        let pulse_marks = marks.with(device >> QUESTIONABLE_PULSE & 1 == 1, Mark::Questionable);
        let saturation = sample(Kind::OxygenSaturation, normal.saturation, Unit::Percent, &marks);
        let pulse = sample(Kind::PulseRate, normal.pulse, Unit::PerMinute, &pulse_marks);
        let amplitude = self
            .amplitude
            .map(|number| sample(Kind::PulseAmplitude, number, Unit::Percent, &marks));
        [saturation, pulse].into_iter().chain(amplitude).collect()
    }

    fn fields(&self) -> impl Iterator<Item = Field> {
        let status = self
            .status
            .map(|word| Field::flags("status", u32::from(word), &STATUS_NAMES));
        let device = self
            .device
            .map(|word| Field::flags("device_status", word, &DEVICE_NAMES));
        let amplitude = self
            .amplitude
            .map(|number| Field::measure("amplitude", number, Unit::Percent));
        status.into_iter().chain(device).chain(amplitude)
    }
}

impl Characteristic for SpotCheck {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        bytes.note_reserved(u32::from(flags & 0xe0));
        Ok(SpotCheck {
            normal: Pair::read(bytes)?,
            time: when(has(0), || bytes.date_time("time"))?,
            condition: Condition::read(bytes, [has(1), has(2), has(3)])?,
            clock_not_set: has(4),
        })
    }

    fn samples(&self) -> Vec<Sample> {
        self.condition.samples(self.normal)
    }

    fn clock(&self) -> DeviceClock {
        match (self.clock_not_set, self.time) {
            (true, _) => DeviceClock::Unset,
            (false, time) => time.map_or(DeviceClock::NotTold, DateTime::clock),
        }
    }

    fn fields(&self) -> Vec<Field> {
        let time = self.time.map(|time| Field::text("time", time.to_string()));
        let unset = self.clock_not_set.then(|| Field::text("clock", "not set"));
        let pair = self.normal.fields(["saturation", "pulse"]);
        pair.into_iter()
            .chain(time)
            .chain(self.condition.fields())
            .chain(unset)
            .collect()
    }
}

impl Characteristic for Continuous {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        bytes.note_reserved(u32::from(flags & 0xe0));
        Ok(Continuous {
            normal: Pair::read(bytes)?,
            fast: when(has(0), || Pair::read(bytes))?,
            slow: when(has(1), || Pair::read(bytes))?,
            condition: Condition::read(bytes, [has(2), has(3), has(4)])?,
        })
    }

    fn samples(&self) -> Vec<Sample> {
        self.condition.samples(self.normal)
    }

    fn fields(&self) -> Vec<Field> {
        let fast = self
            .fast
            .map(|pair| pair.fields(["fast_saturation", "fast_pulse"]));
        let slow = self
            .slow
            .map(|pair| pair.fields(["slow_saturation", "slow_pulse"]));
        let normal = self.normal.fields(["saturation", "pulse"]);
        let more = fast.into_iter().chain(slow).flatten();
        normal
            .into_iter()
            .chain(more)
            .chain(self.condition.fields())
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use homeward_protocol::reading::{Quality, Value};

    fn with_status(status: u16) -> Vec<Sample> {
        let [low, high] = status.to_le_bytes();
        let value = [0b100, 95, 0, 60, 0, low, high];
        decode(0x2a5f, &value).expect("decodes").remove(0).samples
    }

    #[test]
    fn a_demonstration_a_test_and_what_is_invalid_never_become_a_value() {
        for (bit, mark) in [
            (10, Mark::NotAPatient),
            (11, Mark::NotAPatient),
            (12, Mark::NotAPatient),
            (13, Mark::Invalid),
            (15, Mark::Invalid),
        ] {
            for sample in with_status(1 << bit) {
                assert_eq!(
                    (sample.value, sample.marks.as_slice()),
                    (Value::Absent, &[mark][..])
                );
            }
        }
    }

    #[test]
    fn what_is_doubtful_or_old_travels_with_the_value() {
        for (bit, mark, quality) in [
            (5, Mark::Ongoing, Quality::Good),
            (6, Mark::EarlyEstimate, Quality::Doubtful),
            (9, Mark::FromStorage, Quality::Good),
            (14, Mark::Questionable, Quality::Doubtful),
        ] {
            for sample in with_status(1 << bit) {
                assert!(matches!(sample.value, Value::Number(_)));
                assert_eq!((sample.quality, sample.marks.as_slice()), (quality, &[mark][..]));
            }
        }
    }

    #[test]
    fn a_clock_that_is_not_set_voids_the_time_that_was_sent() {
        let value = [0b1_0001, 95, 0, 60, 0, 0xe8, 7, 11, 29, 23, 8, 57];
        let got = decode(0x2a5e, &value).expect("decodes").remove(0);
        assert_eq!(got.clock, DeviceClock::Unset);
        assert!(got.samples.iter().all(|s| s.marks == [Mark::SensorClockUnset]));
    }

    #[test]
    fn a_questionable_pulse_is_said_of_the_pulse_alone() {
        let value = [0b1000, 95, 0, 60, 0, 0, 1, 0];
        let got = decode(0x2a5f, &value).expect("decodes").remove(0).samples;
        assert_eq!(got[0].quality, Quality::Good);
        assert_eq!(got[1].marks, [Mark::Questionable]);
    }

    #[test]
    fn the_usual_averaging_is_the_value_and_the_others_are_fields() {
        let value = [0b11, 95, 0, 60, 0, 94, 0, 61, 0, 96, 0, 59, 0];
        let got = decode(0x2a5f, &value).expect("decodes").remove(0);
        assert_eq!(got.samples.len(), 2);
        assert_eq!(got.fields.list().len(), 6);
    }
}
