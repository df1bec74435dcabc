//! From the gate to the acknowledgement, with the real store, keys, connections and bus.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::future::BoxFuture;
use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::{ChainHash, Envelope, Lane};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::signed::{Signed, Signer};
use ring::rand::SystemRandom;
use ring::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair as _};
use tokio::sync::{mpsc, oneshot, watch};
use tokio_util::sync::CancellationToken;

use super::NOW;
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::gate::{Connections, Down, Place, Uplink};
use crate::ingest::consume;
use crate::store::promises::Home;
use crate::store::promises::kept::{envelope, gateway, reading};
use crate::store::{Engine, Job, Store, StoreError, Tx};

struct Key(EcdsaKeyPair);

impl Key {
    fn new() -> Key {
        let random = SystemRandom::new();
        let alg = &ECDSA_P256_SHA256_FIXED_SIGNING;
        let pkcs8 = EcdsaKeyPair::generate_pkcs8(alg, &random).expect("a key");
        Key(EcdsaKeyPair::from_pkcs8(alg, pkcs8.as_ref(), &random).expect("a key"))
    }
}

impl Signer for Key {
    fn sign(&self, message: &[u8]) -> Result<[u8; 64], String> {
        let signed = self
            .0
            .sign(&SystemRandom::new(), message)
            .map_err(|e| e.to_string())?;
        signed.as_ref().try_into().map_err(|_| "not 64 bytes".to_owned())
    }
}

/// A running ingest with one connected gateway.
struct Bench {
    home: Home,
    store: Store,
    connections: Connections,
    place: Place,
    bus: Bus,
    uplinks: mpsc::Sender<Uplink>,
    keys: consume::Keys,
    stop: CancellationToken,
    running: tokio::task::JoinHandle<()>,
}

impl Bench {
    fn start() -> Bench {
        let home = Home::embedded();
        let store = home.open();
        Bench::over(home, store)
    }

    fn over(home: Home, store: Store) -> Bench {
        let connections = Connections::new(10);
        let place = connections
            .enter(&gateway(), false, "192.0.2.1:1", NOW)
            .expect("room");
        let bus = Bus::start().expect("a bus");
        let (uplinks, taken) = mpsc::channel(64);
        let stop = CancellationToken::new();
        let keys = consume::Keys::new(store.clone());
        let run = consume::run(
            keys.clone(),
            taken,
            connections.clone(),
            bus.clone(),
            Clock::from_fn(|| NOW),
            stop.clone(),
        );
        Bench {
            home,
            store,
            connections,
            place,
            bus,
            uplinks,
            keys,
            stop,
            running: tokio::spawn(run),
        }
    }

    async fn trust(&self, serial: &'static str, key: &Key) {
        let point = key.0.public_key().as_ref().to_vec();
        let work = move |tx: &mut dyn Tx| {
            tx.execute(
                "INSERT INTO gateways (id, state, created_at) VALUES ('gw-1', 'enrolled', 1) ON CONFLICT DO NOTHING",
                &[],
            )?;
            tx.execute(
                "INSERT INTO certificates (serial, gateway, point, not_before, not_after, issued_at, der)
                 VALUES ($1, 'gw-1', $2, 0, 9, 1, $2)",
                &[serial.into(), point.as_slice().into()],
            )
        };
        self.store.write(work).await.expect("a certificate");
    }

    async fn send(&self, lane: Lane, payload: Vec<u8>) -> oneshot::Receiver<()> {
        let (done, fired) = oneshot::channel();
        let uplink = Uplink {
            gateway: gateway(),
            lane,
            payload: payload.into(),
            done,
        };
        self.uplinks.send(uplink).await.expect("taken");
        fired
    }

    async fn mail(&self) -> Ack {
        let down: Down = std::future::poll_fn(|cx| self.place.poll_mail(cx)).await;
        Ack::decode(&down.payload).expect("an acknowledgement")
    }

    async fn count(&self, sql: &'static str) -> i64 {
        let read = self
            .store
            .read(move |tx| tx.row(sql, &[])?.map_or(Ok(0), |row| row.int(0)));
        read.await.expect("read")
    }
}

