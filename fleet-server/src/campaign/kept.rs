//! A campaign with what is remembered of each home: what is heard goes in, and what changed comes out, to be kept in one
//! transaction with the words that it led to.
//!
//! # Design
//! - What is here is a function of its rows, of what is so and of the time. A server that restarts, or whose transaction
//!   failed, reads the rows and goes on; nothing is told twice, because the word's number stands in the row that asked for it.
//! - A home is told when it is connected and its turn has come: after an outage, when all come at once, so many at a time
//!   fetch. Those that are to keep what they run are told at once, and those that are to go back come next.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::Version;
use homeward_protocol::release::state::Progress;
use homeward_protocol::time::Timestamp;

use super::around::Around;
use super::plan::{Seed, Wave};
use super::signs::{self, Note, Signs, Way};
use super::step::{Effect, Event, Step};
use super::{Campaign, Saved, SavedHome, State};
use crate::direct::deadline::Each;
use crate::direct::never;

/// A campaign's name: 1 to 40 of `a-z 0-9 . - _`, and a letter or digit first.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Name(String);

/// Not a campaign's name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error(
    "a campaign's name has 1 to 40 of a-z, 0-9, dot, hyphen and underscore, and begins with a letter or digit"
)]
pub struct NameError;

impl Name {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Name {
    type Err = NameError;
    fn from_str(text: &str) -> Result<Self, NameError> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let first = text.bytes().next().is_some_and(|b| b.is_ascii_alphanumeric());
        if first && text.len() <= 40 && text.bytes().all(plain) {
            Ok(Name(text.to_owned()))
        } else {
            Err(NameError)
        }
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A release that a campaign brings, for some hardware.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Target {
    /// Its path in the repository.
    pub path: String,
    /// Its version.
    pub version: Version,
    /// Its SHA-256: what the repository names under that path later is not told if it is another.
    pub sha256: [u8; 32],
}

/// What is fixed when a campaign begins, and who did what to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Head {
    /// Its name.
    pub name: Name,
    /// What it brings.
    pub targets: Vec<Target>,
    /// What places were drawn with.
    pub seed: Seed,
    /// Most homes that fetch at the same time.
    pub at_once: u16,
    /// What goes with each of its words for taking a release.
    pub each: Option<Each>,
    /// When it began.
    pub started_at: Timestamp,
    /// By whom.
    pub started_by: String,
    /// When its state last changed.
    pub changed_at: Timestamp,
    /// By whom; `system` when by itself.
    pub changed_by: String,
    /// Why nobody can be told at the moment, when nobody can.
    pub trouble: Option<String>,
}

/// One that was told and has not fetched it after so long keeps nobody else waiting.
const SLOW: Duration = Duration::from_hours(1);

/// A word for going back may be followed for at least so long.
const BACK: Duration = Duration::from_hours(14 * 24);
/// Of a box that refused the word by which it is to keep what it runs.
const NOT_TAKEN: &str = "it did not take the word to keep what it runs";

/// Who changes its state.
pub const ITSELF: &str = "system";

/// What a person may do to a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Order {
    /// Stop it: nobody begins any more, what runs stays.
    Halt,
    /// Let it go on.
    Resume,
    /// End it and take back what is installed.
    Abort,
    /// Open one home of high dependency.
    Open(GatewayId),
}

/// Why it was not done.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// The campaign stands otherwise.
    #[error("the campaign is {0}: {1}")]
    Stands(&'static str, &'static str),
    /// The home cannot be opened.
    #[error("{0}: {1}")]
    Home(GatewayId, &'static str),
}

fn after(at: Timestamp, span: Duration) -> Timestamp {
    at.plus_ms(i64::try_from(span.as_millis()).unwrap_or(i64::MAX))
}

/// A campaign as it is kept.
pub struct Kept {
    /// What is fixed, and who did what.
    pub head: Head,
    core: Campaign,
    notes: BTreeMap<GatewayId, Note>,
    was: BTreeMap<GatewayId, (SavedHome, Note)>,
    was_saved: (Saved, Head),
    effects: Vec<Effect>,
}

