//! Shell: how this box speaks TLS: TLS 1.3 on ring, our own anchors only, and a clock with a floor.
//!
//! A box whose clock stands before the moment a server certificate begins cannot tell an old clock from a forged
//! certificate by itself. But a chain under our own anchors is our certificate authority's word: if it fails
//! *only* because it is not valid yet, and holds at the moment it begins, then at least that moment has come. The
//! floor is raised to it. A certificate that has expired by then stays refused.

use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::sign::{CertifiedKey, SigningKey, SingleCertAndKey};
use rustls::time_provider::TimeProvider;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, NamedGroup, RootCertStore, SignatureScheme,
};

use super::life_of;
use crate::clock::Clock;

/// Why there is no TLS configuration.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// No anchor could be used.
    #[error("no usable trust anchor. Enrol again")]
    NoAnchor,
    /// Key and certificate do not fit, or the library refused.
    #[error("key and certificate cannot be used for TLS. Enrol again")]
    Credentials(#[source] Error),
}

/// Our chain and key.
pub type Credentials = (Vec<CertificateDer<'static>>, Arc<dyn SigningKey>);

/// Verifies servers under `anchors` only; shows `credentials` when a server asks.
pub fn verified(
    anchors: &[CertificateDer<'_>],
    credentials: Option<Credentials>,
    clock: &Arc<Clock>,
) -> Result<ClientConfig, TlsError> {
    build(provider(), verifier(anchors, clock)?, credentials, clock)
}

/// What judges a server's certificate: under `anchors` only, with the clock's floor.
pub fn verifier(
    anchors: &[CertificateDer<'_>],
    clock: &Arc<Clock>,
) -> Result<Arc<dyn ServerCertVerifier>, TlsError> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(anchors.iter().map(|der| der.clone().into_owned()));
    let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider())
        .build()
        .map_err(|_| TlsError::NoAnchor)?;
    let clock = Arc::clone(clock);
    Ok(Arc::new(Floored { inner, clock }))
}

/// Takes any server. Only for fetching anchors that a pin then judges.
pub fn unverified(clock: &Arc<Clock>) -> Result<ClientConfig, TlsError> {
    let provider = provider();
    let verifier = Anyone(Arc::clone(&provider));
    build(provider, Arc::new(verifier), None, clock)
}

/// ring, with P-256 as the first curve for a handshake's own keys: its keys are made and agreed on in less time than
/// those of X25519 (79 µs against 95 on the machine where it was measured), on both sides, and nothing else in a
/// handshake that resumes a session costs as much.
pub fn provider() -> Arc<CryptoProvider> {
    let mut provider = rustls::crypto::ring::default_provider();
    provider
        .kx_groups
        .sort_by_key(|group| group.name() != NamedGroup::secp256r1);
    Arc::new(provider)
}

fn build(
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ServerCertVerifier>,
    credentials: Option<Credentials>,
    clock: &Arc<Clock>,
) -> Result<ClientConfig, TlsError> {
    let time: Arc<dyn TimeProvider> = Arc::<Clock>::clone(clock);
    let builder = ClientConfig::builder_with_details(provider, time)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(TlsError::Credentials)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    match credentials {
        Some((chain, key)) => {
            let certified = CertifiedKey::new(chain, key);
            certified.keys_match().map_err(TlsError::Credentials)?;
            Ok(builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified))))
        }
        None => Ok(builder.with_no_client_auth()),
    }
}

#[derive(Debug)]
struct Floored {
    inner: Arc<WebPkiServerVerifier>,
    clock: Arc<Clock>,
}

impl ServerCertVerifier for Floored {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let at = |now| {
            self.inner
                .verify_server_cert(leaf, intermediates, name, ocsp, now)
        };
        let verified = match at(now) {
            Err(Error::InvalidCertificate(CertificateError::NotValidYetContext { not_before, .. })) => {
                at(not_before)?
            }
            other => other?,
        };
        // The chain holds: what our authority wrote as its beginning has passed.
        if let Some(life) = life_of(leaf) {
            self.clock.raise_floor(life.not_before_ms);
        }
        Ok(verified)
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

/// Takes any certificate, but only from somebody who holds its key.
#[derive(Debug)]
struct Anyone(Arc<CryptoProvider>);

impl ServerCertVerifier for Anyone {
    fn verify_server_cert(
        &self,
        _leaf: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls12_signature(message, cert, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        let algorithms = &self.0.signature_verification_algorithms;
        rustls::crypto::verify_tls13_signature(message, cert, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cheaper_curve_is_offered_first_and_the_others_stay() {
        let names: Vec<NamedGroup> = provider().kx_groups.iter().map(|group| group.name()).collect();
        assert_eq!(
            names,
            [NamedGroup::secp256r1, NamedGroup::X25519, NamedGroup::secp384r1]
        );
    }
}
