//! Shell: one policy: what it wants, who stands behind it, how far it has come, and who gets it next.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::policy::diff::Change;
use serde::Deserialize;

use super::Row;
use crate::policy::book::{Book, Order, Target};
use crate::policy::rollout::{Counts, Line, Plan, Wave, changes, waves};
use crate::policy::take::{Unassignable, give, planned};
use crate::store::policies::{self, Loaded, drafts, groups, overview};
use crate::store::{StoreError, Tx};
use crate::web::Desk;
use crate::web::error::Failure;
use crate::web::frame::{Frame, go, page};
use crate::web::guard::Visitor;
use crate::web::rules::Mark;

/// Boxes that are named one by one.
const NAMED: usize = 100;
/// Most characters of a reason.
const MAX_REASON: usize = 200;

/// One point of the document.
struct Point {
    name: String,
    wanted: String,
    hazard: String,
}

#[derive(Template)]
#[template(path = "policy.html")]
struct Page {
    frame: Frame,
    progress: Rollout,
    loaded: Loaded,
    row: Row,
    orders: Vec<Order>,
    groups: Vec<String>,
    before: Option<u64>,
    changes: Vec<Change>,
    /// The draft that it was signed from.
    source: Option<drafts::Kept>,
}

impl Page {
    fn writers(source: &drafts::Kept) -> String {
        let writers: Vec<&str> = source.draft.authors.iter().map(String::as_str).collect();
        writers.join(", ")
    }

    fn points(&self) -> Vec<Point> {
        let policy = &self.loaded.entry.policy;
        let point = |point: homeward_protocol::policy::points::Point| Point {
            name: point.id.to_string(),
            hazard: match policy.hazards.get(&point.hazard) {
                Some(line) => format!("{}: {}", point.hazard, line.as_str()),
                None => point.hazard.to_string(),
            },
            wanted: point.wanted,
        };
        policy.points().into_iter().map(point).collect()
    }

    fn digest(&self) -> String {
        self.loaded.entry.mark.digest.to_string()
    }
}

/// How far it is, the part that is fetched anew.
#[derive(Template)]
#[template(path = "policy_rows.html")]
struct Rollout {
    frame: Frame,
    version: u64,
    name: String,
    counts: Counts,
    /// With each of those that it was given to.
    waves: Vec<Wave>,
    /// Boxes that a person should look at, the first hundred.
    wrong: Vec<Line>,
    more: usize,
}

impl Rollout {
    fn mark(line: &Line) -> Mark {
        Mark::of_line(line)
    }

    /// Of those that shall have it, how many of a hundred applied it.
    fn applied_share(counts: &Counts) -> usize {
        counts.applied * 100 / counts.wanted.max(1)
    }

    /// Of those that shall have it, on how many of a hundred every rule holds now.
    fn in_line_share(counts: &Counts) -> usize {
        counts.in_line * 100 / counts.wanted.max(1)
    }
}

fn rollout(frame: Frame, loaded: &Loaded, (book, lines, orders): (&Book, &[Line], &[Order])) -> Rollout {
    let version = loaded.entry.mark.version.0;
    let mut wrong: Vec<Line> = lines
        .iter()
        .filter(|line| line.wanted == Some(version) && line.is_wrong())
        .cloned()
        .collect();
    let targets: Vec<Target> = orders
        .iter()
        .filter(|order| order.version == version)
        .map(|order| order.target.clone())
        .take(NAMED)
        .collect();
    let more = wrong.len().saturating_sub(NAMED);
    wrong.truncate(NAMED);
    Rollout {
        frame,
        version,
        name: loaded.entry.policy.name.as_str().to_owned(),
        counts: Counts::of(lines, version),
        waves: waves(book, lines, version, &targets),
        wrong,
        more,
    }
}

