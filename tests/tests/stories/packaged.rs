//! Packages of a release on their way: signed offline, assigned, fetched, installed when the home may be disturbed, tried and
//! kept; and one that is not well, which stays and is said to.

use std::time::Duration;

use homeward_devices::simulated::Behaviour;
use homeward_tests::debs::{Deb, DebBox};
use homeward_tests::homes::Home;
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::forced::settled;
use super::stage::Stage;

/// Quiet after a start, three polls of doubt, twenty seconds of trial, on a busy machine.
const UPDATE: Duration = Duration::from_mins(3);

fn until(stage: &Stage, home: &mut Home, words: &str) -> Value {
    let mut last = Value::Null;
    wait_for(&format!("the server to say {words:?}"), UPDATE, || {
        home.tend();
        let all = stage.fleet.json(&["update", "status"]);
        let mut all = all.as_array().cloned().unwrap_or_default().into_iter();
        last = all
            .find(|one| one["gateway"] == home.gateway.as_str())
            .unwrap_or(Value::Null);
        let said = last["stands"].as_str().unwrap_or_default();
        said.contains(words).then(|| last.clone())
    })
}

fn assign(stage: &Stage, home: &Home, version: &str) -> String {
    let path = format!("packages/{version}");
    stage
        .fleet
        .run(&["update", "assign", &path, "--gateway", home.gateway.as_str()])
        .ok()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn packages_of_a_release_wait_for_the_home_and_what_is_not_well_stays_and_is_said_to() {
    let Some(machine) = DebBox::start() else { return };
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let tool = Deb {
        name: "hw-tool",
        version: "1.0",
        ..Deb::default()
    };
    let (old, good) = (
        tool.build(releases.desk()),
        Deb {
            version: "1.1",
            ..tool
        }
        .build(releases.desk()),
    );
    let bad = Deb {
        version: "1.2",
        postinst: "exit 3",
        ..tool
    }
    .build(releases.desk());
    machine.by_hand(&old).ok();
    let said = releases.packages("2026.7.1", &[good], "none");
    assert!(
        said.contains("hw-tool 1.1 (all)") && said.contains("FORWARD ONLY"),
        "{said}"
    );
    releases.packages("2026.7.2", &[bad], "none");
    releases.publish(&stage.fleet);
    let socket = machine.listen("packages.sock");
    let mut home = stage.home("mill-road-12").await;
    releases.launch(&mut home, &format!("packages = \"{}\"\n", socket.display()));
    home.run();
    stage.more_readings(5);

    // Nobody has told the helper whom to believe.
    assert!(assign(&stage, &home, "2026.7.1").contains("Forward only"));
    until(
        &stage,
        &mut home,
        "did not take 2026.7.1: this box has no installer `apt`",
    );
    machine
        .trust(&releases.desk().join("REL/repository/metadata/1.root.json"))
        .ok();

    let hold = [
        "update",
        "hold",
        "--by",
        "nurse",
        "--minutes",
        "30",
        "dressing change",
    ];
    home.agent.command_ended(&hold).ok();
    assign(&stage, &home, "2026.7.1");
    until(
        &stage,
        &mut home,
        "has 2026.7.1, and waits: nurse asked for quiet",
    );
    assert_eq!(machine.has("hw-tool"), "1.0 installed");
    let shown = home.agent.command_ended(&["update", "status"]).stdout;
    assert!(shown.contains("there is no way back"), "{shown}");
    home.agent.kill();
    home.run();
    until(
        &stage,
        &mut home,
        "has 2026.7.1, and waits: nurse asked for quiet",
    );
    home.agent
        .command_ended(&["update", "hold", "--lift", "nurse"])
        .ok();
    until(&stage, &mut home, "tries 2026.7.1 until");
    assert_eq!(machine.has("hw-tool"), "1.1 installed");
    // Killed while it is tried: it is found again, and tried anew.
    home.agent.kill();
    home.run();
    until(&stage, &mut home, "runs 2026.7.1 and is well");
    stage.more_readings(5);

    assign(&stage, &home, "2026.7.2");
    let stays = until(
        &stage,
        &mut home,
        "has 2026.7.2, which is not well here and does not go back by itself",
    );
    let said = stays["stands"].as_str().unwrap_or_default();
    assert!(said.contains("hw-tool 1.2 is not configured"), "{said}");
    stage.more_readings(5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_use_that_begins_while_packages_are_put_in_place_is_told() {
    let Some(machine) = DebBox::start() else { return };
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let slow = Deb {
        name: "hw-slow",
        version: "1.0",
        postinst: "sleep 10",
        ..Deb::default()
    };
    releases.packages("2026.8.1", &[slow.build(releases.desk())], "none");
    releases.publish(&stage.fleet);
    let socket = machine.listen("packages.sock");
    let root = releases.first_root();
    machine.trust(&root).ok();
    let more = format!("packages = \"{}\"\n", socket.display());
    let mut home = settled(&stage, &releases, &more).await;
    assign(&stage, &home, "2026.8.1");
    let status = |home: &Home| home.agent.command_ended(&["update", "status"]).stdout;
    wait_for("them to be put in place", UPDATE, || {
        status(&home).contains("is being put in place").then_some(())
    });
    home.set_device(Behaviour::Well);
    let met = "SELECT count(*) FROM audit WHERE action = 'use-met'";
    wait_for("the server to know", UPDATE, || {
        (stage.number(met) == 1).then_some(())
    });
    assert!(status(&home).contains("while a change was being made on this box"));
    until(&stage, &mut home, "runs 2026.8.1 and is well");
    assert_eq!(stage.number(met), 1, "once");
}
