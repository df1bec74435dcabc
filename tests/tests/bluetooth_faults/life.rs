//! The life of the stack: a daemon that dies, an adapter that is switched, a bus where nobody has the name.

use std::time::Duration;

use homeward_devices::link::ble::{BleError, BondState, Central as _, Peripheral as _, Remedy, StackState};
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_tests::fake_bluez::alone::{SOON, alone, become_state};
use homeward_tests::fake_bluez::oximeter::{CONTINUOUS, HEART_RATE, continuous, heart_rate, oximeter, strap};

use super::{CLIP, STRAP, connect, gone, hears, next};

const BOND: Bond = Bond {
    class: KeyClass::SecureAuthenticated,
    key_size: 16,
};

#[test]
fn a_daemon_that_died_is_noticed_and_everything_is_made_anew() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(oximeter(CLIP));
            world.bonded(CLIP, BOND);
            world.bring(strap(STRAP));
        });
        let mut bonded = bluez.connect(CLIP, SOON).await.expect("a link");
        bonded.subscribe(CONTINUOUS).await.expect("a subscription");
        let mut open = connect(&bluez, STRAP).await;
        open.subscribe(HEART_RATE).await.expect("a subscription");
        let life = bluez.stack().borrow().life;
        for turn in 1..=3 {
            fake.crash().await;
            become_state(&bluez, StackState::Down).await;
            gone(&mut bonded).await;
            gone(&mut open).await;
            let down = bluez.connect(CLIP, SOON).await.err().expect("nobody is there");
            assert_eq!(down.remedy(), Remedy::AwaitStack, "{down}");
            fake.restart().await;
            assert_eq!(become_state(&bluez, StackState::Ready).await, life + turn);
            let held = bluez.bond(CLIP).await.expect("an answer");
            assert_eq!(held, BondState::Held(BOND), "bonds lie on the disk");
            bonded = bluez.connect(CLIP, SOON).await.expect("a link");
            bonded.subscribe(CONTINUOUS).await.expect("a subscription");
            assert!(fake.send(CLIP, CONTINUOUS, continuous(97, 60)));
            assert_eq!(next(&mut bonded).await.value, continuous(97, 60));
            let unheard = bluez.connect(STRAP, SOON).await.err();
            assert!(matches!(unheard, Some(BleError::Unheard { .. })), "{unheard:?}");
            open = connect(&bluez, STRAP).await;
            open.subscribe(HEART_RATE).await.expect("a subscription");
            assert!(fake.send(STRAP, HEART_RATE, heart_rate(70)));
            assert_eq!(next(&mut open).await.value, heart_rate(70));
        }
    });
}

#[test]
fn a_daemon_that_is_replaced_at_once_is_another_life_all_the_same() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(oximeter(CLIP));
            world.bonded(CLIP, BOND);
        });
        let mut link = bluez.connect(CLIP, SOON).await.expect("a link");
        link.subscribe(CONTINUOUS).await.expect("a subscription");
        let life = bluez.stack().borrow().life;
        fake.restart().await;
        gone(&mut link).await;
        let mut stack = bluez.stack();
        let anew = stack.wait_for(|now| now.life > life && now.state == StackState::Ready);
        tokio::time::timeout(SOON, anew)
            .await
            .expect("in time")
            .expect("the watch runs");
        let mut link = bluez.connect(CLIP, SOON).await.expect("a link");
        link.subscribe(CONTINUOUS).await.expect("a subscription");
        assert!(fake.send(CLIP, CONTINUOUS, continuous(97, 60)));
        assert_eq!(next(&mut link).await.value, continuous(97, 60));
    });
}

#[test]
fn an_adapter_that_is_off_stays_off_until_somebody_switches_it_on() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(strap(STRAP)));
        for _ in 0..2 {
            let mut link = connect(&bluez, STRAP).await;
            link.subscribe(HEART_RATE).await.expect("a subscription");
            fake.with(|world| world.power(false));
            become_state(&bluez, StackState::AdapterOff).await;
            gone(&mut link).await;
            let scanned = bluez.scan(Duration::from_millis(200), &[]).await;
            assert!(matches!(scanned, Err(BleError::AdapterOff)), "{scanned:?}");
            let connected = bluez.connect(STRAP, SOON).await.err();
            assert!(matches!(connected, Some(BleError::AdapterOff)), "{connected:?}");
            assert!(!fake.with(|world| world.adapter.powered), "we switched it on");
            fake.with(|world| world.power(true));
            become_state(&bluez, StackState::Ready).await;
        }
        assert!(hears(&bluez, STRAP).await);
        assert_eq!(fake.with(|world| world.calls("", "Set")), 0, "nothing was set");
    });
}

#[test]
fn an_adapter_that_is_pulled_out_is_no_adapter() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(strap(STRAP));
            world.adapter.plugged = false;
        });
        become_state(&bluez, StackState::NoAdapter).await;
        let scanned = bluez.scan(Duration::from_millis(200), &[]).await;
        assert!(matches!(scanned, Err(BleError::NoAdapter)), "{scanned:?}");
        fake.with(|world| world.adapter.plugged = true);
        become_state(&bluez, StackState::Ready).await;
        connect(&bluez, STRAP).await.disconnect().await;
    });
}
