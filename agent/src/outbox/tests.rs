//! Promises of the outbox: random lives against a server that follows the rules of delivery, full disks, damage.

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::{ChainHash, Entry, Lane};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;
use proptest::prelude::*;

use super::sqlite::{Db, Opened, OutboxError};
use super::{Batch, Progress, Settle, Settled};
use crate::vault::Vault;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn body(n: u64) -> Bytes {
    Bytes(format!("record {n} {}", "x".repeat(40)).into_bytes())
}

fn number(body: &Bytes) -> Option<u64> {
    let text = std::str::from_utf8(&body.0).ok()?;
    text.strip_prefix("record ")?.split(' ').next()?.parse().ok()
}

/// One lane of a server that keeps the rules of delivery.
#[derive(Default)]
struct Stored {
    up_to: u64,
    heads: BTreeMap<u64, ChainHash>,
}

#[derive(Default)]
struct Server {
    lanes: BTreeMap<(u64, &'static str), Stored>,
    records: Vec<u64>,
    alarms: u64,
    lost: u64,
    forks: u64,
}

impl Server {
    fn take(&mut self, batch: &Batch) -> Ack {
        let start = ChainHash::start(batch.epoch, batch.lane);
        let held = self
            .lanes
            .entry((batch.epoch.0, batch.lane.name()))
            .or_insert_with(|| Stored {
                up_to: 0,
                heads: BTreeMap::from([(0, start)]),
            });
        let mut ack = Ack {
            epoch: batch.epoch,
            lane: batch.lane,
            up_to: Seq(held.up_to),
            next: Next::Continue,
        };
        if batch.first.0 > held.up_to + 1 {
            return ack;
        }
        assert_eq!(
            held.heads.get(&(batch.first.0 - 1)),
            Some(&batch.prev),
            "the chain is broken"
        );
        let (mut at, mut chain) = (batch.first.0, batch.prev);
        for entry in &batch.entries {
            chain = chain.after(entry);
            let end = at + entry.span() - 1;
            if end > held.up_to {
                match entry {
                    Entry::Item(body) => match number(body) {
                        Some(n) => self.records.push(n),
                        None => self.alarms += 1,
                    },
                    // What of it is stored already is not lost.
                    Entry::Lost(_) => self.lost += end - at.max(held.up_to + 1) + 1,
                }
                held.up_to = end;
                held.heads.insert(end, chain);
            } else if held.heads.get(&end).is_some_and(|known| *known != chain) {
                self.forks += 1;
                ack.next = Next::NewEpoch;
                return ack;
            }
            at = end + 1;
        }
        ack.up_to = Seq(held.up_to);
        ack
    }
}

fn drain(db: &mut Db, server: &mut Server) {
    for lane in Lane::ALL {
        let mut from = db.ledger().lane(lane).oldest;
        while let Some(batch) = db.batch(lane, from, NOW).expect("reads") {
            from = batch.last.next();
            let ack = server.take(&batch);
            db.settle(&ack, Epoch(99), NOW).expect("settles");
        }
    }
}

/// What seals the outboxes here.
fn vault() -> Vault {
    Vault::of_process(&[7; 32]).expect("a key")
}

#[derive(Debug, Clone)]
enum Step {
    Push(usize, u8),
    Send(usize),
    SendUnacked(usize),
    OldAck(usize),
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..3usize, 1..30u8).prop_map(|(lane, n)| Step::Push(lane, n)),
        (0..3usize).prop_map(Step::Send),
        (0..3usize).prop_map(Step::SendUnacked),
        (0..3usize).prop_map(Step::OldAck),
        Just(Step::Crash),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    /// Whatever happens, each record is stored once, or stated as lost, and nothing else is stored.
    #[test]
    fn each_record_is_stored_once_or_stated_as_lost(steps in proptest::collection::vec(step(), 1..60)) {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("outbox.db");
        let quota = 12_000;
        let (mut db, _) = Db::open(&path, &vault(), quota, Epoch(1), NOW).expect("opens");
        let mut server = Server::default();
        let mut pushed = 0;
        for step in steps {
            match step {
                Step::Push(lane, n) => {
                    let bodies: Vec<_> = (0..u64::from(n)).map(|i| (Lane::ALL[lane], body(pushed + i))).collect();
                    db.push(&bodies, NOW).expect("pushes");
                    pushed += u64::from(n);
                    prop_assert!(db.ledger().bytes() <= quota);
                }
                Step::Send(lane) | Step::SendUnacked(lane) => {
                    let from = db.ledger().lanes[lane].oldest;
                    if let Some(batch) = db.batch(Lane::ALL[lane], from, NOW).expect("reads") {
                        let ack = server.take(&batch);
                        if matches!(step, Step::Send(_)) {
                            db.settle(&ack, Epoch(7), NOW).expect("settles");
                        }
                    }
                }
                Step::OldAck(lane) => {
                    let held = db.ledger().lanes[lane];
                    let ack = Ack {
                        epoch: db.ledger().epoch,
                        lane: Lane::ALL[lane],
                        up_to: Seq(held.oldest.0 - 1),
                        next: Next::Continue,
                    };
                    prop_assert_eq!(db.settle(&ack, Epoch(7), NOW).expect("settles"), Settled::Ignored);
                }
                Step::Crash => {
                    drop(db);
                    db = Db::open(&path, &vault(), quota, Epoch(2), NOW).expect("opens again").0;
                }
            }
        }
        // Twice: the first may end the alarm, which is a record too.
        drain(&mut db, &mut server);
        drain(&mut db, &mut server);
        let numbered: u64 = db.ledger().lanes.iter().map(|lane| lane.next.0 - 1).sum();
        let unique: BTreeSet<_> = server.records.iter().collect();
        prop_assert_eq!(unique.len(), server.records.len(), "a record was stored twice");
        prop_assert_eq!(server.records.len() as u64 + server.alarms + server.lost, numbered);
        prop_assert!(server.records.len() as u64 + server.lost >= pushed);
        prop_assert!(server.lost <= db.ledger().lost);
        prop_assert_eq!(server.forks, 0);
        prop_assert_eq!(db.ledger().items(), 0);
    }
}

