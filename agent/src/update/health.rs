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
use homeward_protocol::time::{Timestamp, Uptime};

use super::saved::Before;
use crate::strain::{Excess, Usual};

/// Most memory of an agent that is well, bytes: what its unit asks it to stay below.
const MOST_MEMORY: u64 = 48 << 20;
/// Most of one core that an agent that is well takes, thousandths.
const MOST_CPU: u64 = 500;
/// How long records may wait at least without any of them being acknowledged.
const LEAST_PATIENCE: Duration = Duration::from_secs(30);

/// Whether what waits for the server goes there, as one look after the other tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Drain(Option<Stuck>);

/// That records wait, and nothing of them goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stuck {
    since: Uptime,
    last_ack: Option<Timestamp>,
}

impl Drain {
    /// Takes a look: so many records wait `now`, and the server acknowledged something at `last_ack` the last time. Whether they
    /// go. They do not when nothing was ever acknowledged, or nothing new for a quarter of `trial` in which some waited: a slow
    /// link is none that stands still.
    pub fn goes(&mut self, waits: u64, last_ack: Option<Timestamp>, trial: Duration, now: Uptime) -> bool {
        let goes_on = self.0.filter(|stuck| waits > 0 && stuck.last_ack == last_ack);
        let since = goes_on.map_or(now, |stuck| stuck.since);
        self.0 = (waits > 0).then_some(Stuck { since, last_ack });
        let patience = (trial / 4).max(LEAST_PATIENCE);
        now.since(since) <= patience && (waits == 0 || last_ack.is_some())
    }
}

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
    let (uses, time) = &seen.radio;
    for (sensor, excess) in excesses(&before.usual, uses, *time) {
        if let Excess::Perhaps(times) = excess {
            let often = format!("{times} times as often as before, which may be a bad link");
            missing.push(format!("it uses the radio of {sensor} {often}"));
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
    wears(&before.usual, uses, *time).or_else(|| {
        let new = seen.running_down.difference(&before.running_down).next()?;
        Some(format!("the battery of {new} runs down since it runs"))
    })
}

/// Whose battery is emptied by so many uses of the radios in `time`, and how much faster.
pub fn wears(
    usual: &BTreeMap<SensorId, Usual>,
    uses: &BTreeMap<SensorId, u32>,
    time: Duration,
) -> Option<String> {
    excesses(usual, uses, time).find_map(|(sensor, excess)| match excess {
        Excess::Surely(times) => Some(format!(
            "it uses the radio of {sensor} {times} times as often as before, which empties its battery"
        )),
        Excess::Perhaps(_) => None,
    })
}

/// Each sensor whose radio is used more than usual.
fn excesses<'a>(
    usual: &'a BTreeMap<SensorId, Usual>,
    uses: &'a BTreeMap<SensorId, u32>,
    time: Duration,
) -> impl Iterator<Item = (&'a SensorId, Excess)> {
    usual.iter().filter_map(move |(sensor, usual)| {
        let uses = uses.get(sensor).copied().unwrap_or(0);
        Some((sensor, usual.exceeded(uses, time)?))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const BEGAN: i64 = 1_000_000;
    const TEN_MINUTES: Duration = Duration::from_mins(10);

    /// After which second of looks, one each ten, records do not go any more.
    fn stops(trial: Duration, waits: impl Fn(u64) -> u64, acked: impl Fn(u64) -> Option<i64>) -> Option<u64> {
        let mut drain = Drain::default();
        (0..=600).step_by(10).find(|s| {
            let ack = acked(*s).map(Timestamp::synced);
            !drain.goes(waits(*s), ack, trial, Uptime(s * 1_000))
        })
    }

    #[test]
    fn records_that_wait_may_stand_still_for_a_quarter_of_the_trial_and_nothing_that_waits_is_never_late() {
        let at = |s: u64| i64::try_from(s).ok();
        assert_eq!(
            stops(TEN_MINUTES, |_| 3, at),
            None,
            "each look finds some, and they go"
        );
        assert_eq!(stops(TEN_MINUTES, |_| 0, |_| None), None, "nothing waits");
        assert_eq!(stops(TEN_MINUTES, |_| 1, |_| None), Some(0), "none ever went");
        assert_eq!(stops(TEN_MINUTES, |_| 1, |_| Some(1)), Some(160), "they pile up");
        let slow = |s: u64| at(s / 150 * 150);
        assert_eq!(stops(TEN_MINUTES, |_| 1, slow), None, "a slow link");
        let rare = |s: u64| u64::from(s.is_multiple_of(200));
        assert_eq!(
            stops(TEN_MINUTES, rare, |_| Some(1)),
            None,
            "one that waits is gone at the next look"
        );
        // A short trial has a patience of its own.
        let short = Duration::from_secs(20);
        assert_eq!(stops(short, |_| 1, |_| Some(1)), Some(40));
    }
    /// For a day, twelve for each link.
    const THIRTY_AN_HOUR: Usual = Usual {
        uses: 720,
        over_s: 86_400,
        together: 12,
        burst: 30,
        busiest: [36, 60, 84, 156, 312, 720],
    };

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
            usual: [(id("cuff"), THIRTY_AN_HOUR)].into(),
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
        // Five links in ten minutes are bad luck, though six times as many as usual.
        assert_eq!(examine(&before(), &seen(60, 10)), Health::default());
        // One a minute may be a bad link for a while: the trial goes on, and ends before it would confirm.
        let first = |each_s: u64, is: fn(&Health) -> bool| {
            (1..=30).find(|minutes| {
                let uses = u32::try_from(12 * minutes * 60 / each_s).expect("few");
                is(&examine(&before(), &seen(uses, *minutes)))
            })
        };
        let doubted: fn(&Health) -> bool = |health| !health.missing.is_empty();
        let blamed: fn(&Health) -> bool = |health| health.harm.is_some();
        assert_eq!((first(60, doubted), first(60, blamed)), (Some(9), Some(20)));
        let doubt = examine(&before(), &seen(108, 9)).missing;
        let why = "it uses the radio of cuff 27 times as often as before, which may be a bad link";
        assert_eq!(doubt, [ShortText::cut(why)]);
        // One each ten seconds is none.
        assert_eq!(first(10, blamed), Some(2));
        let health = examine(&before(), &seen(720, 10));
        let why = "it uses the radio of cuff 144 times as often as before, which empties its battery";
        assert_eq!(health.harm, Some(ShortText::cut(why)));
        // Of a sensor that nobody knew before nothing can be said.
        let new = Before {
            usual: BTreeMap::new(),
            ..before()
        };
        assert_eq!(examine(&new, &seen(720, 10)), Health::default());
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
