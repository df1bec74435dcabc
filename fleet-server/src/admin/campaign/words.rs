//! Plans and boards as text for people and as JSON for programs.

use serde_json::{Value, json};

use crate::admin::terms;

use crate::campaign::board::{Board, Counts, HomeLine, next, stands};
use crate::campaign::draft::{Draft, Wish};
use crate::campaign::kept::Name;
use crate::campaign::plan::Wave;
use crate::direct::deadline::Each;
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
    json!({
        "campaign": draft.wish.name.as_str(), "plan": draft.code(), "homes": draft.parts.len(), "waves": waves,
        "reason": draft.wish.each.as_ref().map(|each| each.terms.reason()),
        "person": draft.wish.each.as_ref().map(|each| each.terms.person()),
        "targets": draft.releases.iter().map(|one| &one.path).collect::<Vec<_>>(), "no_part": outside,
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
                "waiting": c.waiting, "acting": c.acting, "confirmed": c.confirmed, "failed": c.failed,
                "going_back": c.going_back, "returned": c.returned, "left_out": c.left_out,
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
