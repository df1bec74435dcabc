//! The fleet's certificate authority: what its certificates say, and what a gateway's certificate must say.
//!
//! Decides only: it is given keys, serial numbers and the time. [`signer`] keeps the keys.
//!
//! # Design
//! Two roots are in every trust bundle from day one; the second is never used until the first must go. The first
//! signs two issuing intermediates: one for gateways (client use only) and one for servers (server use only), so
//! that a gateway's certificate can never pose as a server. A gateway's certificate has exactly one name, the URI
//! `spiffe://TRUST-DOMAIN/gateway/ID`; its common name repeats the id for people and tools. No name constraints:
//! webpki refuses every URI under any constraint.
//!
//! An intermediate that was followed by another one issues no more, but what it issued is believed to its end, and its
//! revocation list goes on: a box that was dark for months comes back with a certificate of it.

pub mod bundle;
pub mod files;
pub mod leaf;
pub mod passphrase;
pub mod profile;
pub mod rank;
pub mod rotate;
pub mod sealed;
pub mod signer;

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use homeward_protocol::attest::Tier;
use homeward_protocol::claim::Pin;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use rcgen::{Issuer, KeyPair};
use ring::digest::{SHA256, digest};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer, ServerName};

use crate::enrol::chip::ChipKey;
pub use bundle::Bundle;
pub use leaf::{Leaf, LeafError, gateway_of};
pub use rank::Rank;

/// How long a gateway's certificate is valid.
pub const GATEWAY_DAYS: i64 = 14;
/// How long a spare key's certificate is valid: it is renewed with the gateway's own and never by itself, so this is how
/// long a box with a dead TPM is heard until somebody has to come.
pub const SPARE_DAYS: i64 = 90;
/// How long after its end a gateway's certificate still renews, at the renewal listener only.
pub const LATE_DAYS: i64 = 180;
/// How long a server's certificate is valid; a new one is made when a third of it is left.
pub const SERVER_DAYS: i64 = 90;
/// How long a revocation list is good for.
pub const CRL_DAYS: i64 = 7;
/// One day in milliseconds.
pub const DAY_MS: i64 = 86_400_000;

/// Why the authority could not do it.
#[derive(Debug, thiserror::Error)]
pub enum CaError {
    /// A certificate or list could not be made or signed.
    #[error("could not make {what}")]
    Make {
        /// Which.
        what: &'static str,
        /// The library's words.
        source: rcgen::Error,
    },
    /// What is kept on the disk is not what it should be.
    #[error("{what} is not what it should be: {why}")]
    Damaged {
        /// Which file.
        what: String,
        /// What is wrong.
        why: String,
    },
    /// A file could not be read or written.
    #[error("could not {step} {path}")]
    File {
        /// What was being done.
        step: &'static str,
        /// To which file.
        path: std::path::PathBuf,
        /// The system's words.
        source: std::io::Error,
    },
    /// A key is sealed and there is nothing to open it with.
    #[error(
        "{0} is sealed by a passphrase: give it as the systemd credential `ca-passphrase`, or set \
         HOMEWARD_CA_PASSPHRASE_FILE to a file that holds it"
    )]
    Sealed(std::path::PathBuf),
    /// The passphrase is not the one.
    #[error("the passphrase does not open {0}")]
    Passphrase(std::path::PathBuf),
    /// What was asked for does not fit what there is.
    #[error("{0}")]
    Asked(String),
    /// The authority is made once.
    #[error("there is an authority in {0} already; it is made only once, and gateways trust this one")]
    Exists(std::path::PathBuf),
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
    /// A name for a server's certificate is not one.
    #[error("`{0}` is neither a DNS name nor an address")]
    Name(String),
}

/// The fleet's name in the ids of its members: a-z, 0-9, dots and hyphens, 1 to 63 characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TrustDomain(String);

impl FromStr for TrustDomain {
    type Err = CaError;
    fn from_str(text: &str) -> Result<Self, CaError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'.' || b == b'-';
        if (1..=63).contains(&text.len()) && text.bytes().all(plain) {
            Ok(TrustDomain(text.to_owned()))
        } else {
            Err(CaError::Damaged {
                what: format!("the trust domain `{text}`"),
                why: "it has 1 to 63 of a-z, 0-9, dots and hyphens".into(),
            })
        }
    }
}

