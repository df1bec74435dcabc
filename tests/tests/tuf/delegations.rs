//! Parts that were handed to somebody.

use homeward_protocol::tuf::MAX_ROLES;
use homeward_tests::tuf::forge::{Forge, Ours};
use homeward_tests::tuf::house::House;

use crate::scenarios;

scenarios!(
    test_unusual_role_name,
    test_graph_traversal,
    test_targetfile_search,
    test_cached_role_is_verified_against_current_delegator,
    test_delegation_not_in_snapshot,
);

/// Files of delegated roles that were fetched, without versions.
fn visited(house: &House) -> Vec<String> {
    let asked = house.metadata.asked();
    let names = asked
        .iter()
        .filter_map(|name| name.split_once('.')?.1.strip_suffix(".json"));
    names
        .filter(|name| !matches!(*name, "root" | "snapshot" | "targets"))
        .map(str::to_owned)
        .collect()
}

fn test_unusual_role_name(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    for (name, quoted) in [
        ("?", "%3F"),
        ("#", "%23"),
        ("/pumps", "%2Fpumps"),
        ("../pumps", "..%2Fpumps"),
        ("ö.json", "%C3%B6.json"),
        ("%41", "%2541"),
    ] {
        house.delegate("targets", name, &["*"], false);
        house.publish_all(&[name, "targets", "snapshot", "timestamp"]);
        assert!(house.get("no-such-target").is_err());
        assert!(visited(&house).contains(&quoted.to_owned()), "{name}");
        assert_eq!(house.believes(name), Some(1), "{name}");
        assert!(house.disk.names().contains(&format!("{quoted}.json")), "{name}");
    }
}

/// Delegations (from, to, pattern, terminating), and the order in which roles are asked for `missing`.
type Graph = (
    &'static str,
    &'static [(&'static str, &'static str, &'static str, bool)],
    &'static [&'static str],
);

const GRAPHS: &[Graph] = &[
    ("one", &[("targets", "A", "*", false)], &["A"]),
    (
        "two beside each other",
        &[("targets", "A", "*", false), ("targets", "B", "*", false)],
        &["A", "B"],
    ),
    (
        "two levels",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
        ],
        &["A", "B", "C"],
    ),
    (
        "depth first",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", false),
            ("A", "D", "*", false),
        ],
        &["A", "C", "D", "B"],
    ),
    (
        "three levels, depth first",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", false),
            ("C", "D", "*", false),
        ],
        &["A", "C", "D", "B"],
    ),
    (
        "a terminating one ends it",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", true),
            ("A", "D", "*", false),
        ],
        &["A", "C"],
    ),
    (
        "below a terminating one it goes on",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", true),
            ("C", "D", "*", false),
        ],
        &["A", "C", "D"],
    ),
    (
        "a terminating one for other paths ends nothing",
        &[("targets", "A", "*.py", true), ("targets", "B", "*", false)],
        &["B"],
    ),
    (
        "other paths",
        &[
            ("targets", "A", "*.py", false),
            ("targets", "B", "*", false),
            ("A", "C", "*", false),
        ],
        &["B"],
    ),
    (
        "other paths below",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("A", "C", "*.py", false),
            ("C", "D", "*", false),
        ],
        &["A", "B"],
    ),
    (
        "a ring",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
            ("C", "D", "*", false),
            ("D", "B", "*", false),
        ],
        &["A", "B", "C", "D"],
    ),
    (
        "two hand to a third",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
            ("A", "C", "*", false),
        ],
        &["A", "C", "B"],
    ),
    (
        "one of two for other paths",
        &[
            ("targets", "A", "*", false),
            ("targets", "B", "*", false),
            ("B", "C", "*", false),
            ("A", "C", "*.py", false),
        ],
        &["A", "B", "C"],
    ),
];

fn test_graph_traversal(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    for (what, edges, order) in GRAPHS {
        for role in ["A", "B", "C", "D", "targets"] {
            if let Some(doc) = house
                .docs
                .get_mut(role)
                .and_then(serde_json::Value::as_object_mut)
            {
                doc.remove("delegations");
            }
        }
        let mut roles = vec![];
        for (by, name, pattern, terminating) in *edges {
            house.delegate(by, name, &[pattern], *terminating);
            roles.push(*name);
        }
        roles.sort_unstable();
        roles.dedup();
        house.publish_all(&roles);
        house.publish_all(&["targets", "snapshot", "timestamp"]);
        assert!(house.get("missing").is_err(), "{what}");
        assert_eq!(visited(&house), *order, "{what}");
        assert!(house.get("missing").is_err(), "{what}");
        assert_eq!(
            visited(&house),
            [""; 0],
            "{what}: what is kept is not fetched again"
        );
    }
}

