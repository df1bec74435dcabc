//! Releases: drafts of root and targets, what they change in plain words, and a check as a box would do it.
//!
//! A release folder holds `draft/` (what is being signed), `files/` (by their SHA-256) and `repository/` (what boxes
//! fetch, which any server or stick may carry). Everything here is decided from bytes; [`folder`] reads and writes them.
//!
//! # Design
//! Drafts are edited as JSON values: a field that a newer version of this program wrote is kept and signed. Any edit drops
//! the signatures, because they are over other bytes.

pub mod dossiers;
pub mod folder;
pub mod packages;
pub mod reference;
pub mod words;

use std::collections::{BTreeMap, BTreeSet};
use std::str::FromStr;

use homeward_protocol::release::bundle::debian::{DebName, DebVersion};
use homeward_protocol::release::delta::{self, DeltaError};
use homeward_protocol::release::notes::Notes;
use homeward_protocol::release::{Custom, Installer, Version, lifetime};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::TufError;
use homeward_protocol::tuf::client::{Answer, Ask, Client};
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::key::Key;
use homeward_protocol::tuf::metadata::targets::Targets;
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::role::Role;
use homeward_protocol::tuf::sign::{self, Holders, SignError, SigningKey, Unsigned};
use serde_json::{Map, Value, json};

/// Why a release could not be made.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// Signing.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// A box would not take it.
    #[error("a box would refuse this: {0}")]
    Refused(#[from] TufError),
    /// A delta.
    #[error(transparent)]
    Delta(DeltaError),
    /// Something asked for cannot be.
    #[error("{0}")]
    Asked(String),
}

/// The only version that a package may come after: `NAME=VERSION`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pin {
    /// Which package.
    pub name: DebName,
    /// After which version.
    pub from: DebVersion,
}

impl FromStr for Pin {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Pin, Self::Err> {
        let (name, from) = text.split_once('=').ok_or("it is NAME=VERSION")?;
        Ok(Pin {
            name: name.parse()?,
            from: from.parse()?,
        })
    }
}

fn asked(why: impl Into<String>) -> ReleaseError {
    ReleaseError::Asked(why.into())
}

/// The version of a file of metadata; 0 when there is none.
pub fn version(file: Option<&Unsigned>) -> u64 {
    file.and_then(|file| file.signed().get("version")?.as_u64())
        .unwrap_or(0)
}

/// The next root.
pub fn draft_root(
    last: Option<&Unsigned>,
    root: &Holders,
    targets: &Holders,
    online: Key,
    now: Timestamp,
) -> Result<Unsigned, ReleaseError> {
    for (name, holders) in [("root", root), ("targets", targets)] {
        let mut distinct: Vec<_> = holders.keys.iter().map(Key::material).collect();
        distinct.sort();
        distinct.dedup();
        if distinct.len() != holders.keys.len() {
            return Err(asked(format!("one key stands twice among those of {name}")));
        }
        if holders.threshold == 0 || holders.threshold > holders.keys.len() {
            let why = format!(
                "{} of {} keys of {name} cannot sign",
                holders.threshold,
                holders.keys.len()
            );
            return Err(asked(why));
        }
        if holders.keys.contains(&online) {
            return Err(asked(format!(
                "the online key may not be one of {name}: a stolen server would make software"
            )));
        }
    }
    let online = Holders {
        keys: vec![online],
        threshold: 1,
    };
    let expires = now.plus_ms(lifetime::ROOT_MS);
    Ok(sign::root(
        version(last) + 1,
        expires,
        [root, &online, &online, targets],
    )?)
}

/// The draft of targets: the one that lies there, else the next after the published one.
pub fn open_targets(
    draft: Option<Unsigned>,
    last: Option<&Unsigned>,
    now: Timestamp,
) -> Result<Value, ReleaseError> {
    if let Some(draft) = draft {
        return Ok(draft.signed().clone());
    }
    let expires = now.plus_ms(lifetime::TARGETS_MS);
    let Some(last) = last else {
        return Ok(sign::targets(1, expires, &BTreeMap::new(), &[])?.signed().clone());
    };
    let mut signed = last.signed().clone();
    signed["version"] = (version(Some(last)) + 1).into();
    signed["expires"] = Timestamp::synced(expires.ms).to_string().into();
    Ok(signed)
}

/// Refuses a draft in which an id stands for another key than it names: people compare ids, and boxes believe keys.
///
/// `ours`: whether every key in it has to be of the kind that we write, whose ids say what they are.
pub fn ids_name_keys(draft: &Unsigned, ours: bool) -> Result<(), ReleaseError> {
    let signed = draft.signed();
    let places = [Some(signed), signed.get("delegations")].into_iter().flatten();
    let keys = places.filter_map(|place| place.get("keys")?.as_object());
    for (id, key) in keys.flatten() {
        let own = Key::read(key).ok().flatten().and_then(|key| key.id());
        if own.as_ref().map_or(ours, |own| own != id) {
            return Err(asked(format!(
                "under the id {} stands another key",
                words::short(id)
            )));
        }
    }
    Ok(())
}

