//! Values: in order, each once, from the one that is meant, and nothing that is none.

use std::collections::HashMap;
use std::time::Duration;

use homeward_devices::link::ble::{BleError, Central as _, Peripheral as _};
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_tests::fake_bluez::alone::{SOON, alone};
use homeward_tests::fake_bluez::cuff::{Cuff, MEASUREMENT, battery, cuff, measurement};
use homeward_tests::fake_bluez::device::Device;
use homeward_tests::fake_bluez::meter::{Meter, POINT, RECORD, meter};
use homeward_tests::fake_bluez::objects::{device_path, owned, value_path};
use homeward_tests::fake_bluez::oximeter::{CONTINUOUS, HEART_RATE, continuous, heart_rate, oximeter, strap};
use homeward_tests::fake_bluez::say::Say;
use zbus::OwnedVariant;

use super::{BATTERY, CLIP, CUFF, METER, STRAP, connect, gone, next, silence};

const BOND: Bond = Bond {
    class: KeyClass::SecureAuthenticated,
    key_size: 16,
};

#[test]
fn six_hundred_values_come_in_order_through_a_flood_of_signal_strengths() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.bring(oximeter(CLIP));
        });
        let mut link = connect(&bluez, STRAP).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        link.subscribe(HEART_RATE).await.expect("twice is harmless");
        let path = device_path(CLIP);
        for n in 0..600_u16 {
            assert!(fake.send(STRAP, HEART_RATE, [&[1_u8], n.to_le_bytes().as_slice()].concat()));
            fake.with(|world| {
                for rssi in 0..4_i16 {
                    let values = [("RSSI".to_owned(), owned(-50 - rssi))].into();
                    world.tell(Say::Changed(path.clone(), "org.bluez.Device1", values));
                }
            });
        }
        for n in 0..600_u16 {
            let notice = next(&mut link).await;
            assert_eq!(
                (notice.at, notice.value[1..].to_vec()),
                (HEART_RATE, n.to_le_bytes().to_vec())
            );
        }
        silence(&mut link).await;
        link.disconnect().await;
    });
}

/// `dbus-daemon` 1.14 takes one rule about "all below an object" for another when it is taken back.
#[test]
fn a_link_that_ends_silences_no_other_sensor() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.bring(oximeter(CLIP));
        });
        let clip = connect(&bluez, CLIP).await;
        let mut link = connect(&bluez, STRAP).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        clip.disconnect().await;
        silence(&mut link).await;
        for beats in 60..65 {
            assert!(fake.send(STRAP, HEART_RATE, heart_rate(beats)));
            assert_eq!(next(&mut link).await.value, heart_rate(beats));
        }
    });
}

#[test]
fn an_answer_to_a_read_is_no_value_whoever_read() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        let mut link = connect(&bluez, STRAP).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        assert_eq!(link.read(BATTERY).await.expect("a battery"), [0x63]);
        let refused = link.read(HEART_RATE).await;
        assert!(matches!(refused, Err(BleError::Refused { .. })), "{refused:?}");
        let stranger = fake.stranger().await;
        let options: HashMap<&str, OwnedVariant> = HashMap::new();
        let (to, path) = (Some("org.bluez"), value_path(STRAP, 1, 0));
        let interface = Some("org.bluez.GattCharacteristic1");
        stranger
            .call_method(to, path.as_str(), interface, "ReadValue", &options)
            .await
            .expect("anybody may");
        silence(&mut link).await;
        assert!(fake.send(STRAP, HEART_RATE, heart_rate(60)));
        assert_eq!(next(&mut link).await.value, heart_rate(60));
    });
}

