//! Shell: credentials that only one TPM can open, and only for one key in it (`TPM2_MakeCredential`, in software).
//!
//! The secret is encrypted for the endorsement key and bound to the attestation key's name: whoever gives it back has
//! both in one chip.
//!
//! # Design
//! RSA and AES-CFB are here in a few lines each, over `num-bigint` and `aes`: ring has neither, the `rsa` crate stands
//! under an advisory for its private-key half (RUSTSEC-2023-0071), and nothing here ever has a private RSA key.
//!
//! Source: TCG TPM 2.0 Library, part 1, section 24 (credential protection), annexes B.4 (OAEP) and C.6 (ECDH);
//! key derivation: section 11.4.10; OAEP: RFC 8017, section 7.1.1.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: random bytes and keys that are used once"
)]

use aes::cipher::{BlockEncrypt, KeyInit};
use aes::{Aes128, Aes256};
use homeward_protocol::tpm::{EndorsementKey, Kind, Name, Public, Reader, Writer, alg};
use num_bigint::BigUint;
use ring::rand::{SecureRandom, SystemRandom};
use ring::{agreement, digest, hmac};

/// What a TPM is given to open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    /// `TPMS_ID_OBJECT`: the check, and the secret as it is encrypted.
    pub object: Vec<u8>,
    /// `TPM2B_ENCRYPTED_SECRET` without its length: what the endorsement key opens.
    pub secret: Vec<u8>,
}

/// Why there is no credential.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum CredentialError {
    /// The endorsement key is no point of its curve, or too short for its hash.
    #[error("the endorsement key cannot be used")]
    Key,
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// Wraps `secret` (at most 32 bytes) so that only the TPM of `endorsement` opens it, and only for the key `name`.
pub fn make(
    endorsement: &EndorsementKey,
    name: &Name,
    secret: &[u8; 32],
) -> Result<Credential, CredentialError> {
    let public = endorsement.public();
    let hash = Hash::of(public);
    let (seed, sent) = match &public.kind {
        Kind::Rsa {
            exponent, modulus, ..
        } => {
            let seed = random(hash.length())?;
            let sent = oaep(&hash, &seed, modulus, *exponent)?;
            (seed, sent)
        }
        Kind::Ecc { curve, point } => agree(&hash, *curve, point)?,
    };
    let bits = public.symmetric.map_or(128, |(_, bits)| bits);
    let key = hash.kdf_a(&seed, b"STORAGE", name.as_bytes(), u32::from(bits));
    let hidden = cfb(&key, &Writer::new().sized(secret).done())?;
    let check = hash.kdf_a(
        &seed,
        b"INTEGRITY",
        &[],
        u32::try_from(hash.length() * 8).unwrap_or(256),
    );
    let check = hmac::sign(
        &hmac::Key::new(hash.hmac, &check),
        &[&hidden, name.as_bytes()].concat(),
    );
    Ok(Credential {
        object: Writer::new().sized(check.as_ref()).raw(&hidden).done(),
        secret: sent,
    })
}

/// A name's hash, in both of its uses.
struct Hash {
    digest: &'static digest::Algorithm,
    hmac: hmac::Algorithm,
}

impl Hash {
    fn of(public: &Public) -> Hash {
        if public.name_alg == alg::SHA384 {
            Hash {
                digest: &digest::SHA384,
                hmac: hmac::HMAC_SHA384,
            }
        } else {
            Hash {
                digest: &digest::SHA256,
                hmac: hmac::HMAC_SHA256,
            }
        }
    }

    fn length(&self) -> usize {
        self.digest.output_len()
    }

    /// One round gives at least as many bits as are ever asked for here.
    fn kdf_a(&self, key: &[u8], label: &[u8], context: &[u8], bits: u32) -> Vec<u8> {
        let input = [&[0, 0, 0, 1], label, &[0], context, &bits.to_be_bytes()].concat();
        let mut out = hmac::sign(&hmac::Key::new(self.hmac, key), &input)
            .as_ref()
            .to_vec();
        out.truncate(usize::try_from(bits / 8).unwrap_or(0));
        out
    }

    fn kdf_e(&self, shared: &[u8], label: &[u8], ours: &[u8], theirs: &[u8]) -> Vec<u8> {
        let input = [&[0, 0, 0, 1], shared, label, &[0], ours, theirs].concat();
        digest::digest(self.digest, &input).as_ref().to_vec()
    }
}

/// A seed that both sides come to, and our point, as it is sent.
fn agree(hash: &Hash, curve: u16, point: &[u8]) -> Result<(Vec<u8>, Vec<u8>), CredentialError> {
    let algorithm = if curve == alg::P384 {
        &agreement::ECDH_P384
    } else {
        &agreement::ECDH_P256
    };
    let mine = agreement::EphemeralPrivateKey::generate(algorithm, &SystemRandom::new());
    let mine = mine.map_err(|_| CredentialError::Random)?;
    let shown = mine.compute_public_key().map_err(|_| CredentialError::Random)?;
    let (ours, theirs) = (halves(shown.as_ref())?, halves(point)?);
    let peer = agreement::UnparsedPublicKey::new(algorithm, point);
    let seed = agreement::agree_ephemeral(mine, &peer, |shared| {
        hash.kdf_e(shared, b"IDENTITY", ours.0, theirs.0)
    });
    let seed = seed.map_err(|_| CredentialError::Key)?;
    Ok((seed, Writer::new().sized(ours.0).sized(ours.1).done()))
}

