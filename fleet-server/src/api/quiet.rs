//! Shell: quiet for one gateway: how it stands, asking for it, and ending it.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::fleet::{body, id};
use super::guard::Caller;
use super::policies::{ReasonShape, reason};
use super::problem::Problem;
use crate::bus::Event;
use crate::quiet::{MAX_REASON, Stands, chosen};
use crate::store::quiets;

/// How a gateway stands to a wish for quiet.
#[derive(Debug, Serialize, ToSchema)]
pub struct QuietShape {
    /// `none`, `asked` (the box has not said that it heard), `kept`, `ending`.
    #[schema(example = "kept")]
    stands: &'static str,
    /// The same in plain English; null where nobody asked.
    said: Option<String>,
    /// When it ends; null where nobody asked.
    until: Option<String>,
    /// Who asked.
    by: Option<String>,
    /// Why.
    reason: Option<String>,
}

/// A wish.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WishShape {
    /// For how long from now on, hours: 1, 4, 12, 24 or 72.
    #[schema(example = 4)]
    hours: u32,
    /// Why, 1 to 100 characters: shown at the box.
    #[schema(example = "dialysis at home")]
    reason: String,
}

/// How it stands.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/quiet", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = QuietShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(desk): State<Desk>, Path(gateway): Path<String>) -> Result<Json<QuietShape>, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let found = desk.store.read(move |tx| quiets::of(tx, &gateway));
    let found = found.await?.ok_or_else(Problem::missing)?;
    let (stands, said) = (found.stands(now), found.words(now));
    let wish = found.wish.filter(|_| stands != Stands::None);
    Ok(Json(QuietShape {
        stands: stands.name(),
        said,
        until: wish.as_ref().map(|wish| wish.until.to_string()),
        by: wish.as_ref().map(|wish| wish.by.clone()),
        reason: wish.map(|wish| wish.reason),
    }))
}

/// Asks that nothing disturbs the home of a gateway for a while: no update, no restart. Readings and alarms go on.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/quiet", params(("gateway" = String, Path)),
    request_body = WishShape, security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn ask(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<WishShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let WishShape { hours, reason } = body(given)?;
    let length = chosen(hours).ok_or_else(|| Problem::wrong("hours is one of 1, 4, 12, 24, 72"))?;
    let reason = reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Problem::wrong("a reason has 1 to 100 characters"));
    }
    order(&desk, caller, &gateway, Some(length), reason).await
}

/// Ends that.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/quiet/end", params(("gateway" = String, Path)),
    request_body = ReasonShape, security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn end(
    State(desk): State<Desk>,
    Extension(caller): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<ReasonShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    order(&desk, caller, &gateway, None, reason(given)?).await
}

async fn order(
    desk: &Desk,
    Caller(by): Caller,
    gateway: &str,
    length: Option<std::time::Duration>,
    why: String,
) -> Result<StatusCode, Problem> {
    let (gateway, now) = (id(gateway)?, desk.clock.now());
    let which = gateway.clone();
    let given = desk
        .store
        .write(move |tx| quiets::order(tx, &which, length, (&why, &by), now));
    if given.await?.is_none() {
        return Err(Problem::missing());
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}
