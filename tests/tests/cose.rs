//! The published `COSE_Sign1` vectors: what our profile takes verifies, what is wrong or outside of it is refused.
#![expect(clippy::disallowed_methods, reason = "shell: tests read the vectors")]

use std::fs;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::signed::tagged::Tagged;
use homeward_tests::shared;
use serde_json::Value;

/// Each vector, whether we take it, and why not.
const TABLE: [(&str, bool, &str); 16] = [
    ("CWT-A_3", true, ""),
    ("ecdsa-sig-01", true, ""),
    ("ecdsa-sig-02", false, "ES384: outside our profile"),
    ("ecdsa-sig-03", false, "ES512: outside our profile"),
    ("ecdsa-sig-04", false, "ES512: outside our profile"),
    ("eddsa-sig-01", false, "EdDSA: outside our profile"),
    ("eddsa-sig-02", false, "EdDSA: outside our profile"),
    (
        "sign-pass-01",
        false,
        "the algorithm is not protected: the one known divergence, ours by choice",
    ),
    ("sign-pass-02", true, ""),
    ("sign-pass-03", false, "no tag: outside our profile"),
    ("sign-fail-01", false, "another tag"),
    ("sign-fail-02", false, "changed"),
    ("sign-fail-03", false, "algorithm -999"),
    ("sign-fail-04", false, "algorithm `unknown`"),
    ("sign-fail-06", false, "a protected attribute added"),
    ("sign-fail-07", false, "a protected attribute removed"),
];

fn bytes(hex: &str) -> Vec<u8> {
    let digit = |c: u8| {
        char::from(c)
            .to_digit(16)
            .and_then(|d| u8::try_from(d).ok())
            .expect("hex")
    };
    hex.as_bytes()
        .chunks(2)
        .map(|pair| digit(pair[0]) << 4 | digit(pair[1]))
        .collect()
}

/// A coordinate, which the files write in hex or in base64url.
fn coordinate(key: &Value, name: &str) -> Option<Vec<u8>> {
    let hex = key[format!("{name}_hex")].as_str().map(bytes);
    hex.or_else(|| URL_SAFE_NO_PAD.decode(key[name].as_str()?).ok())
}

fn verifies(vector: &Value) -> bool {
    let message = bytes(vector["output"]["cbor"].as_str().expect("a message"));
    let sign0 = &vector["input"]["sign0"];
    let external = sign0["external"].as_str().map(bytes).unwrap_or_default();
    let key = || {
        let (x, y) = (coordinate(&sign0["key"], "x")?, coordinate(&sign0["key"], "y")?);
        PublicKey::from_point(&[vec![4], x, y].concat())
    };
    let (Ok(tagged), Some(key)) = (Tagged::parse(&message, 4096), key()) else {
        return false;
    };
    tagged.verify(&key, &external).is_ok()
}

#[test]
fn the_published_vectors_are_taken_or_refused_as_the_table_says() {
    let Some(folder) = shared::data("data/cose") else {
        return;
    };
    for (name, taken, why) in TABLE {
        let text = fs::read(folder.join(format!("{name}.json"))).expect("a vector");
        let vector: Value = serde_json::from_slice(&text).expect("JSON");
        assert_eq!(verifies(&vector), taken, "{name}: {why}");
        let wrong = vector["fail"].as_bool().unwrap_or(false);
        assert!(!(wrong && taken), "{name} is published as wrong");
    }
    let files = fs::read_dir(&folder).expect("the folder").filter_map(Result::ok);
    let vectors = files
        .filter(|f| f.path().extension().is_some_and(|e| e == "json"))
        .count();
    assert_eq!(vectors, TABLE.len(), "every vector stands in the table");
}
