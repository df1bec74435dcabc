//! Pairing: the one sensor for which a person opened the window, as that person says, and nothing else.

use std::sync::Arc;
use std::time::{Duration, Instant};

use homeward_devices::bluez::Bluez;
use homeward_devices::bluez::pair::{PairError, Question, Window};
use homeward_devices::link::ble::{BondState, Central as _, Peripheral as _};
use homeward_protocol::bond::{BleAddress, Bond, KeyClass};
use homeward_tests::fake_bluez::FakeBluez;
use homeward_tests::fake_bluez::alone::{SOON, alone};
use homeward_tests::fake_bluez::cuff::cuff;
use homeward_tests::fake_bluez::fault::{Does, Fault};
use homeward_tests::fake_bluez::objects::device_path;
use homeward_tests::fake_bluez::oximeter::{oximeter, strap};
use homeward_tests::fake_bluez::sensor::{Asks, Pairing, Sensor};
use tokio::sync::mpsc;
use zbus::ObjectPath;

use super::{CLIP, CUFF, STRAP, hears};

/// What the person at the box does.
#[derive(Debug, Clone, Copy)]
enum Person {
    /// Types these digits, or nothing.
    Types(Option<u32>),
    /// Finds the numbers the same, or not.
    Compares(bool),
    /// Is asked nothing.
    Waits,
}

/// Pairs, and gives what the person was shown beside what came of it.
async fn pair(
    bluez: &Bluez,
    address: BleAddress,
    demand: Option<KeyClass>,
    person: Person,
) -> (Result<Option<Bond>, PairError>, Option<u32>) {
    assert!(hears(bluez, address).await);
    let (questions, mut asked) = mpsc::channel(4);
    let window = Window {
        address,
        demand,
        limit: SOON,
    };
    let answering = tokio::spawn(async move {
        let mut shown = None;
        while let Some(question) = asked.recv().await {
            match (question, person) {
                (Question::Passkey(answer), Person::Types(digits)) => drop(answer.send(digits)),
                (Question::Compare { number, answer }, Person::Compares(same)) => {
                    shown = Some(number);
                    answer.send(same).ok();
                }
                (Question::Show { passkey }, Person::Waits) => shown = Some(passkey),
                (question, person) => panic!("{question:?} to {person:?}"),
            }
        }
        shown
    });
    let paired = bluez.pair(window, questions).await;
    (paired, answering.await.expect("ends with the window"))
}

/// Nothing of a pairing is left: no bond, no window, no agent.
async fn nothing_is_left(bluez: &Bluez, fake: &FakeBluez, address: BleAddress) {
    let held = bluez.bond(address).await.expect("an answer");
    assert_eq!(held, BondState::None);
    closed(fake);
}

fn closed(fake: &FakeBluez) {
    fake.with(|world| {
        assert!(!world.adapter.pairable, "the adapter still pairs");
        assert!(
            world.agents.all.is_empty(),
            "an agent is left: {:?}",
            world.agents
        );
    });
}

#[test]
fn a_passkey_or_equal_numbers_make_a_bond_of_the_best_class() {
    alone(|bluez, fake| async move {
        let best = Bond {
            class: KeyClass::SecureAuthenticated,
            key_size: 16,
        };
        let typed_there = Pairing::checked(Asks::Typed(123));
        fake.with(|world| {
            world.bring(oximeter(CLIP));
            world.bring(cuff(CUFF));
            world.bring(strap(STRAP).paired_by(typed_there));
        });
        for (address, person, seen) in [
            (CLIP, Person::Types(Some(314_159)), None),
            (CUFF, Person::Compares(true), Some(271_828)),
            (STRAP, Person::Waits, Some(123)),
        ] {
            let (paired, shown) = pair(&bluez, address, Some(KeyClass::SecureAuthenticated), person).await;
            assert_eq!((paired.expect("a bond"), shown), (Some(best), seen), "{address}");
            assert_eq!(
                bluez.bond(address).await.expect("an answer"),
                BondState::Held(best)
            );
            closed(&fake);
            let again = pair_again(&bluez, address).await;
            assert!(matches!(again, Err(PairError::Already(_))), "{again:?}");
            bluez
                .connect(address, SOON)
                .await
                .expect("a link")
                .disconnect()
                .await;
            assert!(bluez.forget(address).await.expect("an answer"), "there was one");
            nothing_is_left(&bluez, &fake, address).await;
        }
    });
}

async fn pair_again(bluez: &Bluez, address: BleAddress) -> Result<Option<Bond>, PairError> {
    let (questions, _asked) = mpsc::channel(1);
    let window = Window {
        address,
        demand: None,
        limit: SOON,
    };
    bluez.pair(window, questions).await
}

#[test]
fn a_no_on_either_side_leaves_no_bond() {
    alone(|bluez, fake| async move {
        let differ = Pairing::checked(Asks::Compare {
            number: 1,
            same: false,
        });
        let refuses = Pairing::checked(Asks::Refuses);
        let cases: [(Sensor, Person); 6] = [
            (oximeter(CLIP), Person::Types(Some(314_158))),
            (oximeter(CLIP), Person::Types(Some(9_999_999))),
            (oximeter(CLIP), Person::Types(None)),
            (cuff(CLIP), Person::Compares(false)),
            (cuff(CLIP).paired_by(differ), Person::Compares(true)),
            (cuff(CLIP).paired_by(refuses), Person::Waits),
        ];
        for (n, (sensor, person)) in cases.into_iter().enumerate() {
            fake.with(|world| world.bring(sensor));
            let (paired, _) = pair(&bluez, CLIP, None, person).await;
            assert!(
                matches!(paired, Err(PairError::Failed(_))),
                "case {n}: {paired:?}"
            );
            nothing_is_left(&bluez, &fake, CLIP).await;
        }
    });
}

