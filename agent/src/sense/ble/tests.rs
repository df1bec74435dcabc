use std::collections::VecDeque;

use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::envelope::{Entry, Lane};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::id::Epoch;
use homeward_protocol::reading::{Mark, Reading, Value};
use homeward_protocol::unit::Decimal;

mod attempts;
mod sessions;
mod sources;

use super::*;
use crate::outbox::sqlite::Db;
use crate::sense::SensorConfig;

const GOOD: Bond = Bond {
    class: KeyClass::SecureAuthenticated,
    key_size: 16,
};
const STRAP: At = At {
    service: 0x180D,
    characteristic: 0x2A37,
};
const GLUCOSE: At = At {
    service: 0x1808,
    characteristic: 0x2A18,
};
const POINT: At = At {
    service: 0x1808,
    characteristic: 0x2A52,
};
const START: i64 = 1_795_000_000_000;

fn stamp(up: Uptime) -> Timestamp {
    Timestamp::synced(START + i64::try_from(up.0).expect("small"))
}

fn sensor(profile: &str) -> Sensor {
    let config = SensorConfig {
        id: "worn".parse().expect("an id"),
        profile: profile.parse().expect("an id"),
        address: "C1:00:00:00:00:01".parse().expect("an address"),
        tls: None,
        baud: None,
        unit: None,
        interval_ms: None,
        identity: None,
    };
    config.resolve(&[]).expect("a sensor")
}

fn association(bond: Option<Bond>) -> Association {
    Association {
        sensor: "worn".parse().expect("an id"),
        address: "C1:00:00:00:00:01".parse().expect("an address"),
        bond,
        by: ShortText::cut("an installer"),
        since: Timestamp::synced(START - 1000),
        ended: None,
        declared: Declared::default(),
    }
}

fn device(profile: &str, association: Option<Association>, saved: Option<&Progress>, up: Uptime) -> Device {
    Device::resume(sensor(profile), Gateway::Trusted, association, saved, None, up)
        .expect("a Bluetooth sensor")
}

/// Answers everything well until nothing more is asked; gives what was told and kept on the way.
fn settle(device: &mut Device, first: Input, served: &[At], held: BondState, up: Uptime) -> Vec<Effect> {
    settle_with(device, first, served, held, up, |_| vec![50])
}

/// The same, with values of its own for what is read.
fn settle_with(
    device: &mut Device,
    first: Input,
    served: &[At],
    held: BondState,
    up: Uptime,
    value: impl Fn(At) -> Vec<u8>,
) -> Vec<Effect> {
    let mut todo = VecDeque::from([first]);
    let mut out = Vec::new();
    while let Some(input) = todo.pop_front() {
        for effect in device.handle(input, stamp(up), up) {
            match &effect {
                Effect::Connect(..) => todo.push_back(Input::Connected(Ok(served.to_vec()))),
                Effect::AskBond(_) => todo.push_back(Input::Bond(Ok(held))),
                Effect::Read(at) => todo.push_back(Input::Read(*at, Ok(value(*at)))),
                Effect::Subscribe(at) => todo.push_back(Input::Subscribed(*at, Ok(()))),
                _ => {}
            }
            out.push(effect);
        }
    }
    out
}

fn reading(item: &Item) -> Option<&Reading> {
    match item {
        Item::Reading(reading) => Some(reading),
        _ => None,
    }
}

fn readings(effects: &[Effect]) -> Vec<&Reading> {
    let items = effects.iter().filter_map(|effect| match effect {
        Effect::Keep(kept) => Some(&kept.heard.items),
        _ => None,
    });
    items.flatten().filter_map(reading).collect()
}

fn beat(device: &mut Device, up: Uptime) -> Vec<Effect> {
    let notice = Notice {
        at: STRAP,
        value: vec![0, 72],
    };
    device.handle(Input::Value(notice), stamp(up), up)
}

#[test]
fn a_strap_that_gives_its_values_to_anybody_is_associated_and_never_verified() {
    let up = Uptime(1000);
    let mut strap = device("heart-rate", None, None, up);
    settle(&mut strap, Input::Tick, &[STRAP], BondState::None, up);
    assert!(
        matches!(strap.state(), State::Listening { .. }),
        "{:?}",
        strap.state()
    );
    let effects = beat(&mut strap, Uptime(2000));
    let heard = readings(&effects);
    assert_eq!(heard.len(), 1);
    assert_eq!(
        (heard[0].grade, heard[0].taken_at),
        (Grade::Associated, stamp(Uptime(2000)))
    );
    assert_eq!(heard[0].details.reasons, [Reason::NoIdentity]);
}

