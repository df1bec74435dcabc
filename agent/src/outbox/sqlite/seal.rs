//! Shell: what stands in the file is sealed: bodies of records, and how far sensors' memories were taken. Numbers, sizes
//! and hashes over what was sealed with them stand in the clear; the hashes are what finds a changed record.

use homeward_protocol::envelope::Lane;
use homeward_protocol::wire::Bytes;
use rusqlite::{Connection, params};

use crate::vault::Vault;
use crate::vault::disk::random;

/// Rows that are sealed in one go when an older file is taken over.
const AT_ONCE: i64 = 500;

fn purpose(lane: Lane) -> [u8; 8] {
    let mut what = *b"record 0";
    what[7] += lane as u8;
    what
}

/// Seals a record's body.
pub(super) fn body(vault: &Vault, lane: Lane, body: &[u8]) -> rusqlite::Result<Vec<u8>> {
    sealed(vault, &purpose(lane), body)
}

/// Opens one; `None` when it was changed, or belongs to another lane.
pub(super) fn open_body(vault: &Vault, lane: Lane, sealed: &[u8]) -> Option<Bytes> {
    vault.open(&purpose(lane), sealed).map(Bytes)
}

/// Seals a cursor.
pub(super) fn cursor(vault: &Vault, cursor: &[u8]) -> rusqlite::Result<Vec<u8>> {
    sealed(vault, b"cursor", cursor)
}

/// Opens one.
pub(super) fn open_cursor(vault: &Vault, sealed: &[u8]) -> Option<Vec<u8>> {
    vault.open(b"cursor", sealed)
}

fn sealed(vault: &Vault, what: &[u8], plain: &[u8]) -> rusqlite::Result<Vec<u8>> {
    let failed = |e: Box<dyn std::error::Error + Send + Sync>| rusqlite::Error::ToSqlConversionFailure(e);
    let nonce = random().map_err(|e| failed(e.into()))?;
    vault.seal(what, plain, nonce).map_err(|e| failed(e.into()))
}

/// Seals what an older agent left in the clear, and leaves nothing of it in the file.
pub(super) fn take_over(conn: &mut Connection, vault: &Vault) -> rusqlite::Result<()> {
    let tx = conn.transaction()?;
    let mut from = (-1, -1);
    loop {
        let mut rows = tx.prepare_cached(
            "SELECT lane, first, body FROM rows WHERE body IS NOT NULL AND (lane, first) > ($1, $2)
             ORDER BY lane, first LIMIT $3",
        )?;
        let found = rows.query_map(params![from.0, from.1, AT_ONCE], |row| {
            Ok((
                row.get::<_, i64>(0)?,
                row.get::<_, i64>(1)?,
                row.get::<_, Vec<u8>>(2)?,
            ))
        })?;
        let found: Vec<_> = found.collect::<rusqlite::Result<_>>()?;
        let Some(last) = found.last() else { break };
        from = (last.0, last.1);
        for (lane, first, plain) in found {
            let Some(of) = Lane::ALL.into_iter().find(|l| *l as i64 == lane) else {
                continue;
            };
            tx.execute(
                "UPDATE rows SET body = $1 WHERE lane = $2 AND first = $3",
                params![body(vault, of, &plain)?, lane, first],
            )?;
        }
    }
    let streams = {
        let mut all = tx.prepare("SELECT stream, cursor FROM progress")?;
        let rows = all.query_map([], |row| {
            Ok((row.get::<_, String>(0)?, row.get::<_, Vec<u8>>(1)?))
        })?;
        rows.collect::<rusqlite::Result<Vec<_>>>()?
    };
    for (stream, plain) in streams {
        let name = vault.name(&stream);
        tx.execute(
            "UPDATE progress SET stream = $1, cursor = $2 WHERE stream = $3",
            params![name, cursor(vault, &plain)?, stream],
        )?;
        tx.execute(
            "UPDATE taken SET stream = $1 WHERE stream = $2",
            params![name, stream],
        )?;
    }
    tx.execute_batch("PRAGMA user_version = 3")?;
    tx.commit()?;
    conn.execute_batch("VACUUM; PRAGMA wal_checkpoint(TRUNCATE);")
}