impl Kept {
    /// A new one. What the core says first is in its effects.
    pub fn start(head: Head, core: Campaign, effects: Vec<Effect>, notes: BTreeMap<GatewayId, Note>) -> Kept {
        let now = head.started_at;
        let mut kept = Kept {
            was_saved: (core.saved(), head.clone()),
            head,
            core,
            notes,
            was: BTreeMap::new(),
            effects: Vec::new(),
        };
        kept.follow(effects, now);
        kept.touch(now);
        kept
    }

    /// The one of these rows.
    pub fn restore(head: Head, saved: Saved, homes: Vec<(SavedHome, Note)>) -> Kept {
        let was: BTreeMap<GatewayId, (SavedHome, Note)> = homes
            .into_iter()
            .map(|one| (one.0.gateway.clone(), one))
            .collect();
        Kept {
            core: Campaign::restore(saved.clone(), was.values().map(|(home, _)| home.clone())),
            notes: was
                .iter()
                .map(|(id, (_, note))| (id.clone(), note.clone()))
                .collect(),
            was,
            was_saved: (saved, head.clone()),
            head,
            effects: Vec::new(),
        }
    }

    /// The campaign itself.
    pub const fn core(&self) -> &Campaign {
        &self.core
    }

    /// What is remembered of each home.
    pub const fn notes(&self) -> &BTreeMap<GatewayId, Note> {
        &self.notes
    }

    /// Whether a home that was well lately is not connected: then it counts how many others are dark.
    pub fn has_silent(&self, signs: &BTreeMap<GatewayId, Signs>) -> bool {
        let silent = |id| signs.get(id).is_some_and(|signs: &Signs| !signs.connected);
        let mut steps = self.core.steps();
        steps.any(|(id, _, step)| matches!(step, Step::Confirmed { .. } | Step::Dark { .. }) && silent(id))
    }

    /// What is so of the homes without the release.
    pub fn sees(&mut self, around: Around) {
        self.core.sees(around);
    }

    /// Nobody looked before this.
    pub fn awake(&mut self, since: Timestamp) {
        self.core.awake(since);
    }

    /// Looks at what is so: hears each home, then lets time pass.
    pub fn look(&mut self, signs: &BTreeMap<GatewayId, Signs>, now: Timestamp) {
        let act_within = u64::try_from(self.core.rules().act_within.as_millis()).unwrap_or(u64::MAX);
        let soak = self.core.rules().soak;
        let standing: Vec<(GatewayId, Step)> = self
            .core
            .steps()
            .filter(|(id, ..)| signs.contains_key(*id))
            .map(|(id, _, step)| (id.clone(), step))
            .collect();
        for (id, step) in standing {
            // After the soak it is watched like any other home, not for the campaign; what its box itself finds is heard.
            let over = matches!(step, Step::Confirmed { at } if at.age(now) > soak);
            let Some(signs) = signs.get(&id) else { continue };
            if signs.depended_on {
                self.hear(&id, Event::DependedOn, None, now);
            }
            self.keeps(&id, signs);
            let (Some(note), Some(step)) = (self.notes.get(&id), self.core.home(&id).map(|home| home.step))
            else {
                continue;
            };
            // Its time begins with the word for it.
            let told = note.wants.is_none();
            let late = told && matches!(step, Step::TakenBack | Step::Unwell) && note.since.age(now) >= BACK;
            let late = late.then(|| {
                (
                    Event::Stuck,
                    Some("its time for that, two weeks, is over".to_owned()),
                )
            });
            let heard_or_not = |event| matches!(event, Event::Away | Event::There | Event::Gone);
            let waits = step.is_told() || matches!(step, Step::NotYet | Step::LeftOut);
            let began = signs::begun(note, signs).filter(|_| waits);
            // Told to go back to what runs, it does so after its trial: a home that only stands still is left to that.
            let counts = step == Step::LeftOut || note.word.is_some_and(|(_, way)| way == Way::Keep);
            let event = if began.is_some_and(|version| counts && self.brings(note) == Some(version)) {
                Some((Event::Acts, None))
            } else {
                signs::event(step, note, signs, act_within, now)
            };
            let finds = self.core.state().is_open() && signs::finds_harm(signs);
            let event = event.filter(|(event, _)| {
                !over || heard_or_not(*event) || finds && matches!(event, Event::Unwell | Event::Bad)
            });
            let Some((event, why)) = event.or(late) else {
                continue;
            };
            self.hear(&id, event, why, now);
        }
        let effects = self.core.tick(now);
        self.follow(effects, now);
        self.touch(now);
    }

