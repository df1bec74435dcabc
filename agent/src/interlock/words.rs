//! Why an act waits, in one plain sentence each.

use std::time::Duration;

use homeward_protocol::time::{Timestamp, Uptime};

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
            Reason::Offline => {
                "the server is out of reach, and what is new has to show that it reaches it".to_owned()
            }
            Reason::JustOnline { until } => format!(
                "the server was out of reach, and may have a newer word; {} more",
                span(until.since(now))
            ),
            Reason::Acting { .. } => "another change is being made right now".to_owned(),
            Reason::OutsideWindow { next } => {
                format!("until {}, when its policy lets work begin", weekly(*next))
            }
            Reason::NoWindowFits { longest } => format!(
                "this may take {}, and its policy has no window for work of that length",
                span(*longest)
            ),
            Reason::TimeUnknown => {
                "the box does not know what time it is, and its policy lets work begin at certain hours only"
                    .to_owned()
            }
            Reason::NotAsked => "nobody asked for a change".to_owned(),
            Reason::TakenBack => "something began before the change could".to_owned(),
        }
    }
}

/// A moment of the coming week.
fn weekly(at: Timestamp) -> String {
    // 1970-01-01 was a Thursday.
    let day = match at.secs().div_euclid(86_400).rem_euclid(7) {
        0 => "Thursday",
        1 => "Friday",
        2 => "Saturday",
        3 => "Sunday",
        4 => "Monday",
        5 => "Tuesday",
        _ => "Wednesday",
    };
    let (_, _, _, hour, minute, _) = at.civil();
    format!("{day} {hour:02}:{minute:02} UTC")
}

fn span(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..=119 => format!("{seconds} s"),
        seconds @ 120..=7_199 => format!("{} min", seconds / 60),
        seconds => format!("{} h", seconds / 3_600),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_named_by_its_day_and_hour() {
        for (text, expected) in [
            ("2026-11-24T02:00:00Z", "Tuesday 02:00 UTC"),
            ("2026-11-26T23:30:00Z", "Thursday 23:30 UTC"),
            ("2026-11-29T00:05:00Z", "Sunday 00:05 UTC"),
        ] {
            let next = Timestamp::from_utc(text).expect("a time");
            let said = Reason::OutsideWindow { next }.said(Uptime(0));
            assert_eq!(said, format!("until {expected}, when its policy lets work begin"));
        }
    }
}
