//! What is told of the facts, and when: a full report, what changed since, or nothing.
//!
//! Pure: the shell collects, keeps what is to be kept ([`Told`]), and puts what is to be said into the outbox.

use std::time::Duration;

use homeward_protocol::posture::fact::Fact;
use homeward_protocol::posture::facts::{FactReport, FactSet, MAX_REPORT, Mark, Span, Still};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::{self, WireError};
use serde::{Deserialize, Serialize};

/// A full report goes out this often.
pub const FULL: Duration = Duration::from_hours(24);
/// When more than this part (a third) of the facts changed, all are told.
const MUCH: usize = 3;
/// Most bytes of what is kept between runs.
pub const MAX_KEPT: usize = 2 * MAX_REPORT + 256;

/// What was told.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Told {
    /// The newest report's number.
    number: u64,
    /// The newest full one's number, and when it was made.
    full: Option<(u64, Timestamp)>,
    /// The state of the newest full one.
    base: FactSet,
    /// The state that was told last.
    now: FactSet,
    /// The list of software that was sent.
    software: Option<Mark>,
}

/// What to do after the facts were collected.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// Say this.
    Report(FactReport),
    /// Nothing changed.
    Still,
}

impl Told {
    /// Takes the facts that were found. `asked`: the server wants all of them.
    ///
    /// Numbers begin at the clock's milliseconds when nothing is kept, so that they go on rising when the memory is lost.
    pub fn take(&mut self, found: Vec<Fact>, asked: bool, now: Timestamp) -> Next {
        let state = self.now.settled(FactSet::new(found.iter().cloned()));
        let due = self.full.is_none_or(|(_, at)| {
            let ahead = at.ms > now.ms;
            ahead || at.age(now) >= FULL
        });
        if asked || due {
            return self.tell_all(FactSet::new(found), now);
        }
        if state.mark() == self.now.mark() {
            return Next::Still;
        }
        let (base, _) = self.full.unwrap_or((0, now));
        let report = state.since(self.next_number(now), (base, &self.base), now);
        let gone = match &report.span {
            Span::Full => 0,
            Span::Since { gone, .. } => gone.len(),
        };
        if (report.facts.len() + gone) * MUCH > state.len() {
            return self.tell_all(FactSet::new(found), now);
        }
        self.number = report.number;
        self.now = state;
        Next::Report(report)
    }

    fn tell_all(&mut self, state: FactSet, now: Timestamp) -> Next {
        let number = self.next_number(now);
        let report = state.full(number, now);
        self.number = number;
        self.full = Some((number, now));
        self.base = state.clone();
        self.now = state;
        Next::Report(report)
    }

    fn next_number(&self, now: Timestamp) -> u64 {
        match self.number {
            0 => u64::try_from(now.ms).unwrap_or(0).max(1),
            number => number.saturating_add(1),
        }
    }

    /// Which list of software is current. It is sent when the server asks for it: of a hundred boxes with the same
    /// software one is asked.
    pub fn software(&mut self, name: Mark) {
        self.software = Some(name);
    }

    /// "All is as I told you"; `None` before anything was told.
    pub fn still(&self) -> Option<Still> {
        self.full.map(|_| Still {
            number: self.number,
            mark: self.now.mark(),
            software: self.software,
        })
    }

    /// What is to be kept between runs.
    pub fn keep(&self) -> Result<Vec<u8>, WireError> {
        let full = self.full.map(|(number, at)| self.base.full(number, at));
        let base = full.as_ref().map_or(0, |full| full.number);
        let last = full
            .as_ref()
            .map(|full| self.now.since(self.number, (base, &self.base), full.taken_at));
        let kept = Kept {
            full,
            last,
            software: self.software,
        };
        wire::encode(&kept, MAX_KEPT)
    }

    /// What was kept; whatever is wrong with it, the state is told anew.
    pub fn resume(kept: &[u8]) -> Told {
        Told::resumed(kept).unwrap_or_default()
    }

