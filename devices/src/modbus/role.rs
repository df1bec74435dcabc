//! Who a master is by Modbus/TCP Security: the role in its certificate.
//!
//! Source: Modbus/TCP Security protocol specification v21, section 7.1: one role, a `UTF8String`, in the extension
//! 1.3.6.1.4.1.50316.802.1 of an X.509v3 certificate. Peers without it have no rights.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;
use x509_parser::der_parser::asn1_rs::{FromDer, Oid, Utf8String, oid};
use x509_parser::prelude::X509Certificate;

/// The extension's name.
const ROLE: Oid<'static> = oid!(1.3.6.1.4.1.50316.802.1);
/// Longest role, bytes.
const MAX_ROLE: usize = 64;

/// A role, such as `operator`: 1 to 64 printable characters of ASCII.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub struct Role(String);

impl Role {
    /// The role that a certificate gives its holder; none when it names none, several, or one that is not a role.
    ///
    /// `certificate` is DER, and was verified before.
    pub fn of(certificate: &[u8]) -> Option<Role> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        // Given twice, it is an error, and no role.
        let extension = parsed.get_extension_unique(&ROLE).ok()??;
        let (rest, text) = Utf8String::from_der(extension.value).ok()?;
        rest.is_empty().then_some(())?;
        text.string().parse().ok()
    }

    /// The role.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Role {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_graphic() || b == b' ';
        if (1..=MAX_ROLE).contains(&text.len()) && text.bytes().all(plain) {
            Ok(Role(text.to_owned()))
        } else {
            Err(format!(
                "a role has 1 to {MAX_ROLE} printable characters of ASCII"
            ))
        }
    }
}

impl TryFrom<String> for Role {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use rcgen::{CertificateParams, CustomExtension, KeyPair};

    use super::*;

    const OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 50316, 802, 1];

    fn role(values: &[&str]) -> Option<Role> {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["m".to_owned()]).expect("a name");
        params.custom_extensions = values
            .iter()
            .map(|value| CustomExtension::from_oid_content(&OID, value.as_bytes().to_vec()))
            .collect();
        Role::of(params.self_signed(&key).expect("a certificate").der())
    }

    #[test]
    fn one_whole_string_is_a_role() {
        assert_eq!(role(&["\x0c\x08operator"]).expect("a role").as_str(), "operator");
    }

    #[test]
    fn everything_else_is_no_role() {
        for values in [
            &[][..],
            &["\x0c\x00"],
            &["\x0c\x08operato"],
            &["\x0c\x07operator"],
            &["\x13\x08operator"],
            &["operator"],
            &["\x0c\x03a\x00b"],
            &["\x0c\x07monitor", "\x0c\x08operator"],
        ] {
            assert_eq!(role(values), None, "{values:?}");
        }
        assert_eq!(Role::of(b"no certificate"), None);
    }
}
