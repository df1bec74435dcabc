//! Shell: the statements. Each works within a transaction of its caller and moves the ledger with the rows.

use super::{
    Bytes, ChainHash, ClockTrust, Connection, Entry, Epoch, GiveUp, Lane, Ledger, LossCause, Lost,
    OptionalExtension, OutboxError, Seq, Timestamp, Vault, params, seal,
};

/// One row.
pub(super) struct Row {
    pub(super) first: Seq,
    pub(super) span: u64,
    pub(super) head: ChainHash,
    pub(super) body: Option<Bytes>,
    /// There is a body that the vault does not open.
    pub(super) spoilt: bool,
    lost: Option<(LossCause, Timestamp)>,
}

impl Row {
    pub(super) fn into_entry(self) -> Entry {
        match (self.body, self.lost) {
            (Some(body), _) => Entry::Item(body),
            (None, lost) => {
                let (cause, at) = lost.unwrap_or((LossCause::Damaged, doubtful(0)));
                Entry::Lost(Lost {
                    count: self.span,
                    cause,
                    head: self.head,
                    at,
                })
            }
        }
    }
}

fn doubtful(ms: i64) -> Timestamp {
    Timestamp {
        ms,
        trust: ClockTrust::Unsynced,
    }
}

fn int(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

fn uint(n: i64) -> u64 {
    u64::try_from(n).unwrap_or(0)
}

const CAUSES: [LossCause; 3] = [LossCause::Quota, LossCause::DiskRefused, LossCause::Damaged];
const TRUSTS: [ClockTrust; 3] = [ClockTrust::Synced, ClockTrust::Unsynced, ClockTrust::Floor];

fn code<T: PartialEq>(of: &[T], value: &T) -> i64 {
    of.iter().position(|v| v == value).map_or(0, |i| int(i as u64))
}

fn decode<T: Copy>(of: &[T], code: i64) -> Option<T> {
    usize::try_from(code).ok().and_then(|i| of.get(i).copied())
}

fn hash(bytes: &[u8]) -> rusqlite::Result<ChainHash> {
    ChainHash::from_slice(bytes).ok_or(rusqlite::Error::InvalidQuery)
}

/// Writes the ledger.
pub(super) fn save(conn: &Connection, ledger: &Ledger) -> rusqlite::Result<()> {
    conn.prepare_cached("INSERT OR REPLACE INTO outbox (id, epoch, lost, losing) VALUES (1, $1, $2, $3)")?
        .execute(params![
            ledger.epoch.0.cast_signed(),
            int(ledger.lost),
            ledger.losing
        ])?;
    let mut put =
        conn.prepare_cached("INSERT OR REPLACE INTO lanes (lane, base, next, sent) VALUES ($1, $2, $3, $4)")?;
    for lane in Lane::ALL {
        let held = ledger.lane(lane);
        put.execute(params![
            lane as i64,
            held.base.0,
            int(held.next.0),
            int(held.sent.0)
        ])?;
    }
    Ok(())
}

/// Reads the ledger, and checks that the rows agree with it.
pub(super) fn load(conn: &Connection) -> Result<Ledger, OutboxError> {
    let read = OutboxError::Read;
    let (epoch, lost, losing): (i64, i64, bool) = conn
        .query_row("SELECT epoch, lost, losing FROM outbox", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .optional()
        .map_err(read)?
        .ok_or(OutboxError::Corrupt("it has no epoch"))?;
    let mut ledger = Ledger::fresh(Epoch(epoch.cast_unsigned()));
    ledger.lost = uint(lost);
    ledger.losing = losing;
    for lane in Lane::ALL {
        load_lane(conn, &mut ledger, lane)?;
    }
    Ok(ledger)
}

fn load_lane(conn: &Connection, ledger: &mut Ledger, lane: Lane) -> Result<(), OutboxError> {
    let read = OutboxError::Read;
    let (base, next, sent): (Vec<u8>, i64, i64) = conn
        .query_row(
            "SELECT base, next, sent FROM lanes WHERE lane = $1",
            [lane as i64],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)),
        )
        .optional()
        .map_err(read)?
        .ok_or(OutboxError::Corrupt("a lane is missing"))?;
    let (oldest, span, items, bytes): (Option<i64>, i64, i64, i64) = conn
        .query_row(
            "SELECT min(first), coalesce(sum(span), 0), count(body), coalesce(sum(size), 0)
             FROM rows WHERE lane = $1",
            [lane as i64],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .map_err(read)?;
    let held = ledger.lane_mut(lane);
    held.base = ChainHash::from_slice(&base).ok_or(OutboxError::Corrupt("a hash has another length"))?;
    held.next = Seq(uint(next));
    held.sent = Seq(uint(sent));
    held.oldest = oldest.map_or(held.next, |first| Seq(uint(first)));
    held.items = uint(items);
    held.bytes = uint(bytes);
    if held.oldest.plus(uint(span)) != held.next {
        return Err(OutboxError::Corrupt("a lane has a hole"));
    }
    held.head = before(conn, lane, held.next)
        .map_err(read)?
        .map_or(held.base, |(_, _, head)| head);
    Ok(())
}

/// The row just before a number: its number, span and hash.
fn before(conn: &Connection, lane: Lane, seq: Seq) -> rusqlite::Result<Option<(Seq, u64, ChainHash)>> {
    conn.prepare_cached(
        "SELECT first, span, head FROM rows WHERE lane = $1 AND first < $2 ORDER BY first DESC LIMIT 1",
    )?
    .query_row(params![lane as i64, int(seq.0)], |row| {
        let head = hash(row.get_ref(2)?.as_blob()?)?;
        Ok((Seq(uint(row.get(0)?)), uint(row.get(1)?), head))
    })
    .optional()
}

/// Adds a record.
pub(super) fn add(
    conn: &Connection,
    vault: &Vault,
    ledger: &mut Ledger,
    lane: Lane,
    body: &Bytes,
) -> rusqlite::Result<()> {
    let sealed = seal::body(vault, lane, &body.0)?;
    let numbered = ledger.number(lane, &body.0);
    conn.prepare_cached(
        "INSERT INTO rows (lane, first, span, size, head, body) VALUES ($1, $2, 1, $3, $4, $5)",
    )?
    .execute(params![
        lane as i64,
        int(numbered.seq.0),
        int(numbered.size),
        numbered.head.0,
        sealed
    ])?;
    Ok(())
}

fn put_loss(conn: &Connection, lane: Lane, first: Seq, lost: &Lost) -> rusqlite::Result<()> {
    conn.prepare_cached(
        "INSERT OR REPLACE INTO rows (lane, first, span, size, head, cause, at_ms, at_trust)
         VALUES ($1, $2, $3, 0, $4, $5, $6, $7)",
    )?
    .execute(params![
        lane as i64,
        int(first.0),
        int(lost.count),
        lost.head.0,
        code(&CAUSES, &lost.cause),
        lost.at.ms,
        code(&TRUSTS, &lost.at.trust)
    ])?;
    Ok(())
}

/// Appends a loss of records that were never written.
pub(super) fn state_loss(
    conn: &Connection,
    ledger: &mut Ledger,
    lane: Lane,
    lost: &Lost,
) -> rusqlite::Result<()> {
    put_loss(conn, lane, ledger.lane(lane).next, lost)?;
    ledger.lost += lost.count;
    let held = ledger.lane_mut(lane);
    held.next = held.next.plus(lost.count);
    held.head = lost.head;
    Ok(())
}

/// Calls `see` with the rows from `start` on, at most `limit`, until it says false.
pub(super) fn each(
    conn: &Connection,
    vault: &Vault,
    lane: Lane,
    start: Seq,
    limit: usize,
    mut see: impl FnMut(Row) -> bool,
) -> Result<(), OutboxError> {
    let mut statement = conn
        .prepare_cached(
            "SELECT first, span, head, body, cause, at_ms, at_trust FROM rows
             WHERE lane = $1 AND first >= $2 ORDER BY first LIMIT $3",
        )
        .map_err(OutboxError::Read)?;
    let rows = statement
        .query_map(params![lane as i64, int(start.0), int(limit as u64)], |row| {
            read_row(row, vault, lane)
        })
        .map_err(OutboxError::Read)?;
    for row in rows {
        if !see(row.map_err(OutboxError::Read)?) {
            break;
        }
    }
    Ok(())
}

fn read_row(row: &rusqlite::Row<'_>, vault: &Vault, lane: Lane) -> rusqlite::Result<Row> {
    let sealed: Option<Vec<u8>> = row.get(3)?;
    let body = sealed
        .as_deref()
        .and_then(|sealed| seal::open_body(vault, lane, sealed));
    let cause: Option<i64> = row.get(4)?;
    let at_ms: Option<i64> = row.get(5)?;
    let trust: Option<i64> = row.get(6)?;
    let at = Timestamp {
        ms: at_ms.unwrap_or(0),
        trust: trust
            .and_then(|t| decode(&TRUSTS, t))
            .unwrap_or(ClockTrust::Unsynced),
    };
    Ok(Row {
        first: Seq(uint(row.get(0)?)),
        span: uint(row.get(1)?),
        head: hash(row.get_ref(2)?.as_blob()?)?,
        spoilt: sealed.is_some() && body.is_none(),
        body,
        lost: cause.and_then(|c| decode(&CAUSES, c)).map(|cause| (cause, at)),
    })
}

/// Where a run from `from` on begins, and the chain before it.
pub(super) fn start(
    conn: &Connection,
    ledger: &Ledger,
    lane: Lane,
    from: Seq,
) -> Result<Option<(Seq, ChainHash)>, OutboxError> {
    let held = ledger.lane(lane);
    if held.is_empty() || from >= held.next {
        return Ok(None);
    }
    let first = before(conn, lane, from.next())
        .map_err(OutboxError::Read)?
        .map_or(held.oldest, |(first, _, _)| first);
    let prev = before(conn, lane, first).map_err(OutboxError::Read)?;
    Ok(Some((first, prev.map_or(held.base, |(_, _, head)| head))))
}

/// Turns the oldest records of a lane into stated losses until `order` is met or none is left.
pub(super) fn give_up(
    conn: &Connection,
    ledger: &mut Ledger,
    order: GiveUp,
    cause: LossCause,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let GiveUp { lane, bytes } = order;
    let mut need = bytes;
    let mut after = ledger.lane(lane).sent;
    while need > 0 {
        match give_up_run(conn, ledger, lane, after, need, cause, now)? {
            Some(freed) => need = need.saturating_sub(freed),
            None if after == Seq::ZERO => break,
            None => after = Seq::ZERO,
        }
    }
    Ok(())
}

/// One run of neighbours behind `after`; gives the bytes freed, `None` when no record is left there.
fn give_up_run(
    conn: &Connection,
    ledger: &mut Ledger,
    lane: Lane,
    after: Seq,
    need: u64,
    cause: LossCause,
    now: Timestamp,
) -> rusqlite::Result<Option<u64>> {
    let mut statement = conn.prepare_cached(
        "SELECT first, size, head FROM rows WHERE lane = $1 AND first > $2 AND body IS NOT NULL ORDER BY first",
    )?;
    let mut rows = statement.query(params![lane as i64, int(after.0)])?;
    let mut run: Option<(Seq, Lost)> = None;
    let mut freed = 0;
    while let Some(row) = rows.next()? {
        let first = Seq(uint(row.get(0)?));
        let head = hash(row.get_ref(2)?.as_blob()?)?;
        match &mut run {
            None => {
                let lost = Lost {
                    count: 1,
                    cause,
                    head,
                    at: now,
                };
                run = Some((first, lost));
            }
            Some((start, lost)) if start.plus(lost.count) == first => {
                lost.count += 1;
                lost.head = head;
            }
            Some(_) => break,
        }
        freed += uint(row.get(1)?);
        if freed >= need {
            break;
        }
    }
    drop(rows);
    let Some((start, lost)) = run else {
        return Ok(None);
    };
    ledger.lost += lost.count;
    let held = ledger.lane_mut(lane);
    held.items -= lost.count;
    held.bytes -= freed;
    replace(conn, lane, start, lost)?;
    Ok(Some(freed))
}

/// Puts a loss in the place of the rows it covers, joined with a loss of the same cause just before it.
fn replace(conn: &Connection, lane: Lane, start: Seq, mut lost: Lost) -> rusqlite::Result<()> {
    conn.prepare_cached("DELETE FROM rows WHERE lane = $1 AND first >= $2 AND first < $3")?
        .execute(params![lane as i64, int(start.0), int(start.plus(lost.count).0)])?;
    let mut first = start;
    let neighbour: Option<(i64, i64, i64, i64)> = conn
        .prepare_cached(
            "SELECT first, span, at_ms, at_trust FROM rows
             WHERE lane = $1 AND first < $2 AND cause = $3 ORDER BY first DESC LIMIT 1",
        )?
        .query_row(
            params![lane as i64, int(start.0), code(&CAUSES, &lost.cause)],
            |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)),
        )
        .optional()?;
    if let Some((at, span, ms, trust)) = neighbour.filter(|(at, span, ..)| at + span == int(start.0)) {
        first = Seq(uint(at));
        lost.count += uint(span);
        lost.at = Timestamp {
            ms,
            trust: decode(&TRUSTS, trust).unwrap_or(ClockTrust::Unsynced),
        };
    }
    put_loss(conn, lane, first, &lost)
}

