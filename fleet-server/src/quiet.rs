//! A person's wish that a home is not disturbed, and how its box stands to it.

use std::time::Duration;

use homeward_protocol::time::Timestamp;

/// Longest reason, characters.
pub const MAX_REASON: usize = 100;
/// What may be chosen, hours.
pub const HOURS: [u32; 5] = [1, 4, 12, 24, 72];

/// The newest word about a home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Its number.
    pub number: u64,
    /// When it ends, or was ended.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
    /// When it was given.
    pub at: Timestamp,
    /// By whom.
    pub by: String,
}

/// How a box stands to the newest wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// Nobody wishes quiet, and the box knows that.
    None,
    /// It was asked, and has not said that it heard.
    Asked,
    /// It heard, and keeps quiet.
    Kept,
    /// It was ended here, and the box has not said that it heard: it keeps quiet until the old end.
    Ending,
}

impl Stands {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Stands::None => "none",
            Stands::Asked => "asked",
            Stands::Kept => "kept",
            Stands::Ending => "ending",
        }
    }
}

impl Wish {
    /// How a box stands to it that named this number.
    pub fn stands(&self, named: Option<u64>, now: Timestamp) -> Stands {
        // A higher number is of a server before this one: this wish it never follows.
        let heard = named == Some(self.number);
        // One that was ended has its end where it was given.
        let ended = self.until.ms <= self.at.ms;
        match (ended || self.until.ms <= now.ms, heard) {
            (false, true) => Stands::Kept,
            (false, false) => Stands::Asked,
            (true, false) if ended => Stands::Ending,
            (true, _) => Stands::None,
        }
    }

    /// In one sentence for people; nothing where nobody wishes quiet.
    pub fn words(&self, named: Option<u64>, now: Timestamp) -> Option<String> {
        let Wish {
            until, reason, by, ..
        } = self;
        match self.stands(named, now) {
            Stands::None => None,
            Stands::Asked => Some(format!(
                "{by} asked to hold updates until {until}: {reason}. The box has not said yet that it heard"
            )),
            Stands::Kept => Some(format!(
                "The box holds updates until {until}, as {by} asked: {reason}"
            )),
            Stands::Ending => Some(format!(
                "{by} lets updates go on: {reason}. The box has not said yet that it heard"
            )),
        }
    }
}

/// How long, of what may be chosen; none for what may not.
pub fn chosen(hours: u32) -> Option<Duration> {
    let known = HOURS.contains(&hours);
    known.then(|| Duration::from_hours(hours.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    #[test]
    fn nothing_counts_as_quiet_or_ended_before_the_box_says_so() {
        let wish = |left_ms: i64| Wish {
            number: 7,
            until: NOW.plus_ms(left_ms),
            reason: "dialysis at home".into(),
            at: NOW,
            by: "nina".into(),
        };
        for (left, named, later, expected) in [
            (60_000, None, 0, Stands::Asked),
            (60_000, Some(6), 0, Stands::Asked),
            (60_000, Some(7), 0, Stands::Kept),
            (60_000, Some(8), 0, Stands::Asked),
            (60_000, Some(7), 60_000, Stands::None),
            (60_000, None, 60_000, Stands::None),
            (0, Some(6), 0, Stands::Ending),
            (0, None, 90_000, Stands::Ending),
            (0, Some(7), 0, Stands::None),
        ] {
            let now = NOW.plus_ms(later);
            assert_eq!(
                wish(left).stands(named, now),
                expected,
                "{left} {named:?} {later}"
            );
            assert_eq!(wish(left).words(named, now).is_none(), expected == Stands::None);
        }
    }
}
