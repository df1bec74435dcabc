//! Promises about policies.

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::PolicyVersion;
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::network::Protocol;
use homeward_protocol::policy::points::{PointId, Rule};
use homeward_protocol::policy::sign::{Keyring, MAX_GROUPS, Refusal, Review, SignedDigest};
use homeward_protocol::policy::state::{
    Basis, Isolation, Phase, PointState, PolicyState, ReturnCause, Returned, Standing, StoppedFlow,
    StoppedFlows,
};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::{PublicKey, Signed};
use homeward_protocol::time::Timestamp;

use super::{Home, block};
use crate::policy::book::Target;
use crate::policy::paper::Papers;
use crate::policy::take::{self, Taken, Unassignable};
use crate::policy::tests::{House, Key, NOON, policy};
use crate::store::policies::groups::{self, Joining};
use crate::store::policies::isolation::{self, Ordering};
use crate::store::policies::{self, Loading, overview, states, stopped};
use crate::store::records::Origin;
use crate::store::{Store, StoreError, Tx};

fn now(after_s: i64) -> Timestamp {
    Timestamp::synced(NOON + after_s * 1000)
}

fn gw(name: &str) -> GatewayId {
    name.parse().expect("an id")
}

pub(super) fn gateways(tx: &mut dyn Tx) -> Result<(), StoreError> {
    for id in ["gw-1", "gw-2", "gw-3"] {
        tx.execute(
            "INSERT INTO gateways (id, state, created_at) VALUES ($1, 'enrolled', 1)",
            &[id.into()],
        )?;
    }
    Ok(())
}

