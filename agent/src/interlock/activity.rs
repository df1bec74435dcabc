//! What comes from a sensor, as far as it tells whether the sensor is being used.
//!
//! # Design
//! - A device on a wire is asked: a register of the kind `running` that says on, or an alarm of its own that stands, is
//!   a session. One without such registers has no sessions: it is idle when it answers.
//! - A Bluetooth sensor gives values while it measures: a value is a session until none came for [`RESTS_AFTER`]. What
//!   it measures before it connects nobody sees; it keeps that and sends it later.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::alarm::Condition;
use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::reading::{Kind, Reading, State, Value};
use homeward_protocol::time::Uptime;

use super::{Activity, Watching};
use crate::sense::{Heard, Sensor};

/// How long after its last value a Bluetooth sensor counts as put away.
pub const RESTS_AFTER: Duration = Duration::from_mins(2);
/// How often a Bluetooth sensor is looked at: its listener is part of this very process.
pub const LOOK: Duration = Duration::from_secs(5);

/// What one answer or value of a sensor says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sign {
    /// Which sensor.
    pub sensor: SensorId,
    /// Whether it says that it runs; none when it says nothing of it.
    pub runs: Option<bool>,
    /// Whether there were values.
    pub values: bool,
    /// Whether it failed to answer.
    pub failed: bool,
    /// An alarm that began (true) or ended, the last of them.
    pub alarm: Option<bool>,
}

impl Sign {
    /// Of what was heard.
    pub fn of(heard: &Heard) -> Sign {
        let readings = || heard.items.iter().filter_map(reading);
        let device = |item: &Item| match item {
            Item::Alarm(alarm) if alarm.condition == Condition::DeviceAlarm => Some(alarm.active),
            _ => None,
        };
        let running = readings().filter_map(runs);
        Sign {
            sensor: heard.state.sensor.clone(),
            runs: running.reduce(|one, other| one || other),
            values: readings().next().is_some(),
            failed: heard.state.failures > 0,
            alarm: heard.items.iter().filter_map(device).next_back(),
        }
    }
}

const fn reading(item: &Item) -> Option<&Reading> {
    match item {
        Item::Reading(reading) => Some(reading),
        _ => None,
    }
}

/// Whether a value says that a device runs. A state that is absent or not of its kind says that nobody can tell, which
/// counts as running.
fn runs(reading: &Reading) -> Option<bool> {
    (reading.kind == Kind::Running).then_some(reading.value != Value::State(State::Off))
}

/// A sensor as the interlock watches it, and what is remembered of it.
#[derive(Debug)]
struct Known {
    watching: Watching,
    alarms: bool,
    last_value: Option<Uptime>,
}

/// What all sensors are doing.
#[derive(Debug)]
pub struct Activities(BTreeMap<SensorId, Known>);

impl Activities {
    /// Of these sensors; nothing is known of them.
    pub fn new(sensors: &[Sensor]) -> Activities {
        let known = |sensor: &Sensor| Known {
            watching: watching(sensor),
            alarms: false,
            last_value: None,
        };
        Activities(sensors.iter().map(|s| (s.id.clone(), known(s))).collect())
    }

    /// How each is watched.
    pub fn watched(&self) -> impl Iterator<Item = (SensorId, Watching)> {
        self.0.iter().map(|(id, known)| (id.clone(), known.watching))
    }

    /// What the sensor is doing, and what moment that speaks of; none when nothing is to be concluded.
    pub fn hear(&mut self, sign: &Sign, now: Uptime) -> Option<(Activity, Uptime)> {
        let known = self.0.get_mut(&sign.sensor)?;
        known.alarms = sign.alarm.unwrap_or(known.alarms);
        match known.watching {
            Watching::Told { .. } => {
                if sign.values {
                    known.last_value = Some(now);
                }
                Some((known.told(now), now))
            }
            Watching::Asked { within, .. } => {
                let asked = Uptime(now.0.saturating_sub(millis(within)));
                let activity = match (sign.failed, sign.values, sign.runs) {
                    (true, ..) => Activity::Unreadable,
                    (false, false, _) => return None,
                    (false, true, Some(true)) => Activity::Busy,
                    (false, true, _) if known.alarms => Activity::Busy,
                    (false, true, _) => Activity::Idle,
                };
                Some((activity, asked))
            }
        }
    }

