//! What people bring and decide, in one transaction each: papers that were signed, and assignments.

use homeward_protocol::policy::sign::Refusal;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use super::admit::{admit, keyring};
use super::book::{Book, Target};
use super::paper::Papers;
use super::rollout::{Plan, plan};
use crate::store::policies::{self, Loading, overview};
use crate::store::{StoreError, Tx, gateways};

/// What came of papers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// A keyring by itself.
    Keyring {
        /// Its number.
        number: u64,
        /// Whether it is new here.
        new: bool,
    },
    /// A policy, with its keyring.
    Policy {
        /// Its number.
        version: u64,
        /// What came of it.
        loading: Loading,
    },
    /// Nothing was kept: boxes would refuse it.
    Refused(Refusal),
}

/// Verifies papers as a box does, and keeps them. Papers without a policy bring a keyring.
pub fn take(
    tx: &mut dyn Tx,
    papers: &Papers,
    roots: &[PublicKey],
    by: &str,
    now: Timestamp,
) -> Result<Taken, StoreError> {
    let newest = policies::keyring(tx)?.map_or(0, |(number, _, _)| number);
    let Some(bytes) = &papers.keyring else {
        return Ok(Taken::Refused(Refusal::UnknownRoot));
    };
    let keyring = match keyring(bytes, roots, newest, now) {
        Ok(keyring) => keyring,
        Err(why) => return Ok(Taken::Refused(why)),
    };
    let Ok(offer) = papers.offer() else {
        let number = keyring.get().version;
        let new = policies::load_keyring(tx, (keyring.get(), bytes), by, now)?;
        return Ok(Taken::Keyring { number, new });
    };
    match admit(&offer, roots, newest, now) {
        Ok(accepted) => {
            let loading = policies::load(tx, (&accepted, &offer), keyring.get(), by, now)?;
            let version = accepted.mark.version.0;
            Ok(Taken::Policy { version, loading })
        }
        Err(why) => Ok(Taken::Refused(why)),
    }
}

/// Whether an assignment is only looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// Say what would change.
    DryRun,
    /// Do it.
    Assign,
}

/// Why an assignment cannot be.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unassignable {
    /// No such policy.
    #[error("no policy {0} is loaded")]
    NotLoaded(u64),
    /// It was taken back.
    #[error("policy {0} was withdrawn: sign its text again under a higher number")]
    Withdrawn(u64),
    /// No such gateway.
    #[error("there is no gateway {0}")]
    NoGateway(homeward_protocol::id::GatewayId),
}

/// Assigns a policy, or only says what that would change.
pub fn assign(
    tx: &mut dyn Tx,
    (version, targets): (u64, &[Target]),
    mode: Mode,
    roots: &[PublicKey],
    by: &str,
    now: Timestamp,
) -> Result<Result<Plan, Unassignable>, StoreError> {
    let book = policies::book(tx, roots)?;
    if let Err(why) = may_assign(tx, &book, version, targets)? {
        return Ok(Err(why));
    }
    let lines = overview::lines(tx, &book, now)?;
    let planned = plan(&book, &lines, version, targets, now);
    if mode == Mode::Assign {
        policies::assign(tx, version, targets, by, now)?;
    }
    Ok(Ok(planned))
}

fn may_assign(
    tx: &mut dyn Tx,
    book: &Book,
    version: u64,
    targets: &[Target],
) -> Result<Result<(), Unassignable>, StoreError> {
    let Some(entry) = book.entry(version) else {
        return Ok(Err(Unassignable::NotLoaded(version)));
    };
    if entry.withdrawn {
        return Ok(Err(Unassignable::Withdrawn(version)));
    }
    for target in targets {
        if let Target::Gateway(gateway) = target
            && gateways::get(tx, gateway)?.is_none()
        {
            return Ok(Err(Unassignable::NoGateway(gateway.clone())));
        }
    }
    Ok(Ok(()))
}
