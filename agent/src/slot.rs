//! Which build of the agent runs: the one of the package, or one of two slots that updates are put into.
//!
//! ```text
//! stage into the slot that is free ─▶ commit: on trial, so many starts ─▶ confirm: active
//!                                             not confirmed, or not whole ─▶ the active one, by itself
//! ```
//! # Design
//! - A launcher that is never part of an update reads [`Slots`], says by [`launch`] which build runs, and keeps what it
//!   says before that build begins. So a build that takes the box down with it is left after [`TRIES`] starts.
//! - The state of slots is one small record. Putting it in place is the commit: before it the old build runs, after it
//!   the new one is on trial, whatever happens to the power.
//! - What a slot holds is proved by its digest at each start. A build that is not whole does not run.
//! - The build of the package always stays: it runs when nothing else is whole, or when the record cannot be read.

use std::collections::BTreeMap;
use std::fmt;

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Outcome;
use homeward_protocol::release::{Installer, Version};
use serde::{Deserialize, Serialize};

use crate::install::Standing;

pub mod file;

/// The launcher sets it in the environment, to the path of the package's build: without it nobody would start the build that an
/// update brings. Launchers of before set it to `1`.
pub const LAUNCHED: &str = "HOMEWARD_LAUNCHED";
/// Where the package puts the agent.
pub const PACKAGE: &str = "/usr/bin/homeward-agent";
/// Starts that a trial has.
pub const TRIES: u8 = 3;

/// A place for a build that an update brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// Both.
    pub const ALL: [Slot; 2] = [Slot::A, Slot::B];

    /// The name of its folder.
    pub const fn name(self) -> &'static str {
        match self {
            Slot::A => "a",
            Slot::B => "b",
        }
    }
}

/// Where the build lies that runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Place {
    /// Where the system's package put it.
    #[default]
    Package,
    /// In a slot.
    Slot(Slot),
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Package => f.write_str("the package's"),
            Place::Slot(slot) => write!(f, "slot {}", slot.name()),
        }
    }
}

/// A SHA-256, in lower case hex where it is written.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(pub [u8; 32]);

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&homeward_protocol::tuf::read::to_hex(&self.0))
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> String {
        digest.to_string()
    }
}

impl TryFrom<String> for Digest {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Digest, Self::Error> {
        let bytes = homeward_protocol::tuf::read::hex(&text).and_then(|bytes| bytes.try_into().ok());
        bytes.map(Digest).ok_or("a SHA-256 is 64 hexadecimal digits")
    }
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Build {
    /// Its bytes.
    pub sha256: Digest,
    /// The version that its release gave it.
    pub version: Version,
    /// The director's word that brought it.
    pub counter: u64,
}

/// A build that has to show that it is well.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Where it is.
    pub slot: Slot,
    /// Starts that it still has.
    pub left: u8,
}

/// Why a trial ended without a confirmation, as far as the launcher knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// It was started as often as it may be. Power cuts look the same as crashes: nothing is proved.
    Spent,
    /// Its bytes are not those that were staged.
    NotWhole,
    /// It could not be started.
    NotStarted,
    /// The agent took it back itself.
    TakenBack,
}

impl Cause {
    /// What that proves.
    fn outcome(self) -> Outcome {
        match self {
            Cause::Spent => Outcome::NotProven(ShortText::cut(
                "it was started three times and never confirmed: it crashed, or the power was cut",
            )),
            Cause::NotWhole => Outcome::NotProven(ShortText::cut(
                "its bytes changed on the disk before it was started",
            )),
            Cause::NotStarted => Outcome::Bad(ShortText::cut("it could not be started on this box")),
            Cause::TakenBack => Outcome::NotProven(ShortText::cut("it was taken back")),
        }
    }
}

/// A trial that ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// What was tried.
    pub build: Build,
    /// Why.
    pub cause: Cause,
}

/// What is kept of the slots. A build that came before or after the one that wrote it reads it too: what it does not know it
/// leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Slots {
    /// Where the confirmed build is.
    pub active: Place,
    /// What is on trial.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trial: Option<Trial>,
    /// What the slots hold. What is not here is free.
    #[serde(default)]
    pub builds: BTreeMap<Slot, Build>,
    /// The newest trial that ended without a confirmation.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ended: Option<Ended>,
}

impl Slots {
    /// The slot that an update is put into: never the one that is active.
    pub fn free(&self) -> Slot {
        match self.active {
            Place::Slot(Slot::A) => Slot::B,
            Place::Slot(Slot::B) | Place::Package => Slot::A,
        }
    }

