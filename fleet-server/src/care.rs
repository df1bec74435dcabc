//! The judgement a nurse and an operator get to see: how a person's devices are, in one state, reason and action.
//!
//! [`standing`] looks at everything that is known of one gateway, collects what speaks against "all working", and
//! answers with the worst. [`placement`] does the same over all gateways of one home.
//!
//! # Design
//! Silence is never green. Ages are counted on the server's clock, from when a record was stored: a gateway with a
//! wrong clock cannot look alive. A backlog that arrives now does not make an old value new either: a synced
//! gateway's own times are believed when they say that a value is *older*. What is not known (no box, no sensor
//! listed, a value that cannot be trusted, records that nobody can account for) is said, and is not green.
//!
//! "Not heard" ranks above "check today": what can wait for the next visit is known to be able to wait, silence is
//! not. Four states, and their counts sum to the whole.

mod device;
mod doubt;
pub mod list;
pub mod reading;
pub mod words;

use std::fmt;
use std::str::FromStr;

use homeward_protocol::alarm::Condition;
use homeward_protocol::attest::Trust;
use homeward_protocol::id::SensorId;
use homeward_protocol::reading::{Details, Quality, State as Named, Value};
use homeward_protocol::time::{ClockTrust, Timestamp};

pub use doubt::{Doubt, Doubted};

/// A sensor is heard when a reading was stored within this many of its own intervals …
const INTERVALS: u64 = 3;
/// … but never sooner given up than this, in milliseconds.
const LEAST_PATIENCE_MS: u64 = 90_000;
/// A gateway without sensors reports its posture; given up after this, in milliseconds.
const BOX_PATIENCE_MS: u64 = 5 * 60_000;
/// How long a hole in the records keeps a home from looking fine, in milliseconds.
pub const GAP_WINDOW_MS: i64 = 24 * 3_600_000;

/// How much a person depends on the devices.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Dependency {
    /// A failed device is a nuisance.
    Low,
    /// A failed device must be seen to within the day.
    Medium,
    /// Somebody must come now.
    High,
}

impl Dependency {
    /// From the least.
    pub const ALL: [Dependency; 3] = [Dependency::Low, Dependency::Medium, Dependency::High];

    /// How it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Dependency::Low => "low",
            Dependency::Medium => "medium",
            Dependency::High => "high",
        }
    }
}

/// Not one of the names of an enumeration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not one of: {names}")]
pub struct UnknownName {
    /// What was given.
    pub given: String,
    /// What there is.
    pub names: &'static str,
}

impl FromStr for Dependency {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Dependency::ALL.into_iter().find(|d| d.name() == text);
        found.ok_or_else(|| UnknownName {
            given: text.to_owned(),
            names: "low, medium, high",
        })
    }
}

/// How far a gateway's life has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lifecycle {
    /// Claimed on paper, never seen.
    Expected,
    /// Asked to be let in; an operator has to say yes.
    Waiting,
    /// In service.
    Enrolled,
    /// Out of service for good.
    Revoked,
}

impl Lifecycle {
    /// In the order of life.
    pub const ALL: [Lifecycle; 4] = [
        Lifecycle::Expected,
        Lifecycle::Waiting,
        Lifecycle::Enrolled,
        Lifecycle::Revoked,
    ];

    /// How it is kept.
    pub const fn name(self) -> &'static str {
        match self {
            Lifecycle::Expected => "expected",
            Lifecycle::Waiting => "waiting",
            Lifecycle::Enrolled => "enrolled",
            Lifecycle::Revoked => "revoked",
        }
    }
}

impl FromStr for Lifecycle {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = Lifecycle::ALL.into_iter().find(|d| d.name() == text);
        found.ok_or_else(|| UnknownName {
            given: text.to_owned(),
            names: "expected, waiting, enrolled, revoked",
        })
    }
}

/// The newest of one kind of value from a sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Newest {
    /// What the device gave.
    pub value: Value,
    /// What is known of it beside itself.
    pub quality: Quality,
    /// When the gateway took it, on the gateway's clock.
    pub taken_at: Timestamp,
    /// When the server stored it.
    pub received_at: Timestamp,
    /// What else is known of it.
    pub details: Details,
}

/// What is known of one sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SensorFacts {
    /// Which one.
    pub sensor: SensorId,
    /// How often it is asked, seconds.
    pub interval_s: u64,
    /// When the server last stored a reading of it.
    pub last_stored: Option<Timestamp>,
    /// The newest of each kind of value.
    pub newest: Vec<Newest>,
}

