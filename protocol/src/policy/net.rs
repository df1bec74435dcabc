//! Where a flow may go: networks and ports, parsed once and printed as they are written.

use std::fmt;
use std::net::IpAddr;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// An IP network such as `192.0.2.0/28`, or one address. Bits behind the prefix are zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Net {
    address: IpAddr,
    bits: u8,
}

impl Net {
    /// One address.
    pub fn host(address: IpAddr) -> Net {
        let address = address.to_canonical();
        Net {
            address,
            bits: width(address),
        }
    }

    /// Its first address.
    pub const fn address(self) -> IpAddr {
        self.address
    }

    /// How many bits of the address are fixed.
    pub const fn bits(self) -> u8 {
        self.bits
    }

    /// Whether it is an IPv4 network.
    pub const fn is_v4(self) -> bool {
        self.address.is_ipv4()
    }

    /// Whether it is one address.
    pub fn is_host(self) -> bool {
        self.bits == width(self.address)
    }

    /// Whether `address` lies in it. An IPv4 address in the form of IPv6 counts as what it is.
    pub fn holds(self, address: IpAddr) -> bool {
        let address = address.to_canonical();
        self.is_v4() == address.is_ipv4() && masked(address, self.bits) == self.address
    }

    /// Whether all of `other` lies in it.
    pub fn covers(self, other: Net) -> bool {
        self.bits <= other.bits && self.holds(other.address)
    }
}

const fn width(address: IpAddr) -> u8 {
    if address.is_ipv4() { 32 } else { 128 }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(v4) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits.min(32))).unwrap_or(0);
            IpAddr::from((u32::from(v4) & mask).to_be_bytes())
        }
        IpAddr::V6(v6) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits.min(128))).unwrap_or(0);
            IpAddr::from((u128::from(v6) & mask).to_be_bytes())
        }
    }
}

impl FromStr for Net {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "`{}` is no network: write 192.0.2.20 or 192.0.2.0/28",
                shown(text)
            )
        };
        let (address, bits) = text.split_once('/').map_or((text, None), |(a, b)| (a, Some(b)));
        let address = address.parse::<IpAddr>().map_err(|_| wrong())?.to_canonical();
        let bits = match bits {
            None => width(address),
            Some(bits) => bits.parse().map_err(|_| wrong())?,
        };
        if bits > width(address) {
            return Err(wrong());
        }
        if masked(address, bits) != address {
            let right = masked(address, bits);
            return Err(format!(
                "`{}` has bits behind its prefix: write {right}/{bits}",
                shown(text)
            ));
        }
        Ok(Net { address, bits })
    }
}

impl fmt::Display for Net {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_host() {
            self.address.fmt(f)
        } else {
            write!(f, "{}/{}", self.address, self.bits)
        }
    }
}

/// A port, or a run of them such as `5000-5100`. Never port 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Ports {
    first: u16,
    last: u16,
}

impl Ports {
    /// One port; `None` for 0.
    pub fn one(port: u16) -> Option<Ports> {
        (port != 0).then_some(Ports {
            first: port,
            last: port,
        })
    }

    /// The first and the last of them.
    pub const fn ends(self) -> (u16, u16) {
        (self.first, self.last)
    }

    /// Whether `port` is one of them.
    pub const fn holds(self, port: u16) -> bool {
        self.first <= port && port <= self.last
    }
}

impl FromStr for Ports {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{}` is no port: write \"443\" or \"5000-5100\"", shown(text));
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let digits = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if !digits(first) || !digits(last) {
            return Err(wrong());
        }
        match (first.parse(), last.parse()) {
            (Ok(first @ 1..), Ok(last)) if first <= last => Ok(Ports { first, last }),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.first == self.last {
            self.first.fmt(f)
        } else {
            write!(f, "{}-{}", self.first, self.last)
        }
    }
}

/// What a stranger wrote, cut, without what would move a terminal.
pub(super) fn shown(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(48).collect()
}

macro_rules! as_text {
    ($($name:ident),*) => {$(
        impl TryFrom<String> for $name {
            type Error = String;
            fn try_from(text: String) -> Result<Self, String> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(value: $name) -> String {
                value.to_string()
            }
        }
    )*};
}

as_text!(Net, Ports);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_read_as_they_print_and_say_what_lies_in_them() {
        for text in [
            "192.0.2.20",
            "192.0.2.0/28",
            "2001:db8::/32",
            "::1",
            "0.0.0.0/0",
            "::/0",
        ] {
            let net: Net = text.parse().expect(text);
            assert_eq!(net.to_string(), text);
        }
        for bad in [
            "",
            "192.0.2.1/28",
            "192.0.2.0/33",
            "::/129",
            "192.0.2",
            "192.0.2.0/",
            "a/8",
        ] {
            assert!(bad.parse::<Net>().is_err(), "{bad}");
        }
        let net: Net = "192.0.2.0/28".parse().expect("a network");
        let holds = |text: &str| net.holds(text.parse().expect("an address"));
        assert!(holds("192.0.2.15") && holds("::ffff:192.0.2.1"));
        assert!(!holds("192.0.2.16") && !holds("2001:db8::1"));
        let all: Net = "0.0.0.0/0".parse().expect("a network");
        assert!(all.covers(net) && !net.covers(all));
    }

    #[test]
    fn ports_read_as_they_print() {
        for text in ["1", "443", "5000-5100"] {
            assert_eq!(text.parse::<Ports>().expect(text).to_string(), text);
        }
        for bad in ["", "0", "65536", "10-9", "0-9", "-", "1-", "+1", "1-2-3", " 1"] {
            assert!(bad.parse::<Ports>().is_err(), "{bad}");
        }
    }
}
