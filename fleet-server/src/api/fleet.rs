//! Shell: gateways: the list, one of them, and what may be done to it.

use axum::extract::rejection::{JsonRejection, QueryRejection};
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use homeward_protocol::attest::Trust;
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::guard::Caller;
use super::problem::Problem;
use super::shape::{CountsShape, GatewayShape, SuspicionShape, UnreadableShape, moment};
use crate::bus::Event;
use crate::care::list::{self, Filter};
use crate::device::invite::Wanted;
use crate::device::register::{self, Approving, Revoking};
use crate::store::care::{judged, judged_of, known_of};
use crate::store::{StoreError, Tx, console, suspicions};

/// Most characters of a reason.
const MAX_REASON: usize = 200;

/// Whether the server can answer.
#[derive(Debug, Serialize, ToSchema)]
pub struct Health {
    /// `ok`.
    status: &'static str,
    /// The server's version.
    version: &'static str,
}

/// Whether the server and its store answer.
#[utoipa::path(get, path = "/api/v1/health", responses((status = 200, body = Health), (status = 500, body = Problem)))]
pub async fn health(State(desk): State<Desk>) -> Result<Json<Health>, Problem> {
    desk.store
        .read(|tx| tx.row("SELECT value FROM meta LIMIT 1", &[]))
        .await?;
    Ok(Json(Health {
        status: "ok",
        version: env!("CARGO_PKG_VERSION"),
    }))
}

/// Which gateways.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Which {
    /// Part of a gateway's or a placement's id.
    #[serde(default)]
    q: String,
    /// `serving` (default) or `retired`.
    among: Option<String>,
    /// One state only.
    state: Option<String>,
    /// Only those whose box stands so: `trusted`, `warning`, `stale`, `failed` or `unknown`.
    trust: Option<String>,
    /// `next` of the page before.
    after: Option<String>,
}

/// At most 50 gateways.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gateways {
    /// Worst first.
    #[serde(rename = "gateways")]
    page: Vec<GatewayShape>,
    /// Of everything that `q` finds.
    counts: CountsShape,
    /// Where the next page begins; missing on the last one.
    next: Option<String>,
}

/// Gateways, worst first, 50 at a time.
#[utoipa::path(get, path = "/api/v1/gateways", params(Which), security(("token" = ["fleet:read"])),
    responses((status = 200, body = Gateways), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn list(
    State(desk): State<Desk>,
    which: Result<Query<Which>, QueryRejection>,
) -> Result<Json<Gateways>, Problem> {
    let Query(which) = which.map_err(|e| Problem::wrong(e.body_text()))?;
    let wrong = |e: &dyn std::fmt::Display| Problem::wrong(e.to_string());
    let among = which
        .among
        .map(|a| a.parse())
        .transpose()
        .map_err(|e| wrong(&e))?;
    let filter = Filter {
        among: among.unwrap_or_default(),
        text: which.q,
        state: which
            .state
            .map(|s| s.parse())
            .transpose()
            .map_err(|e| wrong(&e))?,
        trust: which
            .trust
            .map(|t| {
                Trust::from_name(&t)
                    .ok_or_else(|| Problem::wrong("trust is trusted, warning, stale, failed or unknown"))
            })
            .transpose()?,
        after: which
            .after
            .map(|a| a.parse())
            .transpose()
            .map_err(|e| wrong(&e))?,
    };
    let now = desk.clock.now();
    let all = desk.store.read(move |tx| judged(tx, now)).await?;
    let page = list::page(all, &filter);
    Ok(Json(Gateways {
        page: page.rows.iter().map(GatewayShape::from).collect(),
        counts: page.counts.into(),
        next: page.next.map(|after| after.to_string()),
    }))
}

/// One gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct Gateway {
    /// What the list says of it.
    #[serde(flatten)]
    listed: GatewayShape,
    /// When it was claimed.
    created_at: String,
    /// When it was let in.
    enrolled_at: Option<String>,
    /// When it was shut out.
    revoked_at: Option<String>,
    /// The version of its agent, as it says.
    agent: Option<String>,
    /// Its operating system, as it says.
    os: Option<String>,
    /// Until when its newest certificate is valid.
    certificate_until: Option<String>,
    /// Suspicions about its sensors: those that stand, then the newest of those that are over; at most 100.
    findings: Vec<SuspicionShape>,
    /// The newest holes in its records, at most 20.
    gaps: Vec<GapShape>,
    /// What it sent that could not be read; null when everything could.
    unreadable: Option<UnreadableShape>,
}

/// A hole in a gateway's records.
#[derive(Debug, Serialize, ToSchema)]
pub struct GapShape {
    /// `vital`, `reading` or another lane of the outbox.
    lane: String,
    /// Records that are not here.
    missing: i64,
    /// Why.
    cause: String,
    /// When it was noticed.
    noted_at: String,
}

