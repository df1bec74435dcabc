//! Carries decisions about certificates out: reads, decides, issues and writes in the one transaction it is given,
//! so that a power cut leaves either all of an answer or nothing.

use homeward_protocol::attest::Tier;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tpm::enrol::Welcome;
use tracing::{info, warn};

use super::chip::{Chip, Proved};
use super::{Decision, Door, MAX_FAILED_TRIES, MOST_A_DAY, Refusal, SAME_ANSWER_MS, Standing, Use};
use crate::audit::Action;
use crate::ca::{Authority, DAY_MS, Leaf, Rank, Serial};
use crate::device::{Claimed, Event, State};
use crate::store::certificates::{self, Timing};
use crate::store::{StoreError, Tx, audit, chips, claims, gateways, incidents, signals};

/// How long after its proof an expected TPM may ask for its certificate.
const PROOF_MS: i64 = 15 * 60_000;

/// What a desk needs beside the transaction.
#[derive(Debug, Clone, Copy)]
pub struct Desk<'a> {
    /// Who issues.
    pub authority: &'a Authority,
    /// The number of the certificate, if one is issued; also the id of the incident, if one is raised.
    pub serial: Serial,
    /// Now.
    pub now: Timestamp,
}

/// What a request gets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// This certificate (DER).
    Certificate(Vec<u8>),
    /// Nothing yet: come back in so many seconds.
    Wait(u32),
    /// Nothing, because.
    Refused(Refusal),
}

