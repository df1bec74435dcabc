//! What comes from a sensor, as far as it tells whether the sensor is being used.
//!
//! # Design
//! - A device on a wire is asked: a register of the kind `running` that says on, or an alarm of its own that stands, is
//!   a session. One without such registers has no sessions: it is idle when it answers. A turn of which anything was not
//!   answered tells nothing: what is missing may be what would have told.
//! - A Bluetooth sensor gives values while it measures: a value is a session until none came for [`RESTS_AFTER`]. What
//!   it measures before it connects nobody sees; it keeps that and sends it later.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_devices::modbus;
use homeward_protocol::id::SensorId;
use homeward_protocol::time::Uptime;

use super::{Activity, Watching};
use crate::policy::habits::Habits;
use crate::sense::{Sensor, Sign};

/// How long after its last value a Bluetooth sensor counts as put away.
pub const RESTS_AFTER: Duration = Duration::from_mins(2);
/// How often whoever listens to a Bluetooth sensor has to say so: a few times its own interval, as it also connects.
pub const LISTENS_WITHIN: Duration = Duration::from_mins(1);

/// A sensor as the interlock watches it, and what is remembered of it.
#[derive(Debug)]
struct Known {
    watching: Watching,
    /// How often it is asked by the box's own configuration.
    own: Duration,
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
            own: sensor.interval,
            alarms: false,
            last_value: None,
        };
        Activities(sensors.iter().map(|s| (s.id.clone(), known(s))).collect())
    }

    /// Follows other habits from now on: sensors on a wire are asked at another pace.
    pub fn follow(&mut self, habits: &Habits) {
        for (id, known) in &mut self.0 {
            if let Watching::Asked { every, .. } = &mut known.watching {
                *every = habits.interval(id, known.own);
            }
        }
    }

    /// How each is watched.
    pub fn watched(&self) -> impl Iterator<Item = (SensorId, Watching)> {
        self.0.iter().map(|(id, known)| (id.clone(), known.watching))
    }

    /// What the sensor is doing, and what moment that speaks of; none when nothing is said of a sensor that is listed.
    pub fn hear(&mut self, sensor: &SensorId, sign: &Sign, now: Uptime) -> Option<(Activity, Uptime)> {
        let known = self.0.get_mut(sensor)?;
        known.alarms = sign.alarm.unwrap_or(known.alarms);
        if let Watching::Told { .. } = known.watching {
            if sign.values {
                known.last_value = Some(now);
            }
            return (sign.values || sign.listens).then(|| (known.told(now), now));
        }
        Some(match sign.asked.filter(|_| sign.whole) {
            None => (Activity::Unreadable, now),
            Some(asked) if known.alarms || sign.runs == Some(true) => (Activity::Busy, asked),
            Some(asked) => (Activity::Idle, asked),
        })
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
        return Watching::Told {
            alive: LISTENS_WITHIN,
        };
    }
    let questions = u32::try_from(modbus::requests(&sensor.profile).len()).unwrap_or(u32::MAX);
    Watching::Asked {
        every: sensor.interval,
        within: sensor.profile.time_limit.saturating_mul(questions),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(1);

    fn activities(watching: Watching) -> Activities {
        let known = Known {
            watching,
            own: Duration::from_secs(10),
            alarms: false,
            last_value: None,
        };
        Activities(BTreeMap::from([(id(), known)]))
    }

    fn id() -> SensorId {
        "o2".parse().expect("a sensor")
    }

    /// A turn that was asked a second ago.
    fn turn(runs: Option<bool>, alarm: Option<bool>, whole: bool) -> Sign {
        Sign {
            values: true,
            runs,
            alarm,
            whole,
            asked: Some(Uptime(59_000)),
            listens: false,
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
        for (sign, expected) in [
            (turn(Some(true), None, true), Activity::Busy),
            (turn(Some(false), None, true), Activity::Idle),
            (turn(None, None, true), Activity::Idle),
            // The register that would have told may be the one that was not read.
            (turn(None, None, false), Activity::Unreadable),
            (turn(Some(false), None, false), Activity::Unreadable),
            (Sign::default(), Activity::Unreadable),
            (turn(Some(false), Some(true), true), Activity::Busy),
            // Its alarm stands until it says that it ended.
            (turn(Some(false), None, true), Activity::Busy),
            (turn(Some(false), Some(false), true), Activity::Idle),
        ] {
            let at = if expected == Activity::Unreadable {
                now
            } else {
                Uptime(59_000)
            };
            assert_eq!(all.hear(&id(), &sign, now), Some((expected, at)), "{sign:?}");
        }
    }

    #[test]
    fn a_bluetooth_sensor_is_used_while_values_come_and_unknown_when_nobody_listens() {
        let alive = LISTENS_WITHIN;
        let mut all = activities(Watching::Told { alive });
        let listens = Sign {
            listens: true,
            ..Sign::default()
        };
        let value = Sign {
            values: true,
            ..Sign::default()
        };
        let begun = Uptime(1_000);
        let rests = begun.plus(RESTS_AFTER);
        for (sign, now, expected) in [
            (listens, Uptime(0), Some(Activity::Idle)),
            (value, begun, Some(Activity::Busy)),
            (listens, Uptime(rests.0 - 1), Some(Activity::Busy)),
            (listens, rests, Some(Activity::Idle)),
            // A word about the sensor by somebody who does not hear it.
            (Sign::default(), rests, None),
        ] {
            let heard = all.hear(&id(), &sign, now);
            assert_eq!(heard, expected.map(|activity| (activity, now)), "{sign:?}");
        }
    }

    #[test]
    fn a_sensor_that_nobody_listed_says_nothing() {
        let mut none = Activities(BTreeMap::new());
        assert_eq!(none.hear(&id(), &turn(Some(true), None, true), Uptime(1)), None);
    }
}
