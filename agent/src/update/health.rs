//! Whether a build on trial is well: as the box was before, and no harm to what it never touches.
//!
//! # Design
//! A build that is never well is bad only when something that depends on nobody else shows it. A server that nobody
//! reaches, or a sensor that is out of reach, proves nothing: then the box goes back and says so.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use homeward_protocol::id::SensorId;
use homeward_protocol::posture::SensorHeard;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::saved::Before;

/// Most memory of an agent that is well, bytes: what its unit asks it to stay below.
const MOST_MEMORY: u64 = 48 << 20;
/// Most of one core that an agent that is well takes, thousandths.
const MOST_CPU: u64 = 500;
/// So many times as often as before, a build that is well may use a sensor's radio.
const MOST_RADIO: u64 = 3;
/// Uses beyond that: links are made anew at its start, and some are lost by chance.
const RADIO_SLACK: u64 = 40;

/// What is seen of a build on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    /// When it began.
    pub began: Timestamp,
    /// When this was so.
    pub now: Timestamp,
    /// How long it has to be well.
    pub trial: Duration,
    /// The server was reached by it.
    pub online: bool,
    /// Records that it sent were acknowledged, or there are none.
    pub draining: bool,
    /// Whether the server accepted its evidence since it began; none for not yet, or when it cannot tell.
    pub accepted: Option<bool>,
    /// How the sensors stand.
    pub sensors: &'a [SensorHeard],
    /// Its memory, bytes.
    pub memory_bytes: u64,
    /// What it took of one core since it began, thousandths.
    pub cpu: u64,
    /// Uses of each sensor's radio since it began, and in which time.
    pub radio: (BTreeMap<SensorId, u32>, Duration),
    /// Sensors whose batteries run down.
    pub running_down: BTreeSet<SensorId>,
}

/// How a build on trial is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Health {
    /// What it has not shown yet; nothing when it is well.
    pub missing: Vec<ShortText>,
    /// What it does harm to.
    pub harm: Option<ShortText>,
    /// Something of what is missing depends on nobody but the build.
    pub proven: bool,
}

/// Compares what is seen with how the box was.
pub fn examine(before: &Before, seen: &Seen<'_>) -> Health {
    let mut missing = Vec::new();
    if before.online && !seen.online {
        missing.push("the server was not reached since".to_owned());
    }
    if seen.online && !seen.draining {
        missing.push("the server has acknowledged nothing since".to_owned());
    }
    if before.accepted && seen.online && seen.accepted.is_none() {
        missing.push("the server has not judged its evidence since".to_owned());
    }
    for sensor in &before.heard {
        let known = seen.sensors.iter().find(|one| one.sensor == *sensor);
        let heard = known.and_then(|one| Some((one, one.last_heard?)));
        match heard.filter(|(_, at)| at.ms >= seen.began.ms) {
            None => missing.push(format!("{sensor} was heard before, and was not since")),
            Some((one, at)) if at.age(seen.now) > silent_after(one, seen.trial) => {
                missing.push(format!("{sensor} was heard before, and is not any more"));
            }
            Some(_) => {}
        }
    }
    let mut proven = false;
    if seen.memory_bytes > MOST_MEMORY {
        missing.push(format!("it takes {} MiB of memory", seen.memory_bytes >> 20));
        proven = true;
    }
    if seen.cpu > MOST_CPU {
        missing.push(format!("it takes {} % of a core", seen.cpu / 10));
        proven = true;
    }
    // A box whose evidence was refused before is perhaps what the update mends.
    let refused = before.accepted && seen.accepted == Some(false);
    let harm = refused.then(|| "the server does not accept its evidence".to_owned());
    let harm = harm.or_else(|| strain(before, seen));
    Health {
        missing: missing.iter().map(|text| ShortText::cut(text)).collect(),
        harm: harm.as_deref().map(ShortText::cut),
        proven,
    }
}

