//! What is confirmed is looked at for a day more: the radio of a sensor that is used rarely tells nothing in a trial.
//!
//! It has no way back by itself any more, as it was confirmed: the server hears of it, and the director decides.

use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Installer;
use homeward_protocol::release::state::Outcome;

use super::{Course, Effect, Moment};
use crate::update::saved::{Job, Watched};

/// For how long.
const WATCH: Duration = Duration::from_hours(24);

impl Course {
    /// What is looked at, at this moment.
    pub fn watched(&self, now: Moment) -> Option<&Watched> {
        let watched = self.saved.watched.as_ref();
        watched.filter(|watched| now.at.ms < watched.until.ms)
    }

    /// From here on this is looked at, where it is known how a day was before: a therapy that begins after a quiet night is
    /// not the build's.
    pub(super) fn watch(&mut self, job: &Job, now: Moment) {
        let mut usual = self.saved.before.usual.clone();
        usual.retain(|_, usual| usual.is_of_a_day());
        self.saved.watched = (!usual.is_empty()).then(|| Watched {
            counter: job.counter,
            installer: job.custom.installer,
            usual,
            until: now
                .at
                .plus_ms(i64::try_from(WATCH.as_millis()).unwrap_or(i64::MAX)),
        });
    }

    /// It runs by a newer word, too.
    pub(super) fn runs_by(&mut self, installer: Installer, counter: u64) {
        if let Some(watched) = self
            .saved
            .watched
            .as_mut()
            .filter(|one| one.installer == installer)
        {
            watched.counter = counter;
        }
    }

    /// Told once, as how that update ended; not where a newer one has ended since.
    pub(super) fn wears(&mut self, why: &str, now: Moment) -> Vec<Effect> {
        let Some(watched) = self.watched(now).cloned() else {
            return Vec::new();
        };
        self.saved.watched = None;
        let newest = self.saved.ended.as_ref().and_then(|ended| ended.counter);
        if newest == Some(watched.counter) {
            self.tell_end(newest, Outcome::Stays(ShortText::cut(why)), now);
        }
        vec![self.save()]
    }
}
