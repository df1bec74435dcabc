//! Shell: the thread that owns outboxes, and the handle that the rest of the agent holds.
//!
//! One thread serves one outbox in an agent, or hundreds in a load generator. What waits in the queue is taken
//! together, and all records for one outbox go into one commit.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: SQLite blocks, so it has a thread of its own"
)]

use std::collections::HashMap;
use std::path::PathBuf;
use std::thread;

use homeward_protocol::ack::Ack;
use homeward_protocol::envelope::{Entry, Item, Lane};
use homeward_protocol::id::{Epoch, Seq};
use homeward_protocol::time::Timestamp;
use tokio::sync::{mpsc, oneshot, watch};

use super::sqlite::{Db, Opened, OutboxError};
use super::{Batch, Ledger, Progress, Settled};
use crate::vault::Vault;

/// Calls that may wait for the thread. Each waits for a commit of some milliseconds; more would only hide a
/// disk that is too slow.
const QUEUE: usize = 256;

/// Where the records are kept.
#[derive(Debug, Clone)]
pub enum Place {
    /// In this file, sealed.
    File(PathBuf, Vault),
    /// In memory, gone with the process.
    Memory,
}

/// A thread that owns outboxes. Cloning gives the same thread.
#[derive(Debug, Clone)]
pub struct Keeper {
    calls: mpsc::Sender<Call>,
}

/// One outbox. Cloning gives the same outbox.
#[derive(Debug, Clone)]
pub struct Outbox {
    id: u64,
    calls: mpsc::Sender<Call>,
    ledger: watch::Receiver<Ledger>,
}

type Reply<T> = oneshot::Sender<Result<T, OutboxError>>;

#[derive(Debug)]
enum Call {
    Open {
        place: Place,
        quota: u64,
        epoch: Epoch,
        now: Timestamp,
        reply: Reply<(u64, Opened, watch::Receiver<Ledger>)>,
    },
    For {
        id: u64,
        call: Task,
    },
    Close {
        id: u64,
    },
}

#[derive(Debug)]
enum Task {
    Push {
        entries: Vec<(Lane, Entry)>,
        progress: Option<Progress>,
        now: Timestamp,
        reply: Reply<()>,
    },
    Progress {
        stream: String,
        reply: Reply<Option<Progress>>,
    },
    Batch {
        lane: Lane,
        from: Seq,
        now: Timestamp,
        reply: Reply<Option<Batch>>,
    },
    Settle {
        ack: Ack,
        epoch: Epoch,
        now: Timestamp,
        reply: Reply<Settled>,
    },
    Limit {
        quota: u64,
        reply: Reply<()>,
    },
}

impl Keeper {
    /// Starts the thread; it ends when the last handle is gone.
    pub fn start() -> std::io::Result<Keeper> {
        let (calls, inbox) = mpsc::channel(QUEUE);
        thread::Builder::new()
            .name("outbox".to_owned())
            .stack_size(256 * 1024)
            .spawn(move || serve(inbox))?;
        Ok(Keeper { calls })
    }

    /// Opens an outbox, or begins one under `epoch` (random).
    pub async fn open(
        &self,
        place: Place,
        quota: u64,
        epoch: Epoch,
        now: Timestamp,
    ) -> Result<(Outbox, Opened), OutboxError> {
        let (id, opened, ledger) = ask(&self.calls, |reply| Call::Open {
            place,
            quota,
            epoch,
            now,
            reply,
        })
        .await?;
        let outbox = Outbox {
            id,
            calls: self.calls.clone(),
            ledger,
        };
        Ok((outbox, opened))
    }
}

impl Outbox {
    /// Keeps `items`: on return they are on the disk. `now` dates a loss, if one is needed to make room.
    pub async fn push(&self, items: Vec<Item>, now: Timestamp) -> Result<(), OutboxError> {
        self.keep(items, None, now).await
    }

