use bytes::BytesMut;
use proptest::prelude::*;
use rumqttc::mqttbytes::v4::{LastWill, PubComp, PubRec, PubRel, SubscribeFilter};

use super::*;
use crate::gate::codec;

const NOW: Uptime = Uptime(1_000_000);

fn gateway() -> GatewayId {
    "gw-1".parse().expect("an id")
}

fn greeting() -> Session {
    Session::new(gateway(), NOW.plus(Duration::from_secs(10)))
}

/// A session that said CONNECT with this keep-alive, in seconds.
fn online(keep_alive: u16) -> Session {
    let mut session = greeting();
    let mut connect = Connect::new("gw-1");
    connect.keep_alive = keep_alive;
    assert_eq!(say(&mut session, Packet::Connect(connect)), [Effect::Enter]);
    let accepted = connack(ConnectReturnCode::Success);
    assert_eq!(session.handle(Input::Entered, NOW), [accepted]);
    session
}

fn say(session: &mut Session, packet: Packet) -> Vec<Effect> {
    session.handle(Input::Packet(packet), NOW)
}

fn publish(topic: &str, qos: QoS, id: u16) -> Publish {
    let mut publish = Publish::new(topic, qos, vec![1]);
    publish.pkid = id;
    publish
}

fn subscribe(filters: &[(&str, QoS)]) -> Packet {
    let filters = filters
        .iter()
        .map(|(path, qos)| SubscribeFilter::new((*path).to_owned(), *qos));
    let mut subscribe = Subscribe::new_many(filters);
    subscribe.pkid = 5;
    Packet::Subscribe(subscribe)
}

fn mail(topic: Topic) -> Input {
    Input::Mail(Down {
        topic,
        payload: vec![7],
    })
}

/// All that a stolen spare key could say and hear.
#[test]
fn with_a_spare_key_records_go_up_acknowledgements_come_down_and_nothing_else() {
    let spare = || {
        let mut session = online(60);
        session.spare = true;
        session
    };
    let mut session = spare();
    let asked = [
        ("hw1/gw-1/down/#", QoS::AtLeastOnce),
        ("hw1/fleet/#", QoS::AtLeastOnce),
        ("hw1/gw-2/down/ack", QoS::AtLeastOnce),
        ("hw1/gw-1/down/ack", QoS::AtLeastOnce),
    ];
    let refused = SubscribeReasonCode::Failure;
    let granted = SubscribeReasonCode::Success(QoS::AtLeastOnce);
    let answer = SubAck::new(5, vec![refused, refused, refused, granted]);
    assert_eq!(
        say(&mut session, subscribe(&asked)),
        [Effect::Send(Packet::SubAck(answer))]
    );
    for topic in [
        Topic::Challenge(gateway()),
        Topic::Verdict(gateway()),
        Topic::Hint(gateway()),
        Topic::Policy(gateway()),
        Topic::Isolation(gateway()),
        Topic::Assignment(gateway()),
        Topic::Force(gateway()),
        Topic::Quiet(gateway()),
        Topic::Support(gateway()),
        Topic::FleetNotice,
    ] {
        assert_eq!(session.handle(mail(topic), NOW), []);
    }
    assert_eq!(session.handle(mail(ack()), NOW).len(), 1);
    for lane in Lane::ALL {
        let records = publish(&Topic::Up(gateway(), lane).to_string(), QoS::AtLeastOnce, 3);
        let effects = say(&mut session, Packet::Publish(records));
        assert!(matches!(effects[..], [Effect::Deliver { .. }]), "{effects:?}");
    }
    for topic in [
        Topic::Evidence(gateway()),
        Topic::Ask(gateway()),
        Topic::Still(gateway()),
    ] {
        let words = publish(&topic.to_string(), QoS::AtLeastOnce, 4);
        assert_eq!(
            say(&mut spare(), Packet::Publish(words)),
            [Effect::Close(Why::Topic)]
        );
    }
    let own = say(
        &mut online(60),
        subscribe(&[("hw1/gw-1/down/ack", QoS::AtLeastOnce)]),
    );
    let answer = SubAck::new(5, vec![refused]);
    assert_eq!(
        own,
        [Effect::Send(Packet::SubAck(answer))],
        "for spare keys alone"
    );
}

