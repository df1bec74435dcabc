//! How a release goes to a fleet: in waves, those who depend least on their box first, and back by itself when it is bad.
//!
//! ```text
//! lab ─▶ own homes ─▶ 1 % ─▶ 10 % ─▶ 50 % ─▶ rest                high dependency: by a named person only
//!         each opens after the one before soaked, on evidence; too many failures halt, and take back what is installed
//! ```
//! # Design
//! - [`Campaign`] is pure: events in, [`Effect`]s out, time is an argument. It knows nothing of how a box is told.
//! - Every step ends. One that acts and is silent has failed until it speaks; one that waits ends with the campaign.
//! - A home that was well and is not heard any more speaks for nobody: a wave does not open on boxes that may be dead. When
//!   more of them go dark than elsewhere, it stops for a person ([`around`]).
//! - Who comes when is decided as the campaign begins; a home on which somebody begins to depend highly later comes with those
//!   who do, unless it began already.
//! - A failure counts where it is proved. A box that came back to the old release without proof (its power was cut, it
//!   could not reach anybody) is asked once more before it counts.
//! - A campaign that halted takes the release back, and is over. One that a person stopped keeps what is installed, and a
//!   person lets it go on. Only a person opens the homes of those who depend most.

pub mod around;
pub mod board;
pub mod draft;
pub mod drive;
pub mod kept;
mod named;
pub mod plan;
pub mod signs;
pub mod step;
pub mod tell;

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use around::Around;
use plan::{Plan, Wave};
pub use step::{Effect, Event, Step, Waits};

/// When a wave opens, and when all stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a wave is watched after its last box confirmed.
    pub soak: Duration,
    /// Of the boxes of a wave that acted, so many per cent have to have confirmed before the next one opens; and half of the
    /// wave in any case.
    pub confirmed_percent: u8,
    /// More failures in a wave than so many per cent of it, rounded down, halt. With 1, one failure does in a wave of less
    /// than a hundred; with 10, in one of less than ten.
    pub failed_percent: u8,
    /// How long a box may take from its act to its word.
    pub act_within: Duration,
    /// When nobody begins any more. Boxes that still wait then are left to the next campaign; it is over when those that began
    /// were watched.
    pub deadline: Timestamp,
}

impl Rules {
    /// Whether its time is over: nobody is told any more.
    const fn is_late(&self, now: Timestamp) -> bool {
        now.ms >= self.deadline.ms
    }

    /// Whether a home that begins now can be watched before its time is over.
    pub fn fits(&self, now: Timestamp) -> bool {
        now.age(self.deadline) >= self.act_within + self.soak
    }
}

/// How the whole stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waves open as they are due.
    Running,
    /// A person stopped it: nobody begins any more, and nothing is taken back.
    Paused(String),
    /// It stopped by itself, as homes that were well go dark: likewise, until a person has looked; but it halts when more fails.
    Dark(String),
    /// Too much went wrong: what is installed is taken back.
    Halted(String),
    /// A person ended it: what is installed is taken back.
    Aborted(String),
    /// Another one took its place: what is installed stays, and that one goes on from there.
    Superseded(String),
    /// It is over.
    Done,
}

impl State {
    /// Its name, and the reason where there is one.
    pub fn name(&self) -> (&'static str, &str) {
        match self {
            State::Running => ("running", ""),
            State::Paused(why) | State::Dark(why) => ("stopped", why),
            State::Halted(why) => ("halted", why),
            State::Aborted(why) => ("aborted", why),
            State::Superseded(by) => ("superseded", by),
            State::Done => ("done", ""),
        }
    }

    /// The state of that name; `by_itself`: whether no person brought it there.
    pub fn from_name(name: &str, why: &str, by_itself: bool) -> Option<State> {
        Some(match name {
            "running" => State::Running,
            "stopped" if by_itself => State::Dark(why.to_owned()),
            "stopped" => State::Paused(why.to_owned()),
            "halted" => State::Halted(why.to_owned()),
            "aborted" => State::Aborted(why.to_owned()),
            "superseded" => State::Superseded(why.to_owned()),
            "done" => State::Done,
            _ => return None,
        })
    }

    /// Whether it goes on, or may.
    pub fn is_open(&self) -> bool {
        *self == State::Running || self.is_stopped()
    }

    /// Whether nobody begins until a person lets it go on.
    pub const fn is_stopped(&self) -> bool {
        matches!(self, State::Paused(_) | State::Dark(_))
    }

    /// Whether what is installed is taken back.
    const fn takes_back(&self) -> bool {
        matches!(self, State::Halted(_) | State::Aborted(_))
    }
}

