//! What comes from a sensor, as far as it tells whether the sensor is being used.
//!
//! # Design
//! - A device on a wire is asked: a register of the kind `running` that says on, or an alarm of its own that stands, is
//!   a session. One without such registers has no sessions: it is idle when it answers. A turn of which anything was not
//!   answered tells nothing: what is missing may be what would have told.
//! - A Bluetooth sensor gives values while it measures: a value is a session until none came for [`RESTS_AFTER`]. What
//!   it measures before it connects nobody sees; it keeps that and sends it later.
//! - One that is worn and sends all the time ([`Visits::Always`]) does not end its link by itself: when it is gone, nobody
//!   knows whether it still measures. It counts as unreadable until it was linked and quiet for [`RESTS_AFTER`], or gone
//!   and silent for [`UNHEARD`]; that counts from the start, too, as what it did before that nobody knows any more. One that
//!   only visits ends its link when it has told what it measured, so a link that is gone says nothing of it.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_devices::modbus;
use homeward_devices::profile::Visits;
use homeward_protocol::id::SensorId;
use homeward_protocol::time::Uptime;

use super::source::UNHEARD;
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
    /// Whether it is worn and sends all the time, so that a link that is gone says nothing good.
    streams: bool,
    /// Since when somebody listens to it.
    listened_since: Option<Uptime>,
    /// When whoever listens last said that it is not linked.
    last_gone: Option<Uptime>,
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
            streams: streams(sensor),
            listened_since: None,
            last_gone: None,
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
            if !sign.values && !sign.listens {
                return None;
            }
            known.listen(sign, now);
            return Some((known.told(sign.linked, now), now));
        }
        Some(match sign.asked.filter(|_| sign.whole) {
            None => (Activity::Unreadable, now),
            Some(asked) if known.alarms || sign.runs == Some(true) => (Activity::Busy, asked),
            Some(asked) => (Activity::Idle, asked),
        })
    }
}

impl Known {
    fn listen(&mut self, sign: &Sign, now: Uptime) {
        self.listened_since.get_or_insert(now);
        if sign.values {
            self.last_value = Some(now);
        } else if !sign.linked {
            self.last_gone = Some(now);
        }
    }

    fn told(&self, linked: bool, now: Uptime) -> Activity {
        let lately = |at: Uptime| now.since(at) < RESTS_AFTER;
        if self.last_value.is_some_and(lately) {
            return Activity::Busy;
        }
        let unsure = if linked {
            self.last_gone.is_some_and(lately)
        } else {
            let silent_since = self.last_value.or(self.listened_since);
            silent_since.is_some_and(|since| now.since(since) <= UNHEARD)
        };
        if self.streams && unsure {
            Activity::Unreadable
        } else {
            Activity::Idle
        }
    }
}

fn streams(sensor: &Sensor) -> bool {
    let session = sensor.profile.session.as_ref();
    session.is_some_and(|session| session.visits == Visits::Always)
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
            streams: false,
            listened_since: None,
            last_gone: None,
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
            ..Sign::default()
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

    /// What is said of a sensor that is worn, every fifteen seconds: `linked` and `values` by the second.
    fn worn(
        seconds: u64,
        linked: impl Fn(u64) -> bool,
        values: impl Fn(u64) -> bool,
    ) -> Vec<(u64, Activity)> {
        let alive = LISTENS_WITHIN;
        let mut all = activities(Watching::Told { alive });
        all.0.get_mut(&id()).expect("listed").streams = true;
        let mut said: Vec<(u64, Activity)> = Vec::new();
        for at in (0..=seconds).step_by(15) {
            let sign = Sign {
                values: linked(at) && values(at),
                listens: true,
                linked: linked(at),
                ..Sign::default()
            };
            let (activity, _) = all.hear(&id(), &sign, Uptime(at * 1_000)).expect("said");
            if said.last().is_none_or(|(_, before)| *before != activity) {
                said.push((at, activity));
            }
        }
        said
    }

    #[test]
    fn a_worn_sensor_whose_link_is_lost_is_not_idle_until_it_is_back_and_quiet_or_gone_for_an_hour() {
        use Activity::{Busy, Idle, Unreadable};
        // A patient turns over, and her oximeter goes on measuring; it is back after ten minutes, and taken off after twenty.
        let lost = worn(3_600, |at| !(600..1_200).contains(&at), |at| at < 2_400);
        assert_eq!(lost, [(0, Busy), (705, Unreadable), (1_200, Busy), (2_505, Idle)]);
        // It comes back and says nothing: it was taken off.
        let quiet = worn(3_600, |at| !(600..1_200).contains(&at), |at| at < 600);
        assert_eq!(quiet, [(0, Busy), (705, Unreadable), (1_305, Idle)]);
        // It was switched off, and never comes back.
        let off = worn(7_200, |at| at < 600, |_| true);
        assert_eq!(off, [(0, Busy), (705, Unreadable), (585 + 3_615, Idle)]);
        // After a start nobody knows what it did before.
        let never = worn(7_200, |_| false, |_| false);
        assert_eq!(never, [(0, Unreadable), (3_615, Idle)]);
    }

    #[test]
    fn which_sensors_are_worn_and_send_all_the_time_their_profiles_say() {
        let text = |profile: &str| {
            format!("[[sensor]]\nid = \"o2\"\nprofile = \"{profile}\"\naddress = \"C1:00:00:00:00:01\"\n")
        };
        for (profile, worn) in [
            ("pulse-oximeter", true),
            ("heart-rate", true),
            ("cgm", true),
            ("blood-pressure", false),
            ("glucose-meter", false),
        ] {
            let config = crate::config::Config::parse(&text(profile)).expect("a configuration");
            let all = Activities::new(&config.sensors(&[]).expect("sensors"));
            assert_eq!(
                all.0.values().map(|known| known.streams).collect::<Vec<_>>(),
                [worn]
            );
        }
    }

    #[test]
    fn a_sensor_that_nobody_listed_says_nothing() {
        let mut none = Activities(BTreeMap::new());
        assert_eq!(none.hear(&id(), &turn(Some(true), None, true), Uptime(1)), None);
    }
}
