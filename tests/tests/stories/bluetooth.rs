//! Bluetooth sensors of a home, from the pairing to the server's database: a whole agent over a fake `BlueZ`.

use std::time::{Duration, Instant};

use homeward_fleet::clock::Clock;
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::time::Timestamp;
use homeward_tests::fake_bluez::cuff::{MEASUREMENT, battery, cuff, measurement};
use homeward_tests::fake_bluez::device::Device;
use homeward_tests::fake_bluez::fault::{Does, Fault};
use homeward_tests::fake_bluez::meter::{Meter, POINT, meter};
use homeward_tests::fake_bluez::oximeter::{CONTINUOUS, HEART_RATE, continuous, heart_rate, oximeter, strap};
use homeward_tests::fake_bluez::room::{Room, Worn};
use homeward_tests::fake_bluez::sensor::Pairing;
use homeward_tests::fake_bluez::world::World;
use homeward_tests::homes::Home;
use homeward_tests::homes::bluetooth::furnish_real;
use homeward_tests::programs::wait_for;
use homeward_tests::proxy::Link;

use super::stage::{SOON, Stage, all_arrived};

mod shown;

const CLIP: Worn<'static> = Worn {
    id: "clip",
    profile: "pulse-oximeter",
    address: BleAddress([0xC1, 0, 0, 0, 0, 3]),
};
const CUFF: Worn<'static> = Worn {
    id: "cuff",
    profile: "blood-pressure",
    address: BleAddress([0xC1, 0, 0, 0, 0, 2]),
};
const STRAP: Worn<'static> = Worn {
    id: "strap",
    profile: "heart-rate",
    address: BleAddress([0xC1, 0, 0, 0, 0, 1]),
};
const METER: Worn<'static> = Worn {
    id: "meter",
    profile: "glucose-meter",
    address: BleAddress([0xC1, 0, 0, 0, 0, 4]),
};
/// What the oximeter shows when it is paired, and what the person says who compares the cuff's numbers.
const PASSKEY: &str = "314159";
const YES: &str = "yes";

/// What happens to a bond while nobody looks.
type Change = fn(&mut World);

fn now() -> Timestamp {
    Clock::system().now()
}

/// The numbers of one kind that the server has of one sensor, in the order of the box.
fn stored(stage: &Stage, sensor: &str, kind: &str) -> Vec<i64> {
    let question = format!(
        "SELECT mantissa FROM readings WHERE sensor = '{sensor}' AND kind = '{kind}' ORDER BY epoch, seq"
    );
    stage.numbers(&question)
}

