//! One Bluetooth sensor: when it is connected, whether it is the one that was paired, and what its values are.
//!
//! # Design
//! - Nothing is read before the bond was looked at. A device that comes back with a weaker bond than it was paired
//!   with, or with none, is refused as that sensor; one with another, stronger bond is read and its values are
//!   labelled, because nobody here made that bond.
//! - After a bond was refused the device is tried once an hour only: some kernels break when that happens often.
//! - A sensor is connected when it was heard, or when its turn has come without that: the stack may hold a link
//!   from before a restart of ours, and a sensor that is linked is not heard.
//! - What came from a memory is kept with the cursor in one commit (see [`records`]).

mod judged;
mod moves;
pub mod records;
pub mod times;
mod worn;

use std::time::Duration;

use homeward_devices::ble::racp::{Answer, Code, Command, Which};
use homeward_devices::ble::{self, Fields, Measured};
use homeward_devices::link::ble::{At, BleError, BondState, Notice, Remedy};
use homeward_devices::profile::{Memory, Session, Visits};
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::bond::BleAddress;
use homeward_protocol::envelope::Item;
use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{SensorHeard, ShortText};
use homeward_protocol::time::{Timestamp, Uptime};

use super::{Heard, Pace, Sensor, Sign, Told};
use crate::associate::{Association, Declared};
use crate::care::{Gateway, Proof};
use crate::outbox::Progress;
use crate::policy::habits::Habits;
pub use moves::{Effect, Input, Kept, Noticed, State};

use judged::proof;
use records::{Question, Record, Records, Taken};
use times::{Clocks, Origin};
use worn::Worn;

/// The first wait after a failed connection; doubles to [`LONGEST_WAIT`].
const FIRST_WAIT: Duration = Duration::from_secs(5);
/// How late a sensor that came back is noticed at most, when it is not heard in a scan.
const LONGEST_WAIT: Duration = Duration::from_mins(5);
/// The wait after a refused bond.
const REFUSED_WAIT: Duration = Duration::from_hours(1);
/// Without a record for this long, a transfer is given up. Not in the specification: a meter answers in seconds.
const TRANSFER_IDLE: Duration = Duration::from_secs(30);
/// After this long without a value a replayed memory is at its end, and what comes then was just measured.
const REPLAY_OVER: Duration = Duration::from_secs(10);
/// A sensor that visits is let go after this long without a value, for its battery.
const VISIT_OVER: Duration = Duration::from_mins(1);

const BATTERY: At = At {
    service: 0x180F,
    characteristic: 0x2A19,
};

/// One sensor.
pub struct Device {
    sensor: Sensor,
    address: BleAddress,
    session: Session,
    /// Its pace by the box's own configuration.
    own: Pace,
    /// The least grade that the policy wants of it; none where the policy knows no such sensor.
    least: Option<Grade>,
    gateway: Gateway,
    association: Option<Association>,
    state: State,
    link: Link,
    records: Records,
    silence: Told,
    quiet_since: Uptime,
    reported: SensorHeard,
    now: SensorHeard,
    surprises: u64,
}

/// What is known within one connection.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Link {
    served: Vec<At>,
    proof: Proof,
    declared: Declared,
    battery: Option<u8>,
    clocks: Clocks,
    /// The CGM session, as its start was read.
    cgm: Vec<u8>,
    worn: Worn,
    subscribed: usize,
    replaying: bool,
}

impl Link {
    const fn new() -> Link {
        Link {
            served: Vec::new(),
            proof: Proof::Nothing,
            declared: Declared {
                maker: None,
                model: None,
                serial: None,
                firmware: None,
            },
            battery: None,
            clocks: Clocks::new(),
            cgm: Vec::new(),
            worn: Worn::new(),
            subscribed: 0,
            replaying: true,
        }
    }
}

impl Device {
    /// After a start: goes on from what was saved. None when the sensor is no Bluetooth sensor.
    pub fn resume(
        sensor: Sensor,
        gateway: Gateway,
        association: Option<Association>,
        saved: Option<&Progress>,
        last_heard: Option<Timestamp>,
        up: Uptime,
    ) -> Option<Device> {
        let address = sensor.ble_address()?;
        let session = sensor.profile.session.clone()?;
        let association = association.filter(|a| a.address == address);
        let since = association.as_ref().map_or(0, |a| a.since.ms);
        let state = SensorHeard {
            last_heard,
            ..super::unheard(&sensor)
        };
        let mut device = Device {
            records: Records::resume(sensor.id.as_str(), since, saved),
            own: sensor.pace(),
            least: Some(Grade::Unverified),
            sensor,
            address,
            session,
            gateway,
            association,
            state: State::Unpaired,
            link: Link::new(),
            silence: Told::Nothing,
            quiet_since: up,
            reported: state.clone(),
            now: state,
            surprises: 0,
        };
        device.rest(up, up);
        Some(device)
    }

