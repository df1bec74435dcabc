//! Shell: homes and care teams.

use std::collections::BTreeMap;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::{GatewayId, PlacementId};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use crate::access::Sight;
use crate::care::Dependency;
use crate::store::care::{self, Placement, Team};

/// Most characters of a team's name.
const MAX_NAME: usize = 80;

/// A new home.
#[derive(Deserialize)]
pub struct NewHome {
    placement: String,
    team: String,
    dependency: String,
}

/// A new care team.
#[derive(Deserialize)]
pub struct NewTeam {
    team: String,
    name: String,
}

#[derive(Template)]
#[template(path = "placements.html")]
struct Page {
    frame: Frame,
    teams: Vec<Team>,
    homes: Vec<(Placement, Vec<GatewayId>)>,
}

/// The lists and the forms.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let read = desk.store.read(move |tx| {
        let boxes = care::known(tx, &Sight::Fleet, now)?;
        Ok((care::teams(tx)?, care::placements(tx, &Sight::Fleet)?, boxes))
    });
    let (teams, homes, boxes) = read.await?;
    let mut by_home: BTreeMap<PlacementId, Vec<GatewayId>> = BTreeMap::new();
    for known in boxes {
        if let Some(home) = known.placement {
            by_home.entry(home).or_default().push(known.gateway);
        }
    }
    let with_boxes = |home: Placement| {
        let boxes = by_home.remove(&home.id).unwrap_or_default();
        (home, boxes)
    };
    Ok(page(&Page {
        frame: Frame::new("Homes", "/placements", &visitor, now),
        homes: homes.into_iter().map(with_boxes).collect(),
        teams,
    }))
}

/// Adds a home.
pub async fn post(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<NewHome>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let home = Placement {
        id: given.placement.trim().parse().map_err(not_taken("home"))?,
        team: given.team.trim().parse().map_err(not_taken("care team"))?,
        dependency: given
            .dependency
            .parse::<Dependency>()
            .map_err(not_taken("dependency"))?,
    };
    desk.store
        .write(move |tx| care::add_placement(tx, &home, visitor.user.as_str(), now))
        .await?;
    Ok(go("/placements"))
}

/// Adds a care team.
pub async fn add_team(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Form(given): Form<NewTeam>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let name: String = given
        .name
        .trim()
        .chars()
        .filter(|c| !c.is_control())
        .take(MAX_NAME)
        .collect();
    let team = Team {
        id: given.team.trim().parse().map_err(not_taken("care team"))?,
        name,
    };
    desk.store
        .write(move |tx| care::add_team(tx, &team, visitor.user.as_str(), now))
        .await?;
    Ok(go("/placements"))
}

/// A form's answer to a value that does not parse.
pub fn not_taken<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Failure {
    move |why| Failure::Form(format!("The {what} is not taken: {why}."))
}
