//! Shell: whether a gateway can be believed, and what a program may decide about it.

use axum::extract::rejection::JsonRejection;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::{Extension, Json};
use homeward_protocol::attest::Tier;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::Desk;
use super::fleet::{body, id};
use super::guard::Caller;
use super::problem::Problem;
use super::shape::moment;
use crate::attest::postures::Unproven;
use crate::attest::take::{Accept, Accepted, accept, challenge};
use crate::attest::{Claim, words};
use crate::bus::Event;
use crate::store::attest::{self, Shown, firmware, postures};
use crate::store::{gateways, hex};

/// Most characters of a reason.
const MAX_REASON: usize = 200;
/// Judgements in an answer.
const NEWEST: i64 = 20;

/// Whether a gateway can be believed now.
#[derive(Debug, Serialize, ToSchema)]
pub struct Attestation {
    /// `trusted`, `warning`, `stale`, `failed` or `unknown`.
    #[schema(example = "trusted")]
    trust: &'static str,
    /// The highest tier that it proved: `software`, `tpm-key`, `tpm-chip` or `measured-boot`.
    tier: Option<&'static str>,
    /// What that tier proves.
    proves: Option<&'static str>,
    /// When the newest judgement was made.
    issued_at: Option<String>,
    /// From when on it says nothing good any more.
    expires_at: Option<String>,
    /// When its evidence was last in order.
    last_good_at: Option<String>,
    /// Why a person has to open it again; missing while it is not shut off.
    quarantine: Option<String>,
    /// Challenges since its last answer.
    unanswered: i64,
    /// Firmware values that nobody has accepted yet.
    firmware: Vec<FirmwareShape>,
    /// Stretches of time while it was away: proved by its chain of postures, or not; the newest first, at most 50.
    away: Vec<StretchShape>,
    /// The newest judgements, the newest first, at most 20.
    history: Vec<JudgementShape>,
}

/// One register of a gateway's firmware.
#[derive(Debug, Serialize, ToSchema)]
pub struct FirmwareShape {
    /// Which register.
    register: u8,
    /// As it was accepted, SHA-256 in hex.
    accepted: Option<String>,
    /// As it is now.
    now: Option<String>,
}

/// A stretch of time, by the gateway's clock.
#[derive(Debug, Serialize, ToSchema)]
pub struct StretchShape {
    /// From when.
    from: String,
    /// Until when.
    until: String,
    /// Links of the chain from end to end.
    links: i64,
    /// Why it is not proved; missing when it is.
    unproven: Option<&'static str>,
}

impl From<&postures::Shown> for StretchShape {
    fn from(shown: &postures::Shown) -> StretchShape {
        StretchShape {
            from: moment(shown.from),
            until: moment(shown.until),
            links: shown.links,
            unproven: shown.unproven.map(Unproven::name),
        }
    }
}

/// One judgement.
#[derive(Debug, Serialize, ToSchema)]
pub struct JudgementShape {
    /// When it was made.
    issued_at: String,
    /// When it ended, or ends.
    expires_at: String,
    /// `none`, `affirming`, `warning` or `contraindicated`.
    status: &'static str,
    /// What proved it.
    tier: &'static str,
    /// How the gateway stood right after.
    trust: &'static str,
    /// One number for each side (AR4SI).
    vector: std::collections::BTreeMap<&'static str, i8>,
    /// Why, in plain English.
    said: Vec<String>,
    /// SHA-256 of the evidence, hex.
    evidence: String,
}

impl From<&Shown> for JudgementShape {
    fn from(shown: &Shown) -> JudgementShape {
        JudgementShape {
            issued_at: moment(shown.issued_at),
            expires_at: moment(shown.expires_at),
            status: shown.status.name(),
            tier: shown.tier.name(),
            trust: shown.state.name(),
            vector: Claim::ALL
                .iter()
                .map(|c| (c.name(), shown.vector.get(*c)))
                .collect(),
            said: shown.said.clone(),
            evidence: hex(&shown.evidence),
        }
    }
}

