//! A policy and a real box: it goes out, is taken and reported back; an older one is refused and says so; quarantine
//! stops it; an order shuts the box off within seconds and holds over a restart.

use homeward_tests::console::Person;
use homeward_tests::homes::{Home, Plan};
use homeward_tests::programs::wait_for;
use rusqlite::Connection;
use serde_json::Value;

use super::policies::{People, document};
use super::stage::{PASSWORD, PLAIN, SOON, Stage, is_connected};

const RULES: &str =
    "[usb]\nhazard = \"h-1\"\nallow = [\"hub\"]\n[intervals]\nhazard = \"h-1\"\nposture_s = 3600\n";

pub(crate) fn status(stage: &Stage, gateway: &str) -> Value {
    stage.fleet.json(&["policy", "status", "--gateway", gateway])
}

pub(crate) fn becomes(stage: &Stage, gateway: &str, key: &str, value: &Value) {
    wait_for(&format!("{key} to be {value}"), SOON, || {
        (status(stage, gateway)[key] == *value).then_some(())
    });
}

pub(crate) fn give(stage: &Stage, people: &People, version: u64) {
    let papers = people.signed(&format!("v{version}"), &document(version, RULES));
    stage.fleet.run(&["policy", "load", &papers]).ok();
    stage
        .fleet
        .run(&["policy", "assign", &version.to_string(), "--all"])
        .ok();
}