fn ack() -> Topic {
    Topic::Ack(gateway())
}

#[test]
fn a_connect_is_answered_by_what_is_wrong_with_it() {
    let will = Connect {
        last_will: Some(LastWill::new("t", "x", QoS::AtMostOnce, false)),
        ..Connect::new("gw-1")
    };
    for (connect, code, why) in [
        (Connect::new(""), ConnectReturnCode::BadClientId, Why::ClientId),
        (
            Connect::new("gw-2"),
            ConnectReturnCode::BadClientId,
            Why::ClientId,
        ),
        (Connect::new("a/b"), ConnectReturnCode::BadClientId, Why::ClientId),
        (will, ConnectReturnCode::NotAuthorized, Why::Feature),
    ] {
        let effects = say(&mut greeting(), Packet::Connect(connect));
        assert_eq!(effects, [connack(code), Effect::Close(why)]);
    }
    let version = greeting().handle(Input::Unreadable(Why::Version), NOW);
    let code = ConnectReturnCode::RefusedProtocolVersion;
    assert_eq!(version, [connack(code), Effect::Close(Why::Version)]);
    assert_eq!(
        say(&mut greeting(), Packet::PingReq),
        [Effect::Close(Why::Malformed)]
    );
}

#[test]
fn a_gateway_that_is_not_let_in_hears_why() {
    for (why, code) in [
        (Why::Full, ConnectReturnCode::ServiceUnavailable),
        (Why::Revoked, ConnectReturnCode::NotAuthorized),
    ] {
        let mut session = greeting();
        say(&mut session, Packet::Connect(Connect::new("gw-1")));
        assert_eq!(
            session.handle(Input::Refused(why), NOW),
            [connack(code), Effect::Close(why)]
        );
        assert_eq!(
            say(&mut session, Packet::PingReq),
            [],
            "nothing moves after the end"
        );
    }
}

#[test]
fn only_its_own_uplinks_are_delivered() {
    for lane in Lane::ALL {
        let packet = publish(&format!("hw1/gw-1/up/{lane}"), QoS::AtLeastOnce, 3);
        let payload = packet.payload.clone();
        let delivered = Effect::Deliver {
            lane,
            payload,
            id: Some(3),
        };
        assert_eq!(say(&mut online(60), Packet::Publish(packet)), [delivered]);
    }
    for topic in [
        "hw1/gw-2/up/vital",
        "hw1/gw-1/down/ack",
        "hw1/gw-1/up/other",
        "hw1/gw-1/../gw-2/up/vital",
        "hw1/fleet/notice",
        "$SYS/x",
        "é",
        "",
        "#",
        "hw1/gw-1/up/vital\0",
    ] {
        let packet = Packet::Publish(publish(topic, QoS::AtLeastOnce, 3));
        assert_eq!(
            say(&mut online(60), packet),
            [Effect::Close(Why::Topic)],
            "{topic}"
        );
    }
}

#[test]
fn features_that_are_not_given_end_the_connection() {
    let mut retained = publish("hw1/gw-1/up/vital", QoS::AtMostOnce, 0);
    retained.retain = true;
    for packet in [
        Packet::Publish(retained),
        Packet::Publish(publish("hw1/gw-1/up/vital", QoS::ExactlyOnce, 1)),
        Packet::PubRec(PubRec::new(1)),
        Packet::PubRel(PubRel::new(1)),
        Packet::PubComp(PubComp::new(1)),
    ] {
        assert_eq!(say(&mut online(60), packet), [Effect::Close(Why::Feature)]);
    }
    for packet in [
        Packet::Connect(Connect::new("gw-1")),
        Packet::ConnAck(ConnAck::new(ConnectReturnCode::Success, false)),
        Packet::SubAck(SubAck::new(1, vec![SubscribeReasonCode::Failure])),
        Packet::UnsubAck(UnsubAck::new(1)),
        Packet::PingResp,
    ] {
        assert_eq!(say(&mut online(60), packet), [Effect::Close(Why::Malformed)]);
    }
}

