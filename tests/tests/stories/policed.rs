//! A policy and a real box: it goes out, is taken and reported back; an older one is refused and says so; quarantine
//! stops it; an order shuts the box off within seconds and holds over a restart.

use homeward_tests::console::Person;
use homeward_tests::programs::wait_for;
use rusqlite::Connection;
use serde_json::Value;

use super::policies::{People, document};
use super::stage::{PASSWORD, PLAIN, SOON, Stage, is_connected};

const RULES: &str =
    "[usb]\nhazard = \"h-1\"\nallow = [\"hub\"]\n[intervals]\nhazard = \"h-1\"\nposture_s = 3600\n";

fn status(stage: &Stage, gateway: &str) -> Value {
    stage.fleet.json(&["policy", "status", "--gateway", gateway])
}

fn becomes(stage: &Stage, gateway: &str, key: &str, value: &Value) {
    wait_for(&format!("{key} to be {value}"), SOON, || {
        (status(stage, gateway)[key] == *value).then_some(())
    });
}

fn give(stage: &Stage, people: &People, version: u64) {
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
