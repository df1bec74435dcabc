//! Decisions by table, and whole stories: a simulated agent against the real statements, with losses, duplicates,
//! restarts, and databases and disks that were put back.
#![expect(clippy::disallowed_methods, reason = "test: tasks, keys, and a stopwatch")]

mod delivery;
pub(crate) mod story;

use homeward_protocol::ack::Next;
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Lane, LossCause, Lost};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire::Bytes;

use super::*;

const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
const EPOCH: Epoch = Epoch(7);

fn body(n: u64) -> Bytes {
    Bytes(n.to_be_bytes().to_vec())
}

/// The chain after records 1 to `n` of a lane whose record `n` has the body `n`.
fn chain(n: u64) -> ChainHash {
    (1..=n).fold(ChainHash::start(EPOCH, Lane::Vital), |head, n| {
        head.then(&body(n).0)
    })
}

fn send(oldest: u64, first: u64, entries: Vec<Entry>) -> Envelope {
    Envelope {
        gateway: "gw-1".parse().expect("an id"),
        epoch: EPOCH,
        lane: Lane::Vital,
        oldest: Seq(oldest),
        first: Seq(first),
        prev: chain(first - 1),
        sent_at: NOW,
        entries,
    }
}

/// Records `first` to `last`.
fn records(oldest: u64, first: u64, last: u64) -> Envelope {
    send(
        oldest,
        first,
        (first..=last).map(|n| Entry::Item(body(n))).collect(),
    )
}

fn lost(count: u64, head: ChainHash) -> Entry {
    Entry::Lost(Lost {
        count,
        cause: LossCause::Quota,
        head,
        at: NOW,
    })
}

fn stored(up_to: u64) -> Stream {
    Stream {
        up_to: Seq(up_to),
        head: chain(up_to),
        closed: false,
    }
}

fn judge(envelope: Envelope, stream: Option<Stream>, covering: Option<Envelope>) -> Decision {
    let arrived = Arrived::new(envelope);
    let wanted = arrived.wants(stream.as_ref()).is_some();
    assert_eq!(
        wanted,
        covering.is_some(),
        "asked for a stored envelope: {wanted}"
    );
    let known = Known {
        covering: covering.map(Arrived::new),
        gaps: Vec::new(),
    };
    decide(&arrived, stream.as_ref(), &known)
}

fn accepted(decision: Decision) -> Accepted {
    match decision {
        Decision::Accepted(accepted) => accepted,
        other => panic!("{other:?}"),
    }
}

fn causes(accepted: &Accepted) -> Vec<(Cause, u64, u64, u64)> {
    accepted
        .gaps
        .iter()
        .map(|g| (g.cause, g.from.0, g.to.0, g.missing))
        .collect()
}

#[test]
fn what_continues_a_stream_is_accepted_without_a_gap() {
    for (from, to) in [(1, 1), (1, 5), (6, 9)] {
        let stream = (from > 1).then(|| stored(from - 1));
        let accepted = accepted(judge(records(1, from, to), stream, None));
        assert_eq!(accepted.stream, stored(to));
        assert_eq!((accepted.gaps.len(), accepted.known), (0, 0));
    }
}

#[test]
fn what_overlaps_is_taken_from_where_it_is_new() {
    let arrived = Arrived::new(records(3, 3, 8));
    let accepted = accepted(decide(&arrived, Some(&stored(5)), &Known::default()));
    let fresh: Vec<u64> = arrived.fresh(&accepted).iter().map(|p| p.first.0).collect();
    assert_eq!((fresh, accepted.stream), (vec![6, 7, 8], stored(8)));
}

#[test]
fn what_is_stored_already_is_a_duplicate_by_its_chain() {
    assert_eq!(
        judge(records(1, 1, 5), Some(stored(5)), None),
        Decision::Duplicate
    );
    let covering = records(1, 2, 6);
    assert_eq!(
        judge(records(1, 1, 4), Some(stored(9)), Some(covering)),
        Decision::Duplicate
    );
}

