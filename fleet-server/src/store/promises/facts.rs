//! What is kept of what boxes are.

use homeward_protocol::envelope::{ChainHash, Item, Lane};
use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::fact::{Fact, FactId, What, text};
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

fn list(count: usize) -> Inventory {
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

pub(super) fn a_list_of_software_is_asked_for_once_and_shared_and_goes_when_nobody_has_it(home: &Home) {
    let store = home.open();
    let mut of = Sender::new();
    let bytes = list(1500).encode().expect("it fits");
    let named = |bytes: &[u8]| {
        let id = FactId::of(What::Inventory);
        FactSet::new([Fact::new(id, text(&name(bytes).to_string()), "dpkg", NOW)])
    };
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
