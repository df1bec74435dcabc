//! Shell: claims for new gateways. A claim is shown once, as text and as a QR code, and can never be read again.

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::claim::Claim;
use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, page};
use super::guard::Visitor;
use crate::access::Sight;
use crate::care::Lifecycle;
use crate::device::invite::Wanted;
use crate::device::view::qr_svg;
use crate::store::care::placements;
use crate::store::console::{self, Claimed};

/// A new claim, as the form gives it.
#[derive(Deserialize)]
pub struct New {
    #[serde(default)]
    gateway: String,
    #[serde(default)]
    placement: String,
    approval: String,
}

#[derive(Template)]
#[template(path = "claims.html")]
struct Page {
    frame: Frame,
    claims: Vec<Claimed>,
    homes: Vec<PlacementId>,
}

impl Page {
    /// How far a claim has come, in plain words.
    fn state(&self, claim: &Claimed) -> &'static str {
        let expired = claim.expires_at.ms <= self.frame.now.ms;
        match claim.lifecycle {
            Lifecycle::Expected if expired => "expired unused: make a new one",
            Lifecycle::Expected => "not used yet",
            Lifecycle::Waiting => "used, waits for approval",
            Lifecycle::Enrolled => "used, in service",
            Lifecycle::Revoked => "out of service",
        }
    }
}

#[derive(Template)]
#[template(path = "claim_made.html")]
struct Made {
    frame: Frame,
    claim: Claim,
    qr: String,
    expires: Timestamp,
}

/// The list, and the form for a new one.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let read = desk
        .store
        .read(|tx| Ok((console::claims(tx)?, placements(tx, &Sight::Fleet)?)));
    let (claims, homes) = read.await?;
    Ok(page(&Page {
        frame: Frame::new("Claims", "/claims", &visitor, desk.clock.now()),
        claims,
        homes: homes.into_iter().map(|p| p.id).collect(),
    }))
}

/// Makes one and shows it.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<New>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let wanted = Wanted {
        gateway: optional::<GatewayId>(&given.gateway, "gateway id")?,
        placement: optional::<PlacementId>(&given.placement, "home")?,
        approval: given
            .approval
            .parse()
            .map_err(|why: &str| Failure::Form(format!("{why}.")))?,
    };
    let claim = desk
        .invitations
        .invite(&desk.store, wanted, visitor.user.as_str(), now)
        .await?;
    Ok(page(&Made {
        frame: Frame::new("New claim", "/claims", &visitor, now),
        qr: qr_svg(&claim).map_err(|_| Failure::Secret)?,
        expires: Timestamp::synced(claim.expires.saturating_mul(1000)),
        claim,
    }))
}

fn optional<T>(text: &str, what: &str) -> Result<Option<T>, Failure>
where
    T: std::str::FromStr,
    T::Err: std::fmt::Display,
{
    match text.trim() {
        "" => Ok(None),
        text => text
            .parse()
            .map(Some)
            .map_err(|e| Failure::Form(format!("The {what} is not taken: {e}."))),
    }
}
