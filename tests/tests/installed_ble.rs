//! What real `BlueZ` does with our shell: a guest with `bluetoothd`, an emulated controller and five virtual sensors.
//!
//! The guest is started once by [`real_bluez_passes_the_checks`]; inside it the checks run one after
//! another, because they share the adapter and the sensors. The radio is not real: no range, no interference, no signal
//! strengths. Keys, bonds, errors and the order of values are.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests wait, start programs, read the environment"
)]

use std::env;
use std::io::{BufRead as _, BufReader, Write as _};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use homeward_agent::policy::keep::Want;
use homeward_agent::policy::radio::{PAIRS_FOR, Radio};
use homeward_agent::run::looking;
use homeward_devices::bluez::Bluez;
use homeward_devices::bluez::bus::Bus;
use homeward_devices::bluez::keys::Keys;
use homeward_devices::bluez::pair::{PairError, Question, Window};
use homeward_devices::link::ble::{
    AddressKind, At, BleError, BondState, Central as _, Peripheral as _, StackState,
};
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_protocol::policy::rules::{Bluetooth, OnDrift, RadioMode};
use homeward_protocol::time::Uptime;
use homeward_tests::shared;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

const HR: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 1]);
const BP: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 2]);
const TEMP: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 3]);
const PLX: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 4]);
const GLU: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 5]);
const STRANGER: BleAddress = BleAddress([0xC1, 0, 0, 0, 0, 0x41]);

const HEART_RATE: At = at(0x180D, 0x2A37);
const BATTERY: At = at(0x180F, 0x2A19);
const PRESSURE: At = at(0x1810, 0x2A35);
const PRESSURE_FEATURE: At = at(0x1810, 0x2A49);
const OXIMETRY: At = at(0x1822, 0x2A5F);
const GLUCOSE: At = at(0x1808, 0x2A18);
const RECORDS: At = at(0x1808, 0x2A52);

/// For what the emulated guest does in a second or two.
const SOON: Duration = Duration::from_secs(45);
/// Where nothing more may come.
const QUIET: Duration = Duration::from_millis(1500);

const fn at(service: u16, characteristic: u16) -> At {
    At {
        service,
        characteristic,
    }
}

#[test]
fn real_bluez_passes_the_checks() {
    let Some(tool) = shared::data("tools/ble-vm/run.sh") else {
        return;
    };
    let tool = tool.parent().expect("lies in a folder");
    for (program, package) in [("qemu-system-x86_64", "qemu-system-x86"), ("bluetoothd", "bluez")] {
        let debian_puts_it_there = std::path::Path::new("/usr/libexec/bluetooth").join(program);
        if !debian_puts_it_there.is_file() && shared::debian(program, package).is_none() {
            return;
        }
    }
    let prepared = shared::in_ci() || guest_folder().join("initrd.zst").exists();
    if !prepared
        || !Command::new(tool.join("prepare.sh"))
            .status()
            .is_ok_and(|s| s.success())
    {
        shared::missing(
            "the guest of the Bluetooth tests",
            "run tests/run --install as root",
        );
        return;
    }
    let me = env::current_exe().expect("a running test has a path");
    let ended = Command::new(tool.join("run.sh"))
        .args(["--".as_ref(), me.as_os_str()])
        .args(["c0", "c1", "--ignored", "--test-threads=1", "--nocapture"])
        .env("BLE_VM_TIMEOUT", "900")
        .status()
        .expect("run.sh starts");
    assert!(ended.success(), "in the guest: {ended}");
}

/// Where the tool keeps its kernel and its Python.
fn guest_folder() -> PathBuf {
    let home = || env::var_os("HOME").map_or_else(|| PathBuf::from("/root"), PathBuf::from);
    let cache = env::var_os("XDG_CACHE_HOME").map_or_else(|| home().join(".cache"), PathBuf::from);
    env::var_os("BLE_VM_CACHE").map_or_else(|| cache.join("ble-vm"), PathBuf::from)
}

