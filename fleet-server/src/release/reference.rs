//! Reference values that a release's targets carry: what is believed of them, and what that changes.
//!
//! # Design
//! Two signatures stand over them: the offline keys name the file and the key that measures, and that key signed the file.
//! So what is kept can be checked at each reading, without the repository. The targets say all: values that they do not
//! name any more are taken out, and what was loaded by hand is nobody's business here, but for its name.

use std::collections::BTreeMap;

use homeward_protocol::reference::{MAX_RELEASE, Release};
use homeward_protocol::release::{REFERENCE_FOLDER, REFERENCE_KEY, reference_path};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::tuf::client::Answer;
use homeward_protocol::tuf::metadata::targets::{Target, TargetPath, Targets};
use rustls::pki_types::SubjectPublicKeyInfoDer;
use rustls::pki_types::pem::PemObject as _;

use super::ReleaseError;
use crate::store::attest::releases::Loaded;

/// Longest public key as PEM, bytes.
const MAX_KEY: u64 = 4096;

/// What a release's targets carry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Carried {
    /// The version of the targets.
    pub targets: u64,
    /// Each release with its file; whose signature it bears.
    pub releases: Vec<(Release, Vec<u8>, PublicKey)>,
}

/// Reads what believed targets carry; `file` gives a target's file by its name, at most so many bytes of it.
pub fn carried(
    targets: &Targets,
    mut file: impl FnMut(&str, u64) -> Answer,
) -> Result<Carried, ReleaseError> {
    let mut get = |path: &str, target: &Target, max: u64| -> Result<Vec<u8>, ReleaseError> {
        let odd = |why: &str| ReleaseError::Asked(format!("{}: {why}", path.escape_debug()));
        let at: TargetPath = path.parse().map_err(odd)?;
        if target.length > max {
            return Err(odd("it is longer than any such file"));
        }
        match file(&target.file(&at, true), target.length) {
            Answer::Fetched(bytes)
                if bytes.len() as u64 == target.length && target.hashes.match_bytes(&bytes) =>
            {
                Ok(bytes)
            }
            Answer::Fetched(_) | Answer::TooLong => Err(odd("it is not what the targets promise")),
            Answer::Absent | Answer::Loaded(_) => Err(odd("the repository does not have it")),
            Answer::Failed(why) => Err(odd(&why)),
        }
    };
    let named = targets
        .targets
        .iter()
        .filter(|(path, _)| path.starts_with(REFERENCE_FOLDER));
    let named: BTreeMap<&String, &Target> = named.collect();
    let mut releases = Vec::new();
    if !named.is_empty() {
        let key = targets.targets.get(REFERENCE_KEY);
        let key = key.ok_or_else(|| ReleaseError::Asked(format!("the targets name no {REFERENCE_KEY}")))?;
        let pem = get(REFERENCE_KEY, key, MAX_KEY)?;
        let signer = SubjectPublicKeyInfoDer::from_pem_slice(&pem).ok();
        let signer = signer.and_then(|spki| PublicKey::from_spki(&spki));
        let signer = signer
            .ok_or_else(|| ReleaseError::Asked(format!("{REFERENCE_KEY} is no P-256 public key in PEM")))?;
        for (path, target) in named {
            let odd = |why: &str| ReleaseError::Asked(format!("{}: {why}", path.escape_debug()));
            let bytes = get(path, target, MAX_RELEASE as u64)?;
            let release = Release::verify(&bytes, &signer).map_err(|why| odd(&why.to_string()))?;
            let release = release.into_inner();
            if *path != reference_path(release.name.as_str()) {
                return Err(odd("it is of another release than its name says"));
            }
            releases.push((release, bytes, signer.clone()));
        }
    }
    Ok(Carried {
        targets: targets.head.version,
        releases,
    })
}

/// What one release's values come to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Nothing of that name was loaded.
    New,
    /// It was loaded from a release, with other values.
    Changed,
    /// It was loaded by hand: the release's stand in its place.
    ReplacesHand,
    /// As it is loaded.
    Same,
    /// It was loaded from a release, and the targets do not name it any more.
    Gone,
}

impl Change {
    /// As people read it.
    pub const fn words(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Changed => "with other values than before",
            Change::ReplacesHand => "in the place of what was loaded by hand",
            Change::Same => "as before",
            Change::Gone => "taken out: the targets do not name it any more",
        }
    }

    /// As programs read it.
    pub const fn name(self) -> &'static str {
        match self {
            Change::New => "new",
            Change::Changed => "changed",
            Change::ReplacesHand => "replaces-hand",
            Change::Same => "same",
            Change::Gone => "gone",
        }
    }
}

/// What becomes of each release's values, by name.
pub fn plan(loaded: &[Loaded], carried: &Carried) -> BTreeMap<String, Change> {
    let mut changes = BTreeMap::new();
    for (release, bytes, signer) in &carried.releases {
        let name = release.name.as_str();
        let change = match loaded.iter().find(|one| one.release.name.as_str() == name) {
            None => Change::New,
            Some(one) if one.targets.is_none() => Change::ReplacesHand,
            Some(one) if one.signed == *bytes && one.signer == *signer => Change::Same,
            Some(_) => Change::Changed,
        };
        changes.insert(name.to_owned(), change);
    }
    for one in loaded.iter().filter(|one| one.targets.is_some()) {
        changes
            .entry(one.release.name.as_str().to_owned())
            .or_insert(Change::Gone);
    }
    changes
}
