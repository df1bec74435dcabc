//! Blood Pressure Measurement (2A35), Intermediate Cuff Pressure (2A36) and Blood Pressure Feature (2A49) of
//! service 1810.

use homeward_protocol::reading::{Kind, Mark, Quality, Value};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError, user_field};
use crate::exact::Exact;
use crate::sample::Sample;

const KILOPASCAL: u8 = 1;
const TIME: u8 = 1 << 1;
const PULSE: u8 = 1 << 2;
const USER: u8 = 1 << 3;
const STATUS: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

const PULSE_ABOVE: u16 = 0b01 << 3;
const PULSE_BELOW: u16 = 0b10 << 3;
const PULSE_RANGE: u16 = 0b11 << 3;
const STATUS_RESERVED: u16 = 0xffc0;

const MARKS: [(u32, Mark); 4] = [
    (0, Mark::Moved),
    (1, Mark::CuffPosition),
    (2, Mark::IrregularPulse),
    (5, Mark::CuffPosition),
];

const STATUS_NAMES: [(u32, &str); 6] = [
    (0, "body moved"),
    (1, "cuff too loose"),
    (2, "irregular pulse"),
    (3, "pulse above range"),
    (4, "pulse below range"),
    (5, "wrong position"),
];

const FEATURE_NAMES: [(u32, &str); 6] = [
    (0, "detects movement"),
    (1, "detects a loose cuff"),
    (2, "detects an irregular pulse"),
    (3, "detects the range of the pulse"),
    (4, "detects a wrong position"),
    (5, "keeps several bonds"),
];

/// One blood pressure, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BloodPressure {
    /// The unit of the three pressures: millimetres of mercury or kilopascal.
    pub unit: Unit,
    /// Systolic pressure.
    pub systolic: Number,
    /// Diastolic pressure.
    pub diastolic: Number,
    /// Mean arterial pressure; many cuffs give none.
    pub mean: Number,
    /// The cuff's own time.
    pub time: Option<DateTime>,
    /// Pulse, per minute.
    pub pulse: Option<Number>,
    /// Which of the cuff's users; 255 is nobody known.
    pub user: Option<u8>,
    /// Status bits, as they came.
    pub status: Option<u16>,
}

/// The pressure of a cuff that is still measuring, as it was sent.
///
/// The layout is that of [`BloodPressure`]; only the first pressure means anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CuffPressure(pub BloodPressure);

/// What a cuff can detect at all: the absence of a status bit proves something only where its detection is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BloodPressureFeature(pub u16);

impl BloodPressure {
    fn marks(&self) -> Marks {
        Marks::of(u32::from(self.status.unwrap_or(0)), &MARKS)
    }

    fn pulse_sample(&self) -> Option<Sample> {
        let range = self.status.unwrap_or(0) & PULSE_RANGE;
        let beyond = range == PULSE_ABOVE || range == PULSE_BELOW;
        let marks = self.marks().with(beyond, Mark::BeyondDevice);
        self.pulse
            .map(|pulse| sample(Kind::PulseRate, pulse, Unit::PerMinute, &marks))
    }
}

impl Characteristic for BloodPressure {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        bytes.note_reserved(u32::from(flags & RESERVED));
        let read = BloodPressure {
            unit: if flags & KILOPASCAL == 0 {
                Unit::MillimetreOfMercury
            } else {
                Unit::Kilopascal
            },
            systolic: bytes.sfloat("systolic")?,
            diastolic: bytes.sfloat("diastolic")?,
            mean: bytes.sfloat("mean")?,
            time: when(flags & TIME != 0, || bytes.date_time("time"))?,
            pulse: when(flags & PULSE != 0, || bytes.sfloat("pulse"))?,
            user: when(flags & USER != 0, || bytes.u8("user"))?,
            status: when(flags & STATUS != 0, || bytes.u16("status"))?,
        };
        let status = read.status.unwrap_or(0);
        bytes.note_reserved(u32::from(status & STATUS_RESERVED));
        bytes.note_reserved(u32::from(status & PULSE_RANGE == PULSE_RANGE));
        Ok(read)
    }

    fn samples(&self) -> Vec<Sample> {
        let marks = self.marks();
        let pressure = |kind, number| sample(kind, number, self.unit, &marks);
        let mut systolic = pressure(Kind::SystolicPressure, self.systolic);
        let mut diastolic = pressure(Kind::DiastolicPressure, self.diastolic);
        if upside_down(&systolic, &diastolic) {
            for sample in [&mut systolic, &mut diastolic] {
                // What is out of range stays called so.
                if sample.quality == Quality::Good {
                    sample.quality = Quality::Doubtful;
                }
            }
        }
        // A cuff that computes no mean says so with every value: nothing is missing then.
        let mean = (self.mean != Number::NotANumber).then(|| pressure(Kind::MeanPressure, self.mean));
        let both = [systolic, diastolic];
        both.into_iter().chain(mean).chain(self.pulse_sample()).collect()
    }

    fn clock(&self) -> DeviceClock {
        self.time.map_or(DeviceClock::NotTold, DateTime::clock)
    }

    fn fields(&self) -> Vec<Field> {
        let pressures = [
            Field::measure("systolic", self.systolic, self.unit),
            Field::measure("diastolic", self.diastolic, self.unit),
            Field::measure("mean", self.mean, self.unit),
        ];
        pressures.into_iter().chain(self.tail()).collect()
    }
}

