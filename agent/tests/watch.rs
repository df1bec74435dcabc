//! The sensor watch, measured: how often it is wrong about healthy homes, and how soon it finds each fault.
//!
//! The same homes are lived twice: as they are, and with one fault put in. A detector that is too eager fails the
//! first test, one that is too slow or deaf the second.
#![expect(
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap,
    clippy::cast_precision_loss,
    clippy::cast_sign_loss,
    reason = "tests: a simulation whose numbers are small"
)]

#[path = "watch/dice.rs"]
mod dice;
#[path = "watch/fault.rs"]
mod fault;
#[path = "watch/home.rs"]
mod home;
#[path = "watch/radio.rs"]
mod radio;

use std::collections::{BTreeMap, BTreeSet};

use fault::{Fault, Fitted};
use home::{DAY, DEVICES, Home, START};
use homeward_agent::watch::{Event, Saved, Watch};
use homeward_protocol::bond::BleAddress;
use homeward_protocol::id::SensorId;
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::watch::{Suspicion, WatchReport};

/// What a finding is about.
type What = (Suspicion, Option<SensorId>, Option<BleAddress>);

/// A finding as it was first told.
#[derive(Debug, Clone)]
struct Found {
    what: What,
    minute: u64,
    said: String,
}

/// A home, its watch, and what has been told.
struct Story {
    home: Home,
    fault: Option<Fitted>,
    watch: Watch,
    booted: i64,
    stands: BTreeSet<What>,
    found: Vec<Found>,
    reports: usize,
    last_value: BTreeMap<SensorId, u64>,
}

impl Story {
    fn new(seed: u64, fault: Option<Fitted>) -> Story {
        let home = Home::new(seed);
        let now = Timestamp::synced(START);
        let (watch, first) = Watch::resume(Home::listed(), Saved::default(), now, Uptime(0));
        assert!(first.findings.is_empty());
        Story {
            home,
            fault,
            watch,
            booted: START,
            stands: BTreeSet::new(),
            found: Vec::new(),
            reports: 1,
            last_value: BTreeMap::new(),
        }
    }

    /// Lives until this is told, at most so many days.
    fn until(&mut self, what: &(Suspicion, Option<SensorId>), days: u64) -> Option<Found> {
        for minute in 0..days * DAY {
            self.minute(minute);
            let told = self
                .found
                .iter()
                .find(|f| (f.what.0, &f.what.1) == (what.0, &what.1));
            if let Some(found) = told {
                return Some(found.clone());
            }
        }
        None
    }

    fn minute(&mut self, minute: u64) {
        // Once a week the box restarts at night, as after an update of its system.
        if minute % (7 * DAY) == 3 * DAY + 180 {
            self.restart(minute);
        }
        let start = START + minute as i64 * 60_000;
        let mut events = self.home.live();
        if let Some(fault) = &mut self.fault {
            fault.change(minute, &mut events);
        }
        for told in events {
            if let Event::Reading(reading) = &told.event {
                self.last_value.insert(reading.sensor.clone(), minute);
            }
            self.tell(told.event, start + told.second * 1000, minute);
        }
        self.tell(Event::Tick, start + 59_900, minute);
    }

    fn tell(&mut self, event: Event, ms: i64, minute: u64) {
        let up = Uptime((ms - self.booted) as u64);
        if let Some(report) = self.watch.handle(event, Timestamp::synced(ms), up) {
            self.note(&report, minute);
        }
    }

    fn note(&mut self, report: &WatchReport, minute: u64) {
        self.reports += 1;
        let mut now = BTreeSet::new();
        for finding in &report.findings {
            let what = (finding.suspicion, finding.sensor.clone(), finding.address);
            if !self.stands.contains(&what) {
                self.found.push(Found {
                    what: what.clone(),
                    minute,
                    said: finding.said.as_str().to_owned(),
                });
            }
            now.insert(what);
        }
        self.stands = now;
    }

    fn restart(&mut self, minute: u64) {
        let kept = serde_json::to_string(&self.watch.saved()).expect("it is kept as JSON");
        let saved = serde_json::from_str(&kept).expect("it reads back");
        self.booted = START + minute as i64 * 60_000 - 20_000;
        let now = Timestamp::synced(self.booted + 20_000);
        let (watch, report) = Watch::resume(Home::listed(), saved, now, Uptime(20_000));
        self.watch = watch;
        self.note(&report, minute);
    }

    /// A silence that was told of a sensor that truly gave nothing for the time its profile allows.
    fn was_silent(found: &Found, silences: &BTreeMap<(SensorId, u64), u64>) -> bool {
        let (Suspicion::Silent, Some(sensor), _) = &found.what else {
            return false;
        };
        let listed = Home::listed()
            .into_iter()
            .find(|l| l.sensor == *sensor)
            .expect("listed");
        let quiet = silences
            .get(&(sensor.clone(), found.minute))
            .copied()
            .unwrap_or(0);
        quiet + 1 >= listed.pace.silent_after.as_secs() / 60
    }
}