pub(super) fn papers(house: &House, version: u64, login: &str, ring: u64) -> Papers {
    let offer = house.offer(&policy(version, r#""all""#, login), &house.keyring(ring));
    Papers {
        keyring: Some(offer.keyring.0),
        policy: Some(offer.policy.0),
        review: offer.review.map(|review| review.0),
    }
}

pub(super) fn take(store: &Store, house: &House, papers: Papers) -> Taken {
    let roots = [house.root.public()];
    block(store.write(move |tx| take::take(tx, &papers, &roots, "olga", now(0)))).expect("answers")
}

pub(super) fn a_policy_is_kept_only_as_signed_and_its_number_stands_for_one_content(home: &Home) {
    let (store, house) = (home.open(), House::new());
    let first = papers(&house, 7, "no", 2);
    let new = Taken::Policy {
        version: 7,
        loading: Loading::New,
    };
    assert_eq!(take(&store, &house, first.clone()), new);
    let same = Taken::Policy {
        version: 7,
        loading: Loading::Same,
    };
    assert_eq!(take(&store, &house, first.clone()), same);
    let other = Taken::Policy {
        version: 7,
        loading: Loading::OtherContent,
    };
    assert_eq!(take(&store, &house, papers(&house, 7, "yes", 2)), other);
    let refused = |papers| take(&store, &house, papers);
    assert_eq!(
        refused(papers(&house, 8, "no", 1)),
        Taken::Refused(Refusal::OlderKeyring)
    );
    assert_eq!(
        refused(papers(&House::new(), 8, "no", 3)),
        Taken::Refused(Refusal::UnknownRoot)
    );
    let unreviewed = Papers {
        review: None,
        ..papers(&house, 8, "no", 2)
    };
    assert_eq!(refused(unreviewed), Taken::Refused(Refusal::NotReviewed));
    let ring = Papers {
        keyring: papers(&house, 8, "no", 3).keyring,
        ..Papers::default()
    };
    assert_eq!(refused(ring.clone()), Taken::Keyring { number: 3, new: true });
    assert_eq!(
        refused(ring),
        Taken::Keyring {
            number: 3,
            new: false
        }
    );
    // Cleo takes Ben's place: the very same policy is reviewed by her.
    let cleo = Key::new();
    let anew = |ring| {
        let keyring = Keyring {
            reviewers: vec![cleo.named("Cleo")],
            ..house.keyring(ring)
        };
        let signed = first.policy.clone().expect("signed");
        let review = Review {
            policy: SignedDigest::of(&signed),
            version: PolicyVersion(7),
            at: policy(7, r#""all""#, "no").issued,
        };
        Papers {
            keyring: Some(Signed::seal(&keyring, &house.root).expect("signs")),
            policy: Some(signed),
            review: Some(Signed::seal(&review, &cleo).expect("signs")),
        }
    };
    let (by_her, later) = (anew(4), anew(5));
    let later = Papers {
        review: by_her.review.clone(),
        ..later
    };
    let mark = || block(store.read(policies::mark)).expect("reads");
    for (papers, loading) in [
        (by_her.clone(), Loading::SignedAnew),
        (by_her, Loading::Same),
        (later, Loading::NewKeyring),
    ] {
        let (before, version) = (mark(), 7);
        assert_eq!(take(&store, &house, papers), Taken::Policy { version, loading });
        assert_eq!(mark() > before, loading != Loading::Same, "{loading:?}");
    }
    drop(store);
    let store = home.open();
    let (listed, ring) =
        block(store.read(|tx| Ok((policies::list(tx)?, policies::keyring(tx)?)))).expect("reads");
    assert_eq!(listed.len(), 1);
    assert_eq!(Some(&listed[0].entry.signed), first.policy.as_ref());
    assert_eq!(
        (listed[0].author.as_str(), listed[0].reviewer.as_deref()),
        ("Ann", Some("Cleo"))
    );
    assert_eq!(ring.map(|(number, _, _)| number), Some(5));
    // Whoever writes into the table has not signed.
    let forge =
        store.write(|tx| tx.execute("UPDATE policies SET signed = $1", &[[1u8, 2].as_slice().into()]));
    block(forge).expect("forged");
    let read = block(store.read(policies::list));
    assert!(matches!(read, Err(StoreError::Corrupt { .. })), "{read:?}");
}

pub(super) fn who_shall_have_what_follows_assignments_groups_and_withdrawals(home: &Home) {
    let (store, house) = (home.open(), House::new());
    block(store.write(gateways)).expect("made");
    for version in [1, 2] {
        take(&store, &house, papers(&house, version, "no", 1));
    }
    let roots = vec![house.root.public()];
    let ring: GroupId = "ring-1".parse().expect("an id");
    let plan = |version, target: Target| {
        let roots = roots.clone();
        block(store.read(move |tx| take::planned(tx, (version, &[target]), &roots, now(1)))).expect("answers")
    };
    let assign = |version, target: Target| {
        block(store.write(move |tx| take::give(tx, (version, &[target]), "olga", now(1)))).expect("answers")
    };
    let mark = || block(store.read(policies::mark)).expect("reads");
    let before = mark();
    let dry = plan(1, Target::All).expect("planned");
    assert_eq!((dry.steps.len(), dry.steps[0].gateways.len()), (1, 3));
    assert_eq!(mark(), before, "a dry run changes nothing");
    assert_eq!(plan(9, Target::All), Err(Unassignable::NotLoaded(9)));
    assign(1, Target::All).expect("assigned");
    assign(2, Target::Group(ring.clone())).expect("assigned");
    assert!(mark() > before);
    assert_eq!(assign(9, Target::All), Err(Unassignable::NotLoaded(9)));
    let nobody = Target::Gateway(gw("gw-9"));
    assert_eq!(assign(1, nobody), Err(Unassignable::NoGateway(gw("gw-9"))));

    let join = |gateway: &'static str, group: GroupId| {
        block(store.write(move |tx| groups::add(tx, &group, &gw(gateway), "olga", now(2)))).expect("answers")
    };
    assert_eq!(join("gw-2", ring.clone()), Joining::Done);
    assert_eq!(join("gw-2", ring.clone()), Joining::Already);
    assert_eq!(join("gw-9", ring.clone()), Joining::Unknown);
    for n in 0..MAX_GROUPS {
        join("gw-3", format!("g-{n}").parse().expect("an id"));
    }
    assert_eq!(join("gw-3", ring.clone()), Joining::Full);
    let wanted = || wanted(&store, &roots);
    assert_eq!(wanted(), [Some(1), Some(2), Some(1)]);
    let leave = store.write(move |tx| groups::remove(tx, &ring, &gw("gw-2"), "olga", now(3)));
    assert_eq!(block(leave).expect("answers"), Joining::Done);
    assert_eq!(wanted(), [Some(1), Some(1), Some(1)]);
    let withdraw =
        || block(store.write(|tx| policies::withdraw(tx, 1, "wrong", "olga", now(4)))).expect("answers");
    assert!(withdraw());
    assert!(!withdraw());
    assert_eq!(wanted(), [None, None, None]);
    assert_eq!(assign(1, Target::All), Err(Unassignable::Withdrawn(1)));
}

fn wanted(store: &Store, roots: &[PublicKey]) -> Vec<Option<u64>> {
    let roots = roots.to_vec();
    let lines = store.read(move |tx| {
        let book = policies::book(tx, &roots)?;
        overview::lines(tx, &book, now(10))
    });
    block(lines)
        .expect("reads")
        .iter()
        .map(|line| line.wanted)
        .collect()
}

fn origin(at: Timestamp, epoch: &str) -> Origin<'_> {
    Origin {
        gateway: "gw-1",
        epoch,
        lane: Lane::Urgent,
        spare: false,
        now: at,
    }
}

pub(super) fn point(item: &str, observed: &str, standing: Standing, since: Timestamp) -> PointState {
    PointState {
        point: PointId::new(Rule::Sshd, item),
        hazard: "h-1".parse().expect("an id"),
        wanted: ShortText::cut("no"),
        applied: Some(ShortText::cut("no")),
        observed: Some(ShortText::cut(observed)),
        standing,
        since,
    }
}

pub(super) fn state(points: Vec<PointState>, taken_at: Timestamp) -> PolicyState {
    PolicyState {
        taken_at,
        basis: Basis::Signed,
        policy: None,
        keyring: 1,
        phase: Phase::Settled,
        refused: None,
        returned: None,
        isolation: None,
        points,
        more: 0,
    }
}

fn report(store: &Store, after_s: i64, epoch: &'static str, state: PolicyState) {
    let done = store.write(move |tx| states::put(tx, &origin(now(after_s), epoch), &state));
    block(done).expect("kept");
}

/// Since when, what was seen, and until when, the newest first.
fn spells(store: &Store) -> Vec<(i64, String, Option<i64>)> {
    let found = block(store.read(|tx| states::spells(tx, &gw("gw-1")))).expect("reads");
    let short = |at: Timestamp| (at.ms - NOON) / 1000;
    found
        .into_iter()
        .map(|spell| {
            (
                short(spell.since),
                spell.observed.unwrap_or_default(),
                spell.ended_at.map(short),
            )
        })
        .collect()
}

pub(super) fn what_boxes_say_stands_and_what_drifted_has_a_history(home: &Home) {
    let store = home.open();
    block(store.write(gateways)).expect("made");
    let holds = |item: &str| point(item, "no", Standing::Holds, now(0));
    report(&store, 1, "e1", state(vec![holds("a"), holds("b")], now(1)));
    assert_eq!(spells(&store), []);
    let drifted = point("a", "yes", Standing::Drifted, now(10));
    report(
        &store,
        12,
        "e1",
        state(vec![drifted.clone(), holds("b")], now(11)),
    );
    report(
        &store,
        13,
        "e1",
        state(vec![drifted.clone(), holds("b")], now(12)),
    );
    assert_eq!(spells(&store), [(10, "yes".into(), None)], "the same is no news");
    let again = point("a", "maybe", Standing::Drifted, now(20));
    report(&store, 21, "e1", state(vec![again, holds("b")], now(20)));
    report(&store, 30, "e1", state(vec![holds("b")], now(30)));
    let history = [
        (20, "maybe".to_owned(), Some(30)),
        (10, "yes".to_owned(), Some(21)),
    ];
    assert_eq!(spells(&store), history);
    // An older state of another outbox changes nothing.
    report(&store, 31, "e0", state(vec![drifted], now(5)));
    assert_eq!(spells(&store), history);
    let listed = block(store.read(|tx| states::points(tx, &gw("gw-1")))).expect("reads");
    assert_eq!(listed, [holds("b")]);

    // A clock that is not trusted says nothing of since when.
    let floor = Timestamp {
        trust: homeward_protocol::time::ClockTrust::Floor,
        ..now(-900_000)
    };
    let failed = point("b", "", Standing::Failed(ShortText::cut("disk full")), floor);
    report(&store, 40, "e1", state(vec![failed.clone()], now(40)));
    report(&store, 50, "e1", state(vec![failed], now(50)));
    let unmet = block(store.read(states::unmet)).expect("reads");
    assert_eq!(
        (unmet.len(), unmet[0].tally.failed, unmet[0].since),
        (1, 1, Some(now(40)))
    );
    let found = block(store.read(|tx| states::offenders(tx, &PointId::new(Rule::Sshd, "b")))).expect("reads");
    assert_eq!(found[0].gateway, gw("gw-1"));
    assert_eq!(
        found[0].state.standing,
        Standing::Failed(ShortText::cut("disk full"))
    );
}

pub(super) fn an_isolation_has_one_number_and_counts_as_held_only_when_the_box_says_so(home: &Home) {
    let store = home.open();
    block(store.write(gateways)).expect("made");
    let give = |ordered, after_s| {
        let work = move |tx: &mut dyn Tx| {
            isolation::order(tx, &gw("gw-1"), ordered, "calls home", "olga", now(after_s))
        };
        block(store.write(work)).expect("answers")
    };
    assert_eq!(give(Ordered::Lift, 0), Ordering::Already, "it never was shut off");
    let Ordering::Given(first) = give(Ordered::Isolate, 1) else {
        panic!("not given")
    };
    assert_eq!(give(Ordered::Isolate, 2), Ordering::Already);
    let Ordering::Given(lifted) = give(Ordered::Lift, 1) else {
        panic!("not given")
    };
    assert!(lifted.order > first.order, "{first:?} {lifted:?}");
    let all = block(store.read(isolation::all)).expect("reads");
    assert_eq!(all, [(gw("gw-1"), lifted.clone())]);
    let nobody = store.write(|tx| isolation::order(tx, &gw("gw-9"), Ordered::Isolate, "x", "olga", now(3)));
    assert_eq!(block(nobody).expect("answers"), Ordering::Unknown);

    // A server that was restored lifts what the one before it ordered, under a higher number.
    let foreign = Isolation {
        order: lifted.order + 1_000_000_000,
        ordered: Ordered::Isolate,
        since: Some(now(0)),
    };
    let said = PolicyState {
        isolation: Some(foreign),
        ..state(Vec::new(), now(5))
    };
    report(&store, 5, "e1", said);
    block(store.write(|tx| tx.execute("DELETE FROM isolations", &[]))).expect("lost");
    let Ordering::Given(above) = give(Ordered::Lift, 6) else {
        panic!("not given")
    };
    assert_eq!(above.order, foreign.order + 1);
}

pub(super) fn a_return_is_dated_when_it_was_first_heard_and_stopped_flows_are_counted(home: &Home) {
    let (store, house) = (home.open(), House::new());
    block(store.write(gateways)).expect("made");
    let signed = Signed::seal(&policy(3, r#""all""#, "no"), &house.ann).expect("signs");
    let from = homeward_protocol::policy::sign::PolicyMark {
        version: homeward_protocol::policy::PolicyVersion(3),
        digest: homeward_protocol::policy::sign::SignedDigest::of(&signed),
    };
    let back = Returned {
        from,
        cause: ReturnCause::ServerNotReached,
        at: now(0),
    };
    let said = |at| PolicyState {
        returned: Some(back.clone()),
        ..state(Vec::new(), at)
    };
    report(&store, 10, "e1", said(now(9)));
    report(&store, 20, "e1", said(now(19)));
    let kept = block(store.read(|tx| states::get(tx, &gw("gw-1"))))
        .expect("reads")
        .expect("said");
    assert_eq!((kept.returned_heard, kept.received_at), (Some(now(10)), now(20)));

    let flow = |port| StoppedFlow {
        point: PointId::new(Rule::Devices, "others"),
        who: ShortText::cut("monitor"),
        peer: "203.0.113.9".parse().expect("an address"),
        protocol: Some(Protocol::Tcp),
        port,
    };
    for (after_s, ports, more) in [(1, vec![80, 443], 5), (3700, vec![80], 0)] {
        let flows = StoppedFlows {
            taken_at: now(after_s),
            flows: ports.into_iter().map(flow).collect(),
            more,
        };
        let done = store.write(move |tx| stopped::put(tx, &origin(now(after_s), "e1"), &flows));
        block(done).expect("kept");
    }
    let work = |tx: &mut dyn Tx| {
        Ok((
            stopped::newest(tx, &gw("gw-1"), 10)?,
            stopped::totals(tx, &gw("gw-1"))?,
        ))
    };
    let (newest, totals) = block(store.read(work)).expect("reads");
    let seen: Vec<(i64, i64)> = newest.iter().map(|one| (one.port, one.told)).collect();
    assert_eq!((seen, totals), (vec![(80, 2), (443, 1)], (3, 5)));
}

/// A full report may leave out points that do not hold: what it leaves out may stand still.
pub(super) fn a_spell_that_was_only_left_out_goes_on_and_spells_have_a_bound(home: &Home) {
    let store = home.open();
    block(store.write(gateways)).expect("made");
    let drifted = |item: &str| point(item, "yes", Standing::Drifted, now(1));
    let holds = |item: &str| point(item, "no", Standing::Holds, now(1));
    let full = |points, at| PolicyState {
        more: 3,
        ..state(points, at)
    };
    report(
        &store,
        1,
        "e1",
        state(vec![drifted("a"), drifted("b"), holds("c")], now(1)),
    );
    report(&store, 2, "e1", full(vec![drifted("b")], now(2)));
    let ended = |store: &Store| -> Vec<Option<i64>> {
        let mut all: Vec<Option<i64>> = spells(store).into_iter().map(|(_, _, ended)| ended).collect();
        all.sort_unstable();
        all
    };
    assert_eq!(ended(&store), [None, None]);
    let items = |store: &Store| -> Vec<String> {
        let points = block(store.read(|tx| states::points(tx, &gw("gw-1")))).expect("reads");
        points.iter().map(|one| one.point.to_string()).collect()
    };
    assert_eq!(
        items(&store).len(),
        2,
        "whether the third holds is not known: {:?}",
        items(&store)
    );
    report(&store, 3, "e1", full(vec![drifted("b"), holds("c")], now(3)));
    assert_eq!(ended(&store), [None, Some(3)], "all that do not hold are listed");
    assert_eq!(items(&store).len(), 2);

    // Old spells go when new ones begin; those that go on stay.
    let many = store.write(|tx| {
        for n in 0..5_010_i64 {
            tx.execute(
                "INSERT INTO drifts (gateway, point, standing, wanted, since, noted_at, ended_at)
                 VALUES ('gw-1', 'sshd/x', 'drifted', 'no', 1, $1, $1)",
                &[n.into()],
            )?;
        }
        Ok(())
    });
    block(many).expect("made");
    report(&store, 4, "e1", state(vec![drifted("b"), drifted("d")], now(4)));
    let left = block(store.read(|tx| {
        let row = tx.row("SELECT count(*), count(*) - count(ended_at) FROM drifts", &[])?;
        row.map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?)))
    }));
    assert_eq!(left.expect("reads"), (5_001, 2));
}
