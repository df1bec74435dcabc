//! A thousand attempts to put a value into somebody's record that is not theirs: by a clone, a neighbour's device, a
//! replay, and a device that somebody else had before. None is graded as verified; what the true device says is.

use super::*;

const UP: Uptime = Uptime(1000);
const CLASSES: [KeyClass; 5] = [
    KeyClass::Debug,
    KeyClass::LegacyUnauthenticated,
    KeyClass::SecureUnauthenticated,
    KeyClass::LegacyAuthenticated,
    KeyClass::SecureAuthenticated,
];

/// What came of an attempt: how many readings it brought, and whether the true device was believed beside it.
struct Came {
    readings: usize,
    control: Grade,
}

fn said(device: &mut Device, input: Input, up: Uptime) -> Vec<Reading> {
    readings(&device.handle(input, stamp(up), up))
        .into_iter()
        .cloned()
        .collect()
}

fn heart(dice: &mut Dice) -> Input {
    let rate = u8::try_from(30 + dice.roll(200)).expect("small");
    Input::Value(Notice {
        at: STRAP,
        value: vec![0, rate],
    })
}

fn strap(association: Option<Association>, held: BondState) -> Device {
    let mut strap = device("heart-rate", association, None, UP);
    settle(&mut strap, Input::Tick, &[STRAP], held, UP);
    strap
}

fn highest(readings: &[Reading]) -> Grade {
    readings.iter().map(|r| r.grade).max().expect("a reading")
}

fn none_is_verified(what: &str, readings: &[Reading]) {
    for reading in readings {
        assert!(reading.grade < Grade::Verified, "{what}: {reading:?}");
        assert!(
            !reading.details.reasons.is_empty(),
            "{what}: no reason is said: {reading:?}"
        );
    }
}

/// Same address, name and services; it cannot have the key.
fn clone(dice: &mut Dice) -> Came {
    let bond = Bond {
        class: CLASSES[usize::try_from(dice.roll(5)).expect("small")],
        key_size: u8::try_from(7 + dice.roll(10)).expect("small"),
    };
    let held = match dice.roll(4) {
        0 => BondState::None,
        1 => BondState::Unread,
        _ if bond == GOOD => BondState::None,
        _ => BondState::Held(bond),
    };
    let mut impostor = strap(Some(association(Some(GOOD))), held);
    let heard = said(&mut impostor, heart(dice), Uptime(2000));
    none_is_verified("a clone", &heard);
    let mut own = strap(Some(association(Some(GOOD))), BondState::Held(GOOD));
    Came {
        readings: heard.len(),
        control: highest(&said(&mut own, heart(dice), Uptime(2000))),
    }
}

/// Paired on this box under another address, or never paired: it is not this home's sensor.
fn neighbour(dice: &mut Dice) -> Came {
    let elsewhere = Association {
        address: BleAddress([0xC1, 0, 0, 0, 1, u8::try_from(dice.roll(256)).expect("small")]),
        ..association(Some(GOOD))
    };
    let known = (dice.roll(2) == 0).then_some(elsewhere);
    let held = if dice.roll(2) == 0 {
        BondState::Held(GOOD)
    } else {
        BondState::None
    };
    let mut heard = said(&mut strap(known.clone(), held), heart(dice), Uptime(2000));
    let mut meter = device("glucose-meter", known, None, UP);
    settle(&mut meter, Input::Heard, &[GLUCOSE, POINT], held, UP);
    assert_eq!(meter.state(), &State::Unpaired);
    heard.extend(said(&mut meter, record(1, 100), UP));
    none_is_verified("a neighbour's device", &heard);
    let mut own = strap(Some(association(Some(GOOD))), BondState::Held(GOOD));
    Came {
        readings: heard.len(),
        control: highest(&said(&mut own, heart(dice), Uptime(2000))),
    }
}

/// A meter whose memory was taken once, and whose clock was seen beside ours.
fn meter(association: Association) -> Device {
    let mut meter = device("glucose-meter", Some(association), None, UP);
    settle(
        &mut meter,
        Input::Heard,
        &[GLUCOSE, POINT],
        BondState::Held(GOOD),
        UP,
    );
    let done = Notice {
        at: POINT,
        value: vec![6, 0, 1, 1],
    };
    meter.handle(Input::Value(done), stamp(UP), UP);
    meter.link.clocks.saw(stamp(UP).ms, stamp(UP));
    meter
}

/// The same octets again: on the same link, and on one without the bond.
fn replay(dice: &mut Dice) -> Came {
    let (number, life) = (u16::try_from(dice.roll(60_000)).expect("small"), 50);
    let mut own = meter(association(Some(GOOD)));
    let control = highest(&said(&mut own, record(number, life), UP));
    let mut heard = Vec::new();
    for later in 0..=dice.roll(3) {
        heard.extend(said(&mut own, record(number, life), Uptime(2000 + later)));
    }
    assert!(heard.is_empty(), "a replay is stored: {heard:?}");
    own.handle(Input::Lost, stamp(UP), UP);
    let held = if dice.roll(2) == 0 {
        BondState::None
    } else {
        BondState::Unread
    };
    let soon = UP.plus(FIRST_WAIT);
    settle(&mut own, Input::Heard, &[GLUCOSE, POINT], held, soon);
    heard.extend(said(&mut own, record(number, life + 1), soon));
    none_is_verified("a replay", &heard);
    Came {
        readings: heard.len(),
        control,
    }
}

/// Un-paired here, used by somebody else, and perhaps paired here again: what it kept from then is not ours.
fn re_used(dice: &mut Dice) -> Came {
    let mut own = meter(association(Some(GOOD)));
    let control = highest(&said(&mut own, record(1, 50), UP));
    own.handle(Input::Paired(None), stamp(UP), UP);
    let mut heard = said(&mut own, record(2, 60), UP);
    assert!(heard.is_empty(), "it was read after the un-pairing: {heard:?}");
    let anew = Association {
        since: stamp(UP).plus_ms(i64::try_from(dice.roll(1000)).expect("small")),
        ..association(Some(GOOD))
    };
    let later = Uptime(UP.0 + 5000);
    own.handle(Input::Paired(Some(anew)), stamp(later), later);
    settle(
        &mut own,
        Input::Heard,
        &[GLUCOSE, POINT],
        BondState::Held(GOOD),
        later,
    );
    own.link.clocks.saw(stamp(later).ms, stamp(later));
    for number in 2..dice.roll(5) + 3 {
        heard.extend(said(
            &mut own,
            record(u16::try_from(number).expect("small"), 60),
            later,
        ));
    }
    none_is_verified("a re-used meter", &heard);
    Came {
        readings: heard.len(),
        control,
    }
}

#[test]
fn of_a_thousand_attempts_none_is_verified_and_the_true_device_always_is() {
    let mut dice = Dice(1);
    for (what, attempt) in [
        ("clones", clone as fn(&mut Dice) -> Came),
        ("neighbours", neighbour),
        ("replays", replay),
        ("re-used meters", re_used),
    ] {
        let mut labelled = 0;
        for _ in 0..250 {
            let came = attempt(&mut dice);
            assert_eq!(
                came.control,
                Grade::Verified,
                "{what}: the true device is not believed"
            );
            labelled += came.readings;
        }
        assert!(
            labelled > 0,
            "{what}: nothing was ever read, so nothing was judged"
        );
    }
}
