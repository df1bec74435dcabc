//! What the outbox promises when the process is killed, and when the disk is full: every record whose keeping was
//! confirmed is there again, or stated as lost.
//!
//! The child is this test program again, with [`CHILD`] set: it pushes records and prints each confirmed number.
#![expect(clippy::disallowed_methods, reason = "tests: processes, files and time")]

use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_agent::outbox::sqlite::{Db, OutboxError};
use homeward_agent::vault::Vault;
use homeward_protocol::envelope::{Entry, Item, Lane};
use homeward_protocol::grade::Grade;
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::reading::{Details, Kind, Quality, Reading, Value};
use homeward_protocol::time::Timestamp;
use homeward_protocol::unit::Decimal;

const CHILD: &str = "HOMEWARD_TEST_OUTBOX";
const QUOTA: u64 = 8 << 20;
const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

fn reading(n: i64) -> Item {
    Item::Reading(Reading {
        sensor: "ups".parse().expect("an id"),
        kind: Kind::BatteryVoltage,
        value: Value::Number(Decimal::whole(n)),
        taken_at: NOW,
        quality: Quality::Good,
        grade: Grade::Associated,
        details: Details::default(),
    })
}

/// What seals the outboxes here.
fn vault() -> Vault {
    Vault::of_process(&[7; 32]).expect("a key")
}

/// The child: pushes for ever, three records a commit, and prints what is confirmed or refused.
#[test]
fn the_child_that_pushes() {
    let Some(path) = std::env::var_os(CHILD) else {
        return;
    };
    let (mut db, _) = Db::open(Path::new(&path), &vault(), QUOTA, Epoch(1), NOW).expect("opens");
    let mut n = i64::try_from(db.ledger().lane(Lane::Vital).next.0).expect("small") - 1;
    let mut out = std::io::stdout().lock();
    loop {
        let items: Vec<_> = (n..n + 3)
            .map(|n| (Lane::Vital, reading(n).encode().expect("encodes")))
            .collect();
        let word = match db.push(&items, NOW) {
            Ok(()) => "kept",
            Err(OutboxError::DiskRefused { .. }) => "refused",
            Err(error) => panic!("{error}"),
        };
        n += 3;
        writeln!(out, "{word} {n}")
            .and_then(|()| out.flush())
            .expect("the parent reads");
    }
}

fn child(path: &Path, limit: Option<u32>) -> Child {
    let program = std::env::current_exe().expect("a path");
    let mut command = match limit {
        // SIGXFSZ ignored: a file that may not grow is then an error, as a full disk is.
        Some(blocks) => {
            let mut shell = Command::new("sh");
            shell
                .arg("-c")
                .arg(format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\""))
                .arg(program);
            shell
        }
        None => Command::new(program),
    };
    command
        .args([
            "--exact",
            "the_child_that_pushes",
            "--nocapture",
            "--test-threads",
            "1",
        ])
        .env(CHILD, path)
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .expect("starts")
}

/// Lets a child push for a while, kills it, and gives the last word it said of each kind.
fn killed_after(path: &Path, limit: Option<u32>, words: usize) -> (i64, u64) {
    let mut child = child(path, limit);
    let lines = BufReader::new(child.stdout.take().expect("a pipe")).lines();
    let (mut kept, mut refused) = (0, 0);
    let said = lines.map_while(Result::ok).filter_map(|line| {
        let (word, n) = line.split_once(' ')?;
        Some((word.to_owned(), n.parse::<i64>().ok()?))
    });
    for (word, n) in said
        .filter(|(word, _)| word == "kept" || word == "refused")
        .take(words)
    {
        if word == "kept" {
            kept = n;
        } else {
            refused += 3;
        }
    }
    child.kill().expect("is there");
    child.wait().expect("ends");
    (kept, refused)
}

/// All readings in the outbox in order, and how many are stated as lost.
fn contents(path: &Path) -> (Vec<i64>, u64, u64) {
    let (mut db, _) = Db::open(path, &vault(), QUOTA, Epoch(2), NOW).expect("opens again");
    assert_eq!(db.ledger().epoch, Epoch(1), "the same outbox as before");
    let (mut readings, mut lost) = (Vec::new(), 0);
    let mut from = Seq(1);
    while let Some(batch) = db.batch(Lane::Vital, from, NOW).expect("reads") {
        from = batch.last.next();
        for entry in batch.entries {
            match entry {
                Entry::Lost(stated) => lost += stated.count,
                Entry::Item(body) => match Item::decode(&body).expect("decodes") {
                    Item::Reading(Reading {
                        value: Value::Number(n),
                        ..
                    }) => readings.push(n.mantissa()),
                    other => panic!("not a reading: {other:?}"),
                },
            }
        }
    }
    (readings, lost, from.0 - 1)
}

#[test]
fn every_confirmed_record_survives_kill_9() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    for words in [1, 40, 7, 150, 23] {
        let (kept, _) = killed_after(&path, None, words);
        let (readings, lost, _) = contents(&path);
        assert_eq!(lost, 0);
        assert!(kept > 0);
        let held = i64::try_from(readings.len()).expect("small");
        assert!(held >= kept, "{kept} were confirmed, {held} are there");
        assert_eq!(readings, (0..held).collect::<Vec<_>>(), "in order, each once");
    }
}

#[test]
fn a_disk_that_is_full_loses_nothing_without_saying_so() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("outbox.db");
    // 3000 blocks of 512 bytes: the outbox meets the limit long before its quota.
    let (_, refused) = killed_after(&path, Some(3_000), 4_000);
    std::thread::sleep(Duration::from_millis(10));
    let (readings, lost, numbered) = contents(&path);
    assert!(lost + refused > 0, "the limit was never met");
    assert_eq!(
        readings.len() as u64 + lost,
        numbered,
        "a number is a record or a stated loss"
    );
    assert!(readings.is_sorted(), "in order");
}
