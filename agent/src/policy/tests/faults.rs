//! Faults one by one, each by its name; what the helper with rights does without nft, without sshd, or with a full disk is
//! shown with the real programs (`installed_policy`).

use super::*;

fn offered(home: &mut Home, version: u64) {
    home.input(Input::Offered(Some(Box::new(offer(&policy(version))))));
}

/// A box that has its seventh policy.
fn settled() -> Home {
    let mut home = Home::new();
    offered(&mut home, 7);
    home.wait(MINUTE);
    assert_eq!(taken(&home), Some(7));
    home
}

fn refusal(home: &mut Home) -> Option<Refusal> {
    let refused = home.policies.report(home.now().at).refused;
    refused.map(|refused| refused.why)
}

#[test]
fn a_policy_that_arrives_twice_is_applied_once() {
    let mut home = settled();
    let (asked, kept) = (home.asked.clone(), home.disk.clone());
    let same = kept.as_ref().and_then(|saved| saved.good.clone()).expect("kept");
    home.input(Input::Offered(Some(Box::new(same))));
    home.wait(MINUTE);
    assert_eq!((home.reconnects, refusal(&mut home)), (1, None));
    assert_eq!(
        (home.asked, home.disk),
        (asked, kept),
        "nothing is set or kept again"
    );
}

#[test]
fn a_policy_that_arrives_twice_while_it_is_on_trial_begins_no_second_trial() {
    let mut home = Home::new();
    let one = offer(&policy(7));
    for _ in 0..3 {
        home.input(Input::Offered(Some(Box::new(one.clone()))));
    }
    assert_eq!(home.reconnects, 1);
    let tries = |home: &Home| {
        home.disk
            .as_ref()
            .and_then(|saved| saved.trial.as_ref().map(|(_, tries)| *tries))
    };
    assert_eq!(tries(&home), Some(1), "a trial is counted at its start alone");
}

#[test]
fn policies_that_arrive_out_of_order_leave_the_newest_and_the_older_is_refused_with_its_reason() {
    let mut home = settled();
    offered(&mut home, 9);
    offered(&mut home, 8);
    assert_eq!(refusal(&mut home), Some(Refusal::Older));
    home.wait(MINUTE);
    assert_eq!(taken(&home), Some(9));
    offered(&mut home, 7);
    home.wait(MINUTE);
    assert_eq!(
        (taken(&home), refusal(&mut home)),
        (Some(9), Some(Refusal::Older))
    );
    assert_eq!(home.set, Target::of(Some(&policy(9)), &me().needs));
}

#[test]
fn a_box_whose_clock_says_1970_keeps_its_policy_takes_a_newer_one_and_ends_neither_early_nor_late() {
    let mut home = settled();
    let real = home.clock_ms;
    // The battery of its clock is empty: it starts in 1970 and knows that it does not know.
    home.cut_the_power();
    (home.clock_ms, home.synced) = (0, false);
    home.restart();
    home.wait(MINUTE);
    assert_eq!(taken(&home), Some(7));
    assert_eq!(home.set, Target::of(Some(&policy(7)), &me().needs), "it holds");
    // What was issued long after 1970 is taken all the same.
    offered(&mut home, 8);
    home.wait(MINUTE);
    assert_eq!((taken(&home), refusal(&mut home)), (Some(8), None));
    // The time comes: nothing ends, and nothing is applied again.
    let asked = home.asked.len();
    (home.clock_ms, home.synced) = (real, true);
    home.wait(MINUTE);
    assert_eq!((taken(&home), home.asked.len()), (Some(8), asked));
    // The end of its policy is met, as ever.
    let ends = policy(8).expires.ms();
    home.clock_ms = ends + 1;
    home.wait(MINUTE);
    assert_ne!(home.policies.report(home.now().at).basis, Basis::Signed);
}

#[test]
fn a_clock_that_says_1970_and_claims_to_be_right_is_a_reason_that_is_told() {
    let mut home = settled();
    (home.clock_ms, home.synced) = (0, true);
    offered(&mut home, 8);
    assert_eq!(refusal(&mut home), Some(Refusal::NotYet));
    home.wait(MINUTE);
    assert_eq!(taken(&home), Some(7), "what held holds on");
}
