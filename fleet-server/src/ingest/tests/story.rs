//! A simulated agent and the real statements, through whatever may happen between them.
//!
//! The agent keeps to the rules of delivery: it sends in order, forgets what is acknowledged and nothing else, and
//! takes a new epoch when it is told to. The way between them keeps the order and loses what it likes.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane, LossCause, Lost};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::signed::Signed;
use homeward_protocol::time::Timestamp;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{TestRng, TestRunner};

use super::NOW;
use crate::ingest::{Arrived, Content, Place};
use crate::store::promises::block;
use crate::store::promises::kept::{NoKey, gateway, reading};
use crate::store::sqlite::Sqlite;
use crate::store::take::{Outcome, Sealed, take};
use crate::store::{Store, StoreError, Tx, check, streams};

/// One lane with readings, one with alarms.
const LANES: [Lane; 2] = [Lane::Vital, Lane::Urgent];

#[derive(Debug, Clone)]
enum Step {
    Push(usize, u8),
    GiveUp(usize, u8),
    Send(usize, u8),
    /// The oldest message up arrives; its acknowledgement sets out.
    Arrive,
    /// The oldest message up arrives, and stays to arrive again.
    ArriveTwice,
    /// All messages up arrive at once, and are taken together.
    AllArrive,
    /// The commit fails: nothing is stored, and the connection ends.
    CommitFails,
    AckArrives,
    AckIsLost,
    /// The agent was killed, or the link fell: what was sent up may still be on its way to the store, or may be lost.
    Reconnect(bool),
    /// The server was killed: what had arrived and was not committed is lost, and so is each answer.
    KillServer,
    BackUpServer,
    RestoreServer,
    CopyDisk,
    /// One of the copies takes the disk's place; it stays a copy, and may come again.
    PutDiskBack(u8),
}

#[derive(Clone)]
struct Row {
    first: u64,
    last: u64,
    head: ChainHash,
    entry: Entry,
    /// The records in it, also when it is a loss.
    ids: Vec<i64>,
}

#[derive(Clone)]
struct Outbox {
    base: ChainHash,
    next: u64,
    rows: VecDeque<Row>,
    /// The number that is sent next.
    cursor: u64,
}

impl Outbox {
    fn new(epoch: Epoch, lane: Lane) -> Outbox {
        Outbox {
            base: ChainHash::start(epoch, lane),
            next: 1,
            rows: VecDeque::new(),
            cursor: 1,
        }
    }

    fn oldest(&self) -> u64 {
        self.rows.front().map_or(self.next, |row| row.first)
    }

    fn head(&self) -> ChainHash {
        self.rows.back().map_or(self.base, |row| row.head)
    }

    fn push(&mut self, entry: Entry, ids: Vec<i64>) {
        let (first, last) = (self.next, self.next + entry.span() - 1);
        let head = self.head().after(&entry);
        self.next = last + 1;
        self.rows.push_back(Row {
            first,
            last,
            head,
            entry,
            ids,
        });
    }

    /// The oldest `n` rows become one stated loss.
    fn give_up(&mut self, n: usize) -> Vec<i64> {
        let n = n.min(self.rows.len());
        let gone: Vec<Row> = self.rows.drain(..n).collect();
        let (Some(first), Some(last)) = (gone.first(), gone.last()) else {
            return Vec::new();
        };
        let loss = Lost {
            count: last.last - first.first + 1,
            cause: LossCause::Quota,
            head: last.head,
            at: NOW,
        };
        let ids: Vec<i64> = gone.iter().flat_map(|row| row.ids.clone()).collect();
        self.rows.push_front(Row {
            first: first.first,
            last: last.last,
            head: last.head,
            entry: Entry::Lost(loss),
            ids: ids.clone(),
        });
        ids
    }

    fn forget(&mut self, up_to: u64) -> Vec<Row> {
        let n = self.rows.iter().take_while(|row| row.last <= up_to).count();
        let gone: Vec<Row> = self.rows.drain(..n).collect();
        self.base = gone.last().map_or(self.base, |row| row.head);
        gone
    }

