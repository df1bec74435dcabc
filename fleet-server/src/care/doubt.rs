//! What a doubt about a sensor means for the person.
//!
//! A frozen value is not fresh: it says as little as silence does, and is judged like it. So is a radio that hears
//! nothing. What may come from another device is to be checked. Doubts that change nothing for the person (an
//! unlisted device in the room, a sensor clock that is off, another firmware) are for the operator: they stand on the
//! gateway's page and in the fleet's list, not on the nurse's.

use homeward_protocol::id::SensorId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::watch::Suspicion;

use super::{Dependency, Finding, Reason, State, by_dependency, finding};

/// Who noticed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Doubted {
    /// The gateway's watch.
    By(Suspicion),
    /// The server: another gateway takes the device for its own too, or hears it near.
    Shared,
}

/// A suspicion that stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doubt {
    /// What.
    pub what: Doubted,
    /// About which sensor.
    pub sensor: Option<SensorId>,
    /// Since when.
    pub since: Timestamp,
}

/// What it means; nothing when it is the operator's alone.
pub(super) fn judge(doubt: &Doubt, dependency: Dependency) -> Option<Finding> {
    let since = Some(doubt.since);
    if doubt.what == Doubted::By(Suspicion::ScannerStopped) {
        return Some(finding(State::NotHeard, Reason::RadioDeaf, since));
    }
    let id = doubt.sensor.clone()?;
    let (state, reason) = match doubt.what {
        Doubted::By(Suspicion::Frozen) => (State::NotHeard, Reason::Frozen(id)),
        Doubted::By(Suspicion::Silent) => (State::NotHeard, Reason::SensorSilent(id)),
        Doubted::By(Suspicion::SessionExpired) => (by_dependency(dependency), Reason::SessionOver(id)),
        Doubted::By(Suspicion::ImpossibleChange) => (State::CheckToday, Reason::Untrusted(id)),
        Doubted::By(Suspicion::BatteryFalling) => (State::CheckToday, Reason::Wears(id)),
        Doubted::By(Suspicion::BondChanged | Suspicion::OtherDevice) => {
            (State::CheckToday, Reason::InDoubt(id))
        }
        Doubted::Shared => (State::CheckToday, Reason::Shared(id)),
        Doubted::By(
            Suspicion::ScannerStopped
            | Suspicion::ClockShift
            | Suspicion::FirmwareChanged
            | Suspicion::UnlistedDevice
            | Suspicion::LookAlike
            | Suspicion::WriteRefused,
        ) => return None,
    };
    Some(finding(state, reason, since))
}
