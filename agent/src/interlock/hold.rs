//! A person's wish for quiet: until when, by whom, and why.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};
use serde::{Deserialize, Serialize};

/// The longest hold: whoever needs more asks again, so that a forgotten one does not leave a box without patches.
pub const LONGEST: Duration = Duration::from_hours(7 * 24);
/// Most holds at once.
pub const MOST: usize = 16;

/// The name of a hold: 1 to 24 of a-z, 0-9 and inner hyphens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct HoldId(String);

impl HoldId {
    /// That of the hold which the console places.
    pub(super) fn console() -> HoldId {
        HoldId("console-order".to_owned())
    }

    /// That of the hold which the patient's button places.
    pub(super) fn button() -> HoldId {
        HoldId("button".to_owned())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for HoldId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for HoldId {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
        let edges = text.starts_with('-') || text.ends_with('-');
        if (1..=24).contains(&text.len()) && text.bytes().all(plain) && !edges {
            Ok(HoldId(text.to_owned()))
        } else {
            Err("the name of a hold has 1 to 24 of a-z, 0-9 and inner hyphens".to_owned())
        }
    }
}

impl TryFrom<String> for HoldId {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<HoldId> for String {
    fn from(id: HoldId) -> String {
        id.0
    }
}

/// A wish for quiet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hold {
    /// Whose, in plain words: "nurse", "patient's button".
    pub by: ShortText,
    /// Why.
    pub reason: ShortText,
    /// When, by the box's clock.
    pub placed: Timestamp,
    /// Until when.
    pub until: Timestamp,
}

/// A hold as this process heard of it.
///
/// Its end is counted from when it was heard, so that a clock that jumps ahead ends none early; and it lasts no longer
/// than it was placed for, so that one placed by a clock that was ahead does not stand for ever.
pub(super) struct Standing {
    hold: Hold,
    until: Uptime,
}

impl Standing {
    pub(super) fn new(hold: Hold, at: Timestamp, now: Uptime) -> Standing {
        let whole = hold.placed.age(hold.until);
        let left = at.age(hold.until).min(whole).min(LONGEST);
        Standing {
            hold,
            until: now.plus(left),
        }
    }

    pub(super) const fn hold(&self) -> &Hold {
        &self.hold
    }

    pub(super) fn stands(&self, now: Uptime) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: i64 = 60_000;
    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    /// Ninety minutes, by a clock that is off by so much.
    fn hold(off_ms: i64) -> Hold {
        Hold {
            by: ShortText::cut("nurse"),
            reason: ShortText::cut("a visit"),
            placed: NOW.plus_ms(off_ms),
            until: NOW.plus_ms(off_ms + 90 * MINUTE_MS),
        }
    }

    fn minutes(standing: &Standing) -> u64 {
        (0..20_000)
            .find(|minute| !standing.stands(Uptime(minute * 60_000)))
            .expect("it ends")
    }

    #[test]
    fn a_clock_that_is_set_while_it_stands_ends_it_neither_early_nor_late() {
        // Heard when it was placed, by a clock that is eight hours behind; then the clock is set.
        let standing = Standing::new(hold(-480 * MINUTE_MS), NOW.plus_ms(-480 * MINUTE_MS), Uptime(0));
        assert_eq!(minutes(&standing), 90);
        // Heard after a restart, placed by a clock that was years ahead.
        let ahead = hold(3 * 365 * 1440 * MINUTE_MS);
        assert_eq!(minutes(&Standing::new(ahead, NOW, Uptime(0))), 90);
        // Half of it had passed at the restart.
        let later = Standing::new(hold(0), NOW.plus_ms(45 * MINUTE_MS), Uptime(0));
        assert_eq!(minutes(&later), 45);
    }
}
