//! Calls that fail, hang, come late, or meet something that is not there any more.

use std::time::{Duration, Instant};

use homeward_devices::link::ble::{BleError, Central as _, Peripheral as _, Remedy};
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_tests::fake_bluez::alone::{SOON, alone};
use homeward_tests::fake_bluez::cuff::{MEASUREMENT, cuff};
use homeward_tests::fake_bluez::fault::{Does, Fault};
use homeward_tests::fake_bluez::meter::{POINT, meter};
use homeward_tests::fake_bluez::objects::{ADAPTER, device_path, owned};
use homeward_tests::fake_bluez::oximeter::{CONTINUOUS, HEART_RATE, oximeter, strap};
use homeward_tests::fake_bluez::say::Refusal;
use homeward_tests::fake_bluez::world::World;

use super::{BATTERY, CLIP, CUFF, METER, STRAP, connect, hears};

const BOND: Bond = Bond {
    class: KeyClass::SecureAuthenticated,
    key_size: 16,
};

fn fail(name: &str, message: &str) -> Does {
    Does::Fail(Refusal {
        name: name.to_owned(),
        message: message.to_owned(),
    })
}

#[test]
fn each_error_of_the_stack_is_known_by_its_name() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        let errors = [
            (
                "Connect",
                "org.bluez.Error.Failed",
                "Operation already in progress",
                Remedy::Reconnect,
            ),
            (
                "Connect",
                "org.bluez.Error.InProgress",
                "In Progress",
                Remedy::Reconnect,
            ),
            (
                "Connect",
                "org.bluez.Error.NotReady",
                "Resource Not Ready",
                Remedy::AwaitStack,
            ),
            (
                "Connect",
                "org.bluez.Error.Failed",
                "le-connection-abort-by-local",
                Remedy::Reconnect,
            ),
            (
                "Connect",
                "org.freedesktop.DBus.Error.UnknownObject",
                "",
                Remedy::Rescan,
            ),
            (
                "ReadValue",
                "org.bluez.Error.NotPermitted",
                "Not paired",
                Remedy::Person,
            ),
            (
                "ReadValue",
                "org.bluez.Error.NotAuthorized",
                "Not Authorized",
                Remedy::Person,
            ),
            (
                "ReadValue",
                "org.bluez.Error.Failed",
                "Operation failed with ATT error: 0x0e",
                Remedy::Reconnect,
            ),
            (
                "ReadValue",
                "org.bluez.Error.NotConnected",
                "Not Connected",
                Remedy::Reconnect,
            ),
            (
                "ReadValue",
                "org.freedesktop.DBus.Error.NoReply",
                "",
                Remedy::Reconnect,
            ),
            ("ReadValue", "com.example.New", "?", Remedy::Reconnect),
        ];
        for (method, name, message, remedy) in errors {
            fake.with(|world| world.faults = vec![Fault::once(method, "dev_C1", fail(name, message))]);
            assert!(hears(&bluez, STRAP).await || method == "ReadValue", "{name}");
            let error = match bluez.connect(STRAP, SOON).await {
                Err(error) => error,
                Ok(link) => {
                    let read = link.read(BATTERY).await;
                    link.disconnect().await;
                    read.expect_err("was made to fail")
                }
            };
            assert_eq!(error.remedy(), remedy, "{method} {name} {message}: {error}");
            // One fault, and nothing is left of it.
            let link = connect(&bluez, STRAP).await;
            assert_eq!(link.read(BATTERY).await.expect("a battery"), [0x63], "{name}");
            link.disconnect().await;
        }
    });
}

#[test]
fn a_bonded_sensor_that_does_not_prove_its_bond_is_told_from_a_lost_link() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(cuff(CUFF));
            world.bonded(CUFF, BOND);
            world.sensor(CUFF).holds_bond = false;
        });
        let refused = bluez.connect(CUFF, SOON).await.err();
        assert!(
            matches!(refused, Some(BleError::BondRefused { address: CUFF })),
            "{refused:?}"
        );
        assert!(fake.with(|world| world.known.get(&CUFF).is_some_and(|known| known.bond.is_some())));
        assert_eq!(fake.with(|world| world.calls("", "Pair")), 0, "nobody pairs anew");
    });
}

