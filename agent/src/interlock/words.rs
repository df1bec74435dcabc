//! Why an act waits, in one plain sentence each.

use std::time::Duration;

use homeward_protocol::time::Uptime;

use super::Reason;

impl Reason {
    /// For people; `now` turns moments into lengths.
    pub fn said(&self, now: Uptime) -> String {
        match self {
            Reason::Session { sensor, since } => {
                format!("{sensor} is being used, for {} so far", span(now.since(*since)))
            }
            Reason::Unknown { sensor, known: None } => {
                format!("{sensor} has not said yet whether it is being used")
            }
            Reason::Unknown {
                sensor,
                known: Some(at),
            } => format!(
                "{sensor} has not said for {} whether it is being used",
                span(now.since(*at))
            ),
            Reason::NotYetSure { sensor } => format!("{sensor} is asked again whether it is being used"),
            Reason::Hold(hold) => format!(
                "{} asked for quiet until {}: {}",
                hold.by.as_str(),
                hold.until,
                hold.reason.as_str()
            ),
            Reason::HoldsUnknown => "whether somebody asked for quiet cannot be read".to_owned(),
            Reason::Alarm { until } => format!(
                "an alarm sounded a short while ago; quiet for {} more",
                span(until.since(now))
            ),
            Reason::JustStarted { until } => format!(
                "the agent has just started, and does not know whether an alarm sounded; {} more",
                span(until.since(now))
            ),
            Reason::OnBattery => "the box runs from its battery".to_owned(),
            Reason::Acting { .. } => "another change is being made right now".to_owned(),
            Reason::NotAsked => "nobody asked for a change".to_owned(),
            Reason::TakenBack => "something began before the change could".to_owned(),
        }
    }
}

fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}
