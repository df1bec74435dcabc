//! What is kept of what boxes are.

use homeward_protocol::envelope::{ChainHash, Item, Lane};
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::posture::fact::{Fact, FactId, Value, What, text};
use homeward_protocol::posture::facts::{FactReport, FactSet};
use homeward_protocol::posture::inventory::{Component, Inventory, Kind, name, pieces};
use homeward_protocol::time::Timestamp;

use super::kept::{envelope, gateway, start, store_at};
use super::{Home, NOW, block};
use crate::facts::Wish;
use crate::store::take::Outcome;
use crate::store::{Store, StoreError, Tx, facts, retention};

fn read<T: Send + 'static>(
    store: &Store,
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> T {
    block(store.read(work)).expect("read")
}

/// Sends records of one outbox's lane, one envelope after another.
struct Sender {
    head: ChainHash,
    next: u64,
}

impl Sender {
    fn new() -> Sender {
        Sender {
            head: start(1, Lane::Routine),
            next: 1,
        }
    }

    fn send(&mut self, store: &Store, item: Item, now: Timestamp) -> Outcome {
        let made = envelope(1, Lane::Routine, self.next, self.head, &[item]);
        self.head = self.head.after(&made.entries[0]);
        self.next += 1;
        store_at(store, made, now)
    }

    fn report(&mut self, store: &Store, report: FactReport, now: Timestamp) -> Vec<Wish> {
        let outcome = self.send(store, Item::Facts(report), now);
        outcome.wishes.into_iter().collect()
    }
}

fn state(ports: &[(u32, &str)]) -> FactSet {
    FactSet::new(ports.iter().map(|(port, program)| {
        let id = FactId::about(What::Listen, &format!("tcp/0.0.0.0:{port}"));
        Fact::new(id, text(program), "/proc/net", NOW.plus_ms(-1000))
    }))
}

fn rows(store: &Store) -> (usize, usize) {
    read(store, |tx| {
        Ok((
            facts::since(tx, &gateway())?.len(),
            facts::history(tx, &gateway())?.len(),
        ))
    })
}

pub(super) fn facts_are_folded_and_only_what_changed_is_history(home: &Home) {
    let store = home.open();
    let mut of = Sender::new();
    let (one, two, three) = (
        state(&[(22, "sshd"), (80, "nginx")]),
        state(&[(22, "sshd"), (443, "nginx")]),
        state(&[(22, "dropbear"), (443, "nginx")]),
    );
    assert_eq!(
        of.report(&store, two.since(9, (8, &one), NOW), NOW),
        [Wish::Facts],
        "its base is not known"
    );
    assert_eq!(rows(&store), (0, 0));
    assert!(of.report(&store, one.full(10, NOW), NOW).is_empty());
    assert_eq!(rows(&store), (2, 0), "the first report is no change");
    let later = NOW.plus_ms(60_000);
    assert!(
        of.report(&store, two.since(11, (10, &one), later), later)
            .is_empty()
    );
    assert_eq!(rows(&store), (2, 2), "one is gone, one is new");
    // The report of changes that comes next is against the full one too: a lost one spoils nothing.
    let last = NOW.plus_ms(120_000);
    assert!(
        of.report(&store, three.since(12, (10, &one), last), last)
            .is_empty()
    );
    assert_eq!(rows(&store), (2, 3));
    assert_eq!(
        of.report(&store, one.since(13, (11, &two), last), last),
        [Wish::Facts]
    );
    let (head, known) = read(&store, |tx| {
        Ok((facts::head(tx, &gateway())?, facts::known(tx, &gateway())?))
    });
    assert_eq!(head, Some((12, three.mark())));
    assert_eq!(known.expect("known").state(), three);
    assert!(of.report(&store, three.full(14, last), last).is_empty());
    assert_eq!(
        rows(&store),
        (2, 3),
        "a full report of what is known is no change"
    );
    let found = read(&store, |tx| facts::find(tx, What::Listen, (":22", "DROP"), 10));
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].gateway.clone(), found[0].value.as_str()),
        (gateway(), "dropbear")
    );
    assert!(read(&store, |tx| facts::find(tx, What::Listen, ("%", ""), 10)).is_empty());
}

pub(super) fn list(count: usize) -> Inventory {
    let word = |text: &str| text.parse().expect("a word");
    let part = |n: usize| Component {
        kind: Kind::Deb,
        name: word(&format!("package-{n}")),
        version: word("1.2-3"),
        arch: Some(word("amd64")),
        origin: Some((word("src"), word("1.2-3"))),
    };
    Inventory::new((word("debian"), Some(word("12"))), (0..count).map(part).collect())
}

