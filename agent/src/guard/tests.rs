use homeward_devices::modbus::frame::Question;
use homeward_devices::modbus::{Request, Write};
use homeward_devices::profile::{Function, Profile};
use proptest::prelude::*;

use super::*;

/// A device with one value to read and two registers that may be written.
pub(super) const PROFILE: &str = r#"
id = "pump"
name = "A pump"
source = "this test"
standing = "from-manual"
role = "none"
criticality = "vital"
transports = ["tcp"]
unit = 1
interval_ms = 1000
silent_after_ms = 5000
time_limit_ms = 500
most_registers = 8

[[register]]
name = "temperature"
function = 3
address = 0
type = "i16"
kind = "device-temperature"
unit = "degC"

[[writable]]
name = "fan_speed"
function = 6
address = 10
count = 2
"#;

fn now(seconds: i64) -> Timestamp {
    Timestamp::synced(1_795_000_000_000 + seconds * 1000)
}

fn up(seconds: u64) -> Uptime {
    Uptime(1_000_000 + seconds * 1000)
}

fn rules() -> Rules {
    let profile = Arc::new(Profile::parse(PROFILE).expect("a profile"));
    let guarded = |sensor: &str| Guarded {
        sensor: sensor.parse().expect("an id"),
        profile: Arc::clone(&profile),
    };
    let allow = |functions: &[u8], first, last| Allow {
        unit: 1,
        functions: functions.to_vec(),
        first,
        last,
    };
    Rules {
        units: BTreeMap::from([(1, guarded("pump-1")), (2, guarded("pump-2"))]),
        before: "pump-1".parse().expect("an id"),
        peers: vec![
            Peer {
                from: Some("192.0.2.20".parse().expect("an address")),
                role: None,
                allow: vec![allow(&[3, 43], 0, 9), allow(&[6], 10, 20)],
            },
            Peer {
                from: Some("192.0.2.64/26".parse().expect("a network")),
                role: None,
                allow: vec![allow(&[3], 0, 0)],
            },
        ],
        secured: false,
        writes: None,
    }
}

fn who(last: u8) -> Who {
    Who {
        from: IpAddr::from([192, 0, 2, last]),
        role: None,
    }
}

fn read(address: u16, count: u16) -> Question {
    Question::Read(Request {
        function: Function::HoldingRegisters,
        address,
        count,
    })
}

fn write(address: u16) -> Question {
    Question::Write(Write::Register { address, value: 7 })
}

fn guard() -> Guard {
    let mut guard = Guard::new(rules(), now(0), up(0));
    let first = guard.take(now(0), up(0));
    assert_eq!(first.len(), 2, "no alarm stands for either device: {first:?}");
    guard
}

#[test]
fn the_policy_narrows_what_may_be_written_and_opens_nothing() {
    let allowed = |sensor: &str, from: Option<&str>, functions: &[u8], first, last| AllowedWrite {
        sensor: sensor.parse().expect("an id"),
        from: from.map(|net| net.parse().expect("a network")),
        functions: functions.to_vec(),
        first,
        last,
    };
    let mut guard = guard();
    let judged =
        |guard: &mut Guard, question: &Question| match guard.judge(&who(20), 1, question, now(1), up(1)) {
            Verdict::Refuse { why, .. } => Some(why),
            _ => None,
        };
    assert_eq!(judged(&mut guard, &write(11)), None);
    for (writes, why) in [
        (vec![], Some(Why::Policy)),
        (vec![allowed("pump-1", None, &[6], 11, 11)], None),
        (
            vec![allowed("pump-1", Some("192.0.2.0/28"), &[6], 11, 11)],
            Some(Why::Policy),
        ),
        (
            vec![allowed("pump-1", Some("192.0.2.20"), &[6], 0, u16::MAX)],
            None,
        ),
        (vec![allowed("pump-1", None, &[16], 11, 11)], Some(Why::Policy)),
        (vec![allowed("pump-1", None, &[6], 12, 20)], Some(Why::Policy)),
        (vec![allowed("pump-2", None, &[6], 0, 20)], Some(Why::Policy)),
    ] {
        guard.allow(Some(&writes));
        assert_eq!(judged(&mut guard, &write(11)), why, "{writes:?}");
        assert_eq!(judged(&mut guard, &read(0, 1)), None, "a read is no write");
    }
    let all = vec![allowed("pump-1", None, &[5, 6, 15, 16], 0, u16::MAX)];
    guard.allow(Some(&all));
    assert_eq!(judged(&mut guard, &write(13)), Some(Why::NotWritable));
    assert_eq!(judged(&mut guard, &write(30)), Some(Why::Address));
    let items = guard.take(now(2), up(2));
    let told = |item: &Item| matches!(item, Item::Write(one) if one.outcome == Outcome::Refused(Why::Policy));
    assert!(items.iter().any(told), "it is told: {items:?}");
    guard.allow(None);
    assert_eq!(
        judged(&mut guard, &write(11)),
        None,
        "as the box has it by itself"
    );
}

