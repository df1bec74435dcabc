//! Drafts: who may do what in which order, what a draft starts from, and how texts differ.

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::policy::points::Rule;
use homeward_protocol::time::Timestamp;
use proptest::prelude::*;

use super::begin::{empty, next};
use super::lines::{Line, differ};
use super::text::{ContentDigest, Text, TextDigest};
use super::{Act, Draft, MAX_REVISIONS, State, Wrong};
use crate::policy::tests::{NOON, policy};

const NOW: Timestamp = Timestamp::synced(NOON);

fn text(of: &str) -> Text {
    Text::parse(of).expect("short")
}

/// A document without a fault; `n` makes it another one.
fn sound(n: u8) -> Text {
    let login = if n.is_multiple_of(2) { "no" } else { "yes" };
    let written = toml::to_string(&policy(u64::from(n) + 1, "\"all\"", login)).expect("a document");
    text(&written)
}

/// The same policy in other words.
fn commented(of: &Text) -> Text {
    text(&format!("# read me\n{}", of.as_str()))
}

fn save(draft: &Draft, of: &Text) -> Act {
    Act::Save {
        over: draft.revision,
        text: of.digest(),
        content: of.content(),
    }
}

fn ask(draft: &Draft) -> Act {
    Act::Ask {
        revision: draft.revision,
    }
}

fn approve(of: &Text) -> Act {
    Act::Approve { digest: of.digest() }
}

fn back(of: &Text) -> Act {
    Act::Return {
        digest: of.digest(),
        why: "the hazard is another one".into(),
    }
}

fn bring(of: &Text, version: u64) -> Act {
    Act::Bring {
        content: of.content().expect("sound"),
        version,
    }
}

fn drop_it() -> Act {
    Act::Drop {
        why: "too late".into(),
    }
}

fn done(draft: &Draft, act: &Act, by: &str) -> Draft {
    draft
        .after(act, by, NOW)
        .unwrap_or_else(|why| panic!("{by} cannot {act:?}: {why}"))
}

/// One by Ann, in each of its states, with its text.
fn states() -> (Text, BTreeMap<&'static str, Draft>) {
    let one = sound(0);
    let writing = Draft::begun(&one, "ann");
    let asked = done(&writing, &ask(&writing), "ann");
    let reviewed = done(&asked, &approve(&one), "ben");
    let signed = done(&reviewed, &bring(&one, 1), "ann");
    let dropped = done(&asked, &drop_it(), "ann");
    let all = [writing, asked, reviewed, signed, dropped];
    (
        one,
        all.into_iter().map(|draft| (draft.state.name(), draft)).collect(),
    )
}

#[test]
fn a_draft_goes_from_its_author_over_a_second_person_to_its_signatures() {
    let (one, states) = states();
    assert_eq!(
        states.keys().copied().collect::<Vec<_>>(),
        ["asked", "dropped", "reviewed", "signed", "writing"]
    );
    let State::Reviewed(reader, read) = &states["reviewed"].state else {
        panic!("{:?}", states["reviewed"])
    };
    assert_eq!((reader.by.as_str(), *read), ("ben", one.digest()));
    assert_eq!(states["reviewed"].read, Some(1));
    let State::Signed(_, 1) = &states["signed"].state else {
        panic!("{:?}", states["signed"])
    };
}