struct Home {
    step: Step,
    retried: bool,
}

/// What the homes of a wave have shown, those that are left out aside.
struct Shows {
    homes: usize,
    confirmed: usize,
    acted: usize,
    /// Of those that acted: were well, and are not heard any more.
    away: usize,
    acting: usize,
    newest: Timestamp,
}

impl Shows {
    /// How many have to be well: half of all, so that a few who are quick do not speak for those who wait, and so many per
    /// cent of those that acted.
    fn needed(&self, confirmed_percent: u8) -> usize {
        let half = self.homes.div_ceil(2);
        half.max((self.acted * usize::from(confirmed_percent)).div_ceil(100))
    }
}

/// What a wave has shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shown {
    /// Which.
    pub wave: Wave,
    /// So many of its homes run the release, are well and are heard.
    pub well: usize,
    /// So many were well, and are not heard any more.
    pub away: usize,
    /// So many have to be well before the next ones come.
    pub needed: usize,
}

/// What outlasts a restart, beside the homes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Saved {
    /// When a wave opens, and when all stops.
    pub rules: Rules,
    /// How it stands.
    pub state: State,
    /// The newest wave that opened.
    pub open: Option<Wave>,
    /// When.
    pub opened: Timestamp,
}

/// One home, as it is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SavedHome {
    /// Its box.
    pub gateway: GatewayId,
    /// Its wave.
    pub wave: Wave,
    /// Where it stands.
    pub step: Step,
    /// Whether it was asked once more already.
    pub retried: bool,
}

/// One release on its way.
pub struct Campaign {
    rules: Rules,
    state: State,
    open: Option<Wave>,
    opened: Timestamp,
    /// The waves with their homes, and where to find a home.
    waves: BTreeMap<Wave, BTreeMap<GatewayId, Home>>,
    wave_of: BTreeMap<GatewayId, Wave>,
    around: Around,
    /// Since when somebody has looked without a gap; nothing is timed from before that.
    awake: Timestamp,
}

impl Campaign {
    /// One that begins at `now` with the first wave of `plan`.
    pub fn start(plan: &Plan, rules: Rules, now: Timestamp) -> (Campaign, Vec<Effect>) {
        let saved = Saved {
            rules,
            state: State::Running,
            open: None,
            opened: now,
        };
        let home = |(id, wave): (&GatewayId, &Wave)| SavedHome {
            gateway: id.clone(),
            wave: *wave,
            step: Step::NotYet,
            retried: false,
        };
        let mut campaign = Campaign::restore(saved, plan.homes().map(home));
        let effects = campaign.tick(now);
        (campaign, effects)
    }

    /// The one that was kept: it goes on where it stood.
    pub fn restore(saved: Saved, homes: impl IntoIterator<Item = SavedHome>) -> Campaign {
        let mut campaign = Campaign {
            rules: saved.rules,
            state: saved.state,
            open: saved.open,
            opened: saved.opened,
            waves: BTreeMap::new(),
            wave_of: BTreeMap::new(),
            around: Around::default(),
            awake: Timestamp::synced(i64::MIN),
        };
        for one in homes {
            let home = Home {
                step: one.step,
                retried: one.retried,
            };
            campaign.wave_of.insert(one.gateway.clone(), one.wave);
            campaign
                .waves
                .entry(one.wave)
                .or_default()
                .insert(one.gateway, home);
        }
        campaign
    }

    /// What is to be kept of it, beside the homes.
    pub fn saved(&self) -> Saved {
        Saved {
            rules: self.rules,
            state: self.state.clone(),
            open: self.open,
            opened: self.opened,
        }
    }

    /// When a wave opens, and when all stops.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// How it stands.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// The newest wave that opened.
    pub const fn open(&self) -> Option<Wave> {
        self.open
    }

    /// Where each box stands.
    pub fn steps(&self) -> impl Iterator<Item = (&GatewayId, Wave, Step)> {
        let waves = self.waves.iter();
        waves.flat_map(|(wave, homes)| homes.iter().map(|(id, home)| (id, *wave, home.step)))
    }

    /// One home as it is to be kept.
    pub fn home(&self, gateway: &GatewayId) -> Option<SavedHome> {
        let wave = *self.wave_of.get(gateway)?;
        let home = self.waves.get(&wave)?.get(gateway)?;
        Some(SavedHome {
            gateway: gateway.clone(),
            wave,
            step: home.step,
            retried: home.retried,
        })
    }

