//! Shell: single files of the authority's folder: certificates, keys in the clear or sealed, whole or not at all.
#![expect(clippy::disallowed_methods, reason = "shell: files and random bytes")]

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use pkcs8::der::zeroize::Zeroizing;
use rcgen::{Issuer, KeyPair};
use ring::rand::{SecureRandom, SystemRandom};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivatePkcs8KeyDer};

use super::passphrase::{self, Passphrase};
use super::sealed::{self, SealError};
use super::{CaError, Issuing, Serial};

/// Longest file that is read, bytes.
const MAX_FILE: u64 = 64 * 1024;

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

pub(super) fn key() -> Result<KeyPair, CaError> {
    KeyPair::generate().map_err(|source| CaError::Make {
        what: "a key",
        source,
    })
}

/// An intermediate and its key: `name.crt` and `name.key`.
pub(super) fn issuing(dir: &Path, name: &str) -> Result<Issuing, CaError> {
    issuing_by(dir, name, None)
}

/// The same, with the passphrase at hand.
pub(super) fn issuing_by(
    dir: &Path,
    name: &str,
    passphrase: Option<&Passphrase>,
) -> Result<Issuing, CaError> {
    let file = format!("{name}.crt");
    let cert = cert(dir, &file)?;
    let key = key_in(&dir.join(format!("{name}.key")), passphrase)?;
    let issuer = issuer(&cert, key, &file)?;
    Ok(Issuing { cert, issuer })
}

/// The key in a file. A sealed one is opened by `passphrase`, or by the one that the process was given.
pub(super) fn key_in(path: &Path, passphrase: Option<&Passphrase>) -> Result<KeyPair, CaError> {
    let text = Zeroizing::new(read(path)?);
    let text = std::str::from_utf8(&text).map_err(|_| damaged(path, "not text"))?;
    if !sealed::is_sealed(text) {
        return KeyPair::from_pem(text).map_err(|e| damaged(path, &e.to_string()));
    }
    let given = match passphrase {
        Some(one) => one.clone(),
        None => passphrase::given()?.ok_or_else(|| CaError::Sealed(path.to_owned()))?,
    };
    let der = sealed::open(text, &given).map_err(|why| match why {
        SealError::Passphrase => CaError::Passphrase(path.to_owned()),
        SealError::Form => damaged(path, &why.to_string()),
    })?;
    KeyPair::try_from(&PrivatePkcs8KeyDer::from(der.as_slice())).map_err(|e| damaged(path, &e.to_string()))
}

/// Keeps a key, sealed if there is a passphrase.
pub(super) fn write_key(
    dir: &Path,
    name: &str,
    key: &KeyPair,
    passphrase: Option<&Passphrase>,
) -> Result<(), CaError> {
    let text = match passphrase {
        None => Zeroizing::new(key.serialize_pem()),
        Some(passphrase) => {
            let der = Zeroizing::new(key.serialize_der());
            let sealed = sealed::seal(&der, passphrase, &random()?, &random()?);
            Zeroizing::new(sealed.map_err(|e| damaged(&dir.join(name), &e.to_string()))?)
        }
    };
    write(dir, name, &text)
}

pub(super) fn issuer(
    cert: &CertificateDer<'_>,
    key: KeyPair,
    name: &str,
) -> Result<Issuer<'static, KeyPair>, CaError> {
    use rcgen::PublicKeyData;
    let wrong = |why: String| damaged(Path::new(name), &why);
    let (_, parsed) = x509_parser::parse_x509_certificate(cert).map_err(|e| wrong(e.to_string()))?;
    if parsed.public_key().raw != key.subject_public_key_info() {
        return Err(wrong("its key file belongs to another certificate".into()));
    }
    Issuer::from_ca_cert_der(cert, key).map_err(|e| wrong(e.to_string()))
}

pub(super) fn cert(dir: &Path, name: &str) -> Result<CertificateDer<'static>, CaError> {
    let path = dir.join(name);
    CertificateDer::from_pem_slice(&read(&path)?).map_err(|e| damaged(&path, &e.to_string()))
}

/// A certificate as PEM (RFC 7468).
pub fn pem(cert: &CertificateDer<'_>) -> String {
    armoured("CERTIFICATE", cert)
}

/// A revocation list as PEM.
pub fn pem_list(crl: &CertificateRevocationListDer<'_>) -> String {
    armoured("X509 CRL", crl)
}

fn armoured(label: &str, der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<&str> = (0..text.len())
        .step_by(64)
        .filter_map(|from| text.get(from..(from + 64).min(text.len())))
        .collect();
    format!(
        "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
        lines.join("\n")
    )
}

pub(super) fn read(path: &Path) -> Result<Vec<u8>, CaError> {
    let mut bytes = Vec::new();
    File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_end(&mut bytes))
        .map_err(file("read", path))?;
    Ok(bytes)
}

/// Writes a file that only the server's user may read, whole or not at all.
pub(super) fn write(dir: &Path, name: &str, text: &str) -> Result<(), CaError> {
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

pub(super) fn file(step: &'static str, path: &Path) -> impl Fn(io::Error) -> CaError {
    let path: PathBuf = path.to_owned();
    move |source| CaError::File {
        step,
        path: path.clone(),
        source,
    }
}

pub(super) fn damaged(path: &Path, why: &str) -> CaError {
    CaError::Damaged {
        what: path.display().to_string(),
        why: why.to_owned(),
    }
}