#[test]
fn other_records_under_stored_numbers_are_a_fork_and_get_a_new_epoch() {
    let other = |first: u64, last: u64| {
        let mut envelope = records(1, first, last);
        envelope.entries[0] = Entry::Item(body(99));
        envelope
    };
    let (up_to_5, up_to_9) = (Some(stored(5)), Some(stored(9)));
    for (envelope, stream, covering) in [
        (other(5, 5), up_to_5, None),
        (other(4, 8), up_to_5, None),
        (other(2, 3), up_to_9, Some(records(1, 1, 9))),
        (records(1, 2, 3), up_to_9, Some(other(1, 9))),
        // The stored envelope has a loss there, or is not the one that covers it.
        (
            records(1, 2, 3),
            up_to_9,
            Some(send(1, 2, vec![lost(5, chain(6))])),
        ),
        (records(1, 2, 3), up_to_9, Some(records(7, 7, 9))),
    ] {
        let arrived = Arrived::new(envelope.clone());
        let decision = judge(envelope, stream, covering);
        let ack = decision.ack(&arrived);
        assert_eq!(
            (decision.name(), ack.next),
            ("fork", Next::NewEpoch),
            "{arrived:?}"
        );
    }
}

#[test]
fn an_acknowledgement_covers_what_was_compared_and_no_more() {
    // A disk that was put back to record 4 and went on with others: 5 and up are not the stored ones.
    let arrived = Arrived::new(records(3, 3, 4));
    let known = Known {
        covering: Some(Arrived::new(records(1, 1, 9))),
        gaps: Vec::new(),
    };
    let ack = decide(&arrived, Some(&stored(9)), &known).ack(&arrived);
    assert_eq!((ack.up_to, ack.next), (Seq(4), Next::Continue));
}

#[test]
fn what_is_alike_before_a_fork_is_acknowledged_and_nothing_else() {
    // Records 3 to 6 are stored; the box holds 3 and 4 of them, and others as 5 and 6.
    let mut envelope = records(3, 3, 6);
    envelope.entries[2] = Entry::Item(body(98));
    envelope.entries[3] = Entry::Item(body(99));
    let arrived = Arrived::new(envelope.clone());
    let stored = [Arrived::new(records(1, 1, 3)), Arrived::new(records(1, 4, 9))];
    assert_eq!(arrived.agreed(&stored, &[]), Seq(4));
    assert_eq!(arrived.agreed(&stored[..1], &[]), Seq(3));
    assert_eq!(arrived.agreed(&[], &[]), Seq::ZERO);
    let hole = Gap {
        from: Seq(3),
        to: Seq(3),
        missing: 1,
        cause: Cause::NotHeld,
    };
    assert_eq!(arrived.agreed(&stored, &[hole]), Seq::ZERO);
    envelope.oldest = Seq(2);
    assert_eq!(Arrived::new(envelope).agreed(&stored, &[]), Seq::ZERO);
}

#[test]
fn a_stream_that_forked_takes_nothing_more() {
    let closed = Stream {
        closed: true,
        ..stored(5)
    };
    let arrived = Arrived::new(records(6, 6, 7));
    let decision = decide(&arrived, Some(&closed), &Known::default());
    assert_eq!(decision.ack(&arrived).next, Next::NewEpoch);
    assert_eq!(decision, Decision::Closed);
    assert_eq!(decision.ack(&arrived).up_to, Seq::ZERO, "nothing was compared");
}

#[test]
fn a_stored_envelope_that_is_gone_cannot_prove_a_duplicate() {
    let arrived = Arrived::new(records(1, 2, 3));
    assert_eq!(arrived.wants(Some(&stored(9))), Some(Seq(3)));
    assert_eq!(
        decide(&arrived, Some(&stored(9)), &Known::default()).name(),
        "fork"
    );
}

#[test]
fn records_that_are_still_held_are_asked_for_again() {
    let arrived = Arrived::new(records(4, 9, 9));
    let decision = decide(&arrived, Some(&stored(5)), &Known::default());
    assert_eq!(decision, Decision::Rewind(Seq(5)));
    assert_eq!(decision.ack(&arrived).up_to, Seq(3), "4 and 5 were not compared");
    assert_eq!(judge(records(1, 2, 2), None, None), Decision::Rewind(Seq::ZERO));
}

#[test]
fn records_that_are_not_held_any_more_become_a_gap_and_the_run_goes_on() {
    let after_loss = accepted(judge(records(9, 9, 10), Some(stored(5)), None));
    assert_eq!(causes(&after_loss), [(Cause::NotHeld, 6, 8, 3)]);
    assert_eq!(after_loss.stream, stored(10));
    let new_server = accepted(judge(records(100, 100, 100), None, None));
    assert_eq!(causes(&new_server), [(Cause::NotHeld, 1, 99, 99)]);
}

