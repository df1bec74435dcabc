//! One piece of evidence, from its bytes to what is kept of it, in one transaction.
//!
//! Reads what is known, judges, and writes the judgement with its audit rows and incidents. Answers what the gateway
//! is told.

use homeward_protocol::attest::{MAX_SAID, Notice, Tier, Trust};
use homeward_protocol::evidence::Evidence;
use homeward_protocol::evidence::bundle::Bundle;
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::tagged::thumbprint;
use homeward_protocol::signed::{PublicKey, SignedError};
use homeward_protocol::time::Timestamp;
use ring::digest::{SHA256, digest};

use super::baseline::{Baseline, Firmware};
use super::record::Known;
use super::reference::Reference;
use super::{
    Circumstances, Nonce, Postures, Quote, Status, TpmFacts, Verdict, Why, appraise, quoted, refuse,
    schedule, words,
};
use crate::audit::Action;
use crate::store::attest::{self, Answer, Kept, firmware, measured, postures};
use crate::store::chips;
use crate::store::incidents::{self, Kind};
use crate::store::{StoreError, Tx, audit, certificates, records};

/// What came, and on which connection.
pub struct Came<'a> {
    /// Whose connection.
    pub gateway: &'a GatewayId,
    /// The key of the connection's certificate.
    pub key: &'a PublicKey,
    /// The bundle.
    pub bytes: &'a [u8],
}

