//! Shell: support sessions: their part of a gateway's page, the list of all, and what an operator does about them.

use askama::Template;
use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::{Frame, go, page};
use super::guard::Visitor;
use super::password::{WRONG, is_own};
use super::when::When;
use crate::bus::Event;
use crate::https::Peer;
use crate::store::support::{self, Asking};
use crate::store::{StoreError, Tx};
use crate::support::{Asked, Kept, Stands, words};

/// Sessions on a gateway's page.
const OF_ONE: i64 = 20;
/// Sessions on the page of all.
const OF_ALL: i64 = 200;

/// One session, as it is shown.
pub struct Line {
    kept: Kept,
    now: Timestamp,
}

impl Line {
    fn stands(&self) -> Stands {
        self.kept.stands(self.now)
    }

    /// Of which gateway.
    pub const fn gateway(&self) -> &GatewayId {
        &self.kept.gateway
    }

    /// Its ticket.
    pub fn ticket(&self) -> &str {
        self.kept.session.ticket.as_str()
    }

    /// Who asked, and why.
    pub fn asked(&self) -> String {
        format!("{}: {}", words::by(&self.kept), self.kept.session.reason.as_str())
    }

    /// When.
    pub fn asked_at(&self) -> When {
        When::new(self.kept.asked_at, self.now)
    }

    /// Where it leads to, and for how long.
    pub fn leads(&self) -> String {
        let session = &self.kept.session;
        format!(
            "port {} for {} minutes",
            session.port,
            session.lasts_s.div_ceil(60)
        )
    }

    /// How it stands.
    pub fn said(&self) -> String {
        words::stands(self.stands())
    }

    /// Until when at the latest, while it is open.
    pub fn until(&self) -> Option<When> {
        match self.stands() {
            Stands::Open(until) => Some(When::new(until, self.now)),
            _ => None,
        }
    }

    /// What went through.
    pub fn moved(&self) -> String {
        words::moved(&self.kept)
    }

    /// Who ordered its end.
    pub fn end_by(&self) -> Option<&str> {
        self.kept.end_asked.as_ref().map(|(by, _)| by.as_str())
    }

    /// Whether it is under way.
    pub fn is_live(&self) -> bool {
        !self.stands().is_over()
    }
}

/// The sessions of one gateway.
pub struct Sessions(Vec<Line>);

impl Sessions {
    /// The newest first.
    pub fn lines(&self) -> &[Line] {
        &self.0
    }

    /// Whether one is under way.
    pub fn is_live(&self) -> bool {
        self.0.iter().any(Line::is_live)
    }
}

/// Those of one gateway.
pub fn of(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Sessions, StoreError> {
    let all = support::of(tx, id, OF_ONE)?;
    Ok(Sessions(lines(all, now)))
}

fn lines(all: Vec<Kept>, now: Timestamp) -> Vec<Line> {
    all.into_iter().map(|kept| Line { kept, now }).collect()
}

#[derive(Template)]
#[template(path = "support.html")]
struct Page {
    frame: Frame,
    lines: Vec<Line>,
}

impl Page {
    fn heading(&self) -> String {
        match self.lines.iter().filter(|line| line.is_live()).count() {
            0 => "No support session is under way".to_owned(),
            1 => "1 support session under way".to_owned(),
            n => format!("{n} support sessions under way"),
        }
    }
}

/// The newest of all gateways.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
) -> Result<Response, Failure> {
    let now = desk.clock.now();
    let all = desk.store.read(|tx| support::newest(tx, OF_ALL)).await?;
    Ok(page(&Page {
        frame: Frame::new("Support", "/support", &visitor, now),
        lines: lines(all, now),
    }))
}

/// A session to ask for.
#[derive(Deserialize)]
pub struct Wish {
    ticket: String,
    reason: String,
    minutes: u32,
    #[serde(default = "ssh")]
    port: u16,
    password: String,
}

const fn ssh() -> u16 {
    22
}

/// Asks the box for one. The password shows that it is still the same person at the console.
pub async fn open(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    peer: Option<Extension<Peer>>,
    Path(gateway): Path<String>,
    Form(given): Form<Wish>,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let lasts_s = given.minutes.saturating_mul(60);
    let asked = Asked::new(&given.ticket, &given.reason, given.port, lasts_s);
    let asked = asked.map_err(|why| Failure::Form(format!("Nothing was asked for: {why}.")))?;
    if !is_own(&desk, &visitor, given.password, peer.as_deref()).await? {
        return Err(Failure::Form(WRONG.into()));
    }
    let (which, by, now) = (gateway.clone(), visitor.user, desk.clock.now());
    let asking = desk
        .store
        .write(move |tx| support::ask(tx, &which, &asked, by.as_str(), now));
    match asking.await? {
        Asking::Asked(_) => {
            desk.bus.publish(Event::Changed(gateway.clone()));
            Ok(go(&format!("/gateways/{gateway}#support")))
        }
        Asking::Busy(_) => Err(Failure::Refused("another session of it is not over yet".into())),
        Asking::Unknown => Err(Failure::NothingHere),
    }
}

/// Why.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Ends the one that is under way. Closing a door asks for no password.
pub async fn end(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let reason: String = given.reason.trim().chars().take(100).collect();
    if reason.is_empty() {
        return Err(Failure::Form(
            "Nothing was ended: a reason is needed; it stands in the audit trail.".into(),
        ));
    }
    let (which, by, now) = (gateway.clone(), visitor.user, desk.clock.now());
    let ended = desk
        .store
        .write(move |tx| support::end(tx, &which, &reason, by.as_str(), now));
    if !ended.await? {
        return Err(Failure::Refused("no session of it is under way any more".into()));
    }
    desk.bus.publish(Event::Changed(gateway.clone()));
    Ok(go(&format!("/gateways/{gateway}#support")))
}
