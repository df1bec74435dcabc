use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Installer;
use homeward_protocol::release::state::{Undecided, UpdateMark};

use super::*;

fn at(s: i64) -> Timestamp {
    Timestamp::synced(1_800_000_000_000 + s * 1_000)
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn says(now: Option<(u64, Progress)>, ended: Option<(u64, Outcome)>) -> UpdateState {
    let mark = |counter| UpdateMark {
        counter,
        installer: Installer::AgentSlot,
        version: version("1.4.0"),
    };
    UpdateState {
        runs: version("1.3.0"),
        packaged: false,
        build: None,
        now: now.map(|(counter, progress)| (mark(counter), progress)),
        ended: ended.map(|(counter, outcome)| Ended {
            counter: Some(counter),
            outcome,
            at: at(0),
        }),
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        taken_at: at(0),
    }
}

#[test]
fn a_word_is_said_until_its_gateway_names_it_and_once_a_minute_at_most() {
    let has = says(Some((7, Progress::Acting)), None);
    let had = says(None, Some((7, Outcome::Confirmed)));
    for (word, said, told, is_due) in [
        (7, None, None, true),
        (7, None, Some(at(-30)), false),
        (7, None, Some(at(-60)), true),
        // The clock was set back.
        (7, None, Some(at(60)), true),
        (7, Some(&has), None, false),
        (7, Some(&had), None, false),
        (8, Some(&has), None, true),
        (8, Some(&had), None, true),
    ] {
        assert_eq!(due(word, said, told, at(0)), is_due, "{word} {said:?} {told:?}");
    }
}

#[test]
fn each_step_reads_as_one_sentence() {
    let assigned = Assigned {
        gateway: "gw-1".parse().expect("an id"),
        counter: 7,
        path: "agent/1.4.0/x86_64".to_owned(),
        version: version("1.4.0"),
        not_before: at(0),
        deadline: at(1),
        at: at(0),
        by: "root".to_owned(),
        word: Vec::new(),
    };
    let why = || ShortText::cut("pump is being used, for 3 min so far");
    let fetching = |have, why| Progress::Fetching { have, of: 9, why };
    for (said, connected, words_are) in [
        (
            None,
            None,
            "1.4.0 is to come; this box has said nothing of its software yet",
        ),
        (
            Some(says(None, None)),
            Some(false),
            "1.4.0 is to come; the box is not connected",
        ),
        (
            Some(says(None, None)),
            Some(true),
            "1.4.0 is to come; the box has not named it yet",
        ),
        (
            Some(UpdateState {
                undecided: Some(Box::new(Undecided {
                    why: ShortText::cut("the repository is not believed: timestamp version 3 expired"),
                    since: at(0),
                })),
                ..says(None, None)
            }),
            Some(true),
            "1.4.0 is to come; the box cannot take it yet: the repository is not believed: timestamp version 3 expired",
        ),
        // What it says of an earlier word is no answer to this one.
        (
            Some(says(Some((6, Progress::Acting)), Some((6, Outcome::Confirmed)))),
            Some(true),
            "1.4.0 is to come; the box has not named it yet",
        ),
        (
            Some(says(Some((7, Progress::Waiting(vec![why()]))), None)),
            Some(true),
            "has 1.4.0, and waits: pump is being used, for 3 min so far",
        ),
        (
            Some(says(None, Some((7, Outcome::Bad(why()))))),
            Some(true),
            "went back to 1.3.0 from 1.4.0, which is bad here: pump is being used, for 3 min so far",
        ),
        (
            Some(UpdateState {
                runs: version("1.4.0"),
                ..says(None, Some((7, Outcome::NotProven(why()))))
            }),
            Some(true),
            "goes back from 1.4.0, without proof against it: pump is being used, for 3 min so far",
        ),
        (
            Some(says(Some((7, fetching(3, None))), None)),
            Some(true),
            "fetches 1.4.0: 3 of 9 bytes have come",
        ),
        (
            Some(says(Some((7, fetching(0, Some(why())))), None)),
            Some(true),
            "fetches 1.4.0: 0 of 9 bytes have come; pump is being used, for 3 min so far",
        ),
        // What was not the director's word has no number.
        (
            Some(UpdateState {
                ended: Some(Ended {
                    counter: None,
                    outcome: Outcome::Refused(why()),
                    at: at(0),
                }),
                ..says(None, None)
            }),
            Some(true),
            "did not take 1.4.0: pump is being used, for 3 min so far",
        ),
    ] {
        assert_eq!(words(&assigned, said.as_ref(), connected), words_are);
    }
}
