//! Making metadata: what is to be signed as canonical JSON, and signatures over it.
//!
//! Ed25519 only. Each holder of a key signs alone; signatures of several are put together by [`Unsigned::merge`].

use std::collections::BTreeMap;

use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Map, Value, json};

use super::canonical;
use super::key::Key;
use super::metadata::targets::Target;
use super::read;
use super::role::Role;
use crate::time::Timestamp;

/// What stands as `spec_version` in what we write.
pub const SPEC_VERSION: &str = "1.0.34";

/// Why metadata could not be made.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    /// The bytes of a private key are none of Ed25519.
    #[error("it is no Ed25519 private key")]
    Key,
    /// A value that has no canonical form.
    #[error("a number that is not an integer cannot be signed")]
    Number,
    /// It is not a file of metadata.
    #[error("it is no file of metadata")]
    Form,
    /// Two files that are to be one differ in what is signed.
    #[error("the files to be merged do not hold the same: somebody signed something else")]
    Different,
    /// A public key that is not of our kind.
    #[error("only Ed25519 keys are written")]
    Kind,
}

/// A private key. It has no `Debug` of its own worth: nothing of it is printed.
pub struct SigningKey {
    pair: Ed25519KeyPair,
    id: String,
}

impl std::fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "SigningKey({})", self.id)
    }
}

impl SigningKey {
    /// From PKCS #8 (RFC 8410), with or without the public half.
    pub fn from_pkcs8(der: &[u8]) -> Result<SigningKey, SignError> {
        SigningKey::of(Ed25519KeyPair::from_pkcs8_maybe_unchecked(der).map_err(|_| SignError::Key)?)
    }

    /// From the 32 bytes of RFC 8032, section 5.1.5, step 1.
    pub fn from_seed(seed: &[u8; 32]) -> Result<SigningKey, SignError> {
        SigningKey::of(Ed25519KeyPair::from_seed_unchecked(seed).map_err(|_| SignError::Key)?)
    }

    fn of(pair: Ed25519KeyPair) -> Result<SigningKey, SignError> {
        let public = pair
            .public_key()
            .as_ref()
            .try_into()
            .map_err(|_| SignError::Key)?;
        let id = Key::ed25519(public).id().ok_or(SignError::Kind)?;
        Ok(SigningKey { pair, id })
    }

    /// Its public half.
    pub fn public(&self) -> Key {
        Key::ed25519(self.pair.public_key().as_ref().try_into().unwrap_or_default())
    }

    /// The id under which its signatures stand.
    pub fn id(&self) -> &str {
        &self.id
    }
}

/// A file of metadata that is being signed.
#[derive(Debug, Clone, PartialEq)]
pub struct Unsigned {
    signed: Value,
    signatures: BTreeMap<String, String>,
}

impl Unsigned {
    /// What is to be signed, by nobody yet.
    pub const fn new(signed: Value) -> Unsigned {
        Unsigned {
            signed,
            signatures: BTreeMap::new(),
        }
    }

    /// Reads a file that some have signed. No signature is checked here.
    pub fn parse(bytes: &[u8]) -> Result<Unsigned, SignError> {
        let file: Value = serde_json::from_slice(bytes).map_err(|_| SignError::Form)?;
        let signed = file
            .get("signed")
            .filter(|signed| signed.is_object())
            .ok_or(SignError::Form)?;
        let list = file
            .get("signatures")
            .and_then(Value::as_array)
            .ok_or(SignError::Form)?;
        let mut signatures = BTreeMap::new();
        for one in list {
            let field = |key| {
                one.get(key)
                    .and_then(Value::as_str)
                    .map(str::to_owned)
                    .ok_or(SignError::Form)
            };
            signatures.insert(field("keyid")?, field("sig")?);
        }
        Ok(Unsigned {
            signed: signed.clone(),
            signatures,
        })
    }

    /// What is signed.
    pub const fn signed(&self) -> &Value {
        &self.signed
    }

    /// Ids under which signatures stand.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.signatures.keys().map(String::as_str)
    }

    /// The bytes over which signatures are made.
    pub fn canonical(&self) -> Result<Vec<u8>, SignError> {
        canonical::encode(&self.signed).map_err(|_| SignError::Number)
    }

    /// Signs it. A signature of the same key is replaced.
    pub fn sign(&mut self, key: &SigningKey) -> Result<(), SignError> {
        self.sign_as(key, key.id())
    }

    /// Signs it under an id of the caller's choice, as other programs name keys.
    pub fn sign_as(&mut self, key: &SigningKey, id: &str) -> Result<(), SignError> {
        let signature = key.pair.sign(&self.canonical()?);
        self.signatures
            .insert(id.to_owned(), read::to_hex(signature.as_ref()));
        Ok(())
    }

    /// Takes the signatures of `other` over, which must hold exactly the same.
    pub fn merge(&mut self, other: Unsigned) -> Result<(), SignError> {
        if self.signed != other.signed {
            return Err(SignError::Different);
        }
        self.signatures.extend(other.signatures);
        Ok(())
    }

    /// The file.
    pub fn to_bytes(&self) -> Vec<u8> {
        let pairs = self.signatures.iter();
        let signatures: Vec<Value> = pairs
            .map(|(id, sig)| json!({ "keyid": id, "sig": sig }))
            .collect();
        let file = json!({ "signatures": signatures, "signed": self.signed });
        let mut bytes = serde_json::to_vec_pretty(&file).unwrap_or_default();
        bytes.push(b'\n');
        bytes
    }
}

