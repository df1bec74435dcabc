//! How much a tunnel may carry: a bounded share of the home's uplink, and next to nothing while records wait for it.
//!
//! Both directions share one allowance, refilled over time and never above [`BURST`].

use std::time::Duration;

use homeward_protocol::envelope::Lane;
use homeward_protocol::time::Uptime;

use crate::outbox::Ledger;

/// Bytes a second while nothing of more importance waits: half of a slow home's uplink of 4 Mbit/s.
pub const RATE: u64 = 256 * 1024;
/// Bytes a second while an alarm or readings wait: enough for a person to type.
pub const TRICKLE: u64 = 8 * 1024;
/// Bytes that may go at once, and the most that one copy holds.
pub const BURST: u64 = 16 * 1024;
const FULL: i64 = 16 * 1024;
/// So many readings wait in the ordinary course of things; more are a backlog.
const BACKLOG: u64 = 64;

/// What the outbox needs of the uplink.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// What comes goes as it comes.
    Little,
    /// An alarm waits, or more readings than usual.
    Much,
}

/// What an outbox in this state needs.
pub fn need(ledger: &Ledger) -> Need {
    let waiting = |lane| ledger.lane(lane).items;
    if waiting(Lane::Urgent) > 0 || waiting(Lane::Vital) > BACKLOG {
        Need::Much
    } else {
        Need::Little
    }
}

/// An allowance.
#[derive(Debug, Clone)]
pub struct Share {
    /// Less than nothing when more went than was left: both directions draw on it at once.
    left: i64,
    at: Uptime,
}

impl Share {
    /// A full one.
    pub const fn new(now: Uptime) -> Share {
        Share { left: FULL, at: now }
    }

    /// Bytes that may go now, at most [`BURST`], or how long to wait for some.
    ///
    /// # Errors
    /// The wait.
    pub fn most(&mut self, need: Need, now: Uptime) -> Result<usize, Duration> {
        let rate = match need {
            Need::Little => RATE,
            Need::Much => TRICKLE,
        };
        let ms = u64::try_from(now.since(self.at).as_millis()).unwrap_or(u64::MAX);
        let fresh = ms.saturating_mul(rate) / 1000;
        if fresh > 0 {
            self.left = self.left.saturating_add_unsigned(fresh).min(FULL);
            self.at = now;
        }
        // What is worth a packet.
        let worth = rate.min(BURST) / 16;
        match u64::try_from(self.left) {
            Ok(left) if left >= worth => Ok(usize::try_from(left).unwrap_or(usize::MAX)),
            _ => Err(Duration::from_millis(
                self.left.abs_diff(worth.cast_signed()) * 1000 / rate + 1,
            )),
        }
    }

    /// So many went.
    pub fn spend(&mut self, bytes: usize) {
        self.left = self.left.saturating_sub_unsigned(bytes as u64);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Carries for `ms` milliseconds as fast as the allowance allows; how many bytes went.
    fn carry(need: Need, ms: u64) -> u64 {
        let (mut share, mut now, mut sum) = (Share::new(Uptime(0)), Uptime(0), 0);
        while now.0 < ms {
            match share.most(need, now) {
                Ok(bytes) => {
                    share.spend(bytes);
                    sum += bytes as u64;
                }
                Err(wait) => now = now.plus(wait),
            }
        }
        sum
    }

    #[test]
    fn never_more_than_its_share_and_nearly_all_of_it() {
        for (need, rate) in [(Need::Little, RATE), (Need::Much, TRICKLE)] {
            let sum = carry(need, 60_000);
            assert!(sum <= rate * 60 + BURST, "{need:?}: {sum}");
            assert!(sum >= rate * 57, "{need:?}: {sum}");
        }
    }

    #[test]
    fn both_directions_at_once_get_one_share() {
        let (mut share, mut now, mut sum) = (Share::new(Uptime(0)), Uptime(0), 0);
        while now.0 < 60_000 {
            match share.most(Need::Little, now) {
                Ok(bytes) => {
                    share.spend(bytes);
                    share.spend(bytes);
                    sum += 2 * bytes as u64;
                }
                Err(wait) => now = now.plus(wait),
            }
        }
        assert!(sum <= RATE * 60 + 2 * BURST, "{sum}");
    }

    #[test]
    fn a_long_rest_saves_up_one_burst_only() {
        let mut share = Share::new(Uptime(0));
        share.spend(16 * 1024);
        assert_eq!(share.most(Need::Little, Uptime(86_400_000)), Ok(16 * 1024));
    }
}