#[test]
fn a_bonded_strap_is_verified_and_one_without_its_bond_is_refused_unread() {
    let up = Uptime(1000);
    let weaker = Bond { key_size: 7, ..GOOD };
    for (held, verified) in [
        (BondState::Held(GOOD), true),
        (BondState::Held(weaker), false),
        (BondState::None, false),
    ] {
        let mut strap = device("heart-rate", Some(association(Some(GOOD))), None, up);
        let effects = settle(&mut strap, Input::Tick, &[STRAP, BATTERY], held, up);
        let read = effects
            .iter()
            .any(|e| matches!(e, Effect::Read(_) | Effect::Subscribe(_)));
        assert_eq!(read, verified, "{held:?}");
        assert_eq!(effects.contains(&Effect::Tell(Noticed::BondRefused)), !verified);
        assert_eq!(effects.contains(&Effect::Disconnect), !verified);
        let heard = beat(&mut strap, Uptime(2000));
        let grades: Vec<Grade> = readings(&heard).iter().map(|r| r.grade).collect();
        assert_eq!(
            grades,
            if verified {
                vec![Grade::Verified]
            } else {
                Vec::new()
            }
        );
    }
}

#[test]
fn a_bond_that_nobody_here_made_is_read_and_labelled() {
    let up = Uptime(1000);
    let paired = Bond {
        class: KeyClass::LegacyAuthenticated,
        ..GOOD
    };
    for held in [BondState::Held(GOOD), BondState::Unread] {
        let mut strap = device("heart-rate", Some(association(Some(paired))), None, up);
        settle(&mut strap, Input::Tick, &[STRAP], held, up);
        let heard = beat(&mut strap, Uptime(2000));
        let reading = readings(&heard)[0];
        assert_eq!(reading.grade, Grade::Unverified);
        assert!(reading.details.reasons.contains(&Reason::BondChanged));
    }
}

#[test]
fn a_refused_bond_is_tried_once_an_hour_and_a_new_pairing_at_once() {
    let up = Uptime(1000);
    let mut strap = device("heart-rate", Some(association(Some(GOOD))), None, up);
    let connect = strap.handle(Input::Tick, stamp(up), up);
    assert!(matches!(connect[..], [Effect::Connect(..)]));
    let address = strap.address();
    let refused = Input::Connected(Err(BleError::BondRefused { address }));
    strap.handle(refused, stamp(up), up);
    let soon = Uptime(3_590_000);
    assert!(
        strap
            .handle(Input::Heard, stamp(soon), soon)
            .iter()
            .all(|e| !matches!(e, Effect::Connect(..)))
    );
    let mut anew = association(Some(GOOD));
    anew.since = anew.since.plus_ms(500);
    strap.handle(Input::Paired(Some(anew)), stamp(soon), soon);
    let effects = strap.handle(Input::Tick, stamp(soon), soon);
    assert!(matches!(effects[..], [Effect::Connect(..)]), "{effects:?}");
}

#[test]
fn a_meter_that_nobody_paired_is_not_connected_and_says_what_to_do() {
    let mut meter = device("glucose-meter", None, None, Uptime(0));
    assert_eq!(meter.state(), &State::Unpaired);
    assert!(
        meter
            .handle(Input::Heard, stamp(Uptime(1)), Uptime(1))
            .iter()
            .all(|e| matches!(e, Effect::Keep(_)))
    );
    let says = meter.heard().last_error.clone().expect("says so");
    assert!(says.as_str().contains("sensor pair worn"), "{}", says.as_str());
}

#[test]
fn a_damaged_or_unknown_value_is_put_aside_and_never_a_vital_sign() {
    let up = Uptime(1000);
    let mut strap = device("heart-rate", None, None, up);
    settle(&mut strap, Input::Tick, &[STRAP], BondState::None, up);
    let short = Notice {
        at: STRAP,
        value: vec![1, 72],
    };
    let effects = strap.handle(Input::Value(short), stamp(up), up);
    assert!(readings(&effects).is_empty());
    assert!(
        effects
            .iter()
            .any(|e| matches!(e, Effect::Tell(Noticed::Quarantined { .. })))
    );
}

