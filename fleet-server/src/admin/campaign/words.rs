//! Plans and boards as text for people and as JSON for programs.

use homeward_protocol::release::notes::{Notes, Reader};
use serde_json::{Value, json};

use crate::admin::terms;

use crate::campaign::board::{Board, Counts, HomeLine, next, stands};
use crate::campaign::draft::{Draft, Wish};
use crate::campaign::kept::Name;
use crate::campaign::plan::Wave;
use crate::direct::deadline::Each;
use crate::direct::shelf::FORWARD_ONLY;
use crate::store::campaigns::Listed;

/// Boxes that are named in one line.
const NAMED: usize = 5;

/// The rules, in words.
pub(super) fn rules(wish: &Wish) -> String {
    format!(
        "a wave is watched for {} after its last home confirmed; the next opens when half of it and {} % of those \
         that acted are well; more \
         than {} % failures halt and take back; a box has {} to show that it is well; all ends after {}; at most {} homes \
         fetch at the same time",
        span(wish.soak),
        wish.confirmed_percent,
        wish.failed_percent,
        span(wish.act_within),
        span(wish.within),
        wish.at_once
    )
}

/// By when each home should have it, and what happens otherwise.
fn owed(each: &Each) -> String {
    let within = span(each.within);
    format!(
        "Each home should have it within {within} after it is told.\n{}",
        terms::words(&each.terms)
    )
}

/// In the largest unit that it is whole in.
fn span(span: std::time::Duration) -> String {
    let minutes = span.as_secs() / 60;
    let (count, unit) = match minutes {
        m if m >= 1_440 && m % 1_440 == 0 => (m / 1_440, "day"),
        m if m >= 60 && m % 60 == 0 => (m / 60, "hour"),
        m => (m, "minute"),
    };
    let s = if count == 1 { "" } else { "s" };
    format!("{count} {unit}{s}")
}

fn homes(count: usize) -> String {
    let s = if count == 1 { "" } else { "s" };
    format!("{count} home{s}")
}

fn some<T: ToString>(all: &[T]) -> String {
    let first: Vec<String> = all.iter().take(NAMED).map(ToString::to_string).collect();
    let more = match all.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    format!("{}{more}", first.join(", "))
}

/// A plan, wave by wave.
pub(super) fn plan(draft: &Draft, ends: &[Name]) -> String {
    let mut text = format!("Campaign {} for {}\n", draft.wish.name, homes(draft.parts.len()));
    for release in &draft.releases {
        let custom = &release.custom;
        let hw = custom.hw.join(", ");
        let disruption = custom.disruption.words();
        text.push_str(&format!(
            "  {} for {hw} ({}): {disruption}\n",
            custom.version, release.path
        ));
        if custom.installer.is_forward_only() {
            text.push_str(&format!("    {}\n", FORWARD_ONLY.to_uppercase()));
        }
        match release
            .notes
            .as_ref()
            .and_then(|notes| notes.text(Reader::Staff, &[]))
        {
            Some((_, note)) => text.push_str(&format!("    {note}\n")),
            None => text.push_str("    It says nothing in plain words to staff\n"),
        }
    }
    text.push_str("Waves:\n");
    for wave in Wave::ALL.into_iter().chain([Wave::Named]) {
        let count = draft.plan.count(wave);
        if count > 0 {
            let first: Vec<_> = draft
                .plan
                .homes()
                .filter(|(_, of)| **of == wave)
                .map(|(id, _)| id)
                .collect();
            text.push_str(&format!(
                "  {:<7} {:>6}  {} ({})\n",
                wave.name(),
                count,
                wave.words(),
                some(&first)
            ));
        }
    }
    text.push_str(&format!(
        "A release that is bad everywhere is stopped at the latest after {}: the waves up to `canary`.\n",
        homes(draft.at_risk())
    ));
    text.push_str(&format!("Rules: {}.\n", rules(&draft.wish)));
    if let Some(each) = &draft.wish.each {
        text.push_str(&owed(each));
    }
    for (why, who) in &draft.outside {
        text.push_str(&format!(
            "No part: {} {} ({})\n",
            who.len(),
            why.words(),
            some(who)
        ));
    }
    for (why, who) in draft.without_return() {
        text.push_str(&format!(
            "NO WAY BACK for {}: {} ({}). To start all the same: --without-return\n",
            homes(who.len()),
            why.words(),
            some(&who)
        ));
    }
    for name in ends {
        text.push_str(&format!(
            "The campaign {name} ends when this one begins: it has some of these homes.\n"
        ));
    }
    text.push_str(&format!(
        "Nothing was changed. To start it, give this code: --plan {}",
        draft.code()
    ));
    text
}

