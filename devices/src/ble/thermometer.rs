//! Temperature Measurement (2A1C), Intermediate Temperature (2A1E) and Temperature Type (2A1D) of service 1809.

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::Unit;

use super::bytes::{Bytes, when};
use super::date_time::{DateTime, DeviceClock};
use super::field::Field;
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError};
use crate::sample::Sample;

const FAHRENHEIT: u8 = 1;
const TIME: u8 = 1 << 1;
const SITE: u8 = 1 << 2;
const RESERVED: u8 = 0xf8;

/// One temperature, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Temperature {
    /// Degrees Celsius or Fahrenheit.
    pub unit: Unit,
    /// The temperature.
    pub value: Number,
    /// The thermometer's own time.
    pub time: Option<DateTime>,
    /// Where on the body; else [`TemperatureType`] may tell.
    pub site: Option<Site>,
}

/// A temperature of a measurement that is still going on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IntermediateTemperature(pub Temperature);

/// Where a thermometer always measures, for those that do not say it with each value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TemperatureType(pub Site);

/// Where on the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Site(pub u8);

impl Site {
    /// In plain words; none for a code that is not defined.
    pub const fn name(self) -> Option<&'static str> {
        Some(match self.0 {
            1 => "armpit",
            2 => "body",
            3 => "ear",
            4 => "finger",
            5 => "gut",
            6 => "mouth",
            7 => "rectum",
            8 => "toe",
            9 => "ear drum",
            _ => return None,
        })
    }

    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let site = Site(bytes.u8("site")?);
        bytes.note_reserved(u32::from(site.name().is_none()));
        Ok(site)
    }

    fn field(self) -> Field {
        let unknown = || format!("unknown code {}", self.0);
        Field::text("site", self.name().map_or_else(unknown, str::to_owned))
    }
}

impl Characteristic for Temperature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        bytes.note_reserved(u32::from(flags & RESERVED));
        Ok(Temperature {
            unit: if flags & FAHRENHEIT == 0 {
                Unit::Celsius
            } else {
                Unit::Fahrenheit
            },
            value: bytes.float("temperature")?,
            time: when(flags & TIME != 0, || bytes.date_time("time"))?,
            site: when(flags & SITE != 0, || Site::read(bytes))?,
        })
    }

    fn samples(&self) -> Vec<Sample> {
        vec![sample(
            Kind::BodyTemperature,
            self.value,
            self.unit,
            &Marks::default(),
        )]
    }

    fn clock(&self) -> DeviceClock {
        self.time.map_or(DeviceClock::NotTold, DateTime::clock)
    }

    fn fields(&self) -> Vec<Field> {
        let temperature = Field::measure("temperature", self.value, self.unit);
        let time = self.time.map(|time| Field::text("time", time.to_string()));
        let site = self.site.map(Site::field);
        [temperature].into_iter().chain(time).chain(site).collect()
    }
}

impl Characteristic for IntermediateTemperature {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        Temperature::read(bytes).map(IntermediateTemperature)
    }

    fn samples(&self) -> Vec<Sample> {
        let marks = Marks::default().with(true, Mark::Ongoing);
        vec![sample(Kind::BodyTemperature, self.0.value, self.0.unit, &marks)]
    }

    fn clock(&self) -> DeviceClock {
        self.0.clock()
    }

    fn fields(&self) -> Vec<Field> {
        self.0.fields()
    }
}

impl Characteristic for TemperatureType {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        Site::read(bytes).map(TemperatureType)
    }

    fn fields(&self) -> Vec<Field> {
        vec![self.0.field()]
    }
}

#[cfg(test)]
mod tests {
    use super::super::decode;
    use super::*;
    use homeward_protocol::reading::Value;

    #[test]
    fn fahrenheit_comes_out_in_celsius_with_the_original_beside() {
        // 98.6 x 10^-1.
        let got = decode(0x2a1c, &[1, 0xda, 3, 0, 0xff]).expect("decodes").remove(0);
        let sample = &got.samples[0];
        let Value::Number(value) = sample.value else {
            panic!("{sample:?}")
        };
        assert_eq!(value.to_string(), "37.00");
        assert_eq!(
            sample.sent.map(|sent| (sent.value.to_string(), sent.unit)),
            Some(("98.6".into(), Unit::Fahrenheit))
        );
    }

    #[test]
    fn an_unset_clock_voids_the_time_and_not_the_value() {
        let value = [2, 0x6f, 1, 0, 0xff, 0, 0, 0, 0, 0, 0, 0];
        let got = decode(0x2a1c, &value).expect("decodes").remove(0);
        assert_eq!(got.clock, DeviceClock::Unset);
        assert_eq!(got.samples[0].marks, [Mark::SensorClockUnset]);
        assert!(matches!(got.samples[0].value, Value::Number(_)));
    }
}