#[test]
fn a_broken_chain_is_put_on_record_and_the_records_are_taken() {
    let mut envelope = records(6, 6, 7);
    envelope.prev = chain(2);
    let broken = accepted(judge(envelope, Some(stored(5)), None));
    assert_eq!(causes(&broken), [(Cause::ChainBroken, 6, 6, 0)]);
    assert_eq!(broken.stream.up_to, Seq(7));
    let mut first = records(1, 1, 1);
    first.prev = chain(3);
    assert_eq!(
        causes(&accepted(judge(first, None, None))),
        [(Cause::ChainBroken, 1, 1, 0)]
    );
}

#[test]
fn a_broken_chain_is_a_fork_while_records_from_before_it_are_held() {
    // An acknowledgement of 6 would delete records 4 and 5 of the gateway, which are others than the stored ones.
    let mut envelope = records(4, 6, 6);
    envelope.prev = chain(2);
    assert_eq!(judge(envelope, Some(stored(5)), None).name(), "fork");
}

#[test]
fn records_under_numbers_that_are_on_record_as_missing_are_a_fork() {
    let gap = |from, to, missing, cause| Known {
        covering: None,
        gaps: vec![Gap {
            from: Seq(from),
            to: Seq(to),
            missing,
            cause,
        }],
    };
    let items = Arrived::new(records(3, 3, 5));
    let loss = Arrived::new(send(3, 3, vec![lost(2, chain(4)), Entry::Item(body(5))]));
    for (arrived, known, said) in [
        (&items, gap(1, 4, 4, Cause::NotHeld), "fork"),
        (&loss, gap(3, 4, 2, Cause::Quota), "duplicate"),
        (&loss, gap(5, 5, 1, Cause::Quota), "fork"),
        (&items, gap(4, 4, 0, Cause::ChainBroken), "fork"),
        (&items, gap(3, 3, 0, Cause::ChainBroken), "duplicate"),
        (&items, gap(4, 4, 0, Cause::Fork), "duplicate"),
    ] {
        assert_eq!(
            decide(arrived, Some(&stored(5)), &known).name(),
            said,
            "{known:?}"
        );
    }
}

#[test]
fn a_stated_loss_counts_only_what_is_not_stored() {
    let all = vec![lost(3, chain(8)), Entry::Item(body(9))];
    let whole = accepted(judge(send(6, 6, all.clone()), Some(stored(5)), None));
    assert_eq!(causes(&whole), [(Cause::Quota, 6, 8, 3)]);
    assert_eq!(whole.stream, stored(9));
    // The acknowledgement of 6 and 7 was lost, then the outbox gave them up together with 8.
    let part = accepted(judge(
        send(6, 6, all.clone()),
        Some(stored(7)),
        Some(records(5, 5, 5)),
    ));
    assert_eq!(causes(&part), [(Cause::Quota, 8, 8, 1)]);
    assert_eq!(part.stream, stored(9));
    // The same with another history before the loss.
    let mut other = send(6, 6, all);
    other.prev = chain(3);
    assert_eq!(
        judge(other, Some(stored(7)), Some(records(5, 5, 5))).name(),
        "fork"
    );
}

#[test]
fn an_unreadable_record_counts_as_stored() {
    let arrived = Arrived::new(records(1, 1, 2));
    let accepted = accepted(decide(&arrived, None, &Known::default()));
    let unreadable = |place: &Place| matches!(place.content, Content::Unreadable { .. });
    assert!(arrived.fresh(&accepted).iter().all(unreadable));
    assert_eq!(accepted.stream.up_to, Seq(2));
}

#[test]
fn the_largest_numbers_do_not_overflow() {
    let last = u64::try_from(i64::MAX).expect("fits") - 1;
    let mut envelope = records(1, 1, 1);
    (envelope.oldest, envelope.first) = (Seq(last), Seq(last));
    let accepted = accepted(judge(envelope, Some(stored(5)), None));
    assert_eq!(accepted.stream.up_to, Seq(last));
    let huge = send(1, 1, vec![lost(last, chain(3))]);
    assert_eq!(Arrived::new(huge).last(), Seq(last));
}
