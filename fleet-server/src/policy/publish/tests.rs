//! What goes out, to whom, when, and what does not.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering as Memory};
use std::task::{Context, Poll, Waker};

use homeward_protocol::envelope::Lane;
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::sign::{Floor, Ground, Offer, PolicyMark, accept};
use homeward_protocol::policy::state::{Basis, Isolation, Phase, PolicyState, ReturnCause, Returned};

use super::*;
use crate::gate::connections::Place;
use crate::policy::book::Target;
use crate::policy::paper::Papers;
use crate::policy::take::{give, take};
use crate::policy::tests::{House, NOON, policy};
use crate::store::policies::groups;
use crate::store::promises::{Home, block};
use crate::store::records::Origin;

/// A server, its clock, and the boxes that are connected to it.
struct Stage {
    publish: Publish,
    memory: super::Memory,
    house: House,
    clock: Arc<AtomicI64>,
    _home: Home,
}

impl Stage {
    fn new(gateways: &[&'static str]) -> Stage {
        let (home, house) = (Home::embedded(), House::new());
        let clock = Arc::new(AtomicI64::new(NOON));
        let root = house.root.public();
        let reads = Arc::clone(&clock);
        let stage = Stage {
            publish: Publish {
                store: home.open(),
                connections: Connections::new(100_000),
                roots: Roots::from_fn(move || vec![root.clone()]),
                clock: Clock::from_fn(move || Timestamp::synced(reads.load(Memory::Relaxed))),
            },
            memory: super::Memory::default(),
            house,
            clock,
            _home: home,
        };
        for id in gateways {
            stage.write(|tx| {
                tx.execute(
                    "INSERT INTO gateways (id, state, created_at) VALUES ($1, 'enrolled', 1)",
                    &[(*id).into()],
                )
            });
        }
        stage
    }

    fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        block(self.publish.store.write(work)).expect("written")
    }

    fn now(&self) -> Timestamp {
        self.publish.clock.now()
    }

    fn pass(&self, ms: i64) {
        self.clock.fetch_add(ms, Memory::Relaxed);
    }

    fn connect(&self, id: &str) -> Place {
        let entered = self
            .publish
            .connections
            .enter(&gw(id), false, "192.0.2.7:1", self.now());
        entered.expect("room")
    }

    fn look(&mut self) {
        block(self.publish.look(&mut self.memory)).expect("looks");
    }

