//! Weight Measurement (2A9D) of service 181D.

use homeward_protocol::reading::Kind;
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError, user_field};
use crate::sample::Sample;

/// A scale says by it that it could not measure.
const FAILED: u16 = u16::MAX;

/// The two systems of units that a scale sends in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum System {
    /// Kilograms and metres.
    Metric,
    /// Pounds and inches.
    Imperial,
}

/// One weight, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weight {
    /// The units of weight and height.
    pub system: System,
    /// Steps of 0.005 kg or 0.01 lb; 65535 is a failed measurement.
    pub weight: u16,
    /// The scale's own time.
    pub time: Option<DateTime>,
    /// Which of the scale's users; 255 is nobody known.
    pub user: Option<u8>,
    /// Body mass index in 0.1 kg/m2, and height in 0.001 m or 0.1 in.
    pub index_height: Option<(u16, u16)>,
}

impl System {
    pub(super) const fn of(imperial: bool) -> Self {
        if imperial {
            System::Imperial
        } else {
            System::Metric
        }
    }

    /// A mass field: steps of 0.005 kg or 0.01 lb.
    pub(super) const fn mass(self, raw: u16) -> (Number, Unit) {
        let (step, exponent, unit) = match self {
            System::Metric => (5, -3, Unit::Kilogram),
            System::Imperial => (1, -2, Unit::Pound),
        };
        if raw == FAILED {
            (Number::NotANumber, unit)
        } else {
            (Number::scaled(raw, step, exponent), unit)
        }
    }

    /// A height field: steps of 0.001 m or 0.1 in.
    pub(super) const fn height(self, raw: u16) -> (Number, Unit) {
        match self {
            System::Metric => (Number::scaled(raw, 1, -3), Unit::Metre),
            System::Imperial => (Number::scaled(raw, 1, -1), Unit::Inch),
        }
    }
}

impl Weight {
    /// Every number of it, with its kind, its name and the unit it came in.
    fn numbers(&self) -> Vec<(Kind, &'static str, Number, Unit)> {
        let (weight, unit) = self.system.mass(self.weight);
        let mut all = vec![(Kind::BodyWeight, "weight", weight, unit)];
        if let Some((index, height)) = self.index_height {
            let index = Number::scaled(index, 1, -1);
            let (height, unit) = self.system.height(height);
            all.push((
                Kind::BodyMassIndex,
                "body_mass_index",
                index,
                Unit::KilogramPerSquareMetre,
            ));
            all.push((Kind::BodyHeight, "height", height, unit));
        }
        all
    }
}

impl Characteristic for Weight {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        let has = |bit: u8| flags >> bit & 1 == 1;
        bytes.note_reserved(u32::from(flags & 0xf0));
        Ok(Weight {
            system: System::of(has(0)),
            weight: bytes.u16("weight")?,
            time: when(has(1), || bytes.date_time("time"))?,
            user: when(has(2), || bytes.u8("user"))?,
            index_height: when(has(3), || {
                Ok((bytes.u16("body_mass_index")?, bytes.u16("height")?))
            })?,
        })
    }

    fn samples(&self) -> Vec<Sample> {
        let marks = Marks::default();
        let numbers = self.numbers().into_iter();
        numbers
            .map(|(kind, _, number, unit)| sample(kind, number, unit, &marks))
            .collect()
    }

    fn clock(&self) -> DeviceClock {
        self.time.map_or(DeviceClock::NotTold, DateTime::clock)
    }

    fn fields(&self) -> Vec<Field> {
        let mut all: Vec<Field> = self
            .numbers()
            .into_iter()
            .map(|(_, name, number, unit)| Field::measure(name, number, unit))
            .collect();
        let time = self.time.map(|time| Field::text("time", time.to_string()));
        let between: Vec<Field> = time.into_iter().chain(self.user.map(user_field)).collect();
        all.splice(1..1, between);
        all
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use homeward_protocol::reading::{Mark, Value};

    #[test]
    fn pounds_and_inches_come_out_in_kilograms_and_metres() {
        // 157.00 lb, index 24.0, 70.0 in.
        let value = [0b1001, 0x54, 0x3d, 240, 0, 0xbc, 2];
        let got = decode(0x2a9d, &value).expect("decodes").remove(0).samples;
        let shown: Vec<String> = got
            .iter()
            .map(|sample| match sample.value {
                Value::Number(number) => number.to_string(),
                other => format!("{other:?}"),
            })
            .collect();
        assert_eq!(shown, ["71.214", "24.0", "1.778"]);
    }

    #[test]
    fn a_failed_measurement_is_absent() {
        let got = decode(0x2a9d, &[0, 0xff, 0xff])
            .expect("decodes")
            .remove(0)
            .samples;
        assert_eq!(
            (got[0].value, got[0].marks.as_slice()),
            (Value::Absent, &[Mark::Invalid][..])
        );
    }

    #[test]
    fn fields_stand_in_the_order_sent() {
        let value = [
            0b1110, 0xb0, 0x36, 0xe7, 7, 12, 25, 14, 30, 45, 3, 240, 0, 0xbc, 2,
        ];
        let got = decode(0x2a9d, &value).expect("decodes").remove(0).fields.list();
        let names: Vec<&str> = got.iter().map(|field| field.name).collect();
        assert_eq!(names, ["weight", "time", "user", "body_mass_index", "height"]);
    }
}
