//! Which suspicions stand, and since when.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::bond::BleAddress;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::watch::{Finding, MAX_FINDINGS, Suspicion};

/// What stood before a restart and nobody could judge since then is dropped after this.
const LONGEST_INHERITANCE: Duration = Duration::from_hours(7 * 24);

/// Why a suspicion stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Since when.
    pub since: Timestamp,
    /// In plain words, with the figures; never a reading's value.
    pub said: String,
}

/// What a detector answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Finds {
    /// It stands.
    Stands(Claim),
    /// It does not.
    Fine,
    /// There is nothing to judge by yet: what stood before goes on standing.
    Unknown,
}

impl Finds {
    /// Stands when there is a claim, else fine.
    pub(super) fn of(claim: Option<&Claim>) -> Finds {
        claim.cloned().map_or(Finds::Fine, Finds::Stands)
    }
}

/// What a suspicion is about.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key {
    pub(super) suspicion: Suspicion,
    pub(super) sensor: Option<SensorId>,
    pub(super) address: Option<BleAddress>,
}

impl Key {
    pub(super) const fn of_sensor(suspicion: Suspicion, sensor: SensorId) -> Key {
        Key {
            suspicion,
            sensor: Some(sensor),
            address: None,
        }
    }

    pub(super) const fn of_box(suspicion: Suspicion) -> Key {
        Key {
            suspicion,
            sensor: None,
            address: None,
        }
    }
}

struct Standing {
    claim: Claim,
    /// For what stood before a restart: when it was taken over.
    inherited: Option<Uptime>,
}

#[derive(Default)]
pub(super) struct Board {
    standing: BTreeMap<Key, Standing>,
    changed: bool,
}

impl Board {
    pub(super) fn inherit(findings: Vec<Finding>, up: Uptime) -> Board {
        let stood = |f: Finding| {
            let key = Key {
                suspicion: f.suspicion,
                sensor: f.sensor,
                address: f.address,
            };
            let claim = Claim {
                since: f.since,
                said: f.said.into(),
            };
            let inherited = Some(up);
            (key, Standing { claim, inherited })
        };
        Board {
            standing: findings.into_iter().map(stood).collect(),
            changed: false,
        }
    }

    /// Takes what a detector finds; true when that is new.
    pub(super) fn set(&mut self, key: Key, finds: Finds) -> bool {
        match finds {
            Finds::Unknown => false,
            Finds::Fine => {
                self.changed |= self.standing.remove(&key).is_some();
                false
            }
            Finds::Stands(claim) => {
                if let Some(held) = self.standing.get_mut(&key) {
                    held.inherited = None;
                    return false;
                }
                self.changed = true;
                self.standing.insert(
                    key,
                    Standing {
                        claim,
                        inherited: None,
                    },
                );
                true
            }
        }
    }

    /// Whether anything began or ended since this was asked.
    pub(super) fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }

    pub(super) fn retain(&mut self, keep: impl Fn(&Key) -> bool) {
        self.standing.retain(|key, _| keep(key));
    }

    /// Drops what was taken over and never seen again.
    pub(super) fn expire(&mut self, up: Uptime) {
        let old = |at: Uptime| up.since(at) >= LONGEST_INHERITANCE;
        let before = self.standing.len();
        self.standing.retain(|_, held| !held.inherited.is_some_and(old));
        self.changed |= self.standing.len() < before;
    }

    /// All that stands, most recent first.
    pub(super) fn findings(&self) -> Vec<Finding> {
        let finding = |(key, held): (&Key, &Standing)| Finding {
            suspicion: key.suspicion,
            sensor: key.sensor.clone(),
            address: key.address,
            since: held.claim.since,
            said: ShortText::cut(&held.claim.said),
        };
        let mut all: Vec<Finding> = self.standing.iter().map(finding).collect();
        all.sort_by_key(|f| std::cmp::Reverse(f.since.ms));
        all
    }

    /// What a report lists, and how many more stand.
    pub(super) fn listed(&self) -> (Vec<Finding>, u32) {
        let mut all = self.findings();
        let more = all.len().saturating_sub(MAX_FINDINGS);
        all.truncate(MAX_FINDINGS);
        (all, u32::try_from(more).unwrap_or(u32::MAX))
    }
}
