//! What a draft changes, in words for the people who sign it.

use std::collections::BTreeSet;

use homeward_protocol::release::{Custom, DIRECTOR_KEY};
use homeward_protocol::tuf::sign::Unsigned;
use serde_json::Value;

use super::{holders, threshold, version};

/// What the draft of a root changes.
pub fn root(last: Option<&Unsigned>, draft: &Unsigned) -> Vec<String> {
    let mut said = vec![format!(
        "ROOT {} (was {}), good until {}: whose keys count",
        version(Some(draft)),
        version(last),
        text(draft.signed(), "expires")
    )];
    for role in ["root", "targets", "snapshot", "timestamp"] {
        let (before, after) = (holders(last, role), holders(Some(draft), role));
        let (before, after): (BTreeSet<_>, BTreeSet<_>) = (before.iter().collect(), after.iter().collect());
        let must = threshold(Some(draft), role);
        said.push(format!(
            "  {role}: {must} of {} keys must sign (before: {})",
            after.len(),
            threshold(last, role)
        ));
        said.extend(
            after
                .difference(&before)
                .map(|id| format!("    new key       {}", short(id))),
        );
        said.extend(
            before
                .difference(&after)
                .map(|id| format!("    no key more   {}", short(id))),
        );
        said.extend(
            after
                .intersection(&before)
                .map(|id| format!("    stays         {}", short(id))),
        );
    }
    said
}

/// What the draft of targets changes, hardware by hardware.
pub fn targets(last: Option<&Unsigned>, draft: &Unsigned) -> Vec<String> {
    let empty = Value::Null;
    let (before, after) = (last.map_or(&empty, Unsigned::signed), draft.signed());
    let mut said = vec![format!(
        "TARGETS {} (was {}), good until {}: what software there is",
        version(Some(draft)),
        version(last),
        text(after, "expires")
    )];
    let listed = |value: &Value| {
        value
            .get("targets")
            .and_then(Value::as_object)
            .cloned()
            .unwrap_or_default()
    };
    let (old, new) = (listed(before), listed(after));
    for (path, target) in &new {
        match old.get(path) {
            None => said.push(format!("  new      {}", target_words(path, target))),
            Some(was) if was != target => {
                said.push(format!("  changed  {}", target_words(path, target)));
                said.push(format!("    before   {}", target_words(path, was)));
            }
            Some(_) => said.push(format!("  stays    {}", target_words(path, target))),
        }
    }
    for (path, target) in old.iter().filter(|(path, _)| !new.contains_key(*path)) {
        said.push(format!("  gone     {}", target_words(path, target)));
    }
    let (old, new) = (delegations(before), delegations(after));
    said.extend(new.difference(&old).map(|one| format!("  handed on   {one}")));
    said.extend(old.difference(&new).map(|one| format!("  taken back  {one}")));
    said
}

/// Who signed a draft, and who has not.
pub fn signers(role: &str, draft: &Unsigned, roots: [Option<&Unsigned>; 2]) -> Vec<String> {
    let signed: BTreeSet<&str> = draft.signers().collect();
    let mut said = Vec::new();
    for (root, which) in roots
        .into_iter()
        .zip(["the published root", "the draft of the root"])
    {
        let Some(root) = root else { continue };
        let ids = holders(Some(root), role);
        let have: Vec<String> = ids
            .iter()
            .filter(|id| signed.contains(id.as_str()))
            .map(|id| short(id))
            .collect();
        let must = threshold(Some(root), role);
        said.push(format!(
            "  signed by {} of the {must} that {which} demands: {}",
            have.len(),
            have.join(", ")
        ));
    }
    said
}

fn target_words(path: &str, target: &Value) -> String {
    let length = target.get("length").and_then(Value::as_u64).unwrap_or(0);
    let hash = target
        .get("hashes")
        .map(|hashes| text(hashes, "sha256"))
        .unwrap_or_default();
    let what = match Custom::read(target.get("custom")) {
        Ok(custom) => describe(&custom),
        Err(_) if path == DIRECTOR_KEY => "THE DIRECTOR: this key says which box gets what".to_owned(),
        Err(why) => format!("no box installs it: {why}"),
    };
    format!("{path}: {what}; {length} bytes, sha256 {}", short(&hash))
}

fn describe(custom: &Custom) -> String {
    let mut said = format!(
        "{} {} for {}; {}",
        custom.installer.name(),
        custom.version,
        custom.hw.join(" and "),
        custom.disruption.words()
    );
    if let Some(min) = custom.min_version {
        said.push_str(&format!("; only where {min} or newer runs"));
    }
    if custom.security_floor.to_string() != "0.0.0" {
        said.push_str(&format!(
            "; once it ran, nothing below {} any more",
            custom.security_floor
        ));
    }
    said
}

fn delegations(targets: &Value) -> BTreeSet<String> {
    let roles = targets
        .get("delegations")
        .and_then(|d| d.get("roles")?.as_array());
    let roles = roles.into_iter().flatten();
    let list = |value: Option<&Value>| {
        let items = value.and_then(Value::as_array).into_iter().flatten();
        items
            .filter_map(Value::as_str)
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let one = |role: &Value| {
        let keys: Vec<String> = list(role.get("keyids")).iter().map(|id| short(id)).collect();
        let must = role.get("threshold").and_then(Value::as_u64).unwrap_or(0);
        let paths = list(role.get("paths")).join(", ");
        format!(
            "{paths} to {}: {must} of keys {}",
            text(role, "name"),
            keys.join(", ")
        )
    };
    roles.map(one).collect()
}

fn text(value: &Value, key: &str) -> String {
    value
        .get(key)
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned()
}

/// The beginning of an id or a hash: enough for people to compare.
pub fn short(id: &str) -> String {
    id.chars().take(16).collect()
}