fn fill(db: &mut Db, lane: Lane, from: u64, n: u64) {
    for i in 0..n {
        db.push(&[(lane, body(from + i))], NOW).expect("pushes");
    }
}

#[test]
fn the_least_important_goes_first_and_alarms_last() {
    let mut db = Db::in_memory(8_000, Epoch(1)).expect("opens");
    fill(&mut db, Lane::Urgent, 0, 10);
    fill(&mut db, Lane::Routine, 10, 20);
    fill(&mut db, Lane::Vital, 30, 70);
    let ledger = *db.ledger();
    assert_eq!(ledger.lane(Lane::Routine).items, 0);
    assert!(ledger.lane(Lane::Vital).items > 20);
    assert_eq!(
        ledger.lane(Lane::Urgent).items,
        11,
        "ten, and the alarm that records were lost"
    );
    let batch = db
        .batch(Lane::Routine, Seq(1), NOW)
        .expect("reads")
        .expect("a loss");
    assert_eq!(batch.entries.len(), 1, "losses side by side become one");
    assert_eq!(batch.entries[0].span(), 20);
}

#[test]
fn the_alarm_ends_when_the_losses_were_told_and_there_is_room() {
    let mut db = Db::in_memory(8_000, Epoch(1)).expect("opens");
    fill(&mut db, Lane::Vital, 0, 100);
    assert!(db.ledger().losing);
    let mut server = Server::default();
    drain(&mut db, &mut server);
    assert!(!db.ledger().losing);
    drain(&mut db, &mut server);
    assert_eq!(db.ledger().items(), 0);
    assert_eq!(server.lost, db.ledger().lost);
}

