//! Which key spoke for which gateway, and when: by published certificates that lead to the given roots.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use rustls::RootCertStore;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::ClientCertVerifier;
use x509_parser::certificate::X509Certificate;

use crate::ca::Rank;
use crate::ca::leaf::{Leaf, domain_of};

/// Why there is nothing to check against.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PapersError {
    /// The roots or the revocation list cannot be used.
    #[error("the roots or the revocation list cannot be used: {0}")]
    Roots(String),
}

/// One gateway's key for a time.
#[derive(Debug, Clone)]
pub struct Paper {
    leaf: Leaf,
    from: Timestamp,
    until: Timestamp,
}

impl Paper {
    /// The key.
    pub fn key(&self) -> &PublicKey {
        &self.leaf.key
    }

    /// Whether it is the spare key.
    pub fn is_spare(&self) -> bool {
        self.leaf.rank == Rank::Spare
    }

    /// Whether it and its issuer were valid at that moment.
    pub fn valid_at(&self, at: Timestamp) -> bool {
        self.from.ms <= at.ms && at.ms <= self.until.ms
    }
}

/// The keys among them, each once.
pub fn keys(papers: &[Paper]) -> impl Iterator<Item = &PublicKey> {
    let first = |n: usize| papers[..n].iter().all(|p| p.key() != papers[n].key());
    (0..papers.len())
        .filter(move |n| first(*n))
        .map(|n| papers[n].key())
}

/// All certificates of gateways that lead to the roots.
#[derive(Debug, Default)]
pub struct Papers {
    by_gateway: HashMap<GatewayId, Vec<Paper>>,
    refused: Vec<String>,
}

impl Papers {
    /// Reads certificates: those of gateways and those of their issuers, in any order. Those of gateways that do not
    /// lead to one of `roots`, or that stand on one of the revocation `lists`, are left out and named by
    /// [`Papers::refused`]. With lists, so are those of an issuer that has none among them.
    pub fn read(
        roots: &[CertificateDer<'static>],
        certificates: &[CertificateDer<'static>],
        lists: Vec<CertificateRevocationListDer<'static>>,
    ) -> Result<Papers, PapersError> {
        let verifier = verifier(roots, lists)?;
        let is_issuer = |der: &&CertificateDer<'static>| parse(der).is_some_and(|cert| cert.is_ca());
        let issuers: Vec<CertificateDer<'static>> = certificates.iter().filter(is_issuer).cloned().collect();
        let mut papers = Papers::default();
        for der in certificates.iter().filter(|der| !is_issuer(der)) {
            match paper(der, &issuers, verifier.as_ref()) {
                Ok(paper) => {
                    let of = papers.by_gateway.entry(paper.leaf.gateway.clone());
                    of.or_default().push(paper);
                }
                Err(why) => papers.refused.push(why),
            }
        }
        Ok(papers)
    }

    /// The certificates that name this gateway.
    pub fn of(&self, gateway: &GatewayId) -> &[Paper] {
        self.by_gateway.get(gateway).map_or(&[], Vec::as_slice)
    }

    /// Every key that a certificate names a gateway for.
    pub fn keys(&self) -> impl Iterator<Item = &PublicKey> {
        self.by_gateway.values().flat_map(|papers| keys(papers))
    }

    /// Why certificates were left out, in plain words.
    pub fn refused(&self) -> &[String] {
        &self.refused
    }
}

fn verifier(
    roots: &[CertificateDer<'static>],
    lists: Vec<CertificateRevocationListDer<'static>>,
) -> Result<Arc<dyn ClientCertVerifier>, PapersError> {
    let mut anchors = RootCertStore::empty();
    for root in roots {
        let added = anchors.add(root.clone());
        added.map_err(|e| PapersError::Roots(e.to_string()))?;
    }
    let built = WebPkiClientVerifier::builder_with_provider(Arc::new(anchors), Arc::new(default_provider()))
        .with_crls(lists)
        .only_check_end_entity_revocation()
        .build();
    built.map_err(|e| PapersError::Roots(e.to_string()))
}

fn parse<'a>(der: &'a CertificateDer<'_>) -> Option<X509Certificate<'a>> {
    x509_parser::parse_x509_certificate(der)
        .ok()
        .map(|(_, cert)| cert)
}

/// A chain that holds at both ends of a time holds throughout: each certificate in it is valid for one stretch.
fn paper(
    der: &CertificateDer<'static>,
    issuers: &[CertificateDer<'static>],
    verifier: &dyn ClientCertVerifier,
) -> Result<Paper, String> {
    let cert = parse(der).ok_or("something that is no certificate")?;
    let name = cert.subject().to_string();
    let of = |issuer: &&CertificateDer<'static>| {
        parse(issuer).is_some_and(|i| i.subject().as_raw() == cert.issuer().as_raw())
    };
    let issuer = issuers
        .iter()
        .find(of)
        .ok_or(format!("{name}: the certificate of its issuer is not here"))?;
    let domain = domain_of(issuer).map_err(|e| format!("{name}: {e}"))?;
    let leaf = Leaf::read(der, &domain).map_err(|e| format!("{name}: {e}"))?;
    let (from, until) =
        both(&leaf, issuer).ok_or(format!("{name}: valid at no time together with its issuer"))?;
    for at in [from, until] {
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(at.secs()).unwrap_or(0)));
        let held = verifier.verify_client_cert(der, issuers, at);
        held.map_err(|e| format!("{name}, number {}: {e}", leaf.serial))?;
    }
    Ok(Paper { leaf, from, until })
}

/// The time for which a certificate and its issuer are both valid.
fn both(leaf: &Leaf, issuer: &CertificateDer<'static>) -> Option<(Timestamp, Timestamp)> {
    let of = parse(issuer)?;
    let issuer = of.validity();
    let from = leaf.not_before.secs().max(issuer.not_before.timestamp());
    let until = leaf.not_after.secs().min(issuer.not_after.timestamp());
    let at = |secs: i64| Timestamp::synced(secs.saturating_mul(1000));
    (from <= until).then(|| (at(from), at(until)))
}
