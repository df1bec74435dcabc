//! Software on its way: signed offline, assigned by the server, fetched, put in place when the home may be disturbed, tried
//! and confirmed; and what becomes of a release that is bad, and of one that the offline keys did not sign.

use std::fs;
use std::net::TcpListener;
use std::time::Duration;

use homeward_tests::homes::Home;
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::policed::{becomes, give};
use super::policies::People;
use super::stage::Stage;

/// Quiet after a start, three polls of doubt, twenty seconds of trial, on a busy machine.
pub(crate) const UPDATE: Duration = Duration::from_mins(3);

/// A home whose agent is started by the launcher, as its unit does.
pub(crate) async fn launched(stage: &Stage, releases: &Releases) -> Home {
    launched_in(stage, releases, "mill-road-12", "").await
}

/// The same in that home; `more` is said of its updates.
pub(crate) async fn launched_in(stage: &Stage, releases: &Releases, placement: &str, more: &str) -> Home {
    let mut home = stage.home(placement).await;
    releases.launch(&mut home, more);
    home.run();
    home
}

/// Killed with -9, whatever it does, and started again.
pub(crate) fn killed(home: &mut Home) {
    home.agent.kill();
    home.run();
}

pub(crate) fn assign(stage: &Stage, home: &Home, version: &str) {
    assign_with(stage, home, version, &[]);
}

pub(crate) fn assign_with(stage: &Stage, home: &Home, version: &str, more: &[&str]) {
    let path = format!("agent/{version}");
    let mut args = vec!["update", "assign", &path, "--gateway", home.gateway.as_str()];
    args.extend(more);
    stage.fleet.run(&args).ok();
}

/// With a reason, and with a person who can be asked about it.
fn assign_in_time(stage: &Stage, home: &Home, version: &str) {
    stage.operator("olivia");
    let terms = [
        "--within",
        "10",
        "--reason",
        "a stranger could read along",
        "--person",
    ];
    let path = format!("agent/{version}");
    let to = ["update", "assign", &path, "--gateway", home.gateway.as_str()];
    stage.fleet.run(&[&to[..], &terms, &["who"]].concat()).failed();
    assign_with(stage, home, version, &[&terms[..], &["olivia"]].concat());
}

/// Nine of its ten days later the person is asked.
fn is_asked(stage: &Stage, home: &Home, waits: &Value) {
    assert_eq!(
        (&waits["person"], &waits["asked_at"]),
        (&"olivia".into(), &Value::Null)
    );
    rusqlite::Connection::open(stage.database())
        .expect("opens")
        .execute_batch("UPDATE deadlines SET at = at - 777600000, deadline = deadline - 777600000")
        .expect("edits");
    wait_for("olivia to be asked", UPDATE, || {
        stands(stage, home)["asked_at"].is_string().then_some(())
    });
}

/// Bytes that the running agent has written so far, to files and all else. Source: Linux, proc(5), /proc/PID/io.
fn written(home: &mut Home) -> u64 {
    let path = format!("/proc/{}/io", home.agent.program().pid());
    let text = fs::read_to_string(path).expect("the agent runs");
    let all = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    all.and_then(|all| all.parse().ok()).expect("a number")
}

/// How the server says that the home stands.
pub(crate) fn stands(stage: &Stage, home: &Home) -> Value {
    let all = stage.fleet.json(&["update", "status"]);
    let mut all = all.as_array().cloned().unwrap_or_default().into_iter();
    all.find(|one| one["gateway"] == home.gateway.as_str())
        .unwrap_or(Value::Null)
}

/// A port that nobody listens on.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

