//! Conditions that a person should know of now. Observed, never relied on: Homeward is not in the alarm path.

use serde::{Deserialize, Serialize};

use crate::id::SensorId;
use crate::time::Timestamp;

/// What is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Condition {
    /// A sensor has not answered for longer than its profile allows.
    SensorSilent,
    /// The device itself reports an alarm or a fault.
    DeviceAlarm,
    /// The gateway's outbox had to give up records.
    RecordsLost,
    /// Somebody tried to write to a guarded device what is not allowed. The attempts are records of their own
    /// ([`crate::guard::WriteAttempt`]); the condition ends when there was none for a while.
    WriteRefused,
    /// Another device than before answers where a sensor is: a moved cable, or an exchange.
    OtherDevice,
    /// The gateway's TPM does not answer: it speaks with its spare key, at the lowest grade, for a limited time.
    TpmSilent,
}

/// A condition that began or ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Alarm {
    /// What is wrong.
    pub condition: Condition,
    /// Which sensor, when it is about one.
    pub sensor: Option<SensorId>,
    /// True when the condition began, false when it ended.
    pub active: bool,
    /// When the gateway noticed.
    pub at: Timestamp,
}
