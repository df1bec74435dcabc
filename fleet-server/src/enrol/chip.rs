//! Whether a box has proved its TPM: that endorsement key, attestation key and the certificate's key are in one chip.
//!
//! Decides only; [`credential`](super::credential) wraps what this hides.
//!
//! # Design
//! What is hidden in a challenge is computed from the server's own key, the two keys of the box and the time. So nothing
//! is kept between challenge and proof, and a proof for another pair of keys or another time opens nothing. A proof that
//! comes twice within its five minutes says the same thing twice.
//!
//! The endorsement key names a chip for life. Beyond this point only a hash of it goes, keyed so that it cannot be
//! compared with anybody else's list.

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::tpm::enrol::{CHALLENGE_MS, Hello, Proof};
use homeward_protocol::tpm::statement::StatementError;
use homeward_protocol::tpm::{AttestationKey, EndorsementKey, FormError, Public, certify};
use ring::hmac;

/// Why a TPM was not believed. `Display` says what to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ChipError {
    /// One of its keys is not what it must be.
    #[error("the TPM's keys cannot be used: {0}")]
    Keys(#[from] FormError),
    /// Its certificate is another key's.
    #[error("the TPM's certificate is for another key than its endorsement key")]
    Certificate,
    /// The challenge is over, or from the future.
    #[error("the challenge was not answered within five minutes: enrol again")]
    Late,
    /// It was not opened.
    #[error("the TPM did not open the challenge: its keys are not in one chip")]
    NotOpened,
    /// The key's certification does not hold.
    #[error("the TPM's certification of the key does not hold: {0}")]
    Certification(StatementError),
}

/// A TPM's keys, each of the right form. Whether they are in one chip is not known yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// Names the chip.
    pub endorsement: EndorsementKey,
    /// Vouches for the others.
    pub attestation: AttestationKey,
}

/// What a box proved.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Proved {
    /// The key that cannot leave the chip.
    pub key: PublicKey,
    /// The chip, by the hash that is kept.
    pub chip: ChipId,
    /// What vouches for it from now on.
    pub attestation: AttestationKey,
}

/// A chip, as it is kept: a keyed hash of its endorsement key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct ChipId(pub [u8; 32]);

/// The server's key for everything here. It has no `Debug`.
pub struct ChipKey(hmac::Key);

impl ChipKey {
    /// From 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> ChipKey {
        ChipKey(hmac::Key::new(hmac::HMAC_SHA256, bytes))
    }

    /// The hash of a chip whose endorsement key hashes to this ([`EndorsementKey::hash`]).
    pub fn chip(&self, endorsement: &[u8; 32]) -> ChipId {
        ChipId(self.tag("chip", &[endorsement]))
    }

    /// What a challenge made at `made_ms` hides.
    pub fn secret(&self, shown: &Shown, made_ms: i64) -> [u8; 32] {
        self.tag("secret", &shown.parts(&made_ms.to_be_bytes()))
    }

    /// What the certification for it has to cover.
    pub fn extra(&self, shown: &Shown, made_ms: i64) -> [u8; 32] {
        self.tag("extra", &shown.parts(&made_ms.to_be_bytes()))
    }

    fn tag(&self, what: &str, parts: &[&[u8]]) -> [u8; 32] {
        let mut ctx = hmac::Context::with_key(&self.0);
        for part in std::iter::once(&what.as_bytes()).chain(parts) {
            ctx.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
            ctx.update(part);
        }
        let mut out = [0; 32];
        out.copy_from_slice(ctx.sign().as_ref());
        out
    }
}

impl Shown {
    /// Reads the keys of a TPM and checks their form; a certificate beside them must be for the endorsement key.
    pub fn read(hello: &Hello) -> Result<Shown, ChipError> {
        let endorsement = EndorsementKey::check(Public::parse(&hello.endorsement.0)?)?;
        let attestation = AttestationKey::check(Public::parse(&hello.attestation.0)?)?;
        if let Some(certificate) = &hello.certificate {
            let parsed = x509_parser::parse_x509_certificate(&certificate.0);
            let fits = parsed.is_ok_and(|(_, c)| c.public_key().raw == endorsement.public().spki());
            if !fits {
                return Err(ChipError::Certificate);
            }
        }
        Ok(Shown {
            endorsement,
            attestation,
        })
    }

    fn parts<'a>(&'a self, made: &'a [u8; 8]) -> [&'a [u8]; 3] {
        [
            self.endorsement.public().as_bytes(),
            self.attestation.public().as_bytes(),
            made,
        ]
    }
}

/// Judges a proof.
pub fn prove(key: &ChipKey, proof: &Proof, now: Timestamp) -> Result<Proved, ChipError> {
    let shown = Shown::read(&proof.hello)?;
    if !(0..=CHALLENGE_MS).contains(&now.ms.saturating_sub(proof.made_ms)) {
        return Err(ChipError::Late);
    }
    let opened: &[u8] = &proof.opened.0;
    if !opened
        .try_into()
        .is_ok_and(|opened| super::same(&key.secret(&shown, proof.made_ms), opened))
    {
        return Err(ChipError::NotOpened);
    }
    let public = Public::parse(&proof.key.0)?;
    let extra = key.extra(&shown, proof.made_ms);
    let (statement, signature) = (&proof.statement.0, &proof.signature.0);
    let certified = certify::check(&shown.attestation, &public, statement, signature, &extra);
    let certified = certified.map_err(ChipError::Certification)?;
    Ok(Proved {
        key: certified.key().clone(),
        chip: key.chip(&shown.endorsement.hash()),
        attestation: shown.attestation,
    })
}

/// A chip that a gateway's key was proved to be in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chip {
    /// Whose.
    pub gateway: GatewayId,
    /// The key of its certificates.
    pub key: PublicKey,
    /// The chip.
    pub chip: ChipId,
    /// What vouches for it.
    pub attestation: AttestationKey,
    /// Whether a known maker vouches for the chip.
    pub vouched: bool,
    /// When it was proved.
    pub proved_at: Timestamp,
}

#[cfg(test)]
mod tests;