impl fmt::Display for TrustDomain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TrustDomain {
    /// The one name in a gateway's certificate.
    pub fn gateway_uri(&self, gateway: &GatewayId) -> String {
        format!("spiffe://{self}/gateway/{gateway}")
    }
}

/// The number of a certificate: 16 random bytes, written as lower case hex.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Serial(pub [u8; 16]);

impl Serial {
    /// From random bytes; the top bit is cleared and the next one set, so that the number is positive and its
    /// length is always 16 bytes (RFC 5280, section 4.1.2.2).
    pub fn from_random(mut bytes: [u8; 16]) -> Serial {
        bytes[0] = bytes[0] & 0x7f | 0x40;
        Serial(bytes)
    }
}

impl fmt::Display for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl fmt::Debug for Serial {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Serial({self})")
    }
}

impl FromStr for Serial {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a serial number is 32 hex digits";
        if text.len() != 32 || !text.bytes().all(|b| b.is_ascii_hexdigit()) {
            return Err(wrong);
        }
        let mut bytes = [0; 16];
        for (byte, pair) in bytes.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong)?;
        }
        Ok(Serial(bytes))
    }
}

/// A certificate chain and its key: what a server shows. Its `Debug` does not show the key.
#[derive(Clone)]
pub struct Identity {
    /// The server's own certificate first.
    pub chain: Vec<CertificateDer<'static>>,
    /// Its private key.
    pub key: Arc<PrivateKeyDer<'static>>,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({} certificates)", self.chain.len())
    }
}

/// A certificate that is no longer to be accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Revoked {
    /// Which.
    pub serial: Serial,
    /// Since when.
    pub at: Timestamp,
}

/// A certificate just issued to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Issued {
    /// Its number.
    pub serial: Serial,
    /// For which key.
    pub key: PublicKey,
    /// What it says of that key.
    pub rank: Rank,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// The certificate itself.
    pub der: CertificateDer<'static>,
}

/// An issuing intermediate and its key.
pub(crate) struct Issuing {
    pub(crate) cert: CertificateDer<'static>,
    pub(crate) issuer: Issuer<'static, KeyPair>,
}

/// The revocation list of one issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// What the issuer's list is called where it is served: 16 hex digits of the SHA-256 over its key.
    pub name: String,
    /// The list.
    pub crl: CertificateRevocationListDer<'static>,
}

/// The authority as a running server holds it: both intermediates with their keys, the roots without.
pub struct Authority {
    pub(crate) domain: TrustDomain,
    pub(crate) bundle: Bundle,
    pub(crate) gateways: Issuing,
    /// Issuers of gateways' certificates that issue no more, the newest first.
    pub(crate) retired: Vec<Issuing>,
    pub(crate) servers: Issuing,
    /// Where the lists are served, for those who read them from elsewhere.
    pub(crate) lists_at: Option<String>,
    pub(crate) chips: ChipKey,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Authority({})", self.domain)
    }
}

impl Authority {
    /// The fleet's name.
    pub fn trust_domain(&self) -> &TrustDomain {
        &self.domain
    }

    /// What members trust.
    pub fn bundle(&self) -> &Bundle {
        &self.bundle
    }

