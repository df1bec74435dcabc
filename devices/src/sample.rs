//! What a device gave, not yet tied to a time, a gateway or a person.

use homeward_protocol::reading::{Kind, Mark, Quality, Sent, Value};

/// One value of one register, or of one field of a characteristic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sample {
    /// What was measured.
    pub kind: Kind,
    /// What the device gave, in the unit of its kind.
    pub value: Value,
    /// What is known of it beside itself.
    pub quality: Quality,
    /// What the device says of it, in the order of [`Mark`], each once.
    pub marks: Vec<Mark>,
    /// What the device sent, when its unit was converted.
    pub sent: Option<Sent>,
}
