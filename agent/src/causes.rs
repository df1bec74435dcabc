//! Why something failed, down to the first cause.

use std::error::Error;
use std::io;

use rustls::AlertDescription;

/// An error with its causes, in one line.
pub fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(error) = next {
        let inner = error.to_string();
        if !text.ends_with(&inner) {
            text.push_str(": ");
            text.push_str(&inner);
        }
        next = error.source();
    }
    text
}

/// What TLS said, where that was a cause.
pub fn of_tls<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a rustls::Error> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref() {
            return Some(found);
        }
        next = match error.downcast_ref::<io::Error>() {
            Some(io) => io.get_ref().map(|inner| inner as &(dyn Error + 'static)),
            None => error.source(),
        };
    }
    None
}

/// Whether it was said that our certificate is over. Usually by the server; before that has proved its name, by anybody on the way: so
/// it is a reason to renew at a door where the server proves itself, and for nothing else. Source: RFC 8446, section 6.2.
pub fn says_expired(error: &(dyn Error + 'static)) -> bool {
    let expired = rustls::Error::AlertReceived(AlertDescription::CertificateExpired);
    of_tls(error) == Some(&expired)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alert_is_found_however_deep_it_lies_and_no_other_is_taken_for_it() {
        let alert = |what| io::Error::other(io::Error::other(rustls::Error::AlertReceived(what)));
        assert!(says_expired(&alert(AlertDescription::CertificateExpired)));
        assert!(!says_expired(&alert(AlertDescription::CertificateRevoked)));
        assert!(of_tls(&alert(AlertDescription::CertificateRevoked)).is_some());
        assert!(of_tls(&io::Error::other("the network")).is_none());
    }
}