#[test]
fn what_another_program_says_in_the_stacks_name_is_not_heard() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        let mut link = connect(&bluez, STRAP).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        let stranger = fake.stranger().await;
        let everybody: Option<&str> = None;
        let lies = [
            (
                value_path(STRAP, 0, 0),
                "org.bluez.GattCharacteristic1",
                "Value",
                owned(heart_rate(200)),
            ),
            (device_path(STRAP), "org.bluez.Device1", "Connected", owned(false)),
        ];
        for (path, interface, name, value) in lies {
            let changed: HashMap<&str, OwnedVariant> = HashMap::from([(name, value)]);
            let body = (interface, changed, Vec::<&str>::new());
            let properties = "org.freedesktop.DBus.Properties";
            stranger
                .emit_signal(everybody, path, properties, "PropertiesChanged", &body)
                .await
                .expect("the bus carries it");
        }
        silence(&mut link).await;
        assert!(fake.send(STRAP, HEART_RATE, heart_rate(60)));
        assert_eq!(next(&mut link).await.value, heart_rate(60));
    });
}

#[test]
fn values_that_are_too_long_or_no_octets_are_left_out_and_the_next_one_comes() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        let mut link = connect(&bluez, STRAP).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        let path = value_path(STRAP, 0, 0);
        fake.with(|world| {
            for odd in [
                owned("text"),
                owned(7_u32),
                owned(vec![1_u32, 2]),
                owned(vec![0_u8; 513]),
            ] {
                let values = [("Value".to_owned(), odd)].into();
                world.tell(Say::Changed(
                    path.clone(),
                    "org.bluez.GattCharacteristic1",
                    values,
                ));
            }
        });
        assert!(fake.send(STRAP, HEART_RATE, Vec::new()));
        assert!(fake.send(STRAP, HEART_RATE, vec![1; 512]));
        // An empty one and the longest are for the decoder to judge.
        assert_eq!(next(&mut link).await.value, Vec::<u8>::new());
        assert_eq!(next(&mut link).await.value, vec![1; 512]);
        fake.with(|world| world.sensor(STRAP).sensor.services[1].values[0].value = vec![0; 513]);
        let long = link.read(BATTERY).await;
        assert!(matches!(long, Err(BleError::Refused { .. })), "{long:?}");
    });
}

#[test]
fn values_that_overtake_the_answer_to_their_subscription_are_not_lost() {
    alone(|bluez, fake| async move {
        let stored: Vec<Vec<u8>> = (0..5)
            .map(|n| measurement(120 + n, 80, 60, 1_700_000_000_000))
            .collect();
        fake.with(|world| {
            let mut sensor = cuff(CUFF);
            sensor.device = Device::Cuff(Cuff {
                stored: stored.clone(),
                ..Cuff::default()
            });
            world.bring(sensor);
            world.bonded(CUFF, BOND);
            world.hasty = true;
        });
        let mut link = bluez
            .connect(CUFF, SOON)
            .await
            .expect("a bonded sensor needs no scan");
        link.subscribe(MEASUREMENT).await.expect("a subscription");
        for value in stored {
            assert_eq!(next(&mut link).await.value, value);
        }
        silence(&mut link).await;
    });
}

#[test]
fn a_lost_link_is_told_after_the_last_values_and_comes_back_with_its_subscriptions() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(oximeter(CLIP));
            world.bonded(CLIP, BOND);
        });
        let mut link = bluez.connect(CLIP, SOON).await.expect("a link");
        link.subscribe(CONTINUOUS).await.expect("a subscription");
        for pulse in 0..20 {
            assert!(fake.send(CLIP, CONTINUOUS, continuous(97, pulse)));
        }
        fake.with(|world| world.lose(CLIP));
        assert!(
            !fake.send(CLIP, CONTINUOUS, continuous(97, 20)),
            "there is no link"
        );
        for pulse in 0..20 {
            assert_eq!(next(&mut link).await.value, continuous(97, pulse));
        }
        gone(&mut link).await;
        let mut again = bluez.connect(CLIP, SOON).await.expect("a link");
        // The stack subscribed by itself: a value may come before anybody asks, and counts.
        assert!(fake.send(CLIP, CONTINUOUS, continuous(96, 61)));
        again.subscribe(CONTINUOUS).await.expect("a subscription");
        assert!(fake.send(CLIP, CONTINUOUS, continuous(96, 62)));
        assert_eq!(next(&mut again).await.value, continuous(96, 61));
        assert_eq!(next(&mut again).await.value, continuous(96, 62));
        silence(&mut again).await;
    });
}

