//! A home with its person, its devices and its neighbours, minute by minute. Nothing in it is broken.
//!
//! What it holds, because detectors trip over it: circadian bodies, flat nights of a glucose sensor, a pacemaker, a
//! saturation at the end of its scale, a cuff a few times a day, nights with an oximeter and without, artefacts that
//! the device marks, whole-number displays, a power supply that stands still for weeks, an unheated room, carbon
//! dioxide at the clamp of its sensor, missed readings, outings, weekends away, a visiting nurse with a cuff of her
//! own, neighbours behind walls, coarse battery displays, rechargeables, quartz that drifts, the end of summer time,
//! and an agent that is restarted.

use std::time::Duration;

use homeward_agent::sense::Pace;
use homeward_agent::watch::{Associated, Event, Listed, Scan, Session};
use homeward_devices::link::ble::{AddressKind, Advert};
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::reading::{Details, Kind, Mark, Quality, Reading, SensorClock, Sent, State, Value};
use homeward_protocol::time::Timestamp;
use homeward_protocol::unit::{Decimal, Unit};

use crate::dice::{Dice, Wander};

/// 2026-10-19, a Monday, 00:00 UTC: summer time ends on the first Sunday.
pub(crate) const START: i64 = 1_792_368_000_000;
const SUMMER_ENDS: i64 = 1_792_890_000_000;
const MINUTE: i64 = 60_000;
pub(crate) const DAY: u64 = 24 * 60;
/// How long a glucose sensor lives.
const SESSION: u64 = 10 * DAY;
/// Minutes between the change of a glucose sensor and its first value.
const WARM_UP: u64 = 120;
/// Devices of one home.
pub(crate) const DEVICES: u64 = 9;

/// What is said at which second of a minute.
pub(crate) struct Told {
    pub(crate) second: i64,
    pub(crate) event: Event,
}

pub(crate) struct Home {
    dice: Dice,
    minute: u64,
    events: Vec<Told>,
    // Who lives here.
    paced: bool,
    on_oxygen: bool,
    diabetic: bool,
    lonely: bool,
    away: std::ops::Range<u64>,
    out_until: u64,
    // What is wandering.
    glucose: Wander,
    sensed: f64,
    heart: Wander,
    pulse: Wander,
    saturation: Wander,
    amplitude: Wander,
    pressure: Wander,
    weight: Wander,
    room: Wander,
    damp: Wander,
    carbon: f64,
    // How the devices are.
    in_mmol: bool,
    cuff_step: f64,
    fine_humidity: bool,
    clamped: bool,
    heated: bool,
    session_began: u64,
    wearing_oximeter: bool,
    cuff_times: Vec<u64>,
    cuff_clock: f64,
    cuff_drift: f64,
    phone_sets_cuff: bool,
    batteries: [f64; 4],
    coarse: [f64; 4],
    neighbours: Vec<(BleAddress, f64, &'static str, u16)>,
    nurse_until: u64,
}

fn id(name: &str) -> SensorId {
    name.parse().expect("an id")
}

pub(crate) fn address(n: u8) -> BleAddress {
    BleAddress([0xC1, 0, 0, 0, 0, n])
}

pub(crate) const BOND: Bond = Bond {
    class: KeyClass::SecureAuthenticated,
    key_size: 16,
};

/// The BLE sensors: name, address, name in adverts, service, days without a value that its profile allows.
const BLE: [(&str, u8, &str, u16, u64); 5] = [
    ("cuff", 1, "UA-651BLE_A1", 0x1810, 5),
    ("oximeter", 2, "Nonin3230_5021", 0x1822, 5),
    ("glucose", 3, "CGM-7Q", 0x181F, 0),
    ("wrist", 4, "HR Band", 0x180D, 0),
    ("scale", 5, "UC-352BLE", 0x181D, 10),
];

impl Home {
    pub(crate) fn new(seed: u64) -> Home {
        let mut dice = Dice::new(seed);
        let mut neighbours = Vec::new();
        let lonely = dice.happens(0.3);
        for n in 0..if lonely { 0 } else { 6 + dice.below(20) } {
            let strength = dice.between(-97.0, -78.0);
            let what = [
                ("TV", 0),
                ("HR Band", 0x180D),
                ("UA-651BLE_77", 0x1810),
                ("", 0),
                ("CGM-7Q", 0x181F),
            ];
            let (name, service) = what[dice.below(5) as usize];
            neighbours.push((BleAddress([0xD0, 0, 0, 0, 1, n as u8]), strength, name, service));
        }
        Home {
            minute: 0,
            events: Vec::new(),
            paced: seed % 8 == 1,
            on_oxygen: seed % 8 == 2,
            diabetic: dice.happens(0.6),
            lonely,
            away: 0..0,
            out_until: 0,
            glucose: Wander::default(),
            sensed: 110.0,
            heart: Wander::default(),
            pulse: Wander::default(),
            saturation: Wander::default(),
            amplitude: Wander::default(),
            pressure: Wander::default(),
            weight: Wander::default(),
            room: Wander::default(),
            damp: Wander::default(),
            carbon: 600.0,
            in_mmol: dice.happens(0.4),
            cuff_step: if dice.happens(0.3) { 2.0 } else { 1.0 },
            fine_humidity: dice.happens(0.5),
            clamped: dice.happens(0.5),
            heated: dice.happens(0.75),
            session_began: 0,
            wearing_oximeter: false,
            cuff_times: Vec::new(),
            cuff_clock: dice.normal(0.0, 60.0).clamp(-180.0, 180.0),
            cuff_drift: dice.normal(0.0, 1.5),
            phone_sets_cuff: dice.happens(0.5),
            batteries: [
                dice.between(30.0, 100.0),
                dice.between(30.0, 100.0),
                100.0,
                dice.between(40.0, 100.0),
            ],
            coarse: [25.0, 1.0, 10.0, 1.0],
            neighbours,
            nurse_until: 0,
            dice,
        }
    }