/// What the shell gives beside it.
pub struct With<'a> {
    /// What releases look like.
    pub reference: &'a Reference,
    /// Random: spreads the next challenge.
    pub dice: u64,
    /// Random: the numbers of the incidents that it may raise, of its firmware and of its quarantine.
    pub incidents: &'a [String; 2],
    /// Now.
    pub now: Timestamp,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taken {
    /// It was judged: this is what the gateway is told.
    Judged(Notice),
    /// It came too late, or twice, or from a gateway that is shut off and was not asked: nothing is kept of it.
    Ignored(&'static str),
}

/// SHA-256.
pub fn hash(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// Judges what came and writes down what came of it.
pub fn take(tx: &mut dyn Tx, came: &Came<'_>, with: &With<'_>) -> Result<Taken, StoreError> {
    let kept = attest::kept(tx, came.gateway)?;
    if kept.known.quarantine.is_some() && kept.asked.unanswered == 0 {
        return Ok(Taken::Ignored("not asked for, from a gateway that is shut off"));
    }
    let (bundle, evidence) = match open(came) {
        Ok(opened) => opened,
        Err(why) => {
            let verdict = refuse(why, &kept.known, with.now);
            return conclude(tx, came, with, &kept, (verdict, None, Postures::Whole));
        }
    };
    let nonce = match attest::answer(
        tx,
        came.gateway,
        &hash(&evidence.nonce),
        &hash(came.bytes),
        with.now,
    )? {
        Answer::Again => return Ok(Taken::Ignored("said twice")),
        Answer::Judge(Nonce::Late) => return Ok(Taken::Ignored("too late")),
        Answer::Judge(nonce) => nonce,
    };
    let chain = postures::judge(tx, came.gateway, &evidence, with.now)?;
    let tpm = tpm_facts(tx, came, (&bundle, &evidence))?;
    let baseline = firmware::baseline(tx, came.gateway)?;
    let given = Circumstances {
        key: thumbprint(came.key),
        nonce,
        tpm: tpm.as_ref(),
        before: &kept.known,
        reference: with.reference,
        baseline: &baseline,
        postures: chain,
        now: with.now,
    };
    let verdict = appraise(&evidence, &given);
    if let Some(tpm) = tpm.filter(|tpm| tpm.quote == Quote::Holds) {
        learn(tx, came.gateway, (&tpm, &baseline), &verdict, with)?;
    }
    conclude(tx, came, with, &kept, (verdict, Some(&evidence), chain))
}

/// The claims, when the key of the connection signed them.
fn open(came: &Came<'_>) -> Result<(Bundle, Evidence), Why> {
    let bundle = Bundle::decode(came.bytes).map_err(|_| Why::Unreadable)?;
    match Evidence::verify(&bundle.token, came.key) {
        Ok(evidence) => Ok((bundle, evidence.into_inner())),
        Err(SignedError::Signature) => Err(Why::BadSignature),
        Err(_) => Err(Why::Unreadable),
    }
}

/// What the TPM's part proves. A box whose key was not proved to be in a TPM stands on its own word, whatever it sends.
fn tpm_facts(
    tx: &mut dyn Tx,
    came: &Came<'_>,
    (bundle, evidence): (&Bundle, &Evidence),
) -> Result<Option<TpmFacts>, StoreError> {
    let Some(part) = &bundle.tpm else {
        return Ok(None);
    };
    let enrolled = chips::of_key(tx, came.key)?.filter(|chip| chip.gateway == *came.gateway);
    let Some(chip) = enrolled else {
        return Ok(None);
    };
    let before = measured::kept(tx, came.gateway)?;
    let (facts, logs) = quoted::facts(part, evidence, &chip, before.as_ref());
    if let Some(logs) = logs.filter(|logs| before.as_ref() != Some(logs)) {
        measured::put(tx, came.gateway, &logs)?;
    }
    Ok(Some(facts))
}

/// Firmware is learned when it is first seen, and noted when it changed; only a person makes a change stand.
fn learn(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    (tpm, baseline): (&TpmFacts, &Baseline),
    verdict: &Verdict,
    with: &With<'_>,
) -> Result<(), StoreError> {
    match baseline.compare(&tpm.registers) {
        Firmware::First if verdict.status == Status::Contraindicated => Ok(()),
        Firmware::First => {
            let first = Baseline::learn(&tpm.registers);
            firmware::accept(tx, gateway, &first, "first seen", with.now)
        }
        Firmware::AsBefore => firmware::see(tx, gateway, &[], with.now),
        Firmware::Changed => {
            firmware::see(tx, gateway, &baseline.changes(&tpm.registers), with.now)?;
            let [changed, _] = with.incidents;
            let said = "its firmware is another than before: look at both values and accept the new ones, or ask \
                        who changed it";
            incidents::raise(tx, changed, gateway, Kind::FirmwareChanged, said, with.now).map(drop)
        }
    }
}

fn conclude(
    tx: &mut dyn Tx,
    came: &Came<'_>,
    with: &With<'_>,
    kept: &Kept,
    (verdict, evidence, chain): (Verdict, Option<&Evidence>, Postures),
) -> Result<Taken, StoreError> {
    let (gateway, now) = (came.gateway, with.now);
    let [_, quarantined] = with.incidents;
    let said = words::all(&verdict.why);
    let known = kept.known.after(&verdict, evidence, &said);
    let state = known.trust(now, now);
    let lines: Vec<String> = verdict.why.iter().map(words::why).collect();
    attest::keep(
        tx,
        gateway,
        &verdict,
        Some((&hash(came.bytes), came.bytes)),
        (&lines.join("\n"), state),
    )?;
    let shut = known.quarantine.is_some();
    let failed = verdict.status == Status::Contraindicated;
    // What is on its way decides by when it should have come.
    let on_their_way = chain == Postures::OnTheirWay;
    let soon = failed && !shut || on_their_way || verdict.why.contains(&Why::LogIncomplete);
    attest::put(tx, gateway, &known, schedule::next(with.dice, soon, now), now)?;
    if failed {
        // What it said of itself since it was last found in order rests on a box that is not.
        let since = kept.known.last_good.unwrap_or(Timestamp::synced(0));
        records::take_back_verified(tx, gateway, since)?;
    }
    if shut && kept.known.quarantine.is_none() {
        audit::record(
            tx,
            now,
            "system",
            Action::GatewayQuarantined,
            gateway.as_str(),
            &said,
        )?;
        let text = format!(
            "{gateway} is shut off from policies and secrets: {said}. Its readings and alarms still arrive, marked. \
             Find out what happened, then lift the quarantine with a reason"
        );
        incidents::raise(tx, quarantined, gateway, Kind::Quarantined, &text, now)?;
    }
    Ok(Taken::Judged(notice(&verdict, &known, state)))
}

/// Writes down that a gateway came in with its spare key, and tells a person.
pub fn spare(tx: &mut dyn Tx, gateway: &GatewayId, incident: &str, now: Timestamp) -> Result<(), StoreError> {
    let kept = attest::kept(tx, gateway)?;
    let verdict = super::spare(now);
    let said = words::all(&verdict.why);
    let known = kept.known.after(&verdict, None, &said);
    let state = known.trust(now, now);
    attest::keep(tx, gateway, &verdict, None, (&said, state))?;
    // Asked as soon as it comes in with its own key again.
    attest::put(tx, gateway, &known, now, now)?;
    let until = certificates::spare_of(tx, gateway, 1)?.pop();
    let until = until.map_or(String::new(), |row| {
        format!(" It is heard until {} that way.", row.not_after)
    });
    let text = format!(
        "The TPM of {gateway} does not answer, so it came in with its spare key. Its readings and alarms arrive, at the \
         lowest grade; policies and secrets do not reach it.{until} Have the box looked at: it comes back by itself when \
         its TPM answers, or with a new claim. If the box is well, somebody has copied its disk: revoke it."
    );
    incidents::raise(tx, incident, gateway, Kind::SpareKey, &text, now).map(drop)
}

fn notice(verdict: &Verdict, known: &Known, state: Trust) -> Notice {
    let said = verdict.why.iter().take(MAX_SAID).map(words::why);
    Notice {
        trust: state,
        tier: verdict.tier,
        issued_at: verdict.issued_at,
        expires_at: verdict.expires_at,
        quarantined: known.quarantine.is_some(),
        said: said.map(|text| ShortText::cut(&text)).collect(),
    }
}

/// What a person decides about a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Accept {
    /// Why, for the audit trail.
    pub reason: String,
    /// Lift the quarantine.
    pub lift: bool,
    /// Accept the firmware values that were last seen.
    pub firmware: bool,
    /// From now on this tier is expected.
    pub tier: Option<Tier>,
}

/// What came of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Accepted {
    /// It is done, and the gateway will be asked.
    Done,
    /// There was nothing to accept.
    Nothing,
}

