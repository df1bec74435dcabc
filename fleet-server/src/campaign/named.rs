//! Homes of high dependency: who is left to a named person, and when a person may open them.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::plan::Wave;
use super::step::{Effect, Step};
use super::{Campaign, State};

impl Campaign {
    /// A home whose turn comes by itself, and which has not begun, is left to a named person.
    pub(super) fn leave_to_a_person(&mut self, gateway: &GatewayId) -> Vec<Effect> {
        let (Some(wave), true) = (self.wave_of.get(gateway).copied(), self.state.is_open()) else {
            return Vec::new();
        };
        let homes = self.waves.entry(wave).or_default();
        let waits = homes
            .get(gateway)
            .is_some_and(|home| home.step == Step::NotYet || home.step.is_told());
        if matches!(wave, Wave::Lab | Wave::Named) || !waits {
            return Vec::new();
        }
        let mut effects = Vec::new();
        if let Some(mut home) = homes.remove(gateway) {
            effects.extend(home.step.is_told().then(|| Effect::Keep(gateway.clone())));
            home.step = Step::NotYet;
            self.waves
                .entry(Wave::Named)
                .or_default()
                .insert(gateway.clone(), home);
            self.wave_of.insert(gateway.clone(), Wave::Named);
        }
        effects
    }

    /// Whether homes of high dependency may be opened now: it runs, and the others have come before them, and were well.
    pub fn may_open_named(&self, now: Timestamp) -> bool {
        let fits = self.rules.fits(now);
        if self.state != State::Running || self.open != Some(Wave::Rest) || !fits {
            return false;
        }
        let shows = self.shows(Wave::Rest);
        // Each of those that speak has been well for long enough; who comes late keeps nobody waiting.
        let soaked = self.of(Wave::Rest).filter(|home| match home.step {
            Step::Confirmed { at } => at.age(now) >= self.rules.soak,
            _ => false,
        });
        let soaked = soaked.count();
        self.of(Wave::Rest).next().is_none()
            || soaked > 0 && soaked >= shows.needed(self.rules.confirmed_percent)
    }

    /// A named person opens one home of high dependency, once the others have come and were well.
    ///
    /// # Errors
    /// In plain words, why not.
    pub fn open_named(&mut self, gateway: &GatewayId, now: Timestamp) -> Result<Effect, &'static str> {
        if self.state != State::Running {
            return Err("the campaign does not run");
        }
        if !self.rules.fits(now) {
            return Err("the campaign's time is too short for it: plan another one");
        }
        if !self.may_open_named(now) {
            return Err("the other homes come first, and have to have been well for long enough");
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
}
