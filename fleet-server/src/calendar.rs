//! When work on a box suits its home, in the next seven days: what its policy lets, and when its devices were used before.
//!
//! # Design
//! - It is a forecast for people who plan, and permits nothing: the box looks at the moment itself, and waits for whatever it
//!   finds then.
//! - A device that is read all day tells by its readings nothing of when somebody uses it. Those that give a reading when
//!   they are used (a cuff, a scale) tell their hours. Where there is none, or no week of record yet, a time is "not
//!   known", and never good.
//! - Hours are UTC, as all of the server. A change to summer time moves habits by an hour until the record follows.

use std::collections::BTreeSet;
use std::ops::Range;
use std::time::Duration;

use homeward_protocol::id::SensorId;
use homeward_protocol::policy::rules::Maintenance;
use homeward_protocol::policy::windows::{self, Opening};
use homeward_protocol::time::Timestamp;

const HOUR_MS: i64 = 3_600_000;
const DAY_MS: i64 = 24 * HOUR_MS;
/// Days that are looked back.
pub const BACK_DAYS: i64 = 28;
/// Days that are looked ahead.
const AHEAD_DAYS: i64 = 7;
/// Days of record without which nothing is said.
const LEAST_DAYS: i64 = 7;
/// A device whose readings fill more than one hour in so many is read all day.
const STEADY: i64 = 3;
/// On more days than so many, an hour is one of use.
const SELDOM: u8 = 3;
/// Most readings of one kind that are looked at: more of them are of a device that is read all day.
pub const MOST_READINGS: i64 = 2_000;

/// When one device gave readings of one kind, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// Which device.
    pub sensor: SensorId,
    /// When, at most [`MOST_READINGS`].
    pub at: Vec<Timestamp>,
}

/// What the record of a home says of its hours.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// On how many days its devices were used, for each hour of the day; none where that is not known.
    used: Option<[u8; 24]>,
    /// Devices that tell when they are used.
    pub telling: Vec<SensorId>,
    /// Devices that are read all day.
    pub steady: Vec<SensorId>,
    /// Days that were looked at.
    pub days: i64,
}

impl Record {
    /// Of what was heard by `now` from a home whose box is in service since then.
    pub fn new(heard: &[Heard], since: Option<Timestamp>, now: Timestamp) -> Record {
        let since = since.map_or(0, |since| now.ms.saturating_sub(since.ms) / DAY_MS);
        let days = since.clamp(0, BACK_DAYS);
        let first = now.ms.saturating_sub(days * DAY_MS);
        let names: BTreeSet<&SensorId> = heard.iter().map(|one| &one.sensor).collect();
        let mut hours: BTreeSet<i64> = BTreeSet::new();
        let (mut telling, mut steady) = (Vec::new(), Vec::new());
        for name in names {
            let of = || heard.iter().filter(|one| one.sensor == *name);
            let full = of().any(|one| i64::try_from(one.at.len()).is_ok_and(|all| all >= MOST_READINGS));
            let all = of()
                .flat_map(|one| &one.at)
                .filter(|at| (first..=now.ms).contains(&at.ms));
            let own: BTreeSet<i64> = all.map(|at| at.ms.div_euclid(HOUR_MS)).collect();
            if full || i64::try_from(own.len()).unwrap_or(i64::MAX) * STEADY > days * 24 {
                steady.push(name.clone());
            } else if !own.is_empty() {
                telling.push(name.clone());
                hours.extend(own);
            }
        }
        let used = (days >= LEAST_DAYS && !telling.is_empty()).then(|| {
            let mut used = [0_u8; 24];
            for hour in hours {
                let of_day = usize::try_from(hour.rem_euclid(24)).unwrap_or(0);
                if let Some(count) = used.get_mut(of_day) {
                    *count = count.saturating_add(1);
                }
            }
            used
        });
        Record {
            used,
            telling,
            steady,
            days,
        }
    }

    fn hour(&self, at: i64) -> (Suits, u8) {
        let of_day = usize::try_from(at.div_euclid(HOUR_MS).rem_euclid(24)).unwrap_or(0);
        match self.used.as_ref().and_then(|used| used.get(of_day)) {
            None => (Suits::Unknown, 0),
            Some(0) => (Suits::Well, 0),
            Some(days) if *days <= SELDOM => (Suits::Perhaps, *days),
            Some(days) => (Suits::Badly, *days),
        }
    }
}

