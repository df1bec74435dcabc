//! Faults, one at a time, put into a home that is otherwise as it was.

use homeward_agent::watch::{Event, Session};
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::grade::Reason;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::reading::{Kind, Value};
use homeward_protocol::watch::Suspicion;

use crate::home::{BOND, DAY, Told, address, advert};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    FrozenGlucose,
    FrozenPulse,
    FrozenHeart,
    FrozenRoom,
    FrozenAir,
    FrozenFreezer,
    FrozenCuff,
    SilentFreezer,
    SilentGlucose,
    SessionOver,
    Jump,
    ClockSetWrong,
    ClockReset,
    ScanStopped,
    ScanDeaf,
    BatteryFalls,
    BatteryEmpty,
    Firmware,
    Unlisted,
    LookAlike,
    BondLost,
    BondWeaker,
    OtherDevice,
    WriteRefused,
}

const HOUR: u64 = 60;

impl Fault {
    /// What has to be told.
    pub(crate) fn what(self) -> (Suspicion, Option<SensorId>) {
        use Fault as F;
        let (suspicion, sensor) = match self {
            F::FrozenGlucose => (Suspicion::Frozen, "glucose"),
            F::FrozenPulse => (Suspicion::Frozen, "oximeter"),
            F::FrozenHeart => (Suspicion::Frozen, "wrist"),
            F::FrozenRoom => (Suspicion::Frozen, "climate"),
            F::FrozenAir => (Suspicion::Frozen, "air"),
            F::FrozenFreezer => (Suspicion::Frozen, "freezer"),
            F::FrozenCuff => (Suspicion::Frozen, "cuff"),
            F::SilentFreezer => (Suspicion::Silent, "freezer"),
            F::SilentGlucose => (Suspicion::Silent, "glucose"),
            F::SessionOver => (Suspicion::SessionExpired, "glucose"),
            F::Jump => (Suspicion::ImpossibleChange, "climate"),
            F::ClockSetWrong | F::ClockReset => (Suspicion::ClockShift, "cuff"),
            F::ScanStopped | F::ScanDeaf => (Suspicion::ScannerStopped, ""),
            F::BatteryFalls | F::BatteryEmpty => (Suspicion::BatteryFalling, "oximeter"),
            F::Firmware => (Suspicion::FirmwareChanged, "cuff"),
            F::Unlisted => (Suspicion::UnlistedDevice, ""),
            F::LookAlike => (Suspicion::LookAlike, "cuff"),
            F::BondLost | F::BondWeaker => (Suspicion::BondChanged, "cuff"),
            F::OtherDevice => (Suspicion::OtherDevice, "climate"),
            F::WriteRefused => (Suspicion::WriteRefused, "ups"),
        };
        (suspicion, sensor.parse().ok())
    }

    /// The stated interval, in minutes, with what the person's use adds: a cuff is used once a day at least, most days.
    pub(crate) const fn within(self, lonely: bool) -> u64 {
        match self {
            // Four hours in mmol/L; a missed value or an outing may stand before it.
            Fault::FrozenGlucose => 4 * HOUR + 15,
            Fault::FrozenPulse | Fault::SilentFreezer => HOUR + 2,
            // Ten hours when it stuck at a multiple of five.
            Fault::FrozenHeart => 10 * HOUR + 5,
            Fault::FrozenRoom | Fault::FrozenFreezer => DAY + 5,
            Fault::FrozenAir => 2 * HOUR + 5,
            Fault::FrozenCuff => 9 * DAY,
            Fault::SilentGlucose => 12 * HOUR + 6,
            Fault::SessionOver => 6,
            Fault::Jump | Fault::WriteRefused | Fault::BatteryEmpty | Fault::Firmware => 1,
            Fault::ClockSetWrong | Fault::ClockReset | Fault::BondLost | Fault::BondWeaker => 0,
            Fault::ScanStopped => 13,
            // Where nobody else's radios are.
            Fault::ScanDeaf if lonely => 4 * DAY + 3,
            Fault::ScanDeaf => 33,
            Fault::BatteryFalls => 3 * DAY,
            Fault::Unlisted => 2 * HOUR + 10,
            Fault::LookAlike => 14,
            Fault::OtherDevice => 5,
        }
    }

    /// When it begins: at a time of day when the device is in use, on a day when everybody is at home.
    pub(crate) const fn begins(self, seed: u64) -> u64 {
        let day = match self {
            // A week of the battery must be known, and three days before it.
            Fault::BatteryFalls => 11 * DAY,
            Fault::FrozenCuff => DAY,
            // Days of the radio must be known; a Thursday.
            _ => 3 * DAY,
        };
        let time = match self {
            Fault::FrozenPulse => 60,
            Fault::FrozenGlucose | Fault::FrozenHeart | Fault::SilentGlucose => 20 * HOUR,
            _ => 14 * HOUR,
        };
        day + time + seed * 3
    }
}

/// A fault in a home.
pub(crate) struct Fitted {
    fault: Fault,
    begins: u64,
    began: Option<u64>,
    stuck: Vec<(Kind, Value)>,
    full: Option<u8>,
    done: bool,
}

