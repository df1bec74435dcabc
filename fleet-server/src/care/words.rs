//! The nurse's words: every text that a judgement can become, in one place, in plain English.
//!
//! A translation replaces this file and nothing else.

use homeward_protocol::id::SensorId;
use homeward_protocol::time::Timestamp;

use super::{Counts, Reason, Standing, State};

/// The word for a state; a silence says since when, as `clock` prints it.
pub fn state(standing: &Standing, clock: impl Fn(Timestamp) -> String) -> String {
    match (standing.state, standing.since) {
        (State::NotHeard, Some(at)) => format!("Not heard since {}", clock(at)),
        (State::NotHeard, None) => "Not heard yet".to_owned(),
        (other, _) => title(other).to_owned(),
    }
}

/// The word for a state, without a time.
pub fn title(state: State) -> &'static str {
    match state {
        State::NeedsAction => "Needs action",
        State::NotHeard => "Not heard",
        State::CheckToday => "Check today",
        State::AllWorking => "All working",
    }
}

/// One clause that says why.
pub fn reason(reason: &Reason) -> String {
    match reason {
        Reason::AllHeard => "Every device was heard on time".into(),
        Reason::NoGateway => "There is no box in this home yet".into(),
        Reason::NeverSetUp => "The box has not been set up yet".into(),
        Reason::WaitsForApproval => "The box waits for an operator to let it in".into(),
        Reason::OutOfService => "The box was taken out of service".into(),
        Reason::NothingYet => "The box is set up but has sent nothing yet".into(),
        Reason::GatewaySilent => "Nothing arrives from the box".into(),
        Reason::NoSensors => "The box is on but watches no device".into(),
        Reason::SensorSilent(id) => format!("{} has not been heard", name(id)),
        Reason::SensorGone(id) => format!("{} does not answer the box", name(id)),
        Reason::SensorNeverHeard(id) => format!("{} has never been heard", name(id)),
        Reason::Backlog(id) => format!("{} has sent only old values so far", name(id)),
        Reason::DeviceAlarm(Some(id)) => format!("{} reports an alarm", name(id)),
        Reason::DeviceAlarm(None) => "A device reports an alarm".into(),
        Reason::Empty(id) => format!("{} says that its supply is empty", name(id)),
        Reason::Wears(id) => format!("{} says that its battery is weak or to be replaced", name(id)),
        Reason::OnBattery(id) => format!("{} runs on its battery: the mains are away", name(id)),
        Reason::OutOfRange(id) => format!("{} sends a value outside its normal range", name(id)),
        Reason::Untrusted(id) => format!("{} sends a value that cannot be trusted", name(id)),
        Reason::WriteRefused(Some(id)) => format!("Somebody tried to change the settings of {}", name(id)),
        Reason::WriteRefused(None) => "Somebody tried to change the settings of a device".into(),
        Reason::OtherDevice(Some(id)) => format!("{} is another device than before", name(id)),
        Reason::OtherDevice(None) => "A device was exchanged".into(),
        Reason::InDoubt(id) => format!("{} may be another device than the one set up here", name(id)),
        Reason::Faulty(id) => format!("{} reports a fault of its own", name(id)),
        Reason::BeyondDevice(id) => format!("{} measured more or less than it can show", name(id)),
        Reason::OffBody(id) => format!("{} is off the body or has come loose", name(id)),
        Reason::MeasureAgain(id) => format!("{} says that its last measurement did not work", name(id)),
        Reason::Frozen(id) => format!("{} sends the same value again and again", name(id)),
        Reason::SessionOver(id) => format!("{} is worn longer than it lasts", name(id)),
        Reason::Shared(id) => format!("{} is also heard by the box of another home", name(id)),
        Reason::RadioDeaf => "The box's radio hears no device at all".into(),
        Reason::BoxStale => {
            "The box has not proved itself for too long: its values may not be its own".into()
        }
        Reason::BoxFailed => "What the box says of itself is not in order: do not rely on its values".into(),
        Reason::TpmSilent => {
            "The box's security chip does not answer: it speaks with its spare key, for some weeks".into()
        }
        Reason::RecordsLost => "The box had to give up some records".into(),
        Reason::Unaccounted => "Some records of the last day are missing".into(),
    }
}

