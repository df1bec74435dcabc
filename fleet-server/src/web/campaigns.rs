//! Shell: campaigns: which there are, and the board of one: each wave in numbers, and why each home is waited for.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::languages;
use super::releases::Brought;
use super::rules::Mark;
use super::when::When;
use crate::campaign::board::{Board, HomeLine, WaveLine, next, stands};
use crate::campaign::kept::{Name, Order};
use crate::campaign::plan::Wave;
use crate::campaign::{State as Stands, Step};
use crate::care::State as Care;
use crate::store::campaigns::{self, Listed};

/// Homes on a board.
const MOST: usize = 200;
/// Most characters of a reason.
const MAX_REASON: usize = 200;

/// One campaign in the list.
struct Row {
    name: Name,
    versions: String,
    mark: Mark,
    stands: String,
    homes: i64,
    well: i64,
    failed: i64,
    started: When,
    by: String,
}

impl Row {
    fn of(one: &Listed, now: Timestamp) -> Row {
        let count = |names: &[&str]| names.iter().filter_map(|name| one.steps.get(*name)).sum();
        let versions: Vec<String> = one
            .head
            .targets
            .iter()
            .map(|target| target.version.to_string())
            .collect();
        Row {
            name: one.head.name.clone(),
            versions: versions.join(", "),
            mark: mark(&one.saved.state),
            stands: stands(&one.head, &one.saved),
            homes: one.steps.values().sum(),
            well: count(&["confirmed"]),
            failed: count(&["failed", "unwell", "silent", "stuck"]),
            started: When::new(one.head.started_at, now),
            by: one.head.started_by.clone(),
        }
    }
}

/// How a campaign stands: a shape and its word.
fn mark(state: &Stands) -> Mark {
    let (care, word) = match state {
        Stands::Running => (Care::AllWorking, "runs"),
        Stands::Paused(_) | Stands::Dark(_) => (Care::CheckToday, "stopped"),
        Stands::Halted(_) => (Care::NeedsAction, "halted"),
        Stands::Aborted(_) => (Care::CheckToday, "taken back"),
        Stands::Superseded(_) => (Care::NotHeard, "superseded"),
        Stands::Done => (Care::NotHeard, "over"),
    };
    Mark::new(care, word)
}

#[derive(Template)]
#[template(path = "campaigns.html")]
struct Page {
    frame: Frame,
    rows: Rows,
}

#[derive(Template)]
#[template(path = "campaigns_rows.html")]
struct Rows {
    frame: Frame,
    list: Vec<Row>,
}

async fn read(desk: &Desk, visitor: &Visitor) -> Result<Rows, Failure> {
    let now = desk.clock.now();
    let all = desk.store.read(campaigns::list).await?;
    Ok(Rows {
        frame: Frame::new("Campaigns", "/campaigns", visitor, now),
        list: all.iter().map(|one| Row::of(one, now)).collect(),
    })
}

/// The list.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let rows = read(&desk, &visitor).await?;
    let frame = rows.frame.clone();
    Ok(page(&Page { frame, rows }))
}

/// The part of it that is fetched anew.
pub async fn rows(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    Ok(page(&read(&desk, &visitor).await?))
}

#[derive(Template)]
#[template(path = "campaign.html")]
struct One {
    frame: Frame,
    waves: Waves,
}

/// The board, the part that is fetched anew.
#[derive(Template)]
#[template(path = "campaign_rows.html")]
struct Waves {
    frame: Frame,
    board: Board,
    brings: Vec<Brought>,
}

impl Waves {
    fn mark(&self) -> Mark {
        mark(&self.board.saved.state)
    }

    fn stands(&self) -> String {
        stands(&self.board.head, &self.board.saved)
    }

    /// What the next wave waits for.
    fn next(&self) -> Option<String> {
        next(&self.board)
    }

    /// Of a wave's homes, how many of a hundred are well.
    fn share(line: &WaveLine) -> usize {
        line.counts.confirmed * 100 / line.counts.total.max(1)
    }

    fn counts(line: &WaveLine) -> String {
        let all: Vec<String> = line
            .counts
            .words()
            .iter()
            .map(|(count, word)| format!("{count} {word}"))
            .collect();
        all.join(", ")
    }

