//! How much a gateway's certificate claims for its key, in a private extension that only the server writes.
//!
//! Non-critical: other software passes over it. The number stands under the enterprise number that RFC 5612 keeps for
//! examples; an organisation with one of its own changes it here, before its first certificate.

use std::fmt;

use homeward_protocol::attest::Tier;

/// 1.3.6.1.4.1.32473.4663.1.
pub const OID: [u64; 9] = [1, 3, 6, 1, 4, 1, 32_473, 4663, 1];
const OID_TEXT: &str = "1.3.6.1.4.1.32473.4663.1";
/// `UTF8String`.
const UTF8: u8 = 0x0c;

/// What stands in a certificate.
/// Rising: the spare key proves less than a software key of the gateway's own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Rank {
    /// The key for the time when the TPM is dead: readings and alarms up, nothing down.
    Spare,
    /// The gateway's own key, proved so far.
    Own(Tier),
}

impl Rank {
    /// What is in the extension.
    pub const fn name(self) -> &'static str {
        match self {
            Rank::Own(tier) => tier.name(),
            Rank::Spare => "spare",
        }
    }

    /// The extension's content (DER).
    pub fn der(self) -> Vec<u8> {
        let name = self.name().as_bytes();
        [&[UTF8, u8::try_from(name.len()).unwrap_or(0)], name].concat()
    }

    /// From a certificate. One from before there were ranks is a software key's; `None` when the extension is not as
    /// we write it.
    pub fn of(certificate: &x509_parser::certificate::X509Certificate<'_>) -> Option<Rank> {
        let mut found = certificate
            .extensions()
            .iter()
            .filter(|e| e.oid.to_id_string() == OID_TEXT);
        match (found.next(), found.next()) {
            (None, _) => Some(Rank::Own(Tier::Software)),
            (Some(extension), None) => Rank::read(extension.value),
            (Some(_), Some(_)) => None,
        }
    }

    fn read(content: &[u8]) -> Option<Rank> {
        let tiers = [Tier::Software, Tier::TpmKey, Tier::TpmChip].map(Rank::Own);
        let mut all = tiers.into_iter().chain([Rank::Spare]);
        all.find(|rank| rank.der() == content)
    }
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
