//! What a body can have at all: wide enough for the dying, narrow enough that a wrong unit shows.

use homeward_protocol::reading::Kind;
use homeward_protocol::unit::Decimal;

/// Lowest and highest value of `kind` that is not labelled as out of range, in the unit of the kind; none for
/// kinds that are not a body's.
///
/// Wider than any alarm limit on purpose: survivors are known at 13.7 degrees Celsius and at 2,600 mg/dL. A usual
/// pressure in kilopascal that was called millimetres of mercury falls outside, as Fahrenheit called Celsius does;
/// pounds called kilograms do not. A unit is told by its flag and never guessed from this. A rate of 0, which sensors
/// send when they find no beat, is labelled too: a person must look.
pub fn plausible(kind: Kind) -> Option<(Decimal, Decimal)> {
    // Tenths of the unit.
    let (low, high): (i64, i64) = match kind {
        Kind::HeartRate | Kind::PulseRate => (10, 3500),
        Kind::SystolicPressure => (300, 3500),
        Kind::MeanPressure => (200, 3500),
        Kind::DiastolicPressure => (150, 3000),
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
