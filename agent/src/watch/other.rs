//! Another device where one is listed: a moved cable, or an exchange.
//!
//! Found at the third poll in a row whose registers or device information are not as the profile expects (readings
//! carry [`Reason::OtherDevice`] then). False alarms: a single disturbed poll raises nothing. Over at the third poll
//! in a row that is as expected.

use homeward_protocol::grade::Reason;
use homeward_protocol::reading::Reading;
use homeward_protocol::time::{Timestamp, Uptime};

use super::{Claim, Finds};

/// Polls in a row that decide.
const POLLS: u32 = 3;

#[derive(Debug, Default)]
pub(super) struct Other {
    /// The poll that was looked at last: all its values carry the same.
    poll: Option<Uptime>,
    odd: u32,
    even: u32,
    first_odd: Option<Timestamp>,
    stands: bool,
}

impl Other {
    pub(super) fn see(&mut self, reading: &Reading, up: Uptime) {
        if self.poll.replace(up) == Some(up) {
            return;
        }
        if reading.details.reasons.contains(&Reason::OtherDevice) {
            self.first_odd = self
                .first_odd
                .filter(|_| self.odd > 0 || self.stands)
                .or(Some(reading.taken_at));
            self.odd = self.odd.saturating_add(1);
            self.even = 0;
        } else {
            self.even = self.even.saturating_add(1);
            self.odd = 0;
        }
        self.stands = (self.stands && self.even < POLLS) || self.odd >= POLLS;
    }

    pub(super) fn finds(&self) -> Finds {
        match self.first_odd {
            Some(since) if self.stands => Finds::Stands(Claim {
                since,
                said: "what identifies it (registers, or what it says of itself) is not as it should be"
                    .to_owned(),
            }),
            _ if self.even >= POLLS => Finds::Fine,
            _ => Finds::Unknown,
        }
    }
}
