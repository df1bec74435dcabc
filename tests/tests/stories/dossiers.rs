//! Firmware of a device: signed as a dossier, a task for each such device in the fleet, carried out by people, and pushed to
//! nothing: by no command, no campaign and no call.

use std::fs;

use homeward_tests::console::Person;
use homeward_tests::programs::wait_for;
use homeward_tests::releases::Releases;
use serde_json::Value;

use super::stage::{PASSWORD, SOON, Stage};

/// A dossier of the sensor that the home has, or of an implant that no box reads.
fn document(name: &str, profiles: &str, class: &str, by: &str) -> String {
    format!(
        r#"
form = "homeward/dossier/1"
name = "{name}"
version = "1.0.0"
maker = "Comet"
model = "T5xx"
profiles = [{profiles}]
class = "{class}"
after = "4.1"
by = "{by}"
steps = ["Unplug it.", "Hold the key for five seconds."]
worked = "The display shows 4.1."
risk = {{ without = "It may show the wrong air.", with = "No readings for ten minutes." }}
"#
    )
}

const SENSOR: &str = "dossier/comet-air/1.0.0";
const IMPLANT: &str = "dossier/pacer/1.0.0";

/// Both dossiers, signed by two of each and published.
fn published(stage: &Stage) -> Releases {
    let releases = Releases::new(&stage.fleet);
    for (name, text) in [
        (
            "comet-air",
            document("comet-air", "\"comet-tx5xx\"", "sensor", "nurse-at-home"),
        ),
        ("pacer", document("pacer", "", "implant", "clinic-visit")),
    ] {
        let (from, to) = (format!("{name}.toml"), format!("{name}.hwd"));
        releases.write(&from, text.as_bytes());
        let said = releases.ok(&["dossier", &from, "--out", &to]);
        assert!(said.contains("4.1 after any version"), "{said}");
        releases.ok(&["add", "REL", &to, "--dossier"]);
    }
    // What a person carries out cannot be drafted as software of a box.
    let mut odd = vec!["add", "REL", "pacer.hwd", "--path", IMPLANT, "--installer", "apt"];
    odd.extend(["--hw", "x86_64", "--version", "1.0.0", "--disruption", "none"]);
    let refused = releases.tell(&odd).failed();
    assert!(refused.contains("--dossier"), "{refused}");
    releases.publish(&stage.fleet);
    releases
}

fn dossier(stage: &Stage, args: &[&str]) -> Value {
    let mut all = vec!["update", "dossier"];
    all.extend(args);
    stage.fleet.json(&all)
}