fn object<'a>(place: &'a mut Value, key: &str) -> Result<&'a mut Map<String, Value>, ReleaseError> {
    let found = place.get_mut(key).and_then(Value::as_object_mut);
    found.ok_or_else(|| asked(format!("the draft's {key} are no object")))
}

/// Puts a target into a draft: what it is, and what it means for people.
pub fn put(
    draft: &mut Value,
    path: &str,
    length: u64,
    sha256: [u8; 32],
    (custom, notes): (Option<&Custom>, Option<&Notes>),
) -> Result<(), ReleaseError> {
    let mut one = json!({ "length": length, "hashes": Hashes::sha256(sha256).to_json() });
    if let Some(custom) = custom.and_then(|custom| serde_json::to_value(custom).ok()) {
        one["custom"] = custom;
    }
    if let Some(notes) = notes {
        one["notes"] = notes.to_json();
    }
    object(draft, "targets")?.insert(path.to_owned(), one);
    Ok(())
}

/// Makes the delta between two builds, and tries it as a box would. Takes seconds.
pub fn delta(old: &[u8], new: &[u8]) -> Result<Vec<u8>, ReleaseError> {
    let made = delta::make(old, new).map_err(ReleaseError::Delta)?;
    let mut came = Vec::with_capacity(new.len());
    let take = |piece: &[u8]| {
        came.extend_from_slice(piece);
        Ok(())
    };
    delta::apply(old, made.as_slice(), new.len() as u64, take).map_err(ReleaseError::Delta)?;
    if came == new {
        Ok(made)
    } else {
        Err(asked("another build comes of the delta that was made"))
    }
}

/// The version of a drafted release that has these bytes.
pub fn version_with(draft: &Value, sha256: &[u8; 32]) -> Option<Version> {
    let hex = to_hex(sha256);
    let all = draft.get("targets").and_then(Value::as_object)?;
    all.iter().find_map(|(path, target)| {
        let same = sha256_of(draft, path).as_ref() == Some(&hex);
        let custom = Custom::read(target.get("custom")).ok().filter(|_| same)?;
        (custom.installer == Installer::AgentSlot).then_some(custom.version)
    })
}

/// The SHA-256 of a drafted target, hex.
pub fn sha256_of(draft: &Value, path: &str) -> Option<String> {
    let hash = draft.get("targets")?.get(path)?.get("hashes")?.get("sha256")?;
    hash.as_str().map(str::to_owned)
}

/// Takes one out; says whether it was there.
pub fn take(draft: &mut Value, path: &str) -> bool {
    let targets = draft.get_mut("targets").and_then(Value::as_object_mut);
    targets.is_some_and(|targets| targets.remove(path).is_some())
}

/// Hands `patterns` to a role; a delegation of that name is replaced.
pub fn delegate(
    draft: &mut Value,
    name: &str,
    holders: &Holders,
    patterns: &[String],
) -> Result<(), ReleaseError> {
    if homeward_protocol::tuf::role::Role::delegated(name).is_none() {
        return Err(asked(format!("`{name}` cannot be the name of a role")));
    }
    if holders.threshold == 0 || holders.threshold > holders.keys.len() {
        return Err(asked("more signatures are demanded than there are keys"));
    }
    let mut ids = Vec::new();
    if draft.get("delegations").is_none() {
        draft["delegations"] = json!({ "keys": {}, "roles": [] });
    }
    let delegations = &mut draft["delegations"];
    for key in &holders.keys {
        let id = key.id().ok_or(SignError::Kind)?;
        object(delegations, "keys")?.insert(id.clone(), key.to_json().ok_or(SignError::Kind)?);
        ids.push(id);
    }
    let role = json!({
        "name": name, "keyids": ids, "threshold": holders.threshold, "paths": patterns, "terminating": true,
    });
    let roles = delegations.get_mut("roles").and_then(Value::as_array_mut);
    let roles = roles.ok_or_else(|| asked("the draft's delegations are no list"))?;
    roles.retain(|one| one.get("name").and_then(Value::as_str) != Some(name));
    roles.push(role);
    Ok(())
}

/// Checks drafts of roles that parts were handed to as a box would: in each is what its delegator's keys signed.
/// `roles`: those whose files are in `files`, by their newest version.
pub fn check_delegated(
    client: &Client,
    roles: &BTreeMap<Role, Vec<u8>>,
    drafted: &[Role],
) -> Result<(), ReleaseError> {
    let trusted = client.trusted();
    let mut waiting: Vec<Targets> = trusted.targets().cloned().into_iter().collect();
    let mut believed = BTreeSet::new();
    while let Some(by) = waiting.pop() {
        for role in by.delegations.iter().map(|one| &one.role) {
            let Some(bytes) = roles.get(role).filter(|_| !believed.contains(role)) else {
                continue;
            };
            match trusted.delegated(role, &by, bytes) {
                Ok(targets) => {
                    believed.insert(role.clone());
                    waiting.push(targets);
                }
                Err(why) if drafted.contains(role) => return Err(why.into()),
                // What was published before is its holders' affair, and keeps nobody from the daily renewal.
                Err(_) => {}
            }
        }
    }
    match drafted.iter().find(|role| !believed.contains(role)) {
        None => Ok(()),
        Some(role) => Err(asked(format!(
            "nothing is handed to `{role}`, whose draft is here"
        ))),
    }
}

