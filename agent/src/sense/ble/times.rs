//! When a Bluetooth sensor's value was measured.
//!
//! A sensor's clock is the wall clock of somebody's kitchen. A live value was measured now, whatever that clock says;
//! the sensor's time and the difference are kept beside it. A stored value is placed by that difference when both
//! clocks were seen together in the same connection, and otherwise by the sensor's clock alone, and says so. No value
//! is dropped for a difference of clocks (Nightscout xDrip, issue 1575).

use homeward_devices::ble::{CurrentTime, DeviceClock, SessionStart};
use homeward_protocol::reading::{Mark, SensorClock};
use homeward_protocol::time::{ClockTrust, Timestamp};

/// A value whose time is as near as this is live: a measurement, its way here, and a clock that shows seconds.
const LIVE_MS: i64 = 120_000;
/// A sensor's own time is believed back to here, when nothing else is known: 400 days, more than a memory spans.
const OLDEST_MS: i64 = 400 * 86_400_000;

/// Whether a value was just measured, as far as its way here tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was.
    Live,
    /// It comes from the sensor's memory.
    Stored,
    /// The sensor sends both alike.
    Unknown,
}

/// Where a value belongs in time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placed {
    /// When it was measured, as well as is known.
    pub taken_at: Timestamp,
    /// The sensor's own time.
    pub sensor_clock: Option<SensorClock>,
    /// What is to be said of it.
    pub marks: Vec<Mark>,
    /// Whether `taken_at` rests on this box's clock.
    pub ours: bool,
}

/// What is known of a sensor's clock in one connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Clocks {
    /// How far it is ahead of ours, milliseconds.
    ahead_ms: Option<i64>,
    /// When its session began (CGM), by our clock or by its own.
    start: Option<Start>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Start {
    ms: i64,
    ours: bool,
}

impl Clocks {
    /// Nothing is known yet.
    pub const fn new() -> Clocks {
        Clocks {
            ahead_ms: None,
            start: None,
        }
    }

    /// The sensor's clock shows `sensor_ms` now.
    pub fn saw(&mut self, sensor_ms: i64, now: Timestamp) {
        self.ahead_ms = Some(sensor_ms.saturating_sub(now.ms));
    }

    /// Takes what the sensor's clock shows now (2A2B).
    pub fn current_time(&mut self, time: CurrentTime, now: Timestamp) {
        if let Some(at) = time.at_ms() {
            self.saw(at, now);
        }
    }

    /// Takes the start of a CGM session (2AAA).
    pub fn session_start(&mut self, start: SessionStart) {
        if let Some(ms) = start.utc_ms() {
            self.start = Some(Start { ms, ours: false });
        }
    }

    /// Places a value that came `now`. A live one teaches what the sensor's clock shows.
    pub fn place(&mut self, clock: DeviceClock, origin: Origin, now: Timestamp) -> Placed {
        match clock {
            DeviceClock::At(at) => self.place_at(at.at_ms(), origin, now),
            DeviceClock::SinceStart { minutes } => self.place_minute(i64::from(minutes), origin, now),
            DeviceClock::NotTold | DeviceClock::Unset => untimed(origin, now),
        }
    }

    fn place_at(&mut self, at_ms: i64, origin: Origin, now: Timestamp) -> Placed {
        let ours = self.ahead_ms.map(|ahead| at_ms.saturating_sub(ahead));
        let near = ours.unwrap_or(at_ms).saturating_sub(now.ms).abs() <= LIVE_MS;
        let live = origin == Origin::Live || origin == Origin::Unknown && near;
        if live {
            self.saw(at_ms, now);
        }
        let taken_at = match (live, ours) {
            (true, _) => now,
            (false, Some(ms)) => Timestamp {
                ms: ms.min(now.ms),
                ..now
            },
            (false, None) => by_sensor(at_ms, now),
        };
        let alone = !live && ours.is_none();
        Placed {
            taken_at,
            sensor_clock: Some(SensorClock {
                at_ms,
                ahead_ms: self.ahead_ms,
            }),
            marks: marks(!live, alone),
            ours: !alone,
        }
    }

    fn place_minute(&mut self, minutes: i64, origin: Origin, now: Timestamp) -> Placed {
        let since = minutes * 60_000;
        if origin == Origin::Live {
            self.start = Some(Start {
                ms: now.ms - since,
                ours: true,
            });
            return untimed(origin, now);
        }
        let Some(start) = self.start else {
            return untimed(Origin::Stored, now);
        };
        let at_ms = start.ms + since;
        let taken_at = if start.ours {
            Timestamp {
                ms: at_ms.min(now.ms),
                ..now
            }
        } else {
            by_sensor(at_ms, now)
        };
        Placed {
            taken_at,
            sensor_clock: (!start.ours).then_some(SensorClock {
                at_ms,
                ahead_ms: None,
            }),
            marks: marks(true, !start.ours),
            ours: start.ours,
        }
    }
}

