//! How a box proves its TPM before it asks for a certificate, on the enrolment listener.
//!
//! ```text
//! POST /.well-known/homeward/tpm         Hello  -> Challenge    what only this TPM opens
//! POST /.well-known/homeward/tpm/proof   Proof  -> Welcome      it was opened, and the key is in that TPM
//! POST /.well-known/est/simpleenroll     as ever, with the key that was proved
//! POST /.well-known/homeward/spare       a certificate for the time when the TPM does not answer
//! ```
//! Bodies are CBOR. `proof` carries the claim by HTTP Basic, unless the operator registered the TPM beforehand.
//!
//! # Design
//! The server keeps nothing between the two: what it hid can be computed again from its own key and the `made_ms` that
//! comes back. Nobody can fill its memory with challenges.

use serde::{Deserialize, Serialize};

use crate::attest::Tier;
use crate::id::GatewayId;
use crate::wire::Bytes;

/// Most bytes of a body: a certificate of a maker has up to 2 KiB.
pub const MAX_MESSAGE: usize = 12 * 1024;
/// How long a challenge may be answered, milliseconds: making the keys takes a slow chip half a minute.
pub const CHALLENGE_MS: i64 = 5 * 60_000;
/// Where a challenge is asked for.
pub const CHALLENGE_PATH: &str = "/.well-known/homeward/tpm";
/// Where it is answered.
pub const PROOF_PATH: &str = "/.well-known/homeward/tpm/proof";
/// Where a certificate over the spare key is asked for, by the certificate of the key in the TPM: a request and an answer
/// as for `simplereenroll` (RFC 7030, section 4.2.2).
pub const SPARE_PATH: &str = "/.well-known/homeward/spare";
/// The content type of the first two.
pub const CONTENT_TYPE: &str = "application/cbor";

/// Who the TPM is, and which key of it is to vouch for the others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hello {
    /// The endorsement key's public area.
    pub endorsement: Bytes,
    /// Its maker's certificate (DER), when it has one.
    pub certificate: Option<Bytes>,
    /// The attestation key's public area.
    pub attestation: Bytes,
}

/// What only the TPM of the endorsement key can open, and only for the attestation key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Challenge {
    /// When it was made, milliseconds since 1970 by the server's clock; comes back in the proof.
    pub made_ms: i64,
    /// `TPMS_ID_OBJECT`.
    pub object: Bytes,
    /// `TPM2B_ENCRYPTED_SECRET`, without its length.
    pub secret: Bytes,
    /// 32 bytes that the certification of the key has to cover.
    pub extra: Bytes,
}

/// That both keys are in one TPM, and the key of the certificate too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// As it was said.
    pub hello: Hello,
    /// Of the challenge.
    pub made_ms: i64,
    /// What the TPM opened.
    pub opened: Bytes,
    /// The public area of the key that the certificate is to be for.
    pub key: Bytes,
    /// Its certification by the attestation key (`TPMS_ATTEST`).
    pub statement: Bytes,
    /// The signature of that (`TPMT_SIGNATURE`).
    pub signature: Bytes,
}

/// What the proof led to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Welcome {
    /// As which gateway.
    pub gateway: GatewayId,
    /// What the certificate will say.
    pub tier: Tier,
}
