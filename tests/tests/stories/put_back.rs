//! A box gets an older copy of its disk back: numbers that were given come again with other readings.

use std::fs;
use std::path::Path;

use homeward_devices::simulated::Behaviour;
use homeward_tests::programs::wait_for;
use homeward_tests::proxy::Link;
use homeward_tests::tally::compare;

use super::stage::{PLAIN, SOON, Stage, all_arrived};

const EPOCHS: &str = "SELECT count(DISTINCT epoch) FROM streams WHERE lane = 'vital'";
const FORKS: &str = "SELECT count(*) FROM gaps WHERE cause = 'fork' AND lane = 'vital'";

/// Copies an outbox at rest, with what `SQLite` keeps beside it, over another.
fn copy_outbox(from: &Path, to: &Path) {
    for name in ["outbox.db", "outbox.db-wal", "outbox.db-shm"] {
        let (from, to) = (from.join(name), to.join(name));
        if from.exists() {
            fs::copy(&from, &to).expect("the story's folder");
        } else if to.exists() {
            fs::remove_file(&to).expect("the story's folder");
        }
    }
}

/// `held`: whether the copy holds readings that were not delivered when it was made. It is put back so many `times`.
async fn put_back(held: bool, times: i64) {
    let mut stage = Stage::new();
    let mut home = stage.home("old-quay-7").await;
    let copy = stage.path().join("copy");
    fs::create_dir(&copy).expect("the story's folder");
    home.run();
    stage.more_readings(10);
    if held {
        home.set_link(Link::Down);
        wait_for("readings to wait", SOON, || (home.waiting() >= 30).then_some(()));
    } else {
        home.set_device(Behaviour::Silent);
        all_arrived(&home);
    }
    home.agent.stop();
    copy_outbox(home.agent.dir(), &copy);

    home.set_link(Link::Clear);
    home.set_device(Behaviour::Well);
    home.run();
    stage.more_readings(60);
    home.set_device(Behaviour::Silent);
    all_arrived(&home);
    home.agent.stop();
    let before = stage.readings();
    assert_eq!(stage.number(EPOCHS), 1);

    for time in 1..=times {
        copy_outbox(&copy, home.agent.dir());
        home.set_device(Behaviour::Well);
        home.run();
        wait_for("a new epoch", SOON, || {
            (stage.number(EPOCHS) == 1 + time).then_some(())
        });
        wait_for("readings to go on", SOON, || {
            (stage.readings() >= before + 20 * time).then_some(())
        });
        if time < times {
            stage.fleet.kill();
            home.agent.kill();
            stage.fleet.serve(&PLAIN);
        }
    }
    home.set_device(Behaviour::Silent);
    all_arrived(&home);
    home.agent.stop();
    stage.fleet.stop();

    let tally = compare(
        &home.agent.dir().join("outbox.db"),
        &stage.database(),
        &home.gateway,
    );
    let tally = tally.expect("two databases");
    assert!(tally.produced >= 20, "{tally:?}");
    assert_eq!(tally.stored, tally.produced, "{tally:?}");
    assert_eq!(
        (tally.missing, tally.duplicates, tally.lost),
        (0, 0, 0),
        "{tally:?}"
    );
    assert!(stage.number(FORKS) >= 1, "what happened is shown");
    stage.fleet.run(&["check"]).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_put_back_disk_takes_a_new_epoch_and_loses_nothing() {
    put_back(false, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_put_back_disk_holds_a_second_time_is_not_stored_twice() {
    put_back(true, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_disk_that_is_put_back_three_times_with_kills_between_doubles_nothing() {
    put_back(true, 3).await;
}