/// A value without a time of its own: it came now, that is all.
fn untimed(origin: Origin, now: Timestamp) -> Placed {
    let stored = origin == Origin::Stored;
    Placed {
        taken_at: now,
        sensor_clock: None,
        marks: marks(stored, false),
        ours: !stored,
    }
}

fn marks(stored: bool, alone: bool) -> Vec<Mark> {
    let both = [(stored, Mark::FromStorage), (alone, Mark::BySensorClock)];
    both.into_iter()
        .filter_map(|(holds, mark)| holds.then_some(mark))
        .collect()
}

/// By the sensor's clock alone, unless that cannot be: then it came now.
fn by_sensor(at_ms: i64, now: Timestamp) -> Timestamp {
    let possible = (now.ms.saturating_sub(OLDEST_MS)..=now.ms).contains(&at_ms);
    Timestamp {
        ms: if possible { at_ms } else { now.ms },
        trust: match now.trust {
            ClockTrust::Synced => ClockTrust::Unsynced,
            other => other,
        },
    }
}

#[cfg(test)]
mod tests {
    use homeward_devices::ble::DateTime;

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn at(ms: i64) -> DeviceClock {
        let (year, month, day, hour, minute, second) = Timestamp::synced(ms).civil();
        let small = |n: u32| u8::try_from(n).expect("small");
        let [low, high] = u16::try_from(year).expect("a year").to_le_bytes();
        let octets = [
            low,
            high,
            small(month),
            small(day),
            small(hour),
            small(minute),
            small(second),
        ];
        DateTime::from_octets(octets).clock()
    }

    #[test]
    fn a_live_value_is_never_dropped_nor_moved_for_a_clock_that_is_off() {
        for off in [0, 86_400_000, -86_400_000 * 365, 3_600_000] {
            let placed = Clocks::default().place(at(NOW.ms + off), Origin::Live, NOW);
            assert_eq!((placed.taken_at, placed.marks), (NOW, Vec::new()));
            let clock = placed.sensor_clock.expect("kept beside");
            assert_eq!((clock.at_ms, clock.ahead_ms), (NOW.ms + off, Some(off)));
        }
    }

    #[test]
    fn a_stored_value_is_placed_by_the_difference_seen_in_the_same_connection() {
        let mut clocks = Clocks::default();
        clocks.saw(NOW.ms + 7_200_000, NOW);
        let placed = clocks.place(at(NOW.ms + 7_200_000 - 600_000), Origin::Stored, NOW);
        assert_eq!(placed.taken_at, NOW.plus_ms(-600_000));
        assert_eq!((placed.marks, placed.ours), (vec![Mark::FromStorage], true));
    }

    #[test]
    fn without_a_pair_of_clocks_the_time_is_the_sensors_and_says_so() {
        let placed = Clocks::default().place(at(NOW.ms - 600_000), Origin::Unknown, NOW);
        assert_eq!(placed.taken_at.ms, NOW.ms - 600_000);
        assert_eq!(placed.taken_at.trust, ClockTrust::Unsynced);
        assert_eq!(placed.marks, [Mark::FromStorage, Mark::BySensorClock]);
        let future = Clocks::default().place(at(NOW.ms + 86_400_000), Origin::Unknown, NOW);
        assert_eq!((future.taken_at.ms, future.ours), (NOW.ms, false));
    }

    #[test]
    fn minutes_of_a_session_are_placed_by_a_live_value_or_by_its_start() {
        let minutes = |minutes| DeviceClock::SinceStart { minutes };
        let mut clocks = Clocks::default();
        let live = clocks.place(minutes(100), Origin::Live, NOW);
        assert_eq!(live.taken_at, NOW);
        let stored = clocks.place(minutes(40), Origin::Stored, NOW);
        assert_eq!((stored.taken_at, stored.ours), (NOW.plus_ms(-3_600_000), true));
        // The session began at 10:00 in a zone two hours ahead of UTC, with daylight saving in it.
        let mut clocks = Clocks::default();
        clocks.session_start(SessionStart {
            time: DateTime::from_octets([0xEA, 0x07, 11, 18, 10, 0, 0]),
            zone: 4,
            daylight_saving: 4,
        });
        let stored = clocks.place(minutes(30), Origin::Stored, NOW);
        assert_eq!(stored.taken_at.to_string(), "~2026-11-18T08:30:00Z");
    }
}
