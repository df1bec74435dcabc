use homeward_protocol::reading::Mark;
use homeward_protocol::unit::Decimal;
use homeward_protocol::watch::Suspicion;
use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_795_000_000_000;

fn at(ago_s: i64) -> Timestamp {
    Timestamp::synced(NOW - ago_s * 1000)
}

fn id(text: &str) -> SensorId {
    text.parse().expect("an id")
}

fn newest(value: Value, quality: Quality, ago_s: i64) -> Newest {
    Newest {
        value,
        quality,
        taken_at: at(ago_s),
        received_at: at(ago_s),
        details: Details::default(),
    }
}

fn number() -> Value {
    Value::Number(Decimal::whole(93))
}

fn sensor(name: &str, ago_s: i64) -> SensorFacts {
    SensorFacts {
        sensor: id(name),
        interval_s: 60,
        last_stored: Some(at(ago_s)),
        newest: vec![newest(number(), Quality::Good, ago_s)],
    }
}

fn fine() -> Facts {
    Facts {
        lifecycle: Lifecycle::Enrolled,
        dependency: Dependency::Medium,
        last_heard: Some(at(10)),
        sensors: vec![sensor("oxygen", 10), sensor("ups", 20)],
        alarms: Vec::new(),
        doubts: Vec::new(),
        trust: Trust::Trusted,
        last_good: None,
        unproven_gap: None,
    }
}

fn doubted(what: Doubted, sensor: Option<&str>, dependency: Dependency) -> Facts {
    with(|f| {
        f.dependency = dependency;
        f.doubts.push(Doubt {
            what,
            sensor: sensor.map(id),
            since: at(7200),
        });
    })
}

fn with(change: impl FnOnce(&mut Facts)) -> Facts {
    let mut facts = fine();
    change(&mut facts);
    facts
}

fn alarmed(condition: Condition, sensor: Option<&str>, dependency: Dependency) -> Facts {
    with(|f| {
        f.dependency = dependency;
        f.alarms.push(ActiveAlarm {
            condition,
            sensor: sensor.map(id),
            since: at(300),
        });
    })
}

fn valued(value: Value, quality: Quality) -> Facts {
    with(|f| f.sensors[0].newest = vec![newest(value, quality, 10)])
}

fn marked(value: Value, quality: Quality, marks: &[Mark], dependency: Dependency) -> Facts {
    with(|f| {
        f.dependency = dependency;
        f.sensors[0].newest = vec![newest(value, quality, 10)];
        f.sensors[0].newest[0].details.marks = marks.to_vec();
    })
}

/// What a device says of its own value, and what a nurse is told of it.
#[test]
fn marks_of_a_device_become_the_words_that_a_person_can_act_on() {
    use Dependency::{High, Medium};
    use Mark::{
        BeyondDevice, ControlSolution, DeviceFault, Invalid, IrregularPulse, LowBattery, Moved, NotAPatient,
        OffBody, Ongoing, Questionable,
    };
    use State::{AllWorking, CheckToday, NeedsAction};
    let oxygen = || id("oxygen");
    let (good, doubtful) = (Quality::Good, Quality::Doubtful);
    let table: [(&str, Facts, State, Reason); 13] = [
        (
            "an irregular pulse is the person's, not the device's",
            marked(number(), good, &[IrregularPulse], High),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "a measurement under way",
            marked(number(), good, &[Ongoing], High),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "a test with control solution has no value, and none is missed",
            marked(Value::Absent, doubtful, &[ControlSolution], High),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "a demonstration in the shop",
            marked(Value::Absent, good, &[NotAPatient], High),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "no value and no word why",
            marked(Value::Absent, good, &[], Medium),
            CheckToday,
            Reason::Untrusted(oxygen()),
        ),
        (
            "questionable by its own word",
            marked(number(), doubtful, &[Questionable], High),
            CheckToday,
            Reason::Untrusted(oxygen()),
        ),
        (
            "it could not measure",
            marked(Value::Absent, doubtful, &[Invalid], Medium),
            CheckToday,
            Reason::MeasureAgain(oxygen()),
        ),
        (
            "the arm moved",
            marked(number(), doubtful, &[Moved], High),
            CheckToday,
            Reason::MeasureAgain(oxygen()),
        ),
        (
            "its battery is low",
            marked(number(), good, &[LowBattery], High),
            CheckToday,
            Reason::Wears(oxygen()),
        ),
        (
            "it has fallen off",
            marked(Value::Absent, doubtful, &[OffBody], Medium),
            CheckToday,
            Reason::OffBody(oxygen()),
        ),
        (
            "it has fallen off one who depends on it",
            marked(Value::Absent, doubtful, &[OffBody], High),
            NeedsAction,
            Reason::OffBody(oxygen()),
        ),
        (
            "a defect",
            marked(Value::Absent, doubtful, &[DeviceFault], High),
            NeedsAction,
            Reason::Faulty(oxygen()),
        ),
        (
            "beyond what it can measure outranks a low battery",
            marked(Value::Absent, doubtful, &[BeyondDevice, LowBattery], High),
            NeedsAction,
            Reason::BeyondDevice(oxygen()),
        ),
    ];
    for (what, facts, state, reason) in table {
        let standing = standing(&facts, Timestamp::synced(NOW));
        assert_eq!((standing.state, standing.reason), (state, reason), "{what}");
    }
}

