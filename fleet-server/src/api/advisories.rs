//! Shell: advisories on devices that lie in people or act on them, what is weighed, and the register of those devices.
//!
//! No call here decides anything, and none brings anything to a device: what an advisory opens is a task for a clinician, who
//! decides in the console.

use axum::body::Bytes;
use axum::extract::rejection::{BytesRejection, JsonRejection};
use axum::extract::{Path, State};
use axum::{Extension, Json};
use homeward_protocol::release::dossier::Firmware;
use homeward_protocol::tuf::read::to_hex;
use ring::digest;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::fleet::body;
use super::guard::Caller;
use super::problem::Problem;
use super::shape::moment;
use crate::access::Sight;
use crate::advisory::csaf;
use crate::advisory::implant::{Entry, Implant, ImplantId};
use crate::advisory::words;
use crate::dossier::Reason;
use crate::store::advisories::{self, Listed as Revision, Taken};
use crate::store::implants::{self, Added};
use crate::store::weighings::{self, Listed};

/// An advisory that was taken in.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdvisoryShape {
    /// Its own id.
    #[schema(example = "ICSMA-17-241-01")]
    id: String,
    /// Who gives it out.
    publisher: String,
    /// The same as a URI.
    namespace: String,
    /// Which revision: the newest that is here.
    version: String,
    /// When that was given out.
    released: String,
    /// Its title.
    title: String,
    /// To whom it may be given (TLP); null where it does not say.
    tlp: Option<String>,
    /// The SHA-256 of its bytes, hex.
    sha256: String,
}

impl From<&Revision> for AdvisoryShape {
    fn from(one: &Revision) -> AdvisoryShape {
        AdvisoryShape {
            id: one.id.clone(),
            publisher: one.publisher.clone(),
            namespace: one.namespace.clone(),
            version: one.version.clone(),
            released: moment(one.released),
            title: one.title.clone(),
            tlp: one.tlp.clone(),
            sha256: one.sha256.clone(),
        }
    }
}

/// Advisories.
#[derive(Debug, Serialize, ToSchema)]
pub struct AdvisoriesShape {
    /// The last taken in first, at most 500.
    advisories: Vec<AdvisoryShape>,
    /// How many more there are.
    more: usize,
}

/// What came of taking one in.
#[derive(Debug, Serialize, ToSchema)]
pub struct TakenShape {
    /// Its own id.
    id: String,
    /// Whether it is new here.
    new: bool,
    /// The tasks that it opened, by their numbers.
    tasks: Vec<i64>,
    /// Tasks of earlier revisions that ended by it.
    superseded: Vec<i64>,
}

/// A device of the register.
#[derive(Debug, Serialize, ToSchema)]
pub struct ImplantShape {
    /// Its number.
    entry: i64,
    /// The home, by its pseudonym.
    home: String,
    /// What it is called here.
    device: String,
    /// `implant` or `worn`.
    kind: &'static str,
    /// Who makes it.
    maker: String,
    /// Which model.
    model: String,
    /// The version that it showed last; null where nobody looked.
    shows: Option<String>,
    /// Since when it is here.
    since: String,
    /// When it was taken out; null while it is there.
    ended: Option<String>,
}

impl From<&Entry> for ImplantShape {
    fn from(entry: &Entry) -> ImplantShape {
        let implant = &entry.implant;
        ImplantShape {
            entry: entry.id.0,
            home: implant.placement.to_string(),
            device: implant.device.to_string(),
            kind: implant.kind.name(),
            maker: implant.maker.to_string(),
            model: implant.model.to_string(),
            shows: implant.shows.as_ref().map(ToString::to_string),
            since: moment(entry.told_at),
            ended: entry.ended.as_ref().map(|(at, _)| moment(*at)),
        }
    }
}

/// The register.
#[derive(Debug, Serialize, ToSchema)]
pub struct RegisterShape {
    /// What is there first, at most 1000.
    implants: Vec<ImplantShape>,
    /// How many more there are.
    more: usize,
}