#[test]
fn foreign_filters_fail_one_by_one_and_own_ones_are_granted() {
    let mut session = online(60);
    let asked = subscribe(&[
        ("hw1/gw-1/down/#", QoS::ExactlyOnce),
        ("hw1/gw-2/down/#", QoS::AtLeastOnce),
        ("#", QoS::AtMostOnce),
        ("$share/g/hw1/gw-1/down/#", QoS::AtLeastOnce),
        ("hw1/fleet/#", QoS::AtLeastOnce),
        ("", QoS::AtLeastOnce),
    ]);
    let granted = SubscribeReasonCode::Success;
    let refused = SubscribeReasonCode::Failure;
    let codes = vec![
        granted(QoS::AtLeastOnce),
        refused,
        refused,
        refused,
        granted(QoS::AtMostOnce),
        refused,
    ];
    assert_eq!(
        say(&mut session, asked),
        [Effect::Send(Packet::SubAck(SubAck::new(5, codes)))]
    );
}

#[test]
fn at_64_that_are_not_stored_the_gate_stops_reading() {
    let mut session = online(60);
    for id in 1..=64 {
        assert!(session.takes_packets());
        say(
            &mut session,
            Packet::Publish(publish("hw1/gw-1/up/vital", QoS::AtLeastOnce, id)),
        );
    }
    assert!(!session.takes_packets());
    let confirmed = Effect::Send(Packet::PubAck(PubAck::new(1)));
    assert_eq!(session.handle(Input::Stored(1), NOW), [confirmed]);
    assert!(session.takes_packets());
    assert_eq!(
        session.handle(Input::NotStored, NOW),
        [Effect::Close(Why::NotStored)]
    );
}

#[test]
fn mail_waits_for_a_subscription_and_for_confirmations() {
    let mut session = online(60);
    assert!(!session.takes_mail());
    say(&mut session, subscribe(&[("hw1/gw-1/down/#", QoS::AtLeastOnce)]));
    for id in 1..=16 {
        assert!(session.takes_mail());
        let sent = publish_of(&session.handle(mail(ack()), NOW));
        assert_eq!((sent.pkid, sent.qos), (id, QoS::AtLeastOnce));
    }
    assert!(!session.takes_mail());
    say(&mut session, Packet::PubAck(PubAck::new(99)));
    assert!(!session.takes_mail(), "that was not one of ours");
    say(&mut session, Packet::PubAck(PubAck::new(7)));
    assert!(session.takes_mail());
    let hint = publish_of(&session.handle(mail(Topic::Hint(gateway())), NOW));
    assert_eq!((hint.pkid, hint.qos), (0, QoS::AtMostOnce));
    assert_eq!(
        session.handle(mail(Topic::FleetNotice), NOW),
        [],
        "not subscribed to the fleet"
    );
    let mut unsubscribe = Unsubscribe::new("hw1/gw-1/down/#");
    unsubscribe.pkid = 6;
    let answer = say(&mut session, Packet::Unsubscribe(unsubscribe));
    assert_eq!(answer, [Effect::Send(Packet::UnsubAck(UnsubAck::new(6)))]);
    assert!(!session.takes_mail());
}

#[test]
fn packet_ids_go_round_without_zero_and_without_one_in_use() {
    let mut session = online(60);
    say(&mut session, subscribe(&[("hw1/gw-1/down/#", QoS::AtLeastOnce)]));
    let first = publish_of(&session.handle(mail(ack()), NOW)).pkid;
    for _ in 0..70_000 {
        let sent = publish_of(&session.handle(mail(ack()), NOW)).pkid;
        assert!(sent != 0 && sent != first);
        say(&mut session, Packet::PubAck(PubAck::new(sent)));
    }
}

