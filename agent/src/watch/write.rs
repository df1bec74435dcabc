//! Refused writes.
//!
//! Found at once. No false alarms: each was an attempt to write what the profile does not allow. Over a day after the
//! last one.

use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};

use super::{Claim, Finds};

const HOLD: Duration = Duration::from_hours(24);

#[derive(Debug)]
pub(super) struct Write {
    began: Uptime,
    claim: Option<(Claim, Uptime)>,
}

impl Write {
    pub(super) const fn new(up: Uptime) -> Write {
        Write {
            began: up,
            claim: None,
        }
    }

    pub(super) fn see(&mut self, said: ShortText, now: Timestamp, up: Uptime) {
        let until = up.plus(HOLD);
        match &mut self.claim {
            Some((_, old)) if up < *old => *old = until,
            over => {
                let said = said.into();
                *over = Some((Claim { since: now, said }, until));
            }
        }
    }

    pub(super) fn finds(&self, up: Uptime) -> Finds {
        match &self.claim {
            Some((claim, until)) if up < *until => Finds::Stands(claim.clone()),
            None if up.since(self.began) < HOLD => Finds::Unknown,
            _ => Finds::Fine,
        }
    }
}
