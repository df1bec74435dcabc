//! Builds that start and are not well: the box goes back by itself, says why, and loses nothing.

use std::fs;

use homeward_devices::simulated::Behaviour;
use homeward_tests::homes::Home;
use homeward_tests::programs::wait_for;
use homeward_tests::proxy::Link;
use homeward_tests::releases::Releases;

use super::stage::{Stage, all_arrived};
use super::updates::{UPDATE, assign, launched, until};

/// A home that tries 7.1.0, which is as good as what runs.
async fn trying(stage: &Stage) -> (Releases, Home) {
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "0.0.0");
    releases.publish(&stage.fleet);
    let mut home = launched(stage, &releases).await;
    stage.more_readings(5);
    assign(stage, &home, "7.1.0");
    until(stage, &mut home, "tries 7.1.0 until");
    (releases, home)
}

/// Waits until the box itself says so.
fn says(home: &mut Home, words: &str) {
    wait_for(&format!("the box to say {words:?}"), UPDATE, || {
        home.tend();
        let said = home.agent.command_ended(&["update", "status"]).stdout;
        said.contains(words).then_some(())
    });
}

/// What runs again is what ran before, for good; every reading arrived, once.
fn is_back(stage: &Stage, home: &mut Home, why: &str) {
    let words = format!("went back to 0.1.0 from 7.1.0, without proof against it: {why}");
    let back = until(stage, home, &words);
    assert_eq!(
        (&back["runs"], &back["state"]["packaged"]),
        (&"0.1.0".into(), &true.into()),
        "{back}"
    );
    let slots =
        fs::read_to_string(home.agent.dir().join("slots/state.json")).expect("the record of the slots");
    assert!(slots.contains("taken-back"), "{slots}");
    stage.more_readings(5);
    all_arrived(home);
    assert_eq!(stage.number("SELECT count(*) FROM gaps"), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_loses_the_server_goes_back_by_itself_and_says_so_when_it_is_there_again() {
    let stage = Stage::new();
    let (_desk, mut home) = trying(&stage).await;
    home.set_link(Link::Down);
    says(&mut home, "was taken back");
    says(&mut home, "Version 0.1.0 runs");
    home.set_link(Link::Clear);
    is_back(&stage, &mut home, "the server was not reached since");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_that_loses_a_device_goes_back_when_the_home_is_known_to_be_quiet() {
    let stage = Stage::new();
    let (_desk, mut home) = trying(&stage).await;
    home.set_device(Behaviour::Silent);
    // It runs on, as nobody knows whether the device is being used.
    let lost =
        "goes back from 7.1.0, without proof against it: comet-tx5xx was heard before, and is not any more";
    let back = until(&stage, &mut home, lost);
    assert_eq!(back["runs"], "7.1.0", "{back}");
    home.set_device(Behaviour::Well);
    is_back(
        &stage,
        &mut home,
        "comet-tx5xx was heard before, and is not any more",
    );
}
