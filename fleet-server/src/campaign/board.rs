//! A campaign as people see it: each wave in numbers, and each home that is waited for in one sentence.

use std::collections::BTreeMap;

use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::time::Timestamp;

use super::kept::{Head, Kept};
use super::plan::Wave;
use super::signs::{Note, Signs, Way, lacks};
use super::step::{Step, Waits};
use super::{Saved, Shown, State};
use crate::direct;
use crate::store::updates::Assigned;

/// How many homes of a wave stand where.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of them.
    pub total: usize,
    /// Their turn has not come.
    pub later: usize,
    /// They are told, or fetch it.
    pub told: usize,
    /// They have it and wait for a quiet moment, are offline, or stand still with the campaign.
    pub waiting: usize,
    /// They put it in place and try it.
    pub acting: usize,
    /// They run it and are well.
    pub confirmed: usize,
    /// They ran it and were well, and are not heard any more.
    pub away: usize,
    /// It failed there, or they are silent since they began.
    pub failed: usize,
    /// They go back.
    pub going_back: usize,
    /// They went back.
    pub returned: usize,
    /// They are left to another campaign.
    pub left_out: usize,
}

impl Counts {
    /// One more home that stands there.
    pub fn add(&mut self, step: Step) {
        self.total += 1;
        let place = match step {
            Step::NotYet => &mut self.later,
            Step::Assigned | Step::Waiting(Waits::Fetching) => &mut self.told,
            Step::Waiting(_) => &mut self.waiting,
            Step::Acting { .. } => &mut self.acting,
            Step::Confirmed { .. } => &mut self.confirmed,
            Step::Away { .. } | Step::Dark { .. } => &mut self.away,
            Step::Unwell | Step::Failed | Step::Silent | Step::Stuck => &mut self.failed,
            Step::TakenBack => &mut self.going_back,
            Step::Returned => &mut self.returned,
            Step::LeftOut => &mut self.left_out,
        };
        *place += 1;
    }

    /// Those that are not zero, with their words.
    pub fn words(&self) -> Vec<(usize, &'static str)> {
        let all = [
            (self.confirmed, "well"),
            (self.away, "not heard since"),
            (self.failed, "failed"),
            (self.acting, "trying it"),
            (self.waiting, "waiting"),
            (self.told, "told"),
            (self.going_back, "going back"),
            (self.returned, "back"),
            (self.left_out, "left out"),
            (self.later, "later"),
        ];
        all.into_iter().filter(|(count, _)| *count > 0).collect()
    }
}

/// One wave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaveLine {
    /// Which.
    pub wave: Wave,
    /// Whether it has opened. That of high dependency opens home by home.
    pub is_open: bool,
    /// Its homes.
    pub counts: Counts,
}

/// One home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HomeLine {
    /// Its box.
    pub gateway: GatewayId,
    /// Which home that is, where the box has one.
    pub placement: Option<PlacementId>,
    /// Its wave.
    pub wave: Wave,
    /// Where it stands.
    pub step: Step,
    /// Since when.
    pub since: Timestamp,
    /// Why, in one sentence.
    pub says: String,
}

/// All of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Board {
    /// What is fixed, and who did what.
    pub head: Head,
    /// How it stands.
    pub saved: Saved,
    /// Waves that have homes, in their order.
    pub waves: Vec<WaveLine>,
    /// Homes that are waited for, that failed, or that go back: those that need somebody first.
    pub homes: Vec<HomeLine>,
    /// How many more there are.
    pub more: usize,
    /// What the newest wave that opened has shown.
    pub shown: Option<Shown>,
    /// Whether homes of high dependency may be opened now.
    pub may_open: bool,
    /// Whether homes that begin now can be watched before its time is over.
    pub fits: bool,
}

/// What is known of a home for its sentence.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen<'a> {
    /// What is so of it.
    pub signs: Option<&'a Signs>,
    /// The director's newest word for it.
    pub assigned: Option<&'a Assigned>,
    /// Which home it is.
    pub placement: Option<&'a PlacementId>,
}

impl Board {
    /// Which homes are listed: those of which something is awaited or to be known, at most so many, the worst first.
    pub fn listed(kept: &Kept, most: usize, now: Timestamp) -> (Vec<GatewayId>, usize) {
        let may_open = kept.core().may_open_named(now);
        let mut all: Vec<(u8, Wave, &GatewayId)> = kept
            .core()
            .steps()
            .filter_map(|(id, wave, step)| {
                let rank = if may_open && is_for_a_person(wave, step) {
                    Some(FOR_A_PERSON)
                } else {
                    rank(step, kept.notes().get(id)?)
                };
                Some((rank?, wave, id))
            })
            .collect();
        all.sort();
        let more = all.len().saturating_sub(most);
        (
            all.into_iter().take(most).map(|(_, _, id)| id.clone()).collect(),
            more,
        )
    }

