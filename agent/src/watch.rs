//! What looks wrong about the sensors although they may still send: pure detectors, one file each.
//!
//! [`Watch`] takes readings and what the radio and the wires tell ([`Event`]), keeps which suspicions stand, and makes
//! the whole report at the start and at each change. Each detector states in its doc how soon it finds a fault and
//! how rarely it is wrong about a healthy device; `agent/tests/watch.rs` measures both.
//!
//! # Design
//! - A detector answers one of three: it stands, all is fine, or it cannot tell yet ([`Finds`]). "Cannot tell" keeps
//!   what stood before a restart: a restart is no proof that a fault is over.
//! - Raising and clearing have different thresholds in each detector, so that a fault at its edge does not flap.
//!   A new finding is told at once; other changes at most once a minute, because each report is a record in the
//!   urgent lane.
//! - Time that decides is the uptime: a clock step of the box must not look like a frozen sensor. Only what lasts
//!   for days (batteries, firmware, the sensor's own clock) is dated, and only by a disciplined clock.
//! - Where nobody can tell a fault from a quiet home (a radio without neighbours, a scale that is used when people
//!   feel like it) the detector waits longer instead of guessing.

mod battery;
mod board;
mod bond;
mod change;
mod clock;
mod firmware;
pub mod follow;
mod frozen;
mod nearby;
mod other;
mod scanner;
mod session;
mod silence;
mod write;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::alarm::Condition;
use homeward_protocol::bond::{BleAddress, Bond};
use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::{MAX_SENSORS, ShortText};
use homeward_protocol::reading::Reading;
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::watch::{DeviceFacts, Finding, MAX_FIRMWARE, Suspicion, WatchReport};
use serde::{Deserialize, Serialize};

use crate::associate::{Association, Associations};
use crate::policy::habits::Habits;
use crate::sense::{Pace, Sensor};

pub use board::{Claim, Finds};
pub use nearby::Scan;
pub use session::Session;

use board::{Board, Key};

/// Changes that raise nothing new are told at most this often.
const LEAST_PAUSE: Duration = Duration::from_mins(1);
/// How often the detectors look at the time when nothing else happens.
const LOOK: Duration = Duration::from_mins(1);
/// A paired device without a profile is silent after this: longer than a long weekend.
const SILENT_UNKNOWN: Duration = Duration::from_hours(5 * 24);
/// A battery is told again when it moved by this many points, or when something else changed.
const BATTERY_STEP: u8 = 5;

/// A sensor that the gateway was told to watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Which one.
    pub sensor: SensorId,
    /// How often it is asked, and without a value for how long it is silent, where no policy says otherwise.
    pub pace: Pace,
    /// What it was associated with; none for a sensor on a wire.
    pub ble: Option<Associated>,
}

/// The association of a BLE sensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Associated {
    /// Its address.
    pub address: BleAddress,
    /// The bond of the association; none when it gives its values to anybody.
    pub bond: Option<Bond>,
    /// When an installer associated it.
    pub at: Timestamp,
}

/// What is to be watched: the configured sensors, and the devices that were paired as such.
pub fn listed(sensors: &[Sensor], associations: &Associations) -> Vec<Listed> {
    let associated = |a: &Association| Associated {
        address: a.address,
        bond: a.bond,
        at: a.since,
    };
    let configured = sensors.iter().map(|sensor| Listed {
        sensor: sensor.id.clone(),
        pace: sensor.pace(),
        ble: associations.of(&sensor.id).map(associated),
    });
    let only_paired = associations
        .standing()
        .filter(|a| sensors.iter().all(|s| s.id != a.sensor));
    let only_paired = only_paired.map(|a| Listed {
        sensor: a.sensor.clone(),
        pace: Pace {
            interval: Duration::ZERO,
            silent_after: SILENT_UNKNOWN,
        },
        ble: Some(associated(a)),
    });
    configured.chain(only_paired).collect()
}

/// Something that happened to a sensor, the radio or a wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A value was taken.
    Reading(Reading),
    /// The policy wants these habits.
    Habits(Arc<Habits>),
    /// A scan window ended.
    Scan(Scan),
    /// A BLE sensor connected, and its link was encrypted with this bond; none when it was not encrypted.
    Connected {
        /// Which one.
        sensor: SensorId,
        /// The bond.
        bond: Option<Bond>,
    },
    /// A BLE sensor does not know the key of its bond.
    BondRefused {
        /// Which one.
        sensor: SensorId,
    },
    /// A BLE sensor said this of itself.
    Told {
        /// Which one.
        sensor: SensorId,
        /// Its firmware revision.
        firmware: Option<ShortText>,
        /// The charge of its battery, per cent.
        battery: Option<u8>,
    },
    /// A continuous glucose sensor said how old its session is.
    Session {
        /// Which one.
        sensor: SensorId,
        /// The session.
        session: Session,
    },
    /// Something tried to write what the profile of a sensor does not allow.
    WriteRefused {
        /// Which one.
        sensor: SensorId,
        /// Who, and what: in plain words.
        said: ShortText,
    },
    /// The list of sensors changed: this is the whole new one.
    Listed(Vec<Listed>),
    /// Time passed.
    Tick,
}

