//! Shell: what the threads of both engines do. The writer takes all that waits into one commit, where a piece
//! of work that fails takes no other along; a reader takes one at a time.
#![expect(clippy::disallowed_methods, reason = "shell: threads")]

use std::sync::{Arc, Mutex, PoisonError};

use futures_util::future::BoxFuture;
use tokio::sync::{mpsc, watch};

use super::{Engine, Job, StoreError, Tx};

/// Jobs that may wait for the writer; more make their callers wait.
const WAITING: usize = 4096;
/// Jobs in one commit: beyond this the wait of the first outweighs the saving (measured: 15,000 rows/s at 1,000).
const PER_COMMIT: usize = 1000;

/// One connection to the database, on a thread of its own.
pub(super) trait Session: Tx {
    /// Begins a transaction that may write.
    const BEGIN_WRITE: &'static str;
    /// Begins a transaction that sees one moment and may not write.
    const BEGIN_READ: &'static str;

    /// Makes the connection fit for a new transaction: connects again, undoes what was left open.
    fn ready(&mut self) -> Result<(), StoreError>;
    /// Whether the transaction that was begun still stands; an engine may have ended it by itself.
    fn stands(&self) -> bool;
    /// Why no later try can succeed, when that is so.
    fn fatal(&self) -> Option<&str>;
}

/// The queues in front of an engine's threads.
pub(super) struct Threads {
    write: mpsc::Sender<Box<dyn Job>>,
    read: mpsc::Sender<Box<dyn Job>>,
    ended: watch::Receiver<Option<String>>,
}

impl Threads {
    /// Starts one writer and a reader for each of `readers`.
    pub(super) fn start<S: Session + Send + 'static>(
        mut writer: S,
        readers: Vec<S>,
    ) -> Result<Threads, StoreError> {
        let (say, ended) = watch::channel(None);
        let (write, jobs) = mpsc::channel(WAITING);
        spawn("store-writer", &say, move || write_all(&mut writer, jobs))?;
        let (read, jobs) = mpsc::channel(WAITING);
        let jobs = Arc::new(Mutex::new(jobs));
        for mut reader in readers {
            let jobs = Arc::clone(&jobs);
            spawn("store-reader", &say, move || read_all(&mut reader, &jobs))?;
        }
        Ok(Threads { write, read, ended })
    }
}

impl Engine for Threads {
    fn submit_write(&self, job: Box<dyn Job>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.write.send(job).await.map_err(|_| super::gone()) })
    }

    fn submit_read(&self, job: Box<dyn Job>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async { self.read.send(job).await.map_err(|_| super::gone()) })
    }

    fn ended(&self) -> watch::Receiver<Option<String>> {
        self.ended.clone()
    }
}

/// Starts a thread that says why it ended, also when it panics.
fn spawn(
    name: &'static str,
    say: &watch::Sender<Option<String>>,
    work: impl FnOnce() -> String + Send + 'static,
) -> Result<(), StoreError> {
    let last_word = LastWord {
        say: say.clone(),
        why: format!("the thread {name} panicked"),
    };
    let made = std::thread::Builder::new().name(name.to_owned()).spawn(move || {
        let mut last_word = last_word;
        last_word.why = work();
    });
    made.map(drop).map_err(|e| StoreError::Unavailable {
        step: "starting a thread",
        why: e.to_string(),
    })
}

struct LastWord {
    say: watch::Sender<Option<String>>,
    why: String,
}

impl Drop for LastWord {
    fn drop(&mut self) {
        self.say.send_replace(Some(std::mem::take(&mut self.why)));
    }
}

/// Why a thread ends when the last handle on the store is dropped.
const CLOSED: &str = "it was closed";

