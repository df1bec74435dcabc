//! Glucose Measurement (2A18) of service 1808. Its context (2A34) is in [`super::glucose_context`].

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError, RecordKey};
use crate::sample::Sample;

const OFFSET: u8 = 1;
const CONCENTRATION: u8 = 1 << 1;
const MOLES: u8 = 1 << 2;
const STATUS: u8 = 1 << 3;
const CONTEXT: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

const TIME_FAULT: u16 = 1 << 11;
const STATUS_RESERVED: u16 = 0xf000;

const STATUS_MARKS: [(u32, Mark); 11] = [
    (0, Mark::LowBattery),
    (1, Mark::DeviceFault),
    (2, Mark::SampleFault),
    (3, Mark::SampleFault),
    (4, Mark::SampleFault),
    (5, Mark::BeyondDevice),
    (6, Mark::BeyondDevice),
    (7, Mark::TemperatureFault),
    (8, Mark::TemperatureFault),
    (9, Mark::SampleFault),
    (10, Mark::DeviceFault),
];

const STATUS_NAMES: [(u32, &str); 12] = [
    (0, "battery low"),
    (1, "sensor malfunction"),
    (2, "sample too small"),
    (3, "strip inserted wrongly"),
    (4, "wrong strip"),
    (5, "above what the device can measure"),
    (6, "below what the device can measure"),
    (7, "too hot"),
    (8, "too cold"),
    (9, "strip pulled too soon"),
    (10, "general fault"),
    (11, "clock fault"),
];

/// One glucose record, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Glucose {
    /// Its number among the meter's records.
    pub sequence: u16,
    /// The meter's own time without later corrections.
    pub base: DateTime,
    /// Minutes by which the time shown to the user differs from `base`.
    pub offset: Option<i16>,
    /// What was measured.
    pub concentration: Option<Concentration>,
    /// Status bits, as they came.
    pub status: Option<u16>,
    /// Whether a context with the same number follows.
    pub context_follows: bool,
}

/// A concentration of glucose and what it was measured in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Concentration {
    /// Kilograms per litre or moles per litre.
    pub unit: GlucoseUnit,
    /// The number in that unit.
    pub value: Number,
    /// What was measured in.
    pub fluid: Fluid,
    /// Where it was taken.
    pub place: Place,
}

/// The two units a meter sends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GlucoseUnit {
    /// Kilograms per litre.
    KilogramPerLitre,
    /// Moles per litre.
    MolePerLitre,
}

/// Which fluid: the low nibble of Type-Sample Location, also in CGM features.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fluid(pub u8);

/// Where it was taken: the high nibble of Type-Sample Location.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place(pub u8);

impl GlucoseUnit {
    /// The UCUM code.
    pub const fn ucum(self) -> &'static str {
        match self {
            GlucoseUnit::KilogramPerLitre => "kg/L",
            GlucoseUnit::MolePerLitre => "mol/L",
        }
    }
}

impl Fluid {
    /// In plain words; none for a code that is not defined.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "capillary whole blood",
            2 => "capillary plasma",
            3 => "venous whole blood",
            4 => "venous plasma",
            5 => "arterial whole blood",
            6 => "arterial plasma",
            7 => "undetermined whole blood",
            8 => "undetermined plasma",
            9 => "interstitial fluid",
            10 => "control solution",
            _ => return None,
        })
    }

    pub(super) fn field(self) -> Field {
        let unknown = || format!("unknown code {}", self.0);
        Field::text("fluid", self.name().map_or_else(unknown, str::to_owned))
    }
}

impl Place {
    /// In plain words; none for a code that is not defined.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "finger",
            2 => "alternate site",
            3 => "earlobe",
            4 => "control solution",
            5 => "subcutaneous tissue",
            15 => "not told",
            _ => return None,
        })
    }

    pub(super) fn field(self) -> Field {
        let unknown = || format!("unknown code {}", self.0);
        Field::text("place", self.name().map_or_else(unknown, str::to_owned))
    }
}

impl Concentration {
    fn read(bytes: &mut Bytes<'_>, unit: GlucoseUnit) -> Result<Self, DecodeError> {
        let value = bytes.sfloat("concentration")?;
        let (fluid, place) = fluid_and_place(bytes)?;
        Ok(Concentration {
            unit,
            value,
            fluid,
            place,
        })
    }

    /// Whether it is a check of the meter and nobody's blood.
    pub const fn is_control(&self) -> bool {
        self.fluid.0 == 10 || self.place.0 == 4
    }

    fn sample(&self, marks: &Marks) -> Sample {
        let kind = if self.fluid.0 == 9 {
            Kind::TissueGlucose
        } else {
            Kind::BloodGlucose
        };
        // kg/L x 10^5 = mg/dL; mol/L x 10^3 = mmol/L.
        let (number, unit) = match self.unit {
            GlucoseUnit::KilogramPerLitre => (self.value.shifted(5), Unit::MilligramPerDecilitre),
            GlucoseUnit::MolePerLitre => (self.value.shifted(3), Unit::MillimolePerLitre),
        };
        let marks = marks.with(self.is_control(), Mark::ControlSolution);
        // A fluid that is not known may be a control too: no number then.
        let marks = marks.with(self.fluid.name().is_none(), Mark::Invalid);
        sample(kind, number, unit, &marks)
    }

    fn fields(&self) -> [Field; 3] {
        let value = Field::number("concentration", self.value, self.unit.ucum());
        [value, self.fluid.field(), self.place.field()]
    }
}

