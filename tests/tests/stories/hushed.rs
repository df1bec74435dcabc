//! A nurse asks from the console that nothing disturbs a home: its box keeps quiet, an update waits and says for whom, and goes on
//! when she ends it. What was placed at the box is not the console's to lift.

use std::fs;

use homeward_tests::console::{Person, csrf};
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::stage::{PASSWORD, PLAIN, Stage};
use super::updates::{UPDATE, assign, killed, launched, until};

/// How the box stands to it, by the server's own command.
fn stands(stage: &Stage, gateway: &str) -> Value {
    stage.fleet.json(&["gateway", "quiet", gateway])["stands"].clone()
}

fn becomes(stage: &Stage, gateway: &str, words: &str) {
    wait_for(&format!("the quiet to be {words}"), UPDATE, || {
        (stands(stage, gateway) == words).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_nurse_asks_for_quiet_the_update_waits_and_goes_on_when_she_ends_it() {
    let mut stage = Stage::new();
    let releases = Releases::new(&stage.fleet);
    let mut build = fs::read(&releases.shipped).expect("the agent");
    build.extend(b"another build");
    releases.add("7.1.0", &releases.write("good", &build), "0.0.0");
    releases.publish(&stage.fleet);
    let mut home = launched(&stage, &releases).await;
    let gateway = home.gateway.to_string();
    stage.nurse("nina", "north");
    stage.nurse("sam", "south");
    let page = "/care/quiet?home=mill-road-12";
    let Some(nina) = Person::at(&stage.fleet, stage.path(), "nina") else {
        return;
    };
    let nina = nina.signed_in("nina", PASSWORD);
    assert!(nina.get("/care").text.contains(page), "the nurse finds it");
    // Who does not see the home finds nothing.
    let sam = Person::at(&stage.fleet, stage.path(), "sam").expect("as before");
    let sam = sam.signed_in("sam", PASSWORD);
    assert_eq!(sam.get(page).status, 404);

    let wish = |hours: &str, reason: &str| {
        let csrf = csrf(&nina.get(page).text).to_owned();
        let fields = [
            ("csrf", csrf.as_str()),
            ("home", "mill-road-12"),
            ("hours", hours),
            ("reason", reason),
        ];
        nina.post("/care/quiet", &fields)
    };
    assert_eq!(wish("4", " ").status, 422, "a reason is needed");
    assert_eq!(wish("5000", "dialysis").status, 422, "only what may be chosen");
    assert_eq!(wish("4", "dialysis at home").status, 303);
    becomes(&stage, &gateway, "kept");
    let text = nina.get(page).text;
    assert!(text.contains("as nina asked: dialysis at home"), "{text}");
    assign(&stage, &home, "7.1.0");
    let waits = "has 7.1.0, and waits: nina asked for quiet";
    until(&stage, &mut home, waits);

    // A person places another one at the box. Both outlast the agent and the server.
    let hold = ["update", "hold", "--by", "patient", "--minutes", "30", "asleep"];
    home.agent.command_ended(&hold).ok();
    killed(&mut home);
    stage.fleet.kill();
    stage.fleet.serve(&PLAIN);
    until(&stage, &mut home, waits);
    assert_eq!(stands(&stage, &gateway), "kept");

    // Nobody at the box ends what the console says that stands.
    let refused = home
        .agent
        .command_ended(&["update", "hold", "--lift", "console-order"]);
    assert!(refused.failed().contains("ended there"), "the reason");

    // She ends hers: the one at the box stands.
    assert_eq!(wish("0", "it is done").status, 303);
    becomes(&stage, &gateway, "none");
    until(&stage, &mut home, "has 7.1.0, and waits: patient asked for quiet");
    home.agent
        .command_ended(&["update", "hold", "--lift", "patient"])
        .ok();
    until(&stage, &mut home, "runs 7.1.0 and is well");
    let trail =
        "SELECT count(*) FROM audit WHERE action IN ('quiet-wished', 'quiet-ended') AND actor = 'nina'";
    assert_eq!(stage.number(trail), 2);
}
