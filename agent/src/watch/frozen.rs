//! Values that stand still.
//!
//! Found after the time in [`rule`] for its kind, at the first value after it, provided that so many equal values
//! came as the rule asks for: two hours for tissue glucose (four when the sensor speaks in mmol/L, which is coarser),
//! one for a pulse, two for carbon dioxide, a day for the climate of a room, five measurements over a day for a cuff.
//! What stands still in healthy devices is not judged: states, the charge of a power supply, values at the end of
//! their scale (saturation from 99, carbon dioxide at the outdoor level that sensors clamp to, exactly 0 of an option
//! that is not fitted), and displays of whole degrees. A rate that a pacemaker holds (multiples of five) is given ten
//! hours.
//!
//! False alarms: the rules are chosen so that a healthy sensor gives less than one in 1,000 days.
//!
//! Over when the value has moved three times since: one that jumps from one stuck value to the next stays frozen.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::reading::{Kind, Reading, Value};
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::unit::Decimal;

use super::{Claim, Finds};

/// So many other values end the suspicion, or show that a sensor is fine after a restart.
const MOVES: u32 = 3;
/// A pacemaker holds its rate through a night.
const PACED: Duration = Duration::from_hours(10);

/// How long a kind of value stands still in a healthy device.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Rule {
    /// Longer than this is too long …
    longest: Duration,
    /// … when at least so many equal values came.
    least: u32,
    /// A pause longer than this begins a new run; none for what is measured now and then.
    pause: Option<Duration>,
    /// Steps of 10 to this power, or larger ones, are too coarse to judge by.
    coarse: i8,
    /// Values that may stand still.
    still: Still,
}

/// Values that may stand still.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Still {
    None,
    Zero,
    AtMost(f64),
    AtLeast(f64),
    /// What pacemakers are set to, for up to [`PACED`].
    Paced,
}

/// The rule of a kind; none for what may stand still for ever.
const fn rule(kind: Kind) -> Option<Rule> {
    let (hours, least, every, coarse, still) = match kind {
        Kind::TissueGlucose => (2, 20, true, i8::MAX, Still::None),
        Kind::HeartRate | Kind::PulseRate => (1, 60, true, i8::MAX, Still::Paced),
        Kind::OxygenSaturation => (6, 360, true, i8::MAX, Still::AtLeast(99.0)),
        Kind::PulseAmplitude => (1, 60, true, i8::MAX, Still::Zero),
        Kind::SystolicPressure | Kind::DiastolicPressure | Kind::MeanPressure => {
            (24, 5, false, i8::MAX, Still::None)
        }
        Kind::BloodGlucose => (24, 5, false, i8::MAX, Still::None),
        Kind::BodyTemperature => (48, 10, false, 0, Still::None),
        Kind::BodyWeight => (7 * 24, 10, false, 0, Still::None),
        Kind::CarbonDioxide => (2, 30, true, i8::MAX, Still::AtMost(420.0)),
        Kind::AirTemperature | Kind::StorageTemperature | Kind::OxygenConcentration => {
            (24, 24, true, 0, Still::None)
        }
        Kind::RelativeHumidity => (24, 24, true, i8::MAX, Still::AtLeast(100.0)),
        Kind::RoomPressure | Kind::AirChanges => (6, 60, true, 0, Still::Zero),
        _ => return None,
    };
    Some(Rule {
        longest: Duration::from_hours(hours),
        least,
        pause: if every {
            Some(Duration::from_hours(2))
        } else {
            None
        },
        coarse,
        still,
    })
}

impl Rule {
    /// How long `value` may stand still; none for ever.
    fn limit(&self, value: Decimal, converted: bool) -> Option<Duration> {
        let number = value.to_f64();
        if value.exponent() >= self.coarse {
            return None;
        }
        match self.still {
            Still::Zero if value.mantissa() == 0 => None,
            Still::AtMost(end) if number <= end => None,
            Still::AtLeast(end) if number >= end => None,
            Still::Paced if number.rem_euclid(5.0) == 0.0 => Some(PACED),
            _ if converted => Some(self.longest * 2),
            _ => Some(self.longest),
        }
    }
}

/// The kinds of value of one sensor.
#[derive(Debug, Default)]
pub(super) struct Frozen {
    runs: BTreeMap<Kind, Run>,
}

impl Frozen {
    pub(super) fn see(&mut self, reading: &Reading, up: Uptime) {
        let (Some(rule), Value::Number(value)) = (rule(reading.kind), reading.value) else {
            return;
        };
        let seen = Seen {
            value,
            converted: reading.details.sent.is_some(),
            at: reading.taken_at,
            up,
        };
        let new = || Run::begin(seen);
        self.runs
            .entry(reading.kind)
            .and_modify(|run| run.see(reading.kind, &rule, seen))
            .or_insert_with(new);
    }

    pub(super) fn finds(&self) -> Finds {
        let stuck = self.runs.values().find_map(|run| run.claim.as_ref());
        match stuck {
            Some(claim) => Finds::Stands(claim.clone()),
            None if self.runs.is_empty() || self.runs.values().any(|run| run.moves < MOVES) => Finds::Unknown,
            None => Finds::Fine,
        }
    }
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    value: Decimal,
    converted: bool,
    at: Timestamp,
    up: Uptime,
}

/// Equal values in a row.
#[derive(Debug)]
struct Run {
    first: Seen,
    last: Seen,
    count: u32,
    /// Times that the value moved, since the start or since it was found frozen.
    moves: u32,
    claim: Option<Claim>,
}

impl Run {
    const fn begin(seen: Seen) -> Run {
        Run {
            first: seen,
            last: seen,
            count: 1,
            moves: 0,
            claim: None,
        }
    }

    fn see(&mut self, kind: Kind, rule: &Rule, seen: Seen) {
        let paused = rule
            .pause
            .is_some_and(|longest| seen.up.since(self.last.up) > longest);
        let same = same(seen.value, self.last.value);
        self.last = seen;
        if !same {
            self.moves = self.moves.saturating_add(1);
            if self.moves >= MOVES {
                self.claim = None;
            }
        }
        if !same || paused {
            (self.first, self.count) = (seen, 1);
            return;
        }
        self.count = self.count.saturating_add(1);
        let lasting = seen.up.since(self.first.up);
        let limit = rule.limit(seen.value, seen.converted);
        if self.count >= rule.least && limit.is_some_and(|limit| lasting >= limit) {
            self.moves = 0;
            let (count, minutes) = (self.count, lasting.as_secs() / 60);
            let since = self.first.at;
            self.claim.get_or_insert_with(|| Claim {
                since,
                said: format!(
                    "{}: the same value {count} times in {minutes} minutes",
                    kind.name()
                ),
            });
        }
    }
}

/// The same number to the last bit of what a device can say.
fn same(a: Decimal, b: Decimal) -> bool {
    a == b || a.to_f64().to_bits() == b.to_f64().to_bits()
}