/// A condition that has begun and not ended, as far as the server has heard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ActiveAlarm {
    /// What is wrong.
    pub condition: Condition,
    /// With which sensor.
    pub sensor: Option<SensorId>,
    /// Since when.
    pub since: Timestamp,
}

/// All that is known of one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// How far its life has come.
    pub lifecycle: Lifecycle,
    /// How much the person depends on what it watches.
    pub dependency: Dependency,
    /// When the server last stored anything from it.
    pub last_heard: Option<Timestamp>,
    /// Its sensors.
    pub sensors: Vec<SensorFacts>,
    /// Conditions that have not ended.
    pub alarms: Vec<ActiveAlarm>,
    /// Suspicions about its sensors.
    pub doubts: Vec<Doubt>,
    /// Whether the box itself can be believed.
    pub trust: Trust,
    /// When its evidence was last in order.
    pub last_good: Option<Timestamp>,
    /// Holes in its records that nobody can account for, noted within [`GAP_WINDOW_MS`]: the newest.
    pub unproven_gap: Option<Timestamp>,
}

/// The four words, best first so that the greatest is the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Tick, green: every device was heard within its own interval and nothing speaks against it.
    AllWorking,
    /// Circle, yellow: can wait for the next visit.
    CheckToday,
    /// Hatched, grey: nothing is known.
    NotHeard,
    /// Triangle, red: someone must do something now.
    NeedsAction,
}

impl State {
    /// Worst first.
    pub const ALL: [State; 4] = [
        State::NeedsAction,
        State::NotHeard,
        State::CheckToday,
        State::AllWorking,
    ];

    /// As it stands in addresses and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            State::NeedsAction => "needs-action",
            State::NotHeard => "not-heard",
            State::CheckToday => "check-today",
            State::AllWorking => "all-working",
        }
    }
}

impl FromStr for State {
    type Err = UnknownName;
    fn from_str(text: &str) -> Result<Self, UnknownName> {
        let found = State::ALL.into_iter().find(|s| s.name() == text);
        found.ok_or_else(|| UnknownName {
            given: text.to_owned(),
            names: "needs-action, not-heard, check-today, all-working",
        })
    }
}

/// Why a state is what it is; [`words`] says it in English.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reason {
    /// Nothing speaks against it.
    AllHeard,
    /// The home has no gateway.
    NoGateway,
    /// The gateway was never set up.
    NeverSetUp,
    /// The gateway waits for an operator.
    WaitsForApproval,
    /// The gateway was taken out of service.
    OutOfService,
    /// The gateway was set up and has sent nothing yet.
    NothingYet,
    /// The gateway itself is silent.
    GatewaySilent,
    /// The gateway watches no device.
    NoSensors,
    /// A device is silent, and its gateway has not said why.
    SensorSilent(SensorId),
    /// The gateway says that the device does not answer.
    SensorGone(SensorId),
    /// A device has never given a value.
    SensorNeverHeard(SensorId),
    /// What arrives is a backlog; newer values are not here yet.
    Backlog(SensorId),
    /// The device itself raises an alarm.
    DeviceAlarm(Option<SensorId>),
    /// A battery or a supply says that it is empty.
    Empty(SensorId),
    /// A battery is weak or to be replaced.
    Wears(SensorId),
    /// The mains are away.
    OnBattery(SensorId),
    /// A value that its profile calls out of range.
    OutOfRange(SensorId),
    /// A value that is missing or cannot be trusted.
    Untrusted(SensorId),
    /// What answers may be another device than the one that was set up for this person.
    InDoubt(SensorId),
    /// The device reports a fault of its own.
    Faulty(SensorId),
    /// The device measured above or below what it can measure.
    BeyondDevice(SensorId),
    /// The device is not, or no longer, on the body.
    OffBody(SensorId),
    /// The device says that its last measurement did not work.
    MeasureAgain(SensorId),
    /// A device sends the same value again and again.
    Frozen(SensorId),
    /// The life of a worn sensor has ended.
    SessionOver(SensorId),
    /// The box of another home has the same device.
    Shared(SensorId),
    /// The box's radio hears nothing.
    RadioDeaf,
    /// The box has not proved itself for too long.
    BoxStale,
    /// What the box said to prove itself was not in order.
    BoxFailed,
    /// The gateway's TPM does not answer: it speaks with its spare key.
    TpmSilent,
    /// The gateway had to give up records.
    RecordsLost,
    /// Somebody tried to change a device who may not.
    WriteRefused(Option<SensorId>),
    /// Another device than before answers.
    OtherDevice(Option<SensorId>),
    /// Records are missing and nobody can account for them.
    Unaccounted,
}

