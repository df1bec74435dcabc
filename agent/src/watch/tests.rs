//! The faults of peers, replayed. How often the watch is wrong, and how soon it finds what, is measured in
//! `agent/tests/watch.rs`.

use homeward_protocol::grade::Grade;
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::rules::{PollEvery, SilentAfter};
use homeward_protocol::reading::{Details, Kind, Quality, SensorClock, Value};
use homeward_protocol::unit::Decimal;

use super::*;

const START: i64 = 1_795_000_000_000;
const MINUTE: u64 = 60_000;

fn id(name: &str) -> SensorId {
    name.parse().expect("an id")
}

fn listed(name: &str, silent_after: Duration) -> Listed {
    Listed {
        sensor: id(name),
        pace: Pace {
            interval: Duration::from_mins(1),
            silent_after,
        },
        ble: None,
    }
}

/// The habits of a policy that has these sensors asked each so many minutes, and silent after so many.
fn habits(asked: Vec<(&str, u32)>, silent: Vec<(&str, u16)>) -> Habits {
    let text = include_str!("../../../protocol/tests/policies/every-rule.toml");
    let mut policy = check(text).policy.expect("a policy");
    let every = |(name, minutes): (&str, u32)| PollEvery {
        sensor: id(name),
        interval_ms: minutes * 60_000,
    };
    policy.polling.as_mut().expect("ruled").every = asked.into_iter().map(every).collect();
    let after = |(name, minutes): (&str, u16)| SilentAfter {
        sensor: id(name),
        minutes,
    };
    policy.thresholds.as_mut().expect("ruled").silent = silent.into_iter().map(after).collect();
    Habits::of(Some(&policy))
}

/// A watch and its clock.
struct Desk {
    watch: Watch,
    up: Uptime,
    last: WatchReport,
    reports: usize,
}

impl Desk {
    fn new(silent_after: Duration) -> Desk {
        let up = Uptime(MINUTE);
        let now = Timestamp::synced(START);
        let sensors = vec![listed("glucose", silent_after), listed("cuff", silent_after)];
        let (watch, last) = Watch::resume(sensors, Saved::default(), now, up);
        Desk {
            watch,
            up,
            last,
            reports: 1,
        }
    }

    fn now(&self) -> Timestamp {
        Timestamp::synced(START + i64::try_from(self.up.0).expect("small"))
    }

    fn tell(&mut self, event: Event) {
        if let Some(report) = self.watch.handle(event, self.now(), self.up) {
            self.last = report;
            self.reports += 1;
        }
    }

    /// Lets minutes pass as the shell would.
    fn minutes(&mut self, minutes: u64) {
        for _ in 0..minutes {
            self.up = Uptime(self.up.0 + MINUTE);
            self.tell(Event::Tick);
        }
    }

    fn reading(&mut self, sensor: &str, kind: Kind, number: i64, details: Details) {
        let reading = Reading {
            sensor: id(sensor),
            kind,
            value: Value::Number(Decimal::whole(number)),
            taken_at: self.now(),
            quality: Quality::Good,
            grade: Grade::Associated,
            details,
        };
        self.tell(Event::Reading(reading));
    }

    fn stands(&self) -> Vec<Suspicion> {
        self.last.findings.iter().map(|f| f.suspicion).collect()
    }
}

const LONG: Duration = Duration::from_hours(24 * 30);

/// xdripswift #81: the same glucose was shown as current for hours.
#[test]
fn a_frozen_glucose_is_not_fresh_and_stays_so_until_it_moves_again() {
    let mut desk = Desk::new(LONG);
    for n in 0..26 {
        desk.reading("glucose", Kind::TissueGlucose, 142, Details::default());
        assert_eq!(desk.stands().is_empty(), n < 24, "value {n}");
        desk.minutes(5);
    }
    let finding = &desk.last.findings[0];
    assert_eq!(
        (finding.suspicion, finding.sensor.clone()),
        (Suspicion::Frozen, Some(id("glucose")))
    );
    assert_eq!(
        finding.since.ms,
        START + 60_000,
        "since the first of the equal values"
    );
    assert!(!finding.said.as_str().contains("142"), "a finding tells no value");
    // One jump to the next stuck value is no recovery.
    desk.reading("glucose", Kind::TissueGlucose, 150, Details::default());
    desk.minutes(5);
    assert_eq!(desk.stands(), [Suspicion::Frozen]);
    for number in [151, 149] {
        desk.reading("glucose", Kind::TissueGlucose, number, Details::default());
        desk.minutes(5);
    }
    assert_eq!(desk.stands(), []);
}

/// xDrip #1575: readings vanished because the sensor's clock differed.
#[test]
fn a_clock_difference_is_told_and_no_reading_is_lost_for_it() {
    let mut desk = Desk::new(LONG);
    let clock = |at: Timestamp, minutes: i64| Details {
        sensor_clock: Some(SensorClock {
            at_ms: at.ms + minutes * 60_000,
            ahead_ms: Some(minutes * 60_000),
        }),
        ..Details::default()
    };
    for minutes in [60, 59, 60] {
        desk.reading("cuff", Kind::SystolicPressure, 130, clock(desk.now(), minutes));
        desk.minutes(600);
    }
    assert_eq!(desk.stands(), [], "an hour is a zone");
    desk.reading("cuff", Kind::SystolicPressure, 128, clock(desk.now(), 68));
    assert_eq!(desk.stands(), [Suspicion::ClockShift]);
    desk.reading("cuff", Kind::SystolicPressure, 131, clock(desk.now(), 60));
    desk.minutes(2);
    assert_eq!(desk.stands(), [], "back where it was");
    desk.reading("cuff", Kind::SystolicPressure, 131, clock(desk.now(), 0));
    desk.minutes(2);
    assert_eq!(desk.stands(), [], "summer time ended");
    desk.reading(
        "cuff",
        Kind::SystolicPressure,
        131,
        clock(desk.now(), -6 * 525_600),
    );
    assert_eq!(desk.stands(), [Suspicion::ClockShift]);
}

