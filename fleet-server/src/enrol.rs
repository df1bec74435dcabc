//! Who gets a certificate: first by a claim's one-time code, later by the certificate before.
//!
//! Decides only. [`desk`] carries a decision out in one transaction; [`est`] speaks the protocol (RFC 7030).
//!
//! # Design
//! The code burns at its first use: it is bound to the key of the request that brought it. The same key gets an
//! answer again, because a lost reply is normal; another key with the right code means that somebody else has the
//! claim, so it is refused and becomes an incident for a person. Nothing of a request survives but its key: the
//! server writes every name and use itself.
//!
//! A wrong code and an unknown gateway get the same answer, so that nobody learns which ids exist.

pub mod chip;
pub mod credential;
pub mod csr;
pub mod desk;
pub mod est;
pub mod guesses;
pub mod makers;
pub mod pkcs7;

use homeward_protocol::attest::Tier;
use homeward_protocol::claim::Code;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use crate::ca::{DAY_MS, LATE_DAYS, Leaf, Rank};
use crate::device::{Claimed, State};
use crate::store::certificates::Timing;

/// Wrong codes after which an unused claim is closed. The code has 80 bits: this is for the log, not for the odds.
pub const MAX_FAILED_TRIES: i64 = 20;
/// How long after its first use a code still answers to its key, in days: one certificate's life, after which
/// renewal is the way.
const ANSWERS_AGAIN_DAYS: i64 = 14;
/// Most certificates for one gateway in a day: a box that renews more often is broken or hostile.
pub const MOST_A_DAY: i64 = 24;
/// A certificate not older than this is given again to the key that asks again.
pub const SAME_ANSWER_MS: i64 = 3_600_000;

/// SHA-256 of the plain code: all that is kept of it.
pub fn hash_of(code: &Code) -> [u8; 32] {
    let mut hash = [0; 32];
    hash.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, code.plain().as_bytes()).as_ref());
    hash
}

/// Why a request was turned down. `Display` says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No claim of this gateway has this code.
    #[error("the gateway id or the code is wrong: check both against the claim")]
    WrongCode,
    /// Too many wrong codes.
    #[error("this claim was closed after too many wrong codes: ask the operator for a new one")]
    Locked,
    /// The claim's time is over.
    #[error("this claim has expired: ask the operator for a new one")]
    Expired,
    /// The code was used by another key.
    #[error("this claim was used by another box: the operator was told; ask for a new claim")]
    OtherKey,
    /// The gateway is shut out.
    #[error("this gateway was revoked: ask the operator for a claim under a new id")]
    Revoked,
    /// The gateway does not exist.
    #[error("this server does not know the gateway: enrol it with a new claim")]
    Unknown,
    /// The certificate is not valid now.
    #[error("the certificate is not valid now: use the renewal address, or enrol with a new claim")]
    NotCurrent,
    /// A key in a TPM was to be followed by one that nothing proves to be.
    #[error("this gateway's key is in a TPM: prove the new key by that TPM, or enrol with a new claim")]
    Unproved,
    /// A spare key's certificate asks for more.
    #[error(
        "a spare key's certificate brings no other: it ends when the TPM answers again, or with a new claim"
    )]
    Spare,
    /// It has no TPM, so its key needs no spare one; or the key is nobody's spare one.
    #[error("only a gateway whose key is in a TPM has a spare key, and no key is both")]
    NoSpare,
    /// Nobody expects this TPM.
    #[error("this TPM is not expected here: enrol with a claim, or have the operator register it")]
    UnknownChip,
    /// More certificates than a box can need.
    #[error("too many certificates for this gateway today: try again tomorrow")]
    TooMany,
}

/// Whether a code is used for the first time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// Now.
    First,
    /// It was, by this key.
    Again,
}

/// What to do about a request with a code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Issue a certificate.
    Issue(Use),
    /// An operator has to approve first; come back in so many seconds.
    Wait(Use, u32),
    /// Turn it down.
    Refuse(Refusal),
}

