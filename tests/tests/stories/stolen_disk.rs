//! A box's disk is stolen, imaged, or moved to another box.
//!
//! Another box has another credential: it is how a story can have two boxes on one machine.

use std::ffi::OsString;
use std::path::Path;

use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::wait_for;

use super::stage::{SOON, Stage, is_connected};

/// The surroundings of a box whose service gets this credential.
fn a_box(stage: &Stage, name: &str) -> Vec<(OsString, OsString)> {
    let folder = stage.path().join(name);
    std::fs::create_dir_all(&folder).expect("a folder");
    std::fs::write(
        folder.join("homeward-box-key"),
        format!("a secret of {name}, and of no other"),
    )
    .expect("written");
    vec![("CREDENTIALS_DIRECTORY".into(), folder.into())]
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a folder");
    for entry in std::fs::read_dir(from).expect("a folder") {
        let entry = entry.expect("an entry");
        let target = to.join(entry.file_name());
        if entry.file_type().expect("a type").is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

/// Every byte of a folder.
fn image(of: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(of).expect("a folder") {
        let path = entry.expect("an entry").path();
        all.extend(if path.is_dir() {
            image(&path)
        } else {
            std::fs::read(&path).expect("read")
        });
    }
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stolen_disk_tells_nothing_and_speaks_for_nobody() {
    let mut stage = Stage::new();
    let first = a_box(&stage, "first-box");
    let mut home = stage.home_in("mill-road-12", &first).await;
    home.run();
    stage.more_readings(10);
    stage.fleet.stop();
    wait_for("readings to be kept", SOON, || {
        (home.waiting() >= 20).then_some(())
    });
    home.agent.stop();
    let status = home.agent.command_ended(&["status"]).ok();
    assert!(status.contains("sealed by a credential of systemd"), "{status}");

    // The image: no key, no record. What a record would show is known from what it is made of.
    let image = image(home.agent.dir());
    let holds = |what: &[u8]| image.windows(what.len()).any(|w| w == what);
    assert!(!holds(b"PRIVATE KEY"), "the key stands in the clear");
    for canary in [&b"air-temperature"[..], b"relative-humidity", b"mantissa"] {
        assert!(
            !holds(canary),
            "{} stands in the clear",
            String::from_utf8_lossy(canary)
        );
    }

    // The clone: the same bytes on another box. The server is there, and it is not let in.
    stage.fleet.serve(&super::stage::PLAIN);
    let there = stage.path().join("elsewhere");
    copy(home.agent.dir(), &there);
    let mut clone = Agent::at(&there);
    clone.surround(&a_box(&stage, "second-box"));
    let refused = clone.command_ended(&["run"]).failed();
    assert!(refused.contains("does not open on this box"), "{refused}");
    // Without any credential it does not open either.
    let bare = Agent::at(&there);
    assert!(
        bare.command_ended(&["run"])
            .failed()
            .contains("does not open on this box")
    );

    // The real one goes on where it was.
    home.run();
    wait_for("the box to be connected", SOON, || {
        is_connected(&home).then_some(())
    });
    wait_for("everything to arrive", SOON, || {
        (home.waiting() == 0).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_whose_board_was_replaced_comes_back_by_a_new_claim() {
    let stage = Stage::new();
    let first = a_box(&stage, "first-box");
    let mut home = stage.home_in("mill-road-12", &first).await;
    home.run();
    stage.more_readings(10);
    home.agent.stop();
    let claim = stage.fleet.json(&[
        "claim",
        "new",
        "--no-approval",
        "--gateway",
        home.gateway.as_str(),
    ]);
    let claim = serde_json::to_string(&claim["claim"]).expect("a claim");
    home.agent.surround(&a_box(&stage, "second-box"));
    let said = home.agent.enrol(&claim, SOON);
    assert!(said.stderr.contains("sealed by another box"), "{}", said.stderr);
    said.ok();
    home.run();
    wait_for("the box to be connected", SOON, || {
        is_connected(&home).then_some(())
    });
    stage.more_readings(10);
}