    /// How a wave stands: a shape and its word.
    fn wave(line: &WaveLine) -> Mark {
        let counts = line.counts;
        let (care, word) = if counts.failed > 0 {
            (Care::NeedsAction, "failures")
        } else if counts.confirmed == counts.total {
            (Care::AllWorking, "all well")
        } else if line.is_open && counts.left_out < counts.total {
            (Care::CheckToday, "open")
        } else {
            (Care::NotHeard, "not opened")
        };
        Mark::new(care, word)
    }

    fn step(home: &HomeLine) -> Mark {
        let (care, word) = match home.step {
            Step::Unwell | Step::Failed => (Care::NeedsAction, "failed"),
            Step::Silent => (Care::NeedsAction, "silent"),
            Step::Stuck => (Care::NeedsAction, "not back"),
            Step::TakenBack => (Care::CheckToday, "going back"),
            Step::Acting { .. } => (Care::CheckToday, "trying it"),
            Step::Waiting(_) => (Care::CheckToday, "waiting"),
            Step::Assigned => (Care::CheckToday, "told"),
            Step::Returned => (Care::NotHeard, "back"),
            Step::Confirmed { .. } => (Care::AllWorking, "well"),
            Step::Away { .. } | Step::Dark { .. } => (Care::NotHeard, "not heard"),
            Step::NotYet => (Care::CheckToday, "for a person"),
            Step::LeftOut => (Care::NotHeard, "left out"),
        };
        Mark::new(care, word)
    }

    /// Whether homes of high dependency may be opened now.
    fn may_open(&self) -> bool {
        let named = self.board.waves.iter().find(|line| line.wave == Wave::Named);
        self.board.may_open && named.is_some_and(|line| line.counts.later > 0)
    }
}

async fn board(
    desk: &Desk,
    visitor: &Visitor,
    (name, headers): (&str, &HeaderMap),
) -> Result<Waves, Failure> {
    let name: Name = name.parse().map_err(|_| Failure::NothingHere)?;
    let now = desk.clock.now();
    let board = desk
        .store
        .read(move |tx| campaigns::board(tx, &name, MOST, now))
        .await?;
    let board = board.ok_or(Failure::NothingHere)?;
    let (read, wanted) = (desk.releases.read(now).await, languages::wanted(headers, None));
    let brings = board.head.targets.iter();
    let brings = brings.map(|target| Brought::of(&target.path, &target.version.to_string(), &read, &wanted));
    Ok(Waves {
        frame: Frame::new("Campaign", "/campaigns", visitor, now),
        brings: brings.collect(),
        board,
    })
}

/// The board.
pub async fn one(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let waves = board(&desk, &visitor, (&name, &headers)).await?;
    let frame = waves.frame.clone();
    Ok(page(&One { frame, waves }))
}

/// The part of it that is fetched anew.
pub async fn waves(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    Ok(page(&board(&desk, &visitor, (&name, &headers)).await?))
}

/// What a person orders.
#[derive(Deserialize)]
pub struct Wish {
    /// `halt`, `resume`, `abort` or `open`.
    order: String,
    reason: String,
    #[serde(default)]
    gateway: String,
}

/// Stops it, lets it go on, takes it back, or opens one home of high dependency.
pub async fn order(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(name): Path<String>,
    Form(given): Form<Wish>,
) -> Result<Response, Failure> {
    let name: Name = name.parse().map_err(|_| Failure::NothingHere)?;
    let order = match given.order.as_str() {
        "halt" => Order::Halt,
        "resume" => Order::Resume,
        "abort" => Order::Abort,
        "open" => {
            let gateway = given.gateway.trim().parse();
            Order::Open(gateway.map_err(|_| Failure::Form("Name the gateway of the home.".into()))?)
        }
        _ => return Err(Failure::NothingHere),
    };
    let reason = given.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Failure::Form(format!(
            "A reason has 1 to {MAX_REASON} characters."
        )));
    }
    let (now, by, which) = (desk.clock.now(), visitor.user.clone(), name.clone());
    let done = desk
        .store
        .write(move |tx| campaigns::order(tx, &which, (&order, &reason), by.as_str(), now));
    match done.await? {
        None => Err(Failure::NothingHere),
        Some(Err(refused)) => Err(Failure::Refused(refused.to_string())),
        Some(Ok(())) => Ok(go(&format!("/campaigns/{name}"))),
    }
}
