//! Shell: one gateway from all sides, and what an operator may do to it.

use askama::Template;
use axum::extract::{Path, State};
use axum::http::HeaderMap;
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::posture::PostureReport;
use homeward_protocol::reading::Details;
use homeward_protocol::time::Timestamp;
use homeward_protocol::watch::DeviceFacts;
use serde::Deserialize;

use super::Desk;
use super::attest::{self, Belief};
use super::error::Failure;
use super::facts;
use super::forces::{self, Forces};
use super::frame::{Frame, Shape, Sure, go, page};
use super::guard::Visitor;
use super::languages;
use super::releases::Brought;
use super::rules::{self, Rules};
use super::support::{self, Sessions};
use super::when::{self, When};
use super::words as plain;
use crate::access::Sight;
use crate::bus::Event;
use crate::care::{self, Doubt, Doubted, Lifecycle, Standing, reading as said, words};
use crate::device::register::{Approving, Revoking, approve as let_in, revoke as shut_out};
use crate::store::care::{known_of, place as put, placements};
use crate::store::console::{
    self, AlarmEvent, Certificate, Claimed, Gap, Gateway, Sensor, Shown, Stretch, Unreadable,
};
use crate::store::updates::{self, Assigned};
use crate::store::{StoreError, Tx, suspicions};

/// Most characters of a reason.
const MAX_REASON: usize = 200;

/// All that is known of one gateway.
struct Whole {
    gateway: Gateway,
    standing: Standing,
    posture: Option<(PostureReport, Timestamp)>,
    sensors: Vec<Sensor>,
    latest: Vec<Shown>,
    gaps: Vec<Gap>,
    unreadable: Option<Unreadable>,
    alarms: Vec<AlarmEvent>,
    findings: Vec<suspicions::Shown>,
    doubts: Vec<Doubt>,
    bonds: Vec<DeviceFacts>,
    connections: Vec<Stretch>,
    outages: Vec<Stretch>,
    certificates: Vec<Certificate>,
    homes: Vec<PlacementId>,
    belief: Belief,
    known: facts::Known,
    /// What the director told it to take.
    told: Option<Assigned>,
}

#[derive(Template)]
#[template(path = "gateway.html")]
struct Page {
    frame: Frame,
    whole: Whole,
    rules: Rules,
    help: Sessions,
    update: Forces,
    brings: Vec<Brought>,
    word: String,
    reason: String,
    action: &'static str,
}

/// One value of a sensor, as it is said.
struct Line {
    kind: &'static str,
    value: String,
    quality: &'static str,
    marks: Vec<&'static str>,
    /// What was sent before a conversion, and how far the device's clock is off.
    also: Vec<String>,
    grade: Sure,
    reasons: Vec<&'static str>,
    taken: When,
    received: When,
}

impl Page {
    fn shape(&self) -> Shape {
        Shape(self.whole.standing.state)
    }

    fn of(&self, sensor: &Sensor) -> Vec<Line> {
        let own = self.whole.latest.iter().filter(|r| r.sensor == sensor.sensor);
        let line = |r: &Shown| Line {
            kind: r.kind.name(),
            value: said::value(r.kind, r.value),
            quality: said::quality(r.quality),
            marks: r.details.marks.iter().map(|m| said::mark(*m)).collect(),
            also: also(&r.details),
            grade: Sure(r.grade),
            reasons: r.details.reasons.iter().map(|r| said::reason(*r)).collect(),
            taken: When::new(r.taken_at, self.frame.now),
            received: When::new(r.received_at, self.frame.now),
        };
        own.map(line).collect()
    }

    fn gap(gap: &Gap) -> String {
        format!("{} ({})", plain::gap(&gap.cause, gap.missing), gap.lane)
    }

    /// Suspicions that stand, or that are over.
    fn suspicions(&self, standing: bool) -> Vec<&suspicions::Shown> {
        let all = self.whole.findings.iter();
        all.filter(|f| f.cleared_at.is_none() == standing).collect()
    }

