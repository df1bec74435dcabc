//! Shell: takes records from the gate, verifies and stores them, and acknowledges after the commit.
//!
//! ```text
//! gate ─▶ chunks, verified in parallel ─▶ the store's queue, in order ─▶ commit ─▶ PUBACK, Ack, event
//! ```
//! Order is kept from the gate to the store, and the store works in the order of submission, so each gateway's
//! records are decided in the order in which they were sent. What cannot be stored is not acknowledged: its
//! [`Uplink::done`] is dropped, the gate closes that connection, and the gateway sends again.
//!
//! # Design
//! Everything is bounded: chunks in verification, envelopes that wait for a commit, and the store's own queue. A slow
//! store therefore slows the gate's reading, and TCP the gateways. A store that is away ends connections, at most
//! one round every [`PAUSE`].
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
use homeward_protocol::envelope::{Envelope, Lane};
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::{PublicKey, Signed, SignedError};
use homeward_protocol::topic::Topic;
use tokio::sync::{mpsc, oneshot};
use tokio::task::{JoinError, JoinHandle};
use tokio_util::sync::CancellationToken;

use super::Arrived;
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::gate::{Connections, Uplink};
use crate::store::streams::Outcome;
use crate::store::{Pending, Store, StoreError, Tx, certificates, records, streams};

/// Envelopes in one verification task: a few milliseconds of one core.
const CHUNK: usize = 32;
/// Verification tasks at a time: enough for every core, few enough to keep acknowledgements fresh.
const CHUNKS: usize = 16;
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
    store: Store,
    mut uplinks: mpsc::Receiver<Uplink>,
    connections: Connections,
    bus: Bus,
    clock: Clock,
    stop: CancellationToken,
) {
    let keys = Keys::new(store.clone());
    let mut verifying: FuturesOrdered<JoinHandle<Vec<Checked>>> = FuturesOrdered::new();
    let mut waiting: FuturesUnordered<BoxFuture<'static, Settled>> = FuturesUnordered::new();
    let (mut chunk, mut open, mut asked) = (Vec::new(), true, false);
    while open || !verifying.is_empty() || !waiting.is_empty() {
        let room = verifying.len() < CHUNKS && waiting.len() < WAITING;
        let happened = tokio::select! {
            biased;
            Some(settled) = waiting.next() => Step::Settled(settled),
            Some(checked) = verifying.next() => Step::Checked(checked),
            () = stop.cancelled(), if !asked => Step::Stop,
            taken = uplinks.recv_many(&mut chunk, CHUNK), if open && room => Step::Taken(taken),
        };
        match happened {
            Step::Settled(first) => {
                let mut settled = vec![first];
                while let Some(Some(next)) = waiting.next().now_or_never() {
                    settled.push(next);
                }
                if answer(settled, &connections, &bus) == Health::Away {
                    tokio::time::sleep(PAUSE).await;
                }
            }
            // A task that panicked has dropped its envelopes: their connections end, and they come again.
            Step::Checked(checked) => {
                for checked in checked.unwrap_or_default() {
                    let submitted = submit(&store, checked, &clock).await;
                    waiting.push(submitted);
                }
            }
            Step::Taken(0) => open = false,
            Step::Taken(_) => {
                let uplinks = std::mem::take(&mut chunk);
                verifying.push_back(tokio::spawn(check(uplinks, keys.clone())));
            }
            Step::Stop => {
                asked = true;
                uplinks.close(); // what is in it still comes, then `Taken(0)`
            }
        }
    }
}

/// Who sent an envelope, and how to tell that it is stored.
struct Sender {
    gateway: GatewayId,
    lane: Lane,
    taken: Instant,
    done: oneshot::Sender<()>,
}

/// An envelope after its verification.
struct Checked {
    sender: Sender,
    payload: Bytes,
    found: Result<Arrived, Fault>,
}

/// Why there is nothing to decide about.
enum Fault {
    /// The payload is not an envelope of this gateway: a word for metrics, and words for people.
    Rejected(&'static str, String),
    /// The keys could not be read.
    Store(StoreError),
}

async fn check(uplinks: Vec<Uplink>, keys: Keys) -> Vec<Checked> {
    let taken = Instant::now();
    let mut all = Vec::with_capacity(uplinks.len());
    for uplink in uplinks {
        let found = keys.open(&uplink).await;
        all.push(Checked {
            sender: Sender {
                gateway: uplink.gateway,
                lane: uplink.lane,
                taken,
                done: uplink.done,
            },
            payload: uplink.payload,
            found,
        });
    }
    all
}

/// The public keys of gateways, as their certificates have them. A gateway's keys are read when it is first heard
/// and whenever a signature does not match.
#[derive(Clone)]
struct Keys {
    store: Store,
    known: Arc<RwLock<HashMap<GatewayId, Arc<[PublicKey]>>>>,
}

impl Keys {
    fn new(store: Store) -> Keys {
        Keys {
            store,
            known: Arc::default(),
        }
    }

    async fn open(&self, uplink: &Uplink) -> Result<Arrived, Fault> {
        let signed = Signed::<Envelope>::parse(&uplink.payload).map_err(|e| reject("structure", &e))?;
        let known = self
            .known
            .read()
            .unwrap_or_else(PoisonError::into_inner)
            .get(&uplink.gateway)
            .cloned();
        let verified = match known.map(|keys| verify(&signed, &keys)) {
            Some(Err(SignedError::Signature)) | None => verify(&signed, &self.load(&uplink.gateway).await?),
            Some(verified) => verified,
        };
        let envelope = verified.map_err(|e| match e {
            SignedError::Signature => reject("signature", &e),
            other => reject("message", &other),
        })?;
        if envelope.gateway != uplink.gateway || envelope.lane != uplink.lane {
            let why = "it names another gateway or lane than its topic".into();
            return Err(Fault::Rejected("name", why));
        }
        Ok(Arrived::new(envelope))
    }

