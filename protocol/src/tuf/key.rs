//! Public keys of metadata, and the one thing that tells two of them apart: their decoded bytes.

use std::collections::BTreeMap;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::rsa::PublicKeyComponents;
use ring::signature::{self, UnparsedPublicKey};
use serde_json::{Value, json};

use super::read::{self, Object, Rule};
use super::{canonical, der};
use crate::signed::SPKI_P256;

/// What stands before the point of a P-384 key in its `SubjectPublicKeyInfo` (RFC 5480, section 2).
const SPKI_P384: &[u8] = &[
    0x30, 0x76, 0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81,
    0x04, 0x00, 0x22, 0x03, 0x62, 0x00,
];
/// The algorithm of an RSA key, with its NULL (RFC 3279, section 2.3.1).
const RSA: &[u8] = &[
    0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];

/// The key itself, however it was written and whatever it is called.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Material {
    /// 32 bytes (RFC 8032).
    Ed25519([u8; 32]),
    /// An uncompressed point on P-256.
    P256([u8; 65]),
    /// An uncompressed point on P-384.
    P384([u8; 97]),
    /// Modulus and exponent without leading zeros.
    Rsa(Vec<u8>, Vec<u8>),
}

/// How a key signs. Each is for one kind of [`Material`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Ed25519,
    EcdsaP256,
    EcdsaP384,
    RsaPss,
    RsaPkcs1,
}

/// A public key of a kind that is known here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    scheme: Scheme,
    material: Material,
}

impl Key {
    /// An Ed25519 key.
    pub const fn ed25519(public: [u8; 32]) -> Key {
        Key {
            scheme: Scheme::Ed25519,
            material: Material::Ed25519(public),
        }
    }

    /// Reads a key object; `None` when the kind is not known or the text is no such key, which is no error: nobody can
    /// sign with it. Only an object without the fields of a key is one.
    pub fn read(value: &Value) -> Result<Option<Key>, &'static str> {
        let rule = "a key without keytype, scheme and keyval";
        let key = value.as_object().ok_or(rule)?;
        let (kind, scheme) = (
            read::text(key, "keytype", rule)?,
            read::text(key, "scheme", rule)?,
        );
        let public = read::object(key, "keyval", rule)?;
        let Some(public) = public.get("public").and_then(Value::as_str) else {
            return Ok(None);
        };
        Ok(Key::of(kind, scheme, public))
    }

    fn of(kind: &str, scheme: &str, public: &str) -> Option<Key> {
        let (scheme, material) = match (kind, scheme) {
            ("ed25519", "ed25519") => {
                let bytes = read::hex(public)?.try_into().ok()?;
                (Scheme::Ed25519, Material::Ed25519(bytes))
            }
            ("ecdsa" | "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp256") => {
                let (_, spki) = pem(public)?;
                (Scheme::EcdsaP256, Material::P256(point(&spki, SPKI_P256)?))
            }
            ("ecdsa" | "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp384") => {
                let (_, spki) = pem(public)?;
                (Scheme::EcdsaP384, Material::P384(point(&spki, SPKI_P384)?))
            }
            ("rsa", "rsassa-pss-sha256") => (Scheme::RsaPss, rsa(public)?),
            ("rsa", "rsa-pkcs1v15-sha256") => (Scheme::RsaPkcs1, rsa(public)?),
            _ => return None,
        };
        Some(Key { scheme, material })
    }

    /// What it is.
    pub const fn material(&self) -> &Material {
        &self.material
    }

    /// Whether this key made `signature` over `message`.
    pub fn verifies(&self, message: &[u8], signature: &[u8]) -> bool {
        let by = |algorithm, public: &[u8]| {
            UnparsedPublicKey::new(algorithm, public)
                .verify(message, signature)
                .is_ok()
        };
        match (self.scheme, &self.material) {
            (Scheme::Ed25519, Material::Ed25519(public)) => by(&signature::ED25519, public),
            (Scheme::EcdsaP256, Material::P256(public)) => by(&signature::ECDSA_P256_SHA256_ASN1, public),
            (Scheme::EcdsaP384, Material::P384(public)) => by(&signature::ECDSA_P384_SHA384_ASN1, public),
            (Scheme::RsaPss | Scheme::RsaPkcs1, Material::Rsa(n, e)) => {
                let parameters = if self.scheme == Scheme::RsaPss {
                    &signature::RSA_PSS_2048_8192_SHA256
                } else {
                    &signature::RSA_PKCS1_2048_8192_SHA256
                };
                PublicKeyComponents { n, e }
                    .verify(parameters, message, signature)
                    .is_ok()
            }
            _ => false,
        }
    }

    /// The key as metadata writes it; only our own kind, Ed25519, is ever written.
    pub fn to_json(&self) -> Option<Value> {
        let Material::Ed25519(public) = &self.material else {
            return None;
        };
        Some(json!({
            "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": read::to_hex(public) },
        }))
    }

    /// The usual id of a key that we write: SHA-256 over its canonical form, in hex. Nothing relies on it.
    pub fn id(&self) -> Option<String> {
        let bytes = canonical::encode(&self.to_json()?).ok()?;
        let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
        Some(read::to_hex(digest.as_ref()))
    }
}

