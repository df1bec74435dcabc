//! A simulated agent and the real statements, through whatever may happen between them.
//!
//! The agent keeps to the rules of delivery: it sends in order, forgets what is acknowledged and nothing else, and
//! takes a new epoch when it is told to. The way between them keeps the order and loses what it likes.

use std::collections::{BTreeSet, VecDeque};

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::{ChainHash, Entry, Envelope, Item, Lane, LossCause, Lost};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::signed::Signed;
use homeward_protocol::time::Timestamp;
use proptest::prelude::*;

use super::NOW;
use crate::ingest::Arrived;
use crate::store::promises::kept::{NoKey, gateway, reading};
use crate::store::sqlite::Sqlite;
use crate::store::take::{Sealed, take};
use crate::store::{StoreError, Tx, check};

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
    /// What was sent up may still be on its way to the store, or may be lost.
    Reconnect(bool),
    BackUpServer,
    RestoreServer,
    CopyDisk,
    PutDiskBack,
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
}

struct World {
    agent: Agent,
    disk: Option<Agent>,
    db: Sqlite,
    backup: Option<Sqlite>,
    up: VecDeque<Envelope>,
    down: VecDeque<Ack>,
    ids: i64,
    epochs: u64,
    given_up: BTreeSet<i64>,
    server_was_restored: bool,
    disk_was_restored: bool,
}

impl World {
    fn new() -> World {
        World {
            agent: Agent::new(Epoch(1)),
            disk: None,
            db: Sqlite::in_memory(),
            backup: None,
            up: VecDeque::new(),
            down: VecDeque::new(),
            ids: 0,
            epochs: 1,
            given_up: BTreeSet::new(),
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
            Step::BackUpServer => self.backup = Some(self.db.copy()),
            Step::RestoreServer => {
                if let Some(backup) = self.backup.take() {
                    self.db = backup;
                    self.server_was_restored = true;
                    self.reconnect(false);
                }
            }
            Step::CopyDisk => self.disk = Some(self.agent.clone()),
            Step::PutDiskBack => {
                if let Some(disk) = self.disk.take() {
                    self.agent = disk;
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
        let sealed = |envelope: &Envelope| Signed::seal(envelope, &NoKey).expect("seals");
        let signed: Vec<Vec<u8>> = envelopes.iter().map(sealed).collect();
        let arrived: Vec<Arrived> = envelopes.into_iter().map(Arrived::new).collect();
        let together = |(arrived, signed)| Sealed { arrived, signed };
        let all: Vec<Sealed<'_>> = arrived
            .iter()
            .zip(signed.iter().map(Vec::as_slice))
            .map(together)
            .collect();
        for outcome in take(&mut self.db, &gateway(), &all, NOW).expect("stored") {
            if outcome.ack.next == Next::NewEpoch {
                assert!(self.disk_was_restored, "a fork without a disk that was put back");
            }
            self.down.push_back(outcome.ack);
        }
        self.every_place_is_a_record_or_in_a_gap().expect("read");
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

    /// For each stream: records and missing ones together are as many as the numbers that it counts. Out of an epoch
    /// that forked, records move to the next one when they come again.
    fn every_place_is_a_record_or_in_a_gap(&mut self) -> Result<(), StoreError> {
        let rows = self.db.rows(
            "SELECT s.epoch, s.lane, s.up_to,
                (SELECT count(*) FROM readings r WHERE r.epoch = s.epoch AND s.lane = 'vital')
                + (SELECT count(*) FROM alarms a WHERE a.epoch = s.epoch AND s.lane = 'urgent')
                + (SELECT coalesce(sum(missing), 0) FROM gaps g WHERE g.epoch = s.epoch AND g.lane = s.lane),
                (SELECT count(*) FROM streams o WHERE o.epoch = s.epoch AND o.closed = 1)
             FROM streams s",
            &[],
        )?;
        for row in rows {
            let stream = format!("{} {}", row.text(0)?, row.text(1)?);
            let (counted, accounted, forked) = (row.int(2)?, row.int(3)?, row.int(4)? > 0);
            assert!(
                counted == accounted || (forked && counted > accounted),
                "stream {stream} counts {counted} places and {accounted} are something"
            );
        }
        Ok(())
    }

    /// Every record that is stored, as often as it is.
    fn all_stored(&mut self) -> Vec<i64> {
        let sql = "SELECT taken_at FROM readings UNION ALL SELECT at FROM alarms";
        let rows = self.db.rows(sql, &[]).expect("read");
        rows.iter().map(|row| row.int(0).expect("an id")).collect()
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
        let held: BTreeSet<i64> = self
            .agent
            .lanes
            .iter()
            .flat_map(|lane| &lane.rows)
            .filter(|row| matches!(row.entry, Entry::Item(_)))
            .flat_map(|row| row.ids.clone())
            .collect();
        self.calm();
        let (all, stored) = (self.all_stored(), self.stored());
        assert!(
            held.is_subset(&stored),
            "held and never stored: {held:?} {stored:?}"
        );
        // A disk that is put back a second time can bring what stands in an epoch that never forked.
        if !self.disk_was_restored {
            assert_eq!(all.len(), stored.len(), "a record is stored twice");
        }
        if !self.disk_was_restored && !self.server_was_restored {
            let lost = (1..=self.ids).filter(|id| !stored.contains(id));
            assert!(
                lost.into_iter().all(|id| self.given_up.contains(&id)),
                "a record is lost in silence"
            );
        }
        let report = check::check(&mut self.db).expect("checked");
        assert_eq!(report.faults, Vec::<String>::new());
    }
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
        2 => Just(Step::BackUpServer),
        1 => Just(Step::RestoreServer),
        2 => Just(Step::CopyDisk),
        1 => Just(Step::PutDiskBack),
    ]
}

fn play(steps: &[Step]) {
    let mut world = World::new();
    for step in steps {
        world.step(step);
    }
    world.end();
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_the_outbox_empties_and_every_place_is_a_record_or_a_gap(
        steps in prop::collection::vec(any_step(), 1..120)
    ) {
        play(&steps);
    }

    #[test]
    fn without_restored_disks_nothing_is_stored_twice_or_lost_in_silence(
        steps in prop::collection::vec(any_step(), 1..120)
    ) {
        let tame = |step: &Step| !matches!(step, Step::PutDiskBack | Step::RestoreServer);
        play(&steps.into_iter().filter(tame).collect::<Vec<_>>());
    }
}

#[test]
fn a_disk_that_was_put_back_gets_a_new_epoch_and_delivers_all_it_holds() {
    use Step::{AckArrives, Arrive, CopyDisk, Push, PutDiskBack, Send};
    let mut world = World::new();
    for step in [
        Push(0, 3),
        CopyDisk,
        Push(0, 2),
        Send(0, 5),
        Arrive,
        AckArrives,
        PutDiskBack,
        Push(0, 4),
    ] {
        world.step(&step);
    }
    world.end();
    assert_eq!(world.epochs, 2);
}
