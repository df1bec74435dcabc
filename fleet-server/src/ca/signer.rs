//! Shell: the authority's folder, which only the server's user may read.
//!
//! | file | what |
//! |---|---|
//! | `root.crt`, `next-root.crt` | the active root and the next one |
//! | `root-1.key`, `root-2.key` | the roots' keys; the server needs neither, and they are to be kept elsewhere |
//! | `leaving-*.crt`, `link-*.crt` | roots on their way out, and what introduces the newer ones |
//! | `former-*.crt` | roots that nobody trusts any more; readings of their time are checked by them |
//! | `gateways.crt`, `gateways.key` | the intermediate that issues gateways' certificates |
//! | `gateways-*.crt`, `gateways-*.key` | those before it, for their revocation lists |
//! | `servers.crt`, `servers.key` | the intermediate that issues servers' certificates |
//! | `server.crt`, `server.key` | what our listeners show; remade when its time or its names run out |
//! | `chips.secret` | by which TPMs are known without being named |
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs::{self, DirBuilder};
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_protocol::time::Timestamp;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};

use super::files::{self, cert, damaged, file, issuing, key, read, write, write_key};
pub use super::files::{pem, pem_list, random, serial};
use super::passphrase::Passphrase;
use super::profile::{self, Purpose};
use super::{Authority, Bundle, CaError, DAY_MS, Identity, Issuing, SERVER_DAYS, TrustDomain, bundle, leaf};
use crate::enrol::chip::ChipKey;

/// The key by which TPMs are known without being named, in the authority's folder.
pub const CHIP_KEY: &str = "chips.secret";

/// Where the keys of a new authority go.
#[derive(Clone, Copy, Default)]
pub struct Keys<'a> {
    /// The folder for the roots' keys; the authority's own when missing.
    pub roots_to: Option<&'a Path>,
    /// What seals all keys but those of our own listeners.
    pub passphrase: Option<&'a Passphrase>,
}

/// The name of the key of the root with this number.
pub(super) fn root_key(number: u32) -> String {
    format!("root-{number}.key")
}

impl Authority {
    /// Makes the authority's keys and certificates in `dir`; refuses when there are some.
    pub fn init(dir: &Path, domain: TrustDomain, now: Timestamp) -> Result<Authority, CaError> {
        Authority::init_with(dir, domain, Keys::default(), now)
    }

    /// The same, with a say in where keys go and whether they are sealed.
    pub fn init_with(
        dir: &Path,
        domain: TrustDomain,
        keys: Keys<'_>,
        now: Timestamp,
    ) -> Result<Authority, CaError> {
        if dir.join("root.crt").exists() {
            return Err(CaError::Exists(dir.to_owned()));
        }
        let made = DirBuilder::new().recursive(true).mode(0o700).create(dir);
        made.map_err(file("make the folder", dir))?;
        let (roots_to, pass) = (keys.roots_to.unwrap_or(dir), keys.passphrase);
        let (first_key, next_key) = (key()?, key()?);
        write_key(roots_to, &root_key(1), &first_key, pass)?;
        write_key(roots_to, &root_key(2), &next_key, pass)?;
        let root = profile::root(&domain, "root 1", &first_key, serial()?, now)?;
        let next = profile::root(&domain, "root 2", &next_key, serial()?, now)?;
        write(dir, "next-root.crt", &pem(&next))?;
        let root_issuer = files::issuer(&root, first_key, "root.crt")?;
        for purpose in [Purpose::Gateways, Purpose::Servers] {
            issue(dir, purpose, &domain, &root_issuer, pass, now)?;
        }
        // Last, because its presence says that all of it is there.
        write(dir, "root.crt", &pem(&root))?;
        Ok(Authority {
            domain,
            bundle: published(dir)?,
            gateways: files::issuing_by(dir, "gateways", pass)?,
            retired: Vec::new(),
            servers: files::issuing_by(dir, "servers", pass)?,
            lists_at: None,
            chips: chips(dir)?,
        })
    }