#[test]
fn a_call_that_hangs_ends_in_time_and_its_link_with_it() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            for sensor in [strap(STRAP), cuff(CUFF), oximeter(CLIP), meter(METER)] {
                let address = sensor.address;
                world.bring(sensor);
                world.bonded(address, BOND);
            }
        });
        let began = Instant::now();
        let limit = Duration::from_secs(2);
        fake.with(|world| world.faults = vec![Fault::once("Connect", "00_01", Does::Hang)]);
        let silent = bluez.connect(STRAP, limit).await.err();
        assert!(matches!(silent, Some(BleError::TimeLimit { .. })), "{silent:?}");
        assert!(began.elapsed() < limit * 2, "{:?}", began.elapsed());
        bluez
            .connect(STRAP, SOON)
            .await
            .expect("nothing goes on trying")
            .disconnect()
            .await;

        fake.with(|world| {
            world.faults = vec![
                Fault::always("ReadValue", "00_01", Does::Hang),
                Fault::always("StartNotify", "00_02", Does::Hang),
                Fault::always("StartNotify", "00_03", Does::Hang),
                Fault::always("WriteValue", "00_04", Does::Hang),
            ];
        });
        let mut links = Vec::new();
        for address in [STRAP, CUFF, CLIP, METER] {
            links.push(bluez.connect(address, SOON).await.expect("a link"));
        }
        let [strap, cuff, clip, meter] = links.as_mut_slice() else {
            unreachable!("four were made")
        };
        let began = Instant::now();
        let (read, cuffed, clipped, written) = tokio::join!(
            strap.read(BATTERY),
            cuff.subscribe(MEASUREMENT),
            clip.subscribe(CONTINUOUS),
            meter.write(POINT, &[1, 1]),
        );
        for (what, ended) in [
            ("read", read.map(drop)),
            ("cuff", cuffed),
            ("clip", clipped),
            ("write", written),
        ] {
            assert!(
                matches!(ended, Err(BleError::TimeLimit { .. })),
                "{what}: {ended:?}"
            );
        }
        assert!(began.elapsed() < Duration::from_secs(40), "{:?}", began.elapsed());
        // What hangs in there would spoil the next call, so the link was ended.
        for address in [STRAP, CUFF, CLIP, METER] {
            let linked = fake.with(|world| world.known.get(&address).is_some_and(|known| known.connected));
            assert!(!linked, "{address}");
        }
        fake.with(|world| world.faults.clear());
        let mut again = bluez.connect(STRAP, SOON).await.expect("a link");
        again.subscribe(HEART_RATE).await.expect("a subscription");
    });
}

#[test]
fn a_stack_that_answers_nothing_is_down_after_seconds_and_ready_when_it_answers() {
    use homeward_devices::link::ble::StackState;
    use homeward_tests::fake_bluez::alone::become_state;
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.faults = vec![Fault::always("GetManagedObjects", "", Does::Hang)];
            // A change of the adapter wakes the watch.
            world.power(true);
        });
        let began = Instant::now();
        let scanned = bluez.scan(Duration::from_millis(100), &[]).await;
        assert!(matches!(scanned, Err(BleError::TimeLimit { .. })), "{scanned:?}");
        assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
        become_state(&bluez, StackState::Down).await;
        fake.with(|world| world.faults.clear());
        become_state(&bluez, StackState::Ready).await;
        connect(&bluez, STRAP).await.disconnect().await;
    });
}

#[test]
fn an_answer_that_comes_late_is_taken() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        let link = connect(&bluez, STRAP).await;
        let late = Does::Late(Duration::from_secs(3));
        fake.with(|world| world.faults = vec![Fault::once("ReadValue", "", late)]);
        assert_eq!(link.read(BATTERY).await.expect("a battery"), [0x63]);
        assert_eq!(link.read(BATTERY).await.expect("a battery"), [0x63]);
        link.disconnect().await;
    });
}