/// What is weighed for one device.
#[derive(Debug, Serialize, ToSchema)]
pub struct WeighingShape {
    /// Its number.
    task: i64,
    /// The advisory's own id.
    #[schema(example = "ICSMA-17-241-01")]
    advisory: String,
    /// The SHA-256 of the revision, hex.
    sha256: String,
    /// The device.
    device: ImplantShape,
    /// `open`, `decided`, `done`, `not-it` (another device), `withdrawn`, `superseded` by a later revision, or `gone` with its
    /// device.
    #[schema(example = "open")]
    state: &'static str,
    /// Whether it is to be weighed now.
    to_weigh: bool,
    /// The same in plain English.
    says: String,
    /// Since when.
    since: String,
}

/// What is weighed.
#[derive(Debug, Serialize, ToSchema)]
pub struct WeighingsShape {
    /// What somebody has to do first, at most 1000.
    tasks: Vec<WeighingShape>,
    /// How many more there are.
    more: usize,
}

/// A device to write down.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewImplantShape {
    /// The home, by its pseudonym.
    #[schema(example = "home-0042")]
    home: String,
    /// What it is called here: a kind or a number, never a person, no serial number.
    #[schema(example = "pacemaker")]
    device: String,
    /// `implant` or `worn`.
    #[schema(example = "implant")]
    kind: String,
    /// Who makes it, as it stands on the device or its card.
    #[schema(example = "Abbott")]
    maker: String,
    /// Which model, likewise.
    #[schema(example = "Accent MRI")]
    model: String,
    /// The version that it shows, where somebody looked.
    shows: Option<String>,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub struct AddedShape {
    /// Its number.
    entry: i64,
    /// The tasks that were opened for it.
    tasks: Vec<i64>,
}

/// Why it is taken out.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct EndShape {
    /// 1 to 200 characters.
    reason: String,
}

/// Advisories that were taken in: the newest revisions.
#[utoipa::path(get, path = "/api/v1/advisories", security(("token" = ["fleet:read"])),
    responses((status = 200, body = AdvisoriesShape), (status = 401, body = Problem)))]
pub async fn list(State(desk): State<Desk>) -> Result<Json<AdvisoriesShape>, Problem> {
    let (all, more) = desk.store.read(advisories::list).await?;
    Ok(Json(AdvisoriesShape {
        advisories: all.iter().map(AdvisoryShape::from).collect(),
        more,
    }))
}

/// Takes one in: a CSAF 2.0 document of at most 4 MiB. A task is opened for each device of the register that it is about.
#[utoipa::path(post, path = "/api/v1/advisories", request_body(content = serde_json::Value, description = "A document of CSAF 2.0.", content_type = "application/json"),
    security(("token" = ["fleet:write"])),
    responses((status = 200, body = TakenShape), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub async fn take(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    given: Result<Bytes, BytesRejection>,
) -> Result<Json<TakenShape>, Problem> {
    let bytes = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let advisory = csaf::read(&bytes).map_err(|why| Problem::wrong(why.to_string()))?;
    let sha256 = to_hex(digest::digest(&digest::SHA256, &bytes).as_ref());
    let (now, id) = (desk.clock.now(), advisory.id.clone());
    let work =
        move |tx: &mut dyn crate::store::Tx| advisories::take(tx, (&sha256, &bytes), &advisory, &by, now);
    match desk.store.write(work).await? {
        Taken::New(opened) => Ok(Json(TakenShape {
            id,
            new: true,
            tasks: opened.new.iter().map(|(task, _)| task.0).collect(),
            superseded: opened.superseded.iter().map(|task| task.0).collect(),
        })),
        Taken::Known => Ok(Json(TakenShape {
            id,
            new: false,
            tasks: Vec::new(),
            superseded: Vec::new(),
        })),
        Taken::Older(here) => Err(Problem::conflict(format!(
            "a later revision of {id} is here: {here}"
        ))),
        Taken::OtherForm(here) => Err(Problem::conflict(format!(
            "revision {here} of {id} is here, which is numbered otherwise: nobody can say which is later"
        ))),
        Taken::Differs(here) => Err(Problem::conflict(format!(
            "this revision of {id} is here with other bytes (sha256 {here}): one of the two is not what its publisher gave out"
        ))),
    }
}

/// What is weighed.
#[utoipa::path(get, path = "/api/v1/advisories/tasks", security(("token" = ["care:read"])),
    responses((status = 200, body = WeighingsShape), (status = 401, body = Problem)))]