/// For how long a sensor may say nothing in a trial: three of its intervals, and not less than a quarter of the trial, as some
/// answers are lost by chance.
fn silent_after(sensor: &SensorHeard, trial: Duration) -> Duration {
    (Duration::from_secs(sensor.interval_s.into()) * 3).max(trial / 4)
}

/// What it does to the sensors' batteries, against what the build before did.
fn strain(before: &Before, seen: &Seen<'_>) -> Option<String> {
    let (uses, time) = &seen.radio;
    for (sensor, an_hour) in &before.radio {
        let now = u64::from(uses.get(sensor).copied().unwrap_or(0));
        let expected = u64::from(*an_hour).saturating_mul(time.as_secs()) / 3_600;
        if now > expected.saturating_mul(MOST_RADIO).saturating_add(RADIO_SLACK) {
            let times = now / expected.max(1);
            return Some(format!(
                "it uses the radio of {sensor} {times} times as often as before, which empties its battery"
            ));
        }
    }
    let new = seen.running_down.difference(&before.running_down).next()?;
    Some(format!("the battery of {new} runs down since it runs"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1_000_000;
    const TEN_MINUTES: Duration = Duration::from_mins(10);

    fn id(name: &str) -> SensorId {
        name.parse().expect("an id")
    }

    fn sensor(name: &str, last_heard: Option<i64>) -> SensorHeard {
        SensorHeard {
            sensor: id(name),
            profile: ShortText::cut("comet-tx5xx"),
            last_heard: last_heard.map(Timestamp::synced),
            interval_s: 1,
            failures: 0,
            last_error: None,
        }
    }

    fn before() -> Before {
        Before {
            online: true,
            accepted: true,
            heard: [id("cuff"), id("room")].into(),
            radio: [(id("cuff"), 30)].into(),
            running_down: [id("room")].into(),
        }
    }

    fn well(sensors: &[SensorHeard]) -> Seen<'_> {
        Seen {
            began: Timestamp::synced(BEGAN),
            now: Timestamp::synced(BEGAN + 60_000),
            trial: TEN_MINUTES,
            online: true,
            draining: true,
            accepted: Some(true),
            sensors,
            memory_bytes: 8 << 20,
            cpu: 2,
            radio: ([(id("cuff"), 20)].into(), TEN_MINUTES),
            running_down: [id("room")].into(),
        }
    }

    #[test]
    fn a_build_is_well_when_all_is_as_before_and_each_thing_that_is_not_is_named() {
        let heard = [sensor("cuff", Some(BEGAN)), sensor("room", Some(BEGAN + 1))];
        assert_eq!(examine(&before(), &well(&heard)), Health::default());
        let old = [sensor("cuff", Some(BEGAN - 1)), sensor("room", Some(BEGAN))];
        let never = [sensor("cuff", None), sensor("room", Some(BEGAN))];
        let gone = [sensor("room", Some(BEGAN))];
        let seen = well(&heard);
        for (seen, words, proven) in [
            (
                Seen {
                    online: false,
                    ..seen.clone()
                },
                "the server was not reached since",
                false,
            ),
            (
                Seen {
                    draining: false,
                    ..seen.clone()
                },
                "the server has acknowledged nothing since",
                false,
            ),
            (
                Seen {
                    accepted: None,
                    ..seen.clone()
                },
                "the server has not judged its evidence since",
                false,
            ),
            (well(&old), "cuff was heard before, and was not since", false),
            (well(&never), "cuff was heard before, and was not since", false),
            (well(&gone), "cuff was heard before, and was not since", false),
            (
                Seen {
                    memory_bytes: 90 << 20,
                    ..seen.clone()
                },
                "it takes 90 MiB of memory",
                true,
            ),
            (
                Seen {
                    cpu: 750,
                    ..seen.clone()
                },
                "it takes 75 % of a core",
                true,
            ),
        ] {
            let health = examine(&before(), &seen);
            assert_eq!(health.missing, [ShortText::cut(words)]);
            assert_eq!((health.harm, health.proven), (None, proven), "{words}");
        }
    }

    #[test]
    fn a_build_that_heard_a_sensor_once_and_then_loses_it_is_not_well() {
        let after = |ms: i64, interval_s: u32| {
            let cuff = SensorHeard {
                interval_s,
                ..sensor("cuff", Some(BEGAN + 1_000))
            };
            let now = Timestamp::synced(BEGAN + 1_000 + ms);
            let heard = [cuff, sensor("room", Some(now.ms))];
            examine(&before(), &Seen { now, ..well(&heard) }).missing
        };
        let lost = [ShortText::cut("cuff was heard before, and is not any more")];
        // A quarter of ten minutes, for one that is asked each second; three intervals, for one of every two minutes.
        for (interval_s, most) in [(1, 150_000), (120, 360_000)] {
            assert_eq!(after(most, interval_s), []);
            assert_eq!(after(most + 1, interval_s), lost);
        }
    }

    #[test]
    fn a_box_that_was_offline_or_untrusted_before_is_asked_for_no_more_than_that() {
        let nothing = Seen {
            online: false,
            draining: false,
            accepted: None,
            running_down: BTreeSet::new(),
            ..well(&[])
        };
        assert_eq!(examine(&Before::default(), &nothing), Health::default());
    }

    #[test]
    fn evidence_that_the_server_does_not_accept_any_more_is_harm() {
        let heard = [sensor("cuff", Some(BEGAN)), sensor("room", Some(BEGAN))];
        let seen = Seen {
            accepted: Some(false),
            ..well(&heard)
        };
        let refused_before = Before {
            accepted: false,
            ..before()
        };
        assert_eq!(examine(&refused_before, &seen), Health::default());
        let health = examine(&before(), &seen);
        assert_eq!(
            health.harm,
            Some(ShortText::cut("the server does not accept its evidence"))
        );
    }

    /// The replay of 2024: a new build of an app crashed, was started, reconnected, for hours, and pumps stopped for want of
    /// a battery. Source: FDA class I recall of t:connect mobile app 2.7 for iOS, 2024.
    #[test]
    fn a_build_that_reconnects_again_and_again_is_taken_back_before_it_empties_a_battery() {
        let heard = [sensor("cuff", Some(BEGAN)), sensor("room", Some(BEGAN))];
        let seen = |uses: u32, minutes: u64| Seen {
            radio: ([(id("cuff"), uses)].into(), Duration::from_mins(minutes)),
            ..well(&heard)
        };
        // Thirty uses an hour before: twelve for each new link, five of those in ten minutes are bad luck.
        assert_eq!(examine(&before(), &seen(55, 10)), Health::default());
        // One a minute is not: it is seen after four minutes.
        let minutes = (1..=10).find(|minutes| {
            examine(&before(), &seen(12 * minutes, u64::from(*minutes)))
                .harm
                .is_some()
        });
        assert_eq!(minutes, Some(4));
        let health = examine(&before(), &seen(120, 10));
        let why = "it uses the radio of cuff 24 times as often as before, which empties its battery";
        assert_eq!(health.harm, Some(ShortText::cut(why)));
        // Of a sensor that nobody knew before nothing can be said.
        let new = Before {
            radio: BTreeMap::new(),
            ..before()
        };
        assert_eq!(examine(&new, &seen(120, 10)), Health::default());
    }

    #[test]
    fn a_battery_that_runs_down_since_the_build_runs_is_harm_and_one_that_did_before_is_not() {
        let heard = [sensor("cuff", Some(BEGAN)), sensor("room", Some(BEGAN))];
        let seen = Seen {
            running_down: [id("room"), id("cuff")].into(),
            ..well(&heard)
        };
        let why = "the battery of cuff runs down since it runs";
        assert_eq!(examine(&before(), &seen).harm, Some(ShortText::cut(why)));
    }
}
