//! Advisories on devices that lie in people or act on them: whom they concern, and what a clinician decides for each.
//!
//! Nothing here reaches a device or a box. An advisory opens a task for each such device that the register knows
//! ([`implant`]); a clinician weighs what may happen without a change against what may happen by it, and says what is done.
//!
//! # Design
//! - [`handle`] is the only way a person moves a task. A decision is a clinician's, in their own session, and names who weighed it
//!   with them: a program, an operator or a name that somebody typed in decides nothing.
//! - What is watched is asked for again on the day that the decision names ([`Stands::is_due`]).
//! - A decision is about a revision of the advisory. A later one that says something else of the device ends the task and opens
//!   another, beside which the former decision stands; one that says the same changes nothing. One that does not name the device any
//!   more ends nothing by itself: whether that is good news is for a person to say.
//! - Which publisher a document comes from is what the document says. Its signature is not looked at here: who takes it in answers
//!   for where it was got. It can ask people to weigh something, and take the place of an earlier revision; a person takes it out
//!   again, and what it took the place of is asked again.

pub mod csaf;
pub mod implant;
pub mod matching;
pub mod upkeep;
pub mod words;

use std::collections::BTreeSet;
use std::fmt;
use std::str::FromStr;

use homeward_protocol::time::Timestamp;
use ring::digest;

use self::implant::Entry;
use self::matching::Concern;
use crate::access::{Role, UserName};
use crate::dossier::{Day, Reason};

const DAY_MS: i64 = 86_400_000;
/// Nobody plans further than this.
const FAR_MS: i64 = 730 * DAY_MS;
/// Most characters of what is weighed.
pub const MAX_WEIGHED: usize = 1_000;

/// A number as people write it: 1 to 18 digits.
fn number(text: &str) -> Option<i64> {
    let plain = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
    text.parse().ok().filter(|number| plain && *number > 0)
}

/// Which task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WeighId(pub i64);

impl FromStr for WeighId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<WeighId, Self::Err> {
        number(text)
            .map(WeighId)
            .ok_or("a task is a number, as `advisory tasks` shows it")
    }
}

impl fmt::Display for WeighId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What a person weighed, in their words: 3 to 1,000 characters, of which nothing is hidden.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(String);

impl Words {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Words {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Words, Self::Err> {
        let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
        let length = line.chars().count();
        let good = (3..=MAX_WEIGHED).contains(&length)
            && !line.chars().any(homeward_protocol::release::dossier::hides);
        good.then_some(Words(line))
            .ok_or("say in 3 to 1000 characters what was weighed")
    }
}

impl fmt::Display for Words {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Choice {
    /// What the advisory advises, at a visit on this day.
    Act(Day),
    /// Nothing now; it is weighed again on this day.
    Watch(Day),
    /// Nothing: a change would be worse.
    Leave,
}

impl Choice {
    /// How it is kept and written.
    pub const fn name(self) -> &'static str {
        match self {
            Choice::Act(_) => "act",
            Choice::Watch(_) => "watch",
            Choice::Leave => "leave",
        }
    }

    /// Its day.
    pub const fn day(self) -> Option<Day> {
        match self {
            Choice::Act(day) | Choice::Watch(day) => Some(day),
            Choice::Leave => None,
        }
    }
}

/// A clinician's decision.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Decision {
    /// What is done.
    pub choice: Choice,
    /// With whom it was weighed: the clinic or the physician who knows the device.
    pub with: Words,
    /// What may happen when nothing is changed.
    pub without: Words,
    /// What may happen by a change, and while it is made.
    pub by_it: Words,
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// Nobody has weighed it.
    Open,
    /// It is decided.
    Decided {
        /// Who.
        by: UserName,
        /// What.
        decision: Decision,
    },
    /// What was decided to be done is done.
    Done {
        /// Who saw to it.
        by: UserName,
        /// What was decided.
        decision: Decision,
    },
    /// The device is not what the advisory is about.
    NotIt {
        /// Who looked.
        by: UserName,
        /// Why.
        reason: Reason,
    },
    /// Nobody is asked any more.
    Withdrawn {
        /// By whom.
        by: UserName,
        /// Why.
        reason: Reason,
    },
    /// Something else is said of the device now, by a later revision or for the version that it shows, and has a task of its own.
    Superseded {
        /// Who had found that it is another device, and why, where anybody had.
        not_it: Option<(UserName, Reason)>,
    },
    /// The device is not in the register any more.
    Gone,
}

