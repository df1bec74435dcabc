//! Who signed, and how often one key counts.

use homeward_tests::tuf::forge::{By, Forge, Ours, Python};
use homeward_tests::tuf::house::House;
use serde_json::{Value, json};

use crate::scenarios;

scenarios!(
    test_deprecated_keyid_hash_algorithms,
    test_snapshot_does_not_meet_threshold,
    test_snapshot_has_too_few_keys,
    test_duplicate_keys,
    test_duplicate_sig_keyids,
    test_keytype_and_scheme,
    test_invalid_sig_in_valid_metadata,
);

fn test_deprecated_keyid_hash_algorithms(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    let id = house.doc("root")["roles"]["snapshot"]["keyids"][0]
        .as_str()
        .expect("an id")
        .to_owned();
    house.doc("root")["keys"][&id]["keyid_hash_algorithms"] = json!(["md5"]);
    house.publish_all(&["root", "snapshot", "timestamp"]);
    house.refresh().expect("a field that means nothing any more");
    assert_eq!(house.all(), [2, 2, 2, 1]);
}

fn test_snapshot_does_not_meet_threshold(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    let numbers = house.new_keys("snapshot", 5, 3);
    house.let_sign("snapshot", &numbers[..2]);
    house.publish_all(&["root", "snapshot", "timestamp"]);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [2, 2, 1, 1]);
    house.let_sign("snapshot", &numbers[1..4]);
    house.publish_rest();
    house.refresh().expect("any three of the five");
    assert_eq!(house.believes("snapshot"), Some(3));
}

fn test_snapshot_has_too_few_keys(forge: Box<dyn Forge>) {
    // More signatures are demanded than there are keys; and one key is named that is nowhere.
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    house.new_keys("snapshot", 3, 4);
    house.publish_all(&["root", "snapshot", "timestamp"]);
    assert!(house.refresh().is_err());
    house.doc("root")["roles"]["snapshot"]["keyids"]
        .as_array_mut()
        .expect("a list")
        .push("nowhere".into());
    house.publish("root");
    assert!(house.refresh().is_err());
    assert_eq!(house.believes("root"), Some(3));
    assert_eq!(house.believes("snapshot"), Some(1));
}

/// A role with a threshold of two; the second id is another name of the first key, written as `respell` writes it.
fn one_key_twice(house: &mut House, kind: &str, respell: impl Fn(&mut Value)) {
    let first = house.by(1, kind);
    let second = By {
        id: "f".repeat(64),
        ..first.clone()
    };
    let (_, mut key) = house.forge().key(1, kind);
    let root = house.doc("root");
    root["keys"][&first.id] = key.clone();
    respell(&mut key);
    root["keys"][&second.id] = key;
    root["roles"]["snapshot"] = json!({ "keyids": [first.id, second.id], "threshold": 2 });
    house.signers.insert("snapshot".into(), vec![first, second]);
    house.publish_all(&["root", "snapshot", "timestamp"]);
}

fn refused(house: &House, what: &str) {
    let error = house.refresh().expect_err(what);
    assert!(
        error.to_string().contains("signed by 1 of its keys, and needs 2"),
        "{what}: {error}"
    );
    assert_eq!(house.believes("snapshot"), Some(1), "{what}");
}

fn test_duplicate_keys(forge: Box<dyn Forge>) {
    // One id that stands twice in a role.
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    let id = house.doc("root")["roles"]["snapshot"]["keyids"][0].clone();
    house.doc("root")["roles"]["snapshot"] = json!({ "keyids": [id, id], "threshold": 2 });
    house.publish_all(&["root", "snapshot", "timestamp"]);
    assert!(house.refresh().is_err());
    assert_eq!(house.all(), [1, 1, 1, 1], "such a root is none");
    // One key under two ids.
    house.doc("root")["version"] = 1.into();
    one_key_twice(&mut house, "ed25519", |_| ());
    refused(&house, "one key under two ids");
}

fn test_duplicate_sig_keyids(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    house.new_keys("snapshot", 2, 2);
    let first = house.signers["snapshot"][..1].to_vec();
    house.signers.insert("snapshot".into(), first);
    house.publish("root");
    let file = house.publish("snapshot");
    house.publish("timestamp");
    let mut file: Value = serde_json::from_slice(&file).expect("JSON");
    let signatures = file["signatures"].as_array_mut().expect("a list");
    let same = signatures[0].clone();
    signatures.push(same);
    house.offer("snapshot", 2, file.to_string().into_bytes());
    assert!(house.refresh().is_err());
    assert_eq!(house.believes("snapshot"), Some(1));
}

