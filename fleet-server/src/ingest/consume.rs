//! Shell: takes records from the gate, verifies and stores them, and acknowledges after the commit.
//!
//! ```text
//! gate ─▶ runs a gateway, verified in parallel ─▶ the store's queue, in order ─▶ commit ─▶ PUBACK, Ack, event
//! ```
//! Order is kept from the gate to the store, and the store works in the order of submission, so the records of each
//! lane of a gateway are decided in the order in which they were sent. What cannot be stored is not acknowledged: its
//! [`Uplink::done`] is dropped, the gate closes that connection, and the gateway sends again.
//!
//! # Design
//! Everything is bounded: tasks that verify, envelopes that wait for a commit, and the store's own queue. A slow
//! store therefore slows the gate's reading, and TCP the gateways. A store that is away ends connections, at most
//! one round every [`PAUSE`].
//!
//! While all cores verify, nothing is taken: what comes meanwhile is taken together, so the more there is to do the
//! more envelopes share a signature ([`super::open`]) and a row ([`crate::store::take`]). A run stands or falls
//! together; one that fell is taken apart from then on, so that one bad envelope does not keep good ones out for ever.
#![expect(clippy::disallowed_methods, reason = "shell: tasks, pauses and durations")]

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesOrdered, FuturesUnordered, StreamExt as _};
use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Arrived;
use super::open::{Kind, Rejected, Voice, open};
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::gate::{Connections, Uplink};
use crate::store::take::{Outcome, Sealed, take};
use crate::store::{Store, StoreError, Tx, certificates, records};

/// Envelopes taken from the gate at a time: half a commit.
const TAKEN: usize = 512;
/// Envelopes after which a task for verification is full: a few milliseconds of one core.
const TASK: usize = 64;
/// Envelopes that wait for their commit: two full commits of the store.
const WAITING: usize = 2000;
/// How long nothing is taken in after the store failed.
const PAUSE: Duration = Duration::from_millis(500);

/// What the loop waits for.
enum Step {
    Settled(Settled),
    Checked(Result<Vec<Checked>, JoinError>),
    Taken(usize),
    Stop,
}

