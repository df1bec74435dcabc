//! Shell: makes a claim to hand out: a random one-time code, its row, and the line that a box needs.
#![expect(clippy::disallowed_methods, reason = "shell: random bytes")]

use homeward_protocol::claim::{Claim, Code, Endpoint, Pin};
use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::time::Timestamp;
use ring::rand::{SecureRandom, SystemRandom};
use tokio::sync::watch;

use super::register::{Claiming, NewClaim, claim_new};
use super::{Approval, gateway_id};
use crate::store::{Store, StoreError};

/// What every claim of this server says.
#[derive(Debug, Clone)]
pub struct Invitations {
    /// Where enrolment is served.
    pub server: Endpoint,
    /// The trust anchor that the server's certificate leads to, as it is now.
    pub pin: watch::Receiver<Pin>,
    /// How long a claim can be used, milliseconds.
    pub lasts_ms: i64,
}

/// A claim to be made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// For which gateway; a random id when missing.
    pub gateway: Option<GatewayId>,
    /// The home that the box goes to.
    pub placement: Option<PlacementId>,
    /// Who lets the box in.
    pub approval: Approval,
}

/// Why there is no claim.
#[derive(Debug, thiserror::Error)]
pub enum InviteError {
    /// No random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// The gateway was shut out, which is for good.
    #[error("this gateway was taken out of service; a box that comes back gets a new name")]
    Revoked,
    /// The store said no.
    #[error("the claim could not be kept")]
    Store(#[source] StoreError),
}

impl Invitations {
    /// Makes a claim. Its code is in the answer, and nowhere else.
    pub async fn invite(
        &self,
        store: &Store,
        wanted: Wanted,
        by: &str,
        now: Timestamp,
    ) -> Result<Claim, InviteError> {
        let code = Code::from_random(random()?);
        let gateway = match wanted.gateway {
            Some(id) => id,
            None => gateway_id(random()?),
        };
        let expires_at = now.plus_ms(self.lasts_ms);
        let (id, secret, by) = (gateway.clone(), code.clone(), by.to_owned());
        let made = store.write(move |tx| {
            let new = NewClaim {
                gateway: &id,
                code: &secret,
                approval: wanted.approval,
                expires_at,
                placement: wanted.placement.as_ref(),
                by: &by,
            };
            claim_new(tx, &new, now)
        });
        match made.await.map_err(InviteError::Store)? {
            Claiming::Revoked => Err(InviteError::Revoked),
            Claiming::New | Claiming::Anew => Ok(Claim {
                server: self.server.clone(),
                pin: *self.pin.borrow(),
                gateway,
                code,
                expires: expires_at.secs(),
            }),
        }
    }
}

fn random() -> Result<[u8; 10], InviteError> {
    let mut bytes = [0; 10];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map(|()| bytes).map_err(|_| InviteError::Random)
}
