//! What people and disks get wrong, and what they are told.

use std::fs;

use homeward_protocol::claim::Pin;
use homeward_tests::console::Person;
use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::wall::clock;

use super::stage::{PASSWORD, SOON, Stage, claim};

/// A box with an empty folder.
fn empty_box(stage: &Stage, name: &str) -> Agent {
    let dir = stage.path().join(name);
    fs::create_dir(&dir).expect("the story's folder");
    Agent::at(&dir)
}

#[test]
fn a_server_with_another_pin_is_not_trusted() {
    let stage = Stage::new();
    let mut wrong = claim(&stage.fleet, "home-1");
    wrong.pin = Pin::of_spki(b"another key");
    let said = empty_box(&stage, "box").enrol(&wrong.to_string(), SOON).failed();
    assert!(said.contains("not the one of the claim"), "{said}");
    let used = stage.number("SELECT count(*) FROM claims WHERE used_at IS NOT NULL");
    assert_eq!(used, 0, "the code never left the box");
}

#[test]
fn an_expired_claim_is_refused_by_the_box_and_by_the_server() {
    let mut stage = Stage::new();
    let good = claim(&stage.fleet, "home-1");
    let mut old = good.clone();
    old.expires -= 30 * 86_400;
    let said = empty_box(&stage, "box").enrol(&old.to_string(), SOON).failed();
    assert!(said.contains("expired") && said.contains("new one"), "{said}");

    // A box whose clock is behind asks all the same; then the server says it.
    let Some(later) = clock("+8d") else {
        return;
    };
    stage.fleet.stop();
    stage.fleet.surround(&later);
    stage.fleet.serve(&[""; 0]);
    let said = empty_box(&stage, "slow").enrol(&good.to_string(), SOON).failed();
    assert!(said.contains("new claim"), "{said}");
    assert_eq!(
        stage.number("SELECT count(*) FROM gateways WHERE state = 'enrolled'"),
        0
    );
}

#[test]
fn a_code_that_comes_again_with_another_key_is_refused_and_raised() {
    let stage = Stage::new();
    stage.operator("olivia");
    let claim = claim(&stage.fleet, "home-1");
    empty_box(&stage, "first").enrol(&claim.to_string(), SOON).ok();
    let second = empty_box(&stage, "second");
    let said = second.enrol(&claim.to_string(), SOON).failed();
    assert!(said.contains("already used with another key"), "{said}");
    let raised = "SELECT count(*) FROM incidents WHERE kind = 'code-reused'";
    assert_eq!(stage.number(raised), 1);
    assert_eq!(
        stage.number("SELECT count(*) FROM certificates"),
        1,
        "one box is in"
    );
    if let Some(olivia) = Person::at(&stage.fleet, stage.path(), "olivia") {
        let page = olivia.signed_in("olivia", PASSWORD).get("/incidents").text;
        assert!(page.contains(claim.gateway.as_str()), "{page}");
    }
    let wrong = claim.to_string().replace("&c=", "&c=Z");
    let said = empty_box(&stage, "typo").enrol(&wrong, SOON).failed();
    assert!(said.contains("claim"), "{said}");
}

#[test]
fn a_server_that_is_not_there_is_named() {
    let mut stage = Stage::new();
    let claim = claim(&stage.fleet, "home-1");
    stage.fleet.stop();
    let said = empty_box(&stage, "box").enrol(&claim.to_string(), SOON).failed();
    assert!(said.contains("cannot be reached"), "{said}");
    assert!(said.contains(&claim.server.to_string()), "{said}");
}

#[test]
fn two_servers_get_in_each_others_way_and_say_so() {
    let stage = Stage::new();
    let said = stage.fleet.run(&["serve"]).failed();
    assert!(said.contains("already runs in"), "{said}");
    let said = stage.fleet.run(&["init", "--name", "localhost"]).failed();
    assert!(said.contains("already set up"), "{said}");

    let other = Fleet::init(&stage.path().join("other"), &["--name", "localhost", "--trial"]);
    let config = other.dir().join("fleet.toml");
    let ours = fs::read_to_string(stage.fleet.dir().join("fleet.toml")).expect("a configuration");
    fs::write(config, ours).expect("the story's folder");
    let said = other.run(&["serve"]).failed();
    assert!(said.contains("could not listen on 127.0.0.1:"), "{said}");
    assert!(said.contains("is another program there?"), "{said}");

    let nothing = Fleet::at(&stage.path().join("nothing"));
    let said = nothing.run(&["serve"]).failed();
    assert!(said.contains("init --name"), "{said}");
    let said = nothing.run(&["gateway", "list"]).failed();
    assert!(said.contains("init --name"), "{said}");
}

#[test]
fn a_damaged_backup_is_not_restored() {
    let mut stage = Stage::new();
    claim(&stage.fleet, "home-1");
    let backup = stage.path().join("backup");
    let backup = backup.to_str().expect("a path of letters");
    stage.fleet.run(&["backup", backup]).ok();
    let said = stage.fleet.run(&["backup", backup]).failed();
    assert!(said.contains("is there already"), "{said}");
    let said = stage.fleet.run(&["restore", backup, "--replace"]).failed();
    assert!(said.contains("already runs in"), "{said}");
    stage.fleet.stop();
    let file = stage.path().join("backup/fleet.db");
    let mut bytes = fs::read(&file).expect("the backup's database");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&file, bytes).expect("the story's folder");
    for args in [
        &["restore", backup, "--dry-run"][..],
        &["restore", backup, "--replace"],
    ] {
        let said = stage.fleet.run(args).failed();
        assert!(said.contains("changed or damaged"), "{said}");
    }
    stage.fleet.run(&["check"]).ok();
    assert_eq!(
        stage.number("SELECT count(*) FROM claims"),
        1,
        "what was there is there"
    );
    let said = stage
        .fleet
        .run(&["restore", "/nowhere/at/all", "--replace"])
        .failed();
    assert!(said.contains("/nowhere/at/all"), "{said}");
}
