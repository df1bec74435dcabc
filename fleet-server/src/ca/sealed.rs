//! A private key in a file: PKCS #8 in PEM, in the clear or sealed by a passphrase.
//!
//! Sealed means PBES2 with scrypt and AES-256-CBC, which `openssl pkey` opens too.
//!
//! Source: RFC 5958 (`EncryptedPrivateKeyInfo`), RFC 8018 (PBES2), RFC 7914, section 7 (scrypt in it), RFC 7468 (PEM).

use pkcs8::der::zeroize::Zeroizing;
use pkcs8::pkcs5::{pbes2, scrypt};
use pkcs8::{EncryptedPrivateKeyInfo, LineEnding, PrivateKeyInfo, SecretDocument};

/// How a sealed key begins.
const LABEL: &str = "ENCRYPTED PRIVATE KEY";
/// Cost of scrypt: 2^15 blocks of 8, 32 MiB and some 100 ms for each guess.
const LOG_N: u8 = 15;

/// Why a key could not be sealed or opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// It is not a sealed key of this form.
    #[error("it is no private key in PEM")]
    Form,
    /// The passphrase is another one.
    #[error("the passphrase is another one")]
    Passphrase,
}

/// Whether the text of a key file is sealed.
pub fn is_sealed(pem: &str) -> bool {
    pem.contains(LABEL)
}

/// Seals a key (PKCS #8, DER). `salt` and `iv` are random, new for each.
pub fn seal(key: &[u8], passphrase: &str, salt: &[u8; 16], iv: &[u8; 16]) -> Result<String, SealError> {
    let cost = scrypt::Params::new(LOG_N, 8, 1, 32).map_err(|_| SealError::Form)?;
    let scheme = pbes2::Parameters::scrypt_aes256cbc(cost, salt, iv).map_err(|_| SealError::Form)?;
    let info = PrivateKeyInfo::try_from(key).map_err(|_| SealError::Form)?;
    let sealed = info
        .encrypt_with_params(scheme, passphrase)
        .map_err(|_| SealError::Form)?;
    let text = sealed
        .to_pem(LABEL, LineEnding::LF)
        .map_err(|_| SealError::Form)?;
    Ok(text.to_string())
}

/// Opens a sealed key; gives it as PKCS #8 (DER), wiped from memory when dropped.
pub fn open(pem: &str, passphrase: &str) -> Result<Zeroizing<Vec<u8>>, SealError> {
    let (label, document) = SecretDocument::from_pem(pem).map_err(|_| SealError::Form)?;
    if label != LABEL {
        return Err(SealError::Form);
    }
    let info = EncryptedPrivateKeyInfo::try_from(document.as_bytes()).map_err(|_| SealError::Form)?;
    let key = info.decrypt(passphrase).map_err(|_| SealError::Passphrase)?;
    Ok(key.to_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_passphrase_opens_what_it_sealed() {
        let key = rcgen::KeyPair::generate().expect("a key").serialize_der();
        let text = seal(&key, "correct horse", &[1; 16], &[2; 16]).expect("sealed");
        assert!(is_sealed(&text));
        assert!(!text.contains("BEGIN PRIVATE KEY"));
        assert_eq!(open(&text, "correct horse").expect("opens").as_slice(), key);
        assert_eq!(open(&text, "correct horsf"), Err(SealError::Passphrase));
        assert_eq!(open("-----BEGIN PRIVATE KEY-----", "x"), Err(SealError::Form));
    }
}
