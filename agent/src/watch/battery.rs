//! Batteries of sensors.
//!
//! Found at once when the charge is [`LOW`] per cent or less, and within three days when it falls much faster than
//! before: at least two steps and [`STEEP`] points within three days, and more than three times as fast as in the
//! fortnight before, of which a week must be known. What was charged in between does not count: only falls do, and
//! only such as were seen within [`BLIND`] of the level before. False
//! alarms: a coarse display that drops by a quarter makes one step, not two; a rechargeable battery falls as fast
//! before as now; so none is expected but true emptiness. Over above [`ENOUGH`] per cent; a steep fall is over when
//! three days passed without one.

use homeward_protocol::time::{ClockTrust, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Claim, Finds};

/// Nearly empty, per cent.
const LOW: u8 = 10;
/// No longer nearly empty above this, per cent.
const ENOUGH: u8 = 15;
/// Points lost within [`RECENT`] that are many.
const STEEP: f64 = 20.0;
const DAY: i64 = 24 * 3_600_000;
/// What is compared …
const RECENT: i64 = 3 * DAY;
/// … with what went before.
const BEFORE: i64 = 14 * DAY;
/// So much of it must be known.
const KNOWN: i64 = 7 * DAY;
/// So many times as fast.
const TIMES: f64 = 3.0;
/// Steps down that a fall has at least.
const STEPS: usize = 2;
/// After so long without a word nobody knows when a battery fell, or whether it was charged.
const BLIND: i64 = 60 * 3_600_000;
/// Levels kept: each change of a fortnight for a battery that falls by some points a day.
const MOST: usize = 128;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Battery {
    /// Each level that differed from the one before, with when it was first seen, oldest first.
    levels: Vec<Level>,
    /// When it was last told.
    told: i64,
    /// Since when it is nearly empty.
    low_since: Option<i64>,
    /// When it was last seen falling fast, and since when.
    steep: Option<(i64, i64)>,
}

/// A level and when it was first seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Level {
    at: i64,
    charge: u8,
    /// Nothing was told for [`BLIND`] before it.
    blind: bool,
}

impl Battery {
    pub(super) fn newest(&self) -> Option<u8> {
        self.levels.last().map(|l| l.charge)
    }

    pub(super) fn see(&mut self, level: u8, now: Timestamp) {
        let level = level.min(100);
        let before = self.newest();
        if before != Some(level) {
            self.levels.push(Level {
                at: now.ms,
                charge: level,
                blind: now.ms.saturating_sub(self.told) > BLIND,
            });
        }
        self.told = now.ms;
        self.forget(now);
        if level <= LOW {
            self.low_since.get_or_insert(now.ms);
        } else if level > ENOUGH {
            self.low_since = None;
        }
        if now.trust == ClockTrust::Synced && self.falls_fast(now.ms) {
            let since = self.steep.map_or(now.ms, |(since, _)| since);
            self.steep = Some((since, now.ms));
        } else if self
            .steep
            .is_some_and(|(_, last)| now.ms.saturating_sub(last) > RECENT)
        {
            self.steep = None;
        }
    }

    pub(super) fn finds(&self) -> Finds {
        let stands = |since, said: &str| {
            Finds::Stands(Claim {
                since: Timestamp::synced(since),
                said: said.to_owned(),
            })
        };
        match (self.newest(), self.low_since, self.steep) {
            (None, ..) => Finds::Unknown,
            (_, Some(since), _) => stands(since, "its battery is nearly empty"),
            (_, None, Some((since, _))) => stands(since, "its battery falls much faster than before"),
            (_, None, None) => Finds::Fine,
        }
    }

    fn forget(&mut self, now: Timestamp) {
        // A clock that was put back leaves levels from the future: they would never be old.
        self.levels.retain(|l| l.at <= now.ms);
        let old = now.ms.saturating_sub(RECENT + BEFORE);
        let first = self.levels.partition_point(|l| l.at < old).saturating_sub(1);
        let first = first.max(self.levels.len().saturating_sub(MOST));
        self.levels.drain(..first);
    }

    fn falls_fast(&self, now: i64) -> bool {
        let border = now.saturating_sub(RECENT);
        if self
            .levels
            .first()
            .is_none_or(|first| border.saturating_sub(first.at) < KNOWN)
        {
            return false;
        }
        let recent: Vec<Fall> = self.falls().filter(|fall| fall.at > border).collect();
        let before: Vec<Fall> = self.falls().filter(|fall| fall.at <= border).collect();
        let resting = self
            .levels
            .iter()
            .rfind(|l| l.at <= border)
            .map_or(0, |l| border - l.at);
        let seen = before.iter().map(|fall| fall.lasted).sum::<i64>() + resting;
        let lost = points(&recent);
        recent.len() >= STEPS && lost >= STEEP && rate(lost, RECENT) > TIMES * rate(points(&before), seen)
    }

    /// Steps down that were seen.
    fn falls(&self) -> impl Iterator<Item = Fall> {
        let pairs = self.levels.windows(2).filter(|pair| !pair[1].blind);
        let fall = |pair: &[Level]| Fall {
            at: pair[1].at,
            lasted: pair[1].at.saturating_sub(pair[0].at),
            points: pair[0].charge.saturating_sub(pair[1].charge),
        };
        pairs.map(fall).filter(|fall| fall.points > 0)
    }
}

/// A step down: when it was seen, after how long, and by how much.
struct Fall {
    at: i64,
    lasted: i64,
    points: u8,
}

fn points(falls: &[Fall]) -> f64 {
    falls.iter().map(|fall| f64::from(fall.points)).sum()
}

/// Points a day; less than a day counts as one.
#[expect(clippy::cast_precision_loss, reason = "days, to be compared roughly")]
fn rate(points: f64, time: i64) -> f64 {
    points / (time as f64 / DAY as f64).max(1.0)
}