#[test]
fn every_wrong_order_is_refused_and_says_why() {
    let (one, states) = states();
    let other = sound(2);
    let newest = states["writing"].revision;
    let acts = [
        ("save", save(&states["writing"], &other)),
        ("ask", ask(&states["writing"])),
        ("approve", approve(&one)),
        ("return", back(&one)),
        ("bring", bring(&one, 1)),
        ("drop", drop_it()),
    ];
    let mut refused = BTreeMap::new();
    for (name, draft) in &states {
        for (act, what) in &acts {
            if let Err(why) = draft.after(what, "ben", NOW) {
                refused.insert((*name, *act), why);
            }
        }
    }
    let mut expected = BTreeMap::from([
        (("writing", "approve"), Wrong::NotAsked),
        (("writing", "return"), Wrong::NotAsked),
        (("writing", "bring"), Wrong::NotReviewed),
        (("asked", "ask"), Wrong::AskedBefore),
        (("asked", "bring"), Wrong::NotReviewed),
        (("reviewed", "ask"), Wrong::AskedBefore),
        (("reviewed", "approve"), Wrong::AskedBefore),
    ]);
    for (act, _) in &acts {
        expected.insert(("signed", *act), Wrong::Signed(1));
        expected.insert(("dropped", *act), Wrong::Dropped);
    }
    assert_eq!(refused, expected);

    // Nobody reads over the own shoulder, whoever asked.
    let asked = &states["asked"];
    assert_eq!(asked.after(&approve(&one), "ann", NOW), Err(Wrong::OwnWork));
    // What was read is what counts, not what somebody thinks was read.
    assert_eq!(asked.after(&approve(&other), "ben", NOW), Err(Wrong::OtherText));
    assert_eq!(
        asked.after(&approve(&commented(&one)), "ben", NOW),
        Err(Wrong::OtherText),
        "also when it says the same"
    );
    assert_eq!(asked.after(&back(&other), "ben", NOW), Err(Wrong::OtherText));
    let reviewed = &states["reviewed"];
    assert_eq!(
        reviewed.after(&bring(&other, 1), "ann", NOW),
        Err(Wrong::OtherContent)
    );
    // Over an older revision nothing is written, and what is there already is no edit.
    let stale = Act::Save {
        over: newest - 1,
        text: other.digest(),
        content: other.content(),
    };
    assert_eq!(
        asked.after(&stale, "cleo", NOW),
        Err(Wrong::Newer { newest }),
        "a newer one is there"
    );
    assert_eq!(done(reviewed, &save(reviewed, &one), "cleo"), *reviewed);
    // What has faults is kept, and goes nowhere.
    let faulty = Draft::begun(&text("name = "), "ann");
    assert_eq!(faulty.after(&ask(&faulty), "ann", NOW), Err(Wrong::Faulty));
    let full = Draft {
        revision: MAX_REVISIONS,
        ..states["writing"].clone()
    };
    assert_eq!(full.after(&save(&full, &other), "ann", NOW), Err(Wrong::Full));
}

#[test]
fn an_edit_voids_the_review_and_makes_whoever_edits_an_author() {
    let (one, states) = states();
    let edited = done(
        &states["reviewed"],
        &save(&states["reviewed"], &commented(&one)),
        "ben",
    );
    assert_eq!(edited.state, State::Writing(None));
    assert_eq!((edited.revision, edited.read), (2, Some(1)));
    assert_eq!(
        edited.after(&bring(&one, 1), "ann", NOW),
        Err(Wrong::NotReviewed),
        "although it says the same"
    );
    let asked = done(&edited, &ask(&edited), "ann");
    for author in ["ann", "ben"] {
        let own = asked.after(&approve(&commented(&one)), author, NOW);
        assert_eq!(own, Err(Wrong::OwnWork), "{author}");
    }
    done(&asked, &approve(&commented(&one)), "cleo");
    let returned = done(&asked, &back(&commented(&one)), "ann");
    let State::Writing(Some(against)) = &returned.state else {
        panic!("{returned:?}")
    };
    assert_eq!((against.mover.by.as_str(), against.why.len()), ("ann", 25));
}

/// What people try, in any order, knowing any text.
#[derive(Debug, Clone)]
enum Try {
    Save(u8, bool),
    Ask(bool),
    Approve(u8),
    Return(u8),
    Bring(u8),
    Drop,
}

fn tries() -> impl Strategy<Value = Vec<(Try, u8)>> {
    let one = prop_oneof![
        4 => (0..5u8, any::<bool>()).prop_map(|(n, newest)| Try::Save(n, newest)),
        4 => any::<bool>().prop_map(Try::Ask),
        4 => (0..5u8).prop_map(Try::Approve),
        1 => (0..5u8).prop_map(Try::Return),
        4 => (0..4u8).prop_map(Try::Bring),
        1 => Just(Try::Drop),
    ];
    prop::collection::vec((one, 0..4u8), 1..60)
}

