//! What the outbox is made of: three numbered, chained lanes, and the rules for giving up and for forgetting.
//!
//! A record leaves the outbox in two ways only: the server says that it is stored ([`Settle::Delete`]), or there
//! is no room for it, and then a stated loss stands in its place. The files are in [`sqlite`], the thread that
//! owns them in [`keeper`].
//!
//! # Design
//! - The [`Ledger`] is the small part of the outbox that decisions need: where each lane begins and ends, and how
//!   much it holds. The rows stay on the disk, so a full outbox costs no memory.
//! - Records that may already have been sent are given up last: the server may hold them, and a loss that
//!   covers a stored record would be counted twice.

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::{ChainHash, Entry, Lane};
use homeward_protocol::id::{Epoch, Seq};

pub mod carry;
pub mod intake;
pub mod keeper;
pub mod sqlite;
#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "tests: damage a file")]
mod tests;

/// What the records of an outbox may take when nothing is configured: two weeks of a home with ten sensors
/// that are read once a minute.
pub const DEFAULT_QUOTA: u64 = 64 << 20;
/// What a row is counted with beside its body, bytes: its hash, its numbers, and its share of a page.
pub const ROW_OVERHEAD: u64 = 96;

/// Keys of a sensor's stored records that are remembered: more than the memory of a meter or a CGM holds.
pub const KEPT_KEYS: usize = 4096;

/// What tells a sensor's stored record from all others.
pub type RecordHash = [u8; 16];

/// How far a sensor's stored records have been taken. It goes to the disk in the same commit as the records, so that
/// each is kept once whenever the power fails.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Whose: the sensor's name.
    pub stream: String,
    /// Where to go on, in the words of whoever reads the sensor.
    pub cursor: Vec<u8>,
    /// The records taken: those since the last progress when it is kept, the newest [`KEPT_KEYS`] when it is read.
    pub keys: Vec<RecordHash>,
}

/// Where one lane begins and ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LaneLedger {
    /// The chain before the oldest row.
    pub base: ChainHash,
    /// The chain after the newest row.
    pub head: ChainHash,
    /// The oldest number held; equal to `next` when the lane is empty.
    pub oldest: Seq,
    /// The number that the next record gets.
    pub next: Seq,
    /// The highest number that may have been sent.
    pub sent: Seq,
    /// Records held, without stated losses.
    pub items: u64,
    /// Bytes that those records count for.
    pub bytes: u64,
}

/// Where the outbox stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ledger {
    /// Which outbox this is.
    pub epoch: Epoch,
    /// One a lane, in the order of [`Lane::ALL`].
    pub lanes: [LaneLedger; 3],
    /// Records given up in the life of this file.
    pub lost: u64,
    /// The alarm [`RecordsLost`](homeward_protocol::alarm::Condition::RecordsLost) was raised and not yet ended.
    pub losing: bool,
}

/// Where a new record stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Numbered {
    /// Its number.
    pub seq: Seq,
    /// The chain after it.
    pub head: ChainHash,
    /// What it counts for, bytes.
    pub size: u64,
}

/// An order to make room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GiveUp {
    /// From which lane, oldest first.
    pub lane: Lane,
    /// At least so many bytes, or all.
    pub bytes: u64,
}

/// What an acknowledgement means for this outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settle {
    /// Another outbox's, or nothing new.
    Ignore,
    /// Forget this lane's rows up to here.
    Delete(Seq),
    /// The server holds other records under these numbers: forget this lane's rows up to here, which are alike on
    /// both sides, keep all others, take a new epoch, number anew.
    Rebase(Seq),
}

/// What became of an acknowledgement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Settled {
    /// It said nothing new.
    Ignored,
    /// Rows up to here are forgotten.
    Deleted(Seq),
    /// All rows have new numbers, in a new epoch.
    Rebased,
    /// The disk did not take the change; the rows stay until a later acknowledgement.
    Later,
}

/// A run of one lane, ready to be put in an envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Batch {
    /// Which outbox.
    pub epoch: Epoch,
    /// Which lane.
    pub lane: Lane,
    /// The oldest number that the lane holds.
    pub oldest: Seq,
    /// The number of the first entry.
    pub first: Seq,
    /// The number of the last entry.
    pub last: Seq,
    /// The chain before the first entry.
    pub prev: ChainHash,
    /// The entries, at least one.
    pub entries: Vec<Entry>,
}

impl LaneLedger {
    fn fresh(epoch: Epoch, lane: Lane) -> LaneLedger {
        let start = ChainHash::start(epoch, lane);
        LaneLedger {
            base: start,
            head: start,
            oldest: Seq(1),
            next: Seq(1),
            sent: Seq::ZERO,
            items: 0,
            bytes: 0,
        }
    }

    /// Whether it holds nothing, not even a loss.
    pub fn is_empty(&self) -> bool {
        self.oldest == self.next
    }
}

impl Ledger {
    /// An empty outbox.
    pub fn fresh(epoch: Epoch) -> Ledger {
        Ledger {
            epoch,
            lanes: Lane::ALL.map(|lane| LaneLedger::fresh(epoch, lane)),
            lost: 0,
            losing: false,
        }
    }

    /// One lane.
    pub fn lane(&self, lane: Lane) -> &LaneLedger {
        &self.lanes[lane as usize]
    }

    /// One lane, to be changed.
    pub fn lane_mut(&mut self, lane: Lane) -> &mut LaneLedger {
        &mut self.lanes[lane as usize]
    }

    /// Gives a record its place.
    pub fn number(&mut self, lane: Lane, body: &[u8]) -> Numbered {
        let held = self.lane_mut(lane);
        let size = body.len() as u64 + ROW_OVERHEAD;
        let numbered = Numbered {
            seq: held.next,
            head: held.head.then(body),
            size,
        };
        held.head = numbered.head;
        held.next = held.next.next();
        held.items += 1;
        held.bytes += size;
        numbered
    }

    /// Bytes that all records count for.
    pub fn bytes(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.bytes).sum()
    }

    /// Records held, without stated losses.
    pub fn items(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.items).sum()
    }

    /// What has to go to stay within `quota`: from the least important lane that holds records. A little more
    /// than needed, so that a full outbox does not give up one record at each push.
    pub fn give_up(&self, quota: u64) -> Option<GiveUp> {
        let over = self.bytes().checked_sub(quota).filter(|over| *over > 0)?;
        self.least(over + quota / 64)
    }

    /// `bytes` from the least important lane that holds records.
    pub fn least(&self, bytes: u64) -> Option<GiveUp> {
        let lane = Lane::ALL
            .into_iter()
            .rev()
            .find(|lane| self.lane(*lane).items > 0)?;
        Some(GiveUp { lane, bytes })
    }

    /// What `ack` means here.
    pub fn settle(&self, ack: &Ack) -> Settle {
        let held = self.lane(ack.lane);
        if ack.epoch != self.epoch {
            Settle::Ignore
        } else if ack.up_to >= held.next {
            Settle::Rebase(Seq::ZERO)
        } else if ack.next == Next::NewEpoch {
            Settle::Rebase(ack.up_to)
        } else if ack.up_to >= held.oldest {
            Settle::Delete(ack.up_to)
        } else {
            Settle::Ignore
        }
    }

    /// Whether the alarm about lost records may end: nothing lost is waiting to be told, and half is free.
    pub fn recovered(&self, losses_held: bool, quota: u64) -> bool {
        self.losing && !losses_held && self.bytes() < quota / 2
    }
}
