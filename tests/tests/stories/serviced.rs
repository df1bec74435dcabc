//! The agent as a real systemd runs it, by the unit as it is shipped: started by the launcher, with the rights that the unit says;
//! an update that is tried and confirmed, one that ends at once, and one that hangs, each in the same service.

use std::fs;
use std::path::PathBuf;

use homeward_tests::homes::Home;
use homeward_tests::machine::{Installed, Machine, apart};
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::stage::{Stage, all_arrived};
use super::updates::{UPDATE, assign, stands};

/// systemd waits 90 seconds for a service to say that it is ready; here fifteen, three times.
const HASTE: &str = "[Service]\nTimeoutStartSec=15\n";

/// One property of the agent's service.
fn service(machine: &Machine, property: &str) -> String {
    let said = machine.run(
        "systemctl",
        &["show", "--value", "-p", property, "homeward-agent.service"],
    );
    said.trim().to_owned()
}

/// The build that runs, as the box names its file.
fn runs(machine: &Machine) -> PathBuf {
    let pid = service(machine, "MainPID");
    let of_it = machine.run("readlink", &[&format!("/proc/{pid}/exe")]);
    of_it.trim().into()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn under_a_real_systemd_an_update_is_confirmed_and_builds_that_end_or_hang_go_back() {
    if !apart("serviced::under_a_real_systemd_an_update_is_confirmed_and_builds_that_end_or_hang_go_back") {
        return;
    }
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "7.1.0");
    releases.add("7.2.0", &releases.write("ends", b"#!/bin/sh\nexit 1\n"), "7.1.0");
    releases.add(
        "7.3.0",
        &releases.write("hangs", b"#!/bin/sh\nexec sleep 1000\n"),
        "7.1.0",
    );
    releases.publish(&stage.fleet);
    let data = stage.path().join("box");
    fs::create_dir(&data).expect("our own folder");
    let installed = Installed {
        data: &data,
        build: &releases.shipped,
    };
    let Some(machine) = Machine::with(installed) else {
        return;
    };
    let home = Home::settle_with(
        &stage.fleet,
        Stage::plan("mill-road-12"),
        machine.agent(installed),
    )
    .await;
    fs::copy(releases.first_root(), machine.file("tmp/1.root.json")).expect("the box takes it");
    home.agent
        .command_ended(&["update", "trust", "/tmp/1.root.json"])
        .ok();
    releases.hurry(&home, "");
    let more = machine.file("units/homeward-agent.service.d");
    fs::create_dir(&more).expect("the box takes it");
    fs::write(more.join("haste.conf"), HASTE).expect("the box takes it");
    machine.run("systemctl", &["daemon-reload"]);
    machine.run("systemctl", &["start", "homeward-agent.service"]);
    let until = |words: &str| {
        let mut last = Value::Null;
        wait_for(&format!("the server to say {words:?}"), UPDATE, || {
            last = stands(&stage, &home);
            let said = last["stands"].as_str().unwrap_or_default();
            said.contains(words).then(|| last.clone())
        })
    };
    stage.more_readings(5);
    assert_eq!(runs(&machine), PathBuf::from("/usr/bin/homeward-agent"));

    assign(&stage, &home, "7.1.0");
    until("runs 7.1.0 and is well");
    let slot = PathBuf::from("/var/lib/homeward-agent/slots/a/homeward-agent");
    assert_eq!(runs(&machine), slot);
    let pid = service(&machine, "MainPID");
    let status = machine.run("cat", &[&format!("/proc/{pid}/status")]);
    for line in [
        "CapEff:\t0000000000000000",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
    ] {
        assert!(status.lines().any(|one| one == line), "{line}:\n{status}");
    }
    assert!(!status.contains("\nUid:\t0\t"), "{status}");
    stage.more_readings(5);

    for version in ["7.2.0", "7.3.0"] {
        assign(&stage, &home, version);
        until(&format!("went back to 7.1.0 from {version}"));
        assert_eq!(runs(&machine), slot, "{version}");
        assert_eq!(service(&machine, "ActiveState"), "active");
        stage.more_readings(5);
    }
    all_arrived(&home);
    assert_eq!(stage.number("SELECT count(*) FROM gaps"), 0);
}
