//! How the software of a box stands, in plain words.

use homeward_protocol::release::force::NEVER;
use homeward_protocol::release::state::{ForceStanding, ForceTold, Outcome, Progress, UpdateState};

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
            Progress::Waiting(why) => {
                let what = if mark.installer.is_forward_only() {
                    format!(" ({})", mark.installer.words())
                } else {
                    String::new()
                };
                let why = why.iter().map(|why| format!("  - {}\n", why.as_str()));
                let why: String = why.collect();
                format!("Version {version}{what} is here and waits for a quiet moment\n{why}")
            }
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
    if let Some(lacks) = &state.undecided {
        let (why, since) = (lacks.why.as_str(), lacks.since);
        text.push_str(&format!(
            "An update is assigned, and this box cannot look into it yet, since {since}: {why}\n"
        ));
    }
    for told in &state.forces {
        text.push_str(&forced(told));
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
                "The last update ended {at} and is not well; it does not go back by itself, and stays: {}\n",
                why.as_str()
            ),
        });
    }
    if let Some(met) = &state.met {
        text.push_str(&format!(
            "{} was being used at {}, while a change was being made on this box\n",
            met.sensor, met.at
        ));
    }
    if !state.beside.is_empty() {
        text.push_str("Not only Homeward disturbs this home, and what follows asks nobody:\n");
    }
    text.extend(state.beside.iter().map(|what| format!("  - {}\n", what.as_str())));
    text
}

/// How an order to force stands.
fn forced(told: &ForceTold) -> String {
    let stands = told.stands.words();
    let Some(words) = &told.words else {
        return format!("An order to force {stands}\n");
    };
    let (number, until) = (words.number, words.until);
    let (author, reviewer) = (words.author.as_str(), words.reviewer.as_str());
    let (reason, what) = (words.reason.as_str(), &words.overrules);
    let mut text = format!(
        "The order to force {number}, by {author} and {reviewer}, {stands}. Why: {reason}. It overrules {what}, until \
         {until}\n"
    );
    if let ForceStanding::Used(what) = &told.stands {
        let all = what
            .iter()
            .map(|one| format!("  - it overruled: {}\n", one.as_str()));
        text.extend(all);
    }
    if told.stands == ForceStanding::InEffect {
        text.push_str(&format!("{NEVER}\n"));
    }
    text
}