fn edit(stage: &Stage, sql: &str) {
    let db = Connection::open(stage.database()).expect("opens");
    db.execute_batch(sql).expect("edits");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_policy_reaches_a_real_box_and_an_older_one_is_refused_with_its_reason() {
    let mut stage = Stage::new();
    stage.operator("olivia");
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    let mut home = stage.home("mill-road-12").await;
    home.run();
    let gateway = home.gateway.to_string();
    give(&stage, &people, 7);
    becomes(&stage, &gateway, "progress", &"applied".into());
    let told = status(&stage, &gateway);
    assert_eq!(
        (&told["wanted"], &told["holds"]),
        (&7.into(), &7.into()),
        "{told}"
    );
    let points = told["points"].as_array().expect("points");
    assert!(
        points.iter().any(|point| point["point"] == "intervals/posture"),
        "{told}"
    );

    // The server is put back to what it was before 7, and gives 6 to all.
    let six = people.signed("v6", &document(6, RULES));
    stage.fleet.stop();
    edit(
        &stage,
        "DELETE FROM policy_targets; DELETE FROM policies; DELETE FROM policy_states; DELETE FROM policy_points;",
    );
    stage.fleet.serve(&PLAIN);
    stage.fleet.run(&["policy", "load", &six]).ok();
    stage.fleet.run(&["policy", "assign", "6", "--all"]).ok();
    becomes(&stage, &gateway, "refused", &"older".into());
    assert_eq!(status(&stage, &gateway)["holds"], 7);
    if let Some(olivia) = Person::at(&stage.fleet, stage.path(), "olivia") {
        let page = olivia
            .signed_in("olivia", PASSWORD)
            .get(&format!("/gateways/{gateway}"))
            .text;
        assert!(
            page.contains("older than the one that this box has taken"),
            "{page}"
        );
    }
    stage.more_readings(5);
    home.agent.stop();
    stage.fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn quarantine_stops_a_policy_and_an_order_shuts_the_box_off_and_holds_over_a_restart() {
    let mut stage = Stage::new();
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    let mut home = stage.home("mill-road-12").await;
    home.run();
    let gateway = home.gateway.to_string();
    stage.more_readings(5);
    wait_for("the box to be connected", SOON, || {
        is_connected(&home).then_some(())
    });
    edit(
        &stage,
        &format!(
            "INSERT INTO attestation (gateway, quarantined_at, quarantined_why) VALUES ('{gateway}', 1, 'a test')
             ON CONFLICT (gateway) DO UPDATE SET quarantined_at = 1, quarantined_why = 'a test'"
        ),
    );
    give(&stage, &people, 7);
    becomes(&stage, &gateway, "progress", &"quarantined".into());
    stage
        .fleet
        .run(&["gateway", "isolate", &gateway, "--reason", "calls home"])
        .ok();
    wait_for("the order to be heard", SOON, || {
        let heard = status(&stage, &gateway)["isolation"].clone();
        (heard == "heard" || heard == "holds").then_some(())
    });
    assert_eq!(
        status(&stage, &gateway)["holds"],
        Value::Null,
        "no policy went to it"
    );
    home.agent.stop();
    home.run();
    stage.more_readings(5);
    let isolation = status(&stage, &gateway)["isolation"].clone();
    assert!(isolation == "heard" || isolation == "holds", "{isolation}");
    stage
        .fleet
        .run(&["attest", "accept", &gateway, "--lift", "--reason", "looked at"])
        .ok();
    stage
        .fleet
        .run(&["gateway", "release", &gateway, "--reason", "mended"])
        .ok();
    becomes(&stage, &gateway, "isolation", &"open".into());
    becomes(&stage, &gateway, "holds", &7.into());
    home.agent.stop();
    stage.fleet.stop();
}

/// A rule for each habit of the agent; no part of the box is touched.
const HABITS: &str = r#"
[polling]
hazard = "h-1"
every = [{ sensor = "comet-tx5xx", interval_ms = 200 }]
[thresholds]
hazard = "h-1"
silent = [{ sensor = "comet-tx5xx", minutes = 3 }]
[sensors]
hazard = "h-1"
allow = [{ sensor = "comet-tx5xx", least_grade = "verified" }]
[intervals]
hazard = "h-1"
posture_s = 3600
evidence_s = 1200
certificate_h = 48
[retention]
hazard = "h-1"
outbox_kib = 8192
[modbus_writes]
hazard = "h-1"
[bluetooth]
hazard = "h-1"
mode = "bonded-only"
[accounts]
hazard = "h-1"
[time]
hazard = "h-1"
sources = ["ntp.example.net"]
max_error_ms = 1000
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn habits_of_a_policy_hold_at_once_without_a_new_start_and_each_point_says_how_it_stands() {
    let mut stage = Stage::new();
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    // Asked once an hour by its own configuration.
    let plan = Plan {
        placement: "mill-road-12",
        team: "north",
        dependency: "medium",
        sensor: "comet-tx5xx",
        profile: "comet-tx5xx",
        interval_ms: 3_600_000,
        seed: 7,
    };
    let mut home = Home::settle(&stage.fleet, stage.path(), plan).await;
    home.run();
    let gateway = home.gateway.to_string();
    wait_for("the first reading", SOON, || (stage.readings() > 0).then_some(()));
    let first = stage.readings();
    let papers = people.signed("v7", &document(7, HABITS));
    stage.fleet.run(&["policy", "load", &papers]).ok();
    stage.fleet.run(&["policy", "assign", "7", "--all"]).ok();
    stage.more_readings(10);
    let below = "SELECT count(*) FROM readings WHERE grade = 'unverified' AND details LIKE '%below-policy%'";
    wait_for("readings below what the policy wants", SOON, || {
        (stage.number(below) >= 10).then_some(())
    });
    assert!(stage.readings() > first);
    becomes(&stage, &gateway, "progress", &"applied".into());
    let standing = |point: &str| {
        let told = status(&stage, &gateway);
        let all = told["points"].as_array().cloned().unwrap_or_default();
        let found = all.into_iter().find(|one| one["point"] == point);
        found.map_or(Value::Null, |one| one["standing"].clone())
    };
    for point in [
        "polling/comet-tx5xx",
        "thresholds/comet-tx5xx",
        "sensors/comet-tx5xx",
        "sensors/others",
        "intervals/posture",
        "intervals/evidence",
        "intervals/certificate",
        "retention/outbox",
        "modbus-writes/others",
    ] {
        wait_for(&format!("{point} to hold"), SOON, || {
            (standing(point) == "holds").then_some(())
        });
    }
    // What this machine has of the others is found, or said to be out of reach; never held for done unseen.
    for point in [
        "accounts/passwords",
        "accounts/root",
        "time/sources",
        "time/error",
        "bluetooth",
    ] {
        wait_for(&format!("{point} to be told"), SOON, || {
            standing(point)
                .as_str()
                .is_some_and(|is| is != "failed")
                .then_some(())
        });
    }
    home.agent.stop();
    stage.fleet.stop();
}
