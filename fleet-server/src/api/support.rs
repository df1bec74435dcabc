//! Shell: support sessions of one gateway: asking for one, ending it, and coming through it.
#![expect(clippy::disallowed_methods, reason = "shell: waits for a link")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::{Extension, Json};
use hyper::upgrade::OnUpgrade;
use serde::{Deserialize, Serialize};
use tokio::time::sleep;
use utoipa::ToSchema;

use super::Desk;
use super::fleet::{body, id};
use super::guard::Caller;
use super::policies::{ReasonShape, reason};
use super::problem::Problem;
use super::shape::moment;
use crate::bus::Event;
use crate::store::support::{self, Asking};
use crate::support::hub::Guest;
use crate::support::{Asked, Kept, Stands, words};

/// Sessions in an answer.
const MOST: i64 = 100;
/// What the connection becomes.
pub const PROTOCOL: &str = "homeward-support";
/// How often, and how long after each try, a link of the box is looked for.
const TRIES: u32 = 75;
const BETWEEN: Duration = Duration::from_millis(200);

/// What is asked for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AskShape {
    /// The ticket that it is bound to.
    #[schema(example = "INC-4711")]
    ticket: String,
    /// Why: in the audit trail, and at the box.
    reason: String,
    /// The port of the box itself; ssh has 22.
    #[serde(default = "ssh")]
    #[schema(default = 22)]
    port: u16,
    /// How long it lasts from when the box hears of it, seconds, 5 to 28800.
    #[schema(example = 900)]
    lasts_s: u32,
}

const fn ssh() -> u16 {
    22
}

/// A support session.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionShape {
    /// Its number.
    session: u64,
    /// `asked`, `lapsed`, `refused`, `open`, `ending`, `over` or `ended`.
    #[schema(example = "open")]
    stands: &'static str,
    /// The same in plain English, with the box's reason.
    said: String,
    /// The ticket.
    ticket: String,
    /// Who asked for it.
    by: String,
    /// Whether nobody here asked for it: then ticket, person and reason are the box's own word. It meets nobody here.
    only_the_box_told: bool,
    /// Why.
    reason: String,
    /// The port of the box.
    port: u16,
    /// How long it may last, seconds.
    lasts_s: u32,
    /// When it was asked for.
    asked_at: String,
    /// When it ends at the latest, by the server's clock; null unless it is open.
    until: Option<String>,
    /// When the server heard that the box opened it.
    opened_at: Option<String>,
    /// When it heard that the box ended it.
    ended_at: Option<String>,
    /// Who ordered its end.
    end_by: Option<String>,
    /// How long it was open, seconds by the box's own clock.
    lasted_s: Option<u32>,
    /// Connections through it, as the box counted.
    links: Option<u32>,
    /// Bytes to the box, as it counted.
    in_bytes: Option<u64>,
    /// Bytes from the box, as it counted.
    out_bytes: Option<u64>,
    /// Connections through this server.
    through_links: u64,
}

impl SessionShape {
    fn of(kept: &Kept, now: homeward_protocol::time::Timestamp) -> SessionShape {
        let stands = kept.stands(now);
        let (ended, ended_at) = match &kept.ended {
            Some((ended, at)) => (Some(ended), Some(moment(*at))),
            None => (None, None),
        };
        let moved = ended.and_then(|ended| ended.moved);
        SessionShape {
            session: kept.session.session.0,
            stands: stands.name(),
            said: words::stands(stands),
            ticket: kept.session.ticket.as_str().to_owned(),
            by: kept.session.by.as_str().to_owned(),
            only_the_box_told: kept.foreign,
            reason: kept.session.reason.as_str().to_owned(),
            port: kept.session.port,
            lasts_s: kept.session.lasts_s,
            asked_at: moment(kept.asked_at),
            until: match stands {
                Stands::Open(until) => Some(moment(until)),
                _ => None,
            },
            opened_at: kept.opened_heard.map(moment),
            ended_at,
            end_by: kept.end_asked.as_ref().map(|(by, _)| by.clone()),
            lasted_s: ended.and_then(|ended| ended.lasted_s),
            links: moved.map(|moved| moved.links),
            in_bytes: moved.map(|moved| moved.in_bytes),
            out_bytes: moved.map(|moved| moved.out_bytes),
            through_links: kept.through.0,
        }
    }
}

/// Support sessions of one gateway.
#[derive(Debug, Serialize, ToSchema)]
pub struct SessionsShape {
    /// The newest first, at most 100.
    sessions: Vec<SessionShape>,
}

