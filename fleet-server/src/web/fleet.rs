//! Shell: the operator's list of gateways: worst first, searched, filtered by state, fifty at a time.

use askama::Template;
use axum::Extension;
use axum::extract::{Query, State};
use axum::response::Response;
use homeward_protocol::attest::Trust;
use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, Shape, page};
use super::guard::Visitor;
use super::when::{self, When};
use crate::attest::words as believed;
use crate::care::list::{self, Among, Filter, Judged};
use crate::care::{Counts, State as Word, words};
use crate::store::care::judged;
use crate::store::console;

/// What stands behind the `?`. What cannot be read counts as not given.
#[derive(Deserialize)]
pub struct Asked {
    #[serde(default)]
    q: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    trust: String,
    #[serde(default)]
    after: String,
    #[serde(default)]
    among: String,
}

/// One gateway.
#[derive(Debug, Clone)]
pub struct Row {
    gateway: GatewayId,
    placement: Option<PlacementId>,
    connected: bool,
    state: Word,
    shape: Shape,
    word: String,
    reason: String,
    as_of: Option<When>,
    doubts: usize,
    trust: Trust,
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct Page {
    frame: Frame,
    rows: Rows,
}

/// The part of the page that changes.
#[derive(Template)]
#[template(path = "fleet_rows.html")]
struct Rows {
    frame: Frame,
    counts: Counts,
    list: Vec<Row>,
    next: Option<String>,
    waiting: i64,
    incidents: i64,
    q: String,
    state: Option<Word>,
    trust: Option<Trust>,
    trusts: [usize; 5],
    after: String,
    among: Among,
    retired: usize,
}

/// A way to look at one state only.
struct Choice {
    query: String,
    title: &'static str,
    class: &'static str,
    shape: Option<Shape>,
    count: usize,
    chosen: bool,
}

impl Rows {
    /// What is asked for, for the next look at the same thing.
    fn here(&self) -> String {
        let after = (!self.after.is_empty()).then_some(self.after.as_str());
        address(self.among, &self.q, (self.state, self.trust), after)
    }

    fn heading(&self) -> String {
        if self.among == Among::Retired {
            return format!("{} out of service", self.counts.total());
        }
        match (
            self.counts.total(),
            self.counts.needs_action,
            self.counts.not_heard,
        ) {
            (0, ..) => "No gateways".to_owned(),
            (1, 0, 0) => "1 gateway, nothing urgent".to_owned(),
            (whole, 0, 0) => format!("{whole} gateways, nothing urgent"),
            (whole, red, grey) => format!("{} of {whole} gateways need a look", red + grey),
        }
    }

    fn filters(&self) -> Vec<Choice> {
        let all = Choice {
            query: address(self.among, &self.q, (None, self.trust), None),
            title: "All",
            class: "",
            shape: None,
            count: self.counts.total(),
            chosen: self.state.is_none(),
        };
        let one = |state: Word| Choice {
            query: address(self.among, &self.q, (Some(state), self.trust), None),
            title: words::title(state),
            class: state.name(),
            shape: Some(Shape(state)),
            count: self.counts.in_state(state),
            chosen: self.state == Some(state),
        };
        std::iter::once(all)
            .chain(Word::ALL.into_iter().map(one))
            .collect()
    }

    /// The same by how far the boxes can be believed.
    fn trust_filters(&self) -> Vec<Choice> {
        let all = Choice {
            query: address(self.among, &self.q, (self.state, None), None),
            title: "Any",
            class: "",
            shape: None,
            count: self.counts.total(),
            chosen: self.trust.is_none(),
        };
        let one = |(trust, count): (Trust, usize)| Choice {
            query: address(self.among, &self.q, (self.state, Some(trust)), None),
            title: believed::trust(trust),
            class: trust.name(),
            shape: None,
            count,
            chosen: self.trust == Some(trust),
        };
        std::iter::once(all)
            .chain(Trust::ALL.into_iter().zip(self.trusts).map(one))
            .collect()
    }
}

/// `/fleet` with what is asked for behind it. A search is cut down to what ids can hold, so nothing needs escaping.
fn address(
    among: Among,
    q: &str,
    (state, trust): (Option<Word>, Option<Trust>),
    after: Option<&str>,
) -> String {
    let parts = [
        (among != Among::Serving).then(|| format!("among={}", among.name())),
        (!q.is_empty()).then(|| format!("q={q}")),
        state.map(|s| format!("state={s}")),
        trust.map(|t| format!("trust={}", t.name())),
        after.map(|a| format!("after={a}")),
    ];
    let query = parts.into_iter().flatten().collect::<Vec<_>>().join("&");
    if query.is_empty() {
        String::new()
    } else {
        format!("?{query}")
    }
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
    let read = desk
        .store
        .read(move |tx| Ok((judged(tx, now)?, console::to_do(tx)?)));
    let (all, (waiting, incidents)) = read.await?;
    let q = asked.q.trim().to_lowercase();
    let filter = Filter {
        among: asked.among.parse().unwrap_or_default(),
        text: q
            .chars()
            .filter(|c| c.is_ascii_alphanumeric() || *c == '-')
            .take(40)
            .collect(),
        state: asked.state.parse().ok(),
        trust: Trust::from_name(&asked.trust),
        after: asked.after.parse().ok(),
    };
    let page = list::page(all, &filter);
    Ok(Rows {
        frame: Frame::new("Fleet", "/fleet", visitor, now),
        counts: page.counts,
        list: page.rows.into_iter().map(|j| row(j, now)).collect(),
        next: page.next.map(|after| {
            address(
                filter.among,
                &filter.text,
                (filter.state, filter.trust),
                Some(&after.to_string()),
            )
        }),
        waiting,
        incidents,
        after: filter.after.map(|a| a.to_string()).unwrap_or_default(),
        q: filter.text,
        state: filter.state,
        trust: filter.trust,
        trusts: page.trusts,
        among: filter.among,
        retired: page.retired,
    })
}

fn row(judged: Judged, now: Timestamp) -> Row {
    Row {
        word: words::state(&judged.standing, |at| when::clock(at, now)),
        reason: words::reason(&judged.standing.reason),
        as_of: judged.standing.as_of.map(|at| When::new(at, now)),
        doubts: judged.doubts,
        trust: judged.trust,
        state: judged.standing.state,
        shape: Shape(judged.standing.state),
        gateway: judged.gateway,
        placement: judged.placement,
        connected: judged.connected,
    }
}
