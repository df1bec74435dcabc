//! Which sensor is asked next, and what its answers mean: readings, silence, alarms.
//!
//! # Design
//! - One [`Line`] a serial port or TCP endpoint, because questions on it go one after the other. A unit that does
//!   not answer costs the line a time limit each time, so its turns grow rarer (doubling, to at most a minute) and
//!   the units that live keep theirs.
//! - An alarm is told when it begins and when it ends, never twice. What was told before a restart is not known,
//!   so the first poll that answers also says that the sensor is *not* silent and whether the device alarms: an
//!   alarm that ended while the agent was away does not stand for ever.

pub mod ble;
mod config;
pub mod decode;
mod identified;
pub mod live;
pub mod poll;
pub mod radio;
mod show;
mod sign;

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_devices::modbus::{self, Decoded};
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::Item;
use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{SensorHeard, ShortText};
use homeward_protocol::reading::{Details, Quality, Reading};
use homeward_protocol::time::{Timestamp, Uptime};

pub use config::{Address, Pace, Sensor, SensorConfig, SensorFault, SensorTls, TlsFiles, Way, lines};
pub use identified::Said;
pub use show::{describe, shown, values};
pub use sign::Sign;

use crate::care::{self, Association, Circumstances, Gateway, Identity, Judged, Proof};
use crate::outbox::Progress;
use crate::policy::habits::Habits;
use identified::Identified;

/// The longest pause between two tries of a sensor that does not answer, unless its own interval is longer:
/// how late a sensor that came back may be noticed.
const LONGEST_BACKOFF: Duration = Duration::from_mins(1);
/// Doublings of the interval before that: enough to reach a minute from two seconds.
const MOST_DOUBLINGS: u32 = 5;

/// What one poll of one sensor brought.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Outcome {
    /// The answers that came, in the order of the questions.
    pub answers: Vec<Decoded>,
    /// The first thing that went wrong, naming the registers.
    pub error: Option<String>,
    /// Who it says it is, when it was asked and could answer.
    pub said: Option<Said>,
}

impl Outcome {
    /// The values as readings of `sensor`, taken `now` by a box that is judged so and whose policy wants this least grade.
    ///
    /// `looks`: what is known of who it says it is. When that is not as expected, or a register that should be
    /// constant is not, all values of the poll are doubtful.
    pub fn readings(
        &self,
        sensor: &Sensor,
        looks: Identity,
        (gateway, least): (Gateway, Option<Grade>),
        now: Timestamp,
    ) -> Vec<Reading> {
        let expected = self.answers.iter().all(|a| a.unexpected.is_empty());
        let identity = if expected { looks } else { Identity::Unexpected };
        let (grade, reasons) = care::judge(&Circumstances {
            proof: Proof::Nothing,
            association: Association::Stands,
            identity,
            standing: sensor.profile.standing,
            gateway,
            clock: now.trust,
            least,
        });
        let samples = self.answers.iter().flat_map(|a| &a.samples);
        samples
            .map(|sample| Reading {
                sensor: sensor.id.clone(),
                kind: sample.kind,
                value: sample.value,
                taken_at: now,
                quality: match (identity, sample.quality) {
                    (Identity::Unexpected, Quality::Good) => Quality::Doubtful,
                    (_, quality) => quality,
                },
                grade,
                details: Details {
                    reasons: reasons.clone(),
                    marks: sample.marks.clone(),
                    sensor_clock: None,
                    sent: sample.sent,
                },
            })
            .collect()
    }

    /// What went wrong, or what is not as the profile expects.
    fn complaint(&self) -> Option<String> {
        let odd: Vec<&str> = self
            .answers
            .iter()
            .flat_map(|a| &a.unexpected)
            .map(String::as_str)
            .collect();
        match (&self.error, odd.is_empty()) {
            (Some(error), _) => Some(error.clone()),
            (None, false) => Some(format!("{}: not what the profile expects", odd.join(", "))),
            (None, true) => None,
        }
    }
}