/// Keys by their ids; those of unknown kinds are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Keys(BTreeMap<String, Key>);

impl Keys {
    pub(super) fn read(from: &Object) -> Result<Keys, Rule> {
        let mut keys = BTreeMap::new();
        for (id, value) in from {
            if let Some(key) = Key::read(value)? {
                keys.insert(id.clone(), key);
            }
        }
        Ok(Keys(keys))
    }

    /// The key with this id.
    pub fn get(&self, id: &str) -> Option<&Key> {
        self.0.get(id)
    }
}

/// Which keys may sign for a role, and how many must.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RoleKeys {
    /// Their ids, each once.
    pub ids: Vec<String>,
    /// How many different keys must sign; at least one.
    pub threshold: usize,
}

impl RoleKeys {
    pub(super) fn read(from: &Object) -> Result<RoleKeys, Rule> {
        let ids = from.get("keyids").ok_or("a role without keyids")?;
        let ids = read::texts(ids, "keyids that are not texts")?;
        let mut sorted: Vec<&String> = ids.iter().collect();
        sorted.sort_unstable();
        if sorted.windows(2).any(|pair| pair.first() == pair.last()) {
            return Err("a key id that stands twice in a role");
        }
        let threshold = read::positive(from, "threshold", "a role without a threshold")?;
        Ok(RoleKeys {
            threshold: usize::try_from(threshold).unwrap_or(usize::MAX),
            ids,
        })
    }
}

fn point<const N: usize>(spki: &[u8], prefix: &[u8]) -> Option<[u8; N]> {
    let point: [u8; N] = spki.strip_prefix(prefix)?.try_into().ok()?;
    (point.first() == Some(&4)).then_some(point)
}

fn rsa(text: &str) -> Option<Material> {
    let (label, bytes) = pem(text)?;
    let inner = if label == "RSA PUBLIC KEY" {
        bytes.as_slice()
    } else {
        let (algorithm, rest) = der::element(0x30, der::only(0x30, &bytes)?)?;
        let bits = der::only(0x03, rest)?;
        (algorithm == RSA).then_some(())?;
        bits.strip_prefix(&[0])?
    };
    let (n, rest) = der::positive(der::only(0x30, inner)?)?;
    let (e, rest) = der::positive(rest)?;
    rest.is_empty().then(|| Material::Rsa(n.to_vec(), e.to_vec()))
}