/// Who may sign for a role, and how many must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders {
    /// Public keys.
    pub keys: Vec<Key>,
    /// How many must sign.
    pub threshold: usize,
}

impl Holders {
    fn to_json(&self, all: &mut Map<String, Value>) -> Result<Value, SignError> {
        let mut ids = Vec::new();
        for key in &self.keys {
            let id = key.id().ok_or(SignError::Kind)?;
            all.insert(id.clone(), key.to_json().ok_or(SignError::Kind)?);
            ids.push(id);
        }
        ids.sort();
        ids.dedup();
        Ok(json!({ "keyids": ids, "threshold": self.threshold }))
    }
}

fn head(role: &Role, version: u64, expires: Timestamp) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("_type".to_owned(), role.kind().into());
    map.insert("spec_version".to_owned(), SPEC_VERSION.into());
    map.insert("version".to_owned(), version.into());
    map.insert(
        "expires".to_owned(),
        Timestamp::synced(expires.ms).to_string().into(),
    );
    map
}

/// A root with consistent snapshots. `holders`: of root, timestamp, snapshot and targets.
pub fn root(version: u64, expires: Timestamp, holders: [&Holders; 4]) -> Result<Unsigned, SignError> {
    let mut signed = head(&Role::Root, version, expires);
    let (mut keys, mut roles) = (Map::new(), Map::new());
    let names = [Role::Root, Role::Timestamp, Role::Snapshot, Role::Targets];
    for (role, holders) in names.iter().zip(holders) {
        roles.insert(role.name().to_owned(), holders.to_json(&mut keys)?);
    }
    signed.insert("consistent_snapshot".to_owned(), true.into());
    signed.insert("keys".to_owned(), keys.into());
    signed.insert("roles".to_owned(), roles.into());
    Ok(Unsigned::new(signed.into()))
}

/// A part that is handed to somebody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Handed {
    /// The name of the role.
    pub name: String,
    /// Whose keys count for it.
    pub holders: Holders,
    /// Patterns of paths that it may speak of.
    pub paths: Vec<String>,
    /// Whether nobody after it is asked for them.
    pub terminating: bool,
}

/// Targets, with the parts that are handed on.
pub fn targets(
    version: u64,
    expires: Timestamp,
    targets: &BTreeMap<String, Target>,
    handed: &[Handed],
) -> Result<Unsigned, SignError> {
    let mut signed = head(&Role::Targets, version, expires);
    let listed = targets.iter().map(|(path, target)| {
        let mut one = json!({ "length": target.length, "hashes": target.hashes.to_json() });
        if let (Some(custom), Some(one)) = (&target.custom, one.as_object_mut()) {
            one.insert("custom".to_owned(), custom.clone());
        }
        (path.clone(), one)
    });
    signed.insert("targets".to_owned(), Value::Object(listed.collect()));
    if !handed.is_empty() {
        let (mut keys, mut roles) = (Map::new(), Vec::new());
        for part in handed {
            let mut role = part.holders.to_json(&mut keys)?;
            if let Some(role) = role.as_object_mut() {
                role.insert("name".to_owned(), part.name.as_str().into());
                role.insert("paths".to_owned(), part.paths.clone().into());
                role.insert("terminating".to_owned(), part.terminating.into());
            }
            roles.push(role);
        }
        signed.insert("delegations".to_owned(), json!({ "keys": keys, "roles": roles }));
    }
    Ok(Unsigned::new(signed.into()))
}

/// What is promised of a file of metadata: its version, length and SHA-256.
pub fn listed(version: u64, bytes: &[u8]) -> Value {
    let digest = ring::digest::digest(&ring::digest::SHA256, bytes);
    json!({ "version": version, "length": bytes.len(), "hashes": { "sha256": read::to_hex(digest.as_ref()) } })
}

/// A snapshot of these files: their names (`targets.json`) and what [`listed`] says of them.
pub fn snapshot(version: u64, expires: Timestamp, meta: Map<String, Value>) -> Unsigned {
    let mut signed = head(&Role::Snapshot, version, expires);
    signed.insert("meta".to_owned(), meta.into());
    Unsigned::new(signed.into())
}

/// A timestamp over a snapshot, signed at `issued`.
pub fn timestamp(version: u64, expires: Timestamp, issued: Timestamp, snapshot: &Value) -> Unsigned {
    let mut signed = head(&Role::Timestamp, version, expires);
    signed.insert(
        "issued".to_owned(),
        Timestamp::synced(issued.ms).to_string().into(),
    );
    signed.insert("meta".to_owned(), json!({ "snapshot.json": snapshot }));
    Unsigned::new(signed.into())
}
