//! Shell: the spare key, for the time when the TPM does not answer: a software key, sealed by what this box has beside its
//! TPM, in a vault of its own (`spare/vault.json` in the data folder).
//!
//! # Design
//! A dead chip must not silence a patient. What opens without the chip can be copied more easily than it, so the
//! server lets this key do little: readings and alarms up, at the lowest grade, acknowledgements down, for a limited
//! time, and a person is told at its first use. It is certified by the key in the TPM and ends with a new claim.
#![expect(clippy::disallowed_methods, reason = "shell: files and randomness")]

use std::fs;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use rustls::pki_types::CertificateDer;

use super::device_key::{DeviceKey, Kept};
use super::keys::{Folder, Identity, KeyError, malformed, pems, replace};
use super::{Life, life_of};
use crate::vault::Vault;
use crate::vault::disk::{self, DiskError, random};

const KEY: &str = "spare.sealed";
const CHAIN: &str = "spare.pem";
/// What the vault is told that it seals.
const PURPOSE: &[u8] = b"spare key";
/// Since when it is in use, milliseconds since 1970.
const MARK: &str = "since";

/// The folder of what is used while the TPM does not answer.
pub fn folder(data: &Path) -> PathBuf {
    data.join("spare")
}

/// Its vault, which opens without the TPM; a new one when there is none.
///
/// # Errors
/// As [`disk::at`].
pub fn vault(data: &Path) -> Result<Vault, DiskError> {
    let path = folder(data);
    let made = fs::DirBuilder::new().recursive(true).mode(0o700).create(&path);
    made.map_err(|source| DiskError::Io {
        path: path.clone(),
        source,
    })?;
    disk::at(&path)
}

/// Since when the spare key is in use, milliseconds since 1970; nothing while it is not.
pub fn in_use_since(data: &Path) -> Option<i64> {
    let text = fs::read_to_string(folder(data).join(MARK)).ok()?;
    text.trim().parse().ok()
}

/// Keeps that it is in use since then, or that it is not.
///
/// # Errors
/// When the file system refuses.
pub fn mark(data: &Path, since: Option<i64>) -> Result<(), KeyError> {
    let folder = folder(data);
    if let Some(since) = since {
        return replace(&folder, MARK, &format!("{since}\n"));
    }
    let path = folder.join(MARK);
    match fs::remove_file(&path) {
        Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(KeyError::Io { path, source }),
        _ => Ok(()),
    }
}

impl Folder {
    /// Whether there is a spare key with a certificate.
    pub fn has_spare(&self) -> bool {
        self.path(KEY).exists() && self.path(CHAIN).exists()
    }

    /// The life of its certificate, when there is one.
    pub fn spare_life(&self) -> Option<Life> {
        life_of(self.certificates(CHAIN).ok()?.first()?)
    }

    /// The spare key, or a new one that is kept before it is given out. `vault` is [`vault`].
    ///
    /// # Errors
    /// When it cannot be read, made or kept; one that another vault sealed is replaced.
    pub fn spare_key_or_new(&self, vault: &Vault) -> Result<DeviceKey, KeyError> {
        if let Ok(Some(key)) = self.spare_key(vault) {
            return Ok(key);
        }
        let key = DeviceKey::make()?;
        let Kept::File(file) = key.kept() else {
            return Err(KeyError::Make);
        };
        let nonce = random().map_err(|_| KeyError::Make)?;
        let sealed = vault.seal(PURPOSE, file.der(), nonce);
        let sealed = sealed.map_err(|_| KeyError::Make)?;
        self.replace(KEY, &STANDARD.encode(sealed))?;
        Ok(key)
    }

    fn spare_key(&self, vault: &Vault) -> Result<Option<DeviceKey>, KeyError> {
        let Some(text) = self.read(KEY)? else {
            return Ok(None);
        };
        let path = self.path(KEY);
        let sealed = STANDARD
            .decode(text.trim())
            .map_err(|_| malformed(&path, "not base64"))?;
        let der = vault.open(PURPOSE, &sealed);
        let der = der.ok_or_else(|| malformed(&path, "it was sealed by another box"))?;
        let key = DeviceKey::from_pkcs8(der.into()).ok_or_else(|| malformed(&path, "not a P-256 key"))?;
        Ok(Some(key))
    }

    /// Keeps its certificate and the intermediates.
    ///
    /// # Errors
    /// When the file system refuses.
    pub fn keep_spare_chain(&self, chain: &[CertificateDer<'_>]) -> Result<(), KeyError> {
        self.replace(CHAIN, &pems(chain))
    }

    /// All that is needed to speak with the spare key.
    ///
    /// # Errors
    /// When one of the files is missing or cannot be used.
    pub fn load_spare(&self, vault: &Vault) -> Result<Identity, KeyError> {
        let key = self.spare_key(vault)?;
        Ok(Identity {
            server: self.server()?,
            key: key.ok_or_else(|| KeyError::NotEnrolled(self.path(KEY)))?,
            chain: self.certificates(CHAIN)?,
            trust: self.certificates("trust.pem")?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_spare_key_is_kept_sealed_and_one_that_does_not_open_is_replaced() {
        let dir = tempfile::tempdir().expect("a folder");
        let (one, two) = (
            Vault::of_process(&[1; 32]).expect("a vault"),
            Vault::of_process(&[2; 32]).expect("a vault"),
        );
        let folder = Folder::within(dir.path());
        let public = |vault| folder.spare_key_or_new(vault).and_then(|key| key.public());
        let first = public(&one).expect("a key");
        assert_eq!(public(&one).expect("the same"), first);
        assert!(folder.load_spare(&two).is_err(), "another box's");
        assert_ne!(public(&two).expect("a new one"), first);
        assert!(!folder.has_spare(), "without a certificate it is of no use");
    }

    #[test]
    fn it_is_remembered_since_when_it_is_in_use() {
        let dir = tempfile::tempdir().expect("a folder");
        vault(dir.path()).expect("a vault");
        assert_eq!(in_use_since(dir.path()), None);
        mark(dir.path(), Some(7)).expect("keeps");
        assert_eq!(in_use_since(dir.path()), Some(7));
        // A power cut while it was written again: the whole one before stands.
        fs::create_dir(folder(dir.path()).join("since.new")).expect("in the way of the next one");
        assert!(mark(dir.path(), Some(8)).is_err());
        assert_eq!(in_use_since(dir.path()), Some(7));
        fs::remove_dir(folder(dir.path()).join("since.new")).expect("out of the way");
        mark(dir.path(), None).expect("removes");
        mark(dir.path(), None).expect("is gone already");
        assert_eq!(in_use_since(dir.path()), None);
    }
}