/// What one healthy home makes the watch say: wrongly, and of true silences.
fn healthy(seed: u64, days: u64) -> (Vec<Found>, usize, usize) {
    let mut story = Story::new(seed, None);
    let mut silences = BTreeMap::new();
    for minute in 0..days * DAY {
        let before = story.found.len();
        story.minute(minute);
        for found in &story.found[before..] {
            if let (Suspicion::Silent, Some(sensor), _) = &found.what {
                let last = story.last_value.get(sensor).copied().unwrap_or(0);
                silences.insert((sensor.clone(), minute), minute - last);
            }
        }
    }
    let (silent, wrong): (Vec<Found>, Vec<Found>) = story
        .found
        .iter()
        .cloned()
        .partition(|f| Story::was_silent(f, &silences));
    (wrong, silent.len(), story.reports)
}

#[test]
fn a_thousand_healthy_device_days_give_at_most_ten_false_findings() {
    // 1,008 device-days where nothing is optimized, ten times as many where it is.
    let (homes, days) = if cfg!(debug_assertions) { (8, 14) } else { (40, 28) };
    let mut wrong = Vec::new();
    let (mut silent, mut reports) = (0, 0);
    for seed in 0..homes {
        let (found, true_silences, told) = healthy(seed, days);
        wrong.extend(found.into_iter().map(|f| (seed, f)));
        silent += true_silences;
        reports += told;
    }
    let device_days = homes * days * DEVICES;
    println!(
        "{} false findings, {silent} true silences and {reports} reports on {device_days} healthy device-days",
        wrong.len()
    );
    for (seed, found) in &wrong {
        println!(
            "home {seed}, day {}: {:?} {}",
            found.minute / DAY,
            found.what,
            found.said
        );
    }
    assert!(device_days >= 1000);
    assert!(
        wrong.len() as u64 * 1000 <= 10 * device_days,
        "{} false findings",
        wrong.len()
    );
    assert!(
        reports as u64 <= 4 * homes * days,
        "{reports} reports are a stream"
    );
}

/// The fault is told within its interval in each of several homes, and is not told before it begins.
fn found_in_time(fault: Fault) {
    let mut slowest = (0, 0);
    for seed in 0..4 {
        let begins = fault.begins(seed);
        let mut story = Story::new(seed, Some(Fitted::new(fault, begins)));
        let within = fault.within(story.home.is_lonely());
        slowest.1 = slowest.1.max(within);
        // A cuff may rest for some days before the fault can show.
        let days = begins / DAY + 10 + within.div_ceil(DAY);
        let found = story.until(&fault.what(), days);
        let found =
            found.unwrap_or_else(|| panic!("home {seed}: {fault:?} was not found: {:?}", story.found));
        assert!(
            found.minute >= begins,
            "home {seed}: {fault:?} was told before it was: {found:?}"
        );
        let took = found.minute - story.fault.as_ref().expect("fitted").began();
        assert!(
            took <= within,
            "home {seed}: {fault:?} took {took} minutes: {found:?}"
        );
        slowest.0 = slowest.0.max(took);
    }
    println!(
        "{fault:?}: told within {} minutes, promised within {}",
        slowest.0, slowest.1
    );
}

macro_rules! faults {
    ($($name:ident: $fault:expr,)*) => {
        $(#[test] fn $name() { found_in_time($fault); })*
    };
}

faults! {
    a_frozen_glucose_sensor_is_found_within_its_hours: Fault::FrozenGlucose,
    a_frozen_pulse_is_found_within_an_hour_of_wearing: Fault::FrozenPulse,
    a_frozen_heart_rate_is_found_within_its_hours: Fault::FrozenHeart,
    a_frozen_room_thermometer_is_found_within_a_day: Fault::FrozenRoom,
    a_frozen_carbon_dioxide_sensor_is_found_within_two_hours: Fault::FrozenAir,
    a_frozen_freezer_is_found_within_a_day: Fault::FrozenFreezer,
    a_cuff_that_repeats_itself_is_found_after_five_measurements: Fault::FrozenCuff,
    a_silent_freezer_is_found_when_its_profile_says: Fault::SilentFreezer,
    a_silent_glucose_sensor_is_found_when_its_profile_says: Fault::SilentGlucose,
    a_sensor_worn_beyond_its_life_is_found_at_its_next_word: Fault::SessionOver,
    an_impossible_change_is_found_at_once: Fault::Jump,
    a_sensor_clock_that_is_set_wrong_is_found_at_the_next_measurement: Fault::ClockSetWrong,
    a_sensor_clock_that_fell_back_for_years_is_found_at_the_next_measurement: Fault::ClockReset,
    a_scan_that_stopped_is_found_within_a_quarter_of_an_hour: Fault::ScanStopped,
    a_deaf_radio_is_found_within_half_an_hour_where_radios_are_many: Fault::ScanDeaf,
    a_battery_that_falls_fast_is_found_within_three_days: Fault::BatteryFalls,
    an_empty_battery_is_found_at_once: Fault::BatteryEmpty,
    another_firmware_is_found_at_the_next_connection: Fault::Firmware,
    an_unlisted_device_that_stays_is_found_within_hours: Fault::Unlisted,
    a_look_alike_is_found_in_minutes: Fault::LookAlike,
    a_lost_bond_is_found_at_once: Fault::BondLost,
    a_weaker_bond_is_found_at_once: Fault::BondWeaker,
    a_moved_cable_is_found_in_three_polls: Fault::OtherDevice,
    a_refused_write_is_told_at_once: Fault::WriteRefused,
}
