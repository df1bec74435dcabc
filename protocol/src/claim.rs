//! The claim: what the QR code on an installer's sheet holds, so that a box needs no trust on first use.
//!
//! Three forms of the same content: one line of text (also the QR code's content), and JSON.
//! The line: `homeward:claim?v=1&s=HOST:PORT&p=PIN&g=GATEWAY&c=CODE&x=EXPIRY`, where PIN is the base64url
//! (RFC 4648, section 5, no padding) of the SHA-256 over the trust anchor's `SubjectPublicKeyInfo`, and EXPIRY is in
//! seconds since 1970.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::id::GatewayId;

/// Longest text of a claim, bytes: a long host name and everything else fit in a third of it.
pub const MAX_CLAIM: usize = 1024;
/// Characters of the one-time code, without hyphens: 16 of Crockford's base32 are 80 bits.
pub const CODE_CHARS: usize = 16;
/// Crockford's base32 alphabet: no I, L, O or U.
pub const CODE_ALPHABET: &[u8; 32] = b"0123456789ABCDEFGHJKMNPQRSTVWXYZ";

/// Why a text is not a claim.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ClaimError {
    /// Longer than a claim can be.
    #[error("longer than {MAX_CLAIM} bytes")]
    TooLong,
    /// Not a claim of this version.
    #[error("does not begin with homeward:claim?v=1")]
    NotAClaim,
    /// A part is missing, doubled or unknown. What a stranger wrote is shown escaped and cut.
    #[error("the part `{}` is missing, doubled or unknown", shown(.0, 20))]
    Part(String),
    /// A part is not what it should be.
    #[error("the part `{part}` is wrong: {why}")]
    Value {
        /// Which part.
        part: &'static str,
        /// What is wrong with it.
        why: String,
    },
}

/// The first `most` characters of a stranger's text, fit for a terminal.
fn shown(text: &str, most: usize) -> String {
    let plain = |c: char| {
        if c.is_control() {
            c.escape_default().collect()
        } else {
            String::from(c)
        }
    };
    text.chars().take(most).map(plain).collect()
}

/// A one-time code of 80 bits. Its `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Code(String);

impl Code {
    /// From 10 random bytes.
    pub fn from_random(bytes: [u8; 10]) -> Code {
        let mut bits = bytes.iter().fold(0u128, |acc, b| acc << 8 | u128::from(*b));
        let mut text = [0u8; CODE_CHARS];
        for slot in text.iter_mut().rev() {
            *slot = CODE_ALPHABET[(bits & 31) as usize];
            bits >>= 5;
        }
        Code(String::from_utf8_lossy(&text).into_owned())
    }

    /// The sixteen characters without hyphens: what is hashed, and what HTTP Basic carries.
    pub fn plain(&self) -> &str {
        &self.0
    }
}

impl FromStr for Code {
    type Err = ClaimError;
    /// Takes upper or lower case, hyphens anywhere, and the look-alikes I, L (1) and O (0).
    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let plain: String = text
            .chars()
            .filter(|c| *c != '-' && *c != ' ')
            .map(|c| match c.to_ascii_uppercase() {
                'I' | 'L' => '1',
                'O' => '0',
                other => other,
            })
            .collect();
        let right = plain.len() == CODE_CHARS && plain.bytes().all(|b| CODE_ALPHABET.contains(&b));
        if right {
            Ok(Code(plain))
        } else {
            let why = format!("a code has {CODE_CHARS} letters and digits");
            Err(ClaimError::Value { part: "c", why })
        }
    }
}

impl TryFrom<String> for Code {
    type Error = ClaimError;
    fn try_from(text: String) -> Result<Self, ClaimError> {
        text.parse()
    }
}

impl From<Code> for String {
    fn from(code: Code) -> String {
        code.to_string()
    }
}

impl fmt::Display for Code {
    /// In groups of four, to be read out.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let groups: Vec<&str> = (0..CODE_CHARS)
            .step_by(4)
            .filter_map(|i| self.0.get(i..i + 4))
            .collect();
        f.write_str(&groups.join("-"))
    }
}

impl fmt::Debug for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Code(hidden)")
    }
}

/// SHA-256 over a trust anchor's `SubjectPublicKeyInfo` (DER).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Pin(pub [u8; 32]);

