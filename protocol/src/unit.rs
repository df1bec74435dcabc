//! Numbers as devices resolve them, and the units they are in.

use std::fmt;

use serde::{Deserialize, Serialize};

/// A decimal number that keeps the resolution of the device: 367 x 10^-1 prints `36.7`, never `36.700001`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "(i64, i8)", into = "(i64, i8)")]
pub struct Decimal {
    mantissa: i64,
    exponent: i8,
}

/// Why a pair of numbers is not a [`Decimal`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a decimal's exponent must lie between -18 and 18, this is {0}")]
pub struct DecimalError(i8);

impl Decimal {
    /// `mantissa` x 10^`exponent`; the exponent from -18 to 18 so that printing stays short.
    pub fn new(mantissa: i64, exponent: i8) -> Result<Self, DecimalError> {
        if exponent.unsigned_abs() > 18 {
            Err(DecimalError(exponent))
        } else {
            Ok(Decimal { mantissa, exponent })
        }
    }

    /// A whole number.
    pub const fn whole(mantissa: i64) -> Self {
        Decimal {
            mantissa,
            exponent: 0,
        }
    }

    /// The digits.
    pub const fn mantissa(self) -> i64 {
        self.mantissa
    }

    /// The power of ten.
    pub const fn exponent(self) -> i8 {
        self.exponent
    }

    /// The nearest binary floating point number, for comparisons and charts only.
    #[expect(
        clippy::cast_precision_loss,
        reason = "for comparisons and charts; the digits are kept beside it"
    )]
    pub fn to_f64(self) -> f64 {
        self.mantissa as f64 * 10f64.powi(i32::from(self.exponent))
    }
}

impl TryFrom<(i64, i8)> for Decimal {
    type Error = DecimalError;
    fn try_from((mantissa, exponent): (i64, i8)) -> Result<Self, DecimalError> {
        Decimal::new(mantissa, exponent)
    }
}

impl From<Decimal> for (i64, i8) {
    fn from(d: Decimal) -> (i64, i8) {
        (d.mantissa, d.exponent)
    }
}

impl fmt::Display for Decimal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.mantissa.unsigned_abs().to_string();
        let sign = if self.mantissa < 0 { "-" } else { "" };
        let places = usize::from(self.exponent.unsigned_abs());
        if self.exponent >= 0 {
            let zeros = if self.mantissa == 0 { 0 } else { places };
            write!(f, "{sign}{digits}{}", "0".repeat(zeros))
        } else if digits.len() > places {
            let (whole, part) = digits.split_at(digits.len() - places);
            write!(f, "{sign}{whole}.{part}")
        } else {
            write!(f, "{sign}0.{digits:0>places$}")
        }
    }
}

/// The unit a number is in. What is stored and sent is always one of these; devices' own units are converted
/// at the door, and some stand here for what a device sent before that. Source of the codes: UCUM, case sensitive form.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Unit {
    /// No unit: a count, a state or a set of flags.
    One,
    /// Degrees Celsius.
    Celsius,
    /// Per cent.
    Percent,
    /// Pascal.
    Pascal,
    /// Parts per million.
    PartsPerMillion,
    /// Seconds.
    Second,
    /// Minutes.
    Minute,
    /// Volt.
    Volt,
    /// Ampere.
    Ampere,
    /// Per hour.
    PerHour,
    /// Litres per minute.
    LitrePerMinute,
    /// Beats (or breaths) per minute.
    PerMinute,
    /// Millimetres of mercury.
    MillimetreOfMercury,
    /// Kilograms.
    Kilogram,
    /// Milligrams per decilitre.
    MilligramPerDecilitre,
    /// Millimoles per litre.
    MillimolePerLitre,
    /// Milligrams per decilitre and minute.
    MilligramPerDecilitrePerMinute,
    /// Grams.
    Gram,
    /// Metres.
    Metre,
    /// Kilograms per square metre.
    KilogramPerSquareMetre,
    /// Ohm.
    Ohm,
    /// Kilojoules.
    Kilojoule,
    /// Kilopascal: as cuffs send it.
    Kilopascal,
    /// Degrees Fahrenheit: as thermometers send it.
    Fahrenheit,
    /// Pounds (avoirdupois): as scales send it.
    Pound,
    /// Inches: as scales send it.
    Inch,
}

impl Unit {
    /// The UCUM code.
    pub const fn ucum(self) -> &'static str {
        match self {
            Unit::One => "1",
            Unit::Celsius => "Cel",
            Unit::Percent => "%",
            Unit::Pascal => "Pa",
            Unit::PartsPerMillion => "[ppm]",
            Unit::Second => "s",
            Unit::Minute => "min",
            Unit::Volt => "V",
            Unit::Ampere => "A",
            Unit::PerHour => "/h",
            Unit::LitrePerMinute => "L/min",
            Unit::PerMinute => "/min",
            Unit::MillimetreOfMercury => "mm[Hg]",
            Unit::Kilogram => "kg",
            Unit::MilligramPerDecilitre => "mg/dL",
            Unit::MillimolePerLitre => "mmol/L",
            Unit::MilligramPerDecilitrePerMinute => "mg/dL/min",
            Unit::Gram => "g",
            Unit::Metre => "m",
            Unit::KilogramPerSquareMetre => "kg/m2",
            Unit::Ohm => "Ohm",
            Unit::Kilojoule => "kJ",
            Unit::Kilopascal => "kPa",
            Unit::Fahrenheit => "[degF]",
            Unit::Pound => "[lb_av]",
            Unit::Inch => "[in_i]",
        }
    }

    /// What stands after the number on a page or in a terminal; empty for [`Unit::One`].
    pub const fn symbol(self) -> &'static str {
        match self {
            Unit::One => "",
            Unit::Celsius => "°C",
            Unit::PartsPerMillion => "ppm",
            Unit::PerHour => "per hour",
            Unit::PerMinute => "per minute",
            Unit::MillimetreOfMercury => "mmHg",
            Unit::KilogramPerSquareMetre => "kg/m²",
            Unit::MilligramPerDecilitrePerMinute => "mg/dL a minute",
            Unit::Ohm => "Ω",
            Unit::Fahrenheit => "°F",
            Unit::Pound => "lb",
            Unit::Inch => "in",
            other => other.ucum(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prints_what_the_device_resolved() {
        let show = |m, e| Decimal::new(m, e).expect("within range").to_string();
        assert_eq!(show(367, -1), "36.7");
        assert_eq!(show(-5, -3), "-0.005");
        assert_eq!(show(360, -1), "36.0");
        assert_eq!(show(12, 2), "1200");
        assert_eq!(show(0, 5), "0");
        assert_eq!(show(i64::MIN, 0), "-9223372036854775808");
        assert!(Decimal::new(1, 19).is_err());
    }

    proptest! {
        #[test]
        fn printing_never_panics_and_reads_back(m in any::<i64>(), e in -18i8..=18) {
            let d = Decimal::new(m, e).expect("within range");
            let back: f64 = d.to_string().parse().expect("prints a number");
            prop_assert!((back - d.to_f64()).abs() <= d.to_f64().abs() * 1e-9);
        }
    }
}
