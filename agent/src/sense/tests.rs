use homeward_devices::profile::shipped;
use homeward_devices::simulated::{Behaviour, Simulated};
use homeward_protocol::grade::Grade;
use homeward_protocol::reading::Value;
use proptest::prelude::*;

use super::*;

const UPS: &str = "tripp-lite-modbuscard";

fn config(id: &str, profile: &str, address: &str) -> SensorConfig {
    SensorConfig {
        id: id.parse().expect("an id"),
        profile: profile.parse().expect("a profile id"),
        address: address.parse().expect("an address"),
        tls: None,
        baud: None,
        unit: None,
        interval_ms: None,
        identity: None,
    }
}

fn sensor(id: &str, profile: &str) -> Sensor {
    config(id, profile, "127.0.0.1:502")
        .resolve(&[])
        .expect("a sensor")
}

fn line(sensors: Vec<Sensor>) -> Line {
    let mut all = lines(sensors, Uptime(0)).expect("no fault");
    assert_eq!(all.len(), 1);
    all.remove(0)
}

fn stamp(up: Uptime) -> Timestamp {
    Timestamp::synced(i64::try_from(up.0).expect("small"))
}

/// What a device of that profile answers.
fn answer(profile: &str, alarming: bool) -> Outcome {
    let profile = shipped(profile).expect("shipped");
    let device = Simulated::new(profile.clone(), 1);
    let behaves = if alarming {
        Behaviour::Alarming
    } else {
        Behaviour::Well
    };
    let read = |request| {
        let words = device
            .words(request, Duration::from_secs(5), behaves)
            .expect("known");
        modbus::samples(&profile, request, &words).expect("the right count")
    };
    Outcome {
        answers: modbus::requests(&profile).into_iter().map(read).collect(),
        error: None,
        said: None,
    }
}

fn nothing() -> Outcome {
    Outcome {
        answers: Vec::new(),
        error: Some("battery_condition: no answer within 1000 ms".to_owned()),
        said: None,
    }
}

/// Hands `outcome` to the only sensor of `line` at `ms`.
fn turn(line: &mut Line, outcome: &Outcome, ms: u64) -> Heard {
    let up = Uptime(ms);
    line.handle(0, outcome, up, (stamp(up), up))
        .expect("there is one")
}

fn alarms(heard: &Heard) -> Vec<(Condition, bool)> {
    let alarm = |item: &Item| match item {
        Item::Alarm(alarm) => Some((alarm.condition, alarm.active)),
        _ => None,
    };
    heard.items.iter().filter_map(alarm).collect()
}

fn reading(item: &Item) -> Option<&Reading> {
    match item {
        Item::Reading(reading) => Some(reading),
        _ => None,
    }
}

fn readings(heard: &Heard) -> Vec<&Reading> {
    heard.items.iter().filter_map(reading).collect()
}

#[test]
fn a_poll_gives_one_reading_for_each_register_with_a_kind() {
    let mut line = line(vec![sensor("ups", UPS)]);
    let heard = turn(&mut line, &answer(UPS, false), 10);
    assert_eq!(readings(&heard).len(), 8);
    for reading in readings(&heard) {
        assert_eq!((reading.taken_at.ms, reading.grade), (10, Grade::Associated));
        assert_ne!(reading.value, Value::Absent);
    }
    assert_eq!(heard.state.last_heard, Some(Timestamp::synced(10)));
    assert_eq!(heard.state.last_error, None);
}

#[test]
fn the_first_answer_after_a_start_says_how_things_are() {
    let mut line = line(vec![sensor("ups", UPS)]);
    let first = turn(&mut line, &answer(UPS, false), 10);
    let both_off = [(Condition::SensorSilent, false), (Condition::DeviceAlarm, false)];
    assert_eq!(alarms(&first), both_off);
    assert_eq!(alarms(&turn(&mut line, &answer(UPS, false), 20_000)), []);
}

#[test]
fn an_alarm_of_the_device_is_told_once_at_each_turn() {
    let mut line = line(vec![sensor("ups", UPS)]);
    let mut told = Vec::new();
    for (ms, alarming) in [(1, false), (2, true), (3, true), (4, false), (5, false)] {
        let heard = alarms(&turn(&mut line, &answer(UPS, alarming), ms * 10_000));
        let of_device = heard.into_iter().filter(|a| a.0 == Condition::DeviceAlarm);
        told.extend(of_device.map(|a| a.1));
    }
    assert_eq!(told, [false, true, false]);
}

