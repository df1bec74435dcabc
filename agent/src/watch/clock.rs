//! The sensor's own clock.
//!
//! Sensors tell wall-clock time without a zone, so a clock that is right lies ahead of UTC by a whole number of
//! quarter hours, from -12 to +14 hours. Found, at the first value that shows it while the box's clock is
//! disciplined:
//! - a clock beyond all zones (a dead battery takes it to the year of its making);
//! - a clock more than [`OFF`] beside every quarter hour;
//! - a clock that moved by more than [`JUMP`] since it was last seen, unless it moved by half or whole hours up to
//!   three (daylight saving, a journey).
//!
//! False alarms: a value is told up to a minute or two after it was measured, and quartz drifts by seconds a day:
//! both stay below the limits, so that none is expected in a year between two settings. A clock that is wrong by a
//! whole quarter hour from the start is not seen. No value is dropped for any of this.
//!
//! Over when the clock is back where it was, or has kept its new course for a week.

use homeward_protocol::reading::Reading;
use homeward_protocol::time::{ClockTrust, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Claim, Finds};

const MINUTE: i64 = 60_000;
const HOUR: i64 = 60 * MINUTE;
/// Further than this from a quarter hour no zone explains.
const OFF: i64 = 5 * MINUTE;
/// A smaller step is the delay of a message.
const JUMP: i64 = 4 * MINUTE;
/// A finding about a jump lasts so long.
const WEEK: i64 = 7 * 24 * HOUR;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Clock {
    /// How far it was ahead when it was last seen.
    ahead_ms: Option<i64>,
    /// When it last jumped, from where, and by how much.
    jump: Option<Jump>,
    /// Since when it is beside all zones.
    off_since: Option<i64>,
}

/// All in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Jump {
    at: i64,
    from: i64,
    by: i64,
}

impl Clock {
    pub(super) fn see(&mut self, reading: &Reading, now: Timestamp) {
        let clock = reading.details.sensor_clock;
        let Some(ahead) = clock
            .and_then(|c| c.ahead_ms)
            .filter(|_| now.trust == ClockTrust::Synced)
        else {
            return;
        };
        if let Some(before) = self.ahead_ms
            && jumped(ahead.saturating_sub(before))
        {
            let back = self.jump.is_some_and(|j| !jumped(ahead.saturating_sub(j.from)));
            self.jump = (!back).then_some(Jump {
                at: now.ms,
                from: before,
                by: ahead.saturating_sub(before),
            });
        }
        self.ahead_ms = Some(ahead);
        self.off_since = off(ahead).then(|| self.off_since.unwrap_or(now.ms));
    }

    pub(super) fn finds(&self, now: Timestamp) -> Finds {
        let Some(ahead) = self.ahead_ms else {
            return Finds::Unknown;
        };
        let claim = |since: i64, said: String| {
            Finds::Stands(Claim {
                since: Timestamp::synced(since),
                said,
            })
        };
        let recent = |j: &Jump| now.trust != ClockTrust::Synced || now.ms.saturating_sub(j.at) < WEEK;
        match (self.off_since, self.jump.filter(recent)) {
            (_, Some(jump)) => claim(jump.at, format!("its clock jumped by {}", minutes(jump.by))),
            (Some(since), None) => claim(since, format!("its clock is off: {} from ours", minutes(ahead))),
            (None, None) => Finds::Fine,
        }
    }
}

/// Further than [`OFF`] from what any zone explains.
fn off(ahead: i64) -> bool {
    let quarter = 15 * MINUTE;
    let beside = ahead.rem_euclid(quarter);
    !(-12 * HOUR - OFF..=14 * HOUR + OFF).contains(&ahead) || beside.min(quarter - beside) > OFF
}

/// More than a delay, and neither daylight saving nor a journey.
fn jumped(by: i64) -> bool {
    let half = HOUR / 2;
    let beside = by.rem_euclid(half);
    let by_zone = by.unsigned_abs() <= (3 * HOUR + JUMP).unsigned_abs() && beside.min(half - beside) <= JUMP;
    !by_zone
}

fn minutes(ms: i64) -> String {
    match ms / MINUTE {
        m @ -119..=119 => format!("{m} minutes"),
        m if m.abs() < 2 * 24 * 60 => format!("{} hours", m / 60),
        m => format!("{} days", m / (24 * 60)),
    }
}
