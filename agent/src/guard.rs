//! The guard before plain devices: other masters reach a device only through the gateway, and only for what they are
//! allowed.
//!
//! Decides only. [`serve`] takes connections, asks here about every question, and puts what is allowed on the line
//! that the agent polls by itself. A write passes two gates: the rules of the peer, and the list of what the device's
//! profile says may be written at all. Whatever is not known to only read counts as a write.
//!
//! # Design
//! - Every refused write becomes a record ([`WriteAttempt`]) and raises an alarm for its device; the alarm ends after
//!   [`CALM`] without another. A peer that floods cannot fill the outbox: after [`RECORDS`] records more are told
//!   one every [`PACE`], each with the number of attempts that it stands for. Nothing is dropped in silence.
//! - Reads that are refused are answered and counted, not raised: a display that asks too much is no attack.
//! - A unit that does not answer is left alone for a while, so that a peer's wrong unit id costs the line little.

mod config;
mod ration;
mod seats;
pub mod serve;

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::link::LinkError;
use homeward_devices::modbus::Ask;
use homeward_devices::modbus::frame::Question;
use homeward_devices::modbus::role::Role;
use homeward_devices::profile::Profile;
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::Item;
use homeward_protocol::guard::{Outcome, Why, WriteAttempt};
use homeward_protocol::id::SensorId;
use homeward_protocol::policy::rules::AllowedWrite;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};

pub use config::{Allow, GuardConfig, GuardFault, Network, Peer, Plan, plans};
use ration::Ration;
pub use ration::{PACE, RECORDS};

/// How long without a refused write until its alarm ends.
pub const CALM: Duration = Duration::from_mins(15);
/// The shortest and the longest time that a unit which did not answer is left alone.
const ABSENCE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Exception 1: the function is not allowed.
const ILLEGAL_FUNCTION: u8 = 1;
/// Exception 2: there is nothing at this address, for this peer.
const ILLEGAL_ADDRESS: u8 = 2;
/// Exception 3: the question makes no sense.
const ILLEGAL_VALUE: u8 = 3;
/// Exception 4: the device failed.
const DEVICE_FAILED: u8 = 4;
/// Exception 6: busy.
const BUSY: u8 = 6;
/// Exception 11: the device behind the gateway does not answer.
const NO_ANSWER: u8 = 11;

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Where from.
    pub from: IpAddr,
    /// The role of its certificate; always none before a guard without TLS.
    pub role: Option<Role>,
}

impl Who {
    /// For records and logs.
    pub fn words(&self) -> String {
        match &self.role {
            Some(role) => format!("{role} at {}", self.from),
            None => self.from.to_string(),
        }
    }
}

/// What becomes of a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes to the device.
    Forward(Ask),
    /// It never leaves the gateway; the peer is answered with this exception.
    Refuse {
        /// The exception code.
        exception: u8,
        /// Why.
        why: Why,
    },
    /// It is allowed, but the unit did not answer a moment ago, and is not asked.
    Spare,
}

/// A device behind the guard.
#[derive(Debug, Clone)]
pub struct Guarded {
    /// Which sensor.
    pub sensor: SensorId,
    /// What is known of its model.
    pub profile: Arc<Profile>,
}

/// The devices behind one guard, by their units, and what is allowed to whom.
#[derive(Debug, Clone)]
pub struct Rules {
    /// The devices of the line, by unit id.
    pub units: BTreeMap<u8, Guarded>,
    /// The sensor that the guard was put before; attempts on units that nobody configured are told as on it.
    pub before: SensorId,
    /// Who may do what.
    pub peers: Vec<Peer>,
    /// Whether peers are known by the roles of their certificates.
    pub secured: bool,
    /// The writes that the policy allows, of those that the peers may; none: all of these.
    pub writes: Option<Vec<AllowedWrite>>,
}