#[test]
fn a_server_that_knows_other_records_gets_all_of_ours_under_a_new_epoch() {
    let mut db = Db::in_memory(1 << 20, Epoch(1)).expect("opens");
    fill(&mut db, Lane::Vital, 0, 20);
    fill(&mut db, Lane::Urgent, 20, 3);
    let ack = Ack {
        epoch: Epoch(1),
        lane: Lane::Vital,
        up_to: Seq(5),
        next: Next::Continue,
    };
    assert_eq!(
        db.settle(&ack, Epoch(2), NOW).expect("settles"),
        Settled::Deleted(Seq(5))
    );
    let fork = Ack {
        next: Next::NewEpoch,
        up_to: Seq(9),
        ..ack
    };
    assert_eq!(
        db.settle(&fork, Epoch(2), NOW).expect("settles"),
        Settled::Rebased
    );
    let beyond = Ack {
        epoch: Epoch(2),
        up_to: Seq(16),
        ..ack
    };
    // Records 6 to 9 were alike; 10 to 20 and the urgent ones are all there.
    assert_eq!(db.ledger().settle(&beyond), Settle::Rebase(Seq::ZERO));
    let mut server = Server::default();
    drain(&mut db, &mut server);
    assert_eq!(server.records.len(), 14);
}

#[test]
fn a_record_that_does_not_fit_its_hash_is_reported_and_holds_nothing_up() {
    let mut db = Db::in_memory(1 << 20, Epoch(1)).expect("opens");
    fill(&mut db, Lane::Vital, 0, 10);
    db.connection()
        .execute("UPDATE rows SET body = x'00' WHERE lane = 1 AND first = 4", [])
        .expect("damages");
    let mut server = Server::default();
    drain(&mut db, &mut server);
    assert_eq!((server.records.len(), server.lost), (9, 1));
}

#[test]
fn a_damaged_file_is_moved_aside_and_a_new_outbox_begins() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    std::fs::write(&path, vec![0x55; 20_000]).expect("writes");
    let (db, opened) = Db::open(&path, &vault(), 1 << 20, Epoch(5), NOW).expect("opens");
    let Opened::Replaced(aside) = opened else {
        panic!("not replaced: {opened:?}");
    };
    assert!(aside.exists());
    assert_eq!(db.ledger().epoch, Epoch(5));
    assert!(db.ledger().losing, "the loss raises an alarm");
}

#[test]
fn a_full_disk_costs_the_least_important_and_says_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    let (mut db, _) = Db::open(&path, &vault(), 1 << 20, Epoch(1), NOW).expect("opens");
    let limit = |db: &Db, pages: i64| {
        db.connection()
            .pragma_update(None, "max_page_count", pages)
            .expect("limits");
    };
    limit(&db, 60);
    let mut refused = 0;
    for n in 0..3_000 {
        match db.push(&[(Lane::Vital, body(n))], NOW) {
            Ok(()) => {}
            Err(OutboxError::DiskRefused { count }) => refused += count as u64,
            Err(other) => panic!("{other}"),
        }
    }
    assert!(db.ledger().losing || refused > 0);
    limit(&db, 10_000);
    db.push(&[(Lane::Vital, body(3_000))], NOW).expect("takes again");
    assert_eq!(db.refused(), 0, "what was refused is stated now");
    let mut server = Server::default();
    drain(&mut db, &mut server);
    assert_eq!(server.records.len() as u64 + server.lost, 3_001);
    assert!(server.lost > 0);
}

/// Every byte that the outbox and its companions have on the disk.
fn image(dir: &std::path::Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).expect("a folder") {
        all.extend(std::fs::read(entry.expect("an entry").path()).expect("read"));
    }
    all
}

