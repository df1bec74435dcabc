//! The firewall that is in force: what the kernel holds, not what a file says.
//!
//! Source: libnftables-json(5). Counters and handles move or differ by chance; they are left out of the fingerprint, so
//! that it changes only when somebody changed a rule.

use std::fmt::Write as _;

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};
use ring::digest::{SHA256, digest};
use serde_json::Value as Json;

use super::seen::Seen;

/// What moves by itself, or is a number that the kernel gave.
const MOVES: [&str; 6] = ["handle", "packets", "bytes", "metainfo", "expires", "used"];

/// Reads `nft -j list ruleset`. `None`: it is no such text.
pub fn nftables(seen: &Seen, printed: &str) -> Option<Vec<Fact>> {
    let read: Json = serde_json::from_str(printed).ok()?;
    let all = read.get("nftables")?.as_array()?;
    let of = |kind: &str| all.iter().filter_map(|one| one.get(kind)).collect::<Vec<_>>();
    let (rules, chains) = (of("rule"), of("chain"));
    let inputs: Vec<&&Json> = chains
        .iter()
        .filter(|chain| chain.get("hook").and_then(Json::as_str) == Some("input"))
        .collect();
    let policy = |chain: &&Json| chain.get("policy").and_then(Json::as_str) == Some("drop");
    let input = match (inputs.is_empty(), inputs.iter().any(|chain| policy(chain))) {
        (true, _) => "let in: there is no chain for it",
        (false, true) => "dropped",
        (false, false) => "let in",
    };
    let kind = if rules.is_empty() && inputs.is_empty() {
        "none"
    } else {
        "nftables"
    };
    let still: Vec<Json> = all
        .iter()
        .filter(|one| one.get("metainfo").is_none())
        .map(stripped)
        .collect();
    let bytes = serde_json::to_vec(&still).unwrap_or_default();
    Some(vec![
        seen.one(What::Firewall, text(kind)),
        seen.one(What::FirewallRules, Value::Count(rules.len() as u64)),
        seen.one(What::FirewallInput, text(input)),
        seen.one(What::FirewallDigest, text(&hex(digest(&SHA256, &bytes).as_ref()))),
    ])
}

fn stripped(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let kept = map.iter().filter(|(key, _)| !MOVES.contains(&key.as_str()));
            Json::Object(kept.map(|(key, value)| (key.clone(), stripped(value))).collect())
        }
        Json::Array(all) => Json::Array(all.iter().map(stripped).collect()),
        other => other.clone(),
    }
}

/// There is no `nft` here: what `/proc/net/ip_tables_names` says of the older way.
pub fn without_nft(seen: &Seen, tables: Option<&str>) -> Vec<Fact> {
    let value = match tables {
        Some(names) if !names.trim().is_empty() => text("iptables (its rules are not read)"),
        _ => Value::Unknown(Why::NotThere),
    };
    vec![seen.one(What::Firewall, value)]
}

/// Lower case hex.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        let _always_fits = write!(text, "{byte:02x}");
        text
    })
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::Timestamp;

    use super::*;

    fn seen() -> Seen {
        Seen::new(Timestamp::synced(0), "a test")
    }

    fn ruleset(packets: u32, port: u16) -> String {
        format!(
            r#"{{"nftables": [{{"metainfo": {{"version": "1.0.6", "json_schema_version": 1}}}},
            {{"table": {{"family": "inet", "name": "filter", "handle": 1}}}},
            {{"chain": {{"family": "inet", "table": "filter", "name": "input", "handle": 1, "type": "filter",
              "hook": "input", "prio": 0, "policy": "drop"}}}},
            {{"rule": {{"family": "inet", "table": "filter", "chain": "input", "handle": {packets}, "expr": [
              {{"match": {{"op": "==", "left": {{"payload": {{"protocol": "tcp", "field": "dport"}}}}, "right": {port}}}}},
              {{"counter": {{"packets": {packets}, "bytes": 0}}}}, {{"accept": null}}]}}}}]}}"#
        )
    }

    #[test]
    fn rules_in_force_are_told_and_counters_do_not_change_their_fingerprint() {
        let facts = nftables(&seen(), &ruleset(1, 22)).expect("reads");
        let said: Vec<String> = facts.iter().map(|f| f.value.to_string()).collect();
        assert_eq!(said[..3], ["nftables", "1", "dropped"]);
        assert_eq!(nftables(&seen(), &ruleset(99, 22)).expect("reads"), facts);
        assert_ne!(nftables(&seen(), &ruleset(1, 23)).expect("reads")[3], facts[3]);
    }

    #[test]
    fn no_rules_are_no_firewall_and_nonsense_is_nothing() {
        let empty = r#"{"nftables": [{"metainfo": {"version": "1.0.6"}}]}"#;
        let facts = nftables(&seen(), empty).expect("reads");
        assert_eq!(facts[0].value.to_string(), "none");
        assert!(nftables(&seen(), "Operation not permitted").is_none());
        assert!(nftables(&seen(), "[]").is_none());
        assert!(nftables(&seen(), &"[".repeat(100_000)).is_none());
    }
}
