//! What is acknowledged is stored, in order, however slow the store is.

use std::time::{Duration, Instant};

use bytes::BytesMut;
use homeward_fleet::gate::{Limits, Sent, Why};
use homeward_protocol::topic::Topic;
use rumqttc::mqttbytes::QoS;
use rumqttc::mqttbytes::v4::{Packet, PubAck, Publish};
use rumqttc::{AsyncClient, Event, MqttOptions, TlsConfiguration, Transport};
use tokio::time::timeout;

use crate::client::{bytes_of, publish};
use crate::house::{House, PATIENCE, Storing, until};

const TOPIC: &str = "hw1/gw-1/up/vital";

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_store_slows_the_publisher_and_loses_nothing() {
    let house = House::open().await;
    house
        .storing
        .send_replace(Storing::After(Duration::from_micros(200)));
    let mut client = house.connect("gw-1").await;
    let count = 2000_u16;
    let mut confirmed = 0;
    for id in 1..=count {
        client.publish(TOPIC, id, &id.to_be_bytes()).await;
        while id - confirmed >= 60 {
            confirmed = client.next_puback().await;
        }
    }
    while confirmed < count {
        confirmed = client.next_puback().await;
    }
    let stored: Vec<_> = house
        .stored("gw-1")
        .iter()
        .map(|b| u16::from_be_bytes([b[0], b[1]]))
        .collect();
    assert_eq!(stored, (1..=count).collect::<Vec<_>>(), "all, once, in order");
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_held_store_stops_the_gate_from_reading() {
    let limits = Limits {
        rate: u32::MAX,
        burst: u32::MAX,
        ..Limits::default()
    };
    let house = House::with(limits, 10).await;
    house.storing.send_replace(Storing::Held);
    let client = house.connect("gw-1").await;
    let (mut reads, mut writes) = tokio::io::split(client.stream);
    // Far more than fits the sockets' buffers: the write has to stand still.
    let flood = tokio::spawn(async move {
        use tokio::io::AsyncWriteExt;
        let mut sent = 0_usize;
        for id in 1..=1000_u16 {
            writes
                .write_all(&bytes_of(&publish(TOPIC, id, &vec![7; 50_000])))
                .await?;
            writes.flush().await?;
            sent += 1;
        }
        Ok::<_, std::io::Error>((sent, writes))
    });
    tokio::time::sleep(Duration::from_millis(500)).await;
    assert!(!flood.is_finished(), "the gate reads although nothing is stored");
    house.storing.send_replace(Storing::After(Duration::ZERO));
    let mut acks = BytesMut::new();
    while acks.len() < 4 * 1000 {
        use tokio::io::AsyncReadExt;
        assert_ne!(reads.read_buf(&mut acks).await.expect("acks"), 0);
    }
    let (sent, _writes) = flood.await.expect("no panic").expect("written");
    assert_eq!(sent, 1000);
    assert_eq!(house.stored("gw-1").len(), 1000);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_transaction_acknowledges_nothing_and_ends_the_connection() {
    let house = House::open().await;
    house.storing.send_replace(Storing::Fails);
    let mut client = house.connect("gw-1").await;
    client.publish(TOPIC, 1, b"x").await;
    assert_eq!(client.receive().await, None);
    assert_eq!(house.left("gw-1").await, Why::NotStored);
    house.storing.send_replace(Storing::After(Duration::ZERO));
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_slowed_to_its_allowance_and_loses_nothing() {
    let limits = Limits {
        rate: 20_000,
        burst: 20_000,
        ..Limits::default()
    };
    let house = House::with(limits, 10).await;
    let flood = async |count: u16| {
        let mut client = house.connect("gw-1").await;
        let mut all = BytesMut::new();
        for id in 1..=count {
            all.extend_from_slice(&bytes_of(&publish(TOPIC, id, &[7; 500])));
        }
        let began = Instant::now();
        client.send_bytes(&all).await.expect("sent");
        for id in 1..=count {
            assert_eq!(client.next_puback().await, id);
        }
        began.elapsed()
    };
    // 50 times 525 bytes and 256 for each packet, less the burst of 20,000, at 20,000 a second.
    let took = flood(50).await;
    assert!(took > Duration::from_millis(700), "took {took:?}");
    // 20 times the same, and no new burst for a new connection.
    let took = flood(20).await;
    assert!(
        took > Duration::from_millis(400),
        "took {took:?} after connecting anew"
    );
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_without_acknowledgement_are_stored_too() {
    let house = House::open().await;
    let mut client = house.connect("gw-1").await;
    let packet = Packet::Publish(Publish::new("hw1/gw-1/up/routine", QoS::AtMostOnce, "x"));
    client.send(&packet).await;
    until("it is stored", || house.stored("gw-1").len() == 1).await;
    client.send(&Packet::PingReq).await;
    assert_eq!(client.receive().await, Some(Packet::PingResp));
}

#[tokio::test(flavor = "multi_thread")]
async fn unconfirmed_acknowledgements_are_bounded_and_go_on_when_confirmed() {
    let house = House::open().await;
    let mut client = house.connect("gw-1").await;
    client.subscribe(&["hw1/gw-1/down/#"]).await;
    assert!(matches!(client.receive().await, Some(Packet::SubAck(_))));
    let gateway = "gw-1".parse().expect("an id");
    let ack = |n: u8| {
        house
            .connections
            .send(&gateway, Topic::Ack(gateway.clone()), vec![n])
    };
    for n in 0..16 {
        assert_eq!(ack(n), Sent::Queued);
        match client.receive().await {
            Some(Packet::Publish(publish)) => {
                assert_eq!((&publish.payload[..], publish.pkid), (&[n][..], u16::from(n) + 1));
            }
            other => panic!("{other:?}"),
        }
    }
    for n in 16..32 {
        assert_eq!(ack(n), Sent::Queued);
    }
    assert_eq!(ack(32), Sent::Full);
    client.send(&Packet::PubAck(PubAck::new(5))).await;
    match client.receive().await {
        Some(Packet::Publish(publish)) => assert_eq!(publish.payload[..], [16]),
        other => panic!("{other:?}"),
    }
    until("there is a place again", || ack(33) == Sent::Queued).await;
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_agents_own_client_library_connects_delivers_and_is_acknowledged() {
    let house = House::open().await;
    let mut options = MqttOptions::new("gw-1", "localhost", house.address.port());
    options.set_transport(Transport::tls_with_config(TlsConfiguration::Rustls(
        house.credentials("gw-1"),
    )));
    options.set_inflight(64);
    let (client, mut events) = AsyncClient::new(options, 10);
    client
        .subscribe("hw1/gw-1/down/#", QoS::AtLeastOnce)
        .await
        .expect("queued");
    client
        .publish(TOPIC, QoS::AtLeastOnce, false, "reading")
        .await
        .expect("queued");
    let gateway = "gw-1".parse().expect("an id");
    loop {
        match timeout(PATIENCE, events.poll())
            .await
            .expect("in time")
            .expect("connected")
        {
            Event::Incoming(Packet::PubAck(_)) => {
                assert_eq!(house.stored("gw-1"), ["reading"]);
                house
                    .connections
                    .send(&gateway, Topic::Ack(gateway.clone()), b"stored".to_vec());
            }
            Event::Incoming(Packet::Publish(publish)) => {
                assert_eq!(
                    (&*publish.topic, &publish.payload[..]),
                    ("hw1/gw-1/down/ack", &b"stored"[..])
                );
                break;
            }
            _ => {}
        }
    }
}
