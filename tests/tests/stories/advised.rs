//! A real advisory on a pacemaker: it finds whom it concerns, a clinician decides in the console, a named person is told outside
//! of it, and all of it is there after the server was killed.

use std::fs;

use homeward_fleet::advisory::csaf::{Advisory, read};
use homeward_fleet::advisory::implant::{Implant, Kind};
use homeward_fleet::advisory::matching::{How, concern};
use homeward_tests::console::{Page, Person, csrf};
use homeward_tests::programs::wait_for;
use serde_json::Value;

use super::stage::{PASSWORD, PLAIN, SOON, Stage};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_advisory_on_a_pacemaker_asks_a_clinician_to_weigh_it() {
    let Some(folder) = homeward_tests::shared::data("data/csaf/icsma") else {
        return;
    };
    let mut stage = Stage::new();
    stage.operator("olga");
    stage.nurse("nora", "north");
    tells(&mut stage, "nora");
    for home in ["mill-road-12", "mill-road-14"] {
        super::stage::claim(&stage.fleet, home);
    }
    let add = |home: &str, maker: &str, model: &str| -> Value {
        stage.fleet.json(&[
            "implant",
            "add",
            "--home",
            home,
            "--device",
            "pacemaker",
            "--maker",
            maker,
            "--model",
            model,
        ])
    };
    add("mill-road-12", "Abbott", "Accent MRI");
    add("mill-road-14", "Medtronic", "Micra AV");
    let pacemaker = folder.join("icsma-17-241-01.json");
    let pacemaker = pacemaker.to_str().expect("a path");
    let dry = stage.fleet.json(&["advisory", "take", pacemaker, "--dry-run"]);
    assert_eq!((&dry["tasks"], &dry["new"]), (&1.into(), &0.into()), "{dry}");
    assert_eq!(stage.number("SELECT count(*) FROM advisories"), 0);

    // All of them: one is about one of the two.
    let taken = stage
        .fleet
        .json(&["advisory", "take", folder.to_str().expect("a path")]);
    assert!(taken["new"].as_i64() >= Some(80), "{taken}");
    assert_eq!(
        (&taken["tasks"], &taken["refused"]),
        (&1.into(), &0.into()),
        "{taken}"
    );
    let again = stage.fleet.json(&["advisory", "take", pacemaker]);
    assert_eq!(
        (&again["tasks"], &again["new"]),
        (&0.into(), &0.into()),
        "{again}"
    );
    let open = stage.fleet.json(&["advisory", "tasks", "--open"]);
    assert_eq!(
        (&open["tasks"][0]["advisory"], &open["tasks"][0]["device"]["home"]),
        (&"ICSMA-17-241-01".into(), &"mill-road-12".into()),
        "{open}"
    );
    let task = open["tasks"][0]["task"].to_string();
    wait_for("the named person to be told", SOON, || {
        (stage.number("SELECT count(*) FROM notices WHERE person = 'nora'") == 1).then_some(())
    });
    let told = "SELECT count(*) FROM notices WHERE body LIKE '%mill-road%' OR body LIKE '%Accent%'";
    assert_eq!(stage.number(told), 0, "nothing of a patient leaves the console");

    // Nothing can be decided at a command, or by who is no clinician.
    let pushed = stage.fleet.run(&["advisory", "decide", &task]).failed();
    assert!(pushed.contains("unrecognized subcommand"), "{pushed}");
    let people = ["olga", "nora"].map(|name| Person::at(&stage.fleet, stage.path(), name));
    let [Some(olga), Some(nora)] = people else {
        return;
    };
    let refused = decide(&olga.signed_in("olga", PASSWORD), &task);
    assert_eq!(refused.status, 422, "{}", refused.text);
    assert_eq!(decide(&nora.signed_in("nora", PASSWORD), &task).status, 303);

    // What is decided is there after the server was killed.
    stage.fleet.kill();
    stage.fleet.serve(&PLAIN);
    let shown = stage.fleet.run(&["advisory", "task", &task]).ok();
    for part in [
        "nora decided with the device clinic",
        "2027-01-11",
        "7.5 (high)",
        "back-up pacing",
    ] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let written = "SELECT count(*) FROM audit WHERE action IN ('implant-added', 'weigh-opened', 'weigh-told', 'weigh-decided')";
    assert_eq!(stage.number(written), 5);
    // A person who gets such a device later is found by what is here.
    let later = stage.fleet.json(&[
        "implant",
        "add",
        "--home",
        "mill-road-14",
        "--device",
        "second",
        "--maker",
        "Abbott",
        "--model",
        "Assurity MRI PM2272",
    ]);
    assert_eq!(later["tasks"].as_array().map(Vec::len), Some(1), "{later}");
    assert!(stage.fleet.stop().success());
}

