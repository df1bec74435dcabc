//! What the server keeps: one `SQL` text, two engines.
//!
//! [`Store::write`] runs work in a transaction of the one writer and returns after the commit; the writer takes
//! all work that waits into one commit (group commit), and one that fails takes nobody else along. [`Store::read`] runs work on one of a few readers.
//!
//! # Design
//! The seam is narrow: an engine knows how to connect, migrate and run one statement. Everything above it is
//! written once, in SQL that both engines read: `$1` first used in ascending order (`SQLite` numbers parameters by
//! first use), TEXT ids, BIGINT milliseconds, signed bytes kept as signed. Engines are synchronous and live on
//! threads of their own; async code only waits for them.
//!
//! A job that panics, fails, or swallows the error of a statement is undone; so is a whole group whose commit fails,
//! and then each of its callers is told. What an engine cannot mend ends its threads: see [`Store::ended`].

pub mod advisories;
pub mod attest;
pub mod audit;
pub mod calendar;
pub mod campaigns;
pub mod care;
pub mod certificates;
pub mod check;
pub mod chips;
pub mod claims;
pub mod connections;
pub mod console;
pub mod copy;
pub mod deadlines;
pub mod dossiers;
pub mod facts;
pub mod forces;
pub mod gateways;
mod group;
pub mod implants;
pub mod incidents;
pub mod migrate;
pub mod notices;
pub mod policies;
pub mod postgres;
#[cfg(test)]
pub(crate) mod promises;
pub mod quiets;
pub mod records;
pub mod retention;
pub mod signals;
pub mod sqlite;
pub mod stamps;
pub mod streams;
pub mod support;
pub mod suspicions;
pub mod take;
pub mod tokens;
pub mod trust;
pub mod updates;
pub mod users;
pub mod weighings;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use tokio::sync::{oneshot, watch};

/// Why the store did not do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// The rows changed meanwhile, or a row with this key exists.
    #[error("another change came first: {0}")]
    Conflict(String),
    /// A row is not what its table promises.
    #[error("column {column} of `{statement}` is not what it should be: {why}")]
    Corrupt {
        /// The statement that read it, cut.
        statement: String,
        /// Which column, counted from 0.
        column: usize,
        /// What is wrong.
        why: String,
    },
    /// The database could not be used.
    #[error("the database is not available while {step}: {why}")]
    Unavailable {
        /// What was being done.
        step: &'static str,
        /// The engine's words.
        why: String,
    },
}

/// Bytes as lower case hex.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, b| {
        text.push(char::from_digit(u32::from(b >> 4), 16).unwrap_or('0'));
        text.push(char::from_digit(u32::from(b & 15), 16).unwrap_or('0'));
        text
    })
}

/// A parameter of a statement.
#[derive(Debug, Clone, Copy)]
pub enum Value<'a> {
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(&'a str),
    /// BLOB or BYTEA.
    Blob(&'a [u8]),
    /// NULL, of any type.
    Null,
}

impl From<i64> for Value<'_> {
    fn from(v: i64) -> Self {
        Value::Int(v)
    }
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(v: &'a str) -> Self {
        Value::Text(v)
    }
}

impl<'a> From<&'a String> for Value<'a> {
    fn from(v: &'a String) -> Self {
        Value::Text(v)
    }
}

impl<'a> From<&'a [u8]> for Value<'a> {
    fn from(v: &'a [u8]) -> Self {
        Value::Blob(v)
    }
}

impl<'a, T: Into<Value<'a>>> From<Option<T>> for Value<'a> {
    fn from(v: Option<T>) -> Self {
        v.map_or(Value::Null, Into::into)
    }
}

/// A value of a row.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// BIGINT.
    Int(i64),
    /// TEXT.
    Text(String),
    /// BLOB or BYTEA.
    Blob(Vec<u8>),
    /// NULL.
    Null,
}

/// One row of an answer. Each getter says [`StoreError::Corrupt`] when the column holds another type.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// The statement, for errors.
    pub statement: &'static str,
    /// The columns, in the order of the SELECT.
    pub cells: Vec<Cell>,
}

impl Row {
    /// What is wrong with a column, as an error.
    pub fn corrupt(&self, column: usize, why: impl std::fmt::Display) -> StoreError {
        let statement = self.statement.chars().take(60).collect();
        StoreError::Corrupt {
            statement,
            column,
            why: why.to_string(),
        }
    }

