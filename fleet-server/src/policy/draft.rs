//! A policy before it is signed: who wrote it, who read exactly that, and whether what was signed is it.
//!
//! Decides only. [`text`] is what is written and how it is named; [`begin`] what a draft starts from; [`fleet`] what this
//! fleet has to say of it; [`lines`] how two texts differ. [`crate::store::policies::drafts`] keeps the rows.
//!
//! ```text
//! writing -> asked -> reviewed -> signed          (then the policy of that number is assigned or withdrawn)
//!    ^---------+---------+                         a returned one, and any edit, is written on
//! ```
//!
//! # Design
//! - A review is of one text by its digest, and by somebody who wrote no revision of the draft: not only of the newest
//!   one, as what the others wrote is in it. An edit makes a new text, which nobody has read.
//! - Whoever saves says over which revision. When there is a newer one, nothing is written, and both texts are shown.
//! - It is signed elsewhere, by the people of the keyring. What they bring back has to say what the reviewed text says,
//!   point by point and to the byte of its encoding. This review comes before theirs and takes nothing of it away: boxes
//!   believe signatures, and know of no drafts.

pub mod begin;
pub mod fleet;
pub mod lines;
#[cfg(test)]
mod tests;
pub mod text;

use std::collections::BTreeSet;

use homeward_protocol::time::Timestamp;

use text::{ContentDigest, Text, TextDigest};

/// Most revisions of one draft: what is longer begins anew from its newest text.
pub const MAX_REVISIONS: u64 = 500;

/// Somebody who did something, and when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mover {
    /// Who.
    pub by: String,
    /// When.
    pub at: Timestamp,
}

/// Somebody who turned it down, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Against {
    /// Who and when.
    pub mover: Mover,
    /// Why.
    pub why: String,
}

/// What a draft waits for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// For its authors: new, edited, or returned.
    Writing(Option<Against>),
    /// For a second person. Who asked.
    Asked(Mover),
    /// For its signatures. Who read it, and what was read.
    Reviewed(Mover, TextDigest),
    /// For nothing: it is the policy of this number. Who brought that.
    Signed(Mover, u64),
    /// For nothing: it was given up.
    Dropped(Against),
}

impl State {
    /// The name in the table and the API.
    pub const fn name(&self) -> &'static str {
        match self {
            State::Writing(_) => "writing",
            State::Asked(_) => "asked",
            State::Reviewed(..) => "reviewed",
            State::Signed(..) => "signed",
            State::Dropped(_) => "dropped",
        }
    }
}

/// A draft, with its newest text by digest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Draft {
    /// The newest revision's number, from 1.
    pub revision: u64,
    /// Its text.
    pub text: TextDigest,
    /// What that says; none while it has faults.
    pub content: Option<ContentDigest>,
    /// Everybody who wrote a revision.
    pub authors: BTreeSet<String>,
    /// The newest revision that somebody reviewed.
    pub read: Option<u64>,
    /// What it waits for.
    pub state: State,
}

/// What somebody does to a draft.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Act {
    /// Writes a text over the revision that this person saw.
    Save {
        /// That revision.
        over: u64,
        /// What is written.
        text: TextDigest,
        /// What that says.
        content: Option<ContentDigest>,
    },
    /// Asks for a review of this revision.
    Ask {
        /// Which.
        revision: u64,
    },
    /// Says: I read exactly this.
    Approve {
        /// What was read.
        digest: TextDigest,
    },
    /// Gives it back to its authors.
    Return {
        /// What was read.
        digest: TextDigest,
        /// Why.
        why: String,
    },
    /// Brings what was signed elsewhere and verified here.
    Bring {
        /// What it says.
        content: ContentDigest,
        /// The number of the policy.
        version: u64,
    },
    /// Gives it up.
    Drop {
        /// Why.
        why: String,
    },
}

/// Why that cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Wrong {
    /// It is a policy now.
    #[error("it was signed as policy {0}: begin another draft from that")]
    Signed(u64),
    /// It was given up.
    #[error("it was given up")]
    Dropped,
    /// Somebody saved in the meantime.
    #[error("somebody saved revision {newest} in the meantime")]
    Newer {
        /// The newest revision.
        newest: u64,
    },
    /// Its text cannot be signed.
    #[error("its text has faults: mend them first")]
    Faulty,
    /// A review is asked for, or done.
    #[error("a review of it is asked for, or done")]
    AskedBefore,
    /// Nobody asked for a review.
    #[error("nobody has asked for a review of it")]
    NotAsked,
    /// The visitor wrote of it.
    #[error("who wrote a part of it cannot review it: another person has to")]
    OwnWork,
    /// The text is another than what was read.
    #[error("the text is another than the one that you read")]
    OtherText,
    /// Nobody reviewed its newest text.
    #[error("nobody reviewed its newest text")]
    NotReviewed,
    /// What was signed says something else.
    #[error("what was signed is not what was reviewed")]
    OtherContent,
    /// It has [`MAX_REVISIONS`].
    #[error("it has {MAX_REVISIONS} revisions, which is the most: begin another draft with its text")]
    Full,
}

