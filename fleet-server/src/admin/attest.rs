//! Shell: `attest show|challenge|accept`.

use homeward_protocol::attest::{Tier, Trust};
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said, evidence};
use crate::attest::baseline::Change;
use crate::attest::logs::Logs;
use crate::attest::postures::Unproven;
use crate::attest::take::{Accept, Accepted, accept, challenge};
use crate::attest::{Claim, words};
use crate::cli::{AttestAccept, AttestCommand};
use crate::clock::Clock;
use crate::store::attest::{self, Kept, Shown, firmware, measured, postures};
use crate::store::{Store, gateways, hex};

/// Judgements that are shown.
const NEWEST: i64 = 20;

/// Runs one `attest` command.
pub async fn run(store: &Store, command: &AttestCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        AttestCommand::Show { id, save } => show(store, id, save.as_deref(), clock.now()).await,
        AttestCommand::Challenge { id } => ask(store, id, clock.now()).await,
        AttestCommand::Accept(asked) => decide(store, asked, clock.now()).await,
    }
}

fn unknown(id: &GatewayId) -> AdminError {
    AdminError::Found(format!("there is no gateway {id}"))
}

async fn show(
    store: &Store,
    id: &GatewayId,
    save: Option<&std::path::Path>,
    now: Timestamp,
) -> Result<Said, AdminError> {
    let wanted = id.clone();
    let found = store
        .read(move |tx| {
            if gateways::get(tx, &wanted)?.is_none() {
                return Ok(None);
            }
            Ok(Some((
                attest::kept(tx, &wanted)?,
                attest::newest_record(tx)?,
                attest::history(tx, &wanted, NEWEST)?,
                (firmware::changes(tx, &wanted)?, measured::kept(tx, &wanted)?),
                (
                    attest::newest_evidence(tx, &wanted)?,
                    postures::stretches(tx, &wanted)?,
                ),
            )))
        })
        .await?;
    let Some((kept, newest, history, (changes, logs), (bytes, away))) = found else {
        return Err(unknown(id));
    };
    let trust = kept.known.trust(now, newest);
    let mut text = about(id, &kept, trust, &history);
    if let Some(logs) = &logs {
        text.push_str(&said_of(logs));
    }
    text.push_str(&side_by_side(&changes));
    for one in &away {
        let proved = one
            .unproven
            .map_or("proved".to_owned(), |why| format!("UNPROVEN: {}", why.said()));
        text.push_str(&format!("Away         {} to {}: {proved}\n", one.from, one.until));
    }
    if let Some(file) = save {
        let bytes = bytes.ok_or_else(|| AdminError::Found(format!("{id} has sent no evidence yet")))?;
        evidence::write_new(file, &bytes)?;
        text.push_str(&format!("Its newest evidence lies in {}\n", file.display()));
    }
    let mut json = as_json(id, &kept, trust, &history, &changes);
    json["logs"] = logs.as_ref().map_or(Value::Null, logs_as_json);
    json["away"] = away
        .iter()
        .map(|one| {
            json!({
                "from_ms": one.from.ms, "until_ms": one.until.ms, "links": one.links,
                "unproven": one.unproven.map(Unproven::name),
            })
        })
        .collect();
    Ok(Said::new(text, &json))
}

fn about(id: &GatewayId, kept: &Kept, trust: Trust, history: &[Shown]) -> String {
    let known = &kept.known;
    let until = match (trust, known.newest) {
        (Trust::Trusted | Trust::Warning, Some(newest)) => format!(", until {}", newest.expires_at),
        (Trust::Stale, Some(newest)) => format!(", ended {}", newest.expires_at),
        _ => String::new(),
    };
    let tier = known.tier.map_or("nothing yet".to_owned(), |t| {
        format!("T{} {t}: {}", t.number(), words::tier(t))
    });
    let mut text = format!(
        "Gateway      {id}\nStands       {}{until}\nProved       {tier}\n",
        words::trust(trust)
    );
    if let Some(quarantine) = &known.quarantine {
        text.push_str(&format!(
            "QUARANTINE   since {}: {}\n             homeward-fleet --data DIR attest accept {id} --lift --reason TEXT\n",
            quarantine.since, quarantine.why
        ));
    }
    for said in history.first().map_or(&[][..], |shown| shown.said.as_slice()) {
        text.push_str(&format!("Because      {said}\n"));
    }
    let next = match (kept.asked.unanswered, kept.asked.last) {
        (0, _) => kept
            .asked
            .next
            .map_or("when it connects".to_owned(), |at| at.to_string()),
        (n, Some(at)) => format!("{n} unanswered, the newest of {at}"),
        (n, None) => format!("{n} unanswered"),
    };
    text.push_str(&format!("Asked next   {next}\n"));
    for shown in history {
        let (status, tier) = (shown.status.name(), shown.tier);
        text.push_str(&format!(
            "Judged       {} {status}, {tier}: {}\n",
            shown.issued_at,
            shown.said.join("; ")
        ));
    }
    text
}