impl Event {
    /// What a record means for the watch; nothing for most.
    pub fn of(item: &Item) -> Option<Event> {
        match item {
            Item::Reading(reading) => Some(Event::Reading(reading.clone())),
            Item::Alarm(alarm) if alarm.active && alarm.condition == Condition::WriteRefused => {
                Some(Event::WriteRefused {
                    sensor: alarm.sensor.clone()?,
                    said: ShortText::cut(
                        "somebody tried to write what is not allowed; the attempts are on record",
                    ),
                })
            }
            _ => None,
        }
    }
}

/// What is kept over a restart.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Saved {
    /// What stood.
    findings: Vec<Finding>,
    /// What was known of each sensor.
    sensors: BTreeMap<SensorId, SavedSensor>,
    /// How quiet the radio is used to be.
    radio: scanner::Usual,
}

#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
struct SavedSensor {
    battery: battery::Battery,
    firmware: firmware::Firmware,
    clock: clock::Clock,
    face: Option<nearby::Face>,
}

/// One sensor and its detectors.
struct One {
    listed: Listed,
    silence: silence::Silence,
    frozen: frozen::Frozen,
    change: change::Change,
    other: other::Other,
    session: session::Watched,
    bond: bond::BondWatch,
    write: write::Write,
    kept: SavedSensor,
}

impl One {
    fn new(listed: Listed, kept: SavedSensor, up: Uptime) -> One {
        One {
            silence: silence::Silence::new(listed.pace.silent_after, up),
            frozen: frozen::Frozen::default(),
            change: change::Change::new(up),
            other: other::Other::default(),
            session: session::Watched::default(),
            bond: bond::BondWatch::default(),
            write: write::Write::new(up),
            listed,
            kept,
        }
    }

    /// What each detector finds, in the order of [`Suspicion`].
    fn finds(&self, now: Timestamp, up: Uptime) -> [(Suspicion, Finds); 10] {
        [
            (Suspicion::Frozen, self.frozen.finds()),
            (Suspicion::Silent, self.silence.finds(now, up)),
            (Suspicion::SessionExpired, self.session.finds(now, up)),
            (Suspicion::ImpossibleChange, self.change.finds(up)),
            (Suspicion::ClockShift, self.kept.clock.finds(now)),
            (Suspicion::BatteryFalling, self.kept.battery.finds()),
            (Suspicion::FirmwareChanged, self.kept.firmware.finds(now)),
            (Suspicion::BondChanged, self.bond.finds()),
            (Suspicion::OtherDevice, self.other.finds()),
            (Suspicion::WriteRefused, self.write.finds(up)),
        ]
    }

    fn read(&mut self, reading: &Reading, now: Timestamp, up: Uptime) {
        self.silence.heard(now, up);
        self.frozen.see(reading, up);
        self.change.see(reading, up);
        self.other.see(reading, up);
        self.kept.clock.see(reading, now);
    }

    fn facts(&self) -> Option<DeviceFacts> {
        let ble = self.listed.ble.as_ref()?;
        Some(DeviceFacts {
            sensor: self.listed.sensor.clone(),
            address: ble.address,
            bond: ble.bond,
            associated_at: ble.at,
            firmware: self.kept.firmware.revision().map(short_firmware),
            battery: self.kept.battery.newest(),
        })
    }
}

/// What an event may have changed.
enum Touched {
    /// What detectors find about this sensor.
    Values(SensorId),
    /// What is known of a device.
    Facts,
    /// Something else.
    Nothing,
}

/// Watches the sensors of one gateway.
pub struct Watch {
    board: Board,
    sensors: BTreeMap<SensorId, One>,
    /// What the policy wants: a sensor is silent here when it is so for whoever asks it.
    habits: Arc<Habits>,
    scanner: scanner::Scanner,
    nearby: nearby::Nearby,
    reported: WatchReport,
    reported_at: Uptime,
    /// When all detectors were asked last.
    looked_at: Uptime,
    /// Something changed that was not worth a report of its own yet.
    owed: bool,
}