    /// How this box is judged from now on.
    pub const fn judge(&mut self, gateway: Gateway) {
        self.gateway = gateway;
    }

    /// Follows other habits from now on.
    pub fn follow(&mut self, habits: &Habits) {
        self.least = habits.least_grade(&self.sensor);
        self.sensor.keep_pace(habits.pace(&self.sensor.id, self.own));
    }

    /// Which sensor it is.
    pub const fn sensor(&self) -> &SensorId {
        &self.sensor.id
    }

    /// Its address.
    pub const fn address(&self) -> BleAddress {
        self.address
    }

    /// What is waited for.
    pub const fn state(&self) -> &State {
        &self.state
    }

    /// How it stands, for reports.
    pub const fn heard(&self) -> &SensorHeard {
        &self.now
    }

    /// What whoever listens to it can say beside its values: that somebody does, and whether it is linked.
    pub fn listens(&self) -> Sign {
        Sign {
            listens: true,
            linked: matches!(self.state, State::Listening { .. }),
            ..Sign::default()
        }
    }

    /// Inputs that made no sense in their state.
    pub const fn surprises(&self) -> u64 {
        self.surprises
    }

    /// When to come back with [`Input::Tick`].
    pub fn deadline(&self) -> Uptime {
        let silence = self.silent_at().unwrap_or(Uptime(u64::MAX));
        let next = match &self.state {
            State::Away { blind_at, .. } => blind_at.unwrap_or(Uptime(u64::MAX)),
            State::Listening { quiet_since } if self.records.asking() => quiet_since.plus(TRANSFER_IDLE),
            State::Listening { quiet_since } if self.link.replaying => quiet_since.plus(REPLAY_OVER),
            State::Listening { quiet_since } if self.session.visits == Visits::WhenHeard => {
                quiet_since.plus(VISIT_OVER)
            }
            _ => Uptime(u64::MAX),
        };
        silence.min(next)
    }

    /// The only way the state moves.
    pub fn handle(&mut self, input: Input, now: Timestamp, up: Uptime) -> Vec<Effect> {
        let mut out = Vec::new();
        self.take(input, now, up, &mut out);
        let silence = self.silence_begins(now, up);
        if silence.is_some() || self.now != self.reported {
            self.keep(silence.into_iter().collect(), None, &mut out);
        }
        out
    }

    fn take(&mut self, input: Input, now: Timestamp, up: Uptime, out: &mut Vec<Effect>) {
        match (&mut self.state, input) {
            (_, Input::Paired(association)) => self.paired(association, up, out),
            (_, Input::StackNew) => self.stack_new(up, out),
            (State::Away { not_before, .. }, Input::Heard) if *not_before <= up => self.connect(out),
            (
                State::Away {
                    blind_at: Some(at), ..
                },
                Input::Tick,
            ) if *at <= up => self.connect(out),
            (State::Listening { .. }, Input::Tick) => self.tick(up, out),
            (_, Input::Heard | Input::Tick)
            | (State::Listening { .. }, Input::Written(Ok(())))
            | (State::Unpaired | State::Away { .. }, Input::Lost) => {}
            (State::Connecting, Input::Connected(Ok(served))) => {
                self.link = Link {
                    served,
                    ..Link::new()
                };
                self.state = State::Checking;
                out.push(Effect::AskBond(self.address));
            }
            (State::Checking, Input::Bond(Ok(held))) => self.check(held, now, up, out),
            (State::Connecting, Input::Connected(Err(error)))
            | (State::Checking, Input::Bond(Err(error)))
            | (State::Listening { .. }, Input::Written(Err(error))) => self.fail(&error, up, out),
            (State::Reading(_), Input::Read(at, answer)) => self.read(at, answer, now, up, out),
            (State::Subscribing(_), Input::Subscribed(at, answer)) => self.subscribed(at, answer, up, out),
            (State::Subscribing(_) | State::Listening { .. }, Input::Value(notice)) => {
                self.value(&notice, now, up, out);
            }
            (_, Input::Lost) => {
                self.records.cut();
                self.rest(up.plus(FIRST_WAIT), up.plus(FIRST_WAIT));
                out.push(Effect::Disconnect);
            }
            _ => self.surprises += 1,
        }
    }

