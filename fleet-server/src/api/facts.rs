//! Shell: what boxes are: facts, their history, the SBOM, and questions to the whole fleet.

use axum::Json;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use homeward_protocol::posture::fact::What;
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::Desk;
use super::fleet::id;
use super::problem::Problem;
use super::shape::moment;
use crate::facts::view::{self, Line};
use crate::store::facts::{self, Changed, Holds, Installed};

/// Most boxes in one answer.
const MOST: i64 = 10_000;

/// What a box is.
#[derive(Debug, Serialize, ToSchema)]
pub struct Facts {
    /// When the box looked, by its clock; missing when it has told nothing yet.
    taken_at: Option<String>,
    /// When that arrived.
    received_at: Option<String>,
    /// Fingerprint of all facts together, hex.
    mark: Option<String>,
    /// The facts, by id.
    #[serde(rename = "facts")]
    all: Vec<FactShape>,
    /// What changed, the newest first, at most 200.
    changes: Vec<ChangeShape>,
}

/// One fact.
#[derive(Debug, Serialize, ToSchema)]
pub struct FactShape {
    /// Its stable name.
    #[schema(example = "net.listen[tcp/0.0.0.0:22]")]
    id: String,
    /// What it is about, in plain English.
    what: &'static str,
    /// What is so, in plain English with its unit.
    #[schema(example = "sshd")]
    value: String,
    /// The same for programs: one key, the kind of value.
    #[schema(value_type = Object)]
    raw: serde_json::Value,
    /// Where the box read it.
    source: String,
    /// When the box last told it.
    taken_at: String,
    /// Since when it is so.
    since: Option<String>,
}

impl From<&Line> for FactShape {
    fn from(line: &Line) -> FactShape {
        FactShape {
            id: line.fact.id.to_string(),
            what: line.fact.id.what().said(),
            value: line.fact.value.to_string(),
            raw: serde_json::to_value(&line.fact.value).unwrap_or_default(),
            source: line.fact.source.as_str().to_owned(),
            taken_at: moment(line.fact.taken_at),
            since: line.since.map(moment),
        }
    }
}

/// One change.
#[derive(Debug, Serialize, ToSchema)]
pub struct ChangeShape {
    /// Which fact.
    id: String,
    /// When.
    at: String,
    /// What was so; missing when there was no such thing.
    was: Option<String>,
    /// What is so; missing when it is gone.
    now: Option<String>,
}

impl From<&Changed> for ChangeShape {
    fn from(changed: &Changed) -> ChangeShape {
        ChangeShape {
            id: changed.fact.to_string(),
            at: moment(changed.at),
            was: changed.was.clone(),
            now: changed.now.clone(),
        }
    }
}

/// What a gateway is, fact by fact, and what changed.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/facts", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = Facts), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(State(desk): State<Desk>, Path(gateway): Path<String>) -> Result<Json<Facts>, Problem> {
    let gateway = id(&gateway)?;
    let read = desk.store.read(move |tx| view::read(tx, &gateway));
    let found = read.await?.ok_or_else(Problem::missing)?;
    Ok(Json(Facts {
        taken_at: found.told.as_ref().map(|told| moment(told.taken_at)),
        received_at: found.told.as_ref().map(|told| moment(told.received_at)),
        mark: found.told.as_ref().map(|told| told.mark.to_string()),
        all: found.lines.iter().map(FactShape::from).collect(),
        changes: found.changes.iter().map(ChangeShape::from).collect(),
    }))
}

/// Asks a gateway to tell all its facts now, if it is connected.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/facts", params(("gateway" = String, Path)),
    security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn ask(State(desk): State<Desk>, Path(gateway): Path<String>) -> Result<StatusCode, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let asked = desk.store.write(move |tx| facts::ask(tx, &gateway, now));
    if asked.await? {
        Ok(StatusCode::NO_CONTENT)
    } else {
        Err(Problem::missing())
    }
}

/// The software of a gateway, as an SBOM.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/sbom", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, description = "`CycloneDX` 1.6, JSON", body = Object), (status = 401, body = Problem),
        (status = 404, body = Problem)))]
pub async fn sbom(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<serde_json::Value>, Problem> {
    let gateway = id(&gateway)?;
    let of = gateway.clone();
    let found = desk.store.read(move |tx| facts::list(tx, &of)).await?;
    let found = found.ok_or_else(Problem::missing)?;
    Ok(Json(view::sbom(&gateway, &found)))
}

/// Which fact is looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Asked {
    /// Its name without a subject, such as `net.listen`.
    fact: String,
    /// A part of its subject, such as `:22`.
    subject: Option<String>,
    /// A part of its value in words, such as `sshd`.
    value: Option<String>,
}

/// A box that has it.
#[derive(Debug, Serialize, ToSchema)]
pub struct HolderShape {
    /// Which gateway.
    gateway: String,
    /// The fact.
    id: String,
    /// What is so.
    value: String,
    /// Since when.
    since: String,
}

impl From<&Holds> for HolderShape {
    fn from(holds: &Holds) -> HolderShape {
        HolderShape {
            gateway: holds.gateway.to_string(),
            id: holds.fact.to_string(),
            value: holds.value.clone(),
            since: moment(holds.since),
        }
    }
}

/// Which gateways have a fact; at most 10,000, by gateway.
#[utoipa::path(get, path = "/api/v1/facts", params(Asked), security(("token" = ["fleet:read"])),
    responses((status = 200, body = Vec<HolderShape>), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn find(
    State(desk): State<Desk>,
    asked: Result<Query<Asked>, QueryRejection>,
) -> Result<Json<Vec<HolderShape>>, Problem> {
    let Query(asked) = asked.map_err(|e| Problem::wrong(e.body_text()))?;
    let what: What = asked
        .fact
        .parse()
        .map_err(|e| Problem::wrong(format!("fact: {e}")))?;
    let (subject, value) = (asked.subject.unwrap_or_default(), asked.value.unwrap_or_default());
    let found = desk
        .store
        .read(move |tx| facts::find(tx, what, (&subject, &value), MOST))
        .await?;
    Ok(Json(found.iter().map(HolderShape::from).collect()))
}

/// Which package is looked for.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
pub struct Named {
    /// The name of a package, or of the source that it was built from.
    name: String,
}

/// A package of a box.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstalledShape {
    /// Which gateway.
    gateway: String,
    /// Where it comes from: `deb`, `rpm`, `ipk`, `apk`, `program` or `crate`.
    kind: String,
    /// Its name.
    name: String,
    /// Its version.
    version: String,
}

impl From<Installed> for InstalledShape {
    fn from(one: Installed) -> InstalledShape {
        InstalledShape {
            gateway: one.gateway.to_string(),
            kind: one.kind,
            name: one.name,
            version: one.version,
        }
    }
}

/// Which gateways have a package; at most 10,000 rows, by gateway.
#[utoipa::path(get, path = "/api/v1/software", params(Named), security(("token" = ["fleet:read"])),
    responses((status = 200, body = Vec<InstalledShape>), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn software(
    State(desk): State<Desk>,
    asked: Result<Query<Named>, QueryRejection>,
) -> Result<Json<Vec<InstalledShape>>, Problem> {
    let Query(asked) = asked.map_err(|e| Problem::wrong(e.body_text()))?;
    let found = desk
        .store
        .read(move |tx| facts::who_has(tx, &asked.name, MOST))
        .await?;
    Ok(Json(found.into_iter().map(InstalledShape::from).collect()))
}