    /// Sensors that another gateway has too, with since when.
    fn shared(&self) -> Vec<&Doubt> {
        let all = self.whole.doubts.iter();
        all.filter(|d| d.what == Doubted::Shared).collect()
    }

    /// Values of a sensor that stands still are not to be taken for fresh.
    fn doubt(&self, sensor: &Sensor) -> Option<&'static str> {
        let about = self.whole.findings.iter().find(|f| {
            f.cleared_at.is_none() && f.sensor.as_ref() == Some(&sensor.sensor) && plain::spoils(f.suspicion)
        });
        about.map(|f| f.suspicion.name())
    }

    fn lifecycle(&self) -> &'static str {
        plain::lifecycle(self.whole.gateway.lifecycle)
    }

    fn clock(report: &PostureReport) -> &'static str {
        plain::clock(report.clock.trust)
    }

    fn disk(report: &PostureReport) -> String {
        let disk = report.disk;
        let [free, total, outbox] = [disk.free_bytes, disk.total_bytes, disk.outbox_bytes].map(plain::bytes);
        format!("{free} free of {total}; the outbox takes {outbox}")
    }

    fn is_in(&self, home: &PlacementId) -> bool {
        self.whole.gateway.placement.as_ref() == Some(home)
    }

    fn running(&self) -> String {
        let uptime = self
            .whole
            .posture
            .as_ref()
            .map_or(0, |(report, _)| report.uptime.0 / 1000);
        when::lasting(uptime)
    }
}

fn also(details: &Details) -> Vec<String> {
    let clock = details.sensor_clock.and_then(said::clock);
    details.sent.map(said::sent).into_iter().chain(clock).collect()
}

#[derive(Template)]
#[template(path = "approve.html")]
struct Approval {
    frame: Frame,
    claim: Claimed,
    fingerprint: String,
}

#[derive(Template)]
#[template(path = "revoke.html")]
struct Revocation {
    frame: Frame,
    gateway: Gateway,
}

/// The key that the operator has compared.
#[derive(Deserialize)]
pub struct Compared {
    fingerprint: String,
}

/// Why a gateway is shut out.
#[derive(Deserialize)]
pub struct Why {
    reason: String,
}

/// Which home a gateway is in; empty for none.
#[derive(Deserialize)]
pub struct Where {
    placement: String,
}

fn id(text: &str) -> Result<GatewayId, Failure> {
    text.parse().map_err(|_| Failure::NothingHere)
}

/// The page.
pub async fn get(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let roots = desk.roots.now();
    let read = move |tx: &mut dyn Tx| {
        let rules = rules::rules(tx, &roots, &gateway, now)?;
        let help = support::of(tx, &gateway, now)?;
        let update = forces::of(tx, &gateway, now)?;
        Ok(whole(tx, &gateway, now)?
            .zip(rules)
            .map(|(whole, rules)| (whole, rules, help, update)))
    };
    let (whole, rules, help, update) = desk.store.read(read).await?.ok_or(Failure::NothingHere)?;
    let mut brings = Vec::new();
    if let Some(told) = &whole.told {
        let read = desk.releases.read(now).await;
        let wanted = languages::wanted(&headers, None);
        brings.push(Brought::of(&told.path, &told.version.to_string(), &read, &wanted));
    }
    Ok(page(&Page {
        frame: Frame::new("Gateway", "/fleet", &visitor, now),
        word: words::state(&whole.standing, |at| when::clock(at, now)),
        reason: words::reason(&whole.standing.reason),
        action: words::action(&whole.standing.reason),
        rules,
        help,
        update,
        brings,
        whole,
    }))
}

