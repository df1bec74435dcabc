//! Shell: the outbox as a SQLite file. Every change is one transaction; what a call returned is on the disk.
#![expect(clippy::disallowed_methods, reason = "shell: the outbox is a file")]

use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use homeward_protocol::ack::Ack;
use homeward_protocol::alarm::{Alarm, Condition};
use homeward_protocol::envelope::{ChainHash, Entry, Item, Lane, LossCause, Lost, MAX_ENTRIES, MAX_ENVELOPE};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::time::{ClockTrust, Timestamp};
use homeward_protocol::wire::{Bytes, WireError};
use rusqlite::{Connection, ErrorCode, OptionalExtension, Transaction, params};

use super::{Batch, GiveUp, Ledger, Progress, Settle, Settled};
use crate::vault::Vault;
use crate::vault::disk::{DiskError, random};

mod progress;
mod reserve;
mod rows;
mod seal;

use reserve::Reserve;

/// Room in an envelope for everything but the entries: names, numbers, hashes.
const ENVELOPE_HEAD: usize = 512;
/// What an entry takes beside a body, at most.
const ENTRY_HEAD: usize = 128;

const SCHEMA: &str = "
CREATE TABLE outbox (id INTEGER PRIMARY KEY CHECK (id = 1), epoch INTEGER NOT NULL, lost INTEGER NOT NULL,
    losing INTEGER NOT NULL) STRICT;
CREATE TABLE lanes (lane INTEGER PRIMARY KEY, base BLOB NOT NULL, next INTEGER NOT NULL, sent INTEGER NOT NULL)
    STRICT;
CREATE TABLE rows (lane INTEGER NOT NULL, first INTEGER NOT NULL, span INTEGER NOT NULL, size INTEGER NOT NULL,
    head BLOB NOT NULL, body BLOB, cause INTEGER, at_ms INTEGER, at_trust INTEGER,
    PRIMARY KEY (lane, first)) STRICT, WITHOUT ROWID;
PRAGMA user_version = 1;";

