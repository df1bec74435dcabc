//! Bytes that somebody signed, and the proof that they did.
//!
//! A signed message is a `COSE_Sign1` (RFC 9052, section 4.2), ES256, untagged, with the message's CBOR as its
//! payload, its name as the external additional data, and nothing in the unprotected header. The bytes that
//! arrived are what is verified and kept; nothing is encoded anew.
//!
//! # Design
//! The name in the additional data keeps a signature made for one kind of message from serving for another.

pub mod tagged;

use std::marker::PhantomData;

use coset::{CborSerializable, CoseSign1, CoseSign1Builder, Header, HeaderBuilder, iana};
use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use crate::wire::{self, Bytes, WireError};

/// Most bytes that the COSE structure adds around a payload: headers, lengths and a 64-byte signature.
pub const OVERHEAD: usize = 128;

/// A message that travels signed.
pub trait Message: Serialize + DeserializeOwned {
    /// Its name and version, bound into the signature.
    const NAME: &'static str;
    /// Most bytes of its CBOR.
    const MAX: usize;

    /// What must hold beyond being well formed.
    fn check(&self) -> Result<(), &'static str> {
        Ok(())
    }
}

/// Why something signed was not accepted.
#[derive(Debug, thiserror::Error)]
pub enum SignedError {
    /// Longer than the message may be.
    #[error("{got} bytes where at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// Most bytes.
        max: usize,
    },
    /// Not a `COSE_Sign1` as this module writes it.
    #[error("not a signed message: {0}")]
    Structure(&'static str),
    /// The signature is not one of this key over these bytes under this name.
    #[error("the signature does not match")]
    Signature,
    /// Signed, but not the message it should be.
    #[error("signed, but not a valid message")]
    Payload(#[source] WireError),
    /// The key could not sign.
    #[error("could not sign: {0}")]
    Signer(String),
}

/// A key that signs: ES256, the 64-byte form (r and s, each padded to 32 bytes).
pub trait Signer {
    /// Signs `message`.
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String>;
}

/// A P-256 public key as the 65-byte uncompressed point (SEC 1, section 2.3.3).
/// On the wire: a byte string.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "Bytes", into = "Bytes")]
pub struct PublicKey([u8; 65]);

impl TryFrom<Bytes> for PublicKey {
    type Error = &'static str;
    fn try_from(bytes: Bytes) -> Result<Self, Self::Error> {
        PublicKey::from_point(&bytes.0).ok_or("not an uncompressed P-256 point")
    }
}

impl From<PublicKey> for Bytes {
    fn from(key: PublicKey) -> Bytes {
        Bytes(key.0.to_vec())
    }
}

impl PublicKey {
    /// Takes an uncompressed point; `None` when the length or the first byte is another's.
    pub fn from_point(point: &[u8]) -> Option<Self> {
        let point: [u8; 65] = point.try_into().ok()?;
        (point[0] == 4).then_some(PublicKey(point))
    }

    /// The uncompressed point.
    pub fn point(&self) -> &[u8] {
        &self.0
    }

    /// The key as a `SubjectPublicKeyInfo` (DER; RFC 5480, section 2).
    pub fn spki(&self) -> Vec<u8> {
        [SPKI_P256, self.0.as_slice()].concat()
    }

    /// From a `SubjectPublicKeyInfo`; `None` when it is not a P-256 key with an uncompressed point.
    pub fn from_spki(spki: &[u8]) -> Option<Self> {
        PublicKey::from_point(spki.strip_prefix(SPKI_P256)?)
    }

    /// What two people compare, one at the box and one at the console: the first 64 bits of the SHA-256 over the
    /// `SubjectPublicKeyInfo`, as hex in groups of four. `openssl pkey -pubout -outform DER | sha256sum` begins
    /// with the same digits.
    pub fn fingerprint(&self) -> String {
        let digest = ring::digest::digest(&ring::digest::SHA256, &self.spki());
        let groups: Vec<String> = digest
            .as_ref()
            .chunks(2)
            .take(4)
            .map(|pair| {
                format!(
                    "{:04x}",
                    pair.iter().fold(0u16, |word, b| word << 8 | u16::from(*b))
                )
            })
            .collect();
        groups.join("-")
    }
}

/// What stands before the point in the `SubjectPublicKeyInfo` of a P-256 key (RFC 5480, section 2).
pub(crate) const SPKI_P256: &[u8] = &[
    0x30, 0x59, 0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86,
    0x48, 0xce, 0x3d, 0x03, 0x01, 0x07, 0x03, 0x42, 0x00,
];

/// Bytes that look signed. Nothing in them may be believed yet.
#[derive(Debug, Clone)]
pub struct Signed<T> {
    cose: CoseSign1,
    message: PhantomData<T>,
}

/// A message whose signature was checked: [`Signed::verify`] is its only maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified<T>(T);

impl<T> Verified<T> {
    /// The message.
    pub fn get(&self) -> &T {
        &self.0
    }

    /// The message, giving up the proof.
    pub fn into_inner(self) -> T {
        self.0
    }

    /// What can be read from something that was signed was signed too.
    pub(crate) fn try_map<U, E>(&self, read: impl FnOnce(&T) -> Result<U, E>) -> Result<Verified<U>, E> {
        read(&self.0).map(Verified)
    }
}

impl<T: Message> Signed<T> {
    /// Takes apart the outer structure. At most [`Message::MAX`] + [`OVERHEAD`] bytes.
    pub fn parse(bytes: &[u8]) -> Result<Self, SignedError> {
        let max = T::MAX + OVERHEAD;
        if bytes.len() > max {
            return Err(SignedError::TooLong {
                got: bytes.len(),
                max,
            });
        }
        let cose = CoseSign1::from_slice(bytes).map_err(|_| SignedError::Structure("not a COSE_Sign1"))?;
        if cose.protected.header.alg != header().alg {
            return Err(SignedError::Structure("the algorithm is not ES256"));
        }
        if cose.protected.header != header() || !cose.unprotected.is_empty() {
            return Err(SignedError::Structure("a header that we do not use"));
        }
        if cose.payload.is_none() {
            return Err(SignedError::Structure("no payload"));
        }
        Ok(Signed {
            cose,
            message: PhantomData,
        })
    }

    /// Checks the signature, then reads the message.
    pub fn verify(&self, key: &PublicKey) -> Result<Verified<T>, SignedError> {
        self.cose
            .verify_signature(T::NAME.as_bytes(), |signature, data| es256(key, data, signature))?;
        let payload = self.cose.payload.as_deref().unwrap_or_default();
        let message: T = wire::decode(payload, T::MAX).map_err(SignedError::Payload)?;
        message
            .check()
            .map_err(|rule| SignedError::Payload(WireError::Rule(rule)))?;
        Ok(Verified(message))
    }

    /// Reads the message without checking the signature: for bytes that were verified before they were stored.
    pub fn unverified(&self) -> Result<T, SignedError> {
        let payload = self.cose.payload.as_deref().unwrap_or_default();
        wire::decode(payload, T::MAX).map_err(SignedError::Payload)
    }

    /// Signs `message`; gives the bytes that travel.
    pub fn seal(message: &T, signer: &dyn Signer) -> Result<Vec<u8>, SignedError> {
        message
            .check()
            .map_err(|rule| SignedError::Payload(WireError::Rule(rule)))?;
        let payload = wire::encode(message, T::MAX).map_err(SignedError::Payload)?;
        let cose = CoseSign1Builder::new()
            .protected(header())
            .payload(payload)
            .try_create_signature(T::NAME.as_bytes(), |data| signer.sign(data).map(|s| s.to_vec()))
            .map_err(SignedError::Signer)?
            .build();
        cose.to_vec()
            .map_err(|_| SignedError::Structure("could not be encoded"))
    }
}

fn es256(key: &PublicKey, data: &[u8], signature: &[u8]) -> Result<(), SignedError> {
    let key = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point());
    key.verify(data, signature).map_err(|_| SignedError::Signature)
}

/// The only header that we write and read.
fn header() -> Header {
    HeaderBuilder::new().algorithm(iana::Algorithm::ES256).build()
}
