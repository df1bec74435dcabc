//! The agent against a small server that keeps the rules: enrolment, renewal, delivery through cuts.
#![expect(clippy::disallowed_methods, reason = "tests: real sockets, files and clocks")]

#[path = "with_a_server/authority.rs"]
mod authority;
#[path = "with_a_server/est.rs"]
mod est;
#[path = "with_a_server/gate.rs"]
mod gate;
#[path = "with_a_server/policies.rs"]
mod policies;

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use authority::Authority;
use est::Est;
use gate::Gate;
use homeward_agent::clock::Clock;
use homeward_agent::config::Config;
use homeward_agent::enrol::Refusal;
use homeward_agent::enrol::est::{EstError, Progress, enrol};
use homeward_agent::identity::keys::{Folder, Server};
use homeward_agent::outbox::keeper::{Keeper, Outbox, Place};
use homeward_agent::run::{Agent, Parts, policing};
use homeward_agent::trials::Trials;
use homeward_agent::vault::Vault;
use homeward_protocol::claim::{Claim, Code};
use homeward_protocol::envelope::Item;
use homeward_protocol::grade::Grade;
use homeward_protocol::id::Epoch;
use homeward_protocol::reading::{Details, Kind, Quality, Reading, Value};
use homeward_protocol::time::Timestamp;
use homeward_protocol::unit::Decimal;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

const LONG: Duration = Duration::from_hours(336);

fn clock() -> Arc<Clock> {
    Arc::new(Clock::with_floor(0))
}

fn claim(est: &Est, authority: &Authority) -> Claim {
    Claim {
        server: est.endpoint(),
        pin: authority.pin(),
        gateway: "gw-test".parse().expect("an id"),
        code: Code::from_random([9; 10]),
        expires: clock().now().secs() + 3600,
    }
}

fn reading(n: i64) -> Item {
    Item::Reading(Reading {
        sensor: "ups".parse().expect("an id"),
        kind: Kind::BatteryVoltage,
        value: Value::Number(Decimal::whole(n)),
        taken_at: Timestamp::synced(n),
        quality: Quality::Good,
        grade: Grade::Associated,
        details: Details::default(),
    })
}

/// An enrolled box in `dir`, and where its outbox is.
async fn enrolled(dir: &Path, est: &Est, authority: &Authority) -> Server {
    let folder = Folder::within(dir);
    enrol(&claim(est, authority), &folder, &clock(), &|_| {})
        .await
        .expect("enrols")
}

fn vault() -> Vault {
    Vault::of_process(&[7; 32]).expect("a key")
}

async fn outbox(place: Place) -> Outbox {
    let keeper = Keeper::start().expect("a thread");
    let opened = keeper.open(place, 1 << 24, Epoch(77), clock().now()).await;
    opened.expect("opens").0
}

struct Running {
    agent: Agent,
    records: mpsc::Sender<Vec<Item>>,
    stop: CancellationToken,
}

fn start(dir: &Path, outbox: Outbox) -> Running {
    start_with(dir, outbox, "")
}

/// With the policies of the box, when `helper` says where their helper listens.
fn start_with(dir: &Path, outbox: Outbox, helper: &str) -> Running {
    let identity = Folder::within(dir).load().expect("an identity");
    let text = "[server]\nretry_min_ms = 20\nretry_max_ms = 200\n";
    let mut config = Config::parse(text).expect("a configuration");
    config.policy_helper = (!helper.is_empty()).then(|| helper.into());
    let policy = (!helper.is_empty()).then(|| {
        policing::resume(
            dir,
            &identity,
            (&config, &[], &[]),
            (&clock(), Trials::with(None)),
        )
    });
    config.limits.ack = Duration::from_secs(2);
    let (records, inbox) = mpsc::channel(64);
    let (_, sensors) = watch::channel(Vec::new());
    let stop = CancellationToken::new();
    let parts = Parts {
        server: identity.server,
        key: Arc::new(identity.key),
        chain: identity.chain,
        trust: identity.trust,
        config,
        clock: clock(),
        outbox,
        records: inbox,
        buses: Vec::new(),
        sensors,
        data: Some(dir.to_owned()),
        key_status: None,
        proof: None,
        policy,
        assigned: None,
        last_alive: None,
    };
    let agent = Agent::start(parts, stop.clone()).expect("starts");
    Running { agent, records, stop }
}

