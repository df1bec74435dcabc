//! A moment as people write it in a policy: RFC 3339 in UTC, to the second.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Seconds since 1970, written as `2026-11-26T08:00:00Z`. From the year 1970 to the year 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Moment(i64);

/// 9999-12-31T23:59:59Z.
const LAST: i64 = 253_402_300_799;

impl Moment {
    /// The moment so many seconds after 1970, kept within what can be written.
    pub fn from_secs(secs: i64) -> Moment {
        Moment(secs.clamp(0, LAST))
    }

    /// Seconds since 1970.
    pub const fn secs(self) -> i64 {
        self.0
    }

    /// Milliseconds since 1970.
    pub const fn ms(self) -> i64 {
        self.0 * 1000
    }
}

impl fmt::Display for Moment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Timestamp::synced(self.ms()).fmt(f)
    }
}

impl FromStr for Moment {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no moment: write 2026-11-26T08:00:00Z", cut(text));
        let bytes = text.as_bytes();
        let shape = b"0000-00-00T00:00:00Z";
        let fits = |(byte, wanted): (&u8, &u8)| match wanted {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        };
        if bytes.len() != shape.len() || !bytes.iter().zip(shape).all(fits) {
            return Err(wrong());
        }
        let part = |from: usize, to: usize| text.get(from..to).and_then(|part| part.parse::<i64>().ok());
        let parts = (|| {
            let date = (part(0, 4)?, part(5, 7)?, part(8, 10)?);
            Some((date, (part(11, 13)?, part(14, 16)?, part(17, 19)?)))
        })();
        let ((year, month, day), (hour, minute, second)) = parts.ok_or_else(wrong)?;
        let secs = days(year, month, day) * 86_400 + hour * 3600 + minute * 60 + second;
        let moment = Moment(secs);
        // A 31st of February reads as another day than it prints.
        if (0..=LAST).contains(&secs) && moment.to_string() == text {
            Ok(moment)
        } else {
            Err(wrong())
        }
    }
}

/// Days since 1970-01-01. Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
const fn days(year: i64, month: i64, day: i64) -> i64 {
    let y = if month <= 2 { year - 1 } else { year };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let shifted = if month > 2 { month - 3 } else { month + 9 };
    let doy = (153 * shifted + 2) / 5 + day - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

fn cut(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(40).collect()
}

impl TryFrom<String> for Moment {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<Moment> for String {
    fn from(moment: Moment) -> String {
        moment.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_read_as_they_print_and_days_that_are_none_are_refused() {
        for secs in [0, 951_782_400, 1_795_000_000, LAST] {
            let moment = Moment::from_secs(secs);
            assert_eq!(moment.to_string().parse(), Ok(moment));
        }
        for bad in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-11-26T24:00:00Z",
            "2026-11-26T08:00:60Z",
            "2026-11-26 08:00:00Z",
            "2026-11-26T08:00:00+01:00",
            "1969-12-31T23:59:59Z",
            "2026-13-01T00:00:00Z",
            "é026-11-26T08:00:00",
        ] {
            assert!(bad.parse::<Moment>().is_err(), "{bad}");
        }
    }
}
