//! What a dossier may say, and what of it is refused.

use homeward_protocol::release::dossier::*;
use homeward_protocol::release::pushable::{NotPushable, Pushable};
use homeward_protocol::release::{DIRECTOR_KEY, Installer, REFERENCE_KEY};
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::metadata::targets::Target;
use proptest::prelude::*;
use serde_json::{Value, json};

const TEXT: &str = r#"
form = "homeward/dossier/1"
name = "gmp251-drift"
version = "1.0.0"
maker = "Vaisala"
model = "GMP251"
profiles = ["vaisala-gmp251"]
class = "sensor"
before = ["1.0.2", "1.0.3"]
after = "1.1.0"
by = "nurse-at-home"
steps = ["Unplug the probe.", "Hold the key for 5 s."]
worked = "The display shows 1.1.0."
risk = { without = "The air may be worse than shown.", with = "No readings for ten minutes." }

[file]
name = "gmp251-1.1.0.bin"
bytes = 4096
sha256 = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff"
"#;

fn dossier() -> Dossier {
    read(TEXT).expect("a dossier")
}

/// With something else at a place.
fn with(place: &str, value: Value) -> Value {
    let mut json = serde_json::to_value(dossier()).expect("JSON");
    *json.pointer_mut(place).expect(place) = value;
    json
}

#[test]
fn what_is_written_is_what_is_read() {
    let bytes = dossier().to_bytes().expect("bytes");
    assert_eq!(Dossier::decode(&bytes), Ok(dossier()));
    assert_eq!(dossier().path(), "dossier/gmp251-drift/1.0.0");
    assert!(dossier().path().starts_with(DOSSIER_FOLDER));
}

#[test]
fn the_same_in_other_bytes_is_refused() {
    let bytes = dossier().to_bytes().expect("bytes");
    let pretty = serde_json::to_vec_pretty(&dossier()).expect("JSON");
    assert_eq!(Dossier::decode(&pretty), Err(DossierError::NotCanonical));
    let mut longer = bytes.clone();
    longer.push(b'\n');
    assert_eq!(Dossier::decode(&longer), Err(DossierError::NotCanonical));
    for end in 0..bytes.len() {
        assert!(Dossier::decode(&bytes[..end]).is_err(), "{end} bytes of it");
    }
    let huge = vec![b' '; MAX_DOSSIER + 1];
    assert_eq!(
        Dossier::decode(&huge),
        Err(DossierError::TooLong(MAX_DOSSIER + 1))
    );
    assert!(matches!(
        read(&" ".repeat(MAX_DOSSIER + 1)),
        Err(DossierError::TooLong(_))
    ));
}

#[test]
fn each_rule_names_the_place_that_breaks_it() {
    let hidden = json!("Turn \u{202e}it around.");
    for (place, value, said) in [
        ("/form", json!("homeward/dossier/2"), "form"),
        ("/name", json!("../agent"), "name"),
        ("/maker", json!(""), "maker"),
        ("/model", json!(" GMP251"), "model"),
        ("/profiles", json!(["Vaisala"]), "profiles"),
        ("/before", json!(["1.1.0"]), "before"),
        ("/risk/without", json!("a\nb"), "risk.without"),
        ("/risk/with", hidden.clone(), "risk.with"),
        ("/worked", json!("x".repeat(MAX_WORDS + 1)), "worked"),
        ("/steps", json!([]), "steps"),
        ("/steps", json!(vec!["a"; MAX_STEPS + 1]), "steps"),
        ("/steps/1", hidden, "steps[1]"),
        ("/class", json!("implant"), "by"),
        ("/file/name", json!("../x"), "file.name"),
        ("/file/sha256", json!("00"), "file.sha256"),
        ("/file/bytes", json!(0), "file.bytes"),
    ] {
        let odd: Dossier = serde_json::from_value(with(place, value)).expect("of the form");
        let Err(DossierError::Rule { place: at, .. }) = odd.check() else {
            panic!("{place} is taken");
        };
        assert_eq!(at, said);
        assert!(odd.to_bytes().is_err(), "{place} would be signed");
    }
    for (place, value) in [
        ("/class", json!("pacemaker")),
        ("/by", json!("anybody")),
        ("/after", json!("")),
        ("/version", json!("1.0")),
    ] {
        assert!(
            serde_json::from_value::<Dossier>(with(place, value)).is_err(),
            "{place}"
        );
    }
    let error = read(&format!("{TEXT}\nmore = 1"))
        .expect_err("refused")
        .to_string();
    assert!(error.contains("more"), "{error}");
}

