//! Heart Rate Measurement (2A37, notified by service 180D).

use homeward_protocol::reading::{Kind, Mark};
use homeward_protocol::unit::{Decimal, Unit};

use super::bytes::{Bytes, when};
use super::field::{Field, Said};
use super::number::Number;
use super::value::{Marks, sample};
use super::{Characteristic, DecodeError};
use crate::exact::Exact;
use crate::sample::Sample;

const WIDE: u8 = 1;
const CONTACT: u8 = 1 << 1;
const CONTACT_KNOWN: u8 = 1 << 2;
const ENERGY: u8 = 1 << 3;
const INTERVALS: u8 = 1 << 4;
const RESERVED: u8 = 0xe0;

/// One heart rate, as it was sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeartRate {
    /// Beats per minute.
    pub rate: u16,
    /// Whether the sensor touches the skin; none when it cannot tell.
    pub contact: Option<bool>,
    /// Energy expended since the last reset, kilojoules.
    pub energy: Option<u16>,
    /// Time between beats in 1/1024 s, oldest first.
    pub intervals: Vec<u16>,
}

impl Characteristic for HeartRate {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let flags = bytes.u8("flags")?;
        bytes.note_reserved(u32::from(flags & RESERVED));
        let rate = if flags & WIDE == 0 {
            u16::from(bytes.u8("heart_rate")?)
        } else {
            bytes.u16("heart_rate")?
        };
        let energy = when(flags & ENERGY != 0, || bytes.u16("energy"))?;
        let mut intervals = Vec::new();
        if flags & INTERVALS != 0 {
            intervals.push(bytes.u16("intervals")?);
            while !bytes.rest().is_empty() {
                intervals.push(bytes.u16("intervals")?);
            }
        }
        Ok(HeartRate {
            rate,
            contact: (flags & CONTACT_KNOWN != 0).then_some(flags & CONTACT != 0),
            energy,
            intervals,
        })
    }

    fn samples(&self) -> Vec<Sample> {
        let marks = Marks::default().with(self.contact == Some(false), Mark::PoorSignal);
        let rate = sample(Kind::HeartRate, Number::whole(self.rate), Unit::PerMinute, &marks);
        let energy = self.energy.map(|energy| {
            let number = Number::whole(energy);
            sample(Kind::EnergyExpended, number, Unit::Kilojoule, &Marks::default())
        });
        [rate].into_iter().chain(energy).collect()
    }

    fn fields(&self) -> Vec<Field> {
        let rate = Field::measure("heart_rate", Number::whole(self.rate), Unit::PerMinute);
        let contact = match self.contact {
            None => "not told",
            Some(true) => "yes",
            Some(false) => "no",
        };
        let energy = self
            .energy
            .map(|energy| Field::measure("energy", Number::whole(energy), Unit::Kilojoule));
        let intervals = (!self.intervals.is_empty()).then(|| Field {
            name: "intervals",
            said: Said::Numbers(self.intervals.iter().map(|raw| seconds(*raw)).collect()),
            ucum: Some(Unit::Second.ucum()),
        });
        let fixed = [rate, Field::text("contact", contact)];
        fixed.into_iter().chain(energy).chain(intervals).collect()
    }
}

/// 1/1024 s as seconds, rounded to 0.0001 s.
fn seconds(raw: u16) -> Decimal {
    let exact = Exact::new(i128::from(raw), 1024).and_then(|exact| exact.round(-4));
    exact.unwrap_or(Decimal::whole(0))
}

#[cfg(test)]
mod tests {
    use super::super::{Fields, decode};
    use super::*;
    use homeward_protocol::reading::{Quality, Value};

    fn heart(value: &[u8]) -> HeartRate {
        let measured = decode(0x2a37, value).expect("a heart rate");
        match measured.first().map(|one| one.fields.clone()) {
            Some(Fields::HeartRate(heart)) => heart,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn contact_means_nothing_where_it_is_not_supported() {
        assert_eq!(heart(&[0b010, 80]).contact, None);
        assert_eq!(heart(&[0b100, 80]).contact, Some(false));
        assert_eq!(heart(&[0b110, 80]).contact, Some(true));
    }

    #[test]
    fn a_rate_without_contact_is_kept_and_doubted() {
        let got = decode(0x2a37, &[0b100, 80]).expect("decodes");
        let sample = &got[0].samples[0];
        assert_eq!(sample.value, Value::Number(Decimal::whole(80)));
        assert_eq!(
            (sample.quality, sample.marks.as_slice()),
            (Quality::Doubtful, &[Mark::PoorSignal][..])
        );
    }

    #[test]
    fn announced_intervals_must_be_there_and_whole() {
        assert!(decode(0x2a37, &[0x10, 80]).is_err());
        assert!(decode(0x2a37, &[0x10, 80, 0, 4, 1]).is_err());
        assert_eq!(heart(&[0x10, 80, 0, 4]).intervals, [1024]);
    }

    #[test]
    fn what_is_not_known_is_marked() {
        for value in [&[0x80, 80][..], &[0, 80, 1]] {
            let got = decode(0x2a37, value).expect("decodes");
            assert_eq!(got[0].samples[0].marks, [Mark::ExtraData], "{value:?}");
        }
    }
}
