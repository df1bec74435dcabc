//! Public areas of keys (`TPMT_PUBLIC`): what kind a key is, what it may be used for, and its name.
//!
//! Source: TPM 2.0 Library, part 2, sections 8.3 (attributes), 11.2.4 and 12.2.4 (`TPMT_PUBLIC`).

use std::fmt;

use super::{FormError, MAX_STRUCTURE, Name, Reader, alg, hash};
use crate::signed::PublicKey;

/// Most bytes of one number of an RSA key that is taken: 4096 bits.
const MAX_RSA: usize = 512;
/// Most bytes of a coordinate: P-384 is the longest curve that is taken.
const MAX_COORDINATE: usize = 48;
/// The exponent that an RSA key has when its area says 0.
const USUAL_EXPONENT: u32 = 65_537;

/// Attributes of an object, by their bits.
pub mod attribute {
    /// It cannot leave its TPM.
    pub const FIXED_TPM: u32 = 1 << 1;
    /// It cannot be moved under another parent.
    pub const FIXED_PARENT: u32 = 1 << 4;
    /// Its TPM made it.
    pub const SENSITIVE_DATA_ORIGIN: u32 = 1 << 5;
    /// A password, here the empty one, is enough for its use.
    pub const USER_WITH_AUTH: u32 = 1 << 6;
    /// Wrong passwords do not count against it. Without it, a power cut does.
    pub const NO_DA: u32 = 1 << 10;
    /// It signs only what its TPM made, or it decrypts only what its TPM understands.
    pub const RESTRICTED: u32 = 1 << 16;
    /// It decrypts.
    pub const DECRYPT: u32 = 1 << 17;
    /// It signs.
    pub const SIGN: u32 = 1 << 18;
}

/// What a key is, with its public numbers.
#[derive(Clone, PartialEq, Eq)]
pub enum Kind {
    /// RSA.
    Rsa {
        /// Length of the modulus.
        bits: u16,
        /// The public exponent.
        exponent: u32,
        /// Big-endian, `bits / 8` bytes.
        modulus: Vec<u8>,
    },
    /// On an elliptic curve.
    Ecc {
        /// Which ([`alg::P256`], [`alg::P384`]).
        curve: u16,
        /// The uncompressed point (SEC 1, section 2.3.3), coordinates padded to the curve's length.
        point: Vec<u8>,
    },
}

/// A key's public area, read whole.
#[derive(Clone, PartialEq, Eq)]
pub struct Public {
    bytes: Vec<u8>,
    /// The hash of its name.
    pub name_alg: u16,
    /// What it may be used for ([`attribute`]).
    pub attributes: u32,
    /// Its policy; empty for none.
    pub policy: Vec<u8>,
    /// How it protects its children: cipher and length in bits; none for keys that sign.
    pub symmetric: Option<(u16, u16)>,
    /// Its scheme and the hash of it; none when each use names one.
    pub scheme: Option<(u16, u16)>,
    /// What it is.
    pub kind: Kind,
}

impl fmt::Debug for Public {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = match self.kind {
            Kind::Rsa { .. } => "RSA",
            Kind::Ecc { .. } => "ECC",
        };
        write!(f, "Public({kind}, {:#010x})", self.attributes)
    }
}

impl Public {
    /// Reads an area without the length before it. Takes RSA of 2048 to 4096 bits, P-256 and P-384, with names by
    /// SHA-256 or SHA-384. Never panics.
    pub fn parse(bytes: &[u8]) -> Result<Public, FormError> {
        if bytes.len() > MAX_STRUCTURE {
            return Err(FormError::Length(WHAT));
        }
        let mut from = Reader::new(bytes, WHAT);
        let kind = from.u16()?;
        let name_alg = from.u16()?;
        let name_hash =
            hash(name_alg).ok_or(FormError::Rule("a name by another hash than SHA-256 and SHA-384"))?;
        let attributes = from.u32()?;
        let policy = from.sized(name_hash.output_len())?.to_vec();
        let symmetric = symmetric(&mut from)?;
        let scheme = scheme(&mut from)?;
        let kind = match kind {
            alg::RSA => rsa(&mut from)?,
            alg::ECC => ecc(&mut from)?,
            _ => return Err(FormError::Rule("neither an RSA nor an ECC key")),
        };
        from.end()?;
        Ok(Public {
            bytes: bytes.to_vec(),
            name_alg,
            attributes,
            policy,
            symmetric,
            scheme,
            kind,
        })
    }

