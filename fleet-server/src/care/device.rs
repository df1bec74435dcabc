//! What a device itself says against its value, and whether it is the device at all.

use homeward_protocol::grade::Reason as Against;
use homeward_protocol::id::SensorId;
use homeward_protocol::reading::Mark;

use super::{Dependency, Finding, Newest, Reason, SensorFacts, State, by_dependency, finding};

/// Reasons that say that another device answers. That a bond or a profile proves little was so when it was installed,
/// and is not a nurse's to mend.
const OTHER_DEVICE: [Against; 4] = [
    Against::DebugKey,
    Against::BondChanged,
    Against::NotAssociated,
    Against::OtherDevice,
];

/// What answers is perhaps not the device that was set up.
pub(super) fn other(sensor: &SensorFacts, newest: &Newest) -> Option<Finding> {
    let reasons = &newest.details.reasons;
    let other = OTHER_DEVICE.iter().any(|against| reasons.contains(against));
    let reason = || Reason::InDoubt(sensor.sensor.clone());
    other.then(|| finding(State::CheckToday, reason(), Some(newest.received_at)))
}

/// A reason about a sensor.
type About = fn(SensorId) -> Reason;

/// What the device itself says against its value.
pub(super) fn marked(sensor: &SensorFacts, newest: &Newest, dependency: Dependency) -> Vec<Finding> {
    let judged = |mark: &Mark| -> Option<(State, About)> {
        Some(match mark {
            Mark::DeviceFault => (by_dependency(dependency), Reason::Faulty),
            Mark::BeyondDevice => (by_dependency(dependency), Reason::BeyondDevice),
            Mark::OffBody => (by_dependency(dependency), Reason::OffBody),
            Mark::LowBattery => (State::CheckToday, Reason::Wears),
            Mark::Questionable => (State::CheckToday, Reason::Untrusted),
            Mark::Invalid
            | Mark::Moved
            | Mark::CuffPosition
            | Mark::PoorSignal
            | Mark::SampleFault
            | Mark::TemperatureFault => (State::CheckToday, Reason::MeasureAgain),
            Mark::FromStorage
            | Mark::BySensorClock
            | Mark::SensorClockUnset
            | Mark::EarlyEstimate
            | Mark::Ongoing
            | Mark::NotAPatient
            | Mark::ControlSolution
            | Mark::IrregularPulse
            | Mark::ExtraData => return None,
        })
    };
    let judged = newest.details.marks.iter().filter_map(judged);
    judged
        .map(|(state, reason)| finding(state, reason(sensor.sensor.clone()), Some(newest.received_at)))
        .collect()
}

/// Whether the device says that nothing was measured on the person: a value is not missed then.
pub(super) fn nobodys(newest: &Newest) -> bool {
    let marks = &newest.details.marks;
    marks.contains(&Mark::NotAPatient) || marks.contains(&Mark::ControlSolution)
}