    /// What the gateway watches.
    pub(crate) fn listed() -> Vec<Listed> {
        let pace = |hours| Pace {
            interval: Duration::from_mins(1),
            silent_after: Duration::from_hours(hours),
        };
        let ble = BLE.map(|(name, n, .., days)| Listed {
            sensor: id(name),
            pace: pace(if days == 0 { 12 } else { days * 24 }),
            ble: Some(Associated {
                address: address(n),
                bond: (name != "wrist").then_some(BOND),
                at: Timestamp::synced(START),
            }),
        });
        let wires = [("climate", 1), ("ups", 1), ("freezer", 1), ("air", 1)].map(|(name, h)| Listed {
            sensor: id(name),
            pace: pace(h),
            ble: None,
        });
        ble.into_iter().chain(wires).collect()
    }

    /// Whether nobody else's devices are near.
    pub(crate) const fn is_lonely(&self) -> bool {
        self.lonely
    }

    pub(crate) fn now(&self) -> Timestamp {
        Timestamp::synced(START + i64::try_from(self.minute).expect("days") * MINUTE)
    }

    /// Whether the person and what is worn are beyond the gateway's radio.
    fn is_out(&self) -> bool {
        self.away.contains(&self.minute) || self.minute < self.out_until
    }

    /// Lives one minute, and gives what the gateway notices in it, in order.
    pub(crate) fn live(&mut self) -> Vec<Told> {
        self.events.clear();
        let (day, minute) = (self.minute / DAY, self.minute % DAY);
        if minute == 0 {
            self.plan_day(day);
        }
        self.go_out(day, minute);
        self.body(minute);
        self.cuff(minute);
        self.rooms(minute);
        self.wires();
        if self.minute.is_multiple_of(2) {
            self.scan();
        }
        if minute == 12 * 60 + 7 {
            self.batteries();
        }
        self.minute += 1;
        let mut events = std::mem::take(&mut self.events);
        events.sort_by_key(|told| told.second);
        events
    }

    fn plan_day(&mut self, day: u64) {
        let times = [7 * 60 + 30, 12 * 60, 20 * 60];
        let wanted = 1 + self.dice.below(3) as usize;
        self.cuff_times = times[..wanted].iter().map(|t| t + self.dice.below(60)).collect();
        self.wearing_oximeter = self.dice.happens(0.85);
        if day % 7 == 4 && self.dice.happens(0.35) {
            // From Friday 17:00 to Sunday evening, or Monday.
            let back = 2 * DAY + 3 * 60 + self.dice.below(15 * 60);
            let leaves = self.minute + 17 * 60;
            self.away = leaves..leaves + back;
        }
    }

    fn go_out(&mut self, day: u64, minute: u64) {
        if minute == 10 * 60 && self.dice.happens(0.5) {
            self.out_until = self.minute + 30 + self.dice.below(180);
        }
        if day % 7 == 2 && minute == 9 * 60 {
            self.nurse_until = self.minute + 25 + self.dice.below(30);
        }
    }

