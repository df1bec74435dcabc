//! A box says whether it may be disturbed: not while its pump (pymodbus) runs, not while somebody asked for quiet, and
//! not when nobody knows.

use std::fs;

use homeward_tests::homes::Home;
use homeward_tests::peers::{Pymodbus, free_port};
use homeward_tests::programs::wait_for;

use super::guarded::PROFILE;
use super::stage::{SOON, Stage};

const RUNS: &str = r#"
[[register]]
name = "running"
function = 3
address = 1
type = "enum"
kind = "running"
codes = { 0 = "off", 1 = "on" }
"#;

/// Whether it may be disturbed, and what it says.
fn status(home: &Home) -> (bool, String) {
    let ended = home.agent.command_ended(&["update", "status"]);
    (ended.status.success(), ended.stdout)
}

fn says(home: &Home, what: &str) {
    wait_for(&format!("the box to say {what:?}"), SOON, || {
        let (may, said) = status(home);
        assert!(!may, "{said}");
        said.contains(what).then_some(())
    });
}

fn says_no_more(home: &Home, what: &str) {
    wait_for(&format!("the box not to say {what:?}"), SOON, || {
        (!status(home).1.contains(what)).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_box_says_whether_it_may_be_disturbed_and_why_not() {
    let port = free_port();
    let Some(pump) = Pymodbus::named(port, "Pump 1", &[(0, 31), (1, 1)]) else {
        return;
    };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    let dir = home.agent.dir().to_owned();
    fs::create_dir_all(dir.join("profiles")).expect("a folder");
    fs::write(dir.join("profiles/pump.toml"), format!("{PROFILE}{RUNS}")).expect("the profile");
    let gate = home.link.address().port();
    let text = format!(
        "[server]\ngate = \"localhost:{gate}\"\nretry_min_ms = 200\n\n\
         [[sensor]]\nid = \"pump\"\nprofile = \"pump\"\naddress = \"127.0.0.1:{port}\"\n"
    );
    fs::write(dir.join("agent.toml"), &text).expect("agent.toml");
    says(&home, "NOBODY KNOWS");

    home.run();
    says(&home, "pump is being used");
    // A device that does not answer has not ended what it did.
    drop(pump);
    wait_for("a question without an answer", SOON, || {
        let failures = home.agent.status()["sensors"][0]["failures"].as_u64();
        failures.is_some_and(|count| count > 0).then_some(())
    });
    says(&home, "pump is being used");
    let idle = || Pymodbus::named(port, "Pump 1", &[(0, 31), (1, 0)]).expect("it started before");
    let pump = idle();
    says_no_more(&home, "- pump");
    // Nor is one that fell silent taken for idle.
    drop(pump);
    says(&home, "pump has not said");
    let _pump = idle();
    says_no_more(&home, "- pump");
    says(&home, "the agent has just started");

    let hold = [
        "update",
        "hold",
        "--by",
        "nurse",
        "--minutes",
        "5",
        "dressing change",
    ];
    home.agent.command_ended(&hold).ok();
    says(&home, "nurse asked for quiet until");
    let listed = home.agent.command_ended(&["update", "hold", "--list"]).ok();
    assert!(listed.contains("dressing change"), "{listed}");
    // It stands whoever restarts.
    home.agent.kill();
    home.run();
    says(&home, "dressing change");
    home.agent
        .command_ended(&["update", "hold", "--lift", "nurse"])
        .ok();
    says_no_more(&home, "dressing change");

    home.agent.stop();
    says(&home, "NOBODY KNOWS");
}