/// What is said of releases whose reference values are not loaded; nothing where there are none.
pub(super) fn unmeasured(paths: &[String]) -> String {
    if paths.is_empty() {
        return String::new();
    }
    format!(
        "NOT MEASURED: evidence of agents is held against reference values here, and none is of {}: homes that take it would not be \
         believed, and would go back. Load its values first (`reference import`); to start all the same: --without-reference\n",
        paths.join(", ")
    )
}

/// The same for programs.
pub(super) fn plan_json(draft: &Draft, ends: &[Name]) -> Value {
    let waves: Vec<Value> = Wave::ALL
        .into_iter()
        .chain([Wave::Named])
        .map(|wave| json!({ "wave": wave.name(), "homes": draft.plan.count(wave) }))
        .collect();
    let outside: Vec<Value> = draft
        .outside
        .iter()
        .map(|(why, who)| json!({ "why": why.words(), "gateways": who }))
        .collect();
    let without: Vec<Value> = draft
        .without_return()
        .iter()
        .map(|(why, who)| json!({ "why": why.words(), "gateways": who }))
        .collect();
    let gateways: Vec<Value> = draft
        .plan
        .homes()
        .map(|(id, wave)| json!({ "gateway": id, "wave": wave.name() }))
        .collect();
    let releases: Vec<Value> = draft
        .releases
        .iter()
        .map(|one| {
            json!({
                "path": one.path, "version": one.custom.version, "disruption": one.custom.disruption,
                "forward_only": one.custom.installer.is_forward_only(), "notes": one.notes.as_ref().map(Notes::to_json),
            })
        })
        .collect();
    json!({
        "campaign": draft.wish.name.as_str(), "plan": draft.code(), "homes": draft.parts.len(), "waves": waves,
        "reason": draft.wish.each.as_ref().map(|each| each.terms.reason()),
        "person": draft.wish.each.as_ref().map(|each| each.terms.person()),
        "targets": draft.releases.iter().map(|one| &one.path).collect::<Vec<_>>(), "releases": releases, "no_part": outside,
        "without_return": without, "ends": ends.iter().map(Name::as_str).collect::<Vec<_>>(), "gateways": gateways, "dry_run": true,
    })
}

/// One campaign in the list.
pub(super) fn listed(one: &Listed) -> String {
    let versions: Vec<String> = one
        .head
        .targets
        .iter()
        .map(|target| target.version.to_string())
        .collect();
    let steps: Vec<String> = one
        .steps
        .iter()
        .map(|(step, count)| format!("{count} {step}"))
        .collect();
    format!(
        "{}  brings {}\n  {}\n  homes: {}\n",
        one.head.name,
        versions.join(", "),
        stands(&one.head, &one.saved),
        if steps.is_empty() {
            "no longer kept".to_owned()
        } else {
            steps.join(", ")
        }
    )
}

pub(super) fn listed_json(one: &Listed) -> Value {
    json!({
        "campaign": one.head.name.as_str(), "state": one.saved.state.name().0, "stands": stands(&one.head, &one.saved),
        "targets": one.head.targets.iter().map(|target| &target.path).collect::<Vec<_>>(),
        "started_at": one.head.started_at.to_string(), "started_by": one.head.started_by, "steps": one.steps,
    })
}

/// The board, wave by wave, and why each home is waited for.
pub(super) fn board(board: &Board) -> String {
    let mut text = format!(
        "Campaign {} {}\n",
        board.head.name,
        stands(&board.head, &board.saved)
    );
    if let Some(each) = &board.head.each {
        text.push_str(&owed(each));
    }
    if let Some(trouble) = &board.head.trouble {
        text.push_str(&format!("Nobody can be told at the moment: {trouble}\n"));
    }
    if let Some(next) = next(board) {
        text.push_str(&format!("{next}\n"));
    }
    for line in &board.waves {
        let opened = if line.is_open { "open" } else { "later" };
        text.push_str(&format!(
            "  {:<7} {:<5} {:>6}  {}\n",
            line.wave.name(),
            opened,
            line.counts.total,
            counts(&line.counts)
        ));
    }
    for home in &board.homes {
        let place = home.placement.as_ref();
        let place = place.map_or_else(String::new, |place| format!(" in {place}"));
        text.push_str(&format!(
            "{}{place}  {}: {}\n",
            home.gateway,
            home.wave.name(),
            home.says
        ));
    }
    if board.more > 0 {
        text.push_str(&format!(
            "and {} more: --homes {}\n",
            board.more,
            board.homes.len() + board.more
        ));
    }
    text
}

