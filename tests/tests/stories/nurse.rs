//! The first story: a device is read, and a nurse sees it; it falls silent, and she sees that too.

use std::fs;
use std::path::Path;
use std::time::Duration;

use homeward_protocol::claim::Claim;
use homeward_tests::console::Person;
use homeward_tests::peers::{Postgres, Pymodbus};
use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::wait_for;
use homeward_tests::shared;

use super::stage::{PASSWORD, PLAIN, SOON, Stage, claim};

/// Temperature and relative humidity of the room sensor, in tenths.
const REGISTERS: [(u16, u16); 2] = [(49, 215), (50, 403)];

/// The shipped profile of a room sensor, but silent after two seconds.
fn impatient() -> String {
    let shipped = shared::workspace().join("devices/profiles/comet-tx5xx.toml");
    let text = fs::read_to_string(shipped).expect("a shipped profile");
    text.replace("id = \"comet-tx5xx\"", "id = \"impatient\"")
        .replace("silent_after_ms = 180_000", "silent_after_ms = 2_000")
        .replace("interval_ms = 30_000", "interval_ms = 500")
}

/// A box that is enrolled and knows the device.
fn enrolled(folder: &Path, claim: &Claim, device: &Pymodbus) -> Agent {
    let dir = folder.join("box");
    fs::create_dir_all(dir.join("profiles")).expect("the story's folder");
    let agent = Agent::at(&dir);
    agent.enrol(&claim.to_string(), SOON).ok();
    fs::write(dir.join("profiles/impatient.toml"), impatient()).expect("the story's folder");
    let sensor = format!(
        "[[sensor]]\nid = \"medicine-room\"\nprofile = \"impatient\"\naddress = \"127.0.0.1:{}\"\n",
        device.port
    );
    fs::write(dir.join("agent.toml"), sensor).expect("the story's folder");
    agent
}

fn team_of(fleet: &Fleet) {
    for (name, role, team) in [
        ("olivia", "operator", None),
        ("nora", "nurse", Some("north")),
        ("sam", "nurse", Some("south")),
    ] {
        let mut args = vec!["user", "add", name, "--role", role];
        if let Some(team) = team {
            args.extend(["--team", team]);
        }
        fleet.tell(&args, PASSWORD).ok();
    }
}

/// The nurse's page once it says `word`.
fn until_care_says(nurse: &Person, word: &str) -> String {
    wait_for(&format!("the nurse's page to say {word:?}"), SOON, || {
        let page = nurse.get("/care");
        assert_eq!(page.status, 200, "{}", page.text);
        page.text.contains(word).then_some(page.text)
    })
}

