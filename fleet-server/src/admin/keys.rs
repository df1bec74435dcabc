//! Shell: keys of people that sign by a command: P-256, PKCS#8 in PEM, in the clear or sealed by a passphrase.
#![expect(clippy::disallowed_methods, reason = "shell: files and random bytes")]

use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use homeward_protocol::signed::{PublicKey, Signer};
use pkcs8::der::zeroize::Zeroizing;
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{PrivatePkcs8KeyDer, SubjectPublicKeyInfoDer};

use super::AdminError;
use crate::ca::files::random;
use crate::ca::passphrase::{self, Passphrase};
use crate::ca::sealed::{self, SealError};

/// The largest key or certificate file, bytes.
pub const MAX_PEM: u64 = 1 << 20;

/// A key that signs: its file stays with its owner.
pub struct FileKey {
    pair: EcdsaKeyPair,
    random: SystemRandom,
}

impl Signer for FileKey {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signed = self.pair.sign(&self.random, message).map_err(|e| e.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

impl FileKey {
    /// Reads a key; a sealed one needs the file with its passphrase.
    pub fn read(file: &Path, passphrase_file: Option<&Path>) -> Result<FileKey, AdminError> {
        let bytes = Zeroizing::new(read(file, MAX_PEM)?);
        let text = std::str::from_utf8(&bytes).map_err(|_| no_key(file))?;
        if sealed::is_sealed(text) {
            let passphrase = passphrase_file.map(passphrase::from_file).transpose()?;
            let passphrase = passphrase.ok_or_else(|| {
                AdminError::Asked(format!(
                    "{} is sealed, and no file with its passphrase was given",
                    file.display()
                ))
            })?;
            let der = sealed::open(text, &passphrase).map_err(|why| match why {
                SealError::Passphrase => {
                    AdminError::Asked(format!("the passphrase does not open {}", file.display()))
                }
                SealError::Form => no_key(file),
            })?;
            return FileKey::of(&der, file);
        }
        let der = PrivatePkcs8KeyDer::from_pem_slice(&bytes).map_err(|_| no_key(file))?;
        FileKey::of(der.secret_pkcs8_der(), file)
    }

    /// The key of these bytes, which come from that file.
    pub(super) fn of(der: &[u8], file: &Path) -> Result<FileKey, AdminError> {
        let random = SystemRandom::new();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, der, &random);
        Ok(FileKey {
            pair: pair.map_err(|_| no_key(file))?,
            random,
        })
    }

    /// Makes a key and keeps it in a file that does not exist yet, sealed if there is a passphrase.
    pub fn make(file: &Path, passphrase: Option<&Passphrase>) -> Result<FileKey, AdminError> {
        let failed = |why: String| AdminError::Found(format!("could not make a key: {why}"));
        let key = rcgen::KeyPair::generate().map_err(|e| failed(e.to_string()))?;
        let der = Zeroizing::new(key.serialize_der());
        let text = match passphrase {
            None => Zeroizing::new(key.serialize_pem()),
            Some(passphrase) => {
                let text = sealed::seal(&der, passphrase, &random()?, &random()?);
                Zeroizing::new(text.map_err(|e| failed(e.to_string()))?)
            }
        };
        create(file, text.as_bytes(), 0o600)?;
        FileKey::of(&der, file)
    }

    /// The public half.
    pub fn public(&self) -> Result<PublicKey, AdminError> {
        PublicKey::from_point(self.pair.public_key().as_ref())
            .ok_or_else(|| AdminError::Found("the key has no public half of the usual form".into()))
    }
}

fn no_key(file: &Path) -> AdminError {
    AdminError::Asked(format!(
        "{} is no P-256 private key in PKCS#8 PEM (`homeward-fleet policy keygen` makes one)",
        file.display()
    ))
}

/// A public key in PEM.
pub fn public_key(file: &Path) -> Result<PublicKey, AdminError> {
    let text = read(file, MAX_PEM)?;
    let wrong = || AdminError::Asked(format!("{} is no P-256 public key in PEM", file.display()));
    let spki = SubjectPublicKeyInfoDer::from_pem_slice(&text).map_err(|_| wrong())?;
    PublicKey::from_spki(&spki).ok_or_else(wrong)
}

/// A public key as PEM.
pub fn public_pem(key: &PublicKey) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(key.spki());
    let mut pem = String::from("-----BEGIN PUBLIC KEY-----\n");
    for line in text.as_bytes().chunks(64) {
        pem.push_str(&String::from_utf8_lossy(line));
        pem.push('\n');
    }
    pem.push_str("-----END PUBLIC KEY-----\n");
    pem
}

/// Reads at most `max` bytes; refuses what is longer.
pub fn read(file: &Path, max: u64) -> Result<Vec<u8>, AdminError> {
    let mut bytes = Vec::new();
    let opened = std::fs::File::open(file).and_then(|f| f.take(max + 1).read_to_end(&mut bytes));
    opened.map_err(|e| AdminError::Asked(format!("could not read {}: {e}", file.display())))?;
    if bytes.len() as u64 > max {
        let why = format!("{} is too large: at most {max} bytes are read", file.display());
        return Err(AdminError::Asked(why));
    }
    Ok(bytes)
}

/// Writes a file that does not exist yet.
pub fn create(file: &Path, bytes: &[u8], mode: u32) -> Result<(), AdminError> {
    let mut options = std::fs::OpenOptions::new();
    let opened = options.write(true).create_new(true).mode(mode).open(file);
    opened
        .and_then(|mut f| f.write_all(bytes).and_then(|()| f.sync_all()))
        .map_err(|e| AdminError::Asked(format!("could not write {}: {e}", file.display())))
}
