//! Shell: the files of the identity.
//!
//! | file | holds |
//! |---|---|
//! | `identity/key.sealed` | the private key, PKCS#8, sealed by the vault; `key.pem` where there is none |
//! | `identity/key.tpm` | instead, on a box with a TPM: the private key as the TPM wrapped it for itself (JSON) |
//! | `identity/spare.sealed`, `identity/spare.pem` | beside that, the spare key and its certificate ([`super::spare`]) |
//! | `identity/certificate.pem` | our certificate, then its intermediates |
//! | `identity/trust.pem` | the trust anchors of the fleet |
//! | `identity/server.json` | our name, where to enrol again, and where the server's doors are |
//! | `identity/claim` | a hash that tells by which claim |
//! | `identity/floor` | the newest moment that is known to have passed, milliseconds since 1970 |
//!
//! Each is replaced as a whole: a power cut leaves the old one or the new one.
#![expect(clippy::disallowed_methods, reason = "shell: files and randomness")]

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_protocol::claim::{Endpoint, ServerInfo};
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer};
use serde::{Deserialize, Serialize};

use super::device_key::Kept;
pub use super::device_key::{ChipKey, DeviceKey};
use super::{Life, key_of, life_of};
use crate::disk;
use crate::tpm::TpmError;
use crate::tpm::chip::Wrapped;
use crate::tpm::thread::Tpm;
use crate::vault::Vault;
use crate::vault::disk::random;

/// The key, sealed, in the clear, and in the TPM.
const SEALED: &str = "key.sealed";
const PLAIN: &str = "key.pem";
const IN_TPM: &str = "key.tpm";
/// What the vault is told that it seals.
const PURPOSE: &[u8] = b"device key";
/// Longest identity file that is read, bytes: a chain of a handful of certificates is below it.
const MAX_FILE: u64 = 64 * 1024;

/// Why the identity could not be read or kept.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// There is none yet.
    #[error(
        "this box is not enrolled: {0} is missing. Run `homeward-agent --data DIR enrol --claim FILE` first"
    )]
    NotEnrolled(PathBuf),
    /// The file system refused.
    #[error("could not read or write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// A file holds something else.
    #[error("{path} cannot be used: {why}. Move it away and enrol again")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
    /// The random source or the key's own arithmetic failed.
    #[error("could not make a key")]
    Make,
    /// The key is in a TPM, and none was given.
    #[error("the key in {0} is in a TPM: name it with --tpm device:/dev/tpmrm0")]
    NoTpm(PathBuf),
    /// The TPM refused.
    #[error("the TPM of this box cannot be used for its key")]
    Tpm(#[from] TpmError),
}

/// What an enrolment taught us beside the certificates.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Server {
    /// Our name.
    pub gateway: GatewayId,
    /// Where enrolment and renewal are served.
    pub enrolment: Endpoint,
    /// The other doors.
    pub doors: ServerInfo,
}

/// `key.tpm`.
#[derive(Serialize, Deserialize)]
pub(crate) struct ChipFile {
    public: String,
    private: String,
    /// What makes the attestation key this enrolment's own.
    attestation: String,
}

/// All there is after an enrolment.
pub struct Identity {
    /// Name and doors.
    pub server: Server,
    /// The key.
    pub key: DeviceKey,
    /// Our certificate, then its intermediates.
    pub chain: Vec<CertificateDer<'static>>,
    /// The trust anchors.
    pub trust: Vec<CertificateDer<'static>>,
}

/// The folder of the identity, and the box's TPM.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    vault: Option<Vault>,
    tpm: Option<Tpm>,
}

impl Folder {
    /// Within a data folder.
    pub fn within(data: &Path) -> Folder {
        Folder {
            path: data.join("identity"),
            vault: None,
            tpm: None,
        }
    }

    /// The same, with what seals its key.
    #[must_use]
    pub fn sealed_by(self, vault: &Vault) -> Folder {
        Folder {
            vault: Some(vault.clone()),
            ..self
        }
    }

