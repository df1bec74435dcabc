//! Files whose time is over, and a box that was dark.

use homeward_tests::tuf::forge::{Forge, Ours};
use homeward_tests::tuf::house::{DAY, House, START};

use crate::scenarios;

scenarios!(
    test_root_expired,
    test_timestamp_expired,
    test_snapshot_expired,
    test_targets_expired,
    test_expired_local_root,
    test_expired_local_timestamp,
);

fn over(house: &mut House, role: &str) {
    house.doc(role)["expires"] = START.plus_ms(-DAY).to_string().into();
}

fn test_root_expired(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    over(&mut house, "root");
    house.publish("root");
    assert!(house.refresh().is_err());
    assert_eq!(
        house.all(),
        [2, 1, 1, 1],
        "the root is kept, and nothing after it"
    );
}

fn test_timestamp_expired(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    over(&mut house, "timestamp");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 1, 1, 1]);
}

fn test_snapshot_expired(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    over(&mut house, "snapshot");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 2, 1, 1]);
}

fn test_targets_expired(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    over(&mut house, "targets");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 2, 2, 1]);
}

fn test_expired_local_root(forge: Box<dyn Forge>) {
    // A box that was dark for three months walks through roots that are long over.
    let mut house = House::bare(forge);
    over(&mut house, "root");
    house.publish("root");
    house.init();
    house.publish("root");
    house.doc("root")["expires"] = START.plus_ms(DAY).to_string().into();
    house.publish_all(&["root", "targets", "snapshot", "timestamp"]);
    house.refresh().expect("the last root is what counts");
    assert_eq!(house.all(), [3, 1, 1, 1]);
}

fn test_expired_local_timestamp(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.refresh().expect("refreshes");
    house.now = START.plus_ms(40 * DAY);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        house.doc(role)["expires"] = START.plus_ms(60 * DAY).to_string().into();
    }
    let version = house.doc("timestamp")["version"].clone();
    house.doc("timestamp")["version"] = 0.into();
    house.publish_all(&["root", "targets", "snapshot", "timestamp"]);
    assert!(
        house.refresh().is_err(),
        "an expired timestamp still keeps an older one out"
    );
    house.doc("timestamp")["version"] = version;
    house.publish("timestamp");
    house.refresh().expect("and lets a newer one in");
    assert_eq!(house.all(), [2, 3, 3, 3]);
}

/// The whole refresh is of one moment, which the caller gives: no clock is read beside it.
#[test]
fn test_faketime() {
    let mut house = House::new(Box::new(Ours));
    for (days, good) in [
        (-400, true),
        (0, true),
        (29, true),
        (30, false),
        (31, false),
        (4000, false),
    ] {
        house.now = START.plus_ms(days * DAY);
        assert_eq!(house.refresh().is_ok(), good, "{days} days");
    }
}

/// A box that was 90 days dark: everything that it has is expired, the root rotated twice, and the keys of the timestamp and
/// of the snapshot were replaced.
fn dark() -> House {
    let mut house = House::new(Box::new(Ours));
    house.add_target("targets", "agent", b"old");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.get("agent").expect("the old agent");
    for _ in 0..2 {
        let last = house.signers["root"].clone();
        house.new_keys("root", 3, 2);
        let mut both = house.signers["root"].clone();
        both.extend(last);
        house.signers.insert("root".into(), both);
        house.doc("root")["expires"] = START.plus_ms(200 * DAY).to_string().into();
        house.publish("root");
    }
    house.new_keys("timestamp", 1, 1);
    house.new_keys("snapshot", 1, 1);
    house.publish("root");
    for role in ["targets", "snapshot", "timestamp"] {
        house.doc(role)["expires"] = START.plus_ms(100 * DAY).to_string().into();
    }
    house.add_target("targets", "agent", b"new");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house
}

#[test]
fn a_box_that_was_dark_for_ninety_days_comes_back_by_itself() {
    let mut house = dark();
    let old = House::new(Box::new(Ours)).signers["root"].clone();
    house.now = START.plus_ms(90 * DAY);
    assert_eq!(house.get("agent").as_deref(), Ok(b"new".as_slice()));
    // The keys of the old root are worth nothing any more.
    house.signers.insert("root".into(), old);
    house.publish("root");
    assert!(house.refresh().is_err());
    assert_eq!(house.believes("root"), Some(4));
}

#[test]
fn a_dark_box_whose_clock_stood_still_comes_back_too() {
    // It knows no more of the time than the last moment that somebody vouched for.
    let mut house = dark();
    house.now = START.plus_ms(DAY);
    assert_eq!(house.get("agent").as_deref(), Ok(b"new".as_slice()));
}

#[test]
fn a_dark_box_whose_clock_runs_years_ahead_waits_until_it_is_right_and_comes_back_without_a_person() {
    let mut house = dark();
    house.now = START.plus_ms(4000 * DAY);
    assert!(house.get("agent").is_err(), "all is over in that year");
    assert_eq!(
        house.has("agent").as_deref(),
        Some(b"old".as_slice()),
        "what it has it keeps"
    );
    house.now = START.plus_ms(90 * DAY);
    assert_eq!(house.get("agent").as_deref(), Ok(b"new".as_slice()));
}
