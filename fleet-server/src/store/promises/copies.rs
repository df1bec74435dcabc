//! Backup, restore and their refusals, on the embedded engine.

use std::fs;
use std::path::Path;

use homeward_protocol::envelope::{ChainHash, Lane};
use homeward_protocol::id::Epoch;

use super::kept::{envelope, reading, store_at};
use super::{NOW, block};
use crate::audit::Action;
use crate::store::copy::{CopyError, Existing, backup, restore, verify};
use crate::store::{Store, audit, check, sqlite};

const TABLES: [&str; 6] = [
    "SELECT count(*), coalesce(sum(seq), 0) FROM readings",
    "SELECT count(*), coalesce(sum(last_seq), 0) FROM envelopes",
    "SELECT count(*), coalesce(sum(up_to), 0) FROM streams",
    "SELECT count(*), coalesce(max(id), 0) FROM audit",
    "SELECT count(*), coalesce(sum(taken_at), 0) FROM latest",
    "SELECT count(*), 0 FROM gaps",
];

fn sums(store: &Store) -> Vec<(i64, i64)> {
    let read = |tx: &mut dyn crate::store::Tx| {
        let one = |sql| {
            tx.row(sql, &[])?
                .map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?)))
        };
        TABLES.into_iter().map(one).collect()
    };
    block(store.read(read)).expect("read")
}

fn filled(folder: &Path) -> Store {
    fs::create_dir_all(folder.join("ca/deep")).expect("folders");
    fs::write(folder.join("ca/deep/root.pem"), "a key").expect("a file");
    fs::write(folder.join("fleet.toml"), "x = 1").expect("a file");
    let store = sqlite::open(&folder.join("fleet.db")).expect("opens");
    let mut prev = ChainHash::start(Epoch(1), Lane::Vital);
    for seq in 1..=50 {
        let one = envelope(1, Lane::Vital, seq, prev, &[reading(NOW.ms, 20)]);
        prev = prev.after(&one.entries[0]);
        store_at(&store, one, NOW);
        block(store.write(|tx| audit::record(tx, NOW, "anna", Action::TokenMade, "t", "")))
            .expect("recorded");
    }
    store
}

#[test]
fn a_backup_made_while_the_server_writes_restores_to_one_moment_of_it() {
    let dir = tempfile::tempdir().expect("a directory");
    let (home, copy, back) = (
        dir.path().join("home"),
        dir.path().join("copy"),
        dir.path().join("back"),
    );
    let store = filled(&home);
    let before = sums(&store);
    let writer = store.clone();
    let writing = std::thread::spawn(move || {
        for _ in 0..200 {
            let add =
                |tx: &mut dyn crate::store::Tx| audit::record(tx, NOW, "eve", Action::TokenMade, "t", "");
            block(writer.write(add)).expect("the backup delays no writer");
        }
    });
    let also = ["fleet.toml", "ca", "not-there"];
    let made = backup(&home, Some("fleet.db"), &also, &copy, NOW).expect("a backup");
    writing.join().expect("no panic");
    let names: Vec<&str> = made.files.iter().map(|f| f.name.as_str()).collect();
    assert_eq!(names, ["fleet.db", "fleet.toml", "ca/deep/root.pem"]);
    assert_eq!(restore(&copy, &back, Existing::Refuse).expect("restored"), made);
    assert_eq!(
        fs::read_to_string(back.join("ca/deep/root.pem")).expect("the key"),
        "a key"
    );
    let store = sqlite::open(&back.join("fleet.db")).expect("opens");
    let report = block(store.read(check::check)).expect("checked");
    assert_eq!(report.faults, Vec::<String>::new());
    assert_eq!((report.streams, report.envelopes), (1, 50));
    let after = sums(&store);
    assert_eq!(after[..3], before[..3]);
    assert!((50..=250).contains(&after[3].0), "{after:?}");
}

#[test]
fn restoring_overwrites_nothing_unless_asked_and_leaves_no_part_of_the_old_database() {
    let dir = tempfile::tempdir().expect("a directory");
    let (home, copy) = (dir.path().join("home"), dir.path().join("copy"));
    let store = filled(&home);
    let before = sums(&store);
    backup(&home, Some("fleet.db"), &["ca"], &copy, NOW).expect("a backup");
    let again = backup(&home, Some("fleet.db"), &["ca"], &copy, NOW);
    assert!(matches!(again, Err(CopyError::Exists(_))), "{again:?}");
    block(store.write(|tx| tx.execute("DELETE FROM readings", &[]))).expect("changed");
    let refused = restore(&copy, &home, Existing::Refuse);
    assert!(matches!(refused, Err(CopyError::InTheWay(_))), "{refused:?}");
    assert_eq!(sums(&store)[0].0, 0);
    std::mem::forget(store.clone()); // as after a crash: the log of the old database stays behind
    restore(&copy, &home, Existing::Replace).expect("restored");
    let back = sqlite::open(&home.join("fleet.db")).expect("opens");
    assert_eq!(sums(&back), before);
}

#[test]
fn a_backup_that_was_changed_or_names_odd_files_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let (home, copy, back) = (
        dir.path().join("home"),
        dir.path().join("copy"),
        dir.path().join("back"),
    );
    drop(filled(&home));
    backup(&home, Some("fleet.db"), &["ca"], &copy, NOW).expect("a backup");
    fs::write(copy.join("ca/deep/root.pem"), "b key").expect("changed");
    let changed = restore(&copy, &back, Existing::Refuse);
    assert!(matches!(changed, Err(CopyError::Changed(_))), "{changed:?}");
    assert!(!back.exists());
    let manifest = fs::read_to_string(copy.join("manifest.json")).expect("the manifest");
    for odd in ["../x", "/etc/x", "", "ca/../../x"] {
        let text = manifest.replace("ca/deep/root.pem", odd);
        fs::write(copy.join("manifest.json"), text).expect("changed");
        let refused = verify(&copy);
        assert!(
            matches!(refused, Err(CopyError::Manifest { .. })),
            "{odd:?}: {refused:?}"
        );
    }
    fs::write(copy.join("manifest.json"), "{").expect("changed");
    assert!(matches!(verify(&copy), Err(CopyError::Manifest { .. })));
    assert!(matches!(verify(&home), Err(CopyError::File { .. })));
}