/// Decides about a request that brought a code for the gateway in `state`, over `key`.
pub fn enrol(
    state: State,
    claim: &Claimed,
    code_hash: &[u8; 32],
    key: &PublicKey,
    now: Timestamp,
) -> Decision {
    let locked = claim.key.is_none() && claim.failed_tries >= MAX_FAILED_TRIES;
    if locked {
        return Decision::Refuse(Refusal::Locked);
    }
    if !same(&claim.code_hash, code_hash) {
        return Decision::Refuse(Refusal::WrongCode);
    }
    if state == State::Revoked {
        return Decision::Refuse(Refusal::Revoked);
    }
    let (used, until) = match (&claim.key, claim.used_at) {
        (Some(bound), _) if bound != key => return Decision::Refuse(Refusal::OtherKey),
        (Some(_), Some(used_at)) => (Use::Again, used_at.plus_ms(ANSWERS_AGAIN_DAYS * DAY_MS)),
        _ => (Use::First, claim.expires_at),
    };
    if now.ms > until.ms {
        return Decision::Refuse(Refusal::Expired);
    }
    let mut bound = claim.clone();
    bound.key = Some(key.clone());
    if bound.needs_approval() {
        Decision::Wait(used, retry_after_s(claim.used_at.unwrap_or(now), now))
    } else {
        Decision::Issue(used)
    }
}

/// How long a waiting box is to wait: soon while somebody stands beside it, seldom later.
fn retry_after_s(since: Timestamp, now: Timestamp) -> u32 {
    match since.age(now).as_secs() {
        0..600 => 5,
        600..3600 => 60,
        _ => 300,
    }
}

/// Where a renewal came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Door {
    /// Where only current certificates are taken.
    Enrolment,
    /// Where late ones are.
    Renewal,
}

/// What is kept of the gateway that renews.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Standing {
    /// Where it is in its life; `None` when there is no such gateway.
    pub state: Option<State>,
    /// Whether the certificate that it shows was revoked. One that a restored server does not know was not.
    pub certificate_revoked: bool,
    /// Certificates issued to it within a day.
    pub issued_today: i64,
}

/// Decides about a renewal by the certificate `leaf`, whose chain and signature the handshake has checked.
///
/// Its dates are checked here again, because a connection may outlive them.
pub fn renew(standing: Standing, leaf: &Leaf, door: Door, now: Timestamp) -> Result<Timing, Refusal> {
    match standing.state {
        None => return Err(Refusal::Unknown),
        Some(State::Revoked) => return Err(Refusal::Revoked),
        Some(State::Expected | State::Waiting | State::Enrolled) => {}
    }
    if leaf.rank == Rank::Spare {
        return Err(Refusal::Spare);
    }
    if standing.certificate_revoked {
        return Err(Refusal::Revoked);
    }
    if standing.issued_today >= MOST_A_DAY {
        return Err(Refusal::TooMany);
    }
    let late_ms = now.ms.saturating_sub(leaf.not_after.ms);
    match door {
        _ if now.ms < leaf.not_before.ms => Err(Refusal::NotCurrent),
        _ if late_ms <= 0 => Ok(Timing::InTime),
        Door::Renewal if late_ms <= LATE_DAYS * DAY_MS => Ok(Timing::Late),
        Door::Renewal | Door::Enrolment => Err(Refusal::NotCurrent),
    }
}

/// Decides about a certificate over a spare key, asked for by the gateway's own certificate `leaf`. `taken` says whether
/// the key is, or was, somebody's own.
pub fn spare(standing: Standing, leaf: &Leaf, taken: bool, now: Timestamp) -> Result<(), Refusal> {
    renew(standing, leaf, Door::Enrolment, now)?;
    if leaf.rank <= Rank::Own(Tier::Software) || taken {
        return Err(Refusal::NoSpare);
    }
    Ok(())
}

/// Compares in a time that does not depend on where they differ.
fn same(a: &[u8; 32], b: &[u8; 32]) -> bool {
    a.iter().zip(b).fold(0, |differ, (x, y)| differ | (x ^ y)) == 0
}

#[cfg(test)]
mod tests;
