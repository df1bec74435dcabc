//! The firewall that is in force: what the kernel holds, not what a file says.
//!
//! Source: libnftables-json(5). Counters and handles move or differ by chance, and what packets or time put into a set
//! (our own flows that were stopped, others' lists of blocked addresses) comes and goes; both are left out of the
//! fingerprint, so that it changes only when somebody changed a rule.

use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};
use homeward_protocol::tuf::read::to_hex;
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
        seen.one(
            What::FirewallDigest,
            text(&to_hex(digest(&SHA256, &bytes).as_ref())),
        ),
    ])
}

fn stripped(value: &Json) -> Json {
    match value {
        Json::Object(map) => {
            let filled = is_filled_by_itself(map);
            let kept = map
                .iter()
                .filter(|(key, _)| !(MOVES.contains(&key.as_str()) || filled && *key == "elem"));
            Json::Object(kept.map(|(key, value)| (key.clone(), stripped(value))).collect())
        }
        Json::Array(all) => Json::Array(all.iter().map(stripped).collect()),
        other => other.clone(),
    }
}

/// A set or map whose elements have an end, or come from packets.
fn is_filled_by_itself(set: &serde_json::Map<String, Json>) -> bool {
    let flag = |flag: &Json| matches!(flag.as_str(), Some("timeout" | "dynamic"));
    let flags = match set.get("flags") {
        Some(Json::Array(all)) => all.iter().any(flag),
        Some(one) => flag(one),
        None => false,
    };
    flags || set.contains_key("timeout")
}

/// There is no `nft` here: what `/proc/net/ip_tables_names` says of the older way.
pub fn without_nft(seen: &Seen, tables: Option<&str>) -> Vec<Fact> {
    let value = match tables {
        Some(names) if !names.trim().is_empty() => text("iptables (its rules are not read)"),
        _ => Value::Unknown(Why::NotThere),
    };
    vec![seen.one(What::Firewall, value)]
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
    fn what_packets_put_into_a_set_does_not_change_the_fingerprint_and_what_a_person_did_does() {
        let with = |flags: &str, elements: &str| {
            let set = format!(
                r#"{{"set": {{"family": "inet", "name": "s", "table": "homeward", "type": "ipv4_addr", {flags}
                "handle": 2, "elem": [{elements}]}}}}"#
            );
            let text = ruleset(1, 22).replacen(r#"{"table""#, &format!(r#"{set}, {{"table""#), 1);
            nftables(&seen(), &text).expect("reads")[3].clone()
        };
        for flags in [
            r#""flags": ["timeout"], "timeout": 3600,"#,
            r#""flags": ["dynamic"],"#,
            r#""flags": "timeout","#,
        ] {
            let element = r#"{"elem": {"val": "192.0.2.7", "expires": 9}}"#;
            assert_eq!(with(flags, ""), with(flags, element), "{flags}");
        }
        let constant = r#""flags": ["interval"],"#;
        assert_ne!(with(constant, ""), with(constant, r#""192.0.2.7""#));
        assert_ne!(with(constant, ""), with("", ""));
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
