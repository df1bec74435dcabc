//! The shapes of the API's answers, apart from what they are kept as.

use homeward_protocol::reading::{Quality, SensorClock, Sent, Value};
use homeward_protocol::time::{ClockTrust, Timestamp};
use serde::Serialize;
use utoipa::ToSchema;

use crate::care::list::Judged;
use crate::care::{Counts, Doubt, Doubted, Standing, words};
use crate::store::{console, suspicions};

/// A judgement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct StandingShape {
    /// `needs-action`, `not-heard`, `check-today` or `all-working`.
    #[schema(example = "not-heard")]
    pub state: &'static str,
    /// Why, in plain English.
    pub reason: String,
    /// The one thing to do.
    pub action: &'static str,
    /// Since when, where that is known.
    #[schema(example = "2026-11-18T12:10:00Z")]
    pub since: Option<String>,
    /// The newest moment of which anything is known.
    pub as_of: Option<String>,
}

impl From<&Standing> for StandingShape {
    fn from(standing: &Standing) -> StandingShape {
        StandingShape {
            state: standing.state.name(),
            reason: words::reason(&standing.reason),
            action: words::action(&standing.reason),
            since: standing.since.map(moment),
            as_of: standing.as_of.map(moment),
        }
    }
}

/// A gateway in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct GatewayShape {
    /// Its id.
    #[schema(example = "gw-7f3k2m9xqa")]
    pub id: String,
    /// The home it is in.
    pub placement: Option<String>,
    /// `expected`, `waiting`, `enrolled` or `revoked`.
    pub lifecycle: &'static str,
    /// Whether it has a connection now.
    pub connected: bool,
    /// Suspicions about its sensors that stand.
    pub suspicions: usize,
    /// Whether the box itself can be believed now: `trusted`, `warning`, `stale`, `failed` or `unknown`.
    #[schema(example = "trusted")]
    pub trust: &'static str,
    /// The judgement.
    pub standing: StandingShape,
}

impl From<&Judged> for GatewayShape {
    fn from(judged: &Judged) -> GatewayShape {
        GatewayShape {
            id: judged.gateway.to_string(),
            placement: judged.placement.as_ref().map(ToString::to_string),
            lifecycle: judged.lifecycle.name(),
            connected: judged.connected,
            suspicions: judged.doubts,
            trust: judged.trust.name(),
            standing: (&judged.standing).into(),
        }
    }
}

/// What a gateway sent that could not be read: no reading was made of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct UnreadableShape {
    /// How many pieces came.
    pub total: i64,
    /// How many of them are kept as they came, each only once.
    pub kept: i64,
    /// When the newest came.
    pub last_at: String,
    /// What was wrong with the newest, in plain English.
    pub last_why: String,
}

impl From<console::Unreadable> for UnreadableShape {
    fn from(unreadable: console::Unreadable) -> UnreadableShape {
        UnreadableShape {
            total: unreadable.total,
            kept: unreadable.kept,
            last_at: moment(unreadable.last_at),
            last_why: unreadable.last_why,
        }
    }
}

/// How many gateways are in each state; they sum to `total`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
pub struct CountsShape {
    /// All of them.
    pub total: usize,
    /// Someone must do something now.
    pub needs_action: usize,
    /// Nothing is known.
    pub not_heard: usize,
    /// Can wait for the next visit.
    pub check_today: usize,
    /// Every device heard on time.
    pub all_working: usize,
}

impl From<Counts> for CountsShape {
    fn from(counts: Counts) -> CountsShape {
        CountsShape {
            total: counts.total(),
            needs_action: counts.needs_action,
            not_heard: counts.not_heard,
            check_today: counts.check_today,
            all_working: counts.all_working,
        }
    }
}

/// A number before its conversion.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SentShape {
    /// The device's digits.
    #[schema(example = "16.0")]
    pub number: String,
    /// The device's unit, UCUM.
    #[schema(example = "kPa")]
    pub unit: &'static str,
}

impl From<Sent> for SentShape {
    fn from(sent: Sent) -> SentShape {
        SentShape {
            number: sent.value.to_string(),
            unit: sent.unit.ucum(),
        }
    }
}

/// A device's own time of a value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SensorClockShape {
    /// What the device's clock said, read as if it were UTC.
    pub at: String,
    /// How far that clock was ahead of the gateway's, milliseconds; missing when they were not seen together.
    pub ahead_ms: Option<i64>,
}

impl From<SensorClock> for SensorClockShape {
    fn from(clock: SensorClock) -> SensorClockShape {
        SensorClockShape {
            at: moment(Timestamp::synced(clock.at_ms)),
            ahead_ms: clock.ahead_ms,
        }
    }
}

