//! Shell: the policy of one gateway: what it shall have, what it says of it, and whether it is shut off.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::state::PointState;
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::fleet::id;
use super::guard::Caller;
use super::policies::{ReasonShape, reason};
use super::problem::Problem;
use super::shape::moment;
use crate::bus::Event;
use crate::policy::contain::{Containment, containment};
use crate::policy::words;
use crate::store::policies::isolation::{self, Ordering};
use crate::store::policies::states::{self, standing};
use crate::store::policies::{self, groups, overview, stopped};
use crate::store::{StoreError, Tx};

/// Stopped flows in an answer.
const FLOWS: i64 = 100;

/// The policy of one gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct GatewayPolicy {
    /// The number of the policy that it shall have.
    wanted: Option<u64>,
    /// The number of the one that it says it has.
    holds: Option<u64>,
    /// How far it has come: `applied`, `on-its-way`, `away`, `quarantined`, `refused`, `returned`, `applying`,
    /// `confirming`, `strict`, `newer`, `expired`, `signers-gone` or `nothing-wanted`.
    #[schema(example = "applied")]
    progress: &'static str,
    /// The same in plain English.
    said: String,
    /// When it last said something of it.
    heard_at: Option<String>,
    /// Its groups.
    groups: Vec<String>,
    /// `open`, `ordered`, `heard`, `holds`, `lifting` or `foreign`.
    isolation: &'static str,
    /// Since when the isolation holds, as the box says.
    isolated_since: Option<String>,
    /// From which policy it went back, and why.
    returned: Option<String>,
    /// Each point, in the order of the rules.
    points: Vec<PointShape>,
    /// Points that hold and are not listed.
    more: u32,
    /// Times that a point did not hold, the newest first, at most 50.
    drifts: Vec<SpellShape>,
    /// Flows that it stopped, the newest first, at most 100.
    stopped: Vec<FlowShape>,
}

/// How one point stands.
#[derive(Debug, Serialize, ToSchema)]
pub struct PointShape {
    /// Which: `sshd/password-login`.
    point: String,
    /// The hazard that it guards against.
    hazard: String,
    /// `holds`, `drifted`, `failed` or `not-enforceable-here`.
    standing: &'static str,
    /// Why, where the box says so.
    why: Option<String>,
    /// What the policy wants.
    wanted: String,
    /// What the box last set; null when it only observes.
    applied: Option<String>,
    /// What it last saw; null when it cannot see.
    observed: Option<String>,
    /// Since when it stands so.
    since: String,
}

impl From<&PointState> for PointShape {
    fn from(point: &PointState) -> PointShape {
        let (name, why) = standing(&point.standing);
        let text = |text: &homeward_protocol::posture::ShortText| text.as_str().to_owned();
        PointShape {
            point: point.point.to_string(),
            hazard: point.hazard.to_string(),
            standing: name,
            why: why.map(text),
            wanted: text(&point.wanted),
            applied: point.applied.as_ref().map(text),
            observed: point.observed.as_ref().map(text),
            since: moment(point.since),
        }
    }
}

/// A time that a point did not hold.
#[derive(Debug, Serialize, ToSchema)]
pub struct SpellShape {
    /// Which point.
    point: String,
    /// `drifted` or `failed`.
    standing: &'static str,
    /// What was wanted.
    wanted: String,
    /// What was seen.
    observed: Option<String>,
    /// Since when.
    since: String,
    /// Until when; null while it goes on.
    ended_at: Option<String>,
}

/// A flow that the box stopped.
#[derive(Debug, Serialize, ToSchema)]
pub struct FlowShape {
    /// By which point.
    point: String,
    /// Who tried.
    who: String,
    /// Whom it would have reached.
    peer: String,
    /// `tcp`, `udp`, or empty for others.
    protocol: String,
    /// The port; 0 where there is none.
    port: i64,
    /// How often it was told; once an hour at most.
    told: i64,
    /// When it was last told.
    last_at: String,
}

/// The policy of one gateway.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/policy", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = GatewayPolicy), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<GatewayPolicy>, Problem> {
    let (gateway, now, roots) = (id(&gateway)?, desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let book = policies::book_of(tx, &roots, &gateway)?;
        let Some(line) = overview::line(tx, &book, &gateway, now)? else {
            return Ok(None);
        };
        let said = states::get(tx, &gateway)?;
        let state = said.as_ref().map(|said| &said.state);
        let order = isolation::get(tx, &gateway)?.map(|given| given.order);
        let how = containment(order.as_ref(), state.and_then(|state| state.isolation.as_ref()));
        let returned = state.and_then(|state| state.returned.as_ref());
        let spell = |spell: states::Spell| SpellShape {
            point: spell.point,
            standing: standing(&spell.standing).0,
            wanted: spell.wanted,
            observed: spell.observed,
            since: moment(spell.since),
            ended_at: spell.ended_at.map(moment),
        };
        let flow = |flow: stopped::Shown| FlowShape {
            point: flow.point,
            who: flow.who,
            peer: flow.peer,
            protocol: flow.protocol,
            port: flow.port,
            told: flow.told,
            last_at: moment(flow.last_at),
        };
        Ok(Some(GatewayPolicy {
            wanted: line.wanted,
            holds: line.holds.map(|mark| mark.version.0),
            progress: line.progress.name(),
            said: words::progress(line.progress),
            heard_at: line.heard.map(moment),
            groups: groups::of(tx, &gateway)?
                .iter()
                .map(ToString::to_string)
                .collect(),
            isolation: how.name(),
            isolated_since: match how {
                Containment::Holds(since) => Some(moment(since)),
                _ => None,
            },
            returned: returned.map(|one| format!("{}: {}", one.from.version, words::cause(&one.cause))),
            points: states::points(tx, &gateway)?
                .iter()
                .map(PointShape::from)
                .collect(),
            more: state.map_or(0, |state| state.more),
            drifts: states::spells(tx, &gateway)?.into_iter().map(spell).collect(),
            stopped: stopped::newest(tx, &gateway, FLOWS)?
                .into_iter()
                .map(flow)
                .collect(),
        }))
    };
    Ok(Json(desk.store.read(work).await?.ok_or_else(Problem::missing)?))
}

/// Shuts a gateway off from all but its vital flows, at once or when it connects.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/isolate", params(("gateway" = String, Path)),
    request_body = ReasonShape, security(("token" = ["policy:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn isolate(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<ReasonShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    order(&desk, caller, &gateway, Ordered::Isolate, reason(given)?).await
}

/// Lifts that.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/release", params(("gateway" = String, Path)),
    request_body = ReasonShape, security(("token" = ["policy:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn release(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<ReasonShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    order(&desk, caller, &gateway, Ordered::Lift, reason(given)?).await
}

async fn order(
    desk: &Desk,
    Caller(by): Caller,
    gateway: &str,
    ordered: Ordered,
    why: String,
) -> Result<StatusCode, Problem> {
    let (gateway, now) = (id(gateway)?, desk.clock.now());
    let which = gateway.clone();
    let given = desk
        .store
        .write(move |tx| isolation::order(tx, &which, ordered, &why, &by, now));
    if given.await? == Ordering::Unknown {
        return Err(Problem::missing());
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}