/// What is to be kept and reported after a poll, or after a moment in which a sensor became silent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heard {
    /// To be stored and sent, in this order.
    pub items: Vec<Item>,
    /// How the sensor stands now, for the posture report.
    pub state: SensorHeard,
    /// Whether it is being used, as far as this tells.
    pub sign: Sign,
}

/// What was last told of an alarm.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// Nothing since the start.
    Nothing,
    /// That it began.
    Begun,
    /// That it ended.
    Ended,
}

struct Watched {
    sensor: Sensor,
    /// Its pace by the box's own configuration.
    own: Pace,
    /// The least grade that the policy wants of it; none where the policy knows no such sensor.
    least: Option<Grade>,
    questions: Vec<modbus::Request>,
    identified: Identified,
    due: Uptime,
    failures: u32,
    last_heard: Option<Timestamp>,
    /// When it last answered, or when watching began.
    quiet_since: Uptime,
    last_error: Option<ShortText>,
    silence: Told,
    /// The alarm registers that have been read, and whether each is set.
    alarms: BTreeMap<String, bool>,
    alarm: Told,
}

/// The sensors behind one endpoint or port.
pub struct Line {
    way: Way,
    judged: Judged,
    watched: Vec<Watched>,
}

impl Line {
    /// Watches `sensors`, all reached by `way`, from `up` on; each is due at once.
    fn new(way: Way, sensors: Vec<Sensor>, up: Uptime) -> Line {
        let watch = |sensor: Sensor| Watched {
            questions: modbus::requests(&sensor.profile),
            identified: Identified::new(&sensor, up),
            own: sensor.pace(),
            least: Some(Grade::Unverified),
            sensor,
            due: up,
            failures: 0,
            last_heard: None,
            quiet_since: up,
            last_error: None,
            silence: Told::Nothing,
            alarms: BTreeMap::new(),
            alarm: Told::Nothing,
        };
        Line {
            way,
            judged: Judged::NOT_YET,
            watched: sensors.into_iter().map(watch).collect(),
        }
    }

    /// Knows from an earlier run when each sensor was last heard.
    pub fn remember(&mut self, before: &[SensorHeard]) {
        for watched in &mut self.watched {
            let known = before.iter().find(|heard| heard.sensor == watched.sensor.id);
            watched.last_heard = known.and_then(|heard| heard.last_heard).or(watched.last_heard);
        }
    }

    /// How this box is judged from now on.
    pub const fn judge(&mut self, judged: Judged) {
        self.judged = judged;
    }

    /// Follows other habits from now on.
    pub fn follow(&mut self, habits: &Habits, up: Uptime) {
        for watched in &mut self.watched {
            watched.follow(habits, up);
        }
    }

    /// The sensors on it.
    pub fn sensors(&self) -> impl Iterator<Item = &Sensor> {
        self.watched.iter().map(|watched| &watched.sensor)
    }

    /// Knows from an earlier run who a device said it is: the cursor of what [`Line::learnt`] gave.
    pub fn recall(&mut self, sensor: &SensorId, kept: &[u8]) {
        let mut all = self.watched.iter_mut();
        if let Some(watched) = all.find(|watched| watched.sensor.id == *sensor) {
            watched.identified.recall(kept);
        }
    }

    /// What is to be kept of who a device said it is; given once.
    pub fn learnt(&mut self, which: usize) -> Option<Progress> {
        let watched = self.watched.get_mut(which)?;
        Some(Progress {
            stream: watched.sensor.id.as_str().to_owned(),
            cursor: watched.identified.learnt()?,
            keys: Vec::new(),
        })
    }

    /// Whether the device is to be asked in this turn who it is.
    pub fn identifies(&self, which: usize, up: Uptime) -> bool {
        let watched = self.watched.get(which);
        watched.is_some_and(|watched| watched.identified.due(up))
    }