    /// BIGINT that may be NULL.
    pub fn opt_int(&self, column: usize) -> Result<Option<i64>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Int(v)) => Ok(Some(*v)),
            Some(Cell::Null) => Ok(None),
            _ => Err(self.corrupt(column, "not an integer")),
        }
    }

    /// BIGINT.
    pub fn int(&self, column: usize) -> Result<i64, StoreError> {
        self.opt_int(column)?
            .ok_or_else(|| self.corrupt(column, "is null"))
    }

    /// TEXT that may be NULL.
    pub fn opt_text(&self, column: usize) -> Result<Option<&str>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Text(v)) => Ok(Some(v)),
            Some(Cell::Null) => Ok(None),
            _ => Err(self.corrupt(column, "not a text")),
        }
    }

    /// TEXT.
    pub fn text(&self, column: usize) -> Result<&str, StoreError> {
        self.opt_text(column)?
            .ok_or_else(|| self.corrupt(column, "is null"))
    }

    /// TEXT that parses to `T`.
    pub fn parse<T>(&self, column: usize) -> Result<T, StoreError>
    where
        T: std::str::FromStr,
        T::Err: std::fmt::Display,
    {
        self.text(column)?.parse().map_err(|e| self.corrupt(column, e))
    }

    /// BLOB or BYTEA that may be NULL.
    pub fn opt_blob(&self, column: usize) -> Result<Option<&[u8]>, StoreError> {
        match self.cells.get(column) {
            Some(Cell::Blob(v)) => Ok(Some(v)),
            Some(Cell::Null) => Ok(None),
            _ => Err(self.corrupt(column, "not bytes")),
        }
    }

    /// BLOB or BYTEA.
    pub fn blob(&self, column: usize) -> Result<&[u8], StoreError> {
        self.opt_blob(column)?
            .ok_or_else(|| self.corrupt(column, "is null"))
    }
}

/// An open transaction of either engine.
///
/// After an error the work should end: whatever it answers, its part is undone (`PostgreSQL` runs no further
/// statement after one that failed, and `SQLite` behaves the same here).
pub trait Tx {
    /// Runs one statement; gives how many rows it touched.
    fn execute(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<u64, StoreError>;
    /// Runs one query, or a statement with RETURNING; gives all its rows. Bound the number in the statement.
    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError>;

    /// The first row of a query, if there is one.
    fn row(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, with)?.into_iter().next())
    }
}

/// Nobody else writes until this transaction ends: two that open tasks at once see each other's, and get two numbers.
fn alone(tx: &mut dyn Tx) -> Result<(), StoreError> {
    tx.execute("UPDATE meta SET value = value WHERE key = 'audit'", &[])?;
    Ok(())
}

/// Where the database is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StoreConfig {
    /// The embedded one, in this file.
    Sqlite(PathBuf),
    /// A `PostgreSQL` server: a URL (`postgresql://user@host/name`) or `key=value` words; a `host` that begins with
    /// a slash is the directory of a unix socket. TLS to the database is not built in yet.
    Postgres(String),
}

/// Opens the database, brings it to the newest schema and starts the engine's threads.
pub fn open(config: &StoreConfig) -> Result<Store, StoreError> {
    match config {
        StoreConfig::Sqlite(path) => sqlite::open(path),
        StoreConfig::Postgres(url) => postgres::open(url),
    }
}

/// A handle on a running engine; cheap to clone. The engine ends when the last one is dropped.
#[derive(Clone)]
pub struct Store {
    pub(crate) engine: Arc<dyn Engine>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// Where jobs go. A full queue makes the caller wait: that is the back pressure.
pub trait Engine: Send + Sync {
    /// Hands a job to the writer.
    fn submit_write(&self, job: Box<dyn Job>) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Hands a job to a reader.
    fn submit_read(&self, job: Box<dyn Job>) -> BoxFuture<'_, Result<(), StoreError>>;
    /// Why one of the engine's threads has ended, once it has.
    fn ended(&self) -> watch::Receiver<Option<String>>;
}

/// A piece of work on its way to an engine's thread.
pub trait Job: Send {
    /// Whether it may be run a second time, after everything that its first run did was undone.
    fn is_repeatable(&self) -> bool;
    /// Runs in an open transaction; says whether its own part may be kept.
    fn run(&mut self, tx: &mut dyn Tx) -> bool;
    /// Tells the caller how it went; given the failure, if it could not be run or committed.
    fn tell(self: Box<Self>, failed: Option<StoreError>);
}

impl Store {
    /// A store on this engine.
    pub fn new(engine: Arc<dyn Engine>) -> Store {
        Store { engine }
    }

    /// Runs `work` in a transaction; returns after the commit that holds it. An error of `work` undoes its part.
    /// A caller that stops waiting does not stop the work.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        self.submit(work).await?.committed().await
    }