    /// A box said something.
    pub fn hear(&mut self, gateway: &GatewayId, event: Event, now: Timestamp) -> Vec<Effect> {
        let mut effects = self.note(gateway, event, now);
        effects.extend(self.tick(now));
        effects
    }

    /// The same without what follows for the others: after the last of several, [`Campaign::tick`] says that.
    pub fn note(&mut self, gateway: &GatewayId, event: Event, now: Timestamp) -> Vec<Effect> {
        if event == Event::DependedOn {
            return self.leave_to_a_person(gateway);
        }
        let (takes_back, is_open) = (self.state.takes_back(), self.state.is_open());
        let runs = self.state == State::Running && !self.rules.is_late(now);
        let stopped = self.state.is_stopped();
        let rules = self.rules;
        let wave = self.wave_of.get(gateway).copied();
        let Some(home) = wave.and_then(|wave| self.waves.get_mut(&wave)?.get_mut(gateway)) else {
            return Vec::new();
        };
        let (step, effect) = match (home.step, event) {
            (step, Event::Gone) if step.has_ended() && !step.was_well() => (step, None),
            (_, Event::Gone) => (Step::LeftOut, None),
            (Step::TakenBack | Step::Silent | Step::Stuck, Event::IsBack) => (Step::Returned, None),
            (Step::TakenBack | Step::Unwell, Event::Stuck) => (Step::Stuck, None),
            (step, Event::Stuck) => (step, None),
            (step, Event::Unwell)
                if step.may_run_it() && !matches!(step, Step::TakenBack | Step::Unwell | Step::Stuck) =>
            {
                (Step::Unwell, Some(Effect::TakeBack(gateway.clone())))
            }
            // The second says so at each look: it is asked once more when a person lets it go on, and counts then.
            (Step::TakenBack | Step::Stuck, _) | (Step::Waiting(Waits::Stopped), Event::NotProven) => {
                (home.step, None)
            }
            // It took the release before it heard that it should not, or speaks after all.
            (_, Event::Acts | Event::Confirms) if takes_back => {
                (Step::TakenBack, Some(Effect::TakeBack(gateway.clone())))
            }
            (Step::Confirmed { at }, Event::Away) => (rules.dark(at, now), None),
            (Step::Away { at } | Step::Dark { at }, Event::There) => {
                // It is watched for a while before it speaks for others again: one that starts over and over comes and goes.
                let watched = self.rules.soak.saturating_sub(self.rules.act_within * 2);
                let since = now.plus_ms(-i64::try_from(watched.as_millis()).unwrap_or(i64::MAX));
                let at = if at.ms > since.ms { at } else { since };
                (Step::Confirmed { at }, None)
            }
            // Its time was over before it heard that it should not begin: it is watched like the others.
            (Step::LeftOut, Event::Acts) if is_open => (Step::Acting { since: now }, None),
            (Step::Returned | Step::LeftOut, _)
            | (Step::NotYet, Event::Waits(_) | Event::IsBack | Event::NotProven)
            | (
                Step::Away { .. } | Step::Dark { .. } | Step::Confirmed { .. },
                Event::Acts | Event::Confirms | Event::Waits(_),
            ) => (home.step, None),
            (Step::Assigned | Step::Waiting(_), Event::Waits(_) | Event::IsBack) if stopped => {
                (Step::Waiting(Waits::Stopped), None)
            }
            (Step::Assigned | Step::Waiting(_), Event::Waits(why)) => (Step::Waiting(why), None),
            // One that was left to a person may have begun, or could not be told so.
            (Step::NotYet | Step::Assigned | Step::Waiting(_), Event::Acts) => {
                (Step::Acting { since: now }, None)
            }
            (_, Event::Confirms) => (Step::Confirmed { at: now }, None),
            (step, Event::NotProven) if !home.retried && !step.is_bad() => {
                home.retried = true;
                if runs {
                    (Step::Assigned, Some(Effect::Assign(gateway.clone())))
                } else if stopped {
                    (Step::Waiting(Waits::Stopped), None)
                } else {
                    (Step::Returned, None)
                }
            }
            (Step::Unwell, Event::IsBack) | (_, Event::Bad | Event::NotProven) => (Step::Failed, None),
            (_, Event::IsBack) => (Step::Returned, None),
            (step, _) => (step, None),
        };
        home.step = step;
        effect.into_iter().collect()
    }