/// The server tells this person: through a service that is not there, so that the message waits.
fn tells(stage: &mut Stage, person: &str) {
    stage.fleet.stop();
    let config = stage.fleet.dir().join("fleet.toml");
    let mut text = fs::read_to_string(&config).expect("reads");
    text.push_str(
        "\n[notify]\nwebhook = \"http://127.0.0.1:9/\"\nwebhook_secret_file = \"webhook.secret\"\n",
    );
    text.push_str(&format!("advisories = \"{person}\"\n"));
    fs::write(&config, text).expect("writes");
    fs::write(stage.fleet.dir().join("webhook.secret"), "twelve-wet-otters\n").expect("writes");
    stage.fleet.serve(&PLAIN);
}

/// Decides to act, in the person's own session.
fn decide(person: &Person, task: &str) -> Page {
    let at = format!("/advisories/{task}");
    let shown = person.get(&at);
    assert!(shown.text.contains("CVE-2017-12714"), "{}", shown.text);
    assert!(
        shown.text.contains("risk of performing a firmware update"),
        "{}",
        shown.text
    );
    let csrf = csrf(&shown.text).to_owned();
    let fields = [
        ("csrf", csrf.as_str()),
        ("seen", "1"),
        ("order", "decide"),
        ("choice", "act"),
        ("on", "2027-01-11"),
        ("with", "the device clinic of the city hospital"),
        ("without", "somebody near could use up its battery"),
        (
            "by_it",
            "three minutes of back-up pacing; it may have to be set anew",
        ),
    ];
    person.post(&at, &fields)
}

/// CISA's medical advisories, as they were given out, of which the one on Abbott's pacemakers called 465,000 people to a hospital.
#[test]
fn real_advisories_are_about_those_who_have_such_a_device() {
    let Some(folder) = homeward_tests::shared::data("data/csaf") else {
        return;
    };
    let read_all = |below: &str| -> Vec<Vec<u8>> {
        let files = fs::read_dir(folder.join(below)).expect("a folder");
        files
            .map(|file| fs::read(file.expect("a file").path()).expect("reads"))
            .collect()
    };
    let real: Vec<Advisory> = read_all("icsma")
        .iter()
        .map(|bytes| read(bytes).expect("is taken"))
        .collect();
    assert!(real.len() >= 80, "{}", real.len());
    for (maker, model, about) in [
        ("Abbott", "Accent MRI", "ICSMA-17-241-01"),
        ("Abbott", "Anthem RF PM3212", "ICSMA-17-241-01"),
        ("Abbott Laboratories", "Fortify Assura", "ICSMA-18-107-01"),
        ("Medtronic", "Evera MRI XT ICD", "ICSMA-19-080-01"),
        ("Medtronic", "MiniMed 508", "ICSMA-18-219-02 ICSMA-19-178-01"),
        ("Biotronik", "Edora 8 DR-T", ""),
        ("Medtronic", "Micra AV", ""),
    ] {
        let device = device(maker, model);
        let found = real.iter().filter(|one| concern(one, &device).is_some());
        let mut ids: Vec<&str> = found.map(|one| one.id.as_str()).collect();
        ids.sort_unstable();
        assert_eq!(ids.join(" "), about, "{maker} {model}");
    }
    let pacers = real.iter().find(|one| one.id == "ICSMA-17-241-01");
    let device = device("Abbott", "Accent MRI");
    let concern = concern(pacers.expect("is there"), &device).expect("is about it");
    assert_eq!((concern.how, concern.flaws.len()), (How::Same, 3));
    assert_eq!(
        concern.score.map(|score| score.to_string()).as_deref(),
        Some("7.5 (high)")
    );
    // What the committee's validator is tried with: none of it makes the reader panic.
    let mut tried = 0;
    for kind in ["mandatory", "optional", "informative"] {
        for bytes in read_all(&format!("tc/validator-2.0/data/{kind}")) {
            let _ = read(&bytes);
            tried += 1;
        }
    }
    assert!(tried > 100, "{tried}");
}

fn device(maker: &str, model: &str) -> Implant {
    Implant {
        placement: "home-1".parse().expect("an id"),
        device: "pacemaker".parse().expect("a name"),
        kind: Kind::Implant,
        maker: maker.parse().expect("a name"),
        model: model.parse().expect("a name"),
        shows: None,
    }
}
