//! What becomes of a report of facts, and when a gateway is asked for all of them.
//!
//! # Design
//! A gateway is asked by a hint, and nobody remembers that it was: its next report or its next "nothing changed" shows
//! whether it is still needed. A hint that is lost costs an hour, a message that is lost the same.

pub mod serve;
pub mod view;

use homeward_protocol::posture::facts::{Change, FactReport, FactSet, Mark, Span, Still, changes};
use homeward_protocol::time::Timestamp;

/// What a gateway is asked for, by a hint.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Wish {
    /// All its facts.
    Facts,
    /// Its list of software.
    Software,
}

impl Wish {
    /// The hint's word.
    pub const fn word(self) -> &'static [u8] {
        match self {
            Wish::Facts => b"facts",
            Wish::Software => b"software",
        }
    }
}

/// What is known of a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Known {
    /// Its newest full report.
    pub base: FactReport,
    /// What it told since; none when the full one is the newest.
    pub newest: Option<FactReport>,
    /// Which outbox they came from.
    pub epoch: String,
    /// When they came.
    pub received_at: Timestamp,
}

impl Known {
    /// The newest report.
    pub fn latest(&self) -> &FactReport {
        self.newest.as_ref().unwrap_or(&self.base)
    }

    /// The facts as they stand.
    pub fn state(&self) -> FactSet {
        let base = FactSet::default().after(&self.base).unwrap_or_default();
        let newest = self.newest.as_ref().and_then(|report| base.after(report));
        newest.unwrap_or(base)
    }
}

/// What becomes of a report.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Folded {
    /// It is the newest: this changed, and this is the state now.
    New(Vec<Change>, FactSet),
    /// It comes from an outbox that was put back, and says what was known before.
    Older,
    /// What it builds on is not known here.
    Unknown,
}

/// What a report says beyond what is known. Within one outbox what comes later is newer, whatever the box's clock did;
/// between outboxes the clock decides, and nothing counts as taken after it arrived.
pub fn fold(known: Option<&Known>, report: &FactReport, (epoch, now): (&str, Timestamp)) -> Folded {
    let newer = |known: &Known| {
        let before = known.latest().taken_at.ms.min(known.received_at.ms);
        known.epoch == epoch || before <= report.taken_at.ms.min(now.ms)
    };
    if !known.is_none_or(newer) {
        return Folded::Older;
    }
    let base = match (&report.span, known) {
        (Span::Full, _) => FactSet::default(),
        (Span::Since { base, .. }, Some(known)) if known.base.number == *base => {
            FactSet::default().after(&known.base).unwrap_or_default()
        }
        (Span::Since { .. }, _) => return Folded::Unknown,
    };
    let Some(state) = base.after(report) else {
        return Folded::Unknown;
    };
    let before = known.map(Known::state).unwrap_or_default();
    Folded::New(changes(&before, &state, report.taken_at), state)
}

/// What is asked of a gateway that says "nothing changed", given the number and mark of what is known of it, and whether
/// the list of software that it names is here.
pub fn answer(still: &Still, known: Option<(u64, Mark)>, has_list: bool) -> Option<Wish> {
    if known != Some((still.number, still.mark)) {
        return Some(Wish::Facts);
    }
    (still.software.is_some() && !has_list).then_some(Wish::Software)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::posture::fact::{Fact, FactId, Value, What};

    use super::*;

    fn at(ms: i64) -> Timestamp {
        Timestamp::synced(ms)
    }

    fn ports(all: &[u32]) -> FactSet {
        FactSet::new(all.iter().map(|port| {
            let id = FactId::about(What::Listen, &format!("tcp/0.0.0.0:{port}"));
            Fact::new(id, Value::Flag(true), "a test", at(1))
        }))
    }

    fn known(base: FactReport) -> Known {
        Known {
            base,
            newest: None,
            epoch: "1".into(),
            received_at: at(50),
        }
    }

    #[test]
    fn a_report_of_changes_needs_its_base_and_a_full_one_nothing() {
        let (one, two) = (ports(&[22]), ports(&[22, 80]));
        let base = one.full(5, at(10));
        let change = two.since(6, (5, &one), at(20));
        assert_eq!(fold(None, &change, ("1", at(100))), Folded::Unknown);
        let held = known(base.clone());
        let Folded::New(changes, state) = fold(Some(&held), &change, ("1", at(100))) else {
            panic!("it is taken");
        };
        assert_eq!((changes.len(), state), (1, two.clone()));
        let other = known(ports(&[23]).full(5, at(10)));
        assert_eq!(fold(Some(&other), &change, ("1", at(100))), Folded::Unknown);
        let held = known(one.full(4, at(10)));
        assert_eq!(fold(Some(&held), &change, ("1", at(100))), Folded::Unknown);
        assert!(matches!(
            fold(Some(&held), &two.full(9, at(1)), ("1", at(100))),
            Folded::New(..)
        ));
    }

    #[test]
    fn a_disk_that_was_put_back_does_not_bring_back_what_was() {
        let held = known(ports(&[22]).full(5, at(10)));
        assert_eq!(
            fold(Some(&held), &ports(&[80]).full(3, at(9)), ("2", at(100))),
            Folded::Older
        );
        assert!(matches!(
            fold(Some(&held), &ports(&[80]).full(3, at(11)), ("2", at(100))),
            Folded::New(..)
        ));
    }

    #[test]
    fn a_clock_that_ran_ahead_once_stops_no_later_report() {
        let held = known(ports(&[22]).full(5, at(9_000)));
        let now = |ms| ("2", at(ms));
        assert_eq!(
            fold(Some(&held), &ports(&[80]).full(3, at(49)), now(60)),
            Folded::Older
        );
        assert!(matches!(
            fold(Some(&held), &ports(&[80]).full(3, at(60)), now(60)),
            Folded::New(..)
        ));
    }

    #[test]
    fn who_says_that_nothing_changed_is_asked_when_something_else_is_known() {
        let state = ports(&[22]);
        let still = Still {
            number: 7,
            mark: state.mark(),
            software: Some(Mark([1; 16])),
        };
        assert_eq!(answer(&still, None, true), Some(Wish::Facts));
        assert_eq!(answer(&still, Some((6, still.mark)), true), Some(Wish::Facts));
        assert_eq!(answer(&still, Some((7, Mark([0; 16]))), true), Some(Wish::Facts));
        assert_eq!(answer(&still, Some((7, still.mark)), false), Some(Wish::Software));
        assert_eq!(answer(&still, Some((7, still.mark)), true), None);
    }
}
