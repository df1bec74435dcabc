//! When work on a box may begin by its policy: the windows of a [`Maintenance`], which come again each week, in UTC.
//!
//! Windows that touch or overlap are one. A rule without windows restricts nothing.

use std::ops::Range;

use super::rules::{Day, Maintenance};
use crate::time::Timestamp;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;
const WEEK_MS: i64 = 7 * DAY_MS;
/// The first Monday, 1970-01-05, milliseconds since 1970.
const MONDAY_MS: i64 = 4 * DAY_MS;

/// How a rule stands at one moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Opening {
    /// It restricts nothing: no windows, or windows without an end.
    Always,
    /// A window is open.
    Open {
        /// When it closes.
        until: Timestamp,
    },
    /// None is.
    Closed {
        /// When the next one opens.
        next: Timestamp,
    },
}

/// How the rule stands at `now`.
pub fn at(rule: &Maintenance, now: Timestamp) -> Opening {
    let spans = spans(rule);
    let Some(first) = spans.first() else {
        return Opening::Always;
    };
    if first.end - first.start >= WEEK_MS {
        return Opening::Always;
    }
    let monday = monday(now);
    let offset = now.ms - monday;
    // The last span of a week may reach into the next one.
    let around = [-WEEK_MS, 0, WEEK_MS];
    let mut all = around
        .into_iter()
        .flat_map(|week| spans.iter().map(move |span| span.start + week..span.end + week));
    match all.find(|span| span.end > offset) {
        Some(span) if span.start <= offset => Opening::Open {
            until: Timestamp::synced(monday + span.end),
        },
        Some(span) => Opening::Closed {
            next: Timestamp::synced(monday + span.start),
        },
        None => Opening::Always,
    }
}

/// What is open between two moments, cut off at both, in order.
pub fn between(rule: &Maintenance, within: &Range<Timestamp>) -> Vec<Range<Timestamp>> {
    let mut all = Vec::new();
    let mut now = within.start;
    while now.ms < within.end.ms {
        let (open, upto) = match at(rule, now) {
            Opening::Always => (true, within.end),
            Opening::Open { until } => (true, until),
            Opening::Closed { next } => (false, next),
        };
        let end = if upto.ms < within.end.ms { upto } else { within.end };
        if open {
            all.push(now..end);
        }
        now = end;
    }
    all
}

fn monday(now: Timestamp) -> i64 {
    now.ms - (now.ms - MONDAY_MS).rem_euclid(WEEK_MS)
}

/// The windows of a week from its Monday on, milliseconds, joined and in order; the last one may end in the next week. One of
/// a whole week stands for all.
fn spans(rule: &Maintenance) -> Vec<Range<i64>> {
    let mut all: Vec<Range<i64>> = Vec::new();
    for window in &rule.window {
        for day in 0..7 {
            if window.days.is_empty() || window.days.iter().any(|one| number(*one) == day) {
                let start = day * DAY_MS + i64::from(window.from_min) * MINUTE_MS;
                all.push(start..start + i64::from(window.minutes) * MINUTE_MS);
            }
        }
    }
    all.sort_unstable_by_key(|span| span.start);
    let mut joined: Vec<Range<i64>> = Vec::new();
    for span in all {
        match joined.last_mut() {
            Some(last) if span.start <= last.end => last.end = last.end.max(span.end),
            _ => joined.push(span),
        }
    }
    // What reaches over the end of the week meets what begins it.
    while joined.len() > 1 {
        let reach = joined.last().map_or(0, |last| last.end - WEEK_MS);
        let first = joined.first().map_or(0..0, Range::clone);
        if first.start > reach {
            break;
        }
        joined.remove(0);
        if let Some(last) = joined.last_mut() {
            last.end = last.end.max(first.end + WEEK_MS);
        }
    }
    if let [one] = joined.as_mut_slice()
        && one.start <= one.end - WEEK_MS
    {
        one.end = one.start + WEEK_MS;
    }
    joined
}

