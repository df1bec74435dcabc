//! Modbus/TCP Security: what a line and a guard need for mutual TLS 1.3, from PEM texts.
//!
//! # Design
//! - Keys and certificates are the site's, not the identity of the box: devices and other masters know a site, and a
//!   device's authority must never vouch for a gateway.
//! - The authority of the other side is pinned: no public root counts. TLS 1.3 only, and no way back to plain
//!   Modbus: who configures TLS gets TLS or an error.

use std::fmt;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::server::WebPkiClientVerifier;
use rustls::time_provider::TimeProvider;
use rustls::{ClientConfig, RootCertStore, ServerConfig};

use crate::modbus::role::Role;

/// Whom to trust and who we are, as PEM texts.
#[derive(Clone, Copy)]
pub struct Pem<'a> {
    /// The authority of the other side, one or more certificates.
    pub authority: &'a [u8],
    /// Our certificate, then its intermediates.
    pub certificate: &'a [u8],
    /// The private key of our certificate.
    pub key: &'a [u8],
}

/// Why the texts cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsFault {
    /// One of them is not what it should be.
    #[error("the {0} is not PEM, or holds none")]
    Pem(&'static str),
    /// The authority cannot be used.
    #[error("no certificate of the authority can be used")]
    Authority,
    /// Key and certificate do not fit together, or the library refused them.
    #[error("key and certificate cannot be used together")]
    Credentials(#[source] rustls::Error),
    /// Not a name that a certificate can hold.
    #[error("`{0}` is neither a host name nor an IP address")]
    Name(String),
}

/// How a line speaks to one device.
#[derive(Clone)]
pub struct Secured {
    /// The settings of the handshake.
    pub config: Arc<ClientConfig>,
    /// The name that the device's certificate must hold.
    pub name: ServerName<'static>,
    /// What our certificate lets us do there, as the device reads it.
    pub role: Option<Role>,
}

impl fmt::Debug for Secured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Secured { name, role, .. } = self;
        write!(f, "Secured {{ name: {name:?}, role: {role:?} }}")
    }
}

struct Read {
    authority: RootCertStore,
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
}

fn read(pem: Pem<'_>) -> Result<Read, TlsFault> {
    let chain = certificates(pem.certificate, "certificate")?;
    let key = PrivateKeyDer::from_pem_slice(pem.key).map_err(|_| TlsFault::Pem("key"))?;
    let mut authority = RootCertStore::empty();
    let (used, _) = authority.add_parsable_certificates(certificates(pem.authority, "authority")?);
    if used == 0 {
        return Err(TlsFault::Authority);
    }
    Ok(Read {
        authority,
        chain,
        key,
    })
}

fn certificates(pem: &[u8], what: &'static str) -> Result<Vec<CertificateDer<'static>>, TlsFault> {
    let all: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem).collect();
    all.ok().filter(|all| !all.is_empty()).ok_or(TlsFault::Pem(what))
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

/// For a line to the device whose certificate holds `name`. `time` is the clock that lifetimes are judged by.
pub fn client(pem: Pem<'_>, name: &str, time: Arc<dyn TimeProvider>) -> Result<Secured, TlsFault> {
    let read = read(pem)?;
    let name = ServerName::try_from(name.to_owned()).map_err(|_| TlsFault::Name(name.to_owned()))?;
    let role = read.chain.first().and_then(|leaf| Role::of(leaf));
    let config = ClientConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsFault::Credentials)?
        .with_root_certificates(read.authority)
        .with_client_auth_cert(read.chain, read.key)
        .map_err(TlsFault::Credentials)?;
    Ok(Secured {
        config: Arc::new(config),
        name,
        role,
    })
}

/// For a guard that other masters reach: each must show a certificate of `pem.authority`.
pub fn server(pem: Pem<'_>, time: Arc<dyn TimeProvider>) -> Result<Arc<ServerConfig>, TlsFault> {
    let read = read(pem)?;
    let masters = WebPkiClientVerifier::builder_with_provider(Arc::new(read.authority), provider())
        .build()
        .map_err(|_| TlsFault::Authority)?;
    let mut config = ServerConfig::builder_with_details(provider(), time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsFault::Credentials)?
        .with_client_cert_verifier(masters)
        .with_single_cert(read.chain, read.key)
        .map_err(TlsFault::Credentials)?;
    // A ticket would let a master come back without showing its certificate again.
    config.send_tls13_tickets = 0;
    Ok(Arc::new(config))
}
