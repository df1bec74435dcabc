//! A bad release in a fleet of ten thousand homes, by the driver: real rows, real words, homes that are away now and then.

use std::collections::{BTreeMap, BTreeSet};

use super::*;
use crate::campaign::plan::Ring;
use crate::care::Dependency;

const HOMES: usize = 10_000;
const HOUR_S: i64 = 3_600;
/// Fleets that are simulated for each test; the decisions alone are held against a thousand.
const SEEDS: u64 = 5;

/// What becomes of a home that takes the release.
#[derive(Clone, Copy)]
enum Fate {
    Well,
    GoesBack,
    NotProven,
    Silent,
}

/// A draw that is the same each time.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        // Knuth, "The Art of Computer Programming", volume 2, 3.3.4: the multiplier of MMIX.
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

fn fate(dice: &mut Dice, bad_percent: u64) -> Fate {
    if dice.roll(100) >= bad_percent {
        return Fate::Well;
    }
    match dice.roll(3) {
        0 => Fate::Silent,
        1 => Fate::NotProven,
        _ => Fate::GoesBack,
    }
}

/// Ten thousand homes: a laboratory, some of our own people, and patients, of whom three in ten depend on their box highly,
/// or nobody has said how much.
fn settle(place: &Place) -> BTreeSet<GatewayId> {
    let work = |tx: &mut dyn Tx| {
        for n in 0..HOMES {
            gateways::add(tx, &gw(n), None, NOW)?;
            say(tx, n, "1.3.0", None, NOW)?;
        }
        placements(tx)?;
        tx.execute("UPDATE gateways SET state = 'enrolled', connected_at = 1", &[])?;
        let mut dice = Dice(7);
        for n in 0..HOMES {
            let placement = match dice.roll(10) {
                0..=1 => Some("high"),
                2 => None,
                3..=5 => Some("medium"),
                _ => Some("low"),
            };
            let lives = "UPDATE gateways SET placement = $1 WHERE id = $2";
            tx.execute(lives, &[placement.into(), gw(n).as_str().into()])?;
        }
        let lab =
            "INSERT INTO group_members (group_id, gateway, added_at, added_by) VALUES ('lab', 'gw-0', 0, '')";
        tx.execute(lab, &[])?;
        fleet::homes(tx)
    };
    let homes = block(place.store.write(work)).expect("made");
    let high = homes
        .iter()
        .filter(|home| home.ring != Ring::Lab && home.dependency.is_none_or(|one| one == Dependency::High))
        .map(|home| home.gateway.clone())
        .collect();
    start(place, &homes, Duration::from_hours(1));
    high
}

/// The words that homes have not heard yet; a home that is away hears none.
fn unheard(place: &Place, heard: &BTreeMap<GatewayId, u64>) -> Vec<updates::Assigned> {
    let words = block(place.store.read(updates::assigned)).expect("read");
    let is_new = |word: &updates::Assigned| heard.get(&word.gateway) != Some(&word.counter);
    words.into_iter().filter(is_new).collect()
}

/// What a home says after a word.
fn answer(word: &updates::Assigned, fate: Option<Fate>, now: Timestamp) -> UpdateState {
    let takes = word.version == version("1.4.0");
    let (runs, outcome) = match fate {
        None => ("1.3.0", Some(Outcome::Confirmed)),
        Some(Fate::Well) => ("1.4.0", Some(Outcome::Confirmed)),
        Some(Fate::GoesBack) => ("1.3.0", Some(Outcome::Bad(ShortText::cut("it crashed")))),
        Some(Fate::NotProven) => ("1.3.0", Some(Outcome::NotProven(ShortText::cut("power cuts")))),
        Some(Fate::Silent) => ("1.3.0", None),
    };
    assert_eq!(fate.is_some(), takes, "{word:?}");
    let acting = || {
        let mark = UpdateMark {
            counter: word.counter,
            installer: Installer::AgentSlot,
            version: word.version,
        };
        (mark, Progress::Acting)
    };
    UpdateState {
        runs: version(runs),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        now: outcome.is_none().then(acting),
        ended: outcome.map(|outcome| Ended {
            counter: Some(word.counter),
            outcome,
            at: now,
        }),
        taken_at: now,
    }
}