const fn number(day: Day) -> i64 {
    match day {
        Day::Monday => 0,
        Day::Tuesday => 1,
        Day::Wednesday => 2,
        Day::Thursday => 3,
        Day::Friday => 4,
        Day::Saturday => 5,
        Day::Sunday => 6,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::rules::Window;
    use super::*;
    use crate::id::HazardId;

    const DAYS: [Day; 7] = [
        Day::Monday,
        Day::Tuesday,
        Day::Wednesday,
        Day::Thursday,
        Day::Friday,
        Day::Saturday,
        Day::Sunday,
    ];

    fn rule(windows: &[(&[Day], u16, u16)]) -> Maintenance {
        let window = |(days, from_min, minutes): &(&[Day], u16, u16)| Window {
            days: days.to_vec(),
            from_min: *from_min,
            minutes: *minutes,
        };
        Maintenance {
            hazard: "hz-1".parse::<HazardId>().expect("an id"),
            window: windows.iter().map(window).collect(),
        }
    }

    fn utc(text: &str) -> Timestamp {
        Timestamp::from_utc(text).expect("a time")
    }

    #[test]
    fn windows_open_on_their_days_and_reach_over_midnight_and_the_end_of_the_week() {
        let nights = rule(&[(&[Day::Monday, Day::Sunday], 23 * 60, 120)]);
        for (now, expected) in [
            (
                "2026-11-23T22:59:59Z",
                Opening::Closed {
                    next: utc("2026-11-23T23:00:00Z"),
                },
            ),
            (
                "2026-11-23T23:00:00Z",
                Opening::Open {
                    until: utc("2026-11-24T01:00:00Z"),
                },
            ),
            (
                "2026-11-24T00:59:59Z",
                Opening::Open {
                    until: utc("2026-11-24T01:00:00Z"),
                },
            ),
            (
                "2026-11-24T01:00:00Z",
                Opening::Closed {
                    next: utc("2026-11-29T23:00:00Z"),
                },
            ),
            (
                "2026-11-30T00:30:00Z",
                Opening::Open {
                    until: utc("2026-11-30T01:00:00Z"),
                },
            ),
            (
                "2026-11-30T01:00:00Z",
                Opening::Closed {
                    next: utc("2026-11-30T23:00:00Z"),
                },
            ),
        ] {
            assert_eq!(at(&nights, utc(now)), expected, "{now}");
        }
    }

    #[test]
    fn no_windows_and_windows_without_an_end_restrict_nothing() {
        assert_eq!(at(&rule(&[]), utc("2026-11-24T12:00:00Z")), Opening::Always);
        assert_eq!(
            at(&rule(&[(&[], 300, 1_440)]), utc("2026-11-24T12:00:00Z")),
            Opening::Always
        );
        let halves = rule(&[(&[], 0, 720), (&[], 720, 720)]);
        assert_eq!(at(&halves, utc("2026-11-24T12:00:00Z")), Opening::Always);
    }

    proptest! {
        #[test]
        fn it_is_open_in_just_the_minutes_that_a_window_covers(
            windows in proptest::collection::vec(
                (proptest::collection::vec(0_usize..7, 0..3), 0_u16..1440, 10_u16..=1440), 1..5),
            from in 0_i64..60_000,
        ) {
            let days: Vec<Vec<Day>> = windows.iter().map(|(days, ..)| days.iter().map(|n| DAYS[*n]).collect()).collect();
            let named: Vec<(&[Day], u16, u16)> = windows.iter().zip(&days)
                .map(|((_, from, minutes), days)| (days.as_slice(), *from, *minutes)).collect();
            let rule = rule(&named);
            // The minute of the week, Monday's midnight first; 1970-01-01 was a Thursday.
            let covered = |minute: i64| {
                let minute = (minute + 3 * 1440).rem_euclid(10_080);
                windows.iter().any(|(days, from, minutes)| (0..7).any(|day| {
                    let begins = i64::try_from(day).expect("small") * 1440 + i64::from(*from);
                    (days.is_empty() || days.contains(&day)) && (minute - begins).rem_euclid(10_080) < i64::from(*minutes)
                }))
            };
            let time = |minute: i64| Timestamp::synced(minute * MINUTE_MS + 30_000);
            let edge = |open: bool| (from + 1..from + 10_081).find(|minute| covered(*minute) == open);
            let expected = match (covered(from), edge(false), edge(true)) {
                (true, Some(until), _) => Opening::Open { until: Timestamp::synced(until * MINUTE_MS) },
                (true, None, _) => Opening::Always,
                (false, _, next) => Opening::Closed { next: Timestamp::synced(next.expect("there is one") * MINUTE_MS) },
            };
            prop_assert_eq!(at(&rule, time(from)), expected);
            let open = between(&rule, &(time(from)..time(from + 20_000)));
            let sum: i64 = open.iter().map(|span| span.end.ms - span.start.ms).sum();
            let minutes: i64 = (from..from + 20_000).map(|minute| {
                let whole = i64::from(covered(minute)) * 30_000;
                whole + i64::from(covered(minute + 1)) * 30_000
            }).sum();
            prop_assert_eq!(sum, minutes);
        }
    }
}
