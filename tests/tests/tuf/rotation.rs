//! Keys that are replaced.

use homeward_tests::tuf::forge::Forge;
use homeward_tests::tuf::house::House;

use crate::scenarios;

scenarios!(test_root_rotation, test_non_root_rotations);

/// One version of a role: the keys that count, how many must sign, who signs.
type Version = (&'static [u8], usize, &'static [u8]);

const FIVE: &[u8] = &[1, 2, 3, 4, 5];
const ONE_NEW: &[u8] = &[1, 2, 4, 5, 6];

/// Chains of roots, and whether the last one is accepted.
const ROOTS: &[(&str, &[Version], bool)] = &[
    (
        "one key replaced",
        &[(&[1], 1, &[1]), (&[2], 1, &[2, 1]), (&[2], 1, &[2])],
        true,
    ),
    (
        "strangers sign, too",
        &[
            (&[1], 1, &[3, 1, 4]),
            (&[2], 1, &[3, 2, 1, 4]),
            (&[2], 1, &[3, 2, 4]),
        ],
        true,
    ),
    (
        "3 of 5, others each time",
        &[
            (FIVE, 3, &[1, 3, 5]),
            (FIVE, 3, &[1, 5, 2]),
            (FIVE, 3, &[1, 2, 4]),
        ],
        true,
    ),
    (
        "3 of 5, one replaced",
        &[(FIVE, 3, &[1, 3, 5]), (ONE_NEW, 3, &[1, 5, 2])],
        true,
    ),
    (
        "3 of 5, one replaced, with a step between",
        &[
            (FIVE, 3, &[1, 3, 5]),
            (ONE_NEW, 3, &[1, 3, 5, 6]),
            (ONE_NEW, 3, &[1, 5, 6]),
        ],
        true,
    ),
    (
        "3 of 5, all replaced",
        &[
            (FIVE, 3, &[1, 3, 5]),
            (&[6, 7, 8, 9, 10], 3, &[1, 3, 5, 6, 7, 8]),
            (&[6, 7, 8, 9, 10], 3, &[6, 7, 8]),
        ],
        true,
    ),
    (
        "more must sign",
        &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[1, 2])],
        true,
    ),
    (
        "fewer must sign",
        &[
            (&[1, 2, 3], 2, &[1, 2]),
            (&[1, 2, 3], 1, &[1, 2]),
            (&[1, 2, 3], 1, &[1]),
        ],
        true,
    ),
    (
        "a second key, and both must sign",
        &[(&[1], 1, &[1]), (&[1, 2], 2, &[1, 2])],
        true,
    ),
    (
        "the old key did not sign",
        &[(&[1], 1, &[1]), (&[2], 1, &[2, 3, 4])],
        false,
    ),
    (
        "the new key did not sign",
        &[(&[1], 1, &[1]), (&[2], 1, &[1, 3, 4])],
        false,
    ),
    (
        "too few of the new ones",
        &[(FIVE, 3, &[1, 3, 5]), (ONE_NEW, 3, &[1, 3, 5])],
        false,
    ),
    (
        "too few of the old ones",
        &[(FIVE, 3, &[1, 3, 5]), (ONE_NEW, 3, &[1, 5, 6])],
        false,
    ),
    (
        "not yet as many as the new root demands",
        &[(&[1, 2, 3], 1, &[1]), (&[1, 2, 3], 2, &[2])],
        false,
    ),
    (
        "no more as many as the old root demands",
        &[(&[1, 2, 3], 2, &[1, 2]), (&[1, 2, 3], 1, &[1])],
        false,
    ),
];

fn test_root_rotation(forge: Box<dyn Forge>) {
    let mut forge = Some(forge);
    for (name, versions, good) in ROOTS {
        let mut house = House::bare(again(&mut forge));
        for (keys, threshold, by) in *versions {
            house.name_keys("root", keys, *threshold);
            house.let_sign("root", by);
            house.publish("root");
        }
        house.publish_all(&["targets", "snapshot", "timestamp"]);
        house.init();
        assert_eq!(house.refresh().is_ok(), *good, "{name}");
        let last = versions.len() as u64 - u64::from(!good);
        assert_eq!(house.believes("root"), Some(last), "{name}");
        assert_eq!(
            house.disk.get("root.json"),
            house.metadata.get(&format!("{last}.root.json")),
            "{name}"
        );
    }
}

const OTHERS: &[(&str, Version, bool)] = &[
    ("one key replaced", (&[2], 1, &[2]), true),
    ("strangers sign, too", (&[1], 1, &[3, 1, 4]), true),
    ("the new key did not sign", (&[2], 1, &[1, 3, 4]), false),
    ("one of the three counts no more", (ONE_NEW, 3, &[1, 3, 5]), false),
    ("too few", (ONE_NEW, 3, &[1, 5]), false),
    ("3 of 5", (FIVE, 3, &[1, 3, 5]), true),
    ("other 3 of 5", (FIVE, 3, &[3, 4, 5]), true),
];

fn test_non_root_rotations(forge: Box<dyn Forge>) {
    let mut forge = Some(forge);
    for (name, (keys, threshold, by), good) in OTHERS {
        for role in ["timestamp", "snapshot", "targets"] {
            let mut house = House::new(again(&mut forge));
            house.refresh().expect("refreshes");
            house.name_keys(role, keys, *threshold);
            house.let_sign(role, by);
            house.publish_all(&["root", "targets", "snapshot", "timestamp"]);
            assert_eq!(house.refresh().is_ok(), *good, "{name}: {role}");
            assert_eq!(house.believes(role), Some(1 + u64::from(*good)), "{name}: {role}");
            assert_eq!(house.believes("root"), Some(2), "{name}: {role}");
        }
    }
}

/// The forge that was given, then others of its kind.
fn again(first: &mut Option<Box<dyn Forge>>) -> Box<dyn Forge> {
    use homeward_tests::tuf::forge::{Ours, Python};
    use std::sync::atomic::{AtomicBool, Ordering};
    static PYTHON: AtomicBool = AtomicBool::new(false);
    match first.take() {
        Some(forge) => {
            PYTHON.store(forge.kinds().len() > 1, Ordering::Relaxed);
            forge
        }
        None if PYTHON.load(Ordering::Relaxed) => {
            Box::new(Python::start().expect("it was there a moment ago"))
        }
        None => Box::new(Ours),
    }
}