    /// Where the line goes.
    pub const fn way(&self) -> &Way {
        &self.way
    }

    /// How often in a row the sensor has not answered.
    pub fn failures(&self, which: usize) -> u32 {
        self.watched.get(which).map_or(0, |w| w.failures)
    }

    /// How long to wait for one answer: as long as the slowest of its devices may take.
    pub fn time_limit(&self) -> Duration {
        let limits = self.watched.iter().map(|w| w.sensor.profile.time_limit);
        limits.max().unwrap_or(Duration::from_secs(1))
    }

    /// The sensor whose turn it is: the one that has waited longest.
    pub fn due(&self, up: Uptime) -> Option<usize> {
        let waiting = self.watched.iter().enumerate().filter(|(_, w)| w.due <= up);
        waiting.min_by_key(|(_, w)| w.due).map(|(which, _)| which)
    }

    /// When to come back: a sensor is due, or becomes silent.
    pub fn deadline(&self) -> Option<Uptime> {
        let turns = self.watched.iter().map(|w| w.due);
        let silences = self.watched.iter().filter_map(Watched::silent_at);
        turns.chain(silences).min()
    }

    /// The sensor and the questions of one turn.
    pub fn questions(&self, which: usize) -> Option<(&Sensor, &[modbus::Request])> {
        let watched = self.watched.get(which)?;
        Some((&watched.sensor, &watched.questions))
    }

    /// Takes what a turn brought, whose first question went out at `asked`.
    pub fn handle(
        &mut self,
        which: usize,
        outcome: &Outcome,
        asked: Uptime,
        (now, up): (Timestamp, Uptime),
    ) -> Option<Heard> {
        let watched = self.watched.get_mut(which)?;
        watched.take(outcome, now, up);
        let mut items = watched.changes(now, up);
        items.extend(
            outcome
                .readings(
                    &watched.sensor,
                    watched.identified.looks(),
                    (self.judged.at(now), watched.least),
                    now,
                )
                .into_iter()
                .map(Item::Reading),
        );
        let sign = Sign {
            whole: outcome.error.is_none() && outcome.answers.len() == watched.questions.len(),
            asked: Some(asked),
            ..Sign::of(&items)
        };
        Some(Heard {
            items,
            state: watched.state(),
            sign,
        })
    }

    /// Looks for sensors that became silent while nobody asked them.
    pub fn tick(&mut self, now: Timestamp, up: Uptime) -> Vec<Heard> {
        let mut out = Vec::new();
        for watched in &mut self.watched {
            if let Some(alarm) = watched.silence_begins(now, up) {
                out.push(Heard {
                    items: vec![Item::Alarm(alarm)],
                    state: watched.state(),
                    sign: Sign::default(),
                });
            }
        }
        out
    }

    /// How every sensor stands, for posture reports.
    pub fn state(&self) -> Vec<SensorHeard> {
        self.watched.iter().map(Watched::state).collect()
    }
}

impl Watched {
    fn follow(&mut self, habits: &Habits, up: Uptime) {
        self.least = habits.least_grade(&self.sensor);
        let pace = habits.pace(&self.sensor.id, self.own);
        if pace.interval != self.sensor.interval {
            // Whoever waits already waits no longer than the new interval.
            self.due = self.due.min(up.plus(pace.interval));
        }
        self.sensor.keep_pace(pace);
    }

    fn take(&mut self, outcome: &Outcome, now: Timestamp, up: Uptime) {
        if outcome.answers.is_empty() {
            self.identified.silent(up);
        } else if self.identified.due(up) {
            self.identified.answered(outcome.said.as_ref(), up);
        }
        let complaint = outcome.complaint().or_else(|| self.identified.complaint());
        self.last_error = complaint.map(|text| ShortText::cut(&text));
        if outcome.answers.is_empty() {
            self.failures = self.failures.saturating_add(1);
            self.due = up.plus(self.backoff());
            return;
        }
        self.failures = 0;
        self.last_heard = Some(now);
        self.quiet_since = up;
        self.due = next_turn(self.due, self.sensor.interval, up);
        let read = outcome.answers.iter().flat_map(|a| a.alarms.iter().cloned());
        self.alarms.extend(read);
    }

