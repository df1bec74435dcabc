//! Shell: what advisories say of devices that lie in people or act on them: what is to be weighed, and one task with all that a
//! clinician needs for it, to be printed and taken to the clinic.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::rules::Mark;
use crate::access::Role;
use crate::advisory::csaf::{Advisory, Remedy};
use crate::advisory::implant::Implant;
use crate::advisory::matching::{Concern, concern};
use crate::advisory::{Choice, Decision, Order, Stands, WeighId, Weighing, Who, Words, words};
use crate::care::State as Care;
use crate::dossier::{Day, Reason};
use crate::store::advisories::{self, Listed as Revision};
use crate::store::weighings::{self, Full, Listed};

/// Where a task stands: a shape and its word.
fn mark(stands: &Stands, now: homeward_protocol::time::Timestamp) -> Mark {
    if stands.is_to_weigh(now) {
        return Mark::new(Care::NeedsAction, "to be weighed");
    }
    let care = match stands {
        Stands::Open => Care::NeedsAction,
        Stands::Decided { decision, .. } => match decision.choice {
            Choice::Act(_) if stands.is_due(now) => Care::NeedsAction,
            Choice::Act(_) | Choice::Watch(_) => Care::CheckToday,
            Choice::Leave => Care::AllWorking,
        },
        Stands::Done { .. } | Stands::NotIt { .. } => Care::AllWorking,
        Stands::Withdrawn { .. } | Stands::Superseded { .. } | Stands::Gone => Care::NotHeard,
    };
    Mark::new(care, stands.name().1)
}

#[derive(Template)]
#[template(path = "advisories.html")]
struct Page {
    frame: Frame,
    open: Vec<Listed>,
    over: Vec<Listed>,
    /// Tasks that are not listed.
    more: usize,
    taken: Vec<Revision>,
    /// Advisories that are not listed.
    more_taken: usize,
}

impl Page {
    fn heading(&self) -> String {
        let waits = self
            .open
            .iter()
            .filter(|one| one.weighing.stands.is_to_weigh(self.frame.now));
        match waits.count() {
            0 => "No advisory waits to be weighed".to_owned(),
            1 => "1 device: an advisory is to be weighed".to_owned(),
            n => format!("{n} devices: advisories are to be weighed"),
        }
    }

    fn mark(&self, one: &Listed) -> Mark {
        mark(&one.weighing.stands, self.frame.now)
    }

    fn says(&self, one: &Listed) -> String {
        words::stands(&one.weighing.stands, self.frame.now)
    }
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let read = desk
        .store
        .read(move |tx| Ok((weighings::list(tx, &sight)?, advisories::list(tx)?)));
    let (all, (taken, more_taken)) = read.await?;
    let more = all.more;
    let (over, open) = all
        .list
        .into_iter()
        .partition(|one| one.weighing.stands.is_over());
    Ok(page(&Page {
        frame: Frame::new("Advisories", "/advisories", &visitor, now),
        open,
        over,
        more,
        taken,
        more_taken,
    }))
}

#[derive(Template)]
#[template(path = "advisory.html")]
struct One {
    frame: Frame,
    full: Full,
}

impl One {
    const fn task(&self) -> &Weighing {
        &self.full.weighing
    }

    const fn implant(&self) -> &Implant {
        &self.full.weighing.entry.implant
    }

    const fn advisory(&self) -> &Advisory {
        &self.full.kept.advisory
    }

    fn concern(&self) -> Option<Concern<'_>> {
        concern(self.advisory(), self.implant())
    }

    fn mark(&self) -> Mark {
        mark(&self.task().stands, self.frame.now)
    }

    fn says(&self) -> String {
        words::stands(&self.task().stands, self.frame.now)
    }

    fn says_of(&self, before: &Weighing) -> String {
        words::stands(&before.stands, self.frame.now)
    }

    /// What a later revision means for it.
    fn later(&self) -> Option<String> {
        words::later(self.task(), &self.full.newest.as_ref()?.advisory)
    }

    fn chosen(decision: &Decision) -> String {
        words::choice(decision.choice)
    }

    fn remedy(remedy: &Remedy) -> &str {
        words::remedy(&remedy.category)
    }

    fn role(&self) -> Option<Role> {
        self.frame.visitor.as_ref().map(|visitor| visitor.role)
    }

    /// Whether anything can be ordered of it at all.
    const fn is_here(&self) -> bool {
        self.task().entry.ended.is_none()
            && !matches!(self.task().stands, Stands::Superseded { .. } | Stands::Gone)
    }

    fn may_decide(&self) -> bool {
        self.is_here() && !self.task().stands.is_over() && self.role() == Some(Role::Nurse)
    }

    fn may_end(&self) -> bool {
        let acts = |decision: &Decision| matches!(decision.choice, Choice::Act(_));
        self.may_decide() && matches!(&self.task().stands, Stands::Decided { decision, .. } if acts(decision))
    }

    fn may_withdraw(&self) -> bool {
        self.is_here() && !self.task().stands.is_over() && self.role() == Some(Role::Operator)
    }

    fn may_reopen(&self) -> bool {
        self.is_here() && self.task().stands != Stands::Open
    }

    fn today(&self) -> String {
        let moment = self.frame.now.to_string();
        moment.split('T').next().unwrap_or_default().to_owned()
    }
}

