//! What the four kinds of metadata say, once it is believed.
//!
//! Fields that are not known here are passed over; they are signed all the same.
//! Source: TUF specification, sections 4.3 to 4.6.

pub mod targets;

use std::collections::BTreeMap;

use serde_json::Value;

use super::hash::Hashes;
use super::key::{Keys, RoleKeys};
use super::read::{self, Object, Rule};
use super::role::Role;
use crate::time::Timestamp;

/// What every role says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Head {
    /// 1, 2, 3 …
    pub version: u64,
    /// Until when it is good.
    pub expires: Timestamp,
}

impl Head {
    fn read(signed: &Object, kind: &str) -> Result<Head, Rule> {
        let (version, expires) = read::header(signed, kind)?;
        Ok(Head { version, expires })
    }

    /// Whether its time is over at `now`.
    pub const fn is_over(&self, now: Timestamp) -> bool {
        self.expires.ms <= now.ms
    }
}

/// Whose keys count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Root {
    /// Version and end.
    pub head: Head,
    /// Whether file names carry versions, and targets their hash.
    pub consistent: bool,
    /// All keys that roles name.
    pub keys: Keys,
    roles: [RoleKeys; 4],
}

impl Root {
    pub(super) fn read(signed: &Object) -> Result<Root, Rule> {
        let roles = read::object(signed, "roles", "a root without roles")?;
        let role = |role: Role| {
            let one = read::object(roles, role.name(), "a root without one of the four roles")?;
            RoleKeys::read(one)
        };
        let consistent = match signed.get("consistent_snapshot") {
            None | Some(Value::Null) => false,
            Some(value) => value
                .as_bool()
                .ok_or("consistent_snapshot that is neither true nor false")?,
        };
        Ok(Root {
            head: Head::read(signed, "root")?,
            consistent,
            keys: Keys::read(read::object(signed, "keys", "a root without keys")?)?,
            roles: [
                role(Role::Root)?,
                role(Role::Timestamp)?,
                role(Role::Snapshot)?,
                role(Role::Targets)?,
            ],
        })
    }

    /// Who may sign for one of the four; `None` for a delegated role, which others speak for.
    pub const fn role(&self, role: &Role) -> Option<&RoleKeys> {
        let [root, timestamp, snapshot, targets] = &self.roles;
        match role {
            Role::Root => Some(root),
            Role::Timestamp => Some(timestamp),
            Role::Snapshot => Some(snapshot),
            Role::Targets => Some(targets),
            Role::Delegated(_) => None,
        }
    }
}

/// A file that other metadata speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Meta {
    /// The version that it has to have.
    pub version: u64,
    /// Its length in bytes, if promised.
    pub length: Option<u64>,
    /// Its hashes, if promised.
    pub hashes: Option<Hashes>,
}

impl Meta {
    fn read(value: &Value) -> Result<Meta, Rule> {
        let one = value.as_object().ok_or("a listed file that is no object")?;
        let length = one.get("length");
        let length = length.map(|value| {
            value
                .as_u64()
                .filter(|n| *n > 0)
                .ok_or("a length that is no length")
        });
        Ok(Meta {
            version: read::positive(one, "version", "a listed file without a version")?,
            length: length.transpose()?,
            hashes: one.get("hashes").map(Hashes::read).transpose()?,
        })
    }

    fn all(signed: &Object) -> Result<BTreeMap<String, Meta>, Rule> {
        let listed = read::object(signed, "meta", "it lists no files")?;
        listed
            .iter()
            .map(|(name, value)| Ok((name.clone(), Meta::read(value)?)))
            .collect()
    }

    /// Whether these bytes may be the file: as far as anything was promised.
    pub fn fits(&self, bytes: &[u8]) -> bool {
        let length = u64::try_from(bytes.len()).unwrap_or(u64::MAX);
        let hashes = self.hashes.as_ref();
        self.length.is_none_or(|want| want == length) && hashes.is_none_or(|hashes| hashes.match_bytes(bytes))
    }
}

/// Which snapshot is the newest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Freshness {
    /// Version and end.
    pub head: Head,
    /// The snapshot.
    pub snapshot: Meta,
    /// When it was signed: a field of our own, to be shown. No box moves its clock by it: whoever holds the online key could move
    /// all boxes a year ahead, past every certificate, and back by nothing.
    pub issued: Option<Timestamp>,
}

impl Freshness {
    pub(super) fn read(signed: &Object) -> Result<Freshness, Rule> {
        let snapshot = Meta::all(signed)?.remove("snapshot.json");
        Ok(Freshness {
            head: Head::read(signed, "timestamp")?,
            snapshot: snapshot.ok_or("a timestamp that lists no snapshot")?,
            issued: read::moment(signed, "issued", "").ok(),
        })
    }
}

/// Which versions belong together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Version and end.
    pub head: Head,
    /// By the name of the file, without quotes: `targets.json`.
    pub meta: BTreeMap<String, Meta>,
}

impl Snapshot {
    pub(super) fn read(signed: &Object) -> Result<Snapshot, Rule> {
        Ok(Snapshot {
            head: Head::read(signed, "snapshot")?,
            meta: Meta::all(signed)?,
        })
    }
}
