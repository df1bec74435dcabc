//! How a release goes to a fleet: in waves, those who depend least on their box first, and back by itself when it is bad.
//!
//! ```text
//! lab ─▶ own homes ─▶ 1 % ─▶ 10 % ─▶ 50 % ─▶ rest                high dependency: by a named person only
//!         each opens after the one before soaked, on evidence; too many failures halt, and take back what is installed
//! ```
//! # Design
//! - [`Campaign`] is pure: events in, [`Effect`]s out, time is an argument. It knows nothing of how a box is told.
//! - Every step ends. One that acts and is silent has failed until it speaks; one that waits ends with the campaign.
//! - A failure counts where it is proved. A box that came back to the old release without proof (its power was cut, it
//!   could not reach anybody) is asked once more before it counts.
//! - Only a person lets a halted campaign go on, with a reason; and opens the wave of those who depend most.

pub mod plan;

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use plan::{Plan, Wave};

/// When a wave opens, and when all stops.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// How long a wave is watched after its last box confirmed.
    pub soak: Duration,
    /// Of the boxes of a wave that acted, so many per cent have to have confirmed before the next one opens.
    pub confirmed_percent: u8,
    /// More failures in a wave than so many per cent of it, rounded down, halt. With 1, one failure does in a wave of less
    /// than a hundred; with 10, in one of less than ten.
    pub failed_percent: u8,
    /// How long a box may take from its act to its word.
    pub act_within: Duration,
    /// When it ends. Boxes that still wait then are left to the next campaign.
    pub deadline: Timestamp,
}

/// Why a box has not acted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waits {
    /// It has no connection.
    Offline,
    /// Its home may not be disturbed: in therapy, on hold, or unknown.
    Quiet,
    /// It fetches.
    Fetching,
}

/// Where one box stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its wave has not opened.
    NotYet,
    /// It was told.
    Assigned,
    /// It waits.
    Waiting(Waits),
    /// It began.
    Acting {
        /// When.
        since: Timestamp,
    },
    /// It runs the release, and is well.
    Confirmed {
        /// Since when.
        at: Timestamp,
    },
    /// It went back by itself, and it is proved that the release was the cause.
    Failed,
    /// It began, and said nothing in its time.
    Silent,
    /// It is told to go back.
    TakenBack,
    /// It runs the release before again.
    Returned,
    /// It waited until the end, or its wave never opened.
    LeftOut,
}

impl Step {
    /// Whether nothing more will happen to it by itself.
    pub const fn has_ended(self) -> bool {
        matches!(
            self,
            Step::Confirmed { .. } | Step::Failed | Step::Silent | Step::Returned | Step::LeftOut
        )
    }

    /// Whether the release may be on the box.
    pub const fn may_run_it(self) -> bool {
        matches!(
            self,
            Step::Acting { .. } | Step::Confirmed { .. } | Step::Silent | Step::TakenBack
        )
    }

    const fn is_bad(self) -> bool {
        matches!(self, Step::Failed | Step::Silent)
    }
}

/// What a box says, or what is found out about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It waits.
    Waits(Waits),
    /// It begins.
    Acts,
    /// It runs the release and is well: it confirmed, its evidence after that was accepted, its sensors are heard.
    Confirms,
    /// It went back without proof that the release was the cause.
    NotProven,
    /// The release is bad for it: it went back for a cause, its evidence was not accepted, its sensors suffer.
    Bad,
    /// It runs the release before.
    IsBack,
}

/// How the whole stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Waves open as they are due.
    Running,
    /// A person stopped it; nothing is taken back.
    Paused(String),
    /// Too much went wrong: what is installed is taken back.
    Halted(String),
    /// A person ended it: what is installed is taken back.
    Aborted(String),
    /// It is over.
    Done,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The box is told to take the release.
    Assign(GatewayId),
    /// The box is told to go back to the one before. The interlock of its home has the last word on when.
    TakeBack(GatewayId),
    /// A wave opened.
    Opened(Wave),
    /// It halted, for this reason: people are told.
    Halted(String),
    /// It is over.
    Done,
}

struct Home {
    step: Step,
    retried: bool,
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
}