/// The page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(version): Path<u64>,
) -> Result<Response, Failure> {
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let Some(loaded) = policies::get(tx, version)? else {
            return Ok(None);
        };
        let book = policies::book(tx, &roots)?;
        let lines = overview::lines(tx, &book, now)?;
        let older = policies::list(tx)?
            .into_iter()
            .find(|one| one.entry.mark.version.0 < version);
        let mut orders = policies::orders(tx)?;
        orders.retain(|order| order.version == version);
        let source = drafts::source(tx, version)?;
        Ok(Some((
            loaded,
            book,
            lines,
            older,
            orders,
            groups::list(tx)?,
            source,
        )))
    };
    let (loaded, book, lines, older, orders, groups, source) =
        desk.store.read(work).await?.ok_or(Failure::NothingHere)?;
    let frame = Frame::new("Policy", "/policies", &visitor, now);
    let progress = rollout(frame.clone(), &loaded, (&book, &lines, &orders));
    let older = older.as_ref().map(|older| &older.entry.policy);
    Ok(page(&Page {
        frame,
        row: Row::of(&loaded, book.fit(&loaded.entry, now), progress.counts, now),
        before: older.map(|policy| policy.version.0),
        changes: older.map_or(Vec::new(), |older| changes(Some(older), &loaded.entry.policy)),
        source,
        progress,
        loaded,
        orders,
        groups: groups.into_iter().map(|(group, _)| group.to_string()).collect(),
    }))
}

/// How far it is.
pub async fn rows(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(version): Path<u64>,
) -> Result<Response, Failure> {
    let (now, roots) = (desk.clock.now(), desk.roots.now());
    let work = move |tx: &mut dyn Tx| -> Result<_, StoreError> {
        let book = policies::book(tx, &roots)?;
        let lines = overview::lines(tx, &book, now)?;
        Ok((policies::get(tx, version)?, book, lines, policies::orders(tx)?))
    };
    let (loaded, book, lines, orders) = desk.store.read(work).await?;
    let loaded = loaded.ok_or(Failure::NothingHere)?;
    let frame = Frame::new("Policy", "/policies", &visitor, now);
    Ok(page(&rollout(frame, &loaded, (&book, &lines, &orders))))
}

/// Who gets it.
#[derive(Deserialize)]
pub struct Choice {
    /// `all`, `group` or `gateway`.
    to: String,
    #[serde(default)]
    name: String,
    #[serde(default)]
    sure: String,
}

#[derive(Template)]
#[template(path = "policy_assign.html")]
struct Sure {
    frame: Frame,
    version: u64,
    target: Target,
    to: String,
    name: String,
    plan: Plan,
}

impl Sure {
    /// Boxes on which something changes.
    fn boxes(&self) -> usize {
        self.plan.steps.iter().map(|step| step.gateways.len()).sum()
    }
}

/// Says what that would change; when the visitor is sure, does it.
pub async fn assign(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(version): Path<u64>,
    Form(given): Form<Choice>,
) -> Result<Response, Failure> {
    let name = given.name.trim().to_owned();
    let named = if given.to == "all" { "" } else { name.as_str() };
    let target = Target::from_columns(&given.to, named)
        .ok_or_else(|| Failure::Form("Name the group or the gateway that gets it.".into()))?;
    let cannot = |why| match why {
        Unassignable::NotLoaded(_) => Failure::NothingHere,
        other => Failure::Refused(other.to_string()),
    };
    let (now, roots, to) = (desk.clock.now(), desk.roots.now(), target.clone());
    if given.sure == "1" {
        let by = visitor.user.clone();
        let done = desk
            .store
            .write(move |tx| give(tx, (version, &[to]), by.as_str(), now));
        done.await?.map_err(cannot)?;
        return Ok(go(&format!("/policies/{version}")));
    }
    let planned = desk
        .store
        .read(move |tx| planned(tx, (version, &[to]), &roots, now));
    let plan = planned.await?.map_err(cannot)?;
    Ok(page(&Sure {
        frame: Frame::new("Assign a policy", "/policies", &visitor, now),
        version,
        target,
        to: given.to,
        name,
        plan,
    }))
}

/// Why it is taken back.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Offers it no more.
pub async fn withdraw(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(version): Path<u64>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let reason: String = given.reason.trim().chars().take(MAX_REASON).collect();
    if reason.is_empty() {
        return Err(Failure::Form(
            "A reason is needed: it stands in the audit trail.".into(),
        ));
    }
    let now = desk.clock.now();
    let done = desk
        .store
        .write(move |tx| policies::withdraw(tx, version, &reason, visitor.user.as_str(), now));
    if done.await? {
        Ok(go(&format!("/policies/{version}")))
    } else {
        Err(Failure::NothingHere)
    }
}
