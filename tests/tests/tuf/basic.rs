//! The usual way, and files that are not what they should be.

use homeward_tests::tuf::forge::Forge;
use homeward_tests::tuf::house::House;
use serde_json::json;

use crate::scenarios;

/// A round of publishing, and what the client holds after it.
type Round<'a> = (&'a str, &'a [(&'a str, u64)], &'a [&'a str], [u64; 4]);

scenarios!(
    test_basic_refresh_requests,
    test_basic_refresh_trusted_data,
    test_implicit_refresh,
    test_invalid_initial_root,
    test_unsigned_initial_root,
    test_unsigned_metadata,
    test_url_and_metadata_version_mismatch,
    test_timestamp_content_changes,
    test_basic_metadata_hash_support,
    test_targets_hash_mismatch,
    test_snapshot_hash_mismatch,
    test_metadata_bytes_match,
    test_custom_fields,
    test_snapshot_404,
    test_targets_404,
    test_timestamp_404,
    test_incorrect_metadata_type,
);

fn test_basic_refresh_requests(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    assert_eq!(
        house.metadata.asked(),
        [
            "2.root.json",
            "timestamp.json",
            "1.snapshot.json",
            "1.targets.json"
        ]
    );
    house.refresh().expect("again");
    assert_eq!(
        house.metadata.asked(),
        ["2.root.json", "timestamp.json"],
        "what is known is not fetched again"
    );
    house.publish_all(&["root", "root", "timestamp"]);
    house.refresh().expect("once more");
    assert_eq!(
        house.metadata.asked(),
        ["2.root.json", "3.root.json", "4.root.json", "timestamp.json"]
    );
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.refresh().expect("all that is new");
    assert_eq!(
        house.metadata.asked(),
        [
            "4.root.json",
            "timestamp.json",
            "2.snapshot.json",
            "2.targets.json"
        ]
    );
}

fn test_basic_refresh_trusted_data(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    assert_eq!(house.all(), [1, 0, 0, 0]);
    house.refresh().expect("refreshes");
    assert_eq!(house.all(), [1, 1, 1, 1]);
    house.publish_all(&["root", "targets", "snapshot", "timestamp", "timestamp"]);
    let client = house.refresh().expect("refreshes");
    assert_eq!(house.all(), [2, 3, 2, 2]);
    assert_eq!(
        client.trusted().targets().map(|targets| targets.head.version),
        Some(2)
    );
    assert_eq!(
        house.disk.names(),
        ["root.json", "snapshot.json", "targets.json", "timestamp.json"]
    );
}

fn test_implicit_refresh(forge: Box<dyn Forge>) {
    let house = House::new(forge);
    assert!(house.get("no-such-target").is_err());
    assert_eq!(
        house.metadata.asked(),
        [
            "2.root.json",
            "timestamp.json",
            "1.snapshot.json",
            "1.targets.json"
        ]
    );
    assert_eq!(house.all(), [1, 1, 1, 1]);
}

fn test_invalid_initial_root(forge: Box<dyn Forge>) {
    let mut house = House::bare(forge);
    house.publish("root");
    house
        .doc("root")
        .as_object_mut()
        .expect("an object")
        .remove("version");
    let broken = house.signed("root");
    house.disk.set("root.json", Some(broken));
    assert!(house.refresh().is_err());
    assert_eq!(house.metadata.asked(), [""; 0]);
}

fn test_unsigned_initial_root(forge: Box<dyn Forge>) {
    let mut house = House::bare(forge);
    house.signers.insert("root".into(), Vec::new());
    house.publish("root");
    assert!(house.try_init().is_err());
    house.disk.set("root.json", house.metadata.get("1.root.json"));
    assert!(house.refresh().is_err());
    assert_eq!(house.metadata.asked(), [""; 0]);
}

fn test_unsigned_metadata(mut forge: Box<dyn Forge>) {
    // Nobody's signature, or a stranger's: nothing of it is believed, and nothing later either.
    let stranger = {
        let (id, _) = forge.key(99, "ed25519");
        homeward_tests::tuf::forge::By {
            number: 99,
            kind: "ed25519".into(),
            id,
        }
    };
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    let usual = house.signers.clone();
    let rounds: [Round<'_>; 4] = [
        (
            "targets",
            &[("targets", 1), ("snapshot", 1), ("timestamp", 1)],
            &["targets", "snapshot", "timestamp"],
            [1, 2, 2, 1],
        ),
        (
            "snapshot",
            &[("snapshot", 2), ("timestamp", 2)],
            &["snapshot", "timestamp"],
            [1, 3, 2, 1],
        ),
        ("timestamp", &[("timestamp", 3)], &["timestamp"], [1, 3, 2, 1]),
        ("root", &[("root", 1)], &["root"], [1, 3, 2, 1]),
    ];
    for (role, before, published, kept) in rounds {
        for by in [Vec::new(), vec![stranger.clone()]] {
            house.signers.insert(role.into(), by);
            for (one, version) in before {
                house.doc(one)["version"] = (*version).into();
            }
            house.publish_all(published);
            assert!(house.refresh().is_err(), "{role}");
            assert_eq!(house.all(), kept, "{role}");
        }
        house.signers.clone_from(&usual);
    }
}

