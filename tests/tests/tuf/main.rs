//! The update client against every scenario that the public TUF conformance suite names, and some that it lacks.
//!
//! Each scenario runs on repositories of our own signer, and once more on repositories that python-tuf makes. The names
//! are the suite's (theupdateframework/tuf-conformance, commit eec841c1); the scenarios were written here.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read files, listen, and wait"
)]

mod attacks;
mod basic;
mod delegations;
mod expiry;
mod files;
mod hostile;
mod keys;
mod pace;
mod power;
mod real;
mod reference;
mod rollback;
mod rotation;
mod signer;

use homeward_tests::shared;
use homeward_tests::tuf::forge::{Forge, Ours, Python};
use homeward_tests::tuf::house::House;

/// A scenario: on a repository with nothing published yet, or a usual one, made by the given forge.
type Scenario = fn(Box<dyn Forge>);

/// Each scenario as a test on our own repositories, and all as a list for python-tuf's.
macro_rules! scenarios {
    ($($name:ident),* $(,)?) => {
        mod ours {
            $(#[test] fn $name() { super::$name(Box::new(homeward_tests::tuf::forge::Ours)); })*
        }
        pub(crate) const ALL: &[(&str, crate::Scenario)] = &[$((stringify!($name), $name)),*];
    };
}
pub(crate) use scenarios;

const THEMES: [&[(&str, Scenario)]; 7] = [
    basic::ALL,
    expiry::ALL,
    rollback::ALL,
    keys::ALL,
    rotation::ALL,
    delegations::ALL,
    files::ALL,
];

/// Scenarios that are no repository's: a clock, and a repository that lies ready.
const ELSEWHERE: [&str; 2] = ["test_faketime", "test_static_repository"];

#[test]
fn every_scenario_holds_on_repositories_of_python_tuf() {
    if Python::start().is_none() {
        return;
    }
    let mut failed = Vec::new();
    for (name, scenario) in THEMES.iter().copied().flatten() {
        let forge = Box::new(Python::start().expect("it started a moment ago"));
        if std::panic::catch_unwind(move || scenario(forge)).is_err() {
            failed.push(*name);
        }
    }
    assert!(failed.is_empty(), "{failed:?}");
}

#[test]
fn every_scenario_that_the_suite_names_is_here() {
    let Some(list) = shared::data("data/tuf/test-names.txt") else {
        return;
    };
    let list = std::fs::read_to_string(list).expect("the list of names");
    let here: Vec<&str> = THEMES.iter().copied().flatten().map(|(name, _)| *name).collect();
    let lacking: Vec<&str> = list
        .lines()
        .filter(|name| !here.contains(name) && !ELSEWHERE.contains(name))
        .collect();
    assert!(lacking.is_empty(), "{lacking:?}");
    assert!(list.lines().count() > 50, "the list is whole");
}

/// What our signer writes is accepted by python-tuf's own client, delegations and all.
#[test]
fn python_tuf_accepts_what_our_signer_writes() {
    let Some(mut python) = Python::start() else { return };
    let mut house = House::new(Box::new(Ours));
    house.promises = true;
    house.delegate("targets", "pumps", &["pumps/*"], true);
    house.add_target("pumps", "pumps/firmware.bin", b"third-party firmware");
    house.publish_all(&["pumps", "targets", "snapshot", "timestamp"]);
    house.new_keys("root", 3, 2);
    let root = house.metadata.get("1.root.json").expect("a root");
    let all = |house: &House| {
        let metadata = house
            .metadata
            .all()
            .into_iter()
            .map(|(name, bytes)| (format!("metadata/{name}"), bytes));
        let targets = house
            .targets
            .all()
            .into_iter()
            .map(|(name, bytes)| (format!("targets/{name}"), bytes));
        metadata
            .chain(targets)
            .collect::<std::collections::BTreeMap<_, _>>()
    };
    let got = python.check(&root, &all(&house), "pumps/firmware.bin");
    assert_eq!(got.as_deref(), Ok(b"third-party firmware".as_slice()));
    house.metadata.put("timestamp.json", b"{}".to_vec());
    assert!(
        python.check(&root, &all(&house), "pumps/firmware.bin").is_err(),
        "it does look"
    );
}