impl Watch {
    /// After a start: goes on from what was `saved`, and gives the first report.
    pub fn resume(listed: Vec<Listed>, saved: Saved, now: Timestamp, up: Uptime) -> (Watch, WatchReport) {
        let mut kept = saved.sensors;
        let one = |listed: Listed| {
            let kept = kept.remove(&listed.sensor).unwrap_or_default();
            (listed.sensor.clone(), One::new(listed, kept, up))
        };
        let mut watch = Watch {
            sensors: listed.into_iter().map(one).collect(),
            habits: Arc::default(),
            board: Board::inherit(saved.findings, up),
            scanner: scanner::Scanner::new(saved.radio),
            nearby: nearby::Nearby::default(),
            reported: WatchReport {
                taken_at: now,
                findings: Vec::new(),
                more: 0,
                devices: Vec::new(),
            },
            reported_at: up,
            looked_at: up,
            owed: false,
        };
        watch.forget_strangers();
        watch.look(now, up);
        let report = watch.report(now, up);
        (watch, report)
    }

    /// Takes what happened; the whole report when it is time for one.
    pub fn handle(&mut self, event: Event, now: Timestamp, up: Uptime) -> Option<WatchReport> {
        let touched = self.take(event, now, up);
        let raised = match touched {
            Touched::Values(sensor) if up.since(self.looked_at) < LOOK => self.look_at(&sensor, now, up),
            Touched::Values(_) | Touched::Nothing => self.look(now, up),
            Touched::Facts => {
                self.owed = true;
                self.look(now, up)
            }
        };
        self.owed |= self.board.take_changed();
        if !raised && (!self.owed || up.since(self.reported_at) < LEAST_PAUSE) {
            return None;
        }
        self.owed = false;
        (raised || self.differs()).then(|| self.report(now, up))
    }

    /// When to come back with [`Event::Tick`].
    pub fn deadline(&self) -> Uptime {
        let look = self.looked_at.plus(LOOK);
        let owed = self.owed.then(|| self.reported_at.plus(LEAST_PAUSE));
        owed.map_or(look, |owed| owed.min(look))
    }

    /// What to keep over a restart.
    pub fn saved(&self) -> Saved {
        let kept = |(id, one): (&SensorId, &One)| (id.clone(), one.kept.clone());
        Saved {
            findings: self.board.findings(),
            sensors: self.sensors.iter().map(kept).collect(),
            radio: self.scanner.usual().clone(),
        }
    }

    fn take(&mut self, event: Event, now: Timestamp, up: Uptime) -> Touched {
        match event {
            Event::Reading(reading) => {
                self.with(&reading.sensor, |one| one.read(&reading, now, up));
                return Touched::Values(reading.sensor);
            }
            Event::Scan(scan) => {
                let lasting = self.hear(&scan, now, up);
                self.scanner.see(&scan, lasting, now, up);
            }
            Event::Connected { sensor, bond } => self.with(&sensor, |one| {
                let wanted = one.listed.ble.as_ref().and_then(|ble| ble.bond);
                one.bond.connected(wanted, bond, now);
            }),
            Event::BondRefused { sensor } => self.with(&sensor, |one| one.bond.refused(now)),
            Event::Told {
                sensor,
                firmware,
                battery,
            } => {
                self.with(&sensor, |one| {
                    if let Some(revision) = firmware {
                        one.kept.firmware.see(&short_firmware(&revision), now);
                    }
                    if let Some(level) = battery {
                        one.kept.battery.see(level, now);
                    }
                });
                return Touched::Facts;
            }
            Event::Session { sensor, session } => {
                self.with(&sensor, |one| one.session.see(session, now, up));
            }
            Event::WriteRefused { sensor, said } => self.with(&sensor, |one| one.write.see(said, now, up)),
            Event::Habits(habits) => {
                self.habits = habits;
                self.allow();
            }
            Event::Listed(listed) => {
                self.list(listed, up);
                return Touched::Facts;
            }
            Event::Tick => {}
        }
        Touched::Nothing
    }

    fn with(&mut self, sensor: &SensorId, act: impl FnOnce(&mut One)) {
        if let Some(one) = self.sensors.get_mut(sensor) {
            act(one);
        }
    }

    /// Adverts of listed sensors say how these look; the others are compared with that. True when one of the others
    /// keeps its address.
    fn hear(&mut self, scan: &Scan, now: Timestamp, up: Uptime) -> bool {
        let mut lasting = false;
        for advert in &scan.heard {
            let own = self.sensors.values_mut().find(|one| {
                let ble = one.listed.ble.as_ref();
                ble.is_some_and(|ble| ble.address == advert.address)
            });
            if let Some(one) = own {
                nearby::Face::learn(&mut one.kept.face, advert);
                self.nearby.listed(advert.address);
            } else {
                lasting |= nearby::lasts(advert);
                self.nearby.see(advert, now, up);
            }
        }
        lasting
    }