    /// The same on a box with a TPM: new keys are made in it, and keys in it can be used.
    #[must_use]
    pub fn on(self, tpm: Option<Tpm>) -> Folder {
        Folder { tpm, ..self }
    }

    /// The box's TPM.
    pub fn tpm(&self) -> Option<&Tpm> {
        self.tpm.as_ref()
    }

    /// Whether the key of an enrolment here is in a TPM.
    pub fn needs_tpm(&self) -> bool {
        self.path(IN_TPM).exists()
    }

    pub(super) fn path(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The data folder that it is in.
    pub fn data(&self) -> &Path {
        self.path.parent().unwrap_or(Path::new("."))
    }

    /// Whether an enrolment was finished here.
    pub fn is_enrolled(&self) -> bool {
        self.path("server.json").exists() && self.path("certificate.pem").exists()
    }

    /// Our name and the doors.
    pub fn server(&self) -> Result<Server, KeyError> {
        let path = self.path("server.json");
        let text = self
            .read("server.json")?
            .ok_or_else(|| KeyError::NotEnrolled(path.clone()))?;
        serde_json::from_str(&text).map_err(|error| malformed(&path, &error.to_string()))
    }

    /// The trust anchors.
    pub fn trust(&self) -> Result<Vec<CertificateDer<'static>>, KeyError> {
        self.certificates("trust.pem")
    }

    /// The life of the certificate, when there is one that can be read.
    pub fn life(&self) -> Option<Life> {
        let chain = self.certificates("certificate.pem").ok()?;
        life_of(chain.first()?)
    }

    /// The key that the certificate is for. The private one need not be usable.
    pub fn certified(&self) -> Result<PublicKey, KeyError> {
        let chain = self.certificates("certificate.pem")?;
        let key = chain.first().and_then(|leaf| key_of(leaf));
        key.ok_or_else(|| malformed(&self.path("certificate.pem"), "it is not for a P-256 key"))
    }

    /// All of it.
    pub fn load(&self) -> Result<Identity, KeyError> {
        let server = self.server()?;
        let key = self
            .key()?
            .ok_or_else(|| KeyError::NotEnrolled(self.path(SEALED)))?;
        Ok(Identity {
            server,
            key,
            chain: self.certificates("certificate.pem")?,
            trust: self.trust()?,
        })
    }

    /// The key, or a new one that is kept before it is given out.
    pub fn key_or_new(&self) -> Result<DeviceKey, KeyError> {
        if let Some(key) = self.key()? {
            return Ok(key);
        }
        let key = match &self.tpm {
            Some(tpm) => DeviceKey::make_in(tpm)?,
            None => DeviceKey::make()?,
        };
        self.keep_key(&key)?;
        Ok(key)
    }

    fn keep_key(&self, key: &DeviceKey) -> Result<(), KeyError> {
        let der = match key.kept() {
            Kept::File(file) => file.der(),
            Kept::Chip(chip) => return self.keep_wrapped(chip),
        };
        let Some(vault) = &self.vault else {
            return self.replace(PLAIN, &pem("PRIVATE KEY", der));
        };
        let nonce = random().map_err(|_| KeyError::Make)?;
        let sealed = vault.seal(PURPOSE, der, nonce).map_err(|_| KeyError::Make)?;
        self.replace(SEALED, &STANDARD.encode(sealed))?;
        // An older agent's key, in the clear.
        match fs::remove_file(self.path(PLAIN)) {
            Err(source) if source.kind() != std::io::ErrorKind::NotFound => Err(KeyError::Io {
                path: self.path(PLAIN),
                source,
            }),
            _ => Ok(()),
        }
    }

    fn keep_wrapped(&self, chip: &ChipKey) -> Result<(), KeyError> {
        let file = ChipFile {
            public: STANDARD.encode(&chip.wrapped().public),
            private: STANDARD.encode(&chip.wrapped().private),
            attestation: STANDARD.encode(chip.unique()),
        };
        let text = serde_json::to_string_pretty(&file).map_err(|_| KeyError::Make)?;
        self.replace(IN_TPM, &text)
    }