/// Ids of the keys that a root names for a role.
pub fn holders(root: Option<&Unsigned>, role: &str) -> Vec<String> {
    let ids = root.and_then(|root| root.signed().get("roles")?.get(role)?.get("keyids")?.as_array());
    let ids = ids.into_iter().flatten();
    ids.filter_map(|id| id.as_str().map(str::to_owned)).collect()
}

/// How many of them must sign.
pub fn threshold(root: Option<&Unsigned>, role: &str) -> u64 {
    let found = root.and_then(|root| root.signed().get("roles")?.get(role)?.get("threshold")?.as_u64());
    found.unwrap_or(0)
}

/// Whether a key may sign the draft of a role. A new root is signed by the old holders, too.
pub fn may_sign(key: &str, role: &str, published: Option<&Unsigned>, draft: Option<&Unsigned>) -> bool {
    let newest = draft.or(published);
    let named = |root| holders(root, role).iter().any(|id| id == key);
    named(newest) || role == "root" && named(published)
}

/// A repository in the making: file names of metadata, and their bytes.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What is published on top of what was: the new snapshot and timestamp, signed with the online key.
///
/// `listed`: the files of targets' roles that the snapshot lists, by name (`targets.json`), with their version.
pub fn finish(
    listed: &BTreeMap<String, (u64, Vec<u8>)>,
    last: (Option<&Unsigned>, Option<&Unsigned>),
    online: &SigningKey,
    now: Timestamp,
) -> Result<Files, ReleaseError> {
    let (snapshot, timestamp) = (version(last.0) + 1, version(last.1) + 1);
    let meta: Map<String, Value> = listed
        .iter()
        .map(|(name, (version, bytes))| (name.clone(), sign::listed(*version, bytes)))
        .collect();
    let mut file = sign::snapshot(snapshot, now.plus_ms(lifetime::SNAPSHOT_MS), meta);
    file.sign(online)?;
    let bytes = file.to_bytes();
    let promised = sign::listed(snapshot, &bytes);
    let mut newest = sign::timestamp(timestamp, now.plus_ms(lifetime::TIMESTAMP_MS), now, &promised);
    newest.sign(online)?;
    Ok(BTreeMap::from([
        (format!("{snapshot}.snapshot.json"), bytes),
        ("timestamp.json".to_owned(), newest.to_bytes()),
    ]))
}

/// Targets' roles that a snapshot lists.
pub fn listed_by(snapshot: Option<&Unsigned>) -> Vec<Role> {
    let meta = snapshot.and_then(|snapshot| snapshot.signed().get("meta")?.as_object());
    let names = meta.into_iter().flat_map(Map::keys);
    let role = |name: &str| match name {
        "targets" => Some(Role::Targets),
        other => Role::delegated(other),
    };
    names
        .filter_map(|name| role(name.strip_suffix(".json")?))
        .collect()
}

/// Refreshes from a repository as a box does that knows nothing but its first root; gives what a box then believes.
pub fn check(files: &Files, now: Timestamp) -> Result<Client, ReleaseError> {
    let first = files
        .get("1.root.json")
        .ok_or_else(|| asked("there is no first root"))?;
    let kept = Files::from([(Role::Root.kept_as(), first.clone())]);
    let fetch = |file: &str, _| files.get(file).cloned().map_or(Answer::Absent, Answer::Fetched);
    refresh(kept, fetch, now).map(|(client, _)| client)
}

/// Refreshes what is `kept` from wherever `fetch` fetches (a file by its name, at most so many bytes); gives what is
/// believed then, and what is to be kept of it. Without a root nothing is believed.
pub fn refresh(
    mut kept: Files,
    mut fetch: impl FnMut(&str, u64) -> Answer,
    now: Timestamp,
) -> Result<(Client, Files), ReleaseError> {
    loop {
        let root = kept.get(&Role::Root.kept_as());
        let root = root.ok_or_else(|| asked("there is no first root"))?;
        let (mut client, mut step) = Client::begin(root, now)?;
        let ended = loop {
            if let Some(save) = step.save {
                kept.insert(save.name, save.bytes);
            }
            let answer = match step.ask {
                Ask::Nothing => break Ok(()),
                Ask::Load { name, .. } => Answer::Loaded(kept.get(&name).cloned()),
                Ask::Fetch { file, max } => fetch(&file, max),
            };
            match client.handle(answer) {
                Ok(next) => step = next,
                Err(error) => break Err(error),
            }
        };
        match ended {
            Ok(()) => return Ok((client, kept)),
            // Many roots take several refreshes; each begins with the newest that was kept.
            Err(TufError::TooManyRoots) => {}
            Err(error) => return Err(error.into()),
        }
    }
}
