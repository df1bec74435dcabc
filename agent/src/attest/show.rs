//! Evidence as a person reads it: what `homeward-agent evidence` prints.

use homeward_protocol::attest::{Notice, Trust};
use homeward_protocol::evidence::{Evidence, Profile};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::tuf::read::to_hex;
use serde_json::{Value, json};

/// For a person.
pub fn text(evidence: &Evidence, verdict: Option<&Notice>, now: Timestamp) -> String {
    let (name, version) = &evidence.software;
    let proof = match evidence.profile {
        Profile::Software => "this software's own word, signed with the box's key",
        Profile::Tpm => "the TPM's quote, beside what the software says",
    };
    let mut lines = vec![
        format!("Software     {} {}", name.as_str(), version.as_str()),
        format!("Rests on     {proof}"),
        format!("Key          {}", to_hex(&evidence.key)),
        format!("Box          {}", to_hex(&evidence.box_id)),
        format!(
            "Boot         number {}, seed {}…, up for {} s",
            evidence.boot_count,
            to_hex(evidence.boot_seed.get(..4).unwrap_or_default()),
            Uptime(evidence.uptime_s.saturating_mul(1000)).0 / 1000
        ),
    ];
    for measured in &evidence.measured {
        let version = measured.version.as_ref().map_or("-", |v| v.as_str());
        lines.push(format!(
            "Measured     {:<9} {:<22} {}",
            measured.component.name(),
            version,
            to_hex(&measured.sha256)
        ));
    }
    if let Some(end) = evidence.postures {
        lines.push(format!(
            "Postures     {} links, the newest {}",
            end.seq,
            to_hex(&end.head)
        ));
    }
    lines.push(judged(verdict, now));
    lines.join("\n")
}

fn judged(verdict: Option<&Notice>, now: Timestamp) -> String {
    let Some(notice) = verdict else {
        return "Judgement    the server has said nothing yet".to_owned();
    };
    let said: Vec<&str> = notice.said.iter().map(ShortText::as_str).collect();
    let state = notice.at(now).name();
    let until = match notice.at(now) {
        Trust::Stale => format!("ended {}", notice.expires_at),
        _ => format!("until {}", notice.expires_at),
    };
    format!(
        "Judgement    {state} ({}), {until}: {}",
        notice.tier,
        said.join("; ")
    )
}

/// For programs.
pub fn json(evidence: &Evidence, verdict: Option<&Notice>, now: Timestamp) -> Value {
    let measured: Vec<Value> = evidence
        .measured
        .iter()
        .map(|m| {
            json!({
                "component": m.component.name(),
                "version": m.version.as_ref().map(ShortText::as_str),
                "sha256": to_hex(&m.sha256),
            })
        })
        .collect();
    json!({
        "profile": evidence.profile.uri(),
        "software": evidence.software.0.as_str(),
        "version": evidence.software.1.as_str(),
        "key": to_hex(&evidence.key),
        "box": to_hex(&evidence.box_id),
        "nonce": to_hex(&evidence.nonce),
        "boot_count": evidence.boot_count,
        "boot_seed": to_hex(&evidence.boot_seed),
        "uptime_s": evidence.uptime_s,
        "issued_at_s": evidence.issued_at_s,
        "measured": measured,
        "postures": evidence.postures.map(|end| json!({ "number": end.seq, "head": to_hex(&end.head) })),
        "judgement": verdict.map(|notice| json!({
            "trust": notice.at(now).name(),
            "tier": notice.tier.name(),
            "expires_at_ms": notice.expires_at.ms,
            "quarantined": notice.quarantined,
            "said": notice.said.iter().map(ShortText::as_str).collect::<Vec<_>>(),
        })),
    })
}
