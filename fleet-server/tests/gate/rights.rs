//! One gateway never reaches another's topics.

use std::time::Duration;

use homeward_fleet::gate::{Sent, Spoken, Why};
use homeward_protocol::topic::Topic;
use rumqttc::mqttbytes::v4::{Packet, SubscribeReasonCode};

use crate::client::{Client, publish, subscribe};
use crate::house::{House, until};

/// A small generator with a seed: the same attempts in each run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // xorshift64*, Vigna 2014
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 33) % sides
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        let sides = u64::try_from(of.len()).expect("few");
        of[usize::try_from(self.roll(sides)).expect("few")]
    }

    /// A topic or filter that is not gw-evil's own, near to one that works.
    fn foreign(&mut self) -> String {
        loop {
            let start = self.pick(&["hw1", "hw1", "hw1", "hw1", "hw2", "+", "$share/g/hw1", "", "/hw1"]);
            let victim = self.pick(&[
                "gw-victim",
                "gw-evil/../gw-victim",
                "+",
                "#",
                "gw-evil2",
                "gw-evi",
                "fleet",
                "*",
            ]);
            let way = self.pick(&["up", "down", "+", "#", "down/..", "."]);
            let rest = self.pick(&[
                "vital",
                "ack",
                "hint",
                "#",
                "+",
                "notice",
                "urgent",
                "routine/x",
                "evidence",
                "ask",
                "challenge",
                "verdict",
            ]);
            let text = format!("{start}/{victim}/{way}/{rest}");
            // `hw1/fleet/#` is everyone's to read.
            if !text.starts_with("hw1/fleet/#") {
                return text;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_gateway_says_of_itself_arrives_with_the_key_of_its_certificate() {
    let house = House::open().await;
    let mut gateway = house.connect("gw-one").await;
    for (topic, id) in [("hw1/gw-one/up/evidence", 1), ("hw1/gw-one/up/ask", 2)] {
        gateway.send(&publish(topic, id, b"boot")).await;
        assert!(matches!(gateway.receive().await, Some(Packet::PubAck(ack)) if ack.pkid == id));
    }
    let heard = house.heard.lock().expect("unpoisoned");
    assert_eq!(heard.len(), 2);
    assert!(
        heard
            .iter()
            .all(|one| one.gateway.as_str() == "gw-one" && one.key == heard[0].key)
    );
    let said = [Spoken::Evidence("boot".into()), Spoken::Ask("boot".into())];
    assert!(heard.iter().map(|one| &one.spoken).eq(&said));
}

#[tokio::test(flavor = "multi_thread")]
async fn no_random_attempt_reaches_another_gateways_topics() {
    let attempts = if cfg!(debug_assertions) { 1000 } else { 10_000 };
    let house = House::open().await;
    let mut victim = house.connect("gw-victim").await;
    victim.subscribe(&["hw1/gw-victim/down/#", "hw1/fleet/#"]).await;
    assert!(matches!(victim.receive().await, Some(Packet::SubAck(_))));
    let credentials = house.credentials("gw-evil");
    let mut dice = Dice(20_261_125);
    let mut evil = None;
    for attempt in 0..attempts {
        if attempt % 100 == 0 {
            // On a busy machine the attempts outlast its keep-alive.
            victim.send(&Packet::PingReq).await;
            assert_eq!(victim.receive().await, Some(Packet::PingResp));
        }
        let target = dice.foreign();
        let mut client = if let Some(client) = evil.take() {
            client
        } else {
            let dialed = Client::dial(house.address, credentials.clone()).await;
            let mut client = dialed.expect("TLS");
            client.greet("gw-evil").await;
            client
        };
        if dice.roll(4) == 0 {
            client.send(&publish(&target, 1, b"forged")).await;
            assert!(client.closed().await, "attempt {attempt}: {target}");
        } else {
            client.send(&subscribe(&[&target])).await;
            match client.receive().await {
                Some(Packet::SubAck(ack)) => {
                    assert_eq!(
                        ack.return_codes,
                        [SubscribeReasonCode::Failure],
                        "attempt {attempt}: {target}"
                    );
                    evil = Some(client);
                }
                // A filter whose wildcards stand wrong.
                None => {}
                other => panic!("attempt {attempt}: {target}: {other:?}"),
            }
        }
    }
    assert_eq!(house.stored_in_all(), 0, "nothing was published");
    let mut evil = house.connect("gw-evil").await;
    let gateway = "gw-victim".parse().expect("an id");
    assert_eq!(
        house
            .connections
            .send(&gateway, Topic::Ack(gateway.clone()), b"secret".to_vec()),
        Sent::Queued
    );
    assert!(matches!(victim.receive().await, Some(Packet::Publish(_))));
    evil.send(&Packet::PingReq).await;
    assert_eq!(
        evil.receive().await,
        Some(Packet::PingResp),
        "nothing else was for it"
    );
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn each_gateway_hears_what_is_for_it_and_for_all() {
    let house = House::open().await;
    let mut clients = Vec::new();
    for name in ["gw-1", "gw-2"] {
        let mut client = house.connect(name).await;
        client
            .subscribe(&[&format!("hw1/{name}/down/#"), "hw1/fleet/#"])
            .await;
        assert!(matches!(client.receive().await, Some(Packet::SubAck(_))));
        clients.push(client);
    }
    let second = "gw-2".parse().expect("an id");
    house
        .connections
        .send(&second, Topic::Hint(second.clone()), b"policy".to_vec());
    assert_eq!(house.connections.send_all(&Topic::FleetNotice, b"hello"), 2);
    for (client, topics) in clients.iter_mut().zip([
        &["hw1/fleet/notice"][..],
        &["hw1/gw-2/down/hint", "hw1/fleet/notice"],
    ]) {
        for topic in topics {
            match client.receive().await {
                Some(Packet::Publish(publish)) => assert_eq!(publish.topic, *topic),
                other => panic!("{other:?}"),
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_sent_before_the_subscription_waits_for_it() {
    let house = House::open().await;
    let mut client = house.connect("gw-1").await;
    let gateway = "gw-1".parse().expect("an id");
    until("it is registered", || house.connections.contains(&gateway)).await;
    assert_eq!(
        house
            .connections
            .send(&gateway, Topic::Hint(gateway.clone()), b"policy".to_vec()),
        Sent::Queued
    );
    tokio::time::sleep(Duration::from_millis(20)).await;
    client.subscribe(&["hw1/gw-1/down/#"]).await;
    assert!(matches!(client.receive().await, Some(Packet::SubAck(_))));
    assert!(matches!(client.receive().await, Some(Packet::Publish(_))));
    client.goodbye().await;
    assert_eq!(house.left("gw-1").await, Why::Disconnected);
}
