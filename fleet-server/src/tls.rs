//! What our listeners demand of a TLS handshake.
//!
//! | door | versions | client certificate | resumption |
//! |---|---|---|---|
//! | gate | 1.3 | required, current, not revoked | stateless tickets, one each |
//! | enrolment | 1.2, 1.3 | may be shown; then as at the gate | none |
//! | renewal | 1.2, 1.3 | required, up to [`LATE_DAYS`] late, not revoked | none |
//! | console | 1.2, 1.3 | none | stateless tickets |
//!
//! # Design
//! A resumed session does not run the client verifier (seen with rustls 0.23, TLS 1.2 and 1.3): a gateway that was
//! revoked in between comes back in. So where a certificate renews there is no resumption at all, each door has a
//! ticket key of its own, the gate takes a new ticket key whenever a number joins the revocation list, and whoever
//! lets a client in holds its certificate against the store after the handshake.
//!
//! The anchors for clients are the intermediates that issue, or issued, gateways' certificates: a client may send its
//! own certificate alone, and a certificate from any other branch of the tree leads nowhere. Enrolment allows TLS 1.2
//! because strongSwan 5.9.8, an independent EST client, speaks it.

pub mod doors;
pub mod known;
pub mod late;
pub mod recent;
pub mod refusal;

use std::collections::HashSet;
use std::sync::Arc;

use homeward_protocol::support::{ALPN, ALPN_MQTT};
use rustls::client::VerifierBuilderError;
use rustls::crypto::CryptoProvider;
use rustls::crypto::ring::{Ticketer, default_provider};
use rustls::pki_types::CertificateDer;
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{
    ClientCertVerifierBuilder, NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier,
};
use rustls::time_provider::TimeProvider;
use rustls::version::{TLS12, TLS13};
use rustls::{CipherSuite, RootCertStore, ServerConfig, SupportedProtocolVersion};

use self::known::{Known, Proved};
use crate::ca::{Authority, CaError, Identity, LATE_DAYS, Listed, Revoked, Serial};

/// A clock that the TLS library can ask; [`crate::clock::Clock`] is one.
pub trait Time: TimeProvider + Clone + 'static {}
impl<T: TimeProvider + Clone + 'static> Time for T {}

/// Why a listener's TLS could not be set up.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The certificate and its key do not go together, or the library refuses one.
    #[error("the certificate or key of a listener cannot be used")]
    Identity(#[source] rustls::Error),
    /// The authority's own certificate or list is refused.
    #[error("the authority's certificate or revocation list cannot be used: {0}")]
    Trust(String),
    /// The authority could not sign its list.
    #[error("the revocation list could not be made")]
    List(#[source] CaError),
}

/// What a client's certificate is held against.
#[derive(Debug, Clone)]
pub struct Trust {
    /// The issuers of gateways' certificates, the one that issues now first.
    pub issuers: Vec<CertificateDer<'static>>,
    /// Their revocation lists, in the same order.
    pub lists: Vec<Listed>,
    /// The numbers on those lists: what the gate looks them up in.
    pub revoked: HashSet<Serial>,
}

impl Trust {
    /// As the authority has it now.
    pub fn of(
        authority: &Authority,
        revoked: &[Revoked],
        now: homeward_protocol::time::Timestamp,
    ) -> Result<Trust, TlsError> {
        Ok(Trust {
            issuers: authority.gateway_issuers(now),
            lists: authority.crls(revoked, now).map_err(TlsError::List)?,
            revoked: revoked.iter().map(|gone| gone.serial).collect(),
        })
    }
}

/// The gate's TLS: see the table above. `tickets` and `proved` outlive a change of certificate or list.
///
/// Of the cipher suites the one with SHA-256 is taken if the client has it: its hash is done by the processor, and
/// the one of SHA-384 costs more than the encryption of a whole handshake.
pub fn gate(
    identity: &Identity,
    trust: &Trust,
    tickets: &Arc<dyn ProducesTickets>,
    proved: &Proved,
    clock: &impl Time,
) -> Result<Arc<ServerConfig>, TlsError> {
    let chain = unlisted(trust)?.build().map_err(untrusted)?;
    let verifier = Known::new(chain, &trust.issuers, trust.revoked.clone(), proved);
    let mut config = config(identity, &[&TLS13], Arc::new(verifier), clock)?;
    config.ignore_client_order = true;
    // A client that names neither speaks MQTT.
    config.alpn_protocols = vec![ALPN_MQTT.to_vec(), ALPN.to_vec()];
    config.ticketer = Arc::clone(tickets);
    config.send_tls13_tickets = 1;
    Ok(Arc::new(config))
}

/// The TLS of the enrolment listener. Each handler that needs a client certificate must ask for it.
pub fn enrol(identity: &Identity, trust: &Trust, clock: &impl Time) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = verifier(trust, Anonymous::Admit)?;
    config(identity, &[&TLS13, &TLS12], verifier, clock).map(Arc::new)
}

