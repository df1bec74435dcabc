//! A radio that hears nothing.
//!
//! Found
//! - when no scan window has ended for five minutes and three times the pause between windows: the scan itself has
//!   stopped, in any home;
//! - [`DEAF`] after the last advert of any device, where strangers' devices with lasting addresses were never quiet
//!   for longer than [`LIVELY`] in the week before, of which the last two days must be known (a flat, a street);
//! - after [`LONELY`] elsewhere: a house whose only radios leave with the person is quiet over a weekend.
//!
//! False alarms: only devices that stay when the person leaves make a home lively, and those would have to fall silent
//! by themselves for three times their longest pause. Over after two windows that heard something.

use std::time::Duration;

use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};
use serde::{Deserialize, Serialize};

use super::nearby::Scan;
use super::silence::minutes;
use super::{Claim, Finds};

/// A pause up to this is usual where there are other people's devices.
const LIVELY: Duration = Duration::from_mins(10);
/// There, so much silence is too much.
const DEAF: Duration = Duration::from_mins(30);
/// Elsewhere it is this.
const LONELY: Duration = Duration::from_hours(4 * 24);
/// Windows that were missed: at least this, and three pauses.
const MISSED: Duration = Duration::from_mins(5);
/// Days in a row that must be known before a home counts as lively.
const DAYS_KNOWN: i64 = 2;
/// Days that are remembered.
const DAYS_KEPT: usize = 8;
const DAY_MS: i64 = 86_400_000;

/// How quiet strangers' lasting devices are used to be: for each day (since 1970) the longest pause in seconds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub(super) struct Usual(Vec<(i64, u64)>);

impl Usual {
    fn learn(&mut self, now: Timestamp, pause: Duration) {
        if now.trust != ClockTrust::Synced {
            return;
        }
        let day = now.ms.div_euclid(DAY_MS);
        self.0.retain(|(known, _)| *known <= day);
        match self.0.last_mut().filter(|(last, _)| *last == day) {
            Some((_, longest)) => *longest = (*longest).max(pause.as_secs()),
            None => self.0.push((day, pause.as_secs())),
        }
        let old = self.0.len().saturating_sub(DAYS_KEPT);
        self.0.drain(..old);
    }

    /// Whether such devices were heard on every one of the last days, without a long pause.
    fn is_lively(&self, now: Timestamp) -> bool {
        let today = now.ms.div_euclid(DAY_MS);
        let heard = |day| self.0.iter().any(|(known, _)| *known == day);
        now.trust == ClockTrust::Synced
            && (1..=DAYS_KNOWN).all(|ago| heard(today - ago))
            && self.0.iter().all(|(_, longest)| *longest <= LIVELY.as_secs())
    }
}

#[derive(Debug)]
pub(super) struct Scanner {
    usual: Usual,
    window: Option<(Uptime, Duration)>,
    heard: Option<(Uptime, Timestamp)>,
    /// When a stranger's lasting device was heard.
    lasting: Option<Uptime>,
    /// Windows with something in them, since it was last quiet for too long.
    good: u32,
    deaf: bool,
}

impl Scanner {
    pub(super) const fn new(usual: Usual) -> Scanner {
        Scanner {
            usual,
            window: None,
            heard: None,
            lasting: None,
            good: 0,
            deaf: false,
        }
    }

    pub(super) const fn usual(&self) -> &Usual {
        &self.usual
    }

    /// Takes a window; `lasting` says whether it heard a device that is not listed and keeps its address.
    pub(super) fn see(&mut self, scan: &Scan, lasting: bool, now: Timestamp, up: Uptime) {
        self.deaf |= self.is_deaf(now, up);
        self.window = Some((up, scan.every));
        // Nothing was ever heard: quiet since the first window.
        self.heard.get_or_insert((up, now));
        if scan.heard.is_empty() {
            self.good = 0;
            return;
        }
        self.good = self.good.saturating_add(1);
        self.deaf &= self.good < 2;
        self.heard = Some((up, now));
        if lasting {
            // The first after a start says nothing of a pause.
            if let Some(last) = self.lasting.replace(up) {
                self.usual.learn(now, up.since(last));
            }
        }
    }

    pub(super) fn finds(&self, now: Timestamp, up: Uptime) -> Finds {
        let (Some((window, every)), Some((heard, heard_at))) = (self.window, self.heard) else {
            return Finds::Unknown;
        };
        let missed = MISSED.saturating_add(every.saturating_mul(3));
        if up.since(window) >= missed {
            let back = i64::try_from(up.since(window).as_millis()).unwrap_or(i64::MAX);
            return Finds::Stands(Claim {
                since: now.plus_ms(-back),
                said: format!("no scan for {}", minutes(missed)),
            });
        }
        if self.deaf || self.is_deaf(now, up) {
            return Finds::Stands(Claim {
                since: heard_at,
                said: format!(
                    "no device at all was heard for {}",
                    minutes(up.since(heard).max(self.limit(now)))
                ),
            });
        }
        if self.good >= 2 {
            Finds::Fine
        } else {
            Finds::Unknown
        }
    }

    fn is_deaf(&self, now: Timestamp, up: Uptime) -> bool {
        self.heard
            .is_some_and(|(heard, _)| up.since(heard) >= self.limit(now))
    }

    fn limit(&self, now: Timestamp) -> Duration {
        if self.usual.is_lively(now) { DEAF } else { LONELY }
    }
}
