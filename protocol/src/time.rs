//! Two clocks: [`Timestamp`] for records, [`Uptime`] for deadlines. Arithmetic only; nobody here reads a clock.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// How far the clock that wrote a [`Timestamp`] could be trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClockTrust {
    /// Disciplined by a time source at the time.
    Synced,
    /// Running, but no source has confirmed it since the boot.
    Unsynced,
    /// The clock stood before a moment that was already known to have passed; the record carries that moment.
    Floor,
}

/// A moment in UTC, in milliseconds since 1970-01-01, with how far its clock was trusted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timestamp {
    /// Milliseconds since 1970-01-01T00:00:00Z.
    pub ms: i64,
    /// How far the clock was trusted.
    pub trust: ClockTrust,
}

impl Timestamp {
    /// A moment from a disciplined clock, in milliseconds since 1970.
    pub const fn synced(ms: i64) -> Self {
        Timestamp {
            ms,
            trust: ClockTrust::Synced,
        }
    }

    /// Reads `2026-11-25T06:30:00Z`: UTC to the second and nothing else, of the years 1970 to 9999; as a moment that
    /// somebody vouched for.
    ///
    /// Source: RFC 3339, section 5.6; Howard Hinnant, as at [`Timestamp::civil`], `days_from_civil`.
    pub fn from_utc(text: &str) -> Option<Self> {
        let bytes = text.as_bytes();
        if bytes.len() != 20 {
            return None;
        }
        let part = |from: usize, to: usize| {
            let digits = bytes.get(from..to)?;
            let add = |sum: i64, b: &u8| b.is_ascii_digit().then(|| sum * 10 + i64::from(b - b'0'));
            digits.iter().try_fold(0, add)
        };
        let [year, month, day] = [part(0, 4)?, part(5, 7)?, part(8, 10)?];
        let [hour, minute, second] = [part(11, 13)?, part(14, 16)?, part(17, 19)?];
        let shifted = if month <= 2 { year - 1 } else { year };
        let (era, yoe) = (shifted.div_euclid(400), shifted.rem_euclid(400));
        let doy = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
        let days = era * 146_097 + yoe * 365 + yoe / 4 - yoe / 100 + doy - 719_468;
        let moment = Timestamp::synced((days * 86_400 + hour * 3600 + minute * 60 + second) * 1000);
        // Whatever is out of range, as the 30th of February or 24 o'clock, prints as another moment.
        (year >= 1970 && moment.to_string() == text).then_some(moment)
    }

    /// How long before `later` this was; zero when it was not before.
    pub fn age(self, later: Timestamp) -> Duration {
        Duration::from_millis(u64::try_from(later.ms.saturating_sub(self.ms)).unwrap_or(0))
    }

    /// This moment moved by a number of milliseconds, saturating.
    #[must_use]
    pub fn plus_ms(self, ms: i64) -> Self {
        Timestamp {
            ms: self.ms.saturating_add(ms),
            trust: self.trust,
        }
    }

    /// Whole seconds since 1970.
    pub const fn secs(self) -> i64 {
        self.ms.div_euclid(1000)
    }

    /// Calendar parts in UTC: year, month 1-12, day 1-31, hour, minute, second.
    ///
    /// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `civil_from_days`.
    pub const fn civil(self) -> (i64, u32, u32, u32, u32, u32) {
        let days = self.secs().div_euclid(86_400);
        let second = self.secs().rem_euclid(86_400);
        let z = days + 719_468;
        let era = z.div_euclid(146_097);
        let doe = z.rem_euclid(146_097);
        let yoe = (doe - doe / 1460 + doe / 36_524 - doe / 146_096) / 365;
        let doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
        let mp = (5 * doy + 2) / 153;
        let day = doy - (153 * mp + 2) / 5 + 1;
        let month = if mp < 10 { mp + 3 } else { mp - 9 };
        let year = yoe + era * 400 + if month <= 2 { 1 } else { 0 };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "each part is below 100"
        )]
        (
            year,
            month as u32,
            day as u32,
            (second / 3600) as u32,
            (second / 60 % 60) as u32,
            (second % 60) as u32,
        )
    }
}

impl fmt::Display for Timestamp {
    /// RFC 3339 in UTC to the second, with a `~` in front when the clock was not synced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = self.civil();
        let doubt = if self.trust == ClockTrust::Synced { "" } else { "~" };
        write!(
            f,
            "{doubt}{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"
        )
    }
}

/// Milliseconds since this box booted; never goes back, leaves the box only with its boot id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
pub struct Uptime(pub u64);

impl Uptime {
    /// The moment `wait` later, saturating.
    #[must_use]
    pub fn plus(self, wait: Duration) -> Uptime {
        Uptime(
            self.0
                .saturating_add(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX)),
        )
    }

    /// How long after `earlier` this is; zero when it is not after.
    pub fn since(self, earlier: Uptime) -> Duration {
        Duration::from_millis(self.0.saturating_sub(earlier.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_known_moments() {
        assert_eq!(Timestamp::synced(0).to_string(), "1970-01-01T00:00:00Z");
        assert_eq!(
            Timestamp::synced(951_782_400_000).to_string(),
            "2000-02-29T00:00:00Z"
        );
        assert_eq!(Timestamp::synced(-1).to_string(), "1969-12-31T23:59:59Z");
        let doubtful = Timestamp {
            ms: 1_795_000_000_000,
            trust: ClockTrust::Unsynced,
        };
        assert_eq!(doubtful.to_string(), "~2026-11-18T11:06:40Z");
    }

    #[test]
    fn reads_only_what_it_prints() {
        for ms in [0, 951_782_400_000, 1_795_000_000_000, 253_402_300_799_000] {
            let moment = Timestamp::synced(ms);
            assert_eq!(Timestamp::from_utc(&moment.to_string()), Some(moment));
        }
        for odd in [
            "",
            "2026-02-30T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-01-01T24:00:00Z",
            "2026-01-01T00:00:60Z",
            "2026-01-01 00:00:00Z",
            "2026-01-01T00:00:00+0",
            "2026-01-01T00:00:00.0Z",
            "1969-12-31T23:59:59Z",
            "2026-00-10T00:00:00Z",
            "+026-01-01T00:00:00Z",
            "2026-01-01T00:00:00z",
            "２2026-01-01T00:00:0Z",
        ] {
            assert_eq!(Timestamp::from_utc(odd), None, "{odd}");
        }
    }

    #[test]
    fn extremes_do_not_overflow() {
        let _ = Timestamp::synced(i64::MIN).to_string();
        let _ = Timestamp::synced(i64::MAX).to_string();
        assert_eq!(Timestamp::synced(i64::MAX).plus_ms(1).ms, i64::MAX);
    }
}
