//! Shell: the embedded engine. One writer thread and a few readers on one database file (`WAL`, `FULL`).
#![expect(clippy::disallowed_methods, reason = "shell: threads and a database file")]

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, OpenFlags};
use tokio::sync::mpsc;

use super::{Cell, Engine, Job, Row, Store, StoreError, Tx, Value};

/// Jobs that may wait for the writer; more make their callers wait.
const WAITING: usize = 4096;
/// Jobs in one commit: beyond this the wait of the first outweighs the saving (measured: 15,000 rows/s at 1,000).
const PER_COMMIT: usize = 1000;
/// Reader threads.
const READERS: usize = 3;

struct Sqlite {
    write: mpsc::Sender<Job>,
    read: mpsc::Sender<Job>,
}

/// Opens (or makes) the database at `path` and starts its threads. Migrations are run first.
pub fn open(path: &Path) -> Result<Store, StoreError> {
    let mut writer = connect(path, false)?;
    super::migrate::sqlite(&mut writer)?;
    let (write, jobs) = mpsc::channel(WAITING);
    spawn("store-writer", move || write_all(&mut writer, jobs))?;
    let (read, jobs) = mpsc::channel(WAITING);
    let jobs = Arc::new(Mutex::new(jobs));
    for _ in 0..READERS {
        let mut reader = connect(path, true)?;
        let jobs = Arc::clone(&jobs);
        spawn("store-reader", move || read_all(&mut reader, &jobs))?;
    }
    Ok(Store::new(Arc::new(Sqlite { write, read })))
}

/// Opens one connection with the settings that all of ours have.
pub fn connect(path: &Path, read_only: bool) -> Result<Connection, StoreError> {
    let step = "opening the database file";
    let flags = if read_only {
        OpenFlags::SQLITE_OPEN_READ_ONLY
    } else {
        OpenFlags::default()
    };
    let path: PathBuf = path.to_owned();
    let db = Connection::open_with_flags(&path, flags | OpenFlags::SQLITE_OPEN_NO_MUTEX).map_err(|e| {
        StoreError::Unavailable {
            step,
            why: format!("{}: {e}", path.display()),
        }
    })?;
    let settings = if read_only {
        "PRAGMA busy_timeout = 10000; PRAGMA query_only = ON;"
    } else {
        "PRAGMA busy_timeout = 10000; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
         PRAGMA foreign_keys = ON; PRAGMA wal_autocheckpoint = 2000;"
    };
    db.execute_batch(settings).map_err(|e| failed(step, &e))?;
    db.set_prepared_statement_cache_capacity(256);
    Ok(db)
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) -> Result<(), StoreError> {
    let made = std::thread::Builder::new().name(name.to_owned()).spawn(work);
    made.map(drop).map_err(|e| StoreError::Unavailable {
        step: "starting a thread",
        why: e.to_string(),
    })
}

impl Engine for Sqlite {
    fn submit_write(&self, job: Job) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.write.send(job).await.map_err(|_| super::gone()) })
    }

    fn submit_read(&self, job: Job) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.read.send(job).await.map_err(|_| super::gone()) })
    }
}

fn write_all(db: &mut Connection, mut jobs: mpsc::Receiver<Job>) {
    while let Some(first) = jobs.blocking_recv() {
        let mut told = Vec::new();
        let outcome = commit(db, first, &mut jobs, &mut told);
        let why = outcome.err().map(|e| e.to_string());
        for tell in told {
            let failed = why.clone().map(|why| StoreError::Unavailable {
                step: "committing",
                why,
            });
            tell(failed);
        }
    }
}

type Tell = Box<dyn FnOnce(Option<StoreError>) + Send>;

