//! What is kept of updates, over restarts and power cuts.

pub mod file;

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::id::SensorId;
use homeward_protocol::release::state::{Ended, UpdateMark};
use homeward_protocol::release::{Custom, Installer, Version};
use homeward_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};

use super::decide::{Floor, Plan};
use super::force::Kept;
use crate::slot::{Build, Digest};
use crate::strain::Usual;

/// What makes a build out of the one that runs here: a target of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Delta {
    /// The bytes of the build that it is for.
    pub from: Digest,
    /// Its file below the folder of targets, percent-quoted.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
}

/// What was decided to be installed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Job {
    /// The director's word.
    pub counter: u64,
    /// The target's path.
    pub path: String,
    /// Its file below the folder of targets, percent-quoted.
    pub file: String,
    /// Its length in bytes.
    pub length: u64,
    /// Its SHA-256.
    pub sha256: Digest,
    /// What it is.
    pub custom: Custom,
    /// Not before.
    pub not_before: Timestamp,
    /// By when.
    pub deadline: Timestamp,
    /// What spares fetching all of it.
    #[serde(default)]
    pub delta: Option<Delta>,
}

impl Job {
    pub(super) fn of(plan: &Plan) -> Option<Job> {
        Some(Job {
            counter: plan.counter,
            path: plan.found.path.as_str().to_owned(),
            file: plan.found.file.clone(),
            length: plan.found.target.length,
            sha256: Digest(plan.found.target.hashes.get_sha256()?),
            custom: plan.custom.clone(),
            not_before: plan.not_before,
            deadline: plan.deadline,
            delta: plan.delta.clone(),
        })
    }

    /// What the slot then holds.
    pub fn build(&self) -> Build {
        Build {
            sha256: self.sha256,
            version: self.custom.version,
            counter: self.counter,
        }
    }

    pub(super) fn mark(&self) -> UpdateMark {
        UpdateMark {
            counter: self.counter,
            installer: self.custom.installer,
            version: self.custom.version,
        }
    }
}

/// How the box was before a build was put on trial.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Before {
    /// The server was reached.
    pub online: bool,
    /// The server accepted its evidence.
    pub accepted: bool,
    /// Sensors that were heard in the time that a trial takes.
    pub heard: BTreeSet<SensorId>,
    /// How each sensor's radio was used.
    #[serde(default)]
    pub usual: BTreeMap<SensorId, Usual>,
    /// Sensors whose batteries ran down already.
    #[serde(default)]
    pub running_down: BTreeSet<SensorId>,
}

/// A build that is confirmed and is looked at for a while longer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watched {
    /// The newest word of the director by which it runs.
    pub counter: u64,
    /// What puts such builds in place.
    pub installer: Installer,
    /// How the sensors' radios were used by the one before.
    pub usual: BTreeMap<SensorId, Usual>,
    /// Until when.
    pub until: Timestamp,
}

/// What an installer put in place last.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holds {
    /// Which.
    pub installer: Installer,
    /// Its version.
    pub version: Version,
    /// Its bytes.
    pub sha256: Digest,
}

/// What is kept on the disk. The build before reads it, too, when it goes on after a return: what it does not know it leaves
/// out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// So that nothing old comes back.
    pub floor: Floor,
    /// The newest word of the director that was not decided on, as it was signed.
    pub assigned: Option<Vec<u8>>,
    /// The one that was decided on last: it comes again until the server has heard what became of it.
    pub decided: Option<Vec<u8>>,
    /// What is under way.
    pub job: Option<Job>,
    /// It lies where its installer takes it from, whole.
    pub staged: bool,
    /// How the box was when the build was put on trial.
    pub before: Before,
    /// How the newest that ended did.
    pub ended: Option<Ended>,
    /// What was confirmed last, where it is still looked at.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub watched: Option<Watched>,
    /// What was confirmed last, by each installer.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holds: Vec<Holds>,
    /// The newest order to force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub force: Option<Kept>,
}

impl Saved {
    /// Of a box that has installed nothing yet.
    pub const NEW: Saved = Saved {
        floor: Floor::NEW,
        assigned: None,
        decided: None,
        job: None,
        staged: false,
        before: Before {
            online: false,
            accepted: false,
            heard: BTreeSet::new(),
            usual: BTreeMap::new(),
            running_down: BTreeSet::new(),
        },
        ended: None,
        watched: None,
        holds: Vec::new(),
        force: None,
    };
}