/// The coordinates of an uncompressed point.
fn halves(point: &[u8]) -> Result<(&[u8], &[u8]), CredentialError> {
    let mut from = Reader::new(point, "a point");
    let length = point.len() / 2;
    let both = from
        .u8()
        .and_then(|_| Ok((from.take(length)?, from.take(length)?)));
    both.map_err(|_| CredentialError::Key)
}

/// RSAES-OAEP with the label of identities.
fn oaep(hash: &Hash, seed: &[u8], modulus: &[u8], exponent: u32) -> Result<Vec<u8>, CredentialError> {
    let (size, length) = (modulus.len(), hash.length());
    let room = size
        .checked_sub(2 * length + 2 + seed.len())
        .ok_or(CredentialError::Key)?;
    let label = digest::digest(hash.digest, b"IDENTITY\0");
    let mut data = [label.as_ref(), &vec![0; room], &[1], seed].concat();
    let mut salt = random(length)?;
    xor(&mut data, &mask(hash, &salt, size - length - 1));
    xor(&mut salt, &mask(hash, &data, length));
    let message = BigUint::from_bytes_be(&[&salt[..], &data].concat());
    let out = message
        .modpow(&BigUint::from(exponent), &BigUint::from_bytes_be(modulus))
        .to_bytes_be();
    let zeros = size.saturating_sub(out.len());
    Ok([vec![0; zeros], out].concat())
}

/// MGF1.
fn mask(hash: &Hash, seed: &[u8], length: usize) -> Vec<u8> {
    let rounds = u32::try_from(length.div_ceil(hash.length())).unwrap_or(0);
    let round = |count: u32| digest::digest(hash.digest, &[seed, &count.to_be_bytes()].concat());
    let mut out: Vec<u8> = (0..rounds)
        .flat_map(|count| round(count).as_ref().to_vec())
        .collect();
    out.truncate(length);
    out
}

/// AES in CFB mode over whole bytes, from an empty start.
fn cfb(key: &[u8], plain: &[u8]) -> Result<Vec<u8>, CredentialError> {
    let mut register = [0u8; 16];
    let mut out = Vec::with_capacity(plain.len());
    for block in plain.chunks(16) {
        let mut hidden = encrypted(key, register)?;
        xor(&mut hidden, block);
        out.extend_from_slice(hidden.get(..block.len()).unwrap_or(&hidden));
        register = hidden;
    }
    Ok(out)
}

fn encrypted(key: &[u8], block: [u8; 16]) -> Result<[u8; 16], CredentialError> {
    let mut block = aes::Block::from(block);
    match key.len() {
        16 => Aes128::new_from_slice(key).map(|aes| aes.encrypt_block(&mut block)),
        _ => Aes256::new_from_slice(key).map(|aes| aes.encrypt_block(&mut block)),
    }
    .map_err(|_| CredentialError::Key)?;
    Ok(block.into())
}

fn xor(into: &mut [u8], with: &[u8]) {
    for (byte, other) in into.iter_mut().zip(with) {
        *byte ^= other;
    }
}

fn random(length: usize) -> Result<Vec<u8>, CredentialError> {
    let mut bytes = vec![0; length];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CredentialError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cipher_is_that_of_the_standard_and_takes_no_other_key() {
        // NIST SP 800-38A, F.3.13: the first output block of CFB128-AES128.
        let key = [
            0x2b, 0x7e, 0x15, 0x16, 0x28, 0xae, 0xd2, 0xa6, 0xab, 0xf7, 0x15, 0x88, 0x09, 0xcf, 0x4f, 0x3c,
        ];
        let start: [u8; 16] = std::array::from_fn(|i| u8::try_from(i).expect("small"));
        let out = encrypted(&key, start).expect("a key of 16 bytes");
        assert_eq!(out[..4], [0x50, 0xfe, 0x67, 0xcc]);
        assert_eq!(encrypted(&key[..15], start), Err(CredentialError::Key));
    }

    #[test]
    fn an_encrypted_seed_is_as_long_as_its_key() {
        let hash = Hash {
            digest: &digest::SHA256,
            hmac: hmac::HMAC_SHA256,
        };
        let modulus = [&[0xff; 255][..], &[0xfd]].concat();
        assert_eq!(oaep(&hash, &[7; 32], &modulus, 65_537).map(|c| c.len()), Ok(256));
        assert_eq!(
            oaep(&hash, &[7; 32], &[0xff; 64], 65_537),
            Err(CredentialError::Key)
        );
    }
}
