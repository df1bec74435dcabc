//! An update that finds no quiet moment until its deadline: a person is asked, then a policy makes up for it, readings flow on,
//! and when the update came after all that policy ends.

use std::fs;
use std::net::TcpListener;
use std::path::Path;

use homeward_tests::netns::Place;
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use homeward_tests::tally::numbers;
use serde_json::Value;

use super::locked_out::{RULES, Story};
use super::policed::status;
use super::policies::{People, document};
use super::stage::{PASSWORD, Stage, all_arrived};
use super::updates::{UPDATE, assign_with, launched, stands, until};

/// What makes up for the update: the box takes no USB stick and no keyboard.
const STRICT: &str = "[usb]\nhazard = \"h-1\"\nallow = [\"hub\"]\n";
const AS_BEFORE: &str = "[usb]\nhazard = \"h-1\"\nallow = [\"hub\", \"mass-storage\"]\n";
const DAY_MS: i64 = 86_400_000;

/// So much of the time for the update passes.
fn pass(stage: &Stage, ms: i64) {
    pass_in(&stage.database(), ms);
}

fn pass_in(database: &Path, ms: i64) {
    let sql = format!("UPDATE deadlines SET at = at - {ms}, deadline = deadline - {ms}");
    let db = rusqlite::Connection::open(database).expect("opens");
    db.execute_batch(&sql).expect("edits");
}

fn becomes(stage: &Stage, gateway: &str, wanted: u64) -> Value {
    wait_for(&format!("policy {wanted} to be applied"), UPDATE, || {
        let now = status(stage, gateway);
        (now["holds"] == wanted && now["progress"] == "applied").then_some(now)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_its_deadline_a_policy_makes_up_for_an_update_and_readings_flow_on() {
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "0.0.0");
    releases.publish(&stage.fleet);
    let mut home = launched(&stage, &releases).await;
    let gateway = home.gateway.to_string();
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    for (version, rules) in [(8, STRICT), (9, AS_BEFORE)] {
        let papers = people.signed(&format!("v{version}"), &document(version, rules));
        stage.fleet.run(&["policy", "load", &papers]).ok();
    }
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
    stage.operator("olivia");
    let reason = "a stranger could read along";
    let to = ["--within", "10", "--reason", reason, "--person", "olivia"];
    let rule = ["--compensate", "8", "--afterwards", "9"];
    assign_with(&stage, &home, "7.1.0", &[&to[..], &rule].concat());
    let waits = until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");
    assert_eq!(
        (&waits["asked_at"], &waits["passed_at"]),
        (&Value::Null, &Value::Null),
        "{waits}"
    );

    // At four fifths of its time the person is asked, and nothing else changes.
    pass(&stage, 17 * DAY_MS / 2);
    wait_for("olivia to be asked", UPDATE, || {
        stands(&stage, &home)["asked_at"].is_string().then_some(())
    });
    assert_eq!(status(&stage, &gateway)["holds"], Value::Null);

    // At its end the policy applies. The home is in use as before: the update waits, and readings come.
    pass(&stage, 2 * DAY_MS);
    becomes(&stage, &gateway, 8);
    let late = stands(&stage, &home);
    assert_eq!(late["compensates"], 8, "{late}");
    let due = late["due"].as_str().unwrap_or_default();
    assert!(
        due.contains(reason) && due.contains("policy 8 applies since"),
        "{due}"
    );
    until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");
    stage.more_readings(20);

    // The update comes after all, and what made up for it ends.
    home.agent
        .command_ended(&["update", "hold", "--lift", "nurse"])
        .ok();
    until(&stage, &mut home, "runs 7.1.0 and is well");
    becomes(&stage, &gateway, 9);
    assert_eq!(stands(&stage, &home)["compensates"], Value::Null);
    stage.more_readings(5);
    all_arrived(&home);
    assert_eq!(stage.number("SELECT count(*) FROM gaps"), 0);
}

/// Somebody in the world, whom no rule names.
const STRANGER: &str = "203.0.113.1:7000";

/// Whether the box reaches them.
fn reaches(story: &Story) -> bool {
    let (host, port) = STRANGER.split_once(':').expect("both");
    let connect = format!("import socket; socket.create_connection(('{host}', {port}), 3)");
    let mut command = story.home.command(Place::Box, "python3");
    let ended = command.args(["-c", &connect]).output();
    ended.expect("it starts").status.success()
}

/// The same with a rule of the network and a real firewall: what the update would have closed is closed for strangers, and the
/// device behind the box and the way to the server stay open.
#[test]
fn at_its_deadline_a_rule_of_the_network_cuts_strangers_off_and_no_reading() {
    let Some(mut story) = Story::begin() else { return };
    story.launch();
    let _stranger = TcpListener::bind(STRANGER).expect("this test is in the world");
    let releases = Releases::new(&story.fleet);
    releases.add("7.1.0", &releases.write("good", b"another build"), "0.0.0");
    releases.publish(&story.fleet);
    let root = story.agent.dir().join("1.root.json");
    fs::copy(releases.first_root(), &root).expect("ours");
    let trust = ["update", "trust", root.to_str().expect("text")];
    story.agent.command_ended(&trust).ok();
    let hold = [
        "update",
        "hold",
        "--by",
        "nurse",
        "--minutes",
        "60",
        "dressing change",
    ];
    story.agent.command_ended(&hold).ok();
    let operator = ["user", "add", "olivia", "--role", "operator"];
    story.fleet.tell(&operator, PASSWORD).ok();
    for (version, rules) in [(8, RULES), (9, AS_BEFORE)] {
        let papers = story
            .people
            .signed(&format!("v{version}"), &document(version, rules));
        story.fleet.run(&["policy", "load", &papers]).ok();
    }
    let assign = [
        "update",
        "assign",
        "agent/7.1.0",
        "--gateway",
        story.gateway.as_str(),
        "--within",
        "10",
        "--reason",
        "a stranger could get in",
        "--person",
        "olivia",
        "--compensate",
        "8",
        "--afterwards",
        "9",
    ];
    story.fleet.run(&assign).ok();
    let waits = || {
        let all = story.fleet.json(&["update", "status"]);
        all[0]["stands"].as_str().unwrap_or_default().to_owned()
    };
    wait_for("the update to wait", std::time::Duration::from_secs(40), || {
        let w = waits();
        println!("{w} {}", story.agent.command_ended(&["update", "status"]).stdout);
        w.contains("has 7.1.0, and waits: nurse asked for quiet")
            .then_some(())
    });
    story.more_readings();
    assert!(reaches(&story), "nothing is closed yet");

    pass_in(&story.fleet.dir().join("fleet.db"), 11 * DAY_MS);
    story.says("applied", 8);
    assert!(!reaches(&story), "a stranger is still reached");
    story.more_readings();
    assert!(waits().contains("has 7.1.0, and waits"), "{}", waits());
    let gaps = numbers(&story.fleet.dir().join("fleet.db"), "SELECT count(*) FROM gaps");
    assert_eq!(gaps, [0]);
}
