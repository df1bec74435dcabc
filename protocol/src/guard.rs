//! What other masters tried to write to a device that the gateway guards: the record behind the alarm.

use serde::{Deserialize, Serialize};

use crate::id::SensorId;
use crate::posture::ShortText;
use crate::time::Timestamp;

/// Why a write was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// The rules know no peer at this address.
    UnknownPeer,
    /// Its certificate names no role, or one that the rules do not know.
    UnknownRole,
    /// The rules do not allow this peer this function on this unit.
    Function,
    /// The rules allow the function, and not at this address.
    Address,
    /// The rules would allow it, but the device's profile lists nothing there that may be written.
    NotWritable,
    /// The question makes no sense.
    Malformed,
    /// The rules of the box allow it, and its policy does not.
    Policy,
}

impl Why {
    /// All of them.
    pub const ALL: [Why; 7] = [
        Why::UnknownPeer,
        Why::UnknownRole,
        Why::Function,
        Why::Address,
        Why::NotWritable,
        Why::Malformed,
        Why::Policy,
    ];

    /// One clause in plain words.
    pub const fn words(self) -> &'static str {
        match self {
            Why::UnknownPeer => "nobody is allowed from this address",
            Why::UnknownRole => "its certificate names no role that is allowed",
            Why::Function => "this function is not allowed for it",
            Why::Address => "this address is not allowed for it",
            Why::NotWritable => "the device's profile has nothing there that may be written",
            Why::Malformed => "the question makes no sense",
            Why::Policy => "the policy of the box does not allow it",
        }
    }
}

/// What became of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It never left the gateway.
    Refused(Why),
    /// It was allowed, and the device took it.
    Written,
    /// It was allowed, and the device did not confirm it, or holds another value.
    Failed,
}

/// A write by another master.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WriteAttempt {
    /// The device that was meant; for a unit that no sensor has, the one that the guard stands before.
    pub sensor: SensorId,
    /// When the gateway saw it.
    pub at: Timestamp,
    /// Who: an IP address, with the role of its certificate before it when it has one.
    pub peer: ShortText,
    /// Modbus unit id.
    pub unit: u8,
    /// Modbus function.
    pub function: u8,
    /// The first address, as in the frame, when the question named one.
    pub address: Option<u16>,
    /// How many coils or registers; 0 when the question did not say.
    pub count: u16,
    /// What became of it.
    pub outcome: Outcome,
    /// How many attempts this record stands for, with those since the one before it that were only counted.
    pub times: u32,
}
