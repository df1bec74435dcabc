//! Whether the home may be disturbed now, as it is told to people and programs of the box.

use std::time::Duration;

use homeward_protocol::id::SensorId;
use homeward_protocol::time::{Timestamp, Uptime};
use serde::{Deserialize, Serialize};

use super::{Interlock, Watching};

/// What is older than this says nothing any more.
const STALE: Duration = Duration::from_secs(90);

/// How it stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Quiet {
    /// When.
    pub as_of: Timestamp,
    /// What stands against it, one plain sentence each; empty: nothing.
    pub because: Vec<String>,
    /// What is not seen of each device.
    pub unseen: Vec<Unseen>,
}

/// What is not seen of a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unseen {
    /// Which.
    pub sensor: SensorId,
    /// For how long at most it may be used unseen, seconds: an act meets no session that is older.
    pub seconds: u64,
    /// Whether it tells by itself, once it is connected.
    pub tells: bool,
}

impl Unseen {
    fn of((sensor, watching): (&SensorId, Watching)) -> Unseen {
        Unseen {
            sensor: sensor.clone(),
            seconds: watching.unseen().as_secs(),
            tells: matches!(watching, Watching::Told { .. }),
        }
    }

    fn said(&self) -> String {
        let Unseen { sensor, seconds, .. } = self;
        if self.tells {
            format!("{sensor}: what it measures before it connects is not seen; it sends it later")
        } else {
            format!("{sensor}: a use that began less than {seconds} s ago may not be seen yet")
        }
    }
}

impl Quiet {
    pub(super) fn of(interlock: &Interlock, at: Timestamp, now: Uptime) -> Quiet {
        // Hours of work are the box's affair, not the home's.
        let why = interlock.disturbed(now);
        Quiet {
            as_of: at,
            because: why.iter().map(|reason| reason.said(now)).collect(),
            unseen: interlock.watched().map(Unseen::of).collect(),
        }
    }

    /// Whether nothing stands against it.
    pub const fn may(&self) -> bool {
        self.because.is_empty()
    }

    pub(super) fn says_as(&self, other: &Quiet) -> bool {
        self.because == other.because
    }

    /// Whether the home may be disturbed at `now`, and what to tell a person. An old answer is none.
    pub fn tell(quiet: Option<&Quiet>, now: Timestamp) -> (bool, String) {
        let Some(fresh) = quiet.filter(|quiet| quiet.as_of.age(now) <= STALE && quiet.as_of.ms <= now.ms)
        else {
            let said =
                "NOBODY KNOWS: the agent does not run, so nobody watches whether a device is being used";
            return (false, said.to_owned());
        };
        let mut lines = vec![if fresh.may() {
            "YES: nothing is being used, and nobody asked for quiet".to_owned()
        } else {
            "NO: the box must not be restarted or changed now".to_owned()
        }];
        lines.extend(fresh.because.iter().map(|why| format!("  - {why}")));
        lines.extend(fresh.unseen.iter().map(|one| format!("  {}", one.said())));
        (fresh.may(), lines.join("\n"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    #[test]
    fn an_old_answer_is_none() {
        let quiet = Quiet {
            as_of: NOW,
            because: Vec::new(),
            unseen: vec![Unseen {
                sensor: "ups".parse().expect("a sensor"),
                seconds: 12,
                tells: false,
            }],
        };
        let (may, said) = Quiet::tell(Some(&quiet), NOW.plus_ms(5_000));
        assert!(may && said.contains("less than 12 s ago"), "{said}");
        assert!(!Quiet::tell(Some(&quiet), NOW.plus_ms(91_000)).0);
        assert!(!Quiet::tell(Some(&quiet), NOW.plus_ms(-1)).0, "from the future");
        assert!(!Quiet::tell(None, NOW).0);
    }
}
