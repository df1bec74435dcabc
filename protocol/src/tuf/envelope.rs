//! A file of metadata as it travels: what is signed, and signatures over it. Nothing in it is believed yet.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::key::{Keys, RoleKeys};
use super::read::{self, Object, Rule};
use super::role::Role;
use super::{TufError, canonical};

/// A file that could be taken apart.
#[derive(Debug, Clone)]
pub struct Envelope {
    signed: Object,
    canonical: Vec<u8>,
    signatures: BTreeMap<String, Vec<u8>>,
}

impl Envelope {
    /// Takes a file of `role` apart. Its size was limited by who fetched it.
    pub fn parse(role: &Role, bytes: &[u8]) -> Result<Envelope, TufError> {
        take_apart(bytes).map_err(|why| malformed(role, why))
    }

    /// Checks that enough different keys of `role` signed it; gives what they signed.
    ///
    /// A key counts by its bytes: once, under however many ids it stands.
    pub fn verify(&self, role: &Role, keys: &Keys, by: &RoleKeys) -> Result<&Object, TufError> {
        let mut proved = BTreeSet::new();
        for id in &by.ids {
            let (Some(key), Some(signature)) = (keys.get(id), self.signatures.get(id)) else {
                continue;
            };
            if !proved.contains(key.material()) && key.verifies(&self.canonical, signature) {
                proved.insert(key.material());
            }
            if proved.len() >= by.threshold {
                return Ok(&self.signed);
            }
        }
        Err(TufError::Threshold {
            role: role.clone(),
            version: self.signed.get("version").and_then(Value::as_u64).unwrap_or(0),
            have: proved.len(),
            need: by.threshold,
        })
    }

    /// What is to be verified before it is believed: a root vouches for itself, and has to be read for that.
    pub(super) const fn unverified(&self) -> &Object {
        &self.signed
    }
}

pub(super) fn malformed(role: &Role, why: Rule) -> TufError {
    TufError::Malformed {
        role: role.clone(),
        why,
    }
}

fn take_apart(bytes: &[u8]) -> Result<Envelope, Rule> {
    let file: Value = serde_json::from_slice(bytes).map_err(|_| "it is not JSON")?;
    let Value::Object(mut file) = file else {
        return Err("it is no JSON object");
    };
    let signed = file.remove("signed").ok_or("nothing is signed")?;
    let canonical = canonical::encode(&signed).map_err(|_| "it holds a number that is not an integer")?;
    let Value::Object(signed) = signed else {
        return Err("what is signed is no object");
    };
    Ok(Envelope {
        signed,
        canonical,
        signatures: signatures(&file)?,
    })
}

/// A signature that is not hexadecimal, as the empty one that some writers leave for "not yet", proves nothing.
fn signatures(file: &Object) -> Result<BTreeMap<String, Vec<u8>>, Rule> {
    let list = file.get("signatures").and_then(Value::as_array);
    let mut all = BTreeMap::new();
    for one in list.ok_or("there is no list of signatures")? {
        let rule = "a signature without keyid and sig";
        let one = one.as_object().ok_or(rule)?;
        let (id, text) = (read::text(one, "keyid", rule)?, read::text(one, "sig", rule)?);
        if all
            .insert(id.to_owned(), read::hex(text).unwrap_or_default())
            .is_some()
        {
            return Err("two signatures of one key id");
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::tuf::sign::{SigningKey, Unsigned};

    /// A file that the first key signed under both ids, and the keys as they are written.
    fn count(written: [Value; 2], signers: [&SigningKey; 2]) -> Result<(), TufError> {
        let mut file = Unsigned::new(json!({ "_type": "root", "version": 3 }));
        for (id, key) in ["one", "two"].iter().zip(signers) {
            file.sign_as(key, id).expect("signs");
        }
        let [one, two] = written;
        let keys = json!({ "one": one, "two": two });
        let keys = Keys::read(keys.as_object().expect("an object")).expect("keys");
        let by = RoleKeys {
            ids: vec!["one".to_owned(), "two".to_owned()],
            threshold: 2,
        };
        let file = Envelope::parse(&Role::Root, &file.to_bytes()).expect("a file");
        file.verify(&Role::Root, &keys, &by).map(drop)
    }

    #[test]
    fn one_key_under_two_ids_and_spellings_counts_once() {
        let key = |seed| SigningKey::from_seed(&[seed; 32]).expect("a key");
        let (first, second) = (key(1), key(2));
        let written = |key: &SigningKey| key.public().to_json().expect("Ed25519");
        let mut shouted = written(&first);
        let hex = shouted["keyval"]["public"]
            .as_str()
            .unwrap_or_default()
            .to_uppercase();
        shouted["keyval"]["public"] = hex.into();
        shouted["x-note"] = "another object".into();
        assert_eq!(
            count([written(&first), written(&second)], [&first, &second]),
            Ok(())
        );
        for copy in [written(&first), shouted] {
            let refused = count([written(&first), copy], [&first, &first]);
            assert!(
                matches!(
                    refused,
                    Err(TufError::Threshold {
                        have: 1,
                        need: 2,
                        version: 3,
                        ..
                    })
                ),
                "{refused:?}"
            );
        }
    }

    #[test]
    fn odd_files_are_refused_and_never_panic() {
        for odd in [
            "",
            "[]",
            "1",
            "{}",
            r#"{"signed":{}}"#,
            r#"{"signatures":[]}"#,
            r#"{"signatures":[],"signed":[]}"#,
            r#"{"signatures":[{"keyid":"a"}],"signed":{}}"#,
            r#"{"signatures":[{"keyid":1,"sig":""}],"signed":{}}"#,
            r#"{"signatures":[],"signed":{"a":0.5}}"#,
            r#"{"signatures":[{"keyid":"a","sig":"00"},{"keyid":"a","sig":"01"}],"signed":{}}"#,
        ] {
            assert!(Envelope::parse(&Role::Targets, odd.as_bytes()).is_err(), "{odd}");
        }
        let deep = format!(
            r#"{{"signatures":[],"signed":{{"a":{}1{}}}}}"#,
            "[".repeat(5_000),
            "]".repeat(5_000)
        );
        assert!(Envelope::parse(&Role::Targets, deep.as_bytes()).is_err());
        let empty = r#"{"signatures":[{"keyid":"a","sig":""},{"keyid":"b","sig":"xyz"}],"signed":{}}"#;
        assert!(Envelope::parse(&Role::Targets, empty.as_bytes()).is_ok());
    }
}