impl Desk<'_> {
    /// A request with a one-time code.
    pub fn enrol(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        code_hash: &[u8; 32],
        key: &PublicKey,
    ) -> Result<Answer, StoreError> {
        claims::lock(tx, id)?;
        let (Some(gateway), Some(claim)) = (gateways::get(tx, id)?, claims::get(tx, id)?) else {
            return Ok(Answer::Refused(Refusal::WrongCode));
        };
        match super::enrol(gateway.state, &claim, code_hash, key, self.now) {
            Decision::Refuse(why) => {
                self.turned_away(tx, id, &claim, why, key)?;
                Ok(Answer::Refused(why))
            }
            Decision::Wait(used, seconds) => {
                self.burn(tx, id, used, key)?;
                self.advance(tx, id, gateway.state, Event::CodeUsed)?;
                Ok(Answer::Wait(seconds))
            }
            Decision::Issue(used) => {
                self.burn(tx, id, used, key)?;
                if let Some(der) = self.recent(tx, id, key)? {
                    return Ok(Answer::Certificate(der));
                }
                if self.issued_today(tx, id)? >= MOST_A_DAY {
                    return Ok(Answer::Refused(Refusal::TooMany));
                }
                let der = self.issue_first(tx, id, key, gateway.state)?;
                Ok(Answer::Certificate(der))
            }
        }
    }

    /// A TPM that proved itself, as the gateway of the claim, or as the one that it is expected as.
    ///
    /// The code is looked at and not burnt: the request for the certificate does that.
    pub fn prove(
        &self,
        tx: &mut dyn Tx,
        claimed: Option<(&GatewayId, &[u8; 32])>,
        proved: &Proved,
        vouched: bool,
    ) -> Result<Result<Welcome, Refusal>, StoreError> {
        let gateway = match claimed {
            Some((id, code_hash)) => match self.look(tx, id, code_hash, &proved.key)? {
                Decision::Refuse(why) => return Ok(Err(why)),
                Decision::Issue(_) | Decision::Wait(..) => id.clone(),
            },
            None => match chips::expected(tx, &proved.chip)? {
                Some(id) => id,
                None => return Ok(Err(Refusal::UnknownChip)),
            },
        };
        let chip = Chip {
            gateway,
            key: proved.key.clone(),
            chip: proved.chip,
            attestation: proved.attestation.clone(),
            vouched,
            proved_at: self.now,
        };
        chips::put(tx, &chip)?;
        Ok(Ok(Welcome {
            tier: chips::tier(tx, &chip.gateway, &chip.key)?,
            gateway: chip.gateway,
        }))
    }

    /// A decision about a code. It is not burnt, and what is wrong with it is told as if it were.
    fn look(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        code_hash: &[u8; 32],
        key: &PublicKey,
    ) -> Result<Decision, StoreError> {
        claims::lock(tx, id)?;
        let (Some(gateway), Some(claim)) = (gateways::get(tx, id)?, claims::get(tx, id)?) else {
            return Ok(Decision::Refuse(Refusal::WrongCode));
        };
        let decision = super::enrol(gateway.state, &claim, code_hash, key, self.now);
        if let Decision::Refuse(why) = decision {
            self.turned_away(tx, id, &claim, why, key)?;
        }
        Ok(decision)
    }

    /// What a refusal leaves behind.
    fn turned_away(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        claim: &Claimed,
        why: Refusal,
        key: &PublicKey,
    ) -> Result<(), StoreError> {
        match why {
            Refusal::WrongCode => {
                claims::note_failure(tx, id)?;
                if claim.failed_tries + 1 == MAX_FAILED_TRIES {
                    self.raise_locked(tx, id)?;
                }
                Ok(())
            }
            Refusal::OtherKey => self.raise_reused(tx, id, key),
            _ => Ok(()),
        }
    }

    /// A request without a code, for a key that an expected TPM proved a moment ago.
    pub fn enrol_chip(&self, tx: &mut dyn Tx, key: &PublicKey) -> Result<Answer, StoreError> {
        let refuse = |why| Ok(Answer::Refused(why));
        let Some(chip) = chips::of_key(tx, key)? else {
            return refuse(Refusal::UnknownChip);
        };
        let id = chip.gateway;
        let Some(gateway) = gateways::get(tx, &id)? else {
            return refuse(Refusal::UnknownChip);
        };
        let age = self.now.ms.saturating_sub(chip.proved_at.ms);
        if chips::expected(tx, &chip.chip)?.as_ref() != Some(&id) || !(0..=PROOF_MS).contains(&age) {
            return refuse(Refusal::UnknownChip);
        }
        if gateway.state == State::Revoked {
            return refuse(Refusal::Revoked);
        }
        if let Some(der) = self.recent(tx, &id, key)? {
            return Ok(Answer::Certificate(der));
        }
        if self.issued_today(tx, &id)? >= MOST_A_DAY {
            return refuse(Refusal::TooMany);
        }
        let der = self.issue_first(tx, &id, key, gateway.state)?;
        Ok(Answer::Certificate(der))
    }

    /// A first certificate for a key: those for other keys end with it.
    fn issue_first(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        key: &PublicKey,
        from: State,
    ) -> Result<Vec<u8>, StoreError> {
        if certificates::revoke_others(tx, id, key, self.now)? > 0 {
            signals::raise(tx, signals::Kind::Gateway, id.as_str(), self.now)?;
        }
        let der = self.issue(tx, id, key, Timing::InTime)?;
        self.advance(tx, id, from, Event::Issued)?;
        let tier = chips::tier(tx, id, key)?;
        let detail = format!("number {}, key {}, {tier}", self.serial, key.fingerprint());
        self.note(tx, id, Action::CertificateIssued, &detail)?;
        Ok(der)
    }

    /// A request by a certificate that the handshake has checked.
    pub fn renew(
        &self,
        tx: &mut dyn Tx,
        leaf: &Leaf,
        key: &PublicKey,
        door: Door,
    ) -> Result<Answer, StoreError> {
        let id = &leaf.gateway;
        let standing = self.standing(tx, leaf)?;
        let timing = match super::renew(standing, leaf, door, self.now) {
            Ok(timing) => timing,
            Err(why) => return Ok(Answer::Refused(why)),
        };
        // Else root on the box could move its identity out of the TPM without a word.
        if leaf.rank > Rank::Own(Tier::Software) && chips::tier(tx, id, key)? == Tier::Software {
            return Ok(Answer::Refused(Refusal::Unproved));
        }
        if let Some(der) = self.recent(tx, id, key)? {
            return Ok(Answer::Certificate(der));
        }
        let der = self.issue(tx, id, key, timing)?;
        if let Some(state) = standing.state {
            self.advance(tx, id, state, Event::Issued)?;
        }
        let when = match timing {
            Timing::InTime => "in time".to_owned(),
            Timing::Late => format!("{} days late", leaf.not_after.age(self.now).as_secs() / 86_400),
        };
        let kept = if *key == leaf.key { "same key" } else { "new key" };
        let detail = format!("number {}, {when}, {kept} {}", self.serial, key.fingerprint());
        self.note(tx, id, Action::CertificateRenewed, &detail)?;
        Ok(Answer::Certificate(der))
    }

    /// A request for a spare key's certificate, by the gateway's own that the handshake has checked.
    pub fn spare(&self, tx: &mut dyn Tx, leaf: &Leaf, key: &PublicKey) -> Result<Answer, StoreError> {
        let id = &leaf.gateway;
        let standing = self.standing(tx, leaf)?;
        let taken = *key == leaf.key || certificates::is_own(tx, key)? || chips::of_key(tx, key)?.is_some();
        if let Err(why) = super::spare(standing, leaf, taken, self.now) {
            return Ok(Answer::Refused(why));
        }
        let known = certificates::spare_of(tx, id, MOST_A_DAY)?;
        if let Some(der) = self.still_new(known.first().cloned(), key) {
            return Ok(Answer::Certificate(der));
        }
        let since = self.now.plus_ms(-DAY_MS);
        if known.len() >= usize::try_from(MOST_A_DAY).unwrap_or(0)
            && known.iter().all(|row| row.issued_at.ms >= since.ms)
        {
            return Ok(Answer::Refused(Refusal::TooMany));
        }
        if certificates::revoke_other_spares(tx, id, key, self.now)? > 0 {
            signals::raise(tx, signals::Kind::Certificate, id.as_str(), self.now)?;
        }
        let der = self.issue_as(tx, id, key, (Rank::Spare, Timing::InTime))?;
        let detail = format!("number {}, key {}, spare", self.serial, key.fingerprint());
        self.note(tx, id, Action::CertificateIssued, &detail)?;
        Ok(Answer::Certificate(der))
    }

    fn standing(&self, tx: &mut dyn Tx, leaf: &Leaf) -> Result<Standing, StoreError> {
        let shown = certificates::by_serial(tx, leaf.serial)?;
        Ok(Standing {
            state: gateways::get(tx, &leaf.gateway)?.map(|gateway| gateway.state),
            certificate_revoked: shown.is_some_and(|row| row.revoked_at.is_some()),
            issued_today: self.issued_today(tx, &leaf.gateway)?,
        })
    }

    /// The certificate that was issued to this key a moment ago: a reply was lost.
    fn recent(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        key: &PublicKey,
    ) -> Result<Option<Vec<u8>>, StoreError> {
        let newest = certificates::of(tx, id, 1)?.pop();
        Ok(self.still_new(newest, key))
    }

    fn still_new(&self, newest: Option<certificates::Certificate>, key: &PublicKey) -> Option<Vec<u8>> {
        let fits = newest.filter(|row| {
            let young = (0..SAME_ANSWER_MS).contains(&(self.now.ms - row.issued_at.ms));
            row.key == *key && row.revoked_at.is_none() && young
        });
        fits.map(|row| row.der)
    }

    fn issued_today(&self, tx: &mut dyn Tx, id: &GatewayId) -> Result<i64, StoreError> {
        certificates::issued_since(tx, id, self.now.plus_ms(-DAY_MS))
    }

    fn issue(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        key: &PublicKey,
        timing: Timing,
    ) -> Result<Vec<u8>, StoreError> {
        let rank = Rank::Own(chips::tier(tx, id, key)?);
        self.issue_as(tx, id, key, (rank, timing))
    }

    fn issue_as(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        key: &PublicKey,
        (rank, timing): (Rank, Timing),
    ) -> Result<Vec<u8>, StoreError> {
        let issued = self.authority.issue_ranked(key, id, rank, self.serial, self.now);
        let issued = issued.map_err(|error| StoreError::Unavailable {
            step: "signing a certificate",
            why: error.to_string(),
        })?;
        certificates::add(tx, id, &issued, timing, self.now)?;
        Ok(issued.der.to_vec())
    }

    fn burn(&self, tx: &mut dyn Tx, id: &GatewayId, used: Use, key: &PublicKey) -> Result<(), StoreError> {
        if used == Use::Again {
            return Ok(());
        }
        if !claims::bind(tx, id, key, self.now)? {
            return Err(StoreError::Conflict(format!(
                "the claim of {id} was used meanwhile"
            )));
        }
        let detail = format!("key {}", key.fingerprint());
        self.note(tx, id, Action::ClaimUsed, &detail)
    }

    fn advance(&self, tx: &mut dyn Tx, id: &GatewayId, from: State, event: Event) -> Result<(), StoreError> {
        let Some(to) = from.after(event).filter(|to| *to != from) else {
            return Ok(());
        };
        if gateways::advance(tx, id, from, to, self.now)? {
            signals::raise(tx, signals::Kind::Gateway, id.as_str(), self.now)?;
            info!(gateway.id = %id, gateway.state = %to, "gateway {id} is now {to}");
            return Ok(());
        }
        Err(StoreError::Conflict(format!("gateway {id} changed meanwhile")))
    }

    fn note(&self, tx: &mut dyn Tx, id: &GatewayId, action: Action, detail: &str) -> Result<(), StoreError> {
        audit::record(tx, self.now, id.as_str(), action, id.as_str(), detail)
    }

    fn raise_reused(&self, tx: &mut dyn Tx, id: &GatewayId, key: &PublicKey) -> Result<(), StoreError> {
        let print = key.fingerprint();
        let said = format!(
            "The one-time code of {id} came again with another key ({print}). One of two boxes is not the one that \
             was meant: find out which, revoke {id} if it is in the wrong hands, and make a new claim."
        );
        if self.raise(tx, id, incidents::Kind::CodeReused, &said)? {
            self.note(
                tx,
                id,
                Action::CsrRefused,
                &format!("code used before, other key {print}"),
            )?;
        }
        Ok(())
    }

    fn raise_locked(&self, tx: &mut dyn Tx, id: &GatewayId) -> Result<(), StoreError> {
        let said = format!(
            "{MAX_FAILED_TRIES} wrong codes came for {id}; its claim is closed if it was not used. Somebody has a \
             wrong sheet, or guesses. Make a new claim for the box."
        );
        self.raise(tx, id, incidents::Kind::ClaimLocked, &said).map(drop)
    }

    fn raise(
        &self,
        tx: &mut dyn Tx,
        id: &GatewayId,
        kind: incidents::Kind,
        said: &str,
    ) -> Result<bool, StoreError> {
        let new = incidents::raise(tx, &self.serial.to_string(), id, kind, said, self.now)?;
        if new {
            let kind = kind.name();
            warn!(gateway.id = %id, incident.kind = kind, "incident {kind} about gateway {id}: a person must look");
            signals::raise(tx, signals::Kind::Gateway, id.as_str(), self.now)?;
        }
        Ok(new)
    }
}
