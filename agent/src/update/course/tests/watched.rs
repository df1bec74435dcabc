//! What is confirmed, and turns out in the day after it.

use super::*;
use crate::strain::Usual;

/// Confirmed, and something was known of a sensor before.
fn confirmed() -> Home {
    let mut home = Home::staged(7);
    let usual = Usual {
        uses: 24,
        over_s: 4 * 86_400,
        together: 12,
        burst: 30,
        busiest: [12, 12, 12, 24, 24, 24],
    };
    home.hear(Input::Quiet(Before {
        usual: [("cuff".parse().expect("an id"), usual)].into(),
        ..Before::default()
    }));
    home.act(usize::MAX);
    while home.ended().is_none() {
        home.examined(&Health::default());
    }
    assert_eq!(home.ended(), Some((Some(7), Outcome::Confirmed)));
    home
}

fn wears(home: &mut Home) {
    home.hear(Input::Wears("it wears the cuff".to_owned()));
    home.act(usize::MAX);
}

fn stays(counter: u64) -> (Option<u64>, Outcome) {
    (Some(counter), Outcome::Stays(ShortText::cut("it wears the cuff")))
}

#[test]
fn a_confirmed_build_that_wears_a_sensor_is_told_once_also_after_a_start_and_runs_on() {
    let mut home = confirmed();
    home.start();
    assert!(home.course.watched(home.moment()).is_some());
    wears(&mut home);
    assert_eq!(home.ended(), Some(stays(7)));
    assert_eq!(home.running.version, version(7));
    let kept = home.saved.clone().expect("it was kept");
    assert_eq!((kept.watched, home.course.watched(home.moment())), (None, None));
    home.hear(Input::Wears("again".to_owned()));
    assert_eq!((home.row.len(), home.ended()), (0, Some(stays(7))));
}

#[test]
fn it_is_looked_at_for_a_day_and_not_beside_a_newer_one() {
    let mut home = confirmed();
    let until = home.course.saved().watched.clone().expect("it is watched").until;
    assert_eq!(until.ms - home.moment().at.ms, 24 * 3_600_000);
    home.now += 24 * 3_600_000;
    wears(&mut home);
    assert_eq!(home.ended(), Some((Some(7), Outcome::Confirmed)));

    let mut home = confirmed();
    home.assign(8);
    assert!(home.course.watched(home.moment()).is_some(), "it runs until then");
    home.hear(Input::Quiet(Before::default()));
    assert!(
        home.course.watched(home.moment()).is_some(),
        "it may not be put in place"
    );
    home.act(usize::MAX);
    assert_eq!(home.course.watched(home.moment()), None);
}

#[test]
fn a_newer_word_for_what_runs_is_what_is_answered_and_one_for_something_else_is_not() {
    let runs = |installer| {
        let mut home = confirmed();
        home.hear(Input::Assigned(vec![9]));
        home.act(usize::MAX);
        home.tick();
        home.hear(Input::Decided(9, Box::new(Ok(Decision::Runs(installer)))));
        home.act(usize::MAX);
        wears(&mut home);
        home.ended()
    };
    assert_eq!(runs(Installer::AgentSlot), Some(stays(9)));
    assert_eq!(runs(Installer::Apt), Some((Some(9), Outcome::Confirmed)));
}
