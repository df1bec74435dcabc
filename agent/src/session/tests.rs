//! Promises of the session, as tables and as random lives.

use homeward_protocol::ack::Next;
use proptest::prelude::*;

use super::*;

fn moment(ms: u64) -> Moment {
    Moment {
        uptime: Uptime(ms),
        at: Timestamp::synced(1_795_000_000_000 + i64::try_from(ms).expect("small")),
    }
}

fn ledger(records: [u64; 3]) -> Ledger {
    let mut ledger = Ledger::fresh(Epoch(1));
    for (lane, count) in Lane::ALL.into_iter().zip(records) {
        for _ in 0..count {
            ledger.number(lane, b"record");
        }
    }
    ledger
}

fn online(records: [u64; 3]) -> (Session, Vec<Effect>) {
    let mut session = Session::new(Limits::default(), ledger(records), None, 7, moment(0));
    assert_eq!(session.handle(Input::Tick, moment(0)), [Effect::Dial]);
    let effects = session.handle(Input::Admitted, moment(1));
    (session, effects)
}

fn sent(lane: Lane, last: u64) -> Input {
    Input::Sent {
        lane,
        epoch: Epoch(1),
        last: Seq(last),
    }
}

fn ack(lane: Lane, up_to: u64) -> Ack {
    Ack {
        epoch: Epoch(1),
        lane,
        up_to: Seq(up_to),
        next: Next::Continue,
    }
}

#[test]
fn what_is_being_dialled_for_the_old_is_dialled_anew() {
    let mut session = Session::new(Limits::default(), ledger([0; 3]), None, 7, moment(0));
    assert_eq!(session.handle(Input::Tick, moment(0)), [Effect::Dial]);
    let effects = session.handle(Input::NewCertificate, moment(5));
    assert_eq!(effects, [Effect::HangUp, Effect::Dial]);
    session.handle(Input::Admitted, moment(9));
    let State::Online(online) = session.state() else {
        panic!("let in")
    };
    assert_eq!(online.dialed, Uptime(5), "not when it was let in");
    assert_eq!(session.surprises(), 0);
}

#[test]
fn alarms_overtake_readings() {
    let (mut session, effects) = online([0, 500, 3]);
    assert_eq!(effects, [Effect::Subscribe, Effect::Send(Lane::Vital, Seq(1))]);
    let none = session.handle(Input::Outbox(Box::new(ledger([1, 500, 3]))), moment(2));
    assert!(none.is_empty(), "one envelope at a time is made");
    let next = session.handle(sent(Lane::Vital, 200), moment(3));
    assert_eq!(next, [Effect::Send(Lane::Urgent, Seq(1))]);
    let next = session.handle(sent(Lane::Urgent, 1), moment(4));
    assert_eq!(next, [Effect::Send(Lane::Vital, Seq(201))]);
}

#[test]
fn a_trickle_waits_for_the_acknowledgement_before_it() {
    let (mut session, _) = online([0, 1, 0]);
    assert!(session.handle(sent(Lane::Vital, 1), moment(2)).is_empty());
    assert!(
        session
            .handle(Input::Outbox(Box::new(ledger([0, 3, 0]))), moment(3))
            .is_empty()
    );
    let word = ack(Lane::Vital, 1);
    assert_eq!(
        session.handle(Input::Ack(word), moment(4)),
        [Effect::Settle(word)]
    );
    let next = session.handle(Input::Settled(word, Settled::Deleted(Seq(1))), moment(5));
    assert_eq!(next, [Effect::Send(Lane::Vital, Seq(2))]);
}

#[test]
fn a_lost_acknowledgement_holds_a_trickle_up_for_half_a_second_only() {
    let (mut session, _) = online([0, 1, 0]);
    session.handle(sent(Lane::Vital, 1), moment(2));
    session.handle(Input::Outbox(Box::new(ledger([0, 2, 0]))), moment(3));
    assert_eq!(session.deadline(), Some(Uptime(502)));
    assert_eq!(
        session.handle(Input::Tick, moment(502)),
        [Effect::Send(Lane::Vital, Seq(2))]
    );
}

#[test]
fn no_acknowledgement_for_thirty_seconds_means_a_dead_connection() {
    let (mut session, _) = online([0, 1, 0]);
    session.handle(sent(Lane::Vital, 1), moment(2));
    assert_eq!(session.deadline(), Some(Uptime(30_002)));
    assert_eq!(session.handle(Input::Tick, moment(30_002)), [Effect::HangUp]);
    assert!(matches!(session.state(), State::Offline { .. }));
}

#[test]
fn an_acknowledgement_without_progress_is_a_doubt_and_then_a_resend() {
    let (mut session, _) = online([0, 1, 0]);
    session.handle(sent(Lane::Vital, 1), moment(2));
    let word = ack(Lane::Vital, 0);
    assert!(
        session
            .handle(Input::Settled(word, Settled::Ignored), moment(10))
            .is_empty()
    );
    assert_eq!(session.deadline(), Some(Uptime(2_010)));
    let again = session.handle(Input::Tick, moment(2_010));
    assert_eq!(again, [Effect::Send(Lane::Vital, Seq(1))]);
}

