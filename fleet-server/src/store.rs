//! What the server keeps: one `SQL` text, two engines.
//!
//! [`Store::write`] runs work in a transaction of the one writer and returns after the commit; the writer takes
//! all work that waits into one commit (group commit), each piece behind a savepoint of its own, so that one that
//! fails takes nobody else along. [`Store::read`] runs work on one of a few readers.
//!
//! # Design
//! The seam is narrow: an engine knows how to connect, migrate and run one statement. Everything above it is
//! written once, in SQL that both engines read: `$1` first used in ascending order (`SQLite` numbers parameters by
//! first use), TEXT ids, BIGINT milliseconds, signed bytes kept as signed. Engines are synchronous and live on
//! threads of their own; async code only waits for them.

pub mod audit;
pub mod migrate;
pub mod signals;
pub mod sqlite;

use std::sync::Arc;

use tokio::sync::oneshot;

/// Why the store did not do what was asked.
#[derive(Debug, thiserror::Error)]
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
pub trait Tx {
    /// Runs one statement; gives how many rows it touched.
    fn execute(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<u64, StoreError>;
    /// Runs one query; gives all its rows. Bound the number in the statement.
    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError>;

    /// The first row of a query, if there is one.
    fn row(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Option<Row>, StoreError> {
        Ok(self.rows(sql, with)?.into_iter().next())
    }
}

/// A piece of work for an engine thread: it runs, and answers its caller once it is told how the commit went.
pub type Job = Box<dyn FnOnce(&mut dyn Tx) -> Answer + Send>;

/// What a piece of work left behind.
pub struct Answer {
    /// Whether its own part may be kept.
    pub keep: bool,
    /// Tells the caller; given the commit's failure, if it failed.
    pub tell: Box<dyn FnOnce(Option<StoreError>) + Send>,
}

/// A handle on a running engine; cheap to clone.
#[derive(Clone)]
pub struct Store {
    engine: Arc<dyn Engine>,
}

impl std::fmt::Debug for Store {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Store")
    }
}

/// Where jobs go. A full queue makes the caller wait: that is the back pressure.
pub trait Engine: Send + Sync {
    /// Hands a job to the writer; gives it back when the writer is gone.
    fn submit_write(&self, job: Job) -> futures_util::future::BoxFuture<'_, Result<(), StoreError>>;
    /// Hands a job to a reader.
    fn submit_read(&self, job: Job) -> futures_util::future::BoxFuture<'_, Result<(), StoreError>>;
}

impl Store {
    /// A store on this engine.
    pub fn new(engine: Arc<dyn Engine>) -> Store {
        Store { engine }
    }

    /// Runs `work` in a transaction; returns after the commit that holds it. An error of `work` undoes its part.
    pub async fn write<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = job(work);
        self.engine.submit_write(job).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Runs `work` on a reader: it sees one moment of the database and must not change it.
    pub async fn read<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, StoreError> {
        let (job, answer) = job(work);
        self.engine.submit_read(job).await?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }
}

fn gone() -> StoreError {
    StoreError::Unavailable {
        step: "waiting for it",
        why: "its thread has ended".into(),
    }
}

fn job<T: Send + 'static>(
    work: impl FnOnce(&mut dyn Tx) -> Result<T, StoreError> + Send + 'static,
) -> (Job, oneshot::Receiver<Result<T, StoreError>>) {
    let (tell, answer) = oneshot::channel();
    let job: Job = Box::new(move |tx| {
        let result = work(tx);
        Answer {
            keep: result.is_ok(),
            tell: Box::new(move |failed| {
                // The caller may have given up; then nobody is there to be told.
                let _ = tell.send(match failed {
                    Some(error) => Err(error),
                    None => result,
                });
            }),
        }
    });
    (job, answer)
}
