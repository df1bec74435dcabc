//! How far the trail was found whole, so that a look at it hashes what is new and not a million rows again.
//!
//! # Design
//! A row that was changed long after it was checked would not be found by looking at new rows only, so all of it is
//! walked anew when the last whole walk is [`EVERY_MS`] old. What was seen is kept in memory: who changes the database
//! cannot change it along, and rows that are cut off at the end are noticed as long as the server runs.

use homeward_protocol::time::Timestamp;

use super::Chain;

/// How often all of it is walked, milliseconds.
pub const EVERY_MS: i64 = 3_600_000;

/// What was found whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Looked {
    /// The newest row, with its hash.
    pub chain: Chain,
    /// When all of it was walked.
    pub whole_at: Timestamp,
}

impl Looked {
    /// What a look at `now` may take for granted: nothing when nothing was seen yet, or too long ago, or when the clock
    /// was put back since.
    pub fn known(last: Option<Looked>, now: Timestamp) -> Option<Looked> {
        last.filter(|seen| (0..EVERY_MS).contains(&now.ms.saturating_sub(seen.whole_at.ms)))
    }

    /// After a walk that found the trail whole up to `chain`, beginning behind `from`.
    #[must_use]
    pub fn after(from: Option<Looked>, chain: Chain, now: Timestamp) -> Looked {
        Looked {
            chain,
            whole_at: from.map_or(now, |from| from.whole_at),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::RowHash;

    #[test]
    fn all_of_it_is_walked_at_first_after_an_hour_and_when_the_clock_was_put_back() {
        let at = Timestamp::synced;
        let chain = Chain::after(7, RowHash([1; 32]));
        let seen = Looked::after(None, chain, at(10));
        assert_eq!(Looked::known(None, at(10)), None);
        assert_eq!(Looked::known(Some(seen), at(9 + EVERY_MS)), Some(seen));
        assert_eq!(Looked::known(Some(seen), at(10 + EVERY_MS)), None);
        assert_eq!(Looked::known(Some(seen), at(9)), None);
        let later = Looked::after(Some(seen), Chain::after(9, RowHash([2; 32])), at(20));
        assert_eq!((later.whole_at, later.chain.last()), (at(10), 9));
    }
}
