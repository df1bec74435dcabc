//! From a device's number to a sample: its unit, its range, and what the device says of it.

use homeward_protocol::reading::{Kind, Mark, Quality, Sent, Value};
use homeward_protocol::unit::{Decimal, Unit};

use super::number::Number;
use super::range::plausible;
use crate::exact::Exact;
use crate::sample::Sample;

/// What a device says of a value, each mark once, in the order of [`Mark`].
#[derive(Debug, Clone, Default)]
pub(super) struct Marks(Vec<Mark>);

impl Marks {
    /// The marks of those `rules` whose bits are set in `word`.
    pub(super) fn of(word: u32, rules: &[(u32, Mark)]) -> Self {
        let mut marks = Marks::default();
        for (bit, mark) in rules {
            marks.add_if(word >> bit & 1 == 1, *mark);
        }
        marks
    }

    pub(super) fn add(&mut self, mark: Mark) {
        if let Err(at) = self.0.binary_search(&mark) {
            self.0.insert(at, mark);
        }
    }

    pub(super) fn add_if(&mut self, told: bool, mark: Mark) {
        if told {
            self.add(mark);
        }
    }

    pub(super) fn add_all(&mut self, more: &Marks) {
        for mark in &more.0 {
            self.add(*mark);
        }
    }

    /// These, and one more when it was told.
    pub(super) fn with(&self, told: bool, mark: Mark) -> Self {
        let mut more = self.clone();
        more.add_if(told, mark);
        more
    }

    /// Whether the number must not be taken for a patient's.
    fn void(&self) -> bool {
        let void = [Mark::Invalid, Mark::NotAPatient, Mark::ControlSolution];
        self.0.iter().any(|mark| void.contains(mark))
    }

    /// Whether the device itself doubts the number.
    fn doubtful(&self) -> bool {
        self.0.iter().any(|mark| match mark {
            Mark::EarlyEstimate
            | Mark::Questionable
            | Mark::Moved
            | Mark::CuffPosition
            | Mark::BeyondDevice
            | Mark::PoorSignal
            | Mark::OffBody
            | Mark::SampleFault
            | Mark::TemperatureFault
            | Mark::DeviceFault => true,
            Mark::FromStorage
            | Mark::BySensorClock
            | Mark::SensorClockUnset
            | Mark::Ongoing
            | Mark::Invalid
            | Mark::NotAPatient
            | Mark::ControlSolution
            | Mark::IrregularPulse
            | Mark::LowBattery
            | Mark::ExtraData => false,
        })
    }
}

/// The sample of a number that came in `unit`.
///
/// A special word is absent with its mark; a number that the device declares to be none of a patient's is absent;
/// one outside [`plausible`] is kept and labelled.
pub(super) fn sample(kind: Kind, number: Number, unit: Unit, marks: &Marks) -> Sample {
    let mut marks = marks.clone();
    match number {
        Number::AboveRange | Number::BelowRange => marks.add(Mark::BeyondDevice),
        Number::NotANumber | Number::NotAtThisResolution | Number::Reserved => marks.add(Mark::Invalid),
        Number::Finite { .. } => {}
    }
    let told = number.decimal().filter(|_| !marks.void());
    let value = told.and_then(|sent| convert(sent, unit, kind.unit()));
    // A number that is one, and that no unit of ours can hold.
    let beyond = number.special().is_none() && !marks.void() && value.is_none();
    marks.add_if(beyond, Mark::Invalid);
    let quality = match value {
        Some(value) if !inside(kind, value) => Quality::OutOfRange,
        _ if beyond => Quality::OutOfRange,
        _ if number == Number::Reserved || marks.doubtful() => Quality::Doubtful,
        _ => Quality::Good,
    };
    let sent = told.map(|value| Sent { value, unit });
    Sample {
        kind,
        value: value.map_or(Value::Absent, Value::Number),
        quality,
        marks: marks.0,
        sent: sent.filter(|_| unit != kind.unit() && value.is_some()),
    }
}

fn inside(kind: Kind, value: Decimal) -> bool {
    plausible(kind)
        .is_none_or(|(low, high)| Exact::from_decimal(value).is_some_and(|exact| exact.within(low, high)))
}

/// `value` in the unit `to`: the device's digits where it is the same unit, else exactly converted and rounded.
///
/// Rounded to the coarsest power of ten that keeps any two values of the device apart, and at most to whole
/// numbers. None when there is no way between the units, or the digits do not fit.
fn convert(value: Decimal, from: Unit, to: Unit) -> Option<Decimal> {
    if from == to {
        return Some(value);
    }
    let way = way(from, to)?;
    let exact = Exact::from_decimal(value)?.times(way.factor)?.plus(way.offset)?;
    let places = value.exponent().checked_add(way.finer)?.min(0);
    exact.round(places)
}