/// The one answer for one home or one gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Standing {
    /// The word.
    pub state: State,
    /// Why.
    pub reason: Reason,
    /// Since when, where that is known.
    pub since: Option<Timestamp>,
    /// The newest moment of which anything is known.
    pub as_of: Option<Timestamp>,
}

struct Finding {
    state: State,
    reason: Reason,
    since: Option<Timestamp>,
}

fn finding(state: State, reason: Reason, since: Option<Timestamp>) -> Finding {
    Finding { state, reason, since }
}

/// Judges one gateway.
pub fn standing(facts: &Facts, now: Timestamp) -> Standing {
    let mut worst = finding(State::AllWorking, Reason::AllHeard, None);
    for next in findings(facts, now) {
        if next.state > worst.state {
            worst = next;
        }
    }
    Standing {
        state: worst.state,
        reason: worst.reason,
        since: worst.since,
        as_of: facts.last_heard,
    }
}

/// Judges one home by all its gateways: the worst of them. Those out of service count only when there is no other.
pub fn placement(gateways: &[Facts], now: Timestamp) -> Standing {
    let serving = gateways.iter().filter(|g| g.lifecycle != Lifecycle::Revoked);
    let judged = serving.map(|g| standing(g, now)).reduce(worse);
    let retired = || gateways.iter().map(|g| standing(g, now)).reduce(worse);
    judged.or_else(retired).unwrap_or(Standing {
        state: State::NotHeard,
        reason: Reason::NoGateway,
        since: None,
        as_of: None,
    })
}

fn worse(a: Standing, b: Standing) -> Standing {
    if b.state > a.state { b } else { a }
}

/// Everything that speaks against "all working"; within one state the most telling first.
fn findings(facts: &Facts, now: Timestamp) -> Vec<Finding> {
    let unheard = |reason| vec![finding(State::NotHeard, reason, facts.last_heard)];
    match facts.lifecycle {
        Lifecycle::Expected => return unheard(Reason::NeverSetUp),
        Lifecycle::Waiting => return unheard(Reason::WaitsForApproval),
        Lifecycle::Revoked => return unheard(Reason::OutOfService),
        Lifecycle::Enrolled => {}
    }
    let mut found: Vec<Finding> = facts.alarms.iter().map(|a| alarm(a, facts.dependency)).collect();
    match facts.last_heard {
        None => found.push(finding(State::NotHeard, Reason::NothingYet, None)),
        Some(at) if !within(at, gateway_patience_ms(facts), now) => {
            found.push(finding(State::NotHeard, Reason::GatewaySilent, Some(at)));
        }
        Some(_) if facts.sensors.is_empty() => {
            found.push(finding(State::CheckToday, Reason::NoSensors, None));
        }
        Some(_) => {}
    }
    found.extend(
        facts
            .doubts
            .iter()
            .filter_map(|d| doubt::judge(d, facts.dependency)),
    );
    found.extend(believed(facts));
    for sensor in &facts.sensors {
        found.extend(silence(sensor, facts, now));
        for newest in &sensor.newest {
            found.extend(device::other(sensor, newest));
            found.extend(device::marked(sensor, newest, facts.dependency));
            found.extend(value(&sensor.sensor, newest, facts.dependency));
        }
    }
    if let Some(at) = facts
        .unproven_gap
        .filter(|at| now.ms.saturating_sub(at.ms) <= GAP_WINDOW_MS)
    {
        found.push(finding(State::CheckToday, Reason::Unaccounted, Some(at)));
    }
    found
}

/// What its own evidence says of the box. That it rests on its word alone, or was not asked yet, is the operator's.
fn believed(facts: &Facts) -> Option<Finding> {
    let reason = match facts.trust {
        Trust::Stale => Reason::BoxStale,
        Trust::Failed => Reason::BoxFailed,
        Trust::Trusted | Trust::Warning | Trust::Unknown => return None,
    };
    Some(finding(State::CheckToday, reason, facts.last_good))
}

