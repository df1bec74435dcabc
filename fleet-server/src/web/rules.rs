//! Shell: the rules of one gateway: its part of the gateway's page, and what an operator does about them.

use std::collections::BTreeMap;
use std::fmt;

use askama::filters::HtmlSafe;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::{GatewayId, GroupId, HazardId};
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::state::{PointState, Standing};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Shape, go};
use super::guard::Visitor;
use super::when::When;
use crate::bus::Event;
use crate::care::State as Care;
use crate::policy::contain::{Containment, containment};
use crate::policy::rollout::Line;
use crate::policy::words;
use crate::store::policies::groups::{self, Joining};
use crate::store::policies::isolation::{self, Given, Ordering};
use crate::store::policies::states::{self, Said, Spell};
use crate::store::policies::stopped::{self, Shown};
use crate::store::policies::{self, overview};
use crate::store::{StoreError, Tx};

/// Most characters of a reason.
const MAX_REASON: usize = 100;
/// Stopped flows on a page.
const FLOWS: i64 = 20;

/// A shape and its word.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mark {
    state: Care,
    word: String,
}

impl Mark {
    /// A word, and the shape of this state beside it.
    pub fn new(state: Care, word: impl Into<String>) -> Mark {
        let word = word.into();
        Mark { state, word }
    }

    /// How a point stands. Of a box that was not heard, nothing is said to hold now.
    pub fn of(standing: &Standing, heard: bool) -> Mark {
        let state = match standing {
            Standing::Holds if heard => Care::AllWorking,
            Standing::Holds | Standing::NotEnforceableHere(_) => Care::NotHeard,
            Standing::Drifted => Care::CheckToday,
            Standing::Failed(_) => Care::NeedsAction,
        };
        let word = match standing {
            Standing::Holds if !heard => "Held when last heard".to_owned(),
            other => words::standing(other).to_owned(),
        };
        Mark { state, word }
    }

    /// How far a gateway has come.
    pub fn of_line(line: &Line) -> Mark {
        use crate::policy::progress::Progress;
        let state = if line.progress.is_wrong() || line.failed > 0 {
            Care::NeedsAction
        } else if line.drifted > 0 {
            Care::CheckToday
        } else if line.progress == Progress::Applied && line.connected {
            Care::AllWorking
        } else {
            Care::NotHeard
        };
        Mark {
            state,
            word: words::progress(line.progress),
        }
    }

    /// What a list of boxes says beside a point.
    pub const fn word(&self) -> &str {
        self.word.as_str()
    }
}

impl fmt::Display for Mark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word: String = self
            .word
            .chars()
            .flat_map(|c| match c {
                '&' => "&amp;".chars().collect::<Vec<_>>(),
                '<' => "&lt;".chars().collect(),
                '>' => "&gt;".chars().collect(),
                c => vec![c],
            })
            .collect();
        write!(
            f,
            r#"<span class="mark {}"><span class="state">{}<span class="word">{word}</span></span></span>"#,
            self.state.name(),
            Shape(self.state)
        )
    }
}

/// Made of constants, and of words whose markup is escaped.
impl HtmlSafe for Mark {}

/// What is known of a gateway's rules, ready for a template.
pub struct Rules {
    line: Line,
    order: Option<Given>,
    said: Option<Said>,
    points: Vec<PointState>,
    spells: Vec<Spell>,
    flows: Vec<Shown>,
    totals: (i64, i64),
    groups: Vec<GroupId>,
    names: BTreeMap<u64, String>,
    hazards: BTreeMap<HazardId, ShortText>,
    now: Timestamp,
}

/// One point, as it is shown.
pub struct Row {
    /// Its name.
    pub point: String,
    /// What its rule is about.
    pub about: &'static str,
    /// Shape and word.
    pub mark: Mark,
    /// Why, when the box said so.
    pub why: Option<String>,
    /// The hazard, and its line.
    pub hazard: String,
    /// What the policy wants.
    pub wanted: String,
    /// What the box set.
    pub applied: String,
    /// What it saw.
    pub observed: String,
    /// Since when it stands so.
    pub since: When,
}