/// Steers the sensors: one command, one answer.
fn steer(line: &str) -> String {
    let path = env::var_os("BLE_VM_CTL").expect("runs in the guest's world, see the test that starts it");
    let mut ctl = UnixStream::connect(path).expect("the sensors listen");
    writeln!(ctl, "{line}").expect("the sensors hear");
    let answer = BufReader::new(ctl).lines().next();
    answer.expect("the sensors answer").expect("a line")
}

fn obey(line: &str) {
    assert_eq!(steer(line), "ok", "{line}");
}

/// Plays one check with our shell on a runtime of its own; it may last four minutes.
fn play<F: Future<Output = ()>>(check: impl FnOnce(Bluez) -> F) {
    let runtime = tokio::runtime::Runtime::new().expect("a runtime");
    runtime.block_on(async {
        let keys = env::var_os("BLE_VM_OUT").expect("runs in the guest's world");
        let (bluez, watch) = Bluez::new(Keys::Folder(std::path::Path::new(&keys).join("bluetooth")));
        tokio::spawn(watch.run());
        become_state(&bluez, StackState::Ready).await;
        timeout(Duration::from_mins(4), check(bluez))
            .await
            .expect("four minutes are enough");
    });
}

async fn become_state(bluez: &Bluez, state: StackState) -> u32 {
    let mut stack = bluez.stack();
    let waited = timeout(SOON, stack.wait_for(|now| now.state == state)).await;
    waited.expect("in time").expect("the watch runs").life
}

/// Listens until `address` is heard.
async fn hear(bluez: &Bluez, address: BleAddress) {
    for _ in 0..5 {
        let heard = bluez.scan(Duration::from_secs(2), &[]).await.expect("a scan");
        if heard.iter().any(|advert| advert.address == address) {
            return;
        }
    }
    panic!("{address} was not heard");
}

async fn connect(
    bluez: &Bluez,
    address: BleAddress,
) -> <Bluez as homeward_devices::link::ble::Central>::Link {
    hear_unless_bonded(bluez, address).await;
    bluez.connect(address, SOON).await.expect("a link")
}

async fn hear_unless_bonded(bluez: &Bluez, address: BleAddress) {
    if bluez.bond(address).await.expect("an answer") == BondState::None {
        hear(bluez, address).await;
    }
}

/// The next `count` values of one characteristic, and that no more come.
async fn values(
    link: &mut impl homeward_devices::link::ble::Peripheral,
    from: At,
    count: usize,
) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    while all.len() < count {
        let notice = timeout(SOON, link.next())
            .await
            .expect("a value in time")
            .expect("a link");
        assert_eq!(notice.at, from);
        all.push(notice.value);
    }
    let more = timeout(QUIET, link.next()).await;
    assert!(more.is_err(), "one too many: {more:?}");
    all
}

/// Pairs with a person who types what the sensor shows and finds every number the same.
async fn pair(
    bluez: &Bluez,
    address: BleAddress,
    name: &str,
    demand: Option<KeyClass>,
) -> Result<Option<Bond>, PairError> {
    hear(bluez, address).await;
    let (questions, mut asked) = mpsc::channel(4);
    let window = Window {
        address,
        demand,
        limit: SOON,
    };
    let name = name.to_owned();
    let person = tokio::spawn(async move {
        while let Some(question) = asked.recv().await {
            match question {
                Question::Passkey(answer) => {
                    let shown = tokio::task::block_in_place(|| steer(&format!("passkey {name}")));
                    answer
                        .send(shown.trim_start_matches("ok ").trim().parse().ok())
                        .ok();
                }
                Question::Compare { answer, .. } => drop(answer.send(true)),
                Question::Show { passkey } => panic!("nobody types {passkey} over there"),
            }
        }
    });
    let paired = bluez.pair(window, questions).await;
    person.await.expect("the person ends with the window");
    paired
}

fn bond(class: KeyClass, key_size: u8) -> Bond {
    Bond { class, key_size }
}