    /// The area as it was read.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Its name: the hash's number, then the hash over the area.
    pub fn name(&self) -> Name {
        let algorithm = hash(self.name_alg).unwrap_or(&ring::digest::SHA256);
        let digest = ring::digest::digest(algorithm, &self.bytes);
        Name([&self.name_alg.to_be_bytes(), digest.as_ref()].concat())
    }

    /// Whether all of these attributes are set.
    pub fn has(&self, attributes: u32) -> bool {
        self.attributes & attributes == attributes
    }

    /// The key, when it is on P-256.
    pub fn p256(&self) -> Option<PublicKey> {
        match &self.kind {
            Kind::Ecc {
                curve: alg::P256,
                point,
            } => PublicKey::from_point(point),
            _ => None,
        }
    }

    /// The key as a `SubjectPublicKeyInfo` (DER; RFC 3279 section 2.3.1, RFC 5480 section 2), as certificates hold it.
    pub fn spki(&self) -> Vec<u8> {
        match &self.kind {
            Kind::Rsa {
                exponent, modulus, ..
            } => {
                let exponent = exponent.to_be_bytes();
                let key = der(0x30, &[integer(modulus), integer(&exponent)].concat());
                let bits = der(0x03, &[&[0], key.as_slice()].concat());
                der(0x30, &[RSA_ENCRYPTION, bits.as_slice()].concat())
            }
            Kind::Ecc { curve, point } => {
                let algorithm = if *curve == alg::P384 { EC_P384 } else { EC_P256 };
                let bits = der(0x03, &[&[0], point.as_slice()].concat());
                der(0x30, &[algorithm, bits.as_slice()].concat())
            }
        }
    }
}

const WHAT: &str = "a public area";
/// `AlgorithmIdentifier` of rsaEncryption, with its NULL.
const RSA_ENCRYPTION: &[u8] = &[
    0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00,
];
/// `AlgorithmIdentifier` of a key on P-256.
const EC_P256: &[u8] = &[
    0x30, 0x13, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x08, 0x2a, 0x86, 0x48, 0xce,
    0x3d, 0x03, 0x01, 0x07,
];
/// `AlgorithmIdentifier` of a key on P-384.
const EC_P384: &[u8] = &[
    0x30, 0x10, 0x06, 0x07, 0x2a, 0x86, 0x48, 0xce, 0x3d, 0x02, 0x01, 0x06, 0x05, 0x2b, 0x81, 0x04, 0x00,
    0x22,
];

fn symmetric(from: &mut Reader<'_>) -> Result<Option<(u16, u16)>, FormError> {
    match from.u16()? {
        alg::NULL => Ok(None),
        alg::AES => {
            let bits = from.u16()?;
            match from.u16()? {
                alg::CFB => Ok(Some((alg::AES, bits))),
                _ => Err(FormError::Rule("another mode than CFB")),
            }
        }
        _ => Err(FormError::Rule("another cipher than AES")),
    }
}

fn scheme(from: &mut Reader<'_>) -> Result<Option<(u16, u16)>, FormError> {
    match from.u16()? {
        alg::NULL => Ok(None),
        alg::ECDSA => Ok(Some((alg::ECDSA, from.u16()?))),
        _ => Err(FormError::Rule("another scheme than ECDSA")),
    }
}

fn rsa(from: &mut Reader<'_>) -> Result<Kind, FormError> {
    let bits = from.u16()?;
    let exponent = match from.u32()? {
        0 => USUAL_EXPONENT,
        other => other,
    };
    let modulus = from.sized(MAX_RSA)?;
    let whole = usize::from(bits) == modulus.len() * 8 && modulus.first().is_some_and(|b| b & 0x80 != 0);
    let odd = modulus.last().is_some_and(|b| b & 1 == 1);
    if exponent != USUAL_EXPONENT || !matches!(bits, 2048 | 3072 | 4096) || !whole || !odd {
        return Err(FormError::Rule(
            "an RSA key of another length or exponent than TPMs have",
        ));
    }
    Ok(Kind::Rsa {
        bits,
        exponent,
        modulus: modulus.to_vec(),
    })
}

fn ecc(from: &mut Reader<'_>) -> Result<Kind, FormError> {
    let curve = from.u16()?;
    let length = match curve {
        alg::P256 => 32,
        alg::P384 => 48,
        _ => return Err(FormError::Rule("another curve than P-256 and P-384")),
    };
    if from.u16()? != alg::NULL {
        return Err(FormError::Rule("a key derivation scheme where there is none"));
    }
    let mut point = vec![4];
    for _ in 0..2 {
        let coordinate = from.sized(MAX_COORDINATE)?;
        point.extend(padded(coordinate, length).ok_or(FormError::Length(WHAT))?);
    }
    Ok(Kind::Ecc { curve, point })
}