/// Puts a loss in the place of one record that does not fit its hash.
pub(super) fn replace_damaged(
    conn: &Connection,
    ledger: &mut Ledger,
    lane: Lane,
    seq: Seq,
    now: Timestamp,
) -> rusqlite::Result<()> {
    let (size, head): (i64, ChainHash) = conn
        .prepare_cached("SELECT size, head FROM rows WHERE lane = $1 AND first = $2")?
        .query_row(params![lane as i64, int(seq.0)], |row| {
            Ok((row.get(0)?, hash(row.get_ref(1)?.as_blob()?)?))
        })?;
    ledger.lost += 1;
    let state = ledger.lane_mut(lane);
    state.items = state.items.saturating_sub(1);
    state.bytes = state.bytes.saturating_sub(uint(size));
    let lost = Lost {
        count: 1,
        cause: LossCause::Damaged,
        head,
        at: now,
    };
    replace(conn, lane, seq, lost)
}

/// Deletes the rows that end at `up_to` or before.
pub(super) fn forget(conn: &Connection, ledger: &mut Ledger, lane: Lane, up_to: Seq) -> rusqlite::Result<()> {
    let Some((first, span, head)) = before(conn, lane, up_to.next())? else {
        return Ok(());
    };
    // A loss that reaches beyond `up_to` stays whole: the chain within it is not known any more.
    let whole = first.plus(span) <= up_to.next();
    let end = if whole { first.plus(span) } else { first };
    let base = if whole {
        Some(head)
    } else {
        before(conn, lane, first)?.map(|(_, _, head)| head)
    };
    let Some(base) = base else {
        return Ok(());
    };
    let with = params![lane as i64, int(end.0)];
    let (items, bytes): (i64, i64) = conn
        .prepare_cached(
            "SELECT count(body), coalesce(sum(size), 0) FROM rows WHERE lane = $1 AND first < $2",
        )?
        .query_row(with, |row| Ok((row.get(0)?, row.get(1)?)))?;
    conn.prepare_cached("DELETE FROM rows WHERE lane = $1 AND first < $2")?
        .execute(with)?;
    let state = ledger.lane_mut(lane);
    state.items -= uint(items);
    state.bytes -= uint(bytes);
    state.base = base;
    state.oldest = end;
    Ok(())
}