/// Four sound texts, of which the fourth says the same as the first, and one with a fault.
fn texts() -> [Text; 5] {
    [
        sound(0),
        sound(1),
        sound(2),
        commented(&sound(0)),
        text("name = "),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(2000))]
    #[test]
    fn nothing_is_signed_that_another_person_did_not_read_byte_for_byte(tries in tries()) {
        const PEOPLE: [&str; 4] = ["ann", "ben", "cleo", "dora"];
        thread_local! {
            static TEXTS: [(Text, TextDigest, Option<ContentDigest>); 5] =
                texts().map(|text| (text.clone(), text.digest(), text.content()));
        }
        let known: Vec<_> = TEXTS.with(|texts| texts.iter().map(|(_, t, c)| (*t, *c)).collect());
        let mut draft = Draft {
            revision: 1,
            text: known[0].0,
            content: known[0].1,
            authors: [PEOPLE[0].to_owned()].into(),
            read: None,
            state: State::Writing(None),
        };
        // Told beside the core: who wrote, and who said of which bytes that they were read, since when they stand.
        let mut wrote = vec![PEOPLE[0]];
        let mut read: Option<(&str, TextDigest)> = None;
        for (attempt, who) in tries {
            let who = PEOPLE[usize::from(who)];
            let pick = |n: u8| known[usize::from(n)];
            let act = match attempt {
                Try::Save(n, newest) => Act::Save {
                    over: draft.revision - u64::from(!newest),
                    text: pick(n).0,
                    content: pick(n).1,
                },
                Try::Ask(newest) => Act::Ask { revision: draft.revision - u64::from(!newest) },
                Try::Approve(n) => Act::Approve { digest: pick(n).0 },
                Try::Return(n) => Act::Return { digest: pick(n).0, why: "no".into() },
                Try::Bring(n) => Act::Bring { content: pick(n).1.expect("sound"), version: 9 },
                Try::Drop => Act::Drop { why: "no".into() },
            };
            let Ok(after) = draft.after(&act, who, NOW) else { continue };
            match &act {
                Act::Save { text, .. } if *text != draft.text => {
                    prop_assert_eq!(after.revision, draft.revision + 1);
                    wrote.push(who);
                    read = None;
                }
                Act::Approve { digest } => read = Some((who, *digest)),
                Act::Return { .. } => read = None,
                _ => {}
            }
            if let State::Signed(..) = after.state {
                prop_assert!(matches!(draft.state, State::Reviewed(..)), "{:?}", draft);
                let (reader, digest) = read.expect("somebody read it");
                prop_assert_eq!(digest, after.text);
                prop_assert!(!wrote.contains(&reader), "{} read the own words", reader);
                let Act::Bring { content, .. } = act else { panic!("{act:?}") };
                prop_assert_eq!(after.content, Some(content));
            }
            if let State::Reviewed(reader, digest) = &after.state {
                prop_assert_eq!(Some((reader.by.as_str(), *digest)), read);
            }
            prop_assert!(after.revision >= draft.revision && after.authors.is_superset(&draft.authors));
            draft = after;
        }
    }
}

#[test]
fn the_empty_document_is_sound_with_and_without_the_rules_that_it_names() {
    let begun = empty(3, NOW);
    let said = begun.policy().expect("sound");
    assert_eq!((said.version.0, said.issued.ms()), (3, NOW.ms));
    let is_code = |line: &str| {
        let key = line.split(" = ").next().unwrap_or_default();
        let named = key != line
            && key
                .chars()
                .all(|c| c.is_ascii_lowercase() || "_-0123456789".contains(c));
        named || line.starts_with('[') || line.starts_with("  {") || line.starts_with("] }]")
    };
    let all: Vec<&str> = begun
        .as_str()
        .lines()
        .map(|line| {
            line.strip_prefix("# ")
                .filter(|code| is_code(code))
                .unwrap_or(line)
        })
        .collect();
    let all = text(&all.join("\n"));
    let rules = all.policy().unwrap_or_else(|| {
        let found = homeward_protocol::policy::check::check(all.as_str()).findings;
        panic!("{found:#?}\n{}", all.as_str())
    });
    let named: BTreeSet<Rule> = rules.points().iter().map(|point| point.id.rule()).collect();
    assert_eq!(named, Rule::ALL.iter().copied().collect());
}