#[test]
fn silence_is_told_once_and_ends_with_the_next_value() {
    let mut strap = device("heart-rate", None, None, Uptime(0));
    let mut told = Vec::new();
    settle(&mut strap, Input::Tick, &[STRAP], BondState::None, Uptime(0));
    let silent = strap.deadline();
    for (input, up) in [(Input::Tick, silent), (Input::Tick, Uptime(silent.0 + 5))] {
        told.extend(strap.handle(input, stamp(up), up));
    }
    told.extend(beat(&mut strap, Uptime(silent.0 + 9)));
    told.extend(beat(&mut strap, Uptime(silent.0 + 10)));
    let alarm = |effect: &Effect| match effect {
        Effect::Keep(kept) => kept.heard.items.iter().find_map(|item| match item {
            Item::Alarm(alarm) => Some(alarm.active),
            _ => None,
        }),
        _ => None,
    };
    assert_eq!(told.iter().filter_map(alarm).collect::<Vec<_>>(), [true, false]);
}

/// A meter whose memory grows while nobody listens. Its value is its number of life, so that order can be checked.
struct Meter {
    memory: Vec<(u16, i64)>,
    next: u16,
}

impl Meter {
    fn measure(&mut self, life: i64) {
        self.memory.push((self.next, life));
        self.next = self.next.wrapping_add(1);
    }

    fn asked(&self, question: &[u8]) -> Vec<(u16, i64)> {
        match question {
            [1, 1] => self.memory.clone(),
            [1, 3, 1, low, high] => {
                let from = u16::from_le_bytes([*low, *high]);
                self.memory
                    .iter()
                    .copied()
                    .filter(|(seq, _)| *seq >= from)
                    .collect()
            }
            [1, 6] => self.memory.last().copied().into_iter().collect(),
            other => panic!("a question that a meter does not know: {other:?}"),
        }
    }
}

/// A glucose record as a meter sends it: its number, its base time, the life as milligrams per decilitre, capillary
/// whole blood from a finger.
fn record(sequence: u16, life: i64) -> Input {
    let mut value = vec![0x02];
    value.extend(sequence.to_le_bytes());
    value.extend([0xEA, 7, 11, 18, 10, 0, 0]);
    let mantissa = u16::try_from(life).expect("small");
    // 1e-5 kg/L is one mg/dL; the exponent is the upper four bits, -5 is 0xB.
    value.extend((0xB000 | mantissa).to_le_bytes());
    value.push(0x11);
    Input::Value(Notice { at: GLUCOSE, value })
}

fn whole(number: Decimal) -> i64 {
    number.mantissa() * 10_i64.pow(u32::try_from(number.exponent()).expect("no fraction"))
}

/// A generator that is the same for the same seed (`splitmix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % sides
    }
}

/// Commits what is to be kept, as the radio does; gives the lives of the records that are on the disk now.
fn commit(db: &mut Db, effects: &[Effect], kept: &mut Vec<i64>, up: Uptime) {
    for effect in effects {
        let Effect::Keep(keep) = effect else { continue };
        let entry = |item: &Item| (Lane::Vital, Entry::Item(item.encode().expect("encodes")));
        let entries: Vec<_> = keep.heard.items.iter().map(entry).collect();
        db.keep(&entries, keep.progress.as_slice(), stamp(up))
            .expect("is kept");
        for reading in readings(std::slice::from_ref(effect)) {
            let Value::Number(life) = reading.value else {
                panic!("a number")
            };
            kept.push(whole(life));
        }
    }
}

