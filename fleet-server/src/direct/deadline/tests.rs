use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Ended;
use proptest::prelude::*;

use super::*;

const HOUR_MS: i64 = 3_600_000;

fn at(hours: i64) -> Timestamp {
    Timestamp::synced(1_800_000_000_000 + hours * HOUR_MS)
}

fn case() -> Case {
    let rule = Rule {
        compensate: 8,
        afterwards: 9,
    };
    Case {
        gateway: "gw-1".parse().expect("an id"),
        counter: 7,
        version: "1.4.0".parse().expect("a version"),
        at: at(0),
        not_before: at(0),
        deadline: at(100),
        terms: Terms::new("A stranger could read measurements.", "nora", Some(rule)).expect("terms"),
        stands: Stands::Newest,
        newest_brings: true,
        done: Done::default(),
    }
}

fn ended(counter: Option<u64>, outcome: Outcome) -> UpdateState {
    UpdateState {
        runs: "1.3.0".parse().expect("a version"),
        packaged: false,
        build: None,
        now: None,
        ended: Some(Ended {
            counter,
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
fn a_person_is_asked_at_80_percent_and_the_rule_applies_at_the_end() {
    for (hours, expected) in [
        (0, vec![]),
        (79, vec![]),
        (80, vec![Due::Ask]),
        (99, vec![Due::Ask]),
        // The server was away, or its clock jumped.
        (100, vec![Due::Ask, Due::Pass]),
        (-1_000, vec![]),
    ] {
        assert_eq!(due(&case(), None, at(hours)), expected, "{hours} h");
    }
    let later = Case {
        not_before: at(90),
        ..case()
    };
    assert_eq!(due(&later, None, at(89)), []);
    assert_eq!(due(&later, None, at(90)), [Due::Ask]);
}

#[test]
fn only_the_box_that_confirms_it_ends_it() {
    let why = || ShortText::cut("why");
    let done = Done {
        asked: Some(at(80)),
        passed: Some(at(100)),
        compensates: true,
        ended: None,
    };
    let stands = Case { done, ..case() };
    for (said, expected) in [
        (ended(Some(7), Outcome::Confirmed), vec![Due::TakeBack]),
        (ended(Some(8), Outcome::Confirmed), vec![Due::TakeBack]),
        (ended(Some(6), Outcome::Confirmed), vec![]),
        (ended(None, Outcome::Confirmed), vec![]),
        (ended(Some(7), Outcome::Refused(why())), vec![]),
        (ended(Some(7), Outcome::Bad(why())), vec![]),
        (ended(Some(7), Outcome::NotProven(why())), vec![]),
        (ended(Some(7), Outcome::Stays(why())), vec![]),
    ] {
        assert_eq!(due(&stands, Some(&said), at(200)), expected, "{said:?}");
    }
    // A box that did not take it lacks it as one that waits.
    let refused = ended(Some(7), Outcome::Refused(why()));
    assert_eq!(due(&case(), Some(&refused), at(80)), [Due::Ask]);
    let confirmed = ended(Some(7), Outcome::Confirmed);
    assert_eq!(due(&case(), Some(&confirmed), at(200)), [Due::End]);
}

#[test]
fn what_makes_up_for_an_update_outlasts_its_word_and_nothing_else_does() {
    let superseded = Case {
        stands: Stands::Superseded,
        ..case()
    };
    assert_eq!(due(&superseded, None, at(200)), [Due::End]);
    let compensates = Case {
        done: Done {
            compensates: true,
            ..Done::default()
        },
        ..superseded
    };
    assert_eq!(due(&compensates, None, at(200)), []);
    let later = ended(Some(9), Outcome::Confirmed);
    assert_eq!(due(&compensates, Some(&later), at(200)), [Due::TakeBack]);
    // The campaign ended, or took the release back: the box was told to keep what it runs, and does.
    let kept = Case {
        newest_brings: false,
        ..compensates.clone()
    };
    assert_eq!(due(&kept, Some(&later), at(200)), []);
    let own = ended(Some(7), Outcome::Confirmed);
    assert_eq!(due(&kept, Some(&own), at(200)), [Due::TakeBack]);
    let gone = Case {
        stands: Stands::Gone,
        ..compensates
    };
    assert_eq!(due(&gone, None, at(200)), [Due::End]);
}

#[test]
fn a_person_reads_what_why_by_when_and_what_to_do() {
    let text = asks(
        &case(),
        "has 1.4.0, and waits: pump is being used, for 3 min so far",
    );
    for part in [
        "nora: gw-1 shall have 1.4.0 by 2027-01-19T12:00:00Z.",
        "Why: A stranger could read measurements.",
        "How it stands: has 1.4.0, and waits: pump is being used",
        "find a time with the home",
        "policy 8 applies at this box",
        "readings still flow",
        "Nobody can make the box interrupt a therapy",
    ] {
        assert!(text.contains(part), "{part} is not in\n{text}");
    }
    let over = passed(&case(), "waits", Some(Err("policy 8 was withdrawn")));
    assert!(
        over.contains("could not be given: policy 8 was withdrawn"),
        "{over}"
    );
    let over = passed(&case(), "waits", Some(Ok(())));
    assert!(over.contains("Policy 9 ends that"), "{over}");
}

#[test]
fn terms_are_words_for_people_and_the_way_back_has_the_higher_number() {
    let rule = |compensate, afterwards| {
        Some(Rule {
            compensate,
            afterwards,
        })
    };
    assert_eq!(Terms::new(" ", "nora", None), Err(TermsError::Reason));
    assert_eq!(Terms::new("a\nb", "nora", None), Err(TermsError::Reason));
    assert_eq!(Terms::new("a", "", None), Err(TermsError::Person));
    assert_eq!(Terms::new("a", "nora", rule(8, 8)), Err(TermsError::Order));
    assert!(Terms::new("a", "nora", rule(8, 9)).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    /// The clock stands here, wherever it was.
    Clock(i64),
    Says(Option<u64>, bool),
    Supersede(bool),
    /// The rule cannot be given, if the deadline is found to be over now.
    Misfit(bool),
    Look,
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        2 => (-50_i64..300).prop_map(Step::Clock),
        1 => (proptest::option::of(6_u64..9), any::<bool>()).prop_map(|(of, good)| Step::Says(of, good)),
        1 => any::<bool>().prop_map(Step::Supersede),
        1 => any::<bool>().prop_map(Step::Misfit),
        4 => Just(Step::Look),
    ];
    proptest::collection::vec(step, 1..60)
}

proptest! {
    /// The store's part is played as it is: what is done is noted with the deed. A stop between two deeds is a `Look` that
    /// does the first of them alone.
    #[test]
    fn each_thing_is_done_once_and_in_its_time_whatever_clocks_and_boxes_do(steps in steps(), cut in any::<bool>()) {
        let mut case = case();
        let (mut now, mut said, mut misfit) = (at(0), None, false);
        let (mut asked, mut passed, mut taken, mut over) = (0, 0, 0, 0);
        for step in steps {
            match step {
                Step::Clock(hours) => now = at(hours),
                Step::Says(of, good) => {
                    let outcome = if good { Outcome::Confirmed } else { Outcome::Bad(ShortText::cut("x")) };
                    said = Some(ended(of, outcome));
                }
                Step::Supersede(brings) => {
                    case.stands = Stands::Superseded;
                    case.newest_brings = brings;
                }
                Step::Misfit(is) => misfit = is,
                Step::Look => {
                    let all = due(&case, said.as_ref(), now);
                    let most = if cut { 1 } else { all.len() };
                    for one in all.into_iter().take(most) {
                        prop_assert!(case.done.ended.is_none());
                        match one {
                            Due::Ask => {
                                prop_assert!(now.ms >= at(80).ms);
                                case.done.asked = Some(now);
                                asked += 1;
                            }
                            Due::Pass => {
                                prop_assert!(now.ms >= at(100).ms);
                                case.done.passed = Some(now);
                                case.done.compensates = !misfit;
                                passed += 1;
                            }
                            Due::TakeBack => {
                                prop_assert!(case.done.compensates);
                                prop_assert!(is_confirmed(&case, said.as_ref()));
                                case.done.compensates = false;
                                case.done.ended = Some(now);
                                taken += 1;
                            }
                            Due::End => {
                                prop_assert!(!case.done.compensates);
                                case.done.ended = Some(now);
                                over += 1;
                            }
                        }
                    }
                }
            }
        }
        prop_assert!(asked <= 1 && passed <= 1 && taken + over <= 1);
        // What applies is never forgotten.
        if case.done.compensates && case.done.ended.is_none() {
            let confirmed = ended(Some(7), Outcome::Confirmed);
            prop_assert_eq!(due(&case, Some(&confirmed), now), [Due::TakeBack]);
        }
    }
}
