//! `sensor watch` and `sensor read`: what sensors bring is shown as it comes, with an agent and without, and lost to
//! nobody for having been looked at.

use homeward_tests::fake_bluez::cuff::{cuff, measurement};
use homeward_tests::fake_bluez::device::Device;
use homeward_tests::fake_bluez::oximeter::{HEART_RATE, heart_rate, strap};
use homeward_tests::fake_bluez::room::Room;
use homeward_tests::homes::Home;
use homeward_tests::programs::{Program, wait_for};
use homeward_tests::shared::workspace;
use rustix::process::Signal;
use serde_json::Value;

use super::super::stage::{SOON, Stage};
use super::{CUFF, STRAP, YES, has, now, stored};

/// What a running `sensor watch --json` printed, object by object.
fn shown(watching: &Program) -> Vec<Value> {
    let lines = watching.said().into_iter();
    lines
        .filter_map(|line| serde_json::from_str(&line).ok())
        .collect()
}

/// The numbers of a sensor's kind among what was shown.
fn numbers(watching: &Program, sensor: &str, kind: &str) -> Vec<i64> {
    let all = shown(watching).into_iter().map(|mut live| live["reading"].take());
    all.filter(|reading| reading["sensor"] == sensor && reading["kind"] == kind)
        .map(|reading| reading["value"]["number"][0].as_i64().expect("a number"))
        .collect()
}

/// The strap sends one, once somebody listens.
fn beat(room: &Room, pulse: u8) {
    room.listened(STRAP.address, HEART_RATE);
    assert!(room.fake.send(STRAP.address, HEART_RATE, heart_rate(pulse)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_sensors_bring_is_shown_as_it_comes_and_lost_to_nobody() {
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[STRAP, CUFF]);
    room.fake.with(|world| {
        world.bring(strap(STRAP.address));
        world.bring(cuff(CUFF.address));
    });
    without_an_agent(&room, &home);
    one_value(&room, &home);
    by_a_profile(&home);
    assert_eq!(stage.readings(), 0, "no agent has run");
    with_an_agent(&room, &stage, &mut home);
}

/// It reads by itself, wire and radio, and says what is wrong.
fn without_an_agent(room: &Room, home: &Home) {
    let mut watching = home.agent.beside(&["--json", "sensor", "watch"]);
    beat(room, 61);
    wait_for("the first to be shown", SOON, || {
        (numbers(&watching, STRAP.id, "heart-rate") == [61]).then_some(())
    });
    wait_for("the room sensor's values", SOON, || {
        (numbers(&watching, "comet-tx5xx", "air-temperature").len() > 2).then_some(())
    });
    let trouble = shown(&watching)
        .into_iter()
        .find(|live| live["trouble"]["sensor"] == "cuff");
    let said = trouble.expect("the cuff is not paired")["trouble"]["said"].to_string();
    assert!(said.contains("not paired"), "{said}");
    let second = home.agent.command_ended(&["sensor", "watch"]).failed();
    assert!(second.contains("another agent runs"), "{second}");
    watching.signal(Signal::INT);
    assert!(watching.wait(SOON).success(), "Ctrl-C is its usual end");
}

/// One value, or why there is none.
fn one_value(room: &Room, home: &Home) {
    let unpaired = home
        .agent
        .command_ended(&["sensor", "read", "cuff", "--seconds", "1"])
        .failed();
    assert!(unpaired.contains("not paired"), "{unpaired}");
    room.pair(home, CUFF, YES).ok();
    room.fake.with(|world| {
        if let Device::Cuff(cuff) = &mut world.sensor(CUFF.address).sensor.device {
            cuff.stored.push(measurement(133, 86, 67, now().ms));
        }
    });
    let read = home
        .agent
        .command_ended(&["--json", "sensor", "read", "cuff"])
        .ok();
    let read: Value = serde_json::from_str(&read).expect("JSON");
    assert_eq!(read.as_array().map(Vec::len), Some(3), "{read}");
}

/// Any device by its profile alone.
fn by_a_profile(home: &Home) {
    let text = std::fs::read_to_string(home.agent.dir().join("agent.toml")).expect("the box's folder");
    let device = text
        .split("address = \"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    let profile = workspace()
        .join("devices/profiles/comet-tx5xx.toml")
        .display()
        .to_string();
    let args = [
        "--json",
        "sensor",
        "watch",
        "--profile",
        &profile,
        "--tcp",
        device.expect("one"),
    ];
    let mut tried = home.agent.beside(&args);
    wait_for("the tried device's values", SOON, || {
        (!numbers(&tried, "tried-device", "air-temperature").is_empty()).then_some(())
    });
    tried.signal(Signal::INT);
    assert!(tried.wait(SOON).success());
}

/// The same, and what was read before it ran is not lost.
fn with_an_agent(room: &Room, stage: &Stage, home: &mut Home) {
    home.run();
    let mut watching = home.agent.beside(&["--json", "sensor", "watch", "strap"]);
    wait_for("the follower", SOON, || {
        beat(room, 62);
        (!numbers(&watching, STRAP.id, "heart-rate").is_empty()).then_some(())
    });
    for pulse in 70..80 {
        beat(room, pulse);
    }
    wait_for("the last to be shown", SOON, || {
        (numbers(&watching, STRAP.id, "heart-rate").last() == Some(&79)).then_some(())
    });
    assert!(
        shown(&watching)
            .iter()
            .all(|live| live["reading"]["sensor"] == "strap")
    );
    has(stage, CUFF.id, "systolic-pressure", &[133]);
    assert_eq!(stored(stage, STRAP.id, "heart-rate").first(), Some(&61));
    let reader = home.agent.beside(&["--json", "sensor", "read", "strap"]);
    wait_for("the reader", SOON, || {
        beat(room, 63);
        reader
            .said()
            .first()
            .map(|said| assert!(said.contains("\"strap\""), "{said}"))
    });
    home.agent.stop();
    assert!(watching.wait(SOON).success(), "it ends with its agent");
}
