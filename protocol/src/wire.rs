//! Strict CBOR: how every message of ours is read and written.

use serde::Serialize;
use serde::de::DeserializeOwned;

/// Why bytes are not a message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than this message may be.
    #[error("{got} bytes where at most {max} are allowed")]
    TooLong {
        /// Bytes given.
        got: usize,
        /// Most bytes.
        max: usize,
    },
    /// Not the CBOR of this message.
    #[error("not a well-formed message")]
    Malformed(#[source] serde_cbor::Error),
    /// Well formed, but against a rule of the message.
    #[error("{0}")]
    Rule(&'static str),
    /// A value of ours could not be written.
    #[error("could not encode the message")]
    Encode(#[source] serde_cbor::Error),
}

/// Reads one message: at most `max` bytes, nothing after it.
pub fn decode<T: DeserializeOwned>(bytes: &[u8], max: usize) -> Result<T, WireError> {
    if bytes.len() > max {
        return Err(WireError::TooLong {
            got: bytes.len(),
            max,
        });
    }
    serde_cbor::from_slice(bytes).map_err(WireError::Malformed)
}

/// Writes one message, refusing to make one longer than `max` bytes.
pub fn encode<T: Serialize>(value: &T, max: usize) -> Result<Vec<u8>, WireError> {
    let bytes = serde_cbor::to_vec(value).map_err(WireError::Encode)?;
    if bytes.len() > max {
        Err(WireError::TooLong {
            got: bytes.len(),
            max,
        })
    } else {
        Ok(bytes)
    }
}

/// A byte string that serde writes as CBOR bytes, not as a list of numbers.
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Bytes(pub Vec<u8>);

impl std::fmt::Debug for Bytes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Bytes({} bytes)", self.0.len())
    }
}

impl Serialize for Bytes {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(&self.0)
    }
}

impl<'de> serde::Deserialize<'de> for Bytes {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl serde::de::Visitor<'_> for Visitor {
            type Value = Bytes;
            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("a byte string")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Bytes, E> {
                Ok(Bytes(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Bytes, E> {
                Ok(Bytes(bytes))
            }
        }
        from.deserialize_byte_buf(Visitor)
    }
}