/// Envelopes of one reading each, numbered from 1.
fn run_of(key: &Key, n: u64) -> Vec<Vec<u8>> {
    let mut prev = ChainHash::start(Epoch(1), Lane::Vital);
    let one = |seq| {
        let at = i64::try_from(seq).expect("small");
        let mut one: Envelope = envelope(1, Lane::Vital, seq, prev, &[reading(at, 20)]);
        one.oldest = Seq(1);
        prev = prev.after(&one.entries[0]);
        Signed::seal(&one, key).expect("sealed")
    };
    (1..=n).map(one).collect()
}

#[tokio::test]
async fn records_are_acknowledged_after_the_commit_and_the_bus_says_so() {
    let bench = Bench::start();
    let mut events = bench.bus.subscribe();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let sent = run_of(&key, 1).remove(0);
    bench.send(Lane::Vital, sent.clone()).await.await.expect("PUBACK");
    assert_eq!(bench.count("SELECT count(*) FROM readings").await, 1);
    let ack = bench.mail().await;
    assert_eq!(
        (ack.epoch, ack.up_to, ack.next),
        (Epoch(1), Seq(1), Next::Continue)
    );
    assert_eq!(events.recv().await.expect("an event"), Event::Stored(gateway()));
    // The acknowledgement was lost: the same again is acknowledged again, and stored once.
    bench.send(Lane::Vital, sent).await.await.expect("PUBACK");
    assert_eq!(bench.mail().await.up_to, Seq(1));
    assert_eq!(bench.count("SELECT count(*) FROM readings").await, 1);
}

#[tokio::test]
async fn a_key_that_was_revoked_is_not_believed_once_it_is_forgotten() {
    let bench = Bench::start();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let sent = run_of(&key, 2);
    bench
        .send(Lane::Vital, sent[0].clone())
        .await
        .await
        .expect("PUBACK");
    let revoke = |tx: &mut dyn Tx| tx.execute("UPDATE certificates SET revoked_at = 2", &[]);
    bench.store.write(revoke).await.expect("revoked");
    bench.keys.forget(&gateway());
    bench
        .send(Lane::Vital, sent[1].clone())
        .await
        .await
        .expect("PUBACK");
    assert_eq!(bench.count("SELECT count(*) FROM readings").await, 1);
    assert_eq!(bench.count("SELECT total FROM rejects").await, 1);
}

#[tokio::test]
async fn a_burst_of_one_gateway_keeps_its_order_through_the_parallel_verification() {
    let bench = Bench::start();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let sending = async {
        let mut waiting = Vec::new();
        for sent in run_of(&key, 300) {
            waiting.push(bench.send(Lane::Vital, sent).await);
        }
        for fired in waiting {
            fired.await.expect("PUBACK");
        }
    };
    let hearing = async { while bench.mail().await.up_to != Seq(300) {} };
    tokio::join!(sending, hearing);
    assert_eq!(bench.count("SELECT up_to FROM streams").await, 300);
    assert_eq!(bench.count("SELECT count(*) FROM envelopes").await, 300);
    assert_eq!(bench.count("SELECT count(*) FROM gaps").await, 0);
}

#[tokio::test]
async fn one_that_cannot_be_stored_does_not_keep_those_before_it_out() {
    let bench = Bench::start();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON readings WHEN new.seq = 3
                  BEGIN SELECT RAISE(ABORT, 'refused'); END";
    let refusing = bench.store.write(move |tx| tx.execute(refuse, &[]));
    refusing.await.expect("a trigger");
    let mut stored = 0;
    for _ in 0..3 {
        let mut waiting = Vec::new();
        for sent in run_of(&key, 5) {
            waiting.push(bench.send(Lane::Vital, sent).await);
        }
        for fired in waiting {
            let _ = fired.await;
        }
        stored = bench.count("SELECT count(*) FROM readings").await;
        if stored == 2 {
            break;
        }
    }
    assert_eq!(
        stored, 2,
        "the first two, and nothing beyond the one that is refused"
    );
    while bench.mail().await.up_to != Seq(2) {}
}