    /// How those stand that tell by themselves.
    pub fn look(&self, now: Uptime) -> Vec<(SensorId, Activity)> {
        let told = self
            .0
            .iter()
            .filter(|(_, known)| matches!(known.watching, Watching::Told { .. }));
        told.map(|(id, known)| (id.clone(), known.told(now))).collect()
    }
}

impl Known {
    fn told(&self, now: Uptime) -> Activity {
        let lately = |at: Uptime| now.since(at) < RESTS_AFTER;
        if self.last_value.is_some_and(lately) {
            Activity::Busy
        } else {
            Activity::Idle
        }
    }
}

fn watching(sensor: &Sensor) -> Watching {
    if sensor.ble_address().is_some() {
        return Watching::Told { alive: LOOK };
    }
    Watching::Asked {
        every: sensor.interval,
        within: sensor.profile.time_limit,
    }
}

fn millis(length: Duration) -> u64 {
    u64::try_from(length.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(1);

    fn activities(watching: Watching) -> Activities {
        let known = Known {
            watching,
            alarms: false,
            last_value: None,
        };
        Activities(BTreeMap::from([(id(), known)]))
    }

    fn id() -> SensorId {
        "o2".parse().expect("a sensor")
    }

    fn sign(runs: Option<bool>, values: bool, failed: bool, alarm: Option<bool>) -> Sign {
        Sign {
            sensor: id(),
            runs,
            values,
            failed,
            alarm,
        }
    }

    #[test]
    fn a_device_on_a_wire_is_what_its_registers_say() {
        let every = Duration::from_secs(10);
        let mut all = activities(Watching::Asked {
            every,
            within: WITHIN,
        });
        let now = Uptime(60_000);
        let asked = Uptime(59_000);
        for (sign, expected) in [
            (sign(Some(true), true, false, None), Some(Activity::Busy)),
            (sign(Some(false), true, false, None), Some(Activity::Idle)),
            (sign(None, true, false, None), Some(Activity::Idle)),
            (sign(None, false, true, None), Some(Activity::Unreadable)),
            (sign(None, false, false, None), None),
            (sign(Some(false), true, false, Some(true)), Some(Activity::Busy)),
            // Its alarm stands until it says that it ended.
            (sign(Some(false), true, false, None), Some(Activity::Busy)),
            (sign(Some(false), true, false, Some(false)), Some(Activity::Idle)),
        ] {
            let heard = all.hear(&sign, now);
            assert_eq!(heard, expected.map(|activity| (activity, asked)), "{sign:?}");
        }
    }

    #[test]
    fn a_bluetooth_sensor_is_used_while_values_come() {
        let mut all = activities(Watching::Told { alive: LOOK });
        assert_eq!(all.look(Uptime(0)), [(id(), Activity::Idle)]);
        let value = sign(None, true, false, None);
        assert_eq!(
            all.hear(&value, Uptime(1_000)),
            Some((Activity::Busy, Uptime(1_000)))
        );
        let rests = Uptime(1_000).plus(RESTS_AFTER);
        assert_eq!(all.look(Uptime(rests.0 - 1)), [(id(), Activity::Busy)]);
        assert_eq!(all.look(rests), [(id(), Activity::Idle)]);
    }

    #[test]
    fn a_sensor_that_nobody_listed_says_nothing() {
        let mut none = Activities(BTreeMap::new());
        assert_eq!(none.hear(&sign(None, true, false, None), Uptime(1)), None);
    }
}