    fn connect(&mut self, out: &mut Vec<Effect>) {
        self.state = State::Connecting;
        out.push(Effect::Connect(self.address, self.sensor.profile.time_limit));
    }

    /// Whether it may be talked to at all.
    const fn allowed(&self) -> bool {
        self.session.least_bond.is_none() || self.association.is_some()
    }

    fn rest(&mut self, not_before: Uptime, blind_at: Uptime) {
        self.state = if self.allowed() {
            State::Away {
                not_before,
                blind_at: Some(blind_at),
            }
        } else {
            let id = &self.sensor.id;
            let rule = format!("not paired: run `homeward-agent sensor pair {id}` beside it");
            self.now.last_error = Some(ShortText::cut(&rule));
            State::Unpaired
        };
    }

    fn paired(&mut self, association: Option<Association>, up: Uptime, out: &mut Vec<Effect>) {
        let association = association.filter(|a| a.address == self.address);
        if association == self.association {
            return;
        }
        let since = association.as_ref().map_or(0, |a| a.since.ms);
        self.association = association;
        self.records = Records::resume(self.sensor.id.as_str(), since, None);
        self.now.last_error = None;
        self.now.failures = 0;
        if !matches!(self.state, State::Unpaired | State::Away { .. }) {
            out.push(Effect::Disconnect);
        }
        self.rest(up, up);
    }

    fn stack_new(&mut self, up: Uptime, out: &mut Vec<Effect>) {
        if !matches!(self.state, State::Unpaired | State::Away { .. }) {
            out.push(Effect::Disconnect);
        }
        self.records.cut();
        self.rest(up, up);
    }

    /// Something went wrong on the way or on the link.
    fn fail(&mut self, error: &BleError, up: Uptime, out: &mut Vec<Effect>) {
        let refused = matches!(error, BleError::BondRefused { .. });
        out.push(Effect::Tell(if refused {
            Noticed::BondRefused
        } else {
            Noticed::Failed(error.remedy())
        }));
        self.give_up(&error.to_string(), error.remedy(), up, out);
    }

    fn give_up(&mut self, said: &str, remedy: Remedy, up: Uptime, out: &mut Vec<Effect>) {
        let visits = self.session.visits == Visits::WhenHeard;
        let unheard = remedy == Remedy::Rescan;
        // That a sensor which only visits is not there is no failure.
        if !(visits && (unheard || remedy == Remedy::Reconnect && self.state == State::Connecting)) {
            self.now.last_error = Some(ShortText::cut(said));
            self.now.failures = self.now.failures.saturating_add(1);
        }
        let doublings = self.now.failures.saturating_sub(1).min(6);
        let backoff = (FIRST_WAIT * 2_u32.pow(doublings)).min(LONGEST_WAIT);
        let (not_before, blind) = match remedy {
            Remedy::Person => (REFUSED_WAIT, REFUSED_WAIT),
            Remedy::Rescan => (Duration::ZERO, LONGEST_WAIT),
            Remedy::Reconnect | Remedy::AwaitStack => (backoff, if visits { LONGEST_WAIT } else { backoff }),
        };
        self.records.cut();
        if self.state != State::Connecting {
            out.push(Effect::Disconnect);
        }
        self.rest(up.plus(not_before), up.plus(blind));
    }

    fn check(&mut self, held: BondState, now: Timestamp, up: Uptime, out: &mut Vec<Effect>) {
        out.push(Effect::Tell(Noticed::Connected(held)));
        let paired = self.association.as_ref().and_then(|a| a.bond);
        match proof(paired, self.session.least_bond, held) {
            Ok(proof) => {
                self.link.proof = proof;
                self.now.last_error = (held == BondState::Unread && paired.is_some()).then(|| {
                    ShortText::cut("how its bond came about could not be read: nothing is verified")
                });
                self.identify(now, out);
            }
            Err(said) => {
                out.push(Effect::Tell(Noticed::BondRefused));
                self.give_up(said, Remedy::Person, up, out);
            }
        }
    }

    fn identify(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let own = self.session.read().map(|c| c.at);
        let wanted = Declared::WHERE.into_iter().chain([BATTERY]).chain(own);
        let once = |at: &At| self.link.served.iter().filter(|s| *s == at).count() == 1;
        self.state = State::Reading(wanted.filter(once).collect());
        self.next_read(now, out);
    }

