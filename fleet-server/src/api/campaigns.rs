//! Shell: campaigns: which there are, how one stands wave by wave, and stopping one.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use serde::Serialize;
use utoipa::ToSchema;

use super::Desk;
use super::guard::Caller;
use super::policies::{ReasonShape, reason};
use super::problem::Problem;
use super::shape::moment;
use crate::campaign::Saved;
use crate::campaign::board::{HomeLine, WaveLine, next, stands};
use crate::campaign::kept::{Head, Name, Order};
use crate::store::campaigns;

/// Homes in an answer.
const MOST: usize = 500;

/// A campaign.
#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignShape {
    /// Its name.
    #[schema(example = "agent-1.4.0")]
    campaign: String,
    /// `running`, `stopped`, `halted`, `aborted`, `superseded` or `done`.
    #[schema(example = "running")]
    state: &'static str,
    /// The same in plain English.
    stands: String,
    /// Why nobody can be told at the moment; null when somebody can.
    trouble: Option<String>,
    /// Paths of what it brings.
    targets: Vec<String>,
    /// When it began.
    started_at: String,
    /// By whom.
    started_by: String,
    /// When it ends at the latest.
    deadline: String,
    /// Why it matters, in words for clinicians; null when none were given.
    reason: Option<String>,
    /// Who is asked when a home waits for too long; null with no reason.
    person: Option<String>,
}

impl CampaignShape {
    fn of(head: &Head, saved: &Saved) -> CampaignShape {
        CampaignShape {
            campaign: head.name.to_string(),
            state: saved.state.name().0,
            stands: stands(head, saved),
            trouble: head.trouble.clone(),
            targets: head.targets.iter().map(|target| target.path.clone()).collect(),
            started_at: moment(head.started_at),
            started_by: head.started_by.clone(),
            deadline: moment(saved.rules.deadline),
            reason: head.each.as_ref().map(|each| each.terms.reason().to_owned()),
            person: head.each.as_ref().map(|each| each.terms.person().to_owned()),
        }
    }
}

/// Campaigns.
#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignsShape {
    /// The newest first, at most 200.
    campaigns: Vec<CampaignShape>,
}

/// One wave in numbers; the counts sum to `homes`.
#[derive(Debug, Serialize, ToSchema)]
pub struct WaveShape {
    /// `lab`, `own`, `canary`, `tenth`, `half`, `rest` or `named`.
    wave: &'static str,
    /// Whether it has opened.
    open: bool,
    /// Its homes.
    homes: usize,
    /// Whose turn has not come.
    later: usize,
    /// That are told, or fetch it.
    told: usize,
    /// That wait for a quiet moment, are offline, or stand still with the campaign.
    waiting: usize,
    /// That put it in place and try it.
    acting: usize,
    /// That run it and are well.
    confirmed: usize,
    /// That ran it and were well, and are not heard any more.
    away: usize,
    /// Where it failed, or that are silent since they began.
    failed: usize,
    /// That go back.
    going_back: usize,
    /// That went back.
    returned: usize,
    /// That are left to another campaign.
    left_out: usize,
}

impl From<&WaveLine> for WaveShape {
    fn from(line: &WaveLine) -> WaveShape {
        let counts = line.counts;
        WaveShape {
            wave: line.wave.name(),
            open: line.is_open,
            homes: counts.total,
            later: counts.later,
            told: counts.told,
            waiting: counts.waiting,
            acting: counts.acting,
            confirmed: counts.confirmed,
            away: counts.away,
            failed: counts.failed,
            going_back: counts.going_back,
            returned: counts.returned,
            left_out: counts.left_out,
        }
    }
}

/// A home that is waited for, that failed, or that goes back.
#[derive(Debug, Serialize, ToSchema)]
pub struct CampaignHomeShape {
    /// Its gateway.
    gateway: String,
    /// Which home that is; null where it has none.
    #[schema(example = "home-0042")]
    placement: Option<String>,
    /// Its wave.
    wave: &'static str,
    /// Where it stands, in one word.
    #[schema(example = "waiting")]
    step: &'static str,
    /// Since when.
    since: String,
    /// Why, in one plain sentence.
    says: String,
}

impl From<&HomeLine> for CampaignHomeShape {
    fn from(home: &HomeLine) -> CampaignHomeShape {
        CampaignHomeShape {
            gateway: home.gateway.to_string(),
            placement: home.placement.as_ref().map(ToString::to_string),
            wave: home.wave.name(),
            step: home.step.name().0,
            since: moment(home.since),
            says: home.says.clone(),
        }
    }
}

/// One campaign, wave by wave.
#[derive(Debug, Serialize, ToSchema)]
pub struct BoardShape {
    /// The campaign.
    #[serde(flatten)]
    head: CampaignShape,
    /// What the next wave waits for, in plain English; null where none is to open by itself.
    next: Option<String>,
    /// Waves that have homes, in their order.
    waves: Vec<WaveShape>,
    /// Homes that need somebody or are waited for, the worst first, at most 500.
    homes: Vec<CampaignHomeShape>,
    /// How many more there are.
    more: usize,
}

/// Campaigns, the newest first.
#[utoipa::path(get, path = "/api/v1/campaigns", security(("token" = ["fleet:read"])),
    responses((status = 200, body = CampaignsShape), (status = 401, body = Problem)))]
pub async fn list(State(desk): State<Desk>) -> Result<Json<CampaignsShape>, Problem> {
    let all = desk.store.read(campaigns::list).await?;
    let campaigns = all
        .iter()
        .map(|one| CampaignShape::of(&one.head, &one.saved))
        .collect();
    Ok(Json(CampaignsShape { campaigns }))
}

/// One campaign: each wave in numbers, and why each home is waited for.
#[utoipa::path(get, path = "/api/v1/campaigns/{campaign}", params(("campaign" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = BoardShape), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(
    State(desk): State<Desk>,
    Path(campaign): Path<String>,
) -> Result<Json<BoardShape>, Problem> {
    let (name, now) = (name(&campaign)?, desk.clock.now());
    let board = desk
        .store
        .read(move |tx| campaigns::board(tx, &name, MOST, now))
        .await?;
    let board = board.ok_or_else(Problem::missing)?;
    Ok(Json(BoardShape {
        head: CampaignShape::of(&board.head, &board.saved),
        next: next(&board),
        waves: board.waves.iter().map(WaveShape::from).collect(),
        homes: board.homes.iter().map(CampaignHomeShape::from).collect(),
        more: board.more,
    }))
}

/// Stops a campaign: no further home begins, and what is installed stays. A person lets it go on or takes it back.
#[utoipa::path(post, path = "/api/v1/campaigns/{campaign}/halt", params(("campaign" = String, Path)),
    request_body = ReasonShape, security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn halt(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(campaign): Path<String>,
    given: Result<Json<ReasonShape>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (name, why, now) = (name(&campaign)?, reason(given)?, desk.clock.now());
    let done = desk
        .store
        .write(move |tx| campaigns::order(tx, &name, (&Order::Halt, &why), &by, now));
    match done.await? {
        None => Err(Problem::missing()),
        Some(Err(refused)) => Err(Problem::conflict(refused.to_string())),
        Some(Ok(())) => Ok(StatusCode::NO_CONTENT),
    }
}

fn name(text: &str) -> Result<Name, Problem> {
    text.parse().map_err(|_| Problem::missing())
}
