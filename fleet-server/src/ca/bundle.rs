//! What members trust: the active root, the next one, and roots on their way out.
//!
//! # Design
//! A root that is new to a member is believed only by a link: a certificate over the new root's key and name, signed by
//! a root that the member holds already (`newWithOld`). The keys of roots are not on the server, so a captured server
//! can name no root of its own.
//!
//! Source: RFC 4210, section 4.4 (root CA key update); RFC 7030, section 4.1.3 (how a client gets them).

use homeward_protocol::claim::Pin;
use homeward_protocol::trust::TrustMark;
use rustls::pki_types::CertificateDer;
use x509_parser::certificate::X509Certificate;

use super::CaError;

/// The roots of a fleet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bundle {
    /// What the server's certificates lead to.
    pub active: CertificateDer<'static>,
    /// What they will lead to after the next change of roots; its key has signed nothing yet.
    pub next: CertificateDer<'static>,
    /// What they led to before: trusted until every member has the newer ones.
    pub leaving: Vec<CertificateDer<'static>>,
    /// What introduces a new root to members that know an older one.
    pub links: Vec<CertificateDer<'static>>,
}

impl Bundle {
    /// The roots, the active one first.
    pub fn roots(&self) -> Vec<CertificateDer<'static>> {
        let newer = [self.active.clone(), self.next.clone()];
        newer.into_iter().chain(self.leaving.iter().cloned()).collect()
    }

    /// What a claim pins: the active root's key.
    pub fn pin(&self) -> Result<Pin, CaError> {
        pin(&self.active)
    }

    /// What tells this bundle from another.
    pub fn mark(&self) -> Result<TrustMark, CaError> {
        let pins: Result<Vec<Pin>, CaError> = self.roots().iter().map(pin).collect();
        Ok(TrustMark::of(&pins?))
    }
}

fn pin(root: &CertificateDer<'_>) -> Result<Pin, CaError> {
    Ok(Pin::of_spki(parse(root)?.public_key().raw))
}

/// Lower case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    bytes.iter().fold(String::new(), |mut text, b| {
        // Writing to a string does not fail.
        let _ = write!(text, "{b:02x}");
        text
    })
}

/// A certificate of ours, taken apart.
pub(crate) fn parse<'a>(der: &'a CertificateDer<'_>) -> Result<X509Certificate<'a>, CaError> {
    match x509_parser::parse_x509_certificate(der) {
        Ok((_, cert)) => Ok(cert),
        Err(error) => Err(CaError::Damaged {
            what: "a certificate of the authority".into(),
            why: error.to_string(),
        }),
    }
}

/// Which root of its fleet this is, from 1, by its name.
pub(crate) fn number(root: &CertificateDer<'_>) -> Result<u32, CaError> {
    let cert = parse(root)?;
    let name = cert
        .subject()
        .iter_common_name()
        .next()
        .and_then(|cn| cn.as_str().ok());
    let number = name
        .and_then(|name| name.strip_prefix("Homeward root "))
        .and_then(|rest| rest.split(' ').next())
        .and_then(|number| number.parse().ok());
    number.ok_or_else(|| CaError::Damaged {
        what: "the name of a root".into(),
        why: "it has no number".into(),
    })
}