    fn batch(&mut self, epoch: Epoch, lane: Lane, n: usize) -> Option<Envelope> {
        let from = self.rows.iter().position(|row| row.last >= self.cursor)?;
        let rows: Vec<&Row> = self.rows.iter().skip(from).take(n).collect();
        let prev = from.checked_sub(1).map_or(self.base, |i| self.rows[i].head);
        let envelope = Envelope {
            gateway: gateway(),
            epoch,
            lane,
            oldest: Seq(self.oldest()),
            first: Seq(rows.first()?.first),
            prev,
            sent_at: NOW,
            entries: rows.iter().map(|row| row.entry.clone()).collect(),
        };
        self.cursor = rows.last()?.last + 1;
        Some(envelope)
    }
}

#[derive(Clone)]
struct Agent {
    epoch: Epoch,
    lanes: [Outbox; 2],
}

impl Agent {
    fn new(epoch: Epoch) -> Agent {
        Agent {
            epoch,
            lanes: LANES.map(|lane| Outbox::new(epoch, lane)),
        }
    }

    fn rebase(&mut self, epoch: Epoch) {
        let old = std::mem::replace(self, Agent::new(epoch));
        for (new, old) in self.lanes.iter_mut().zip(old.lanes) {
            old.rows.into_iter().for_each(|row| new.push(row.entry, row.ids));
        }
    }

    fn reconnect(&mut self) {
        self.lanes.iter_mut().for_each(|lane| lane.cursor = lane.oldest());
    }

    /// The records that it holds.
    fn held(&self) -> BTreeSet<i64> {
        let rows = self.lanes.iter().flat_map(|lane| &lane.rows);
        rows.filter(|row| matches!(row.entry, Entry::Item(_)))
            .flat_map(|row| row.ids.clone())
            .collect()
    }
}

/// Where the statements run.
pub(crate) trait Engine: Sized {
    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T;
    /// The same content, apart; `None` where there is no way to have it.
    fn backed_up(&self) -> Option<Self>;
}

impl Engine for Sqlite {
    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        work(self).expect("done")
    }

    fn backed_up(&self) -> Option<Self> {
        Some(self.copy())
    }
}

impl Engine for Store {
    fn run<T: Send + 'static>(
        &mut self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> T {
        block(self.write(work)).expect("done")
    }

    fn backed_up(&self) -> Option<Self> {
        None
    }
}

struct World<E> {
    agent: Agent,
    disks: Vec<Agent>,
    db: E,
    backup: Option<E>,
    up: VecDeque<Envelope>,
    down: VecDeque<Ack>,
    ids: i64,
    epochs: u64,
    given_up: BTreeSet<i64>,
    /// What a disk held that was taken out.
    taken_out: BTreeSet<i64>,
    server_was_restored: bool,
    disk_was_restored: bool,
}

impl<E: Engine> World<E> {
    fn new(db: E) -> World<E> {
        World {
            agent: Agent::new(Epoch(1)),
            disks: Vec::new(),
            db,
            backup: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            ids: 0,
            epochs: 1,
            given_up: BTreeSet::new(),
            taken_out: BTreeSet::new(),
            server_was_restored: false,
            disk_was_restored: false,
        }
    }

    fn step(&mut self, step: &Step) {
        match *step {
            Step::Push(lane, n) => (0..n).for_each(|_| self.push(lane)),
            Step::GiveUp(lane, n) => self.given_up.extend(self.agent.lanes[lane].give_up(n.into())),
            Step::Send(lane, n) => self.send(lane, n.into()),
            Step::Arrive => {
                if let Some(envelope) = self.up.pop_front() {
                    self.take(vec![envelope]);
                }
            }
            Step::ArriveTwice => {
                if let Some(envelope) = self.up.front().cloned() {
                    self.take(vec![envelope]);
                }
            }
            Step::AllArrive => {
                let all = self.up.drain(..).collect();
                self.take(all);
            }
            Step::CommitFails => {
                self.up.pop_front();
                self.reconnect(true);
            }
            Step::AckArrives => {
                if let Some(ack) = self.down.pop_front() {
                    self.settle(&ack);
                }
            }
            Step::AckIsLost => drop(self.down.pop_front()),
            Step::Reconnect(keep) => self.reconnect(keep),
            Step::KillServer => self.reconnect(false),
            Step::BackUpServer => self.backup = self.db.backed_up(),
            Step::RestoreServer => {
                if let Some(backup) = self.backup.take() {
                    self.db = backup;
                    self.server_was_restored = true;
                    self.reconnect(false);
                }
            }
            Step::CopyDisk => self.disks.push(self.agent.clone()),
            Step::PutDiskBack(nth) => {
                if let Some(nth) = usize::from(nth).checked_rem(self.disks.len()) {
                    self.taken_out.extend(self.agent.held());
                    self.agent = self.disks[nth].clone();
                    self.disk_was_restored = true;
                    self.reconnect(false);
                }
            }
        }
    }

