//! Whether a build on trial is well: as the box was before, and no harm to what it never touches.
//!
//! # Design
//! A build that is never well is bad only when something that depends on nobody else shows it. A server that nobody
//! reaches, or a sensor that is out of reach, proves nothing: then the box goes back and says so.

use homeward_protocol::posture::SensorHeard;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::saved::Before;

/// Most memory of an agent that is well, bytes: what its unit asks it to stay below.
const MOST_MEMORY: u64 = 48 << 20;
/// Most of one core that an agent that is well takes, thousandths.
const MOST_CPU: u64 = 500;

/// What is seen of a build on trial.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen<'a> {
    /// When it began.
    pub began: Timestamp,
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
        let heard = known.and_then(|one| one.last_heard);
        if heard.is_none_or(|at| at.ms < seen.began.ms) {
            missing.push(format!("{sensor} was heard before, and was not since"));
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
    let harm = refused.then_some("the server does not accept its evidence");
    Health {
        missing: missing.iter().map(|text| ShortText::cut(text)).collect(),
        harm: harm.map(ShortText::cut),
        proven,
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::id::SensorId;

    use super::*;

    const BEGAN: i64 = 1_000_000;

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
        }
    }

    fn well(sensors: &[SensorHeard]) -> Seen<'_> {
        Seen {
            began: Timestamp::synced(BEGAN),
            online: true,
            draining: true,
            accepted: Some(true),
            sensors,
            memory_bytes: 8 << 20,
            cpu: 2,
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
    fn a_box_that_was_offline_or_untrusted_before_is_asked_for_no_more_than_that() {
        let nothing = Seen {
            online: false,
            draining: false,
            accepted: None,
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
}