impl Campaign {
    /// One that begins at `now` with the first wave of `plan`.
    pub fn start(plan: &Plan, rules: Rules, now: Timestamp) -> (Campaign, Vec<Effect>) {
        let mut waves: BTreeMap<Wave, BTreeMap<GatewayId, Home>> = BTreeMap::new();
        for (id, wave) in plan.homes() {
            let home = Home {
                step: Step::NotYet,
                retried: false,
            };
            waves.entry(*wave).or_default().insert(id.clone(), home);
        }
        let mut campaign = Campaign {
            rules,
            state: State::Running,
            open: None,
            opened: now,
            waves,
            wave_of: plan.homes().map(|(id, wave)| (id.clone(), *wave)).collect(),
        };
        let effects = campaign.tick(now);
        (campaign, effects)
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

    /// A box said something.
    pub fn hear(&mut self, gateway: &GatewayId, event: Event, now: Timestamp) -> Vec<Effect> {
        let wave = self.wave_of.get(gateway).copied();
        let Some(home) = wave.and_then(|wave| self.waves.get_mut(&wave)?.get_mut(gateway)) else {
            return Vec::new();
        };
        let ends = matches!(self.state, State::Halted(_) | State::Aborted(_));
        let (step, effect) = match (home.step, event) {
            (Step::TakenBack | Step::Silent, Event::IsBack) => (Step::Returned, None),
            // It took the release before it heard that it should not, or speaks after all.
            (_, Event::Acts | Event::Confirms) if ends => {
                (Step::TakenBack, Some(Effect::TakeBack(gateway.clone())))
            }
            (Step::NotYet | Step::Returned | Step::LeftOut | Step::TakenBack, _)
            | (Step::Confirmed { .. }, Event::Acts | Event::Confirms | Event::Waits(_)) => (home.step, None),
            (Step::Assigned | Step::Waiting(_), Event::Waits(why)) => (Step::Waiting(why), None),
            (Step::Assigned | Step::Waiting(_), Event::Acts) => (Step::Acting { since: now }, None),
            (_, Event::Confirms) => (Step::Confirmed { at: now }, None),
            (_, Event::NotProven) if !home.retried => {
                home.retried = true;
                (Step::Assigned, Some(Effect::Assign(gateway.clone())))
            }
            (_, Event::Bad | Event::NotProven) => (Step::Failed, None),
            (_, Event::IsBack) => (Step::Returned, None),
            (step, _) => (step, None),
        };
        home.step = step;
        let mut effects: Vec<Effect> = effect.into_iter().collect();
        effects.extend(self.tick(now));
        effects
    }

    /// Time passed.
    pub fn tick(&mut self, now: Timestamp) -> Vec<Effect> {
        self.time_out(now);
        let mut effects = Vec::new();
        if self.state == State::Running {
            if let Some(why) = self.too_bad() {
                effects.extend(self.take_back(State::Halted(why.clone())));
                effects.insert(0, Effect::Halted(why));
            } else if now.ms >= self.rules.deadline.ms {
                effects.extend(self.finish());
            } else {
                effects.extend(self.open_due(now));
            }
        }
        effects
    }

    /// Stops without taking anything back, or goes on.
    pub fn pause(&mut self, reason: &str) {
        if self.state == State::Running {
            self.state = State::Paused(reason.to_owned());
        }
    }

    /// Lets a paused campaign go on. One that halted took the release back: its waves begin anew with a new one.
    ///
    /// # Errors
    /// When it is not paused: how it stands.
    pub fn resume(&mut self, now: Timestamp) -> Result<Vec<Effect>, State> {
        if !matches!(self.state, State::Paused(_)) {
            return Err(self.state.clone());
        }
        self.state = State::Running;
        Ok(self.tick(now))
    }

    /// Ends it, and takes back what is installed.
    pub fn abort(&mut self, reason: &str) -> Vec<Effect> {
        if matches!(self.state, State::Running | State::Paused(_)) {
            self.take_back(State::Aborted(reason.to_owned()))
        } else {
            Vec::new()
        }
    }

    /// A named person opens one home of high dependency, after all waves before it opened.
    ///
    /// # Errors
    /// In plain words, why not.
    pub fn open_named(&mut self, gateway: &GatewayId) -> Result<Effect, &'static str> {
        if self.state != State::Running {
            return Err("the campaign does not run");
        }
        if self.open != Some(Wave::Rest) {
            return Err("the other homes come first");
        }
        if !self.wave_of.contains_key(gateway) {
            return Err("this home is not part of the campaign");
        }
        let named = self.waves.get_mut(&Wave::Named);
        match named.and_then(|homes| homes.get_mut(gateway)) {
            Some(home) if home.step == Step::NotYet => {
                home.step = Step::Assigned;
                Ok(Effect::Assign(gateway.clone()))
            }
            _ => Err("this home needs no person's word, or has had it"),
        }
    }

