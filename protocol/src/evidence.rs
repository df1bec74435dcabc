//! What a gateway says of itself when it is asked to prove it: an Entity Attestation Token.
//!
//! Travels as a tagged `COSE_Sign1` of content type `application/eat+cwt`, signed with the gateway's TLS key. It proves
//! what that key proves, no more: without a TPM, that a process which holds the key said so.
//!
//! # Design
//! Only claims that a verdict uses. No hardware model (RFC 9711 ties it to a maker), no place, no serial number and no
//! address. Numbers of claims: RFC 9711 section 4.2 (with 267 the boot count and 268 the boot seed), `iat` and `cnf` of
//! RFC 8392 and RFC 8747, the measurement format 295 of the measured-component document.

pub mod bundle;

use std::collections::BTreeSet;

use coset::cbor::Value;
use coset::{ContentType, HeaderBuilder};

use crate::posture::ShortText;
use crate::signed::tagged::Tagged;
use crate::signed::{PublicKey, SignedError, Signer, Verified};
use crate::wire::WireError;

/// Longest signed evidence, bytes: with [`MAX_MEASURED`] components of the longest names.
pub const MAX_EVIDENCE: usize = 8 * 1024;
/// Most measured components: ours are five.
pub const MAX_MEASURED: usize = 16;
/// The content type in the protected header. Source: RFC 9782, section 3.
const CONTENT_TYPE: &str = "application/eat+cwt";
/// The content format of one measured component.
const MEASURED_COMPONENT: i64 = 295;
/// Our own claim, in the range for private use: where the chain of postures stands. Source: RFC 8392, section 9.1.
const POSTURES: i64 = -65_537;
/// SHA-256 in the Named Information registry.
const NI_SHA256: i64 = 1;

/// What the claims rest on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Profile {
    /// A software key and the software's own word.
    Software,
    /// A TPM's quote stands beside the token, and covers it.
    Tpm,
}

impl Profile {
    /// The value of `eat_profile`.
    pub const fn uri(self) -> &'static str {
        match self {
            Profile::Software => "tag:homeward.example,2026:evidence-sw#1",
            Profile::Tpm => "tag:homeward.example,2026:evidence-tpm#1",
        }
    }

    fn from_uri(uri: &str) -> Option<Profile> {
        [Profile::Software, Profile::Tpm]
            .into_iter()
            .find(|p| p.uri() == uri)
    }
}

/// What was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Component {
    /// The program that starts the agent.
    Launcher,
    /// The agent's program.
    Agent,
    /// The policy in force.
    Policy,
    /// The kernel that runs.
    Kernel,
    /// The set of installed packages with their versions.
    Packages,
}

impl Component {
    /// All of them.
    pub const ALL: [Component; 5] = [
        Component::Launcher,
        Component::Agent,
        Component::Policy,
        Component::Kernel,
        Component::Packages,
    ];

    /// Its name in the token.
    pub const fn name(self) -> &'static str {
        match self {
            Component::Launcher => "launcher",
            Component::Agent => "agent",
            Component::Policy => "policy",
            Component::Kernel => "kernel",
            Component::Packages => "packages",
        }
    }
}

/// One measured component: its version as the box calls it, and the SHA-256 of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// What.
    pub component: Component,
    /// Its version, when it has one.
    pub version: Option<ShortText>,
    /// The SHA-256 of its bytes (of the sorted list, for packages).
    pub sha256: [u8; 32],
}

