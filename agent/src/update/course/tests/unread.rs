//! What is kept cannot be read any more: on a box that stands still, and in the middle of a trial.

use super::*;

const WHY: &str = "what is kept cannot be read";

/// The same box after a start at which it is so; the launcher and its record are as before.
fn lost(mut home: Home) -> Home {
    let found = home.slots.standing(home.running.place, None);
    let (course, row) = Course::unread(WHY, found, home.running, LIMITS, home.moment());
    (home.course, home.row) = (course, row);
    home
}

fn told(home: &Home) -> Option<ShortText> {
    let state = home.course.state(home.moment());
    state.undecided.map(|lacks| lacks.why)
}

#[test]
fn a_trial_that_nobody_can_judge_any_more_goes_back_in_a_quiet_moment_and_says_why() {
    let mut home = lost(Home::tried(1));
    assert_eq!(home.running.version, version(1));
    let kept = home.saved.clone();
    home.act(usize::MAX);
    assert!(home.course.is_on_trial(), "nothing else is tried meanwhile");
    assert_eq!(told(&home), Some(ShortText::cut(WHY)));
    let asked = home.tick();
    assert_eq!(asked, [Effect::AskLeave(Installer::AgentSlot, Work::Back)]);
    home.hear(Input::Busy(
        vec![ShortText::cut("pump is being used")],
        Obstacle::Known,
    ));
    assert_eq!(home.act(usize::MAX), []);
    home.tick();
    home.hear(Input::Quiet(Before::default()));
    assert_eq!(home.row, [Effect::Restart]);
    assert_eq!(home.saved, kept, "nothing is written over it");
    home.act(usize::MAX);
    assert_eq!(home.running.version, version(0));
}

#[test]
fn nothing_is_taken_without_the_floors_and_that_is_told_all_the_while() {
    let mut home = lost(Home::new());
    assert_eq!(told(&home), Some(ShortText::cut(WHY)));
    assert!(!home.course.is_new(&[1]));
    home.hear(Input::Assigned(vec![1]));
    assert_eq!(home.row, []);
    assert_eq!(home.course.deadline(), None);
    assert!(!home.course.is_on_trial(), "a policy may be tried");
    assert_eq!(told(&home), Some(ShortText::cut(WHY)));
}
