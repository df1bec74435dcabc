//! A device's own time: the wall clock of somebody's kitchen, without a zone.
//!
//! Source: Bluetooth GATT Specification Supplement, Date Time.

use std::fmt;

use homeward_protocol::time::Timestamp;

/// Seven octets as they came: year (2), month, day, hours, minutes, seconds. Zero means unknown in the first three.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct DateTime {
    octets: [u8; 7],
}

/// A time that a device's clock showed, in milliseconds since 1970 as if that clock ran in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WallClock(i64);

/// What a value says of its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum DeviceClock {
    /// Nothing: the device sends no time with it.
    NotTold,
    /// The device has a clock, but it is not set, had a fault, or showed no possible time.
    Unset,
    /// What its clock showed.
    At(WallClock),
    /// Minutes since its session began (CGM; the start is characteristic 2AAA).
    SinceStart {
        /// How many.
        minutes: u16,
    },
}

impl DateTime {
    /// Takes the octets as they came.
    pub const fn from_octets(octets: [u8; 7]) -> Self {
        DateTime { octets }
    }

    /// The octets as they came.
    pub const fn octets(self) -> [u8; 7] {
        self.octets
    }

    const fn year(self) -> u16 {
        u16::from_le_bytes([self.octets[0], self.octets[1]])
    }

    /// The time it shows; none when a part of it is unknown or impossible. A gap is never filled.
    pub fn wall_clock(self) -> Option<WallClock> {
        let [_, _, month, day, hours, minutes, seconds] = self.octets;
        let year = self.year();
        let possible = (1582..=9999).contains(&year)
            && (1..=12).contains(&month)
            && (1..=days_in(year, month)).contains(&day)
            && hours < 24
            && minutes < 60
            && seconds < 60;
        let time = i64::from(hours) * 3600 + i64::from(minutes) * 60 + i64::from(seconds);
        possible.then(|| WallClock((days_since_1970(year, month, day) * 86_400 + time) * 1000))
    }

    /// The same as what a value says of its time.
    pub fn clock(self) -> DeviceClock {
        self.wall_clock().map_or(DeviceClock::Unset, DeviceClock::At)
    }
}

impl fmt::Display for DateTime {
    /// As the device sent it, unknown parts as zeros.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [_, _, month, day, hours, minutes, seconds] = self.octets;
        let year = self.year();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}"
        )
    }
}

impl WallClock {
    /// Milliseconds since 1970, as if the device's clock ran in UTC.
    pub const fn at_ms(self) -> i64 {
        self.0
    }

    /// This time moved by whole minutes.
    #[must_use]
    pub const fn plus_minutes(self, minutes: i16) -> Self {
        WallClock(self.0 + minutes as i64 * 60_000)
    }
}

impl fmt::Display for WallClock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (year, month, day, hour, minute, second) = Timestamp::synced(self.0).civil();
        write!(
            f,
            "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}"
        )
    }
}

const fn days_in(year: u16, month: u8) -> u8 {
    match month {
        2 if year.is_multiple_of(4) && (!year.is_multiple_of(100) || year.is_multiple_of(400)) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Source: Howard Hinnant, "chrono-Compatible Low-Level Date Algorithms", `days_from_civil`.
const fn days_since_1970(year: u16, month: u8, day: u8) -> i64 {
    let y = year as i64 - if month <= 2 { 1 } else { 0 };
    let era = y.div_euclid(400);
    let yoe = y.rem_euclid(400);
    let doy = (153 * ((month as i64 + 9) % 12) + 2) / 5 + day as i64 - 1;
    let doe = yoe * 365 + yoe / 4 - yoe / 100 + doy;
    era * 146_097 + doe - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(year: u16, rest: [u8; 5]) -> DateTime {
        let [low, high] = year.to_le_bytes();
        let [month, day, h, m, s] = rest;
        DateTime::from_octets([low, high, month, day, h, m, s])
    }

    #[test]
    fn a_time_prints_as_the_device_showed_it() {
        for (year, rest) in [
            (1582, [10, 15, 0, 0, 0]),
            (1970, [1, 1, 0, 0, 0]),
            (2000, [2, 29, 23, 59, 59]),
            (2024, [2, 29, 12, 0, 1]),
            (2100, [3, 1, 0, 0, 0]),
            (9999, [12, 31, 23, 59, 59]),
        ] {
            let told = at(year, rest);
            let wall = told.wall_clock().expect("possible");
            assert_eq!(wall.to_string(), told.to_string());
        }
        assert_eq!(
            at(1970, [1, 2, 0, 0, 1]).wall_clock(),
            Some(WallClock(86_401_000))
        );
    }

    #[test]
    fn an_unknown_or_impossible_part_is_no_time() {
        for (year, rest) in [
            (0, [4, 17, 20, 41, 59]),
            (1581, [4, 17, 20, 41, 59]),
            (10_000, [4, 17, 20, 41, 59]),
            (2023, [0, 17, 0, 0, 0]),
            (2023, [4, 0, 0, 0, 0]),
            (2023, [13, 1, 0, 0, 0]),
            (2023, [2, 29, 0, 0, 0]),
            (2100, [2, 29, 0, 0, 0]),
            (2023, [4, 31, 0, 0, 0]),
            (2023, [4, 30, 24, 0, 0]),
            (2023, [4, 30, 0, 60, 0]),
            (2023, [4, 30, 0, 0, 60]),
        ] {
            assert_eq!(at(year, rest).clock(), DeviceClock::Unset, "{}", at(year, rest));
        }
    }

    #[test]
    fn minutes_move_it_over_midnight_and_new_year() {
        let wall = at(2024, [1, 1, 0, 2, 30]).wall_clock().expect("possible");
        assert_eq!(wall.plus_minutes(-5).to_string(), "2023-12-31T23:57:30");
    }
}