#[tokio::test]
async fn what_is_no_envelope_of_its_gateway_is_kept_aside_and_taken_off_the_wire() {
    let bench = Bench::start();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let mut foreign = envelope(
        1,
        Lane::Vital,
        1,
        ChainHash::start(Epoch(1), Lane::Vital),
        &[reading(1, 20)],
    );
    foreign.gateway = "gw-2".parse().expect("an id");
    for (lane, payload) in [
        (Lane::Vital, b"not CBOR".to_vec()),
        (Lane::Vital, run_of(&Key::new(), 1).remove(0)),
        (Lane::Vital, Signed::seal(&foreign, &key).expect("sealed")),
        (Lane::Urgent, run_of(&key, 1).remove(0)),
    ] {
        bench.send(lane, payload).await.await.expect("PUBACK");
    }
    assert_eq!(bench.count("SELECT total FROM rejects").await, 4);
    assert_eq!(bench.count("SELECT count(*) FROM quarantine").await, 4);
    assert_eq!(bench.count("SELECT count(*) FROM readings").await, 0);
}

#[tokio::test]
async fn a_new_key_is_learnt_when_a_signature_does_not_match() {
    let bench = Bench::start();
    let (old, new) = (Key::new(), Key::new());
    bench.trust("aa", &old).await;
    bench
        .send(Lane::Vital, run_of(&old, 1).remove(0))
        .await
        .await
        .expect("PUBACK");
    bench.trust("bb", &new).await;
    bench
        .send(Lane::Vital, run_of(&new, 2).remove(1))
        .await
        .await
        .expect("PUBACK");
    assert_eq!(bench.count("SELECT up_to FROM streams").await, 2);
}

#[tokio::test]
async fn asked_to_stop_it_stores_and_acknowledges_what_it_has_taken() {
    let bench = Bench::start();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let mut waiting = Vec::new();
    for sent in run_of(&key, 60) {
        waiting.push(bench.send(Lane::Vital, sent).await);
    }
    bench.stop.cancel();
    for fired in waiting {
        fired.await.expect("PUBACK");
    }
    bench.running.await.expect("ends");
    let reopened = bench.home.open();
    let stored = reopened.read(|tx| {
        tx.row("SELECT count(*) FROM readings", &[])?
            .map_or(Ok(0), |row| row.int(0))
    });
    assert_eq!(stored.await.expect("read"), 60);
}

/// A database that is away: reads work, writes do not.
struct Away(Store);

impl Engine for Away {
    fn submit_write(&self, job: Box<dyn Job>) -> BoxFuture<'_, Result<(), StoreError>> {
        job.tell(Some(StoreError::Unavailable {
            step: "committing",
            why: "the disk is full".into(),
        }));
        Box::pin(async { Ok(()) })
    }

    fn submit_read(&self, job: Box<dyn Job>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.0.engine.submit_read(job)
    }

    fn ended(&self) -> watch::Receiver<Option<String>> {
        self.0.engine.ended()
    }
}

#[tokio::test]
async fn what_cannot_be_stored_is_not_acknowledged() {
    let home = Home::embedded();
    let store = Store::new(Arc::new(Away(home.open())));
    let bench = Bench::over(home, store);
    let fired = bench.send(Lane::Vital, b"anything".to_vec()).await;
    assert!(fired.await.is_err(), "PUBACK was sent");
    assert!(
        bench.connections.contains(&gateway()),
        "the gate ends the connection, not the ingest"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement: run it by name, with --release and --nocapture"]
async fn how_many_envelopes_a_second_are_stored() {
    const ENVELOPES: u64 = 30_000;
    let bench = Bench::start();
    let key = Key::new();
    bench.trust("aa", &key).await;
    let sent = run_of(&key, ENVELOPES);
    let begun = Instant::now();
    let mut waiting = Vec::new();
    for payload in sent {
        waiting.push(bench.send(Lane::Vital, payload).await);
    }
    for fired in waiting {
        fired.await.expect("PUBACK");
    }
    let took = begun.elapsed().max(Duration::from_millis(1));
    let rate = u128::from(ENVELOPES) * 1000 / took.as_millis();
    println!("{rate} signed envelopes of one reading stored and acknowledged each second, SQLite FULL");
}
