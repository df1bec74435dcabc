//! Current Time (2A2B of service 1805): what a sensor's clock shows now.

use homeward_protocol::unit::{Decimal, Unit};

use super::bytes::Bytes;
use super::date_time::{DateTime, DeviceClock};
use super::field::{Field, Said};
use super::{Characteristic, DecodeError};
use crate::exact::Exact;

const REASONS: [(u32, &str); 4] = [
    (0, "set by hand"),
    (1, "set from a reference"),
    (2, "change of zone"),
    (3, "change of daylight saving"),
];

/// What a sensor's clock shows now, as it was sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CurrentTime {
    /// Date and time.
    pub time: DateTime,
    /// 1 Monday to 7 Sunday; 0 unknown.
    pub weekday: u8,
    /// 1/256 s after `time`.
    pub fraction: u8,
    /// Why it was set last, as bits.
    pub adjusted: u8,
}

impl CurrentTime {
    /// What it shows with its fraction, in milliseconds since 1970 as if the clock ran in UTC; none when a part is
    /// unknown or impossible.
    pub fn at_ms(self) -> Option<i64> {
        let wall = self.time.wall_clock()?;
        Some(wall.at_ms() + i64::from(self.fraction) * 1000 / 256)
    }
}

impl Characteristic for CurrentTime {
    fn read(bytes: &mut Bytes<'_>) -> Result<Self, DecodeError> {
        let read = CurrentTime {
            time: bytes.date_time("time")?,
            weekday: bytes.u8("weekday")?,
            fraction: bytes.u8("fraction")?,
            adjusted: bytes.u8("adjusted")?,
        };
        bytes.note_reserved(u32::from(read.adjusted & 0xf0) | u32::from(read.weekday > 7));
        Ok(read)
    }

    fn clock(&self) -> DeviceClock {
        self.time.clock()
    }

    fn fields(&self) -> Vec<Field> {
        let fraction = Exact::new(i128::from(self.fraction), 256).and_then(|exact| exact.round(-3));
        vec![
            Field::text("time", self.time.to_string()),
            Field::count("weekday", self.weekday),
            Field {
                name: "fraction",
                said: Said::Number(fraction.unwrap_or(Decimal::whole(0))),
                ucum: Some(Unit::Second.ucum()),
            },
            Field::flags("adjusted", u32::from(self.adjusted), &REASONS),
        ]
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Fields, decode};

    #[test]
    fn a_fraction_counts_in_256ths() {
        let value = [0xe8, 7, 1, 1, 0, 0, 0, 1, 128, 1];
        let got = decode(0x2a2b, &value).expect("decodes").remove(0);
        let Fields::CurrentTime(time) = got.fields else {
            panic!()
        };
        assert_eq!(time.at_ms().map(|ms| ms % 1000), Some(500));
    }
}
