//! What a release looks like when it is measured: signed reference values, a subset of `CoRIM`.
//!
//! Travels as a tagged `COSE_Sign1` of content type `application/rim+cbor`, ES256, made where releases are signed, away
//! from any server:
//!
//! ```text
//! 501({ 0: "homeward/RELEASE",                                        / id /
//!       1: [ 506(<<{ 1: { 0: "homeward/RELEASE" },                    / tag-identity /
//!                    4: { 0: [ [ { 0: { 1: "Homeward", 2: "gateway" } },   / triples, reference: environment /
//!                                [ { 0: "agent" | "kernel" | … | 0..23,    / measurement key: component or register /
//!                                    1: { 0: { 0: "1.2.3" },               / version, where it has one /
//!                                         2: [ [1, sha256] ] } }, … ] ] ] } }>>) ] })
//! ```
//! Source: `CoRIM` (draft-ietf-rats-corim), sections 4.1 and 5.1. Nothing that is not in this picture is read.

use std::collections::BTreeSet;

use coset::cbor::Value;
use coset::{ContentType, HeaderBuilder};

use crate::event_log::REGISTERS;
use crate::evidence::Component;
use crate::posture::ShortText;
use crate::signed::tagged::Tagged;
use crate::signed::{PublicKey, SignedError, Signer, Verified};
use crate::wire::WireError;

/// Longest signed release, bytes.
pub const MAX_RELEASE: usize = 64 * 1024;
/// Most values of one release: kernels of some machines, and the packages of some.
pub const MAX_VALUES: usize = 512;

const CONTENT_TYPE: &str = "application/rim+cbor";
const CORIM: u64 = 501;
const COMID: u64 = 506;
const META: i64 = 8;
const NI_SHA256: i64 = 1;
const MAKER: (&str, &str) = ("Homeward", "gateway");
const PREFIX: &str = "homeward/";

/// What is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Measurand {
    /// A program, or a set of files.
    Component(Component),
    /// A SHA-256 register of the TPM.
    Register(u8),
}

/// One good value.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Good {
    /// Of what.
    pub what: Measurand,
    /// The version as the box calls it; none for registers.
    pub version: Option<ShortText>,
    /// The value.
    pub sha256: [u8; 32],
}

/// What one release looks like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Release {
    /// Its name, for example its version.
    pub name: ShortText,
    /// Its values, each once.
    pub values: Vec<Good>,
}

impl Release {
    /// Signs it; gives the bytes of the file.
    pub fn seal(&self, signer: &dyn Signer) -> Result<Vec<u8>, SignedError> {
        // corim-meta: who signs.
        let meta = bytes_of(&map([(0, map([(0, "Homeward".into())]))]))?;
        let header = HeaderBuilder::new()
            .content_type(CONTENT_TYPE.to_owned())
            .value(META, Value::Bytes(meta))
            .build();
        let payload = bytes_of(&self.corim()?)?;
        read(&payload).map_err(|rule| SignedError::Payload(WireError::Rule(rule)))?;
        Tagged::seal(payload, header, signer)
    }

    /// Checks the form and the signature, then reads it.
    pub fn verify(bytes: &[u8], key: &PublicKey) -> Result<Verified<Release>, SignedError> {
        let file = Tagged::parse(bytes, MAX_RELEASE)?;
        let ours = file.header().content_type == Some(ContentType::Text(CONTENT_TYPE.to_owned()));
        if !ours || file.says_unprotected() {
            return Err(SignedError::Structure(
                "the header is not one of reference values",
            ));
        }
        let payload = file.verify(key, &[])?;
        payload.try_map(|payload| Release::claimed(payload))
    }

    /// Reads values that nobody has vouched for.
    pub fn claimed(payload: &[u8]) -> Result<Release, SignedError> {
        read(payload).map_err(|rule| SignedError::Payload(WireError::Rule(rule)))
    }

    fn corim(&self) -> Result<Value, SignedError> {
        let id = format!("{PREFIX}{}", self.name.as_str());
        let values = self.values.iter().map(measurement).collect();
        let class = map([(1, MAKER.0.into()), (2, MAKER.1.into())]);
        let triple = Value::Array(vec![map([(0, class)]), Value::Array(values)]);
        let comid = map([
            (1, map([(0, id.as_str().into())])),
            (4, map([(0, Value::Array(vec![triple]))])),
        ]);
        let tag = Value::Tag(COMID, Box::new(Value::Bytes(bytes_of(&comid)?)));
        let corim = map([(0, id.into()), (1, Value::Array(vec![tag]))]);
        Ok(Value::Tag(CORIM, Box::new(corim)))
    }
}

fn measurement(good: &Good) -> Value {
    let key = match good.what {
        Measurand::Component(component) => component.name().into(),
        Measurand::Register(register) => register.into(),
    };
    let version = good.version.as_ref().map(|v| (0, map([(0, v.as_str().into())])));
    let digest = Value::Array(vec![NI_SHA256.into(), Value::Bytes(good.sha256.to_vec())]);
    let value = map(version.into_iter().chain([(2, Value::Array(vec![digest]))]));
    map([(0, key), (1, value)])
}

fn map(pairs: impl IntoIterator<Item = (i64, Value)>) -> Value {
    Value::Map(
        pairs
            .into_iter()
            .map(|(key, value)| (key.into(), value))
            .collect(),
    )
}