/// Reads it; none when there is no such gateway.
pub fn rules(
    tx: &mut dyn Tx,
    roots: &[homeward_protocol::signed::PublicKey],
    id: &GatewayId,
    now: Timestamp,
) -> Result<Option<Rules>, StoreError> {
    let book = policies::book_of(tx, roots, id)?;
    let Some(line) = overview::line(tx, &book, id, now)? else {
        return Ok(None);
    };
    let (held, wanted) = (line.holds.map(|mark| mark.version.0), line.wanted);
    let entries = [held, wanted]
        .into_iter()
        .flatten()
        .filter_map(|version| book.entry(version));
    let names = entries.map(|entry| (entry.mark.version.0, entry.policy.name.as_str().to_owned()));
    let names = names.collect();
    let hazards = held
        .and_then(|version| book.entry(version))
        .map(|entry| entry.policy.hazards.clone());
    Ok(Some(Rules {
        order: isolation::get(tx, id)?,
        said: states::get(tx, id)?,
        points: states::points(tx, id)?,
        spells: states::spells(tx, id)?,
        flows: stopped::newest(tx, id, FLOWS)?,
        totals: stopped::totals(tx, id)?,
        groups: groups::of(tx, id)?,
        line,
        names,
        hazards: hazards.unwrap_or_default(),
        now,
    }))
}

impl Rules {
    /// A policy's number and name.
    fn named(&self, version: Option<u64>) -> String {
        match version {
            None => "none".to_owned(),
            Some(version) => match self.names.get(&version) {
                Some(name) => format!("policy {version}, {name}"),
                None => format!("policy {version}, which is not loaded here"),
            },
        }
    }

    /// What it shall have.
    pub fn wanted(&self) -> String {
        self.named(self.line.wanted)
    }

    /// What it says that it has.
    pub fn has(&self) -> String {
        if self.said.is_none() {
            return "it has not said".to_owned();
        }
        self.named(self.line.holds.map(|mark| mark.version.0))
    }

    /// How far it has come.
    pub fn progress(&self) -> Mark {
        Mark::of_line(&self.line)
    }

    /// What rules it.
    pub fn basis(&self) -> Option<&'static str> {
        self.said.as_ref().map(|said| words::basis(said.state.basis))
    }

    /// When it said so.
    pub fn heard(&self) -> Option<When> {
        self.said
            .as_ref()
            .map(|said| When::new(said.received_at, self.now))
    }

    /// From which policy it went back, why, and when.
    pub fn returned(&self) -> Option<String> {
        let returned = self.said.as_ref()?.state.returned.as_ref()?;
        let (from, why) = (returned.from.version, words::cause(&returned.cause));
        Some(format!("from policy {from}: {why}"))
    }

    /// What it did not take.
    pub fn refused(&self) -> Option<String> {
        let refused = self.said.as_ref()?.state.refused.as_ref()?;
        let which = refused
            .mark
            .map_or("one that it could not read".to_owned(), |mark| {
                format!("policy {}", mark.version)
            });
        Some(format!("{which}: {}", refused.why))
    }

    fn containment(&self) -> Containment {
        containment(
            self.order.as_ref().map(|given| &given.order),
            self.said.as_ref().and_then(|said| said.state.isolation.as_ref()),
        )
    }

    /// Whether it is shut off, in words.
    pub fn contained(&self) -> &'static str {
        words::containment(self.containment())
    }

    /// By whom, and why; nothing while nobody ever did.
    pub fn ordered(&self) -> Option<String> {
        let given = self.order.as_ref()?;
        let what = match given.order.ordered {
            Ordered::Isolate => "shut off",
            Ordered::Lift => "opened again",
        };
        Some(format!("{what} by {}: {}", given.by, given.order.reason.as_str()))
    }

    /// When that was.
    pub fn ordered_at(&self) -> Option<When> {
        self.order
            .as_ref()
            .map(|given| When::new(given.order.at, self.now))
    }

    /// Whether shutting it off is what can be done now; else opening it.
    pub fn may_isolate(&self) -> bool {
        self.containment().may_isolate()
    }

    /// Its groups.
    pub fn groups(&self) -> &[GroupId] {
        &self.groups
    }

    /// Its points, in the order of the rules.
    pub fn rows(&self) -> Vec<Row> {
        let text = |text: &Option<ShortText>, none: &str| {
            text.as_ref()
                .map_or(none.to_owned(), |text| text.as_str().to_owned())
        };
        let row = |point: &PointState| Row {
            point: point.point.to_string(),
            about: words::rule(point.point.rule()),
            mark: Mark::of(&point.standing, self.line.connected),
            why: states::standing(&point.standing)
                .1
                .map(|why| why.as_str().to_owned()),
            hazard: match self.hazards.get(&point.hazard) {
                Some(line) => format!("{}: {}", point.hazard, line.as_str()),
                None => point.hazard.to_string(),
            },
            wanted: point.wanted.as_str().to_owned(),
            applied: text(&point.applied, "not set by the box"),
            observed: text(&point.observed, "cannot be seen"),
            since: When::new(point.since, self.now),
        };
        self.points.iter().map(row).collect()
    }

    /// Points that hold and are not listed.
    pub fn more(&self) -> u32 {
        self.said.as_ref().map_or(0, |said| said.state.more)
    }

    /// Times that a point did not hold, the newest first.
    pub fn spells(&self) -> &[Spell] {
        &self.spells
    }

    /// What of a spell.
    pub fn spell(spell: &Spell) -> String {
        let observed = spell.observed.as_deref().unwrap_or("could not be seen");
        let why = states::standing(&spell.standing)
            .1
            .map_or(String::new(), |why| format!(" ({})", why.as_str()));
        let what = words::standing(&spell.standing).to_lowercase();
        format!("{what}{why}; wanted {}, observed {observed}", spell.wanted)
    }

    /// Flows that it stopped, the newest first.
    pub fn flows(&self) -> &[Shown] {
        &self.flows
    }

    /// One flow in a line.
    pub fn flow(flow: &Shown) -> String {
        let port = if flow.port == 0 {
            String::new()
        } else {
            format!(" port {}", flow.port)
        };
        let protocol = if flow.protocol.is_empty() { "" } else { " by " };
        format!("{} to {}{port}{protocol}{}", flow.who, flow.peer, flow.protocol)
    }

    /// How many it told, and how many it only counted.
    pub const fn totals(&self) -> (i64, i64) {
        self.totals
    }
}

