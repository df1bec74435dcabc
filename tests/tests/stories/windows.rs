//! Hours of work: a box whose policy has no window open now waits and says until when; with one that is open it installs.

use std::fs;

use homeward_protocol::time::Timestamp;
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::policed::status;
use super::policies::{People, document};
use super::stage::{SOON, Stage};
use super::updates::{assign, launched, stands, until};

const DAY_MIN: i64 = 24 * 60;

/// Minutes since midnight UTC, and since 1970.
fn minutes() -> (i64, i64) {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let all = i64::try_from(since.expect("after 1970").as_secs()).expect("small") / 60;
    (all.rem_euclid(DAY_MIN), all)
}

/// A rule with one window each day, which opens so many minutes from now.
fn opens_in(minutes_from_now: i64, lasts: i64) -> String {
    let from = (minutes().0 + minutes_from_now).rem_euclid(DAY_MIN);
    format!("[maintenance]\nhazard = \"h-1\"\nwindow = [{{ from_min = {from}, minutes = {lasts} }}]\n")
}

/// The box has taken a policy with this rule, and says that the rule holds.
fn give(stage: &Stage, people: &People, gateway: &str, version: u64, rule: &str) {
    let papers = people.signed(&format!("v{version}"), &document(version, rule));
    stage.fleet.run(&["policy", "load", &papers]).ok();
    stage
        .fleet
        .run(&["policy", "assign", &version.to_string(), "--all"])
        .ok();
    wait_for("the rule to hold", SOON, || {
        let told = status(stage, gateway);
        let points = told["points"].as_array().cloned().unwrap_or_default();
        let holds = |one: &Value| one["point"] == "maintenance" && one["standing"] == "holds";
        (told["holds"] == version && points.iter().any(holds)).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_update_waits_for_a_window_of_the_policy_and_says_until_when() {
    let mut stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "7.1.0");
    releases.publish(&stage.fleet);
    let mut home = launched(&stage, &releases).await;
    let gateway = home.gateway.to_string();
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    stage.more_readings(5);

    // The window opens in two hours: the build is fetched, and waits until then.
    let opens = Timestamp::synced((minutes().1 + 120) * 60_000);
    give(&stage, &people, &gateway, 1, &opens_in(120, 60));
    assign(&stage, &home, "7.1.0");
    let waits = until(&stage, &mut home, "when its policy lets work begin");
    let said = waits["stands"].as_str().expect("a sentence").to_owned();
    let (_, _, _, hour, minute, _) = opens.civil();
    // A minute may have passed between the two looks at the clock.
    let (_, _, _, or_hour, or_minute, _) = opens.plus_ms(60_000).civil();
    assert!(
        said.contains(&format!("{hour:02}:{minute:02} UTC"))
            || said.contains(&format!("{or_hour:02}:{or_minute:02} UTC")),
        "{said}"
    );
    // Nothing else stands against it any more, and it still waits.
    until(&stage, &mut home, "has 7.1.0, and waits: until ");
    let own = home.agent.command_ended(&["update", "status"]).ok();
    assert!(own.contains("when its policy lets work begin"), "{own}");
    let own = &stands(&stage, &home)["state"]["packaged"];
    assert_eq!(*own, true, "the package's own build runs");
    stage.more_readings(5);

    // Another policy, by which a window is open now: it is followed at once.
    give(&stage, &people, &gateway, 2, &opens_in(-60, 180));
    let runs = until(&stage, &mut home, "runs 7.1.0 and is well");
    assert_eq!(runs["runs"], "7.1.0", "{runs}");
    stage.more_readings(5);
    home.agent.stop();
    stage.fleet.stop();
}