    fn say(&mut self, second: i64, event: Event) {
        self.events.push(Told { second, event });
    }

    fn value(&mut self, sensor: &str, second: i64, kind: Kind, value: Value, details: Details) {
        let reading = Reading {
            sensor: id(sensor),
            kind,
            value,
            taken_at: self.now().plus_ms(second * 1000),
            quality: Quality::Good,
            grade: Grade::Associated,
            details,
        };
        self.say(second, Event::Reading(reading));
    }

    /// A number in steps of 10^`exponent`.
    fn number(&mut self, sensor: &str, second: i64, kind: Kind, number: f64, exponent: i8) {
        let value = decimal(number, exponent);
        self.value(sensor, second, kind, value, Details::default());
    }

    fn body(&mut self, minute: u64) {
        let asleep = !(6 * 60 + 40..23 * 60).contains(&minute);
        let turn = (minute as f64 / DAY as f64 - 0.63) * std::f64::consts::TAU;
        let sway = if asleep { 2.5 } else { 9.0 };
        let heart = 64.0 + 7.0 * turn.cos() + self.heart.step(&mut self.dice, 1.0, sway, 12.0);
        let heart = if self.paced {
            (heart - if asleep { 8.0 } else { 0.0 }).max(60.0)
        } else {
            heart
        };
        if !self.is_out() && !self.dice.happens(0.02) {
            let skipped = self.paced && self.dice.happens(0.01);
            let noise = if self.paced && heart <= 60.0 {
                f64::from(skipped)
            } else {
                self.dice.normal(0.0, 1.2)
            };
            self.number("wrist", 5, Kind::HeartRate, heart + noise, 0);
        }
        self.glucose(minute, asleep);
        if self.wearing_oximeter && !self.is_out() && asleep && !(6 * 60..23 * 60).contains(&minute) {
            self.oximeter(heart);
        }
        if !self.is_out() && minute == 7 * 60 + 15 && self.dice.happens(0.8) {
            let weight = 78.0 + self.weight.step(&mut self.dice, 1440.0, 0.8, 6000.0);
            let weight = weight + self.dice.normal(0.0, 0.25);
            self.number("scale", 20, Kind::BodyWeight, weight, -1);
        }
    }

    fn glucose(&mut self, minute: u64, asleep: bool) {
        let age = self.minute - self.session_began;
        if age >= SESSION {
            // Changed while it still counts, in the morning.
            self.session_began = self.minute;
            return;
        }
        if !self.minute.is_multiple_of(5) {
            return;
        }
        let meals: f64 = [8 * 60, 13 * 60, 19 * 60].iter().map(|m| meal(minute, *m)).sum();
        let (calm, high) = if self.diabetic { (14.0, 70.0) } else { (4.0, 25.0) };
        let calm = if asleep { calm * 0.6 } else { calm };
        let truth = 105.0 + high * meals + self.glucose.step(&mut self.dice, 5.0, calm, 90.0);
        let noisy = truth + self.dice.normal(0.0, 1.5);
        // What a sensor says is smoothed.
        self.sensed += 0.5 * (noisy - self.sensed);
        if age < WARM_UP || self.is_out() || self.dice.happens(0.03) {
            return;
        }
        let sensed = self.sensed.max(45.0);
        let (value, sent) = if self.in_mmol {
            let tenths = (sensed / 1.801_82).round() as i64;
            let sent = Sent {
                value: Decimal::new(tenths, -1).expect("small"),
                unit: Unit::MillimolePerLitre,
            };
            (Decimal::new(tenths * 180_182, -5).expect("small"), Some(sent))
        } else {
            (Decimal::new(sensed.round() as i64, 0).expect("small"), None)
        };
        let details = Details {
            sent,
            ..Details::default()
        };
        self.value("glucose", 30, Kind::TissueGlucose, Value::Number(value), details);
        let session = Session {
            age: Duration::from_mins(age),
            life: Some(Duration::from_mins(SESSION)),
            stopped: false,
        };
        self.say(
            31,
            Event::Session {
                sensor: id("glucose"),
                session,
            },
        );
    }