impl Pin {
    /// The pin of this `SubjectPublicKeyInfo`.
    pub fn of_spki(spki: &[u8]) -> Pin {
        let mut pin = [0; 32];
        pin.copy_from_slice(ring::digest::digest(&ring::digest::SHA256, spki).as_ref());
        Pin(pin)
    }
}

const B64: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::with_capacity(43);
        for chunk in self.0.chunks(3) {
            let word = chunk.iter().fold(0u32, |w, b| w << 8 | u32::from(*b)) << (8 * (3 - chunk.len()));
            for i in 0..=chunk.len() {
                text.push(char::from(B64[(word >> (18 - 6 * i) & 63) as usize]));
            }
        }
        f.write_str(&text)
    }
}

impl FromStr for Pin {
    type Err = ClaimError;
    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let wrong = || ClaimError::Value {
            part: "p",
            why: "a pin is 43 characters of base64url".into(),
        };
        if text.len() != 43 {
            return Err(wrong());
        }
        let mut pin = Vec::with_capacity(33);
        let (mut bits, mut held) = (0u32, 0u32);
        for b in text.bytes() {
            let six = B64.iter().position(|c| *c == b).ok_or_else(wrong)?;
            bits = (bits << 6 | u32::try_from(six).unwrap_or(0)) & 0xffff;
            held += 6;
            if held >= 8 {
                held -= 8;
                pin.push((bits >> held & 0xff) as u8);
            }
        }
        let left = bits & ((1 << held) - 1);
        if left != 0 {
            return Err(wrong());
        }
        pin.try_into().map(Pin).map_err(|_| wrong())
    }
}

impl TryFrom<String> for Pin {
    type Error = ClaimError;
    fn try_from(text: String) -> Result<Self, ClaimError> {
        text.parse()
    }
}

impl From<Pin> for String {
    fn from(pin: Pin) -> String {
        pin.to_string()
    }
}

/// `HOST:PORT`; the host is a DNS name or an address, an IPv6 one in brackets.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Endpoint {
    /// A DNS name, an IPv4 address, or an IPv6 address without its brackets.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl FromStr for Endpoint {
    type Err = ClaimError;
    fn from_str(text: &str) -> Result<Self, ClaimError> {
        let wrong = |why: &str| ClaimError::Value {
            part: "s",
            why: why.to_owned(),
        };
        let (host, port) = text
            .rsplit_once(':')
            .ok_or_else(|| wrong("a server is HOST:PORT"))?;
        let port = port
            .parse()
            .ok()
            .filter(|p| *p != 0)
            .ok_or_else(|| wrong("the port is a number from 1 to 65535"))?;
        let inner = host.strip_prefix('[').and_then(|h| h.strip_suffix(']'));
        let host = match inner {
            Some(v6) => v6
                .parse::<std::net::Ipv6Addr>()
                .map_err(|_| wrong("not an IPv6 address"))?
                .to_string(),
            None => host.to_owned(),
        };
        let named = |b: u8| b.is_ascii_alphanumeric() || b == b'-' || b == b'.';
        if host.is_empty() || host.len() > 253 || (inner.is_none() && !host.bytes().all(named)) {
            return Err(wrong("the host is a DNS name or an address"));
        }
        Ok(Endpoint { host, port })
    }
}

impl TryFrom<String> for Endpoint {
    type Error = ClaimError;
    fn try_from(text: String) -> Result<Self, ClaimError> {
        text.parse()
    }
}

impl From<Endpoint> for String {
    fn from(e: Endpoint) -> String {
        e.to_string()
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

/// What a box needs to find its server, to know it when it sees it, and to be let in once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Claim {
    /// Where enrolment is served (EST over HTTPS).
    pub server: Endpoint,
    /// The trust anchor that the server's certificate must lead to.
    pub pin: Pin,
    /// The name that the box will have.
    pub gateway: GatewayId,
    /// The one-time code.
    pub code: Code,
    /// Until when it can be used, seconds since 1970.
    pub expires: i64,
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Claim {
            server,
            pin,
            gateway,
            code,
            expires,
        } = self;
        write!(
            f,
            "homeward:claim?v=1&s={server}&p={pin}&g={gateway}&c={code}&x={expires}"
        )
    }
}