    fn push(&mut self, lane: usize) {
        self.ids += 1;
        let item = match LANES[lane] {
            Lane::Vital => reading(self.ids, 20),
            _ => Item::Alarm(Alarm {
                condition: Condition::DeviceAlarm,
                sensor: None,
                active: true,
                at: Timestamp::synced(self.ids),
            }),
        };
        let entry = Entry::Item(item.encode().expect("encodes"));
        self.agent.lanes[lane].push(entry, vec![self.ids]);
    }

    fn send(&mut self, lane: usize, n: usize) {
        let epoch = self.agent.epoch;
        self.up
            .extend(self.agent.lanes[lane].batch(epoch, LANES[lane], n));
    }

    fn reconnect(&mut self, keep_up: bool) {
        if !keep_up {
            self.up.clear();
        }
        self.down.clear();
        self.agent.reconnect();
    }

    fn take(&mut self, envelopes: Vec<Envelope>) {
        for outcome in self.db.run(move |tx| take_all(tx, envelopes)) {
            if outcome.ack.next == Next::NewEpoch {
                assert!(self.disk_was_restored, "a fork without a disk that was put back");
            }
            self.down.push_back(outcome.ack);
        }
        self.db.run(every_place_is_a_record_or_in_a_gap);
    }

    fn settle(&mut self, ack: &Ack) {
        let lane = LANES
            .iter()
            .position(|lane| *lane == ack.lane)
            .expect("one of ours");
        if ack.epoch != self.agent.epoch {
            return;
        }
        if ack.next == Next::NewEpoch || ack.up_to.0 >= self.agent.lanes[lane].next {
            self.epochs += 1;
            self.agent.rebase(Epoch(self.epochs));
            return;
        }
        let forgotten = self.agent.lanes[lane].forget(ack.up_to.0);
        if !self.server_was_restored {
            let stored = self.stored();
            for row in forgotten.iter().filter(|row| matches!(row.entry, Entry::Item(_))) {
                assert!(
                    stored.contains(&row.ids[0]),
                    "{:?} was forgotten and is not stored",
                    row.ids
                );
            }
        }
    }

    /// Every record that is stored, as often as it is.
    fn all_stored(&mut self) -> Vec<i64> {
        let sql = "SELECT taken_at FROM readings UNION ALL SELECT at FROM alarms";
        self.db
            .run(move |tx| tx.rows(sql, &[])?.iter().map(|row| row.int(0)).collect())
    }

    fn stored(&mut self) -> BTreeSet<i64> {
        self.all_stored().into_iter().collect()
    }

    /// The link is well now: everything is delivered.
    fn calm(&mut self) {
        for _ in 0..8 {
            self.reconnect(false);
            for lane in 0..LANES.len() {
                for _ in 0..1000 {
                    self.send(lane, 5);
                }
            }
            while let Some(envelope) = self.up.pop_front() {
                self.take(vec![envelope]);
            }
            while let Some(ack) = self.down.pop_front() {
                self.settle(&ack);
            }
            if self.agent.lanes.iter().all(|lane| lane.rows.is_empty()) {
                return;
            }
        }
        panic!("the outbox does not become empty");
    }