fn whole(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Option<Whole>, StoreError> {
    let (Some(gateway), Some(known)) = (console::gateway(tx, id)?, known_of(tx, id, now)?) else {
        return Ok(None);
    };
    Ok(Some(Whole {
        gateway,
        standing: care::standing(&known.facts, now),
        posture: console::posture(tx, id)?,
        sensors: console::sensors(tx, id)?,
        latest: console::latest(tx, id)?,
        gaps: console::gaps(tx, id)?,
        unreadable: console::unreadable(tx, id)?,
        alarms: console::alarms(tx, id)?,
        findings: suspicions::findings(tx, id)?,
        bonds: suspicions::bonds(tx, id)?,
        doubts: known.facts.doubts,
        belief: attest::belief(tx, id, now)?,
        known: facts::known(tx, id, now)?,
        told: updates::get(tx, id)?,
        connections: console::connections(tx, id)?,
        outages: console::outages(tx, id)?,
        certificates: console::certificates(tx, id)?,
        homes: placements(tx, &Sight::Fleet)?.into_iter().map(|p| p.id).collect(),
    }))
}

/// Asks whether to let it in, and shows the key to compare.
pub async fn confirm_approval(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
) -> Result<Response, Failure> {
    let gateway = id(&gateway)?;
    let waiting = desk.store.read(|tx| console::waiting(tx)).await?;
    let claim = waiting
        .into_iter()
        .find(|c| c.gateway == gateway)
        .ok_or(Failure::NothingHere)?;
    Ok(page(&Approval {
        frame: Frame::new("Approve", "/approvals", &visitor, desk.clock.now()),
        fingerprint: claim.fingerprint(),
        claim,
    }))
}

/// Lets it in.
pub async fn approve(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Compared>,
) -> Result<Response, Failure> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let (which, by, print) = (gateway.clone(), visitor.user, given.fingerprint);
    let done = desk
        .store
        .write(move |tx| let_in(tx, &which, Some(&print), by.as_str(), now))
        .await?;
    match done {
        Approving::Approved | Approving::Already => {}
        Approving::NoClaim | Approving::NotUsed => return Err(Failure::NothingHere),
        Approving::Revoked => return Err(Failure::Refused("it was taken out of service meanwhile".into())),
        Approving::OtherKey(_) => return Err(Failure::Refused("another key is waiting now".into())),
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(go("/approvals"))
}

/// Asks whether to shut it out, and why.
pub async fn confirm_revocation(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
) -> Result<Response, Failure> {
    let gateway = id(&gateway)?;
    let gateway = desk.store.read(move |tx| console::gateway(tx, &gateway)).await?;
    let gateway = gateway
        .filter(|g| g.lifecycle != Lifecycle::Revoked)
        .ok_or(Failure::NothingHere)?;
    Ok(page(&Revocation {
        frame: Frame::new("Take out of service", "/fleet", &visitor, desk.clock.now()),
        gateway,
    }))
}

/// Shuts it out for good.
pub async fn revoke(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Why>,
) -> Result<Response, Failure> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let reason: String = given.reason.trim().chars().take(MAX_REASON).collect();
    if reason.is_empty() {
        return Err(Failure::Form(
            "A reason is needed: it stands in the audit trail.".into(),
        ));
    }
    let which = gateway.clone();
    let done = desk
        .store
        .write(move |tx| shut_out(tx, &which, &reason, visitor.user.as_str(), now))
        .await?;
    if done == Revoking::Unknown {
        return Err(Failure::NothingHere);
    }
    desk.bus.publish(Event::Changed(gateway.clone()));
    Ok(go(&format!("/gateways/{gateway}")))
}

/// Puts it into a home.
pub async fn place(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Where>,
) -> Result<Response, Failure> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let placement: Option<PlacementId> = match given.placement.as_str() {
        "" => None,
        text => Some(
            text.parse()
                .map_err(|e| Failure::Form(format!("The home is not taken: {e}.")))?,
        ),
    };
    let which = gateway.clone();
    let by = visitor.user;
    let done = desk
        .store
        .write(move |tx| put(tx, &which, placement.as_ref(), by.as_str(), now));
    if !done.await? {
        return Err(Failure::NothingHere);
    }
    desk.bus.publish(Event::Changed(gateway.clone()));
    Ok(go(&format!("/gateways/{gateway}")))
}
