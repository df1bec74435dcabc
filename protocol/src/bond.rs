//! What ties a BLE sensor to its gateway: the bond and the class of its key.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Bluetooth device address, as `C1:00:00:00:00:01`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BleAddress(pub [u8; 6]);

impl FromStr for BleAddress {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is no Bluetooth address: write C1:00:00:00:00:01");
        let mut octets = [0; 6];
        let mut parts = text.split(':');
        for octet in &mut octets {
            let part = parts.next().filter(|p| p.len() == 2).ok_or_else(wrong)?;
            *octet = u8::from_str_radix(part, 16).map_err(|_| wrong())?;
        }
        match parts.next() {
            None if text.bytes().all(|b| b == b':' || b.is_ascii_hexdigit()) => Ok(BleAddress(octets)),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for BleAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, octet) in self.0.iter().enumerate() {
            let colon = if place == 0 { "" } else { ":" };
            write!(f, "{colon}{octet:02X}")?;
        }
        Ok(())
    }
}

impl TryFrom<String> for BleAddress {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<BleAddress> for String {
    fn from(address: BleAddress) -> String {
        address.to_string()
    }
}

/// How the key of a bond came about, from least to most sure.
///
/// Source: Bluetooth management API, event New Long Term Key, `Key_Type`; the same numbers stand as `Authenticated`
/// in the key files of `bluetoothd`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyClass {
    /// 4: the published debug key.
    Debug,
    /// 0: legacy pairing, nothing checked.
    LegacyUnauthenticated,
    /// 2: LE Secure Connections, nothing checked (Just Works).
    SecureUnauthenticated,
    /// 1: legacy pairing with a passkey.
    LegacyAuthenticated,
    /// 3: LE Secure Connections with passkey or numeric comparison.
    SecureAuthenticated,
}

/// Octets of a key that was not shortened. Source: Bluetooth Core, volume 3, part H, section 2.3.4.
pub const FULL_KEY: u8 = 16;

/// A bond's key, as far as it may be told: its class and its size, never itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Bond {
    /// How the key came about.
    pub class: KeyClass,
    /// Octets, 7 to 16. Less than 16 is a downgrade.
    pub key_size: u8,
}

impl Bond {
    /// Whether its key was not shortened.
    pub const fn is_full(self) -> bool {
        self.key_size >= FULL_KEY
    }

    /// Whether this bond proves less than `before`.
    pub fn weaker_than(self, before: Bond) -> bool {
        self.class < before.class || self.key_size < before.key_size
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_read_as_they_print_and_nothing_else_does() {
        let address: BleAddress = "c1:00:00:00:0a:01".parse().expect("an address");
        assert_eq!(address.to_string(), "C1:00:00:00:0A:01");
        for bad in [
            "",
            "C1:00:00:00:00",
            "C1:00:00:00:00:01:02",
            "+1:00:00:00:00:01",
            "C1-00-00-00-00-01",
        ] {
            assert!(bad.parse::<BleAddress>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_shorter_key_or_a_lower_class_is_weaker() {
        let bond = |class, key_size| Bond { class, key_size };
        let best = bond(KeyClass::SecureAuthenticated, 16);
        assert!(bond(KeyClass::SecureAuthenticated, 7).weaker_than(best));
        assert!(bond(KeyClass::LegacyAuthenticated, 16).weaker_than(best));
        assert!(!best.weaker_than(best));
    }
}
