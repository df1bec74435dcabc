//! The server's disk breaks and an older backup takes its place.

use homeward_devices::simulated::Behaviour;
use homeward_tests::console::Person;
use homeward_tests::programs::wait_for;
use homeward_tests::tally::number;

use super::stage::{PASSWORD, PLAIN, SOON, Stage, all_arrived};

/// How far the readings of the one gateway are stored.
const UP_TO: &str = "SELECT max(up_to) FROM streams WHERE lane = 'vital'";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restored_server_shows_the_hole_and_goes_on() {
    let mut stage = Stage::new();
    stage.operator("olivia");
    stage.nurse("nora", "north");
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(10);
    let backup = stage.path().join("backup");
    let backup = backup.to_str().expect("a path of letters");
    stage.fleet.run(&["backup", backup]).ok();
    let kept = number(&stage.path().join("backup/fleet.db"), UP_TO);
    stage.more_readings(20);
    home.set_device(Behaviour::Silent);
    all_arrived(&home);
    stage.fleet.stop();
    let reached = stage.number(UP_TO);
    assert!(kept > 0 && reached >= kept + 20, "{kept} and {reached}");

    let refused = stage.fleet.run(&["restore", backup]).failed();
    assert!(refused.contains("--replace"), "{refused}");
    stage.fleet.run(&["restore", backup, "--replace"]).ok();
    assert_eq!(stage.number(UP_TO), kept, "the older backup is in place");
    stage.fleet.serve(&PLAIN);
    home.set_device(Behaviour::Well);
    wait_for("readings to go on", SOON, || {
        (stage.number(UP_TO) > reached + 10).then_some(())
    });

    let missing = "FROM gaps WHERE lane = 'vital' AND cause = 'not-held'";
    assert_eq!(stage.number(&format!("SELECT count(*) {missing}")), 1);
    assert_eq!(stage.number(&format!("SELECT from_seq {missing}")), kept + 1);
    // A last reading whose acknowledgement was under way when the server stopped is held, and came again.
    let to = stage.number(&format!("SELECT to_seq {missing}"));
    assert!((kept + 20..=reached).contains(&to), "{kept}, {to}, {reached}");
    let lost = to - kept;
    assert_eq!(stage.number(&format!("SELECT missing {missing}")), lost);
    if let Some(olivia) = Person::at(&stage.fleet, stage.path(), "olivia") {
        let page = olivia.signed_in("olivia", PASSWORD);
        let page = page.get(&format!("/gateways/{}", home.gateway)).text;
        let words = format!("{lost} records are missing");
        assert!(page.contains(&words), "{page}");
    }
    if let Some(nora) = Person::at(&stage.fleet, stage.path(), "nora") {
        let page = nora.signed_in("nora", PASSWORD).get("/care").text;
        assert!(!page.contains("home all-working"), "a hole is not fine: {page}");
    }

    home.set_device(Behaviour::Silent);
    all_arrived(&home);
    home.agent.stop();
    stage.fleet.stop();
    let stored =
        "SELECT count(*) FROM readings WHERE seq <= (SELECT max(up_to) FROM streams WHERE lane = 'vital')";
    let end = stage.number(UP_TO);
    assert_eq!(
        stage.number(stored),
        end - lost,
        "each number is stored or in the hole"
    );
    stage.fleet.run(&["check"]).ok();
}