    /// Time passed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        self.time_out(now);
        let mut effects = Vec::new();
        if matches!(self.state, State::Running | State::Dark(_)) {
            if let Some(why) = self.too_bad() {
                effects.extend(self.take_back(State::Halted(why.clone())));
                effects.insert(0, Effect::Halted(why));
            } else if self.state.is_stopped() {
                // A person looks first.
            } else if let Some(why) = self.too_dark() {
                effects.extend(self.stop(State::Dark(why.clone())));
                effects.insert(0, Effect::Stopped(why));
            } else {
                let late = self.rules.is_late(now);
                if late {
                    effects.extend(self.leave_out());
                }
                if self.is_over(now) {
                    self.state = State::Done;
                    effects.push(Effect::Done);
                } else if !late {
                    effects.extend(self.open_due(now));
                }
            }
        }
        effects
    }

    /// Stops: who has not begun is told to keep what it runs, and nothing is taken back.
    pub fn pause(&mut self, reason: &str) -> Vec<Effect> {
        if let State::Dark(_) = self.state {
            // It stands still already; from here on by a person's word.
            self.state = State::Paused(reason.to_owned());
        }
        if self.state != State::Running {
            return Vec::new();
        }
        self.stop(State::Paused(reason.to_owned()))
    }

    fn stop(&mut self, state: State) -> Vec<Effect> {
        self.state = state;
        let mut effects = Vec::new();
        for (id, home) in self.waves.values_mut().flatten() {
            if home.step.is_told() {
                home.step = Step::Waiting(Waits::Stopped);
                effects.push(Effect::Keep(id.clone()));
            }
        }
        effects
    }

    /// Lets a paused campaign go on. One that halted took the release back: its waves begin anew with a new one.
    ///
    /// # Errors
    /// When it is not paused: how it stands.
    pub fn resume(&mut self, now: Timestamp) -> Result<Vec<Effect>, State> {
        if !self.state.is_stopped() {
            return Err(self.state.clone());
        }
        self.state = State::Running;
        let mut effects = Vec::new();
        for (id, home) in self.waves.values_mut().flatten() {
            match home.step {
                Step::Waiting(Waits::Stopped) => {
                    home.step = Step::Assigned;
                    effects.push(Effect::Assign(id.clone()));
                }
                // A person has looked at those that are dark now.
                Step::Dark { at } => home.step = Step::Away { at },
                _ => {}
            }
        }
        effects.extend(self.tick(now));
        Ok(effects)
    }

    /// Another campaign takes its place: who has not begun keeps what it runs, and what is installed stays.
    pub fn supersede(&mut self, by: &str) -> Vec<Effect> {
        if !self.state.is_open() {
            return Vec::new();
        }
        self.state = State::Superseded(by.to_owned());
        self.leave_out()
    }

    /// Ends it, and takes back what is installed.
    pub fn abort(&mut self, reason: &str) -> Vec<Effect> {
        if self.state.is_open() {
            self.take_back(State::Aborted(reason.to_owned()))
        } else {
            Vec::new()
        }
    }

    /// Nobody looked before this: a home that acted then has its time from here on.
    pub fn awake(&mut self, since: Timestamp) {
        self.awake = since;
    }

    fn time_out(&mut self, now: Timestamp) {
        let (within, awake) = (self.rules.act_within, self.awake);
        // Also of a home that was left to a person after it was told: it may have begun before it heard that.
        let open = self.open;
        let begun = |wave: &Wave| open >= Some(*wave) || *wave == Wave::Named;
        let waves = self.waves.iter_mut().filter(|(wave, _)| begun(wave));
        for home in waves.flat_map(|(_, homes)| homes.values_mut()) {
            if let Step::Acting { since } = home.step
                && since.age(now) >= within
                && awake.age(now) >= within
            {
                home.step = Step::Silent;
            }
        }
    }

    fn of(&self, wave: Wave) -> impl Iterator<Item = &Home> {
        self.waves.get(&wave).into_iter().flat_map(BTreeMap::values)
    }

    fn too_bad(&self) -> Option<String> {
        self.counted().find_map(|wave| {
            let size = self.waves.get(&wave).map_or(0, BTreeMap::len);
            let bad = self.of(wave).filter(|home| home.step.is_bad()).count();
            let words = || format!("{bad} of {size} homes of the wave `{}` failed", wave.name());
            (bad > self.allowed(wave)).then(words)
        })
    }

    /// The waves in which failures count.
    fn counted(&self) -> impl Iterator<Item = Wave> {
        let open = Wave::ALL.into_iter().filter(|wave| self.open >= Some(*wave));
        let acted = |home: &Home| !matches!(home.step, Step::NotYet | Step::LeftOut) && !home.step.is_told();
        let named = Some(Wave::Named).filter(|wave| self.of(*wave).any(acted));
        open.chain(named)
    }

    /// What the newest wave that opened has shown, while another one is to open by itself, or homes wait for a person.
    pub fn shown(&self) -> Option<Shown> {
        let wave = self.open?;
        wave.next()
            .or_else(|| self.of(Wave::Named).next().map(|_| Wave::Named))?;
        let shows = self.shows(wave);
        Some(Shown {
            wave,
            well: shows.confirmed,
            away: shows.away,
            needed: shows.needed(self.rules.confirmed_percent),
        })
    }

    fn shows(&self, wave: Wave) -> Shows {
        let mut shows = Shows {
            homes: 0,
            confirmed: 0,
            acted: 0,
            away: 0,
            acting: 0,
            newest: self.opened,
        };
        for home in self.of(wave).filter(|home| home.step != Step::LeftOut) {
            shows.homes += 1;
            match home.step {
                Step::Confirmed { at } => {
                    shows.confirmed += 1;
                    shows.acted += 1;
                    if at.ms > shows.newest.ms {
                        shows.newest = at;
                    }
                }
                Step::Acting { .. } => shows.acting += 1,
                Step::Away { .. } | Step::Dark { .. } => {
                    shows.acted += 1;
                    shows.away += 1;
                }
                Step::Failed | Step::Silent | Step::Returned => shows.acted += 1,
                _ => {}
            }
        }
        shows
    }

    /// Whether the wave has shown enough for the next one to open.
    fn has_shown(&self, wave: Wave, now: Timestamp) -> bool {
        if self.of(wave).next().is_none() {
            return true;
        }
        let shows = self.shows(wave);
        let enough = shows.confirmed > 0 && shows.confirmed >= shows.needed(self.rules.confirmed_percent);
        // Who tries it has to say a word first.
        enough && shows.acting == 0 && shows.newest.age(now) >= self.rules.soak
    }

    fn open_due(&mut self, now: Timestamp) -> Vec<Effect> {
        let (mut effects, mut just_opened) = (Vec::new(), false);
        loop {
            let next = match self.open {
                None => Wave::ALL[0],
                Some(wave) if !self.has_shown(wave, now) => return effects,
                // It would end before anybody knows how they are.
                Some(_) if !self.rules.fits(now) => return effects,
                // All of its homes were left to a person after it opened: nobody has shown anything.
                Some(wave) if !just_opened && self.of(wave).next().is_none() => return effects,
                Some(wave) => match wave.next() {
                    Some(next) => next,
                    None => return effects,
                },
            };
            self.open = Some(next);
            self.opened = now;
            just_opened = true;
            let homes = self.waves.get_mut(&next);
            let told: Vec<Effect> = homes
                .into_iter()
                .flatten()
                .map(|(id, home)| {
                    home.step = Step::Assigned;
                    Effect::Assign(id.clone())
                })
                .collect();
            if !told.is_empty() {
                effects.push(Effect::Opened(next));
                effects.extend(told);
            }
        }
    }

    /// Nothing more can happen, and the last one that confirmed was watched long enough.
    fn is_over(&self, now: Timestamp) -> bool {
        let mut homes = self.waves.values().flat_map(BTreeMap::values);
        let late = self.rules.is_late(now);
        (late || self.open == Some(Wave::Rest))
            && homes.all(|home| match home.step {
                Step::Confirmed { at } | Step::Away { at } | Step::Dark { at } => {
                    at.age(now) >= self.rules.soak
                }
                // It counted, and goes back in its own time.
                Step::Unwell => late,
                step => step.has_ended(),
            })
    }

    fn take_back(&mut self, state: State) -> Vec<Effect> {
        self.state = state;
        let mut effects = Vec::new();
        for (id, home) in self.waves.values_mut().flatten() {
            // One that is not well was told before.
            if home.step.may_run_it() && !matches!(home.step, Step::Unwell | Step::Stuck) {
                home.step = Step::TakenBack;
                effects.push(Effect::TakeBack(id.clone()));
            }
        }
        effects.extend(self.leave_out());
        effects
    }

    /// Those that have not begun do not begin any more.
    fn leave_out(&mut self) -> Vec<Effect> {
        let mut effects = Vec::new();
        for (id, home) in self.waves.values_mut().flatten() {
            if home.step.is_told() {
                effects.push(Effect::Keep(id.clone()));
            }
            if home.step.is_told() || home.step == Step::NotYet {
                home.step = Step::LeftOut;
            }
        }
        effects
    }
}

#[cfg(test)]
mod tests;
