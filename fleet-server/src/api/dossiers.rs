//! Shell: firmware of devices: the tasks that dossiers made for people, and what people say of them.
//!
//! There is no call here that brings anything to a device or a box: what is opened is a task for a person.
#![expect(clippy::disallowed_methods, reason = "shell: reads files aside")]

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::{Extension, Json};
use homeward_protocol::release::dossier::{Class, Dossier, Firmware};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::guard::Caller;
use super::problem::Problem;
use super::shape::moment;
use crate::access::{Sight, UserName};
use crate::dossier::{Day, Order, Reason, TaskId, Who, words};
use crate::store::dossiers::{self, Found, Full, How, Opening};
use crate::store::users;

/// A task: one device, for a person.
#[derive(Debug, Serialize, ToSchema)]
pub struct TaskShape {
    /// Its number.
    #[schema(example = 12)]
    task: i64,
    /// Where the dossier lies in the repository.
    #[schema(example = "dossier/cuff-2026-leak/1.0.0")]
    dossier: String,
    /// The SHA-256 of the dossier, hex.
    sha256: String,
    /// The box at the device's home.
    gateway: String,
    /// The home that it was opened for, by its pseudonym; null when the box was in none.
    home: Option<String>,
    /// Whether its box stands elsewhere now: a person has to look again before anything is done.
    moved: bool,
    /// The device, as its box calls it.
    device: String,
    /// `sensor`, `alarm`, `actuator` or `implant`.
    #[schema(example = "sensor")]
    class: &'static str,
    /// `open`, `planned`, `seen` (a second person is needed), `done`, `refused`, `withdrawn`, `superseded` by
    /// newer instructions, or `recalled` with its own.
    #[schema(example = "planned")]
    state: &'static str,
    /// The same in plain English.
    says: String,
    /// Since when.
    since: String,
    /// What the device said of its firmware when the task was opened; null where it says nothing.
    shown: Option<String>,
    /// What the device shows when it worked.
    brings: String,
}

impl TaskShape {
    fn of(full: &Full) -> TaskShape {
        let (task, dossier) = (&full.task, &full.kept.dossier);
        TaskShape {
            task: task.id.0,
            dossier: full.kept.path.clone(),
            sha256: task.dossier.clone(),
            gateway: task.gateway.to_string(),
            home: full.placement.as_ref().map(ToString::to_string),
            moved: task.has_moved(),
            device: task.device.to_string(),
            class: Class::name(dossier.class),
            state: task.stands.name().0,
            says: words::stands(task, dossier),
            since: moment(task.since),
            shown: task.shown.clone(),
            brings: dossier.after.to_string(),
        }
    }
}

/// Tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct TasksShape {
    /// What somebody has to do first, at most 1000.
    tasks: Vec<TaskShape>,
    /// How many more there are.
    more: usize,
}

/// A task with what a person needs for it.
#[derive(Debug, Serialize, ToSchema)]
pub struct InstructionsShape {
    /// The task.
    #[serde(flatten)]
    task: TaskShape,
    /// Who makes the device.
    maker: String,
    /// Which device.
    model: String,
    /// Versions that it is for; empty for any.
    before: Vec<String>,
    /// `nurse-at-home`, `clinic-visit` or `manufacturer`.
    by: &'static str,
    /// Whether two people have to see it, in the console.
    two: bool,
    /// What may happen without it.
    risk_without: String,
    /// What may happen by it.
    risk_with: String,
    /// What to do, step by step.
    steps: Vec<String>,
    /// How to see that it worked.
    worked: String,
}

impl InstructionsShape {
    fn of(full: &Full) -> InstructionsShape {
        let dossier: &Dossier = &full.kept.dossier;
        InstructionsShape {
            task: TaskShape::of(full),
            maker: dossier.maker.clone(),
            model: dossier.model.clone(),
            before: dossier.before.iter().map(ToString::to_string).collect(),
            by: dossier.by.name(),
            two: dossier.class.needs_two(),
            risk_without: dossier.risk.without.clone(),
            risk_with: dossier.risk.with.clone(),
            steps: dossier.steps.clone(),
            worked: dossier.worked.clone(),
        }
    }
}

/// Who goes there, and when.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanShape {
    /// A person of the console.
    #[schema(example = "nora")]
    person: String,
    /// The day, in UTC.
    #[schema(example = "2026-12-01")]
    on: String,
}

/// What the device shows.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ConfirmShape {
    /// Who read it: a person of the console.
    #[schema(example = "nora")]
    person: String,
    /// The version, read off the device itself.
    #[schema(example = "2.2")]
    shows: String,
}