fn test_url_and_metadata_version_mismatch(forge: Box<dyn Forge>) {
    // Another version under the name that was asked for.
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    house.doc("targets")["version"] = 7.into();
    let wrong = house.signed("targets");
    house.doc("targets")["version"] = 1.into();
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.offer("targets", 2, wrong);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 2, 2, 1]);
    house.doc("snapshot")["version"] = 9.into();
    let wrong = house.signed("snapshot");
    house.doc("snapshot")["version"] = 2.into();
    house.publish_rest();
    house.offer("snapshot", 3, wrong);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 3, 2, 1]);
    for skipped in [1, 3] {
        house.doc("root")["version"] = skipped.into();
        let wrong = house.signed("root");
        house.offer("root", 2, wrong);
        assert!(house.refresh().is_err(), "root {skipped} in the place of 2");
        assert_eq!(house.believes("root"), Some(1));
    }
}

fn test_timestamp_content_changes(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    let before = house.disk.get("timestamp.json");
    house.doc("timestamp")["meta"]["snapshot.json"]["version"] = 100.into();
    house.publish_as_it_is("timestamp");
    house.refresh().expect("the known timestamp goes on to hold");
    assert_eq!(house.disk.get("timestamp.json"), before);
}

fn test_basic_metadata_hash_support(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.promises = true;
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.refresh().expect("promises are kept");
    assert_eq!(house.all(), [1, 2, 2, 2]);
    house.refresh().expect("and what is kept fits them, too");
}

fn test_targets_hash_mismatch(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.promises = true;
    house.refresh().expect("refreshes");
    house.publish("targets");
    house.publish_rest();
    // Signed well, of the right version, and other bytes than those promised.
    house.doc("targets")["x-other"] = true.into();
    let other = house.signed("targets");
    house.offer("targets", 2, other);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 2, 2, 1]);
}

fn test_snapshot_hash_mismatch(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.promises = true;
    house.refresh().expect("refreshes");
    house.publish_rest();
    house.doc("snapshot")["x-other"] = true.into();
    let other = house.signed("snapshot");
    house.offer("snapshot", 2, other);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 2, 1, 1]);
}

fn test_metadata_bytes_match(forge: Box<dyn Forge>) {
    // What is kept are the bytes that came, spaces and all.
    let mut house = House::new(forge);
    let padded = |bytes: Vec<u8>| [b"  ".as_slice(), &bytes, b"\n\n"].concat();
    for (role, name) in [
        ("root", "2.root.json"),
        ("targets", "2.targets.json"),
        ("snapshot", "2.snapshot.json"),
        ("timestamp", "timestamp.json"),
    ] {
        let bytes = house.publish(role);
        house.metadata.put(name, padded(bytes));
    }
    house.refresh().expect("refreshes");
    for (kept, name) in [
        ("root.json", "2.root.json"),
        ("targets.json", "2.targets.json"),
        ("snapshot.json", "2.snapshot.json"),
        ("timestamp.json", "timestamp.json"),
    ] {
        assert_eq!(house.disk.get(kept), house.metadata.get(name), "{name}");
    }
}

fn test_custom_fields(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    for role in ["root", "targets", "snapshot", "timestamp"] {
        house.doc(role)["x-field"] = json!({ "a": [1, "\"quoted\\ é\u{7f}"], "b": null });
    }
    let roles = house.doc("root")["roles"].as_object().expect("roles").len();
    assert_eq!(roles, 4);
    house.doc("root")["roles"]["root"]["x-more"] = "value".into();
    let id = house.doc("root")["roles"]["root"]["keyids"][0]
        .as_str()
        .expect("an id")
        .to_owned();
    house.doc("root")["keys"][&id]["x-owner"] = json!({ "name": "somebody" });
    house.publish_all(&["root", "targets", "snapshot", "timestamp"]);
    house.refresh().expect("what is not known is signed all the same");
    assert_eq!(house.all(), [2, 2, 2, 2]);
}

fn test_snapshot_404(forge: Box<dyn Forge>) {
    missing(forge, "1.snapshot.json", [1, 1, 0, 0]);
}

fn test_targets_404(forge: Box<dyn Forge>) {
    missing(forge, "1.targets.json", [1, 1, 1, 0]);
}

fn test_timestamp_404(forge: Box<dyn Forge>) {
    missing(forge, "timestamp.json", [1, 0, 0, 0]);
}

fn missing(forge: Box<dyn Forge>, name: &str, kept: [u64; 4]) {
    let house = House::new(forge);
    let file = house.metadata.take(name).expect("it was there");
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), kept);
    house.metadata.put(name, file);
    house.refresh().expect("as soon as it is there");
}

fn test_incorrect_metadata_type(forge: Box<dyn Forge>) {
    // A file of one role in the place of another, with everybody's signature on it.
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    let all: Vec<_> = house.signers.values().flatten().cloned().collect();
    for role in ["root", "timestamp", "snapshot", "targets"] {
        house.signers.insert(role.into(), all.clone());
    }
    for (place, role) in [
        ("2.root.json", "targets"),
        ("timestamp.json", "snapshot"),
        ("2.root.json", "timestamp"),
        ("timestamp.json", "root"),
    ] {
        let before = house.metadata.get(place);
        house.doc(role)["version"] = 2.into();
        let file = house.signed(role);
        house.doc(role)["version"] = 1.into();
        house.metadata.put(place, file);
        assert!(house.refresh().is_err(), "{role} as {place}");
        assert_eq!(house.all(), [1, 1, 1, 1]);
        match before {
            Some(before) => house.metadata.put(place, before),
            None => drop(house.metadata.take(place)),
        }
    }
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.doc("snapshot")["version"] = 2.into();
    let file = house.signed("snapshot");
    house.metadata.put("2.targets.json", file);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 2, 2, 1]);
}