    /// The roots that members trust, the active one first.
    pub fn trust_bundle(&self) -> Vec<CertificateDer<'static>> {
        self.bundle.roots()
    }

    /// Says in each certificate and list from now on where the lists are: `base` is an address without a slash at its
    /// end; the list of an issuer is at `base/crl/NAME`.
    #[must_use]
    pub fn with_lists_at(self, base: &str) -> Authority {
        let lists_at = Some(base.to_owned());
        Authority { lists_at, ..self }
    }

    /// The intermediate that issues gateways' certificates now.
    pub fn gateway_issuer(&self) -> &CertificateDer<'static> {
        &self.gateways.cert
    }

    /// The intermediates whose certificates still count at this moment, the one that issues first: the anchors that our
    /// own listeners have for clients.
    pub fn gateway_issuers(&self, now: Timestamp) -> Vec<CertificateDer<'static>> {
        self.issuing_at(now).map(|issuing| issuing.cert.clone()).collect()
    }

    /// An intermediate stops to count when the last certificate that it can have issued is too old even to renew: it
    /// issued until its successor began.
    fn issuing_at(&self, now: Timestamp) -> impl Iterator<Item = &Issuing> {
        let successors = std::iter::once(&self.gateways).chain(&self.retired);
        let older = self.retired.iter().zip(successors).filter(move |(_, next)| {
            let begun = bundle::parse(&next.cert).map_or(0, |cert| cert.validity().not_before.timestamp());
            now.secs() <= begun.saturating_add((GATEWAY_DAYS + LATE_DAYS + 1) * DAY_MS / 1000)
        });
        std::iter::once(&self.gateways).chain(older.map(|(older, _)| older))
    }

    /// What a claim pins: the active root's key.
    pub fn pin(&self) -> Result<Pin, CaError> {
        self.bundle.pin()
    }

    /// What hides TPMs' identities and makes their challenges.
    pub fn chips(&self) -> &ChipKey {
        &self.chips
    }

    /// A certificate for `gateway` over a `key` of which nothing is known, valid for [`GATEWAY_DAYS`].
    pub fn issue_gateway(
        &self,
        key: &PublicKey,
        gateway: &GatewayId,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        self.issue_ranked(key, gateway, Rank::Own(Tier::Software), serial, now)
    }

    /// The same for a key that the server can say more of. Nothing else in it can be asked for.
    pub fn issue_ranked(
        &self,
        key: &PublicKey,
        gateway: &GatewayId,
        rank: Rank,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Issued, CaError> {
        let lists = self.lists_of(&self.gateways)?;
        let named = profile::Named { gateway, rank };
        profile::gateway(&self.domain, key, named, serial, now, &lists, &self.gateways)
    }

    /// A certificate for a server over `key`, with the chain that leads to the root.
    pub fn issue_server(
        &self,
        names: &[ServerName<'static>],
        key: &KeyPair,
        serial: Serial,
        now: Timestamp,
    ) -> Result<Identity, CaError> {
        let cert = profile::server(names, key, serial, now, &self.servers.issuer)?;
        let key = PrivateKeyDer::Pkcs8(key.serialize_der().into());
        Ok(Identity {
            chain: vec![cert, self.servers.cert.clone()],
            key: Arc::new(key),
        })
    }

    /// The revocation list of the intermediate that issues gateways' certificates now.
    pub fn crl(
        &self,
        revoked: &[Revoked],
        now: Timestamp,
    ) -> Result<CertificateRevocationListDer<'static>, CaError> {
        Ok(self.list(&self.gateways, revoked, now)?.crl)
    }

    /// The revocation lists of all intermediates that still count, the one that issues first. Each names all of
    /// `revoked`: a number belongs to one certificate of the fleet, whoever issued it.
    pub fn crls(&self, revoked: &[Revoked], now: Timestamp) -> Result<Vec<Listed>, CaError> {
        self.issuing_at(now)
            .map(|issuing| self.list(issuing, revoked, now))
            .collect()
    }

    fn list(&self, issuing: &Issuing, revoked: &[Revoked], now: Timestamp) -> Result<Listed, CaError> {
        let lists = self.lists_of(issuing)?;
        let crl = profile::crl(&self.domain, revoked, now, &lists, &issuing.issuer)?;
        let name = list_name(&issuing.cert)?;
        Ok(Listed { name, crl })
    }

    fn lists_of(&self, issuing: &Issuing) -> Result<profile::ListsAt, CaError> {
        let name = list_name(&issuing.cert)?;
        let address = self.lists_at.as_ref().map(|base| format!("{base}/crl/{name}"));
        Ok(profile::ListsAt(address))
    }
}

fn list_name(issuer: &CertificateDer<'_>) -> Result<String, CaError> {
    let hash = digest(&SHA256, bundle::parse(issuer)?.public_key().raw);
    Ok(bundle::hex(hash.as_ref().get(..8).unwrap_or_default()))
}

#[cfg(test)]
mod tests;
