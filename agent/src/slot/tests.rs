use std::collections::BTreeSet;

use proptest::prelude::*;

use super::*;

fn build(n: u8) -> Build {
    Build {
        sha256: Digest([n; 32]),
        version: format!("1.{n}.0").parse().expect("a version"),
        counter: u64::from(n),
    }
}

fn whole(_: Slot, _: &Digest) -> bool {
    true
}

fn kept(launched: Launch) -> (Place, Slots) {
    (launched.place, launched.save.expect("to be kept"))
}

#[test]
fn a_trial_is_started_three_times_and_then_the_confirmed_build_runs() {
    let mut slots = Slots::default().commit(build(1));
    for left in (0..TRIES).rev() {
        let (place, next) = kept(launch(&slots, whole));
        assert_eq!(place, Place::Slot(Slot::A));
        assert_eq!(next.trial, Some(Trial { slot: Slot::A, left }));
        slots = next;
    }
    let (place, back) = kept(launch(&slots, whole));
    assert_eq!(place, Place::Package);
    let ended = back.ended.expect("it is said how it ended");
    assert_eq!((ended.build, ended.cause), (build(1), Cause::Spent));
    assert_eq!(
        launch(&back, whole),
        Launch {
            place: Place::Package,
            save: None
        }
    );
}

#[test]
fn a_confirmed_build_runs_for_good_and_the_next_one_goes_into_the_other_slot() {
    let slots = Slots::default().commit(build(1)).confirm();
    let runs = Launch {
        place: Place::Slot(Slot::A),
        save: None,
    };
    assert_eq!(launch(&slots, whole), runs);
    let next = slots.clone().commit(build(2));
    assert_eq!(next.trial.map(|trial| trial.slot), Some(Slot::B));
    assert_eq!(kept(launch(&next, whole)).0, Place::Slot(Slot::B));
    let back = next.take_back(Cause::TakenBack);
    assert_eq!(launch(&back, whole), runs);
    let place = Place::Slot(Slot::A);
    assert_eq!(back.version(place, Version::ZERO), build(1).version);
    assert_eq!(back.version(Place::Package, Version::ZERO), Version::ZERO);
}

#[test]
fn what_is_not_whole_does_not_run_whichever_it_is() {
    let both = Slots::default()
        .commit(build(1))
        .confirm()
        .commit(build(2))
        .confirm();
    assert_eq!(both.active, Place::Slot(Slot::B));
    let only = |slots: &Slots, good: &[Slot]| launch(slots, |slot, _| good.contains(&slot));
    for (good, place) in [
        (&[Slot::A, Slot::B][..], Place::Slot(Slot::B)),
        (&[Slot::A][..], Place::Slot(Slot::A)),
        (&[][..], Place::Package),
    ] {
        assert_eq!(only(&both, good), Launch { place, save: None });
    }
    let trial = both.commit(build(3));
    let (place, back) = kept(only(&trial, &[Slot::B]));
    assert_eq!(place, Place::Slot(Slot::B));
    assert_eq!(back.ended.map(|ended| ended.cause), Some(Cause::NotWhole));
    // A trial that is not whole is no way out for an active build that is not whole either.
    assert_eq!(kept(only(&trial, &[])).0, Place::Package);
}

#[test]
fn what_is_kept_reads_back_also_by_a_build_that_knows_less_of_it() {
    let slots = Slots::default().commit(build(1)).confirm().commit(build(2));
    let text = serde_json::to_string(&slots).expect("text");
    assert_eq!(serde_json::from_str::<Slots>(&text).expect("reads"), slots);
    let odd = text.replacen("{\"active\"", "{\"more\":1,\"active\"", 1);
    assert_eq!(serde_json::from_str::<Slots>(&odd).expect("reads"), slots);
    assert!(Digest::try_from("00".repeat(31)).is_err());
}

#[derive(Debug, Clone, Copy)]
enum Event {
    Commit,
    Confirm,
    TakeBack,
    Start,
    Spoil(Slot),
}

fn event() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Commit),
        2 => Just(Event::Confirm),
        1 => Just(Event::TakeBack),
        6 => Just(Event::Start),
        1 => prop_oneof![Just(Slot::A), Just(Slot::B)].prop_map(Event::Spoil),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2_000))]

    /// Whatever happens in whatever order: only whole builds run, an unconfirmed one three times at most, and one that
    /// was left never again.
    #[test]
    fn only_what_is_whole_and_confirmed_runs_for_long(events in proptest::collection::vec(event(), 1..60)) {
        let mut slots = Slots::default();
        let (mut next, mut starts, mut runs) = (1, 0, Place::Package);
        let mut spoilt: BTreeSet<Slot> = BTreeSet::new();
        let mut left: Vec<Build> = Vec::new();
        for event in events {
            match event {
                // A running agent stages into the slot that is free, and only while nothing is on trial.
                Event::Commit if slots.trial.is_none() => {
                    spoilt.remove(&slots.free());
                    slots = slots.commit(build(next));
                    (next, starts) = (next + 1, 0);
                }
                // Only the build on trial confirms itself.
                Event::Confirm if slots.trial.is_some_and(|trial| runs == Place::Slot(trial.slot)) => {
                    slots = slots.confirm();
                }
                Event::TakeBack if slots.trial.is_some() => {
                    slots = slots.take_back(Cause::TakenBack);
                    left.extend(slots.ended.map(|ended| ended.build));
                }
                Event::Spoil(slot) => {
                    spoilt.insert(slot);
                }
                Event::Start => {
                    let tried = slots.trial.map(|trial| trial.slot);
                    let Launch { place, save } = launch(&slots, |slot, _| !spoilt.contains(&slot));
                    runs = place;
                    if let Some(save) = save {
                        if save.trial.is_none() {
                            left.extend(save.ended.map(|ended| ended.build));
                        }
                        slots = save;
                    }
                    let Place::Slot(slot) = place else { continue };
                    prop_assert!(!spoilt.contains(&slot));
                    let ran = slots.builds.get(&slot).copied();
                    prop_assert!(ran.is_some_and(|ran| !left.contains(&ran)));
                    if tried == Some(slot) && slots.trial.is_some() {
                        starts += 1;
                        prop_assert!(starts <= TRIES);
                    }
                }
                Event::Commit | Event::Confirm | Event::TakeBack => {}
            }
            if let Some(trial) = slots.trial {
                prop_assert!(slots.active != Place::Slot(trial.slot));
            }
        }
    }
}
