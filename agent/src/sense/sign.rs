//! What came from a sensor, as far as it tells whether the sensor is being used.

use homeward_protocol::alarm::Condition;
use homeward_protocol::envelope::Item;
use homeward_protocol::reading::{Kind, Reading, State, Value};
use homeward_protocol::time::Uptime;

/// What one turn, or one value, says. The default says nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Sign {
    /// Whether there were values.
    pub values: bool,
    /// Whether it says that it runs; none when it says nothing of it.
    pub runs: Option<bool>,
    /// An alarm of the device itself that began (true) or ended, the last of them.
    pub alarm: Option<bool>,
    /// Whether every question of a turn was answered: what was not read may have been the one that tells.
    pub whole: bool,
    /// Whether somebody listens to a sensor that tells by itself. Who does not say so for a while is taken to be deaf.
    pub listens: bool,
    /// For who listens: whether the sensor is linked and subscribed, so that a value of it would come at once.
    pub linked: bool,
    /// When the first question of the turn went out; none for what came by itself.
    pub asked: Option<Uptime>,
}

impl Sign {
    /// Of these records.
    pub(super) fn of(items: &[Item]) -> Sign {
        let readings = || items.iter().filter_map(reading);
        Sign {
            values: readings().next().is_some(),
            runs: readings().filter_map(runs).reduce(|one, other| one || other),
            alarm: items.iter().filter_map(device_alarm).next_back(),
            ..Sign::default()
        }
    }
}

const fn reading(item: &Item) -> Option<&Reading> {
    match item {
        Item::Reading(reading) => Some(reading),
        _ => None,
    }
}

fn device_alarm(item: &Item) -> Option<bool> {
    match item {
        Item::Alarm(alarm) if alarm.condition == Condition::DeviceAlarm => Some(alarm.active),
        _ => None,
    }
}

/// Whether a value says that a device runs. A state that is absent or not of its kind says that nobody can tell, which
/// counts as running.
fn runs(reading: &Reading) -> Option<bool> {
    (reading.kind == Kind::Running).then_some(reading.value != Value::State(State::Off))
}
