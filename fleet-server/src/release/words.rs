//! What a draft changes, in words for the people who sign it. Nothing in a draft reaches a terminal as it stands: what
//! does not print is made visible.

use std::collections::BTreeSet;

use homeward_protocol::release::delta::DELTA_FOLDER;
use homeward_protocol::release::dossier::DOSSIER_FOLDER;
use homeward_protocol::release::notes::{Notes, Reader};
use homeward_protocol::release::{Custom, DIRECTOR_KEY, REFERENCE_FOLDER, REFERENCE_KEY};
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
    if draft.signed().get("consistent_snapshot").and_then(Value::as_bool) != Some(true) {
        said.push(
            "  NO CONSISTENT SNAPSHOTS: files change under their names while boxes fetch them".to_owned(),
        );
    }
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
            None => {
                said.push(format!("  new      {}", target_words(path, target)));
                said.extend(notes(path, target));
            }
            Some(was) if was != target => {
                said.push(format!("  changed  {}", target_words(path, target)));
                said.extend(notes(path, target));
                said.push(format!("    before   {}", target_words(path, was)));
                if was.get("notes") != target.get("notes") {
                    said.extend(notes(path, was).into_iter().map(|line| format!("  {line}")));
                }
            }
            Some(_) => {
                said.push(format!("  stays    {}", target_words(path, target)));
                said.extend(notes(path, target));
            }
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
        Err(_) if path == REFERENCE_KEY => "WHO MEASURES: this key says what releases look like".to_owned(),
        Err(_) if path.starts_with(REFERENCE_FOLDER) => {
            "reference values: servers hold evidence against them".to_owned()
        }
        Err(_) if path.starts_with(DELTA_FOLDER) => delta_words(path),
        Err(why) => format!("no box installs it: {why}"),
    };
    let path = path.escape_debug();
    format!("{path}: {what}; {length} bytes, sha256 {}", short(&hash))
}

/// What people are told of it, text by text: whoever signs it says this to them.
fn notes(path: &str, target: &Value) -> Vec<String> {
    match Notes::of_target(target.get("notes")) {
        Ok(Some(notes)) => Reader::ALL
            .into_iter()
            .flat_map(|reader| notes_for(&notes, reader))
            .collect(),
        Ok(None) if Custom::read(target.get("custom")).is_ok() && !path.starts_with(DOSSIER_FOLDER) => {
            vec!["    NO NOTES: nurses and patients are not told in plain words what it means".to_owned()]
        }
        Ok(None) => Vec::new(),
        Err(why) => vec![format!(
            "    NOTES THAT CANNOT BE READ: {}",
            shown(&why.to_string())
        )],
    }
}

fn notes_for(notes: &Notes, reader: Reader) -> Vec<String> {
    let texts = notes.of(reader).iter();
    // Nothing in a note hides: a terminal may show it as it stands.
    texts
        .map(|(language, note)| format!("    {} [{language}] {note}", reader.name()))
        .collect()
}

fn delta_words(path: &str) -> String {
    let names = path
        .strip_prefix(DELTA_FOLDER)
        .and_then(|names| names.split_once('/'));
    let (old, new) = names.unwrap_or_default();
    format!(
        "a delta: boxes that run the build {} make the build {} out of it, and check that it is that",
        short(old),
        short(new)
    )
}

/// What a delta of so many bytes saves of a whole of so many.
pub fn saves(delta: u64, whole: u64) -> String {
    let share = delta.saturating_mul(1_000) / whole.max(1);
    format!(
        "a box fetches {delta} bytes instead of {whole}, which is {}.{} %",
        share / 10,
        share % 10
    )
}

fn describe(custom: &Custom) -> String {
    let mut said = format!(
        "{} {} for {}; {}",
        custom.installer.name(),
        custom.version,
        custom.hw.join(" and "),
        custom.disruption.words()
    );
    if custom.installer.is_forward_only() {
        said.push_str("; FORWARD ONLY: no box takes it back");
    }
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
        let mut parts: Vec<String> = list(role.get("paths")).iter().map(|path| shown(path)).collect();
        let prefixes = list(role.get("path_hash_prefixes"));
        let prefix = |prefix: &String| format!("every path whose hash begins with `{}`", shown(prefix));
        parts.extend(prefixes.iter().map(prefix));
        let ends = match role.get("terminating").and_then(Value::as_bool) {
            Some(true) => "nobody after it is asked",
            _ => "others after it are asked too",
        };
        format!(
            "{} to {}: {must} of keys {}; {ends}",
            parts.join(", "),
            text(role, "name"),
            keys.join(", ")
        )
    };
    roles.map(one).collect()
}

fn text(value: &Value, key: &str) -> String {
    shown(value.get(key).and_then(Value::as_str).unwrap_or_default())
}

/// A text of a draft, with what does not print made visible.
pub fn shown(text: &str) -> String {
    text.escape_debug().to_string()
}

/// The beginning of an id or a hash: enough for people to compare.
pub fn short(id: &str) -> String {
    shown(&id.chars().take(16).collect::<String>())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn said(of: &Value) -> String {
        let signed = json!({ "version": 1, "targets": { "agent/1.4.0": of } });
        super::targets(None, &Unsigned::new(signed)).join("\n")
    }

    #[test]
    fn who_signs_a_release_reads_what_people_are_told_of_it() {
        let mut target = json!({
            "length": 1, "hashes": { "sha256": "00" },
            "custom": {
                "installer": "apt", "hw": ["x86_64"], "version": "1.4.0", "disruption": "reboot", "security_floor": "1.3.0",
            },
        });
        assert!(said(&target).contains("NO NOTES"));
        target["notes"] = json!({
            "staff": { "en": "It's short.", "fr": "C'est court." }, "patient": { "en": "Leave it plugged in." },
        });
        for line in [
            "    staff [en] It's short.",
            "    staff [fr] C'est court.",
            "    patient [en] Leave it plugged in.",
        ] {
            assert!(
                said(&target).lines().any(|said| said == line),
                "{}",
                said(&target)
            );
        }
        target["notes"]["staff"]["en"] = json!("\u{1b}[2Jgone");
        assert!(said(&target).contains("NOTES THAT CANNOT BE READ") && !said(&target).contains('\u{1b}'));
    }

    #[test]
    fn nothing_in_a_draft_reaches_a_terminal_as_it_stands() {
        let evil = "\u{1b}[2Jgone";
        let root = json!({
            "version": 2, "expires": evil, "consistent_snapshot": false,
            "roles": { "root": { "threshold": 1, "keyids": [evil] } },
        });
        let targets = json!({
            "version": 2, "expires": evil,
            "targets": { evil: { "length": 1, "hashes": { "sha256": evil } } },
            "delegations": { "keys": {}, "roles": [
                { "name": evil, "keyids": [evil], "threshold": 1, "paths": [evil], "terminating": true },
                { "name": "b", "keyids": [], "threshold": 1, "path_hash_prefixes": [evil, ""], "terminating": false },
            ] },
        });
        let (root, targets) = (Unsigned::new(root), Unsigned::new(targets));
        let said = [super::root(None, &root), super::targets(None, &targets)]
            .concat()
            .join("\n");
        assert!(!said.contains('\u{1b}'), "{said}");
        for words in [
            "NO CONSISTENT SNAPSHOTS",
            "to b: 1 of keys",
            "every path whose hash begins with ``",
            "nobody after it is asked",
            "others after it are asked too",
        ] {
            assert!(said.contains(words), "{words}: {said}");
        }
    }
}
