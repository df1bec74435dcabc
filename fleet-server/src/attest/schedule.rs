//! When a gateway is asked to prove itself.
//!
//! At its boot, after an update and after more than an hour away at once; else every 24 hours, a quarter more or less.
//! An answer that does not come is asked for again, more and more rarely. A fleet that comes back together is asked in
//! turn, at [`Ration::A_SECOND`] a second.

use homeward_protocol::attest::{Ask, CHALLENGE_MS};
use homeward_protocol::time::Timestamp;

/// The middle of the pause between two challenges, milliseconds.
const DAY_MS: i64 = 24 * 3_600_000;
/// Away for longer, a gateway is asked as it comes back, milliseconds.
pub const AWAY_MS: i64 = 3_600_000;
/// A gateway that asks to be asked is answered no more often, milliseconds.
const LEAST_PAUSE_MS: i64 = 10_000;
/// The longest pause before an answer that did not come is asked for again, milliseconds.
const LONGEST_RETRY_MS: i64 = 3_600_000;
/// After a first failure the gateway is soon asked again: the second one decides.
const CONFIRM_MS: i64 = 60_000;

/// Why a challenge was made. Closed: the names are in the database for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Occasion {
    /// It was never asked.
    First,
    /// It says that it has booted.
    Boot,
    /// It says that it was updated.
    Update,
    /// It was away for more than an hour.
    Return,
    /// It was due.
    Daily,
    /// The answer before did not come, or was a first failure.
    Again,
    /// A person asked.
    Person,
}

impl Occasion {
    /// As it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Occasion::First => "first",
            Occasion::Boot => "boot",
            Occasion::Update => "update",
            Occasion::Return => "return",
            Occasion::Daily => "daily",
            Occasion::Again => "again",
            Occasion::Person => "person",
        }
    }
}

impl From<Ask> for Occasion {
    fn from(ask: Ask) -> Occasion {
        match ask {
            Ask::Boot => Occasion::Boot,
            Ask::Update => Occasion::Update,
            Ask::Return => Occasion::Return,
        }
    }
}

/// What is kept of asking one gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Asked {
    /// When the newest challenge was made.
    pub last: Option<Timestamp>,
    /// Challenges since the last answer.
    pub unanswered: i64,
    /// When its evidence last came.
    pub answered: Option<Timestamp>,
    /// From when on it is to be asked again.
    pub next: Option<Timestamp>,
    /// When a person wished it, and it has not been asked since.
    pub wished: Option<Timestamp>,
}

/// A gateway's connection now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Since when it is connected.
    pub since: Timestamp,
    /// When the connection before ended.
    pub left: Option<Timestamp>,
}

/// Why to ask a connected gateway now; nothing when it is not due.
pub fn due(asked: &Asked, present: Present, now: Timestamp) -> Option<Occasion> {
    let pause_ms = now.ms.saturating_sub(asked.last.map_or(i64::MIN, |at| at.ms));
    if asked.last.is_some() && (0..LEAST_PAUSE_MS).contains(&pause_ms) {
        return None;
    }
    if asked.wished.is_some() {
        return Some(Occasion::Person);
    }
    let Some(last) = asked.last else {
        return Some(Occasion::First);
    };
    let away_ms = present
        .left
        .map_or(0, |left| present.since.ms.saturating_sub(left.ms));
    if away_ms > AWAY_MS && last.ms < present.since.ms {
        return Some(Occasion::Return);
    }
    if asked.unanswered > 0 {
        let again = last.ms.saturating_add(retry_ms(asked.unanswered));
        // A connection that is newer than the challenge cannot answer it: the number went with the old one.
        let is_gone = last.ms < present.since.ms;
        return (now.ms >= again || is_gone).then_some(Occasion::Again);
    }
    let next = asked.next.map_or(i64::MIN, |at| at.ms);
    (now.ms >= next).then_some(Occasion::Daily)
}

/// How long an answer is waited for: the life of the challenge, then twice as long each time, at most an hour.
fn retry_ms(unanswered: i64) -> i64 {
    let doublings = u32::try_from(unanswered.clamp(1, 16) - 1).unwrap_or(0);
    CHALLENGE_MS.saturating_mul(1 << doublings).min(LONGEST_RETRY_MS)
}

/// From when on to ask again after an answer: 18 to 30 hours, by `dice` (random), so that a fleet that was asked
/// together is not asked together again. After a first failure it is a minute.
pub fn next(dice: u64, confirm: bool, now: Timestamp) -> Timestamp {
    if confirm {
        return now.plus_ms(CONFIRM_MS);
    }
    let spread = i64::try_from(dice % 1_000_001).unwrap_or(0) * (DAY_MS / 2) / 1_000_000;
    now.plus_ms(DAY_MS - DAY_MS / 4 + spread)
}

/// How many gateways may be asked now: a bucket that fills with time.
#[derive(Debug, Clone, Copy)]
pub struct Ration {
    tokens_ms: i64,
    at: Timestamp,
}

impl Ration {
    /// Challenges a second for a fleet that is due together: 5,000 gateways take 100 seconds.
    pub const A_SECOND: i64 = 50;
    const FULL_MS: i64 = 2000;

    /// A full one.
    pub const fn new(now: Timestamp) -> Ration {
        Ration {
            tokens_ms: Ration::FULL_MS,
            at: now,
        }
    }

    /// How many are free at `now`. A clock that goes back gives none, and takes none away.
    pub fn free(&mut self, now: Timestamp) -> usize {
        let passed = now.ms.saturating_sub(self.at.ms).max(0);
        self.tokens_ms = self.tokens_ms.saturating_add(passed).min(Ration::FULL_MS);
        self.at = now;
        usize::try_from(self.tokens_ms * Ration::A_SECOND / 1000).unwrap_or(0)
    }

    /// Takes some.
    pub fn take(&mut self, count: usize) {
        let cost = i64::try_from(count).unwrap_or(i64::MAX).saturating_mul(1000) / Ration::A_SECOND;
        self.tokens_ms = self.tokens_ms.saturating_sub(cost).max(0);
    }
}
