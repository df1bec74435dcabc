//! Signatures as a TPM gives them (`TPMT_SIGNATURE`), ECDSA only.
//!
//! Source: TPM 2.0 Library, part 2, section 11.3.

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::public::padded;
use super::{FormError, Reader, alg};
use crate::signed::PublicKey;

/// An ECDSA signature with SHA-256 on P-256: r and s, each padded to 32 bytes.
///
/// TPMs leave zeros in front away: unpadded, one in 128 would fail.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ecdsa(pub [u8; 64]);

impl Ecdsa {
    /// Reads one; nothing may follow.
    pub fn parse(bytes: &[u8]) -> Result<Ecdsa, FormError> {
        const WHAT: &str = "a signature";
        let mut from = Reader::new(bytes, WHAT);
        if from.u16()? != alg::ECDSA || from.u16()? != alg::SHA256 {
            return Err(FormError::Rule(
                "a signature of another kind than ECDSA with SHA-256",
            ));
        }
        let mut both = Vec::with_capacity(64);
        for _ in 0..2 {
            both.extend(padded(from.sized(32)?, 32).ok_or(FormError::Length(WHAT))?);
        }
        from.end()?;
        both.try_into().map(Ecdsa).map_err(|_| FormError::Length(WHAT))
    }

    /// Whether it is `key`'s over `message`.
    pub fn is_of(&self, key: &PublicKey, message: &[u8]) -> bool {
        UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, key.point())
            .verify(message, &self.0)
            .is_ok()
    }

    /// As TLS and certificates have it (RFC 3279, section 2.2.3).
    pub fn der(&self) -> Vec<u8> {
        let half = |half: &[u8]| {
            let zeros = half.iter().take_while(|b| **b == 0).count().min(31);
            let mut number = half.get(zeros..).unwrap_or_default().to_vec();
            if number.first().is_some_and(|b| b & 0x80 != 0) {
                number.insert(0, 0);
            }
            [&[2, u8::try_from(number.len()).unwrap_or(0)], number.as_slice()].concat()
        };
        let (r, s) = self.0.split_at(32);
        let both = [half(r), half(s)].concat();
        [&[0x30, u8::try_from(both.len()).unwrap_or(0)], both.as_slice()].concat()
    }
}

impl std::fmt::Debug for Ecdsa {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Ecdsa")
    }
}
