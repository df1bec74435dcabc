//! What a device gave, not yet tied to a time, a gateway or a person.

use homeward_protocol::reading::{Kind, Quality, Value};

/// One value of one register.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sample {
    /// What was measured.
    pub kind: Kind,
    /// What the device gave, in the unit of its kind.
    pub value: Value,
    /// What is known of it beside itself.
    pub quality: Quality,
}