    /// The version that is for a home.
    fn brings(&self, note: &Note) -> Option<Version> {
        let target = self.head.targets.iter().find(|target| target.path == note.target);
        target.map(|target| target.version)
    }

    /// A home that is to keep what it runs is waited for until its box has named the word for that, or needs it no more.
    fn keeps(&mut self, id: &GatewayId, signs: &Signs) {
        let Some(note) = self
            .notes
            .get_mut(id)
            .filter(|note| note.wants == Some(Way::Keep))
        else {
            return;
        };
        let by_hand = note.word.is_some_and(|(number, _)| signs.word > Some(number));
        match signs::keeps(note, signs) {
            _ if !signs.in_service || by_hand => note.wants = None,
            Ok(true) => {
                note.wants = None;
                note.why = note.why.take().filter(|why| !why.starts_with(NOT_TAKEN));
            }
            Ok(false) => {}
            Err(why) => note.why = Some(format!("{NOT_TAKEN}: {why}")),
        }
    }

    fn hear(&mut self, id: &GatewayId, event: Event, why: Option<String>, now: Timestamp) {
        let before = self.core.home(id).map(|home| home.step);
        let effects = self.core.note(id, event, now);
        let step = self.core.home(id).map(|home| home.step);
        if let Some(note) = self.notes.get_mut(id) {
            // It began before it heard that it should not: it is not disturbed a second time for that.
            let waited =
                before.is_some_and(|step| step.is_told() || matches!(step, Step::NotYet | Step::LeftOut));
            let began = matches!(step, Some(Step::Acting { .. } | Step::Confirmed { .. }));
            if before == Some(Step::NotYet) && step != before
                || waited && began && note.wants == Some(Way::Keep)
            {
                note.wants = None;
            }
            match event {
                Event::Acts if note.acted.is_none() => note.acted = Some(now),
                Event::IsBack | Event::Gone if note.wants == Some(Way::Back) && step != before => {
                    note.wants = None;
                }
                _ => {}
            }
            match event {
                Event::Confirms => note.why = None,
                _ if why.is_some() && (step != before || event == Event::Acts) => note.why = why,
                _ => {}
            }
        }
        self.follow(effects, now);
    }

    /// A person orders something.
    ///
    /// # Errors
    /// When it stands otherwise.
    pub fn order(&mut self, order: &Order, reason: &str, by: &str, now: Timestamp) -> Result<(), Refused> {
        let (name, _) = self.core.state().name();
        let stands = |hint| Err(Refused::Stands(name, hint));
        let effects = match order {
            Order::Halt if matches!(self.core.state(), State::Running | State::Dark(_)) => {
                self.core.pause(reason)
            }
            Order::Halt => return stands("only one that runs, or stopped by itself, can be stopped"),
            Order::Resume => match self.core.resume(now) {
                Ok(effects) => effects,
                Err(_) => {
                    return stands("only one that stopped goes on; after one that halted, plan a new one");
                }
            },
            Order::Abort if self.core.state().is_open() => self.core.abort(reason),
            Order::Abort => return stands("it is over"),
            Order::Open(gateway) => {
                let opened = self.core.open_named(gateway, now);
                vec![opened.map_err(|why| Refused::Home(gateway.clone(), why))?]
            }
        };
        by.clone_into(&mut self.head.changed_by);
        self.head.changed_at = now;
        self.follow(effects, now);
        self.touch(now);
        Ok(())
    }

