//! Shell: what a box is: its part of the gateway's page, and the page that asks the whole fleet.

use askama::Template;
use axum::Extension;
use axum::extract::{Path, Query, State};
use axum::response::Response;
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::fact::{Value, What};
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::when::When;
use crate::facts::view::{self, Line, View};
use crate::store::facts::{self, Changed, Holds, Installed};
use crate::store::{StoreError, Tx};

/// Most boxes that the page lists.
const MOST: i64 = 500;
/// Changes that a gateway's page shows.
const NEWEST: usize = 20;

/// What is known of a box, ready for a template.
#[derive(Debug, Default)]
pub struct Known {
    view: View,
    now: Option<Timestamp>,
}

/// Facts about one thing: `net`, `ssh` …
pub struct Group<'a> {
    /// Its heading.
    pub name: &'static str,
    /// Its facts.
    pub lines: Vec<&'a Line>,
}

/// Reads it.
pub fn known(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Known, StoreError> {
    Ok(Known {
        view: view::read(tx, id)?.unwrap_or_default(),
        now: Some(now),
    })
}

/// The headings, by the first word of the facts' names.
const GROUPS: [(&str, &[&str]); 9] = [
    ("System", &["os", "kernel", "machine", "boot", "agent", "left"]),
    ("Updates and software", &["updates", "software"]),
    ("Who can get in", &["account", "ssh", "file"]),
    ("Network", &["net"]),
    ("Disks", &["disk"]),
    ("Memory", &["memory"]),
    ("Clock", &["time"]),
    ("Plugged in", &["usb", "serial", "bluetooth"]),
    ("Buses", &["modbus"]),
];

impl Known {
    /// When it was told, if it was.
    pub fn told(&self) -> Option<When> {
        let told = self.view.told?;
        Some(When::new(told.received_at, self.now?))
    }

    /// The facts under their headings; a heading without facts is left out.
    pub fn groups(&self) -> Vec<Group<'_>> {
        let group = |(name, firsts): &(&'static str, &[&str])| {
            let of = |line: &&Line| {
                let first = line.fact.id.what().name().split('.').next().unwrap_or_default();
                firsts.contains(&first)
            };
            let lines: Vec<&Line> = self.view.lines.iter().filter(of).collect();
            (!lines.is_empty()).then_some(Group { name, lines })
        };
        GROUPS.iter().filter_map(group).collect()
    }

    /// Since when a fact is so.
    pub fn since(&self, line: &Line) -> Option<When> {
        Some(When::new(line.since?, self.now?))
    }

    /// When a fact was read.
    pub fn taken(&self, line: &Line) -> Option<When> {
        Some(When::new(line.fact.taken_at, self.now?))
    }

    /// Whether it could not be had.
    pub fn is_unknown(line: &Line) -> bool {
        matches!(line.fact.value, Value::Unknown(_))
    }

    /// The newest changes.
    pub fn changes(&self) -> &[Changed] {
        let all = &self.view.changes;
        all.get(..all.len().min(NEWEST)).unwrap_or_default()
    }
}

/// A change in a sentence.
pub fn sentence(change: &Changed) -> String {
    let subject = change.fact.subject().map(|s| format!(" {s}")).unwrap_or_default();
    let name = format!("{}{subject}", change.fact.what().said());
    match (&change.was, &change.now) {
        (None, Some(now)) => format!("{name} is new: {now}"),
        (Some(was), None) => format!("{name} is gone; it was: {was}"),
        (Some(was), Some(now)) => format!("{name}: {was} became {now}"),
        (None, None) => name,
    }
}

/// What the fleet is asked.
#[derive(Debug, Default, Deserialize)]
pub struct Asked {
    #[serde(default)]
    fact: String,
    #[serde(default)]
    subject: String,
    #[serde(default)]
    value: String,
    #[serde(default)]
    package: String,
}

#[derive(Template)]
#[template(path = "posture.html")]
struct Page {
    frame: Frame,
    asked: Asked,
    holds: Option<Vec<Holds>>,
    installed: Option<Vec<Installed>>,
}

impl Page {
    fn is_asked(&self, name: &str) -> bool {
        self.asked.fact == name
    }

    fn is_cut(found: usize) -> bool {
        i64::try_from(found).is_ok_and(|found| found >= MOST)
    }
}

/// Which boxes have something.
pub async fn find(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Query(asked): Query<Asked>,
) -> Result<Response, Failure> {
    let what: Option<What> = asked.fact.parse().ok();
    let (subject, value) = (asked.subject.clone(), asked.value.clone());
    let package = asked.package.trim().to_owned();
    let read = desk.store.read(move |tx| {
        let holds = what.map(|what| facts::find(tx, what, (subject.trim(), value.trim()), MOST));
        let installed = (!package.is_empty()).then(|| facts::who_has(tx, &package, MOST));
        Ok((holds.transpose()?, installed.transpose()?))
    });
    let (holds, installed) = read.await?;
    Ok(page(&Page {
        frame: Frame::new("Which boxes have it?", "/posture", &visitor, desk.clock.now()),
        asked,
        holds,
        installed,
    }))
}

/// Asks a box for all its facts.
pub async fn ask(State(desk): State<Desk>, Path(gateway): Path<String>) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let (which, now) = (gateway.clone(), desk.clock.now());
    let asked = desk.store.write(move |tx| facts::ask(tx, &which, now));
    if asked.await? {
        Ok(go(&format!("/gateways/{gateway}")))
    } else {
        Err(Failure::NothingHere)
    }
}
