//! Which trust anchors a gateway holds, said in so few bytes that it can stand in every posture report.

use std::fmt;
use std::str::FromStr;

use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use crate::claim::Pin;

/// Tells one set of trust anchors from another: the first 16 bytes of the SHA-256 over the anchors' pins, sorted, each
/// once; as text 32 hex digits. Two parties with the same anchors have the same mark, in whatever order they hold them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TrustMark([u8; 16]);

impl TrustMark {
    /// The mark of these anchors.
    pub fn of(anchors: &[Pin]) -> TrustMark {
        let mut pins: Vec<[u8; 32]> = anchors.iter().map(|pin| pin.0).collect();
        pins.sort_unstable();
        pins.dedup();
        let hash = digest(&SHA256, &pins.concat());
        let mut mark = [0; 16];
        mark.iter_mut()
            .zip(hash.as_ref())
            .for_each(|(to, from)| *to = *from);
        TrustMark(mark)
    }
}

impl fmt::Display for TrustMark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|b| write!(f, "{b:02x}"))
    }
}

impl FromStr for TrustMark {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = "a mark of trust anchors is 32 lower case hex digits";
        let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
        if text.len() != 32 || !text.bytes().all(digit) {
            return Err(wrong);
        }
        let mut mark = [0; 16];
        for (byte, pair) in mark.iter_mut().zip(text.as_bytes().chunks(2)) {
            let pair = std::str::from_utf8(pair).map_err(|_| wrong)?;
            *byte = u8::from_str_radix(pair, 16).map_err(|_| wrong)?;
        }
        Ok(TrustMark(mark))
    }
}

impl TryFrom<String> for TrustMark {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<TrustMark> for String {
    fn from(mark: TrustMark) -> String {
        mark.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn order_and_repetition_do_not_matter_and_each_anchor_does() {
        let (a, b, c) = (Pin([1; 32]), Pin([2; 32]), Pin([3; 32]));
        let mark = TrustMark::of(&[a, b]);
        assert_eq!(mark, TrustMark::of(&[b, a, b]));
        assert_ne!(mark, TrustMark::of(&[a, b, c]));
        assert_ne!(mark, TrustMark::of(&[a]));
        assert_eq!(mark.to_string().parse(), Ok(mark));
        assert!("zz".parse::<TrustMark>().is_err());
        assert!("A".repeat(32).parse::<TrustMark>().is_err());
    }
}