#[test]
fn an_alarm_does_not_end_before_every_alarm_register_was_read() {
    let mut line = line(vec![sensor("plant", "parker-db5-20")]);
    let mut outcome = answer("parker-db5-20", false);
    outcome.answers.truncate(2);
    assert_eq!(
        alarms(&turn(&mut line, &outcome, 10)),
        [(Condition::SensorSilent, false)]
    );
}

#[test]
fn silence_begins_when_its_time_is_over_even_between_turns() {
    let mut line = line(vec![sensor("ups", UPS)]);
    turn(&mut line, &answer(UPS, false), 0);
    let mut told = Vec::new();
    for _moment in 0..100 {
        let up = line.deadline().expect("always one");
        told.extend(line.tick(stamp(up), up).iter().map(|h| (up, alarms(h))));
        if let Some(which) = line.due(up) {
            line.handle(which, &nothing(), up, (stamp(up), up));
        }
        if !told.is_empty() {
            break;
        }
    }
    assert_eq!(told, [(Uptime(60_000), vec![(Condition::SensorSilent, true)])]);
    assert!(line.tick(stamp(Uptime(70_000)), Uptime(70_000)).is_empty());
    let back = turn(&mut line, &answer(UPS, false), 80_000);
    assert_eq!(alarms(&back), [(Condition::SensorSilent, false)]);
}

#[test]
fn a_dead_unit_gets_fewer_turns_and_the_living_keep_theirs() {
    let mut line = line(vec![sensor("dead", UPS), sensor("alive", UPS)]);
    let (mut up, mut turns) = (Uptime(0), [0, 0]);
    while up < Uptime(600_000) {
        let Some(which) = line.due(up) else {
            up = line.deadline().expect("always one").max(Uptime(up.0 + 1));
            line.tick(stamp(up), up);
            continue;
        };
        turns[which] += 1;
        // A question without an answer takes the time limit, a good one 20 ms.
        let (took, outcome) = if which == 0 {
            (1000, nothing())
        } else {
            (20, answer(UPS, false))
        };
        up = Uptime(up.0 + took);
        line.handle(which, &outcome, up, (stamp(up), up));
    }
    assert_eq!(turns[1], 60, "the living unit lost turns");
    assert!(
        (8..=16).contains(&turns[0]),
        "the dead unit had {} turns",
        turns[0]
    );
}

#[test]
fn a_sensor_that_is_rarely_asked_is_tried_again_within_a_minute() {
    let mut config = config("ups", UPS, "127.0.0.1:502");
    config.interval_ms = Some(3_600_000);
    let mut line = line(vec![config.resolve(&[]).expect("a sensor")]);
    let mut tries = Vec::new();
    for _ in 0..4 {
        let up = line.deadline().expect("always one");
        tries.push(up.0 / 1000);
        line.handle(0, &nothing(), up, (stamp(up), up));
    }
    assert_eq!(tries, [0, 60, 180, 420]);
}

#[test]
fn turns_keep_their_rhythm_and_missed_ones_stay_missed() {
    let every = Duration::from_secs(10);
    assert_eq!(next_turn(Uptime(0), every, Uptime(20)), Uptime(10_000));
    assert_eq!(next_turn(Uptime(0), every, Uptime(35_000)), Uptime(40_000));
    assert_eq!(next_turn(Uptime(10_000), every, Uptime(10_000)), Uptime(20_000));
}

#[test]
fn a_wrong_fingerprint_makes_the_whole_poll_doubtful_and_unverified() {
    let mut outcome = answer(UPS, false);
    outcome.answers[0].unexpected.push("model_code".to_owned());
    let heard = turn(&mut line(vec![sensor("ups", UPS)]), &outcome, 0);
    let doubted = |r: &&Reading| r.quality == Quality::Doubtful && r.grade == Grade::Unverified;
    assert!(readings(&heard).iter().all(doubted));
    let says = heard.state.last_error.expect("a complaint");
    assert!(says.as_str().contains("model_code"), "{}", says.as_str());
}

#[test]
fn part_of_an_answer_is_kept_and_the_error_stays_visible() {
    let mut outcome = answer(UPS, false);
    outcome.answers.truncate(1);
    outcome.error = Some("battery_voltage to battery_level: the device refused".to_owned());
    let heard = turn(&mut line(vec![sensor("ups", UPS)]), &outcome, 0);
    assert_eq!(readings(&heard).len(), 4);
    assert_eq!(heard.state.failures, 0);
    assert!(heard.state.last_error.is_some());
}