#[test]
fn a_draft_from_a_policy_says_the_same_under_the_next_number_and_keeps_its_comments() {
    let every = include_str!("../../../../protocol/tests/policies/every-rule.toml");
    let written = text(every);
    let old = written.policy().expect("sound");
    let kept = next(&old, Some(&written), 8, NOW).expect("short enough");
    assert!(
        kept.as_str().starts_with("# A policy with every rule"),
        "{}",
        kept.as_str()
    );
    let plain = next(&old, None, 8, NOW).expect("short enough");
    // The document of another policy is of no use.
    let other = next(&old, Some(&empty(1, NOW)), 8, NOW).expect("short enough");
    assert_eq!(other, plain);
    for made in [kept, plain] {
        let said = made.policy().expect("sound");
        assert_eq!((said.version.0, said.issued.ms()), (8, NOW.ms));
        let lasts = |policy: &homeward_protocol::policy::Policy| policy.expires.ms() - policy.issued.ms();
        assert_eq!(lasts(&said), lasts(&old));
        let same = homeward_protocol::policy::Policy {
            version: old.version,
            issued: old.issued,
            expires: old.expires,
            ..said
        };
        assert_eq!(same, old);
    }
}

#[test]
fn a_text_is_named_by_its_bytes_and_by_what_it_says() {
    let one = sound(0);
    let mailed = text(&one.as_str().replace('\n', "\r\n"));
    assert_eq!(mailed, one, "line ends of browsers");
    let said = commented(&one);
    assert_ne!(said.digest(), one.digest());
    assert_eq!(said.content(), one.content());
    assert_ne!(sound(1).content(), one.content());
    let digest = one.digest();
    assert_eq!(digest.to_string().parse(), Ok(digest));
    assert!(digest.begins_with(&digest.to_string()[..8].to_uppercase(), 8));
    assert!(!digest.begins_with(&digest.to_string()[..7], 8));
    assert!(Text::parse(&"x".repeat(40_000)).is_err());
}

#[test]
fn a_difference_shows_what_goes_what_comes_and_a_little_around() {
    assert_eq!(differ("a\nb", "a\nb"), []);
    assert_eq!(
        differ("a\nb\nc", "a\nB\nc\nd"),
        [
            Line::Same(1, "a"),
            Line::Gone(2, "b"),
            Line::New(2, "B"),
            Line::Same(3, "c"),
            Line::New(4, "d"),
        ]
    );
    let numbers: Vec<String> = (0..40).map(|n: u8| n.to_string()).collect();
    let long = numbers.join("\n") + "\n";
    let changed = long.replace("20\n", "twenty\n");
    let shown = differ(&long, &changed);
    assert_eq!(
        (shown.first(), shown.last()),
        (Some(&Line::Cut(17)), Some(&Line::Cut(16)))
    );
    assert_eq!(shown.len(), 2 + 6 + 2);
    assert_eq!(differ("", "x"), [Line::New(1, "x")]);
    assert_eq!(differ("x", ""), [Line::Gone(1, "x")]);
}

proptest! {
    #[test]
    fn a_difference_leads_from_one_text_to_the_other(
        before in prop::collection::vec(0..6u8, 0..30), after in prop::collection::vec(0..6u8, 0..30)
    ) {
        let joined = |lines: &[u8]| lines.iter().map(u8::to_string).collect::<Vec<_>>().join("\n");
        let (old, new) = (joined(&before), joined(&after));
        let shown = differ(&old, &new);
        let gone = shown.iter().filter(|line| matches!(line, Line::Gone(..))).count();
        let come = shown.iter().filter(|line| matches!(line, Line::New(..))).count();
        prop_assert_eq!(before.len() - gone, after.len() - come, "what is in both is in both");
        for line in &shown {
            match line {
                Line::Gone(at, text) => prop_assert_eq!(old.lines().nth(at - 1), Some(*text)),
                Line::New(at, text) | Line::Same(at, text) => {
                    prop_assert_eq!(new.lines().nth(at - 1), Some(*text));
                }
                Line::Cut(count) => prop_assert!(*count > 0),
            }
        }
    }
}