    /// As [`Outbox::push`], with how far a sensor's memory was taken: after a power cut there are both or neither.
    pub async fn keep(
        &self,
        items: Vec<Item>,
        progress: Option<Progress>,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let encode = |item: Item| item.encode().map(|body| (item.lane(), Entry::Item(body)));
        let entries: Result<Vec<_>, _> = items.into_iter().map(encode).collect();
        let entries = entries.map_err(OutboxError::Encode)?;
        self.take(entries, progress, now).await
    }

    /// As [`Outbox::keep`], for entries as another outbox held them: what that one stated as lost is lost here too.
    pub(super) async fn take(
        &self,
        entries: Vec<(Lane, Entry)>,
        progress: Option<Progress>,
        now: Timestamp,
    ) -> Result<(), OutboxError> {
        let push = |reply| Task::Push {
            entries,
            progress,
            now,
            reply,
        };
        self.ask(push).await
    }

    /// How far the memory of a sensor was taken; none when nothing was.
    pub async fn progress(&self, stream: &str) -> Result<Option<Progress>, OutboxError> {
        let stream = stream.to_owned();
        self.ask(|reply| Task::Progress { stream, reply }).await
    }

    /// The run that begins with the row that holds `from`, or the next one after it.
    pub async fn batch(&self, lane: Lane, from: Seq, now: Timestamp) -> Result<Option<Batch>, OutboxError> {
        self.ask(|reply| Task::Batch {
            lane,
            from,
            now,
            reply,
        })
        .await
    }

    /// Acts on the server's word; `epoch` is a random one, taken if all has to be numbered anew.
    pub async fn settle(&self, ack: Ack, epoch: Epoch, now: Timestamp) -> Result<Settled, OutboxError> {
        self.ask(|reply| Task::Settle {
            ack,
            epoch,
            now,
            reply,
        })
        .await
    }

    /// No more bytes than `quota` may wait from now on: what is too much goes when the next records come.
    pub async fn limit(&self, quota: u64) -> Result<(), OutboxError> {
        self.ask(|reply| Task::Limit { quota, reply }).await
    }

    /// Where it stands, as of the last commit; tells of each change.
    pub fn ledger(&self) -> watch::Receiver<Ledger> {
        self.ledger.clone()
    }

    /// Closes the file after the calls before this one.
    pub async fn close(self) {
        let _gone = self.calls.send(Call::Close { id: self.id }).await;
    }

    async fn ask<T>(&self, call: impl FnOnce(Reply<T>) -> Task) -> Result<T, OutboxError> {
        let id = self.id;
        let call = |reply| Call::For {
            id,
            call: call(reply),
        };
        ask(&self.calls, call).await
    }
}

async fn ask<T>(calls: &mpsc::Sender<Call>, call: impl FnOnce(Reply<T>) -> Call) -> Result<T, OutboxError> {
    let (reply, answer) = oneshot::channel();
    calls.send(call(reply)).await.map_err(|_| OutboxError::Closed)?;
    answer.await.map_err(|_| OutboxError::Closed)?
}

/// An open outbox, with the records that wait for the next commit.
struct Open {
    db: Db,
    ledger: watch::Sender<Ledger>,
    waiting: Vec<Waiting>,
}

struct Waiting {
    entries: Vec<(Lane, Entry)>,
    progress: Option<Progress>,
    now: Timestamp,
    reply: Reply<()>,
}