/// A home is not fine while its cuff may be the neighbour's; that a bond proves little is not news to a nurse.
#[test]
fn another_device_in_the_place_of_the_persons_is_never_green() {
    use homeward_protocol::grade::Reason as Against;
    for against in Against::ALL {
        let facts = with(|f| f.sensors[1].newest[0].details.reasons = vec![against]);
        let standing = standing(&facts, Timestamp::synced(NOW));
        let other = [
            Against::DebugKey,
            Against::BondChanged,
            Against::NotAssociated,
            Against::OtherDevice,
        ];
        let expected = if other.contains(&against) {
            (State::CheckToday, Reason::InDoubt(id("ups")))
        } else {
            (State::AllWorking, Reason::AllHeard)
        };
        assert_eq!((standing.state, standing.reason), expected, "{against:?}");
    }
}

fn silent_since(ago_s: i64) -> Facts {
    with(|f| {
        f.last_heard = Some(at(ago_s));
        for s in &mut f.sensors {
            *s = sensor(s.sensor.as_str(), ago_s);
        }
    })
}

/// Thirty scenarios with the answer a person would give, as a nurse could check them.
#[test]
#[expect(clippy::too_many_lines, reason = "a flat table of scenarios")]
fn each_scenario_gets_the_answer_a_person_would_give() {
    use Dependency::{High, Low, Medium};
    use State::{AllWorking, CheckToday, NeedsAction, NotHeard};
    let oxygen = || id("oxygen");
    let table: Vec<(&str, Facts, State, Reason)> = vec![
        ("all heard on time", fine(), AllWorking, Reason::AllHeard),
        (
            "frozen is not fresh",
            doubted(Doubted::By(Suspicion::Frozen), Some("oxygen"), Low),
            NotHeard,
            Reason::Frozen(oxygen()),
        ),
        (
            "a glucose sensor beyond its life, high dependency",
            doubted(Doubted::By(Suspicion::SessionExpired), Some("oxygen"), High),
            NeedsAction,
            Reason::SessionOver(oxygen()),
        ),
        (
            "a deaf radio",
            doubted(Doubted::By(Suspicion::ScannerStopped), None, Medium),
            NotHeard,
            Reason::RadioDeaf,
        ),
        (
            "a device that lost its bond",
            doubted(Doubted::By(Suspicion::BondChanged), Some("oxygen"), Medium),
            CheckToday,
            Reason::InDoubt(oxygen()),
        ),
        (
            "a device that another home has too",
            doubted(Doubted::Shared, Some("oxygen"), Medium),
            CheckToday,
            Reason::Shared(oxygen()),
        ),
        (
            "another firmware is the operator's matter",
            doubted(Doubted::By(Suspicion::FirmwareChanged), Some("oxygen"), High),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "a box that has not proved itself for too long is never green",
            with(|f| f.trust = Trust::Stale),
            CheckToday,
            Reason::BoxStale,
        ),
        (
            "a box whose evidence failed",
            with(|f| f.trust = Trust::Failed),
            CheckToday,
            Reason::BoxFailed,
        ),
        (
            "a box on its own word is the operator's matter",
            with(|f| f.trust = Trust::Warning),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "never set up",
            with(|f| f.lifecycle = Lifecycle::Expected),
            NotHeard,
            Reason::NeverSetUp,
        ),
        (
            "waits for approval",
            with(|f| f.lifecycle = Lifecycle::Waiting),
            NotHeard,
            Reason::WaitsForApproval,
        ),
        (
            "out of service, though it was heard a moment ago",
            with(|f| f.lifecycle = Lifecycle::Revoked),
            NotHeard,
            Reason::OutOfService,
        ),
        (
            "enrolled and never heard",
            with(|f| {
                f.last_heard = None;
                f.sensors.clear();
            }),
            NotHeard,
            Reason::NothingYet,
        ),
        (
            "silent for an hour",
            silent_since(3600),
            NotHeard,
            Reason::GatewaySilent,
        ),
        (
            "silent for a second too long",
            silent_since(181),
            NotHeard,
            Reason::GatewaySilent,
        ),
        (
            "just within three intervals",
            silent_since(180),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "a fast sensor is given 90 seconds",
            with(|f| {
                f.sensors = vec![SensorFacts {
                    interval_s: 1,
                    ..sensor("oxygen", 90)
                }];
                f.last_heard = Some(at(90));
            }),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "and not 91",
            with(|f| {
                f.sensors = vec![SensorFacts {
                    interval_s: 1,
                    ..sensor("oxygen", 91)
                }];
                f.last_heard = Some(at(1));
            }),
            NotHeard,
            Reason::SensorSilent(oxygen()),
        ),
        (
            "a slow sensor keeps its own time",
            with(|f| {
                f.sensors[1] = SensorFacts {
                    interval_s: 3600,
                    ..sensor("ups", 7200)
                }
            }),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "one of two sensors silent",
            with(|f| f.sensors[0] = sensor("oxygen", 600)),
            NotHeard,
            Reason::SensorSilent(oxygen()),
        ),
        (
            "a sensor that was never heard",
            with(|f| {
                f.sensors[0].last_stored = None;
                f.sensors[0].newest.clear();
            }),
            NotHeard,
            Reason::SensorNeverHeard(oxygen()),
        ),
        (
            "no sensors listed",
            with(|f| f.sensors.clear()),
            CheckToday,
            Reason::NoSensors,
        ),
        (
            "connected, and posture only, but the sensors are silent",
            with(|f| {
                f.sensors = vec![sensor("oxygen", 9000)];
                f.last_heard = Some(at(1));
            }),
            NotHeard,
            Reason::SensorSilent(oxygen()),
        ),
        (
            "a backlog of yesterday arrives now",
            with(|f| {
                f.sensors[0].newest[0].taken_at = at(86_400);
                f.sensors[0].newest[0].received_at = at(5);
            }),
            NotHeard,
            Reason::Backlog(oxygen()),
        ),
        (
            "a clock without a source is not believed either way",
            with(|f| {
                f.sensors[0].newest[0].taken_at = Timestamp {
                    ms: 0,
                    trust: ClockTrust::Unsynced,
                };
            }),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "device alarm",
            alarmed(Condition::DeviceAlarm, Some("oxygen"), Low),
            NeedsAction,
            Reason::DeviceAlarm(Some(oxygen())),
        ),
        (
            "device alarm of no particular sensor",
            alarmed(Condition::DeviceAlarm, None, Medium),
            NeedsAction,
            Reason::DeviceAlarm(None),
        ),
        (
            "device does not answer, high dependency",
            alarmed(Condition::SensorSilent, Some("oxygen"), High),
            NeedsAction,
            Reason::SensorGone(oxygen()),
        ),
        (
            "device does not answer, low dependency",
            alarmed(Condition::SensorSilent, Some("oxygen"), Low),
            CheckToday,
            Reason::SensorGone(oxygen()),
        ),
        (
            "an alarm that was raised before the box went silent still stands",
            Facts {
                last_heard: Some(at(9000)),
                ..alarmed(Condition::DeviceAlarm, Some("oxygen"), Medium)
            },
            NeedsAction,
            Reason::DeviceAlarm(Some(oxygen())),
        ),
        (
            "a box that went silent outranks what could have waited",
            Facts {
                last_heard: Some(at(9000)),
                ..alarmed(Condition::SensorSilent, Some("oxygen"), Low)
            },
            NotHeard,
            Reason::GatewaySilent,
        ),
        (
            "a refused write",
            alarmed(Condition::WriteRefused, Some("oxygen"), High),
            CheckToday,
            Reason::WriteRefused(Some(oxygen())),
        ),
        (
            "another device at the cable",
            alarmed(Condition::OtherDevice, Some("oxygen"), Low),
            CheckToday,
            Reason::OtherDevice(Some(oxygen())),
        ),
        (
            "records given up",
            alarmed(Condition::RecordsLost, None, High),
            CheckToday,
            Reason::RecordsLost,
        ),
        (
            "a hole nobody can account for, an hour old",
            with(|f| f.unproven_gap = Some(at(3600))),
            CheckToday,
            Reason::Unaccounted,
        ),
        (
            "a hole of two days ago",
            with(|f| f.unproven_gap = Some(at(2 * 86_400))),
            AllWorking,
            Reason::AllHeard,
        ),
        (
            "battery to be replaced",
            valued(Value::State(Named::Replace), Quality::Good),
            CheckToday,
            Reason::Wears(oxygen()),
        ),
        (
            "battery empty",
            valued(Value::State(Named::Depleted), Quality::Good),
            NeedsAction,
            Reason::Empty(oxygen()),
        ),
        (
            "the mains are away",
            valued(Value::State(Named::Discharging), Quality::Good),
            CheckToday,
            Reason::OnBattery(oxygen()),
        ),
        (
            "no value",
            valued(Value::Absent, Quality::Good),
            CheckToday,
            Reason::Untrusted(oxygen()),
        ),
        (
            "a frozen or doubtful value",
            valued(number(), Quality::Doubtful),
            CheckToday,
            Reason::Untrusted(oxygen()),
        ),
        (
            "out of range",
            valued(number(), Quality::OutOfRange),
            CheckToday,
            Reason::OutOfRange(oxygen()),
        ),
    ];
    for (name, facts, state, reason) in table {
        let got = standing(&facts, at(0));
        assert_eq!((got.state, got.reason), (state, reason), "{name}");
    }
}

