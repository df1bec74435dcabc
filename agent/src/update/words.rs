//! How the software of a box stands, in plain words.

use homeward_protocol::release::state::{Outcome, Progress, UpdateState};

/// For people, a few lines.
pub fn said(state: &UpdateState) -> String {
    let whose = if state.packaged {
        "the build of its package"
    } else {
        "a build that an update brought"
    };
    let mut text = format!("Version {} runs: {whose}\n", state.runs);
    if let Some((mark, progress)) = &state.now {
        let version = mark.version;
        text.push_str(&match progress {
            Progress::Fetching { have, of, why } => {
                let lacks = why.as_ref().map(|why| format!("  - {}\n", why.as_str()));
                let lacks = lacks.unwrap_or_default();
                format!("Version {version} is being fetched: {have} of {of} bytes have come\n{lacks}")
            }
            Progress::Paused { have, of, why } => format!(
                "Version {version} is not fetched for now, {have} of {of} bytes have come: {}\n",
                why.as_str()
            ),
            Progress::Waiting(_) if mark.installer.is_forward_only() => format!(
                "Version {version} ({}) is here and waits for a quiet moment\n",
                mark.installer.words()
            ),
            Progress::Waiting(_) => format!("Version {version} is here and waits for a quiet moment\n"),
            Progress::Acting => format!("Version {version} is being put in place\n"),
            Progress::OnTrial { until, missing } => {
                let lacks = missing.iter().map(|lacks| format!("  - {}\n", lacks.as_str()));
                let lacks: String = lacks.collect();
                let else_what = if mark.installer.is_forward_only() {
                    format!("has no way back; it has to be well before {until}")
                } else {
                    format!("goes back at {until} unless it is well before")
                };
                format!("Version {version} is on trial, and {else_what}\n{lacks}")
            }
        });
    }
    if let Some(ended) = &state.ended {
        let at = ended.at;
        text.push_str(&match &ended.outcome {
            Outcome::Confirmed => format!("The last update was confirmed {at}\n"),
            Outcome::Refused(why) => format!("The last update was not taken {at}: {}\n", why.as_str()),
            Outcome::Bad(why) => format!("The last update was taken back {at}: {}\n", why.as_str()),
            Outcome::NotProven(why) => {
                format!(
                    "The last update was taken back {at}, without proof against it: {}\n",
                    why.as_str()
                )
            }
            Outcome::Stays(why) => format!(
                "The last update ended {at} and is not well; it has no way back, and stays: {}\n",
                why.as_str()
            ),
        });
    }
    text
}
