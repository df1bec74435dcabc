//! Whether work may begin by the calendar: the windows of the policy, held against the box's clock.
//!
//! # Design
//! - Windows bind work that goes forward. What goes back, or shuts a box off, mends the home, and goes at once.
//! - An act begins only where its whole length fits: nothing that began in a window is cut at its end.
//! - A clock that no source has confirmed since the start is judged by all the same, from its floor on: many boxes never
//!   have such a source, and a rule that they ignore would be none. If it is wrong, work begins at another hour, and never
//!   while the home is in use: that is the others' to say.
//! - A clock that stands at its floor is known to be wrong, and does not move: no window opens or closes by it. Then work
//!   waits, as with all that is unknown. What waits too long for it is told to a person by the deadline of the update.

use std::time::Duration;

use homeward_protocol::policy::rules::Maintenance;
use homeward_protocol::policy::windows::{Opening, at};
use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};

use super::{Act, Reason};

const WEEK_MS: i64 = 7 * 24 * 60 * 60 * 1_000;

/// What an act is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// To something new: it waits for a window of the policy.
    Forward,
    /// To what ran before, or to the end of what was cut off half-way: it waits for none.
    Back,
}

/// What is known of the policy's windows and of the time.
#[derive(Debug, Default)]
pub(super) enum Calendar {
    /// Nobody has said.
    #[default]
    Unknown,
    /// This is the rule, and `at` was the time when the uptime was `told`.
    Known {
        rule: Option<Maintenance>,
        at: Timestamp,
        told: Uptime,
    },
}

impl Calendar {
    /// What stands against beginning `act` now.
    pub(super) fn against(&self, act: Act, now: Uptime) -> Option<Reason> {
        if act.work == Work::Back {
            return None;
        }
        let Calendar::Known { rule, at: then, told } = self else {
            return Some(Reason::TimeUnknown);
        };
        let rule = rule.as_ref()?;
        let passed = i64::try_from(now.since(*told).as_millis()).unwrap_or(i64::MAX);
        let moment = then.plus_ms(passed);
        if at(rule, moment) == Opening::Always {
            return None;
        }
        if moment.trust == ClockTrust::Floor {
            return Some(Reason::TimeUnknown);
        }
        match begins(rule, moment, act.longest) {
            Some(next) if next.ms == moment.ms => None,
            Some(next) => Some(Reason::OutsideWindow { next }),
            None => Some(Reason::NoWindowFits { longest: act.longest }),
        }
    }
}

/// When what takes so long may begin, `now` or later; none when no window of the week is long enough.
fn begins(rule: &Maintenance, now: Timestamp, longest: Duration) -> Option<Timestamp> {
    let end = now.plus_ms(WEEK_MS);
    let mut moment = now;
    while moment.ms <= end.ms {
        moment = match at(rule, moment) {
            Opening::Always => return Some(moment),
            Opening::Open { until } if moment.age(until) >= longest => return Some(moment),
            Opening::Open { until } => until,
            Opening::Closed { next } => next,
        };
    }
    None
}

#[cfg(test)]
mod tests {
    use homeward_protocol::policy::rules::{Day, Window};
    use homeward_protocol::release::Disruption;

    use super::*;

    const TOLD: Uptime = Uptime(5_000);

    fn utc(text: &str) -> Timestamp {
        Timestamp::from_utc(text).expect("a time")
    }

    /// Tuesdays from 02:00 for half an hour, and Thursdays from 23:30 for an hour.
    fn nights() -> Maintenance {
        let window = |day, from_min, minutes| Window {
            days: vec![day],
            from_min,
            minutes,
        };
        Maintenance {
            hazard: "hz-1".parse().expect("an id"),
            window: vec![window(Day::Tuesday, 120, 30), window(Day::Thursday, 1_410, 60)],
        }
    }

    fn forward(minutes: u64) -> Act {
        Act {
            disruption: Disruption::AgentRestart,
            longest: Duration::from_mins(minutes),
            work: Work::Forward,
        }
    }

    fn told(rule: Option<Maintenance>, at: Timestamp) -> Calendar {
        Calendar::Known { rule, at, told: TOLD }
    }

    #[test]
    fn work_begins_where_its_whole_length_fits_into_a_window() {
        let next = |text: &str| Some(Reason::OutsideWindow { next: utc(text) });
        // 2026-11-24 is a Tuesday.
        for (now, minutes, expected) in [
            ("2026-11-24T01:59:59Z", 20, next("2026-11-24T02:00:00Z")),
            ("2026-11-24T02:00:00Z", 20, None),
            ("2026-11-24T02:10:00Z", 20, None),
            ("2026-11-24T02:10:01Z", 20, next("2026-11-26T23:30:00Z")),
            ("2026-11-24T02:10:01Z", 1, None),
            ("2026-11-24T02:00:00Z", 31, next("2026-11-26T23:30:00Z")),
            ("2026-11-27T00:00:00Z", 30, None),
            ("2026-11-27T00:00:01Z", 30, next("2026-12-01T02:00:00Z")),
            ("2026-11-26T23:31:00Z", 60, next("2026-12-03T23:30:00Z")),
            (
                "2026-11-24T02:00:00Z",
                61,
                Some(Reason::NoWindowFits {
                    longest: Duration::from_mins(61),
                }),
            ),
        ] {
            let found = told(Some(nights()), utc(now)).against(forward(minutes), TOLD);
            assert_eq!(found, expected, "{now}, {minutes} minutes");
        }
    }

    #[test]
    fn time_goes_on_after_it_was_told() {
        let calendar = told(Some(nights()), utc("2026-11-24T01:59:00Z"));
        let later = |secs| TOLD.plus(Duration::from_secs(secs));
        assert!(calendar.against(forward(1), later(59)).is_some());
        assert_eq!(calendar.against(forward(1), later(60)), None);
        assert!(calendar.against(forward(1), later(60 + 29 * 60 + 1)).is_some());
    }

    #[test]
    fn what_goes_back_waits_for_no_window_and_no_clock() {
        let back = Act {
            work: Work::Back,
            ..forward(61)
        };
        let noon = utc("2026-11-24T12:00:00Z");
        assert_eq!(Calendar::Unknown.against(back, TOLD), None);
        assert_eq!(told(Some(nights()), noon).against(back, TOLD), None);
    }

    #[test]
    fn a_clock_known_to_be_wrong_opens_no_window_and_an_unconfirmed_one_is_judged_by() {
        let open = "2026-11-24T02:00:00Z";
        let with = |trust| Timestamp { trust, ..utc(open) };
        let unknown = Some(Reason::TimeUnknown);
        let wrong = told(Some(nights()), with(ClockTrust::Floor));
        assert_eq!(wrong.against(forward(1), TOLD), unknown);
        assert_eq!(Calendar::Unknown.against(forward(1), TOLD), unknown);
        let unconfirmed = told(Some(nights()), with(ClockTrust::Unsynced));
        assert_eq!(unconfirmed.against(forward(1), TOLD), None);
        // Where nothing is restricted, no clock is needed.
        let none = Maintenance {
            window: Vec::new(),
            ..nights()
        };
        for rule in [None, Some(none)] {
            let calendar = told(rule, with(ClockTrust::Floor));
            assert_eq!(calendar.against(forward(1), TOLD), None);
        }
    }
}