    fn time_out(&mut self, now: Timestamp) {
        let within = self.rules.act_within;
        let open = self.open;
        let told = |wave: &Wave| open >= Some(*wave) || *wave == Wave::Named;
        let waves = self.waves.iter_mut().filter(|(wave, _)| told(wave));
        for home in waves.flat_map(|(_, homes)| homes.values_mut()) {
            if let Step::Acting { since } = home.step
                && since.age(now) >= within
            {
                home.step = Step::Silent;
            }
        }
    }

    fn of(&self, wave: Wave) -> impl Iterator<Item = &Home> {
        self.waves.get(&wave).into_iter().flat_map(BTreeMap::values)
    }

    fn too_bad(&self) -> Option<String> {
        let open = Wave::ALL.into_iter().filter(|wave| self.open >= Some(*wave));
        for wave in open.chain([Wave::Named]) {
            let size = self.waves.get(&wave).map_or(0, BTreeMap::len);
            let bad = self.of(wave).filter(|home| home.step.is_bad()).count();
            let allowed = size * usize::from(self.rules.failed_percent) / 100;
            if bad > allowed {
                return Some(format!(
                    "{bad} of {size} homes of the wave `{}` failed",
                    wave.name()
                ));
            }
        }
        None
    }

    /// Whether the wave has shown enough for the next one to open.
    fn has_shown(&self, wave: Wave, now: Timestamp) -> bool {
        let mut confirmed = 0;
        let mut acted = 0;
        let mut waiting = 0;
        let mut newest = self.opened;
        for home in self.of(wave) {
            match home.step {
                Step::Confirmed { at } => {
                    confirmed += 1;
                    acted += 1;
                    if at.ms > newest.ms {
                        newest = at;
                    }
                }
                // It has to say its word first.
                Step::Acting { .. } => return false,
                Step::Failed | Step::Silent | Step::Returned => acted += 1,
                _ => waiting += 1,
            }
        }
        let none = acted == 0 && waiting == 0;
        let enough = acted > 0 && confirmed * 100 >= acted * usize::from(self.rules.confirmed_percent);
        none || (enough && newest.age(now) >= self.rules.soak)
    }

    fn open_due(&mut self, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::new();
        loop {
            let next = match self.open {
                None => Wave::ALL[0],
                Some(wave) if !self.has_shown(wave, now) => return effects,
                Some(wave) => match wave.next() {
                    Some(next) => next,
                    None => return effects,
                },
            };
            self.open = Some(next);
            self.opened = now;
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

    fn take_back(&mut self, state: State) -> Vec<Effect> {
        self.state = state;
        let mut effects = Vec::new();
        for (id, home) in self.waves.values_mut().flatten() {
            if home.step.may_run_it() {
                home.step = Step::TakenBack;
                effects.push(Effect::TakeBack(id.clone()));
            } else if !home.step.has_ended() {
                home.step = Step::LeftOut;
            }
        }
        effects
    }

    fn finish(&mut self) -> Vec<Effect> {
        self.state = State::Done;
        for home in self.waves.values_mut().flat_map(BTreeMap::values_mut) {
            if !home.step.has_ended() && !home.step.may_run_it() {
                home.step = Step::LeftOut;
            }
        }
        vec![Effect::Done]
    }
}

#[cfg(test)]
mod tests;
