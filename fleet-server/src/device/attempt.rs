//! Another master's write to a guarded device, as a row of the audit trail.

use homeward_protocol::guard::{Outcome, WriteAttempt};

use crate::audit::Action;

/// The action and the detail of the row. What was to be written is in neither: the gateway does not tell it.
pub fn told(attempt: &WriteAttempt) -> (Action, String) {
    let (action, end) = match attempt.outcome {
        Outcome::Refused(why) => (Action::WriteRefused, why.words()),
        Outcome::Written => (Action::DeviceWritten, "the device took it"),
        Outcome::Failed => (Action::DeviceWritten, "the device did not confirm it"),
    };
    let place = match (attempt.address, attempt.count) {
        (Some(address), 0 | 1) => format!(" address {address}"),
        (Some(address), count) => format!(
            " addresses {address} to {}",
            u32::from(address) + u32::from(count) - 1
        ),
        (None, _) => String::new(),
    };
    let times = match attempt.times {
        0 | 1 => String::new(),
        times => format!(", {times} times"),
    };
    let (peer, unit, function, at) = (attempt.peer.as_str(), attempt.unit, attempt.function, attempt.at);
    let detail = format!("{peer}: unit {unit} function {function}{place}{times} at {at}; {end}");
    (action, detail)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::guard::Why;
    use homeward_protocol::posture::ShortText;
    use homeward_protocol::time::Timestamp;

    use super::*;

    #[test]
    fn a_row_says_who_where_how_often_and_why() {
        let mut attempt = WriteAttempt {
            sensor: "ups".parse().expect("an id"),
            at: Timestamp::synced(1_795_000_000_000),
            peer: ShortText::cut("monitor at 192.0.2.20"),
            unit: 1,
            function: 16,
            address: Some(65_535),
            count: 2,
            outcome: Outcome::Refused(Why::Function),
            times: 3,
        };
        let (action, detail) = told(&attempt);
        assert_eq!(action, Action::WriteRefused);
        assert_eq!(
            detail,
            "monitor at 192.0.2.20: unit 1 function 16 addresses 65535 to 65536, 3 times at 2026-11-18T11:06:40Z; \
             this function is not allowed for it"
        );
        attempt.outcome = Outcome::Written;
        assert_eq!(told(&attempt).0, Action::DeviceWritten);
    }
}
