//! The only thing that lets a gateway forget a record: the server's word that it is stored.

use serde::{Deserialize, Serialize};

use crate::envelope::Lane;
use crate::id::{Epoch, Seq};
use crate::wire::{self, WireError};

/// Most bytes of one acknowledgement.
pub const MAX_ACK: usize = 256;

/// What the gateway should do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Next {
    /// Go on after `up_to`; what was sent beyond it and not acknowledged has to be sent again.
    Continue,
    /// The server holds other records under these numbers (the gateway's disk was put back to an older state):
    /// forget what is alike up to `up_to`, keep everything else, take a new epoch and number anew.
    NewEpoch,
}

/// "Stored up to here", sent after the commit that made it true.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ack {
    /// Which outbox.
    pub epoch: Epoch,
    /// Which lane.
    pub lane: Lane,
    /// The end of the run that is stored or accounted for; 0 when nothing is. With [`Next::NewEpoch`] the end of what
    /// was compared and is alike on both sides.
    pub up_to: Seq,
    /// What to do next.
    pub next: Next,
}

impl Ack {
    /// The bytes that travel.
    pub fn encode(&self) -> Result<Vec<u8>, WireError> {
        wire::encode(self, MAX_ACK)
    }

    /// Reads one; at most [`MAX_ACK`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Ack, WireError> {
        wire::decode(bytes, MAX_ACK)
    }
}