    /// Doubles from the interval, or from a minute when that is shorter, to the longer of the two.
    fn backoff(&self) -> Duration {
        let interval = self.sensor.interval;
        let doublings = self.failures.saturating_sub(1).min(MOST_DOUBLINGS);
        let wanted = interval.min(LONGEST_BACKOFF).saturating_mul(1 << doublings);
        wanted.min(interval.max(LONGEST_BACKOFF))
    }

    /// When it becomes silent; none when it already is.
    fn silent_at(&self) -> Option<Uptime> {
        (self.silence != Told::Begun).then(|| self.quiet_since.plus(self.sensor.silent_after))
    }

    fn changes(&mut self, now: Timestamp, up: Uptime) -> Vec<Item> {
        let silence = self.silence_ends(now).or_else(|| self.silence_begins(now, up));
        let alarm = self.alarm_turns(now);
        silence.into_iter().chain(alarm).map(Item::Alarm).collect()
    }

    fn silence_begins(&mut self, now: Timestamp, up: Uptime) -> Option<Alarm> {
        self.silent_at().filter(|at| *at <= up)?;
        self.silence = Told::Begun;
        Some(self.alarm_of(Condition::SensorSilent, true, now))
    }

    fn silence_ends(&mut self, now: Timestamp) -> Option<Alarm> {
        if self.failures > 0 || self.last_heard.is_none() || self.silence == Told::Ended {
            return None;
        }
        self.silence = Told::Ended;
        Some(self.alarm_of(Condition::SensorSilent, false, now))
    }

    /// The device alarms while any of its alarm registers is set. That it does not is said only when every one
    /// of them has been read.
    fn alarm_turns(&mut self, now: Timestamp) -> Option<Alarm> {
        let registers = &self.sensor.profile.registers;
        let known = registers.iter().filter(|r| !r.alarm.is_empty()).count();
        let told = match self.alarms.values().any(|set| *set) {
            true => Told::Begun,
            false if known > 0 && self.alarms.len() == known => Told::Ended,
            false => return None,
        };
        if self.alarm == told {
            return None;
        }
        self.alarm = told;
        Some(self.alarm_of(Condition::DeviceAlarm, told == Told::Begun, now))
    }

    fn alarm_of(&self, condition: Condition, active: bool, at: Timestamp) -> Alarm {
        Alarm {
            condition,
            sensor: Some(self.sensor.id.clone()),
            active,
            at,
        }
    }

    fn state(&self) -> SensorHeard {
        SensorHeard {
            last_heard: self.last_heard,
            failures: self.failures,
            last_error: self.last_error.clone(),
            ..unheard(&self.sensor)
        }
    }
}

/// How a sensor stands of which nothing is known.
fn unheard(sensor: &Sensor) -> SensorHeard {
    let seconds = sensor.interval.as_millis().div_ceil(1000).max(1);
    SensorHeard {
        sensor: sensor.id.clone(),
        profile: ShortText::cut(sensor.profile.id.as_str()),
        last_heard: None,
        interval_s: u32::try_from(seconds).unwrap_or(u32::MAX),
        failures: 0,
        last_error: None,
    }
}

/// The next turn after `due` in steps of `interval` that lies after `up`: turns that were missed stay missed.
fn next_turn(due: Uptime, interval: Duration, up: Uptime) -> Uptime {
    let step = u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
    let late = up.0.saturating_sub(due.0);
    Uptime(
        due.0
            .saturating_add((late / step).saturating_add(1).saturating_mul(step)),
    )
}

#[cfg(test)]
mod tests;
