//! A client verifier that forgives a certificate its age, for a while, and nothing else.

use std::sync::Arc;
use std::time::Duration;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

/// Checks a certificate that ended within the grace as if now were its last second: chain, signatures and
/// revocation stay with the inner verifier.
#[derive(Debug)]
pub struct Late {
    inner: Arc<dyn ClientCertVerifier>,
    grace: Duration,
}

impl Late {
    /// Forgives `days` days.
    pub fn new(inner: Arc<dyn ClientCertVerifier>, days: i64) -> Late {
        Late {
            inner,
            grace: Duration::from_hours(u64::try_from(days).unwrap_or(0) * 24),
        }
    }
}

/// At which moment a certificate that ends at `not_after` is to be judged.
fn judged_at(not_after: i64, now: UnixTime, grace: Duration) -> UnixTime {
    let Ok(end) = u64::try_from(not_after) else {
        return now;
    };
    let late = now.as_secs().saturating_sub(end);
    if (1..=grace.as_secs()).contains(&late) {
        UnixTime::since_unix_epoch(Duration::from_secs(end))
    } else {
        now
    }
}

impl ClientCertVerifier for Late {
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let (_, cert) = x509_parser::parse_x509_certificate(leaf)
            .map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))?;
        let at = judged_at(cert.validity().not_after.timestamp(), now, self.grace);
        self.inner.verify_client_cert(leaf, chain, at)
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.inner.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.inner.client_auth_mandatory()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_grace_is_forgiven() {
        let at = |secs| UnixTime::since_unix_epoch(Duration::from_secs(secs));
        let grace = Duration::from_secs(100);
        assert_eq!(judged_at(1000, at(900), grace), at(900));
        assert_eq!(judged_at(1000, at(1000), grace), at(1000));
        assert_eq!(judged_at(1000, at(1050), grace), at(1000));
        assert_eq!(judged_at(1000, at(1100), grace), at(1000));
        assert_eq!(judged_at(1000, at(1101), grace), at(1101));
        assert_eq!(judged_at(-1, at(5), grace), at(5));
    }
}
