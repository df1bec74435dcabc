//! Shell: the authority's files, in one folder that only the server's user may read.
//!
//! | file | what |
//! |---|---|
//! | `root.crt`, `root.key` | the active root; its key is needed only for a new intermediate |
//! | `next-root.crt`, `offline-root.key` | the next root; its key is to be moved away at once |
//! | `gateways.crt`, `gateways.key` | the intermediate that issues gateways' certificates |
//! | `servers.crt`, `servers.key` | the intermediate that issues servers' certificates |
//! | `server.crt`, `server.key` | what our listeners show; remade when its time or its names run out |
#![expect(clippy::disallowed_methods, reason = "shell: files and random bytes")]

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_protocol::time::Timestamp;
use rcgen::{Issuer, KeyPair};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::profile::{self, Purpose};
use super::{Authority, CaError, DAY_MS, Identity, Issuing, SERVER_DAYS, Serial, TrustDomain, leaf};

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where the key of the next root is left by [`Authority::init`], in the authority's folder.
pub const OFFLINE_KEY: &str = "offline-root.key";

/// `N` random bytes of the system.
pub fn random<const N: usize>() -> Result<[u8; N], CaError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| CaError::Random)?;
    Ok(bytes)
}

/// A new certificate number.
pub fn serial() -> Result<Serial, CaError> {
    random().map(Serial::from_random)
}