/// The facts of a box that has this list.
pub(super) fn naming(list: &[u8]) -> FactSet {
    let id = FactId::of(What::Inventory);
    FactSet::new([Fact::new(id, text(&name(list).to_string()), "dpkg", NOW)])
}

pub(super) fn a_list_of_software_that_a_gateway_does_not_name_is_not_kept(home: &Home) {
    let store = home.open();
    let mut of = Sender::new();
    let (own, other) = (list(2), list(3));
    let bytes = |list: &Inventory| list.encode().expect("it fits");
    let (own, other) = (bytes(&own), bytes(&other));
    for list in [&own, &other] {
        of.send(&store, Item::Software(pieces(list).remove(0)), NOW);
    }
    of.report(&store, naming(&own).full(1, NOW), NOW);
    for list in [&other, &own] {
        of.send(&store, Item::Software(pieces(list).remove(0)), NOW);
    }
    let (own, other) = (name(&own), name(&other));
    let here = read(&store, move |tx| {
        Ok((facts::has_list(tx, own)?, facts::has_list(tx, other)?))
    });
    assert_eq!(here, (true, false));
    let pieces = read(&store, |tx| {
        tx.row("SELECT count(*) FROM inventory_pieces", &[])?
            .map_or(Ok(-1), |row| row.int(0))
    });
    assert_eq!(pieces, 0);
}

pub(super) fn a_fact_may_be_longer_than_an_index_takes(home: &Home) {
    let store = home.open();
    // Each word is another, so that nothing is gained by compressing it.
    let word = |n: u64| -> ShortText {
        let hex = |m: u64| super::kept::digest_of(n * 100 + m);
        ShortText::cut(&[hex(1), hex(2)].concat())
    };
    let long = Value::List((0..32).map(word).collect());
    let id = FactId::of(What::Inventory);
    let facts = FactSet::new([Fact::new(id, long.clone(), "a test", NOW)]);
    Sender::new().report(&store, facts.full(1, NOW), NOW);
    let kept = read(&store, |tx| facts::since(tx, &gateway()));
    assert_eq!(kept.len(), 1);
    assert!(kept[0].value.len() >= 32 * 128, "{}", kept[0].value.len());
    let found = read(&store, move |tx| {
        facts::find(tx, What::Inventory, ("", &long.to_string()[..20]), 10)
    });
    assert_eq!(found.len(), 1);
}

pub(super) fn a_list_of_software_is_asked_for_once_and_shared_and_goes_when_nobody_has_it(home: &Home) {
    let store = home.open();
    let mut of = Sender::new();
    let bytes = list(1500).encode().expect("it fits");
    let named = naming;
    assert_eq!(
        of.report(&store, named(&bytes).full(1, NOW), NOW),
        [Wish::Software]
    );
    let all = pieces(&bytes);
    assert!(all.len() > 1);
    for piece in all {
        of.send(&store, Item::Software(piece), NOW);
    }
    assert!(
        of.report(&store, named(&bytes).full(2, NOW), NOW).is_empty(),
        "it is here"
    );
    let (kept, who) = read(&store, |tx| {
        Ok((facts::list(tx, &gateway())?, facts::who_has(tx, "src", 5000)?))
    });
    assert_eq!(kept.map(|(list, ..)| list), Some(list(1500)));
    assert_eq!(who.len(), 1500);
    // It is updated: the old list is nobody's, and goes in bounded steps.
    let other = list(3).encode().expect("it fits");
    assert_eq!(
        of.report(&store, named(&other).full(3, NOW), NOW),
        [Wish::Software]
    );
    let later = NOW.plus_ms(9 * 86_400_000);
    while block(store.write(move |tx| retention::step(tx, 30, 30, later))).expect("written") {}
    let old = name(&bytes);
    assert!(!read(&store, move |tx| facts::has_list(tx, old)));
    let left = read(&store, |tx| {
        tx.row("SELECT count(*) FROM packages", &[])?
            .map_or(Ok(-1), |row| row.int(0))
    });
    assert_eq!(left, 0);
    let stranger: GatewayId = "gw-2".parse().expect("an id");
    assert!(read(&store, move |tx| facts::list(tx, &stranger)).is_none());
}