/// Does what a person decided, and has the gateway asked: how it stands is for its next evidence to say.
pub fn accept(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    asked: &Accept,
    by: &str,
    now: Timestamp,
) -> Result<Accepted, StoreError> {
    let mut known = attest::kept(tx, gateway)?.known;
    let mut done = Accepted::Nothing;
    let mut note = |tx: &mut dyn Tx, action, detail: &str| {
        done = Accepted::Done;
        audit::record(
            tx,
            now,
            by,
            action,
            gateway.as_str(),
            &format!("{}{detail}", asked.reason),
        )
    };
    if asked.lift && known.quarantine.is_some() {
        known = known.opened();
        note(tx, Action::QuarantineLifted, "")?;
        incidents::settle(tx, gateway, Kind::Quarantined, by, now)?;
    }
    if let Some(tier) = asked.tier.filter(|tier| known.tier != Some(*tier)) {
        let before = known.tier.map_or("none", Tier::name);
        known = known.retiered(tier);
        note(tx, Action::TierAccepted, &format!(" (from {before} to {tier})"))?;
    }
    let changes = firmware::changes(tx, gateway)?;
    if asked.firmware && !changes.is_empty() {
        let mut baseline = firmware::baseline(tx, gateway)?;
        for change in &changes {
            match change.after {
                Some(value) => baseline.0.insert(change.register, value),
                None => baseline.0.remove(&change.register),
            };
        }
        firmware::accept(tx, gateway, &baseline, by, now)?;
        let registers: Vec<String> = changes.iter().map(|c| c.register.to_string()).collect();
        note(
            tx,
            Action::FirmwareAccepted,
            &format!(" (registers {})", registers.join(", ")),
        )?;
        incidents::settle(tx, gateway, Kind::FirmwareChanged, by, now)?;
    }
    if done == Accepted::Done {
        attest::write(tx, gateway, &known)?;
        attest::wish(tx, gateway, now)?;
    }
    Ok(done)
}

/// A person has a gateway asked; false when there is none of that id.
pub fn challenge(tx: &mut dyn Tx, gateway: &GatewayId, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    if crate::store::gateways::get(tx, gateway)?.is_none() {
        return Ok(false);
    }
    attest::wish(tx, gateway, now)?;
    audit::record(tx, now, by, Action::GatewayChallenged, gateway.as_str(), "")?;
    Ok(true)
}
