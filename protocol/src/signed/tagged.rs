//! The standard form of something signed, for what others than our own programs read: a tagged `COSE_Sign1`.
//!
//! What is required: tag 18, ES256 in the *protected* header, a payload, no critical header. What else stands in the
//! headers is given back for the caller to judge. Source: RFC 9052, sections 2, 3 and 4.2.

use coset::{CoseSign1, CoseSign1Builder, Header, TaggedCborSerializable, iana};

use super::{PublicKey, SignedError, Signer, Verified, es256};

/// A signed structure that can be read, and proves nothing yet.
#[derive(Debug, Clone)]
pub struct Tagged(CoseSign1);

impl Tagged {
    /// Takes apart at most `max` bytes; nothing may follow the structure, and no header may stand twice.
    pub fn parse(bytes: &[u8], max: usize) -> Result<Tagged, SignedError> {
        if bytes.len() > max {
            return Err(SignedError::TooLong {
                got: bytes.len(),
                max,
            });
        }
        let cose = CoseSign1::from_tagged_slice(bytes)
            .map_err(|_| SignedError::Structure("not a COSE_Sign1 with tag 18"))?;
        let protected = &cose.protected.header;
        if protected.alg != Some(coset::Algorithm::Assigned(iana::Algorithm::ES256)) {
            return Err(SignedError::Structure("the protected algorithm is not ES256"));
        }
        if !protected.crit.is_empty() || !cose.unprotected.crit.is_empty() {
            return Err(SignedError::Structure("a critical header that nobody here knows"));
        }
        if cose.payload.is_none() {
            return Err(SignedError::Structure("no payload"));
        }
        Ok(Tagged(cose))
    }

    /// The protected header.
    pub fn header(&self) -> &Header {
        &self.0.protected.header
    }

    /// Whether the unprotected header holds anything.
    pub fn says_unprotected(&self) -> bool {
        !self.0.unprotected.is_empty()
    }

    /// Checks the signature over headers, `external` data and payload; gives the payload.
    pub fn verify(self, key: &PublicKey, external: &[u8]) -> Result<Verified<Vec<u8>>, SignedError> {
        self.0
            .verify_signature(external, |signature, data| es256(key, data, signature))?;
        Ok(Verified(self.0.payload.unwrap_or_default()))
    }

    /// Signs `payload` under `protected`, to which ES256 is added; gives the bytes that travel.
    pub fn seal(payload: Vec<u8>, protected: Header, signer: &dyn Signer) -> Result<Vec<u8>, SignedError> {
        let mut header = protected;
        header.alg = Some(coset::Algorithm::Assigned(iana::Algorithm::ES256));
        let cose = CoseSign1Builder::new()
            .protected(header)
            .payload(payload)
            .try_create_signature(&[], |data| signer.sign(data).map(|s| s.to_vec()))
            .map_err(SignedError::Signer)?
            .build();
        cose.to_tagged_vec()
            .map_err(|_| SignedError::Structure("could not be encoded"))
    }
}

/// The SHA-256 thumbprint of a key as a `COSE_Key` (RFC 9679, section 3.2: the required parameters, in deterministic
/// form: kty EC2, crv P-256, x, y).
pub fn thumbprint(key: &PublicKey) -> [u8; 32] {
    let point = key.point();
    let (x, y) = (
        point.get(1..33).unwrap_or_default(),
        point.get(33..65).unwrap_or_default(),
    );
    let parts: [&[u8]; 5] = [
        &[0xa4, 0x01, 0x02, 0x20, 0x01, 0x21, 0x58, 0x20],
        x,
        &[0x22, 0x58, 0x20],
        y,
        &[],
    ];
    let digest = ring::digest::digest(&ring::digest::SHA256, &parts.concat());
    digest.as_ref().try_into().unwrap_or_default()
}