impl Stands {
    /// How it is kept, and its word for people.
    pub const fn name(&self) -> (&'static str, &'static str) {
        match self {
            Stands::Open => ("open", "to be weighed"),
            Stands::Decided { decision, .. } => match decision.choice {
                Choice::Act(_) => ("decided", "to be done"),
                Choice::Watch(_) => ("decided", "watched"),
                Choice::Leave => ("decided", "left as it is"),
            },
            Stands::Done { .. } => ("done", "done"),
            Stands::NotIt { .. } => ("not-it", "another device"),
            Stands::Withdrawn { .. } => ("withdrawn", "withdrawn"),
            Stands::Superseded { .. } => ("superseded", "superseded"),
            Stands::Gone => ("gone", "no longer here"),
        }
    }

    /// Whether nobody has to do anything about it any more.
    pub const fn is_over(&self) -> bool {
        match self {
            Stands::Open => false,
            Stands::Decided { decision, .. } => matches!(decision.choice, Choice::Leave),
            Stands::Done { .. }
            | Stands::NotIt { .. }
            | Stands::Withdrawn { .. }
            | Stands::Superseded { .. }
            | Stands::Gone => true,
        }
    }

    /// How it ends when something else is said of the device; nothing for one that has ended for good. Who had found that it is
    /// another device stays named.
    pub fn superseded(&self) -> Option<Stands> {
        let not_it = match self {
            Stands::Superseded { .. } | Stands::Gone => return None,
            Stands::NotIt { by, reason } => Some((by.clone(), reason.clone())),
            Stands::Open | Stands::Decided { .. } | Stands::Done { .. } | Stands::Withdrawn { .. } => None,
        };
        Some(Stands::Superseded { not_it })
    }

    /// Whether its day has come: to weigh it again, or to have it done.
    pub fn is_due(&self, now: Timestamp) -> bool {
        let Stands::Decided { decision, .. } = self else {
            return false;
        };
        decision.choice.day().is_some_and(|day| day.begins().ms <= now.ms)
    }

    /// Whether it is to be weighed now: nobody did, or the day came on which it is to be weighed again.
    pub fn is_to_weigh(&self, now: Timestamp) -> bool {
        let watched = match self {
            Stands::Open => return true,
            Stands::Decided { decision, .. } => matches!(decision.choice, Choice::Watch(_)),
            _ => false,
        };
        watched && self.is_due(now)
    }
}

/// A task: one device, for a clinician.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Weighing {
    /// Its number.
    pub id: WeighId,
    /// The SHA-256 of the revision that it is about, hex.
    pub advisory: String,
    /// The device.
    pub entry: Entry,
    /// What the revision says of it ([`matter`]).
    pub matter: String,
    /// Where it stands.
    pub stands: Stands,
    /// What was decided last, and by whom, whatever became of it since.
    pub decided: Option<(UserName, Decision)>,
    /// Since when.
    pub since: Timestamp,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// By whom.
    pub opened_by: String,
    /// Rises with each step.
    pub revision: i64,
}

/// Who orders something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The person.
    pub person: UserName,
    /// What they are here, in their own session; nothing for a name that somebody gave.
    pub signed_in: Option<Role>,
}

impl Who {
    /// Whether this is a clinician, in their own session.
    const fn is_clinician(&self) -> bool {
        matches!(self.signed_in, Some(Role::Nurse))
    }
}

/// What a person orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// What is done.
    Decide(Decision),
    /// That it is done.
    Done,
    /// That the advisory is about another device.
    NotIt(Reason),
    /// That nobody is asked any more.
    Withdraw(Reason),
    /// That it is weighed again.
    Reopen(Reason),
}