#[test]
fn a_key_that_is_less_than_demanded_is_removed_before_anything_is_read() {
    alone(|bluez, fake| async move {
        let legacy = KeyClass::LegacyAuthenticated;
        let short = Pairing {
            asks: Asks::Compare {
                number: 1,
                same: true,
            },
            bond: Bond {
                class: KeyClass::SecureAuthenticated,
                key_size: 7,
            },
        };
        for (pairing, person) in [
            (Pairing::just_works(), Person::Waits),
            (short, Person::Compares(true)),
        ] {
            fake.with(|world| world.bring(cuff(CUFF).paired_by(pairing)));
            let (paired, _) = pair(&bluez, CUFF, Some(legacy), person).await;
            let Err(PairError::TooWeak { got, demanded }) = paired else {
                panic!("{paired:?}")
            };
            assert_eq!((got, demanded), (pairing.bond, legacy));
            nothing_is_left(&bluez, &fake, CUFF).await;
            assert_eq!(fake.with(|world| world.calls("", "ReadValue")), 0);
        }
        // Where nothing is demanded it is taken, and named.
        fake.with(|world| world.bring(cuff(CUFF).paired_by(Pairing::just_works())));
        let (paired, _) = pair(&bluez, CUFF, None, Person::Waits).await;
        assert_eq!(paired.expect("a bond"), Some(Pairing::just_works().bond));
    });
}

#[test]
fn in_the_window_every_other_question_is_refused() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(oximeter(CLIP));
            world.bring(cuff(CUFF));
            world.faults = vec![Fault::once("Pair", "", Does::Late(Duration::from_secs(3)))];
        });
        let fake: Arc<FakeBluez> = fake;
        let pairing = pair(&bluez, CLIP, None, Person::Types(Some(314_159)));
        let asking = async {
            while !fake.with(|world| world.adapter.pairable) {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            ask_everything(&fake).await;
        };
        let ((paired, _), ()) = tokio::join!(pairing, asking);
        assert!(paired.expect("the one that was meant").is_some());
        closed(&fake);
        assert!(
            fake.asks("RequestPasskey", &path(CLIP)).await.is_none(),
            "without a window nobody is asked"
        );
    });
}

fn path(address: BleAddress) -> ObjectPath<'static> {
    ObjectPath::try_from(device_path(address)).expect("a path")
}

/// Another device, other kinds of questions, and another program that asks: all of it while the window is open.
async fn ask_everything(fake: &FakeBluez) {
    let refused = |what: &str, asked: Option<zbus::Result<zbus::Message>>| match asked {
        Some(Err(zbus::Error::MethodError(name, ..))) => {
            assert_eq!(name.as_str(), "org.bluez.Error.Rejected", "{what}");
        }
        other => panic!("{what}: {other:?}"),
    };
    refused(
        "another's passkey",
        fake.asks("RequestPasskey", &path(CUFF)).await,
    );
    refused(
        "another's number",
        fake.asks("RequestConfirmation", &(path(CUFF), 7_u32)).await,
    );
    refused(
        "another's digits",
        fake.asks("DisplayPasskey", &(path(CUFF), 7_u32, 0_u16)).await,
    );
    refused(
        "Just Works from outside",
        fake.asks("RequestAuthorization", &path(CLIP)).await,
    );
    let service = (path(CLIP), "00001812-0000-1000-8000-00805f9b34fb");
    refused("a service", fake.asks("AuthorizeService", &service).await);
    refused("a PIN", fake.asks("RequestPinCode", &path(CLIP)).await);
    refused(
        "another program",
        fake.stranger_asks("RequestPasskey", &path(CLIP)).await,
    );
    let number = (path(CLIP), 7_u32);
    refused(
        "another program",
        fake.stranger_asks("RequestConfirmation", &number).await,
    );
}

#[test]
fn a_window_closes_by_itself_and_ends_the_pairing() {
    alone(|bluez, fake| async move {
        fake.with(|world| {
            world.bring(oximeter(CLIP));
            world.faults = vec![Fault::once("Pair", "", Does::Hang)];
        });
        assert!(hears(&bluez, CLIP).await);
        let (questions, _asked) = mpsc::channel(1);
        let limit = Duration::from_secs(2);
        let window = Window {
            address: CLIP,
            demand: None,
            limit,
        };
        let began = Instant::now();
        let paired = bluez.pair(window, questions).await;
        assert!(matches!(paired, Err(PairError::Closed(_))), "{paired:?}");
        assert!(began.elapsed() < limit * 3, "{:?}", began.elapsed());
        assert_eq!(fake.with(|world| world.calls("", "CancelPairing")), 1);
        nothing_is_left(&bluez, &fake, CLIP).await;
    });
}

#[test]
fn a_key_that_cannot_be_learnt_is_no_proof() {
    alone(|bluez, fake| async move {
        fake.with(|world| world.bring(cuff(CUFF)));
        let (paired, _) = pair(&bluez, CUFF, None, Person::Compares(true)).await;
        paired.expect("a bond");
        let adapter = fake.with(|world| world.adapter.address);
        let file = fake
            .keys()
            .join(adapter.to_string())
            .join(CUFF.to_string())
            .join("info");
        for text in [
            "",
            "[LongTermKey]\nAuthenticated=9\nEncSize=16\n",
            "[LongTermKey]\nEncSize=16\n",
        ] {
            std::fs::write(&file, text).expect("the test's folder");
            let held = bluez.bond(CUFF).await.expect("an answer");
            assert_eq!(held, BondState::Unread, "{text:?}");
        }
    });
}