/// Why the outbox could not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum OutboxError {
    /// The file could not be opened or made.
    #[error("could not open the outbox at {path}: is the directory there and writable for this user?")]
    Open {
        /// Which file.
        path: PathBuf,
        /// What SQLite said.
        source: rusqlite::Error,
    },
    /// The file could not be made.
    #[error("could not make the outbox at {path}: is the directory there and writable for this user?")]
    Make {
        /// Which file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// A damaged file could not be moved out of the way.
    #[error("the outbox at {path} is damaged and could not be moved aside")]
    MoveAside {
        /// Which file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// Reading failed.
    #[error("could not read the outbox")]
    Read(#[source] rusqlite::Error),
    /// Writing failed for another reason than a full disk.
    #[error("could not write to the outbox")]
    Write(#[source] rusqlite::Error),
    /// The disk is full, and giving up older records did not help. The records are counted as lost.
    #[error("the disk refused {count} records; they are counted as lost. Free some space on it")]
    DiskRefused {
        /// How many.
        count: usize,
    },
    /// What the file holds contradicts itself.
    #[error("the outbox is damaged: {0}")]
    Corrupt(&'static str),
    /// The system gave no random bytes.
    #[error(transparent)]
    Vault(DiskError),
    /// A record could not be encoded.
    #[error("a record could not be encoded")]
    Encode(#[source] WireError),
    /// The thread that owns the outbox has ended.
    #[error("the outbox is closed")]
    Closed,
}

/// How many records wait in the outbox at `path`, whether it opens here or not; nothing when there is none.
pub fn waiting(path: &Path) -> Option<u64> {
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY | rusqlite::OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let conn = Connection::open_with_flags(path, flags).ok()?;
    let count = "SELECT count(*) FROM rows WHERE body IS NOT NULL";
    let rows: i64 = conn.query_row(count, [], |row| row.get(0)).ok()?;
    u64::try_from(rows).ok()
}

/// How an outbox came to be open.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Opened {
    /// It is new.
    Fresh,
    /// It was there, whole.
    Resumed,
    /// It was damaged: that file was moved to this path, and a new one begun.
    Replaced(PathBuf),
}

/// An open outbox.
pub struct Db {
    conn: Connection,
    vault: Vault,
    ledger: Ledger,
    quota: u64,
    /// Records that the disk refused, a lane each: to be stated as soon as it takes something.
    refused: [Option<Lost>; 3],
    reserve: Option<Reserve>,
    /// Records were given up without the alarm: the disk did not take that too.
    alarm_owed: bool,
}

impl Db {
    /// Opens `path`, or begins a new outbox there under `epoch`. A damaged file is moved aside.
    /// What stands in it is sealed by `vault`.
    pub fn open(
        path: &Path,
        vault: &Vault,
        quota: u64,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<(Db, Opened), OutboxError> {
        let existed = path.exists();
        if !existed {
            make_private(path)?;
        }
        match Self::load(path, vault, quota, epoch) {
            Ok(db) if existed => Ok((db, Opened::Resumed)),
            Ok(db) => Ok((db, Opened::Fresh)),
            Err(error) if existed && damaged(&error) => {
                let aside = move_aside(path, now)?;
                make_private(path)?;
                let mut db = Self::load(path, vault, quota, epoch)?;
                db.raise_alarm(now)?;
                Ok((db, Opened::Replaced(aside)))
            }
            Err(error) => Err(error),
        }
    }

    /// No more bytes may wait from now on.
    pub const fn limit(&mut self, quota: u64) {
        self.quota = quota;
    }

    /// An outbox that lives as long as the process: for tests and load generators.
    pub fn in_memory(quota: u64, epoch: Epoch) -> Result<Db, OutboxError> {
        let path = Path::new(":memory:");
        let conn = Connection::open_in_memory().map_err(|source| opening(path, source))?;
        let key = random().map_err(OutboxError::Vault)?;
        let vault = Vault::of_process(&key).map_err(|_| OutboxError::Corrupt("its key"))?;
        Self::prepare(conn, path, &vault, quota, epoch, None)
    }

    fn load(path: &Path, vault: &Vault, quota: u64, epoch: Epoch) -> Result<Db, OutboxError> {
        let conn = Connection::open(path).map_err(|source| opening(path, source))?;
        let check: String = conn
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|source| opening(path, source))?;
        if check != "ok" {
            return Err(OutboxError::Corrupt("its pages do not fit together"));
        }
        Self::prepare(conn, path, vault, quota, epoch, Some(Reserve::beside(path)))
    }

    fn prepare(
        mut conn: Connection,
        path: &Path,
        vault: &Vault,
        quota: u64,
        epoch: Epoch,
        reserve: Option<Reserve>,
    ) -> Result<Db, OutboxError> {
        let open = |source| opening(path, source);
        conn.execute_batch(
            "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA wal_autocheckpoint = 256;
             PRAGMA cache_size = -256; PRAGMA temp_store = MEMORY;",
        )
        .map_err(open)?;
        let version: i64 = conn
            .query_row("PRAGMA user_version", [], |row| row.get(0))
            .map_err(open)?;
        match version {
            0 => {
                let ledger = Ledger::fresh(epoch);
                let tx = conn.transaction().map_err(open)?;
                tx.execute_batch(SCHEMA).map_err(open)?;
                rows::save(&tx, &ledger).map_err(open)?;
                tx.execute_batch(progress::SCHEMA).map_err(open)?;
                tx.execute_batch("PRAGMA user_version = 3").map_err(open)?;
                tx.commit().map_err(open)?;
            }
            1 => {
                let tx = conn.transaction().map_err(open)?;
                tx.execute_batch(progress::SCHEMA).map_err(open)?;
                tx.commit().map_err(open)?;
                seal::take_over(&mut conn, vault).map_err(open)?;
            }
            2 => seal::take_over(&mut conn, vault).map_err(open)?,
            3 => {}
            _ => return Err(OutboxError::Corrupt("it was written by a newer agent")),
        }
        let ledger = rows::load(&conn)?;
        if let Some(reserve) = &reserve {
            reserve.refill();
        }
        Ok(Db {
            conn,
            vault: vault.clone(),
            ledger,
            quota,
            refused: [None, None, None],
            reserve,
            alarm_owed: false,
        })
    }

    /// Where it stands.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// Keeps `bodies`, all or none, giving up older and less important records when there is no room.
    pub fn push(&mut self, bodies: &[(Lane, Bytes)], now: Timestamp) -> Result<(), OutboxError> {
        let item = |(lane, body): &(Lane, Bytes)| (*lane, Entry::Item(body.clone()));
        self.keep(&bodies.iter().map(item).collect::<Vec<_>>(), &[], now)
    }

    /// As [`Db::push`], for entries, and how far sensors' memories were taken, in the same transaction.
    pub fn keep(
        &mut self,
        entries: &[(Lane, Entry)],
        progress: &[Progress],
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        match self.try_push(entries, progress, now) {
            Err(OutboxError::Write(error)) if refused(&error) => {}
            other => return other,
        }
        self.make_room(now);
        match self.try_push(entries, progress, now) {
            Err(OutboxError::Write(error)) if refused(&error) => {
                self.count_refused(entries, now);
                Err(OutboxError::DiskRefused { count: entries.len() })
            }
            other => other,
        }
    }

    /// How far the memory of a sensor was taken.
    pub fn progress(&self, stream: &str) -> Result<Option<Progress>, OutboxError> {
        progress::load(&self.conn, &self.vault, stream).map_err(OutboxError::Read)
    }

    fn try_push(
        &mut self,
        entries: &[(Lane, Entry)],
        progress: &[Progress],
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let mut ledger = self.ledger;
        let tx = self.conn.transaction().map_err(OutboxError::Write)?;
        for (lane, lost) in Lane::ALL.into_iter().zip(&self.refused) {
            if let Some(lost) = lost {
                rows::state_loss(&tx, &mut ledger, lane, lost).map_err(OutboxError::Write)?;
            }
        }
        for (lane, entry) in entries {
            match entry {
                Entry::Item(body) => rows::add(&tx, &self.vault, &mut ledger, *lane, body),
                Entry::Lost(lost) => {
                    let head = after(ledger.lane(*lane).head, entry);
                    rows::state_loss(&tx, &mut ledger, *lane, &Lost { head, ..lost.clone() })
                }
            }
            .map_err(OutboxError::Write)?;
        }
        for one in progress {
            progress::save(&tx, &self.vault, one).map_err(OutboxError::Write)?;
        }
        keep_within(&tx, &mut ledger, self.quota, now)?;
        if (self.alarm_owed || ledger.lost > self.ledger.lost) && !ledger.losing {
            alarm(&tx, &self.vault, &mut ledger, true, now)?;
            keep_within(&tx, &mut ledger, self.quota, now)?;
        }
        rows::save(&tx, &ledger).map_err(OutboxError::Write)?;
        tx.commit().map_err(OutboxError::Write)?;
        self.ledger = ledger;
        self.refused = [None, None, None];
        self.alarm_owed = false;
        Ok(())
    }

    /// The disk is full: lets go of the reserve, and gives up a part of the least important records.
    fn make_room(&mut self, now: Timestamp) {
        if let Some(reserve) = &self.reserve {
            reserve.release();
        }
        let _moved: Result<(), _> = self
            .conn
            .query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(()));
        let Some(order) = self.ledger.least(self.quota / 16) else {
            return;
        };
        if let Err(error) = self.give_up(order, now) {
            tracing::debug!(error = %error, "the full disk did not even take a deletion");
        }
    }

    fn give_up(&mut self, order: GiveUp, now: Timestamp) -> Result<(), OutboxError> {
        let mut ledger = self.ledger;
        let tx = self.conn.transaction().map_err(OutboxError::Write)?;
        rows::give_up(&tx, &mut ledger, order, LossCause::DiskRefused, now).map_err(OutboxError::Write)?;
        rows::save(&tx, &ledger).map_err(OutboxError::Write)?;
        tx.commit().map_err(OutboxError::Write)?;
        self.alarm_owed = true;
        self.ledger = ledger;
        Ok(())
    }

    fn count_refused(&mut self, entries: &[(Lane, Entry)], now: Timestamp) {
        for (lane, entry) in entries {
            let head = self.ledger.lane(*lane).head;
            let lost = self.refused[*lane as usize].get_or_insert(Lost {
                count: 0,
                cause: LossCause::DiskRefused,
                head,
                at: now,
            });
            lost.count += entry.span();
            lost.head = after(lost.head, entry);
        }
    }

    /// Records that the disk refused and that are not yet stated in the file.
    pub fn refused(&self) -> u64 {
        self.refused.iter().flatten().map(|lost| lost.count).sum()
    }

    fn raise_alarm(&mut self, now: Timestamp) -> Result<(), OutboxError> {
        let mut ledger = self.ledger;
        let tx = self.conn.transaction().map_err(OutboxError::Write)?;
        alarm(&tx, &self.vault, &mut ledger, true, now)?;
        rows::save(&tx, &ledger).map_err(OutboxError::Write)?;
        tx.commit().map_err(OutboxError::Write)?;
        self.ledger = ledger;
        Ok(())
    }

    /// The run that begins with the row that holds `from`, or the next one after it; `None` when there is none.
    /// A row that does not fit its own hash becomes a stated loss.
    pub fn batch(&mut self, lane: Lane, from: Seq, now: Timestamp) -> Result<Option<Batch>, OutboxError> {
        let Some((start, mut prev)) = rows::start(&self.conn, &self.ledger, lane, from)? else {
            return Ok(None);
        };
        let mut room = MAX_ENVELOPE - ENVELOPE_HEAD;
        let mut batch = Batch {
            epoch: self.ledger.epoch,
            lane,
            oldest: self.ledger.lane(lane).oldest,
            first: start,
            last: start,
            prev,
            entries: Vec::new(),
        };
        let mut damaged: Vec<Seq> = Vec::new();
        rows::each(&self.conn, &self.vault, lane, start, MAX_ENTRIES, |row| {
            let size = row.body.as_ref().map_or(0, |body| body.0.len()) + ENTRY_HEAD;
            if size > room {
                return false;
            }
            room -= size;
            batch.last = row.first.plus(row.span.saturating_sub(1));
            let head = row.head;
            let fits = !row.spoilt && row.body.as_ref().is_none_or(|body| prev.then(&body.0) == head);
            batch.entries.push(if fits {
                row.into_entry()
            } else {
                damaged.push(row.first);
                Entry::Lost(Lost {
                    count: 1,
                    cause: LossCause::Damaged,
                    head,
                    at: now,
                })
            });
            prev = head;
            true
        })?;
        if !damaged.is_empty() {
            self.state_damage(lane, &damaged, now)?;
        }
        let held = self.ledger.lane_mut(lane);
        held.sent = held.sent.max(batch.last);
        Ok((!batch.entries.is_empty()).then_some(batch))
    }

    fn state_damage(&mut self, lane: Lane, damaged: &[Seq], now: Timestamp) -> Result<(), OutboxError> {
        tracing::error!(outbox.lane = %lane, outbox.damaged = damaged.len(),
            "{} records in the outbox are damaged; they are reported as lost. Check the disk", damaged.len());
        let mut ledger = self.ledger;
        let tx = self.conn.transaction().map_err(OutboxError::Write)?;
        for seq in damaged {
            rows::replace_damaged(&tx, &mut ledger, lane, *seq, now).map_err(OutboxError::Write)?;
        }
        rows::save(&tx, &ledger).map_err(OutboxError::Write)?;
        tx.commit().map_err(OutboxError::Write)?;
        self.ledger = ledger;
        Ok(())
    }

    /// Acts on the server's word. `epoch` is the random one to take if all has to be numbered anew.
    pub fn settle(&mut self, ack: &Ack, epoch: Epoch, now: Timestamp) -> Result<Settled, OutboxError> {
        let done = match self.ledger.settle(ack) {
            Settle::Ignore => return Ok(Settled::Ignored),
            Settle::Delete(up_to) => self
                .forget(ack.lane, up_to, now)
                .map(|()| Settled::Deleted(up_to)),
            Settle::Rebase(alike) => self.rebase(epoch, ack.lane, alike).map(|()| Settled::Rebased),
        };
        match done {
            Err(OutboxError::Write(error)) if refused(&error) => Ok(Settled::Later),
            other => other,
        }
    }

    fn forget(&mut self, lane: Lane, up_to: Seq, now: Timestamp) -> Result<(), OutboxError> {
        let mut ledger = self.ledger;
        let refused = self.refused() > 0;
        let tx = self.conn.transaction().map_err(OutboxError::Write)?;
        rows::forget(&tx, &mut ledger, lane, up_to).map_err(OutboxError::Write)?;
        let losses = rows::holds_losses(&tx).map_err(OutboxError::Write)?;
        if ledger.recovered(losses || refused, self.quota) {
            alarm(&tx, &self.vault, &mut ledger, false, now)?;
        }
        rows::save(&tx, &ledger).map_err(OutboxError::Write)?;
        tx.commit().map_err(OutboxError::Write)?;
        self.ledger = ledger;
        if let Some(reserve) = &self.reserve {
            reserve.refill();
        }
        Ok(())
    }

    fn rebase(&mut self, epoch: Epoch, lane: Lane, alike: Seq) -> Result<(), OutboxError> {
        let mut ledger = self.ledger;
        let tx = self.conn.transaction().map_err(OutboxError::Write)?;
        if alike >= ledger.lane(lane).oldest {
            rows::forget(&tx, &mut ledger, lane, alike).map_err(OutboxError::Write)?;
        }
        let ledger = rows::rebase(&tx, &self.vault, &ledger, epoch).map_err(OutboxError::Write)?;
        rows::save(&tx, &ledger).map_err(OutboxError::Write)?;
        tx.commit().map_err(OutboxError::Write)?;
        tracing::warn!(outbox.epoch = %epoch, outbox.items = ledger.items(),
            "the server holds other records under our numbers: all {} are numbered anew", ledger.items());
        self.ledger = ledger;
        Ok(())
    }

    #[cfg(test)]
    pub(super) fn connection(&self) -> &Connection {
        &self.conn
    }
}

/// The chain after an entry that is added. A loss is stated with a hash of another chain: it counts as its content.
fn after(head: ChainHash, entry: &Entry) -> ChainHash {
    match entry {
        Entry::Item(body) => head.then(&body.0),
        Entry::Lost(lost) => head.then(&lost.head.0),
    }
}

fn alarm(
    tx: &Transaction<'_>,
    vault: &Vault,
    ledger: &mut Ledger,
    active: bool,
    now: Timestamp,
) -> Result<(), OutboxError> {
    let item = Item::Alarm(Alarm {
        condition: Condition::RecordsLost,
        sensor: None,
        active,
        at: now,
    });
    let body = item.encode().map_err(OutboxError::Encode)?;
    rows::add(tx, vault, ledger, item.lane(), &body).map_err(OutboxError::Write)?;
    ledger.losing = active;
    Ok(())
}

fn keep_within(
    tx: &Transaction<'_>,
    ledger: &mut Ledger,
    quota: u64,
    now: Timestamp,
) -> Result<(), OutboxError> {
    while let Some(order) = ledger.give_up(quota) {
        rows::give_up(tx, ledger, order, LossCause::Quota, now).map_err(OutboxError::Write)?;
    }
    Ok(())
}

fn opening(path: &Path, source: rusqlite::Error) -> OutboxError {
    OutboxError::Open {
        path: path.to_owned(),
        source,
    }
}

/// An empty file of the owner's alone: readings are nobody else's. SQLite gives its other files the same mode.
fn make_private(path: &Path) -> Result<(), OutboxError> {
    std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(path)
        .map(drop)
        .map_err(|source| OutboxError::Make {
            path: path.to_owned(),
            source,
        })
}

fn damaged(error: &OutboxError) -> bool {
    match error {
        OutboxError::Corrupt(_) => true,
        OutboxError::Open { source, .. } | OutboxError::Read(source) => matches!(
            source.sqlite_error_code(),
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase)
        ),
        _ => false,
    }
}

fn refused(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure)
    )
}

fn move_aside(path: &Path, now: Timestamp) -> Result<PathBuf, OutboxError> {
    let named = |suffix: &str| {
        let mut name = path.as_os_str().to_owned();
        name.push(suffix);
        PathBuf::from(name)
    };
    let aside = named(&format!(".damaged-{}", now.ms));
    std::fs::rename(path, &aside).map_err(|source| OutboxError::MoveAside {
        path: path.to_owned(),
        source,
    })?;
    for part in ["-wal", "-shm"] {
        let mut to = aside.as_os_str().to_owned();
        to.push(part);
        match std::fs::rename(named(part), to) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(OutboxError::MoveAside {
                    path: named(part),
                    source: error,
                });
            }
            _ => {}
        }
    }
    Ok(aside)
}
