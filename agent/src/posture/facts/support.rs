//! Until when a release of an operating system gets security updates.
//!
//! As of 2026-11-26. Sources: package `distro-info-data` 0.58+deb12u7 of Debian (`debian.csv`, columns `eol` and
//! `eol-lts`; `ubuntu.csv`, columns `eol-server`, else `eol`, and `eol-esm`), which follows <https://wiki.debian.org/LTS>
//! and <https://ubuntu.com/about/release-cycle>; Alpine: <https://alpinelinux.org/releases/>. Raspberry Pi OS and
//! Armbian call themselves `debian` and follow it. A release that is not here is not known, which is said.

/// The day on which this table was right.
pub const AS_OF: &str = "2026-11-26";

/// A day: year, month, day.
type Day = (i64, u32, u32);

/// `ID`, `VERSION_ID`, the last day of security updates for all, and of those by the long-term team or contract.
const RELEASES: &[(&str, &str, Day, Option<Day>)] = &[
    ("debian", "10", (2022, 9, 10), Some((2024, 6, 30))),
    ("debian", "11", (2024, 8, 14), Some((2026, 8, 31))),
    ("debian", "12", (2026, 7, 11), Some((2028, 6, 30))),
    ("debian", "13", (2028, 8, 9), Some((2030, 6, 30))),
    ("ubuntu", "20.04", (2025, 5, 31), Some((2030, 4, 23))),
    ("ubuntu", "22.04", (2027, 6, 1), Some((2032, 4, 21))),
    ("ubuntu", "24.04", (2029, 5, 31), Some((2034, 4, 25))),
    ("ubuntu", "24.10", (2025, 7, 10), None),
    ("ubuntu", "25.04", (2026, 1, 15), None),
    ("ubuntu", "25.10", (2026, 7, 9), None),
    ("ubuntu", "26.04", (2031, 5, 29), Some((2036, 4, 23))),
    ("ubuntu", "26.10", (2027, 7, 15), None),
    ("alpine", "3.19", (2025, 11, 1), None),
    ("alpine", "3.20", (2026, 4, 1), None),
    ("alpine", "3.21", (2026, 11, 1), None),
    ("alpine", "3.22", (2027, 5, 1), None),
];

/// The ends of support, milliseconds since 1970: the first moment that is no longer supported. `version` may go on
/// behind the release (`3.21.2`).
pub fn ends(id: &str, version: &str) -> Option<(i64, Option<i64>)> {
    let fits = |release: &str| {
        version == release
            || version
                .strip_prefix(release)
                .is_some_and(|rest| rest.starts_with('.'))
    };
    let (.., end, long) = RELEASES
        .iter()
        .find(|(name, release, ..)| *name == id && fits(release))?;
    Some((after(*end), long.map(after)))
}

/// The midnight (UTC) after a day. Source: Howard Hinnant, `days_from_civil`.
fn after((year, month, day): Day) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let yoe = year.rem_euclid(400);
    let shifted = i64::from((month + 9) % 12);
    let doy = (153 * shifted + 2) / 5 + i64::from(day) - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    let days = era * 146_097 + doe - 719_468;
    (days + 1) * 86_400_000
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn the_end_is_the_midnight_after_the_last_day() {
        let (end, long) = ends("debian", "12").expect("known");
        assert_eq!(Timestamp::synced(end).to_string(), "2026-07-12T00:00:00Z");
        let long = Timestamp::synced(long.expect("a long one"));
        assert_eq!(long.to_string(), "2028-07-01T00:00:00Z");
        assert_eq!(ends("alpine", "3.21.2"), ends("alpine", "3.21"));
        assert_eq!(ends("alpine", "3.2"), None);
        assert_eq!(ends("debian", "sid"), None);
    }

    #[test]
    fn every_day_of_the_table_is_one() {
        for (.., end, long) in RELEASES {
            for day in std::iter::once(end).chain(long) {
                let (year, month, date, ..) = Timestamp::synced(after(*day) - 1).civil();
                assert_eq!((year, month, date), *day);
            }
        }
    }
}