/// Whether a stated loss waits to be told.
pub(super) fn holds_losses(conn: &Connection) -> rusqlite::Result<bool> {
    conn.prepare_cached("SELECT EXISTS (SELECT 1 FROM rows WHERE body IS NULL)")?
        .query_row([], |row| row.get(0))
}

/// Numbers all rows from 1 in each lane, under a new epoch. A row never gets a higher number than it had, so
/// going upwards no two meet.
pub(super) fn rebase(
    conn: &Connection,
    vault: &Vault,
    old: &Ledger,
    epoch: Epoch,
) -> rusqlite::Result<Ledger> {
    let mut ledger = Ledger::fresh(epoch);
    ledger.lost = old.lost;
    ledger.losing = old.losing;
    for lane in Lane::ALL {
        let mut at = old.lane(lane).oldest;
        let state = ledger.lane_mut(lane);
        state.items = old.lane(lane).items;
        state.bytes = old.lane(lane).bytes;
        while at < old.lane(lane).next {
            let (span, head, body): (i64, Vec<u8>, Option<Vec<u8>>) = conn
                .prepare_cached("SELECT span, head, body FROM rows WHERE lane = $1 AND first = $2")?
                .query_row(params![lane as i64, int(at.0)], |row| {
                    Ok((row.get(0)?, row.get(1)?, row.get(2)?))
                })?;
            // One that does not open keeps its old hash as its content: it will be stated as lost when it is sent.
            let plain = body.and_then(|sealed| seal::open_body(vault, lane, &sealed));
            state.head = state.head.then(plain.as_ref().map_or(&head, |body| &body.0));
            conn.prepare_cached("UPDATE rows SET first = $1, head = $2 WHERE lane = $3 AND first = $4")?
                .execute(params![int(state.next.0), state.head.0, lane as i64, int(at.0)])?;
            state.next = state.next.plus(uint(span));
            at = at.plus(uint(span));
        }
    }
    Ok(ledger)
}
