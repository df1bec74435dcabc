//! Shell: how far sensors' memories were taken. Each statement works within a transaction of its caller.

use super::{Connection, OptionalExtension, Progress, Vault, params, seal};
use crate::outbox::{KEPT_KEYS, RecordHash};

/// What version 2 of the file added.
pub(super) const SCHEMA: &str = "
CREATE TABLE progress (stream TEXT PRIMARY KEY, cursor BLOB NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE taken (id INTEGER PRIMARY KEY, stream TEXT NOT NULL, key BLOB NOT NULL, UNIQUE (stream, key)) STRICT;
PRAGMA user_version = 2;";

/// Writes a progress, and forgets keys beyond [`KEPT_KEYS`].
pub(super) fn save(conn: &Connection, vault: &Vault, progress: &Progress) -> rusqlite::Result<()> {
    let stream = &vault.name(&progress.stream);
    conn.prepare_cached("INSERT OR REPLACE INTO progress (stream, cursor) VALUES ($1, $2)")?
        .execute(params![stream, seal::cursor(vault, &progress.cursor)?])?;
    let mut put = conn.prepare_cached("INSERT OR IGNORE INTO taken (stream, key) VALUES ($1, $2)")?;
    for key in &progress.keys {
        put.execute(params![stream, key])?;
    }
    if !progress.keys.is_empty() {
        conn.prepare_cached(
            "DELETE FROM taken WHERE stream = $1 AND id <=
             (SELECT id FROM taken WHERE stream = $1 ORDER BY id DESC LIMIT 1 OFFSET $2)",
        )?
        .execute(params![stream, i64::try_from(KEPT_KEYS).unwrap_or(i64::MAX)])?;
    }
    Ok(())
}

/// Reads a progress, the oldest key first.
pub(super) fn load(conn: &Connection, vault: &Vault, stream: &str) -> rusqlite::Result<Option<Progress>> {
    let name = &vault.name(stream);
    let cursor: Option<Vec<u8>> = conn
        .prepare_cached("SELECT cursor FROM progress WHERE stream = $1")?
        .query_row([name], |row| row.get(0))
        .optional()?;
    let Some(sealed) = cursor else { return Ok(None) };
    let cursor = seal::open_cursor(vault, &sealed).ok_or(rusqlite::Error::InvalidQuery)?;
    let mut keys = conn.prepare_cached("SELECT key FROM taken WHERE stream = $1 ORDER BY id")?;
    let keys = keys.query_map([name], |row| row.get::<_, RecordHash>(0))?;
    Ok(Some(Progress {
        stream: stream.to_owned(),
        cursor,
        keys: keys.collect::<rusqlite::Result<_>>()?,
    }))
}
