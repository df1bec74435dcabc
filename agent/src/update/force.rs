//! Orders to force: what this box keeps of them, and what the one that is kept overrules now.
//!
//! # Design
//! - One order is kept: the one with the highest number. It is judged again, signatures and all, before each use, so that
//!   a keyring that came meanwhile takes a person's word away, also over restarts.
//! - It serves one update: its activation, and the reboot that belongs to it, each once. It is spent in what is kept
//!   before the act begins.
//! - It is handed to the interlock alone, which knows what no order overrules. Going back and policies never see one.

use homeward_protocol::policy::sign::SignedDigest;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::force::{Accepted, ForceNumber, LONGEST, Refusal};
use homeward_protocol::release::state::{ForceStanding, ForceTold, ForceWords, MAX_WHY};
use homeward_protocol::time::{ClockTrust, Uptime};
use homeward_protocol::wire::Bytes;
use serde::{Deserialize, Serialize};

use super::course::Moment;
use super::saved::Job;

/// An order that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// As it came.
    pub offer: Bytes,
    /// Which it is.
    pub digest: SignedDigest,
    /// What it is worth.
    pub judged: Result<Accepted, Refusal>,
}

/// What is kept of the newest order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// As it came.
    pub offer: Bytes,
    /// Which it is.
    pub digest: SignedDigest,
    /// Its number: none at or below it is taken any more.
    pub number: ForceNumber,
    /// The number of its keyring: none below it is believed any more for orders.
    pub keyring: u64,
    /// Its update began: what was overruled then.
    pub used: Option<Vec<ShortText>>,
    /// The reboot that belongs to it was permitted.
    pub left: bool,
}

impl Kept {
    /// What is kept of one that was accepted.
    pub fn of(offer: Bytes, accepted: &Accepted) -> Kept {
        Kept {
            offer,
            digest: accepted.digest(),
            number: accepted.order().number,
            keyring: accepted.keyring(),
            used: None,
            left: false,
        }
    }

    /// An act of its update begins, and this was overruled for it.
    pub fn spend(&mut self, act: Serves, overruled: Vec<ShortText>) {
        self.left = act == Serves::Reboot;
        let used = self.used.get_or_insert_default();
        used.extend(overruled);
        used.truncate(MAX_WHY);
    }
}

/// What an order serves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Serves {
    /// The update is put in place.
    Begin,
    /// The box reboots for it.
    Reboot,
}

/// What the director wants at the moment.
#[derive(Debug, Clone, Copy)]
pub struct Wanted<'a> {
    /// The update that is under way.
    pub job: Option<&'a Job>,
    /// A word of the director waits to be looked into: which update that is, is not known yet.
    pub undecided: bool,
    /// It has begun: it is put in place, on trial, or goes back.
    pub begun: bool,
}

impl Wanted<'_> {
    fn is(self, accepted: &Accepted) -> bool {
        let same = |job: &Job| accepted.order().is_for(job.counter, &job.path, &job.sha256.0);
        self.job.is_some_and(same)
    }
}

/// What is known of orders in this process. What lasts is [`Kept`].
#[derive(Debug, Clone, Default)]
pub struct Orders {
    judged: Option<Result<Accepted, Refusal>>,
    /// Since when the one that is kept is known here: by this clock, too, it lasts no longer than an order may.
    since: Option<Uptime>,
    refused: Option<ForceTold>,
}

impl Orders {
    /// Takes an order that came; something is to be kept then. One that came before changes nothing.
    pub fn hear(&mut self, came: Came, kept: Option<&Kept>, wanted: Wanted<'_>, now: Moment) -> Option<Kept> {
        let Came {
            offer,
            digest,
            judged,
        } = came;
        if kept.is_some_and(|kept| kept.digest == digest) {
            return None;
        }
        let refusal = match &judged {
            Err(why) => Some(*why),
            Ok(accepted) if kept.is_some_and(|kept| accepted.order().number <= kept.number) => {
                Some(Refusal::Older)
            }
            Ok(accepted) if wanted.is(accepted) && wanted.begun => Some(Refusal::Begun),
            Ok(accepted) if !wanted.is(accepted) && !wanted.undecided => Some(Refusal::OtherUpdate),
            Ok(_) => None,
        };
        if let Some(why) = refusal {
            self.refused = Some(ForceTold {
                digest,
                words: judged.as_ref().ok().map(ForceWords::of),
                stands: ForceStanding::Refused(why),
            });
            return None;
        }
        let kept = Kept::of(offer, judged.as_ref().ok()?);
        (self.judged, self.since) = (Some(judged), Some(now.uptime));
        Some(kept)
    }

    /// What the one that is kept is worth now.
    pub fn judge(&mut self, judged: Result<Accepted, Refusal>, now: Moment) {
        self.judged = Some(judged);
        self.since.get_or_insert(now.uptime);
    }

    /// The order that may be followed now for an act of the update that is wanted; none otherwise.
    pub fn serving(&self, act: Serves, kept: &Kept, wanted: Wanted<'_>, now: Moment) -> Option<&Accepted> {
        let spent = match act {
            Serves::Begin => kept.used.is_some(),
            Serves::Reboot => kept.left,
        };
        let accepted = self.judged.as_ref()?.as_ref().ok()?;
        let open = self.open(accepted, wanted, now) == ForceStanding::InEffect;
        (open && !spent && accepted.digest() == kept.digest).then_some(accepted)
    }

    /// How orders stand, for people.
    pub fn told(&self, kept: Option<&Kept>, wanted: Wanted<'_>, now: Moment) -> Vec<ForceTold> {
        let kept = kept.zip(self.judged.as_ref()).map(|(kept, judged)| ForceTold {
            digest: kept.digest,
            words: judged.as_ref().ok().map(ForceWords::of),
            stands: match (&kept.used, judged) {
                (Some(overruled), _) => ForceStanding::Used(overruled.clone()),
                (None, Err(Refusal::Over)) => ForceStanding::Ended,
                (None, Err(why)) => ForceStanding::Refused(*why),
                (None, Ok(accepted)) => self.open(accepted, wanted, now),
            },
        });
        kept.into_iter().chain(self.refused.clone()).collect()
    }

    /// How one that is believed and not spent stands.
    fn open(&self, accepted: &Accepted, wanted: Wanted<'_>, now: Moment) -> ForceStanding {
        let order = accepted.order();
        let long = self.since.is_some_and(|since| now.uptime.since(since) >= LONGEST);
        if long || now.at.ms >= order.until.ms() || wanted.is(accepted) && wanted.begun {
            ForceStanding::Ended
        } else if !wanted.is(accepted) {
            match wanted {
                Wanted { undecided: true, .. } => ForceStanding::NotYet,
                Wanted { job: Some(_), .. } => ForceStanding::Refused(Refusal::OtherUpdate),
                Wanted { job: None, .. } => ForceStanding::Ended,
            }
        } else if now.at.trust == ClockTrust::Floor {
            ForceStanding::NoTime
        } else if now.at.ms < order.not_before.ms() {
            ForceStanding::NotYet
        } else {
            ForceStanding::InEffect
        }
    }
}
