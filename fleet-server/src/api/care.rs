//! Shell: how homes are, and what a person should look into.

use std::collections::BTreeMap;

use axum::Json;
use axum::extract::State;
use homeward_protocol::id::PlacementId;
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::problem::Problem;
use super::shape::{StandingShape, moment};
use crate::access::Sight;
use crate::care::{self, Facts};
use crate::store::care::{known, placements as homes};
use crate::store::console;

/// A home and how it is.
#[derive(Debug, Serialize, ToSchema)]
pub struct PlacementShape {
    /// Its pseudonym.
    id: String,
    /// Its care team.
    team: String,
    /// `low`, `medium` or `high`.
    dependency: &'static str,
    /// The judgement over all its gateways.
    standing: StandingShape,
}

/// All homes, by id.
#[utoipa::path(get, path = "/api/v1/placements", security(("token" = ["care:read"])),
    responses((status = 200, body = [PlacementShape]), (status = 401, body = Problem)))]
pub async fn placements(State(desk): State<Desk>) -> Result<Json<Vec<PlacementShape>>, Problem> {
    let now = desk.clock.now();
    let read = desk
        .store
        .read(move |tx| Ok((homes(tx, &Sight::Fleet)?, known(tx, &Sight::Fleet, now)?)));
    let (homes, gateways) = read.await?;
    let mut by_home: BTreeMap<PlacementId, Vec<Facts>> = BTreeMap::new();
    for gateway in gateways {
        if let Some(home) = gateway.placement {
            by_home.entry(home).or_default().push(gateway.facts);
        }
    }
    let none = Vec::new();
    let shape = |home: crate::store::care::Placement| PlacementShape {
        standing: (&care::placement(by_home.get(&home.id).unwrap_or(&none), now)).into(),
        id: home.id.to_string(),
        team: home.team.to_string(),
        dependency: home.dependency.name(),
    };
    Ok(Json(homes.into_iter().map(shape).collect()))
}

/// Something that a person should look into.
#[derive(Debug, Serialize, ToSchema)]
pub struct IncidentShape {
    /// Its id.
    id: String,
    /// About which gateway.
    gateway: Option<String>,
    /// Which kind.
    kind: String,
    /// What happened, in plain English.
    said: String,
    /// When.
    at: String,
    /// When a person closed it.
    closed_at: Option<String>,
}

/// The newest incidents, open ones first, at most 500.
#[utoipa::path(get, path = "/api/v1/incidents", security(("token" = ["fleet:read"])),
    responses((status = 200, body = [IncidentShape]), (status = 401, body = Problem)))]
pub async fn incidents(State(desk): State<Desk>) -> Result<Json<Vec<IncidentShape>>, Problem> {
    let found = desk.store.read(|tx| console::incidents(tx)).await?;
    let shape = |i: console::Incident| IncidentShape {
        id: i.id,
        gateway: i.gateway.map(|g| g.to_string()),
        kind: i.kind,
        said: i.said,
        at: moment(i.at),
        closed_at: i.closed_at.map(moment),
    };
    Ok(Json(found.into_iter().map(shape).collect()))
}
