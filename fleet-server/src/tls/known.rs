//! A client verifier that does not prove twice what cannot have changed.
//!
//! # Design
//! When a server or a line comes back, every gateway connects anew with the certificate that it has shown before, and
//! checking signatures is most of what that costs. Two of the three are over bytes that the server knows:
//!
//! - The issuer's signature over a certificate. What was proved once about these very bytes (SHA-256 over all of
//!   them) under this very issuer stays true, so it is remembered. The dates are looked at each time.
//! - Our own authority's signature over the revocation list, which the library checks at each handshake. The numbers
//!   on it are at hand ([`super::Trust`]), so the certificate's number is looked up there, each time.
//!
//! What proves that the peer holds the key, its signature over this handshake, is checked each time: it is new each
//! time. What is remembered is bounded, and belongs to one set of issuers.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{CertificateError, DigitallySignedStruct, DistinguishedName, Error, SignatureScheme};

use super::recent::{Recent, fingerprint};
use crate::ca::Serial;

/// Certificates whose issuer's signature was proved. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Proved(Arc<Mutex<Under>>);

/// Certificates, and the issuers that they were held against.
#[derive(Debug, Default)]
struct Under {
    issuers: Vec<CertificateDer<'static>>,
    facts: Recent<Facts>,
}

/// What is looked at each time, of a certificate whose signature was proved.
#[derive(Debug, Clone, Copy)]
struct Facts {
    serial: Serial,
    /// Seconds since 1970, both inclusive.
    valid: (i64, i64),
}

/// Holds a certificate's chain against its issuer once, and its dates and its number each time.
#[derive(Debug)]
pub struct Known {
    chain: Arc<dyn ClientCertVerifier>,
    revoked: HashSet<Serial>,
    issuers: Vec<CertificateDer<'static>>,
    proved: Proved,
}

impl Known {
    /// `chain` proves chains and dates and demands a certificate; `issuers` are its anchors. `revoked` are the numbers
    /// that are not let in. What `proved` remembers of other issuers is forgotten.
    pub fn new(
        chain: Arc<dyn ClientCertVerifier>,
        issuers: &[CertificateDer<'static>],
        revoked: HashSet<Serial>,
        proved: &Proved,
    ) -> Known {
        let known = Known {
            chain,
            revoked,
            issuers: issuers.to_vec(),
            proved: proved.clone(),
        };
        known.with(|_| ());
        known
    }

    /// Whoever holds other issuers finds nothing, and leaves nothing to those who hold these.
    fn with<T>(&self, work: impl FnOnce(&mut Recent<Facts>) -> T) -> T {
        let mut all = self.proved.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.issuers != self.issuers {
            *all = Under {
                issuers: self.issuers.clone(),
                facts: Recent::default(),
            };
        }
        work(&mut all.facts)
    }

    fn facts(&self, leaf: &CertificateDer<'_>, now: UnixTime) -> Result<Facts, Error> {
        let fingerprint = fingerprint(leaf);
        let at = i64::try_from(now.as_secs()).unwrap_or(i64::MAX);
        let remembered = self.with(|all| all.get(&fingerprint));
        if let Some(facts) = remembered.filter(|facts| (facts.valid.0..=facts.valid.1).contains(&at)) {
            return Ok(facts);
        }
        // Also when it is out of its dates: the library finds the words for that.
        // Whatever chain is sent along, only the issuers themselves issue: no authority stands between.
        self.chain.verify_client_cert(leaf, &[], now)?;
        let facts = read(leaf)?;
        self.with(|all| all.put(fingerprint, facts));
        Ok(facts)
    }
}

fn read(leaf: &CertificateDer<'_>) -> Result<Facts, Error> {
    let odd = || Error::InvalidCertificate(CertificateError::BadEncoding);
    let (_, cert) = x509_parser::parse_x509_certificate(leaf).map_err(|_| odd())?;
    let validity = cert.validity();
    Ok(Facts {
        // One of another length is none of ours.
        serial: cert.raw_serial().try_into().map(Serial).map_err(|_| odd())?,
        valid: (validity.not_before.timestamp(), validity.not_after.timestamp()),
    })
}

impl ClientCertVerifier for Known {
    fn verify_client_cert(
        &self,
        leaf: &CertificateDer<'_>,
        _chain: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        let facts = self.facts(leaf, now)?;
        if self.revoked.contains(&facts.serial) {
            return Err(Error::InvalidCertificate(CertificateError::Revoked));
        }
        Ok(ClientCertVerified::assertion())
    }

    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        self.chain.root_hint_subjects()
    }

    fn client_auth_mandatory(&self) -> bool {
        self.chain.client_auth_mandatory()
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls12_signature(message, cert, signed)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.chain.verify_tls13_signature(message, cert, signed)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.chain.supported_verify_schemes()
    }
}
