//! Names of things: parsed, never built.
//!
//! Each noun has its own type with one fallible constructor; `Display` is the wire form.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Why a text is not an identifier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    /// Shorter or longer than the noun allows, in bytes.
    #[error("{noun} must have {min} to {max} characters, this has {got}")]
    Length {
        /// Which kind of identifier was asked for.
        noun: &'static str,
        /// Fewest bytes.
        min: usize,
        /// Most bytes.
        max: usize,
        /// Bytes given.
        got: usize,
    },
    /// A character outside `a-z 0-9 -`, or a `-` at either end.
    #[error("{noun} may hold a-z, 0-9 and inner hyphens only")]
    Character {
        /// Which kind of identifier was asked for.
        noun: &'static str,
    },
    /// A word that means something else where this noun stands.
    #[error("{noun} may not be one of {RESERVED:?}")]
    Reserved {
        /// Which kind of identifier was asked for.
        noun: &'static str,
    },
}

/// Levels of our topics that stand where an id stands: what is sent to a gateway called `fleet` would reach all.
const RESERVED: [&str; 1] = ["fleet"];

fn check(noun: &'static str, text: &str, min: usize, max: usize) -> Result<(), IdError> {
    let bytes = text.as_bytes();
    if bytes.len() < min || bytes.len() > max {
        return Err(IdError::Length {
            noun,
            min,
            max,
            got: bytes.len(),
        });
    }
    let plain = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let inner = bytes.iter().all(|b| plain(b) || *b == b'-');
    if RESERVED.contains(&text) {
        Err(IdError::Reserved { noun })
    } else if inner && bytes.first().is_some_and(plain) && bytes.last().is_some_and(plain) {
        Ok(())
    } else {
        Err(IdError::Character { noun })
    }
}

macro_rules! text_id {
    ($(#[$doc:meta])* $name:ident, $noun:literal, $min:literal..=$max:literal) => {
        $(#[$doc])*
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Most bytes one may have.
            pub const MAX: usize = $max;

            /// The wire form.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = IdError;
            fn from_str(text: &str) -> Result<Self, IdError> {
                check($noun, text, $min, $max)?;
                Ok(Self(text.to_owned()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = IdError;
            fn try_from(text: String) -> Result<Self, IdError> {
                check($noun, &text, $min, $max)?;
                Ok(Self(text))
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }
    };
}

text_id!(
    /// A gateway box. Random and opaque: no serial number, host name, site or patient in it.
    GatewayId, "a gateway id", 3..=40
);
text_id!(
    /// A sensor as one gateway knows it; unique within that gateway.
    SensorId, "a sensor id", 1..=40
);
text_id!(
    /// A pseudonym for a person's home as the care organisation files it. No name, address or date.
    PlacementId, "a placement id", 2..=40
);
text_id!(
    /// A care team, which sees its own placements only.
    TeamId, "a care team id", 2..=40
);
text_id!(
    /// A group of gateways that a policy is for: a ring, a ward, a kind of box.
    GroupId, "a group id", 2..=40
);
text_id!(
    /// A hazard of the organisation's list, such as `h-12`.
    HazardId, "a hazard id", 2..=24
);
text_id!(
    /// What a policy calls one of its entries: a flow, a device behind the box.
    EntryName, "a name in a policy", 1..=24
);
text_id!(
    /// One boot of one box: the kernel's boot id (a UUID in lower case).
    BootId, "a boot id", 8..=40
);

/// Names one outbox database for its life. Random, so a replaced disk never reuses sequence numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Epoch(pub u64);

impl fmt::Display for Epoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The place of a record within one lane of one epoch: 1, 2, 3 … without holes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Seq(pub u64);

impl Seq {
    /// Before the first record.
    pub const ZERO: Seq = Seq(0);

    /// The record after this one. Saturates: a lane that reached 2^64 records ends there.
    #[must_use]
    pub fn next(self) -> Seq {
        Seq(self.0.saturating_add(1))
    }

    /// `n` records further on, saturating.
    #[must_use]
    pub fn plus(self, n: u64) -> Seq {
        Seq(self.0.saturating_add(n))
    }
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn odd_names_are_refused() {
        for bad in [
            "", "a", "-ab", "ab-", "a/b", "gw 1", "GW1", "é12", "gw\u{0}1", "a+b", "a#b", "$ab", "../x",
            "fleet",
        ] {
            assert!(bad.parse::<GatewayId>().is_err(), "{bad:?} was accepted");
        }
        assert!("x".repeat(41).parse::<GatewayId>().is_err());
        assert!("gw-7f3k".parse::<GatewayId>().is_ok());
    }

    #[test]
    fn an_id_from_the_wire_passes_the_same_check() {
        let bytes = serde_cbor::to_vec(&"GW/1").expect("text encodes");
        assert!(serde_cbor::from_slice::<GatewayId>(&bytes).is_err());
    }
}
