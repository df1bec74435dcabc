//! When this box makes a link of the chain of postures, and what stands in it.
//!
//! It makes one when the server was away for ten minutes, then every hour, at each start while it is away, when what is
//! measured changes, and when the server is back. After a thousand links in one absence they become half as frequent, and
//! so on down to one a day: each link announces the next, so what is rarer is on record.

use std::time::Duration;

use homeward_protocol::attest::Nonce;
use homeward_protocol::evidence::ChainEnd;
use homeward_protocol::postures::{LONGEST_S, Link, Occasion, START, TpmClock, after};
use homeward_protocol::time::{Timestamp, Uptime};
use serde::{Deserialize, Serialize};

use super::Boots;

/// An absence that is shorter leaves no link: the box's evidence covers it.
pub const PATIENCE: Duration = Duration::from_mins(10);
/// The pause between two links at first, seconds.
const HOUR_S: u32 = 3600;
/// Links of one absence after which they become half as frequent.
const DENSE: u64 = 1000;

/// What is kept of the chain, in the same commit as each link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// The number of the newest link; 0 before the first.
    pub seq: u64,
    /// The chain after it.
    pub head: Nonce,
    /// Links of this absence.
    pub made: u64,
    /// What was measured for the newest one.
    pub measured: Nonce,
    /// Whose chain it is: a new enrolment begins anew.
    pub key: Nonce,
}

impl Kept {
    /// A chain that begins, of this key.
    pub const fn begin(key: Nonce) -> Kept {
        Kept {
            seq: 0,
            head: START,
            made: 0,
            measured: START,
            key,
        }
    }

    /// Its end, for evidence; none before the first link.
    pub fn end(&self) -> Option<ChainEnd> {
        (self.seq > 0).then_some(ChainEnd {
            seq: self.seq,
            head: self.head.0,
        })
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Here,
    Away { next: Uptime, occasion: Occasion },
}

/// The chain while the agent runs.
#[derive(Debug, Clone)]
pub struct Chain {
    kept: Kept,
    state: State,
    /// The longest pause that the policy allows, seconds.
    most_s: Option<u32>,
}

impl Chain {
    /// Goes on after a start; an absence that was going on goes on.
    pub fn resume(kept: Kept, up: Uptime) -> Chain {
        let state = if kept.made > 0 {
            State::Away {
                next: up,
                occasion: Occasion::Start,
            }
        } else {
            State::Away {
                next: up.plus(PATIENCE),
                occasion: Occasion::Away,
            }
        };
        Chain {
            kept,
            state,
            most_s: None,
        }
    }

    /// What is kept.
    pub const fn kept(&self) -> &Kept {
        &self.kept
    }

    /// When to come back.
    pub const fn deadline(&self) -> Option<Uptime> {
        match self.state {
            State::Here => None,
            State::Away { next, .. } => Some(next),
        }
    }

    /// The connection came or went. Says why to make a link now.
    pub fn connected(&mut self, connected: bool, up: Uptime) -> Option<Occasion> {
        match (self.state, connected) {
            (State::Away { .. }, true) => {
                self.state = State::Here;
                (self.kept.made > 0).then_some(Occasion::Back)
            }
            (State::Here, false) => {
                self.state = State::Away {
                    next: up.plus(PATIENCE),
                    occasion: Occasion::Away,
                };
                None
            }
            _ => None,
        }
    }

    /// Why to make a link now, when the time has come.
    pub fn due(&self, up: Uptime) -> Option<Occasion> {
        match self.state {
            State::Away { next, occasion } if up >= next => Some(occasion),
            _ => None,
        }
    }

    /// The pause after the next link, seconds.
    fn pause_s(&self) -> u32 {
        let halvings = u32::try_from(self.kept.made / DENSE).unwrap_or(u32::MAX).min(8);
        let own = HOUR_S.saturating_mul(1 << halvings).min(LONGEST_S);
        self.most_s.map_or(own, |most| most.min(own))
    }

    /// From now on no pause is longer than this, also not the one that runs.
    pub fn at_least_every(&mut self, most: Option<Duration>, up: Uptime) {
        self.most_s = most.map(|most| u32::try_from(most.as_secs()).unwrap_or(u32::MAX));
        if let (Some(most), State::Away { next, .. }) = (most, &mut self.state) {
            *next = (*next).min(up.plus(most));
        }
    }

    /// The next link.
    pub fn link(
        &self,
        occasion: Occasion,
        boots: &Boots,
        (measured, tpm): (Nonce, Option<TpmClock>),
        now: Timestamp,
        up: Uptime,
    ) -> Link {
        let changed = occasion == Occasion::Due && measured != self.kept.measured;
        Link {
            seq: self.kept.seq.saturating_add(1),
            prev: self.kept.head,
            boot_count: boots.count,
            boot_seed: Nonce(boots.seed_bytes()),
            uptime_s: up.0 / 1000,
            at: now,
            occasion: if changed { Occasion::Changed } else { occasion },
            next_s: self.pause_s(),
            measured,
            tpm,
        }
    }