/// One value from one sensor at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct ReadingShape {
    /// Which sensor.
    pub sensor: String,
    /// What was measured.
    #[schema(example = "oxygen-concentration")]
    pub kind: String,
    /// A number as the device resolved it; missing when the value is a state or absent.
    #[schema(example = "93.1")]
    pub number: Option<String>,
    /// The number's unit, UCUM.
    #[schema(example = "%")]
    pub unit: Option<&'static str>,
    /// A named state; missing when the value is a number or absent.
    pub state: Option<String>,
    /// `good`, `out-of-range` or `doubtful`.
    pub quality: &'static str,
    /// How sure we are of the device: `unverified`, `associated` or `verified`.
    pub grade: String,
    /// What keeps it from a higher grade, each by its name.
    #[schema(example = json!(["no-identity", "gateway-unjudged"]))]
    pub grade_reasons: Vec<String>,
    /// What the device says of the value, each by its name.
    #[schema(example = json!(["from-storage"]))]
    pub marks: Vec<String>,
    /// What the device sent, when its unit was converted.
    pub sent: Option<SentShape>,
    /// The device's own time of the value, when it told one.
    pub sensor_clock: Option<SensorClockShape>,
    /// When the gateway took it.
    pub taken_at: String,
    /// How far the gateway's clock was trusted: `synced`, `unsynced` or `floor`.
    pub clock: &'static str,
    /// When the server stored it.
    pub received_at: String,
}

impl From<&console::Shown> for ReadingShape {
    fn from(shown: &console::Shown) -> ReadingShape {
        let (number, state) = match shown.value {
            Value::Number(number) => (Some(number.to_string()), None),
            Value::State(state) => (None, Some(wire_name(&state))),
            Value::Absent => (None, None),
        };
        ReadingShape {
            sensor: shown.sensor.to_string(),
            kind: wire_name(&shown.kind),
            unit: number.as_ref().map(|_| shown.kind.unit().ucum()),
            number,
            state,
            quality: match shown.quality {
                Quality::Good => "good",
                Quality::OutOfRange => "out-of-range",
                Quality::Doubtful => "doubtful",
            },
            grade: wire_name(&shown.grade),
            grade_reasons: shown.details.reasons.iter().map(wire_name).collect(),
            marks: shown.details.marks.iter().map(wire_name).collect(),
            sent: shown.details.sent.map(SentShape::from),
            sensor_clock: shown.details.sensor_clock.map(SensorClockShape::from),
            taken_at: moment(shown.taken_at),
            clock: match shown.taken_at.trust {
                ClockTrust::Synced => "synced",
                ClockTrust::Unsynced => "unsynced",
                ClockTrust::Floor => "floor",
            },
            received_at: moment(shown.received_at),
        }
    }
}

/// Something that looks wrong about a sensor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub struct SuspicionShape {
    /// `frozen`, `silent`, `session-expired`, `impossible-change`, `clock-shift`, `scanner-stopped`,
    /// `battery-falling`, `firmware-changed`, `unlisted-device`, `bond-changed`, `look-alike`, `other-device`,
    /// `write-refused`, or `shared-device` (another gateway has it too).
    #[schema(example = "frozen")]
    pub suspicion: String,
    /// With which sensor.
    pub sensor: Option<String>,
    /// The address of another device, when it is about one.
    pub address: Option<String>,
    /// Since when.
    pub since: String,
    /// In plain English.
    pub said: String,
    /// When it was over; missing while it stands.
    pub cleared_at: Option<String>,
}

impl From<&suspicions::Shown> for SuspicionShape {
    fn from(shown: &suspicions::Shown) -> SuspicionShape {
        SuspicionShape {
            suspicion: wire_name(&shown.suspicion),
            sensor: shown.sensor.as_ref().map(ToString::to_string),
            address: shown.address.map(|a| a.to_string()),
            since: moment(shown.since),
            said: format!("{}: {}", shown.suspicion.name(), shown.said),
            cleared_at: shown.cleared_at.map(moment),
        }
    }
}

impl SuspicionShape {
    /// What only the server can see: another gateway has the device too.
    pub fn shared(doubt: &Doubt) -> Option<SuspicionShape> {
        (doubt.what == Doubted::Shared).then(|| SuspicionShape {
            suspicion: "shared-device".to_owned(),
            sensor: doubt.sensor.as_ref().map(ToString::to_string),
            address: None,
            since: moment(doubt.since),
            said: "another gateway has the same device".to_owned(),
            cleared_at: None,
        })
    }
}

/// RFC 3339 in UTC. How far its clock is trusted stands beside it where it may be in doubt.
pub fn moment(at: Timestamp) -> String {
    Timestamp::synced(at.ms).to_string()
}

/// The name that an enumeration of the contract travels under.
fn wire_name(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(name)) => name,
        _ => String::new(),
    }
}