/// Why.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Shuts it off from all but its vital flows.
pub async fn isolate(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    order(&desk, &visitor, &gateway, Ordered::Isolate, &given.reason).await
}

/// Opens it again.
pub async fn release(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    order(&desk, &visitor, &gateway, Ordered::Lift, &given.reason).await
}

async fn order(
    desk: &Desk,
    visitor: &Visitor,
    gateway: &str,
    ordered: Ordered,
    reason: &str,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let reason: String = reason.trim().chars().take(MAX_REASON).collect();
    if reason.is_empty() {
        return Err(Failure::Form(
            "A reason is needed: it stands in the audit trail.".into(),
        ));
    }
    let (which, by, now) = (gateway.clone(), visitor.user.clone(), desk.clock.now());
    let given = desk
        .store
        .write(move |tx| isolation::order(tx, &which, ordered, &reason, by.as_str(), now));
    if given.await? == Ordering::Unknown {
        return Err(Failure::NothingHere);
    }
    desk.bus.publish(Event::Changed(gateway.clone()));
    Ok(go(&format!("/gateways/{gateway}#rules")))
}

/// A group to join or leave.
#[derive(Deserialize)]
pub struct Membership {
    group: String,
    #[serde(default)]
    leave: String,
}

/// Puts it into a group, or takes it out.
pub async fn group(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Membership>,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let group: GroupId = given
        .group
        .trim()
        .parse()
        .map_err(|e: homeward_protocol::id::IdError| Failure::Form(format!("That is no group: {e}.")))?;
    let (which, leave, now) = (gateway.clone(), given.leave == "1", desk.clock.now());
    let done = desk.store.write(move |tx| {
        if leave {
            groups::remove(tx, &group, &which, visitor.user.as_str(), now)
        } else {
            groups::add(tx, &group, &which, visitor.user.as_str(), now)
        }
    });
    match done.await? {
        Joining::Done | Joining::Already => Ok(go(&format!("/gateways/{gateway}#rules"))),
        Joining::Unknown => Err(Failure::NothingHere),
        Joining::Full => Err(Failure::Refused("it is in as many groups as it can be".into())),
    }
}
