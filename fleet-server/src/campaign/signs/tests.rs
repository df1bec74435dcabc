//! Sign by sign: what is heard of a home.

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::Installer;
use homeward_protocol::release::state::{Ended, UpdateMark};

use super::*;

const WITHIN: u64 = 30 * 60_000;

fn at(s: i64) -> Timestamp {
    Timestamp::synced(1_800_000_000_000 + s * 1000)
}

fn version(text: &str) -> Version {
    text.parse().expect("a version")
}

fn note() -> Note {
    Note {
        target: "agent/1.4.0".into(),
        wants: None,
        word: Some((7, Way::On)),
        due: None,
        before: version("1.3.0"),
        back: None,
        acted: Some(at(0)),
        sensors: vec!["cuff".parse().expect("an id")],
        why: None,
        since: at(0),
    }
}

fn signs(runs: &str, now: Option<Progress>, ended: Option<(Option<u64>, Outcome)>) -> Signs {
    let mark = UpdateMark {
        counter: 7,
        installer: Installer::AgentSlot,
        version: version("1.4.0"),
    };
    let state = UpdateState {
        runs: version(runs),
        packaged: false,
        build: None,
        installers: Vec::new(),
        undecided: None,
        met: None,
        quiet: None,
        beside: Vec::new(),
        forces: Vec::new(),
        now: now.map(|progress| (mark, progress)),
        ended: ended.map(|(counter, outcome)| Ended {
            counter,
            outcome,
            at: at(60),
        }),
        taken_at: at(60),
    };
    Signs {
        heard: None,
        depended_on: false,
        in_service: true,
        connected: true,
        word: Some(7),
        said: Some(Said { state, at: at(60) }),
        judged: Some((Status::Affirming, at(50))),
        sensors: vec![Heard {
            sensor: "cuff".parse().expect("an id"),
            interval_s: 60,
            last: Some(at(61)),
        }],
        awake: None,
        suffers: Vec::new(),
    }
}

const ACTING: Step = Step::Acting {
    since: Timestamp::synced(1_800_000_000_000),
};
const TOLD: Step = Step::Waiting(Waits::Quiet);

fn hears(step: Step, note: &Note, signs: &Signs) -> Option<Event> {
    event(step, note, signs, WITHIN, at(100)).map(|(event, _)| event)
}

#[test]
fn each_word_of_a_box_is_one_event() {
    let why = || ShortText::cut("why");
    let confirmed = Some((Some(7), Outcome::Confirmed));
    for (said, expected) in [
        (
            signs(
                "1.3.0",
                Some(Progress::Fetching {
                    have: 1,
                    of: 2,
                    why: None,
                }),
                None,
            ),
            Some(Event::Waits(Waits::Fetching)),
        ),
        (
            signs("1.3.0", Some(Progress::Waiting(vec![why()])), None),
            Some(Event::Waits(Waits::Quiet)),
        ),
        (signs("1.3.0", Some(Progress::Acting), None), Some(Event::Acts)),
        (signs("1.4.0", None, confirmed), Some(Event::Confirms)),
        (
            signs("1.3.0", None, Some((Some(7), Outcome::Bad(why())))),
            Some(Event::Bad),
        ),
        (
            signs("1.3.0", None, Some((Some(7), Outcome::NotProven(why())))),
            Some(Event::NotProven),
        ),
        (
            signs("1.4.0", None, Some((Some(7), Outcome::Stays(why())))),
            Some(Event::Unwell),
        ),
        (
            signs("1.3.0", None, Some((Some(7), Outcome::Refused(why())))),
            Some(Event::Gone),
        ),
        // By a word that was not the director's.
        (
            signs("1.3.0", None, Some((None, Outcome::Refused(why())))),
            Some(Event::Gone),
        ),
        // Of the word before.
        (signs("1.3.0", None, Some((Some(6), Outcome::Confirmed))), None),
        (signs("1.3.0", None, None), None),
    ] {
        assert_eq!(hears(TOLD, &note(), &said), expected, "{said:?}");
        let other = Signs {
            word: Some(8),
            ..said.clone()
        };
        assert_eq!(
            hears(TOLD, &note(), &other),
            Some(Event::Gone),
            "directed by hand"
        );
        let gone = Signs {
            in_service: false,
            ..said
        };
        assert_eq!(hears(TOLD, &note(), &gone), Some(Event::Gone));
    }
    let away = Signs {
        connected: false,
        ..signs("1.3.0", Some(Progress::Waiting(vec![why()])), None)
    };
    assert_eq!(hears(TOLD, &note(), &away), Some(Event::Waits(Waits::Offline)));
    // One that was told and then left to a person is heard on; one that was never told says nothing.
    let acts = signs("1.3.0", Some(Progress::Acting), None);
    assert_eq!(hears(Step::NotYet, &note(), &acts), Some(Event::Acts));
    let untold = Note { word: None, ..note() };
    assert_eq!(hears(Step::NotYet, &untold, &acts), None);
}