fn test_targetfile_search(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.delegate("targets", "A", &["*.doc", "*.md"], false);
    house.delegate("targets", "B", &["releases/*/*"], false);
    house.delegate("B", "C", &["releases/x/*"], false);
    house.delegate("B", "D", &["releases/y/*.zip"], false);
    for (role, path) in [
        ("targets", "top"),
        ("A", "README.md"),
        ("C", "releases/x/x_v1"),
        ("D", "releases/y/y_v1.zip"),
        ("D", "releases/z/z_v1.zip"),
        ("A", "top"),
    ] {
        house.add_target(role, path, format!("{path} by {role}").as_bytes());
    }
    house.add_target("targets", "top", b"top by targets");
    house.publish_all(&["A", "B", "C", "D", "targets", "snapshot", "timestamp"]);
    for (path, by, order) in [
        ("top", Some("targets"), &[][..]),
        ("README.md", Some("A"), &["A"]),
        ("releases/x/x_v1", Some("C"), &["B", "C"]),
        ("releases/y/y_v1.zip", Some("D"), &["D"]),
        ("releases/z/z_v1.zip", None, &[]),
    ] {
        let got = house.get(path);
        assert_eq!(
            got.ok(),
            by.map(|by| format!("{path} by {by}").into_bytes()),
            "{path}"
        );
        assert_eq!(visited(&house), order, "{path}");
    }
}

fn test_cached_role_is_verified_against_current_delegator(forge: Box<dyn Forge>) {
    // The delegator took the key away: what the box kept of the old holder is worth nothing.
    let mut house = House::new(forge);
    house.delegate("targets", "pumps", &["pumps/*"], true);
    house.add_target("pumps", "pumps/a", b"by the old holder");
    house.publish_all(&["pumps", "targets", "snapshot", "timestamp"]);
    house.get("pumps/a").expect("the old holder's");
    let old = house.signers["pumps"].clone();
    house.delegate_to("targets", "pumps", &["pumps/*"], true, &[77]);
    house.signers.insert("pumps".into(), old);
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    let refused = house.get("pumps/a").expect_err("the key counts no more");
    assert!(refused.contains("signed by 0"), "{refused}");
    house.let_sign("pumps", &[77]);
    house.add_target("pumps", "pumps/a", b"by the new holder");
    house.publish_all(&["pumps", "snapshot", "timestamp"]);
    assert_eq!(
        house.get("pumps/a").as_deref(),
        Ok(b"by the new holder".as_slice())
    );
}

/// Two roles hand the same one on, each to another key: what one of them believes says nothing for the other, also when one
/// client looks for both.
#[test]
fn a_role_of_two_delegators_is_held_against_each_of_them() {
    let mut house = House::new(Box::new(Ours));
    house.delegate("targets", "north", &["*/*"], false);
    house.delegate("targets", "south", &["*/*"], false);
    house.delegate("north", "pumps", &["north/*"], true);
    house.delegate_to("north", "pumps", &["north/*"], true, &[77]);
    house.delegate_to("south", "pumps", &["south/*"], true, &[78]);
    house.let_sign("pumps", &[77]);
    house.add_target("pumps", "north/a", b"a");
    house.add_target("pumps", "south/b", b"b");
    house.publish_all(&["pumps", "north", "south", "targets", "snapshot", "timestamp"]);
    assert_eq!(house.get("north/a").as_deref(), Ok(b"a".as_slice()));
    let looked = house.look(&["north/a", "south/b"]);
    assert_eq!(looked[0], Ok(true));
    let refused = looked[1].clone().expect_err("south trusts another key");
    assert!(refused.contains("signed by 0"), "{refused}");
}

fn test_delegation_not_in_snapshot(forge: Box<dyn Forge>) {
    let mut house = House::new(forge);
    house.delegate("targets", "pumps", &["pumps/*"], true);
    house.add_target("pumps", "pumps/a", b"a");
    house.publish("pumps");
    house.publish("targets");
    house.doc("snapshot")["meta"]
        .as_object_mut()
        .expect("a list")
        .remove("pumps.json");
    house.publish_rest();
    assert!(house.get("pumps/a").is_err());
    assert_eq!(visited(&house), [""; 0]);
    assert_eq!(house.all(), [1, 2, 2, 2], "the rest holds");
}

/// A wide fan of delegations costs a bounded number of fetches.
#[test]
fn at_most_so_many_roles_are_asked() {
    let mut house = House::new(Box::new(Ours));
    let names: Vec<String> = (0..60).map(|n| format!("r{n}")).collect();
    for (at, name) in names.iter().enumerate() {
        // Each with the same few keys: the test has no more numbers.
        let number = 200 + u8::try_from(at % 5).expect("small");
        house.delegate_to("targets", name, &["*"], false, &[number]);
        let doc = house
            .forge()
            .blank("targets", homeward_tests::tuf::house::START.plus_ms(86_400_000));
        house.docs.insert(name.clone(), doc);
        house.publish(name);
    }
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    assert!(house.get("missing").is_err());
    assert_eq!(visited(&house).len(), MAX_ROLES - 1);
}