#[test]
fn objects_that_vanish_between_two_calls_are_found_again_by_a_scan() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        assert!(hears(&bluez, STRAP).await);
        fake.with(|world| world.vanish(STRAP));
        let lost = bluez.connect(STRAP, SOON).await.err();
        assert!(matches!(lost, Some(BleError::Unheard { .. })), "{lost:?}");
        for method in ["Connect", "Introspect"] {
            assert!(hears(&bluez, STRAP).await);
            fake.with(|world| world.faults = vec![Fault::once(method, "dev_C1", Does::Vanish)]);
            let lost = bluez.connect(STRAP, SOON).await.err();
            assert!(
                matches!(lost, Some(BleError::Unheard { .. })),
                "{method}: {lost:?}"
            );
        }
        let link = connect(&bluez, STRAP).await;
        fake.with(|world| world.vanish(STRAP));
        let lost = link.read(BATTERY).await.expect_err("it is gone");
        assert!(matches!(lost, BleError::Unheard { .. }), "{lost:?}");
        link.disconnect().await;
        let link = connect(&bluez, STRAP).await;
        assert_eq!(link.read(BATTERY).await.expect("a battery"), [0x63]);
    });
}

#[test]
fn a_link_whose_services_are_never_resolved_ends_at_our_limit() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.unresolved = true;
        });
        assert!(hears(&bluez, STRAP).await);
        let limit = Duration::from_secs(2);
        let half = bluez.connect(STRAP, limit).await.err();
        assert!(matches!(half, Some(BleError::TimeLimit { .. })), "{half:?}");
        fake.with(|world| {
            assert!(
                !world.known.get(&STRAP).is_some_and(|known| known.connected),
                "the half link was ended"
            );
            world.unresolved = false;
        });
        connect(&bluez, STRAP).await.disconnect().await;
    });
}

/// btleplug waits by rules that `dbus-daemon` 1.14 takes for one another: the first that is done ends the other's wait.
#[test]
fn of_sensors_that_connect_at_once_none_lets_another_wait() {
    alone(|bluez, fake| async move {
        let all = [STRAP, CLIP, CUFF];
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.bring(oximeter(CLIP));
            world.bring(cuff(CUFF));
            world.unresolved = true;
        });
        assert!(hears(&bluez, STRAP).await);
        let resolving = async {
            for address in all {
                let linked = |world: &mut World| world.known.get(&address).is_some_and(|k| k.connected);
                while !fake.with(linked) {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            }
            for address in all {
                tokio::time::sleep(Duration::from_millis(300)).await;
                fake.with(|world| world.resolve(address));
            }
        };
        let limit = Duration::from_secs(5);
        let ((), strap, clip, cuff) = tokio::join!(
            resolving,
            bluez.connect(STRAP, limit),
            bluez.connect(CLIP, limit),
            bluez.connect(CUFF, limit),
        );
        for connected in [strap, clip, cuff] {
            connected.expect("a link").disconnect().await;
        }
    });
}

#[test]
fn properties_that_are_missing_or_of_another_type_harm_nobody_else() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.bring(oximeter(CLIP));
            world.bring(cuff(CUFF));
        });
        let (clip, cuffs) = (device_path(CLIP), device_path(CUFF));
        let lies: [(&str, &'static str, &'static str, Option<zbus::OwnedVariant>); 9] = [
            (&clip, "org.bluez.Device1", "RSSI", Some(owned("loud"))),
            (&clip, "org.bluez.Device1", "Connected", Some(owned(7_u32))),
            (
                &clip,
                "org.bluez.Device1",
                "UUIDs",
                Some(owned(vec!["no uuid".to_owned(), String::new()])),
            ),
            (&clip, "org.bluez.Device1", "Name", Some(owned(5_i16))),
            (
                &cuffs,
                "org.bluez.Device1",
                "Address",
                Some(owned("not an address")),
            ),
            (&cuffs, "org.bluez.Device1", "AddressType", None),
            (&cuffs, "org.bluez.Device1", "Paired", Some(owned("yes"))),
            (ADAPTER, "org.bluez.Adapter1", "Discovering", Some(owned(3_u8))),
            (ADAPTER, "org.bluez.Adapter1", "Alias", Some(owned(3_u8))),
        ];
        for (path, interface, name, value) in lies {
            fake.with(|world| world.lies = vec![(path.to_owned(), interface, name, value)]);
            assert!(hears(&bluez, STRAP).await, "{name}");
        }
        // Of an adapter without an address nothing is known.
        fake.with(|world| world.lies = vec![(ADAPTER.to_owned(), "org.bluez.Adapter1", "Address", None)]);
        let nothing = bluez.scan(super::WINDOW, &[]).await;
        assert!(matches!(nothing, Err(BleError::NoAdapter)), "{nothing:?}");
        fake.with(|world| world.lies.clear());
        connect(&bluez, STRAP).await.disconnect().await;
    });
}