fn write_all<S: Session>(session: &mut S, mut jobs: mpsc::Receiver<Box<dyn Job>>) -> String {
    while let Some(first) = jobs.blocking_recv() {
        match begin(session, S::BEGIN_WRITE) {
            Ok(()) => commit_group(session, first, &mut jobs),
            Err(error) => refuse_waiting(first, &mut jobs, &error),
        }
        if let Some(why) = session.fatal() {
            return format!("it cannot be used any more: {why}");
        }
    }
    CLOSED.to_owned()
}

fn begin<S: Session>(session: &mut S, how: &'static str) -> Result<(), StoreError> {
    session.ready()?;
    session.execute(how, &[]).map(drop)
}

fn refuse_waiting(first: Box<dyn Job>, jobs: &mut mpsc::Receiver<Box<dyn Job>>, error: &StoreError) {
    tracing::warn!("nothing can be stored: {error}");
    first.tell(Some(error.clone()));
    for _ in 0..WAITING {
        match jobs.try_recv() {
            Ok(job) => job.tell(Some(error.clone())),
            Err(_) => return,
        }
    }
}

/// Runs what waits in the transaction that was begun, commits, and tells every caller how it went.
///
/// A savepoint costs the embedded engine a copy of each page that is touched behind it, and the other one two trips.
/// So work that may be run again goes without one while nothing fails and nothing else has run.
fn commit_group<S: Session>(session: &mut S, first: Box<dyn Job>, jobs: &mut mpsc::Receiver<Box<dyn Job>>) {
    let mut ran: Vec<Box<dyn Job>> = Vec::new();
    let mut next = Some(first);
    let (mut repeatable, mut outcome) = (true, Ok(()));
    while let Some(mut job) = next.take() {
        repeatable = repeatable && job.is_repeatable();
        if !repeatable {
            outcome = run_apart(session, job.as_mut());
            ran.push(job);
        } else if job.run(session) && session.stands() {
            ran.push(job);
        } else {
            repeatable = false;
            ran.push(job);
            outcome = run_again(session, &mut ran);
        }
        if outcome.is_ok() && ran.len() < PER_COMMIT {
            next = jobs.try_recv().ok();
        }
    }
    let outcome = outcome.and_then(|()| session.execute("COMMIT", &[]).map(drop));
    match &outcome {
        Ok(()) => metrics::counter!("homeward_store_commits_total").increment(1),
        Err(error) => tracing::warn!("{} pieces of work were undone: {error}", ran.len()),
    }
    for job in ran {
        job.tell(outcome.clone().err());
    }
}

/// Undoes the transaction and runs its work once more, so that what fails takes nobody along.
fn run_again<S: Session>(session: &mut S, jobs: &mut [Box<dyn Job>]) -> Result<(), StoreError> {
    begin(session, S::BEGIN_WRITE)?;
    jobs.iter_mut()
        .try_for_each(|job| run_apart(session, job.as_mut()))
}

/// Runs one piece of work behind a savepoint. An error means that the whole transaction is gone.
fn run_apart<S: Session>(session: &mut S, job: &mut dyn Job) -> Result<(), StoreError> {
    session.execute("SAVEPOINT job", &[])?;
    let keep = job.run(session);
    if !session.stands() {
        return Err(StoreError::Unavailable {
            step: "running a piece of work",
            why: "the database gave up the transaction".into(),
        });
    }
    if !keep {
        session.execute("ROLLBACK TO SAVEPOINT job", &[])?;
    }
    session.execute("RELEASE SAVEPOINT job", &[]).map(drop)
}

fn read_all<S: Session>(session: &mut S, jobs: &Mutex<mpsc::Receiver<Box<dyn Job>>>) -> String {
    loop {
        let job = jobs
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .blocking_recv();
        let Some(mut job) = job else {
            return CLOSED.to_owned();
        };
        match begin(session, S::BEGIN_READ) {
            Ok(()) => {
                job.run(session);
                // What was read is read; a connection that broke here is made anew for the next one.
                let _ = session.execute("ROLLBACK", &[]);
                job.tell(None);
            }
            Err(error) => job.tell(Some(error)),
        }
    }
}
