//! A client that shares no code with us: mosquitto's, on OpenSSL.

use std::env;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use homeward_fleet::ca::signer::serial;
use homeward_fleet::clock::Clock;
use homeward_fleet::gate::{Sent, Why};
use homeward_protocol::signed::PublicKey;
use homeward_protocol::topic::Topic;
use rcgen::{KeyPair, PublicKeyData};

use crate::house::{House, until};

/// One of mosquitto's clients as gw-1, with its credentials in `folder`; `None`, said aloud, where there is none.
fn mosquitto(program: &str, house: &House, folder: &Path) -> Option<Command> {
    if Command::new(program)
        .arg("--help")
        .stdout(Stdio::null())
        .spawn()
        .is_err()
    {
        let in_ci = env::var_os("CI").is_some_and(|ci| !ci.is_empty() && ci != "false");
        assert!(!in_ci, "{program} is missing: install Debian's mosquitto-clients");
        println!("skipped: {program} is missing; install Debian's mosquitto-clients");
        return None;
    }
    let (ca, cert, key) = (
        folder.join("ca.pem"),
        folder.join("cert.pem"),
        folder.join("key.pem"),
    );
    if !key.exists() {
        let pair = KeyPair::generate().expect("a key");
        let spki = PublicKey::from_spki(&pair.subject_public_key_info()).expect("P-256");
        let (gateway, now) = ("gw-1".parse().expect("an id"), Clock::system().now());
        let issued = house
            .authority
            .issue_gateway(&spki, &gateway, serial().expect("randomness"), now);
        fs::write(&ca, pem(&house.authority.trust_bundle()[0])).expect("written");
        fs::write(&cert, pem(&issued.expect("a certificate").der)).expect("written");
        fs::write(&key, pair.serialize_pem()).expect("written");
    }
    let mut command = Command::new(program);
    command.args(["-h", "localhost", "-i", "gw-1", "-V", "mqttv311", "-q", "1"]);
    command.args(["-p", &house.address.port().to_string()]);
    command
        .arg("--cafile")
        .arg(ca)
        .arg("--cert")
        .arg(cert)
        .arg("--key")
        .arg(key);
    Some(command)
}

fn pem(der: &[u8]) -> String {
    format!(
        "-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n",
        STANDARD.encode(der)
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquittos_publisher_delivers_to_its_own_topic_only() {
    let house = House::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    for (topic, delivers) in [("hw1/gw-1/up/vital", true), ("hw1/gw-2/up/vital", false)] {
        let Some(mut publisher) = mosquitto("mosquitto_pub", &house, folder.path()) else {
            return;
        };
        publisher.args(["-t", topic, "-m", "reading"]);
        let run = tokio::task::spawn_blocking(move || publisher.status().expect("started"));
        assert_eq!(run.await.expect("ended").success(), delivers, "{topic}");
    }
    assert_eq!(house.left("gw-1").await, Why::Disconnected);
    assert_eq!(house.left("gw-1").await, Why::Topic);
    assert_eq!(house.stored("gw-1"), ["reading"]);
    assert_eq!(house.stored_in_all(), 1);
    house.serves_an_honest_gateway().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mosquittos_subscriber_hears_what_is_for_it() {
    let house = House::open().await;
    let folder = tempfile::tempdir().expect("a folder");
    let Some(mut subscriber) = mosquitto("mosquitto_sub", &house, folder.path()) else {
        return;
    };
    subscriber.args(["-t", "hw1/gw-1/down/#", "-C", "2", "-F", "%t %q %p"]);
    let run = tokio::task::spawn_blocking(move || subscriber.output().expect("started"));
    let gateway = "gw-1".parse().expect("an id");
    let ack = || {
        house
            .connections
            .send(&gateway, Topic::Ack(gateway.clone()), b"stored".to_vec())
    };
    until("it is connected", || ack() == Sent::Queued).await;
    house
        .connections
        .send(&gateway, Topic::Hint(gateway.clone()), b"policy".to_vec());
    let heard = run.await.expect("ended");
    let heard = String::from_utf8_lossy(&heard.stdout);
    assert_eq!(heard, "hw1/gw-1/down/ack 1 stored\nhw1/gw-1/down/hint 0 policy\n");
    assert_eq!(house.left("gw-1").await, Why::Disconnected);
}
