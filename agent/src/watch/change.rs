//! Changes that no body and no room makes in that time.
//!
//! Found at once, at the second of two values. Both must come without a mark of the device against them: artefacts
//! that it announces are not held against it. False alarms: the steps in [`rule`] lie beyond what is described for
//! bodies and rooms (a supraventricular tachycardia adds some 100 beats within seconds, tissue glucose moves at most
//! some 5 mg/dL a minute, a bathroom gains 40 % humidity under the shower), so that none is expected.
//!
//! The time between two values is the longer of what the box's clock and what its uptime say: a clock step makes a
//! change look slower, never faster. Over after an hour without another.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::reading::{Kind, Mark, Quality, Reading, Value};
use homeward_protocol::time::{Timestamp, Uptime};

use super::{Claim, Finds};

/// So long after the last such change it is over.
const HOLD: Duration = Duration::from_hours(1);

/// A change by more than `by` (in the unit of its kind) within this time is none of the thing that is measured.
const fn rule(kind: Kind) -> Option<(f64, Duration)> {
    let (by, seconds) = match kind {
        Kind::HeartRate | Kind::PulseRate => (130.0, 10),
        Kind::OxygenSaturation => (35.0, 5),
        Kind::TissueGlucose => (100.0, 10 * 60),
        Kind::BloodGlucose => (250.0, 10 * 60),
        Kind::SystolicPressure => (110.0, 5 * 60),
        Kind::BodyTemperature => (5.0, 10 * 60),
        Kind::BodyWeight => (15.0, 12 * 3600),
        Kind::AirTemperature => (20.0, 10 * 60),
        Kind::RelativeHumidity => (70.0, 2 * 60),
        Kind::StorageTemperature => (50.0, 5 * 60),
        _ => return None,
    };
    Some((by, Duration::from_secs(seconds)))
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    value: f64,
    at: Timestamp,
    up: Uptime,
}

#[derive(Debug)]
pub(super) struct Change {
    last: BTreeMap<Kind, Seen>,
    began: Uptime,
    claim: Option<(Claim, Uptime)>,
}

impl Change {
    pub(super) const fn new(up: Uptime) -> Change {
        Change {
            last: BTreeMap::new(),
            began: up,
            claim: None,
        }
    }

    pub(super) fn see(&mut self, reading: &Reading, up: Uptime) {
        let (Some((by, within)), Value::Number(value)) = (rule(reading.kind), reading.value) else {
            return;
        };
        if reading.quality == Quality::Doubtful || reading.details.marks.iter().any(|m| excuses(*m)) {
            return;
        }
        let seen = Seen {
            value: value.to_f64(),
            at: reading.taken_at,
            up,
        };
        let Some(last) = self.last.insert(reading.kind, seen) else {
            return;
        };
        let apart = between(last, seen);
        if (seen.value - last.value).abs() <= by || apart > within {
            return;
        }
        let said = || Claim {
            since: seen.at,
            said: format!(
                "{}: more than {by} {} within {} s",
                reading.kind.name(),
                reading.kind.unit().symbol(),
                apart.as_secs()
            ),
        };
        match &mut self.claim {
            Some((_, until)) => *until = up.plus(HOLD),
            none => *none = Some((said(), up.plus(HOLD))),
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

/// The longer of the two clocks' answers.
fn between(a: Seen, b: Seen) -> Duration {
    let dated = Duration::from_millis(a.at.ms.abs_diff(b.at.ms));
    b.up.since(a.up).max(dated)
}

/// The device itself says that the value may be off.
const fn excuses(mark: Mark) -> bool {
    matches!(
        mark,
        Mark::EarlyEstimate
            | Mark::Questionable
            | Mark::Moved
            | Mark::CuffPosition
            | Mark::BeyondDevice
            | Mark::PoorSignal
            | Mark::OffBody
            | Mark::SampleFault
            | Mark::TemperatureFault
            | Mark::DeviceFault
    )
}