#[test]
fn configured_nonsense_is_refused_in_words() {
    let says = |change: &dyn Fn(&mut SensorConfig)| {
        let mut config = config("ups", UPS, "127.0.0.1:502");
        change(&mut config);
        config.resolve(&[]).expect_err("refused").to_string()
    };
    assert!(says(&|c| c.profile = "unheard-of".parse().expect("an id")).contains(UPS));
    assert!(says(&|c| c.profile = "senseair-s8".parse().expect("an id")).contains("127.0.0.1:502"));
    assert!(says(&|c| c.unit = Some(0)).contains("broadcast"));
    assert!(says(&|c| c.baud = Some(9600)).contains("serial ports only"));
    assert!(says(&|c| c.interval_ms = Some(1)).contains("interval_ms"));
    for bad in ["", "ups", "ups:", ":502", "ups:0", "ups:70000"] {
        assert!(bad.parse::<Address>().is_err(), "{bad:?} was accepted");
    }
}

#[test]
fn sensors_share_a_line_by_address_and_quarrels_are_listed() {
    let on = |id: &str, address: &str, baud| {
        let mut config = config(id, UPS, address);
        config.baud = baud;
        config.resolve(&[]).expect("a sensor")
    };
    let good = vec![
        on("a", "/dev/ttyUSB0", None),
        on("b", "h:1", None),
        on("c", "/dev/ttyUSB0", None),
    ];
    assert_eq!(lines(good, Uptime(0)).map(|l| l.len()), Ok(2));
    let bad = vec![on("a", "/dev/ttyUSB0", None), on("a", "/dev/ttyUSB0", Some(1200))];
    let faults = lines(bad, Uptime(0)).err().expect("faults");
    assert_eq!(faults.len(), 2, "{faults:?}");
}

#[test]
fn a_sensor_table_is_read_strictly() {
    let good = "id = \"ups\"\nprofile = \"tripp-lite-modbuscard\"\naddress = \"192.0.2.7:502\"\n";
    let read = |text: String| toml::from_str::<SensorConfig>(&text);
    let config = read(format!("{good}interval_ms = 500")).expect("reads");
    let sensor = config.resolve(&[]).expect("a sensor");
    assert_eq!(sensor.interval, Duration::from_millis(500));
    assert!(read(format!("{good}speed = 3")).is_err());
}

#[test]
fn every_profile_can_be_described_and_every_poll_shown() {
    for id in homeward_devices::profile::shipped_ids() {
        let profile = shipped(id).expect("shipped");
        let text = describe(&profile);
        assert!(profile.registers.iter().all(|r| text.contains(&r.name)), "{text}");
    }
    let readings = answer(UPS, false).readings(
        &sensor("ups", UPS),
        Identity::AsExpected,
        (
            crate::care::Gateway::Unjudged,
            Some(homeward_protocol::grade::Grade::Unverified),
        ),
        Timestamp::synced(0),
    );
    let text = values(&readings);
    assert!(
        text.lines()
            .any(|l| l == "battery condition: good" || l == "battery: good"),
        "{text}"
    );
    let voltage = |l: &str| l.starts_with("battery voltage: ") && l.ends_with(" V");
    assert!(text.lines().any(voltage), "{text}");
}

proptest! {
    /// Whatever happens, an alarm begins and ends by turns, and each poll moves the next turn into the future.
    #[test]
    fn alarms_alternate_whatever_happens(steps in proptest::collection::vec((0u8..4, 1u64..90_000), 1..60)) {
        let mut line = line(vec![sensor("ups", UPS)]);
        let mut told: BTreeMap<String, bool> = BTreeMap::new();
        let mut up = Uptime(0);
        for (what, wait) in steps {
            up = Uptime(up.0 + wait);
            let mut heard = line.tick(stamp(up), up);
            if what > 0 {
                let outcome = match what { 1 => nothing(), 2 => answer(UPS, true), _ => answer(UPS, false) };
                heard.extend(line.handle(0, &outcome, up, (stamp(up), up)));
                prop_assert_eq!(line.due(up), None);
            }
            for (condition, active) in heard.iter().flat_map(alarms) {
                let before = told.insert(format!("{condition:?}"), active);
                prop_assert_ne!(before, Some(active), "told twice: {:?}", condition);
            }
        }
    }
}