fn refused(stage: &Stage, args: &[&str]) -> String {
    stage.fleet.run(args).failed()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn instructions_for_what_lies_in_a_body_ask_for_a_clinician_by_themselves() {
    let stage = Stage::new();
    stage.operator("olga");
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(1);
    let releases = Releases::new(&stage.fleet);
    for (name, class) in [("pacer", "implant"), ("room-air", "sensor")] {
        let text = document(name, "\"comet-tx5xx\"", class, "clinic-visit");
        let (from, to) = (format!("{name}.toml"), format!("{name}.hwd"));
        releases.write(&from, text.as_bytes());
        releases.ok(&["dossier", &from, "--out", &to]);
        releases.ok(&["add", "REL", &to, "--dossier"]);
    }
    releases.publish(&stage.fleet);
    let opened = "SELECT count(*) FROM audit WHERE action = 'dossier-opened' AND actor = 'system'";
    wait_for("a task to be opened by itself", SOON, || {
        (stage.number(opened) == 1).then_some(())
    });
    let listed = dossier(&stage, &["list"]);
    let tasks = listed["tasks"].as_array().cloned().unwrap_or_default();
    assert_eq!(tasks.len(), 1, "a person decides about the others: {listed}");
    assert_eq!(
        (&tasks[0]["dossier"], &tasks[0]["gateway"]),
        (&IMPLANT.into(), &home.gateway.as_str().into()),
        "{listed}"
    );
    let task = tasks[0]["task"].to_string();
    dossier(
        &stage,
        &[
            "withdraw",
            &task,
            "--person",
            "olga",
            "--reason",
            "it was explanted",
        ],
    );
    // A look later nobody is asked again; where the box stands in another home, those there are.
    std::thread::sleep(std::time::Duration::from_secs(25));
    assert_eq!(stage.number("SELECT count(*) FROM dossier_tasks"), 1);
    let placements = "INSERT INTO placements (id, team, dependency, created_at) VALUES ('mill-road-14', 'north', 'low', 1)";
    let moved = "UPDATE gateways SET placement = 'mill-road-14'";
    let database = rusqlite::Connection::open(stage.database()).expect("opens");
    for sql in [placements, moved] {
        database.execute(sql, []).expect("edits");
    }
    wait_for("the next home to be asked", SOON * 2, || {
        (stage.number("SELECT count(*) FROM dossier_tasks WHERE state = 'open'") == 1).then_some(())
    });
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_device_s_firmware_is_brought_by_people_and_pushed_by_nothing() {
    let mut stage = Stage::new();
    stage.nurse("nora", "north");
    stage.operator("olga");
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(1);
    let sensors = "SELECT count(*) FROM sensors WHERE profile = 'comet-tx5xx'";
    wait_for("the box to name its sensors", SOON, || {
        (stage.number(sensors) > 0).then_some(())
    });
    let releases = published(&stage);

    // The dossiers are there; a dry run opens nothing, and opening twice opens once.
    let listed = dossier(&stage, &["list"]);
    assert_eq!(listed["published"].as_array().map(Vec::len), Some(2), "{listed}");
    let dry = dossier(&stage, &["open", SENSOR, "--dry-run"]);
    assert_eq!(
        (&dry["opened"], dry["devices"].as_i64()),
        (&Value::from(Vec::<i64>::new()), Some(1))
    );
    let opened = dossier(&stage, &["open", SENSOR]);
    let task = opened["opened"][0]["task"].to_string();
    let gateway = opened["opened"][0]["gateway"]
        .as_str()
        .expect("a gateway")
        .to_owned();
    let again = dossier(&stage, &["open", SENSOR]);
    assert_eq!(again["known"].as_array().map(Vec::len), Some(1), "{again}");
    let none = dossier(&stage, &["open", IMPLANT]);
    assert_eq!(
        none["opened"].as_array().map(Vec::len),
        Some(0),
        "no box reads an implant"
    );
    let made = dossier(
        &stage,
        &["open", IMPLANT, "--gateway", &gateway, "--device", "pacemaker"],
    );
    let implant = made["opened"][0]["task"].to_string();

    // A sensor: planned, read off the device, done.
    let day = "2027-01-04";
    let early = [
        "update", "dossier", "confirm", &task, "--shows", "4.1", "--person", "nora",
    ];
    assert!(
        refused(&stage, &early).contains("nobody has planned"),
        "it is planned first"
    );
    dossier(&stage, &["plan", &task, "--on", day, "--person", "nora"]);
    let odd = [
        "update", "dossier", "confirm", &task, "--shows", "4.0", "--person", "nora",
    ];
    assert!(refused(&stage, &odd).contains("shows 4.0, and 4.1"));
    let nobody = [
        "update", "dossier", "confirm", &task, "--shows", "4.1", "--person", "mallory",
    ];
    assert!(refused(&stage, &nobody).contains("no person of the console"));
    let done = dossier(&stage, &["confirm", &task, "--shows", "4.1", "--person", "nora"]);
    assert_eq!(done["state"], "done");

    // An implant: two people, each in their own session; a name that is typed in is nobody's.
    dossier(&stage, &["plan", &implant, "--on", day, "--person", "nora"]);
    for name in ["nora", "olga"] {
        let look = [
            "update", "dossier", "confirm", &implant, "--shows", "4.1", "--person", name,
        ];
        assert!(refused(&stage, &look).contains("sign in to the console"));
    }

    nothing_pushes(&stage, &gateway);
    let people = ["nora", "olga"].map(|name| Person::at(&stage.fleet, stage.path(), name));
    if let [Some(nora), Some(olga)] = people {
        first_look(nora, &implant);
        in_the_console(olga, &implant);
        let shown = dossier(&stage, &["show", &implant]);
        assert_eq!(shown["task"]["state"], "done");
    }
    let written = stage.number("SELECT count(*) FROM audit WHERE action LIKE 'dossier-%'");
    recalled(&stage, &releases, &gateway);
    assert!(written >= 6, "{written} steps are written down");
    assert_eq!(
        stage.number("SELECT count(*) FROM assignments"),
        0,
        "no word was ever made"
    );
    home.agent.stop();
    assert!(stage.fleet.stop().success());
}

/// Every way that leads to a signed word of the director ends in a refusal, and no call of the API is one.
fn nothing_pushes(stage: &Stage, gateway: &str) {
    for path in [SENSOR, IMPLANT] {
        for more in [&["--dry-run"][..], &[]] {
            let mut assign = vec!["update", "assign", path, "--gateway", gateway];
            assign.extend(more);
            let said = refused(stage, &assign);
            assert!(said.contains("nothing can be pushed to a device"), "{said}");
        }
        for verb in ["plan", "start"] {
            let mut campaign = vec!["campaign", verb, "pacers", "--target", path];
            if verb == "start" {
                campaign.extend(["--plan", "4f0a19c2"]);
            }
            let said = refused(stage, &campaign);
            assert!(said.contains(path) || said.contains("dossier"), "{said}");
        }
    }
    // With every scope: no call of the API that changes something speaks of software, or brings anything to a device.
    let spec = serde_json::to_string(&homeward_fleet::api::spec::document()).expect("a description");
    let spec: Value = serde_json::from_str(&spec).expect("JSON");
    let paths = spec["paths"].as_object().expect("paths");
    let verbs = ["post", "put", "patch", "delete"];
    let changes = paths
        .iter()
        .filter(|(_, had)| verbs.iter().any(|verb| had.get(verb).is_some()));
    for (path, _) in changes {
        assert!(
            CHANGES.contains(&path.as_str()),
            "{path} is a way that this test does not know"
        );
    }
}

/// Every call that changes something, each looked at: none makes a word of the director, and of a dossier come tasks alone.
const CHANGES: [&str; 27] = [
    "/api/v1/advisories",
    "/api/v1/campaigns/{campaign}/halt",
    "/api/v1/claims",
    "/api/v1/dossiers",
    "/api/v1/dossiers/{task}/confirm",
    "/api/v1/dossiers/{task}/plan",
    "/api/v1/dossiers/{task}/refuse",
    "/api/v1/dossiers/{task}/reopen",
    "/api/v1/dossiers/{task}/withdraw",
    "/api/v1/gateways/{gateway}/accept",
    "/api/v1/gateways/{gateway}/approve",
    "/api/v1/gateways/{gateway}/challenge",
    "/api/v1/gateways/{gateway}/facts",
    "/api/v1/gateways/{gateway}/forces",
    "/api/v1/gateways/{gateway}/isolate",
    "/api/v1/gateways/{gateway}/quiet",
    "/api/v1/gateways/{gateway}/quiet/end",
    "/api/v1/gateways/{gateway}/release",
    "/api/v1/gateways/{gateway}/revoke",
    "/api/v1/gateways/{gateway}/support/end",
    "/api/v1/gateways/{gateway}/support/open",
    "/api/v1/implants",
    "/api/v1/implants/{entry}/end",
    "/api/v1/policies",
    "/api/v1/policies/check",
    "/api/v1/policies/{version}/assign",
    "/api/v1/policies/{version}/withdraw",
];

/// Those who signed a dossier take it out of what is published: what it asked for ends by itself.
fn recalled(stage: &Stage, releases: &Releases, gateway: &str) {
    let made = dossier(
        stage,
        &["open", IMPLANT, "--gateway", gateway, "--device", "pacemaker-2"],
    );
    let task = made["opened"][0]["task"].to_string();
    dossier(
        stage,
        &[
            "refuse",
            &task,
            "--person",
            "nora",
            "--reason",
            "the patient travels",
        ],
    );
    let again = [
        "reopen",
        &task,
        "--person",
        "olga",
        "--reason",
        "the patient is back",
    ];
    assert_eq!(dossier(stage, &again)["state"], "open");
    releases.ok(&["remove", "REL", "--path", IMPLANT]);
    releases.publish(&stage.fleet);
    let becomes = |state: &str| {
        wait_for(&format!("the task to be {state}"), SOON * 2, || {
            let shown = dossier(stage, &["show", &task]);
            (shown["task"]["state"] == state).then_some(())
        });
    };
    becomes("recalled");
    // Those who sign it publish the same again: it is asked for again, though no box reads such a device.
    releases.ok(&["add", "REL", "pacer.hwd", "--dossier"]);
    releases.publish(&stage.fleet);
    becomes("open");
}

/// The first of two looks, in a nurse's own session.
fn first_look(nora: Person, implant: &str) {
    let nora = nora.signed_in("nora", PASSWORD);
    let at = format!("/dossiers/{implant}");
    let shown = nora.get(&at);
    let csrf = homeward_tests::console::csrf(&shown.text).to_owned();
    let fields = [("csrf", csrf.as_str()), ("order", "confirm"), ("shows", "4.1")];
    assert_eq!(nora.post(&at, &fields).status, 303);
    assert_eq!(nora.post(&at, &fields).status, 422, "one person is no two");
}

/// A second person's own session, on the page that is printed and taken along.
fn in_the_console(olga: Person, implant: &str) {
    let olga = olga.signed_in("olga", PASSWORD);
    let at = format!("/dossiers/{implant}");
    let shown = olga.get(&at);
    assert_eq!(shown.status, 200, "{}", shown.text);
    for says in [
        "Do not do this at home",
        "second person needed",
        "Hold the key for five seconds",
    ] {
        assert!(shown.text.contains(says), "{says}: {}", shown.text);
    }
    let form = |shows: &'static str| {
        let csrf = homeward_tests::console::csrf(&shown.text).to_owned();
        let fields = [("csrf", csrf.as_str()), ("order", "confirm"), ("shows", shows)];
        olga.post(&at, &fields).status
    };
    assert_eq!(form("4.0"), 422, "the device shows another version");
    assert_eq!(form("4.1"), 303);
    assert!(olga.get(&at).text.contains("nora and olga saw 4.1"));
    assert!(fs::metadata(olga.jar()).is_ok(), "a session of their own");
}