#[test]
fn an_outage_is_reported_when_it_is_over_with_its_first_cause() {
    let (mut session, _) = online([0, 0, 0]);
    session.handle(Input::Lost(Cause::Closed), moment(5_000));
    let retry = session.deadline().expect("a retry");
    session.handle(Input::Tick, moment(retry.0));
    session.handle(Input::Lost(Cause::Unreachable), moment(retry.0 + 1));
    let retry = session.deadline().expect("a retry");
    session.handle(Input::Tick, moment(retry.0));
    let back = moment(retry.0 + 20);
    let effects = session.handle(Input::Admitted, back);
    let outage = Outage {
        from: moment(5_000).at,
        until: back.at,
        cause: Cause::Closed,
    };
    assert_eq!(effects, [Effect::Subscribe, Effect::Report(outage)]);
}

#[test]
fn waits_grow_to_the_longest_and_fall_back_after_an_acknowledgement() {
    let (mut session, _) = online([0, 1, 0]);
    let mut now = 10;
    let mut longest = 0;
    for _ in 0..200 {
        session.handle(Input::Lost(Cause::Unreachable), moment(now));
        let retry = session.deadline().expect("a retry").0;
        longest = longest.max(retry - now);
        assert!(retry - now <= 300_000);
        now = retry;
        session.handle(Input::Tick, moment(now));
    }
    assert!(longest > 100_000, "{longest}");
    session.handle(Input::Admitted, moment(now));
    session.handle(sent(Lane::Vital, 1), moment(now));
    session.handle(
        Input::Settled(ack(Lane::Vital, 1), Settled::Deleted(Seq(1))),
        moment(now),
    );
    session.handle(Input::Lost(Cause::Closed), moment(now));
    assert!(session.deadline().expect("a retry").0 - now <= 1_000);
}

#[test]
fn hints_are_obeyed_and_unknown_words_counted() {
    let (mut session, _) = online([0, 0, 0]);
    let hint = |word: &[u8]| Input::Hint(word.to_vec());
    assert_eq!(session.handle(hint(b"renew"), moment(2)), [Effect::Renew]);
    assert_eq!(session.handle(hint(b"posture"), moment(2)), [Effect::TellPosture]);
    assert_eq!(session.handle(hint(b"trust"), moment(2)), [Effect::FetchTrust]);
    assert_eq!(session.handle(hint(b"facts"), moment(2)), [Effect::TellFacts]);
    assert_eq!(
        session.handle(hint(b"software"), moment(2)),
        [Effect::SendSoftware]
    );
    assert!(session.handle(hint(b"\xff"), moment(2)).is_empty());
    assert_eq!(session.surprises(), 1);
}

#[test]
fn a_new_certificate_is_used_at_once() {
    let (mut session, _) = online([0, 0, 0]);
    assert_eq!(
        session.handle(Input::NewCertificate, moment(2)),
        [Effect::HangUp, Effect::Dial]
    );
}

#[test]
fn after_a_rebase_every_lane_begins_again() {
    let (mut session, _) = online([0, 5, 0]);
    session.handle(sent(Lane::Vital, 5), moment(2));
    let mut new = Ledger::fresh(Epoch(2));
    for _ in 0..5 {
        new.number(Lane::Vital, b"record");
    }
    session.handle(Input::Outbox(Box::new(new)), moment(3));
    let effects = session.handle(Input::Settled(ack(Lane::Vital, 0), Settled::Rebased), moment(3));
    assert_eq!(effects, [Effect::Send(Lane::Vital, Seq(1))]);
}

fn any_input() -> impl Strategy<Value = Input> {
    let lane = prop_oneof![Just(Lane::Urgent), Just(Lane::Vital), Just(Lane::Routine)];
    prop_oneof![
        Just(Input::Tick),
        Just(Input::Admitted),
        Just(Input::Lost(Cause::Closed)),
        (0..300u64, 0..300u64).prop_map(|(a, b)| Input::Outbox(Box::new(ledger([a % 3, b, a])))),
        (lane.clone(), 1..300u64).prop_map(|(lane, last)| sent(lane, last)),
        lane.clone().prop_map(Input::NothingToSend),
        (lane.clone(), 0..300u64).prop_map(|(lane, n)| Input::Ack(ack(lane, n))),
        (lane.clone(), 0..300u64)
            .prop_map(|(lane, n)| Input::Settled(ack(lane, n), Settled::Deleted(Seq(n)))),
        lane.prop_map(|lane| Input::Settled(ack(lane, 0), Settled::Rebased)),
        Just(Input::NewCertificate),
    ]
}

proptest! {
    /// No order of inputs leaves a session that waits for nothing, sends while another send is under way, or
    /// has more under way than the window.
    #[test]
    fn any_life_keeps_its_promises(inputs in proptest::collection::vec(any_input(), 1..80)) {
        let mut session = Session::new(Limits::default(), ledger([0, 0, 0]), None, 3, moment(0));
        let mut now = 0;
        let mut sending = 0;
        for input in inputs {
            now += 400;
            if matches!(input, Input::Sent { .. } | Input::NothingToSend(_)) {
                sending = 0;
            }
            let effects = session.handle(input, moment(now));
            for effect in effects {
                match effect {
                    Effect::Send(..) => sending += 1,
                    Effect::HangUp | Effect::Dial | Effect::Subscribe => sending = 0,
                    _ => {}
                }
            }
            prop_assert!(sending <= 1);
            match session.state() {
                State::Offline { retry_at } => prop_assert!(retry_at.0 <= now + 300_000),
                State::Online(online) => {
                    let stalled = online.flights.is_empty() || session.deadline().is_some();
                    prop_assert!(stalled, "records under way without a deadline");
                }
                State::Dialing => {}
                State::Stopped => prop_assert!(false, "nobody asked it to stop"),
            }
        }
    }
}