/// Reads the octet Type-Sample Location.
pub(super) fn fluid_and_place(bytes: &mut Bytes<'_>) -> Result<(Fluid, Place), DecodeError> {
    let octet = bytes.u8("fluid_and_place")?;
    let (fluid, place) = (Fluid(octet & 0x0f), Place(octet >> 4));
    bytes.note_reserved(u32::from(fluid.name().is_none() || place.name().is_none()));
    Ok((fluid, place))
}

impl Characteristic for Glucose {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        bytes.note_reserved(u32::from(flags & RESERVED));
        let unit = if flags & MOLES == 0 {
            GlucoseUnit::KilogramPerLitre
        } else {
            GlucoseUnit::MolePerLitre
        };
        let read = Glucose {
            sequence: bytes.u16("sequence")?,
            base: bytes.date_time("base")?,
            offset: when(flags & OFFSET != 0, || bytes.i16("offset"))?,
            concentration: when(flags & CONCENTRATION != 0, || Concentration::read(bytes, unit))?,
            status: when(flags & STATUS != 0, || bytes.u16("status"))?,
            context_follows: flags & CONTEXT != 0,
        };
        bytes.note_reserved(u32::from(read.status.unwrap_or(0) & STATUS_RESERVED));
        Ok(read)
    }

    fn samples(&self) -> Vec<Sample> {
        let mut marks = Marks::of(u32::from(self.status.unwrap_or(0)), &STATUS_MARKS);
        marks.add(Mark::FromStorage);
        let sample = self.concentration.map(|told| told.sample(&marks));
        sample.into_iter().collect()
    }

    /// The time as the meter shows it to its user.
    fn clock(&self) -> DeviceClock {
        let fault = self.status.unwrap_or(0) & TIME_FAULT != 0;
        match self.base.wall_clock() {
            Some(base) if !fault => DeviceClock::At(base.plus_minutes(self.offset.unwrap_or(0))),
            _ => DeviceClock::Unset,
        }
    }

    fn record(&self) -> Option<RecordKey> {
        Some(RecordKey {
            sequence: self.sequence,
            base: Some(self.base),
        })
    }

    fn fields(&self) -> Vec<Field> {
        let fixed = [
            Field::count("sequence", self.sequence),
            Field::text("base", self.base.to_string()),
        ];
        let offset = self.offset.map(|minutes| Field {
            ucum: Some(Unit::Minute.ucum()),
            ..Field::count("offset", minutes)
        });
        let told = self.concentration.iter().flat_map(Concentration::fields);
        let status = self
            .status
            .map(|word| Field::flags("status", u32::from(word), &STATUS_NAMES));
        let follows = if self.context_follows { "follows" } else { "none" };
        let last = status.into_iter().chain([Field::text("context", follows)]);
        fixed.into_iter().chain(offset).chain(told).chain(last).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use homeward_protocol::reading::Value;

    /// A record of 2024-03-31 23:58 with `status`, in mmol/L or mg/dL.
    fn record(
        flags: u8,
        offset: &[u8],
        concentration: [u8; 2],
        octet: u8,
        status: &[u8],
    ) -> super::super::Measured {
        let mut value = vec![flags, 7, 0, 0xe8, 7, 3, 31, 23, 58, 0];
        value.extend_from_slice(offset);
        value.extend_from_slice(&concentration);
        value.push(octet);
        value.extend_from_slice(status);
        decode(0x2a18, &value).expect("decodes").remove(0)
    }

    fn shown(value: Value) -> String {
        match value {
            Value::Number(number) => number.to_string(),
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn both_units_come_out_in_milligrams_per_decilitre() {
        // 98 x 10^-5 kg/L; 55 x 10^-4 mol/L.
        let kilograms = record(2, &[], [98, 0xb0], 0x11, &[]);
        let moles = record(6, &[], [55, 0xc0], 0x11, &[]);
        assert_eq!(shown(kilograms.samples[0].value), "98");
        assert_eq!(kilograms.samples[0].sent, None);
        assert_eq!(shown(moles.samples[0].value), "99");
        let sent = moles.samples[0].sent.expect("converted");
        assert_eq!(
            (sent.value.to_string(), sent.unit),
            ("5.5".into(), Unit::MillimolePerLitre)
        );
    }

    #[test]
    fn a_control_solution_is_nobodys_blood() {
        for octet in [0x1a, 0x41, 0xfa] {
            let sample = record(2, &[], [98, 0xb0], octet, &[]).samples.remove(0);
            assert_eq!((sample.value, sample.sent), (Value::Absent, None));
            assert_eq!(sample.marks, [Mark::FromStorage, Mark::ControlSolution]);
        }
    }

    #[test]
    fn a_fluid_that_is_not_defined_gives_no_number() {
        let sample = record(2, &[], [98, 0xb0], 0x1b, &[]).samples.remove(0);
        assert_eq!(sample.value, Value::Absent);
        assert_eq!(sample.marks, [Mark::FromStorage, Mark::Invalid, Mark::ExtraData]);
    }

    #[test]
    fn the_time_is_the_one_the_user_sees_unless_the_clock_had_a_fault() {
        let DeviceClock::At(at) = record(3, &[5, 0], [98, 0xb0], 0x11, &[]).clock else {
            panic!("a time")
        };
        assert_eq!(at.to_string(), "2024-04-01T00:03:00");
        let faulty = record(0b1010, &[], [98, 0xb0], 0x11, &[0, 0x08]);
        assert_eq!(faulty.clock, DeviceClock::Unset);
        assert_eq!(shown(faulty.samples[0].value), "98");
    }
}
