//! Dossiers that a release's targets carry: what is believed of them, and where a draft may put one.

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::release::dossier::{DOSSIER_FOLDER, Dossier, MAX_DOSSIER};
use homeward_protocol::release::{Custom, Disruption, Installer, Version};
use homeward_protocol::tuf::client::{Answer, Ask, Client, Found};
use homeward_protocol::tuf::metadata::targets::{Target, TargetPath};
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::role::Role;
use serde_json::Value;

use super::{Files, ReleaseError, asked};

/// A dossier that the repository names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// Its path among the targets.
    pub path: String,
    /// Its SHA-256, hex.
    pub sha256: String,
    /// What it says.
    pub dossier: Dossier,
    /// As it was signed.
    pub bytes: Vec<u8>,
}

/// What a draft says of a dossier: nothing that a box could act on. Its hardware is the kind of device.
pub fn custom(dossier: &Dossier) -> Custom {
    let hw = if dossier.profiles.is_empty() {
        vec![dossier.name.clone()]
    } else {
        dossier.profiles.clone()
    };
    Custom {
        installer: Installer::Dossier,
        hw,
        version: dossier.version,
        min_version: None,
        disruption: Disruption::None,
        security_floor: Version::ZERO,
    }
}

/// Most dossiers of those to whom parts were handed that are looked at.
const MOST: usize = 500;

/// Paths of the dossiers that are published: by the holders of targets, or by those to whom they handed a part. Where to look for
/// those is read from the files that the snapshot names, and what counts is what a box would find there; one that cannot be
/// looked for is among them, so that it is seen to be broken.
pub fn paths(client: &Client, files: &Files) -> Vec<String> {
    let trusted = client.trusted();
    let own = trusted.targets().into_iter().flat_map(|targets| &targets.targets);
    let is_one = |target: &Target| {
        let custom = Custom::read(target.custom.as_ref());
        custom.is_ok_and(|custom| custom.installer == Installer::Dossier)
    };
    let mut named: BTreeSet<String> = own
        .filter(|(path, target)| path.starts_with(DOSSIER_FOLDER) && is_one(target))
        .map(|(path, _)| path.clone())
        .collect();
    let mut others = BTreeSet::new();
    for (name, meta) in trusted.snapshot().into_iter().flat_map(|snapshot| &snapshot.meta) {
        let role = name.strip_suffix(".json").and_then(Role::delegated);
        let file = role.and_then(|role| {
            let of_version = files.get(&role.file(Some(meta.version)));
            of_version.or_else(|| files.get(&role.file(None)))
        });
        let text = file.and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok());
        let targets = text
            .as_ref()
            .and_then(|text| text["signed"]["targets"].as_object());
        let all = targets.into_iter().flat_map(|targets| targets.keys());
        others.extend(all.filter(|path| path.starts_with(DOSSIER_FOLDER)).cloned());
    }
    let is_there = |path: &String| match path.parse().map(|at| search(client.clone(), files, at)) {
        Ok(Ok(found)) => found.is_some_and(|found| is_one(&found.target)),
        Ok(Err(_)) => true,
        Err(_) => false,
    };
    let others: Vec<String> = others.difference(&named).take(MOST).cloned().collect();
    named.extend(others.into_iter().filter(is_there));
    named.into_iter().collect()
}

/// Finds a dossier as a box would find its software: also one that somebody speaks of to whom targets handed a part.
/// `file` gives a target's file by its name, at most so many bytes of it.
pub fn find(
    client: &Client,
    files: &Files,
    path: &str,
    mut file: impl FnMut(&str, u64) -> Answer,
) -> Result<Carried, ReleaseError> {
    let odd = |why: &str| asked(format!("{}: {why}", path.escape_debug()));
    let at: TargetPath = path.parse().map_err(odd)?;
    let found = search(client.clone(), files, at)?.ok_or_else(|| odd("the repository does not name it"))?;
    let custom = Custom::read(found.target.custom.as_ref()).map_err(odd)?;
    if custom.installer != Installer::Dossier {
        return Err(odd(
            "it is software of boxes, and no dossier: see `update assign`",
        ));
    }
    if found.target.length > MAX_DOSSIER as u64 {
        return Err(odd("it is longer than any dossier"));
    }
    let sha256 = found.target.hashes.get_sha256();
    let sha256 = sha256.ok_or_else(|| odd("it has no SHA-256"))?;
    let bytes = match file(&found.file, found.target.length) {
        Answer::Fetched(bytes) if bytes.len() as u64 == found.target.length => bytes,
        Answer::Fetched(_) | Answer::TooLong => return Err(odd("it is not what the targets promise")),
        Answer::Absent | Answer::Loaded(_) => return Err(odd("the repository does not have it")),
        Answer::Failed(why) => return Err(odd(&why)),
    };
    if !found.target.hashes.match_bytes(&bytes) {
        return Err(odd("it is not what the targets promise"));
    }
    let dossier = Dossier::decode(&bytes).map_err(|why| odd(&why.to_string()))?;
    if dossier.path() != path || dossier.version != custom.version {
        return Err(odd(
            "it lies under another name or version than it says of itself",
        ));
    }
    Ok(Carried {
        path: path.to_owned(),
        sha256: to_hex(&sha256),
        dossier,
        bytes,
    })
}

/// The SHA-256 (hex) of the dossier that is published under a path; nothing where there is none. An error says that it could
/// not be seen.
pub fn named(client: &Client, files: &Files, path: &str) -> Result<Option<String>, ReleaseError> {
    let at: TargetPath = path.parse().map_err(|why: &str| asked(why))?;
    let found = search(client.clone(), files, at)?;
    Ok(found
        .and_then(|found| found.target.hashes.get_sha256())
        .map(|sha256| to_hex(&sha256)))
}

/// The newest of each line among these paths.
pub fn newest(paths: &[String]) -> Vec<&str> {
    let mut lines: BTreeMap<&str, (Version, &str)> = BTreeMap::new();
    for path in paths {
        let Some((line, version)) = place(path) else {
            continue;
        };
        let held = lines.entry(line).or_insert((version, path));
        if version > held.0 {
            *held = (version, path);
        }
    }
    lines.into_values().map(|(_, path)| path).collect()
}

/// The path of a newer dossier of the same line, among those that are published.
pub fn newer(paths: &[String], than: &Dossier) -> Option<String> {
    let of_it = newest(paths)
        .into_iter()
        .filter_map(|path| Some((place(path)?, path)));
    let mut newer = of_it.filter(|((line, version), _)| *line == than.name && *version > than.version);
    newer.next().map(|(_, path)| path.to_owned())
}

/// The line and the version of the dossier at a path.
fn place(path: &str) -> Option<(&str, Version)> {
    let (line, version) = path.strip_prefix(DOSSIER_FOLDER)?.split_once('/')?;
    Some((line, version.parse().ok()?))
}

/// Walks through whom parts were handed to; what they wrote is among the published files.
fn search(mut client: Client, files: &Files, path: TargetPath) -> Result<Option<Found>, ReleaseError> {
    let mut step = client.find(path)?;
    loop {
        let answer = match step.ask {
            Ask::Nothing => return Ok(client.found().cloned()),
            Ask::Load { .. } => Answer::Loaded(None),
            Ask::Fetch { file, .. } => files.get(&file).cloned().map_or(Answer::Absent, Answer::Fetched),
        };
        step = client.handle(answer)?;
    }
}
