//! The units that devices use, and the exact way from each to the unit that travels.

use homeward_protocol::unit::Unit;
use serde::Deserialize;

use crate::exact::Exact;

/// A unit as a register map prints it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum DeviceUnit {
    /// Degrees Celsius.
    #[serde(rename = "degC")]
    Celsius,
    /// Degrees Fahrenheit.
    #[serde(rename = "degF")]
    Fahrenheit,
    /// Per cent, also of relative humidity.
    #[serde(rename = "%")]
    Percent,
    /// Pascal.
    #[serde(rename = "Pa")]
    Pascal,
    /// Inch of water.
    #[serde(rename = "inH2O")]
    InchOfWater,
    /// Parts per million.
    #[serde(rename = "ppm")]
    PartsPerMillion,
    /// Seconds.
    #[serde(rename = "s")]
    Second,
    /// Minutes.
    #[serde(rename = "min")]
    Minute,
    /// Volt.
    #[serde(rename = "V")]
    Volt,
    /// Ampere.
    #[serde(rename = "A")]
    Ampere,
    /// Per hour.
    #[serde(rename = "1/h")]
    PerHour,
    /// Millilitres per minute.
    #[serde(rename = "mL/min")]
    MillilitrePerMinute,
}

/// How to come from a device's unit to the one that travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Conversion {
    /// It is the same unit: the device's own digits are kept.
    Same,
    /// `value * factor + offset`.
    Linear {
        /// Multiplies.
        factor: Exact,
        /// Is added after.
        offset: Exact,
    },
}

impl DeviceUnit {
    /// As profiles write it.
    pub const fn name(self) -> &'static str {
        match self {
            DeviceUnit::Celsius => "degC",
            DeviceUnit::Fahrenheit => "degF",
            DeviceUnit::Percent => "%",
            DeviceUnit::Pascal => "Pa",
            DeviceUnit::InchOfWater => "inH2O",
            DeviceUnit::PartsPerMillion => "ppm",
            DeviceUnit::Second => "s",
            DeviceUnit::Minute => "min",
            DeviceUnit::Volt => "V",
            DeviceUnit::Ampere => "A",
            DeviceUnit::PerHour => "1/h",
            DeviceUnit::MillilitrePerMinute => "mL/min",
        }
    }

    /// The way to `unit`; none when it is another quantity.
    ///
    /// Source of the inch of water: UCUM `[in_i'H2O]`, 9.80665 kPa a metre x 0.0254 m = 249.08891 Pa.
    pub fn to(self, unit: Unit) -> Option<Conversion> {
        let linear = |factor: (i128, i128), offset: (i128, i128)| {
            Some(Conversion::Linear {
                factor: Exact::new(factor.0, factor.1)?,
                offset: Exact::new(offset.0, offset.1)?,
            })
        };
        match (self, unit) {
            (DeviceUnit::Celsius, Unit::Celsius)
            | (DeviceUnit::Percent, Unit::Percent)
            | (DeviceUnit::Pascal, Unit::Pascal)
            | (DeviceUnit::PartsPerMillion, Unit::PartsPerMillion)
            | (DeviceUnit::Second, Unit::Second)
            | (DeviceUnit::Minute, Unit::Minute)
            | (DeviceUnit::Volt, Unit::Volt)
            | (DeviceUnit::Ampere, Unit::Ampere)
            | (DeviceUnit::PerHour, Unit::PerHour) => Some(Conversion::Same),
            (DeviceUnit::Fahrenheit, Unit::Celsius) => linear((5, 9), (-160, 9)),
            (DeviceUnit::InchOfWater, Unit::Pascal) => linear((24_908_891, 100_000), (0, 1)),
            (DeviceUnit::Minute, Unit::Second) => linear((60, 1), (0, 1)),
            (DeviceUnit::MillilitrePerMinute, Unit::LitrePerMinute) => linear((1, 1000), (0, 1)),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn convert(from: DeviceUnit, to: Unit, value: Exact, exponent: i8) -> String {
        let Some(Conversion::Linear { factor, offset }) = from.to(to) else {
            panic!("no linear way")
        };
        let out = value.times(factor).and_then(|v| v.plus(offset));
        out.and_then(|v| v.round(exponent)).expect("fits").to_string()
    }

    #[test]
    fn fixed_points_are_exact() {
        let f = |v| convert(DeviceUnit::Fahrenheit, Unit::Celsius, Exact::whole(v), -3);
        assert_eq!(
            (f(32), f(212), f(-40)),
            ("0.000".into(), "100.000".into(), "-40.000".into())
        );
        let inch = convert(DeviceUnit::InchOfWater, Unit::Pascal, Exact::whole(-1), -5);
        assert_eq!(inch, "-249.08891");
    }

    #[test]
    fn another_quantity_has_no_way() {
        assert_eq!(DeviceUnit::Fahrenheit.to(Unit::Pascal), None);
        assert_eq!(DeviceUnit::Volt.to(Unit::Ampere), None);
    }
}