/// The one thing to do.
pub fn action(reason: &Reason) -> &'static str {
    match reason {
        Reason::AllHeard => "Nothing to do",
        Reason::NoGateway | Reason::NeverSetUp => "Ask the operator when the box will be installed",
        Reason::WaitsForApproval => "Ask the operator to approve the box",
        Reason::OutOfService => "Ask the operator for another box",
        Reason::NothingYet | Reason::GatewaySilent => "Call, and ask if the box has power and network",
        Reason::NoSensors => "Ask the operator to add the devices",
        Reason::SensorSilent(_) | Reason::SensorGone(_) | Reason::SensorNeverHeard(_) => {
            "Call, and ask if the device is on and plugged in"
        }
        Reason::Backlog(_) => "Wait for the newest values; call if unsure",
        Reason::DeviceAlarm(_) => "Call now, and follow the device's alarm plan",
        Reason::Empty(_) => "Call now: the device needs another supply",
        Reason::Wears(_) => "Bring a battery on the next visit",
        Reason::OnBattery(_) => "Call, and ask about the power",
        Reason::OutOfRange(_) => "Look at the value and compare on the next visit",
        Reason::Frozen(_) => "Do not rely on its value; check the device",
        Reason::SessionOver(_) => "Have the sensor changed",
        Reason::Shared(_) => "Do not rely on its values; ask the operator whose device it is",
        Reason::RadioDeaf => "Ask the operator to look at the box",
        Reason::Untrusted(_) => "Check the device on the next visit",
        Reason::WriteRefused(_) => "Tell the operator: the change was stopped, and who tried is on record",
        Reason::OtherDevice(_) => "Ask if somebody moved a cable or exchanged the device; tell the operator",
        Reason::InDoubt(_) => "Do not rely on its values; ask the operator to look at the device",
        Reason::Faulty(_) => "Call, and ask what the device shows",
        Reason::BeyondDevice(_) => "Call, and ask to measure again now",
        Reason::OffBody(_) => "Call, and ask to put it on again",
        Reason::MeasureAgain(_) => "Call, and ask to measure again",
        Reason::BoxStale => "Tell the operator; compare important values with the device itself",
        Reason::BoxFailed => "Tell the operator now; compare values with the device itself",
        Reason::TpmSilent => "Tell the operator: the box has to be repaired or exchanged",
        Reason::RecordsLost | Reason::Unaccounted => "Tell the operator; check the device's own record",
    }
}

/// The heading of the nurse's page: the answer.
pub fn heading(counts: &Counts) -> String {
    let whole = counts.total();
    match (counts.needs_action, counts.not_heard, counts.check_today) {
        (0, 0, 0) if whole == 0 => "There is nobody in your care team yet".into(),
        (0, 0, 0) if whole == 1 => "The 1 person's devices are working".into(),
        (0, 0, 0) => format!("All {whole} people's devices are working"),
        (0, 0, 1) => "1 person's devices should be checked today".into(),
        (0, 0, n) => format!("{n} people's devices should be checked today"),
        (0, 1, _) => "1 person's devices have not been heard".into(),
        (0, n, _) => format!("{n} people's devices have not been heard"),
        (1, ..) => "1 person's devices need you".into(),
        (n, ..) => format!("{n} people's devices need you"),
    }
}

/// A sensor's id as a person reads it: `oxygen-concentrator` is "Oxygen concentrator".
pub fn name(sensor: &SensorId) -> String {
    let plain = sensor.as_str().replace('-', " ");
    let mut letters = plain.chars();
    letters.next().map_or(String::new(), |first| {
        first.to_uppercase().chain(letters).collect()
    })
}
