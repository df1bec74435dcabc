//! The order that shuts a box off from everything but its vital flows, and the one that lifts it.
//!
//! # Design
//! Containing must be quick, so it is by the server's authority: the connection that it comes on, which the server's
//! certificate proves. No offline key is asked. It can do so because it only tightens: readings, alarms and the fleet's
//! connection stay; support tunnels do where the policy that two people signed says so (`support.while_isolated`), and
//! lifting goes back to that policy, never beyond it. A server that was taken over can therefore shut boxes off from what
//! is not vital, and open nothing.
//!
//! The order is a state, not an event: the server says it on each connection to a box that it has ever ordered so,
//! until the box reports its number. The newest that was heard holds, also through restarts and weeks without a server.

use serde::{Deserialize, Serialize};

use crate::posture::ShortText;
use crate::time::Timestamp;
use crate::wire::{self, WireError};

/// Most bytes of an order.
pub const MAX_ORDER: usize = 1024;

/// What is ordered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ordered {
    /// Vital flows only.
    Isolate,
    /// As the policy says.
    Lift,
}

/// An order.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IsolationOrder {
    /// Its number, by which the box reports it.
    pub order: u64,
    /// What is ordered.
    pub ordered: Ordered,
    /// Why, for whoever stands before the box.
    pub reason: ShortText,
    /// When it was given, by the server's clock.
    pub at: Timestamp,
}

impl IsolationOrder {
    /// As it travels.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_ORDER)
    }

    /// Reads one.
    pub fn decode(bytes: &[u8]) -> Result<IsolationOrder, WireError> {
        wire::decode(bytes, MAX_ORDER)
    }
}
