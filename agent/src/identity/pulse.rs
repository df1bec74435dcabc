//! Whether the TPM still lives, and when to look again.
//!
//! # Design
//! One failure is no death: a chip can be busy, and its bus can hiccup. So it is asked [`TRIES`] times, some seconds
//! apart. While the link to the server stands the chip has just signed for it, and is asked seldom.

use std::time::Duration;

/// Failures in a row after which it counts as dead.
pub const TRIES: u32 = 3;
/// Between questions while all is well.
const WELL: Duration = Duration::from_mins(1);
/// Between questions while there is no link, which may be its fault.
const APART: Duration = Duration::from_secs(10);
/// After a failure.
const AGAIN: Duration = Duration::from_secs(3);
/// The first and the longest pause between questions whether a dead one is back.
const BACK: (Duration, Duration) = (Duration::from_secs(2), Duration::from_mins(1));

/// A chip that is in use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pulse {
    failures: u32,
}

impl Pulse {
    /// One that was found dead just now, for another that looks.
    pub fn last_try() -> Pulse {
        Pulse { failures: TRIES - 1 }
    }

    /// It answered.
    pub fn answered(&mut self) {
        self.failures = 0;
    }

    /// It did not; true when it counts as dead.
    pub fn failed(&mut self) -> bool {
        self.failures = self.failures.saturating_add(1);
        self.failures >= TRIES
    }

    /// When to ask again.
    pub fn pause(self, connected: bool) -> Duration {
        match (self.failures, connected) {
            (0, true) => WELL,
            (0, false) => APART,
            _ => AGAIN,
        }
    }
}

/// How long to wait before a dead chip is asked for the `tries`-th time, from 0.
pub fn pause_before(tries: u32) -> Duration {
    let (first, longest) = BACK;
    first.saturating_mul(1 << tries.min(10)).min(longest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_failures_in_a_row_are_a_death() {
        let mut pulse = Pulse::default();
        for _ in 0..10 {
            assert!(!pulse.failed() && !pulse.failed());
            assert_eq!(pulse.pause(true), AGAIN, "a doubt is looked into at once");
            pulse.answered();
        }
        assert_eq!((pulse.pause(true), pulse.pause(false)), (WELL, APART));
        assert!(Pulse::last_try().failed());
        assert_eq!(
            (0..TRIES).map(|_| pulse.failed()).collect::<Vec<_>>(),
            [false, false, true]
        );
    }

    #[test]
    fn a_dead_chip_is_asked_more_and_more_rarely() {
        let pauses: Vec<u64> = (0..8).map(|n| pause_before(n).as_secs()).collect();
        assert_eq!(pauses, [2, 4, 8, 16, 32, 60, 60, 60]);
        assert_eq!(pause_before(u32::MAX), Duration::from_mins(1));
    }
}
