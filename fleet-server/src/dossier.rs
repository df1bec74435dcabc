//! Firmware of devices: what a dossier makes people do, device by device, and who may say that it is done.
//!
//! Nothing here reaches a box. A task is a person's: planned for a day, then done with the version that the device shows,
//! or refused with a reason. Where the device acts on a person or lies in a body, a second person looks at it too.
//!
//! # Design
//! - [`handle`] is the only way a person moves a task. It is told who orders and whether that person signed in by themselves
//!   ([`Who`]): a name that somebody else typed in may plan, and may say what was seen where one person is enough; of what
//!   two have to see it is neither pair of eyes.
//! - A task is for the home that its box stood in when it was opened ([`Whereabouts`]). A box that stands elsewhere now may
//!   have left the device behind, or taken it to somebody else: nothing is done by that task until a person looked again.
//! - Newer instructions end what older ones asked for, and so does taking them out of what is published: nobody works by
//!   instructions that those who signed them gave up. What ended so is asked for again when they are published again.
//! - What people did or decided counts for the home in which it was: the next person who lives with a device is asked for, too.

pub mod papers;
pub mod upkeep;
pub mod words;

use std::fmt;
use std::str::FromStr;

use homeward_protocol::id::{GatewayId, SensorId};
use homeward_protocol::release::dossier::{Class, Dossier, Firmware};
use homeward_protocol::time::Timestamp;

use crate::access::UserName;

const DAY_MS: i64 = 86_400_000;
/// Nobody plans further than this.
const FAR_MS: i64 = 730 * DAY_MS;
/// Most characters of a reason.
pub const MAX_REASON: usize = 200;

/// Which task.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TaskId(pub i64);

