use proptest::prelude::*;

use super::*;

const A: &str = "rootfs.0";
const B: &str = "rootfs.1";
const OLD: &str = "1.0.0";
const NEW: &str = "1.1.0";

fn name(text: &str) -> SlotName {
    SlotName::try_from(text.to_owned()).expect("a name")
}

fn boot(n: u8) -> BootId {
    format!("boot-{n:04}").parse().expect("a boot id")
}

fn slot(version: &str) -> Slot {
    Slot {
        class: "rootfs".to_owned(),
        boots: true,
        bad: false,
        version: Some(version.to_owned()),
        whole: true,
    }
}

/// A box that runs from `booted`, starts `primary` next, and has `b` in its second slot.
fn seen(booted: &str, primary: &str, b: Slot) -> Seen {
    Seen {
        booted: name(booted),
        primary: name(primary),
        slots: [(name(A), slot(OLD)), (name(B), b)].into(),
    }
}

fn record(phase: Phase) -> Record {
    Record {
        counter: 7,
        version: NEW.parse().expect("a version"),
        from: name(A),
        to: (phase != Phase::Begun).then(|| name(B)),
        boot: boot(1),
        phase,
        tries: 1,
        reboots: 0,
    }
}

fn over(why: &str) -> Standing {
    Standing::Over(Outcome::NotProven(ShortText::cut(why)))
}

/// Whether `record(phase)`, which is wanted, stands so.
fn stands(case: &str, phase: Phase, seen: &Seen, in_boot: u8, is: &Standing) {
    let found = record(phase).standing(Some(7), seen, &boot(in_boot));
    assert_eq!(found, *is, "{case}");
}

#[test]
fn what_was_begun_is_found_whatever_cut_it_short() {
    let (now, then) = (1, 2);
    let torn = || Slot {
        whole: false,
        ..slot(NEW)
    };
    let elsewhere = over("the box runs from a slot that this image was not put into");
    for (case, seen, in_boot, is) in [
        (
            "before RAUC began",
            seen(A, A, slot(OLD)),
            then,
            Standing::Nothing,
        ),
        ("while it wrote", seen(A, A, torn()), then, Standing::Nothing),
        (
            "before it took the slot",
            seen(A, A, slot(NEW)),
            then,
            Standing::Nothing,
        ),
        (
            "only the agent fell",
            seen(A, B, slot(NEW)),
            now,
            Standing::Leaving,
        ),
        (
            "and the box rebooted",
            seen(B, B, slot(NEW)),
            then,
            Standing::OnTrial,
        ),
        ("into what is not it", seen(B, B, slot(OLD)), then, elsewhere),
    ] {
        stands(case, Phase::Begun, &seen, in_boot, &is);
    }
}

#[test]
fn what_was_installed_is_waited_for_tried_or_was_left() {
    let (now, then) = (1, 2);
    let bad = || Slot {
        bad: true,
        ..slot(NEW)
    };
    let back = over("the boot loader went back to what ran before: it did not start, or the power was cut");
    for (case, seen, in_boot, is) in [
        ("in place", seen(A, B, slot(NEW)), now, Standing::Leaving),
        ("another is taken", seen(A, A, slot(NEW)), now, Standing::Nothing),
        ("rebooted", seen(B, B, slot(NEW)), then, Standing::OnTrial),
        ("for one start", seen(B, A, slot(NEW)), then, Standing::OnTrial),
        ("given up", seen(A, A, bad()), then, back),
        ("passed by", seen(A, B, slot(NEW)), then, Standing::Leaving),
    ] {
        stands(case, Phase::Installed, &seen, in_boot, &is);
    }
}

#[test]
fn what_ended_stays_ended() {
    let (now, then) = (1, 2);
    let bad = || Slot {
        bad: true,
        ..slot(NEW)
    };
    let unwanted = Standing::Unwanted(Installer::Rauc);
    let left = over("after it was confirmed the boot loader started what ran before");
    for (case, phase, seen, in_boot, is) in [
        (
            "kept",
            Phase::Confirmed,
            seen(B, B, slot(NEW)),
            then,
            Standing::Confirmed,
        ),
        (
            "kept and left",
            Phase::Confirmed,
            seen(A, A, slot(NEW)),
            then,
            left,
        ),
        (
            "still runs",
            Phase::TakenBack,
            seen(B, A, bad()),
            now,
            unwanted.clone(),
        ),
        ("runs again", Phase::TakenBack, seen(B, A, bad()), then, unwanted),
        (
            "left",
            Phase::TakenBack,
            seen(A, A, bad()),
            then,
            over("it was taken back"),
        ),
    ] {
        stands(case, phase, &seen, in_boot, &is);
    }
}

#[test]
fn a_box_is_not_rebooted_for_ever_for_an_image_that_its_loader_passes_by() {
    let spent = Record {
        reboots: TRIES,
        ..record(Phase::Installed)
    };
    let there = seen(A, B, slot(NEW));
    assert_eq!(
        spent.standing(Some(7), &there, &boot(1)),
        Standing::Leaving,
        "it was not rebooted"
    );
    let found = spent.standing(Some(7), &there, &boot(4));
    assert_eq!(found, Standing::Unwanted(Installer::Rauc));
}

#[test]
fn who_put_a_good_image_there_by_hand_after_one_was_taken_back_keeps_it() {
    let found = record(Phase::TakenBack).standing(None, &seen(B, B, slot("2.0.0")), &boot(5));
    assert_eq!(found, Standing::Nothing);
}

fn phase() -> impl Strategy<Value = Phase> {
    prop::sample::select(vec![
        Phase::Begun,
        Phase::Installed,
        Phase::Confirmed,
        Phase::TakenBack,
    ])
}

fn place() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![A, B])
}

fn any_slot() -> impl Strategy<Value = Slot> {
    let version = prop::option::of(prop::sample::select(vec![OLD, NEW, "none"]));
    (any::<bool>(), any::<bool>(), version).prop_map(|(bad, whole, version)| Slot {
        bad,
        whole,
        version: version.map(str::to_owned),
        ..slot(OLD)
    })
}

proptest! {
    #[test]
    fn what_is_said_of_a_job_is_so(
        phase in phase(),
        (booted, primary, b) in (place(), place(), any_slot()),
        (wanted, in_boot, reboots) in (prop::option::of(6u64..9), 1u8..3, 0u8..5),
    ) {
        let (seen, record) = (seen(booted, primary, b), Record { reboots, ..record(phase) });
        let mine = wanted == Some(record.counter);
        match record.standing(wanted, &seen, &boot(in_boot)) {
            Standing::OnTrial | Standing::Confirmed => {
                prop_assert!(mine && seen.booted != record.from, "it is tried and kept where it runs");
            }
            Standing::Leaving => {
                prop_assert!(mine && seen.booted == record.from && seen.is_in_place(record.version));
            }
            Standing::Unwanted(kind) => {
                prop_assert_eq!(kind, Installer::Rauc);
                prop_assert!(phase != Phase::Confirmed, "what was confirmed is not taken back");
                prop_assert!(seen.booted != record.from || seen.primary != record.from, "there is something to leave");
            }
            Standing::Over(_) => prop_assert!(mine, "nobody else's end is told"),
            Standing::Nothing => {
                let left = !mine || seen.booted == record.from;
                prop_assert!(left, "what runs and is wanted is not forgotten");
            }
            Standing::Unfinished(_) => prop_assert!(false, "an image is whole or not there"),
        }
    }
}