/// What is held of the logs of its newest boot.
fn said_of(logs: &Logs) -> String {
    let (held, (firmware, kernel)) = (logs.held(), logs.found());
    format!(
        "Logs         firmware: {}, {} bytes; kernel: {}, {} entries\n",
        words::log(firmware),
        held.log_bytes,
        words::ima(kernel),
        held.ima_entries
    )
}

fn logs_as_json(logs: &Logs) -> Value {
    let (held, (firmware, kernel)) = (logs.held(), logs.found());
    json!({
        "firmware": firmware, "firmware_bytes": held.log_bytes, "kernel": kernel, "kernel_entries": held.ima_entries,
    })
}

fn side_by_side(changes: &[Change]) -> String {
    let mut text = String::new();
    for change in changes {
        let value = |v: Option<[u8; 32]>| v.map_or("(not told)".to_owned(), |v| hex(&v));
        text.push_str(&format!(
            "Firmware     register {:>2} accepted {}\n             {:>11} now      {}\n",
            change.register,
            value(change.before),
            "",
            value(change.after)
        ));
    }
    text
}

fn as_json(id: &GatewayId, kept: &Kept, trust: Trust, history: &[Shown], changes: &[Change]) -> Value {
    let newest = kept.known.newest;
    json!({
        "id": id,
        "trust": trust.name(),
        "tier": kept.known.tier.map(Tier::name),
        "issued_at_ms": newest.map(|n| n.issued_at.ms),
        "expires_at_ms": newest.map(|n| n.expires_at.ms),
        "last_good_ms": kept.known.last_good.map(|at| at.ms),
        "failures": kept.known.failures,
        "quarantine": kept.known.quarantine.as_ref().map(|q| json!({ "since_ms": q.since.ms, "why": q.why })),
        "unanswered": kept.asked.unanswered,
        "history": history.iter().map(|one| json!({
            "issued_at_ms": one.issued_at.ms,
            "expires_at_ms": one.expires_at.ms,
            "status": one.status.name(),
            "state": one.state.name(),
            "tier": one.tier.name(),
            "vector": Claim::ALL.iter().map(|c| (c.name().to_owned(), json!(one.vector.get(*c)))).collect::<serde_json::Map<_, _>>(),
            "said": one.said,
            "evidence": hex(&one.evidence),
        })).collect::<Vec<_>>(),
        "firmware": changes.iter().map(|c| json!({
            "register": c.register,
            "accepted": c.before.map(|v| hex(&v)),
            "now": c.after.map(|v| hex(&v)),
        })).collect::<Vec<_>>(),
    })
}

async fn ask(store: &Store, id: &GatewayId, now: Timestamp) -> Result<Said, AdminError> {
    let wanted = id.clone();
    if !store.write(move |tx| challenge(tx, &wanted, BY, now)).await? {
        return Err(unknown(id));
    }
    let text = format!("{id} is asked as soon as it is connected; look again with `attest show {id}`");
    Ok(Said::new(text, &json!({ "id": id, "asked": true })))
}

async fn decide(store: &Store, asked: &AttestAccept, now: Timestamp) -> Result<Said, AdminError> {
    let tier = asked.tier.as_deref().map(|name| {
        Tier::from_name(name).ok_or_else(|| {
            AdminError::Asked(format!(
                "`{name}` is no tier: software, tpm-key, tpm-chip or measured-boot"
            ))
        })
    });
    let wanted = Accept {
        reason: asked.reason.trim().to_owned(),
        lift: asked.lift,
        firmware: asked.firmware,
        tier: tier.transpose()?,
    };
    if wanted.reason.is_empty() {
        return Err(AdminError::Asked(
            "a reason is needed: it stands in the audit trail".into(),
        ));
    }
    let id = asked.id.clone();
    let done = store.write(move |tx| {
        if gateways::get(tx, &id)?.is_none() {
            return Ok(None);
        }
        accept(tx, &id, &wanted, BY, now).map(Some)
    });
    match done.await? {
        None => Err(unknown(&asked.id)),
        Some(Accepted::Nothing) => Err(AdminError::Found(format!(
            "{} has nothing of that to accept: see `attest show {}`",
            asked.id, asked.id
        ))),
        Some(Accepted::Done) => {
            let text = format!("Done. {} is asked again as soon as it is connected", asked.id);
            Ok(Said::new(text, &json!({ "id": asked.id, "accepted": true })))
        }
    }
}