fn test_keytype_and_scheme(forge: Box<dyn Forge>) {
    let kinds = forge.kinds();
    drop(forge);
    for kind in kinds {
        let mut house = House::new(match kinds.len() {
            1 => Box::new(Ours) as Box<dyn Forge>,
            _ => Box::new(Python::start().expect("it was there a moment ago")),
        });
        house.refresh().expect("refreshes");
        for role in ["root", "timestamp", "snapshot", "targets"] {
            let by = house.by(7, kind);
            let (_, key) = house.forge().key(7, kind);
            let mut all = house.signers[role].clone();
            house.doc("root")["keys"][&by.id] = key;
            house.doc("root")["roles"][role]["keyids"] = json!([by.id]);
            if role != "root" {
                all.clear();
            }
            all.push(by);
            house.signers.insert(role.into(), all);
        }
        house.publish_all(&["root", "targets", "snapshot", "timestamp"]);
        house.refresh().unwrap_or_else(|error| panic!("{kind}: {error}"));
        assert_eq!(house.all(), [2, 2, 2, 2], "{kind}");
        // A signature by that key over something else.
        house.publish("timestamp");
        let mut file: Value = serde_json::from_slice(&house.signed("timestamp")).expect("JSON");
        file["signed"]["version"] = 9.into();
        house
            .metadata
            .put("timestamp.json", file.to_string().into_bytes());
        assert!(house.refresh().is_err(), "{kind}");
    }
}

fn test_invalid_sig_in_valid_metadata(forge: Box<dyn Forge>) {
    // One good signature is enough; others may be broken, empty, or of a key that nobody knows.
    let mut house = House::new(forge);
    house.refresh().expect("refreshes");
    let file = house.publish("timestamp");
    let mut file: Value = serde_json::from_slice(&file).expect("JSON");
    let signatures = file["signatures"].as_array_mut().expect("a list");
    let good = signatures[0]["sig"].clone();
    for (id, sig) in [
        ("a", json!("00")),
        ("b", json!("")),
        ("c", json!("no hex")),
        ("d", good),
    ] {
        signatures.push(json!({ "keyid": id, "sig": sig }));
    }
    house
        .metadata
        .put("timestamp.json", file.to_string().into_bytes());
    house.refresh().expect("refreshes");
    assert_eq!(house.believes("timestamp"), Some(2));
    // And a broken one is none.
    file["signatures"][0]["sig"] = "00".into();
    file["signed"]["version"] = 3.into();
    house
        .metadata
        .put("timestamp.json", file.to_string().into_bytes());
    assert!(house.refresh().is_err());
}

fn upper_case(key: &mut Value) {
    let hex = key["keyval"]["public"]
        .as_str()
        .unwrap_or_default()
        .to_uppercase();
    key["keyval"]["public"] = hex.into();
}

/// What the public suite does not ask: one key, written in another way, is still one key.
#[test]
fn one_key_in_two_spellings_counts_once() {
    let mut house = House::new(Box::new(Ours));
    house.refresh().expect("refreshes");
    one_key_twice(&mut house, "ed25519", upper_case);
    refused(&house, "upper-case hexadecimal");
}

#[test]
fn one_pem_key_in_two_spellings_counts_once() {
    let Some(python) = Python::start() else { return };
    let mut house = House::new(Box::new(python));
    house.refresh().expect("refreshes");
    let public = |key: &Value| key["keyval"]["public"].as_str().unwrap_or_default().to_owned();
    for kind in ["ecdsa-sha2-nistp256", "rsassa-pss-sha256"] {
        one_key_twice(&mut house, kind, |key| {
            key["keyval"]["public"] = public(key).replace('\n', "\r\n").into();
        });
        refused(&house, "other line breaks");
        one_key_twice(&mut house, kind, |key| {
            let body = public(key).replace("KEY-----\n", "KEY-----\nComment: mine\n\n");
            key["keyval"]["public"] = format!("a note\n{body}").into();
        });
        refused(&house, "headers");
        one_key_twice(&mut house, kind, |key| {
            let text = public(key);
            let lines: Vec<&str> = text.lines().collect();
            let joined = format!(
                "{}\n{}\n{}",
                lines[0],
                lines[1..lines.len() - 1].concat(),
                lines[lines.len() - 1]
            );
            key["keyval"]["public"] = joined.into();
        });
        refused(&house, "one long line");
    }
    // The same RSA key for two schemes.
    one_key_twice(&mut house, "rsassa-pss-sha256", |key| {
        key["scheme"] = "rsa-pkcs1v15-sha256".into();
    });
    refused(&house, "two schemes");
}