    fn resumed(kept: &[u8]) -> Option<Told> {
        let kept: Kept = wire::decode(kept, MAX_KEPT).ok()?;
        let (full, last) = (kept.full?, kept.last?);
        let base = FactSet::default().after(&full)?;
        let now = base.after(&last)?;
        Some(Told {
            number: last.number,
            full: Some((full.number, full.taken_at)),
            base,
            now,
            software: kept.software,
        })
    }
}

#[derive(Serialize, Deserialize)]
pub(crate) struct Kept {
    full: Option<FactReport>,
    last: Option<FactReport>,
    software: Option<Mark>,
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::fact::{FactId, Value, What};

    use super::*;

    fn at(hours: i64) -> Timestamp {
        Timestamp::synced(1_795_000_000_000 + hours * 3_600_000)
    }

    fn facts(ports: &[u32], free: u8) -> Vec<Fact> {
        let new = |id, value| Fact::new(id, value, "a test", at(0));
        let port = |port: &u32| {
            let id = FactId::about(What::Listen, &format!("tcp/0.0.0.0:{port}"));
            new(id, Value::Flag(true))
        };
        let mut all: Vec<Fact> = ports.iter().map(port).collect();
        all.push(new(FactId::about(What::DiskFree, "/"), Value::Percent(free)));
        all
    }

    fn report(next: Next) -> FactReport {
        match next {
            Next::Report(report) => report,
            Next::Still => panic!("nothing is told"),
        }
    }

    #[test]
    fn first_all_then_what_changed_then_nothing_then_all_again_after_a_day() {
        let mut told = Told::default();
        let full = report(told.take(facts(&[1, 2, 3, 4, 5], 50), false, at(0)));
        assert_eq!(full.span, Span::Full);
        assert_eq!(told.take(facts(&[1, 2, 3, 4, 5], 45), false, at(1)), Next::Still);
        let change = report(told.take(facts(&[1, 2, 3, 4, 5, 6], 45), false, at(2)));
        assert_eq!((change.number, change.facts.len()), (full.number + 1, 1));
        let base = FactSet::default().after(&full).expect("a state");
        assert_eq!(
            base.after(&change).map(|state| state.mark()),
            told.still().map(|s| s.mark)
        );
        assert_eq!(
            told.take(facts(&[1, 2, 3, 4, 5, 6], 45), false, at(23)),
            Next::Still
        );
        let all = report(told.take(facts(&[1, 2, 3, 4, 5, 6], 45), false, at(24)));
        assert_eq!(all.span, Span::Full);
        assert!(all.facts.iter().any(|fact| fact.value == Value::Percent(45)));
        let asked = told.take(facts(&[1, 2, 3, 4, 5, 6], 45), true, at(24));
        assert_eq!(report(asked).span, Span::Full);
    }

    #[test]
    fn a_restart_goes_on_and_a_damaged_memory_tells_all() {
        let mut told = Told::default();
        let _ = told.take(facts(&[1, 2, 3, 4, 5], 50), false, at(0));
        let _ = told.take(facts(&[1, 2, 3, 4, 5, 6], 50), false, at(1));
        told.software(Mark([1; 16]));
        let kept = told.keep().expect("it fits");
        let mut again = Told::resume(&kept);
        assert_eq!(again, told);
        assert_eq!(
            again.take(facts(&[1, 2, 3, 4, 5, 6], 52), false, at(2)),
            Next::Still
        );
        for cut in [0, 1, kept.len() / 2, kept.len() - 1] {
            let mut lost = Told::resume(&kept[..cut]);
            assert_eq!(lost.still(), None);
            assert_eq!(report(lost.take(facts(&[1], 50), false, at(2))).span, Span::Full);
        }
    }

    #[test]
    fn a_clock_that_went_back_tells_all_and_much_change_does_too() {
        let mut told = Told::default();
        let _ = told.take(facts(&[1, 2, 3, 4], 50), false, at(5));
        assert_eq!(
            report(told.take(facts(&[1, 2, 3, 4], 50), false, at(4))).span,
            Span::Full
        );
        let much = told.take(facts(&[7, 8, 9], 50), false, at(4));
        assert_eq!(report(much).span, Span::Full);
    }
}
