//! What answers a challenge: the signed claims, and beside them what a TPM says, where there is one.
//!
//! A collection of conceptual messages (CMW): a CBOR map from labels to `[media type, bytes]`. `eat` is the token of
//! [`super::Evidence`]; `tpm` is a [`TpmPart`]. Nothing in it is believed before it is verified; the TPM's part covers
//! the token through the quote's `extraData`, SHA-256(nonce ‖ SHA-256(payload of the token)).
//!
//! Source: RFC 9999 (Conceptual Message Wrapper), sections 3.1 and 3.3.

use coset::cbor::Value;
use serde::{Deserialize, Serialize};

use crate::wire::{self, Bytes, WireError};

/// Most bytes of a bundle: with topic and header it stays below the gate's packet limit of 64 KiB.
pub const MAX_BUNDLE: usize = 60 * 1024;
/// Most bytes of the TPM's part.
pub const MAX_TPM: usize = 50 * 1024;
/// Most bytes of a log that travel at once: the rest follows with the next challenge.
pub const MAX_TAIL: usize = 40 * 1024;

const EAT: (&str, &str) = ("eat", "application/eat+cwt");
const TPM: (&str, &str) = ("tpm", "application/vnd.homeward.tpm-evidence+cbor");

/// One register as the TPM read it out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Register {
    /// The TPM's number of the bank's hash.
    pub bank: u16,
    /// Which register.
    pub index: u8,
    /// What it holds.
    pub value: Bytes,
}

/// A log from some point on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tail {
    /// Where it begins: bytes of the firmware's log, entries of the kernel's.
    pub from: u32,
    /// How much there is in all, in the same unit, when the log was read.
    pub whole: u32,
    /// The bytes; at most [`MAX_TAIL`] for both logs together.
    pub bytes: Bytes,
}

/// What a TPM says of this boot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TpmPart {
    /// The quote: a `TPMS_ATTEST`.
    pub attest: Bytes,
    /// Its signature by the attestation key: a `TPMT_SIGNATURE`.
    pub signature: Bytes,
    /// The registers that it covers, in the order of the quote's selection.
    pub registers: Vec<Register>,
    /// The firmware's log since what the server holds.
    pub log: Option<Tail>,
    /// The kernel's log (IMA) since what the server holds.
    pub ima: Option<Tail>,
}

/// What answers a challenge.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// The signed claims, as they travel.
    pub token: Vec<u8>,
    /// What the TPM says.
    pub tpm: Option<TpmPart>,
}

impl Bundle {
    /// The bytes that travel.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        let message = |kind: &str, bytes: Vec<u8>| Value::Array(vec![kind.into(), Value::Bytes(bytes)]);
        let mut parts = vec![(EAT.0.into(), message(EAT.1, self.token.clone()))];
        if let Some(tpm) = &self.tpm {
            parts.push((TPM.0.into(), message(TPM.1, wire::encode(tpm, MAX_TPM)?)));
        }
        let mut bytes = Vec::new();
        coset::cbor::into_writer(&Value::Map(parts), &mut bytes)
            .map_err(|_| WireError::Rule("a bundle that cannot be written"))?;
        if bytes.len() > MAX_BUNDLE {
            return Err(WireError::TooLong {
                got: bytes.len(),
                max: MAX_BUNDLE,
            });
        }
        Ok(bytes)
    }

    /// Reads one. What is in it proves nothing yet.
    pub fn decode(bytes: &[u8]) -> Result<Bundle, WireError> {
        if bytes.len() > MAX_BUNDLE {
            return Err(WireError::TooLong {
                got: bytes.len(),
                max: MAX_BUNDLE,
            });
        }
        let mut rest = bytes;
        let value: Value =
            coset::cbor::from_reader(&mut rest).map_err(|_| WireError::Rule("a bundle that is not CBOR"))?;
        let Value::Map(parts) = value else {
            return Err(WireError::Rule("a bundle that is not a map"));
        };
        if !rest.is_empty() {
            return Err(WireError::Rule("bytes behind the bundle"));
        }
        let (mut token, mut tpm) = (None, None);
        for (label, message) in parts {
            let slot = match label.as_text() {
                Some(label) if label == EAT.0 => (&mut token, EAT.1),
                Some(label) if label == TPM.0 => (&mut tpm, TPM.1),
                _ => return Err(WireError::Rule("a part of a bundle that is not known here")),
            };
            if slot.0.replace(content(message, slot.1)?).is_some() {
                return Err(WireError::Rule("a part that stands twice in a bundle"));
            }
        }
        Ok(Bundle {
            token: token.ok_or(WireError::Rule("a bundle without claims"))?,
            tpm: tpm.map(|bytes| wire::decode(&bytes, MAX_TPM)).transpose()?,
        })
    }
}

fn content(message: Value, kind: &str) -> Result<Vec<u8>, WireError> {
    let wrong = WireError::Rule("a part of a bundle that is not of its type");
    let Value::Array(pair) = message else {
        return Err(wrong);
    };
    match <[Value; 2]>::try_from(pair) {
        Ok([Value::Text(said), Value::Bytes(bytes)]) if said == kind => Ok(bytes),
        _ => Err(wrong),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part() -> TpmPart {
        TpmPart {
            attest: Bytes(vec![1; 129]),
            signature: Bytes(vec![2; 72]),
            registers: vec![Register {
                bank: 0x000b,
                index: 7,
                value: Bytes(vec![3; 32]),
            }],
            log: Some(Tail {
                from: 0,
                whole: 70_000,
                bytes: Bytes(vec![4; MAX_TAIL]),
            }),
            ima: None,
        }
    }

    #[test]
    fn a_bundle_reads_back_with_and_without_a_tpm_and_nothing_else_does() {
        for tpm in [None, Some(part())] {
            let bundle = Bundle {
                token: vec![9; 300],
                tpm,
            };
            let bytes = bundle.encode().expect("fits");
            assert_eq!(Bundle::decode(&bytes).expect("reads"), bundle);
            let mut longer = bytes.clone();
            longer.push(0);
            assert!(Bundle::decode(&longer).is_err());
            assert!((0..bytes.len()).all(|end| Bundle::decode(&bytes[..end]).is_err()));
        }
    }

    #[test]
    fn what_is_too_long_is_not_made() {
        let mut long = part();
        long.ima = Some(Tail {
            from: 0,
            whole: 1,
            bytes: Bytes(vec![5; 16 * 1024]),
        });
        let bundle = Bundle {
            token: vec![9; 300],
            tpm: Some(long),
        };
        assert!(matches!(bundle.encode(), Err(WireError::TooLong { .. })));
        assert!(matches!(
            Bundle::decode(&vec![0; MAX_BUNDLE + 1]),
            Err(WireError::TooLong { .. })
        ));
    }
}