    fn next_read(&mut self, now: Timestamp, out: &mut Vec<Effect>) {
        let State::Reading(left) = &mut self.state else {
            return;
        };
        if let Some(at) = left.front() {
            out.push(Effect::Read(*at));
            return;
        }
        let told = Noticed::Told {
            firmware: self.link.declared.firmware.clone(),
            battery: self.link.battery,
        };
        out.push(Effect::Tell(told));
        let session = self.link.worn.at_connection(now);
        out.extend(session.map(|session| Effect::Tell(Noticed::Session(session))));
        let subscriptions = self.session.subscribed();
        let wanted = subscriptions.filter(|c| c.needed || self.link.served.contains(&c.at));
        self.state = State::Subscribing(wanted.map(|c| c.at).collect());
        self.next_subscription(out);
    }

    fn next_subscription(&mut self, out: &mut Vec<Effect>) {
        if let State::Subscribing(left) = &self.state
            && let Some(at) = left.front()
        {
            out.push(Effect::Subscribe(*at));
        }
    }

    fn read(
        &mut self,
        at: At,
        answer: Result<Vec<u8>, BleError>,
        now: Timestamp,
        up: Uptime,
        out: &mut Vec<Effect>,
    ) {
        match answer {
            Ok(value) => self.learn(at, &value, now),
            // It says nothing of itself there; that is its right.
            Err(BleError::NotServed { .. } | BleError::Refused { .. } | BleError::Protected { .. }) => {}
            Err(error) => return self.fail(&error, up, out),
        }
        if let State::Reading(left) = &mut self.state {
            left.pop_front();
        }
        self.next_read(now, out);
    }

    /// What does not decode is not said.
    fn learn(&mut self, at: At, value: &[u8], now: Timestamp) {
        self.link.declared.learn(at, value);
        let decoded = ble::decode(at.characteristic, value).unwrap_or_default();
        for measured in decoded {
            match measured.fields {
                Fields::Battery(battery) if at == BATTERY => self.link.battery = Some(battery.level),
                Fields::CurrentTime(time) => self.link.clocks.current_time(time, now),
                Fields::SessionRunTime(time) => self.link.worn.lasts(time),
                Fields::CgmStatus(status) => self.link.worn.is(status),
                Fields::SessionStart(start) => {
                    self.link.worn.began(start);
                    self.link.clocks.session_start(start);
                    self.link.cgm = value.to_vec();
                }
                _ => {}
            }
        }
    }

    fn subscribed(&mut self, at: At, answer: Result<(), BleError>, up: Uptime, out: &mut Vec<Effect>) {
        let needed = self.session.subscribed().any(|c| c.at == at && c.needed);
        match answer {
            Ok(()) => self.link.subscribed += 1,
            Err(BleError::NotServed { .. }) if !needed => {}
            Err(error) => return self.fail(&error, up, out),
        }
        let State::Subscribing(left) = &mut self.state else {
            return;
        };
        left.pop_front();
        if !left.is_empty() {
            return self.next_subscription(out);
        }
        if self.link.subscribed == 0 {
            return self.give_up("it serves none of its profile's values", Remedy::Person, up, out);
        }
        self.state = State::Listening { quiet_since: up };
        self.link.replaying = self.session.memory == Memory::Replayed;
        self.now.failures = 0;
        if self.session.memory == Memory::Records {
            let question = self.records.ask();
            self.ask(question, out);
        }
    }

    fn ask(&self, question: Question, out: &mut Vec<Effect>) {
        let Some(point) = self.session.records() else {
            return;
        };
        let which = match question {
            Question::All => Which::All,
            Question::Last => Which::Last,
            Question::From(first) => Which::From(first),
        };
        out.push(Effect::Write(point.at, Command::Send(which).encode()));
    }

    fn value(&mut self, notice: &Notice, now: Timestamp, up: Uptime, out: &mut Vec<Effect>) {
        if let State::Listening { quiet_since } = &mut self.state {
            *quiet_since = up;
        }
        if self.session.records().is_some_and(|c| c.at == notice.at) {
            return self.answered(&notice.value, out);
        }
        if !self.session.subscribed().any(|c| c.at == notice.at) {
            self.surprises += 1;
            return;
        }
        match ble::decode(notice.at.characteristic, &notice.value) {
            Ok(all) => {
                for measured in &all {
                    self.measured(notice.at, measured, now, up, out);
                }
            }
            Err(error) => {
                self.now.last_error = Some(ShortText::cut(&error.to_string()));
                out.push(Effect::Tell(Noticed::Quarantined {
                    at: notice.at,
                    said: error.to_string(),
                }));
            }
        }
    }

