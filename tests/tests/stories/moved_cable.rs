//! A cable that was moved: another device answers at the same address. It says who it is (function 43/14), and that is
//! not who it was. Both devices are pymodbus.

use std::fs;
use std::time::Duration;

use homeward_tests::homes::Home;
use homeward_tests::peers::{Pymodbus, free_port};
use homeward_tests::programs::wait_for;

use super::guarded::PROFILE;
use super::stage::{SOON, Stage};

fn complaint(home: &Home) -> String {
    let status = home.agent.status();
    let sensors = status["sensors"].as_array().cloned().unwrap_or_default();
    let pump = sensors.into_iter().find(|s| s["sensor"] == "pump");
    pump.unwrap_or_default()["last_error"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

fn complains(home: &Home, of: &str) {
    wait_for(&format!("the box to say {of:?}"), SOON, || {
        complaint(home).contains(of).then_some(())
    });
}

/// Readings of the pump that came as another device's.
fn unverified(stage: &Stage) -> i64 {
    stage.number("SELECT count(*) FROM readings WHERE sensor = 'pump' AND grade = 'unverified'")
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_device_at_the_same_address_is_told_and_its_readings_grade_lower() {
    let port = free_port();
    let Some(first) = Pymodbus::named(port, "Pump 1", &[(0, 31)]) else {
        return;
    };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    let dir = home.agent.dir().to_owned();
    fs::create_dir_all(dir.join("profiles")).expect("a folder");
    let says = PROFILE.replace("most_registers = 8\n", "most_registers = 8\nidentifies = true\n");
    let profile = says.replace("\"shape\"", "\"from-manual\"");
    fs::write(dir.join("profiles/pump.toml"), profile).expect("the profile");
    let gate = home.link.address().port();
    let text = format!(
        "[server]\ngate = \"localhost:{gate}\"\nretry_min_ms = 200\n\n\
         [[sensor]]\nid = \"pump\"\nprofile = \"pump\"\naddress = \"127.0.0.1:{port}\"\n"
    );
    fs::write(dir.join("agent.toml"), &text).expect("agent.toml");
    home.run();
    stage.more_readings(3);
    assert_eq!(unverified(&stage), 0, "{}", complaint(&home));

    // What was learnt outlives the agent.
    home.agent.kill();
    drop(first);
    let second = Pymodbus::named(port, "Pump 2", &[(0, 64)]).expect("it started before");
    home.run();
    complains(&home, "it says that it is Example Pump 2, and was Example Pump 1");
    let raised = "SELECT count(*) FROM findings WHERE suspicion = 'other-device' AND sensor = 'pump'";
    wait_for("the server to hear of it", Duration::from_mins(1), || {
        (stage.number(&format!("{raised} AND cleared_at IS NULL")) == 1).then_some(())
    });
    assert!(unverified(&stage) > 0);
    let as_first =
        "SELECT count(*) FROM readings WHERE sensor = 'pump' AND mantissa = 64 AND grade <> 'unverified'";
    assert_eq!(
        stage.number(as_first),
        0,
        "not one reading of the other device passed"
    );

    // The cable is put back while the agent runs.
    drop(second);
    let first = Pymodbus::named(port, "Pump 1", &[(0, 31)]).expect("it started before");
    wait_for("the suspicion to end", Duration::from_mins(3), || {
        (stage.number(&format!("{raised} AND cleared_at IS NULL")) == 0).then_some(())
    });
    assert_eq!(stage.number(raised), 1);

    // It was exchanged on purpose, and who did it says so.
    home.agent.stop();
    drop(first);
    let _second = Pymodbus::named(port, "Pump 2", &[(0, 64)]).expect("it started before");
    fs::write(dir.join("agent.toml"), text + "identity = \"Example Pump 2\"\n").expect("agent.toml");
    home.run();
    wait_for("its readings to count", SOON, || {
        (stage.number(as_first) > 0).then_some(())
    });
    home.agent.stop();
}