    fn oximeter(&mut self, heart: f64) {
        for second in (0..60).step_by(10) {
            let mean = if self.on_oxygen { 99.6 } else { 95.4 };
            let saturation = mean + self.saturation.step(&mut self.dice, 0.17, 0.9, 6.0);
            let pulse = heart
                + self
                    .pulse
                    .step(&mut self.dice, 0.17, if self.paced { 0.1 } else { 1.2 }, 1.0);
            let amplitude = 2.4 + self.amplitude.step(&mut self.dice, 0.17, 0.6, 10.0);
            let marks = if self.dice.happens(0.01) {
                vec![Mark::PoorSignal]
            } else {
                Vec::new()
            };
            let slip = if marks.is_empty() {
                0.0
            } else {
                self.dice.between(0.0, 45.0)
            };
            let details = Details {
                marks,
                ..Details::default()
            };
            let three = [
                (Kind::OxygenSaturation, (saturation - slip).min(100.0), 0),
                (Kind::PulseRate, pulse + slip, 0),
                (Kind::PulseAmplitude, amplitude.max(0.2), -1),
            ];
            for (kind, number, exponent) in three {
                self.value(
                    "oximeter",
                    second,
                    kind,
                    decimal(number, exponent),
                    details.clone(),
                );
            }
        }
    }

    fn cuff(&mut self, minute: u64) {
        if !self.cuff_times.contains(&minute) || self.is_out() || self.dice.happens(0.1) {
            return;
        }
        let upper =
            131.0 + self.pressure.step(&mut self.dice, 480.0, 9.0, 2000.0) + self.dice.normal(0.0, 5.0);
        let lower = 60.0 + (upper - 80.0) * 0.35 + self.dice.normal(0.0, 3.0);
        let step = self.cuff_step;
        let [upper, lower] = [upper, lower].map(|p| (p / step).round() * step);
        let days = self.minute as f64 / DAY as f64;
        let zone = if self.phone_sets_cuff && self.now().ms >= SUMMER_ENDS {
            3600.0
        } else {
            7200.0
        };
        // Measured up to a minute and a half before it is told.
        let late = self.dice.between(2.0, 90.0);
        let ahead = (zone + self.cuff_clock + self.cuff_drift * days - late) * 1000.0;
        let clock = SensorClock {
            at_ms: self.now().ms + ahead as i64,
            ahead_ms: Some(ahead as i64),
        };
        let details = Details {
            sensor_clock: Some(clock),
            ..Details::default()
        };
        let pulse = self.dice.normal(70.0, 5.0);
        let bond = Some(BOND);
        self.say(
            39,
            Event::Connected {
                sensor: id("cuff"),
                bond,
            },
        );
        for (kind, value) in [
            (Kind::SystolicPressure, decimal(upper, 0)),
            (Kind::DiastolicPressure, decimal(lower, 0)),
            (Kind::MeanPressure, Value::Absent),
            (Kind::PulseRate, decimal(pulse, 0)),
        ] {
            self.value("cuff", 40, kind, value, details.clone());
        }
    }

    fn rooms(&mut self, minute: u64) {
        let home = !self.is_out();
        let night = !(6 * 60..22 * 60).contains(&minute);
        let away = self.away.contains(&self.minute);
        let warmth = if self.heated {
            let wave = (self.minute as f64 / 35.0).sin() * 0.25;
            let set = if away || night { 17.5 } else { 20.8 };
            set + wave + self.room.step(&mut self.dice, 1.0, 0.3, 180.0)
        } else {
            // A well insulated room in mild weather.
            let sun = (minute as f64 / DAY as f64 * std::f64::consts::TAU).sin() * 0.25;
            19.4 + sun + self.room.step(&mut self.dice, 1.0, 0.35, 2000.0)
        };
        let damp = 47.0 + self.damp.step(&mut self.dice, 1.0, 4.0, 500.0);
        let wanted = if home {
            if night { 1150.0 } else { 800.0 }
        } else {
            412.0
        };
        self.carbon += (wanted - self.carbon) / 70.0;
        let carbon = self.carbon + self.dice.normal(0.0, 7.0);
        let carbon = if self.clamped {
            carbon.max(if self.carbon < 425.0 { 400.0 } else { 0.0 })
        } else {
            carbon
        };
        if self.dice.happens(0.002) {
            return;
        }
        let warmth = warmth + self.dice.normal(0.0, 0.03);
        self.number("climate", 10, Kind::AirTemperature, warmth, -1);
        let damp = damp + self.dice.normal(0.0, 0.15);
        self.number(
            "climate",
            10,
            Kind::RelativeHumidity,
            damp,
            if self.fine_humidity { -1 } else { 0 },
        );
        self.number("air", 12, Kind::CarbonDioxide, carbon, 0);
    }

