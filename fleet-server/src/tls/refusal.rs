//! Why a handshake came to nothing, as one of a few words: what an operator counts.

use rustls::{CertificateError, Error};

/// The word for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Refusal {
    /// A certificate was demanded and none shown.
    NoCertificate,
    /// It leads to no issuer of ours.
    UnknownIssuer,
    /// Its time is over.
    Expired,
    /// Its time has not begun.
    NotYetValid,
    /// It is for another use.
    Usage,
    /// It was revoked.
    Revoked,
    /// A signature does not hold: the issuer's, or the peer's own over this handshake.
    Signature,
    /// It cannot be read.
    Encoding,
    /// Another rule about chains: names, lengths, extensions.
    Chain,
    /// Another version, cipher or order of messages than TLS allows here.
    Protocol,
    /// The peer gave up, or the line broke.
    Gone,
}

impl Refusal {
    /// What a handshake's error means. `tokio_rustls` puts the library's error into one of input and output.
    pub fn of(error: &std::io::Error) -> Refusal {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        inner.map_or(Refusal::Gone, Refusal::of_tls)
    }

    fn of_tls(error: &Error) -> Refusal {
        match error {
            Error::NoCertificatesPresented => Refusal::NoCertificate,
            Error::InvalidCertificate(why) => Refusal::of_certificate(why),
            Error::AlertReceived(_) => Refusal::Gone,
            _ => Refusal::Protocol,
        }
    }

    fn of_certificate(error: &CertificateError) -> Refusal {
        use CertificateError as C;
        match error {
            C::UnknownIssuer => Refusal::UnknownIssuer,
            C::Expired | C::ExpiredContext { .. } => Refusal::Expired,
            C::NotValidYet | C::NotValidYetContext { .. } => Refusal::NotYetValid,
            C::InvalidPurpose | C::InvalidPurposeContext { .. } => Refusal::Usage,
            C::Revoked => Refusal::Revoked,
            C::BadSignature => Refusal::Signature,
            C::BadEncoding => Refusal::Encoding,
            _ => Refusal::Chain,
        }
    }

    /// The word in the metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Refusal::NoCertificate => "no-certificate",
            Refusal::UnknownIssuer => "unknown-issuer",
            Refusal::Expired => "expired",
            Refusal::NotYetValid => "not-yet-valid",
            Refusal::Usage => "usage",
            Refusal::Revoked => "revoked",
            Refusal::Signature => "signature",
            Refusal::Encoding => "encoding",
            Refusal::Chain => "chain",
            Refusal::Protocol => "protocol",
            Refusal::Gone => "gone",
        }
    }
}
