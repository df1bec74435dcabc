//! The hashes that metadata promises of a file. All that are given must match.

use ring::digest::{self, Algorithm, Context};
use serde_json::Value;

use super::read::{self, Rule};

/// Hashes of one file, by the name of the algorithm. There is at least one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hashes(Vec<(String, Vec<u8>)>);

impl Hashes {
    /// Reads `{"sha256": "…hex…"}`. An empty one is refused: nothing would be promised.
    pub(super) fn read(value: &Value) -> Result<Hashes, Rule> {
        let pairs = value.as_object().ok_or("hashes that are no object")?;
        let mut all = Vec::new();
        for (name, value) in pairs {
            let text = value.as_str().ok_or("a hash that is no text")?;
            all.push((
                name.clone(),
                read::hex(text).ok_or("a hash that is not hexadecimal")?,
            ));
        }
        if all.is_empty() {
            return Err("hashes without a single one");
        }
        all.sort();
        Ok(Hashes(all))
    }

    /// The SHA-256 of something, as metadata promises it.
    pub fn sha256(digest: [u8; 32]) -> Hashes {
        Hashes(vec![("sha256".to_owned(), digest.to_vec())])
    }

    /// The SHA-256 among them.
    pub fn get_sha256(&self) -> Option<[u8; 32]> {
        let (_, value) = self.0.iter().find(|(name, _)| name == "sha256")?;
        value.as_slice().try_into().ok()
    }

    /// The one that names the file where names carry a hash: the first by the algorithm's name, in lower case hex.
    pub fn first_hex(&self) -> String {
        self.0
            .first()
            .map(|(_, value)| read::to_hex(value))
            .unwrap_or_default()
    }

    /// As metadata writes them.
    pub fn to_json(&self) -> Value {
        let pairs = self
            .0
            .iter()
            .map(|(name, value)| (name.clone(), read::to_hex(value).into()));
        Value::Object(pairs.collect())
    }

    /// Begins to check bytes that come in pieces.
    pub fn check(&self) -> Check<'_> {
        let contexts = self.0.iter().map(|(name, want)| {
            let context = algorithm(name).map(Context::new);
            (context, want.as_slice())
        });
        Check(contexts.collect())
    }

    /// Whether these bytes are the promised ones.
    pub fn match_bytes(&self, bytes: &[u8]) -> bool {
        let mut check = self.check();
        check.update(bytes);
        check.finish()
    }
}

/// A check that goes on while bytes come in.
#[derive(Clone)]
pub struct Check<'a>(Vec<(Option<Context>, &'a [u8])>);

impl Check<'_> {
    /// Takes the next bytes.
    pub fn update(&mut self, bytes: &[u8]) {
        for context in self.0.iter_mut().filter_map(|(context, _)| context.as_mut()) {
            context.update(bytes);
        }
    }

    /// Whether all hashes matched. One of an algorithm that is not known here did not.
    pub fn finish(self) -> bool {
        self.0
            .into_iter()
            .all(|(context, want)| context.is_some_and(|context| context.finish().as_ref() == want))
    }
}

impl std::fmt::Debug for Check<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Check({} hashes)", self.0.len())
    }
}

fn algorithm(name: &str) -> Option<&'static Algorithm> {
    match name {
        "sha256" => Some(&digest::SHA256),
        "sha384" => Some(&digest::SHA384),
        "sha512" => Some(&digest::SHA512),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_hash_must_match_and_an_unknown_one_cannot() {
        let hex = |algorithm| read::to_hex(digest::digest(algorithm, b"data").as_ref());
        let (one, other) = (hex(&digest::SHA256), hex(&digest::SHA512));
        let both = Hashes::read(&json!({ "sha512": other, "sha256": one.to_uppercase() })).expect("hashes");
        assert!(both.match_bytes(b"data") && !both.match_bytes(b"date"));
        assert_eq!(both.first_hex(), one);
        for wrong in [
            json!({ "sha512": other, "sha256": other }),
            json!({ "sha256": one, "blake2": "00" }),
        ] {
            assert!(
                !Hashes::read(&wrong).expect("hashes").match_bytes(b"data"),
                "{wrong}"
            );
        }
        for odd in [
            json!({}),
            json!([]),
            json!({ "sha256": "xy" }),
            json!({ "sha256": 1 }),
        ] {
            assert!(Hashes::read(&odd).is_err(), "{odd}");
        }
    }
}