#[test]
fn what_is_allowed_passes_and_nothing_else() {
    let rules = rules();
    let why = |who: u8, unit, question: &Question| match rules.decide(&self::who(who), unit, question) {
        Verdict::Refuse { exception, why } => Some((exception, why)),
        _ => None,
    };
    let identify = |level| Question::Identify { level, object: 0 };
    let cases = [
        (20, 1, read(0, 10), None),
        (20, 1, read(0, 11), Some((2, Why::Address))),
        (20, 1, read(9, 1), None),
        (20, 2, read(0, 1), Some((1, Why::Function))),
        (20, 9, read(0, 1), Some((1, Why::Function))),
        (20, 1, write(10), None),
        (20, 1, write(11), None),
        (20, 1, write(12), Some((2, Why::NotWritable))),
        (20, 1, write(9), Some((2, Why::Address))),
        (20, 2, write(10), Some((1, Why::Function))),
        (20, 1, identify(1), None),
        (20, 1, identify(3), Some((3, Why::Malformed))),
        (
            20,
            1,
            Question::read(&[22, 0, 10, 0, 0, 0, 1]),
            Some((1, Why::Function)),
        ),
        (20, 1, Question::read(&[6, 0, 10]), Some((3, Why::Malformed))),
        (20, 1, Question::read(&[]), Some((1, Why::Function))),
        (65, 1, read(0, 1), None),
        (65, 1, write(10), Some((1, Why::Function))),
        (21, 1, read(0, 1), Some((1, Why::UnknownPeer))),
        (21, 1, write(10), Some((1, Why::UnknownPeer))),
    ];
    for (peer, unit, question, wanted) in cases {
        assert_eq!(why(peer, unit, &question), wanted, "{peer} {unit} {question:?}");
    }
}

#[test]
fn a_role_is_the_whole_string_and_no_role_has_no_rights() {
    let mut rules = rules();
    rules.secured = true;
    for peer in &mut rules.peers {
        peer.from = None;
        peer.role = Some("operator".parse().expect("a role"));
    }
    for (role, passes) in [
        (Some("operator"), true),
        (Some("operators"), false),
        (None, false),
    ] {
        let who = Who {
            role: role.map(|r| r.parse().expect("a role")),
            ..who(1)
        };
        let verdict = rules.decide(&who, 1, &write(10));
        assert_eq!(matches!(verdict, Verdict::Forward(_)), passes, "{role:?}");
    }
}

#[test]
fn a_refused_write_is_raised_at_once_and_calms_down_later() {
    let mut guard = guard();
    assert!(
        guard
            .judge(&who(20), 2, &write(10), now(1), up(1))
            .exception()
            .is_some()
    );
    let items = guard.take(now(1), up(1));
    let [Item::Alarm(raised), Item::Write(attempt)] = items.as_slice() else {
        panic!("{items:?}")
    };
    assert_eq!((raised.active, raised.condition), (true, Condition::WriteRefused));
    assert_eq!(raised.sensor.as_ref().map(SensorId::as_str), Some("pump-2"));
    assert_eq!(attempt.outcome, Outcome::Refused(Why::Function));
    assert_eq!((attempt.address, attempt.count, attempt.times), (Some(10), 1, 1));
    assert_eq!(attempt.peer.as_str(), "192.0.2.20");

    // The second only adds its record, and puts off the end.
    guard.judge(&who(20), 2, &write(10), now(600), up(600));
    assert_eq!(guard.take(now(600), up(600)).len(), 1);
    let calm = CALM.as_secs();
    assert_eq!(guard.deadline(), Some(up(600 + calm)));
    assert!(guard.take(now(0), up(599 + calm)).is_empty());
    let ended = guard.take(now(2000), up(600 + calm));
    assert!(
        matches!(ended.as_slice(), [Item::Alarm(alarm)] if !alarm.active),
        "{ended:?}"
    );
    assert_eq!(guard.deadline(), None);
}

#[test]
fn a_refused_read_is_counted_and_not_raised() {
    let mut guard = guard();
    guard.judge(&who(21), 1, &read(0, 1), now(1), up(1));
    assert!(guard.take(now(1), up(1)).is_empty());
    assert_eq!(guard.refused_reads(), 1);
}