impl BloodPressure {
    /// What follows the pressures.
    fn tail(&self) -> impl Iterator<Item = Field> {
        let pulse = self.pulse.map(|p| Field::measure("pulse", p, Unit::PerMinute));
        let status = self
            .status
            .map(|word| Field::flags("status", u32::from(word), &STATUS_NAMES));
        let time = self.time.map(|time| Field::text("time", time.to_string()));
        let user = self.user.map(user_field);
        time.into_iter().chain(pulse).chain(user).chain(status)
    }
}

/// Whether the lower pressure is not below the upper one, which no body has.
fn upside_down(systolic: &Sample, diastolic: &Sample) -> bool {
    match (systolic.value, diastolic.value) {
        (Value::Number(upper), Value::Number(lower)) => {
            Exact::from_decimal(lower).is_some_and(|lower| !lower.below(upper))
        }
        _ => false,
    }
}

impl Characteristic for CuffPressure {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        BloodPressure::read(bytes).map(CuffPressure)
    }

    fn samples(&self) -> Vec<Sample> {
        let marks = self.0.marks().with(true, Mark::Ongoing);
        vec![sample(Kind::CuffPressure, self.0.systolic, self.0.unit, &marks)]
    }

    fn clock(&self) -> DeviceClock {
        self.0.clock()
    }

    fn fields(&self) -> Vec<Field> {
        let pressure = Field::measure("cuff_pressure", self.0.systolic, self.0.unit);
        [pressure].into_iter().chain(self.0.tail()).collect()
    }
}

impl Characteristic for BloodPressureFeature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        bytes.u16("feature").map(BloodPressureFeature)
    }

    fn fields(&self) -> Vec<Field> {
        vec![Field::flags("feature", u32::from(self.0), &FEATURE_NAMES)]
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;

    fn samples(value: &[u8]) -> Vec<Sample> {
        decode(0x2a35, value).expect("decodes").remove(0).samples
    }

    #[test]
    fn kilopascals_come_out_in_millimetres_of_mercury_with_the_original_beside() {
        let got = samples(&[1, 16, 0, 11, 0, 0xff, 0x07]);
        let shown: Vec<String> = got
            .iter()
            .map(|s| format!("{:?}", s.sent.map(|s| s.value.to_string())))
            .collect();
        assert_eq!(shown, ["Some(\"16\")", "Some(\"11\")"]);
        assert_eq!(
            got[0].value,
            Value::Number(homeward_protocol::unit::Decimal::whole(120))
        );
    }

    #[test]
    fn a_cuff_without_a_mean_misses_nothing_but_a_failed_measurement_is_told() {
        assert_eq!(samples(&[0, 120, 0, 80, 0, 0xff, 0x07]).len(), 2);
        let failed = samples(&[0, 0xff, 7, 0xff, 7, 0xff, 7]);
        assert!(
            failed
                .iter()
                .all(|s| s.value == Value::Absent && s.marks == [Mark::Invalid])
        );
        assert_eq!(failed.len(), 2);
    }

    #[test]
    fn an_upper_pressure_below_the_lower_one_is_doubted() {
        for (upper, lower, quality) in [
            (80, 120, Quality::Doubtful),
            (80, 80, Quality::Doubtful),
            (120, 80, Quality::Good),
        ] {
            let got = samples(&[0, upper, 0, lower, 0, 0xff, 7]);
            assert_eq!(
                (got[0].quality, got[1].quality),
                (quality, quality),
                "{upper}/{lower}"
            );
        }
    }

    #[test]
    fn a_pulse_beyond_the_cuff_is_said_of_the_pulse_alone() {
        let got = samples(&[0x14, 120, 0, 80, 0, 90, 0, 180, 0, 0x08, 0]);
        assert!(got[0].marks.is_empty());
        assert_eq!(got[3].marks, [Mark::BeyondDevice]);
    }
}