    /// The record access point said something: it is done, it has nothing, or it does not understand.
    fn answered(&mut self, value: &[u8], out: &mut Vec<Effect>) {
        let code = match Answer::decode(value) {
            Ok(Answer::Done {
                request: Answer::SENT,
                code,
            }) => Some(code),
            _ => None,
        };
        let next = match code {
            // Everything was sent, or there is nothing.
            Some(Code::Success | Code::NoRecords) => self.records.done(),
            // Not this question: an operator, a filter or a number that the sensor does not know.
            Some(
                Code::OperationUnsupported
                | Code::OperatorInvalid
                | Code::OperatorUnsupported
                | Code::OperandInvalid
                | Code::OperandUnsupported,
            ) => self.records.refused(),
            _ => {
                self.records.cut();
                None
            }
        };
        if let Some(question) = next {
            return self.ask(question, out);
        }
        let progress = self.records.progress();
        self.keep(Vec::new(), progress, out);
    }

    fn measured(&mut self, at: At, measured: &Measured, now: Timestamp, up: Uptime, out: &mut Vec<Effect>) {
        let record = self.records.record(at.characteristic, &self.link.cgm, measured);
        let origin = self.origin(measured);
        let taken = record.map(|record: Record| self.records.take(record));
        let placed = self.link.clocks.place(measured.clock, origin, now);
        if taken == Some(Taken::Known) {
            return;
        }
        if let (Fields::GlucoseRecord(record), Origin::Live) = (&measured.fields, origin) {
            let session = self.link.worn.at_value(record);
            out.push(Effect::Tell(Noticed::Session(session)));
        }
        let readings = self.readings(measured, &placed, taken == Some(Taken::NewSince));
        self.now.last_heard = Some(now);
        self.quiet_since = up;
        let silence = self.silence_ends(now);
        let items = silence.into_iter().chain(readings.into_iter().map(Item::Reading));
        let progress = taken.and_then(|_| self.records.progress());
        self.keep(items.collect(), progress, out);
    }

    fn tick(&mut self, up: Uptime, out: &mut Vec<Effect>) {
        let State::Listening { quiet_since } = self.state else {
            return;
        };
        let quiet = up.since(quiet_since);
        if self.records.asking() {
            if quiet >= TRANSFER_IDLE {
                if let Some(point) = self.session.records() {
                    out.push(Effect::Write(point.at, Command::Abort.encode()));
                }
                self.give_up(
                    "it stopped in the middle of its records",
                    Remedy::Reconnect,
                    up,
                    out,
                );
            }
            return;
        }
        if self.link.replaying && quiet >= REPLAY_OVER {
            self.link.replaying = false;
            self.records.replayed();
            let progress = self.records.progress();
            self.keep(Vec::new(), progress, out);
        }
        if self.session.visits == Visits::WhenHeard && quiet >= VISIT_OVER {
            out.push(Effect::Disconnect);
            self.rest(up.plus(FIRST_WAIT), up.plus(LONGEST_WAIT));
        }
    }

    fn silent_at(&self) -> Option<Uptime> {
        (self.silence != Told::Begun).then(|| self.quiet_since.plus(self.sensor.silent_after))
    }

    fn silence_begins(&mut self, now: Timestamp, up: Uptime) -> Option<Item> {
        self.silent_at().filter(|at| *at <= up)?;
        self.silence = Told::Begun;
        Some(self.silent(true, now))
    }

    fn silence_ends(&mut self, now: Timestamp) -> Option<Item> {
        let told = self.silence == Told::Ended;
        self.silence = Told::Ended;
        (!told).then(|| self.silent(false, now))
    }

    fn silent(&self, active: bool, at: Timestamp) -> Item {
        Item::Alarm(Alarm {
            condition: Condition::SensorSilent,
            sensor: Some(self.sensor.id.clone()),
            active,
            at,
        })
    }

    fn keep(&mut self, items: Vec<Item>, progress: Option<Progress>, out: &mut Vec<Effect>) {
        self.reported = self.now.clone();
        let heard = Heard {
            sign: Sign::of(&items),
            items,
            state: self.now.clone(),
        };
        out.push(Effect::Keep(Box::new(Kept { heard, progress })));
    }
}

#[cfg(test)]
mod tests;
