//! Whether a chain of postures is whole, and which stretches of time it proves.
//!
//! # Design
//! A stretch is proved when two links of one boot stand beside each other in the chain and the second came when the
//! first had announced it. What lies between anything else is unproven, with the reason, and never good: the box was
//! off, was silent, or its links are missing or were changed. Wall clocks do not matter: a clock that was reset changes
//! what is printed, not what is proved.

use homeward_protocol::attest::Nonce;
use homeward_protocol::evidence::ChainEnd;
use homeward_protocol::postures::{self, Link, TpmClock};
use homeward_protocol::time::Timestamp;

/// How much later than announced a link may come, seconds: the box measured, or was busy.
const GRACE_S: u64 = 600;

/// The newest link of a chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Newest {
    /// Its number.
    pub seq: u64,
    /// The chain before it.
    pub prev: Nonce,
    /// The chain after it.
    pub head: Nonce,
    /// Its boot.
    pub boot: (u64, Nonce),
    /// Seconds since the boot.
    pub uptime_s: u64,
    /// Within how many seconds the next one was announced.
    pub next_s: u32,
    /// By the wall clock of the box.
    pub at: Timestamp,
    /// The TPM's clock.
    pub tpm: Option<TpmClock>,
    /// The chain after its first link: tells a chain that begins anew from one whose first link comes again.
    pub first: Nonce,
}

/// Why time between two links is not proved. Closed: the names are in the database for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Unproven {
    /// The chain begins here.
    Begins,
    /// The box was off, or started anew.
    Restarted,
    /// It ran, and made no link when one was due.
    Silent,
    /// Links are missing.
    Missing,
    /// The link before is not the one that this one continues.
    Altered,
    /// The time since the boot, or the TPM's clock, went back.
    WentBack,
    /// The link is not signed by this box, or cannot be read.
    Refused,
}

impl Unproven {
    /// All of them.
    pub const ALL: [Unproven; 7] = [
        Unproven::Begins,
        Unproven::Restarted,
        Unproven::Silent,
        Unproven::Missing,
        Unproven::Altered,
        Unproven::WentBack,
        Unproven::Refused,
    ];

    /// As it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Unproven::Begins => "begins",
            Unproven::Restarted => "restarted",
            Unproven::Silent => "silent",
            Unproven::Missing => "missing",
            Unproven::Altered => "altered",
            Unproven::WentBack => "went-back",
            Unproven::Refused => "refused",
        }
    }

    /// The one of that name.
    pub fn from_name(name: &str) -> Option<Unproven> {
        Unproven::ALL.into_iter().find(|why| why.name() == name)
    }

    /// Whether somebody took a link out, put it elsewhere or changed it; a box that was off is no fault of the chain.
    pub const fn breaks(self) -> bool {
        matches!(
            self,
            Unproven::Missing | Unproven::Altered | Unproven::WentBack | Unproven::Refused
        )
    }

    /// In plain words.
    pub const fn said(self) -> &'static str {
        match self {
            Unproven::Begins => "what was before is not on record",
            Unproven::Restarted => "the box was off, or started anew",
            Unproven::Silent => "the box ran and said nothing of itself",
            Unproven::Missing => "what the box said of itself is missing",
            Unproven::Altered => "what the box said of itself was changed",
            Unproven::WentBack => "the box's own count of time went back",
            Unproven::Refused => "what came is not signed by the box",
        }
    }
}

/// What a link means after the one before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The time since the link before is proved.
    Proved,
    /// It is not, and the link counts from here on.
    Gap(Unproven),
    /// A link that was taken before comes again; it changes nothing.
    Old,
}

/// What `link` means after `before`, and what is newest then. `signed` is what was verified.
pub fn follow(before: Option<&Newest>, link: &Link, signed: &[u8]) -> (Step, Option<Newest>) {
    let head = postures::after(&link.prev, signed);
    let begins = link.seq == 1 && link.prev == postures::START;
    let newest = Newest {
        seq: link.seq,
        prev: link.prev,
        head,
        boot: (link.boot_count, link.boot_seed),
        uptime_s: link.uptime_s,
        next_s: link.next_s,
        at: link.at,
        tpm: link.tpm,
        first: match before {
            Some(before) if !begins => before.first,
            _ => head,
        },
    };
    let Some(before) = before else {
        let why = if begins {
            Unproven::Begins
        } else {
            Unproven::Missing
        };
        return (Step::Gap(why), Some(newest));
    };
    if begins && head != before.first {
        // Its memory of the chain is gone: it goes on from here, and that is on record.
        return (Step::Gap(Unproven::WentBack), Some(newest));
    }
    if link.seq <= before.seq {
        return (Step::Old, None);
    }
    let step = match gap(before, &newest, link) {
        None => Step::Proved,
        Some(why) => Step::Gap(why),
    };
    (step, Some(newest))
}

fn gap(before: &Newest, newest: &Newest, link: &Link) -> Option<Unproven> {
    if link.seq != before.seq.saturating_add(1) {
        return Some(Unproven::Missing);
    }
    if link.prev != before.head {
        return Some(Unproven::Altered);
    }
    if let (Some(was), Some(is)) = (before.tpm, newest.tpm)
        && (is.resets, is.restarts) <= (was.resets, was.restarts)
        && ((is.resets, is.restarts) < (was.resets, was.restarts) || is.clock_ms < was.clock_ms)
    {
        return Some(Unproven::WentBack);
    }
    if newest.boot != before.boot {
        let counted = newest.boot.0 > before.boot.0;
        return Some(if counted {
            Unproven::Restarted
        } else {
            Unproven::WentBack
        });
    }
    if newest.uptime_s < before.uptime_s {
        return Some(Unproven::WentBack);
    }
    let late = newest.uptime_s - before.uptime_s > u64::from(before.next_s) + GRACE_S;
    late.then_some(Unproven::Silent)
}

/// How the end that evidence names stands to the chain that is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// All of it is here.
    Here,
    /// Newer links exist than are here: they may be on their way.
    Ahead,
    /// The box names an older end, another one, or none.
    Other,
}

/// Compares them.
pub fn end(newest: Option<&Newest>, named: Option<ChainEnd>) -> End {
    match (newest, named) {
        (None, None) => End::Here,
        (None, Some(_)) => End::Ahead,
        (Some(newest), Some(named)) if named.seq > newest.seq => End::Ahead,
        (Some(newest), Some(named)) if named.seq == newest.seq && named.head == newest.head.0 => End::Here,
        // The link that says that the box is back may overtake the evidence.
        (Some(newest), Some(named))
            if named.seq.checked_add(1) == Some(newest.seq) && named.head == newest.prev.0 =>
        {
            End::Here
        }
        (Some(_), _) => End::Other,
    }
}

#[cfg(test)]
mod tests;