impl FromStr for TaskId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<TaskId, Self::Err> {
        let plain = (1..=18).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_digit());
        let number = text.parse().ok().filter(|number| plain && *number > 0);
        number
            .map(TaskId)
            .ok_or("a task is a number, as `update dossier list` shows it")
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A day in UTC: `2026-12-01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day(Timestamp);

impl Day {
    /// Its first moment.
    pub const fn begins(self) -> Timestamp {
        self.0
    }

    /// The one that begins at this moment, as it is kept.
    pub fn kept(ms: i64) -> Option<Day> {
        (ms.rem_euclid(DAY_MS) == 0).then_some(Day(Timestamp::synced(ms)))
    }
}

impl FromStr for Day {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Day, Self::Err> {
        let midnight = Timestamp::from_utc(&format!("{text}T00:00:00Z"));
        midnight.map(Day).ok_or("a day is written 2026-12-01")
    }
}

impl fmt::Display for Day {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let moment = self.0.to_string();
        f.write_str(moment.split('T').next().unwrap_or_default())
    }
}

/// Why something was not done, in words: 1 to 200 printable characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reason(String);

impl Reason {
    /// The words.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Reason {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Reason, Self::Err> {
        let text = text.trim();
        let length = text.chars().count();
        let good = (1..=MAX_REASON).contains(&length) && !text.chars().any(char::is_control);
        good.then(|| Reason(text.to_owned()))
            .ok_or("a reason has 1 to 200 printable characters")
    }
}

/// Where a task stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stands {
    /// Nobody has taken it.
    Open,
    /// Somebody goes there.
    Planned {
        /// Who.
        by: UserName,
        /// When.
        on: Day,
    },
    /// One person saw that it worked; a second one has to.
    Seen {
        /// Who.
        by: UserName,
        /// What the device shows.
        version: Firmware,
    },
    /// It is done.
    Done {
        /// Who saw it last.
        by: UserName,
        /// Who saw it first, where two had to.
        first: Option<UserName>,
        /// What the device shows.
        version: Firmware,
    },
    /// A person decided against it.
    Refused {
        /// Who.
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
    /// Newer instructions took its place.
    Superseded {
        /// Their path among the targets.
        newer: String,
    },
    /// Its instructions are not published any more.
    Recalled,
}

/// Where the box of a task stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Whereabouts {
    /// In the home that the task was opened for.
    There,
    /// In another home, or in none.
    Elsewhere,
}

impl Stands {
    /// How it is kept, and its word for people.
    pub const fn name(&self) -> (&'static str, &'static str) {
        match self {
            Stands::Open => ("open", "open"),
            Stands::Planned { .. } => ("planned", "planned"),
            Stands::Seen { .. } => ("seen", "second person needed"),
            Stands::Done { .. } => ("done", "done"),
            Stands::Refused { .. } => ("refused", "refused"),
            Stands::Withdrawn { .. } => ("withdrawn", "withdrawn"),
            Stands::Superseded { .. } => ("superseded", "superseded"),
            Stands::Recalled => ("recalled", "recalled"),
        }
    }

    /// Whether nobody has to do anything about it any more.
    pub const fn is_over(&self) -> bool {
        match self {
            Stands::Open | Stands::Planned { .. } | Stands::Seen { .. } => false,
            Stands::Done { .. }
            | Stands::Refused { .. }
            | Stands::Withdrawn { .. }
            | Stands::Superseded { .. }
            | Stands::Recalled => true,
        }
    }
}

/// One device that a dossier is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Task {
    /// Its number.
    pub id: TaskId,
    /// The SHA-256 of the dossier, hex.
    pub dossier: String,
    /// The box at the device's home.
    pub gateway: GatewayId,
    /// The device: as the box calls it, or as the person did who opened the task.
    pub device: SensorId,
    /// What the device said of its firmware when the task was opened, where it does.
    pub shown: Option<String>,
    /// Where it stands.
    pub stands: Stands,
    /// Where its box stands.
    pub whereabouts: Whereabouts,
    /// Since when.
    pub since: Timestamp,
    /// When it was opened.
    pub opened_at: Timestamp,
    /// By whom.
    pub opened_by: String,
    /// Rises with each step.
    pub revision: i64,
}

impl Task {
    /// Whether a person has to look again at where the device is.
    pub fn has_moved(&self) -> bool {
        self.whereabouts == Whereabouts::Elsewhere && !self.stands.is_over()
    }
}

/// Whether tasks of such devices are opened by themselves, so that nobody has to notice that there are instructions. For all
/// others a person decides when.
pub const fn asks_by_itself(class: Class) -> bool {
    match class {
        Class::Implant => true,
        Class::Sensor | Class::Alarm | Class::Actuator => false,
    }
}

/// Who orders something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// The person.
    pub person: UserName,
    /// Whether this is their own session, and not a name that somebody gave.
    pub signed_in: bool,
}

/// What a person orders.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// To go there.
    Plan(Day),
    /// That it worked: the device shows this.
    Confirm(Firmware),
    /// That it is not done.
    Refuse(Reason),
    /// That nobody is asked any more.
    Withdraw(Reason),
    /// That it is asked for again, for the home in which its box stands now: what was refused, or what stood for another home.
    Reopen(Reason),
}

/// Why a task does not move. Nothing changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is over.
    #[error("the task is {0} already, and stays so")]
    Over(&'static str),
    /// Nobody said who goes there and when.
    #[error("nobody has planned this yet: say first who carries it out, and on which day")]
    NotPlanned,
    /// One person saw it already: there is nothing to plan.
    #[error("{0} saw it at work already: a second person confirms it, or it is refused")]
    Seen(UserName),
    /// The day is over, or too far.
    #[error("{0} cannot be planned for: a day from today to two years from now")]
    OddDay(Day),
    /// The device shows something else.
    #[error(
        "the device shows {seen}, and {wanted} is what it should show: it did not work, or it is another device. Try again, \
         or refuse with a reason"
    )]
    OtherVersion {
        /// What it shows.
        seen: Firmware,
        /// What the dossier brings.
        wanted: Firmware,
    },
    /// The second look is the first person's.
    #[error("{0} saw it first: another person has to look at the device, too")]
    SamePerson(UserName),
    /// A look that has to be the person's own is not.
    #[error(
        "what acts on a person or lies in a body is looked at by two people, and each look counts only from the person's own \
         session: sign in to the console and confirm there"
    )]
    NotSignedIn,
    /// Its box stands in another home.
    #[error(
        "the box stands in another home than this task was opened for: look again whether the device is there, then open the \
         task again, or withdraw it"
    )]
    Elsewhere,
    /// It is open as it is.
    #[error("the task is open already")]
    IsOpen,
    /// There are newer instructions.
    #[error("newer instructions took the place of these: {0}")]
    Newer(String),
    /// Another task asks for the same.
    #[error("task {0} asks for the same already")]
    Twin(TaskId),
    /// Somebody was faster.
    #[error("somebody changed this task in the meantime: look at it again")]
    Moved,
}

/// Carries out an order: where the task stands then.
pub fn handle(
    (stands, whereabouts): (&Stands, Whereabouts),
    dossier: &Dossier,
    order: &Order,
    who: &Who,
    now: Timestamp,
) -> Result<Stands, Unfit> {
    let by = who.person.clone();
    match (stands, order) {
        (Stands::Refused { .. }, Order::Reopen(_)) => Ok(Stands::Open),
        (over, _) if over.is_over() => Err(Unfit::Over(over.name().1)),
        (_, Order::Withdraw(reason)) => Ok(Stands::Withdrawn {
            by,
            reason: reason.clone(),
        }),
        (_, Order::Reopen(_)) if whereabouts == Whereabouts::Elsewhere => Ok(Stands::Open),
        (_, Order::Reopen(_)) => Err(Unfit::IsOpen),
        _ if whereabouts == Whereabouts::Elsewhere => Err(Unfit::Elsewhere),
        (_, Order::Refuse(reason)) => Ok(Stands::Refused {
            by,
            reason: reason.clone(),
        }),
        (Stands::Seen { by: first, .. }, Order::Plan(_)) => Err(Unfit::Seen(first.clone())),
        (_, Order::Plan(on)) => {
            let from_now = on.begins().ms.saturating_sub(now.ms);
            if from_now <= -DAY_MS || from_now > FAR_MS {
                return Err(Unfit::OddDay(*on));
            }
            Ok(Stands::Planned { by, on: *on })
        }
        (Stands::Planned { .. } | Stands::Seen { .. }, Order::Confirm(version)) => {
            if *version != dossier.after {
                return Err(Unfit::OtherVersion {
                    seen: version.clone(),
                    wanted: dossier.after.clone(),
                });
            }
            seen(stands, dossier, version, who)
        }
        (_, Order::Confirm(_)) => Err(Unfit::NotPlanned),
    }
}

/// The device shows what it should.
fn seen(stands: &Stands, dossier: &Dossier, version: &Firmware, who: &Who) -> Result<Stands, Unfit> {
    let (by, version) = (who.person.clone(), version.clone());
    match stands {
        Stands::Seen { by: first, .. } if *first == by => Err(Unfit::SamePerson(by)),
        _ if dossier.class.needs_two() && !who.signed_in => Err(Unfit::NotSignedIn),
        Stands::Seen { by: first, .. } => Ok(Stands::Done {
            by,
            first: Some(first.clone()),
            version,
        }),
        _ if dossier.class.needs_two() => Ok(Stands::Seen { by, version }),
        _ => Ok(Stands::Done {
            by,
            first: None,
            version,
        }),
    }
}

#[cfg(test)]
mod tests;