/// The label and the bytes of one PEM block (RFC 7468): line breaks where they like, and what older writers put in
/// front of the base64 (RFC 1421, section 4.6: headers, then an empty line) passed over.
fn pem(text: &str) -> Option<(&str, Vec<u8>)> {
    let (_, rest) = text.split_once("-----BEGIN ")?;
    let (label, rest) = rest.split_once("-----")?;
    if !matches!(label, "PUBLIC KEY" | "RSA PUBLIC KEY") {
        return None;
    }
    let (body, _) = rest.split_once(&format!("-----END {label}-----"))?;
    let body = body.trim_start().replace("\r\n", "\n");
    let body = match body.split_once("\n\n") {
        Some((headers, body)) if headers.contains(':') => body,
        _ => &body,
    };
    let packed: String = body.chars().filter(|c| !c.is_ascii_whitespace()).collect();
    STANDARD.decode(packed).ok().map(|bytes| (label, bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    const P256: &str = "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEu+ebm3VUg6U2b0IIeR6NFZU7uxkL\
                        R1sVLxV8SEW7G+AMXMasEQf5daxfwVMP1kuEkhGs3mBYLkYXlWDh9BNSxg==";

    fn p256(text: &str) -> Option<Key> {
        Key::of("ecdsa", "ecdsa-sha2-nistp256", text)
    }

    #[test]
    fn spellings_of_one_key_are_one_key() {
        let usual = p256(&format!(
            "-----BEGIN PUBLIC KEY-----\n{P256}\n-----END PUBLIC KEY-----\n"
        ))
        .expect("a key");
        let (head, tail) = P256.split_at(17);
        for spelling in [
            format!("-----BEGIN PUBLIC KEY-----{P256}-----END PUBLIC KEY-----"),
            format!("note\n-----BEGIN PUBLIC KEY-----\r\n{head}\r\n {tail}\r\n-----END PUBLIC KEY-----"),
            format!(
                "-----BEGIN PUBLIC KEY-----\nComment: x\nX-Y: z\n\n{head}\n{tail}\n-----END PUBLIC KEY-----"
            ),
        ] {
            assert_eq!(p256(&spelling).as_ref(), Some(&usual), "{spelling}");
        }
        let hex = "AB".repeat(32);
        let key = |hex: &str| Key::of("ed25519", "ed25519", hex);
        assert!(key(&hex).is_some());
        assert_eq!(key(&hex), key(&hex.to_lowercase()));
    }

    #[test]
    fn what_is_no_known_key_is_passed_over() {
        for odd in [
            json!({ "keytype": "x", "scheme": "y", "keyval": { "public": "00" } }),
            json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "public": "00" } }),
            json!({ "keytype": "ed25519", "scheme": "ed25519", "keyval": { "other": 1 } }),
            json!({ "keytype": "ed25519", "scheme": "rsassa-pss-sha256", "keyval": { "public": "00" } }),
            json!({ "keytype": "rsa", "scheme": "rsassa-pss-sha256", "keyval": { "public": "-----BEGIN PUBLIC KEY-----" } }),
        ] {
            assert_eq!(Key::read(&odd), Ok(None), "{odd}");
        }
        for broken in [
            json!(1),
            json!({}),
            json!({ "keytype": "ed25519", "scheme": "ed25519" }),
        ] {
            assert!(Key::read(&broken).is_err(), "{broken}");
        }
    }

    #[test]
    fn an_id_in_a_role_stands_once() {
        let role = |value: Value| RoleKeys::read(value.as_object().expect("an object"));
        assert!(role(json!({ "keyids": ["a", "b"], "threshold": 2 })).is_ok());
        for odd in [
            json!({ "keyids": ["a", "b", "a"], "threshold": 1 }),
            json!({ "keyids": ["a"], "threshold": 0 }),
            json!({ "keyids": ["a"], "threshold": 1.5 }),
            json!({ "keyids": [1], "threshold": 1 }),
            json!({ "threshold": 1 }),
        ] {
            assert!(role(odd.clone()).is_err(), "{odd}");
        }
    }
}
