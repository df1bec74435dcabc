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

/// How far back uses are remembered.
const REMEMBERED: Duration = Duration::from_hours(24);
const MINUTE_MS: u64 = 60_000;
const HOUR_MS: u64 = 60 * MINUTE_MS;

/// Uses of each sensor's radio, counted by whoever uses it; and whose batteries run down, as the watch finds.
#[derive(Debug, Clone)]
pub struct Strain {
    uses: Arc<Mutex<BTreeMap<SensorId, Uses>>>,
    running_down: Arc<watch::Sender<BTreeSet<SensorId>>>,
    began: Uptime,
}

/// Minutes with uses in them, oldest first.
#[derive(Debug, Default)]
struct Uses(VecDeque<(u64, u32)>);

impl Uses {
    fn count(&mut self, up: Uptime) {
        let minute = up.0 / MINUTE_MS;
        match self.0.back_mut() {
            Some((last, count)) if *last == minute => *count = count.saturating_add(1),
            _ => self.0.push_back((minute, 1)),
        }
        let oldest = minute.saturating_sub(REMEMBERED.as_secs() / 60);
        while self.0.front().is_some_and(|(at, _)| *at < oldest) {
            self.0.pop_front();
        }
    }

    fn all(&self) -> u32 {
        self.0
            .iter()
            .fold(0, |sum, (_, count)| sum.saturating_add(*count))
    }
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

    /// Uses since the process began, at most those of a day, sensor by sensor; and in which time.
    pub fn so_far(&self, up: Uptime) -> (BTreeMap<SensorId, u32>, Duration) {
        let uses = self.uses.lock().unwrap_or_else(PoisonError::into_inner);
        let all = uses.iter().map(|(sensor, uses)| (sensor.clone(), uses.all()));
        (all.collect(), up.since(self.began).min(REMEMBERED))
    }

    /// The same an hour, rounded up; nothing of a process too young to say.
    pub fn an_hour(&self, up: Uptime) -> BTreeMap<SensorId, u32> {
        let (uses, time) = self.so_far(up);
        let ms = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        if ms < 5 * MINUTE_MS {
            return BTreeMap::new();
        }
        let an_hour = |count: u32| u64::from(count).saturating_mul(HOUR_MS).div_ceil(ms);
        let rows = uses.into_iter();
        rows.map(|(sensor, count)| (sensor, u32::try_from(an_hour(count)).unwrap_or(u32::MAX)))
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn uses_are_counted_for_a_day_and_told_an_hour() {
        let strain = Strain::new(Uptime(0));
        let cuff: SensorId = "cuff".parse().expect("an id");
        for minute in 0..60 {
            strain.used(&cuff, Uptime(minute * MINUTE_MS));
            strain.used(&cuff, Uptime(minute * MINUTE_MS + 1));
        }
        assert_eq!(
            strain.an_hour(Uptime(MINUTE_MS)),
            BTreeMap::new(),
            "too young to say"
        );
        assert_eq!(strain.an_hour(Uptime(HOUR_MS))[&cuff], 120);
        assert_eq!(strain.an_hour(Uptime(2 * HOUR_MS))[&cuff], 60);
        // A day later only what came since counts, over a day.
        strain.used(&cuff, Uptime(49 * HOUR_MS));
        let (uses, time) = strain.so_far(Uptime(49 * HOUR_MS));
        assert_eq!((uses[&cuff], time), (1, REMEMBERED));
        assert_eq!(strain.an_hour(Uptime(49 * HOUR_MS))[&cuff], 1, "rounded up");
    }
}
