//! Glucose Measurement Context (2A34) of service 1808: what was around a glucose record.

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError, RecordKey};
use crate::sample::Sample;

const LITRES: u32 = 5;
const OVERRUN: u16 = u16::MAX;

/// The context of a glucose record, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GlucoseContext {
    /// The number of the record it belongs to.
    pub sequence: u16,
    /// Flags that are kept for later, as they came.
    pub extended: Option<u8>,
    /// What was eaten: a code, and kilograms.
    pub carbohydrate: Option<(u8, Number)>,
    /// Before, after, fasting, casual or bedtime: a code.
    pub meal: Option<u8>,
    /// Who measured (low nibble) and how they felt (high nibble).
    pub tester_health: Option<u8>,
    /// Seconds of exercise (65535 is more than fits), and its intensity in per cent.
    pub exercise: Option<(u16, u8)>,
    /// Which medicine, and how much of it.
    pub medication: Option<Medication>,
    /// Glycated haemoglobin, per cent.
    pub hba1c: Option<Number>,
}

/// An amount of a medicine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Medication {
    /// Which one: a code.
    pub which: u8,
    /// How much.
    pub amount: Number,
    /// Whether the flag says litres; else it says kilograms.
    pub litres: bool,
}

impl Medication {
    /// The UCUM code of the amount; none when the number cannot tell it.
    ///
    /// The field's definition says kilograms or litres, the flag's text milligrams or millilitres, and devices
    /// follow either. A dose below 0.01 in the larger unit, or of at least 0.1 in the smaller one, fits one of them
    /// only; what lies between stays without a unit.
    pub fn ucum(&self) -> Option<&'static str> {
        let amount = self.amount.decimal()?.to_f64();
        match (self.litres, amount) {
            (_, amount) if amount <= 0.0 => None,
            (false, amount) if amount < 0.01 => Some("kg"),
            (true, amount) if amount < 0.01 => Some("L"),
            (false, amount) if amount >= 0.1 => Some("mg"),
            (true, amount) if amount >= 0.1 => Some("mL"),
            _ => None,
        }
    }

    fn fields(&self) -> [Field; 2] {
        let which = coded("medication", self.which, medication(self.which));
        let amount = Field {
            ucum: self.ucum(),
            ..Field::number("medication_amount", self.amount, "")
        };
        [which, amount]
    }
}

impl Characteristic for GlucoseContext {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = u32::from(bytes.u8("flags")?);
        let has = |bit: u32| flags >> bit & 1 == 1;
        let read = GlucoseContext {
            sequence: bytes.u16("sequence")?,
            extended: when(has(7), || bytes.u8("extended"))?,
            carbohydrate: when(has(0), || {
                Ok((bytes.u8("carbohydrate")?, bytes.sfloat("carbohydrate")?))
            })?,
            meal: when(has(1), || bytes.u8("meal"))?,
            tester_health: when(has(2), || bytes.u8("tester_and_health"))?,
            exercise: when(has(3), || {
                Ok((bytes.u16("exercise_duration")?, bytes.u8("exercise_intensity")?))
            })?,
            medication: when(has(4), || {
                Ok(Medication {
                    which: bytes.u8("medication")?,
                    amount: bytes.sfloat("medication")?,
                    litres: has(LITRES),
                })
            })?,
            hba1c: when(has(6), || bytes.sfloat("hba1c"))?,
        };
        bytes.note_reserved(u32::from(read.extended.unwrap_or(0)));
        Ok(read)
    }

    fn samples(&self) -> Vec<Sample> {
        let mut marks = Marks::default();
        marks.add(Mark::FromStorage);
        let eaten = self
            .carbohydrate
            .map(|(_, kilograms)| sample(Kind::Carbohydrate, kilograms.shifted(3), Unit::Gram, &marks));
        let hba1c = self
            .hba1c
            .map(|number| sample(Kind::GlycatedHaemoglobin, number, Unit::Percent, &marks));
        eaten.into_iter().chain(hba1c).collect()
    }

    fn record(&self) -> Option<RecordKey> {
        Some(RecordKey {
            sequence: self.sequence,
            base: None,
        })
    }

    fn fields(&self) -> Vec<Field> {
        let mut all = vec![Field::count("sequence", self.sequence)];
        all.extend(self.extended.map(|flags| Field::count("extended", flags)));
        if let Some((which, kilograms)) = self.carbohydrate {
            all.push(coded("carbohydrate", which, carbohydrate(which)));
            all.push(Field::number(
                "carbohydrate_amount",
                kilograms,
                Unit::Kilogram.ucum(),
            ));
        }
        all.extend(self.meal.map(|code| coded("meal", code, meal(code))));
        if let Some(octet) = self.tester_health {
            let (who, how) = (octet & 0x0f, octet >> 4);
            all.push(coded("tester", who, tester(who)));
            all.push(coded("health", how, health(how)));
        }
        all.extend(self.exercise.iter().flat_map(|told| exercise(*told)));
        all.extend(self.medication.iter().flat_map(Medication::fields));
        all.extend(
            self.hba1c
                .map(|told| Field::measure("hba1c", told, Unit::Percent)),
        );
        all
    }
}

