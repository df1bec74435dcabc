//! What people bring and decide: papers that were signed, and assignments.

use homeward_protocol::policy::sign::Refusal;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use super::admit::{admit, keyring};
use super::book::Target;
use super::paper::Papers;
use super::rollout::{Plan, plan};
use crate::store::policies::{self, Loading, drafts, overview};
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

/// Verifies papers as a box does, and keeps them. Papers without a policy bring a keyring. A draft that was reviewed and
/// says what the policy says is signed by it, whichever way the papers came.
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
            if loading != Loading::OtherContent {
                drafts::brought(tx, accepted.policy.get(), by, now)?;
            }
            let version = accepted.mark.version.0;
            Ok(Taken::Policy { version, loading })
        }
        Err(why) => Ok(Taken::Refused(why)),
    }
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

/// Says what an assignment would change. It reads the fleet, and keeps no writer waiting: [`give`] follows it.
pub fn planned(
    tx: &mut dyn Tx,
    (version, targets): (u64, &[Target]),
    roots: &[PublicKey],
    now: Timestamp,
) -> Result<Result<Plan, Unassignable>, StoreError> {
    if let Err(why) = may_assign(tx, version, targets)? {
        return Ok(Err(why));
    }
    let book = policies::book(tx, roots)?;
    let lines = overview::lines(tx, &book, now)?;
    Ok(Ok(plan(&book, &lines, version, targets, now)))
}

/// Assigns a policy.
pub fn give(
    tx: &mut dyn Tx,
    (version, targets): (u64, &[Target]),
    by: &str,
    now: Timestamp,
) -> Result<Result<(), Unassignable>, StoreError> {
    let may = may_assign(tx, version, targets)?;
    if may.is_ok() {
        policies::assign(tx, version, targets, by, now)?;
    }
    Ok(may)
}

fn may_assign(
    tx: &mut dyn Tx,
    version: u64,
    targets: &[Target],
) -> Result<Result<(), Unassignable>, StoreError> {
    let Some(loaded) = policies::get(tx, version)? else {
        return Ok(Err(Unassignable::NotLoaded(version)));
    };
    if loaded.entry.withdrawn {
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