fn bad_release(bad_percent: u64, seed: u64) {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    let high = settle(&place);
    let mut dice = Dice(seed);
    let (mut heard, mut touched) = (BTreeMap::new(), BTreeSet::new());
    let mut hours = 0;
    while place.read().kept.is_live() {
        hours += 1;
        assert!(hours < 400, "something is stuck");
        place.look();
        place.pass(HOUR_S / 2);
        let now = *place.now.lock().expect("held");
        let mut said = Vec::new();
        for word in unheard(&place, &heard) {
            if dice.roll(4) == 0 {
                continue;
            }
            heard.insert(word.gateway.clone(), word.counter);
            let fate = (word.version == version("1.4.0")).then(|| fate(&mut dice, bad_percent));
            if fate.is_some() {
                touched.insert(word.gateway.clone());
            }
            said.push((word.gateway.clone(), answer(&word, fate, now)));
        }
        let work = move |tx: &mut dyn Tx| {
            for (gateway, state) in &said {
                let at = Origin {
                    gateway: gateway.as_str(),
                    epoch: "01",
                    lane: Lane::Urgent,
                    spare: false,
                    now,
                };
                updates::put(tx, &at, state)?;
            }
            Ok(())
        };
        block(place.store.write(work)).expect("said");
        place.pass(HOUR_S / 2);
    }
    let read = place.read();
    let core = read.kept.core();
    assert!(matches!(core.state(), State::Halted(_)), "{:?}", core.state());
    assert!(
        !touched.is_empty() && touched.len() <= HOMES / 100,
        "{}",
        touched.len()
    );
    assert_eq!(touched.intersection(&high).count(), 0, "nobody who depends on it");
    for (id, _, step) in core.steps() {
        assert!(step.has_ended() && step.name().0 != "confirmed", "{id}: {step:?}");
    }
    for id in touched {
        let said = block(place.store.read(move |tx| updates::said(tx, &id))).expect("read");
        assert_eq!(said.expect("it spoke").state.runs, version("1.3.0"));
    }
}

/// The homes that take it are well, and so many per cent of them die after that; gives how many took it.
fn deadly_release(dies_percent: u64, seed: u64) -> usize {
    let home = Home::embedded();
    let mut place = Place::new(&home);
    settle(&place);
    let mut dice = Dice(seed);
    let (mut heard, mut touched) = (BTreeMap::new(), BTreeSet::new());
    let mut hours = 0;
    while *place.read().kept.core().state() == State::Running {
        hours += 1;
        assert!(hours < 400, "something is stuck");
        place.look();
        place.pass(HOUR_S / 2);
        let now = *place.now.lock().expect("held");
        let mut said = Vec::new();
        for word in unheard(&place, &heard) {
            heard.insert(word.gateway.clone(), word.counter);
            touched.insert(word.gateway.clone());
            let dies = dice.roll(100) < dies_percent;
            said.push((word.gateway.clone(), answer(&word, Some(Fate::Well), now), dies));
        }
        let work = move |tx: &mut dyn Tx| {
            for (gateway, state, dies) in &said {
                let at = Origin {
                    gateway: gateway.as_str(),
                    epoch: "01",
                    lane: Lane::Urgent,
                    spare: false,
                    now,
                };
                updates::put(tx, &at, state)?;
                if *dies {
                    let dead = "UPDATE gateways SET connected_at = NULL, last_heard = $1 WHERE id = $2";
                    tx.execute(dead, &[now.ms.into(), gateway.as_str().into()])?;
                }
            }
            Ok(())
        };
        block(place.store.write(work)).expect("said");
        place.look();
        place.pass(HOUR_S / 2);
    }
    let read = place.read();
    let saved = read.kept.core().saved();
    assert!(matches!(saved.state, State::Dark(_)), "{:?}", saved.state);
    let words = crate::campaign::board::stands(&read.kept.head, &saved);
    assert!(
        words.starts_with("stopped by itself: ") && words.contains("are not heard any more"),
        "{words}"
    );
    touched.len()
}

#[test]
fn one_that_kills_every_tenth_box_after_it_was_well_stops_at_one_home_in_a_hundred() {
    for seed in 0..SEEDS {
        let touched = deadly_release(10, seed);
        assert!((1..=HOMES / 100).contains(&touched), "{touched}");
    }
}

#[test]
fn a_release_that_fails_everywhere_reaches_one_home_in_a_hundred_and_comes_back_from_all() {
    (0..SEEDS).for_each(|seed| bad_release(100, seed));
}

#[test]
fn one_that_fails_in_every_third_home_does_not_come_further() {
    (0..SEEDS).for_each(|seed| bad_release(33, seed));
}
