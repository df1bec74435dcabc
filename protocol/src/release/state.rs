//! What a box says of its software: what runs, what it was assigned, and how far that has come.
//!
//! # Design
//! A report is the whole state, sent at the start and at each change, as an [`crate::envelope::Item`]: a lost one costs
//! time, never truth. Each ended update says how it ended, until the next one ends.

use serde::{Deserialize, Serialize};

use super::force::{Accepted, ForceNumber, Overrules, Refusal as ForceRefusal};
use super::{Installer, Version};
use crate::id::SensorId;
use crate::policy::moment::Moment;
use crate::policy::sign::SignedDigest;
use crate::posture::ShortText;
use crate::time::Timestamp;

/// Most reasons for waiting in one report.
pub const MAX_WHY: usize = 8;

/// Most things of one report that may disturb the home without asking.
pub const MAX_BESIDE: usize = 8;

/// Whether an installer works on a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Can {
    /// It does, and this is the version that it put in place.
    Yes(Version),
    /// It does not: why.
    No(ShortText),
}

/// What a box says of one of its installers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Offer {
    /// Which.
    pub installer: Installer,
    /// Whether it works.
    pub can: Can,
}

/// Which software is meant, and by which word of the director.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateMark {
    /// The number of the assignment.
    pub counter: u64,
    /// What puts it in place.
    pub installer: Installer,
    /// Which version.
    pub version: Version,
}

/// How far an assigned update has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Progress {
    /// It is fetched: so many bytes of so many are there.
    Fetching {
        /// There.
        have: u64,
        /// In all.
        of: u64,
        /// Why the newest attempt did not bring it; none before one failed, and from a build that did not tell.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<ShortText>,
    },
    /// It is not fetched for now, and why, in the words for people; so many bytes of so many are there.
    Paused {
        /// There.
        have: u64,
        /// In all.
        of: u64,
        /// Why.
        why: ShortText,
    },
    /// It is there, and the home may not be disturbed, or not yet: in the words for people, at most [`MAX_WHY`].
    Waiting(Vec<ShortText>),
    /// It is being put in place.
    Acting,
    /// It runs, and has to show until then that it is well; what it has not shown yet.
    OnTrial {
        /// When it is taken back at the latest.
        until: Timestamp,
        /// What is missing, at most [`MAX_WHY`].
        missing: Vec<ShortText>,
    },
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It runs and is well.
    Confirmed,
    /// It was not taken: why.
    Refused(ShortText),
    /// The box went back to what ran before, and it is proved that the update was the cause: why.
    Bad(ShortText),
    /// The box went back, and nothing is proved: its power may have been cut, or nobody could be reached.
    NotProven(ShortText),
    /// It is not well, or only part of it is in place, and the box does not take it back by itself: why.
    Stays(ShortText),
}

/// How an update ended, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ended {
    /// By which word of the director; none for a word that was not the director's.
    pub counter: Option<u64>,
    /// How.
    pub outcome: Outcome,
    /// When.
    pub at: Timestamp,
}

/// Most orders to force of one report: the one that is kept, and the newest that was refused.
pub const MAX_FORCES: usize = 2;

/// How an order to force stands on a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ForceStanding {
    /// It is kept, and its time has not begun.
    NotYet,
    /// It is kept, and overrules nothing while the box does not know what time it is.
    NoTime,
    /// It overrules what it names.
    InEffect,
    /// Its update began: what was overruled then, in the words for people, at most [`MAX_WHY`]; nothing where all was quiet.
    Used(Vec<ShortText>),
    /// Its time is over, or its update is, and it was not used.
    Ended,
    /// It is not followed.
    Refused(ForceRefusal),
}

impl ForceStanding {
    /// In one word.
    pub const fn name(&self) -> &'static str {
        match self {
            ForceStanding::NotYet => "not-yet",
            ForceStanding::NoTime => "no-time",
            ForceStanding::InEffect => "in-effect",
            ForceStanding::Used(_) => "used",
            ForceStanding::Ended => "ended",
            ForceStanding::Refused(_) => "refused",
        }
    }

    /// For people.
    pub fn words(&self) -> String {
        match self {
            ForceStanding::NotYet => "is kept by the box, and its time has not begun".to_owned(),
            ForceStanding::NoTime => {
                "overrules nothing while the box does not know what time it is".to_owned()
            }
            ForceStanding::InEffect => "is in effect".to_owned(),
            ForceStanding::Used(what) if what.is_empty() => {
                "ended as its update began in a quiet moment, without being needed".to_owned()
            }
            ForceStanding::Used(_) => "was used: its update began by it".to_owned(),
            ForceStanding::Ended => "has ended unused".to_owned(),
            ForceStanding::Refused(why) => format!("is refused: {why}"),
        }
    }

    /// Whether nothing becomes of it any more.
    pub const fn is_over(&self) -> bool {
        matches!(
            self,
            ForceStanding::Used(_) | ForceStanding::Ended | ForceStanding::Refused(_)
        )
    }
}

