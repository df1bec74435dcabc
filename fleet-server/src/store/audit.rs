//! The audit trail's rows.

use homeward_protocol::time::Timestamp;

use super::{StoreError, Tx};
use crate::audit::{Action, Broken, Chain, Row, RowHash};

/// Rows read at a time while checking.
const PAGE: i64 = 1000;

/// One row, for pages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// 1, 2, 3 … without holes.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// Who.
    pub actor: String,
    /// What was done, by its name.
    pub action: String,
    /// To what.
    pub subject: String,
    /// More, for people.
    pub detail: String,
}

/// Writes one row, in the transaction that makes the change. `actor` is a user's name, a gateway's id or `system`;
/// `detail` is for people and never a secret.
pub fn record(
    tx: &mut dyn Tx,
    now: Timestamp,
    actor: &str,
    action: Action,
    subject: &str,
    detail: &str,
) -> Result<(), StoreError> {
    // Takes the row's lock, so that two processes on one database do not give out one number twice.
    tx.execute("UPDATE meta SET value = value WHERE key = 'audit'", &[])?;
    let head = head(tx)?;
    let row = Row {
        id: head.last() + 1,
        at_ms: now.ms,
        actor,
        action: action.name(),
        subject,
        detail,
    };
    tx.execute(
        "INSERT INTO audit (id, at, actor, action, subject, detail, hash) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            row.id.into(),
            row.at_ms.into(),
            actor.into(),
            row.action.into(),
            subject.into(),
            detail.into(),
            head.head().then(&row).0.as_slice().into(),
        ],
    )?;
    Ok(())
}

/// The newest row's number and hash, not checked.
pub fn head(tx: &mut dyn Tx) -> Result<Chain, StoreError> {
    let newest = tx.row("SELECT id, hash FROM audit ORDER BY id DESC LIMIT 1", &[])?;
    let Some(row) = newest else {
        return Ok(Chain::start());
    };
    let hash = RowHash::from_slice(row.blob(1)?).ok_or_else(|| row.corrupt(1, "not 32 bytes"))?;
    Ok(Chain::after(row.int(0)?, hash))
}

/// Walks the whole trail. `Ok(Err(…))` says where it is not whole.
pub fn check(tx: &mut dyn Tx) -> Result<Result<Chain, Broken>, StoreError> {
    walk(tx, Chain::start())
}

/// Walks what came after `seen`, which was found whole before. `Ok(Err(…))` also when the row that ended it then is
/// gone or is another one.
pub fn check_after(tx: &mut dyn Tx, seen: Chain) -> Result<Result<Chain, Broken>, StoreError> {
    let row = tx.row("SELECT hash FROM audit WHERE id = $1", &[seen.last().into()])?;
    let stored = row.as_ref().map(|row| row.blob(0)).transpose()?;
    if seen.last() == 0 || stored == Some(seen.head().0.as_slice()) {
        return walk(tx, seen);
    }
    // Where it was changed; all of it may have been written anew, and then only the end differs.
    let whole = check(tx)?;
    Ok(whole.and_then(|chain| {
        Err(if chain.last() < seen.last() {
            Broken::Cut {
                had: seen.last(),
                has: chain.last(),
            }
        } else {
            Broken::Hash { id: seen.last() }
        })
    }))
}

fn walk(tx: &mut dyn Tx, mut chain: Chain) -> Result<Result<Chain, Broken>, StoreError> {
    loop {
        let rows = tx.rows(
            "SELECT id, at, actor, action, subject, detail, hash FROM audit WHERE id > $1 ORDER BY id LIMIT $2",
            &[chain.last().into(), PAGE.into()],
        )?;
        if rows.is_empty() {
            return Ok(Ok(chain));
        }
        for row in &rows {
            let entry = Row {
                id: row.int(0)?,
                at_ms: row.int(1)?,
                actor: row.text(2)?,
                action: row.text(3)?,
                subject: row.text(4)?,
                detail: row.text(5)?,
            };
            if let Err(broken) = chain.follow(&entry, row.blob(6)?) {
                return Ok(Err(broken));
            }
        }
    }
}

/// The newest rows before row `before`, newest first; at most `limit`. `i64::MAX` for `before` begins at the end.
pub fn list(tx: &mut dyn Tx, before: i64, limit: i64) -> Result<Vec<Entry>, StoreError> {
    let rows = tx.rows(
        "SELECT id, at, actor, action, subject, detail FROM audit WHERE id < $1 ORDER BY id DESC LIMIT $2",
        &[before.into(), limit.into()],
    )?;
    let entry = |row: &super::Row| {
        Ok(Entry {
            id: row.int(0)?,
            at: Timestamp::synced(row.int(1)?),
            actor: row.text(2)?.to_owned(),
            action: row.text(3)?.to_owned(),
            subject: row.text(4)?.to_owned(),
            detail: row.text(5)?.to_owned(),
        })
    };
    rows.iter().map(entry).collect()
}