impl FromStr for Claim {
    type Err = ClaimError;
    /// Reads the line or the JSON.
    fn from_str(text: &str) -> Result<Self, ClaimError> {
        if text.len() > MAX_CLAIM {
            return Err(ClaimError::TooLong);
        }
        let text = text.trim();
        if text.starts_with('{') {
            return serde_json::from_str(text).map_err(|e| ClaimError::Value {
                part: "json",
                why: shown(&e.to_string(), 200),
            });
        }
        let query = text
            .strip_prefix("homeward:claim?v=1&")
            .ok_or(ClaimError::NotAClaim)?;
        let mut parts: [Option<&str>; 5] = [None; 5];
        for pair in query.split('&') {
            let (name, value) = pair
                .split_once('=')
                .ok_or_else(|| ClaimError::Part(pair.to_owned()))?;
            let slot = ["s", "p", "g", "c", "x"].iter().position(|n| *n == name);
            match slot.and_then(|i| parts.get_mut(i)) {
                Some(empty @ None) => *empty = Some(value),
                _ => return Err(ClaimError::Part(name.to_owned())),
            }
        }
        let [Some(server), Some(pin), Some(gateway), Some(code), Some(expires)] = parts else {
            return Err(ClaimError::Part("s, p, g, c or x".to_owned()));
        };
        Ok(Claim {
            server: server.parse()?,
            pin: pin.parse()?,
            gateway: gateway.parse().map_err(|e: crate::id::IdError| value("g", &e))?,
            code: code.parse()?,
            expires: expires
                .parse()
                .map_err(|e: std::num::ParseIntError| value("x", &e))?,
        })
    }
}

fn value(part: &'static str, why: &dyn fmt::Display) -> ClaimError {
    ClaimError::Value {
        part,
        why: why.to_string(),
    }
}

/// Where the other doors of the fleet server are: answered as JSON on the enrolment listener at
/// `/.well-known/homeward`, over a connection that the claim's pin has already proved.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ServerInfo {
    /// The MQTT gate.
    pub gate: Endpoint,
    /// The listener that renews certificates which have expired.
    pub renewal: Endpoint,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn claim() -> Claim {
        Claim {
            server: "fleet.example:8443".parse().expect("an endpoint"),
            pin: Pin([7; 32]),
            gateway: "gw-7f3k".parse().expect("an id"),
            code: Code::from_random([0xff; 10]),
            expires: 1_795_000_000,
        }
    }

    #[test]
    fn both_forms_read_back() {
        let claim = claim();
        assert_eq!(claim.to_string().parse(), Ok(claim.clone()));
        let json = serde_json::to_string(&claim).expect("encodes");
        assert_eq!(json.parse(), Ok(claim));
    }

    #[test]
    fn a_code_survives_a_person() {
        let code = Code::from_random([0; 10]);
        assert_eq!(code.to_string(), "0000-0000-0000-0000");
        assert_eq!("oooo oooo-OOOO 0000".parse(), Ok(code.clone()));
        assert_eq!(format!("{code:?}"), "Code(hidden)");
    }

    #[test]
    fn wrong_claims_say_what_is_wrong() {
        let line = claim().to_string();
        for (from, to, says) in [
            ("&x=1795000000", "", "missing"),
            ("&x=", "&x=a", "`x` is wrong"),
            ("&g=gw-7f3k", "&g=GW", "`g` is wrong"),
            ("&c=", "&c=Z", "`c` is wrong"),
            ("homeward:", "http:", "does not begin"),
            (":8443", ":0", "the port"),
            ("&s=", "&s=a&s=", "missing, doubled"),
            ("&x=", "&\u{1b}[2J=1&x=", "`\\u{1b}[2J` is missing, doubled"),
        ] {
            let bad = line.replace(from, to);
            let error = bad.parse::<Claim>().expect_err(&bad).to_string();
            assert!(error.contains(says), "{bad}: {error}");
        }
    }

    proptest! {
        #[test]
        fn pins_and_codes_read_back(pin in any::<[u8; 32]>(), code in any::<[u8; 10]>()) {
            let pin = Pin(pin);
            prop_assert_eq!(pin.to_string().parse(), Ok(pin));
            let code = Code::from_random(code);
            prop_assert_eq!(code.to_string().parse(), Ok(code));
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,200}") {
            let _ = text.parse::<Claim>();
        }
    }
}