/// Waits until `ready`, or fails after half a minute.
async fn until(what: &str, mut ready: impl FnMut() -> bool) {
    for _ in 0..3000 {
        if ready() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("waited in vain for: {what}");
}

#[tokio::test]
async fn enrols_after_an_operator_approved_and_again_without_asking() {
    let authority = Arc::new(Authority::new());
    let est = Est::start(Arc::clone(&authority), LONG).await;
    est.script(&[202, 202, 200]);
    let dir = tempfile::tempdir().expect("a directory");
    let folder = Folder::within(dir.path());
    let claim = claim(&est, &authority);
    let seen = Mutex::new(Vec::new());
    let tell = |progress| seen.lock().expect("not poisoned").push(progress);
    let server = enrol(&claim, &folder, &clock(), &tell).await.expect("enrols");
    assert_eq!(server.gateway, claim.gateway);
    let seen = seen.into_inner().expect("not poisoned");
    assert_eq!(seen[0], Progress::ServerProved);
    let key = folder.load().expect("loads").key.public().expect("a point");
    let fingerprint = key.fingerprint();
    assert_eq!(
        seen[1],
        Progress::Waiting {
            fingerprint,
            wait_s: 1
        }
    );
    let asked = est.requests();
    assert_eq!(
        enrol(&claim, &folder, &clock(), &|_| {}).await.expect("again"),
        server
    );
    assert_eq!(est.requests(), asked, "an enrolled box asks nobody");
}

#[tokio::test]
async fn a_new_claim_gives_a_new_key_and_a_refused_one_changes_nothing() {
    let authority = Arc::new(Authority::new());
    let est = Est::start(Arc::clone(&authority), LONG).await;
    let dir = tempfile::tempdir().expect("a directory");
    let folder = Folder::within(dir.path());
    enrolled(dir.path(), &est, &authority).await;
    let key = || folder.load().expect("loads").key.public().expect("a point");
    let first = key();
    let mut claim = claim(&est, &authority);
    claim.code = Code::from_random([8; 10]);
    est.script(&[401]);
    enrol(&claim, &folder, &clock(), &|_| {})
        .await
        .expect_err("refused");
    assert_eq!(key(), first);
    enrol(&claim, &folder, &clock(), &|_| {})
        .await
        .expect("enrols again");
    assert_ne!(key(), first);
    claim.gateway = "gw-other".parse().expect("an id");
    let error = enrol(&claim, &folder, &clock(), &|_| {})
        .await
        .expect_err("another gateway");
    assert!(error.to_string().contains("remove its data folder"), "{error}");
}

#[tokio::test]
async fn a_server_with_another_key_than_the_pinned_one_gets_nothing() {
    let authority = Arc::new(Authority::new());
    let est = Est::start(Arc::clone(&authority), LONG).await;
    let dir = tempfile::tempdir().expect("a directory");
    let claim = claim(&est, &Authority::new());
    let error = enrol(&claim, &Folder::within(dir.path()), &clock(), &|_| {}).await;
    assert!(
        matches!(error, Err(EstError::Refused(Refusal::WrongPin))),
        "{error:?}"
    );
    assert_eq!(
        est.requests(),
        1,
        "only the anchors were asked for: no code went out"
    );
}

#[tokio::test]
async fn a_stranger_who_shows_the_right_anchor_cannot_prove_it() {
    let ours = Arc::new(Authority::new());
    let theirs = Arc::new(Authority::new());
    let est = Est::start(Arc::clone(&theirs), LONG).await;
    est.show(vec![ours.root(), theirs.root()]);
    let dir = tempfile::tempdir().expect("a directory");
    let error = enrol(
        &claim(&est, &ours),
        &Folder::within(dir.path()),
        &clock(),
        &|_| {},
    )
    .await;
    assert!(matches!(error, Err(EstError::Unreachable { .. })), "{error:?}");
    assert_eq!(est.requests(), 1);
}

#[tokio::test]
async fn refusals_say_what_to_do() {
    let authority = Arc::new(Authority::new());
    let est = Est::start(Arc::clone(&authority), LONG).await;
    let dir = tempfile::tempdir().expect("a directory");
    let folder = Folder::within(dir.path());
    let mut claim = claim(&est, &authority);
    for (status, says) in [
        (401, "refused the code"),
        (409, "already used with another key"),
        (500, "answered 500"),
    ] {
        est.script(&[status]);
        let error = enrol(&claim, &folder, &clock(), &|_| {})
            .await
            .expect_err("refused");
        assert!(error.to_string().contains(says), "{error}");
    }
    claim.expires = 1_000_000_000;
    let error = enrol(&claim, &folder, &clock(), &|_| {})
        .await
        .expect_err("too old");
    assert!(
        error.to_string().contains("Ask the operator for a new one"),
        "{error}"
    );
    claim.server = "127.0.0.1:1".parse().expect("an endpoint");
    claim.expires = i64::MAX / 1000;
    let error = enrol(&claim, &folder, &clock(), &|_| {})
        .await
        .expect_err("nobody there");
    assert!(error.to_string().contains("cannot be reached"), "{error}");
}

#[tokio::test]
async fn every_reading_arrives_once_through_cut_connections_and_lost_acknowledgements() {
    let authority = Arc::new(Authority::new());
    let gate = Gate::start(Arc::clone(&authority)).await;
    let est = Est::start(Arc::clone(&authority), LONG).await;
    est.gate_at(gate.endpoint());
    let dir = tempfile::tempdir().expect("a directory");
    enrolled(dir.path(), &est, &authority).await;
    gate.cut_each(4);
    gate.lose_acks(3);
    let running = start(
        dir.path(),
        outbox(Place::File(dir.path().join("outbox.db"), vault())).await,
    );
    for n in 0..600 {
        running.records.send(vec![reading(n)]).await.expect("is taken");
        if n % 50 == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    until("600 readings at the server", || gate.readings().len() >= 600).await;
    let ledger = running.agent.ledger.clone();
    until("an empty outbox", || ledger.borrow().items() == 0).await;
    let mut got = gate.readings();
    got.sort_unstable();
    let want: Vec<i64> = (0..600).collect();
    assert_eq!(got, want);
    assert!(
        gate.connections() > 3,
        "the connection was cut: {}",
        gate.connections()
    );
    assert_eq!(gate.faults(), Vec::<String>::new());
    running.agent.stop().await;
}

#[tokio::test]
async fn a_server_that_was_put_back_gets_what_is_still_held_and_a_new_one_begins_where_we_are() {
    let authority = Arc::new(Authority::new());
    let gate = Gate::start(Arc::clone(&authority)).await;
    let est = Est::start(Arc::clone(&authority), LONG).await;
    est.gate_at(gate.endpoint());
    let dir = tempfile::tempdir().expect("a directory");
    enrolled(dir.path(), &est, &authority).await;
    let running = start(dir.path(), outbox(Place::Memory).await);
    running
        .records
        .send((0..20).map(reading).collect())
        .await
        .expect("is taken");
    let ledger = running.agent.ledger.clone();
    until("the first twenty", || {
        gate.readings().len() == 20 && ledger.borrow().items() == 0
    })
    .await;
    gate.forget_everything();
    running
        .records
        .send((20..40).map(reading).collect())
        .await
        .expect("is taken");
    until("the next twenty", || {
        gate.readings().len() == 20 && ledger.borrow().items() == 0
    })
    .await;
    assert_eq!(gate.not_held(), 20, "the hole is stated");
    running.agent.stop().await;
}

#[tokio::test]
async fn a_fork_is_answered_with_a_new_epoch_and_nothing_is_lost() {
    let authority = Arc::new(Authority::new());
    let gate = Gate::start(Arc::clone(&authority)).await;
    let est = Est::start(Arc::clone(&authority), LONG).await;
    est.gate_at(gate.endpoint());
    let dir = tempfile::tempdir().expect("a directory");
    enrolled(dir.path(), &est, &authority).await;
    let first = start(dir.path(), outbox(Place::Memory).await);
    first
        .records
        .send((0..5).map(reading).collect())
        .await
        .expect("is taken");
    until("five", || gate.readings().len() == 5).await;
    first.agent.stop().await;
    // The same epoch again, with other records: what a disk that was put back looks like.
    let second = start(dir.path(), outbox(Place::Memory).await);
    second
        .records
        .send((100..103).map(reading).collect())
        .await
        .expect("is taken");
    let ledger = second.agent.ledger.clone();
    until("three more under a new epoch", || gate.readings().len() == 8).await;
    until("an empty outbox", || ledger.borrow().items() == 0).await;
    assert_ne!(ledger.borrow().epoch, Epoch(77));
    second.agent.stop().await;
}

#[tokio::test]
async fn a_hint_renews_the_certificate_and_the_link_changes_over_to_it() {
    let authority = Arc::new(Authority::new());
    let gate = Gate::start(Arc::clone(&authority)).await;
    let est = Est::start(Arc::clone(&authority), LONG).await;
    est.gate_at(gate.endpoint());
    let dir = tempfile::tempdir().expect("a directory");
    enrolled(dir.path(), &est, &authority).await;
    let before = Folder::within(dir.path()).load().expect("loads").chain;
    let running = start(dir.path(), outbox(Place::Memory).await);
    until("a connection", || gate.connections() == 1).await;
    gate.hint("renew");
    until("another connection", || gate.connections() == 2).await;
    let after = Folder::within(dir.path()).load().expect("loads").chain;
    assert_ne!(before, after);
    assert_eq!(
        gate.last_certificate().as_deref(),
        after.first().map(AsRef::as_ref)
    );
    running.agent.stop().await;
}

#[tokio::test]
async fn a_certificate_near_its_end_is_renewed_without_being_asked() {
    let authority = Arc::new(Authority::new());
    let gate = Gate::start(Arc::clone(&authority)).await;
    let est = Est::start(Arc::clone(&authority), Duration::from_secs(6)).await;
    est.gate_at(gate.endpoint());
    let dir = tempfile::tempdir().expect("a directory");
    enrolled(dir.path(), &est, &authority).await;
    let before = est.requests();
    let running = start(dir.path(), outbox(Place::Memory).await);
    until("a renewal", || est.requests() > before).await;
    until("the link with the new certificate", || gate.connections() >= 2).await;
    running.agent.stop().await;
}

#[tokio::test]
async fn asked_to_stop_it_keeps_what_was_read_and_ends_in_time() {
    let authority = Arc::new(Authority::new());
    let est = Est::start(Arc::clone(&authority), LONG).await;
    let dir = tempfile::tempdir().expect("a directory");
    enrolled(dir.path(), &est, &authority).await;
    let kept = outbox(Place::File(dir.path().join("outbox.db"), vault())).await;
    let mut running = start(dir.path(), kept.clone());
    for n in 0..50 {
        running.records.send(vec![reading(n)]).await.expect("is taken");
    }
    running.stop.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(5), running.agent.ended()).await;
    ended.expect("in time").expect("cleanly");
    let items = kept.ledger().borrow().items();
    assert!(items >= 50, "fifty readings: {items}");
    let status = homeward_agent::status::file::read(dir.path()).expect("a status");
    assert_eq!(status.gateway.as_str(), "gw-test");
}
