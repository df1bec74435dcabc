//! Sensors that give nothing.
//!
//! Found when the time that its profile allows has passed, within a minute. No false alarms by its own doing: it
//! stands only when nothing came for that long. A profile of something that is used now and then allows for a long
//! weekend. Over at the next value.

use std::time::Duration;

use homeward_protocol::time::{Timestamp, Uptime};

use super::{Claim, Finds};

#[derive(Debug)]
pub(super) struct Silence {
    allowed: Duration,
    /// When the last value came, or when watching began.
    since: Uptime,
    heard_at: Option<Timestamp>,
}

impl Silence {
    pub(super) const fn new(allowed: Duration, up: Uptime) -> Silence {
        Silence {
            allowed,
            since: up,
            heard_at: None,
        }
    }

    /// Nothing for so long is silence from now on.
    pub(super) const fn allow(&mut self, allowed: Duration) {
        self.allowed = allowed;
    }

    pub(super) const fn heard(&mut self, now: Timestamp, up: Uptime) {
        self.since = up;
        self.heard_at = Some(now);
    }

    pub(super) fn finds(&self, now: Timestamp, up: Uptime) -> Finds {
        let quiet = up.since(self.since);
        if quiet >= self.allowed {
            let back = i64::try_from(quiet.as_millis()).unwrap_or(i64::MAX);
            Finds::Stands(Claim {
                since: self.heard_at.unwrap_or_else(|| now.plus_ms(-back)),
                said: format!("nothing for {}", minutes(self.allowed)),
            })
        } else if self.heard_at.is_some() {
            Finds::Fine
        } else {
            Finds::Unknown
        }
    }
}

/// A time as people say it.
pub(super) fn minutes(time: Duration) -> String {
    match time.as_secs() {
        s @ 0..120 => format!("{s} s"),
        s @ 120..7200 => format!("{} minutes", s / 60),
        s => format!("{} hours", s / 3600),
    }
}