    /// Another campaign takes its place; gives what that one has to say to each home that it takes over.
    pub fn supersede(
        &mut self,
        by: &Name,
        homes: &BTreeSet<GatewayId>,
        now: Timestamp,
    ) -> BTreeMap<GatewayId, Way> {
        let effects = self.core.supersede(by.as_str());
        self.head.changed_at = now;
        self.follow(effects, now);
        let mut owed = BTreeMap::new();
        for id in homes {
            let Some(note) = self.notes.get_mut(id) else {
                continue;
            };
            let waits = note
                .wants
                .take()
                .filter(|way| *way == Way::Keep || note.word.is_some());
            if let Some(way @ (Way::Back | Way::Keep)) = waits {
                owed.insert(id.clone(), way);
            }
            // What it has shown stays on record.
            let step = self.core.home(id).map(|home| home.step);
            if !matches!(step, Some(Step::Confirmed { .. })) {
                self.core.note(id, Event::Gone, now);
            }
        }
        self.touch(now);
        owed
    }

    /// Takes over what the campaign before has to say to homes that are not told to go on first.
    pub fn owe(&mut self, owed: BTreeMap<GatewayId, Way>) {
        for (id, way) in owed {
            if let Some(note) = self.notes.get_mut(&id)
                && note.wants.is_none()
            {
                note.wants = Some(way);
            }
        }
    }

    fn follow(&mut self, effects: Vec<Effect>, now: Timestamp) {
        for effect in effects {
            match &effect {
                Effect::Assign(id) => self.want(id, Some(Way::On)),
                Effect::TakeBack(id) => self.want(id, Some(Way::Back)),
                // Who was never told has nothing to forget.
                Effect::Keep(id) => {
                    let note = self.notes.get(id);
                    let keeps = note.is_some_and(|note| note.word.is_some() || note.wants == Some(Way::Keep));
                    self.want(id, keeps.then_some(Way::Keep));
                }
                Effect::Stopped(_) | Effect::Halted(_) | Effect::Done => {
                    ITSELF.clone_into(&mut self.head.changed_by);
                    self.head.changed_at = now;
                }
                Effect::Opened(_) => {}
            }
            self.effects.push(effect);
        }
    }

    fn want(&mut self, id: &GatewayId, way: Option<Way>) {
        if let Some(note) = self.notes.get_mut(id) {
            note.wants = way;
            if way == Some(Way::On) {
                note.acted = None;
            }
        }
    }

    /// Notes since when each home stands where it stands now.
    fn touch(&mut self, now: Timestamp) {
        for (id, _, step) in self.core.steps() {
            let was = self.was.get(id).map(|(home, _)| home.step);
            if was != Some(step)
                && let Some(note) = self.notes.get_mut(id)
            {
                note.since = now;
            }
        }
    }

    /// Who is to be told now, and where the word leads: connected, in the order of their waves, and no more at a time than
    /// may fetch.
    pub fn due(&self, signs: &BTreeMap<GatewayId, Signs>, now: Timestamp) -> Vec<(GatewayId, Way)> {
        let busy = |(id, note): &(&GatewayId, &Note)| {
            let Some(signs) = signs.get(*id).filter(|signs| signs.connected) else {
                return false;
            };
            let Some((number, _)) = note.word.filter(|_| note.wants.is_none()) else {
                return false;
            };
            if note.since.age(now) > SLOW {
                return false;
            }
            let state = signs.said.as_ref().map(|said| &said.state);
            let ended = state.and_then(|state| state.ended.as_ref()?.counter);
            match state.and_then(|state| state.now.as_ref()) {
                Some((mark, progress)) if mark.counter == number => {
                    matches!(progress, Progress::Fetching { .. })
                }
                _ => ended.is_none_or(|ended| ended < number),
            }
        };
        let room = usize::from(self.head.at_once).saturating_sub(self.notes.iter().filter(busy).count());
        let here = |id: &GatewayId| {
            signs
                .get(id)
                .is_some_and(|signs| signs.connected && signs.in_service)
        };
        let mut due: Vec<(Way, Wave, GatewayId)> = self
            .core
            .steps()
            .filter_map(|(id, wave, _)| {
                let note = self.notes.get(id)?;
                let way = note.wants?;
                // It was said, and its box has not named it yet.
                let said = way == Way::Keep && note.word.is_some_and(|(_, way)| way != Way::On);
                (here(id) && !said).then(|| (way, wave, id.clone()))
            })
            .collect();
        due.sort_by(|a, b| (a.0 == Way::On, a.1, &a.2).cmp(&(b.0 == Way::On, b.1, &b.2)));
        // Who is to keep what it runs fetches nothing, and may begin any moment.
        let (keep, mut fetch): (Vec<_>, Vec<_>) = due.into_iter().partition(|one| one.0 == Way::Keep);
        fetch.truncate(room);
        keep.into_iter()
            .chain(fetch)
            .map(|(way, _, id)| (id, way))
            .collect()
    }