/// One task.
pub async fn one(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
) -> Result<Response, Failure> {
    let id: WeighId = task.parse().map_err(|_| Failure::NothingHere)?;
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let full = desk.store.read(move |tx| weighings::full(tx, id, &sight)).await?;
    Ok(page(&One {
        frame: Frame::new("Advisory", "/advisories", &visitor, now),
        full: full.ok_or(Failure::NothingHere)?,
    }))
}

/// What a clinician says of a task.
#[derive(Deserialize)]
pub struct Wish {
    /// `decide`, `done` or `not-it`.
    order: String,
    #[serde(default)]
    choice: String,
    #[serde(default)]
    on: String,
    #[serde(default)]
    with: String,
    #[serde(default)]
    without: String,
    #[serde(default)]
    by_it: String,
    #[serde(default)]
    reason: String,
    /// The task's revision that the person had before them.
    seen: i64,
}

impl Wish {
    fn order(&self) -> Result<Order, Failure> {
        let wrong = |why: &'static str| Failure::Form(format!("Nothing was changed: {why}."));
        let words = |what: &str, text: &str| {
            let parsed = text.parse::<Words>();
            parsed.map_err(|why| Failure::Form(format!("Nothing was changed: {what}: {why}.")))
        };
        let on = || self.on.trim().parse::<Day>().map_err(wrong);
        match self.order.as_str() {
            "decide" => Ok(Order::Decide(Decision {
                choice: match self.choice.as_str() {
                    "act" => Choice::Act(on()?),
                    "watch" => Choice::Watch(on()?),
                    "leave" => Choice::Leave,
                    _ => return Err(wrong("say what is done")),
                },
                with: words("with whom", &self.with)?,
                without: words("without a change", &self.without)?,
                by_it: words("by a change", &self.by_it)?,
            })),
            "done" => Ok(Order::Done),
            "not-it" => Ok(Order::NotIt(self.reason.parse::<Reason>().map_err(wrong)?)),
            _ => Err(Failure::NothingHere),
        }
    }
}

/// Decides, says that it is done, or that it is another device.
pub async fn order(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
    Form(given): Form<Wish>,
) -> Result<Response, Failure> {
    carry_out(&desk, &visitor, (&task, given.seen), given.order()?).await
}

/// Why nobody is asked any more, or somebody again.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
    /// As [`Wish::seen`].
    seen: i64,
}

impl Why {
    fn read(&self) -> Result<Reason, Failure> {
        let reason = self.reason.parse::<Reason>();
        reason.map_err(|why| Failure::Form(format!("Nothing was changed: {why}.")))
    }
}

/// Withdraws it.
pub async fn withdraw(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    carry_out(
        &desk,
        &visitor,
        (&task, given.seen),
        Order::Withdraw(given.read()?),
    )
    .await
}

/// Asks for it to be weighed again.
pub async fn reopen(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(task): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    carry_out(&desk, &visitor, (&task, given.seen), Order::Reopen(given.read()?)).await
}

async fn carry_out(
    desk: &Desk,
    visitor: &Visitor,
    (task, seen): (&str, i64),
    order: Order,
) -> Result<Response, Failure> {
    let id: WeighId = task.parse().map_err(|_| Failure::NothingHere)?;
    let (now, sight) = (desk.clock.now(), visitor.sight.clone());
    let who = Who {
        person: visitor.user.clone(),
        signed_in: Some(visitor.role),
    };
    let done = desk.store.write(move |tx| {
        weighings::order(
            tx,
            (id, &sight, Some(seen)),
            &order,
            (&who, who.person.as_str()),
            now,
        )
    });
    match done.await? {
        None => Err(Failure::NothingHere),
        Some(Err(why)) => Err(Failure::Refused(why.to_string())),
        Some(Ok(_)) => Ok(go(&format!("/advisories/{id}"))),
    }
}
