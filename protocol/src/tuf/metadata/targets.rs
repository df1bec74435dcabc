//! What software there is, and whom a part of that was handed to.

use std::collections::BTreeMap;

use serde_json::Value;

use super::Head;
use crate::tuf::glob;
use crate::tuf::hash::Hashes;
use crate::tuf::key::{Keys, RoleKeys};
use crate::tuf::read::{self, Object, Rule};
use crate::tuf::role::{Role, quote};

/// One file of software, as it was promised.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its length in bytes.
    pub length: u64,
    /// Its hashes.
    pub hashes: Hashes,
    /// What it is, in the words of who made the repository.
    pub custom: Option<Value>,
    /// What it means for people, likewise. No box reads it.
    pub notes: Option<Value>,
}

impl Target {
    fn read(value: &Value) -> Result<Target, Rule> {
        let one = value.as_object().ok_or("a target that is no object")?;
        let length = one.get("length").and_then(Value::as_u64);
        Ok(Target {
            length: length.ok_or("a target without a length")?,
            hashes: Hashes::read(one.get("hashes").ok_or("a target without hashes")?)?,
            custom: one.get("custom").cloned(),
            notes: one.get("notes").cloned(),
        })
    }

    /// Where it lies on a server: `dir/NAME`, or `dir/HASH.NAME` where snapshots are consistent; percent-quoted.
    pub fn file(&self, path: &TargetPath, consistent: bool) -> String {
        let path = quote(path.as_str(), "/");
        if !consistent {
            return path;
        }
        let hash = self.hashes.first_hex();
        match path.rsplit_once('/') {
            Some((folder, name)) => format!("{folder}/{hash}.{name}"),
            None => format!("{hash}.{path}"),
        }
    }
}

/// The path of a target that somebody asks for: relative, and without steps up.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TargetPath(String);

impl TargetPath {
    /// Most bytes.
    pub const MAX: usize = 512;

    /// The path, as metadata writes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for TargetPath {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.len() > Self::MAX {
            return Err("a path of a target has at most 512 bytes");
        }
        if text.split('/').any(|part| matches!(part, "" | "." | "..")) {
            return Err("a path of a target is relative and holds no `.`, `..` or empty part");
        }
        Ok(TargetPath(text.to_owned()))
    }
}

impl std::fmt::Display for TargetPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0.escape_debug())
    }
}

/// Which paths a role may speak of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Paths {
    /// Patterns with `*` and `?`.
    Patterns(Vec<String>),
    /// How the SHA-256 of the path begins, in lower case hex.
    HashPrefixes(Vec<String>),
}

impl Paths {
    fn read(from: &Object) -> Result<Paths, Rule> {
        match (from.get("paths"), from.get("path_hash_prefixes")) {
            (Some(paths), None) => Ok(Paths::Patterns(read::texts(paths, "paths that are not texts")?)),
            (None, Some(prefixes)) => {
                let prefixes = read::texts(prefixes, "path_hash_prefixes that are not texts")?;
                let prefixes = prefixes.iter().map(|text| text.to_ascii_lowercase());
                Ok(Paths::HashPrefixes(prefixes.collect()))
            }
            _ => Err("a delegation needs either paths or path_hash_prefixes"),
        }
    }

    /// Whether `path` is among them.
    pub fn cover(&self, path: &str) -> bool {
        match self {
            Paths::Patterns(patterns) => patterns.iter().any(|pattern| glob::matches(pattern, path)),
            Paths::HashPrefixes(prefixes) => {
                let digest = ring::digest::digest(&ring::digest::SHA256, path.as_bytes());
                let digest = read::to_hex(digest.as_ref());
                prefixes.iter().any(|prefix| digest.starts_with(prefix.as_str()))
            }
        }
    }
}

/// A part that was handed to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delegation {
    /// To whom.
    pub role: Role,
    /// Who signs for it.
    pub keys: RoleKeys,
    /// What it may speak of.
    pub paths: Paths,
    /// Whether nobody after it is asked for those paths.
    pub terminating: bool,
}

impl Delegation {
    fn read(value: &Value) -> Result<Delegation, Rule> {
        let one = value.as_object().ok_or("a delegation that is no object")?;
        let name = read::text(one, "name", "a delegation without a name")?;
        let terminating = one.get("terminating").and_then(Value::as_bool);
        Ok(Delegation {
            role: Role::delegated(name).ok_or("a delegation to a name that cannot be one")?,
            keys: RoleKeys::read(one)?,
            paths: Paths::read(one)?,
            terminating: terminating.ok_or("a delegation that does not say whether it is terminating")?,
        })
    }
}

/// What there is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Targets {
    /// Version and end.
    pub head: Head,
    /// Files by their path.
    pub targets: BTreeMap<String, Target>,
    /// Keys of those to whom parts were handed.
    pub keys: Keys,
    /// Those parts, in the order in which they are asked.
    pub delegations: Vec<Delegation>,
}

impl Targets {
    /// The same, of the files only what it says of this one.
    #[must_use]
    pub fn about(&self, path: &TargetPath) -> Targets {
        let one = self.targets.get_key_value(path.as_str());
        Targets {
            head: self.head,
            targets: one
                .map(|(path, target)| (path.clone(), target.clone()))
                .into_iter()
                .collect(),
            keys: self.keys.clone(),
            delegations: self.delegations.clone(),
        }
    }

    pub(in crate::tuf) fn read(signed: &Object) -> Result<Targets, Rule> {
        let listed = read::object(signed, "targets", "it lists no targets")?;
        let targets = listed
            .iter()
            .map(|(path, value)| Ok((path.clone(), Target::read(value)?)));
        let (keys, delegations) = match signed.get("delegations") {
            None => (Keys::default(), Vec::new()),
            Some(value) => delegations(value.as_object().ok_or("delegations that are no object")?)?,
        };
        Ok(Targets {
            head: Head::read(signed, "targets")?,
            targets: targets.collect::<Result<_, Rule>>()?,
            keys,
            delegations,
        })
    }
}

fn delegations(from: &Object) -> Result<(Keys, Vec<Delegation>), Rule> {
    let keys = Keys::read(read::object(from, "keys", "delegations without keys")?)?;
    let list = from.get("roles").and_then(Value::as_array);
    let list = list.ok_or("delegations without a list of roles")?;
    let all: Vec<Delegation> = list.iter().map(Delegation::read).collect::<Result<_, _>>()?;
    let mut names: Vec<&Role> = all.iter().map(|one| &one.role).collect();
    names.sort_unstable();
    if names.windows(2).any(|pair| pair.first() == pair.last()) {
        return Err("two delegations to one name");
    }
    Ok((keys, all))
}
