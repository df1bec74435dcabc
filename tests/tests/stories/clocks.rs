//! Clocks that are wrong, and boxes that were dark for a season.

use homeward_devices::simulated::Behaviour;
use homeward_tests::console::Person;
use homeward_tests::programs::wait_for;
use homeward_tests::proxy::Link;
use homeward_tests::tally::compare;
use homeward_tests::wall::{clock, jump, movable};

use super::stage::{PASSWORD, PLAIN, SOON, Stage, all_arrived, is_connected};

const DAY_MS: i64 = 86_400_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_in_1970_is_let_in_connects_and_its_readings_say_so() {
    let Some(clock) = clock("@1970-01-02 03:04:05") else {
        return;
    };
    let mut stage = Stage::new();
    stage.nurse("nora", "north");
    let mut home = stage.home_in("mill-road-12", &clock).await;
    home.run();
    stage.more_readings(20);
    let doubted = stage.number("SELECT count(*) FROM readings WHERE clock = 'floor'");
    assert_eq!(
        doubted,
        stage.readings(),
        "no reading is passed off as from a clock that is right"
    );
    let earliest = "SELECT min(taken_at) - (SELECT min(created_at) FROM gateways) FROM readings";
    assert!(
        stage.number(earliest) > -2 * DAY_MS,
        "a reading is not dated 1970"
    );
    if let Some(nora) = Person::at(&stage.fleet, stage.path(), "nora") {
        let nora = nora.signed_in("nora", PASSWORD);
        wait_for("the nurse's page to be green", SOON, || {
            nora.get("/care").text.contains("home all-working").then_some(())
        });
    }
    // A restart does not forget what time it cannot be.
    home.agent.stop();
    home.run();
    stage.more_readings(10);
    home.agent.stop();
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_clock_that_jumps_a_year_forward_and_back_loses_nothing() {
    let mut stage = Stage::new();
    let file = stage.path().join("clock");
    let Some(clock) = movable(&file) else {
        return;
    };
    let mut home = stage.home("mill-road-12").await;
    home.agent.surround(&clock);
    home.run();
    stage.more_readings(10);
    jump(&file, "+365d");
    stage.more_readings(20);
    home.set_link(Link::Down);
    wait_for("readings to wait", SOON, || (home.waiting() >= 20).then_some(()));
    home.set_link(Link::Clear);
    jump(&file, "+0");
    stage.more_readings(20);
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
    assert_eq!(tally.stored, tally.produced, "{tally:?}");
    assert_eq!(
        (tally.missing, tally.duplicates, tally.lost),
        (0, 0, 0),
        "{tally:?}"
    );
    let far = "SELECT count(*) FROM readings WHERE taken_at > received_at + 300 * 86400000";
    assert!(stage.number(far) >= 20, "the jump was felt");
}

/// A home whose box was dark for `days`, and everybody's clock has moved on.
async fn dark_for(days: &str) -> Option<(Stage, homeward_tests::homes::Home)> {
    let later = clock(days)?;
    let mut stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(10);
    home.agent.stop();
    stage.fleet.stop();
    stage.fleet.surround(&later);
    home.agent.surround(&later);
    stage.fleet.serve(&PLAIN);
    home.run();
    Some((stage, home))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_was_dark_for_ninety_days_comes_back_without_a_person() {
    let Some((mut stage, mut home)) = dark_for("+90d").await else {
        return;
    };
    stage.more_readings(10);
    let late = "SELECT count(*) FROM certificates WHERE late = 1";
    assert_eq!(stage.number(late), 1, "it came in by the door for late ones");
    let span = "SELECT max(received_at) - min(received_at) FROM readings";
    assert!(stage.number(span) >= 89 * DAY_MS, "the clocks have moved on");
    home.agent.stop();
    home.run();
    stage.more_readings(10);
    assert_eq!(stage.number(late), 1, "the new certificate is used and kept");
    home.agent.stop();
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_was_dark_for_two_hundred_days_is_told_what_to_do() {
    let Some((mut stage, mut home)) = dark_for("+200d").await else {
        return;
    };
    let stored = stage.readings();
    let said = home.agent.program().wait_line("could not be renewed", SOON);
    assert!(said.contains("new claim"), "it says what to do: {said}");
    wait_for("readings to be kept", SOON, || {
        (home.waiting() >= 20).then_some(())
    });
    assert!(!is_connected(&home));
    assert_eq!(stage.readings(), stored);

    let status = home.agent.command_ended(&["status"]).ok();
    assert!(status.contains("EXPIRED"), "{status}");

    // The way back: a new claim for the same box, and what it kept arrives.
    home.agent.stop();
    let kept = i64::try_from(home.waiting()).expect("a small number");
    let id = home.gateway.to_string();
    let made = stage
        .fleet
        .json(&["claim", "new", "--no-approval", "--gateway", &id]);
    let line = made["line"].as_str().expect("a claim");
    home.agent.enrol(line, SOON).ok();
    home.run();
    wait_for("what was kept to arrive", SOON, || {
        (stage.readings() >= stored + kept - 2).then_some(())
    });
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
    assert_eq!(
        (tally.missing, tally.duplicates, tally.lost),
        (0, 0, 0),
        "{tally:?}"
    );
    let refused = stage
        .fleet
        .run(&["claim", "new", "--gateway", "gw-nobody"])
        .failed();
    assert!(refused.contains("there is no gateway gw-nobody"), "{refused}");
}