/// The claims.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// 6: seconds since 1970 by the gateway's floored clock; for people only.
    pub issued_at_s: u64,
    /// 8: the thumbprint of the key of this TLS session ([`crate::signed::tagged::thumbprint`]).
    pub key: [u8; 32],
    /// 10: the challenge that it answers.
    pub nonce: [u8; 32],
    /// 256: the 16 random bytes that name the box since its enrolment; 0x01 stands before them in the token.
    pub box_id: [u8; 16],
    /// 261: seconds since the boot.
    pub uptime_s: u64,
    /// 267: how many boots the agent has counted.
    pub boot_count: u64,
    /// 268: 32 random bytes of this boot.
    pub boot_seed: [u8; 32],
    /// 265: what the claims rest on.
    pub profile: Profile,
    /// 270 and 271: name and version of the agent.
    pub software: (ShortText, ShortText),
    /// 273: what was measured, each component once.
    pub measured: Vec<Measured>,
    /// -65537: where the chain of postures stands, when there is one.
    pub postures: Option<ChainEnd>,
}

/// The end of the chain of postures that a gateway keeps: the number of its newest link, and the hash after it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainEnd {
    /// The number.
    pub seq: u64,
    /// The hash.
    pub head: [u8; 32],
}

impl Evidence {
    /// Signs it; gives the bytes that travel.
    pub fn seal(&self, signer: &dyn Signer) -> Result<Vec<u8>, SignedError> {
        let header = HeaderBuilder::new().content_type(CONTENT_TYPE.to_owned()).build();
        Tagged::seal(bytes_of(&self.claims())?, header, signer)
    }

    /// What a TPM's quote carries as its `extraData`, so that the claims ride inside it: SHA-256 over the nonce and the
    /// SHA-256 of the claims as they are written.
    pub fn binding(&self) -> Result<[u8; 32], SignedError> {
        Ok(binding(&self.nonce, &bytes_of(&self.claims())?))
    }

    /// Checks the form and the signature, then reads the claims. Whether they are true, fresh and of this session's
    /// key is for the verdict.
    pub fn verify(bytes: &[u8], key: &PublicKey) -> Result<Verified<Evidence>, SignedError> {
        let token = Tagged::parse(bytes, MAX_EVIDENCE)?;
        if token.header().content_type != Some(ContentType::Text(CONTENT_TYPE.to_owned())) {
            return Err(SignedError::Structure(
                "the content type is not application/eat+cwt",
            ));
        }
        if token.says_unprotected() {
            return Err(SignedError::Structure("a header that is not signed"));
        }
        let payload = token.verify(key, &[])?;
        payload.try_map(|claims| Evidence::claimed(claims))
    }

    /// Reads claims that nobody has vouched for.
    pub fn claimed(payload: &[u8]) -> Result<Evidence, SignedError> {
        read(payload).map_err(|rule| SignedError::Payload(WireError::Rule(rule)))
    }

    fn claims(&self) -> Value {
        let (name, version) = &self.software;
        let measured = self.measured.iter().map(|m| {
            let bytes = bytes_of(&component(m)).unwrap_or_default();
            Value::Array(vec![MEASURED_COMPONENT.into(), Value::Bytes(bytes)])
        });
        let claims: Vec<(i64, Value)> = vec![
            (6, self.issued_at_s.into()),
            (8, Value::Map(vec![(5.into(), Value::Bytes(self.key.to_vec()))])),
            (10, Value::Bytes(self.nonce.to_vec())),
            (256, Value::Bytes([&[1], self.box_id.as_slice()].concat())),
            (261, self.uptime_s.into()),
            (265, self.profile.uri().into()),
            (267, self.boot_count.into()),
            (268, Value::Bytes(self.boot_seed.to_vec())),
            (270, name.as_str().into()),
            (271, Value::Array(vec![version.as_str().into()])),
            (273, Value::Array(measured.collect())),
        ];
        let postures = self.postures.map(|end| {
            let end = vec![end.seq.into(), Value::Bytes(end.head.to_vec())];
            (POSTURES, Value::Array(end))
        });
        Value::Map(
            claims
                .into_iter()
                .chain(postures)
                .map(|(key, value)| (key.into(), value))
                .collect(),
        )
    }
}

