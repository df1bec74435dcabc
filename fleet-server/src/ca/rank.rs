//! How much a gateway's certificate claims for its key, in a private extension that only the server writes.
//!
//! Non-critical: other software passes over it. It stands under the UUID d0eb1f9b-ac49-4d13-aec2-d8736de76344, made at
//! random for it: such a number is anybody's without asking, and nobody else's (X.667, section 7; {joint-iso-itu-t(2)
//! uuid(25)}). An enterprise number would be the maker's, and there is none.

use std::fmt;

use homeward_protocol::attest::Tier;
use rcgen::{KeyPair, PublicKeyData, SignatureAlgorithm, SigningKey};

/// 2.25.277700253973401126228855408151717438276, in DER without tag and length.
pub const OID: [u8; 20] = [
    0x69, 0x83, 0xa1, 0xeb, 0x8f, 0xe6, 0xf5, 0xc4, 0xca, 0xb4, 0xa7, 0xae, 0xe1, 0xb6, 0x8e, 0xb6, 0xef,
    0x9d, 0xc6, 0x44,
];
/// What the certificate library writes in its place: it knows numbers of 64 bits only. As long as [`OID`], so that no
/// length around it changes; nobody's, and never signed.
const STAND_IN: [u64; 4] = [2, 25, u64::MAX, 1 << 62];
/// The same in DER.
const STAND_IN_DER: [u8; 20] = [
    0x69, 0x81, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x7f, 0xc0, 0x80, 0x80, 0x80, 0x80, 0x80,
    0x80, 0x80, 0x00,
];
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
            .filter(|e| e.oid.as_bytes() == OID);
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

/// The extension, for the library.
pub(super) fn extension(rank: Rank) -> rcgen::CustomExtension {
    rcgen::CustomExtension::from_oid_content(&STAND_IN, rank.der())
}

/// A key that signs a certificate with [`OID`] in its place.
pub(super) struct Placing<'a>(pub &'a KeyPair);

impl PublicKeyData for Placing<'_> {
    fn der_bytes(&self) -> &[u8] {
        self.0.der_bytes()
    }

    fn algorithm(&self) -> &'static SignatureAlgorithm {
        self.0.algorithm()
    }
}

impl SigningKey for Placing<'_> {
    fn sign(&self, message: &[u8]) -> Result<Vec<u8>, rcgen::Error> {
        self.0
            .sign(&placed(message).ok_or(rcgen::Error::InvalidNameType)?)
    }
}

/// The same bytes with [`OID`] in the place of its stand-in, which has to stand there once.
pub(super) fn placed(der: &[u8]) -> Option<Vec<u8>> {
    let mut found = der
        .windows(STAND_IN_DER.len())
        .enumerate()
        .filter_map(|(at, window)| (window == STAND_IN_DER).then_some(at));
    let at = found.next()?;
    if found.next().is_some() {
        return None;
    }
    let mut der = der.to_vec();
    der.get_mut(at..at + OID.len())?.copy_from_slice(&OID);
    Some(der)
}

impl fmt::Display for Rank {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The number is the UUID's, and the stand-in is as long.
    #[test]
    fn the_number_is_the_uuid_s() {
        let uuid = u128::from_str_radix("d0eb1f9bac494d13aec2d8736de76344", 16).expect("hex");
        let value = OID[1..]
            .iter()
            .fold(0u128, |n, byte| n << 7 | u128::from(byte & 0x7f));
        assert_eq!((OID[0], value), (2 * 40 + 25, uuid));
        assert!(OID[1..19].iter().all(|byte| byte & 0x80 != 0) && OID[19] & 0x80 == 0);
        assert_eq!(OID.len(), STAND_IN_DER.len());
    }

    #[test]
    fn the_stand_in_is_replaced_where_it_stands_once() {
        let with = [&b"before"[..], &STAND_IN_DER, b"after"].concat();
        let placed_once = placed(&with).expect("stands there");
        assert_eq!(placed_once, [&b"before"[..], &OID, b"after"].concat());
        assert_eq!(placed(&placed_once), None, "not there");
        assert_eq!(placed(&[with.as_slice(), &with].concat()), None, "twice");
    }
}