pub(crate) fn until(stage: &Stage, home: &mut Home, words: &str) -> Value {
    let mut last = Value::Null;
    wait_for(
        &format!("the server to say {words:?}; last {last}"),
        UPDATE,
        || {
            home.tend();
            last = stands(stage, home);
            let said = last["stands"].as_str().unwrap_or_default();
            said.contains(words).then(|| last.clone())
        },
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_release_waits_for_the_home_is_tried_and_confirmed_and_a_bad_one_goes_back() {
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    let good = releases.write("good", &build);
    let bad = releases.write("bad", b"#!/bin/sh\nexit 1\n");
    releases.add("7.1.0", &good, "7.1.0");
    releases.add("7.2.0", &bad, "7.1.0");
    releases.add("7.0.0", &good, "0.0.0");
    releases.publish(&stage.fleet);
    let mut home = launched(&stage, &releases).await;
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    stage.more_readings(5);

    // Somebody is at work in the home: the build is fetched, and waits.
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
    assign_in_time(&stage, &home, "7.1.0");
    // Killed again and again while it hears of it, fetches it and stages it, and once while it waits.
    for pause in [300, 600, 900, 1_200, 1_500] {
        std::thread::sleep(Duration::from_millis(pause));
        killed(&mut home);
    }
    let waits = until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");
    killed(&mut home);
    until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");
    assert_eq!(waits["state"]["packaged"], true, "{waits}");
    is_asked(&stage, &home, &waits);
    home.agent
        .command_ended(&["update", "hold", "--lift", "nurse"])
        .ok();

    // A policy that comes while the build is on trial waits until that is over: neither is blamed for the other.
    until(&stage, &mut home, "tries 7.1.0 until");
    killed(&mut home);
    until(&stage, &mut home, "tries 7.1.0 until");
    give(&stage, &people, 1);
    let runs = until(&stage, &mut home, "runs 7.1.0 and is well");
    becomes(&stage, home.gateway.as_str(), "progress", &"applied".into());
    let said = home.agent.program().said();
    let line = |words: &str| said.iter().position(|line| line.contains(words));
    let (waits, confirmed) = (
        line("waits until the update on trial has ended"),
        line("what was on trial is confirmed"),
    );
    assert!(waits.is_some() && waits < confirmed, "{said:#?}");
    assert_eq!(
        (&runs["runs"], &runs["state"]["packaged"]),
        (&Value::from("7.1.0"), &Value::from(false))
    );
    let slot = home.agent.dir().join("slots/a/homeward-agent");
    assert_eq!(fs::read(&slot).expect("a slot").len(), build.len());
    stage.more_readings(5);

    // One that does not even run: three starts, then the one before, and the readings go on.
    assign(&stage, &home, "7.2.0");
    let back = until(
        &stage,
        &mut home,
        "went back to 7.1.0 from 7.2.0, without proof against it",
    );
    assert_eq!(back["runs"], "7.1.0", "{back}");
    stage.more_readings(5);

    // Below the floor that 7.1.0 set nothing is taken, whoever asks.
    assign(&stage, &home, "7.0.0");
    until(
        &stage,
        &mut home,
        "did not take 7.0.0: version 7.0.0 lies below 7.1.0",
    );

    // Who has taken the server over and directs by another key directs nobody.
    let director = stage.fleet.dir().join("director.key");
    fs::rename(&director, releases.desk().join("director.key")).expect("our own folder");
    stage.fleet.run(&["update", "director"]).ok();
    assign(&stage, &home, "7.2.0");
    until(
        &stage,
        &mut home,
        "did not take 7.2.0: it is not signed by the director that the repository names",
    );

    // What the offline keys did not sign, nobody takes: the server's own disk says otherwise, and is not believed.
    let shown = home.agent.command_ended(&["update", "status"]);
    assert!(shown.stdout.contains("Version 7.1.0 runs"), "{}", shown.stdout);
    let spoilt = stage.fleet.dir().join("release/repository/metadata");
    for entry in fs::read_dir(&spoilt).expect("metadata").flatten() {
        let text = fs::read_to_string(entry.path()).expect("text");
        fs::write(entry.path(), text.replace("7.2.0", "7.3.0")).expect("our own folder");
    }
    let refused = stage.fleet.run(&[
        "update",
        "assign",
        "agent/7.3.0",
        "--gateway",
        home.gateway.as_str(),
    ]);
    refused.failed();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_build_comes_as_a_delta_when_the_link_costs_nothing_and_to_a_neighbour_from_the_box_that_has_it() {
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    let new = releases.write("new", &build);
    releases.add("7.1.0", &new, "7.1.0");
    let delta = releases.delta(&releases.shipped, &new);
    let of = u64::try_from(build.len()).expect("small");
    assert!(delta < of / 1_000, "{delta} bytes of {of}");
    releases.publish(&stage.fleet);
    // Whoever fetches all of it gets nothing: the delta has to do.
    let targets = stage.fleet.dir().join("release/repository/targets");
    fs::remove_dir_all(targets.join("agent")).expect("our own folder");
    let port = free_port();
    let shares = format!("metered = true\nshare = \"127.0.0.1:{port}\"\n");
    let mut home = launched_in(&stage, &releases, "mill-road-12", &shares).await;
    stage.more_readings(5);

    // Its way to the server costs by the byte: for half of the time nothing is fetched.
    assign(&stage, &home, "7.1.0");
    let costs = "does not fetch 7.1.0 for now: the link costs by the byte";
    until(&stage, &mut home, costs);
    let shown = home.agent.command_ended(&["update", "status"]).stdout;
    assert!(shown.contains("is not fetched for now, 0 of"), "{shown}");
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
    home.agent.stop();
    let settings = home.agent.dir().join("agent.toml");
    let text = fs::read_to_string(&settings).expect("agent.toml");
    fs::write(&settings, text.replace("metered = true", "metered = false")).expect("agent.toml");
    home.run();
    until(&stage, &mut home, "has 7.1.0, and waits: nurse asked for quiet");
    let (wrote, length) = (written(&mut home), build.len() as u64);
    assert!(wrote >= length, "{wrote} bytes are less than the build");
    assert!(
        wrote * 10 <= length * 13,
        "{wrote} bytes written for a build of {length}"
    );
    println!("{wrote} bytes written for a build of {length} by a delta of {delta}");

    // Its neighbour's link costs, too, and the server has none of it any more.
    fs::remove_dir_all(targets.join("homeward/delta")).expect("our own folder");
    let asks = format!("metered = true\npeers = [\"http://127.0.0.1:{port}/\"]\n");
    let mut neighbour = launched_in(&stage, &releases, "mill-road-14", &asks).await;
    neighbour.agent.command_ended(&hold).ok();
    assign(&stage, &neighbour, "7.1.0");
    until(
        &stage,
        &mut neighbour,
        "has 7.1.0, and waits: nurse asked for quiet",
    );
    let slot = neighbour.agent.dir().join("slots/a/homeward-agent");
    assert!(fs::read(slot).expect("a slot") == build, "another build came");
    neighbour.agent.stop();

    home.agent
        .command_ended(&["update", "hold", "--lift", "nurse"])
        .ok();
    until(&stage, &mut home, "runs 7.1.0 and is well");
    stage.more_readings(5);
}