struct Way {
    factor: Exact,
    offset: Exact,
    /// The power of ten of the factor, rounded down.
    finer: i8,
}

/// Sources: mmHg = 133.322387415 Pa (13.5951 x 9.80665 Pa); 1 lb = 0.45359237 kg and 1 in = 0.0254 m by
/// definition; glucose 180.156 g/mol (IUPAC standard atomic weights).
fn way(from: Unit, to: Unit) -> Option<Way> {
    let linear = |factor: (i128, i128), offset: (i128, i128), finer| {
        Some(Way {
            factor: Exact::new(factor.0, factor.1)?,
            offset: Exact::new(offset.0, offset.1)?,
            finer,
        })
    };
    match (from, to) {
        (Unit::Kilopascal, Unit::MillimetreOfMercury) => {
            linear((1_000_000_000_000, 133_322_387_415), (0, 1), 0)
        }
        (Unit::Fahrenheit, Unit::Celsius) => linear((5, 9), (-160, 9), -1),
        (Unit::Pound, Unit::Kilogram) => linear((45_359_237, 100_000_000), (0, 1), -1),
        (Unit::Inch, Unit::Metre) => linear((254, 10_000), (0, 1), -2),
        (Unit::MillimolePerLitre, Unit::MilligramPerDecilitre) => linear((180_156, 10_000), (0, 1), 1),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(mantissa: i64, exponent: i8, from: Unit, to: Unit) -> String {
        let value = Decimal::new(mantissa, exponent).expect("in range");
        convert(value, from, to).expect("fits").to_string()
    }

    #[test]
    fn conversions_hit_the_fixed_points() {
        let kpa = |m, e| shown(m, e, Unit::Kilopascal, Unit::MillimetreOfMercury);
        assert_eq!((kpa(189, -1), kpa(16, 0)), ("141.8".into(), "120".into()));
        let f = |m, e| shown(m, e, Unit::Fahrenheit, Unit::Celsius);
        assert_eq!(
            (f(986, -1), f(32, 0), f(-40, 0)),
            ("37.00".into(), "0.0".into(), "-40.0".into())
        );
        assert_eq!(shown(15_700, -2, Unit::Pound, Unit::Kilogram), "71.214");
        assert_eq!(shown(700, -1, Unit::Inch, Unit::Metre), "1.778");
        let mmol = |m, e| shown(m, e, Unit::MillimolePerLitre, Unit::MilligramPerDecilitre);
        assert_eq!((mmol(55, -1), mmol(550, -2)), ("99".into(), "99.1".into()));
    }

    #[test]
    fn two_values_of_a_device_stay_two_after_conversion() {
        for (from, to, exponent) in [
            (Unit::Kilopascal, Unit::MillimetreOfMercury, -1),
            (Unit::Fahrenheit, Unit::Celsius, -1),
            (Unit::Pound, Unit::Kilogram, -2),
            (Unit::Inch, Unit::Metre, -1),
            (Unit::MillimolePerLitre, Unit::MilligramPerDecilitre, -1),
        ] {
            let all = (0..2000).map(|m| shown(m, exponent, from, to));
            let unique: std::collections::BTreeSet<String> = all.collect();
            assert_eq!(unique.len(), 2000, "{from:?}");
        }
    }

    #[test]
    fn a_unit_of_another_quantity_gives_no_number() {
        let marks = Marks::default();
        let got = sample(Kind::BodyTemperature, Number::whole(37), Unit::Kilogram, &marks);
        assert_eq!((got.value, got.quality), (Value::Absent, Quality::OutOfRange));
    }

    #[test]
    fn a_void_value_leaves_nothing_of_its_number() {
        for mark in [Mark::Invalid, Mark::NotAPatient, Mark::ControlSolution] {
            let marks = Marks::default().with(true, mark);
            let got = sample(
                Kind::SystolicPressure,
                Number::whole(16),
                Unit::Kilopascal,
                &marks,
            );
            assert_eq!(
                (got.value, got.sent, got.marks),
                (Value::Absent, None, vec![mark])
            );
        }
    }

    #[test]
    fn a_special_is_absent_with_its_mark() {
        let of = |number| sample(Kind::OxygenSaturation, number, Unit::Percent, &Marks::default());
        for (number, mark) in [
            (Number::NotANumber, Mark::Invalid),
            (Number::NotAtThisResolution, Mark::Invalid),
            (Number::Reserved, Mark::Invalid),
            (Number::AboveRange, Mark::BeyondDevice),
            (Number::BelowRange, Mark::BeyondDevice),
        ] {
            let got = of(number);
            assert_eq!((got.value, got.marks), (Value::Absent, vec![mark]), "{number:?}");
        }
        let far = of(Number::Finite {
            mantissa: 98,
            exponent: 120,
        });
        assert_eq!((far.value, far.quality), (Value::Absent, Quality::OutOfRange));
    }
}