    /// Of a campaign as it is kept, and what is so of the homes that are listed.
    pub fn new(
        kept: &Kept,
        (listed, more): (&[GatewayId], usize),
        seen: &BTreeMap<GatewayId, Seen<'_>>,
        now: Timestamp,
    ) -> Board {
        let saved = kept.core().saved();
        let may_open = kept.core().may_open_named(now);
        let mut counts: BTreeMap<Wave, Counts> = BTreeMap::new();
        for (_, wave, step) in kept.core().steps() {
            counts.entry(wave).or_default().add(step);
        }
        let line = |(wave, counts): (Wave, Counts)| WaveLine {
            wave,
            is_open: match wave {
                Wave::Named => counts.later + counts.left_out < counts.total,
                wave => saved.open >= Some(wave),
            },
            counts,
        };
        let act_within = u64::try_from(saved.rules.act_within.as_millis()).unwrap_or(u64::MAX);
        let home = |id: &GatewayId| {
            let (home, note) = (kept.core().home(id)?, kept.notes().get(id)?);
            let seen = seen.get(id).copied().unwrap_or_default();
            Some(HomeLine {
                gateway: id.clone(),
                placement: seen.placement.cloned(),
                wave: home.wave,
                step: home.step,
                since: note.since,
                says: if may_open && is_for_a_person(home.wave, home.step) {
                    "waits for a named person to open it".into()
                } else {
                    says(home.step, note, seen, act_within)
                },
            })
        };
        Board {
            head: kept.head.clone(),
            waves: counts.into_iter().map(line).collect(),
            homes: listed.iter().filter_map(home).collect(),
            more,
            shown: kept.core().shown(),
            may_open,
            fits: saved.rules.fits(now),
            saved,
        }
    }
}

/// The place in a list of homes that wait for somebody.
const FOR_A_PERSON: u8 = 6;

/// Whether a home waits for a person, once homes may be opened.
pub fn is_for_a_person(wave: Wave, step: Step) -> bool {
    wave == Wave::Named && step == Step::NotYet
}

/// Which homes come first in a list; none for those of which there is nothing to say.
fn rank(step: Step, note: &Note) -> Option<u8> {
    let is_kept = note.wants == Some(Way::Keep);
    Some(match step {
        Step::Unwell | Step::Failed | Step::Silent | Step::Stuck => 0,
        Step::TakenBack => 1,
        Step::Acting { .. } | Step::Away { .. } | Step::Dark { .. } => 2,
        Step::Waiting(_) => 3,
        Step::Assigned => 4,
        Step::Returned => 5,
        Step::NotYet | Step::LeftOut if is_kept => 3,
        Step::LeftOut if note.why.is_some() => 7,
        Step::NotYet | Step::Confirmed { .. } | Step::LeftOut => return None,
    })
}

/// Why a home stands where it does, in one plain sentence.
pub fn says(step: Step, note: &Note, seen: Seen<'_>, act_within_ms: u64) -> String {
    let connected = seen.signs.map(|signs| signs.connected);
    let said = seen.signs.and_then(|signs| signs.said.as_ref());
    let its_word = || {
        let number = note.word.map(|(number, _)| number);
        let assigned = seen
            .assigned
            .filter(|assigned| Some(assigned.counter) == number)?;
        Some(direct::words(assigned, said.map(|said| &said.state), connected))
    };
    let why = || note.why.clone();
    if let Some(words) = keeps(step, note, connected) {
        return words;
    }
    match step {
        Step::NotYet => "its wave has not opened".into(),
        Step::Assigned | Step::Waiting(Waits::Offline | Waits::Quiet | Waits::Fetching)
            if note.wants == Some(Way::On) =>
        {
            match connected {
                Some(true) => "is told in its turn".into(),
                _ => "the box is not connected; it is told when it comes back".into(),
            }
        }
        Step::Waiting(Waits::Stopped) => "keeps what it runs until the campaign goes on".into(),
        Step::Assigned | Step::Waiting(_) => {
            let words = its_word().or_else(why).unwrap_or_else(|| "is to be told".into());
            match connected {
                Some(false) if !words.contains("not connected") => {
                    format!("{words} (and is not connected now)")
                }
                _ => words,
            }
        }
        Step::Acting { .. } => {
            let lacks = seen.signs.and_then(|signs| lacks(note, signs, act_within_ms));
            let words = its_word().unwrap_or_else(|| "puts it in place".into());
            match lacks.filter(|_| words.starts_with("runs ")) {
                Some(lacks) => format!("{words}; {lacks}"),
                None => words,
            }
        }
        Step::Confirmed { at } => format!("runs it and is well, since {at}"),
        Step::Away { at } => format!(
            "was well since {at}, and nothing was heard of it for a while; it speaks for nobody until it is back"
        ),
        Step::Dark { at } => format!(
            "was well since {at}, and nothing was heard of it for a while: that may be the release's doing"
        ),
        Step::Failed => why().unwrap_or_else(|| "went back".into()),
        Step::Silent => {
            let began = note.acted.unwrap_or(note.since);
            let lacks = why().map(|why| format!(": {why}")).unwrap_or_default();
            format!(
                "began {began} and has not shown in its time that it is well{lacks}; somebody should look"
            )
        }
        Step::Unwell => {
            let why = why().unwrap_or_else(|| "it is not well".into());
            format!("{why}; {}", back(note, connected, its_word()))
        }
        Step::TakenBack => back(note, connected, its_word()),
        Step::Stuck => {
            let why = why().map(|why| format!(": {why}")).unwrap_or_default();
            format!("does not go back{why}; somebody has to go there")
        }
        Step::Returned => match why() {
            Some(why) => format!("runs {} again: {why}", note.before),
            None => format!("runs {} again", note.before),
        },
        Step::LeftOut => why().unwrap_or_else(|| format!("keeps {}", note.before)),
    }
}

