//! Shell: whether a gateway can be believed: its part of the gateway's page, and what an operator decides about it.

use axum::extract::{Path, State};
use axum::response::Response;
use axum::{Extension, Form};
use homeward_protocol::attest::{Tier, Trust};
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde::Deserialize;

use super::Desk;
use super::error::Failure;
use super::frame::go;
use super::guard::Visitor;
use super::when::{self, When};
use crate::attest::baseline::Change;
use crate::attest::record::Quarantine;
use crate::attest::take::{Accept, Accepted, accept, challenge};
use crate::attest::{Status, words};
use crate::bus::Event;
use crate::store::attest::{self, Kept, Shown, firmware, postures};
use crate::store::{StoreError, Tx, hex};

/// Most characters of a reason.
const MAX_REASON: usize = 200;
/// Judgements of the history that a page shows.
const NEWEST: i64 = 20;

/// What is known of a gateway's trust, ready for a template.
pub struct Belief {
    trust: Trust,
    kept: Kept,
    history: Vec<Shown>,
    changes: Vec<Change>,
    stretches: Vec<postures::Shown>,
    now: Timestamp,
}

/// One register, both values.
pub struct Side {
    /// Which.
    pub register: u8,
    /// As accepted.
    pub before: String,
    /// As last seen.
    pub after: String,
}

/// Reads it.
pub fn belief(tx: &mut dyn Tx, id: &GatewayId, now: Timestamp) -> Result<Belief, StoreError> {
    let newest = attest::newest_record(tx)?;
    let kept = attest::kept(tx, id)?;
    Ok(Belief {
        trust: kept.known.trust(now, newest),
        history: attest::history(tx, id, NEWEST)?,
        changes: firmware::changes(tx, id)?,
        stretches: postures::stretches(tx, id)?,
        kept,
        now,
    })
}

impl Belief {
    /// The word.
    pub fn word(&self) -> &'static str {
        words::trust(self.trust)
    }

    /// For the style; the word always stands beside it.
    pub fn class(&self) -> &'static str {
        self.trust.name()
    }

    /// What it proved, in words.
    pub fn tier(&self) -> String {
        match self.kept.known.tier {
            Some(tier) => format!("T{} – {}", tier.number(), words::tier(tier)),
            None => "nothing yet".to_owned(),
        }
    }

    /// Until when it holds, while it does.
    pub fn until(&self) -> Option<When> {
        let newest = self.kept.known.newest?;
        let holds = matches!(self.trust, Trust::Trusted | Trust::Warning);
        holds.then(|| When::new(newest.expires_at, self.now))
    }

    /// When it ended, or was last good.
    pub fn last_good(&self) -> Option<When> {
        let at = self.kept.known.last_good?;
        (!matches!(self.trust, Trust::Trusted | Trust::Warning)).then(|| When::new(at, self.now))
    }

    /// Why the newest judgement is what it is.
    pub fn said(&self) -> &[String] {
        self.history.first().map_or(&[], |shown| shown.said.as_slice())
    }

    /// What a person can do.
    pub fn action(&self) -> &'static str {
        words::action(self.trust, self.kept.known.quarantine.is_some())
    }

    /// Whether a person has to open it.
    pub fn quarantine(&self) -> Option<&Quarantine> {
        self.kept.known.quarantine.as_ref()
    }

    /// When it is asked again.
    pub fn asked(&self) -> String {
        match (self.kept.asked.unanswered, self.kept.asked.next) {
            (0, Some(at)) => format!("asked again {}", when::ago(at, self.now)),
            (0, None) => "not asked yet".to_owned(),
            (1, _) => "asked, no answer yet".to_owned(),
            (n, _) => format!("asked {n} times without an answer"),
        }
    }

    /// Judgements, the newest first.
    pub fn history(&self) -> &[Shown] {
        &self.history
    }

    /// One judgement in a line.
    pub fn line(shown: &Shown) -> String {
        format!(
            "{}, {}: {}",
            words::trust(shown.state),
            shown.tier,
            shown.said.join("; ")
        )
    }

    /// Stretches of time while the server could not ask: proved, or why not. The newest first.
    pub fn stretches(&self) -> Vec<String> {
        let line = |one: &postures::Shown| {
            let (from, until) = (when::clock(one.from, self.now), when::clock(one.until, self.now));
            match one.unproven {
                None => format!("{from} to {until}: proved, {} links", one.links),
                Some(why) => format!("{from} to {until}: unproven, {}", why.said()),
            }
        };
        self.stretches.iter().map(line).collect()
    }

    /// Firmware values side by side.
    pub fn changes(&self) -> Vec<Side> {
        let text = |value: Option<[u8; 32]>| value.map_or("not told".to_owned(), |v| hex(&v));
        let side = |change: &Change| Side {
            register: change.register,
            before: text(change.before),
            after: text(change.after),
        };
        self.changes.iter().map(side).collect()
    }

    /// The lower tier that the newest evidence proved, when that is why it failed.
    pub fn lower_tier(&self) -> Option<Tier> {
        let newest = self
            .history
            .first()
            .filter(|shown| shown.status == Status::Contraindicated)?;
        self.kept
            .known
            .tier
            .filter(|tier| newest.tier < *tier)
            .map(|_| newest.tier)
    }
}

/// What an operator decides.
#[derive(Deserialize)]
pub struct Decision {
    reason: String,
    #[serde(default)]
    lift: String,
    #[serde(default)]
    firmware: String,
    #[serde(default)]
    tier: String,
}

/// Has it asked.
pub async fn ask(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let (which, now) = (gateway.clone(), desk.clock.now());
    let done = desk
        .store
        .write(move |tx| challenge(tx, &which, visitor.user.as_str(), now));
    if !done.await? {
        return Err(Failure::NothingHere);
    }
    desk.bus.publish(Event::Changed(gateway.clone()));
    Ok(go(&format!("/gateways/{gateway}")))
}

/// Does what was decided, with its reason.
pub async fn decide(
    State(desk): State<Desk>,
    Extension(visitor): Extension<Visitor>,
    Path(gateway): Path<String>,
    Form(given): Form<Decision>,
) -> Result<Response, Failure> {
    let gateway: GatewayId = gateway.parse().map_err(|_| Failure::NothingHere)?;
    let reason: String = given.reason.trim().chars().take(MAX_REASON).collect();
    if reason.is_empty() {
        return Err(Failure::Form(
            "A reason is needed: it stands in the audit trail.".into(),
        ));
    }
    let wanted = Accept {
        reason,
        lift: given.lift == "1",
        firmware: given.firmware == "1",
        tier: Tier::from_name(&given.tier),
    };
    let (which, now) = (gateway.clone(), desk.clock.now());
    let done = desk
        .store
        .write(move |tx| accept(tx, &which, &wanted, visitor.user.as_str(), now));
    if done.await? == Accepted::Nothing {
        return Err(Failure::Refused(
            "there is nothing of that to accept any more".into(),
        ));
    }
    desk.bus.publish(Event::Changed(gateway.clone()));
    Ok(go(&format!("/gateways/{gateway}")))
}