/// The TLS of the renewal listener.
pub fn renewal(identity: &Identity, trust: &Trust, clock: &impl Time) -> Result<Arc<ServerConfig>, TlsError> {
    let verifier = late::Late::new(verifier(trust, Anonymous::Refuse)?, LATE_DAYS);
    config(identity, &[&TLS13, &TLS12], Arc::new(verifier), clock).map(Arc::new)
}

/// The console's TLS.
pub fn web(
    identity: &Identity,
    tickets: &Arc<dyn ProducesTickets>,
    clock: &impl Time,
) -> Result<Arc<ServerConfig>, TlsError> {
    let nobody = WebPkiClientVerifier::no_client_auth();
    let mut config = config(identity, &[&TLS13, &TLS12], nobody, clock)?;
    config.ticketer = Arc::clone(tickets);
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// A ticket key of its own for one door; it turns by itself every six hours.
pub fn tickets() -> Result<Arc<dyn ProducesTickets>, TlsError> {
    Ticketer::new().map_err(TlsError::Identity)
}

/// Whether a client may show no certificate.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Anonymous {
    Admit,
    Refuse,
}

fn provider() -> Arc<CryptoProvider> {
    let mut provider = default_provider();
    // The order counts where the client's does not: see `gate`.
    provider
        .cipher_suites
        .sort_by_key(|suite| suite.suite() != CipherSuite::TLS13_AES_128_GCM_SHA256);
    Arc::new(provider)
}

/// What holds a client's chain against the issuer, without any list.
fn unlisted(trust: &Trust) -> Result<ClientCertVerifierBuilder, TlsError> {
    let mut anchors = RootCertStore::empty();
    for issuer in &trust.issuers {
        let added = anchors.add(issuer.clone());
        added.map_err(|e| TlsError::Trust(e.to_string()))?;
    }
    Ok(WebPkiClientVerifier::builder_with_provider(
        Arc::new(anchors),
        provider(),
    ))
}

fn verifier(trust: &Trust, anonymous: Anonymous) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    let builder = unlisted(trust)?
        .with_crls(trust.lists.iter().map(|list| list.crl.clone()))
        .only_check_end_entity_revocation();
    let builder = match anonymous {
        Anonymous::Admit => builder.allow_unauthenticated(),
        Anonymous::Refuse => builder,
    };
    builder.build().map_err(untrusted)
}

#[expect(clippy::needless_pass_by_value, reason = "for map_err")]
fn untrusted(error: VerifierBuilderError) -> TlsError {
    TlsError::Trust(error.to_string())
}

fn config(
    identity: &Identity,
    versions: &[&'static SupportedProtocolVersion],
    verifier: Arc<dyn ClientCertVerifier>,
    clock: &impl Time,
) -> Result<ServerConfig, TlsError> {
    let mut config = ServerConfig::builder_with_details(provider(), Arc::new(clock.clone()))
        .with_protocol_versions(versions)
        .map_err(TlsError::Identity)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(identity.chain.clone(), identity.key.clone_key())
        .map_err(TlsError::Identity)?;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.send_tls13_tickets = 0;
    Ok(config)
}

#[cfg(test)]
mod tests;
