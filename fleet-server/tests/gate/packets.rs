//! Packets that are odd, broken, half or too long.

use bytes::BytesMut;
use homeward_fleet::gate::Why;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Connect, ConnectReturnCode, LastWill, Packet, Publish, SubscribeReasonCode};

use crate::client::{Client, bytes_of, publish, subscribe};
use crate::house::House;

const MAX_PACKET: usize = 64 * 1024;
const TOPIC: &str = "hw1/gw-1/up/vital";

#[tokio::test(flavor = "multi_thread")]
async fn odd_and_foreign_client_ids_are_refused() {
    let house = House::open().await;
    for id in ["a/b", "", "gw-2", "GW-1", "gw-1 ", "é", "gw-1\0"] {
        // Twice, as the broker's own listener falls at the second one.
        for _ in 0..2 {
            let mut client = Client::dial(house.address, house.credentials("gw-1"))
                .await
                .expect("TLS");
            let answer = client.connect(Connect::new(id)).await;
            assert_eq!(answer, Some(ConnectReturnCode::BadClientId), "{id:?}");
            assert!(client.closed().await);
        }
    }
    let mut client = Client::dial(house.address, house.credentials("gw-1"))
        .await
        .expect("TLS");
    assert_eq!(client.connect(Connect::new("x".repeat(65_535))).await, None);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_protocol_versions_are_told_so() {
    let house = House::open().await;
    let v4 = bytes_of(&Packet::Connect(Connect::new("gw-1")));
    let mut others = vec![BytesMut::from(
        &b"\x10\x12\0\x06MQIsdp\x03\x02\0\x0a\0\x04gw-1"[..],
    )];
    for level in [0, 3, 5, 6, 0x84, 0xff] {
        let mut other = v4.clone();
        other[8] = level;
        others.push(other);
    }
    for other in others {
        let mut client = Client::dial(house.address, house.credentials("gw-1"))
            .await
            .expect("TLS");
        client.send_bytes(&other).await.expect("sent");
        match client.receive().await {
            Some(Packet::ConnAck(ack)) => assert_eq!(ack.code, ConnectReturnCode::RefusedProtocolVersion),
            answer => panic!("{answer:?} to {other:02x?}"),
        }
        assert!(client.closed().await);
    }
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_longest_packets_are_refused_before_they_come() {
    let house = House::open().await;
    for (announced, why) in [
        (&[0x30, 0xff, 0xff, 0xff, 0x7f][..], Why::TooLarge),
        (&[0x30, 0x81, 0x80, 0x04][..], Why::TooLarge),
        (&[0x82, 0xff, 0xff, 0xff, 0x7f][..], Why::TooLarge),
        (&[0x30, 0xff, 0xff, 0xff, 0xff, 0x01][..], Why::Malformed),
    ] {
        let mut client = house.connect("gw-1").await;
        client.send_bytes(announced).await.expect("sent");
        assert!(client.closed().await);
        assert_eq!(house.left("gw-1").await, why);
    }
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_packet_of_64_kib_is_stored_and_one_byte_more_is_not() {
    let house = House::open().await;
    let around = 2 + TOPIC.len() + 2;
    let mut client = house.connect("gw-1").await;
    client.publish(TOPIC, 1, &vec![7; MAX_PACKET - around]).await;
    assert_eq!(client.next_puback().await, 1);
    assert_eq!(house.stored("gw-1")[0].len(), MAX_PACKET - around);
    let _ = client
        .send_bytes(&bytes_of(&publish(TOPIC, 2, &vec![7; MAX_PACKET - around + 1])))
        .await;
    assert!(client.closed().await);
    assert_eq!(house.left("gw-1").await, Why::TooLarge);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn half_a_packet_holds_nobody_up_and_ends_with_the_keep_alive() {
    let house = House::open().await;
    let mut half_greeted = Client::dial(house.address, house.credentials("gw-2"))
        .await
        .expect("TLS");
    half_greeted
        .send_bytes(&bytes_of(&Packet::Connect(Connect::new("gw-2")))[..7])
        .await
        .expect("sent");
    let mut client = Client::dial(house.address, house.credentials("gw-1"))
        .await
        .expect("TLS");
    let mut connect = Connect::new("gw-1");
    connect.keep_alive = 1;
    assert_eq!(client.connect(connect).await, Some(ConnectReturnCode::Success));
    let whole = bytes_of(&publish(TOPIC, 1, &[1; 1000]));
    client.send_bytes(&whole[..500]).await.expect("sent");
    house.serves_an_honest_gateway().await;
    // A byte now and then is no sign of life.
    for byte in whole[500..].chunks(1).take(40) {
        if client.send_bytes(byte).await.is_err() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    assert!(client.closed().await);
    assert_eq!(house.left("gw-1").await, Why::Silent);
    assert_eq!(house.stored("gw-1").len(), 0);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn packets_cut_anywhere_are_put_together() {
    let house = House::open().await;
    let mut client = house.connect("gw-1").await;
    let mut all = BytesMut::new();
    for id in 1..=20 {
        all.extend_from_slice(&bytes_of(&publish(TOPIC, id, &[7; 100])));
    }
    for piece in all.chunks(37) {
        client.send_bytes(piece).await.expect("sent");
    }
    for id in 1..=20 {
        assert_eq!(client.next_puback().await, id);
    }
    assert_eq!(house.stored("gw-1").len(), 20);
}

#[tokio::test(flavor = "multi_thread")]
async fn odd_topics_close_that_connection_only() {
    let house = House::open().await;
    let mut bystander = house.connect("gw-2").await;
    for topic in [
        "é",
        "",
        "$share/g/z",
        "$SYS/broker",
        "#",
        "hw1/gw-1/up/vital\0",
        "hw1/gw-1/../gw-2/up/vital",
    ] {
        let mut client = house.connect("gw-1").await;
        client.publish(topic, 1, b"x").await;
        assert!(client.closed().await, "{topic:?}");
        assert_eq!(house.left("gw-1").await, Why::Topic);
    }
    bystander.publish("hw1/gw-2/up/urgent", 1, b"x").await;
    assert_eq!(bystander.next_puback().await, 1);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn features_that_are_not_given_close_the_connection() {
    let house = House::open().await;
    let base = Publish::new(TOPIC, QoS::AtLeastOnce, "x");
    for (retain, qos) in [
        (true, QoS::AtLeastOnce),
        (true, QoS::AtMostOnce),
        (false, QoS::ExactlyOnce),
    ] {
        let mut client = house.connect("gw-1").await;
        let odd = Publish {
            retain,
            qos,
            pkid: 1,
            ..base.clone()
        };
        // The codec leaves room for an id at QoS 0 when it is given one.
        let odd = Publish {
            pkid: u16::from(qos != QoS::AtMostOnce),
            ..odd
        };
        client.send(&Packet::Publish(odd)).await;
        assert!(client.closed().await);
        assert_eq!(house.left("gw-1").await, Why::Feature);
    }
    let mut client = Client::dial(house.address, house.credentials("gw-1"))
        .await
        .expect("TLS");
    let mut connect = Connect::new("gw-1");
    connect.last_will = Some(LastWill::new(TOPIC, "x", QoS::AtMostOnce, false));
    assert_eq!(
        client.connect(connect).await,
        Some(ConnectReturnCode::NotAuthorized)
    );
    assert!(client.closed().await);
    assert_eq!(house.stored_in_all(), 0);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn shared_and_system_filters_are_refused() {
    let house = House::open().await;
    // The broker's own listener falls when such a subscriber leaves a message unconfirmed and goes.
    let mut client = Client::dial(house.address, house.credentials("gw-1"))
        .await
        .expect("TLS");
    let mut connect = Connect::new("gw-1");
    connect.clean_session = false;
    assert_eq!(client.connect(connect).await, Some(ConnectReturnCode::Success));
    let filters = [
        "$share/g/z",
        "$share/g/hw1/gw-1/down/#",
        "$SYS/#",
        "#",
        "+/+/+",
        "hw1/+/down/#",
    ];
    client.subscribe(&filters).await;
    match client.receive().await {
        Some(Packet::SubAck(ack)) => assert_eq!(
            ack.return_codes,
            vec![SubscribeReasonCode::Failure; filters.len()]
        ),
        other => panic!("{other:?}"),
    }
    client.publish(TOPIC, 1, b"x").await;
    drop(client);
    assert_eq!(house.left("gw-1").await, Why::Lost);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn twenty_thousand_filters_are_refused_one_by_one() {
    let house = House::open().await;
    ask_for_twenty_thousand_filters(&house).await;
    house.serves_an_honest_gateway().await;
}

pub(crate) async fn ask_for_twenty_thousand_filters(house: &House) {
    let mut client = house.connect("gw-1").await;
    let refused = |answer, count| match answer {
        Some(Packet::SubAck(ack)) => assert_eq!(ack.return_codes, vec![SubscribeReasonCode::Failure; count]),
        other => panic!("{other:?}"),
    };
    for packet in 0..200 {
        let filters: Vec<_> = (0..100).map(|n| format!("hw1/gw-1/own/{packet}/{n}")).collect();
        let filters: Vec<_> = filters.iter().map(String::as_str).collect();
        client.send(&subscribe(&filters)).await;
        refused(client.receive().await, 100);
    }
    // As many as one packet holds.
    client.send(&subscribe(&vec!["x"; 16_000])).await;
    refused(client.receive().await, 16_000);
    client.goodbye().await;
}