impl Open {
    /// Keeps all that waits in one commit.
    fn flush(&mut self) {
        let waiting = std::mem::take(&mut self.waiting);
        let Some(now) = waiting.last().map(|last| last.now) else {
            return;
        };
        let together: Vec<_> = waiting.iter().flat_map(|w| w.entries.iter().cloned()).collect();
        let progress: Vec<_> = waiting.iter().filter_map(|w| w.progress.clone()).collect();
        let result = self.db.keep(&together, &progress, now);
        let mut answers = Vec::with_capacity(waiting.len());
        for w in waiting {
            let count = w.entries.len();
            let answer = match &result {
                Ok(()) => Ok(()),
                Err(OutboxError::DiskRefused { .. }) => Err(OutboxError::DiskRefused { count }),
                // Nothing was kept. By itself each gets its own answer.
                Err(_) => self.db.keep(&w.entries, w.progress.as_slice(), w.now),
            };
            answers.push((w.reply, answer));
        }
        self.tell();
        for (reply, answer) in answers {
            let _nobody = reply.send(answer);
        }
    }

    /// Before whoever asked is answered: what it was told stands in the ledger.
    fn tell(&self) {
        let ledger = *self.db.ledger();
        self.ledger.send_if_modified(|seen| {
            let changed = *seen != ledger;
            *seen = ledger;
            changed
        });
    }
}

fn serve(mut inbox: mpsc::Receiver<Call>) {
    let mut open: HashMap<u64, Open> = HashMap::new();
    let mut next_id = 0;
    while let Some(first) = inbox.blocking_recv() {
        let mut calls = vec![first];
        while calls.len() < QUEUE
            && let Ok(next) = inbox.try_recv()
        {
            calls.push(next);
        }
        let mut waiting = Vec::new();
        for call in calls {
            waiting.extend(take(&mut open, &mut next_id, call));
        }
        for id in waiting {
            if let Some(outbox) = open.get_mut(&id) {
                outbox.flush();
            }
        }
    }
}

/// Records wait for the end of the round, and their outbox is named; every other call finds those before it on
/// the disk.
fn take(open: &mut HashMap<u64, Open>, next_id: &mut u64, call: Call) -> Option<u64> {
    let (id, call) = match call {
        Call::Open {
            place,
            quota,
            epoch,
            now,
            reply,
        } => {
            *next_id += 1;
            let _nobody = reply.send(begin(open, *next_id, place, quota, epoch, now));
            return None;
        }
        Call::Close { id } => {
            if let Some(mut outbox) = open.remove(&id) {
                outbox.flush();
            }
            return None;
        }
        Call::For { id, call } => (id, call),
    };
    let outbox = open.get_mut(&id)?;
    match call {
        Task::Push {
            entries,
            progress,
            now,
            reply,
        } => {
            outbox.waiting.push(Waiting {
                entries,
                progress,
                now,
                reply,
            });
            return Some(id);
        }
        Task::Progress { stream, reply } => {
            outbox.flush();
            let _nobody = reply.send(outbox.db.progress(&stream));
        }
        Task::Batch {
            lane,
            from,
            now,
            reply,
        } => {
            outbox.flush();
            let answer = outbox.db.batch(lane, from, now);
            outbox.tell();
            let _nobody = reply.send(answer);
        }
        Task::Settle {
            ack,
            epoch,
            now,
            reply,
        } => {
            outbox.flush();
            let answer = outbox.db.settle(&ack, epoch, now);
            outbox.tell();
            let _nobody = reply.send(answer);
        }
        Task::Limit { quota, reply } => {
            outbox.flush();
            outbox.db.limit(quota);
            let _nobody = reply.send(Ok(()));
        }
    }
    None
}

fn begin(
    open: &mut HashMap<u64, Open>,
    id: u64,
    place: Place,
    quota: u64,
    epoch: Epoch,
    now: Timestamp,
) -> Result<(u64, Opened, watch::Receiver<Ledger>), OutboxError> {
    let (db, opened) = match place {
        Place::File(path, vault) => Db::open(&path, &vault, quota, epoch, now)?,
        Place::Memory => (Db::in_memory(quota, epoch)?, Opened::Fresh),
    };
    let (ledger, seen) = watch::channel(*db.ledger());
    let outbox = Open {
        db,
        ledger,
        waiting: Vec::new(),
    };
    open.insert(id, outbox);
    Ok((id, opened, seen))
}