/// Runs until `stop`, or until the gate is gone; then stores and acknowledges what it has taken.
pub async fn run(
    keys: Keys,
    mut uplinks: mpsc::Receiver<Uplink>,
    connections: Connections,
    bus: Bus,
    clock: Clock,
    stop: CancellationToken,
) {
    let tasks = std::thread::available_parallelism().map_or(1, usize::from);
    let store = keys.store.clone();
    let mut verifying: FuturesOrdered<JoinHandle<Vec<Checked>>> = FuturesOrdered::new();
    let mut waiting: FuturesUnordered<BoxFuture<'static, Settled>> = FuturesUnordered::new();
    let mut unsettled = 0;
    let mut apart = HashSet::new();
    let (mut taken, mut open, mut asked) = (Vec::new(), true, false);
    while open || !verifying.is_empty() || !waiting.is_empty() {
        let room = verifying.len() < tasks && unsettled < WAITING;
        let happened = tokio::select! {
            biased;
            Some(settled) = waiting.next() => Step::Settled(settled),
            Some(checked) = verifying.next() => Step::Checked(checked),
            () = stop.cancelled(), if !asked => Step::Stop,
            count = uplinks.recv_many(&mut taken, TAKEN), if open && room => Step::Taken(count),
        };
        match happened {
            Step::Settled(first) => {
                let mut settled = vec![first];
                while let Some(Some(next)) = waiting.next().now_or_never() {
                    settled.push(next);
                }
                unsettled -= settled.iter().map(Settled::envelopes).sum::<usize>();
                if answer(settled, &mut apart, &connections, &bus) == Health::Away {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // A task that panicked has dropped its envelopes: their connections end, and they come again.
            Step::Checked(checked) => {
                for checked in checked.unwrap_or_default() {
                    unsettled += checked.sender.waiting.len();
                    let submitted = submit(&store, checked, &clock).await;
                    waiting.push(submitted);
                }
            }
            Step::Taken(0) => open = false,
            Step::Taken(_) => {
                for task in tasks_of(runs(taken.drain(..), &apart)) {
                    verifying.push_back(tokio::spawn(check(task, keys.clone())));
                }
            }
            Step::Stop => {
                asked = true;
                uplinks.close(); // what is in it still comes, then `Taken(0)`
            }
        }
    }
}

/// Who sent envelopes, and how to tell that they are stored, one for each.
struct Sender {
    gateway: GatewayId,
    lane: Lane,
    taken: Instant,
    waiting: Vec<oneshot::Sender<()>>,
}

/// Envelopes of one lane of one gateway, in the order in which they came.
struct Run {
    sender: Sender,
    payloads: Vec<Bytes>,
}

/// Puts together what came from one lane of one gateway, unless its envelopes are to be taken one by one.
fn runs(taken: impl Iterator<Item = Uplink>, apart: &HashSet<GatewayId>) -> Vec<Run> {
    let now = Instant::now();
    let mut runs: Vec<Run> = Vec::new();
    let mut places: HashMap<(GatewayId, Lane), usize> = HashMap::new();
    for uplink in taken {
        let place = match places.entry((uplink.gateway, uplink.lane)) {
            Entry::Occupied(known) if !apart.contains(&known.key().0) => *known.get(),
            new => {
                let (gateway, lane) = new.key().clone();
                runs.push(Run {
                    sender: Sender {
                        gateway,
                        lane,
                        taken: now,
                        waiting: Vec::new(),
                    },
                    payloads: Vec::new(),
                });
                *new.insert_entry(runs.len() - 1).get()
            }
        };
        runs[place].payloads.push(uplink.payload);
        runs[place].sender.waiting.push(uplink.done);
    }
    runs
}

/// Shares runs out to tasks.
fn tasks_of(runs: Vec<Run>) -> Vec<Vec<Run>> {
    let mut tasks: Vec<Vec<Run>> = Vec::new();
    let mut room = 0;
    for run in runs {
        if room == 0 {
            tasks.push(Vec::new());
            room = TASK;
        }
        room = room.saturating_sub(run.payloads.len());
        if let Some(task) = tasks.last_mut() {
            task.push(run);
        }
    }
    tasks
}

/// A run after its verification.
struct Checked {
    sender: Sender,
    payloads: Vec<Bytes>,
    found: Result<Vec<Result<Arrived, Rejected>>, StoreError>,
}

async fn check(runs: Vec<Run>, keys: Keys) -> Vec<Checked> {
    let mut all = Vec::with_capacity(runs.len());
    for Run { sender, payloads } in runs {
        all.push(Checked {
            found: keys.open(&sender, &payloads).await,
            sender,
            payloads,
        });
    }
    all
}

/// The public keys of gateways, as their certificates have them. A gateway's keys are read when it is first heard
/// and whenever a signature does not match; and again once [`Keys::forget`] was told that one is gone.
#[derive(Clone)]
pub struct Keys {
    store: Store,
    known: Arc<RwLock<HashMap<GatewayId, Arc<[Voice]>>>>,
}

impl Keys {
    /// None are known yet.
    pub fn new(store: Store) -> Keys {
        Keys {
            store,
            known: Arc::default(),
        }
    }

    /// A certificate of this gateway was revoked, or made.
    pub fn forget(&self, gateway: &GatewayId) {
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.remove(gateway);
    }

    /// Opens a run. An error says that the keys could not be read.
    async fn open(
        &self,
        from: &Sender,
        payloads: &[Bytes],
    ) -> Result<Vec<Result<Arrived, Rejected>>, StoreError> {
        if let Some(keys) = self.known(&from.gateway) {
            let opened = open(&from.gateway, from.lane, payloads, &keys);
            let is_unsigned = |one: &Result<Arrived, Rejected>| {
                one.as_ref().is_err_and(|fault| fault.kind == Kind::Signature)
            };
            if !opened.iter().any(is_unsigned) {
                return Ok(opened);
            }
        }
        let keys = self.load(&from.gateway).await?;
        Ok(open(&from.gateway, from.lane, payloads, &keys))
    }

    fn known(&self, gateway: &GatewayId) -> Option<Arc<[Voice]>> {
        let known = self.known.read().unwrap_or_else(PoisonError::into_inner);
        known.get(gateway).cloned()
    }

    async fn load(&self, gateway: &GatewayId) -> Result<Arc<[Voice]>, StoreError> {
        let of = gateway.clone();
        let keys = self.store.read(move |tx| certificates::voices(tx, &of)).await?;
        let keys: Arc<[Voice]> = keys.into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(gateway.clone(), Arc::clone(&keys));
        Ok(keys)
    }
}

/// What was committed of one envelope.
enum Stored {
    Taken(Outcome),
    Rejected(Kind),
}

/// A run after its commit, or after the failure of it.
struct Settled {
    sender: Sender,
    stored: Result<Vec<Stored>, StoreError>,
}

impl Settled {
    fn envelopes(&self) -> usize {
        self.sender.waiting.len()
    }
}

/// Puts a run in the store's queue; the future waits for the commit.
async fn submit(store: &Store, checked: Checked, clock: &Clock) -> BoxFuture<'static, Settled> {
    let Checked {
        sender,
        payloads,
        found,
    } = checked;
    let (gateway, now) = (sender.gateway.clone(), clock.now());
    let submitted = match found {
        Ok(opened) => {
            say_rejected(&gateway, &opened);
            store
                .submit_repeatable(move |tx| store_run(tx, &gateway, &opened, &payloads, now))
                .await
        }
        Err(error) => Err(error),
    };
    Box::pin(async move {
        let stored = match submitted {
            Ok(pending) => pending.committed().await,
            Err(error) => Err(error),
        };
        Settled { sender, stored }
    })
}

fn say_rejected(gateway: &GatewayId, opened: &[Result<Arrived, Rejected>]) {
    for fault in opened.iter().filter_map(|one| one.as_ref().err()) {
        let why = &fault.why;
        tracing::warn!(gateway.id = %gateway, "{gateway} sent something that is not an envelope of it: {why}");
    }
}

/// Stores a run, in order: envelopes that follow one another together, and between them what is none.
fn store_run(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    opened: &[Result<Arrived, Rejected>],
    payloads: &[Bytes],
    now: Timestamp,
) -> Result<Vec<Stored>, StoreError> {
    let mut stored = Vec::with_capacity(opened.len());
    let mut sealed: Vec<Sealed<'_>> = Vec::with_capacity(opened.len());
    for (one, signed) in opened.iter().zip(payloads) {
        match one {
            Ok(arrived) => sealed.push(Sealed { arrived, signed }),
            Err(fault) => {
                stored.extend(take(tx, gateway, &sealed, now)?.into_iter().map(Stored::Taken));
                sealed.clear();
                records::reject(tx, gateway, signed, &fault.why, now)?;
                stored.push(Stored::Rejected(fault.kind));
            }
        }
    }
    stored.extend(take(tx, gateway, &sealed, now)?.into_iter().map(Stored::Taken));
    Ok(stored)
}

/// Whether the store works.
#[derive(PartialEq, Eq)]
enum Health {
    Well,
    Away,
}

/// Tells the gateways and the bus what was committed. Acknowledgements are cumulative: one a stream is enough.
/// Gateways one of whose runs failed are put `apart`, until one is stored.
fn answer(
    settled: Vec<Settled>,
    apart: &mut HashSet<GatewayId>,
    connections: &Connections,
    bus: &Bus,
) -> Health {
    let mut failed = Vec::new();
    let mut acks: HashMap<(GatewayId, Lane), Ack> = HashMap::new();
    let mut stored = HashSet::new();
    for Settled {
        sender,
        stored: outcome,
    } in settled
    {
        match outcome {
            Ok(outcomes) => {
                apart.remove(&sender.gateway);
                count(&outcomes, &sender);
                for outcome in &outcomes {
                    if let Stored::Taken(outcome) = outcome {
                        merge(acks.entry((sender.gateway.clone(), sender.lane)), outcome.ack);
                        stored.insert(sender.gateway.clone());
                        for wish in &outcome.wishes {
                            let topic = Topic::Hint(sender.gateway.clone());
                            connections.send(&sender.gateway, topic, wish.word().to_vec());
                        }
                    }
                }
                // The gate waits for the oldest of them: fired last, all are there when it wakes, and their PUBACKs
                // leave together.
                for done in sender.waiting.into_iter().rev() {
                    let _ = done.send(()); // the connection may be gone
                }
            }
            Err(error) => {
                metrics::counter!("homeward_not_stored_total").increment(sender.waiting.len() as u64);
                apart.insert(sender.gateway.clone());
                failed.push((sender.gateway, error)); // `waiting` is dropped: the gateway sends again
            }
        }
    }
    for ((gateway, _), ack) in acks {
        tell(connections, &gateway, ack);
    }
    for gateway in stored {
        bus.publish(Event::Stored(gateway));
    }
    health(&failed)
}

fn health(failed: &[(GatewayId, StoreError)]) -> Health {
    if let Some((gateway, error)) = failed.first() {
        let count = failed.len();
        tracing::warn!(gateway.id = %gateway, "envelopes of {count} senders were not stored, and will come again: {error}");
    }
    let away = |(_, error): &(GatewayId, StoreError)| matches!(error, StoreError::Unavailable { .. });
    if failed.iter().any(away) {
        Health::Away
    } else {
        Health::Well
    }
}

/// The one that reaches further counts, but a word to take a new epoch is not taken back by what was on its way.
fn merge(entry: Entry<'_, (GatewayId, Lane), Ack>, ack: Ack) {
    let kept = entry.or_insert(ack);
    let further = kept.next == Next::Continue && (ack.next == Next::NewEpoch || ack.up_to > kept.up_to);
    if kept.epoch != ack.epoch || further {
        *kept = ack;
    }
}

fn tell(connections: &Connections, gateway: &GatewayId, ack: Ack) {
    match ack.encode() {
        Ok(bytes) => {
            // A gateway that is away, or takes nothing, hears it when it sends again.
            let sent = connections.acknowledge(gateway, ack, bytes);
            tracing::debug!(gateway.id = %gateway, "acknowledged up to {}: {sent:?}", ack.up_to);
        }
        Err(error) => tracing::error!(gateway.id = %gateway, "could not write an acknowledgement: {error}"),
    }
}

fn count(stored: &[Stored], sender: &Sender) {
    let seconds = sender.taken.elapsed().as_secs_f64();
    metrics::histogram!("homeward_ack_seconds").record_many(seconds, stored.len());
    let (mut readings, mut unreadable) = (0, 0);
    let mut decisions: HashMap<&'static str, u64> = HashMap::new();
    for one in stored {
        match one {
            Stored::Taken(outcome) => {
                *decisions.entry(outcome.decision).or_default() += 1;
                readings += outcome.readings;
                unreadable += outcome.unreadable;
            }
            Stored::Rejected(kind) => {
                metrics::counter!("homeward_rejected_total", "why" => kind.name()).increment(1);
            }
        }
    }
    for (decision, times) in decisions {
        metrics::counter!("homeward_envelopes_total", "outcome" => decision).increment(times);
    }
    metrics::counter!("homeward_readings_total").increment(readings);
    metrics::counter!("homeward_unreadable_total").increment(unreadable);
}
