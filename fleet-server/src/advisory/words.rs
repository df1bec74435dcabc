//! Advisories and their tasks in words for people.

use homeward_protocol::time::Timestamp;

use super::csaf::Advisory;
use super::implant::Implant;
use super::matching::{self, Concern};
use super::{Choice, Decision, Stands, Weighing, matter};
use crate::access::UserName;
use crate::notify::Message;

/// Where a task stands, in one plain sentence.
pub fn stands(stands: &Stands, now: Timestamp) -> String {
    match stands {
        Stands::Open => {
            "nobody has weighed it: a clinician decides, with the clinic that knows the device".to_owned()
        }
        Stands::Decided { by, decision } => {
            let (with, day) = (&decision.with, decision.choice.day());
            let day = day.map(|day| day.to_string()).unwrap_or_default();
            match (decision.choice, stands.is_due(now)) {
                (Choice::Act(_), false) => format!("{by} decided with {with}: it is done on {day}"),
                (Choice::Act(_), true) => {
                    format!(
                        "{by} decided with {with} that it is done on {day}: say that it is, or decide again"
                    )
                }
                (Choice::Watch(_), false) => {
                    format!("{by} decided with {with}: nothing now, and it is weighed again on {day}")
                }
                (Choice::Watch(_), true) => {
                    format!("{by} decided to weigh it again on {day}: that day has come")
                }
                (Choice::Leave, _) => format!("{by} decided with {with} to leave it as it is"),
            }
        }
        Stands::Done { by, decision } => format!("done: {by} saw to it, as decided with {}", decision.with),
        Stands::NotIt { by, reason } => format!("{by} found that it is another device: {}", reason.as_str()),
        Stands::Withdrawn { by, reason } => format!("withdrawn by {by}: {}", reason.as_str()),
        Stands::Superseded { not_it: None } => {
            "something else is said of the device now, or its advisory was taken out: what counts is weighed in its place".to_owned()
        }
        Stands::Superseded {
            not_it: Some((by, reason)),
        } => format!(
            "something else is said of the device now, and is weighed in its place; {by} had found that it is another device: {}",
            reason.as_str()
        ),
        Stands::Gone => "the device is not in the register any more".to_owned(),
    }
}

/// What is done.
pub fn choice(choice: Choice) -> String {
    match choice {
        Choice::Act(day) => format!("what is advised, on {day}"),
        Choice::Watch(day) => format!("nothing now; weighed again on {day}"),
        Choice::Leave => "nothing: it is left as it is".to_owned(),
    }
}

/// A decision, line by line.
pub fn decision(by: &UserName, decision: &Decision) -> String {
    format!(
        "  decided         {}, by {by}\n  weighed with    {}\n  without change  {}\n  by a change     {}\n",
        choice(decision.choice),
        decision.with,
        decision.without,
        decision.by_it
    )
}

/// A device of the register in a few words.
pub fn device(implant: &Implant) -> String {
    let shows = implant.shows.as_ref();
    let shows = shows.map_or_else(String::new, |shows| format!(", which showed {shows}"));
    format!(
        "{} {} ({}){shows}",
        implant.maker,
        implant.model,
        implant.kind.words()
    )
}

/// What a remedy is, of the standard's words (CSAF 2.0, 3.2.3.12.1).
pub fn remedy(category: &str) -> &str {
    match category {
        "vendor_fix" => "An update of the maker",
        "mitigation" => "What lowers the risk",
        "workaround" => "A way around it",
        "no_fix_planned" => "No update is planned",
        "none_available" => "No update is there yet",
        other => other,
    }
}

/// An advisory as a person reads it.
pub fn page(advisory: &Advisory) -> String {
    format!(
        "{} {}, revision {} of {}\n  {}\n  by         {} ({})\n  products   {}\n  weaknesses {}\n{}",
        advisory.publisher,
        advisory.id,
        advisory.version,
        advisory.released,
        advisory.title,
        advisory.publisher,
        advisory.namespace,
        advisory.products.len(),
        advisory.flaws.len(),
        advisory
            .tlp
            .as_ref()
            .map_or_else(String::new, |tlp| format!("  may go to  TLP:{tlp}\n")),
    )
}

/// What it says of a device, as a person reads it.
pub fn concern(concern: &Concern<'_>) -> String {
    let mut text = format!(
        "Named there as: {}. {}.\n",
        concern.products.join("; "),
        concern.how.words()
    );
    if let Some(score) = concern.score {
        text.push_str(&format!("How bad: CVSS {score}\n"));
    }
    for (flaw, is) in &concern.flaws {
        text.push_str(&format!("{} ({}): {}\n", flaw.name, is.words(), flaw.summary));
    }
    for one in &concern.remedies {
        text.push_str(&format!("{}: {}\n", remedy(&one.category), one.details));
    }
    text
}

/// What a later revision means for a task that stays with an earlier one; nothing for one that ended for another.
pub fn later(task: &Weighing, advisory: &Advisory) -> Option<String> {
    if matches!(task.stands, Stands::Superseded { .. } | Stands::Gone) {
        return None;
    }
    let version = &advisory.version;
    Some(match matching::concern(advisory, &task.entry.implant) {
        Some(concern) if matter(&concern) == task.matter => {
            format!("Revision {version} is here, and says the same of this device.")
        }
        Some(_) => format!(
            "Revision {version} is here, and says something else of this device: look at it before you decide."
        ),
        None => format!(
            "Revision {version} is here, and does not name this device any more: look at it before you decide, or withdraw this."
        ),
    })
}

/// Most tasks that a message names.
const NAMED: usize = 50;

/// What a person is told outside the console. Nothing in it is of a patient: tasks by their numbers, makers and models stay in the
/// console.
pub fn message(person: &str, tasks: &[Weighing]) -> Message {
    let subject = match tasks.len() {
        1 => "A security advisory is to be weighed for 1 device".to_owned(),
        n => format!("Security advisories are to be weighed for {n} devices"),
    };
    let named: Vec<String> = tasks.iter().take(NAMED).map(|one| one.id.to_string()).collect();
    let more = tasks.len().saturating_sub(NAMED);
    let more = if more == 0 {
        String::new()
    } else {
        format!(" and {more} more")
    };
    let body = format!(
        "{subject}, each in care at home. A clinician weighs what may happen without a change against what may happen by it, with \
         the clinic that knows the device, and decides in the console under Advisories.\n\nTasks: {}{more}.\n\nThis is said \
         again each week until it is decided.",
        named.join(", ")
    );
    Message {
        gateway: None,
        person: person.to_owned(),
        subject,
        body,
    }
}