    async fn load(&self, gateway: &GatewayId) -> Result<Arc<[PublicKey]>, Fault> {
        let of = gateway.clone();
        let loaded = self.store.read(move |tx| certificates::keys(tx, &of)).await;
        let keys: Arc<[PublicKey]> = loaded.map_err(Fault::Store)?.into();
        let mut known = self.known.write().unwrap_or_else(PoisonError::into_inner);
        known.insert(gateway.clone(), Arc::clone(&keys));
        Ok(keys)
    }
}

fn verify(signed: &Signed<Envelope>, keys: &[PublicKey]) -> Result<Envelope, SignedError> {
    let mut outcome = Err(SignedError::Signature);
    for key in keys {
        outcome = signed
            .verify(key)
            .map(homeward_protocol::signed::Verified::into_inner);
        if !matches!(outcome, Err(SignedError::Signature)) {
            break;
        }
    }
    outcome
}

fn reject(kind: &'static str, error: &dyn std::error::Error) -> Fault {
    let mut why = error.to_string();
    if let Some(source) = error.source() {
        why = format!("{why}: {source}");
    }
    Fault::Rejected(kind, why)
}

/// What was committed.
enum Stored {
    Taken(Outcome),
    Rejected(&'static str),
}

/// An envelope after its commit, or after the failure of it.
struct Settled {
    sender: Sender,
    stored: Result<Stored, StoreError>,
}

/// Puts an envelope in the store's queue; the future waits for the commit.
async fn submit(store: &Store, checked: Checked, clock: &Clock) -> BoxFuture<'static, Settled> {
    let Checked {
        sender,
        payload,
        found,
    } = checked;
    let (gateway, now) = (sender.gateway.clone(), clock.now());
    match found {
        Ok(arrived) => {
            let work = move |tx: &mut dyn Tx| streams::take(tx, &gateway, &arrived, &payload, now);
            settle(sender, store.submit(work).await, Stored::Taken)
        }
        Err(Fault::Rejected(kind, why)) => {
            tracing::warn!(gateway.id = %gateway, "{gateway} sent something that is not an envelope of it: {why}");
            let work = move |tx: &mut dyn Tx| records::reject(tx, &gateway, &payload, &why, now);
            settle(sender, store.submit(work).await, move |()| Stored::Rejected(kind))
        }
        Err(Fault::Store(error)) => settle(sender, Err::<Pending<()>, _>(error), |()| Stored::Rejected("")),
    }
}

fn settle<T: Send + 'static>(
    sender: Sender,
    submitted: Result<Pending<T>, StoreError>,
    stored: impl FnOnce(T) -> Stored + Send + 'static,
) -> BoxFuture<'static, Settled> {
    Box::pin(async move {
        let outcome = match submitted {
            Ok(pending) => pending.committed().await,
            Err(error) => Err(error),
        };
        Settled {
            sender,
            stored: outcome.map(stored),
        }
    })
}

/// Whether the store works.
#[derive(PartialEq, Eq)]
enum Health {
    Well,
    Away,
}

/// Tells the gateways and the bus what was committed. Acknowledgements are cumulative: one a stream is enough.
fn answer(settled: Vec<Settled>, connections: &Connections, bus: &Bus) -> Health {
    let mut failed = Vec::new();
    let mut acks: HashMap<(GatewayId, Lane), Ack> = HashMap::new();
    let mut stored = HashSet::new();
    for Settled {
        sender,
        stored: outcome,
    } in settled
    {
        match outcome {
            Ok(Stored::Taken(outcome)) => {
                count(&outcome, &sender);
                stored.insert(sender.gateway.clone());
                merge(acks.entry((sender.gateway, sender.lane)), outcome.ack);
                let _ = sender.done.send(()); // the connection may be gone
            }
            Ok(Stored::Rejected(kind)) => {
                metrics::counter!("homeward_rejected_total", "why" => kind).increment(1);
                let _ = sender.done.send(()); // as above
            }
            Err(error) => {
                metrics::counter!("homeward_not_stored_total").increment(1);
                failed.push((sender.gateway, error)); // `done` is dropped: the gateway sends again
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
        tracing::warn!(gateway.id = %gateway, "{count} envelopes were not stored, and will come again: {error}");
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
            let sent = connections.send(gateway, Topic::Ack(gateway.clone()), bytes);
            tracing::debug!(gateway.id = %gateway, "acknowledged up to {}: {sent:?}", ack.up_to);
        }
        Err(error) => tracing::error!(gateway.id = %gateway, "could not write an acknowledgement: {error}"),
    }
}

fn count(outcome: &Outcome, sender: &Sender) {
    metrics::counter!("homeward_envelopes_total", "outcome" => outcome.decision).increment(1);
    metrics::counter!("homeward_readings_total").increment(outcome.readings);
    metrics::counter!("homeward_unreadable_total").increment(outcome.unreadable);
    metrics::histogram!("homeward_ack_seconds").record(sender.taken.elapsed().as_secs_f64());
}