    fn allow(&mut self) {
        for (id, one) in &mut self.sensors {
            one.silence
                .allow(self.habits.pace(id, one.listed.pace).silent_after);
        }
    }

    fn list(&mut self, listed: Vec<Listed>, up: Uptime) {
        let mut old = std::mem::take(&mut self.sensors);
        for listed in listed {
            let one = match old.remove(&listed.sensor) {
                Some(one) if one.listed == listed => one,
                Some(one) if one.listed.ble.as_ref().map(|b| b.at) == listed.ble.as_ref().map(|b| b.at) => {
                    One { listed, ..one }
                }
                // Another device under the same name, or the same device associated anew: nothing is held against it.
                _ => One::new(listed, SavedSensor::default(), up),
            };
            self.sensors.insert(one.listed.sensor.clone(), one);
        }
        self.allow();
        self.forget_strangers();
    }

    /// Findings about sensors that are no longer listed are over, and so are those about addresses that now are.
    fn forget_strangers(&mut self) {
        let sensors = &self.sensors;
        self.board.retain(|key| {
            let known = key.sensor.as_ref().is_none_or(|id| sensors.contains_key(id));
            let own = |address: BleAddress| {
                let mut ble = sensors.values().filter_map(|one| one.listed.ble.as_ref());
                ble.any(|ble| ble.address == address)
            };
            known && !key.address.is_some_and(own)
        });
    }

    /// Asks the detectors of one sensor; true when something new stands.
    fn look_at(&mut self, sensor: &SensorId, now: Timestamp, up: Uptime) -> bool {
        let Some(one) = self.sensors.get(sensor) else {
            return false;
        };
        let mut raised = false;
        for (suspicion, finds) in one.finds(now, up) {
            raised |= self.board.set(Key::of_sensor(suspicion, sensor.clone()), finds);
        }
        raised
    }

    /// Asks every detector; true when something new stands.
    fn look(&mut self, now: Timestamp, up: Uptime) -> bool {
        self.looked_at = up;
        let mut raised = false;
        for (id, one) in &self.sensors {
            for (suspicion, finds) in one.finds(now, up) {
                raised |= self.board.set(Key::of_sensor(suspicion, id.clone()), finds);
            }
        }
        let key = Key::of_box(Suspicion::ScannerStopped);
        raised |= self.board.set(key, self.scanner.finds(now, up));
        let faces = self
            .sensors
            .iter()
            .filter_map(|(id, one)| Some((id, one.kept.face.as_ref()?)));
        for (key, finds) in self.nearby.finds(&faces.collect::<Vec<_>>(), up) {
            raised |= self.board.set(key, finds);
        }
        self.board.expire(up);
        raised
    }

    fn report(&mut self, now: Timestamp, up: Uptime) -> WatchReport {
        let (findings, more) = self.board.listed();
        let devices = self.sensors.values().filter_map(One::facts);
        let report = WatchReport {
            taken_at: now,
            findings,
            more,
            devices: devices.take(MAX_SENSORS).collect(),
        };
        self.reported = report.clone();
        self.reported_at = up;
        report
    }

    /// Whether a report would say something that the last one did not.
    fn differs(&self) -> bool {
        let (findings, more) = self.board.listed();
        let devices = self.sensors.values().filter_map(One::facts).take(MAX_SENSORS);
        findings != self.reported.findings
            || more != self.reported.more
            || !devices
                .map(Essence)
                .eq(self.reported.devices.iter().cloned().map(Essence))
    }
}

/// A device's facts, equal when they differ by a little charge only.
struct Essence(DeviceFacts);

impl PartialEq for Essence {
    fn eq(&self, other: &Essence) -> bool {
        let close = match (self.0.battery, other.0.battery) {
            (Some(a), Some(b)) => a.abs_diff(b) < BATTERY_STEP,
            (a, b) => a == b,
        };
        let (mut one, mut two) = (self.0.clone(), other.0.clone());
        (one.battery, two.battery) = (None, None);
        close && one == two
    }
}

fn short_firmware(text: &ShortText) -> ShortText {
    let mut end = text.as_str().len().min(MAX_FIRMWARE);
    while !text.as_str().is_char_boundary(end) {
        end -= 1;
    }
    ShortText::cut(&text.as_str()[..end])
}

#[cfg(test)]
mod tests;