fn bytes_of(value: &Value) -> Result<Vec<u8>, SignedError> {
    let mut bytes = Vec::new();
    coset::cbor::into_writer(value, &mut bytes)
        .map_err(|_| SignedError::Structure("could not be encoded"))?;
    Ok(bytes)
}

type Rule = &'static str;
const SHAPE: Rule = "reference values of another shape than ours";

fn whole(bytes: &[u8]) -> Result<Value, Rule> {
    let mut rest = bytes;
    let value = coset::cbor::from_reader(&mut rest).map_err(|_| "not CBOR")?;
    if rest.is_empty() {
        Ok(value)
    } else {
        Err("bytes behind the reference values")
    }
}

/// The values of a map with exactly these keys, in that order of keys; the keys of `optional` may be missing.
fn fields<const N: usize>(
    value: Value,
    keys: [i64; N],
    optional: &[i64],
) -> Result<[Option<Value>; N], Rule> {
    let mut pairs = value.into_map().map_err(|_| SHAPE)?;
    let mut found = [const { None }; N];
    for (slot, key) in found.iter_mut().zip(keys) {
        let at = pairs.iter().position(|(k, _)| *k == Value::from(key));
        *slot = at.map(|at| pairs.swap_remove(at).1);
        if slot.is_none() && !optional.contains(&key) {
            return Err(SHAPE);
        }
    }
    if pairs.is_empty() { Ok(found) } else { Err(SHAPE) }
}

fn tagged(value: Value, tag: u64) -> Result<Value, Rule> {
    match value {
        Value::Tag(found, inner) if found == tag => Ok(*inner),
        _ => Err(SHAPE),
    }
}

fn alone(value: Option<Value>) -> Result<Value, Rule> {
    let list = value.and_then(|v| v.into_array().ok()).ok_or(SHAPE)?;
    let [one] = <[_; 1]>::try_from(list).map_err(|_| SHAPE)?;
    Ok(one)
}

fn text(value: Option<Value>) -> Result<String, Rule> {
    value.and_then(|v| v.into_text().ok()).ok_or(SHAPE)
}

fn read(payload: &[u8]) -> Result<Release, Rule> {
    let [id, tags] = fields(tagged(whole(payload)?, CORIM)?, [0, 1], &[])?;
    let id = text(id)?;
    let comid = tagged(alone(tags)?, COMID)?.into_bytes().map_err(|_| SHAPE)?;
    let [identity, triples] = fields(whole(&comid)?, [1, 4], &[])?;
    let [same] = fields(identity.ok_or(SHAPE)?, [0], &[])?;
    if text(same)? != id {
        return Err("reference values under two names");
    }
    let [reference] = fields(triples.ok_or(SHAPE)?, [0], &[])?;
    let triple = alone(reference)?.into_array().map_err(|_| SHAPE)?;
    let [environment, values] = <[_; 2]>::try_from(triple).map_err(|_| SHAPE)?;
    let [class] = fields(environment, [0], &[])?;
    let [maker, model] = fields(class.ok_or(SHAPE)?, [1, 2], &[])?;
    if (text(maker)?.as_str(), text(model)?.as_str()) != MAKER {
        return Err("reference values of something else");
    }
    let values = values.into_array().map_err(|_| SHAPE)?;
    if values.len() > MAX_VALUES {
        return Err("more reference values than a release has");
    }
    let values: Vec<Good> = values.into_iter().map(good).collect::<Result<_, _>>()?;
    if values.iter().collect::<BTreeSet<_>>().len() != values.len() {
        return Err("a reference value that stands twice");
    }
    let name = id.strip_prefix(PREFIX).ok_or(SHAPE)?.to_owned();
    Ok(Release {
        name: short(name)?,
        values,
    })
}

fn good(value: Value) -> Result<Good, Rule> {
    let [key, value] = fields(value, [0, 1], &[])?;
    let what = match key.ok_or(SHAPE)? {
        Value::Text(name) => {
            let component = Component::ALL.into_iter().find(|c| c.name() == name);
            Measurand::Component(component.ok_or("a component that is not known here")?)
        }
        Value::Integer(number) => {
            let register = u8::try_from(number).ok().filter(|n| u32::from(*n) < REGISTERS);
            Measurand::Register(register.ok_or("a register that no TPM has")?)
        }
        _ => return Err(SHAPE),
    };
    let [version, digests] = fields(value.ok_or(SHAPE)?, [0, 2], &[0])?;
    let version = version.map(version_of).transpose()?;
    let digest = alone(digests)?.into_array().map_err(|_| SHAPE)?;
    let [algorithm, sha256] = <[_; 2]>::try_from(digest).map_err(|_| SHAPE)?;
    if algorithm != Value::from(NI_SHA256) {
        return Err("a digest that is not SHA-256");
    }
    let sha256 = sha256.into_bytes().map_err(|_| SHAPE)?;
    Ok(Good {
        what,
        version,
        sha256: sha256.try_into().map_err(|_| "a digest of another length")?,
    })
}

fn version_of(value: Value) -> Result<ShortText, Rule> {
    let [version] = fields(value, [0], &[])?;
    short(text(version)?)
}

fn short(text: String) -> Result<ShortText, Rule> {
    ShortText::try_from(text).map_err(|_| "a text that is too long or not printable")
}