    fn end(&mut self) {
        let held = self.agent.held();
        self.calm();
        let (all, stored) = (self.all_stored(), self.stored());
        assert!(
            held.is_subset(&stored),
            "held and never stored: {held:?} {stored:?}"
        );
        assert_eq!(all.len(), stored.len(), "a record is stored twice: {all:?}");
        if !self.server_was_restored {
            let missing = (1..=self.ids).filter(|id| !stored.contains(id));
            let excused = |id: &i64| self.given_up.contains(id) || self.taken_out.contains(id);
            let silent: Vec<i64> = missing.filter(|id| !excused(id)).collect();
            assert_eq!(silent, Vec::<i64>::new(), "records are lost in silence");
        }
        let report = self.db.run(check::check);
        assert_eq!(report.faults, Vec::<String>::new());
    }
}

fn take_all(tx: &mut dyn Tx, envelopes: Vec<Envelope>) -> Result<Vec<Outcome>, StoreError> {
    let sealed = |envelope: &Envelope| Signed::seal(envelope, &NoKey).expect("seals");
    let signed: Vec<Vec<u8>> = envelopes.iter().map(sealed).collect();
    let arrived: Vec<Arrived> = envelopes.into_iter().map(Arrived::new).collect();
    let together = |(arrived, signed)| Sealed { arrived, signed };
    let all: Vec<Sealed<'_>> = arrived
        .iter()
        .zip(signed.iter().map(Vec::as_slice))
        .map(together)
        .collect();
    take(tx, &gateway(), &all, NOW)
}

/// Each number that a stream counts is a record of its envelopes or on record as missing, and each of those records
/// stands once, in this epoch or in one that brought it again.
fn every_place_is_a_record_or_in_a_gap(tx: &mut dyn Tx) -> Result<(), StoreError> {
    let sql = "SELECT taken_at, epoch FROM readings UNION ALL SELECT at, epoch FROM alarms";
    let mut standing: BTreeMap<i64, Vec<String>> = BTreeMap::new();
    for row in tx.rows(sql, &[])? {
        let epochs = standing.entry(row.int(0)?).or_default();
        epochs.push(row.text(1)?.to_owned());
    }
    for named in streams::list(tx, None, 1000)? {
        let (epoch, lane) = (named.epoch.to_string(), named.lane.name());
        let missing = tx.row(
            "SELECT CAST(coalesce(sum(missing), 0) AS BIGINT) FROM gaps WHERE epoch = $1 AND lane = $2",
            &[(&epoch).into(), lane.into()],
        )?;
        let missing = missing.map_or(Ok(0), |row| row.int(0))?;
        let records = records_of(&streams::envelopes(tx, &named, Seq::ZERO, 10_000)?);
        assert_eq!(
            i64::try_from(named.stream.up_to.0).expect("small"),
            missing + i64::try_from(records.len()).expect("small"),
            "the places of {epoch} {lane}: {missing} missing, and {records:?}"
        );
        for id in records.values() {
            let at = standing.get(id).map_or(&[][..], Vec::as_slice);
            assert_eq!(at.len(), 1, "record {id} of {epoch} {lane} stands in {at:?}");
        }
    }
    Ok(())
}

/// The records of envelopes by their numbers.
fn records_of(envelopes: &[Arrived]) -> BTreeMap<Seq, i64> {
    let places = envelopes.iter().flat_map(Arrived::places);
    let record = |place: &Place| match &place.content {
        Content::Record(Item::Reading(reading)) => Some((place.first, reading.taken_at.ms)),
        Content::Record(Item::Alarm(alarm)) => Some((place.first, alarm.at.ms)),
        _ => None,
    };
    places.filter_map(record).collect()
}

fn any_step() -> impl Strategy<Value = Step> {
    let lane = 0..LANES.len();
    prop_oneof![
        12 => (lane.clone(), 1u8..4).prop_map(|(lane, n)| Step::Push(lane, n)),
        2 => (lane.clone(), 1u8..6).prop_map(|(lane, n)| Step::GiveUp(lane, n)),
        12 => (lane, 1u8..5).prop_map(|(lane, n)| Step::Send(lane, n)),
        12 => Just(Step::Arrive),
        2 => Just(Step::ArriveTwice),
        4 => Just(Step::AllArrive),
        2 => Just(Step::CommitFails),
        8 => Just(Step::AckArrives),
        3 => Just(Step::AckIsLost),
        3 => any::<bool>().prop_map(Step::Reconnect),
        1 => Just(Step::KillServer),
        2 => Just(Step::BackUpServer),
        1 => Just(Step::RestoreServer),
        2 => Just(Step::CopyDisk),
        1 => any::<u8>().prop_map(Step::PutDiskBack),
    ]
}