#[test]
#[ignore = "runs in the guest"]
fn c01_a_scan_finds_all_five_with_their_kind_and_services() {
    play(|bluez| async move {
        let mut heard = Vec::new();
        for _ in 0..5 {
            for advert in bluez.scan(Duration::from_secs(3), &[]).await.expect("a scan") {
                if !heard
                    .iter()
                    .any(|known: &homeward_devices::link::ble::Advert| known.address == advert.address)
                {
                    heard.push(advert);
                }
            }
            if heard.len() >= 5 {
                break;
            }
        }
        heard.sort_by_key(|advert| advert.address);
        let kinds: Vec<_> = heard.iter().map(|a| (a.address, a.kind)).collect();
        let random = [BP, TEMP, PLX, GLU].map(|address| (address, AddressKind::Static));
        assert_eq!(kinds, [&[(HR, AddressKind::Public)], &random[..]].concat());
        assert!(heard[0].services.contains(&0x180D), "{heard:?}");
        assert_eq!(heard[1].name.as_deref(), Some("AT-BP"));
        let only = bluez
            .scan(Duration::from_secs(3), &[0x1808])
            .await
            .expect("a scan");
        assert!(only.iter().all(|advert| advert.address == GLU), "{only:?}");
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c02_all_shapes_arrive_and_a_read_is_no_notification() {
    play(|bluez| async move {
        let mut link = connect(&bluez, HR).await;
        assert_eq!(link.read(BATTERY).await.expect("a battery"), [87]);
        link.subscribe(HEART_RATE).await.expect("a subscription");
        link.subscribe(HEART_RATE).await.expect("twice is harmless");
        let shapes = values(&mut link, HEART_RATE, 5).await;
        assert!(shapes.iter().all(|value| value.len() >= 2), "{shapes:?}");
        assert!(matches!(
            link.read(HEART_RATE).await,
            Err(BleError::Refused { .. })
        ));
        assert_eq!(link.read(BATTERY).await.expect("a battery"), [87]);
        let more = timeout(QUIET, link.next()).await;
        assert!(more.is_err(), "a read came as a value: {more:?}");
        assert!(matches!(
            link.read(at(0x180D, 0x2A99)).await,
            Err(BleError::NotServed { .. })
        ));
        link.disconnect().await;
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c03_a_dropped_link_is_seen_and_values_flow_again_once() {
    play(|bluez| async move {
        let mut link = connect(&bluez, HR).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        values(&mut link, HEART_RATE, 5).await;
        obey("drop AT-HR");
        assert_eq!(timeout(SOON, link.next()).await.expect("is noticed"), None);
        assert_eq!(link.next().await, None, "and stays so");
        let mut again = connect(&bluez, HR).await;
        again.subscribe(HEART_RATE).await.expect("a subscription");
        values(&mut again, HEART_RATE, 5).await;
        again.disconnect().await;
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c04_a_burst_of_sixty_keeps_its_order_and_two_batteries_are_not_guessed_at() {
    play(|bluez| async move {
        let mut link = connect(&bluez, PLX).await;
        link.subscribe(OXIMETRY).await.expect("a subscription");
        let pulses: Vec<u16> = values(&mut link, OXIMETRY, 60)
            .await
            .iter()
            .map(|value| u16::from_le_bytes([value[3], value[4]]))
            .collect();
        assert_eq!(pulses, (1000..1060).collect::<Vec<_>>());
        let guess = link.read(BATTERY).await;
        assert!(
            matches!(guess, Err(BleError::Ambiguous { count: 2, .. })),
            "{guess:?}"
        );
        let both = bluez.read_each(PLX, BATTERY).await.expect("two batteries");
        assert_eq!(both.len(), 2);
        link.disconnect().await;
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c05_a_protected_value_without_a_bond_ends_in_time_and_poisons_nothing() {
    play(|bluez| async move {
        let link = connect(&bluez, BP).await;
        let refused = link.read(PRESSURE_FEATURE).await;
        assert!(refused.is_err(), "{refused:?}");
        assert_eq!(bluez.bond(BP).await.expect("an answer"), BondState::None);
        link.disconnect().await;
        connect(&bluez, BP).await.disconnect().await;
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c06_just_works_is_named_and_refused_where_more_is_demanded() {
    play(|bluez| async move {
        let demanded = pair(&bluez, BP, "AT-BP", Some(KeyClass::LegacyAuthenticated)).await;
        assert!(matches!(demanded, Err(PairError::TooWeak { .. })), "{demanded:?}");
        assert_eq!(bluez.bond(BP).await.expect("an answer"), BondState::None);
        let unproved = bond(KeyClass::SecureUnauthenticated, 16);
        obey("forget AT-BP");
        let paired = pair(&bluez, BP, "AT-BP", None).await.expect("a bond");
        assert_eq!(paired, Some(unproved));
        assert_eq!(
            bluez.bond(BP).await.expect("an answer"),
            BondState::Held(unproved)
        );
        let mut link = connect(&bluez, BP).await;
        link.read(PRESSURE_FEATURE).await.expect("is encrypted now");
        link.subscribe(PRESSURE).await.expect("a subscription");
        values(&mut link, PRESSURE, 1).await;
        link.disconnect().await;
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c07_passkey_and_numeric_comparison_give_their_classes_and_records_come_once() {
    play(|bluez| async move {
        let legacy = pair(&bluez, TEMP, "AT-TEMP", Some(KeyClass::LegacyAuthenticated)).await;
        assert_eq!(
            legacy.expect("a bond"),
            Some(bond(KeyClass::LegacyAuthenticated, 16))
        );
        let best = pair(&bluez, GLU, "AT-GLU", Some(KeyClass::SecureAuthenticated)).await;
        assert_eq!(
            best.expect("a bond"),
            Some(bond(KeyClass::SecureAuthenticated, 16))
        );
        let mut link = connect(&bluez, GLU).await;
        link.subscribe(GLUCOSE).await.expect("a subscription");
        link.subscribe(RECORDS).await.expect("a subscription");
        let all = procedure(&mut link, &[1, 1]).await;
        assert_eq!(all.len(), 5, "all, each once");
        let last = u16::from_le_bytes([all[4][1], all[4][2]]);
        let [low, high] = (last - 1).to_le_bytes();
        assert_eq!(
            procedure(&mut link, &[1, 3, 1, low, high]).await.len(),
            2,
            "only newer"
        );
        link.disconnect().await;
    });
}

/// Asks for records; the records up to the answer that the procedure is over.
async fn procedure(link: &mut impl homeward_devices::link::ble::Peripheral, command: &[u8]) -> Vec<Vec<u8>> {
    link.write(RECORDS, command).await.expect("the command is taken");
    let mut records = Vec::new();
    loop {
        let notice = timeout(SOON, link.next())
            .await
            .expect("in time")
            .expect("a link");
        match notice.at {
            GLUCOSE => records.push(notice.value),
            RECORDS => {
                assert_eq!(notice.value, [6, 0, 1, 1], "send records: done");
                return records;
            }
            other => panic!("{other}"),
        }
    }
}

#[test]
#[ignore = "runs in the guest"]
fn c08_a_bonded_sensor_comes_back_without_a_question() {
    play(|bluez| async move {
        // Not the thermometer: the emulated controller encrypts a legacy bond's second link with another key than the
        // host does (its sensor sees error 61, a wrong check value), which no real pair of devices would.
        for _ in 0..2 {
            let mut link = bluez
                .connect(GLU, SOON)
                .await
                .expect("a link without a scan or an agent");
            link.subscribe(GLUCOSE).await.expect("a subscription");
            link.subscribe(RECORDS).await.expect("needs the key, and has it");
            assert_eq!(procedure(&mut link, &[1, 1]).await.len(), 5);
            link.disconnect().await;
        }
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c09_a_lost_bond_is_said_and_never_paired_anew_and_a_twin_is_a_stranger() {
    play(|bluez| async move {
        let before = bluez.bond(TEMP).await.expect("an answer");
        assert!(matches!(before, BondState::Held(_)), "{before:?}");
        obey("forget AT-TEMP");
        let (mut refused, mut canceled) = (0, 0);
        while refused < 2 {
            match bluez.connect(TEMP, SOON).await {
                Err(BleError::BondRefused { address: TEMP }) => refused += 1,
                // The stack is still ending the link before: no answer of the sensor.
                Err(other) if canceled < 3 && other.to_string().contains("br-connection-canceled") => {
                    canceled += 1;
                    tokio::time::sleep(Duration::from_secs(1)).await;
                }
                Err(other) => panic!("{other}"),
                Ok(_) => panic!("connected to one without the bond"),
            }
        }
        assert_eq!(
            bluez.bond(TEMP).await.expect("an answer"),
            before,
            "only a person removes it"
        );
        assert!(steer(&format!("clone AT-GLU {STRANGER}")).starts_with("ok"));
        hear(&bluez, STRANGER).await;
        assert_eq!(bluez.bond(STRANGER).await.expect("an answer"), BondState::None);
        assert!(matches!(bluez.bond(GLU).await, Ok(BondState::Held(_))));
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c10_every_kind_of_key_is_named_and_a_refusal_leaves_nothing() {
    play(|bluez| async move {
        let kinds = [
            ("just-works-legacy", bond(KeyClass::LegacyUnauthenticated, 16)),
            ("just-works", bond(KeyClass::SecureUnauthenticated, 16)),
            ("passkey 123456", bond(KeyClass::SecureAuthenticated, 16)),
            ("short-key", bond(KeyClass::SecureUnauthenticated, 7)),
        ];
        for (kind, expected) in kinds {
            bluez.forget(BP).await.expect("forgotten");
            obey("forget AT-BP");
            obey(&format!("pairing AT-BP {kind}"));
            let paired = pair(&bluez, BP, "AT-BP", None).await.expect(kind).expect(kind);
            assert_eq!(paired.key_size, expected.key_size, "{kind}");
            if kind != "short-key" {
                assert_eq!(paired, expected, "{kind}");
            }
        }
        bluez.forget(BP).await.expect("forgotten");
        obey("forget AT-BP");
        let short = pair(&bluez, BP, "AT-BP", Some(KeyClass::LegacyUnauthenticated)).await;
        assert!(
            matches!(short, Err(PairError::TooWeak { got, .. }) if got.key_size == 7),
            "{short:?}"
        );
        obey("forget AT-BP");
        obey("pairing AT-BP reject");
        let rejected = pair(&bluez, BP, "AT-BP", None).await;
        assert!(matches!(rejected, Err(PairError::Failed(_))), "{rejected:?}");
        assert_eq!(bluez.bond(BP).await.expect("an answer"), BondState::None);
    });
}

#[test]
#[ignore = "runs in the guest"]
fn c11_a_silent_sensor_and_an_adapter_that_is_off_leave_nothing_behind() {
    play(|bluez| async move {
        hear(&bluez, HR).await;
        obey("off AT-HR");
        let silent = bluez.connect(HR, Duration::from_secs(6)).await.err();
        assert!(matches!(silent, Some(BleError::TimeLimit { .. })), "{silent:?}");
        obey("on AT-HR");
        connect(&bluez, HR).await.disconnect().await;
        let mut link = connect(&bluez, HR).await;
        power(false).await;
        become_state(&bluez, StackState::AdapterOff).await;
        assert_eq!(timeout(SOON, link.next()).await.expect("is noticed"), None);
        let off = bluez.scan(Duration::from_secs(1), &[]).await;
        assert!(matches!(off, Err(BleError::AdapterOff)), "{off:?}");
        sleep(Duration::from_secs(1)).await;
        assert_eq!(
            bluez.stack().borrow().state,
            StackState::AdapterOff,
            "a scan switched it on"
        );
        power(true).await;
        become_state(&bluez, StackState::Ready).await;
        connect(&bluez, HR).await.disconnect().await;
        assert!(bluez.forget(GLU).await.expect("an answer"), "there was a bond");
        assert_eq!(bluez.bond(GLU).await.expect("an answer"), BondState::None);
    });
}

async fn power(on: bool) {
    let bus = zbus::Connection::system().await.expect("the guest's bus");
    let value = ("org.bluez.Adapter1", "Powered", zbus::Variant::from(on));
    let properties = Some("org.freedesktop.DBus.Properties");
    bus.call_method(Some("org.bluez"), "/org/bluez/hci0", properties, "Set", &value)
        .await
        .expect("the adapter obeys");
}

#[test]
#[ignore = "runs in the guest"]
fn c12_a_daemon_that_died_is_noticed_and_everything_is_made_anew() {
    play(|bluez| async move {
        let mut link = connect(&bluez, HR).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        values(&mut link, HEART_RATE, 5).await;
        let life = bluez.stack().borrow().life;
        obey("bluetoothd crash");
        become_state(&bluez, StackState::Down).await;
        assert_eq!(timeout(SOON, link.next()).await.expect("is noticed"), None);
        obey("bluetoothd start");
        assert_eq!(become_state(&bluez, StackState::Ready).await, life + 1);
        let mut link = connect(&bluez, HR).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        values(&mut link, HEART_RATE, 5).await;
        link.disconnect().await;
    });
}

/// The radio as a policy's look sees it: on, seen by all, taking bonds.
async fn radio() -> (bool, bool, bool) {
    let want = Want {
        accounts: false,
        time: false,
        radio: true,
    };
    let adapters = looking::seen(want).await.adapters.expect("the stack answers");
    let one = adapters.first().expect("an adapter");
    (one.powered, one.discoverable, one.pairable)
}

/// One look of a policy at the radio, and what it switches, as the agent does it.
async fn look(radio: &mut Radio, mode: RadioMode, off_by_us: bool, now: Uptime) {
    let want = Want {
        accounts: false,
        time: false,
        radio: true,
    };
    let rule = Bluetooth {
        hazard: "h-1".parse().expect("an id"),
        mode,
        on_drift: OnDrift::PutBack,
    };
    let adapters = looking::seen(want).await.adapters.expect("the stack answers");
    let orders = radio.look(Some(&rule), false, off_by_us, &adapters, now);
    looking::switch(orders).await;
}

#[test]
#[ignore = "runs in the guest"]
fn c13_a_policy_hides_the_radio_ends_a_long_pairing_and_switches_it_off_and_on() {
    play(|bluez| async move {
        let by_hand = Bus::open().await.expect("the system bus");
        let set = async |what: &str, on| {
            let property = format!("org.bluez.Adapter1.{what}");
            by_hand
                .set("/org/bluez/hci0", &property, on)
                .await
                .expect("the adapter obeys");
        };
        set("Discoverable", true).await;
        set("Pairable", true).await;
        let (mut follows, mut now) = (Radio::default(), Uptime(0));
        look(&mut follows, RadioMode::BondedOnly, false, now).await;
        assert_eq!(radio().await, (true, false, true), "an installer may be at work");
        now = now.plus(PAIRS_FOR);
        look(&mut follows, RadioMode::BondedOnly, false, now).await;
        assert_eq!(radio().await, (true, false, false));
        // By hand again: put back at the next look.
        set("Discoverable", true).await;
        look(&mut follows, RadioMode::BondedOnly, false, now).await;
        assert_eq!(radio().await, (true, false, false));
        // What is bonded is read all the while.
        connect(&bluez, HR).await.disconnect().await;

        look(&mut follows, RadioMode::Off, false, now).await;
        assert!(!radio().await.0, "it is off");
        become_state(&bluez, StackState::AdapterOff).await;
        look(&mut follows, RadioMode::Open, true, now).await;
        assert!(radio().await.0, "what the box switched off it switches on");
        become_state(&bluez, StackState::Ready).await;
        connect(&bluez, HR).await.disconnect().await;
    });
}