/// What an order to force says, as it is told of one that two people stand behind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForceWords {
    /// Its number.
    pub number: ForceNumber,
    /// Who signed it first.
    pub author: ShortText,
    /// Who signed it second.
    pub reviewer: ShortText,
    /// What it overrules.
    pub overrules: Overrules,
    /// Why.
    pub reason: ShortText,
    /// When it ends.
    pub until: Moment,
}

impl ForceWords {
    /// Of this order.
    pub fn of(accepted: &Accepted) -> ForceWords {
        let (order, (author, reviewer)) = (accepted.order(), accepted.people());
        ForceWords {
            number: order.number,
            author: author.clone(),
            reviewer: reviewer.clone(),
            overrules: order.overrules.clone(),
            reason: order.reason.clone(),
            until: order.until,
        }
    }
}

/// What a box says of an order to force.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ForceTold {
    /// Which: the digest of its author's signed bytes, as they came.
    pub digest: SignedDigest,
    /// What it says; none of one whose signatures do not do, of which nothing is believed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub words: Option<ForceWords>,
    /// How it stands.
    pub stands: ForceStanding,
}

/// Why a box cannot find out what the director's newest word means.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Undecided {
    /// Why, in the words for people.
    pub why: ShortText,
    /// Since when it tries.
    pub since: Timestamp,
}

/// A use of a device that began while an update was being put in place, or its box began anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Met {
    /// Which device.
    pub sensor: SensorId,
    /// When the box learned of it.
    pub at: Timestamp,
}

/// The software of a box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UpdateState {
    /// What runs.
    pub runs: Version,
    /// Whether that is the build of the system's package, which no update brought.
    pub packaged: bool,
    /// The bytes of that build: only a release of these very bytes can bring it back. None from a build that did not tell, and
    /// where they cannot be read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub build: Option<SignedDigest>,
    /// What is under way, and how far it has come.
    pub now: Option<(UpdateMark, Progress)>,
    /// Why nothing is known of the director's newest word; none where something is, and from a build that does not tell.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub undecided: Option<Box<Undecided>>,
    /// How the newest that ended did.
    pub ended: Option<Ended>,
    /// Whether each installer works here, each once; none from a build that did not tell.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub installers: Vec<Offer>,
    /// What else on the box may disturb the home and asks nobody, at most [`MAX_BESIDE`]: the interlock is not effective then.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub beside: Vec<ShortText>,
    /// The number of the newest wish for quiet that it heard from the server ([`crate::quiet::QuietOrder`]); none before one
    /// came, and from a build that knows of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quiet: Option<u64>,
    /// Orders to force that came, at most [`MAX_FORCES`]; none from a build that knows of none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub forces: Vec<ForceTold>,
    /// The newest use that an act of this run of the agent met; none where none did, and from a build that knows of none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub met: Option<Met>,
    /// When this was so.
    pub taken_at: Timestamp,
}

impl UpdateState {
    /// Whether it lists no more than it may.
    pub fn is_within_limits(&self) -> bool {
        if self.installers.len() > Installer::ALL.len() || self.beside.len() > MAX_BESIDE {
            return false;
        }
        let long = |one: &ForceTold| matches!(&one.stands, ForceStanding::Used(what) if what.len() > MAX_WHY);
        if self.forces.len() > MAX_FORCES || self.forces.iter().any(long) {
            return false;
        }
        match self.now.as_ref().map(|(_, progress)| progress) {
            Some(Progress::Waiting(why) | Progress::OnTrial { missing: why, .. }) => why.len() <= MAX_WHY,
            Some(Progress::Fetching { .. } | Progress::Paused { .. } | Progress::Acting) | None => true,
        }
    }
}