fn alarm(alarm: &ActiveAlarm, dependency: Dependency) -> Finding {
    let since = Some(alarm.since);
    match (alarm.condition, &alarm.sensor) {
        (Condition::DeviceAlarm, sensor) => {
            finding(State::NeedsAction, Reason::DeviceAlarm(sensor.clone()), since)
        }
        (Condition::SensorSilent, Some(sensor)) => finding(
            by_dependency(dependency),
            Reason::SensorGone(sensor.clone()),
            since,
        ),
        (Condition::SensorSilent, None) => finding(by_dependency(dependency), Reason::GatewaySilent, since),
        (Condition::WriteRefused, sensor) => {
            finding(State::CheckToday, Reason::WriteRefused(sensor.clone()), since)
        }
        (Condition::OtherDevice, sensor) => {
            finding(State::CheckToday, Reason::OtherDevice(sensor.clone()), since)
        }
        (Condition::TpmSilent, _) => finding(State::CheckToday, Reason::TpmSilent, since),
        (Condition::RecordsLost, _) => finding(State::CheckToday, Reason::RecordsLost, since),
    }
}

fn by_dependency(dependency: Dependency) -> State {
    match dependency {
        Dependency::High => State::NeedsAction,
        Dependency::Medium | Dependency::Low => State::CheckToday,
    }
}

fn silence(sensor: &SensorFacts, facts: &Facts, now: Timestamp) -> Option<Finding> {
    let known_gone =
        |a: &ActiveAlarm| a.condition == Condition::SensorSilent && a.sensor.as_ref() == Some(&sensor.sensor);
    if facts.alarms.iter().any(known_gone) {
        return None;
    }
    let id = sensor.sensor.clone();
    let patience = patience_ms(sensor.interval_s);
    let Some(at) = sensor.last_stored else {
        return Some(finding(State::NotHeard, Reason::SensorNeverHeard(id), None));
    };
    if !within(at, patience, now) {
        return Some(finding(State::NotHeard, Reason::SensorSilent(id), Some(at)));
    }
    let newest = sensor.newest.iter().max_by_key(|n| n.taken_at.ms)?;
    let believed = newest.taken_at.trust == ClockTrust::Synced;
    if believed && !within(newest.taken_at, patience, now) {
        let since = Some(newest.taken_at);
        return Some(finding(State::NotHeard, Reason::Backlog(id), since));
    }
    None
}

fn value(sensor: &SensorId, newest: &Newest, dependency: Dependency) -> Option<Finding> {
    let at = Some(newest.received_at);
    let found = |state, reason: fn(SensorId) -> Reason| Some(finding(state, reason(sensor.clone()), at));
    match (newest.value, newest.quality) {
        (Value::State(Named::Depleted), _) => found(State::NeedsAction, Reason::Empty),
        (Value::State(Named::Discharging), _) => found(by_dependency(dependency), Reason::OnBattery),
        (Value::State(Named::Weak | Named::Replace), _) => found(State::CheckToday, Reason::Wears),
        (Value::Absent, _) if device::nobodys(newest) => None,
        (Value::Absent, _) | (_, Quality::Doubtful) => found(State::CheckToday, Reason::Untrusted),
        (_, Quality::OutOfRange) => found(State::CheckToday, Reason::OutOfRange),
        _ => None,
    }
}

fn patience_ms(interval_s: u64) -> u64 {
    interval_s
        .saturating_mul(1000)
        .saturating_mul(INTERVALS)
        .max(LEAST_PATIENCE_MS)
}

fn gateway_patience_ms(facts: &Facts) -> u64 {
    let shortest = facts.sensors.iter().map(|s| patience_ms(s.interval_s)).min();
    shortest.unwrap_or(BOX_PATIENCE_MS)
}

fn within(at: Timestamp, patience_ms: u64, now: Timestamp) -> bool {
    at.age(now).as_millis() <= u128::from(patience_ms)
}

/// How many of each state there are; they sum to the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Red.
    pub needs_action: usize,
    /// Grey.
    pub not_heard: usize,
    /// Yellow.
    pub check_today: usize,
    /// Green.
    pub all_working: usize,
}

impl Counts {
    /// Counts these.
    pub fn of(states: impl IntoIterator<Item = State>) -> Counts {
        let mut counts = Counts::default();
        for state in states {
            *match state {
                State::NeedsAction => &mut counts.needs_action,
                State::NotHeard => &mut counts.not_heard,
                State::CheckToday => &mut counts.check_today,
                State::AllWorking => &mut counts.all_working,
            } += 1;
        }
        counts
    }

    /// All of them.
    pub fn total(&self) -> usize {
        self.needs_action + self.not_heard + self.check_today + self.all_working
    }

    /// Those in this state.
    pub fn in_state(&self, state: State) -> usize {
        match state {
            State::NeedsAction => self.needs_action,
            State::NotHeard => self.not_heard,
            State::CheckToday => self.check_today,
            State::AllWorking => self.all_working,
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests;