    /// By when a word that is said now is to be followed.
    pub fn by(&self, id: &GatewayId, way: Way, now: Timestamp) -> Timestamp {
        let by = match way {
            Way::On => {
                let due = self.notes.get(id).and_then(|note| note.due);
                due.or_else(|| self.ends(now))
                    .unwrap_or(self.core.rules().deadline)
            }
            Way::Back => after(now, BACK),
            Way::Keep => never(now),
        };
        Timestamp::synced(by.ms.max(now.ms))
    }

    /// When the time of a home that is told for the first time is over.
    fn ends(&self, now: Timestamp) -> Option<Timestamp> {
        self.head.each.as_ref().map(|each| after(now, each.within))
    }

    /// A home was told. One that is to keep what it runs is waited for until its box has named that word.
    pub fn told(&mut self, id: &GatewayId, (number, way): (u64, Way), signs: &Signs, now: Timestamp) {
        let due = self.ends(now);
        if let Some(note) = self.notes.get_mut(id) {
            note.wants = note.wants.filter(|wish| *wish == Way::Keep);
            note.word = Some((number, way));
            note.since = now;
            if way == Way::On {
                note.due = note.due.or(due);
                let heard = signs.sensors.iter().filter(|sensor| sensor.is_heard(now));
                note.sensors = heard.map(|sensor| sensor.sensor.clone()).collect();
                note.why = None;
            }
        }
    }

    /// A home cannot be told: why, for a person. One that was to go back stays where it is.
    pub fn cannot(&mut self, id: &GatewayId, why: String, now: Timestamp) {
        self.core.note(id, Event::Stuck, now);
        if let Some(note) = self.notes.get_mut(id) {
            note.wants = None;
            note.why = Some(match note.why.take() {
                Some(before) => format!("{before}; {why}"),
                None => why,
            });
        }
        self.touch(now);
    }

    /// Whether anything may still come of it.
    pub fn is_live(&self) -> bool {
        let waits = self.notes.values().any(|note| note.wants.is_some());
        let goes_on = self.core.steps().any(|(_, _, step)| !step.has_ended());
        self.core.state().is_open() || waits || goes_on
    }

    /// Homes whose step moved so since the rows were last kept: from where, if it was kept before, and to where.
    pub fn moved(&self, is: impl Fn(Option<Step>, Step) -> bool) -> Vec<GatewayId> {
        let steps = self.core.steps();
        let before = |id: &GatewayId| self.was.get(id).map(|(home, _)| home.step);
        let moved = steps.filter(|(id, _, step)| is(before(id), *step));
        moved.map(|(id, ..)| id.clone()).collect()
    }

    /// Homes whose rows are other than before.
    pub fn changes(&self) -> Vec<(SavedHome, &Note)> {
        let now = self
            .notes
            .iter()
            .filter_map(|(id, note)| Some((self.core.home(id)?, note)));
        now.filter(|(home, note)| {
            self.was
                .get(&home.gateway)
                .is_none_or(|was| was.0 != *home || was.1 != **note)
        })
        .collect()
    }

    /// Whether anything is other than before.
    pub fn has_changed(&self) -> bool {
        !self.effects.is_empty()
            || self.was_saved != (self.core.saved(), self.head.clone())
            || !self.changes().is_empty()
    }

    /// What came of it since its rows were last kept.
    pub fn news(&self) -> &[Effect] {
        &self.effects
    }

    /// Its rows are kept; gives what came of it since the last time.
    pub fn settled(&mut self) -> Vec<Effect> {
        self.was_saved = (self.core.saved(), self.head.clone());
        for (id, note) in &self.notes {
            if let Some(home) = self.core.home(id) {
                self.was.insert(id.clone(), (home, note.clone()));
            }
        }
        std::mem::take(&mut self.effects)
    }
}