    /// With `build`, which lies whole in the free slot, on trial.
    #[must_use]
    pub fn commit(mut self, build: Build) -> Slots {
        let slot = self.free();
        self.builds.insert(slot, build);
        self.trial = Some(Trial { slot, left: TRIES });
        self.ended = None;
        self
    }

    /// With the trial confirmed. Without one nothing changes.
    #[must_use]
    pub fn confirm(mut self) -> Slots {
        if let Some(trial) = self.trial.take() {
            self.active = Place::Slot(trial.slot);
        }
        self
    }

    /// With the trial over, for this reason: what was tried is forgotten, and does not run again.
    #[must_use]
    pub fn take_back(mut self, cause: Cause) -> Slots {
        if let Some(trial) = self.trial.take() {
            let build = self.builds.remove(&trial.slot);
            self.ended = build.map(|build| Ended { build, cause });
        }
        self
    }

    /// The bytes of the builds that were confirmed, as far as the slots still hold them.
    pub fn confirmed(&self) -> impl Iterator<Item = Digest> {
        let tried = self.trial.map(|trial| trial.slot);
        let confirmed = self.builds.iter().filter(move |(slot, _)| Some(**slot) != tried);
        confirmed.map(|(_, build)| build.sha256)
    }

    /// How the build that is wanted, by the number of the director's word, stands while the one at `runs` runs.
    pub fn standing(&self, runs: Place, wanted: Option<u64>) -> Standing {
        let tried = self.trial.map(|trial| Place::Slot(trial.slot)) == Some(runs);
        let counter = match runs {
            Place::Slot(slot) => self.builds.get(&slot).map(|build| build.counter),
            Place::Package => None,
        };
        match (counter, self.ended) {
            // The power was cut between the word that it is to go back and the record of it here.
            (Some(counter), _) if tried && wanted != Some(counter) => {
                Standing::Unwanted(Installer::AgentSlot)
            }
            (Some(_), _) if tried => Standing::OnTrial,
            // The power was cut between the confirmation and what is kept of it.
            (Some(counter), _) if wanted == Some(counter) => Standing::Confirmed,
            (_, Some(ended)) if wanted == Some(ended.build.counter) => Standing::Over(ended.cause.outcome()),
            _ => Standing::Nothing,
        }
    }

    /// The version that runs at `place`; `package` is the package's own.
    pub fn version(&self, place: Place, package: Version) -> Version {
        match place {
            Place::Package => package,
            Place::Slot(slot) => self.builds.get(&slot).map_or(package, |build| build.version),
        }
    }
}

/// Which build runs now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Launch {
    /// Where it is.
    pub place: Place,
    /// What is to be kept, durably, before it begins. When that cannot be, the confirmed one runs.
    pub save: Option<Slots>,
}

/// Says which build runs. `whole` tells whether a slot holds the bytes of this digest.
pub fn launch(slots: &Slots, mut whole: impl FnMut(Slot, &Digest) -> bool) -> Launch {
    let mut is_whole = |slot: Slot| {
        let build = slots.builds.get(&slot);
        build.is_some_and(|build| whole(slot, &build.sha256))
    };
    let Some(trial) = slots.trial else {
        return Launch {
            place: confirmed(slots, is_whole),
            save: None,
        };
    };
    let cause = if trial.left == 0 {
        Cause::Spent
    } else if !is_whole(trial.slot) {
        Cause::NotWhole
    } else {
        let left = trial.left - 1;
        let counted = Slots {
            trial: Some(Trial { left, ..trial }),
            ..slots.clone()
        };
        return Launch {
            place: Place::Slot(trial.slot),
            save: Some(counted),
        };
    };
    let back = slots.clone().take_back(cause);
    Launch {
        place: confirmed(&back, |slot| slot != trial.slot && is_whole(slot)),
        save: Some(back),
    }
}

/// The confirmed build when it is whole, else the other slot's when that is, else the package's.
fn confirmed(slots: &Slots, mut is_whole: impl FnMut(Slot) -> bool) -> Place {
    let Place::Slot(active) = slots.active else {
        return Place::Package;
    };
    let tried = slots.trial.map(|trial| trial.slot);
    let mut order = [active, slots.free()].into_iter();
    let runs = order.find(|slot| Some(*slot) != tried && is_whole(*slot));
    runs.map_or(Place::Package, Place::Slot)
}

#[cfg(test)]
mod tests;