/// Which dossier, and for what.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct OpenShape {
    /// Its path in the repository: the newest of its line.
    #[schema(example = "dossier/cuff-2026-leak/1.0.0")]
    path: String,
    /// The box at the home of a device that no box reads; with `device`.
    gateway: Option<String>,
    /// What that device is called here: a kind or a number, never a person.
    device: Option<String>,
    /// Only say for which devices.
    #[serde(default)]
    dry_run: bool,
}

/// A device that a dossier is for.
#[derive(Debug, Serialize, ToSchema)]
pub struct DeviceShape {
    /// Its box.
    gateway: String,
    /// The device, as its box calls it.
    device: String,
    /// Its new task; null where it has one already, or where it was only asked.
    task: Option<i64>,
}

/// What came of opening tasks.
#[derive(Debug, Serialize, ToSchema)]
pub struct OpenedShape {
    /// The devices that the dossier is for.
    devices: Vec<DeviceShape>,
    /// Tasks of older instructions that ended by it, or would.
    superseded: Vec<i64>,
}

/// Why it is not done.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefuseShape {
    /// Who decided: a person of the console.
    #[schema(example = "nora")]
    person: String,
    /// Why, 1 to 200 characters.
    reason: String,
}

/// The tasks.
#[utoipa::path(get, path = "/api/v1/dossiers", security(("token" = ["fleet:read"])),
    responses((status = 200, body = TasksShape), (status = 401, body = Problem)))]
pub async fn list(State(desk): State<Desk>) -> Result<Json<TasksShape>, Problem> {
    let all = desk.store.read(|tx| dossiers::tasks(tx, &Sight::Fleet)).await?;
    Ok(Json(TasksShape {
        tasks: all.list.iter().map(TaskShape::of).collect(),
        more: all.more,
    }))
}

/// One task: what is at stake, each step, and how to see that it worked.
#[utoipa::path(get, path = "/api/v1/dossiers/{task}", params(("task" = i64, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = InstructionsShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(
    State(desk): State<Desk>,
    Path(task): Path<String>,
) -> Result<Json<InstructionsShape>, Problem> {
    let id: TaskId = task.parse().map_err(|_| Problem::missing())?;
    let full = desk
        .store
        .read(move |tx| dossiers::task(tx, id, &Sight::Fleet))
        .await?;
    let full = full.ok_or_else(Problem::missing)?;
    Ok(Json(InstructionsShape::of(&full)))
}