#[test]
fn a_home_is_as_its_worst_gateway_and_an_old_box_does_not_count_beside_a_new_one() {
    let revoked = with(|f| f.lifecycle = Lifecycle::Revoked);
    assert_eq!(
        placement(&[fine(), silent_since(900)], at(0)).state,
        State::NotHeard
    );
    assert_eq!(
        placement(&[fine(), revoked.clone()], at(0)).state,
        State::AllWorking
    );
    assert_eq!(placement(&[revoked], at(0)).reason, Reason::OutOfService);
    assert_eq!(placement(&[], at(0)).reason, Reason::NoGateway);
}

#[test]
fn the_heading_is_the_answer() {
    let counts = |needs_action, not_heard, check_today, all_working| Counts {
        needs_action,
        not_heard,
        check_today,
        all_working,
    };
    assert_eq!(words::heading(&counts(2, 1, 0, 9)), "2 people's devices need you");
    assert_eq!(words::heading(&counts(1, 0, 0, 0)), "1 person's devices need you");
    assert_eq!(
        words::heading(&counts(0, 1, 3, 0)),
        "1 person's devices have not been heard"
    );
    assert_eq!(
        words::heading(&counts(0, 0, 0, 12)),
        "All 12 people's devices are working"
    );
}

fn any_facts() -> impl Strategy<Value = Facts> {
    let lifecycle = prop::sample::select(Lifecycle::ALL.to_vec());
    let ages = prop::collection::vec((1u64..7200, prop::option::of(0i64..90_000)), 0..4);
    (lifecycle, prop::option::of(0i64..90_000), ages).prop_map(|(lifecycle, heard, ages)| Facts {
        lifecycle,
        last_heard: heard.map(at),
        sensors: ages
            .into_iter()
            .map(|(interval_s, ago)| SensorFacts {
                sensor: id("s"),
                interval_s,
                last_stored: ago.map(at),
                newest: Vec::new(),
            })
            .collect(),
        ..fine()
    })
}

proptest! {
    #[test]
    fn silence_is_never_green(facts in any_facts()) {
        let green = standing(&facts, at(0)).state == State::AllWorking;
        let heard = !facts.sensors.is_empty()
            && facts.last_heard.is_some()
            && facts.sensors.iter().all(|s| {
                let limit = (s.interval_s * 3).max(90) * 1000;
                s.last_stored.is_some_and(|l| l.age(at(0)).as_millis() <= u128::from(limit))
            });
        prop_assert!(!green || (heard && facts.lifecycle == Lifecycle::Enrolled));
    }

    #[test]
    fn waiting_never_makes_it_better(facts in any_facts(), wait_ms in 0i64..1_000_000_000) {
        let later = standing(&facts, at(0).plus_ms(wait_ms)).state;
        prop_assert!(later >= standing(&facts, at(0)).state);
    }

    #[test]
    fn counts_sum_to_the_whole(states in prop::collection::vec(prop::sample::select(State::ALL.to_vec()), 0..50)) {
        let counts = Counts::of(states.iter().copied());
        prop_assert_eq!(counts.total(), states.len());
        for state in State::ALL {
            prop_assert_eq!(counts.in_state(state), states.iter().filter(|s| **s == state).count());
        }
    }
}