    /// What is kept once `link` is, as these bytes.
    pub fn with(&self, link: &Link, signed: &[u8]) -> Kept {
        Kept {
            seq: link.seq,
            head: after(&link.prev, signed),
            made: if link.occasion == Occasion::Back {
                0
            } else {
                self.kept.made.saturating_add(1)
            },
            measured: link.measured,
            key: self.kept.key,
        }
    }

    /// The link is on the disk.
    pub fn made(&mut self, kept: Kept, up: Uptime) {
        let pause = self.pause_s();
        self.kept = kept;
        if let State::Away { .. } = self.state {
            self.state = State::Away {
                next: up.plus(Duration::from_secs(pause.into())),
                occasion: Occasion::Due,
            };
        }
    }

    /// The disk did not take it: again in a while, so that a full disk is not asked every moment.
    pub fn refused(&mut self, up: Uptime) {
        if let State::Away { occasion, .. } = self.state {
            self.state = State::Away {
                next: up.plus(PATIENCE),
                occasion,
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn up(s: u64) -> Uptime {
        Uptime(s * 1000)
    }

    fn make(chain: &mut Chain, occasion: Occasion, at: Uptime) -> Link {
        let boots = Boots {
            boot: "boot-0001".parse().expect("an id"),
            count: 1,
            seed: "07".repeat(32),
            version: "1.0".into(),
        };
        let link = chain.link(occasion, &boots, (Nonce([9; 32]), None), Timestamp::synced(0), at);
        let kept = chain.with(&link, b"signed");
        chain.made(kept, at);
        link
    }

    #[test]
    fn a_short_absence_leaves_no_link_and_a_long_one_an_hourly_chain_with_an_end() {
        let mut chain = Chain::resume(Kept::begin(Nonce([1; 32])), up(0));
        assert_eq!(chain.due(up(599)), None);
        assert_eq!(chain.connected(true, up(599)), None, "the start");
        assert_eq!((chain.deadline(), chain.connected(false, up(1000))), (None, None));
        assert_eq!(chain.connected(true, up(1599)), None, "short");
        chain.connected(false, up(2000));
        assert_eq!(chain.due(up(2600)), Some(Occasion::Away));
        let first = make(&mut chain, Occasion::Away, up(2600));
        assert_eq!((first.seq, first.prev, first.next_s), (1, START, 3600));
        assert_eq!(chain.due(up(6199)), None);
        assert_eq!(chain.due(up(6200)), Some(Occasion::Due));
        let second = make(&mut chain, Occasion::Due, up(6200));
        assert_eq!((second.seq, second.prev), (2, after(&START, b"signed")));
        assert_eq!(chain.connected(true, up(7000)), Some(Occasion::Back));
        let last = make(&mut chain, Occasion::Back, up(7000));
        assert_eq!((last.seq, chain.kept().made, chain.deadline()), (3, 0, None));
        assert_eq!(chain.kept().end().map(|end| end.seq), Some(3));
    }

    #[test]
    fn a_policy_shortens_the_pause_that_runs_and_those_after_it_and_lengthens_none() {
        let mut chain = Chain::resume(Kept::begin(Nonce([1; 32])), up(0));
        let first = make(&mut chain, Occasion::Away, up(600));
        assert_eq!(first.next_s, 3600);
        chain.at_least_every(Some(Duration::from_mins(10)), up(1000));
        assert_eq!(chain.deadline(), Some(up(1600)));
        assert_eq!(make(&mut chain, Occasion::Due, up(1600)).next_s, 600);
        assert_eq!(chain.deadline(), Some(up(2200)));
        chain.at_least_every(Some(Duration::from_hours(24)), up(2000));
        assert_eq!(chain.deadline(), Some(up(2200)), "what was promised");
        assert_eq!(make(&mut chain, Occasion::Due, up(2200)).next_s, 3600);
    }

    #[test]
    fn a_start_during_an_absence_makes_a_link_at_once_and_a_refusal_waits() {
        let kept = Kept {
            made: 3,
            seq: 3,
            ..Kept::begin(Nonce([1; 32]))
        };
        let mut chain = Chain::resume(kept, up(5));
        assert_eq!(chain.due(up(5)), Some(Occasion::Start));
        chain.refused(up(5));
        assert_eq!(chain.due(up(604)), None);
        assert_eq!(chain.due(up(605)), Some(Occasion::Start));
    }

    #[test]
    fn ten_years_away_make_some_thousand_links() {
        let mut chain = Chain::resume(Kept::begin(Nonce([1; 32])), up(0));
        let (mut at, mut links) = (600_u64, 0);
        while at < 10 * 365 * 86_400 {
            let occasion = chain.due(up(at)).expect("due");
            let link = make(&mut chain, occasion, up(at));
            assert!(link.next_s <= LONGEST_S);
            at += u64::from(link.next_s);
            links += 1;
        }
        assert!((4000..10_000).contains(&links), "{links}");
    }
}
