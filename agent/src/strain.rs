//! What the agent asks of its sensors: how often it uses their radios, and whose batteries run down.
//!
//! An update can hurt a device that it never touches: in 2024 an app that crashed and reconnected again and again emptied
//! the batteries of the pumps it spoke with. So a build on trial is held against how the build before it treated each sensor.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::id::SensorId;
use homeward_protocol::time::Uptime;
use tokio::sync::watch;

pub mod usual;

pub use usual::{Excess, Usual};

/// How far back uses are remembered minute by minute: a therapy may be for some days of a week.
const REMEMBERED: Duration = Duration::from_hours(7 * 24);
const MINUTE_MS: u64 = 60_000;

/// Uses of each sensor's radio, counted by whoever uses it; and whose batteries run down, as the watch finds.
#[derive(Debug, Clone)]
pub struct Strain {
    uses: Arc<Mutex<BTreeMap<SensorId, Uses>>>,
    running_down: Arc<watch::Sender<BTreeSet<SensorId>>>,
    began: Uptime,
}

/// How far the counts were at a moment, from which more are counted.
#[derive(Debug, Clone)]
pub struct Mark {
    at: Uptime,
    counts: BTreeMap<SensorId, u32>,
}

#[derive(Debug, Default)]
struct Uses {
    all: u32,
    first: Option<Uptime>,
    /// Minutes with uses in them, oldest first.
    minutes: VecDeque<(u64, u32)>,
}

impl Uses {
    fn count(&mut self, up: Uptime) {
        self.all = self.all.saturating_add(1);
        self.first.get_or_insert(up);
        let minute = up.0 / MINUTE_MS;
        match self.minutes.back_mut() {
            Some((last, count)) if *last == minute => *count = count.saturating_add(1),
            _ => self.minutes.push_back((minute, 1)),
        }
        let oldest = oldest(up);
        while self.minutes.front().is_some_and(|(at, _)| *at < oldest) {
            self.minutes.pop_front();
        }
    }
}

/// The first minute that is remembered.
const fn oldest(up: Uptime) -> u64 {
    (up.0 / MINUTE_MS).saturating_sub(REMEMBERED.as_secs() / 60)
}

impl Strain {
    /// Of a process that began at `up`.
    pub fn new(up: Uptime) -> Strain {
        Strain {
            uses: Arc::default(),
            running_down: Arc::default(),
            began: up,
        }
    }

    /// The radio of a sensor is used once: a link is made, or something is read, written or subscribed to.
    pub fn used(&self, sensor: &SensorId, up: Uptime) {
        let mut uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        match uses.get_mut(sensor) {
            Some(uses) => uses.count(up),
            None => uses.entry(sensor.clone()).or_default().count(up),
        }
    }

    /// The batteries of these sensors run down faster than before, or are nearly empty.
    pub fn run_down(&self, sensors: &BTreeSet<SensorId>) {
        self.running_down.send_if_modified(|now| {
            let changed = now != sensors;
            now.clone_from(sensors);
            changed
        });
    }

    /// Whose batteries run down.
    pub fn running_down(&self) -> BTreeSet<SensorId> {
        self.running_down.borrow().clone()
    }

    /// How the radios were used in the last week, or since a sensor was first used in this process where that is later.
    pub fn usual(&self, up: Uptime) -> BTreeMap<SensorId, Usual> {
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let oldest = oldest(up);
        let usual = |uses: &Uses| {
            let minutes = uses.minutes.iter().filter(|(at, _)| *at >= oldest);
            let known = up.since(uses.first.unwrap_or(up)).min(REMEMBERED);
            Usual::of(&minutes.copied().collect::<Vec<_>>(), known)
        };
        let rows = uses.iter();
        rows.map(|(sensor, uses)| (sensor.clone(), usual(uses))).collect()
    }

    /// The beginning of the process.
    pub fn begin(&self) -> Mark {
        Mark {
            at: self.began,
            counts: BTreeMap::new(),
        }
    }

    /// This moment.
    pub fn mark(&self, up: Uptime) -> Mark {
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let counts = uses.iter().map(|(sensor, uses)| (sensor.clone(), uses.all));
        Mark {
            at: up,
            counts: counts.collect(),
        }
    }

    /// Uses since a mark of this process, sensor by sensor; and in which time.
    pub fn since(&self, mark: &Mark, up: Uptime) -> (BTreeMap<SensorId, u32>, Duration) {
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let before = |sensor: &SensorId| mark.counts.get(sensor).copied().unwrap_or(0);
        let new = uses
            .iter()
            .map(|(sensor, uses)| (sensor.clone(), uses.all.saturating_sub(before(sensor))));
        (new.collect(), up.since(mark.at))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR_MS: u64 = 60 * MINUTE_MS;

    #[test]
    fn uses_are_remembered_for_a_week_and_counted_from_a_mark() {
        let strain = Strain::new(Uptime(0));
        let cuff: SensorId = "cuff".parse().expect("an id");
        for minute in 0..60 {
            strain.used(&cuff, Uptime(minute * MINUTE_MS));
            strain.used(&cuff, Uptime(minute * MINUTE_MS + 1));
        }
        let usual = |at: u64| {
            let usual = strain.usual(Uptime(at))[&cuff];
            (usual.uses, usual.over_s, usual.together)
        };
        assert_eq!(usual(2 * HOUR_MS), (120, 7_200, 2));
        let noon = strain.mark(Uptime(2 * HOUR_MS));
        strain.used(&cuff, Uptime(49 * HOUR_MS));
        assert_eq!(usual(49 * HOUR_MS), (121, 49 * 3_600, 2));
        // A week later only what came since counts, over a week.
        assert_eq!(usual(200 * HOUR_MS), (1, 7 * 86_400, 1));
        assert_eq!(usual(300 * HOUR_MS), (0, 7 * 86_400, 12));
        // One that is new is known for as long as it is there.
        let new: SensorId = "new".parse().expect("an id");
        strain.used(&new, Uptime(300 * HOUR_MS));
        assert_eq!(strain.usual(Uptime(301 * HOUR_MS))[&new].over_s, 3_600);
        let since = |mark: &Mark| {
            let (uses, time) = strain.since(mark, Uptime(50 * HOUR_MS));
            (uses[&cuff], time)
        };
        assert_eq!(since(&noon), (1, Duration::from_hours(48)));
        assert_eq!(since(&strain.begin()), (121, Duration::from_hours(50)));
    }
}
