//! Why an act waits, in one plain sentence each.

use homeward_protocol::time::Uptime;

use super::Reason;

impl Reason {
    /// For people; `now` turns moments into lengths.
    pub fn said(&self, now: Uptime) -> String {
        let minutes = |at: Uptime| now.since(at).as_secs() / 60;
        match self {
            Reason::Session { sensor, since } => {
                format!("{sensor} is being used, for {} minutes so far", minutes(*since))
            }
            Reason::Unknown { sensor, known: None } => {
                format!("{sensor} has not said yet whether it is being used")
            }
            Reason::Unknown {
                sensor,
                known: Some(at),
            } => format!(
                "{sensor} has not said for {} minutes whether it is being used",
                minutes(*at)
            ),
            Reason::NotYetSure { sensor } => format!("{sensor} is asked again whether it is being used"),
            Reason::Hold(hold) => format!(
                "{} asked for quiet until {}: {}",
                hold.by.as_str(),
                hold.until,
                hold.reason.as_str()
            ),
            Reason::Alarm { until } => format!(
                "an alarm sounded a short while ago; quiet for {} more minutes",
                until.since(now).as_secs().div_ceil(60)
            ),
            Reason::JustStarted { until } => format!(
                "the agent has just started, and does not know whether an alarm sounded; {} more minutes",
                until.since(now).as_secs().div_ceil(60)
            ),
            Reason::OnBattery => "the box runs from its battery".to_owned(),
            Reason::Acting { .. } => "another change is being made right now".to_owned(),
            Reason::NotAsked => "nobody asked for a change".to_owned(),
            Reason::TakenBack => "something began before the change could".to_owned(),
        }
    }
}
