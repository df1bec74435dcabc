//! Shell: the nurse's page. Its heading is the answer to "does anybody need me?".

use std::collections::BTreeMap;

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use homeward_protocol::id::PlacementId;
use homeward_protocol::release::state::Progress;
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, Shape, page};
use super::guard::Visitor;
use super::when::{self, When};
use crate::care::{self, Counts, Facts, Standing, State as Word, words};
use crate::direct::shelf::Told;
use crate::store::care::{known, placements};
use crate::store::updates;

/// Most characters of a search that are looked at.
const MAX_SEARCH: usize = 40;

/// What stands behind the `?`.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
}

/// Updates on their way, home by home.
type Coming = BTreeMap<PlacementId, Vec<(&'static str, String)>>;

/// One home.
#[derive(Debug, Clone)]
pub struct Row {
    id: PlacementId,
    state: Word,
    shape: Shape,
    word: String,
    reason: String,
    action: &'static str,
    as_of: Option<When>,
    /// Updates that are on their way to its boxes: a sentence, and the path of the release.
    coming: Vec<(&'static str, String)>,
}

#[derive(Template)]
#[template(path = "care.html")]
struct Page {
    frame: Frame,
    rows: Rows,
}

/// The part of the page that changes.
#[derive(Template)]
#[template(path = "care_rows.html")]
struct Rows {
    frame: Frame,
    heading: String,
    counts: Counts,
    /// Homes where something is to be said, worst first.
    open: Vec<Row>,
    /// Homes where all is well.
    well: Vec<Row>,
    q: String,
    team: String,
}

/// The whole page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let rows = look(&desk, &visitor, asked).await?;
    let frame = rows.frame.clone();
    Ok(page(&Page { frame, rows }))
}

/// The part that changes.
pub async fn rows(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    Ok(page(&look(&desk, &visitor, asked).await?))
}

async fn look(desk: &Desk, visitor: &Visitor, asked: Asked) -> Result<Rows, Failure> {
    let now = desk.clock.now();
    let sight = visitor.sight.clone();
    let seen = desk.store.read(move |tx| {
        Ok((
            placements(tx, &sight)?,
            known(tx, &sight, now)?,
            updates::coming(tx, &sight)?,
        ))
    });
    let (homes, gateways, told) = seen.await?;
    let mut coming: Coming = BTreeMap::new();
    for (home, told) in &told {
        coming
            .entry(home.clone())
            .or_default()
            .push((update(told), told.path.clone()));
    }
    let mut by_home: BTreeMap<PlacementId, Vec<Facts>> =
        homes.into_iter().map(|h| (h.id, Vec::new())).collect();
    for gateway in gateways {
        let home = gateway.placement.and_then(|id| by_home.get_mut(&id));
        if let Some(home) = home {
            home.push(gateway.facts);
        }
    }
    let judged = by_home
        .into_iter()
        .map(|(id, facts)| (id, care::placement(&facts, now)));
    Ok(arrange(visitor, (judged.collect(), coming), &asked.q, now))
}

/// Puts judged homes in order. The heading speaks of all of them, also when a search shows only some.
fn arrange(
    visitor: &Visitor,
    (judged, mut coming): (Vec<(PlacementId, Standing)>, Coming),
    search: &str,
    now: Timestamp,
) -> Rows {
    let q: String = search.trim().to_lowercase().chars().take(MAX_SEARCH).collect();
    let counts = Counts::of(judged.iter().map(|(_, standing)| standing.state));
    let found = judged
        .into_iter()
        .filter(|(id, _)| q.is_empty() || id.as_str().contains(&q));
    let mut rows: Vec<Row> = found
        .map(|(id, standing)| Row {
            coming: coming.remove(&id).unwrap_or_default(),
            ..row(id, &standing, now)
        })
        .collect();
    rows.sort_by(|a, b| b.state.cmp(&a.state).then_with(|| a.id.cmp(&b.id)));
    let (open, well) = rows.into_iter().partition(|r| r.state != Word::AllWorking);
    let team = match &visitor.sight {
        crate::access::Sight::Fleet => "in all care teams".to_owned(),
        crate::access::Sight::Team(team) => format!("in care team {team}"),
        crate::access::Sight::Nobody => "because you are in no care team yet".to_owned(),
    };
    Rows {
        frame: Frame::new("People", "/care", visitor, now),
        heading: words::heading(&counts),
        counts,
        open,
        well,
        q,
        team,
    }
}

fn row(id: PlacementId, standing: &Standing, now: Timestamp) -> Row {
    Row {
        id,
        state: standing.state,
        shape: Shape(standing.state),
        word: words::state(standing, |at| when::clock(at, now)),
        reason: words::reason(&standing.reason),
        action: words::action(&standing.reason),
        as_of: standing.as_of.map(|at| When::new(at, now)),
        coming: Vec::new(),
    }
}

/// What an update that was told to a home's box does there.
fn update(told: &Told) -> &'static str {
    let now = told.said.as_ref().and_then(|said| said.now.as_ref());
    match now.filter(|(mark, _)| mark.counter == told.counter) {
        Some((_, Progress::OnTrial { .. })) => "The box tries an improvement",
        Some((_, Progress::Acting)) => "The box puts an improvement in place",
        Some((_, Progress::Waiting(_))) => "An improvement waits for a quiet moment here",
        _ => "An improvement is on its way to this home",
    }
}