#[test]
fn values_of_the_moment_in_which_a_link_comes_back_are_not_lost() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        let mut link = connect(&bluez, STRAP).await;
        link.subscribe(HEART_RATE).await.expect("a subscription");
        for round in 0..40_u8 {
            fake.with(|world| world.lose(STRAP));
            gone(&mut link).await;
            link.disconnect().await;
            let sending = async {
                while !fake.is_heard(STRAP, HEART_RATE) {
                    tokio::task::yield_now().await;
                }
                for beat in 0..5 {
                    assert!(fake.send(STRAP, HEART_RATE, vec![0, round, beat]));
                }
            };
            let connecting = async {
                let mut link = bluez.connect(STRAP, SOON).await.expect("a link");
                link.read(BATTERY).await.expect("a battery");
                link.subscribe(HEART_RATE).await.expect("a subscription");
                link
            };
            let ((), again) = tokio::join!(sending, connecting);
            link = again;
            for beat in 0..5 {
                assert_eq!(next(&mut link).await.value, [0, round, beat]);
            }
        }
    });
}

#[test]
fn a_thing_that_is_there_twice_is_not_guessed_at() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            let mut twice = oximeter(CLIP);
            twice.services.push(battery(0x21));
            let service = twice.services[1].clone();
            twice.services.push(service);
            world.bring(twice);
            world.bonded(CLIP, BOND);
        });
        let mut link = bluez.connect(CLIP, SOON).await.expect("a link");
        assert_eq!(link.served().iter().filter(|at| **at == BATTERY).count(), 2);
        let read = link.read(BATTERY).await;
        assert!(
            matches!(read, Err(BleError::Ambiguous { count: 2, .. })),
            "{read:?}"
        );
        let listened = link.subscribe(CONTINUOUS).await;
        assert!(
            matches!(listened, Err(BleError::Ambiguous { count: 2, .. })),
            "{listened:?}"
        );
        assert_eq!(fake.with(|world| world.calls("", "StartNotify")), 0);
        let both = bluez.read_each(CLIP, BATTERY).await.expect("two batteries");
        assert_eq!(both, [[0x42], [0x21]]);
    });
}

#[test]
fn records_come_by_their_access_point_as_a_meter_sends_them() {
    alone(|bluez, fake| async move {
        let mut memory = Meter::paced(Duration::from_millis(2));
        for n in 0..30 {
            memory.measure(90 + n, 1_700_000_000_000 + i64::from(n) * 60_000);
        }
        fake.with(|world| {
            let mut sensor = meter(METER);
            sensor.device = Device::Meter(memory);
            world.bring(sensor);
            world.bonded(METER, BOND);
        });
        let mut link = bluez.connect(METER, SOON).await.expect("a link");
        link.subscribe(RECORD).await.expect("a subscription");
        link.subscribe(POINT).await.expect("a subscription");
        for (command, count, code) in [
            (vec![1, 1], 30, 1),
            (vec![1, 3, 1, 29, 0], 2, 1),
            (vec![1, 3, 1, 31, 0], 0, 6),
            (vec![1, 2, 1, 5, 0], 0, 4),
        ] {
            link.write(POINT, &command).await.expect("is taken");
            for _ in 0..count {
                assert_eq!(next(&mut link).await.at, RECORD);
            }
            let end = next(&mut link).await;
            assert_eq!((end.at, end.value), (POINT, vec![6, 0, 1, code]), "{command:?}");
        }
    });
}
