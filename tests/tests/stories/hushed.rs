//! A nurse asks from the console that nothing disturbs a home: its box keeps quiet, an update waits and says for whom, and goes on
//! when she ends it. What was placed at the box is not the console's to lift.

use std::fs;
use std::io::Write as _;

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

/// What the kernel says of a key. Source: Linux, linux/input.h and linux/input-event-codes.h.
fn key(value: i32) -> Vec<u8> {
    let mut event = vec![0; 2 * size_of::<usize>()];
    event.extend(1_u16.to_ne_bytes());
    event.extend(0x100_u16.to_ne_bytes());
    event.extend(value.to_ne_bytes());
    event
}

/// By a pipe in the place of the kernel's device, which says the same.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_patient_presses_a_button_and_has_quiet_for_a_time() {
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    let button = stage.path().join("button");
    let made = std::process::Command::new("mkfifo").arg(&button).status();
    assert!(made.expect("mkfifo").success());
    let mut options = fs::OpenOptions::new();
    let mut finger = options.read(true).write(true).open(&button).expect("a pipe");
    let settings = home.agent.dir().join("agent.toml");
    let text = fs::read_to_string(&settings).expect("agent.toml");
    let more = format!(
        "[update]\nquiet_s = 10\nbutton = \"{}\"\nbutton_min = 5\n",
        button.display()
    );
    fs::write(&settings, format!("{text}\n{more}")).expect("agent.toml");
    home.run();
    stage.more_readings(3);
    let holds = |home: &homeward_tests::homes::Home| -> Value {
        let said = home
            .agent
            .command_ended(&["--json", "update", "hold", "--list"])
            .ok();
        serde_json::from_str(&said).expect("JSON")
    };
    // Let go, or held down: no press.
    finger.write_all(&[key(0), key(2)].concat()).expect("it is heard");
    stage.more_readings(5);
    assert_eq!(holds(&home), serde_json::json!({}));
    finger.write_all(&[key(1), key(0)].concat()).expect("it is heard");
    let first = wait_for("quiet", UPDATE, || {
        let all = holds(&home);
        all["button"]["until"].is_object().then(|| all["button"].clone())
    });
    let lasts = |hold: &Value| hold["until"]["ms"].as_i64().zip(hold["placed"]["ms"].as_i64());
    assert_eq!(
        lasts(&first).map(|(until, placed)| until - placed),
        Some(5 * 60_000),
        "{first}"
    );
    let says = |home: &homeward_tests::homes::Home| home.agent.command_ended(&["update", "status"]).stdout;
    wait_for("the box to say so", UPDATE, || {
        says(&home)
            .contains("the patient's button asked for quiet")
            .then_some(())
    });
    // Once more, when it does not count as the same: from then on. And it stands over a power cut, and is lifted as any other.
    std::thread::sleep(std::time::Duration::from_secs(11));
    finger.write_all(&key(1)).expect("it is heard");
    wait_for("more quiet", UPDATE, || {
        (lasts(&holds(&home)["button"]) > lasts(&first)).then_some(())
    });
    killed(&mut home);
    assert!(says(&home).contains("the patient's button asked for quiet"));
    home.agent
        .command_ended(&["update", "hold", "--lift", "button"])
        .ok();
    assert_eq!(holds(&home), serde_json::json!({}));
}