    fn wires(&mut self) {
        if self.dice.happens(0.002) {
            return;
        }
        for (kind, number, exponent) in [
            (Kind::BatteryCharge, 100.0, 0),
            (Kind::BatteryVoltage, 27.2, -1),
            (Kind::BatteryCurrent, 0.0, -1),
            (Kind::DeviceTemperature, 26.0, 0),
            (Kind::TimeRemaining, 74.0, 0),
        ] {
            self.number("ups", 15, kind, number, exponent);
        }
        let state = Value::State(State::Floating);
        self.value("ups", 15, Kind::BatteryActivity, state, Details::default());
        let wave = (self.minute % 44) as f64 / 44.0;
        let cold = -20.5 + 2.2 * (wave - 0.5).abs() + self.dice.normal(0.0, 0.05);
        self.number("freezer", 25, Kind::StorageTemperature, cold, -1);
    }

    fn scan(&mut self) {
        let mut heard = Vec::new();
        for (name, n, shown, service, _) in BLE {
            let worn = matches!(name, "glucose" | "wrist");
            let used = self.dice.happens(0.01);
            if (worn && !self.is_out() && self.dice.happens(0.7)) || (!worn && !self.is_out() && used) {
                let rssi = self.dice.normal(-58.0, 6.0);
                heard.push(advert(address(n), shown, service, rssi));
            }
        }
        for (from, strength, name, service) in &self.neighbours {
            let rssi = self.dice.normal(*strength, 5.0);
            if rssi > -97.0 {
                heard.push(advert(*from, name, *service, rssi));
            }
        }
        if !self.lonely && self.dice.happens(0.2) {
            // Somebody passes in the street.
            let n = self.dice.bits().to_be_bytes();
            let from = BleAddress([0xC0 | n[0], n[1], n[2], n[3], n[4], n[5]]);
            heard.push(advert(from, "HR Band", 0x180D, self.dice.normal(-80.0, 8.0)));
        }
        if !self.is_out() {
            let n = self.dice.bits().to_be_bytes();
            let from = BleAddress([0x40 | (n[0] & 0x3f), n[1], n[2], n[3], n[4], n[5]]);
            let phone = Advert {
                kind: AddressKind::Resolvable,
                ..advert(from, "", 0, -50.0)
            };
            heard.push(phone);
        }
        if self.minute < self.nurse_until {
            let rssi = self.dice.normal(-55.0, 5.0);
            heard.push(advert(
                BleAddress([0xE0, 0, 0, 0, 0, 9]),
                "BP-Nurse",
                0x1810,
                rssi,
            ));
        }
        let every = Duration::from_mins(2);
        self.say(50, Event::Scan(Scan { every, heard }));
    }

    fn batteries(&mut self) {
        let names = ["cuff", "oximeter", "glucose", "wrist"];
        let fall = [0.15, 0.6, 0.9, 13.0];
        for n in 0..4 {
            self.batteries[n] -= fall[n] * self.dice.between(0.6, 1.4);
            let empty = if n == 3 { 30.0 } else { 14.0 };
            if self.batteries[n] < empty {
                self.batteries[n] = 100.0;
            }
            let level = (self.batteries[n] / self.coarse[n]).ceil() * self.coarse[n];
            let firmware = Some(ShortText::cut("1.4.2"));
            let battery = Some(level as u8);
            let sensor = id(names[n]);
            // What is not worn stays at home on an outing.
            let stays = n < 2 && !self.away.contains(&self.minute);
            if stays || !self.is_out() {
                self.say(
                    55,
                    Event::Told {
                        sensor,
                        firmware,
                        battery,
                    },
                );
            }
        }
    }
}

fn decimal(number: f64, exponent: i8) -> Value {
    let steps = (number / 10f64.powi(i32::from(exponent))).round() as i64;
    Value::Number(Decimal::new(steps, exponent).expect("small"))
}

/// How much of a meal is in the blood, 0 to 1: up in three quarters of an hour, down in three hours.
fn meal(minute: u64, at: u64) -> f64 {
    let since = (minute + DAY - at) % DAY;
    let hours = since as f64 / 60.0;
    (hours / 0.75).min(1.0) * (-(hours - 0.75).max(0.0) / 1.1).exp()
}

pub(crate) fn advert(address: BleAddress, name: &str, service: u16, rssi: f64) -> Advert {
    Advert {
        address,
        kind: AddressKind::Static,
        name: (!name.is_empty()).then(|| name.to_owned()),
        services: if service == 0 { Vec::new() } else { vec![service] },
        rssi: Some(rssi.round() as i16),
    }
}