impl Rules {
    /// What becomes of `question` to `unit` by `who`. No memory: the same question always gets the same answer.
    pub fn decide(&self, who: &Who, unit: u8, question: &Question) -> Verdict {
        let peers: Vec<&Peer> = self.peers.iter().filter(|peer| peer.is(who)).collect();
        if peers.is_empty() {
            let why = if self.secured {
                Why::UnknownRole
            } else {
                Why::UnknownPeer
            };
            return refuse(ILLEGAL_FUNCTION, why);
        }
        let allows = peers.iter().flat_map(|peer| &peer.allow);
        let mut allows = allows.filter(|a| a.unit == unit && a.functions.contains(&question.function()));
        if allows.clone().next().is_none() {
            return refuse(ILLEGAL_FUNCTION, Why::Function);
        }
        let ask = match question {
            Question::Read(request) => Ask::Read(*request),
            Question::Write(write) => Ask::Write(write.clone()),
            // Only the basic level passes: the others may be the device's own, and are not needed to know it.
            Question::Identify { level: 1, object } => return Verdict::Forward(Ask::Identify(*object)),
            Question::Identify { .. } | Question::Other { malformed: true, .. } => {
                return refuse(ILLEGAL_VALUE, Why::Malformed);
            }
            Question::Other { .. } => return refuse(ILLEGAL_FUNCTION, Why::Function),
        };
        let (first, count) = question.place().unwrap_or((0, 1));
        if !allows.any(|allow| allow.covers(first, count)) {
            return refuse(ILLEGAL_ADDRESS, Why::Address);
        }
        match &ask {
            Ask::Write(_) if !self.is_in_policy(who, unit, question.function(), first, count) => {
                refuse(ILLEGAL_ADDRESS, Why::Policy)
            }
            Ask::Write(write) if !self.units.get(&unit).is_some_and(|u| u.profile.may_write(write)) => {
                refuse(ILLEGAL_ADDRESS, Why::NotWritable)
            }
            _ => Verdict::Forward(ask),
        }
    }

    fn is_in_policy(&self, who: &Who, unit: u8, function: u8, first: u16, count: u16) -> bool {
        let last = u32::from(first) + u32::from(count.max(1)) - 1;
        let may = |write: &AllowedWrite| {
            let by = write.from.is_none_or(|net| net.holds(who.from));
            let on = self
                .units
                .get(&unit)
                .is_some_and(|guarded| guarded.sensor == write.sensor);
            let there = write.first <= first && last <= u32::from(write.last);
            by && on && there && write.functions.contains(&function)
        };
        self.writes.as_ref().is_none_or(|all| all.iter().any(may))
    }

    /// Whether a peer may come from this address. Whether it is that peer, its role has to show.
    pub fn knows(&self, from: IpAddr) -> bool {
        let meant = |peer: &Peer| peer.from.is_none_or(|net| net.holds(from));
        self.peers.iter().any(meant)
    }

    /// The sensor of a unit.
    fn sensor(&self, unit: u8) -> &SensorId {
        self.units
            .get(&unit)
            .map_or(&self.before, |guarded| &guarded.sensor)
    }
}

const fn refuse(exception: u8, why: Why) -> Verdict {
    Verdict::Refuse { exception, why }
}

/// A unit that did not answer.
#[derive(Debug, Clone, Copy)]
struct Absent {
    wait: Duration,
    until: Uptime,
}

/// One guard with its memory: what is to be told, which alarms stand, which units are left alone.
pub struct Guard {
    rules: Rules,
    /// Since when each device's alarm could end; not there when none stands.
    alarms: BTreeMap<SensorId, Uptime>,
    refused: Ration,
    written: Ration,
    absent: BTreeMap<u8, Absent>,
    out: Vec<Item>,
    /// Reads that were refused since the start.
    refused_reads: u64,
}

impl Guard {
    /// Begins at `now`, by saying that no alarm stands: what was told before a restart is not known.
    pub fn new(rules: Rules, now: Timestamp, up: Uptime) -> Guard {
        let mut sensors: Vec<&SensorId> = rules.units.values().map(|guarded| &guarded.sensor).collect();
        sensors.push(&rules.before);
        sensors.sort();
        sensors.dedup();
        let out = sensors
            .into_iter()
            .map(|sensor| alarm(sensor, false, now))
            .collect();
        Guard {
            rules,
            alarms: BTreeMap::new(),
            refused: Ration::full(up),
            written: Ration::full(up),
            absent: BTreeMap::new(),
            out,
            refused_reads: 0,
        }
    }

    /// The policy allows these writes from now on; none: those that the peers may.
    pub fn allow(&mut self, writes: Option<&Vec<AllowedWrite>>) {
        if self.rules.writes.as_ref() != writes {
            self.rules.writes = writes.cloned();
        }
    }

    /// What is allowed.
    pub const fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Reads that were refused since the start.
    pub const fn refused_reads(&self) -> u64 {
        self.refused_reads
    }