#[test]
fn no_record_and_no_name_of_a_sensor_stands_in_the_file() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    let canary = b"canary-118-mmHg-F0:11:22:33:44:55";
    let (mut db, _) = Db::open(&path, &vault(), 1 << 20, Epoch(1), NOW).expect("opens");
    let progress = Progress {
        stream: String::from_utf8_lossy(canary).into_owned(),
        cursor: canary.to_vec(),
        keys: vec![[9; 16]],
    };
    for n in 0..200u8 {
        let body = Bytes([canary.as_slice(), &[n]].concat());
        let entry = (Lane::Vital, Entry::Item(body));
        db.keep(&[entry], std::slice::from_ref(&progress), NOW)
            .expect("kept");
    }
    let holds = |image: &[u8]| image.windows(canary.len()).any(|w| w == canary);
    assert!(!holds(&image(dir.path())), "with the journal");
    let stream = progress.stream.as_str();
    assert_eq!(db.progress(stream).expect("read").expect("there").cursor, canary);
    drop(db);
    assert!(!holds(&image(dir.path())), "after closing");
    // By another key nothing is read, and each record is stated as lost.
    let other = Vault::of_process(&[8; 32]).expect("a key");
    let (mut db, _) = Db::open(&path, &other, 1 << 20, Epoch(1), NOW).expect("opens");
    let batch = db.batch(Lane::Vital, Seq(1), NOW).expect("read").expect("there");
    assert!(batch.entries.iter().all(|entry| matches!(entry, Entry::Lost(_))));
}

#[test]
fn an_older_outbox_is_sealed_when_it_is_opened_and_leaves_nothing_in_the_clear() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    let canary = b"canary-118-mmHg".to_vec();
    let (mut db, _) = Db::open(&path, &vault(), 1 << 20, Epoch(1), NOW).expect("opens");
    for n in 0..700u16 {
        let body = Bytes([canary.as_slice(), &n.to_be_bytes()].concat());
        db.push(&[(Lane::Vital, body)], NOW).expect("kept");
    }
    // As version 2 wrote it.
    let plain = |n: i64| {
        [
            canary.as_slice(),
            &u16::try_from(n - 1).expect("small").to_be_bytes(),
        ]
        .concat()
    };
    for n in 1..=700i64 {
        db.connection()
            .execute(
                "UPDATE rows SET body = ?1 WHERE first = ?2",
                rusqlite::params![plain(n), n],
            )
            .expect("written");
    }
    db.connection()
        .execute_batch("PRAGMA user_version = 2")
        .expect("written");
    drop(db);
    let holds = |image: &[u8]| image.windows(canary.len()).any(|w| w == canary);
    assert!(holds(&image(dir.path())));
    let (mut db, opened) = Db::open(&path, &vault(), 1 << 20, Epoch(1), NOW).expect("opens");
    assert_eq!(opened, Opened::Resumed);
    assert!(!holds(&image(dir.path())));
    let batch = db.batch(Lane::Vital, Seq(1), NOW).expect("read").expect("there");
    assert_eq!(batch.entries.first(), Some(&Entry::Item(Bytes(plain(1)))));
    assert_eq!(db.ledger().items(), 700);
}

#[test]
fn a_smaller_limit_holds_from_the_next_record_on_and_what_goes_is_counted() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    let (mut db, _) = Db::open(&path, &vault(), 1 << 20, Epoch(1), NOW).expect("opens");
    let some: Vec<_> = (0..300).map(|n| (Lane::Routine, body(n))).collect();
    db.push(&some, NOW).expect("pushes");
    assert!(db.ledger().bytes() > 12_000);
    db.limit(12_000);
    db.push(&[(Lane::Vital, body(300))], NOW).expect("pushes");
    assert!(db.ledger().bytes() <= 12_000, "{}", db.ledger().bytes());
    assert!(db.ledger().lost > 0);
    let vital = db.batch(Lane::Vital, Seq(1), NOW).expect("reads");
    assert!(vital.is_some(), "the least important went");
}