    /// Signs, reviews and loads a policy, and gives it to `target`.
    fn publish(&self, version: u64, login: &str, target: Target) -> PolicyMark {
        let offer = self
            .house
            .offer(&policy(version, r#""all""#, login), &self.house.keyring(1));
        let mark = PolicyMark {
            version: homeward_protocol::policy::PolicyVersion(version),
            digest: offer.digest(),
        };
        let papers = Papers {
            keyring: Some(offer.keyring.0),
            policy: Some(offer.policy.0),
            review: offer.review.map(|review| review.0),
        };
        let (roots, now) = (self.publish.roots.now(), self.now());
        self.write(move |tx| {
            take(tx, &papers, &roots, "olga", now)?;
            give(tx, (version, &[target]), "olga", now)
        })
        .expect("assigned");
        mark
    }

    fn say(&self, id: &'static str, state: PolicyState) {
        let now = self.now();
        self.write(move |tx| {
            let at = Origin {
                gateway: id,
                epoch: "e1",
                lane: Lane::Urgent,
                spare: false,
                now,
            };
            states::put(tx, &at, &state)
        });
    }

    fn said(&self, policy: Option<PolicyMark>) -> PolicyState {
        PolicyState {
            taken_at: self.now(),
            basis: Basis::Signed,
            policy,
            keyring: 1,
            phase: Phase::Settled,
            refused: None,
            returned: None,
            isolation: None,
            points: Vec::new(),
            more: 0,
        }
    }

    /// The policy that a box takes from what it was sent.
    fn taken(&self, id: &str, payload: &[u8]) -> PolicyMark {
        let offer = Offer::decode(payload).expect("an offer");
        let roots = self.publish.roots.now();
        let ground = Ground {
            gateway: &gw(id),
            roots: &roots,
            floor: Floor::default(),
            now: self.now(),
        };
        accept(&offer, ground).expect("a box takes it").mark
    }
}

fn gw(id: &str) -> GatewayId {
    id.parse().expect("an id")
}

/// What waits for a box.
fn mail(place: &Place) -> Vec<(Topic, Vec<u8>)> {
    let next = || match place.poll_mail(&Context::from_waker(Waker::noop())) {
        Poll::Ready(down) => Some((down.topic, down.payload)),
        Poll::Pending => None,
    };
    std::iter::from_fn(next).collect()
}

#[test]
fn a_policy_reaches_who_is_connected_now_and_who_comes_back_a_week_later_and_is_not_repeated() {
    let mut stage = Stage::new(&["gw-1", "gw-2"]);
    let here = stage.connect("gw-1");
    stage.look();
    assert!(mail(&here).is_empty(), "there is none yet");
    let mark = stage.publish(7, "no", Target::All);
    stage.look();
    let sent = mail(&here);
    assert_eq!(sent.len(), 1, "in the next look");
    assert_eq!(stage.taken("gw-1", &sent[0].1), mark);
    stage.pass(30_000);
    stage.look();
    assert!(mail(&here).is_empty(), "it was told on this connection");
    stage.say("gw-1", stage.said(Some(mark)));
    stage.pass(7 * 86_400_000);
    stage.look();
    assert!(mail(&here).is_empty(), "it has it");

    let back = stage.connect("gw-2");
    stage.look();
    let sent = mail(&back);
    assert_eq!(stage.taken("gw-2", &sent[0].1), mark);
    // No word came, for example because the box lost it with its power: another connection, another try.
    drop(back);
    let back = stage.connect("gw-2");
    stage.pass(1);
    stage.look();
    drop(back);
    stage.pass(1000);
    let again = stage.connect("gw-2");
    stage.look();
    assert_eq!(mail(&again).len(), 1);
    stage.pass(61_000);
    stage.look();
    assert_eq!(mail(&again).len(), 1, "and after a minute of silence");
}

#[test]
fn quarantine_stops_a_policy_and_not_the_order_that_shuts_a_box_off() {
    let mut stage = Stage::new(&["gw-1"]);
    let place = stage.connect("gw-1");
    stage.publish(7, "no", Target::All);
    stage.write(|tx| {
        tx.execute(
            "INSERT INTO attestation (gateway, quarantined_at, quarantined_why) VALUES ('gw-1', 1, 'x')",
            &[],
        )
    });
    stage.look();
    assert!(mail(&place).is_empty());
    let now = stage.now();
    stage.write(move |tx| isolation::order(tx, &gw("gw-1"), Ordered::Isolate, "calls home", "olga", now));
    stage.look();
    let sent = mail(&place);
    assert_eq!(sent.len(), 1);
    assert_eq!(sent[0].0, Topic::Isolation(gw("gw-1")));
    let order = IsolationOrder::decode(&sent[0].1).expect("an order");
    assert_eq!(
        (order.ordered, order.reason.as_str()),
        (Ordered::Isolate, "calls home")
    );
    let isolation = Isolation {
        order: order.order,
        ordered: Ordered::Isolate,
        since: Some(now),
    };
    let said = PolicyState {
        isolation: Some(isolation),
        ..stage.said(None)
    };
    stage.say("gw-1", said);
    stage.pass(60_000);
    stage.look();
    assert!(mail(&place).is_empty(), "it heard the order");

    stage.write(|tx| tx.execute("UPDATE attestation SET quarantined_at = NULL", &[]));
    let now = stage.now();
    stage.write(move |tx| isolation::order(tx, &gw("gw-1"), Ordered::Lift, "mended", "olga", now));
    stage.look();
    let topics: Vec<Topic> = mail(&place).into_iter().map(|(topic, _)| topic).collect();
    assert_eq!(topics, [Topic::Isolation(gw("gw-1")), Topic::Policy(gw("gw-1"))]);
}

#[test]
fn what_a_box_went_back_from_is_sent_again_only_after_a_person_assigned_it_again() {
    let mut stage = Stage::new(&["gw-1"]);
    let mark = stage.publish(7, "no", Target::All);
    stage.pass(1000);
    let back = Returned {
        from: mark,
        cause: ReturnCause::ServerNotReached,
        at: stage.now(),
    };
    stage.say(
        "gw-1",
        PolicyState {
            returned: Some(back),
            ..stage.said(None)
        },
    );
    let place = stage.connect("gw-1");
    for _ in 0..20 {
        stage.look();
        stage.pass(600_000);
    }
    assert!(mail(&place).is_empty());
    stage.publish(7, "no", Target::All);
    stage.look();
    assert_eq!(mail(&place).len(), 1);
}

#[test]
fn a_ring_gets_it_first_and_the_rest_when_it_is_for_all() {
    let mut stage = Stage::new(&["gw-1", "gw-2"]);
    let ring: homeward_protocol::id::GroupId = "ring-1".parse().expect("an id");
    let (to, now) = (ring.clone(), stage.now());
    stage.write(move |tx| groups::add(tx, &to, &gw("gw-1"), "olga", now));
    let (first, second) = (stage.connect("gw-1"), stage.connect("gw-2"));
    stage.publish(7, "no", Target::Group(ring));
    stage.look();
    assert_eq!((mail(&first).len(), mail(&second).len()), (1, 0));
    stage.publish(7, "no", Target::All);
    stage.look();
    assert_eq!((mail(&first).len(), mail(&second).len()), (0, 1));
}

#[test]
fn a_server_that_was_taken_over_can_send_what_it_likes_and_no_box_takes_it() {
    let mut stage = Stage::new(&["gw-1"]);
    stage.publish(7, "no", Target::All);
    let (good, mark) = {
        let place = stage.connect("gw-1");
        stage.look();
        let sent = mail(&place);
        (
            Offer::decode(&sent[0].1).expect("an offer"),
            stage.taken("gw-1", &sent[0].1),
        )
    };
    let mine = House::new();
    let wanted = policy(8, r#""all""#, "yes");
    let own = mine.offer(&wanted, &mine.keyring(9));
    let under_the_real_ring = Offer {
        keyring: good.keyring.clone(),
        ..own.clone()
    };
    let reviewed_by_me = Offer {
        review: own.review.clone(),
        ..good.clone()
    };
    let unreviewed = Offer {
        review: None,
        ..good.clone()
    };
    let mut changed = good.clone();
    if let Some(last) = changed.policy.0.last_mut() {
        *last ^= 1;
    }
    let roots = stage.publish.roots.now();
    let floor = Floor {
        keyring: 1,
        policy: Some(mark),
    };
    let asks = |offer: &Offer, floor| {
        let ground = Ground {
            gateway: &gw("gw-1"),
            roots: &roots,
            floor,
            now: stage.now(),
        };
        accept(offer, ground).map(|accepted| accepted.mark)
    };
    for forged in [&own, &under_the_real_ring, &reviewed_by_me, &unreviewed, &changed] {
        let answer = asks(forged, Floor::default());
        assert!(answer.is_err(), "{answer:?}");
    }
    // Nor can it bring an older one back.
    let older = stage
        .house
        .offer(&policy(6, r#""all""#, "yes"), &stage.house.keyring(1));
    assert!(asks(&older, Floor::default()).is_ok(), "it was good once");
    assert!(asks(&older, floor).is_err());
}