/// SHA-256(nonce ‖ SHA-256(payload)), over the payload of a token as it came.
pub fn binding(nonce: &[u8; 32], payload: &[u8]) -> [u8; 32] {
    let inner = ring::digest::digest(&ring::digest::SHA256, payload);
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(nonce);
    context.update(inner.as_ref());
    context.finish().as_ref().try_into().unwrap_or_default()
}

/// `{1: [name, [version]], 2: [1, sha256]}`.
fn component(measured: &Measured) -> Value {
    let mut id = vec![Value::from(measured.component.name())];
    id.extend(
        measured
            .version
            .as_ref()
            .map(|v| Value::Array(vec![v.as_str().into()])),
    );
    let digest = vec![NI_SHA256.into(), Value::Bytes(measured.sha256.to_vec())];
    Value::Map(vec![
        (1.into(), Value::Array(id)),
        (2.into(), Value::Array(digest)),
    ])
}

fn bytes_of(value: &Value) -> Result<Vec<u8>, SignedError> {
    let mut bytes = Vec::new();
    coset::cbor::into_writer(value, &mut bytes)
        .map_err(|_| SignedError::Structure("could not be encoded"))?;
    Ok(bytes)
}

type Rule = &'static str;

fn read(bytes: &[u8]) -> Result<Evidence, Rule> {
    let mut claims = Claims::of(bytes)?;
    let evidence = Evidence {
        issued_at_s: claims.number(6)?,
        key: claims.confirmation()?,
        nonce: claims.bytes(10)?,
        box_id: claims.box_id()?,
        uptime_s: claims.number(261)?,
        boot_count: claims.number(267)?,
        boot_seed: claims.bytes(268)?,
        profile: Profile::from_uri(&claims.text(265)?).ok_or("a profile that is not known here")?,
        software: (claims.short(270)?, claims.version()?),
        measured: claims.measured()?,
        postures: claims.postures()?,
    };
    claims.end()?;
    Ok(evidence)
}

/// A CBOR map with whole numbers as keys, taken apart claim by claim.
struct Claims(Vec<(Value, Value)>);

impl Claims {
    fn of(bytes: &[u8]) -> Result<Claims, Rule> {
        let mut rest = bytes;
        let value: Value = coset::cbor::from_reader(&mut rest).map_err(|_| "not CBOR")?;
        let Value::Map(pairs) = value else {
            return Err("not a map of claims");
        };
        if !rest.is_empty() {
            return Err("bytes behind the claims");
        }
        let mut keys = BTreeSet::new();
        for (key, _) in &pairs {
            let key = key.as_integer().ok_or("a claim without a number")?;
            if !keys.insert(i128::from(key)) {
                return Err("a claim that stands twice");
            }
        }
        Ok(Claims(pairs))
    }

    fn take(&mut self, key: i64) -> Result<Value, Rule> {
        let at = self.0.iter().position(|(k, _)| *k == Value::from(key));
        Ok(self.0.swap_remove(at.ok_or("a claim is missing")?).1)
    }