/// How a time suits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Suits {
    /// Open, and no device was used then.
    Well,
    /// Open, and a device was used then now and then.
    Perhaps,
    /// Open, and a device is used then as a rule.
    Badly,
    /// Open, and what is used then is not known.
    Unknown,
    /// The policy lets no work begin.
    Closed,
}

impl Suits {
    /// Its name, and the word that people see.
    pub const fn name(self) -> (&'static str, &'static str) {
        match self {
            Suits::Well => ("good", "Good"),
            Suits::Perhaps => ("possible", "Possible"),
            Suits::Badly => ("in-use", "Usually in use"),
            Suits::Unknown => ("not-known", "Not known"),
            Suits::Closed => ("closed", "Closed by policy"),
        }
    }
}

/// A stretch of one day.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Span {
    /// From when.
    pub from: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// How it suits.
    pub suits: Suits,
    /// On how many of the days that were looked at a device was used in one of its hours, at most.
    pub used: u8,
}

impl Span {
    /// Why, in one sentence.
    pub fn why(&self, record: &Record) -> String {
        let of = record.days;
        match self.suits {
            Suits::Well => format!("no device was used at this time in the last {of} days"),
            Suits::Perhaps | Suits::Badly => {
                format!(
                    "a device was used at this time on {} of the last {of} days",
                    self.used
                )
            }
            Suits::Unknown if record.days < LEAST_DAYS => {
                format!("the box is in service for {of} days: a week of record is needed")
            }
            Suits::Unknown if record.steady.is_empty() => "no device gave a reading yet".to_owned(),
            Suits::Unknown => {
                "its devices are read all day, so the record does not tell when somebody uses them".to_owned()
            }
            Suits::Closed => "its policy lets no work begin at this time".to_owned(),
        }
    }
}

/// The next seven days, day by day: stretches in order, without a gap.
pub fn week(rule: Option<&Maintenance>, record: &Record, now: Timestamp) -> Vec<Span> {
    let end = now.plus_ms(AHEAD_DAYS * DAY_MS);
    let open: Vec<Range<Timestamp>> = match rule {
        Some(rule) => windows::between(rule, &(now..end)),
        None => std::iter::once(now..end).collect(),
    };
    let mut edges: BTreeSet<i64> = open.iter().flat_map(|one| [one.start.ms, one.end.ms]).collect();
    edges.extend([now.ms, end.ms]);
    let first_hour = now.ms.div_euclid(HOUR_MS) + 1;
    edges.extend(
        (first_hour..)
            .map(|hour| hour * HOUR_MS)
            .take_while(|at| *at < end.ms),
    );
    let edges: Vec<i64> = edges.into_iter().collect();
    let mut all: Vec<Span> = Vec::new();
    for pair in edges.windows(2) {
        let [from, until] = *pair else { continue };
        let is_open = open.iter().any(|one| one.start.ms <= from && from < one.end.ms);
        let (suits, used) = if is_open {
            record.hour(from)
        } else {
            (Suits::Closed, 0)
        };
        let same_day = |last: &Span| last.from.ms.div_euclid(DAY_MS) == from.div_euclid(DAY_MS);
        match all.last_mut() {
            Some(last) if last.suits == suits && same_day(last) => {
                last.until = Timestamp::synced(until);
                last.used = last.used.max(used);
            }
            _ => all.push(Span {
                from: Timestamp::synced(from),
                until: Timestamp::synced(until),
                suits,
                used,
            }),
        }
    }
    all
}

/// The first stretch that suits best and is long enough for the work, where one is not bad.
pub fn best(spans: &[Span], long: Duration) -> Option<&Span> {
    let fits = |span: &&Span| span.from.age(span.until) >= long && span.suits <= Suits::Perhaps;
    spans
        .iter()
        .filter(fits)
        .min_by_key(|span| (span.suits, span.from.ms))
}

/// What the policy says of now, for people.
pub fn now_words(rule: Option<&Maintenance>, now: Timestamp) -> String {
    match rule.map(|rule| windows::at(rule, now)) {
        None | Some(Opening::Always) => {
            "Its policy names no times: work may begin whenever the home is quiet.".to_owned()
        }
        Some(Opening::Open { until }) => format!("Its policy lets work begin now, until {until}."),
        Some(Opening::Closed { next }) => format!("Its policy lets no work begin before {next}."),
    }
}

#[cfg(test)]
mod tests;
