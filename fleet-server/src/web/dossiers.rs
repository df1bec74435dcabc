//! Shell: firmware of devices: what a person has to bring to which device, and one task with its instructions, to be
//! printed and taken along.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::PlacementId;
use homeward_protocol::release::dossier::{Dossier, Firmware, Performer};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::rules::Mark;
use crate::access::Role;
use crate::care::State as Care;
use crate::dossier::{Day, Order, Reason, Stands, Task, TaskId, Who, words};
use crate::store::dossiers::{self, Full};

/// Where a task stands: a shape and its word.
fn mark(task: &Task) -> Mark {
    if task.has_moved() {
        return Mark::new(Care::CheckToday, "moved: look again");
    }
    let stands = &task.stands;
    let care = match stands {
        Stands::Open => Care::NeedsAction,
        Stands::Planned { .. } | Stands::Seen { .. } => Care::CheckToday,
        Stands::Done { .. } => Care::AllWorking,
        Stands::Refused { .. } | Stands::Withdrawn { .. } | Stands::Superseded { .. } | Stands::Recalled => {
            Care::NotHeard
        }
    };
    Mark::new(care, stands.name().1)
}

/// One task in the list.
struct Row {
    full: Full,
}

impl Row {
    fn mark(&self) -> Mark {
        mark(&self.full.task)
    }

    fn says(&self) -> String {
        words::stands(&self.full.task, &self.full.kept.dossier)
    }

    /// Where the device is, as this console names homes.
    fn home(&self) -> &str {
        let home = self.full.placement.as_ref();
        home.map_or("no home yet", PlacementId::as_str)
    }
}

#[derive(Template)]
#[template(path = "dossiers.html")]
struct Page {
    frame: Frame,
    open: Vec<Row>,
    over: Vec<Row>,
    /// Tasks that are not listed.
    more: usize,
}

impl Page {
    fn heading(&self) -> String {
        match self.open.len() {
            0 => "No device waits for new firmware".to_owned(),
            1 => "1 device waits for new firmware".to_owned(),
            n => format!("{n} devices wait for new firmware"),
        }
    }
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let all = desk.store.read(move |tx| dossiers::tasks(tx, &sight)).await?;
    let more = all.more;
    let rows = all.list.into_iter().map(|full| Row { full });
    let (over, open) = rows.partition(|row| row.full.task.stands.is_over());
    Ok(page(&Page {
        frame: Frame::new("Device updates", "/dossiers", &visitor, now),
        open,
        over,
        more,
    }))
}

#[derive(Template)]
#[template(path = "dossier.html")]
struct One {
    frame: Frame,
    row: Row,
}

impl One {
    const fn task(&self) -> &Task {
        &self.row.full.task
    }

    const fn dossier(&self) -> &Dossier {
        &self.row.full.kept.dossier
    }

    fn before(&self) -> String {
        words::before(self.dossier())
    }

    /// Whether this visitor is the one who saw it first: somebody else has to look, too.
    fn is_first(&self) -> bool {
        let own = self.frame.visitor.as_ref().map(|visitor| &visitor.user);
        matches!(&self.task().stands, Stands::Seen { by, .. } if Some(by) == own)
    }

    fn may_plan(&self) -> bool {
        matches!(self.task().stands, Stands::Open | Stands::Planned { .. }) && !self.task().has_moved()
    }

    fn may_confirm(&self) -> bool {
        let stands = matches!(self.task().stands, Stands::Planned { .. } | Stands::Seen { .. });
        stands && !self.is_first() && !self.task().has_moved()
    }

    fn may_refuse(&self) -> bool {
        !self.task().stands.is_over() && !self.task().has_moved()
    }

    fn may_withdraw(&self) -> bool {
        !self.task().stands.is_over() && self.is_operator()
    }

    fn may_reopen(&self) -> bool {
        let refused = matches!(self.task().stands, Stands::Refused { .. });
        (refused || self.task().has_moved()) && self.is_operator()
    }

    fn is_operator(&self) -> bool {
        let role = self.frame.visitor.as_ref().map(|visitor| visitor.role);
        role == Some(Role::Operator)
    }

    fn today(&self) -> String {
        let moment = self.frame.now.to_string();
        moment.split('T').next().unwrap_or_default().to_owned()
    }

    const fn is_at_home(&self) -> bool {
        matches!(self.dossier().by, Performer::NurseAtHome)
    }
}

/// One task.
pub async fn one(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
) -> Result<Response, Failure> {
    let id: TaskId = task.parse().map_err(|_| Failure::NothingHere)?;
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let full = desk.store.read(move |tx| dossiers::task(tx, id, &sight)).await?;
    Ok(page(&One {
        frame: Frame::new("Device update", "/dossiers", &visitor, now),
        row: Row {
            full: full.ok_or(Failure::NothingHere)?,
        },
    }))
}

/// What a person says of a task.
#[derive(Deserialize)]
pub struct Wish {
    /// `plan`, `confirm` or `refuse`.
    order: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    shows: String,
    #[serde(default)]
    reason: String,
}

/// Plans it, says what the device shows, or says that it is not done.
pub async fn order(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
    Form(given): Form<Wish>,
) -> Result<Response, Failure> {
    let wrong = |why: &'static str| Failure::Form(format!("Nothing was changed: {why}."));
    let order = match given.order.as_str() {
        "plan" => Order::Plan(given.on.trim().parse::<Day>().map_err(wrong)?),
        "confirm" => Order::Confirm(given.shows.trim().parse::<Firmware>().map_err(wrong)?),
        "refuse" => Order::Refuse(given.reason.parse::<Reason>().map_err(wrong)?),
        _ => return Err(Failure::NothingHere),
    };
    carry_out(&desk, &visitor, &task, order).await
}

/// Why nobody is asked any more, or somebody again.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Withdraws it.
pub async fn withdraw(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let reason = given.reason.parse::<Reason>();
    let reason = reason.map_err(|why| Failure::Form(format!("Nothing was changed: {why}.")))?;
    carry_out(&desk, &visitor, &task, Order::Withdraw(reason)).await
}

/// Asks for it again.
pub async fn reopen(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let reason = given.reason.parse::<Reason>();
    let reason = reason.map_err(|why| Failure::Form(format!("Nothing was changed: {why}.")))?;
    carry_out(&desk, &visitor, &task, Order::Reopen(reason)).await
}

async fn carry_out(desk: &Desk, visitor: &Visitor, task: &str, order: Order) -> Result<Response, Failure> {
    let id: TaskId = task.parse().map_err(|_| Failure::NothingHere)?;
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let who = Who {
        person: visitor.user.clone(),
        signed_in: true,
    };
    let done = desk
        .store
        .write(move |tx| dossiers::order(tx, (id, &sight), &order, (&who, who.person.as_str()), now));
    match done.await? {
        None => Err(Failure::NothingHere),
        Some(Err(why)) => Err(Failure::Refused(why.to_string())),
        Some(Ok(_)) => Ok(go(&format!("/dossiers/{id}"))),
    }
}
