//! What notes of a release may say, what of them is refused, and that no box refuses a release for them.

use homeward_protocol::release::Custom;
use homeward_protocol::release::notes::*;
use homeward_protocol::release::pushable::Pushable;
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::metadata::targets::Target;
use proptest::prelude::*;
use serde::Deserialize;
use serde_json::{Value, json};

const TEXT: &str = include_str!("notes/agent.toml");

fn notes() -> Notes {
    read(TEXT).expect("notes")
}

fn languages(tags: &[&str]) -> Vec<Language> {
    tags.iter().map(|tag| tag.parse().expect("a tag")).collect()
}

#[test]
fn what_is_written_is_what_is_read() {
    assert_eq!(Notes::of_target(Some(&notes().to_json())), Ok(Some(notes())));
    assert_eq!(Notes::of_target(None), Ok(None));
    for reader in Reader::ALL {
        assert_eq!(notes().of(reader).len(), LANGUAGES.len());
    }
}

#[test]
fn a_reader_gets_the_first_language_that_is_there_and_else_the_common_one() {
    let said = |tags: &[&str]| {
        let notes = notes();
        let (language, _) = notes.text(Reader::Patient, &languages(tags)).expect("a text");
        language.to_string()
    };
    assert_eq!(said(&["fr"]), "fr");
    assert_eq!(said(&["de-AT", "fr"]), "de");
    assert_eq!(said(&["pl", "nl"]), "nl");
    assert_eq!(said(&["pl"]), "en");
    assert_eq!(said(&[]), "en");
}

#[test]
fn each_fault_of_a_document_is_refused_and_says_where() {
    let long = "x".repeat(MAX_NOTE + 1);
    for (staff, said) in [
        ("de = 'Nur deutsch.'".to_owned(), "staff: a text in `en`"),
        ("en = 'a'\npl = 'b'".to_owned(), "staff.pl: the languages are"),
        ("en = 'a'\nEN = 'b'".to_owned(), "a tag like `en`"),
        ("en = ''".to_owned(), "1 to 500"),
        (format!("en = '{long}'"), "1 to 500"),
        ("en = \"two\\nlines\"".to_owned(), "1 to 500"),
        ("en = \"\\u001b[2J\"".to_owned(), "1 to 500"),
        ("en = \"turned \\u202earound\"".to_owned(), "1 to 500"),
        ("en = 1".to_owned(), "it holds no notes"),
    ] {
        let refused = read(&format!("[staff]\n{staff}\n[patient]\nen = 'a'\n"));
        let refused = refused.expect_err(&staff).to_string();
        assert!(refused.contains(said), "{staff}: {refused}");
    }
    assert!(read("[staff]\nen = 'a'\n").is_err());
    assert!(read("[staff]\nen = 'a'\n[patient]\nen = 'a'\n[doctor]\nen = 'a'").is_err());
    assert_eq!(
        read(&" ".repeat(MAX_NOTES + 1)),
        Err(NotesError::TooLong(MAX_NOTES + 1))
    );
    assert!(read(&format!("[staff]\nen = '{}'\n[patient]\nen = 'a'", &long[1..])).is_ok());
}

#[test]
fn what_a_later_release_desk_writes_is_read() {
    let mut later = notes().to_json();
    later["staff"]["pl"] = json!("Nic nie trzeba robić.");
    later["family"] = json!({ "en": "Nothing to do." });
    let read = Notes::of_target(Some(&later)).expect("reads").expect("notes");
    let polish = languages(&["pl"]);
    let (language, note) = read.text(Reader::Staff, &polish).expect("a text");
    assert_eq!(
        (language.as_str(), note.as_str()),
        ("pl", "Nic nie trzeba robić.")
    );
}

/// What the first boxes read of a target, and how strictly: they refuse what they do not know in it.
#[derive(Debug, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
struct FirstCustom {
    installer: String,
    hw: Vec<String>,
    version: String,
    min_version: Option<String>,
    disruption: String,
    security_floor: String,
}

fn target(notes: Option<Value>) -> Target {
    Target {
        length: 1,
        hashes: Hashes::sha256([7; 32]),
        custom: Some(json!({
            "installer": "agent-slot", "hw": ["x86_64"], "version": "1.4.0", "disruption": "agent-restart",
            "security_floor": "1.3.0",
        })),
        notes,
    }
}

#[test]
fn a_box_takes_a_release_whatever_its_notes_are_and_one_before_there_were_notes_does_too() {
    let path = "agent/1.4.0".parse().expect("a path");
    let without = Pushable::of(&path, &target(None)).expect("software");
    for notes in [
        notes().to_json(),
        json!("nonsense"),
        json!({ "staff": 7 }),
        json!(null),
    ] {
        let with = target(Some(notes));
        assert_eq!(Pushable::of(&path, &with).as_ref(), Ok(&without));
        let custom = with.custom.expect("a custom");
        assert!(FirstCustom::deserialize(&custom).is_ok());
        assert!(Custom::read(Some(&custom)).is_ok());
    }
    // Why they stand beside it: within it, the first boxes would refuse the release.
    let mut within = target(None).custom.expect("a custom");
    within["notes"] = notes().to_json();
    assert!(FirstCustom::deserialize(&within).is_err() && Custom::read(Some(&within)).is_err());
}

proptest! {
    #[test]
    fn strange_texts_end_in_an_answer(text in "\\PC{0,300}") {
        let _ = read(&text);
        if let Ok(Some(read)) = Notes::of_target(Some(&json!({ "staff": { "en": text }, "patient": { "en": "a" } }))) {
            prop_assert_eq!(Notes::of_target(Some(&read.to_json())), Ok(Some(read)));
        }
        let _ = text.parse::<Language>();
    }
}