    /// Puts `work` in the writer's queue and gives what to wait for: works are done in the order of their
    /// submission, so one caller can have several on their way and keep their order.
    pub async fn submit<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        let (job, pending) = job(Once(Some(work)));
        self.engine.submit_write(job).await?;
        Ok(pending)
    }

    /// The same for work that may be run a second time after its first run was undone. It costs less: the writer puts no
    /// savepoint around each such work of a group, and runs all of them again, behind savepoints, when one fails.
    pub async fn submit_repeatable<T: Send + 'static>(
        &self,
        work: impl FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<Pending<T>, StoreError> {
        let (job, pending) = job(Repeatable(work));
        self.engine.submit_write(job).await?;
        Ok(pending)
    }

    /// Runs `work` on a reader: it sees one moment of the database and cannot change it.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, pending) = job(Once(Some(work)));
        self.engine.submit_read(job).await?;
        pending.committed().await
    }

    /// Returns, with the reason, when the engine has ended for good (a damaged database, a thread that panicked): the
    /// process should end too.
    pub async fn ended(&self) -> String {
        let mut ended = self.engine.ended();
        let why = ended.wait_for(Option::is_some).await;
        why.ok().and_then(|why| why.clone()).unwrap_or_default()
    }
}

/// Work that waits for its turn or for the commit.
#[derive(Debug)]
pub struct Pending<T>(oneshot::Receiver<Result<T, StoreError>>);

impl<T> Pending<T> {
    /// Waits for the commit that holds it.
    pub async fn committed(self) -> Result<T, StoreError> {
        self.0.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable {
        step: "waiting for it",
        why: "its thread has ended".into(),
    }
}

/// How a piece of work is run.
trait Runs<T>: Send {
    const REPEATABLE: bool;
    fn run(&mut self, tx: &mut dyn Tx) -> Result<T, StoreError>;
}

struct Once<F>(Option<F>);

impl<T, F: FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send> Runs<T> for Once<F> {
    const REPEATABLE: bool = false;
    fn run(&mut self, tx: &mut dyn Tx) -> Result<T, StoreError> {
        // Nobody asks a second time; if one did, it would get an error and the work would be undone.
        self.0.take().map_or_else(|| Err(gone()), |work| work(tx))
    }
}

struct Repeatable<F>(F);

impl<T, F: FnMut(&mut dyn Tx) -> Result<T, StoreError> + Send> Runs<T> for Repeatable<F> {
    const REPEATABLE: bool = true;
    fn run(&mut self, tx: &mut dyn Tx) -> Result<T, StoreError> {
        self.0(tx)
    }
}

struct Work<W, T> {
    how: W,
    result: Option<Result<T, StoreError>>,
    tell: oneshot::Sender<Result<T, StoreError>>,
}

fn job<T: Send + 'static>(work: impl Runs<T> + 'static) -> (Box<dyn Job>, Pending<T>) {
    let (tell, answer) = oneshot::channel();
    let work = Work {
        how: work,
        result: None,
        tell,
    };
    (Box::new(work), Pending(answer))
}

impl<W: Runs<T>, T: Send + 'static> Job for Work<W, T> {
    fn is_repeatable(&self) -> bool {
        W::REPEATABLE
    }

    fn run(&mut self, tx: &mut dyn Tx) -> bool {
        let mut watched = Watched { tx, failed: None };
        let result =
            catch_unwind(AssertUnwindSafe(|| self.how.run(&mut watched))).unwrap_or_else(|_| Err(panicked()));
        let result = match watched.failed {
            Some(swallowed) if result.is_ok() => Err(swallowed),
            _ => result,
        };
        let keep = result.is_ok();
        self.result = Some(result);
        keep
    }

    fn tell(self: Box<Self>, failed: Option<StoreError>) {
        let result = match failed {
            Some(error) => Err(error),
            None => self.result.unwrap_or_else(|| Err(gone())),
        };
        let _ = self.tell.send(result); // the caller may have given up; then nobody is there to be told
    }
}

fn panicked() -> StoreError {
    StoreError::Unavailable {
        step: "running a piece of work",
        why: "it panicked, which is a fault of this program".into(),
    }
}

/// A transaction that remembers the first error, for works that swallow it.
struct Watched<'a> {
    tx: &'a mut dyn Tx,
    failed: Option<StoreError>,
}

impl Watched<'_> {
    fn remember<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(error), None) = (&result, &self.failed) {
            self.failed = Some(error.clone());
        }
        result
    }
}

impl Tx for Watched<'_> {
    fn execute(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<u64, StoreError> {
        let result = self.tx.execute(sql, with);
        self.remember(result)
    }

    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let result = self.tx.rows(sql, with);
        self.remember(result)
    }
}