fn counts(counts: &Counts) -> String {
    let all = counts.words();
    let all: Vec<String> = all
        .iter()
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    all.join(", ")
}

pub(super) fn board_json(board: &Board) -> Value {
    let home = |home: &HomeLine| {
        json!({
            "gateway": home.gateway, "placement": home.placement, "wave": home.wave.name(), "step": home.step.name().0, "says": home.says,
            "since": home.since.to_string(),
        })
    };
    let waves: Vec<Value> = board
        .waves
        .iter()
        .map(|line| {
            let c = &line.counts;
            json!({
                "wave": line.wave.name(), "open": line.is_open, "homes": c.total, "later": c.later, "told": c.told,
                "waiting": c.waiting, "acting": c.acting, "confirmed": c.confirmed, "away": c.away,
                "failed": c.failed, "going_back": c.going_back, "returned": c.returned, "left_out": c.left_out,
            })
        })
        .collect();
    json!({
        "campaign": board.head.name.as_str(), "state": board.saved.state.name().0,
        "stands": stands(&board.head, &board.saved), "next": next(board), "trouble": board.head.trouble,
        "reason": board.head.each.as_ref().map(|each| each.terms.reason()),
        "person": board.head.each.as_ref().map(|each| each.terms.person()),
        "started_at": board.head.started_at.to_string(), "started_by": board.head.started_by, "waves": waves,
        "homes": board.homes.iter().map(home).collect::<Vec<_>>(), "more": board.more,
    })
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use homeward_protocol::release::notes;
    use homeward_protocol::release::state::{Can, Offer};
    use homeward_protocol::release::{Custom, Disruption, Installer, Version};

    use super::*;
    use crate::campaign::draft::{Home, Release};
    use crate::campaign::plan::Ring;

    fn draft(installer: Installer, notes: Option<Notes>) -> Draft {
        let wish = Wish {
            name: "spring".parse().expect("a name"),
            paths: vec!["packages/2.0.0".into()],
            soak: Duration::from_hours(1),
            confirmed_percent: 90,
            failed_percent: 1,
            act_within: Duration::from_mins(30),
            within: Duration::from_hours(48),
            at_once: 50,
            each: None,
        };
        let release = Release {
            path: "packages/2.0.0".into(),
            sha256: [7; 32],
            custom: Custom {
                installer,
                hw: vec!["x86_64".into()],
                version: "2.0.0".parse().expect("a version"),
                min_version: None,
                disruption: Disruption::ServiceRestart,
                security_floor: Version::ZERO,
            },
            notes,
        };
        let home = Home {
            gateway: "gw-1".parse().expect("an id"),
            ring: Ring::Patient,
            dependency: None,
            hardware: None,
            runs: None,
            build: None,
            installers: vec![Offer {
                installer,
                can: Can::Yes("1.0.0".parse().expect("a version")),
            }],
        };
        Draft::new(wish, &[release], &[home]).expect("a plan")
    }

    #[test]
    fn a_plan_says_what_it_means_and_that_there_is_no_way_back_before_anybody_agrees() {
        let text = "[staff]\nen = 'Closes a hole.'\n[patient]\nen = 'It becomes safer.'";
        let notes = notes::read(text).expect("notes");
        let with = draft(Installer::Apt, Some(notes));
        let read = plan(&with, &[]);
        assert!(
            read.contains("    FORWARD ONLY: NO AUTOMATIC RETURN\n    Closes a hole.\n"),
            "{read}"
        );
        let told = plan_json(&with, &[]);
        assert_eq!(told["releases"][0]["forward_only"], true);
        assert_eq!(told["releases"][0]["notes"]["patient"]["en"], "It becomes safer.");
        let without = draft(Installer::AgentSlot, None);
        let read = plan(&without, &[]);
        assert!(
            !read.contains("FORWARD ONLY") && read.contains("nothing in plain words"),
            "{read}"
        );
        // Other words are another plan: who read the one has not read the other.
        let other = draft(Installer::Apt, None);
        assert_ne!(with.code(), other.code());
    }
}