    fn key(&self) -> Result<Option<DeviceKey>, KeyError> {
        if let Some(text) = self.read(IN_TPM)? {
            return self.chip_key(&text).map(Some);
        }
        if let Some(text) = self.read(SEALED)? {
            return self.unsealed(&text).map(Some);
        }
        let Some(key) = self.plain_key()? else {
            return Ok(None);
        };
        if self.vault.is_some() {
            self.keep_key(&key)?;
        }
        Ok(Some(key))
    }

    fn unsealed(&self, text: &str) -> Result<DeviceKey, KeyError> {
        let path = self.path(SEALED);
        let sealed = STANDARD
            .decode(text.trim())
            .map_err(|_| malformed(&path, "not base64"))?;
        let vault = self
            .vault
            .as_ref()
            .ok_or_else(|| malformed(&path, "it is sealed"))?;
        let der = vault
            .open(PURPOSE, &sealed)
            .ok_or_else(|| malformed(&path, "it was sealed by another box"))?;
        DeviceKey::from_pkcs8(der.into()).ok_or_else(|| malformed(&path, "not a P-256 key"))
    }

    fn plain_key(&self) -> Result<Option<DeviceKey>, KeyError> {
        let path = self.path(PLAIN);
        let Some(text) = self.read(PLAIN)? else {
            return Ok(None);
        };
        let pkcs8 = PrivatePkcs8KeyDer::from_pem_slice(text.as_bytes())
            .map_err(|_| malformed(&path, "not a private key in PEM"))?;
        let key = DeviceKey::from_pkcs8(pkcs8).ok_or_else(|| malformed(&path, "not a P-256 key"))?;
        Ok(Some(key))
    }

    fn chip_key(&self, text: &str) -> Result<DeviceKey, KeyError> {
        let path = self.path(IN_TPM);
        let tpm = self.tpm.as_ref().ok_or_else(|| KeyError::NoTpm(path.clone()))?;
        let key = || {
            let file: ChipFile = serde_json::from_str(text).ok()?;
            let part = |text: &str| STANDARD.decode(text).ok();
            let wrapped = Wrapped {
                public: part(&file.public)?,
                private: part(&file.private)?,
            };
            DeviceKey::in_chip(tpm, wrapped, part(&file.attestation)?.try_into().ok()?)
        };
        key().ok_or_else(|| malformed(&path, "not a key of a TPM"))
    }

