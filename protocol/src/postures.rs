//! The chain of postures: what a box was, hour by hour, while nobody could ask it.
//!
//! While it is away from its server a box makes links: each signed as it is made, numbered, and holding the hash of the
//! chain before it. They travel as records of the outbox. A link that was taken out, put elsewhere or changed is found:
//! the numbers have a hole, the hash does not fit, or the signature does not hold. That the newest ones are missing is
//! found by the box's next evidence, which names the end of the chain.
//!
//! # Design
//! - The outbox's own chain would not do: it is signed when it is sent, so whoever has the disk while the box is away
//!   could write it anew. A link is signed when it is made.
//! - Time is told by the boot and the seconds since it, which no clock can spoil; the wall clock stands beside, with
//!   how far it was trusted. With a TPM its clock and its counts of resets stand there too.
//! - Links become rarer when a box is away for very long. Each link says when the next one is to be expected, so what is
//!   rarer is on record, and what is later than that is a gap.

use ring::digest;
use serde::{Deserialize, Serialize};

use crate::attest::Nonce;
use crate::signed::Message;
use crate::time::Timestamp;

/// Most bytes of a signed link.
pub const MAX_SIGNED: usize = MAX_LINK + crate::signed::OVERHEAD;
/// Most bytes of a link.
const MAX_LINK: usize = 512;
/// The longest pause that a link may announce, seconds: a day.
pub const LONGEST_S: u32 = 24 * 3600;

/// Why a link was made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Occasion {
    /// The server could not be reached any more.
    Away,
    /// The time that the link before announced.
    Due,
    /// The agent started while the server could not be reached.
    Start,
    /// What is measured is not what it was.
    Changed,
    /// The server is reached again.
    Back,
}

/// A TPM's own clock. Source: TPM 2.0 Part 2, `TPMS_CLOCK_INFO`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmClock {
    /// Milliseconds that the TPM was powered.
    pub clock_ms: u64,
    /// Resets since it was cleared.
    pub resets: u32,
    /// Restarts since the newest reset.
    pub restarts: u32,
    /// Whether the clock may have been behind what it said before.
    pub safe: bool,
}

/// One link.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Link {
    /// 1, 2, 3 … without holes since the box was enrolled.
    pub seq: u64,
    /// The chain before it.
    pub prev: Nonce,
    /// How many boots the agent has counted.
    pub boot_count: u64,
    /// The random bytes of this boot.
    pub boot_seed: Nonce,
    /// Seconds since the boot.
    pub uptime_s: u64,
    /// The wall clock.
    pub at: Timestamp,
    /// Why it was made.
    pub occasion: Occasion,
    /// The next one is to be expected within this many seconds, unless the server is reached again.
    pub next_s: u32,
    /// SHA-256 over what was measured ([`measured`]).
    pub measured: Nonce,
    /// The TPM's clock, where there is one.
    pub tpm: Option<TpmClock>,
}

impl Message for Link {
    const NAME: &'static str = "homeward/posture-link/1";
    const MAX: usize = MAX_LINK;

    fn check(&self) -> Result<(), &'static str> {
        if self.seq == 0 {
            return Err("links are numbered from 1");
        }
        if self.next_s == 0 || self.next_s > LONGEST_S {
            return Err("the next link is announced for a day at most");
        }
        Ok(())
    }
}

/// Where a chain begins.
pub const START: Nonce = Nonce([0; 32]);

/// The chain after a link, from its signed bytes and the chain before it.
pub fn after(prev: &Nonce, signed: &[u8]) -> Nonce {
    let mut context = digest::Context::new(&digest::SHA256);
    context.update(b"homeward-postures-v1");
    context.update(&prev.0);
    context.update(signed);
    Nonce(context.finish().as_ref().try_into().unwrap_or_default())
}

/// One digest of all that was measured: the SHA-256 of each component's name, a zero, and its digest, in the order given.
pub fn measured(all: &[crate::evidence::Measured]) -> Nonce {
    let mut context = digest::Context::new(&digest::SHA256);
    for one in all {
        context.update(one.component.name().as_bytes());
        context.update(&[0]);
        context.update(&one.sha256);
    }
    Nonce(context.finish().as_ref().try_into().unwrap_or_default())
}
