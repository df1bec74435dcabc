//! Versions that go back, and how a fleet comes back from an attacker who moved them far ahead.

use homeward_tests::tuf::forge::Forge;
use homeward_tests::tuf::house::House;

use crate::scenarios;

scenarios!(
    test_new_timestamp_version_rollback,
    test_snapshot_rollback,
    test_targets_role_removal,
    test_targets_fast_forward_recovery,
    test_new_snapshot_fast_forward_recovery,
    test_new_timestamp_fast_forward_recovery,
    test_targets_rollback,
);

fn test_new_timestamp_version_rollback(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.publish("timestamp");
    house.refresh().expect("refreshes");
    house.doc("timestamp")["version"] = 1.into();
    house.publish_as_it_is("timestamp");
    house.metadata.asked();
    assert!(house.refresh().is_err());
    assert_eq!(house.believes("timestamp"), Some(2));
    assert_eq!(
        house.metadata.asked().last().map(String::as_str),
        Some("timestamp.json"),
        "nothing after it"
    );
}

fn test_snapshot_rollback(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.publish_rest();
    for promises in [false, true] {
        house.promises = promises;
        house.publish_rest();
        house.refresh().expect("refreshes");
        let (snapshot, timestamp) = (house.version("snapshot"), house.version("timestamp"));
        house.doc("snapshot")["version"] = 1.into();
        house.publish_as_it_is("snapshot");
        house.publish("timestamp");
        assert!(
            house.refresh().is_err(),
            "a timestamp that names an older snapshot"
        );
        assert_eq!(house.believes("timestamp"), Some(timestamp));
        assert_eq!(house.believes("snapshot"), Some(snapshot));
        house.doc("snapshot")["version"] = snapshot.into();
        house.publish_as_it_is("snapshot");
        house.doc("timestamp")["version"] = timestamp.into();
    }
}

fn test_targets_role_removal(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.delegate("targets", "pumps", &["*"], false);
    house.publish_all(&["pumps", "targets", "snapshot", "timestamp"]);
    house.refresh().expect("refreshes");
    house.doc("snapshot")["meta"]
        .as_object_mut()
        .expect("a list")
        .remove("pumps.json");
    house.publish_rest();
    assert!(house.refresh().is_err(), "what was listed once stays listed");
    assert_eq!(house.believes("snapshot"), Some(2));
}

fn test_targets_rollback(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    for promises in [false, true] {
        house.promises = promises;
        house.publish_all(&["targets", "targets", "snapshot", "timestamp"]);
        house.refresh().expect("refreshes");
        let (targets, snapshot) = (house.version("targets"), house.version("snapshot"));
        house.doc("targets")["version"] = 1.into();
        house.publish_as_it_is("targets");
        house.publish_rest();
        assert!(house.refresh().is_err());
        assert_eq!(house.believes("targets"), Some(targets));
        assert_eq!(house.believes("snapshot"), Some(snapshot));
        house.doc("targets")["version"] = targets.into();
        house.publish_as_it_is("targets");
        house.publish_rest();
        house.refresh().expect("and goes on when it is mended");
    }
}

fn test_targets_fast_forward_recovery(forge: Box<dyn Forge>) {
    // Somebody moved the version of targets far ahead; new keys of snapshot make the old snapshots worthless.
    let mut house = House::new(forge);
    house.doc("targets")["version"] = 99_999.into();
    house.publish_as_it_is("targets");
    house.publish_rest();
    house.refresh().expect("refreshes");
    assert_eq!(house.believes("targets"), Some(99_999));
    house.new_keys("snapshot", 1, 1);
    house.publish("root");
    house.doc("targets")["version"] = 1.into();
    house.publish("targets");
    house.publish_rest();
    house.refresh().expect("recovers");
    assert_eq!(house.believes("targets"), Some(2));
}

fn test_new_snapshot_fast_forward_recovery(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.doc("snapshot")["version"] = 99_999.into();
    house.publish_as_it_is("snapshot");
    house.publish("timestamp");
    house.refresh().expect("refreshes");
    assert_eq!(house.believes("snapshot"), Some(99_999));
    house.new_keys("snapshot", 1, 1);
    house.new_keys("timestamp", 1, 1);
    house.publish("root");
    house.doc("snapshot")["version"] = 1.into();
    house.publish_as_it_is("snapshot");
    house.publish("timestamp");
    house.refresh().expect("recovers");
    assert_eq!(house.believes("snapshot"), Some(1));
}

fn test_new_timestamp_fast_forward_recovery(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.doc("timestamp")["version"] = 99_999.into();
    house.publish_as_it_is("timestamp");
    house.refresh().expect("refreshes");
    house.new_keys("timestamp", 1, 1);
    house.publish("root");
    house.doc("timestamp")["version"] = 1.into();
    house.publish_as_it_is("timestamp");
    house.refresh().expect("recovers");
    assert_eq!(house.believes("timestamp"), Some(1));
}
