//! A box that cannot believe its repository takes nothing, and people hear why: it was given no release keys, or whoever holds
//! the server serves what the offline keys did not sign.

use std::fs;
use std::path::Path;

use homeward_tests::homes::Home;
use homeward_tests::releases::Releases;
use homeward_tests::wall::clock;
use serde_json::Value;

use super::stage::Stage;
use super::updates::{assign, killed, until};

/// Each file of the served metadata, with one text in the place of another.
fn replace(metadata: &Path, from: &str, to: &str) {
    let mut changed = 0;
    for entry in fs::read_dir(metadata).expect("metadata").flatten() {
        let text = fs::read_to_string(entry.path()).expect("text");
        changed += text.matches(from).count();
        fs::write(entry.path(), text.replace(from, to)).expect("our own folder");
    }
    assert!(changed > 0, "{from} stands nowhere");
}

/// What the box says of its software to whoever stands before it.
fn printed(home: &Home) -> String {
    home.agent.command_ended(&["update", "status"]).stdout
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_that_cannot_believe_its_repository_says_why_and_goes_on_when_it_can() {
    let Some(nine_days_ago) = clock("-9d") else {
        return;
    };
    let stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "7.1.0");
    releases.publish(&stage.fleet);
    let mut home = stage.home("mill-road-12").await;
    releases.launch(&mut home, "");
    // Nobody brought the root.
    let root = releases.desk().join("REL/repository/metadata/1.root.json");
    fs::remove_dir_all(home.agent.dir().join("update")).expect("the box's folder");
    home.run();
    assign(&stage, &home, "7.1.0");
    // What was signed online is out of date: somebody holds an older one back, or was on holiday.
    releases.publish_by(&stage.fleet, &nine_days_ago);
    let no_keys = "7.1.0 is to come; the box cannot take it yet: this box was given no release keys";
    let said = until(&stage, &mut home, no_keys);
    assert_eq!(said["state"]["now"], Value::Null, "{said}");
    let shown = printed(&home);
    assert!(shown.contains("cannot look into it yet, since"), "{shown}");
    assert!(
        shown.contains("bring them with `homeward-agent update trust`"),
        "{shown}"
    );

    // The root is brought, and the rest is not to be believed.
    let trusts = ["update", "trust", root.to_str().expect("text")];
    home.agent.command_ended(&trusts).ok();
    killed(&mut home);
    let expired =
        "the box cannot take it yet: the repository is not believed: timestamp version 2 expired on";
    until(&stage, &mut home, expired);

    // It is published anew. Whoever holds the server and its online keys lets it serve a file that the holders did not sign.
    releases.publish(&stage.fleet);
    let metadata = stage.fleet.dir().join("release/repository/metadata");
    replace(&metadata, "7.1.0", "7.1.1");
    killed(&mut home);
    let said = until(
        &stage,
        &mut home,
        "the box cannot take it yet: the repository is not believed",
    );
    assert_eq!(said["runs"], home.agent.status()["version"], "{said}");
    stage.more_readings(5);

    // As it was: the update goes on, and nothing is said of it any more.
    replace(&metadata, "7.1.1", "7.1.0");
    killed(&mut home);
    let well = until(&stage, &mut home, "runs 7.1.0 and is well");
    assert_eq!(well["state"]["undecided"], Value::Null, "{well}");
    assert!(!printed(&home).contains("cannot look into it"));
}
