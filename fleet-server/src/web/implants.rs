//! Shell: the register of devices that lie in people or act on them, and that no box reads.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::PlacementId;
use homeward_protocol::release::dossier::Firmware;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::placements::not_taken;
use crate::advisory::implant::{Entry, Implant, ImplantId, Kind};
use crate::dossier::Reason;
use crate::store::care;
use crate::store::implants::{self, Added};

#[derive(Template)]
#[template(path = "implants.html")]
struct Page {
    frame: Frame,
    here: Vec<Entry>,
    over: Vec<Entry>,
    more: usize,
    homes: Vec<PlacementId>,
}

/// The list and the form.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let read = desk
        .store
        .read(move |tx| Ok((implants::list(tx, &sight)?, care::placements(tx, &sight)?)));
    let (all, homes) = read.await?;
    let (here, over) = all.list.into_iter().partition(|entry| entry.ended.is_none());
    Ok(page(&Page {
        frame: Frame::new("Implants", "/implants", &visitor, now),
        here,
        over,
        more: all.more,
        homes: homes.into_iter().map(|home| home.id).collect(),
    }))
}

/// A device.
#[derive(Deserialize)]
pub struct NewImplant {
    home: String,
    device: String,
    kind: String,
    maker: String,
    model: String,
    #[serde(default)]
    shows: String,
}

/// Writes one down.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<NewImplant>,
) -> Result<Response, Failure> {
    let shows = Some(given.shows.trim()).filter(|shows| !shows.is_empty());
    let implant = Implant {
        placement: given.home.trim().parse().map_err(not_taken("home"))?,
        device: given.device.trim().parse().map_err(not_taken("name"))?,
        kind: given.kind.parse::<Kind>().map_err(not_taken("kind"))?,
        maker: given.maker.parse().map_err(not_taken("maker"))?,
        model: given.model.parse().map_err(not_taken("model"))?,
        shows: shows
            .map(|shows| shows.parse::<Firmware>().map_err(not_taken("version")))
            .transpose()?,
    };
    let now = desk.clock.now();
    let added = desk
        .store
        .write(move |tx| implants::add(tx, &implant, (&visitor.sight, visitor.user.as_str()), now));
    match added.await? {
        Added::New(..) => Ok(go("/implants")),
        Added::NoHome => Err(Failure::NothingHere),
        Added::Known(id) => Err(Failure::Refused(format!(
            "a device of that name is in the register for this home (entry {id}): another name tells the two apart"
        ))),
    }
}

/// The version that somebody read off it.
#[derive(Deserialize)]
pub struct Shows {
    shows: String,
}

/// Notes it.
pub async fn seen(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(entry): Path<String>,
    Form(given): Form<Shows>,
) -> Result<Response, Failure> {
    let id: ImplantId = entry.parse().map_err(|_| Failure::NothingHere)?;
    let shows: Firmware = given.shows.trim().parse().map_err(not_taken("version"))?;
    let now = desk.clock.now();
    let seen = desk
        .store
        .write(move |tx| implants::seen(tx, (id, &visitor.sight), &shows, visitor.user.as_str(), now));
    seen.await?.ok_or(Failure::NothingHere)?;
    Ok(go("/implants"))
}

/// Why it is taken out.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Takes it out.
pub async fn end(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(entry): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let id: ImplantId = entry.parse().map_err(|_| Failure::NothingHere)?;
    let reason: Reason = given.reason.parse().map_err(not_taken("reason"))?;
    let now = desk.clock.now();
    let ended = desk
        .store
        .write(move |tx| implants::end(tx, (id, &visitor.sight), &reason, visitor.user.as_str(), now));
    ended.await?.ok_or(Failure::NothingHere)?;
    Ok(go("/implants"))
}