/// How far a home that is to keep what it runs has come, until its box has named the word for that.
fn keeps(step: Step, note: &Note, connected: Option<bool>) -> Option<String> {
    let waits = step.is_told() || matches!(step, Step::NotYet | Step::LeftOut);
    note.wants.filter(|way| *way == Way::Keep && waits)?;
    let before = note.before;
    let is_said = note.word.is_some_and(|(_, way)| way != Way::On);
    Some(match (&note.why, connected) {
        (Some(why), _) if is_said => format!("is to keep {before}: {why}; somebody should look"),
        (_, Some(true)) if is_said => format!("is to keep {before}; the box has not named that word yet"),
        (_, Some(true)) => format!("is to keep {before}; it is told in its turn"),
        _ => format!("is to keep {before}, and may not have heard that: the box is not connected"),
    })
}

/// How far a home that is told to go back has come.
fn back(note: &Note, connected: Option<bool>, its_word: Option<String>) -> String {
    match (note.wants, note.word) {
        (Some(Way::Back), _) if connected != Some(true) => {
            format!("is to go back to {}; the box is not connected", note.before)
        }
        (None, Some((_, Way::Back))) => {
            let words = its_word.unwrap_or_else(|| format!("{} is to come", note.before));
            format!("goes back: {words}")
        }
        (None, _) => {
            let why = note.why.as_deref().unwrap_or("a person has to go there");
            format!("cannot be told to go back: {why}")
        }
        _ => format!("is to go back to {}", note.before),
    }
}

/// What the next wave waits for, in one plain sentence; none where none is to open by itself.
pub fn next(board: &Board) -> Option<String> {
    let shown = board
        .shown
        .filter(|_| board.saved.state == State::Running && !board.may_open)?;
    let Shown {
        wave, well, needed, ..
    } = shown;
    let (name, opens) = (
        wave.name(),
        match wave.next() {
            Some(_) => "The next wave opens",
            None => "Homes of high dependency may be opened",
        },
    );
    let away = match shown.away {
        0 => String::new(),
        1 => " One was well and is not heard any more.".to_owned(),
        away => format!(" {away} were well and are not heard any more."),
    };
    let words = match needed {
        _ if !board.fits => {
            "No further wave opens, for its time is too short to watch it: plan another campaign for the others.".to_owned()
        }
        0 => format!(
            "No home of the wave `{name}` is left that could show anything: plan another campaign for the others."
        ),
        needed if well >= needed => {
            format!("{opens} when the homes of the wave `{name}` that are well were watched for long enough.")
        }
        1 => format!("{opens} when one home of the wave `{name}` is well."),
        needed => format!("{opens} when {needed} homes of the wave `{name}` are well; {well} are."),
    };
    Some(words + &away)
}

/// How a campaign stands, in one plain sentence.
pub fn stands(head: &Head, saved: &Saved) -> String {
    let by = &head.changed_by;
    match &saved.state {
        State::Running => match saved.open {
            Some(wave) => format!("runs; the wave `{}` is open since {}", wave.name(), saved.opened),
            None => "runs; no wave has opened".into(),
        },
        State::Dark(why) => format!(
            "stopped by itself: {why}. Nobody begins any more, until a person lets it go on or ends it; when more fails, it halts and what is installed is taken back"
        ),
        State::Paused(why) => {
            format!("stopped by {by}: {why}. Nobody begins any more; what is installed stays")
        }
        State::Halted(why) => format!("halted by itself: {why}. What is installed is taken back"),
        State::Aborted(why) => format!("ended by {by}: {why}. What is installed is taken back"),
        State::Superseded(other) => format!("the campaign {other} took its place"),
        State::Done => format!("is over since {}", head.changed_at),
    }
}
