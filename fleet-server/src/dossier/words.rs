//! Dossiers and their tasks in words for people.

use homeward_protocol::release::dossier::{Dossier, Firmware};

use super::{Stands, Task};

/// Where a task stands, in one plain sentence.
pub fn stands(task: &Task, dossier: &Dossier) -> String {
    if task.has_moved() {
        return "moved: its box stands in another home now; look again whether the device is there, then open it again or \
                withdraw it"
            .to_owned();
    }
    match &task.stands {
        Stands::Open => format!("nobody has taken it; it is for {}", dossier.by.words()),
        Stands::Planned { by, on } => format!("{by} sees to it on {on}"),
        Stands::Seen { by, version } => {
            format!("{by} saw {version} on the device; a second person has to look at it, too")
        }
        Stands::Done {
            by,
            first: Some(first),
            version,
        } => format!("done: {first} and {by} saw {version} on the device"),
        Stands::Done {
            by,
            first: None,
            version,
        } => format!("done: {by} saw {version} on the device"),
        Stands::Refused { by, reason } => format!("{by} decided against it: {}", reason.as_str()),
        Stands::Withdrawn { by, reason } => format!("withdrawn by {by}: {}", reason.as_str()),
        Stands::Superseded { newer } => format!("newer instructions took its place: {newer}"),
        Stands::Recalled => "recalled: its instructions are not published any more".to_owned(),
    }
}

/// Which versions a dossier is for.
pub fn before(dossier: &Dossier) -> String {
    let all: Vec<&str> = dossier.before.iter().map(Firmware::as_str).collect();
    if all.is_empty() {
        "any version".to_owned()
    } else {
        all.join(", ")
    }
}

/// A dossier as a person reads it.
pub fn page(dossier: &Dossier) -> String {
    let mut text = format!(
        "{} {} ({}: {})\n  firmware   {} after {}\n  done by    {}\n",
        dossier.maker,
        dossier.model,
        dossier.class.name(),
        dossier.class.words(),
        dossier.after,
        before(dossier),
        dossier.by.words(),
    );
    if dossier.class.needs_two() {
        text.push_str("  confirmed  by two people, each in their own session\n");
    }
    let devices = if dossier.profiles.is_empty() {
        "none that a box reads: tasks are opened by hand".to_owned()
    } else {
        dossier.profiles.join(", ")
    };
    text.push_str(&format!("  profiles   {devices}\n"));
    if let Some(file) = &dossier.file {
        text.push_str(&format!(
            "  file       {}, {} bytes, sha256 {}\n",
            file.name, file.bytes, file.sha256
        ));
    }
    text.push_str(&format!(
        "Without it: {}\nWith it: {}\nSteps:\n",
        dossier.risk.without, dossier.risk.with
    ));
    for (at, step) in dossier.steps.iter().enumerate() {
        text.push_str(&format!("  {}. {step}\n", at + 1));
    }
    text.push_str(&format!("It worked when: {}", dossier.worked));
    text
}