fn exercise((seconds, intensity): (u16, u8)) -> [Field; 2] {
    let duration = if seconds == OVERRUN {
        Field::text("exercise_duration", "longer than the device can say")
    } else {
        Field::measure("exercise_duration", Number::whole(seconds), Unit::Second)
    };
    let intensity = Number::whole(u16::from(intensity));
    [
        duration,
        Field::measure("exercise_intensity", intensity, Unit::Percent),
    ]
}

fn coded(field: &'static str, code: u8, name: Option<&str>) -> Field {
    let unknown = || format!("unknown code {code}");
    Field::text(field, name.map_or_else(unknown, str::to_owned))
}

const fn carbohydrate(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "breakfast",
        2 => "lunch",
        3 => "dinner",
        4 => "snack",
        5 => "drink",
        6 => "supper",
        7 => "brunch",
        _ => return None,
    })
}

const fn meal(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "before a meal",
        2 => "after a meal",
        3 => "fasting",
        4 => "casual",
        5 => "bedtime",
        _ => return None,
    })
}

const fn tester(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "self",
        2 => "health care professional",
        3 => "laboratory",
        15 => "not told",
        _ => return None,
    })
}

const fn health(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "minor issues",
        2 => "major issues",
        3 => "during menses",
        4 => "under stress",
        5 => "no issues",
        15 => "not told",
        _ => return None,
    })
}

const fn medication(code: u8) -> Option<&'static str> {
    Some(match code {
        1 => "rapid acting insulin",
        2 => "short acting insulin",
        3 => "intermediate acting insulin",
        4 => "long acting insulin",
        5 => "pre-mixed insulin",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use homeward_protocol::reading::Value;

    #[test]
    fn the_extended_flags_come_before_the_carbohydrate() {
        // 45 x 10^-3 kg of breakfast.
        let value = [0x81, 7, 0, 0, 1, 45, 0xd0];
        let got = decode(0x2a34, &value).expect("decodes").remove(0);
        let Value::Number(grams) = got.samples[0].value else {
            panic!("{got:?}")
        };
        assert_eq!(grams.to_string(), "45");
        assert!(!got.reserved);
    }

    #[test]
    fn the_size_of_a_dose_tells_its_unit_or_nothing_does() {
        let dose = |mantissa, exponent, litres| {
            let amount = Number::Finite { mantissa, exponent };
            Medication {
                which: 1,
                amount,
                litres,
            }
            .ucum()
        };
        assert_eq!(dose(5, -5, false), Some("kg"));
        assert_eq!(dose(500, 0, false), Some("mg"));
        assert_eq!(dose(12, -2, true), Some("mL"));
        assert_eq!(dose(12, -5, true), Some("L"));
        assert_eq!(dose(5, -2, true), None);
        assert_eq!(dose(0, 0, true), None);
    }

    #[test]
    fn everything_at_once_is_listed_in_order() {
        let value = [
            0x7f, 7, 0, 1, 45, 0xd0, 2, 0x51, 0xff, 0xff, 80, 1, 12, 0, 72, 0xf0,
        ];
        let got = decode(0x2a34, &value).expect("decodes").remove(0);
        let names: Vec<&str> = got.fields.list().iter().map(|field| field.name).collect();
        assert_eq!(names.len(), 11, "{names:?}");
        assert_eq!(names.last(), Some(&"hba1c"));
        assert!(got.trailing.is_empty());
    }
}