#[test]
fn silence_is_counted_by_the_keep_alive() {
    for (keep_alive, seconds) in [(0, 90), (10, 15), (60, 90), (800, 1200), (65_535, 1200)] {
        let mut session = online(keep_alive);
        let deadline = NOW.plus(Duration::from_secs(seconds));
        assert_eq!(session.deadline(), Some(deadline), "keep-alive {keep_alive}");
        let early = Uptime(deadline.0 - 1);
        assert_eq!(session.handle(Input::Tick, early), []);
        session.handle(Input::Packet(Packet::PingReq), early);
        assert_eq!(session.handle(Input::Tick, deadline), [], "it was heard");
        session.handle(Input::Resumed, deadline);
        let end = deadline.plus(Duration::from_secs(seconds));
        assert_eq!(session.handle(Input::Tick, end), [Effect::Close(Why::Silent)]);
    }
    let slow = greeting().handle(Input::Tick, NOW.plus(Duration::from_secs(10)));
    assert_eq!(slow, [Effect::Close(Why::Slow)]);
}

fn publish_of(effects: &[Effect]) -> Publish {
    match effects {
        [Effect::Send(Packet::Publish(publish))] => publish.clone(),
        other => panic!("no single publish: {other:?}"),
    }
}

/// What a hostile, admitted peer can do: any bytes, mixed with real packets, in any order with the gate's own inputs.
fn chaos() -> impl Strategy<Value = Vec<Chaos>> {
    let step = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..40).prop_map(Chaos::Bytes),
        (0_usize..8).prop_map(Chaos::Real),
        any::<u16>().prop_map(Chaos::Stored),
        Just(Chaos::Mail),
        (0_u64..100_000).prop_map(Chaos::Wait),
    ];
    proptest::collection::vec(step, 0..200)
}

#[derive(Debug, Clone)]
enum Chaos {
    Bytes(Vec<u8>),
    Real(usize),
    Stored(u16),
    Mail,
    Wait(u64),
}

fn real(which: usize) -> Packet {
    match which {
        0 => Packet::Connect(Connect::new("gw-1")),
        1 => Packet::Publish(publish("hw1/gw-1/up/urgent", QoS::AtLeastOnce, 1)),
        2 => Packet::Publish(publish("hw1/gw-1/up/vital", QoS::AtMostOnce, 0)),
        3 => subscribe(&[
            ("hw1/gw-1/down/#", QoS::AtLeastOnce),
            ("hw1/gw-2/down/#", QoS::AtLeastOnce),
        ]),
        4 => Packet::PubAck(PubAck::new(1)),
        5 => Packet::PingReq,
        6 => Packet::Publish(publish("hw1/gw-2/up/vital", QoS::AtLeastOnce, 2)),
        7 => Packet::Publish(publish("hw1/gw-1/up/evidence", QoS::AtLeastOnce, 3)),
        _ => Packet::Disconnect,
    }
}

proptest! {
    #[test]
    fn nothing_a_peer_sends_reaches_beyond_its_rights(start_online: bool, steps in chaos()) {
        let mut session = if start_online { online(60) } else { greeting() };
        let (mut now, mut ended) = (NOW, false);
        for step in steps {
            let mut inputs = Vec::new();
            let mut bytes = BytesMut::new();
            match step {
                Chaos::Bytes(some) => bytes.extend_from_slice(&some),
                Chaos::Real(which) => codec::write(&real(which), &mut bytes).expect("written"),
                Chaos::Stored(id) => inputs.push(Input::Stored(id)),
                Chaos::Mail if session.takes_mail() => inputs.push(mail(ack())),
                Chaos::Mail => {}
                Chaos::Wait(ms) => {
                    now = now.plus(Duration::from_millis(ms));
                    inputs.push(Input::Tick);
                }
            }
            while session.takes_packets() {
                match codec::read(&mut bytes, codec::MAX_PACKET) {
                    Ok(Some(packet)) => inputs.push(Input::Packet(packet)),
                    Ok(None) => break,
                    Err(why) => {
                        inputs.push(Input::Unreadable(why));
                        break;
                    }
                }
            }
            for input in inputs {
                for effect in session.handle(input, now) {
                    prop_assert!(!ended, "{effect:?} after the end");
                    match effect {
                        Effect::Enter => prop_assert!(session.handle(Input::Entered, now).len() == 1),
                        Effect::Close(_) => ended = true,
                        Effect::Deliver { .. } | Effect::Testify { .. } | Effect::Send(_) => {}
                    }
                }
                prop_assert!(session.sent.len() <= MAX_DOWN);
            }
        }
    }
}
