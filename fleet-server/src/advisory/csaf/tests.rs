use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;

/// A whole document with one product and one vulnerability.
fn document() -> Value {
    json!({
        "document": {
            "category": "csaf_security_advisory", "csaf_version": "2.0", "title": "Pacers",
            "publisher": { "category": "vendor", "name": "Acme", "namespace": "https://acme.example" },
            "tracking": {
                "id": "ACME-1", "version": "2", "status": "final", "current_release_date": "2026-11-01T10:30:00.250+02:00"
            }
        },
        "product_tree": { "branches": [ { "category": "vendor", "name": "Acme Medical", "branches": [
            { "category": "product_name", "name": "Pacer 7", "branches": [
                { "category": "product_version", "name": "1.0", "product": { "name": "Pacer 7 1.0", "product_id": "P1" } },
                { "category": "product_version_range", "name": "<1.0", "product": { "name": "Pacer 7 <1.0", "product_id": "P0" } }
            ] } ] } ],
            "product_groups": [ { "group_id": "G", "product_ids": ["P0"] } ],
            "relationships": [ {
                "category": "installed_on", "product_reference": "P1", "relates_to_product_reference": "P0",
                "full_product_name": { "name": "both", "product_id": "P2" }
            } ] },
        "vulnerabilities": [ {
            "cve": "CVE-2026-1", "notes": [ { "category": "summary", "text": "It\u{202e} listens\n to  all." } ],
            "product_status": { "known_affected": ["P0"], "fixed": ["P1"], "known_not_affected": ["P0"] },
            "scores": [ { "products": ["P0"], "cvss_v3": { "baseScore": 9.3 } } ],
            "remediations": [ { "category": "vendor_fix", "details": "Update.", "group_ids": ["G"] } ]
        } ]
    })
}

fn of(document: &Value) -> Result<Advisory, CsafError> {
    read(document.to_string().as_bytes())
}

#[test]
fn what_decides_or_is_shown_is_read() {
    let advisory = of(&document()).expect("reads");
    assert_eq!(advisory.id, "ACME-1");
    assert_eq!(advisory.released.to_string(), "2026-11-01T08:30:00Z");
    let products: Vec<_> = advisory
        .products
        .iter()
        .map(|one| (one.id.as_str(), one.name.as_str(), one.is_exact))
        .collect();
    // What is one with another is known by the names of both.
    assert_eq!(
        products,
        [
            ("P1", "Pacer 7", true),
            ("P0", "Pacer 7", false),
            ("P2", "Pacer 7", false),
            ("P2", "Pacer 7", false)
        ]
    );
    let flaw = &advisory.flaws[0];
    assert_eq!(flaw.summary, "It listens to all.");
    // Who says two things of one product has said the worse.
    assert_eq!(flaw.status["P0"], Status::Affected);
    assert_eq!(flaw.status["P1"], Status::Clear);
    let affected = BTreeSet::from(["P0".to_owned()]);
    assert_eq!(
        flaw.score(&affected).map(|score| score.to_string()).as_deref(),
        Some("9.3 (critical)")
    );
    assert!(flaw.remedies[0].is_for(&affected));
    assert!(!flaw.remedies[0].is_for(&BTreeSet::from(["P1".to_owned()])));
}

#[test]
fn what_cannot_be_said_whom_it_is_about_is_refused() {
    let cases: &[(&str, Value, &str)] = &[
        ("/document/csaf_version", json!("2.1"), "it is of CSAF 2.1"),
        ("/document/tracking/status", json!("draft"), "it is a draft"),
        (
            "/document/tracking/version",
            json!("one"),
            "document.tracking.version",
        ),
        (
            "/document/tracking/version",
            json!("1.2"),
            "document.tracking.version",
        ),
        ("/document/tracking/id", json!(" ACME-1"), "document.tracking.id"),
        (
            "/document/tracking/current_release_date",
            json!("yesterday"),
            "current_release_date",
        ),
        (
            "/document/publisher/namespace",
            json!(""),
            "document.publisher.namespace",
        ),
        ("/document/title", json!("a\u{200b}b"), "document.title"),
        (
            "/product_tree/branches/0/branches/0/branches/0/product/product_id",
            json!("P0"),
            "P0: a product is described once",
        ),
        (
            "/product_tree/relationships/0/relates_to_product_reference",
            json!("PX"),
            "before it is named (6.1.1)",
        ),
        (
            "/product_tree/relationships/0/full_product_name/product_id",
            json!("P1"),
            "P1: a product is described once",
        ),
        (
            "/vulnerabilities/0/product_status/fixed/0",
            json!("PX"),
            "PX: a product is described before",
        ),
        (
            "/product_tree/branches/0/name",
            json!(7),
            "it is no CSAF document",
        ),
    ];
    for (at, value, why) in cases {
        let mut changed = document();
        *changed.pointer_mut(at).expect(at) = value.clone();
        let said = of(&changed).expect_err(at).to_string();
        assert!(said.contains(why), "{at}: {said}");
    }
    assert_eq!(
        read(&vec![b' '; MAX_DOCUMENT + 1]),
        Err(CsafError::TooLong(MAX_DOCUMENT + 1))
    );
}

#[test]
fn revisions_have_an_order() {
    let revision = |text: &str| Revision::read(text).expect(text);
    for (earlier, later) in [("1", "2"), ("9", "10"), ("1.2.9", "1.10.0"), ("1.0.0-2", "1.0.1")] {
        assert!(revision(later).is_after(&revision(earlier)));
        assert!(!revision(earlier).is_after(&revision(later)));
    }
    assert!(!revision("1.0.0+b").is_after(&revision("1.0.0")));
}

#[test]
fn a_document_that_nests_without_end_is_refused() {
    let deep = format!(
        "{}{}{}",
        r#"{"product_tree":{"branches":["#,
        r#"{"category":"vendor","name":"a","branches":["#.repeat(50_000),
        "]}".repeat(50_000)
    );
    assert!(matches!(read(deep.as_bytes()), Err(CsafError::Form(_))));
}

proptest! {
    /// Whatever is put in the place of one value, the reader ends, and says what it read or why not.
    #[test]
    fn no_value_in_any_place_makes_it_panic(n in any::<prop::sample::Index>(), put in prop_oneof![
        Just(json!(null)), Just(json!([])), Just(json!({})), Just(json!(-1)), Just(json!(1e308)), Just(json!("")),
        Just(json!("P0")), ".{0,600}".prop_map(Value::from),
    ]) {
        fn places(value: &Value, at: String, all: &mut Vec<String>) {
            match value {
                Value::Object(map) => map.iter().for_each(|(key, below)| places(below, format!("{at}/{key}"), all)),
                Value::Array(list) => list.iter().enumerate().for_each(|(n, below)| places(below, format!("{at}/{n}"), all)),
                _ => {}
            }
            all.push(at);
        }
        let (mut changed, mut all) = (document(), Vec::new());
        places(&changed, String::new(), &mut all);
        *changed.pointer_mut(n.get(all.as_slice()).as_str()).expect("a place") = put;
        let _ = of(&changed);
    }
}