/// One gateway.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = Gateway), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(desk): State<Desk>, Path(gateway): Path<String>) -> Result<Json<Gateway>, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let read = desk.store.read(move |tx| {
        let (Some(row), Some(listed)) = (console::gateway(tx, &gateway)?, judged_of(tx, &gateway, now)?)
        else {
            return Ok(None);
        };
        let posture = console::posture(tx, &gateway)?;
        let certificates = console::certificates(tx, &gateway)?;
        Ok(Some((
            row,
            listed,
            posture,
            certificates,
            console::gaps(tx, &gateway)?,
            console::unreadable(tx, &gateway)?,
            said_of(tx, &gateway, now)?,
        )))
    });
    let (row, listed, posture, certificates, gaps, unreadable, findings) =
        read.await?.ok_or_else(Problem::missing)?;
    let gap = |g: console::Gap| GapShape {
        lane: g.lane,
        missing: g.missing,
        cause: g.cause,
        noted_at: moment(g.noted_at),
    };
    Ok(Json(Gateway {
        listed: (&listed).into(),
        created_at: moment(row.created_at),
        enrolled_at: row.enrolled_at.map(moment),
        revoked_at: row.revoked_at.map(moment),
        agent: posture.as_ref().map(|(p, _)| p.agent.as_str().to_owned()),
        os: posture.as_ref().map(|(p, _)| p.os.as_str().to_owned()),
        certificate_until: certificates.first().map(|c| moment(c.not_after)),
        findings,
        gaps: gaps.into_iter().map(gap).collect(),
        unreadable: unreadable.map(UnreadableShape::from),
    }))
}

/// What the gateway's watch says, after what only the server can see.
fn said_of(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Vec<SuspicionShape>, StoreError> {
    let doubts = known_of(tx, id, now)?.map(|k| k.facts.doubts).unwrap_or_default();
    let shared = doubts.iter().filter_map(SuspicionShape::shared);
    let said = suspicions::findings(tx, id)?;
    Ok(shared.chain(said.iter().map(SuspicionShape::from)).collect())
}

/// The key that was compared.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Approval {
    /// The fingerprint that the box shows.
    fingerprint: String,
}

/// Lets a waiting gateway in, if the fingerprint is that of its key.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/approve", params(("gateway" = String, Path)),
    request_body = Approval, security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem)))]
pub async fn approve(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<Approval>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (gateway, now, given) = (id(&gateway)?, desk.clock.now(), body(given)?);
    let which = gateway.clone();
    let done = desk
        .store
        .write(move |tx| register::approve(tx, &which, Some(&given.fingerprint), &by, now));
    match done.await? {
        Approving::Approved | Approving::Already => {}
        Approving::NoClaim => return Err(Problem::missing()),
        Approving::NotUsed => return Err(Problem::conflict("no box has used the claim yet")),
        Approving::OtherKey(_) => return Err(Problem::conflict("the waiting box has another key")),
        Approving::Revoked => return Err(Problem::conflict("the gateway was taken out of service")),
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}

/// Why a gateway is shut out.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Revocation {
    /// Stands in the audit trail; at most 200 characters.
    reason: String,
}

/// Shuts a gateway out for good.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/revoke", params(("gateway" = String, Path)),
    request_body = Revocation, security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn revoke(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<Revocation>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (gateway, now, given) = (id(&gateway)?, desk.clock.now(), body(given)?);
    let reason = given.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Problem::wrong("a reason has 1 to 200 characters"));
    }
    let which = gateway.clone();
    let done = desk
        .store
        .write(move |tx| register::revoke(tx, &which, &reason, &by, now))
        .await?;
    if done == Revoking::Unknown {
        return Err(Problem::missing());
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}

/// A claim to be made.
#[derive(Debug, Deserialize, ToSchema)]
pub struct NewClaim {
    /// For which gateway; a random id when missing.
    gateway: Option<String>,
    /// For which home.
    placement: Option<String>,
    /// `operator` (default) or `automatic`.
    approval: Option<String>,
}

/// A claim. It is in this answer and can never be read again.
#[derive(Debug, Serialize, ToSchema)]
pub struct ClaimShape {
    /// For which gateway.
    gateway: String,
    /// The line that a box needs; also what a QR code holds.
    claim: String,
    /// Until when it can be used.
    expires_at: String,
}

/// Makes a claim for a new gateway.
#[utoipa::path(post, path = "/api/v1/claims", request_body = NewClaim, security(("token" = ["fleet:write"])),
    responses((status = 201, body = ClaimShape), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub async fn claim(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    given: Result<Json<NewClaim>, JsonRejection>,
) -> Result<(StatusCode, Json<ClaimShape>), Problem> {
    let given = body(given)?;
    let wrong = |e: homeward_protocol::id::IdError| Problem::wrong(e.to_string());
    let wanted = Wanted {
        gateway: given.gateway.map(|g| g.parse()).transpose().map_err(wrong)?,
        placement: given.placement.map(|p| p.parse()).transpose().map_err(wrong)?,
        approval: given
            .approval
            .as_deref()
            .unwrap_or("operator")
            .parse()
            .map_err(|e: &str| Problem::wrong(e))?,
    };
    let claim = desk
        .invitations
        .invite(&desk.store, wanted, &by, desk.clock.now())
        .await?;
    let expires = Timestamp::synced(claim.expires.saturating_mul(1000));
    let made = ClaimShape {
        gateway: claim.gateway.to_string(),
        claim: claim.to_string(),
        expires_at: moment(expires),
    };
    Ok((StatusCode::CREATED, Json(made)))
}

/// A gateway's id from an address.
pub fn id(text: &str) -> Result<GatewayId, Problem> {
    text.parse().map_err(|_| Problem::missing())
}

pub(super) fn body<T>(given: Result<Json<T>, JsonRejection>) -> Result<T, Problem> {
    given
        .map(|Json(body)| body)
        .map_err(|e| Problem::wrong(e.body_text()))
}