#[test]
fn a_box_that_is_well_by_its_own_word_counts_when_its_evidence_and_its_sensors_bear_it_out() {
    let well = || signs("1.4.0", None, Some((Some(7), Outcome::Confirmed)));
    let judged = |status, s| Signs {
        judged: Some((status, at(s))),
        ..well()
    };
    let heard = |s| {
        let mut signs = well();
        signs.sensors[0].last = Some(at(s));
        signs
    };
    for (signs, step, expected, lack) in [
        (well(), ACTING, Some(Event::Confirms), None),
        (well(), Step::Silent, Some(Event::Confirms), None),
        (well(), Step::Confirmed { at: at(70) }, None, None),
        // Judged before it began, and not since.
        (
            judged(Status::Affirming, -10),
            ACTING,
            Some(Event::Acts),
            Some("its evidence after the update is awaited"),
        ),
        (judged(Status::Warning, 10), ACTING, Some(Event::Confirms), None),
        (
            judged(Status::Contraindicated, 10),
            ACTING,
            Some(Event::Unwell),
            Some("its evidence after the update was not accepted"),
        ),
        // Never judged: there is nothing to lose.
        (
            Signs {
                heard: None,
                depended_on: false,
                judged: None,
                ..well()
            },
            ACTING,
            Some(Event::Confirms),
            None,
        ),
        (
            heard(30),
            ACTING,
            Some(Event::Acts),
            Some("a reading of its sensor cuff is awaited"),
        ),
        (heard(-300), Step::Confirmed { at: at(70) }, None, None),
        (
            Signs {
                heard: None,
                depended_on: false,
                suffers: vec![(at(20), "the battery of cuff falls".into())],
                ..well()
            },
            Step::Confirmed { at: at(70) },
            Some(Event::Unwell),
            Some("since the update: the battery of cuff falls"),
        ),
    ] {
        let event = event(step, &note(), &signs, WITHIN, at(100));
        let (event, why) = event.map_or((None, None), |(event, why)| (Some(event), why));
        assert_eq!((event, why.as_deref()), (expected, lack), "{step:?} {signs:?}");
    }
    // Silent for longer than three of its intervals after the word.
    let late = event(ACTING, &note(), &heard(30), WITHIN, at(60 + 181));
    let why = "its sensor cuff was heard before the update, and is silent since";
    assert_eq!(late, Some((Event::Unwell, Some(why.into()))));
    // But not while nobody could hear it: the server was out.
    let awake = |s| Signs {
        awake: Some(at(s)),
        ..heard(30)
    };
    let waits = |awake| event(ACTING, &note(), &awake, WITHIN, at(60 + 181)).map(|(event, _)| event);
    assert_eq!(waits(awake(200)), Some(Event::Acts));
    assert_eq!(waits(awake(60)), Some(Event::Unwell));
    let gone = |s| Signs {
        connected: false,
        heard: Some(at(60)),
        awake: Some(at(s)),
        ..well()
    };
    let well_then = Step::Confirmed { at: at(60) };
    let later = at(60 + 1_801);
    let then = |signs| event(well_then, &note(), &signs, WITHIN, later).map(|(event, _)| event);
    assert_eq!((then(gone(60)), then(gone(62))), (Some(Event::Away), None));
    // One that speaks once a day is not waited for within half an hour.
    let mut rare = heard(30);
    rare.sensors[0].interval_s = 86_400;
    assert_eq!(hears(ACTING, &note(), &rare), Some(Event::Confirms));
}

#[test]
fn a_home_is_back_when_what_ran_before_runs_and_nothing_is_under_way() {
    let back = Note {
        word: Some((7, Way::Back)),
        ..note()
    };
    let is_back = signs("1.3.0", None, Some((Some(7), Outcome::Confirmed)));
    let not_yet = signs("1.4.0", Some(Progress::Acting), None);
    for step in [Step::TakenBack, Step::Unwell] {
        assert_eq!(hears(step, &back, &is_back), Some(Event::IsBack));
        assert_eq!(hears(step, &back, &not_yet), None);
        // It refused the word, or what ran before is not well there any more.
        for outcome in [Outcome::Refused, Outcome::Bad, Outcome::NotProven] {
            let stays = signs(
                "1.4.0",
                None,
                Some((Some(7), outcome(ShortText::cut("below the floor")))),
            );
            assert_eq!(hears(step, &back, &stays), Some(Event::Stuck));
        }
    }
    // What is still to be said comes first.
    let told = Note {
        wants: Some(Way::On),
        ..back
    };
    assert_eq!(hears(Step::Assigned, &told, &is_back), None);
}