    /// Judges a question, and notes it when it is a write that is refused.
    pub fn judge(&mut self, who: &Who, unit: u8, question: &Question, now: Timestamp, up: Uptime) -> Verdict {
        let verdict = self.rules.decide(who, unit, question);
        match verdict {
            Verdict::Refuse { why, .. } if question.writes() => {
                self.raise(unit, now, up);
                let attempt = self.attempt(who, unit, question, Outcome::Refused(why), now);
                self.out.extend(self.refused.take(attempt, up).map(Item::Write));
                verdict
            }
            Verdict::Refuse { .. } => {
                self.refused_reads = self.refused_reads.saturating_add(1);
                verdict
            }
            Verdict::Forward(_) if self.absent.get(&unit).is_some_and(|a| up < a.until) => Verdict::Spare,
            _ => verdict,
        }
    }

    /// Takes what came of a question that was forwarded; gives the exception to answer with, when it failed.
    pub fn came(
        &mut self,
        who: &Who,
        unit: u8,
        question: &Question,
        error: Option<&LinkError>,
        now: Timestamp,
        up: Uptime,
    ) -> Option<u8> {
        match error {
            Some(LinkError::Busy) => {}
            Some(error) if !error.answered() => self.missed(unit, up),
            _ => {
                self.absent.remove(&unit);
            }
        }
        if question.writes() {
            let outcome = if error.is_none() {
                Outcome::Written
            } else {
                Outcome::Failed
            };
            let attempt = self.attempt(who, unit, question, outcome, now);
            self.out.extend(self.written.take(attempt, up).map(Item::Write));
        }
        error.map(exception)
    }

    /// Records to be kept now: those of new attempts, sums of what was only counted, alarms that end.
    pub fn take(&mut self, now: Timestamp, up: Uptime) -> Vec<Item> {
        for ration in [&mut self.refused, &mut self.written] {
            self.out.extend(ration.sum(up).map(Item::Write));
        }
        let calm = |last: &Uptime| up.since(*last) >= CALM;
        let over: Vec<SensorId> = self
            .alarms
            .iter()
            .filter(|(_, last)| calm(last))
            .map(|(sensor, _)| sensor.clone())
            .collect();
        for sensor in over {
            self.out.push(alarm(&sensor, false, now));
            self.alarms.remove(&sensor);
        }
        std::mem::take(&mut self.out)
    }

    /// When to come back with [`Guard::take`].
    pub fn deadline(&self) -> Option<Uptime> {
        let calm = self.alarms.values().map(|last| last.plus(CALM));
        let sums = [&self.refused, &self.written].into_iter().filter_map(Ration::due);
        calm.chain(sums).min()
    }

    fn raise(&mut self, unit: u8, now: Timestamp, up: Uptime) {
        let sensor = self.rules.sensor(unit).clone();
        if self.alarms.insert(sensor.clone(), up).is_none() {
            self.out.push(alarm(&sensor, true, now));
        }
    }

    fn missed(&mut self, unit: u8, up: Uptime) {
        let (shortest, longest) = ABSENCE;
        let before = self.absent.get(&unit).map(|absent| absent.wait * 2);
        let wait = before.unwrap_or(shortest).min(longest);
        let until = up.plus(wait);
        self.absent.insert(unit, Absent { wait, until });
    }

    fn attempt(
        &self,
        who: &Who,
        unit: u8,
        question: &Question,
        outcome: Outcome,
        at: Timestamp,
    ) -> WriteAttempt {
        let place = question.place();
        WriteAttempt {
            sensor: self.rules.sensor(unit).clone(),
            at,
            peer: ShortText::cut(&who.words()),
            unit,
            function: question.function(),
            address: place.map(|(address, _)| address),
            count: place.map_or(0, |(_, count)| count),
            outcome,
            times: 1,
        }
    }
}

fn alarm(sensor: &SensorId, active: bool, at: Timestamp) -> Item {
    Item::Alarm(Alarm {
        condition: Condition::WriteRefused,
        sensor: Some(sensor.clone()),
        active,
        at,
    })
}

/// The exception that tells a peer why the device gave no answer.
const fn exception(error: &LinkError) -> u8 {
    match error {
        LinkError::Exception { code } => *code,
        LinkError::NotTaken => DEVICE_FAILED,
        LinkError::Busy => BUSY,
        _ => NO_ANSWER,
    }
}

impl Verdict {
    /// The exception that answers it, when it is not forwarded.
    pub const fn exception(&self) -> Option<u8> {
        match self {
            Verdict::Forward(_) => None,
            Verdict::Refuse { exception, .. } => Some(*exception),
            Verdict::Spare => Some(NO_ANSWER),
        }
    }
}

#[cfg(test)]
mod tests;