/// Support sessions of a gateway, the newest first.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/support", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = SessionsShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn list(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<SessionsShape>, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let all = desk.store.read(move |tx| support::of(tx, &gateway, MOST)).await?;
    let sessions = all.iter().map(|kept| SessionShape::of(kept, now)).collect();
    Ok(Json(SessionsShape { sessions }))
}

/// Asks a gateway for a support session. Its policy decides; whether it is open is in the list.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/support/open", params(("gateway" = String, Path)),
    request_body = AskShape, security(("token" = ["support:open"])),
    responses((status = 202, body = SessionShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn open(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<AskShape>, JsonRejection>,
) -> Result<(StatusCode, Json<SessionShape>), Problem> {
    let (gateway, now, given) = (id(&gateway)?, desk.clock.now(), body(given)?);
    let asked = Asked::new(&given.ticket, &given.reason, given.port, given.lasts_s);
    let asked = asked.map_err(|why| Problem::wrong(why.to_string()))?;
    let which = gateway.clone();
    let work = move |tx: &mut dyn crate::store::Tx| {
        let asking = support::ask(tx, &which, &asked, &by, now)?;
        let kept = match &asking {
            Asking::Asked(session) => support::one(tx, &which, session.session)?,
            _ => None,
        };
        Ok((asking, kept))
    };
    let (asking, kept) = desk.store.write(work).await?;
    match (asking, kept) {
        (Asking::Asked(_), Some(kept)) => {
            desk.bus.publish(Event::Changed(gateway));
            Ok((StatusCode::ACCEPTED, Json(SessionShape::of(&kept, now))))
        }
        (Asking::Busy(number), _) => Err(Problem::conflict(format!("session {number} is not over yet"))),
        (Asking::Unknown | Asking::Asked(_), _) => Err(Problem::missing()),
    }
}

/// Ends the support session of a gateway.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/support/end", params(("gateway" = String, Path)),
    request_body = ReasonShape, security(("token" = ["support:open"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn end(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<ReasonShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (gateway, now, why) = (id(&gateway)?, desk.clock.now(), reason(given)?);
    let which = gateway.clone();
    let ended = desk
        .store
        .write(move |tx| support::end(tx, &which, &why, &by, now));
    if !ended.await? {
        return Err(Problem::conflict(
            "no support session of this gateway is under way",
        ));
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}

/// Comes through the open session: the connection becomes one to the port of the box. Ask with
/// `Connection: upgrade` and `Upgrade: homeward-support`.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/support/connect", params(("gateway" = String, Path)),
    security(("token" = ["support:open"])),
    responses((status = 101, description = "from here on the far ends' own bytes"), (status = 401, body = Problem),
        (status = 409, body = Problem), (status = 426, body = Problem)))]
pub async fn connect(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    mut request: Request,
) -> Result<Response, Problem> {
    let gateway = id(&gateway)?;
    let wanted = request.headers().get(header::UPGRADE);
    let wanted = wanted.is_some_and(|to| to.as_bytes().eq_ignore_ascii_case(PROTOCOL.as_bytes()));
    let upgrade = request.extensions_mut().remove::<OnUpgrade>().filter(|_| wanted);
    let Some(upgrade) = upgrade else {
        let said = format!("ask with `Connection: upgrade` and `Upgrade: {PROTOCOL}`");
        return Err(Problem::new(StatusCode::UPGRADE_REQUIRED, said));
    };
    let noted = Arc::new(AtomicBool::new(false));
    let mut guest = Guest {
        upgrade,
        by: by.clone(),
        noted: Arc::clone(&noted),
    };
    for _ in 0..TRIES {
        let (which, now) = (gateway.clone(), desk.clock.now());
        let live = desk.store.read(move |tx| support::under_way(tx, &which, now));
        let Some(kept) = live.await?.into_iter().find(|kept| kept.may_meet(now)) else {
            return Err(Problem::conflict("no support session of this gateway is open"));
        };
        let Err(again) = desk.hub.take(&gateway, kept.session.session, guest) else {
            // What is not in the audit trail is not joined: the link waits for the answer that stands behind this.
            noted.store(true, Ordering::Release);
            let written = desk
                .store
                .write(move |tx| support::connected(tx, &kept, &by, now));
            if let Err(failed) = written.await {
                noted.store(false, Ordering::Release);
                return Err(failed.into());
            }
            return Ok(switch());
        };
        guest = again;
        sleep(BETWEEN).await;
    }
    Err(Problem::conflict(
        "the gateway has no free link: somebody else may be on it, or it is not connected",
    ))
}

fn switch() -> Response {
    let mut response = StatusCode::SWITCHING_PROTOCOLS.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static(PROTOCOL));
    response
}
