//! The firmware revision that a sensor declares.
//!
//! Found at the first connection after the change, restarts of the box included. No false alarms by its own doing:
//! it stands only when the sensor said another text than before. A maker's update is a change too, and a person
//! should know of it. Over after a fortnight, or when the old revision is back.

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{ClockTrust, Timestamp};
use serde::{Deserialize, Serialize};

use super::{Claim, Finds};

/// So long a change is told.
const FORTNIGHT: i64 = 14 * 24 * 3_600_000;

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Firmware {
    revision: Option<ShortText>,
    /// The one before, and when it changed.
    before: Option<(ShortText, i64)>,
}

impl Firmware {
    pub(super) const fn revision(&self) -> Option<&ShortText> {
        self.revision.as_ref()
    }

    pub(super) fn see(&mut self, revision: &ShortText, now: Timestamp) {
        let old = self.revision.replace(revision.clone());
        let Some(old) = old.filter(|old| old != revision) else {
            return;
        };
        let back = self.before.as_ref().is_some_and(|(before, _)| before == revision);
        self.before = (!back).then_some((old, now.ms));
    }

    pub(super) fn finds(&self, now: Timestamp) -> Finds {
        let (Some(revision), Some((old, at))) = (&self.revision, &self.before) else {
            return match self.revision {
                Some(_) => Finds::Fine,
                None => Finds::Unknown,
            };
        };
        if now.trust == ClockTrust::Synced && now.ms.saturating_sub(*at) >= FORTNIGHT {
            return Finds::Fine;
        }
        Finds::Stands(Claim {
            since: Timestamp::synced(*at),
            said: format!("firmware {} became {}", old.as_str(), revision.as_str()),
        })
    }
}