fn commit(
    db: &mut Connection,
    first: Job,
    jobs: &mut mpsc::Receiver<Job>,
    told: &mut Vec<Tell>,
) -> Result<(), rusqlite::Error> {
    let mut next = Some(first);
    if !db.is_autocommit() {
        db.execute_batch("ROLLBACK")?; // an earlier commit ended half way
    }
    let begun = db.execute_batch("BEGIN IMMEDIATE");
    while let Some(job) = next.take() {
        if begun.is_ok() {
            db.prepare_cached("SAVEPOINT job")?.execute([])?;
            let answer = job(&mut Open { db });
            if !answer.keep {
                db.prepare_cached("ROLLBACK TO job")?.execute([])?;
            }
            db.prepare_cached("RELEASE job")?.execute([])?;
            told.push(answer.tell);
        } else {
            let answer = job(&mut Closed);
            told.push(answer.tell);
        }
        if told.len() < PER_COMMIT {
            next = jobs.try_recv().ok();
        }
    }
    begun?;
    let done = db.execute_batch("COMMIT");
    if done.is_err() && !db.is_autocommit() {
        db.execute_batch("ROLLBACK")?;
    }
    done
}

fn read_all(db: &mut Connection, jobs: &Mutex<mpsc::Receiver<Job>>) {
    loop {
        let job = match jobs.lock() {
            Ok(mut jobs) => jobs.blocking_recv(),
            Err(_) => return,
        };
        let Some(job) = job else { return };
        let begun = db.execute_batch("BEGIN");
        let answer = if begun.is_ok() {
            job(&mut Open { db })
        } else {
            job(&mut Closed)
        };
        let ended = if begun.is_ok() {
            db.execute_batch("COMMIT")
        } else {
            begun
        };
        (answer.tell)(ended.err().map(|e| failed("reading", &e)));
    }
}

struct Open<'a> {
    db: &'a Connection,
}

/// Stands in for a transaction that could not be begun.
struct Closed;

impl Tx for Closed {
    fn execute(&mut self, _: &'static str, _: &[Value<'_>]) -> Result<u64, StoreError> {
        Err(StoreError::Unavailable {
            step: "beginning a transaction",
            why: "the database is locked or full".into(),
        })
    }

    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        self.execute(sql, with).map(|_| Vec::new())
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

impl Tx for Open<'_> {
    fn execute(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<u64, StoreError> {
        let mut statement = self
            .db
            .prepare_cached(sql)
            .map_err(|e| failed("preparing a statement", &e))?;
        let touched = statement.execute(rusqlite::params_from_iter(with.iter().map(Param)));
        touched
            .map(|n| n as u64)
            .map_err(|e| failed("running a statement", &e))
    }

    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let mut statement = self
            .db
            .prepare_cached(sql)
            .map_err(|e| failed("preparing a query", &e))?;
        let columns = statement.column_count();
        let mut found = statement
            .query(rusqlite::params_from_iter(with.iter().map(Param)))
            .map_err(|e| failed("running a query", &e))?;
        let mut rows = Vec::new();
        while let Some(row) = found.next().map_err(|e| failed("reading a row", &e))? {
            let mut cells = Vec::with_capacity(columns);
            for column in 0..columns {
                let cell = match row.get_ref(column).map_err(|e| failed("reading a column", &e))? {
                    ValueRef::Null => Cell::Null,
                    ValueRef::Integer(v) => Cell::Int(v),
                    ValueRef::Text(v) => Cell::Text(String::from_utf8_lossy(v).into_owned()),
                    ValueRef::Blob(v) => Cell::Blob(v.to_vec()),
                    ValueRef::Real(_) => {
                        let odd = Row {
                            statement: sql,
                            cells: Vec::new(),
                        };
                        return Err(odd.corrupt(column, "a floating point number"));
                    }
                };
                cells.push(cell);
            }
            rows.push(Row {
                statement: sql,
                cells,
            });
        }
        Ok(rows)
    }
}

fn failed(step: &'static str, error: &rusqlite::Error) -> StoreError {
    match error.sqlite_error_code() {
        Some(rusqlite::ErrorCode::ConstraintViolation) => StoreError::Conflict(error.to_string()),
        _ => StoreError::Unavailable {
            step,
            why: error.to_string(),
        },
    }
}
