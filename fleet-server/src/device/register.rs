//! What people do to gateways: claim, approve, revoke. Each writes its rows, its audit row and its signal in the
//! transaction that it is given.

use homeward_protocol::claim::Code;
use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::time::Timestamp;

use super::{Approval, Claimed, Event, State};
use crate::audit::Action;
use crate::enrol;
use crate::enrol::chip::Chip;
use crate::store::certificates::{self, Certificate};
use crate::store::gateways::{self, Gateway};
use crate::store::incidents::{self, Incident};
use crate::store::{StoreError, Tx, audit, chips, claims, signals};

/// A claim to be made.
#[derive(Debug, Clone, Copy)]
pub struct NewClaim<'a> {
    /// For which gateway: a new id, or one that is not revoked and is claimed anew.
    pub gateway: &'a GatewayId,
    /// The one-time code; only its hash is kept.
    pub code: &'a Code,
    /// Who lets the box in.
    pub approval: Approval,
    /// Until when the code can be used.
    pub expires_at: Timestamp,
    /// The home that the box goes to.
    pub placement: Option<&'a PlacementId>,
    /// Who makes the claim.
    pub by: &'a str,
}

/// What came of a new claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claiming {
    /// For a gateway that was not known before.
    New,
    /// For a known one: the claim before it is void.
    Anew,
    /// Not made: the gateway is revoked, which is for good.
    Revoked,
}

/// What came of an approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Approving {
    /// The box gets its certificate when it asks next.
    Approved,
    /// Somebody had approved already.
    Already,
    /// There is no claim for this gateway.
    NoClaim,
    /// Nobody has used the code yet, so there is no key to approve.
    NotUsed,
    /// The fingerprint given is not this one, which the waiting key has.
    OtherKey(String),
    /// The gateway is revoked.
    Revoked,
}

/// What came of a revocation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Revoking {
    /// Shut out from now on; so many certificates went with it.
    Revoked(u64),
    /// It was already.
    Already,
    /// There is no such gateway.
    Unknown,
}

/// All that is known of one gateway's identity.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Its row.
    pub gateway: Gateway,
    /// Its claim.
    pub claim: Option<Claimed>,
    /// Its certificates, newest first, at most 20.
    pub certificates: Vec<Certificate>,
    /// What is proved of the key of its newest certificate.
    pub chip: Option<Chip>,
    /// Its open incidents.
    pub incidents: Vec<Incident>,
}

/// Makes a claim. A placement that does not exist is [`StoreError::Conflict`].
pub fn claim_new(tx: &mut dyn Tx, new: &NewClaim<'_>, now: Timestamp) -> Result<Claiming, StoreError> {
    let id = new.gateway;
    let made = match gateways::get(tx, id)? {
        Some(known) if known.state == State::Revoked => return Ok(Claiming::Revoked),
        Some(_) => Claiming::Anew,
        None => {
            gateways::add(tx, id, new.placement, now)?;
            Claiming::New
        }
    };
    let claim = Claimed {
        gateway: id.clone(),
        code_hash: enrol::hash_of(new.code),
        approval: new.approval,
        created_at: now,
        created_by: new.by.to_owned(),
        expires_at: new.expires_at,
        failed_tries: 0,
        key: None,
        used_at: None,
        approved_at: None,
        approved_by: None,
    };
    claims::put(tx, &claim)?;
    let approval = new.approval.name();
    let detail = format!("approval {approval}, until {}", new.expires_at);
    audit::record(tx, now, new.by, Action::GatewayClaimed, id.as_str(), &detail)?;
    signals::raise(tx, signals::Kind::Claim, id.as_str(), now)?;
    Ok(made)
}

/// Lets the box in that used the code. `fingerprint`, when given, must be that of its key.
pub fn approve(
    tx: &mut dyn Tx,
    id: &GatewayId,
    fingerprint: Option<&str>,
    by: &str,
    now: Timestamp,
) -> Result<Approving, StoreError> {
    let Some(claim) = claims::get(tx, id)? else {
        return Ok(Approving::NoClaim);
    };
    if gateways::get(tx, id)?.is_none_or(|gateway| gateway.state == State::Revoked) {
        return Ok(Approving::Revoked);
    }
    let Some(key) = &claim.key else {
        return Ok(Approving::NotUsed);
    };
    let print = key.fingerprint();
    if fingerprint.is_some_and(|given| !same_print(given, &print)) {
        return Ok(Approving::OtherKey(print));
    }
    if !claims::approve(tx, id, by, now)? {
        return Ok(Approving::Already);
    }
    let detail = format!("key {print}");
    audit::record(tx, now, by, Action::GatewayApproved, id.as_str(), &detail)?;
    signals::raise(tx, signals::Kind::Gateway, id.as_str(), now)?;
    Ok(Approving::Approved)
}

/// Shuts a gateway out for good: its state, its certificates, and a signal that makes the gate drop it now.
pub fn revoke(
    tx: &mut dyn Tx,
    id: &GatewayId,
    why: &str,
    by: &str,
    now: Timestamp,
) -> Result<Revoking, StoreError> {
    let Some(gateway) = gateways::get(tx, id)? else {
        return Ok(Revoking::Unknown);
    };
    if gateway.state.after(Event::Revoked).is_none() || !gateways::revoke(tx, id, why, now)? {
        return Ok(Revoking::Already);
    }
    let gone = certificates::revoke_of(tx, id, now)?;
    audit::record(tx, now, by, Action::GatewayRevoked, id.as_str(), why)?;
    signals::raise(tx, signals::Kind::Gateway, id.as_str(), now)?;
    Ok(Revoking::Revoked(gone))
}

/// One gateway, for people.
pub fn show(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<Shown>, StoreError> {
    let Some(gateway) = gateways::get(tx, id)? else {
        return Ok(None);
    };
    Ok(Some(Shown {
        gateway,
        claim: claims::get(tx, id)?,
        certificates: certificates::of(tx, id, 20)?,
        chip: chips::of_gateway(tx, id)?,
        incidents: incidents::open_of(tx, id)?,
    }))
}

/// Whether two fingerprints are the same, hyphens, spaces and case aside.
fn same_print(given: &str, print: &str) -> bool {
    let plain = |text: &str| -> String {
        let kept = text.chars().filter(char::is_ascii_alphanumeric);
        kept.map(|c| c.to_ascii_lowercase()).collect()
    };
    plain(given) == plain(print)
}
