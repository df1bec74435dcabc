//! What this box says of itself when it is asked to prove it, and what it makes of the answer.
//!
//! Decides only: [`Boots`] counts boots, [`Asking`] says when to ask to be asked, [`claims`] fills in the evidence, and
//! [`Judged`](crate::care::Judged) holds the judgement until it ends. [`measure`] looks at the box, [`mod@file`] keeps
//! what has to be kept, [`answer`] speaks with the server.
//!
//! # Design
//! A challenge is answered on the connection it came over, or not at all: the server makes a new one for a new
//! connection, so an answer never waits for a link. A TPM has its part beside the claims ([`Quoting`]); without one
//! the claims are this software's own word, and the server says so.

use std::time::Duration;

use homeward_protocol::attest::{Ask, Challenge, Held, Nonce, Notice};
use homeward_protocol::evidence::bundle::TpmPart;
use homeward_protocol::evidence::{ChainEnd, Evidence, Measured, Profile};
use homeward_protocol::id::BootId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::postures::TpmClock;
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::tuf::read;
use serde::{Deserialize, Serialize};

pub mod answer;
pub mod chain;
pub mod file;
pub mod keep;
pub mod logs;
pub mod measure;
pub mod quote;
pub mod show;

/// The agent's name in its evidence.
pub const NAME: &str = "homeward-agent";
/// Away for longer, the box asks to be asked.
pub const AWAY: Duration = Duration::from_hours(1);

/// A TPM that can speak for this boot. It may take long, and is asked away from the other tasks.
pub trait Quoting: Send + Sync {
    /// What it says: a quote whose `extraData` is `binding` ([`Evidence::binding`]), over the registers that the server
    /// learns, with the logs from where the server stopped (`held`; from the start when it names another boot).
    fn quote(&self, binding: [u8; 32], boot: Nonce, held: Option<&Held>) -> Result<TpmPart, String>;

    /// Its own clock and counts, for the chain of postures.
    fn clock(&self) -> Result<TpmClock, String>;
}

/// What the link hears.
#[derive(Debug, Clone)]
pub enum Heard {
    /// A challenge, with the number of the connection that it came over.
    Challenge(Challenge, u64),
    /// A judgement, with its bytes.
    Verdict(Notice, Vec<u8>),
}

/// What the link is to say.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speech {
    /// The word of an ask.
    Ask(&'static str),
    /// A bundle, for this connection and no other.
    Evidence(Vec<u8>, u64),
    /// "What I told you of myself still holds".
    Still(Vec<u8>),
}

/// The boots of this box, as they are kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boots {
    /// The kernel's name for the newest one.
    pub boot: BootId,
    /// How many there were.
    pub count: u64,
    /// 32 random bytes of the newest one, hex.
    pub seed: String,
    /// The agent's version when it last ran.
    pub version: String,
}

/// What is new since the agent last ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// The box has booted, or nothing is known from before.
    Booted,
    /// The agent is another one.
    Updated,
    /// Nothing.
    Nothing,
}

impl Since {
    /// The same where something `is_on_trial`: what runs has to be judged again after each start, for what came of an
    /// earlier one, or was on its way when that ended, is no proof of this one.
    #[must_use]
    pub const fn on(self, is_on_trial: bool) -> Since {
        match self {
            Since::Nothing if is_on_trial => Since::Updated,
            since => since,
        }
    }
}

impl Boots {
    /// The boots with the one that runs, named `boot`, in which this `version` runs. `random` becomes its seed when it
    /// is a new one. A count that was lost begins again: the server notices.
    pub fn next(saved: Option<Boots>, boot: BootId, version: &str, random: [u8; 32]) -> (Boots, Since) {
        let before = saved
            .as_ref()
            .map(|saved| (saved.boot.clone(), saved.version.clone()));
        match (saved, before) {
            (Some(saved), Some((known, of))) if known == boot => {
                let since = if of == version {
                    Since::Nothing
                } else {
                    Since::Updated
                };
                let version = version.to_owned();
                (Boots { version, ..saved }, since)
            }
            (saved, _) => {
                let next = Boots {
                    boot,
                    count: saved.map_or(0, |saved| saved.count).saturating_add(1),
                    seed: read::to_hex(&random),
                    version: version.to_owned(),
                };
                (next, Since::Booted)
            }
        }
    }

    /// The seed's bytes; zeros when the file was edited by hand.
    pub fn seed_bytes(&self) -> [u8; 32] {
        unhex(&self.seed).unwrap_or_default()
    }
}

/// `N` bytes from hex.
pub fn unhex<const N: usize>(text: &str) -> Option<[u8; N]> {
    read::hex(text.trim())?.try_into().ok()
}

