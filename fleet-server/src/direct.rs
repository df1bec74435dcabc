//! Directing: which software each gateway shall have, said by signed words, and what gateways make of them.
//!
//! The director chooses among what the offline keys released; it can make nothing. [`publish`] says the words, [`assign`]
//! makes one, and [`deadline`] says what happens when one waits for too long.

pub mod deadline;
pub mod publish;
pub mod repository;
pub mod shelf;

use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::Version;
use homeward_protocol::release::assignment::Assignment;
use homeward_protocol::release::notes::Notes;
use homeward_protocol::release::pushable::{NotPushable, Pushable};
use homeward_protocol::release::state::{Ended, Outcome, Progress, UpdateState};
use homeward_protocol::signed::{SignedError, Signer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::client::Client;
use homeward_protocol::tuf::metadata::targets::{Target, TargetPath};

use crate::campaign::draft::Release;
use crate::store::updates::Assigned;

/// A word is said again after this, on a connection on which its gateway has not named it yet.
const AGAIN: Duration = Duration::from_mins(1);

/// Whether a word is to be said: its gateway neither has it nor has ended it. `told` is when that word was last said on
/// this connection.
pub fn due(word: u64, said: Option<&UpdateState>, told: Option<Timestamp>, now: Timestamp) -> bool {
    let knows = said.is_some_and(|said| {
        let has = said.now.as_ref().is_some_and(|(mark, _)| mark.counter >= word);
        let ended = said.ended.as_ref().and_then(|ended| ended.counter);
        has || ended.is_some_and(|ended| ended >= word)
    });
    !knows && told.is_none_or(|told| told.ms > now.ms || told.age(now) >= AGAIN)
}

/// Why no word can be made.
#[derive(Debug, thiserror::Error)]
pub enum Unassignable {
    /// The repository does not name it.
    #[error("the repository does not name `{0}`: `release show` lists what is published")]
    NotReleased(String),
    /// It is the firmware of a device, which a person installs, or no software at all.
    #[error(transparent)]
    NotPushable(#[from] NotPushable),
    /// The deadline lies before the beginning.
    #[error("the deadline lies before the moment from which it may begin")]
    Times,
    /// The key does not sign.
    #[error("the word could not be signed")]
    Sign(#[source] SignedError),
}

/// Finds a target that may be assigned, as boxes would believe it.
pub fn released(client: &Client, path: &str) -> Result<Pushable, Unassignable> {
    let unknown = || Unassignable::NotReleased(path.to_owned());
    let at: TargetPath = path.parse().map_err(|_| unknown())?;
    let targets = client.trusted().targets().ok_or_else(unknown)?;
    let target = targets.targets.get(path).ok_or_else(unknown)?;
    Ok(Pushable::of(&at, target)?)
}

/// All software of boxes that is published. Firmware of devices is not in it: no campaign pushes that.
pub fn published(client: &Client) -> Vec<Release> {
    let targets = client.trusted().targets().map(|targets| &targets.targets);
    let release = |(path, target): (&String, &Target)| {
        let found = Pushable::of(&path.parse().ok()?, target).ok()?;
        Some(Release {
            path: path.clone(),
            sha256: found.sha256(),
            custom: found.custom().clone(),
            // What cannot be read is said to nobody; it keeps no release from anybody.
            notes: Notes::of_target(target.notes.as_ref()).ok().flatten(),
        })
    };
    targets.into_iter().flatten().filter_map(release).collect()
}

/// What is to begin at once begins so also on a box that knows the time by its certificate alone, which is dated back by five minutes,
/// and by what it surely knows to have passed since then (a thousandth less than its crystal counts).
const BEHIND_MS: i64 = 30 * 60 * 1000;

/// How far ahead a word lies that is never to begin: a hundred years.
pub const NEVER_MS: i64 = 100 * 365 * 86_400_000;

/// From when a word of `now` may begin that is not to begin at all: it takes the place of one that stands, and brings nothing.
pub fn never(now: Timestamp) -> Timestamp {
    now.plus_ms(NEVER_MS)
}

/// Whether a word only holds back what it names.
const fn holds_back(assigned: &Assigned) -> bool {
    assigned.not_before.ms.saturating_sub(assigned.at.ms) >= NEVER_MS
}

/// Makes the word for one gateway; `wave` is 0 for one outside of campaigns.
pub fn assign(
    gateway: &GatewayId,
    released: &Pushable,
    (not_before, deadline, wave): (Timestamp, Timestamp, u16),
    counter: u64,
    (director, by, now): (&dyn Signer, &str, Timestamp),
) -> Result<Assigned, Unassignable> {
    if deadline.ms < not_before.ms {
        return Err(Unassignable::Times);
    }
    let begins = if not_before.ms <= now.ms {
        not_before.plus_ms(-BEHIND_MS)
    } else {
        not_before
    };
    let word = Assignment::new(gateway.clone(), released, (begins, deadline), wave, counter);
    Ok(Assigned {
        gateway: gateway.clone(),
        counter,
        path: released.path().as_str().to_owned(),
        version: released.custom().version,
        not_before,
        deadline,
        at: now,
        by: by.to_owned(),
        word: word.seal(director).map_err(Unassignable::Sign)?,
    })
}

/// How a word stands, in one plain sentence for people.
pub fn words(assigned: &Assigned, said: Option<&UpdateState>, connected: Option<bool>) -> String {
    let version = assigned.version;
    let Some(said) = said else {
        return format!("{version} is to come; this box has said nothing of its software yet");
    };
    // What was not the director's word has no number; it counts as this one when it came after it.
    let this = |ended: &&Ended| match ended.counter {
        Some(counter) => counter == assigned.counter,
        None => ended.at.ms >= assigned.at.ms,
    };
    if let Some(ended) = said.ended.as_ref().filter(this) {
        return match &ended.outcome {
            Outcome::Confirmed => format!("runs {version} and is well, since {}", ended.at),
            Outcome::Refused(why) => format!("did not take {version}: {}", why.as_str()),
            Outcome::Bad(why) => format!(
                "{}, which is bad here: {}",
                back(version, said.runs),
                why.as_str()
            ),
            Outcome::NotProven(why) => {
                format!(
                    "{}, without proof against it: {}",
                    back(version, said.runs),
                    why.as_str()
                )
            }
            Outcome::Stays(why) => format!(
                "has {version}, which is not well here and does not go back by itself: {}",
                why.as_str()
            ),
        };
    }
    let at = said
        .now
        .as_ref()
        .filter(|(mark, _)| mark.counter == assigned.counter);
    if holds_back(assigned) {
        return match at {
            Some(_) => format!(
                "is to keep {}, and has heard that: {version} does not begin",
                said.runs
            ),
            None => format!(
                "is to keep {}; the box has not heard yet that {version} is not to begin",
                said.runs
            ),
        };
    }
    match at.map(|(_, progress)| progress) {
        None if connected == Some(false) => format!("{version} is to come; the box is not connected"),
        None => match &said.undecided {
            // What lacks is of the newest word that the box has, which this one may not be yet.
            Some(lacks) => format!(
                "{version} is to come; the box cannot take it yet: {}",
                lacks.why.as_str()
            ),
            None => format!("{version} is to come; the box has not named it yet"),
        },
        Some(Progress::Fetching {
            have: 0, why: None, ..
        }) => format!("fetches {version}"),
        Some(Progress::Fetching { have, of, why }) => {
            let why = why.as_ref().map(|why| format!("; {}", why.as_str()));
            let why = why.unwrap_or_default();
            format!("fetches {version}: {have} of {of} bytes have come{why}")
        }
        Some(Progress::Paused { why, .. }) => format!("does not fetch {version} for now: {}", why.as_str()),
        Some(Progress::Waiting(why)) => match why.first() {
            Some(why) => format!("has {version}, and waits: {}", why.as_str()),
            None => format!("has {version}, and waits for a quiet moment"),
        },
        Some(Progress::Acting) => format!("puts {version} in place"),
        Some(Progress::OnTrial { until, missing }) => match missing.first() {
            Some(lacks) => format!("tries {version} until {until}: {}", lacks.as_str()),
            None => format!("tries {version} until {until}, and is well so far"),
        },
    }
}

/// It still runs until the home is quiet for the return.
fn back(from: Version, runs: Version) -> String {
    if runs == from {
        format!("goes back from {from}")
    } else {
        format!("went back to {runs} from {from}")
    }
}

#[cfg(test)]
mod tests;
