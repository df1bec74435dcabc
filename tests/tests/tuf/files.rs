//! Targets themselves.

use homeward_protocol::tuf::read::to_hex;
use homeward_tests::tuf::forge::Forge;
use homeward_tests::tuf::house::House;
use ring::digest::{SHA256, SHA384, SHA512, digest};
use serde_json::json;

use crate::scenarios;

scenarios!(
    test_client_downloads_expected_file,
    test_client_downloads_expected_file_in_sub_dir,
    test_repository_substitutes_target_file,
    test_multiple_changes_to_target,
    test_download_with_hash_algorithms,
    test_download_with_unknown_hash_algorithm,
    test_artifact_cache,
);

fn test_client_downloads_expected_file(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    let content: Vec<u8> = (0..100_000_u32).flat_map(u32::to_le_bytes).collect();
    house.add_target("targets", "agent", &content);
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.refresh().expect("refreshes");
    assert_eq!(house.has("agent"), None, "a refresh gets no targets");
    assert_eq!(house.get("agent").as_ref(), Ok(&content));
    // Without consistent snapshots the names are plain.
    house.doc("root")["consistent_snapshot"] = false.into();
    house.publish("root");
    for role in ["targets", "snapshot"] {
        house.publish_as_it_is(role);
    }
    house.add_target("targets", "other", b"other");
    house.targets.put("other", b"other".to_vec());
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert_eq!(house.get("other").as_deref(), Ok(b"other".as_slice()));
    assert!(house.metadata.asked().contains(&"targets.json".to_owned()));
}

fn test_client_downloads_expected_file_in_sub_dir(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.add_target("targets", "a/b c/file.txt", b"content");
    let hash = to_hex(digest(&SHA256, b"content").as_ref());
    house
        .targets
        .put(format!("a/b%20c/{hash}.file.txt"), b"content".to_vec());
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert_eq!(house.get("a/b c/file.txt").as_deref(), Ok(b"content".as_slice()));
    for odd in ["/etc/passwd", "a/../../b", "", "a//b", "./a", "a/"] {
        assert!(house.get(odd).is_err(), "{odd}");
    }
}

fn test_repository_substitutes_target_file(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.add_target("targets", "first", b"first content");
    house.add_target("targets", "second", b"second content");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.get("first").expect("the real one");
    for evil in [
        b"second malware".as_slice(),
        b"second",
        b"second content and more",
        b"",
    ] {
        for name in house.targets.all().keys() {
            house.targets.put(name.clone(), evil.to_vec());
        }
        let _ = house.get("first");
        assert_eq!(house.has("first").as_deref(), Some(b"first content".as_slice()));
        assert!(house.get("second").is_err());
        assert_eq!(house.has("second"), None);
    }
}

fn test_multiple_changes_to_target(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    for round in 0..6 {
        let content = format!("content {round}");
        house.add_target("targets", "agent", content.as_bytes());
        house.add_target("targets", &format!("extra-{round}"), b"x");
        house.publish_all(&["targets", "snapshot", "timestamp"]);
        if round % 2 == 0 {
            continue;
        }
        assert_eq!(house.get("agent"), Ok(content.clone().into_bytes()));
        assert!(house.get(&format!("extra-{round}")).is_ok());
        // The file on the server changes, and what is signed does not.
        for name in house
            .targets
            .all()
            .keys()
            .filter(|name| name.strip_suffix(".agent").is_some())
        {
            house.targets.put(name.clone(), b"evil".to_vec());
        }
        let _ = house.get("agent");
        assert_eq!(house.has("agent"), Some(content.into_bytes()));
    }
}

fn test_download_with_hash_algorithms(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    let content = b"content";
    let hex = |algorithm| to_hex(digest(algorithm, content).as_ref());
    let (sha256, sha384, sha512) = (hex(&SHA256), hex(&SHA384), hex(&SHA512));
    for (path, hashes, good) in [
        ("256", json!({ "sha256": sha256 }), true),
        ("384", json!({ "sha384": sha384 }), true),
        ("512", json!({ "sha512": sha512 }), true),
        (
            "all",
            json!({ "sha512": sha512, "sha256": sha256, "sha384": sha384 }),
            true,
        ),
        (
            "one-is-wrong",
            json!({ "sha512": sha512, "sha256": "00".repeat(32) }),
            false,
        ),
        (
            "wrong-way-round",
            json!({ "sha512": sha256, "sha256": sha512 }),
            false,
        ),
    ] {
        house.doc("targets")["targets"][path] = json!({ "length": content.len(), "hashes": hashes });
        for hash in [&sha256, &sha384, &sha512, &"00".repeat(32)] {
            house.offer_target(path, hash, content);
        }
        house.publish_all(&["targets", "snapshot", "timestamp"]);
        assert_eq!(house.get(path).is_ok(), good, "{path}");
    }
}

fn test_download_with_unknown_hash_algorithm(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    let sha256 = to_hex(digest(&SHA256, b"content").as_ref());
    for (path, hashes) in [
        ("alone", json!({ "ripemd": sha256 })),
        ("beside", json!({ "sha256": sha256, "ripemd": "00" })),
    ] {
        house.doc("targets")["targets"][path] = json!({ "length": 7, "hashes": hashes });
        house.offer_target(path, &sha256, b"content");
        house.offer_target(path, "00", b"content");
        house.publish_all(&["targets", "snapshot", "timestamp"]);
        assert!(
            house.get(path).is_err(),
            "{path}: what cannot be checked is not believed"
        );
        assert_eq!(house.has(path), None);
    }
}

fn test_artifact_cache(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.add_target("targets", "agent", b"content");
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    house.get("agent").expect("gets it");
    assert_eq!(house.targets.asked().len(), 1);
    house.get("agent").expect("has it");
    assert_eq!(
        house.targets.asked().len(),
        0,
        "what is there and matches is not fetched again"
    );
    std::fs::write(house.folder.path().join("agent"), b"CONTENT").expect("a file");
    assert_eq!(
        house.get("agent").as_deref(),
        Ok(b"content".as_slice()),
        "what does not match is"
    );
    assert_eq!(house.targets.asked().len(), 1);
}