/// home-assistant #90307 and #116898: a Bluetooth proxy stopped in silence.
#[test]
fn a_scanner_that_stops_is_found_in_any_home() {
    let mut desk = Desk::new(LONG);
    let every = Duration::from_mins(2);
    let heard = Vec::new();
    desk.tell(Event::Scan(Scan { every, heard }));
    desk.minutes(10);
    assert_eq!(desk.stands(), []);
    desk.minutes(1);
    assert_eq!(desk.stands(), [Suspicion::ScannerStopped]);
}

/// Nightscout #2063 and clock #63: stale data shown as fine.
#[test]
fn silence_is_told_and_ends_with_the_next_value() {
    let mut desk = Desk::new(Duration::from_mins(20));
    desk.reading("cuff", Kind::SystolicPressure, 130, Details::default());
    desk.reading("glucose", Kind::TissueGlucose, 100, Details::default());
    desk.minutes(19);
    assert_eq!(desk.stands(), []);
    desk.minutes(1);
    assert_eq!(desk.stands(), [Suspicion::Silent, Suspicion::Silent]);
    desk.reading("cuff", Kind::SystolicPressure, 130, Details::default());
    desk.minutes(2);
    assert_eq!(desk.stands(), [Suspicion::Silent]);
}

#[test]
fn a_session_that_ends_without_a_word_is_given_six_hours() {
    let mut desk = Desk::new(LONG);
    let session = |age_h, stopped| Event::Session {
        sensor: id("glucose"),
        session: Session {
            age: Duration::from_hours(age_h),
            life: Some(Duration::from_hours(240)),
            stopped,
        },
    };
    desk.tell(session(239, false));
    desk.minutes(7 * 60 - 1);
    assert_eq!(desk.stands(), []);
    desk.minutes(1);
    assert_eq!(desk.stands(), [Suspicion::SessionExpired]);
    desk.tell(session(0, false));
    desk.minutes(2);
    assert_eq!(desk.stands(), []);
    desk.tell(session(1, true));
    assert_eq!(desk.stands(), [Suspicion::SessionExpired]);
}

#[test]
fn a_restart_is_no_proof_that_a_fault_is_over() {
    let mut desk = Desk::new(LONG);
    for _ in 0..26 {
        desk.reading("glucose", Kind::TissueGlucose, 142, Details::default());
        desk.minutes(5);
    }
    let since = desk.last.findings[0].since;
    let sensors = vec![listed("glucose", LONG), listed("cuff", LONG)];
    let saved = desk.watch.saved();
    let (watch, first) = Watch::resume(sensors, saved.clone(), desk.now(), Uptime(5000));
    assert_eq!((first.findings.len(), first.findings[0].since), (1, since));
    (desk.watch, desk.last, desk.up) = (watch, first, Uptime(5000));
    for number in [142, 143, 142, 144] {
        assert_eq!(desk.stands(), [Suspicion::Frozen]);
        desk.reading("glucose", Kind::TissueGlucose, number, Details::default());
        desk.minutes(5);
    }
    assert_eq!(desk.stands(), []);
    // A sensor that is no longer listed takes its suspicions along.
    let (_, first) = Watch::resume(vec![listed("cuff", LONG)], saved, desk.now(), Uptime(5000));
    assert_eq!(first.findings, []);
}

#[test]
fn what_is_not_news_is_not_told() {
    let mut desk = Desk::new(LONG);
    for n in 0..2000 {
        desk.reading("cuff", Kind::SystolicPressure, 120 + n % 7, Details::default());
        desk.minutes(1);
    }
    assert_eq!(desk.reports, 1);
}

#[test]
fn the_policy_says_when_a_sensor_is_silent_and_its_profile_again_without_one() {
    let mut desk = Desk::new(Duration::from_mins(20));
    desk.reading("cuff", Kind::SystolicPressure, 130, Details::default());
    desk.reading("glucose", Kind::TissueGlucose, 100, Details::default());
    desk.tell(Event::Habits(Arc::new(habits(vec![], vec![("cuff", 5)]))));
    desk.minutes(6);
    assert_eq!(desk.stands(), [Suspicion::Silent], "one of the two");
    // Also after something was paired.
    desk.tell(Event::Listed(vec![
        listed("glucose", Duration::from_mins(20)),
        listed("cuff", Duration::from_mins(20)),
    ]));
    desk.minutes(2);
    assert_eq!(desk.stands(), [Suspicion::Silent]);
    desk.tell(Event::Habits(Arc::default()));
    desk.minutes(2);
    assert_eq!(desk.stands(), []);
}

#[test]
fn a_sensor_that_the_policy_has_asked_more_slowly_is_not_silent_between_two_questions() {
    let mut desk = Desk::new(Duration::from_mins(5));
    // Each twenty minutes: by its profile it would be silent in between.
    desk.tell(Event::Habits(Arc::new(habits(vec![("cuff", 20)], vec![]))));
    desk.tell(Event::Listed(vec![listed("cuff", Duration::from_mins(5))]));
    for _ in 0..4 {
        desk.reading("cuff", Kind::SystolicPressure, 130, Details::default());
        desk.minutes(20);
        assert_eq!(desk.stands(), []);
    }
    desk.minutes(41);
    assert_eq!(
        desk.stands(),
        [Suspicion::Silent],
        "three questions without an answer"
    );
}
