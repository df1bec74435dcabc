//! Shell: makers of TPMs whose word counts: a folder of their certificates, PEM or DER.
//!
//! Self-signed certificates are anchors, others complete chains. A chip whose certificate leads to one of the anchors
//! is "a real chip of a known maker"; without the folder no chip is.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads certificates from a folder"
)]

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;
use std::time::Duration;

use homeward_protocol::time::Timestamp;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, TrustAnchor, UnixTime};
use webpki::{EndEntityCert, KeyUsage};

/// Most certificates that are read: all makers together have some hundred.
const MOST: usize = 1000;
/// Longest file, bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// tcg-kp-EKCertificate, 2.23.133.8.1, as in DER. Source: TCG EK Credential Profile, section 3.2.16.
const EK_CERTIFICATE: &[u8] = &[0x67, 0x81, 0x05, 0x08, 0x01];

/// The makers' certificates.
#[derive(Debug, Default)]
pub struct Makers {
    anchors: Vec<TrustAnchor<'static>>,
    others: Vec<CertificateDer<'static>>,
}

impl Makers {
    /// Those of a folder. A file in it that is no certificate is an error: a typing error would else cost every
    /// gateway a tier.
    pub fn load(dir: &Path) -> io::Result<Makers> {
        let mut makers = Makers::default();
        for entry in fs::read_dir(dir)? {
            let path = entry?.path();
            let mut bytes = Vec::new();
            File::open(&path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
            let wrong = || io::Error::other(format!("{} holds no certificate", path.display()));
            let mut found: Vec<_> = CertificateDer::pem_slice_iter(&bytes)
                .filter_map(Result::ok)
                .collect();
            if found.is_empty() {
                found.push(CertificateDer::from(bytes));
            }
            for certificate in found {
                makers.add(certificate).ok_or_else(wrong)?;
            }
        }
        Ok(makers)
    }

    /// How many anchors there are.
    pub fn anchors(&self) -> usize {
        self.anchors.len()
    }

    fn add(&mut self, certificate: CertificateDer<'static>) -> Option<()> {
        if self.anchors.len() + self.others.len() >= MOST {
            return None;
        }
        let (_, parsed) = x509_parser::parse_x509_certificate(&certificate).ok()?;
        if parsed.subject() == parsed.issuer() {
            self.anchors
                .push(webpki::anchor_from_trusted_cert(&certificate).ok()?.to_owned());
        } else {
            self.others.push(certificate);
        }
        Some(())
    }

    /// Whether one of the makers vouches for the chip of this certificate (DER), now.
    ///
    /// Off spec: revocation lists of makers are not fetched; a server in a home-care organisation reaches few of them.
    pub fn vouch(&self, certificate: &[u8], now: Timestamp) -> Result<(), String> {
        if self.anchors.is_empty() {
            return Err("no makers are configured".into());
        }
        let certificate = CertificateDer::from(certificate);
        let leaf = EndEntityCert::try_from(&certificate).map_err(|e| e.to_string())?;
        let at = UnixTime::since_unix_epoch(Duration::from_secs(u64::try_from(now.secs()).unwrap_or(0)));
        let algorithms = rustls::crypto::ring::default_provider().signature_verification_algorithms;
        leaf.verify_for_usage(
            algorithms.all,
            &self.anchors,
            &self.others,
            at,
            KeyUsage::required_if_present(EK_CERTIFICATE),
            None,
            None,
        )
        .map(drop)
        .map_err(|e| e.to_string())
    }
}
