//! One trial at a time: a box tries a new policy or a new build, never both.
//!
//! Both end by themselves, when the server is not reached, or a sensor not heard, under what is tried. With two on trial a
//! policy that cuts the server off would be laid at the build's door, and a bad build at the policy's. Whoever comes second
//! waits for the first to end; an order of isolation is on no trial, and waits for nothing.

use std::sync::Arc;

use tokio::sync::watch;

/// What is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tried {
    /// A policy.
    Policy,
    /// A build of the agent, or other software.
    Update,
}

/// Whose turn it is, for both to share. It lives in memory: what is on trial after a start is known from the disk.
#[derive(Debug, Clone)]
pub struct Trials(Arc<watch::Sender<Option<Tried>>>);

impl Trials {
    /// At the start of the agent, with what the disk says is on trial.
    pub fn with(tried: Option<Tried>) -> Trials {
        Trials(Arc::new(watch::Sender::new(tried)))
    }

    /// Whether `what` may be tried now; then it is its turn until [`Trials::end`]. Also when it is its turn already.
    pub fn begin(&self, what: Tried) -> bool {
        let mut may = false;
        self.0.send_if_modified(|turn| {
            may = turn.is_none_or(|turn| turn == what);
            may && turn.replace(what).is_none()
        });
        may
    }

    /// Its trial is over, or none was begun; nothing when it is another's turn.
    pub fn end(&self, what: Tried) {
        self.0
            .send_if_modified(|turn| turn.take_if(|turn| *turn == what).is_some());
    }

    /// Whose turn it is, for who waits until it is nobody's.
    pub fn turns(&self) -> watch::Receiver<Option<Tried>> {
        self.0.subscribe()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_waits_until_the_first_has_ended() {
        let trials = Trials::with(None);
        assert!(trials.begin(Tried::Update));
        assert!(trials.begin(Tried::Update), "its turn already");
        assert!(!trials.begin(Tried::Policy));
        trials.end(Tried::Policy);
        assert!(!trials.begin(Tried::Policy), "nobody ends another's");
        let turns = trials.turns();
        trials.end(Tried::Update);
        assert!(
            turns.has_changed().is_ok_and(|changed| changed),
            "whoever waits is woken"
        );
        assert!(trials.begin(Tried::Policy));
        assert!(!trials.begin(Tried::Update));
    }

    #[test]
    fn what_was_on_trial_before_a_start_is_on_trial_after_it() {
        let trials = Trials::with(Some(Tried::Update));
        assert!(!trials.begin(Tried::Policy));
        assert!(trials.begin(Tried::Update));
    }
}
