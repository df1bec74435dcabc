//! Certifications: a key that a TPM vouches for as its own.

use super::public::{AttestationKey, Public, attribute};
use super::statement::{Body, Clock, StatementError, signed_by};
use super::{FormError, alg};
use crate::signed::PublicKey;

/// A TLS key that cannot be copied off its TPM: [`check`] is its only maker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certified {
    key: PublicKey,
    clock: Clock,
}

impl Certified {
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.key
    }

    /// The TPM's time when it was certified.
    pub fn clock(&self) -> Clock {
        self.clock
    }
}

/// Checks that `statement`, by `key` over `extra`, certifies the object with the area `public`, and that this object
/// is a P-256 key that signs and cannot leave its TPM. Never panics.
pub fn check(
    key: &AttestationKey,
    public: &Public,
    statement: &[u8],
    signature: &[u8],
    extra: &[u8; 32],
) -> Result<Certified, StatementError> {
    let statement = signed_by(key, statement, signature, extra)?;
    let Body::Certify { name } = statement.body else {
        return Err(StatementError::OtherKind);
    };
    if name != public.name().as_bytes() {
        return Err(StatementError::OtherObject);
    }
    Ok(Certified {
        key: bound(public)?,
        clock: statement.clock,
    })
}

fn bound(public: &Public) -> Result<PublicKey, FormError> {
    use attribute::{DECRYPT, FIXED_PARENT, FIXED_TPM, SENSITIVE_DATA_ORIGIN, SIGN};
    if !public.has(FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN) {
        return Err(FormError::Rule("a key that could leave its TPM"));
    }
    if !public.has(SIGN)
        || public.attributes & DECRYPT != 0
        || public.scheme != Some((alg::ECDSA, alg::SHA256))
    {
        return Err(FormError::Rule(
            "a key for another use than signing by ECDSA with SHA-256",
        ));
    }
    public
        .p256()
        .ok_or(FormError::Rule("a key on another curve than P-256"))
}