/// One day of a meter: it measures, visits, and its link is lost or the box loses power anywhere in a transfer.
fn day(seed: u64) {
    let mut dice = Dice(seed);
    let mut db = Db::in_memory(1 << 26, Epoch(seed)).expect("opens");
    // Numbers run over in one half of the days, and a battery is changed in the other.
    let runs_over = seed.is_multiple_of(2);
    let mut meter = Meter {
        memory: Vec::new(),
        next: if runs_over { 65_450 } else { 30_000 },
    };
    let (mut lives, mut kept, mut up) = (0_i64, Vec::new(), Uptime(0));
    let mut one = device("glucose-meter", Some(association(Some(GOOD))), None, up);
    let served = [GLUCOSE, POINT];
    while up.0 < 86_400_000 || kept.len() < usize::try_from(lives).expect("small") {
        up = Uptime(up.0 + 60_000 + dice.roll(1_800_000));
        let last_visit = up.0 >= 86_400_000;
        for _ in 0..if last_visit { 0 } else { dice.roll(6) } {
            lives += 1;
            meter.measure(lives);
        }
        // A changed battery: it counts from the beginning, and keeps what it has.
        if !runs_over && meter.next > 30_100 {
            meter.next = 0;
        }
        let mut effects = settle(&mut one, Input::Heard, &served, BondState::Held(GOOD), up);
        let mut killed = false;
        'visit: while let Some(question) = effects.iter().rev().find_map(|e| match e {
            Effect::Write(_, question) => Some(question.clone()),
            _ => None,
        }) {
            commit(&mut db, &effects, &mut kept, up);
            for (sequence, life) in meter.asked(&question) {
                let fate = if last_visit { 99 } else { dice.roll(60) };
                match fate {
                    0 => {
                        one.handle(Input::Lost, stamp(up), up);
                        killed = false;
                        break 'visit;
                    }
                    1 | 2 => {
                        // Before or after the commit.
                        let effects = one.handle(record(sequence, life), stamp(up), up);
                        if fate == 2 {
                            commit(&mut db, &effects, &mut kept, up);
                        }
                        killed = true;
                        break 'visit;
                    }
                    _ => {
                        let effects = one.handle(record(sequence, life), stamp(up), up);
                        commit(&mut db, &effects, &mut kept, up);
                    }
                }
            }
            let done = Notice {
                at: POINT,
                value: vec![6, 0, 1, 1],
            };
            effects = one.handle(Input::Value(done), stamp(up), up);
            commit(&mut db, &effects, &mut kept, up);
        }
        if killed {
            let saved = db.progress("worn").expect("reads");
            one = device("glucose-meter", Some(association(Some(GOOD))), saved.as_ref(), up);
        } else {
            one.handle(Input::Lost, stamp(up), up);
        }
        up = Uptime(up.0 + 10_000);
    }
    let wanted: Vec<i64> = (1..=lives).collect();
    assert_eq!(kept, wanted, "seed {seed}");
}

#[test]
fn a_day_of_lost_links_and_power_cuts_brings_every_stored_record_once_and_in_order() {
    for seed in 0..200 {
        day(seed);
    }
}

#[test]
fn what_a_re_used_meter_measured_for_somebody_else_is_not_verified_and_what_follows_is() {
    let up = Uptime(1000);
    let mut meter = device("glucose-meter", Some(association(Some(GOOD))), None, up);
    let effects = settle(
        &mut meter,
        Input::Heard,
        &[GLUCOSE, POINT],
        BondState::Held(GOOD),
        up,
    );
    assert!(effects.contains(&Effect::Write(POINT, vec![1, 1])), "{effects:?}");
    let taken = meter.handle(record(1, 1), stamp(up), up);
    let reading = readings(&taken)[0].clone();
    assert_eq!(reading.grade, Grade::Unverified);
    assert!(reading.details.reasons.contains(&Reason::NotAssociated));
    assert!(reading.details.marks.contains(&Mark::FromStorage));
    let done = |meter: &mut Device| {
        let notice = Notice {
            at: POINT,
            value: vec![6, 0, 1, 1],
        };
        meter.handle(Input::Value(notice), stamp(up), up)
    };
    done(&mut meter);
    // Two notifications alike are one record.
    let again = meter.handle(record(1, 1), stamp(up), up);
    assert!(readings(&again).is_empty());
    // What comes after all was taken was measured here; its time is still the meter's alone.
    let after = meter.handle(record(2, 2), stamp(up), up);
    let reading = readings(&after)[0].clone();
    assert_eq!(reading.grade, Grade::Associated);
    assert_eq!(reading.details.reasons, [Reason::ClockUntrusted]);
    // Both clocks seen together.
    meter.link.clocks.saw(stamp(up).ms, stamp(up));
    let placed = meter.handle(record(3, 3), stamp(up), up);
    assert_eq!(readings(&placed)[0].grade, Grade::Verified);
}
