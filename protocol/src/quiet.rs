//! A person's wish, from the console, that a home is not disturbed for a while, and the word that ends it.
//!
//! # Design
//! By the server's authority, as an isolation is: the connection that it comes on. It can do so because it only holds work
//! back: a server that was taken over can delay updates by it, which it can by saying nothing, too, and starts or opens
//! nothing. It ends by itself, at the box, and no later than [`LONGEST`] after it was heard.
//!
//! The order is a state, not an event: the server says it on each connection until the box reports its number, with what is
//! left of it at that moment, so that no clock has to be right. The newest that was heard stands, also through restarts.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::posture::ShortText;
use crate::wire::{self, WireError};

/// Most bytes of an order.
pub const MAX_ORDER: usize = 1024;
/// The longest wish: whoever needs more asks again, so that a forgotten one does not leave a box without patches.
pub const LONGEST: Duration = Duration::from_hours(72);

/// A wish for quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct QuietOrder {
    /// Its number, by which the box reports it: above all before it.
    pub order: u64,
    /// What is left of it, seconds; 0 ends the one before. What lies above [`LONGEST`] counts as that.
    pub left_s: u32,
    /// Who wishes it.
    pub by: ShortText,
    /// Why, for whoever stands before the box.
    pub reason: ShortText,
}

impl QuietOrder {
    /// What is left of it.
    pub fn left(&self) -> Duration {
        Duration::from_secs(self.left_s.into()).min(LONGEST)
    }

    /// As it travels.
    ///
    /// # Errors
    /// When it is longer than [`MAX_ORDER`].
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_ORDER)
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is none.
    pub fn decode(bytes: &[u8]) -> Result<QuietOrder, WireError> {
        wire::decode(bytes, MAX_ORDER)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_wish_is_longer_than_three_days_and_a_longer_order_is_none() {
        let order = |left_s| QuietOrder {
            order: 7,
            left_s,
            by: ShortText::cut("nina"),
            reason: ShortText::cut("dialysis at home"),
        };
        assert_eq!(order(u32::MAX).left(), LONGEST);
        assert_eq!(order(60).left(), Duration::from_mins(1));
        let bytes = order(60).encode().expect("short");
        assert_eq!(QuietOrder::decode(&bytes).expect("reads"), order(60));
        assert!(QuietOrder::decode(&[bytes, vec![0]].concat()).is_err());
        assert!(QuietOrder::decode(&vec![0; MAX_ORDER + 1]).is_err());
    }
}