#[test]
fn a_home_reports_and_a_nurse_sees_it() {
    let Some(mut device) = Pymodbus::start(&REGISTERS) else {
        return;
    };
    let mut stage = Stage::new();
    team_of(&stage.fleet);
    let claim = claim(&stage.fleet, "quay-street-9");
    let mut agent = enrolled(stage.path(), &claim, &device);
    let someone = |name| Person::at(&stage.fleet, stage.path(), name);
    let (Some(nora), Some(sam), Some(olivia)) = (someone("nora"), someone("sam"), someone("olivia")) else {
        return;
    };
    assert_eq!(nora.get("/care").status, 303, "nobody looks without signing in");
    let nora = nora.signed_in("nora", PASSWORD);
    let sam = sam.signed_in("sam", PASSWORD);
    let olivia = olivia.signed_in("olivia", PASSWORD);
    until_care_says(&nora, "The box is set up but has sent nothing yet");

    agent.run(&PLAIN);
    let page = until_care_says(&nora, "The 1 person&#39;s devices are working");
    assert!(
        page.contains("quay-street-9") && page.contains("home all-working"),
        "{page}"
    );

    let fleet_page = olivia.get("/fleet");
    assert!(
        fleet_page.text.contains(claim.gateway.as_str()),
        "{}",
        fleet_page.text
    );
    let gateway = format!("/gateways/{}", claim.gateway);
    let page = olivia.get(&gateway).text;
    assert!(page.contains("medicine-room") && page.contains("21.5"), "{page}");

    let token = stage
        .fleet
        .json(&["token", "new", "reports", "--scope", "fleet:read"]);
    let token = token["token"].as_str().expect("a token");
    let latest = format!("/api/v1/gateways/{}/latest", claim.gateway);
    let answer = olivia.api(&latest, token);
    assert_eq!(answer.status, 200, "{}", answer.text);
    let answer: serde_json::Value = serde_json::from_str(&answer.text).expect("JSON");
    let said: Vec<_> = answer["readings"]
        .as_array()
        .expect("readings")
        .iter()
        .map(|r| ["kind", "number", "unit", "quality"].map(|key| r[key].as_str().unwrap_or("")))
        .collect();
    assert!(
        said.contains(&["air-temperature", "21.5", "Cel", "good"]),
        "{said:?}"
    );
    assert!(
        said.contains(&["relative-humidity", "40.3", "%", "good"]),
        "{said:?}"
    );
    assert_eq!(olivia.api(&latest, "hwt_no-such-token").status, 401);

    let other_team = sam.get("/care").text;
    assert!(
        other_team.contains("There is nobody in your care team yet"),
        "{other_team}"
    );
    assert!(!other_team.contains("quay-street-9"), "{other_team}");
    for nurse in [&sam, &nora] {
        let refused = nurse.get(&gateway);
        assert!(matches!(refused.status, 403 | 404), "{}", refused.status);
        assert!(!refused.text.contains("medicine-room"), "{}", refused.text);
    }
    let forged = nora.post("/sign-out", &[("csrf", "guessed")]);
    assert_eq!(forged.status, 403, "a form needs its token");

    device.program.kill();
    let page = until_care_says(&nora, "Medicine room does not answer the box");
    assert!(
        page.contains("home check-today") && !page.contains("home all-working"),
        "{page}"
    );
    assert!(
        page.contains("1 person&#39;s devices should be checked today"),
        "{page}"
    );
    assert!(page.contains("Do this:"), "{page}");
    agent.stop();
    stage.fleet.stop();
    stage.fleet.run(&["check"]).ok();
}

#[test]
fn the_whole_way_works_on_postgresql_too_and_an_operator_lets_the_box_in() {
    let (Some(postgres), Some(device)) = (Postgres::start(false), Pymodbus::start(&REGISTERS)) else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let mut fleet = Fleet::init(&folder.path().join("fleet"), &["--name", "localhost", "--trial"]);
    let config = fleet.dir().join("fleet.toml");
    let text = fs::read_to_string(&config).expect("init makes it");
    let text = format!("{text}\n[store]\npostgres = \"{}\"\n", postgres.url());
    fs::write(&config, text).expect("the story's folder");
    fleet.serve(&PLAIN);
    team_of(&fleet);
    let made = fleet.json(&["claim", "new", "--placement", "quay-street-9", "--team", "north"]);
    let claim: Claim = serde_json::from_value(made["claim"].clone()).expect("a claim");

    let mut agent = std::thread::scope(|scope| {
        let enrolling = scope.spawn(|| enrolled(folder.path(), &claim, &device));
        wait_for("the box to ask", SOON, || {
            let shown = fleet.run(&["gateway", "list", "--state", "waiting"]).ok();
            shown.contains(claim.gateway.as_str()).then_some(())
        });
        fleet.run(&["gateway", "approve", claim.gateway.as_str()]).ok();
        enrolling.join().expect("the box is let in")
    });
    agent.run(&PLAIN);
    let Some(nora) = Person::at(&fleet, folder.path(), "nora") else {
        return;
    };
    let nora = nora.signed_in("nora", PASSWORD);
    until_care_says(&nora, "The 1 person&#39;s devices are working");
    agent.stop();
    assert!(fleet.stop().success());
    fleet.run(&["check"]).ok();
    fleet.serve(&PLAIN);
    agent.run(&PLAIN);
    wait_for("the box to connect again", Duration::from_secs(30), || {
        let shown = fleet.json(&["gateway", "list"]);
        shown[0]["connected"].as_bool().unwrap_or(false).then_some(())
    });
}