    fn end(self) -> Result<(), Rule> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err("a claim that is not of this profile")
        }
    }

    fn number(&mut self, key: i64) -> Result<u64, Rule> {
        let number = self
            .take(key)?
            .into_integer()
            .map_err(|_| "a claim that should be a number")?;
        u64::try_from(number).map_err(|_| "a claim that should be a number from 0 on")
    }

    fn text(&mut self, key: i64) -> Result<String, Rule> {
        self.take(key)?
            .into_text()
            .map_err(|_| "a claim that should be text")
    }

    fn short(&mut self, key: i64) -> Result<ShortText, Rule> {
        short(self.text(key)?)
    }

    fn bytes(&mut self, key: i64) -> Result<[u8; 32], Rule> {
        array(self.take(key)?)
    }

    fn confirmation(&mut self) -> Result<[u8; 32], Rule> {
        let Value::Map(pairs) = self.take(8)? else {
            return Err("a key confirmation that is not a map");
        };
        let [(kind, thumbprint)] =
            <[_; 1]>::try_from(pairs).map_err(|_| "a key confirmation of more than one part")?;
        if kind != Value::from(5) {
            return Err("a key confirmation that is not a thumbprint");
        }
        array(thumbprint)
    }

    fn box_id(&mut self) -> Result<[u8; 16], Rule> {
        let ueid = self
            .take(256)?
            .into_bytes()
            .map_err(|_| "a UEID that is not bytes")?;
        let random = ueid.strip_prefix(&[1]).ok_or("a UEID that is not a random one")?;
        random.try_into().map_err(|_| "a UEID that is not of 17 bytes")
    }

    fn postures(&mut self) -> Result<Option<ChainEnd>, Rule> {
        if !self.0.iter().any(|(k, _)| *k == Value::from(POSTURES)) {
            return Ok(None);
        }
        let wrong = "an end of the postures that is not a number and a hash";
        let Value::Array(pair) = self.take(POSTURES)? else {
            return Err(wrong);
        };
        let [seq, head] = <[_; 2]>::try_from(pair).map_err(|_| wrong)?;
        let seq = seq.into_integer().map_err(|_| wrong)?;
        Ok(Some(ChainEnd {
            seq: u64::try_from(seq).map_err(|_| wrong)?,
            head: array(head)?,
        }))
    }

    fn version(&mut self) -> Result<ShortText, Rule> {
        one_version(self.take(271)?)
    }

    fn measured(&mut self) -> Result<Vec<Measured>, Rule> {
        let Value::Array(all) = self.take(273)? else {
            return Err("measurements that are not a list");
        };
        if all.len() > MAX_MEASURED {
            return Err("too many measurements");
        }
        let measured: Vec<Measured> = all.into_iter().map(one_measured).collect::<Result<_, _>>()?;
        let names: BTreeSet<Component> = measured.iter().map(|m| m.component).collect();
        if names.len() == measured.len() {
            Ok(measured)
        } else {
            Err("a component that is measured twice")
        }
    }
}

fn one_measured(value: Value) -> Result<Measured, Rule> {
    let wrong = "a measurement that is not a measured component";
    let Value::Array(pair) = value else {
        return Err(wrong);
    };
    let [format, bytes] = <[_; 2]>::try_from(pair).map_err(|_| wrong)?;
    if format != Value::from(MEASURED_COMPONENT) {
        return Err(wrong);
    }
    let mut parts = Claims::of(&bytes.into_bytes().map_err(|_| wrong)?)?;
    let (Value::Array(id), Value::Array(digest)) = (parts.take(1)?, parts.take(2)?) else {
        return Err(wrong);
    };
    parts.end()?;
    let [algorithm, sha256] = <[_; 2]>::try_from(digest).map_err(|_| wrong)?;
    if algorithm != Value::from(NI_SHA256) {
        return Err("a digest that is not SHA-256");
    }
    let mut id = id.into_iter();
    let name = id.next().and_then(|v| v.into_text().ok()).ok_or(wrong)?;
    let version = id.next().map(one_version).transpose()?;
    if id.next().is_some() {
        return Err(wrong);
    }
    let component = Component::ALL.into_iter().find(|c| c.name() == name);
    Ok(Measured {
        component: component.ok_or("a component that is not known here")?,
        version,
        sha256: array(sha256)?,
    })
}

fn one_version(value: Value) -> Result<ShortText, Rule> {
    let Value::Array(parts) = value else {
        return Err("a version that is not a list");
    };
    let [version] = <[_; 1]>::try_from(parts).map_err(|_| "a version of more than one part")?;
    short(version.into_text().map_err(|_| "a version that is not text")?)
}

fn short(text: String) -> Result<ShortText, Rule> {
    ShortText::try_from(text).map_err(|_| "a text that is too long or not printable")
}

fn array(value: Value) -> Result<[u8; 32], Rule> {
    let bytes = value.into_bytes().map_err(|_| "a claim that should be bytes")?;
    bytes.try_into().map_err(|_| "a claim that should have 32 bytes")
}