/// Whether a gateway can be believed now, and why.
#[utoipa::path(get, path = "/api/v1/gateways/{gateway}/attestation", params(("gateway" = String, Path)),
    security(("token" = ["fleet:read"])),
    responses((status = 200, body = Attestation), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn one(
    State(desk): State<Desk>,
    Path(gateway): Path<String>,
) -> Result<Json<Attestation>, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let read = desk.store.read(move |tx| {
        if gateways::get(tx, &gateway)?.is_none() {
            return Ok(None);
        }
        Ok(Some((
            attest::kept(tx, &gateway)?,
            attest::newest_record(tx)?,
            attest::history(tx, &gateway, NEWEST)?,
            firmware::changes(tx, &gateway)?,
            postures::stretches(tx, &gateway)?,
        )))
    });
    let (kept, newest, history, changes, away) = read.await?.ok_or_else(Problem::missing)?;
    let known = &kept.known;
    let firmware = changes.iter().map(|change| FirmwareShape {
        register: change.register,
        accepted: change.before.map(|v| hex(&v)),
        now: change.after.map(|v| hex(&v)),
    });
    Ok(Json(Attestation {
        trust: known.trust(now, newest).name(),
        tier: known.tier.map(Tier::name),
        proves: known.tier.map(words::tier),
        issued_at: known.newest.map(|n| moment(n.issued_at)),
        expires_at: known.newest.map(|n| moment(n.expires_at)),
        last_good_at: known.last_good.map(moment),
        quarantine: known.quarantine.as_ref().map(|q| q.why.clone()),
        unanswered: kept.asked.unanswered,
        firmware: firmware.collect(),
        away: away.iter().map(StretchShape::from).collect(),
        history: history.iter().map(JudgementShape::from).collect(),
    }))
}

/// Has a gateway asked to prove itself as soon as it is connected.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/challenge", params(("gateway" = String, Path)),
    security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem)))]
pub async fn ask(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
) -> Result<StatusCode, Problem> {
    let (gateway, now) = (id(&gateway)?, desk.clock.now());
    let which = gateway.clone();
    if !desk
        .store
        .write(move |tx| challenge(tx, &which, &by, now))
        .await?
    {
        return Err(Problem::missing());
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}

/// What is accepted. At least one of `lift`, `firmware` and `tier`.
#[derive(Debug, Deserialize, ToSchema)]
pub struct Acceptance {
    /// Stands in the audit trail; at most 200 characters.
    reason: String,
    /// Lift the quarantine.
    #[serde(default)]
    lift: bool,
    /// Accept the firmware values that were last seen.
    #[serde(default)]
    firmware: bool,
    /// From now on this tier is expected: `software`, `tpm-key`, `tpm-chip` or `measured-boot`.
    tier: Option<String>,
}

/// Accepts what a gateway's evidence left open. How it stands then is for its next evidence to say.
#[utoipa::path(post, path = "/api/v1/gateways/{gateway}/accept", params(("gateway" = String, Path)),
    request_body = Acceptance, security(("token" = ["fleet:write"])),
    responses((status = 204), (status = 401, body = Problem), (status = 404, body = Problem),
        (status = 409, body = Problem), (status = 422, body = Problem)))]
pub async fn decide(
    State(desk): State<Desk>,
    Extension(Caller(by)): Extension<Caller>,
    Path(gateway): Path<String>,
    given: Result<Json<Acceptance>, JsonRejection>,
) -> Result<StatusCode, Problem> {
    let (gateway, now, given) = (id(&gateway)?, desk.clock.now(), body(given)?);
    let reason = given.reason.trim().to_owned();
    if reason.is_empty() || reason.chars().count() > MAX_REASON {
        return Err(Problem::wrong("a reason has 1 to 200 characters"));
    }
    let wrong = || Problem::wrong("a tier is software, tpm-key, tpm-chip or measured-boot");
    let tier = given
        .tier
        .as_deref()
        .map(|name| Tier::from_name(name).ok_or_else(wrong));
    let wanted = Accept {
        reason,
        lift: given.lift,
        firmware: given.firmware,
        tier: tier.transpose()?,
    };
    let which = gateway.clone();
    let done = desk.store.write(move |tx| {
        if gateways::get(tx, &which)?.is_none() {
            return Ok(None);
        }
        accept(tx, &which, &wanted, &by, now).map(Some)
    });
    match done.await?.ok_or_else(Problem::missing)? {
        Accepted::Nothing => return Err(Problem::conflict("there is nothing of that to accept")),
        Accepted::Done => {}
    }
    desk.bus.publish(Event::Changed(gateway));
    Ok(StatusCode::NO_CONTENT)
}