pub async fn tasks(State(desk): State<Desk>) -> Result<Json<WeighingsShape>, Problem> {
    let now = desk.clock.now();
    let all = desk.store.read(|tx| weighings::list(tx, &Sight::Fleet)).await?;
    let shape = |one: &Listed| {
        let task = &one.weighing;
        WeighingShape {
            task: task.id.0,
            advisory: one.tracking.clone(),
            sha256: task.advisory.clone(),
            device: (&task.entry).into(),
            state: task.stands.name().0,
            to_weigh: task.stands.is_to_weigh(now),
            says: words::stands(&task.stands, now),
            since: moment(task.since),
        }
    };
    Ok(Json(WeighingsShape {
        tasks: all.list.iter().map(shape).collect(),
        more: all.more,
    }))
}

/// The register of devices that lie in people or act on them, and that no box reads.
#[utoipa::path(get, path = "/api/v1/implants", security(("token" = ["care:read"])),
    responses((status = 200, body = RegisterShape), (status = 401, body = Problem)))]
pub async fn register(State(desk): State<Desk>) -> Result<Json<RegisterShape>, Problem> {
    let all = desk.store.read(|tx| implants::list(tx, &Sight::Fleet)).await?;
    Ok(Json(RegisterShape {
        implants: all.list.iter().map(ImplantShape::from).collect(),
        more: all.more,
    }))
}

/// Writes a device down; a task is opened for each advisory that is about it.
#[utoipa::path(post, path = "/api/v1/implants", request_body = NewImplantShape, security(("token" = ["fleet:write"])),
    responses((status = 200, body = AddedShape), (status = 401, body = Problem), (status = 409, body = Problem),
        (status = 422, body = Problem)))]
pub async fn add(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    given: Result<Json<NewImplantShape>, JsonRejection>,
) -> Result<Json<AddedShape>, Problem> {
    let given = body(given)?;
    let implant = Implant {
        placement: given.home.parse().map_err(wrong("home"))?,
        device: given.device.parse().map_err(wrong("device"))?,
        kind: given.kind.parse().map_err(wrong("kind"))?,
        maker: given.maker.parse().map_err(wrong("maker"))?,
        model: given.model.parse().map_err(wrong("model"))?,
        shows: given
            .shows
            .map(|shows| shows.trim().parse::<Firmware>().map_err(wrong("shows")))
            .transpose()?,
    };
    let (now, home) = (desk.clock.now(), implant.placement.clone());
    let work =
        move |tx: &mut dyn crate::store::Tx| implants::add(tx, &implant, (&Sight::Fleet, by.as_str()), now);
    match desk.store.write(work).await? {
        Added::New(entry, opened) => Ok(Json(AddedShape {
            entry: entry.id.0,
            tasks: opened.new.iter().map(|(task, _)| task.0).collect(),
        })),
        Added::NoHome => Err(Problem::wrong(format!("home: there is no {home}"))),
        Added::Known(id) => Err(Problem::conflict(format!(
            "a device of that name is in the register for {home}: entry {id}"
        ))),
    }
}

fn wrong<E: std::fmt::Display>(what: &'static str) -> impl Fn(E) -> Problem {
    move |why| Problem::wrong(format!("{what}: {why}"))
}

/// Takes a device out of the register: what is weighed for it ends.
#[utoipa::path(post, path = "/api/v1/implants/{entry}/end", params(("entry" = i64, Path)), request_body = EndShape,
    security(("token" = ["fleet:write"])),
    responses((status = 200, body = ImplantShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 422, body = Problem)))]
pub async fn end(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(entry): Path<String>,
    given: Result<Json<EndShape>, JsonRejection>,
) -> Result<Json<ImplantShape>, Problem> {
    let id: ImplantId = entry.parse().map_err(|_| Problem::missing())?;
    let reason: Reason = body(given)?.reason.parse().map_err(wrong("reason"))?;
    let now = desk.clock.now();
    let work = move |tx: &mut dyn crate::store::Tx| implants::end(tx, (id, &Sight::Fleet), &reason, &by, now);
    let ended = desk.store.write(work).await?.ok_or_else(Problem::missing)?;
    Ok(Json((&ended).into()))
}