#[test]
fn it_is_for_devices_of_its_profile_that_lack_what_it_brings() {
    let one = dossier();
    assert!(one.is_for("vaisala-gmp251", None));
    assert!(one.is_for("vaisala-gmp251", Some("1.0.2 ")));
    assert!(!one.is_for("vaisala-gmp251", Some("1.1.0")));
    assert!(
        !one.is_for("vaisala-gmp251", Some("0.9")),
        "none of those that it is for"
    );
    assert!(!one.is_for("blood-pressure", None));
    let any = Dossier {
        before: vec![],
        ..dossier()
    };
    assert!(any.is_for("vaisala-gmp251", Some("0.9")) && !any.is_for("vaisala-gmp251", Some("1.1.0")));
}

#[test]
fn what_acts_or_lies_in_the_body_is_seen_by_two() {
    let two: Vec<&str> = Class::ALL
        .into_iter()
        .filter(|class| class.needs_two())
        .map(Class::name)
        .collect();
    assert_eq!(two, ["actuator", "implant"]);
    for class in Class::ALL {
        assert_eq!(serde_json::to_value(class).ok(), Some(json!(class.name())));
    }
    for by in Performer::ALL {
        assert_eq!(serde_json::to_value(by).ok(), Some(json!(by.name())));
    }
}

proptest! {
    #[test]
    fn any_change_of_a_byte_is_another_dossier_or_none(at in 0usize..900, bit in 0u8..8) {
        let bytes = dossier().to_bytes().expect("bytes");
        let mut odd = bytes.clone();
        let place = at % odd.len();
        odd[place] ^= 1 << bit;
        if let Ok(read) = Dossier::decode(&odd) {
            prop_assert_ne!(&read, &dossier());
            prop_assert_eq!(read.to_bytes().expect("bytes"), odd);
        }
    }

    #[test]
    fn strange_bytes_end_in_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        if let Ok(read) = Dossier::decode(&bytes) {
            prop_assert_eq!(read.to_bytes().expect("bytes"), bytes);
        }
    }
}

/// A target with what it says of itself.
fn target(custom: Value) -> Target {
    Target {
        length: 1,
        hashes: Hashes::sha256([7; 32]),
        custom: Some(custom),
        notes: None,
    }
}

#[test]
fn a_device_s_firmware_has_no_proof_that_it_may_be_pushed_whatever_it_calls_itself() {
    let says = |installer: &str| {
        json!({
            "installer": installer, "hw": ["x86_64"], "version": "1.4.0", "disruption": "none", "security_floor": "1.0.0",
        })
    };
    let of = |path: &str, custom: Value| Pushable::of(&path.parse().expect("a path"), &target(custom));
    for installer in Installer::ALL.map(Installer::name) {
        let inside = of("dossier/pacer/1.0.0", says(installer));
        assert_eq!(inside, Err(NotPushable::ByAPerson("dossier/pacer/1.0.0".into())));
        let outside = of("agent/1.4.0", says(installer));
        assert_eq!(outside.is_ok(), installer != "dossier", "{installer}");
    }
    for path in [DIRECTOR_KEY, REFERENCE_KEY, "homeward/reference/1.rim"] {
        assert!(matches!(
            of(path, says("apt")),
            Err(NotPushable::Undescribed(_, "it is no software"))
        ));
    }
    assert!(of("agent/1.4.0", json!({ "installer": "apt" })).is_err());
    let nothing = Target {
        custom: None,
        ..target(json!(1))
    };
    assert!(Pushable::of(&"agent/1.4.0".parse().expect("a path"), &nothing).is_err());
}