    pub(super) fn certificates(&self, name: &str) -> Result<Vec<CertificateDer<'static>>, KeyError> {
        let path = self.path(name);
        let text = self
            .read(name)?
            .ok_or_else(|| KeyError::NotEnrolled(path.clone()))?;
        let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        match all {
            Ok(all) if !all.is_empty() => Ok(all),
            _ => Err(malformed(&path, "no certificates in PEM")),
        }
    }

    /// Keeps our certificate and its intermediates.
    pub fn keep_chain(&self, chain: &[CertificateDer<'_>]) -> Result<(), KeyError> {
        self.replace("certificate.pem", &pems(chain))
    }

    /// Keeps the trust anchors.
    pub fn keep_trust(&self, trust: &[CertificateDer<'_>]) -> Result<(), KeyError> {
        self.replace("trust.pem", &pems(trust))
    }

    /// Keeps the name and the doors.
    pub fn keep_server(&self, server: &Server) -> Result<(), KeyError> {
        let path = self.path("server.json");
        let text =
            serde_json::to_string_pretty(server).map_err(|error| malformed(&path, &error.to_string()))?;
        self.replace("server.json", &text)
    }

    /// Keeps the mark of the claim that led here.
    pub fn keep_claim(&self, mark: &str) -> Result<(), KeyError> {
        self.replace("claim", mark)
    }

    /// Whether the claim with this mark led here.
    pub fn enrolled_by(&self, mark: &str) -> Result<bool, KeyError> {
        Ok(self.read("claim")?.is_some_and(|kept| kept == mark))
    }

    /// A folder beside this one, for an identity that is to follow it.
    #[must_use]
    pub fn next(&self) -> Folder {
        Folder {
            path: self.path.with_extension("next"),
            vault: self.vault.clone(),
            tpm: self.tpm.clone(),
        }
    }

    /// Puts this folder in the place of `old`. What was there is removed: a key that is not used is only a risk.
    pub fn take_the_place_of(&self, old: &Folder) -> Result<(), KeyError> {
        let gone = old.path.with_extension("old");
        let io = |source| KeyError::Io {
            path: old.path.clone(),
            source,
        };
        if gone.exists() {
            fs::remove_dir_all(&gone).map_err(io)?;
        }
        fs::rename(&old.path, &gone)
            .and_then(|()| fs::rename(&self.path, &old.path))
            .and_then(|()| fs::remove_dir_all(&gone))
            .map_err(io)
    }

    /// The clock's floor, milliseconds since 1970; 0 when none is kept.
    pub fn floor(&self) -> i64 {
        let text = self.read("floor").ok().flatten();
        text.and_then(|text| text.trim().parse().ok()).unwrap_or(0)
    }

    /// Keeps the clock's floor.
    pub fn keep_floor(&self, floor_ms: i64) -> Result<(), KeyError> {
        self.replace("floor", &format!("{floor_ms}\n"))
    }

    pub(super) fn read(&self, name: &str) -> Result<Option<String>, KeyError> {
        let path = self.path(name);
        let mut text = String::new();
        match fs::File::open(&path).and_then(|file| file.take(MAX_FILE).read_to_string(&mut text)) {
            Ok(_) => Ok(Some(text)),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(KeyError::Io { path, source }),
        }
    }

    pub(super) fn replace(&self, name: &str, text: &str) -> Result<(), KeyError> {
        replace(&self.path, name, text)
    }
}

/// A file of the owner's alone: written beside, flushed, put in place, and the folder flushed.
pub(super) fn replace(folder: &Path, name: &str, text: &str) -> Result<(), KeyError> {
    let path = folder.join(name);
    let io = |source| KeyError::Io {
        path: path.clone(),
        source,
    };
    fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(io)?;
    disk::replace(&path, text.as_bytes()).map_err(io)
}

pub(super) fn malformed(path: &Path, why: &str) -> KeyError {
    KeyError::Malformed {
        path: path.to_owned(),
        why: why.to_owned(),
    }
}

pub(super) fn pems(certificates: &[CertificateDer<'_>]) -> String {
    certificates.iter().map(|der| pem("CERTIFICATE", der)).collect()
}

/// PEM (RFC 7468).
fn pem(label: &str, der: &[u8]) -> String {
    let body = STANDARD.encode(der);
    let lines: Vec<&str> = body
        .as_bytes()
        .chunks(64)
        .filter_map(|line| std::str::from_utf8(line).ok())
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_key_is_kept_before_it_is_used_and_only_for_its_owner() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::within(dir.path());
        let first = folder.key_or_new().expect("a key").public().expect("a point");
        let again = folder.key_or_new().expect("a key").public().expect("a point");
        assert_eq!(first, again);
        let mode = |path: &str| {
            fs::metadata(dir.path().join(path))
                .expect("is there")
                .permissions()
                .mode()
                & 0o777
        };
        assert_eq!(mode("identity/key.pem"), 0o600);
        assert_eq!(mode("identity"), 0o700);
    }

    #[test]
    fn a_box_that_is_not_enrolled_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let Err(error) = Folder::within(dir.path()).load() else {
            panic!("loaded nothing");
        };
        assert!(error.to_string().contains("enrol --claim"));
    }

    #[test]
    fn a_half_written_file_does_not_replace_a_whole_one() {
        let dir = tempfile::tempdir().expect("a directory");
        let folder = Folder::within(dir.path());
        folder.keep_floor(7).expect("keeps");
        fs::write(dir.path().join("identity/floor.new"), "99").expect("a torn write");
        assert_eq!(folder.floor(), 7);
    }
}