impl Authority {
    /// Makes the authority's keys and certificates in `dir`; refuses when there are some. The operator is to move
    /// [`OFFLINE_KEY`] out of `dir` to a safe place afterwards.
    pub fn init(dir: &Path, domain: TrustDomain, now: Timestamp) -> Result<Authority, CaError> {
        if dir.join("root.crt").exists() {
            return Err(CaError::Exists(dir.to_owned()));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(file("make the folder", dir))?;
        let root_key = key()?;
        let root = profile::root(&domain, "root 1", &root_key, serial()?, now)?;
        let next_key = key()?;
        let next_root = profile::root(&domain, "root 2", &next_key, serial()?, now)?;
        write(dir, OFFLINE_KEY, &next_key.serialize_pem())?;
        write(dir, "next-root.crt", &pem(&next_root))?;
        write(dir, "root.key", &root_key.serialize_pem())?;
        let root_issuer = issuer(&root, root_key, "root.crt")?;
        for (purpose, name) in [(Purpose::Gateways, "gateways"), (Purpose::Servers, "servers")] {
            let key = key()?;
            let cert = profile::issuing(&domain, purpose, &key, serial()?, now, &root_issuer)?;
            write(dir, &format!("{name}.key"), &key.serialize_pem())?;
            write(dir, &format!("{name}.crt"), &pem(&cert))?;
        }
        // Last, because its presence says that all of it is there.
        write(dir, "root.crt", &pem(&root))?;
        let opened = Authority::open(dir)?;
        Ok(Authority { domain, ..opened })
    }

    /// Opens the authority in `dir`. The roots' keys need not be there.
    pub fn open(dir: &Path) -> Result<Authority, CaError> {
        let gateways = issuing(dir, "gateways")?;
        Ok(Authority {
            domain: leaf::domain_of(&gateways.cert)?,
            root: cert(dir, "root.crt")?,
            next_root: cert(dir, "next-root.crt")?,
            servers: issuing(dir, "servers")?,
            gateways,
        })
    }

    /// The certificate that our own listeners show for `names`: the one in `dir`, or a new one when there is none,
    /// when a third of its time is left, or when the names differ.
    pub fn server_identity(
        &self,
        dir: &Path,
        names: &[ServerName<'static>],
        now: Timestamp,
    ) -> Result<Identity, CaError> {
        let (cert_path, key_path) = (dir.join("server.crt"), dir.join("server.key"));
        if cert_path.exists()
            && let Ok(kept) = load_identity(&cert_path, &key_path)
            && still_good(&kept, names, now)
            && kept.chain.get(1) == Some(&self.servers.cert)
        {
            return Ok(kept);
        }
        let key = key()?;
        let made = self.issue_server(names, &key, serial()?, now)?;
        write(dir, "server.key", &key.serialize_pem())?;
        let chain: String = made.chain.iter().map(pem).collect();
        write(dir, "server.crt", &chain)?;
        Ok(made)
    }
}

/// Reads a certificate chain and its key, both PEM: the server's own, or one that the operator configured.
pub fn load_identity(cert: &Path, key: &Path) -> Result<Identity, CaError> {
    let text = read(cert)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let chain = chain.map_err(|e| damaged(cert, &e.to_string()))?;
    if chain.is_empty() {
        return Err(damaged(cert, "there is no certificate in it"));
    }
    let private = PrivateKeyDer::from_pem_slice(&read(key)?).map_err(|e| damaged(key, &e.to_string()))?;
    Ok(Identity {
        chain,
        key: Arc::new(private),
    })
}

fn still_good(kept: &Identity, names: &[ServerName<'static>], now: Timestamp) -> bool {
    let leaf = kept.chain.first().map(AsRef::as_ref).unwrap_or_default();
    let Ok((_, cert)) = x509_parser::parse_x509_certificate(leaf) else {
        return false;
    };
    let left_ms = cert.validity().not_after.timestamp().saturating_mul(1000) - now.ms;
    let begun = cert.validity().not_before.timestamp() <= now.secs();
    let covers = |name: &ServerName<'static>| {
        rustls::server::ParsedCertificate::try_from(&CertificateDer::from(leaf))
            .and_then(|parsed| rustls::client::verify_server_name(&parsed, name))
            .is_ok()
    };
    let count = cert
        .subject_alternative_name()
        .ok()
        .flatten()
        .map_or(0, |san| san.value.general_names.len());
    begun && left_ms > SERVER_DAYS * DAY_MS / 3 && count == names.len() && names.iter().all(covers)
}

fn key() -> Result<KeyPair, CaError> {
    KeyPair::generate().map_err(|source| CaError::Make {
        what: "a key",
        source,
    })
}

fn issuing(dir: &Path, name: &str) -> Result<Issuing, CaError> {
    let file = format!("{name}.crt");
    let cert = cert(dir, &file)?;
    let path = dir.join(format!("{name}.key"));
    let text = String::from_utf8(read(&path)?).map_err(|_| damaged(&path, "not text"))?;
    let key = KeyPair::from_pem(&text).map_err(|e| damaged(&path, &e.to_string()))?;
    let issuer = issuer(&cert, key, &file)?;
    Ok(Issuing { cert, issuer })
}

fn issuer(cert: &CertificateDer<'_>, key: KeyPair, name: &str) -> Result<Issuer<'static, KeyPair>, CaError> {
    use rcgen::PublicKeyData;
    let wrong = |why: String| damaged(Path::new(name), &why);
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).map_err(|e| wrong(e.to_string()))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(wrong("its key file belongs to another certificate".into()));
    }
    Issuer::from_ca_cert_der(cert, key).map_err(|e| wrong(e.to_string()))
}

fn cert(dir: &Path, name: &str) -> Result<CertificateDer<'static>, CaError> {
    let path = dir.join(name);
    CertificateDer::from_pem_slice(&read(&path)?).map_err(|e| damaged(&path, &e.to_string()))
}

/// A certificate as PEM (RFC 7468).
pub fn pem(cert: &CertificateDer<'_>) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(cert);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .filter_map(|from| text.get(from..(from + 64).min(text.len())))
        .collect();
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        lines.join("\n")
    )
}

fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(file("read", path))?;
    Ok(bytes)
}

/// Writes a file that only the server's user may read, whole or not at all.
fn write(dir: &Path, name: &str, text: &str) -> Result<(), CaError> {
    let (path, fresh) = (dir.join(name), dir.join(format!("{name}.new")));
    let written = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&fresh)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&fresh, &path)?;
        File::open(dir)?.sync_all()
    };
    written().map_err(file("write", &path))
}

fn file(step: &'static str, path: &Path) -> impl Fn(io::Error) -> CaError {
    let path: PathBuf = path.to_owned();
    move |source| CaError::File {
        step,
        path: path.clone(),
        source,
    }
}

fn damaged(path: &Path, why: &str) -> CaError {
    CaError::Damaged {
        what: path.display().to_string(),
        why: why.to_owned(),
    }
}
