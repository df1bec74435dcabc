//! The keys of the fleet's roots: what a keyring must be signed by.

use std::fmt;
use std::sync::Arc;

use homeward_protocol::signed::PublicKey;
use rustls::pki_types::CertificateDer;

/// The keys of these certificates; what is none of P-256 is left out.
pub fn keys_of(certificates: &[CertificateDer<'_>]) -> Vec<PublicKey> {
    let key = |certificate: &CertificateDer<'_>| {
        let (_, parsed) = x509_parser::parse_x509_certificate(certificate).ok()?;
        PublicKey::from_spki(parsed.public_key().raw)
    };
    certificates.iter().filter_map(key).collect()
}

/// The roots' keys as they are at each moment: roots follow one another while the server runs.
#[derive(Clone)]
pub struct Roots(Arc<dyn Fn() -> Vec<PublicKey> + Send + Sync>);

impl Roots {
    /// By asking `now` each time.
    pub fn from_fn(now: impl Fn() -> Vec<PublicKey> + Send + Sync + 'static) -> Roots {
        Roots(Arc::new(now))
    }

    /// As they are now.
    pub fn now(&self) -> Vec<PublicKey> {
        (self.0)()
    }
}

/// Nobody: no policy is believed.
impl Default for Roots {
    fn default() -> Roots {
        Roots::from_fn(Vec::new)
    }
}

impl fmt::Debug for Roots {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Roots")
    }
}