/// When to ask the server for a challenge.
#[derive(Debug, Clone)]
pub struct Asking {
    since: Since,
    left: Option<Uptime>,
}

impl Asking {
    /// After a start.
    pub const fn new(since: Since) -> Asking {
        Asking { since, left: None }
    }

    /// The connection is gone.
    pub fn left(&mut self, up: Uptime) {
        self.left.get_or_insert(up);
    }

    /// A judgement came.
    pub fn judged(&mut self) {
        self.since = Since::Nothing;
    }

    /// There is a connection. It is asked at each until a judgement came: a server that was
    /// killed has forgotten what it heard, and says a judgement once.
    pub fn connected(&mut self, up: Uptime) -> Option<Ask> {
        let away = self.left.take().map_or(Duration::ZERO, |left| up.since(left));
        match self.since {
            Since::Booted => Some(Ask::Boot),
            Since::Updated => Some(Ask::Update),
            Since::Nothing => (away > AWAY).then_some(Ask::Return),
        }
    }
}

/// What is true of this box while the agent runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The name it goes by since its enrolment.
    pub box_id: [u8; 16],
    /// Its boots.
    pub boots: Boots,
    /// The thumbprint of its key.
    pub key: [u8; 32],
}

/// The evidence that answers a challenge `now`, `up` after the boot.
pub fn claims(
    standing: &Standing,
    measured: Vec<Measured>,
    postures: Option<ChainEnd>,
    (nonce, profile): (Nonce, Profile),
    now: Timestamp,
    up: Uptime,
) -> Evidence {
    Evidence {
        issued_at_s: u64::try_from(now.secs()).unwrap_or(0),
        key: standing.key,
        nonce: nonce.0,
        box_id: standing.box_id,
        uptime_s: up.0 / 1000,
        boot_count: standing.boots.count,
        boot_seed: standing.boots.seed_bytes(),
        profile,
        software: (ShortText::cut(NAME), ShortText::cut(&standing.boots.version)),
        measured,
        postures,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(name: &str) -> BootId {
        name.parse().expect("a boot id")
    }

    #[test]
    fn a_boot_counts_once_and_an_update_is_told_from_it() {
        let (first, since) = Boots::next(None, boot("boot-0001"), "1.0", [1; 32]);
        assert_eq!((first.count, since), (1, Since::Booted));
        let (same, since) = Boots::next(Some(first.clone()), boot("boot-0001"), "1.0", [2; 32]);
        assert_eq!((same.clone(), since), (first, Since::Nothing));
        let (updated, since) = Boots::next(Some(same), boot("boot-0001"), "1.1", [3; 32]);
        assert_eq!(
            (updated.count, updated.seed_bytes(), since),
            (1, [1; 32], Since::Updated)
        );
        let (second, since) = Boots::next(Some(updated), boot("boot-0002"), "1.2", [4; 32]);
        assert_eq!(
            (second.count, second.seed_bytes(), since),
            (2, [4; 32], Since::Booted)
        );
    }

    #[test]
    fn what_is_on_trial_is_judged_again_after_each_start() {
        let all = [Since::Booted, Since::Updated, Since::Nothing];
        assert_eq!(
            all.map(|since| since.on(true)),
            [Since::Booted, Since::Updated, Since::Updated]
        );
        assert_eq!(all.map(|since| since.on(false)), all);
    }

    #[test]
    fn a_box_asks_after_a_boot_an_update_and_more_than_an_hour_away_and_then_not_again() {
        let up = |s: u64| Uptime(s * 1000);
        for (since, ask) in [
            (Since::Booted, Some(Ask::Boot)),
            (Since::Updated, Some(Ask::Update)),
            (Since::Nothing, None),
        ] {
            let mut asking = Asking::new(since);
            assert_eq!(asking.connected(up(1)), ask);
            asking.left(up(5));
            assert_eq!(asking.connected(up(6)), ask, "it may not have been heard");
            asking.judged();
            asking.left(up(10));
            asking.left(up(3000));
            assert_eq!(asking.connected(up(3610)), None, "an hour");
            asking.left(up(4000));
            assert_eq!(asking.connected(up(7601)), Some(Ask::Return), "more than an hour");
            assert_eq!(asking.connected(up(9999)), None);
        }
    }

    #[test]
    fn hex_reads_back_and_nothing_else_does() {
        let bytes: [u8; 32] = std::array::from_fn(|n| u8::try_from(n * 7).unwrap_or(0));
        assert_eq!(unhex(&read::to_hex(&bytes)), Some(bytes));
        for bad in ["", "zz", &"0".repeat(63), &"é".repeat(32)] {
            assert_eq!(unhex::<32>(bad), None, "{bad}");
        }
    }
}