/// Says who carries it out, and on which day.
#[utoipa::path(post, path = "/api/v1/dossiers/{task}/plan", params(("task" = i64, Path)), request_body = PlanShape,
    security(("token" = ["fleet:write"])),
    responses((status = 200, body = TaskShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn plan(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    Path(task): Path<String>,
    given: Result<Json<PlanShape>, JsonRejection>,
) -> Result<Json<TaskShape>, Problem> {
    let Json(given) = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let on = given.on.parse::<Day>().map_err(Problem::wrong)?;
    order(&desk, by, &task, Order::Plan(on), &given.person).await
}

/// Says that it worked, with the version that the device shows. The two people that some devices need confirm in the
/// console: no program speaks for anybody's eyes.
#[utoipa::path(post, path = "/api/v1/dossiers/{task}/confirm", params(("task" = i64, Path)),
    request_body = ConfirmShape, security(("token" = ["fleet:write"])),
    responses((status = 200, body = TaskShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn confirm(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    Path(task): Path<String>,
    given: Result<Json<ConfirmShape>, JsonRejection>,
) -> Result<Json<TaskShape>, Problem> {
    let Json(given) = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let shows = given.shows.trim().parse::<Firmware>().map_err(Problem::wrong)?;
    order(&desk, by, &task, Order::Confirm(shows), &given.person).await
}

/// Says that it is not done, and why.
#[utoipa::path(post, path = "/api/v1/dossiers/{task}/refuse", params(("task" = i64, Path)),
    request_body = RefuseShape, security(("token" = ["fleet:write"])),
    responses((status = 200, body = TaskShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn refuse(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    Path(task): Path<String>,
    given: Result<Json<RefuseShape>, JsonRejection>,
) -> Result<Json<TaskShape>, Problem> {
    let Json(given) = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let reason = given.reason.parse::<Reason>().map_err(Problem::wrong)?;
    order(&desk, by, &task, Order::Refuse(reason), &given.person).await
}

/// Says that nobody is asked any more, and why.
#[utoipa::path(post, path = "/api/v1/dossiers/{task}/withdraw", params(("task" = i64, Path)),
    request_body = RefuseShape, security(("token" = ["fleet:write"])),
    responses((status = 200, body = TaskShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn withdraw(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    Path(task): Path<String>,
    given: Result<Json<RefuseShape>, JsonRejection>,
) -> Result<Json<TaskShape>, Problem> {
    let Json(given) = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let reason = given.reason.parse::<Reason>().map_err(Problem::wrong)?;
    order(&desk, by, &task, Order::Withdraw(reason), &given.person).await
}

/// Asks for it again, for the home in which its box stands now: what was refused, or what was opened for another home.
#[utoipa::path(post, path = "/api/v1/dossiers/{task}/reopen", params(("task" = i64, Path)),
    request_body = RefuseShape, security(("token" = ["fleet:write"])),
    responses((status = 200, body = TaskShape), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn reopen(
    State(desk): State<Desk>,
    Extension(by): Extension<Caller>,
    Path(task): Path<String>,
    given: Result<Json<RefuseShape>, JsonRejection>,
) -> Result<Json<TaskShape>, Problem> {
    let Json(given) = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let reason = given.reason.parse::<Reason>().map_err(Problem::wrong)?;
    order(&desk, by, &task, Order::Reopen(reason), &given.person).await
}

/// Opens a task for each device that a published dossier is for, or for one that no box reads. A task is for a person: nothing
/// is sent to any device.
#[utoipa::path(post, path = "/api/v1/dossiers", request_body = OpenShape, security(("token" = ["fleet:write"])),
    responses((status = 200, body = OpenedShape), (status = 401, body = Problem), (status = 422, body = Problem)))]
pub async fn open(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    given: Result<Json<OpenShape>, JsonRejection>,
) -> Result<Json<OpenedShape>, Problem> {
    let Json(given) = given.map_err(|why| Problem::wrong(why.body_text()))?;
    let named = match (given.gateway, given.device) {
        (None, None) => None,
        (Some(gateway), Some(device)) => Some(Found {
            gateway: gateway
                .parse()
                .map_err(|_| Problem::wrong("gateway: it is no id"))?,
            device: device
                .parse()
                .map_err(|_| Problem::wrong("device: it is no name"))?,
            shown: None,
        }),
        _ => return Err(Problem::wrong("gateway and device go together")),
    };
    let (now, papers, path) = (desk.clock.now(), desk.papers.clone(), given.path);
    let found = tokio::task::spawn_blocking(move || papers.find(&path, now)).await;
    let found = found.unwrap_or_else(|_| Err("the published repository could not be read".into()));
    let carried = found.map_err(Problem::wrong)?;
    let how = if given.dry_run { How::DryRun } else { How::Really };
    let opened = desk
        .store
        .write(move |tx| dossiers::open_all(tx, &carried, (named, how), &by, now))
        .await?;
    if let Some((one, _)) = opened
        .devices
        .iter()
        .find(|(_, opening)| *opening == Some(Opening::Unknown))
    {
        return Err(Problem::wrong(format!(
            "there is no gateway {} in service",
            one.gateway
        )));
    }
    let device = |(found, opening): &(Found, Option<Opening>)| DeviceShape {
        gateway: found.gateway.to_string(),
        device: found.device.to_string(),
        task: match opening {
            Some(Opening::Opened(id)) => Some(id.0),
            _ => None,
        },
    };
    Ok(Json(OpenedShape {
        devices: opened.devices.iter().map(device).collect(),
        superseded: opened.superseded.iter().map(|id| id.0).collect(),
    }))
}

async fn order(
    desk: &Desk,
    Caller(by): Caller,
    task: &str,
    what: Order,
    person: &str,
) -> Result<Json<TaskShape>, Problem> {
    let id: TaskId = task.parse().map_err(|_| Problem::missing())?;
    let person: UserName = person
        .parse()
        .map_err(|why| Problem::wrong(format!("person: {why}")))?;
    let name = person.clone();
    if desk.store.read(move |tx| users::kept(tx, &name)).await?.is_none() {
        return Err(Problem::wrong(format!("{person} is no person of the console")));
    }
    // A program says a name; that is nobody's own session.
    let (who, now) = (
        Who {
            person,
            signed_in: false,
        },
        desk.clock.now(),
    );
    let done = desk
        .store
        .write(move |tx| dossiers::order(tx, (id, &Sight::Fleet), &what, (&who, &by), now));
    match done.await? {
        None => Err(Problem::missing()),
        Some(Err(why)) => Err(Problem::conflict(why.to_string())),
        Some(Ok(full)) => Ok(Json(TaskShape::of(&full))),
    }
}