/// A number in `length` bytes. TPMs leave zeros in front away.
pub(super) fn padded(number: &[u8], length: usize) -> Option<Vec<u8>> {
    let zeros = length.checked_sub(number.len())?;
    Some([vec![0; zeros], number.to_vec()].concat())
}

/// An unsigned number as a DER INTEGER.
fn integer(number: &[u8]) -> Vec<u8> {
    let zeros = number.iter().take_while(|b| **b == 0).count();
    let mut content = number.get(zeros..).unwrap_or_default().to_vec();
    if content.first().is_none_or(|b| b & 0x80 != 0) {
        content.insert(0, 0);
    }
    der(0x02, &content)
}

fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = content.len().to_be_bytes();
    let used: Vec<u8> = length.into_iter().skip_while(|b| *b == 0).collect();
    let mut out = vec![tag];
    if content.len() < 128 {
        out.push(used.first().copied().unwrap_or(0));
    } else {
        out.push(0x80 | u8::try_from(used.len()).unwrap_or(0));
        out.extend(used);
    }
    out.extend(content);
    out
}

/// A key that may vouch for its TPM: restricted, so that what it signed as a statement is one that its TPM made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AttestationKey(Public);

impl AttestationKey {
    /// Checks that an area is one of a P-256 key that signs statements of its own TPM only, by ECDSA with SHA-256, and
    /// that cannot leave it.
    ///
    /// That the area is a TPM's at all is proved by activating a credential for its name under an endorsement key.
    pub fn check(public: Public) -> Result<AttestationKey, FormError> {
        use attribute::{DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN};
        if !public.has(FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN) {
            return Err(FormError::Rule("an attestation key that could leave its TPM"));
        }
        if !public.has(RESTRICTED | SIGN) || public.attributes & DECRYPT != 0 {
            return Err(FormError::Rule(
                "an attestation key that signs what anybody hands it",
            ));
        }
        if public.scheme != Some((alg::ECDSA, alg::SHA256)) || public.p256().is_none() {
            return Err(FormError::Rule(
                "an attestation key of another kind than ECDSA P-256 with SHA-256",
            ));
        }
        if public.name_alg != alg::SHA256 {
            return Err(FormError::Rule("an attestation key whose name is not by SHA-256"));
        }
        Ok(AttestationKey(public))
    }

    /// Its area.
    pub fn public(&self) -> &Public {
        &self.0
    }

    /// The key itself.
    pub(super) fn point(&self) -> Result<PublicKey, FormError> {
        self.0.p256().ok_or(FormError::Rule("not a P-256 key"))
    }
}

/// A key that names a TPM for life: only its TPM opens what is encrypted for it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EndorsementKey(Public);

impl EndorsementKey {
    /// Checks that an area has the form of an endorsement key: it decrypts for its own TPM only, and cannot leave it.
    ///
    /// Whether a TPM's maker vouches for it is for its certificate.
    pub fn check(public: Public) -> Result<EndorsementKey, FormError> {
        use attribute::{DECRYPT, FIXED_PARENT, FIXED_TPM, RESTRICTED, SENSITIVE_DATA_ORIGIN, SIGN};
        if !public.has(FIXED_TPM | FIXED_PARENT | SENSITIVE_DATA_ORIGIN) {
            return Err(FormError::Rule("an endorsement key that could leave its TPM"));
        }
        if !public.has(RESTRICTED | DECRYPT) || public.attributes & SIGN != 0 {
            return Err(FormError::Rule("an endorsement key that does more than decrypt"));
        }
        if !matches!(public.symmetric, Some((alg::AES, 128 | 256))) {
            return Err(FormError::Rule("an endorsement key with another cipher than AES"));
        }
        Ok(EndorsementKey(public))
    }

    /// Its area.
    pub fn public(&self) -> &Public {
        &self.0
    }

    /// [`EndorsementKey::hash`] as 64 hex digits.
    pub fn hash_hex(&self) -> String {
        use fmt::Write as _;
        self.hash().iter().fold(String::new(), |mut text, b| {
            // Writing to a string does not fail.
            let _ = write!(text, "{b:02x}");
            text
        })
    }

    /// SHA-256 over its `SubjectPublicKeyInfo`: what makers list, and what an operator can register beforehand.
    /// `openssl x509 -in EK.pem -noout -pubkey | openssl pkey -pubin -outform DER | sha256sum` prints the same.
    pub fn hash(&self) -> [u8; 32] {
        let mut out = [0; 32];
        out.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, &self.0.spki()).as_ref());
        out
    }
}
