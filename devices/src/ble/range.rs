//! What a body can have at all: wide enough for the dying, narrow enough that a wrong unit shows.

use homeward_protocol::reading::Kind;
use homeward_protocol::unit::Decimal;

/// Lowest and highest value of `kind` that is not labelled as out of range, in the unit of the kind; none for
/// kinds that are not a body's.
///
/// Wider than any alarm limit on purpose: survivors are known at 13.7 degrees Celsius and at 2,600 mg/dL. A cuff's
/// kilopascals read as millimetres of mercury, or a scale's pounds read as 0.005 kg steps, may still fall inside;
/// units are therefore told by flags and never guessed from a range.
pub fn plausible(kind: Kind) -> Option<(Decimal, Decimal)> {
    // Tenths of the unit.
    let (low, high): (i64, i64) = match kind {
        Kind::HeartRate | Kind::PulseRate => (0, 3500),
        Kind::SystolicPressure | Kind::MeanPressure => (100, 3500),
        Kind::DiastolicPressure => (50, 3000),
        Kind::CuffPressure => (0, 4000),
        Kind::BodyTemperature => (100, 500),
        Kind::OxygenSaturation => (100, 1000),
        Kind::PulseAmplitude | Kind::BodyFat | Kind::MusclePercentage => (0, 1000),
        Kind::BloodGlucose => (50, 30_000),
        Kind::TissueGlucose => (50, 10_000),
        Kind::GlucoseTrend => (-1000, 1000),
        Kind::GlycatedHaemoglobin => (20, 300),
        Kind::Carbohydrate => (0, 10_000),
        Kind::BodyWeight => (2, 7000),
        Kind::BodyHeight => (2, 30),
        Kind::BodyMassIndex => (30, 3000),
        Kind::MuscleMass | Kind::FatFreeMass | Kind::SoftLeanMass | Kind::BodyWaterMass => (0, 7000),
        Kind::BodyImpedance => (10, 100_000),
        Kind::BasalMetabolism => (3000, 655_350),
        Kind::EnergyExpended => (0, 655_350),
        _ => return None,
    };
    Some((Decimal::new(low, -1).ok()?, Decimal::new(high, -1).ok()?))
}