    /// Opens the authority in `dir`. The roots' keys need not be there. Sealed keys are opened by the passphrase that
    /// the process was given ([`super::passphrase::given`]).
    pub fn open(dir: &Path) -> Result<Authority, CaError> {
        let gateways = issuing(dir, "gateways")?;
        let mut retired = Vec::new();
        for name in names(dir, "gateways-")? {
            retired.push(issuing(dir, &name)?);
        }
        retired.sort_by_key(|older| std::cmp::Reverse(begun(older)));
        Ok(Authority {
            domain: leaf::domain_of(&gateways.cert)?,
            bundle: published(dir)?,
            servers: issuing(dir, "servers")?,
            gateways,
            retired,
            lists_at: None,
            chips: chips(dir)?,
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

/// The key for TPMs: made when it is first needed, and then kept, because hashes by it are in the database.
pub fn chips(dir: &Path) -> Result<ChipKey, CaError> {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let path = dir.join(CHIP_KEY);
    if !path.exists() {
        write(dir, CHIP_KEY, &STANDARD.encode(random::<32>()?))?;
    }
    let text = read(&path)?;
    let bytes = STANDARD
        .decode(text.trim_ascii())
        .ok()
        .and_then(|bytes| bytes.try_into().ok());
    bytes
        .map(|bytes| ChipKey::new(&bytes))
        .ok_or_else(|| damaged(&path, "not 32 bytes in base64"))
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

/// What members trust, from the folder; no key is read.
pub fn published(dir: &Path) -> Result<Bundle, CaError> {
    Ok(Bundle {
        active: cert(dir, "root.crt")?,
        next: cert(dir, "next-root.crt")?,
        leaving: certs(dir, "leaving-")?,
        links: certs(dir, "link-")?,
    })
}

/// The intermediates that issue, or issued, gateways' certificates, the one that issues now first; no key is read.
pub fn gateway_issuers(dir: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let older = names(dir, "gateways-")?;
    let all = std::iter::once("gateways".to_owned()).chain(older);
    all.map(|name| cert(dir, &format!("{name}.crt"))).collect()
}

/// Roots that no member trusts any more: what was signed in their time is still checked by them.
pub fn former_roots(dir: &Path) -> Result<Vec<CertificateDer<'static>>, CaError> {
    certs(dir, "former-")
}

/// Keys of roots that lie in the authority's folder, where they are not needed.
pub fn root_keys_here(dir: &Path) -> Result<Vec<PathBuf>, CaError> {
    let mut found = listed(dir)?;
    found.retain(|name| name.starts_with("root-") && is_key(name));
    Ok(found.into_iter().map(|name| dir.join(name)).collect())
}

/// Whether a file of the folder is a private key.
pub(super) fn is_key(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|end| end == "key")
}

/// Makes an intermediate under a root: its certificate and its key in `dir`.
pub(super) fn issue(
    dir: &Path,
    purpose: Purpose,
    domain: &TrustDomain,
    root: &rcgen::Issuer<'_, rcgen::KeyPair>,
    passphrase: Option<&Passphrase>,
    now: Timestamp,
) -> Result<CertificateDer<'static>, CaError> {
    let key = key()?;
    let made = profile::issuing(domain, purpose, &key, serial()?, now, root)?;
    write_key(dir, &format!("{}.key", purpose.name()), &key, passphrase)?;
    write(dir, &format!("{}.crt", purpose.name()), &pem(&made))?;
    Ok(made)
}

fn certs(dir: &Path, prefix: &str) -> Result<Vec<CertificateDer<'static>>, CaError> {
    let names = names(dir, prefix)?;
    names
        .iter()
        .map(|name| cert(dir, &format!("{name}.crt")))
        .collect()
}

/// The certificates in `dir` whose file names begin so, without `.crt`, in order.
fn names(dir: &Path, prefix: &str) -> Result<Vec<String>, CaError> {
    let found = listed(dir)?;
    let fits = |name: &String| {
        let stem = name.strip_suffix(".crt")?;
        stem.starts_with(prefix).then(|| stem.to_owned())
    };
    Ok(found.iter().filter_map(fits).collect())
}

pub(super) fn listed(dir: &Path) -> Result<Vec<String>, CaError> {
    let entries = fs::read_dir(dir).map_err(file("list", dir))?;
    let mut found = Vec::new();
    for entry in entries {
        let name = entry.map_err(file("list", dir))?.file_name();
        found.extend(name.into_string());
    }
    found.sort();
    Ok(found)
}

fn begun(issuing: &Issuing) -> i64 {
    bundle::parse(&issuing.cert).map_or(0, |cert| cert.validity().not_before.timestamp())
}