impl Draft {
    /// A new one.
    pub fn begun(text: &Text, by: &str) -> Draft {
        Draft {
            revision: 1,
            text: text.digest(),
            content: text.content(),
            authors: BTreeSet::from([by.to_owned()]),
            read: None,
            state: State::Writing(None),
        }
    }

    /// What it is after `act`, which `by` does. The same draft when nothing changes.
    pub fn after(&self, act: &Act, by: &str, at: Timestamp) -> Result<Draft, Wrong> {
        let mover = Mover {
            by: by.to_owned(),
            at,
        };
        let against = |why: &str| Against {
            mover: mover.clone(),
            why: why.to_owned(),
        };
        match (&self.state, act) {
            (State::Signed(_, version), _) => Err(Wrong::Signed(*version)),
            (State::Dropped(_), _) => Err(Wrong::Dropped),
            (_, Act::Save { over, text, content }) => self.saved(*over, (*text, *content), by),
            (State::Writing(_), Act::Ask { revision }) => self.asked(*revision, mover),
            (_, Act::Ask { .. }) | (State::Reviewed(..), Act::Approve { .. }) => Err(Wrong::AskedBefore),
            (State::Asked(_), Act::Approve { digest }) => self.approved(*digest, mover),
            (State::Asked(_) | State::Reviewed(..), Act::Return { digest, why }) => {
                self.is_of(*digest)?;
                Ok(self.waiting(State::Writing(Some(against(why)))))
            }
            (State::Writing(_), Act::Approve { digest } | Act::Return { digest, .. }) => {
                self.is_of(*digest)?;
                Err(Wrong::NotAsked)
            }
            (State::Reviewed(_, read), Act::Bring { content, version }) => {
                self.is_of(*read)?;
                if self.content != Some(*content) {
                    return Err(Wrong::OtherContent);
                }
                Ok(self.waiting(State::Signed(mover, *version)))
            }
            (_, Act::Bring { .. }) => Err(Wrong::NotReviewed),
            (_, Act::Drop { why }) => Ok(self.waiting(State::Dropped(against(why)))),
        }
    }

    /// Whether this person may review it, by what was written of it.
    pub fn may_be_reviewed_by(&self, person: &str) -> bool {
        !self.authors.contains(person)
    }

    fn saved(
        &self,
        over: u64,
        (text, content): (TextDigest, Option<ContentDigest>),
        by: &str,
    ) -> Result<Draft, Wrong> {
        if text == self.text {
            return Ok(self.clone());
        }
        if over != self.revision {
            let newest = self.revision;
            return Err(Wrong::Newer { newest });
        }
        if self.revision >= MAX_REVISIONS {
            return Err(Wrong::Full);
        }
        let mut after = self.waiting(State::Writing(None));
        after.revision += 1;
        (after.text, after.content) = (text, content);
        after.authors.insert(by.to_owned());
        Ok(after)
    }

    fn asked(&self, revision: u64, mover: Mover) -> Result<Draft, Wrong> {
        if revision != self.revision {
            let newest = self.revision;
            return Err(Wrong::Newer { newest });
        }
        if self.content.is_none() {
            return Err(Wrong::Faulty);
        }
        Ok(self.waiting(State::Asked(mover)))
    }

    fn approved(&self, digest: TextDigest, mover: Mover) -> Result<Draft, Wrong> {
        if !self.may_be_reviewed_by(&mover.by) {
            return Err(Wrong::OwnWork);
        }
        self.is_of(digest)?;
        if self.content.is_none() {
            return Err(Wrong::Faulty);
        }
        let mut after = self.waiting(State::Reviewed(mover, digest));
        after.read = Some(self.revision);
        Ok(after)
    }

    fn is_of(&self, digest: TextDigest) -> Result<(), Wrong> {
        if digest == self.text {
            Ok(())
        } else {
            Err(Wrong::OtherText)
        }
    }

    fn waiting(&self, state: State) -> Draft {
        Draft {
            state,
            ..self.clone()
        }
    }
}