/// Waits until the server has these numbers, and no others.
fn has(stage: &Stage, sensor: &str, kind: &str, wanted: &[i64]) {
    let until = Instant::now() + SOON;
    loop {
        let found = stored(stage, sensor, kind);
        if found == wanted {
            return;
        }
        let late = Instant::now() > until;
        let wrong = wanted.get(..found.len()) != Some(found.as_slice());
        assert!(
            !late && !wrong,
            "{kind} of {sensor}: {found:?} instead of {wanted:?}"
        );
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// What the box last said of a sensor's state.
fn complaint(home: &Home, sensor: &str) -> String {
    let status = home.agent.status();
    let all = status["sensors"].as_array().cloned().unwrap_or_default();
    let one = all
        .into_iter()
        .find(|s| s["sensor"] == sensor)
        .unwrap_or_default();
    one["last_error"].as_str().unwrap_or_default().to_owned()
}

fn complains(home: &Home, sensor: &str, of: &str) {
    wait_for(
        &format!("the box to say {of:?} of {sensor}"),
        Duration::from_mins(1),
        || complaint(home, sensor).contains(of).then_some(()),
    );
}

/// Sends the pulses and waits until the server has all that came so far.
fn beats(stage: &Stage, room: &Room, so_far: &mut Vec<i64>, pulses: std::ops::Range<u8>) {
    room.listened(STRAP.address, HEART_RATE);
    for pulse in pulses {
        assert!(room.fake.send(STRAP.address, HEART_RATE, heart_rate(pulse)));
        so_far.push(i64::from(pulse));
    }
    has(stage, STRAP.id, "heart-rate", so_far);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_home_pairs_its_sensors_by_hand_and_what_they_measure_is_stored() {
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[CLIP, CUFF]);
    let stranger = BleAddress([0xC1, 0, 0, 0, 0, 0x66]);
    room.fake.with(|world| {
        world.bring(oximeter(CLIP.address));
        world.bring(cuff(CUFF.address));
        world.bring(cuff(stranger).paired_by(Pairing::just_works()));
    });
    let heard = home
        .agent
        .command_ended(&["--json", "sensor", "scan", "--seconds", "1"])
        .ok();
    assert!(
        heard.contains("C1:00:00:00:00:03") && heard.contains("Finger Clip"),
        "{heard}"
    );

    let wrong = room.pair(&home, CLIP, "314158").failed();
    assert!(wrong.contains("did not agree"), "{wrong}");
    let no = room.pair(&home, CUFF, "no").failed();
    assert!(no.contains("pairing failed"), "{no}");
    let weak = room
        .pair(
            &home,
            Worn {
                address: stranger,
                ..CUFF
            },
            YES,
        )
        .failed();
    assert!(
        weak.contains("SecureUnauthenticated") && weak.contains("removed"),
        "{weak}"
    );
    assert!(
        room.fake
            .with(|world| world.known.values().all(|known| known.bond.is_none()))
    );
    let listed = home.agent.command_ended(&["sensor", "list"]).ok();
    assert!(listed.contains("No Bluetooth sensor is paired"), "{listed}");

    room.pair(&home, CLIP, PASSKEY).ok();
    room.pair(&home, CUFF, YES).ok();
    let listed = home.agent.command_ended(&["sensor", "list"]).ok();
    assert_eq!(
        listed.matches("secure pairing that a person checked").count(),
        2,
        "{listed}"
    );

    // The first is from before the pairing: another person's, for all that is known.
    let measured: Vec<Vec<u8>> = [(120, 86_400_000), (121, 2000), (122, 0)]
        .map(|(systolic, ago)| measurement(systolic, 80, 60, now().ms - ago))
        .into();
    room.fake.with(|world| {
        if let Device::Cuff(cuff) = &mut world.sensor(CUFF.address).sensor.device {
            cuff.stored = measured;
        }
    });
    home.run();
    room.listened(CLIP.address, CONTINUOUS);
    for pulse in 50..70 {
        assert!(room.fake.send(CLIP.address, CONTINUOUS, continuous(97, pulse)));
    }
    has(&stage, "clip", "pulse-rate", &(50..70).collect::<Vec<_>>());
    has(&stage, "clip", "oxygen-saturation", &[97; 20]);
    has(&stage, "cuff", "systolic-pressure", &[120, 121, 122]);
    has(&stage, "cuff", "diastolic-pressure", &[80; 3]);
    has(&stage, "cuff", "pulse-rate", &[60; 3]);
    let as_the_clip = "SELECT grade = (SELECT min(grade) FROM readings WHERE sensor = 'clip') FROM readings
        WHERE sensor = 'cuff' AND kind = 'systolic-pressure' ORDER BY epoch, seq";
    assert_eq!(stage.numbers(as_the_clip), [0, 1, 1]);
    let quiet = home.agent.command_ended(&["update", "status"]).stdout;
    assert!(quiet.contains("clip is being used"), "{quiet}");

    home.agent.command_ended(&["sensor", "forget", "clip"]).ok();
    complains(&home, "clip", "not paired");
    assert!(
        !room.fake.send(CLIP.address, CONTINUOUS, continuous(97, 99)),
        "nobody listens"
    );
    has(&stage, "clip", "pulse-rate", &(50..70).collect::<Vec<_>>());
    assert!(home.agent.stop().success());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn values_go_on_after_a_lost_link_a_dead_daemon_and_a_switched_adapter() {
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[STRAP, CLIP]);
    room.fake.with(|world| {
        world.bring(strap(STRAP.address));
        world.bring(oximeter(CLIP.address));
    });
    room.pair(&home, CLIP, PASSKEY).ok();
    home.run();
    let (mut beaten, mut pulses) = (Vec::new(), Vec::new());
    let mut all = |from: u8| {
        beats(&stage, &room, &mut beaten, from..from + 5);
        room.listened(CLIP.address, CONTINUOUS);
        for pulse in from..from + 5 {
            let value = continuous(97, u16::from(pulse));
            assert!(room.fake.send(CLIP.address, CONTINUOUS, value));
            pulses.push(i64::from(pulse));
        }
        has(&stage, CLIP.id, "pulse-rate", &pulses);
    };
    all(50);
    room.fake.with(|world| {
        world.lose(CLIP.address);
        world.lose(STRAP.address);
    });
    all(60);
    room.fake.crash().await;
    complains(&home, CLIP.id, "down");
    room.fake.restart().await;
    all(70);
    room.fake.with(|world| world.power(false));
    complains(&home, CLIP.id, "off");
    room.fake.with(|world| world.power(true));
    all(80);
    // Without its server the box keeps what comes, also over a lost link to the sensor.
    home.set_link(Link::Down);
    room.listened(STRAP.address, HEART_RATE);
    assert!(room.fake.send(STRAP.address, HEART_RATE, heart_rate(90)));
    room.fake.with(|world| world.lose(STRAP.address));
    room.listened(STRAP.address, HEART_RATE);
    assert!(room.fake.send(STRAP.address, HEART_RATE, heart_rate(91)));
    home.set_link(Link::Clear);
    beaten.extend([90, 91]);
    has(&stage, STRAP.id, "heart-rate", &beaten);
    assert_eq!(
        room.fake.with(|world| world.calls("/org/bluez/hci0", "Set")),
        3,
        "the pairing window's, no more"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_comes_back_with_a_weaker_bond_or_none_is_refused_as_that_sensor() {
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[STRAP, CLIP]);
    room.fake.with(|world| {
        world.bring(strap(STRAP.address));
        world.bring(oximeter(CLIP.address));
    });
    room.pair(&home, CLIP, PASSKEY).ok();
    home.run();
    let mut pulses = Vec::new();
    let mut beaten = Vec::new();
    let weaker: Change = |world| {
        let class = KeyClass::SecureUnauthenticated;
        world.bonded(CLIP.address, Bond { class, key_size: 16 });
    };
    let shorter: Change = |world| {
        let class = KeyClass::SecureAuthenticated;
        world.bonded(CLIP.address, Bond { class, key_size: 7 });
    };
    let gone: Change = |world| world.unbond(CLIP.address);
    let impostor: Change = |world| world.sensor(CLIP.address).holds_bond = false;
    let cases = [
        ("weaker bond", weaker),
        ("weaker bond", shorter),
        ("no bond any more", gone),
        ("lost its bond, or is not", impostor),
    ];
    for (n, (said, change)) in (0_u8..).zip(cases) {
        room.listened(CLIP.address, CONTINUOUS);
        assert!(
            room.fake
                .send(CLIP.address, CONTINUOUS, continuous(97, u16::from(n) + 60))
        );
        pulses.push(i64::from(n) + 60);
        has(&stage, CLIP.id, "pulse-rate", &pulses);
        room.fake.with(|world| {
            world.lose(CLIP.address);
            change(world);
        });
        complains(&home, CLIP.id, said);
        assert!(!room.fake.is_heard(CLIP.address, CONTINUOUS), "{said}");
        let finding = "SELECT count(*) FROM findings
            WHERE sensor = 'clip' AND suspicion = 'bond-changed' AND cleared_at IS NULL";
        wait_for("the suspicion to reach the server", SOON, || {
            (stage.number(finding) == 1).then_some(())
        });
        beats(&stage, &room, &mut beaten, 50 + n * 5..55 + n * 5);
        // Only a person makes it the sensor again.
        home.agent.command_ended(&["sensor", "forget", "clip"]).ok();
        room.fake
            .with(|world| world.sensor(CLIP.address).holds_bond = false);
        room.pair(&home, CLIP, PASSKEY).ok();
    }
    room.listened(CLIP.address, CONTINUOUS);
    has(&stage, CLIP.id, "pulse-rate", &pulses);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_meters_records_are_stored_once_each_however_often_the_agent_is_killed() {
    const RECORDS: u16 = 60;
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[METER]);
    let mut memory = Meter::paced(Duration::from_millis(40));
    let began = now().ms - 86_400_000;
    for n in 0..RECORDS {
        memory.measure(90 + n, began + i64::from(n) * 60_000);
    }
    room.fake.with(|world| {
        let mut sensor = meter(METER.address);
        sensor.device = Device::Meter(memory);
        world.bring(sensor);
    });
    room.pair(&home, METER, "161803").ok();
    let count = |stage: &Stage| stored(stage, METER.id, "blood-glucose").len();
    // Each life of the agent gets a little further, and dies in the middle of the transfer.
    for life in 0..6_usize {
        home.run();
        room.listened(METER.address, POINT);
        let wanted = (count(&stage) + 4 + life).min(RECORDS.into());
        wait_for("some records", SOON, || (count(&stage) >= wanted).then_some(()));
        home.agent.kill();
    }
    let cut = count(&stage);
    assert!(cut < RECORDS.into(), "no kill hit the transfer: {cut}");
    home.run();
    let all: Vec<i64> = (90..90 + i64::from(RECORDS)).collect();
    wait_for("all records", Duration::from_mins(1), || {
        (count(&stage) >= usize::from(RECORDS)).then_some(())
    });
    assert_eq!(
        stored(&stage, METER.id, "blood-glucose"),
        all,
        "each once, in order"
    );
    home.agent.kill();
    room.fake.with(|world| {
        if let Device::Meter(memory) = &mut world.sensor(METER.address).sensor.device {
            memory.measure(200, now().ms);
            memory.measure(201, now().ms);
        }
    });
    home.run();
    wait_for("the new ones", SOON, || {
        (count(&stage) >= usize::from(RECORDS) + 2).then_some(())
    });
    all_arrived(&home);
    let new = stored(&stage, METER.id, "blood-glucose").split_off(RECORDS.into());
    assert_eq!(new, [200, 201]);
    let (asked, kept) = room
        .fake
        .with(|world| match &world.sensor(METER.address).sensor.device {
            Device::Meter(memory) => (memory.asked, memory.kept()),
            _ => (0, 0),
        });
    assert!(asked > 7, "each life asked: {asked}");
    assert_eq!(
        kept,
        usize::from(RECORDS) + 2,
        "nobody deletes from a patient's meter"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sensor_that_hangs_or_serves_a_thing_twice_hinders_no_other() {
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[STRAP, CLIP, CUFF]);
    room.fake.with(|world| {
        world.bring(strap(STRAP.address));
        let mut twice = oximeter(CLIP.address);
        twice.services.push(battery(0x21));
        let service = twice.services[1].clone();
        twice.services.push(service);
        world.bring(twice);
        world.bring(cuff(CUFF.address));
    });
    room.pair(&home, CLIP, PASSKEY).ok();
    room.pair(&home, CUFF, YES).ok();
    room.fake
        .with(|world| world.faults = vec![Fault::once("StartNotify", "00_02", Does::Hang)]);
    home.run();
    let mut beaten = Vec::new();
    beats(&stage, &room, &mut beaten, 50..60);
    complains(&home, CLIP.id, "2 times");
    beats(&stage, &room, &mut beaten, 60..70);
    complains(&home, CUFF.id, "30000 ms");
    beats(&stage, &room, &mut beaten, 70..80);
    // What hung is tried again by itself.
    room.fake.with(|world| {
        if let Device::Cuff(cuff) = &mut world.sensor(CUFF.address).sensor.device {
            cuff.stored.push(measurement(131, 85, 66, now().ms));
        }
    });
    room.listened(CUFF.address, MEASUREMENT);
    has(&stage, CUFF.id, "systolic-pressure", &[131]);
    assert_eq!(stored(&stage, CLIP.id, "pulse-rate"), Vec::<i64>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_machines_own_bluetooth_hears_can_be_the_demos() {
    let Some(room) = Room::open().await else { return };
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    room.furnish(&mut home, &[]);
    room.fake.with(|world| {
        world.bring(strap(STRAP.address));
        world.bring(cuff(CUFF.address));
        world.power(false);
    });
    let off = furnish_real(&home).expect_err("the adapter is off");
    assert!(off.contains("adapter is off"), "{off}");
    room.fake.with(|world| world.power(true));
    let near = furnish_real(&home).expect("two sensors");
    let names: Vec<&str> = near.iter().map(|near| near.id.as_str()).collect();
    assert_eq!(names, ["heart-rate-1", "blood-pressure-2"]);
    home.run();
    room.listened(STRAP.address, HEART_RATE);
    assert!(room.fake.send(STRAP.address, HEART_RATE, heart_rate(61)));
    has(&stage, "heart-rate-1", "heart-rate", &[61]);
    complains(&home, "blood-pressure-2", "not paired");
}
