//! The programs as they are installed: they say what they are, start, stop, and tell what to do when they cannot.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests write files and look at the clock"
)]

use std::fs;
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{binary, finish};

const LIMIT: Duration = Duration::from_secs(30);

/// Every listener on loopback, on any free port.
const ANY_PORT: &str = "[listen]\ngate = \"127.0.0.1:0\"\nenrol = \"127.0.0.1:0\"\nrenewal = \"127.0.0.1:0\"\n\
                        console = \"127.0.0.1:0\"\nlocal = \"127.0.0.1:0\"\n";

#[test]
fn each_program_says_what_it_is_with_examples() {
    for (name, data) in [
        ("homeward-fleet", "/var/lib/homeward-fleet"),
        ("homeward-agent", "/var/lib/homeward-agent"),
    ] {
        let help = finish(Command::new(binary(name)).arg("--help"), b"", LIMIT).ok();
        assert!(
            help.contains("Examples:") && help.contains(&format!("{name} --data {data}")),
            "{help}"
        );
        let version = finish(Command::new(binary(name)).arg("--version"), b"", LIMIT).ok();
        assert!(version.contains(env!("CARGO_PKG_VERSION")), "{version}");
    }
}

#[test]
fn a_server_starts_from_nothing_serves_and_stops_within_five_seconds() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::init(dir.path(), &["--name", "localhost"]);
    let config = dir.path().join("fleet.toml");
    let text = fs::read_to_string(&config).expect("init makes it");
    fs::write(&config, text + "\n" + ANY_PORT).expect("our own folder");
    for _ in 0..2 {
        fleet.serve::<&str>(&[]);
        for listener in ["gate", "enrol", "renewal", "console", "local"] {
            assert_ne!(fleet.port(listener), 0, "{listener}");
        }
        let asked = Instant::now();
        assert!(fleet.stop().success());
        assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
    }
    fleet.serve::<&str>(&[]);
    fleet.kill();
    fleet.serve::<&str>(&[]);
    assert!(fleet.stop().success(), "a killed server's folder serves again");
}

#[test]
fn what_is_wrong_with_a_configuration_is_said_with_its_line() {
    let dir = tempfile::tempdir().expect("a folder");
    let fleet = Fleet::init(dir.path(), &["--name", "localhost"]);
    fs::write(
        dir.path().join("fleet.toml"),
        "names = [\"localhost\"]\nnaems = 1\n",
    )
    .expect("our own folder");
    let said = fleet.run(&["serve", "--check"]).failed();
    assert!(said.contains("naems") && said.contains("line 2"), "{said}");

    let dir = tempfile::tempdir().expect("a folder");
    fs::write(dir.path().join("agent.toml"), "[outbox]\nquotas = 1\n").expect("our own folder");
    let said = Agent::at(dir.path()).command_ended(&["check"]).failed();
    assert!(said.contains("quotas") && said.contains("line 2"), "{said}");
}

#[test]
fn a_box_that_is_not_enrolled_says_what_to_do() {
    let dir = tempfile::tempdir().expect("a folder");
    let said = Agent::at(dir.path()).command_ended(&["run"]).failed();
    assert!(said.contains("enrol"), "{said}");
    let said = Agent::at(dir.path()).enrol("not a claim", LIMIT).failed();
    assert!(said.contains("homeward:claim"), "{said}");
}