/// Two or three times a disk is put back that was copied at some time before, each time with a kill before something
/// is settled.
fn disks_that_come_again() -> impl Strategy<Value = Vec<Step>> {
    let some = || prop::collection::vec(any_step(), 1..20);
    let kill = prop_oneof![any::<bool>().prop_map(Step::Reconnect), Just(Step::KillServer)];
    let round = (some(), any::<u8>(), some(), kill, some());
    let round = round.prop_map(|(before, nth, after, kill, end)| {
        let back = [Step::CopyDisk, Step::PutDiskBack(nth)].map(|step| vec![step]);
        let [copy, back] = back;
        [copy, before, back, after, vec![kill], end].concat()
    });
    prop::collection::vec(round, 2..4).prop_map(|rounds| rounds.concat())
}

fn play(db: impl Engine, steps: &[Step]) {
    let mut world = World::new(db);
    for step in steps {
        world.step(step);
    }
    world.end();
}

/// The same stories each time, on a store that is made anew for each by `fresh`.
pub(crate) fn disks_come_again_on<E: Engine>(stories: u32, mut fresh: impl FnMut() -> E) {
    let config = ProptestConfig::with_cases(stories);
    let rng = TestRng::deterministic_rng(config.rng_algorithm);
    let mut runner = TestRunner::new_with_rng(config, rng);
    for _ in 0..stories {
        let story = disks_that_come_again()
            .new_tree(&mut runner)
            .expect("a story")
            .current();
        let told = format!("{story:?}");
        let played = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| play(fresh(), &story)));
        assert!(played.is_ok(), "in the story {told}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_outbox_empties_and_every_place_is_a_record_or_a_gap(
        steps in prop::collection::vec(any_step(), 1..120)
    ) {
        play(Sqlite::in_memory(), &steps);
    }

    #[test]
    fn a_disk_that_comes_again_and_again_doubles_nothing_and_loses_nothing(story in disks_that_come_again()) {
        play(Sqlite::in_memory(), &story);
    }

    #[test]
    fn without_restored_disks_nothing_is_stored_twice_or_lost_in_silence(
        steps in prop::collection::vec(any_step(), 1..120)
    ) {
        let tame = |step: &Step| !matches!(step, Step::PutDiskBack(_) | Step::RestoreServer);
        play(Sqlite::in_memory(), &steps.into_iter().filter(tame).collect::<Vec<_>>());
    }
}

#[test]
fn a_disk_that_was_put_back_gets_a_new_epoch_and_delivers_all_it_holds() {
    use Step::{AckArrives, Arrive, CopyDisk, Push, PutDiskBack, Send};
    let mut world = World::new(Sqlite::in_memory());
    for step in [
        Push(0, 3),
        CopyDisk,
        Push(0, 2),
        Send(0, 5),
        Arrive,
        AckArrives,
        PutDiskBack(0),
        Push(0, 4),
    ] {
        world.step(&step);
    }
    world.end();
    assert_eq!(world.epochs, 2);
}

#[test]
fn a_disk_that_is_put_back_twice_moves_its_records_out_of_the_epoch_between() {
    use Step::{AckArrives, Arrive, CopyDisk, Push, PutDiskBack, Send};
    let mut world = World::new(Sqlite::in_memory());
    // Three records are delivered from the disk and from its copy, each time with others after them; the words to
    // forget them are lost. Then the copy comes once more.
    for step in [
        Push(0, 3),
        CopyDisk,
        Push(0, 1),
        Send(0, 4),
        Arrive,
        PutDiskBack(0),
        Push(0, 1),
        Send(0, 4),
    ] {
        world.step(&step);
    }
    for step in [Arrive, AckArrives, Send(0, 4), Arrive, PutDiskBack(0), Push(0, 1)] {
        world.step(&step);
    }
    world.end();
    assert_eq!((world.epochs, world.all_stored().len()), (3, 6));
}