/// Why a task does not move. Nothing changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is over.
    #[error("the task is over already ({0}): weigh it again first, if it has to be")]
    Over(&'static str),
    /// It cannot be opened again.
    #[error("{0}: there is nothing to weigh by this task any more")]
    Ended(&'static str),
    /// It is open as it is.
    #[error("it is to be weighed already")]
    IsOpen,
    /// Not a clinician in person.
    #[error("a clinician weighs this, in their own session in the console: nobody else's word counts")]
    NotAClinician,
    /// Nobody said that anything is done.
    #[error("nobody decided that something is done about it: decide that first")]
    NothingToDo,
    /// The day is over, or too far.
    #[error("{0} cannot be named: a day from today to two years from now")]
    OddDay(Day),
    /// Somebody was faster.
    #[error("somebody changed this task in the meantime: look at it again")]
    Moved,
}

/// Carries out an order: where the task stands then.
pub fn handle(stands: &Stands, order: &Order, who: &Who, now: Timestamp) -> Result<Stands, Unfit> {
    let by = who.person.clone();
    match (stands, order) {
        (Stands::Superseded { .. } | Stands::Gone, _) => Err(Unfit::Ended(stands.name().1)),
        (Stands::Open, Order::Reopen(_)) => Err(Unfit::IsOpen),
        (_, Order::Reopen(_)) => Ok(Stands::Open),
        (over, _) if over.is_over() => Err(Unfit::Over(over.name().1)),
        (_, Order::Withdraw(reason)) => Ok(Stands::Withdrawn {
            by,
            reason: reason.clone(),
        }),
        _ if !who.is_clinician() => Err(Unfit::NotAClinician),
        (_, Order::NotIt(reason)) => Ok(Stands::NotIt {
            by,
            reason: reason.clone(),
        }),
        (_, Order::Decide(decision)) => {
            if let Some(day) = decision.choice.day() {
                let from_now = day.begins().ms.saturating_sub(now.ms);
                if from_now <= -DAY_MS || from_now > FAR_MS {
                    return Err(Unfit::OddDay(day));
                }
            }
            Ok(Stands::Decided {
                by,
                decision: decision.clone(),
            })
        }
        (Stands::Decided { decision, .. }, Order::Done) if matches!(decision.choice, Choice::Act(_)) => {
            Ok(Stands::Done {
                by,
                decision: decision.clone(),
            })
        }
        (_, Order::Done) => Err(Unfit::NothingToDo),
    }
}

/// What a revision says of a device, as far as it has to be weighed: SHA-256 over it, hex. Two revisions that say the same of it
/// have the same, in whatever order; one that names it more surely, or by other products, has another.
pub fn matter(concern: &Concern<'_>) -> String {
    let mut parts = BTreeSet::new();
    for (flaw, status) in &concern.flaws {
        parts.insert(
            ["flaw", &flaw.name, &flaw.summary, status.words()]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    for remedy in &concern.remedies {
        parts.insert(
            ["remedy", &remedy.category, &remedy.details]
                .map(str::to_owned)
                .to_vec(),
        );
    }
    for product in &concern.products {
        parts.insert(["product", product].map(str::to_owned).to_vec());
    }
    let score = concern.score.map_or_else(String::new, |score| score.to_string());
    parts.insert(vec!["how".to_owned(), concern.how.words().to_owned(), score]);
    let mut text = Vec::new();
    for part in parts {
        text.extend_from_slice(&(part.len() as u64).to_be_bytes());
        for one in part {
            // Its length goes before each, so that no two lists read the same.
            text.extend_from_slice(&(one.len() as u64).to_be_bytes());
            text.extend_from_slice(one.as_bytes());
        }
    }
    let hash = digest::digest(&digest::SHA256, &text);
    homeward_protocol::tuf::read::to_hex(hash.as_ref())
}

#[cfg(test)]
mod tests;
