//! Shell: brings a database to the newest schema.

use rusqlite::Connection;

use super::StoreError;

const SQLITE: &str = include_str!("../../migrations/sqlite/V1__first.sql");

/// Brings an embedded database to the newest schema.
pub fn sqlite(db: &mut Connection) -> Result<(), StoreError> {
    let step = "migrating";
    let failed = |e: rusqlite::Error| StoreError::Unavailable {
        step,
        why: e.to_string(),
    };
    let version: i64 = db
        .query_row("PRAGMA user_version", [], |row| row.get(0))
        .map_err(failed)?;
    if version == 0 {
        let tx = db.transaction().map_err(failed)?;
        tx.execute_batch(SQLITE).map_err(failed)?;
        tx.execute_batch("PRAGMA user_version = 1").map_err(failed)?;
        tx.commit().map_err(failed)?;
    }
    Ok(())
}
