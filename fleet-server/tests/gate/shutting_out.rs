//! Who is revoked, foreign, expired or cut off stays out, at once and also when resuming.

use std::sync::Arc;
use std::time::{Duration, Instant};

use homeward_fleet::ca::signer::serial;
use homeward_fleet::ca::{Authority, Revoked};
use homeward_fleet::clock::Clock;
use homeward_fleet::gate::{Limits, Sent, Why};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::topic::Topic;
use rcgen::{KeyPair, PublicKeyData};
use rumqttc::mqttbytes::v4::Packet;
use rustls::version::TLS12;
use rustls::{ALL_VERSIONS, ClientConfig, HandshakeKind};

use crate::client::Client;
use crate::house::{House, Storing, until};

const AT_ONCE: Duration = Duration::from_secs(1);

/// Dials and says CONNECT; whether the gateway was let in.
async fn is_let_in(house: &House, credentials: &Arc<ClientConfig>, gateway: &str) -> bool {
    let Ok(mut client) = Client::dial(house.address, Arc::clone(credentials)).await else {
        return false;
    };
    let connect = rumqttc::mqttbytes::v4::Connect::new(gateway);
    client.connect(connect).await == Some(rumqttc::mqttbytes::v4::ConnectReturnCode::Success)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_revoked_gateway_is_cut_off_and_stays_out_also_when_it_resumes() {
    let house = House::open().await;
    let credentials = house.credentials("gw-1");
    let mut first = Client::dial(house.address, Arc::clone(&credentials))
        .await
        .expect("TLS");
    first.greet("gw-1").await;
    let mut second = Client::dial(house.address, Arc::clone(&credentials))
        .await
        .expect("TLS");
    second.greet("gw-1").await;
    assert_eq!(
        second.stream.get_ref().1.handshake_kind(),
        Some(HandshakeKind::Resumed)
    );
    assert_eq!(house.left("gw-1").await, Why::Replaced);
    let gateway = "gw-1".parse().expect("an id");
    let began = Instant::now();
    house.revoked.insert("gw-1".parse().expect("an id"));
    assert!(house.connections.kick(&gateway));
    assert!(second.closed().await);
    assert!(began.elapsed() < AT_ONCE);
    assert_eq!(house.left("gw-1").await, Why::Kicked);
    for _ in 0..3 {
        assert!(!is_let_in(&house, &credentials, "gw-1").await);
    }
    assert!(
        !is_let_in(&house, &house.credentials("gw-1"), "gw-1").await,
        "nor with a new certificate"
    );
    house.revoked.remove(&gateway);
    assert!(is_let_in(&house, &credentials, "gw-1").await);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kicked_gateway_may_come_back() {
    let house = House::open().await;
    let mut client = house.connect("gw-1").await;
    assert!(house.connections.kick(&"gw-1".parse().expect("an id")));
    assert!(client.closed().await);
    house.connect("gw-1").await;
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_certificate_on_the_revocation_list_is_refused() {
    let house = House::open().await;
    let key = KeyPair::generate().expect("a key");
    let spki = PublicKey::from_spki(&key.subject_public_key_info()).expect("P-256");
    let now = Clock::system().now();
    let number = serial().expect("randomness");
    let gateway = "gw-1".parse().expect("an id");
    let issued = house
        .authority
        .issue_gateway(&spki, &gateway, number, now)
        .expect("a certificate");
    let credentials = house.client_config(vec![issued.der], &key);
    assert!(is_let_in(&house, &credentials, "gw-1").await);
    house.load_crl(&[Revoked {
        serial: number,
        at: now,
    }]);
    let again = house.client_config(vec![credentials_of(&house, &spki, number)], &key);
    assert!(!is_let_in(&house, &again, "gw-1").await);
    house.serves_an_honest_gateway().await;
}

/// The same certificate number again, without the first one's TLS tickets.
fn credentials_of(
    house: &House,
    spki: &PublicKey,
    number: homeward_fleet::ca::Serial,
) -> rustls::pki_types::CertificateDer<'static> {
    let gateway = "gw-1".parse().expect("an id");
    let now = Clock::system().now();
    house
        .authority
        .issue_gateway(spki, &gateway, number, now)
        .expect("a certificate")
        .der
}

#[tokio::test(flavor = "multi_thread")]
async fn strangers_expired_certificates_and_old_tls_are_refused() {
    let house = House::open().await;
    let key = KeyPair::generate().expect("a key");
    let spki = PublicKey::from_spki(&key.subject_public_key_info()).expect("P-256");
    let (gateway, now) = ("gw-1".parse().expect("an id"), Clock::system().now());
    let folder = tempfile::tempdir().expect("a folder");
    let domain = house.authority.trust_domain().clone();
    let other = Authority::init(&folder.path().join("ca"), domain, now).expect("an authority");
    let issue = |authority: &Authority, at| {
        let issued = authority.issue_gateway(&spki, &gateway, serial().expect("randomness"), at);
        vec![issued.expect("a certificate").der]
    };
    let stranger = house.client_config(issue(&other, now), &key);
    assert!(!is_let_in(&house, &stranger, "gw-1").await, "another authority's");
    let expired = house.client_config(issue(&house.authority, now.plus_ms(-30 * 86_400_000)), &key);
    assert!(!is_let_in(&house, &expired, "gw-1").await, "expired");
    let good = || issue(&house.authority, now);
    let anonymous = house.client_of(ALL_VERSIONS, None);
    assert!(!is_let_in(&house, &anonymous, "gw-1").await, "no certificate");
    let old = house.client_of(&[&TLS12], Some((good(), &key)));
    assert!(!is_let_in(&house, &old, "gw-1").await, "TLS 1.2");
    assert!(is_let_in(&house, &house.client_config(good(), &key), "gw-1").await);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_cuts_through_a_write_that_is_not_taken() {
    let house = House::open().await;
    let mut deaf = house.connect("gw-1").await;
    deaf.subscribe(&["hw1/gw-1/down/#"]).await;
    let gateway = "gw-1".parse().expect("an id");
    // Its receive window and the gate's buffers fill up, then its mailbox.
    let hint = || {
        house
            .connections
            .send(&gateway, Topic::Hint(gateway.clone()), vec![7; 60_000])
    };
    until("nothing more goes out", || hint() == Sent::Full).await;
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(hint(), Sent::Full);
    let began = Instant::now();
    assert!(house.connections.kick(&gateway));
    until("it is gone", || !house.connections.contains(&gateway)).await;
    assert!(began.elapsed() < AT_ONCE);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_reader_is_taken_over_without_harm() {
    let house = House::open().await;
    let mut deaf = house.connect("gw-1").await;
    deaf.subscribe(&["hw1/gw-1/down/#"]).await;
    let gateway = "gw-1".parse().expect("an id");
    let hint = || {
        house
            .connections
            .send(&gateway, Topic::Hint(gateway.clone()), vec![7; 60_000])
    };
    until("nothing more goes out", || hint() == Sent::Full).await;
    let newer = house.connect("gw-1").await;
    newer.goodbye().await;
    // Now the older one drains what it had been sent.
    while deaf.receive().await.is_some() {}
    until("both are gone", || !house.connections.contains(&gateway)).await;
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_takes_nothing_is_closed() {
    let limits = Limits {
        write: Duration::from_millis(300),
        ..Limits::default()
    };
    let house = House::with(limits, 10).await;
    let mut deaf = house.connect("gw-1").await;
    deaf.subscribe(&["hw1/gw-1/down/#"]).await;
    let gateway = "gw-1".parse().expect("an id");
    until("it was given up", || {
        let sent = house
            .connections
            .send(&gateway, Topic::Hint(gateway.clone()), vec![7; 60_000]);
        sent == Sent::Absent
    })
    .await;
    assert_eq!(house.left("gw-1").await, Why::Stuck);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_kick_cuts_through_a_wait_for_the_store() {
    let house = House::open().await;
    house.storing.send_replace(Storing::Held);
    let mut clients = Vec::new();
    for name in ["gw-1", "gw-2", "gw-3"] {
        let mut client = house.connect(name).await;
        for id in 1..=64 {
            client.publish(&format!("hw1/{name}/up/vital"), id, b"x").await;
        }
        clients.push(client);
    }
    for name in ["gw-1", "gw-2", "gw-3"] {
        let gateway = name.parse().expect("an id");
        let began = Instant::now();
        assert!(house.connections.kick(&gateway));
        until("it is gone", || !house.connections.contains(&gateway)).await;
        assert!(began.elapsed() < AT_ONCE);
    }
    for client in &mut clients {
        assert!(client.closed().await);
    }
    house.storing.send_replace(Storing::After(Duration::ZERO));
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_connection_of_a_gateway_wins() {
    let house = House::open().await;
    let mut older = house.connect("gw-1").await;
    let mut newer = house.connect("gw-1").await;
    assert!(older.closed().await);
    newer.send(&Packet::PingReq).await;
    assert_eq!(newer.receive().await, Some(Packet::PingResp));
    assert_eq!(house.connections.count(), 1);
    assert_eq!(house.left("gw-1").await, Why::Replaced);
    house.serves_an_honest_gateway().await;
}
