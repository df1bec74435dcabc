//! Homes that were well after they took the release and are not heard any more: how many of them are the release's doing.
//!
//! # Design
//! - A box that dies after it said that it is well says nothing more; what is known of it is its silence. It is held against
//!   the bound for failures when it went dark within its soak, beyond the share of homes without the release that went dark in
//!   the same time: a region whose line is cut stops nothing.
//! - Silence proves nothing, and who is dead hears no word to go back: the campaign stops for a person, who lets it go on or
//!   ends it, and takes nothing back from those who are well. What is proved to be bad meanwhile halts it. Who lets it go on
//!   has looked: those that were dark by then are held against it no more.

use std::collections::BTreeMap;

use homeward_protocol::time::Timestamp;

use super::plan::Wave;
use super::step::Step;
use super::{Campaign, Home, Rules};

/// Fewer homes than this do not tell how many are dark anyway …
const ENOUGH: usize = 20;
/// … and so many per cent are taken then.
const ANYWAY_PERCENT: usize = 10;

/// Homes that do not have the release and were heard as lately as those that do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Around {
    /// How many there are.
    pub homes: usize,
    /// Of those, how many are not heard any more.
    pub dark: usize,
}

impl Around {
    /// How many of so many homes would be dark without the release.
    fn expects(self, of: usize) -> usize {
        if self.homes < ENOUGH {
            (of * ANYWAY_PERCENT).div_ceil(100)
        } else {
            let on_average = of * self.dark;
            // As many more as chance alone brings now and then.
            on_average.div_ceil(self.homes) + (on_average / self.homes).isqrt()
        }
    }

    fn words(self) -> String {
        if self.homes < ENOUGH {
            format!("one in {} would be anyway", 100 / ANYWAY_PERCENT)
        } else {
            format!("of {} homes without it {} are not", self.homes, self.dark)
        }
    }
}

impl Rules {
    /// A home that was well is not heard any more: whether that began within its soak.
    pub(super) fn dark(&self, at: Timestamp, now: Timestamp) -> Step {
        // It is found to be silent after the time that an act may take.
        if at.age(now) < self.soak + self.act_within {
            Step::Dark { at }
        } else {
            Step::Away { at }
        }
    }
}

impl Campaign {
    /// What is so of the homes without the release.
    pub fn sees(&mut self, around: Around) {
        self.around = around;
    }

    /// Why it stops for a person, if so many homes of a wave are dark.
    pub(super) fn too_dark(&self) -> Option<String> {
        self.counted().find_map(|wave| {
            let count = |is: fn(&&Home) -> bool| self.of(wave).filter(is).count();
            let dark = count(|home| matches!(home.step, Step::Dark { .. }));
            let all = count(|home| {
                matches!(
                    home.step,
                    Step::Confirmed { .. } | Step::Away { .. } | Step::Dark { .. }
                )
            });
            let bad = count(|home| home.step.is_bad());
            (dark > 0 && bad + dark > self.allowed(wave) + self.around.expects(all)).then(|| {
                format!(
                    "{dark} of {all} homes of the wave `{}` that were well with it are not heard any more; {}",
                    wave.name(),
                    self.around.words()
                )
            })
        })
    }

    /// Failures in a wave that do not halt.
    pub(super) fn allowed(&self, wave: Wave) -> usize {
        let size = self.waves.get(&wave).map_or(0, BTreeMap::len);
        size * usize::from(self.rules.failed_percent) / 100
    }
}