impl Fitted {
    pub(crate) const fn new(fault: Fault, begins: u64) -> Fitted {
        Fitted {
            fault,
            begins,
            began: None,
            stuck: Vec::new(),
            full: None,
            done: false,
        }
    }

    /// When it first touched something that the gateway sees.
    pub(crate) fn began(&self) -> u64 {
        self.began.unwrap_or(self.begins)
    }

    pub(crate) fn change(&mut self, minute: u64, events: &mut Vec<Told>) {
        if minute < self.begins {
            return;
        }
        let about = self.fault.what().1;
        if let Some(event) = self.added(minute) {
            self.began.get_or_insert(minute);
            events.push(Told { second: 45, event });
        }
        let (fault, mut touched) = (self.fault, false);
        events.retain_mut(|told| {
            let before = told.event.clone();
            let keep = self.touch(fault, about.as_ref(), minute, &mut told.event);
            touched |= !keep || before != told.event;
            keep
        });
        if touched {
            self.began.get_or_insert(minute);
        }
    }

    /// False when the event does not reach the gateway.
    fn touch(&mut self, fault: Fault, about: Option<&SensorId>, minute: u64, event: &mut Event) -> bool {
        use Fault as F;
        match (fault, event) {
            (
                F::FrozenGlucose
                | F::FrozenPulse
                | F::FrozenHeart
                | F::FrozenRoom
                | F::FrozenAir
                | F::FrozenFreezer
                | F::FrozenCuff,
                Event::Reading(r),
            ) if Some(&r.sensor) == about => match self.stuck.iter().find(|(kind, _)| *kind == r.kind) {
                Some((_, value)) => r.value = *value,
                None => self.stuck.push((r.kind, r.value)),
            },
            (F::SilentFreezer | F::SilentGlucose, Event::Reading(r)) if Some(&r.sensor) == about => {
                return false;
            }
            (F::SessionOver, Event::Session { session, .. }) => {
                let life = session.life.expect("it says so");
                *session = Session {
                    age: session.age + life,
                    ..*session
                };
            }
            (F::Jump, Event::Reading(r)) if Some(&r.sensor) == about && !self.done => {
                if let (Kind::AirTemperature, Value::Number(n)) = (r.kind, r.value) {
                    let up = homeward_protocol::unit::Decimal::new(n.mantissa() + 250, n.exponent());
                    r.value = Value::Number(up.expect("small"));
                    self.done = true;
                }
            }
            (F::ClockSetWrong | F::ClockReset, Event::Reading(r)) if Some(&r.sensor) == about => {
                let by: i64 = if fault == F::ClockReset {
                    -3500 * 86_400_000
                } else {
                    10 * 60_000
                };
                if let Some(clock) = &mut r.details.sensor_clock {
                    clock.ahead_ms = clock.ahead_ms.map(|ahead| ahead + by);
                }
            }
            (F::ScanStopped, Event::Scan(_)) => return false,
            (F::ScanDeaf, Event::Scan(scan)) => scan.heard.clear(),
            (F::BatteryFalls, Event::Told { sensor, battery, .. }) if Some(&*sensor) == about => {
                let from = *self.full.get_or_insert(battery.unwrap_or(100));
                let days = (minute - *self.began.get_or_insert(minute)) as f64 / DAY as f64;
                *battery = Some((f64::from(from) - 12.0 * days).max(0.0) as u8);
            }
            (F::BatteryEmpty, Event::Told { sensor, battery, .. }) if Some(&*sensor) == about => {
                *battery = Some(8);
            }
            (F::Firmware, Event::Told { sensor, firmware, .. }) if Some(&*sensor) == about => {
                *firmware = Some(ShortText::cut("9.9"));
            }
            (F::Unlisted, Event::Scan(scan)) => {
                scan.heard
                    .push(advert(BleAddress([0xC9; 6]), "Other", 0x181F, -60.0));
            }
            (F::LookAlike, Event::Scan(scan)) => {
                scan.heard.push(advert(address(1), "UA-651BLE_A1", 0x1810, -60.0));
                scan.heard
                    .push(advert(BleAddress([0xC7; 6]), "UA-651BLE_A1", 0x1810, -60.0));
            }
            (F::BondWeaker, Event::Connected { bond, .. }) => {
                *bond = Some(Bond {
                    class: KeyClass::SecureUnauthenticated,
                    ..BOND
                });
            }
            (F::OtherDevice, Event::Reading(r)) if Some(&r.sensor) == about => {
                r.details.reasons.push(Reason::OtherDevice);
            }
            _ => {}
        }
        true
    }

    /// What happens beside.
    fn added(&mut self, minute: u64) -> Option<Event> {
        let sensor = self.fault.what().1;
        let event = match self.fault {
            Fault::BondLost if minute == self.begins => Event::BondRefused { sensor: sensor? },
            Fault::WriteRefused if minute == self.begins => Event::WriteRefused {
                sensor: sensor?,
                said: ShortText::cut("192.0.2.9 wanted to write register 40001"),
            },
            _ => return None,
        };
        Some(event)
    }
}