#[test]
fn a_device_that_says_it_is_another_grades_lower_until_the_first_is_back() {
    let profile = "vaisala-gmp251";
    let mut config = config("probe", profile, "/dev/ttyUSB0");
    config.interval_ms = Some(1000);
    let mut line = line(vec![config.resolve(&[]).expect("a sensor")]);
    let mut seen = Vec::new();
    for (turns, said) in [(2, "GMP251"), (2, "GMP343"), (1, "GMP251")] {
        for _ in 0..turns {
            // Each is preceded by silence: a cable is moved.
            let ms = 1000 * (seen.len() as u64 + 1);
            turn(&mut line, &nothing(), ms);
            assert!(line.identifies(0, Uptime(ms)));
            let outcome = Outcome {
                said: Some(Said::Model(format!("Vaisala {said}"))),
                ..answer(profile, false)
            };
            let heard = turn(&mut line, &outcome, ms + 10);
            let grades: Vec<Grade> = readings(&heard).iter().map(|r| r.grade).collect();
            let told = heard
                .state
                .last_error
                .is_some_and(|e| e.as_str().contains("GMP343"));
            assert!(!grades.is_empty() && grades.iter().all(|g| *g == grades[0]));
            seen.push((grades[0], told));
        }
    }
    let (good, odd) = ((Grade::Associated, false), (Grade::Unverified, true));
    assert_eq!(seen, [good, good, odd, odd, good]);
    let kept = line.learnt(0).expect("the first is kept");
    assert_eq!(kept.stream, "probe");
    assert_eq!(line.learnt(0), None);
}

fn habits(rules: &str) -> Habits {
    let text = format!(
        "name = \"a\"\nversion = 1\nissued = \"2026-11-18T08:00:00Z\"\nexpires = \"2027-05-18T08:00:00Z\"\n\
         on_expiry = \"keep\"\nconfirm_s = 60\naudience = \"all\"\nhazards = {{ h-1 = \"A stranger.\" }}\n{rules}"
    );
    let checked = homeward_protocol::policy::check::check(&text);
    let policy = checked.policy.unwrap_or_else(|| panic!("{:?}", checked.findings));
    Habits::of(Some(&policy))
}

#[test]
fn a_line_follows_the_pace_of_a_policy_at_once_and_its_own_when_there_is_none() {
    let mut line = line(vec![sensor("ups", UPS)]);
    turn(&mut line, &answer(UPS, false), 0);
    let own = line.deadline().expect("a turn");
    let fast = habits(
        "[polling]\nhazard = \"h-1\"\nevery = [{ sensor = \"ups\", interval_ms = 500 }]\n\
         [thresholds]\nhazard = \"h-1\"\nsilent = [{ sensor = \"ups\", minutes = 1 }]\n",
    );
    line.follow(&fast, Uptime(1000));
    assert_eq!(
        line.deadline(),
        Some(Uptime(1500)),
        "not after its own interval, which is {own:?}"
    );
    let heard = turn(&mut line, &answer(UPS, false), 1500);
    assert_eq!(heard.state.interval_s, 1);
    assert!(line.deadline().is_some_and(|at| at <= Uptime(2000)));
    for second in 2..200 {
        turn(&mut line, &nothing(), second * 1000);
    }
    let begun = turn(&mut line, &answer(UPS, false), 200_000);
    assert_eq!(
        alarms(&begun),
        [(Condition::SensorSilent, false)],
        "it was silent after a minute"
    );
    line.follow(&Habits::default(), Uptime(200_000));
    assert_eq!(turn(&mut line, &answer(UPS, false), 200_500).state.interval_s, 10);
}

#[test]
fn a_sensor_that_the_policy_wants_to_be_surer_of_or_does_not_name_is_read_and_unverified() {
    let rule = |allow: &str| habits(&format!("[sensors]\nhazard = \"h-1\"\nallow = [{allow}]\n"));
    let mut line = line(vec![sensor("ups", UPS)]);
    for (allow, grade) in [
        (
            "{ sensor = \"ups\", least_grade = \"associated\" }",
            Grade::Associated,
        ),
        (
            "{ sensor = \"ups\", least_grade = \"verified\" }",
            Grade::Unverified,
        ),
        (
            "{ sensor = \"other\", least_grade = \"unverified\" }",
            Grade::Unverified,
        ),
        (
            "{ sensor = \"ups\", address = \"127.0.0.1:502\", least_grade = \"unverified\" }",
            Grade::Associated,
        ),
        (
            "{ sensor = \"ups\", address = \"192.0.2.1:502\", least_grade = \"unverified\" }",
            Grade::Unverified,
        ),
    ] {
        line.follow(&rule(allow), Uptime(0));
        let heard = turn(&mut line, &answer(UPS, false), 10);
        let readings = readings(&heard);
        assert_eq!(readings.len(), 8, "none is held back");
        for reading in readings {
            let below = reading
                .details
                .reasons
                .contains(&homeward_protocol::grade::Reason::BelowPolicy);
            assert_eq!(
                (reading.grade, below),
                (grade, grade == Grade::Unverified),
                "{allow}"
            );
        }
    }
}
