//! Shell: the embedded engine. One writer thread and a few readers on one database file (`WAL`, `FULL`).

use std::path::Path;
use std::sync::Arc;

use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::group::{Session, Threads};
use super::{Cell, Row, Store, StoreError, Tx, Value};

/// Reader threads.
const READERS: usize = 3;

/// Opens (or makes) the database at `path` and starts its threads. Migrations are run first.
pub fn open(path: &Path) -> Result<Store, StoreError> {
    let mut writer = connect(path, false)?;
    super::migrate::sqlite(&mut writer)?;
    let readers: Result<Vec<Sqlite>, StoreError> = (0..READERS)
        .map(|_| connect(path, true).map(Sqlite::new))
        .collect();
    Ok(Store::new(Arc::new(Threads::start(
        Sqlite::new(writer),
        readers?,
    )?)))
}

/// Opens one connection with the settings that all of ours have.
pub fn connect(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let step = "opening the database file";
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE
    };
    let opened = Connection::open_with_flags(path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX);
    let db = opened.map_err(|e| StoreError::Unavailable {
        step,
        why: format!("{}: {e}", path.display()),
    })?;
    let settings = if read_only {
        "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON;"
    } else {
        "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 8000;"
    };
    db.execute_batch(settings).map_err(|e| failed(step, &e))?;
    db.set_prepared_statement_cache_capacity(256);
    Ok(db)
}

/// One connection; also what the command line's checks run on.
pub(crate) struct Sqlite {
    db: Connection,
    fatal: Option<String>,
}

impl Sqlite {
    pub(super) fn new(db: Connection) -> Sqlite {
        Sqlite { db, fatal: None }
    }

    fn note<T>(&mut self, step: &'static str, result: rusqlite::Result<T>) -> Result<T, StoreError> {
        result.map_err(|e| {
            if let Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) = e.sqlite_error_code() {
                self.fatal = Some(e.to_string());
            }
            failed(step, &e)
        })
    }
}

impl Session for Sqlite {
    const BEGIN_WRITE: &'static str = "BEGIN IMMEDIATE";
    const BEGIN_READ: &'static str = "BEGIN";

    fn ready(&mut self) -> Result<(), StoreError> {
        if self.stands() {
            self.execute("ROLLBACK", &[])?; // an earlier commit did not succeed
        }
        Ok(())
    }

    fn stands(&self) -> bool {
        !self.db.is_autocommit()
    }

    fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }
}

struct Param<'a>(&'a Value<'a>);

impl rusqlite::ToSql for Param<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(ToSqlOutput::Borrowed(match self.0 {
            Value::Int(v) => ValueRef::Integer(*v),
            Value::Text(v) => ValueRef::Text(v.as_bytes()),
            Value::Blob(v) => ValueRef::Blob(v),
            Value::Null => ValueRef::Null,
        }))
    }
}

impl Tx for Sqlite {
    fn execute(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<u64, StoreError> {
        let run = self
            .db
            .prepare_cached(sql)
            .and_then(|mut statement| statement.execute(rusqlite::params_from_iter(with.iter().map(Param))));
        self.note("running a statement", run)
            .map(|touched| touched as u64)
    }

    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let run = query(&self.db, sql, with);
        self.note("running a query", run)?
    }
}

/// The outer error is the engine's, the inner one says that a value is not of ours.
fn query(
    db: &Connection,
    sql: &'static str,
    with: &[Value<'_>],
) -> rusqlite::Result<Result<Vec<Row>, StoreError>> {
    let mut statement = db.prepare_cached(sql)?;
    let columns = statement.column_count();
    let mut found = statement.query(rusqlite::params_from_iter(with.iter().map(Param)))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        let mut kept = Row {
            statement: sql,
            cells: Vec::with_capacity(columns),
        };
        for column in 0..columns {
            match cell(row.get_ref(column)?) {
                Ok(cell) => kept.cells.push(cell),
                Err(why) => return Ok(Err(kept.corrupt(column, why))),
            }
        }
        rows.push(kept);
    }
    Ok(Ok(rows))
}

fn cell(value: ValueRef<'_>) -> Result<Cell, &'static str> {
    match value {
        ValueRef::Null => Ok(Cell::Null),
        ValueRef::Integer(v) => Ok(Cell::Int(v)),
        ValueRef::Text(v) => {
            let text = std::str::from_utf8(v).map_err(|_| "a text that is not UTF-8")?;
            Ok(Cell::Text(text.to_owned()))
        }
        ValueRef::Blob(v) => Ok(Cell::Blob(v.to_vec())),
        ValueRef::Real(_) => Err("a floating point number"),
    }
}

pub(super) fn failed(step: &'static str, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => StoreError::Conflict(error.to_string()),
        _ => StoreError::Unavailable {
            step,
            why: error.to_string(),
        },
    }
}

#[cfg(test)]
impl Sqlite {
    /// A migrated database of its own in memory, for tests that need no threads.
    pub(crate) fn in_memory() -> Sqlite {
        let mut db = Connection::open_in_memory().expect("memory");
        super::migrate::sqlite(&mut db).expect("migrates");
        Sqlite::new(db)
    }

    /// The same content, apart.
    pub(crate) fn copy(&self) -> Sqlite {
        let mut copy = Connection::open_in_memory().expect("memory");
        let backup = rusqlite::backup::Backup::new(&self.db, &mut copy).expect("a backup");
        backup.step(-1).expect("copied");
        drop(backup);
        Sqlite::new(copy)
    }
}