#[test]
fn a_flood_is_counted_to_the_last_attempt_in_few_records() {
    let mut guard = guard();
    let (mut told, mut records) = (0, 0);
    let mut count = |items: Vec<Item>| {
        for item in items {
            if let Item::Write(attempt) = item {
                told += attempt.times;
                records += 1;
            }
        }
    };
    for n in 0..100_000_u64 {
        let (now, up) = (now(i64::try_from(n / 1000).expect("small")), Uptime(up(0).0 + n));
        guard.judge(&who(21), 1, &write(10), now, up);
        count(guard.take(now, up));
    }
    let due = guard.deadline().expect("something is pending");
    assert!(due <= up(100).plus(PACE));
    count(guard.take(now(105), due));
    assert_eq!(told, 100_000);
    assert!(records <= RECORDS + 100 / 5 + 1, "{records}");
}

#[test]
fn a_unit_that_does_not_answer_is_spared_and_asked_again_later() {
    let mut guard = guard();
    let (peer, question) = (who(20), read(0, 1));
    let late = LinkError::TimeLimit {
        after: Duration::from_secs(1),
    };
    let mut at = 0;
    for wait in [1, 2, 4, 8, 16, 32, 60, 60] {
        assert!(matches!(
            guard.judge(&peer, 1, &question, now(0), up(at)),
            Verdict::Forward(_)
        ));
        assert_eq!(
            guard.came(&peer, 1, &question, Some(&late), now(0), up(at)),
            Some(11)
        );
        assert_eq!(
            guard.judge(&peer, 1, &question, now(0), Uptime(up(at + wait).0 - 1)),
            Verdict::Spare
        );
        at += wait;
    }
    // Refused writes are still raised while the unit is spared, and an answer ends it.
    guard.judge(&peer, 1, &write(9), now(0), Uptime(up(at).0 - 1));
    assert_eq!(guard.take(now(0), up(at)).len(), 2);
    assert_eq!(guard.came(&peer, 1, &question, None, now(0), up(at)), None);
    assert!(matches!(
        guard.judge(&peer, 1, &question, now(0), up(at)),
        Verdict::Forward(_)
    ));
}

#[test]
fn an_allowed_write_is_on_record_with_what_came_of_it() {
    let mut guard = guard();
    let peer = who(20);
    assert_eq!(guard.came(&peer, 1, &write(10), None, now(1), up(1)), None);
    assert_eq!(
        guard.came(&peer, 1, &write(10), Some(&LinkError::NotTaken), now(2), up(2)),
        Some(4)
    );
    let outcomes: Vec<Outcome> = guard
        .take(now(2), up(2))
        .into_iter()
        .filter_map(|item| match item {
            Item::Write(attempt) => Some(attempt.outcome),
            _ => None,
        })
        .collect();
    assert_eq!(outcomes, [Outcome::Written, Outcome::Failed]);
}

#[test]
fn networks_hold_what_they_say() {
    let net = |text: &str| text.parse::<Network>().expect("a network");
    let ip = |text: &str| text.parse::<IpAddr>().expect("an address");
    assert!(net("192.0.2.64/26").holds(ip("192.0.2.127")) && !net("192.0.2.64/26").holds(ip("192.0.2.128")));
    assert!(net("0.0.0.0/0").holds(ip("203.0.113.9")) && !net("0.0.0.0/0").holds(ip("2001:db8::1")));
    assert!(net("192.0.2.20").holds(ip("::ffff:192.0.2.20")));
    assert!(net("2001:db8::/32").holds(ip("2001:db8:1::5")) && !net("2001:db8::/32").holds(ip("2001:db9::")));
    for bad in ["", "192.0.2", "192.0.2.1/33", "::/129", "192.0.2.1/x", "host"] {
        assert!(bad.parse::<Network>().is_err(), "{bad}");
    }
}

proptest! {
    /// Whatever octets come, from whomever: only allowed reads and listed writes pass.
    #[test]
    fn no_octets_pass_but_the_allowed(
        pdu in prop::collection::vec(any::<u8>(), 0..20), function in 0u8..50, peer in any::<u8>(), unit in 0u8..4,
    ) {
        let mut pdu = pdu;
        if let Some(first) = pdu.first_mut() {
            *first = function;
        }
        let question = Question::read(&pdu);
        match rules().decide(&who(peer), unit, &question) {
            Verdict::Forward(Ask::Write(write)) => {
                prop_assert!(peer == 20 && unit == 1 && write.function() == 6);
                prop_assert!((10..12).contains(&write.address()) && write.count() == 1);
            }
            Verdict::Forward(Ask::Read(request)) => {
                prop_assert!(unit == 1 && request.function == Function::HoldingRegisters);
                prop_assert!(u32::from(request.address) + u32::from(request.count) <= 10);
            }
            Verdict::Forward(Ask::Identify(_)) => prop_assert!(peer == 20 && unit == 1),
            Verdict::Refuse { .. } | Verdict::Spare => {}
        }
    }
}
