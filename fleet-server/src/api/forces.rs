//! Shell: orders to force of one gateway: how they stand, and taking one in that two people signed.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use homeward_protocol::time::Timestamp;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::fleet::{body, id};
use super::guard::Caller;
use super::problem::Problem;
use super::shape::moment;
use crate::bus::Event;
use crate::force::Kept;
use crate::force::paper::Papers;
use crate::force::take::{Taken, take};
use crate::store::forces;

/// Orders in an answer.
const MOST: i64 = 100;

/// An order to force.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForceShape {
    /// Its number; rises for each gateway.
    #[schema(example = 4)]
    number: u64,
    /// The number of the director's word that it is for.
    word: u64,
    /// SHA-256 over what its author signed, hex.
    digest: String,
    /// What it overrules: of `hold`, `unknown`, `alarm`, `battery`, `maintenance`, with commas. Never a session.
    #[schema(example = "hold, alarm")]
    overrules: String,
    /// Why.
    reason: String,
    /// Who signed it first.
    author: String,
    /// Who signed it second.
    reviewer: String,
    /// Not before.
    not_before: String,
    /// Not from here on.
    until: String,
    /// Who brought it here.
    brought_by: String,
    /// When.
    brought_at: String,
    /// When it was first sent; null before.
    sent_at: Option<String>,
    /// `brought`, `sent`, `unheard`, or what the box said: `not-yet`, `no-time`, `in-effect`, `used`, `ended`, `refused`.
    #[schema(example = "in-effect")]
    stands: &'static str,
    /// The same in plain English.
    said: String,
    /// When the box said it.
    said_at: Option<String>,
}

impl ForceShape {
    fn of(kept: &Kept, now: Timestamp) -> ForceShape {
        ForceShape {
            number: kept.number.0,
            word: kept.assignment,
            digest: kept.digest.clone(),
            overrules: kept.overrules.clone(),
            reason: kept.reason.clone(),
            author: kept.author.clone(),
            reviewer: kept.reviewer.clone(),
            not_before: moment(kept.not_before),
            until: moment(kept.until),
            brought_by: kept.brought_by.clone(),
            brought_at: moment(kept.brought_at),
            sent_at: kept.sent_at.map(moment),
            stands: kept.name(now),
            said: kept.words(now),
            said_at: kept.said.as_ref().map(|(_, at)| moment(*at)),
        }
    }
}

/// Orders to force.
#[derive(Debug, Serialize, ToSchema)]
pub struct ForcesShape {
    /// The newest first, at most 100.
    forces: Vec<ForceShape>,
}

/// Orders to force an update of a gateway, and what its box says of each.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/forces", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = ForcesShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn list(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<ForcesShape>, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let all = desk.store.read(move |tx| forces::of(tx, &gateway, MOST)).await?;
    let forces = all.iter().map(|kept| ForceShape::of(kept, now)).collect();
    Ok(Json(ForcesShape { forces }))
}

/// What was signed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ForcePapersShape {
    /// The text that `homeward-fleet update force review` wrote.
    papers: String,
}

/// Takes in an order that an author and a reviewer of the policies' keyring signed, for the update that waits there. The
/// token alone orders nothing.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/forces", params(("gateway" = String, Path)),
    request_body = ForcePapersShape, security(("token" = ["policy:write"])),
    responses((status = 202, body = ForcesShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn bring(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<ForcePapersShape>, JsonRejection>,
) -> Result<(StatusCode, Json<ForcesShape>), Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let wrong = |why: crate::policy::paper::PaperError| Problem::wrong(why.to_string());
    let offer = Papers::parse(&body(given)?.papers).and_then(|papers| papers.offer());
    let (offer, roots, which) = (offer.map_err(wrong)?, desk.roots.now(), gateway.clone());
    let taken = desk.store.write(move |tx| {
        let looked = crate::force::take::look(tx, &offer, &roots, now)?;
        match &looked {
            Taken::Kept { accepted, .. } if accepted.order().gateway == which => {
                take(tx, &offer, &roots, &by, now).map(Some)
            }
            Taken::Kept { .. } => Ok(None),
            _ => Ok(Some(looked)),
        }
    });
    match taken.await? {
        Some(Taken::Kept { .. }) => {
            desk.bus.publish(Event::Changed(gateway.clone()));
            let all = desk.store.read(move |tx| forces::of(tx, &gateway, MOST)).await?;
            let forces = all.iter().map(|kept| ForceShape::of(kept, now)).collect();
            Ok((StatusCode::ACCEPTED, Json(ForcesShape { forces })))
        }
        Some(Taken::Refused(why)) => Err(Problem::wrong(format!("the box would not follow it: {why}"))),
        Some(Taken::NoGateway) => Err(Problem::missing()),
        Some(Taken::Number(highest)) => Err(Problem::conflict(format!(
            "an order with the number {highest} was brought for this gateway"
        ))),
        None => Err(Problem::wrong("it is for another gateway".to_owned())),
    }
}
