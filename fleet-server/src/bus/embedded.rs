//! Shell: the bus in this process, on rumqttd's router.
//!
//! # Design
//! The router's calls block, so two threads of ours make them: one publishes, one receives and fans out. One link
//! and two fixed filters, because each filter ever used keeps a log and each link costs 51 KiB. The router may die
//! without the process noticing, so a heartbeat goes through it each second and is expected back;
//! [`Bus::dead`] ends when it stays out or when the link breaks, and the program ends with it, to be restarted.
#![expect(clippy::disallowed_methods, reason = "shell: threads and time")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::thread;
use std::time::{Duration, Instant};

use futures_util::FutureExt;
use rumqttd::local::{LinkBuilder, LinkError, LinkRx, LinkTx};
use rumqttd::protocol::{Disconnect, DisconnectReasonCode, Packet};
use rumqttd::{Notification, Router, RouterConfig};
use tokio::sync::{broadcast, watch};
use tokio::time::MissedTickBehavior;

use super::Event;

/// Events that wait for the router, and events that a slow subscriber may lag behind. A hint that finds no place is
/// dropped and counted.
const WAITING: usize = 4096;
/// A burst of 10,000 arrived whole with segments of this size; smaller ones lost parts of it in silence.
const SEGMENT_BYTES: usize = 16 << 20;
const EVENTS: &str = "event/#";
const BEAT: &str = "beat";

/// The bus could not be started.
#[derive(Debug, thiserror::Error)]
pub enum BusError {
    /// No thread to be had.
    #[error("could not start the bus' {name} thread")]
    Thread {
        /// Which.
        name: &'static str,
        /// The system's words.
        source: std::io::Error,
    },
    /// The router did not take our link.
    #[error("the bus' router refused its first link")]
    Link {
        /// The router's words.
        source: Box<LinkError>,
    },
}

/// The bus is dead: nothing published arrives any more. The program should end and be restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum BusDied {
    /// The router's thread ended.
    #[error("the bus' router ended")]
    Ended,
    /// The router does not bring its heartbeat back.
    #[error("the bus brought no heartbeat back in time")]
    Stalled,
}

/// How often the heartbeat goes out, and how many periods it may stay out.
#[derive(Debug, Clone, Copy)]
struct Tempo {
    beat: Duration,
    patience: u32,
}

const TEMPO: Tempo = Tempo {
    beat: Duration::from_secs(1),
    patience: 10,
};

/// A handle to the bus; clones reach the same one. The bus stops when the last handle is dropped.
#[derive(Clone)]
pub struct Bus(Arc<Inner>);

struct Inner {
    outbox: SyncSender<Event>,
    live: broadcast::Sender<Event>,
    beats: Arc<AtomicU64>,
    ended: watch::Receiver<bool>,
    tempo: Tempo,
}

impl Bus {
    /// Starts the router and the two threads that talk to it.
    pub fn start() -> Result<Bus, BusError> {
        let router = Router::new(0, config()).spawn();
        let link = |error| BusError::Link {
            source: Box::new(error),
        };
        let (mut tx, rx, _) = LinkBuilder::new("homeward", router).build().map_err(link)?;
        tx.subscribe(EVENTS).map_err(link)?;
        tx.subscribe(BEAT).map_err(link)?;
        Bus::over(tx, rx, TEMPO)
    }

    fn over(tx: LinkTx, rx: LinkRx, tempo: Tempo) -> Result<Bus, BusError> {
        let (outbox, inbox) = sync_channel(WAITING);
        let (live, _) = broadcast::channel(WAITING);
        let (says_ended, ended) = watch::channel(false);
        let beats = Arc::new(AtomicU64::new(0));
        start("bus-out", move || publish_all(tx, &inbox, tempo.beat))?;
        let (fan_out, seen) = (live.clone(), Arc::clone(&beats));
        start("bus-in", move || {
            receive_all(rx, &fan_out, &seen);
            says_ended.send_replace(true);
        })?;
        Ok(Bus(Arc::new(Inner {
            outbox,
            live,
            beats,
            ended,
            tempo,
        })))
    }

    /// Says what happened, without waiting.
    ///
    /// Nothing is done while nobody listens: an event is a hint to look now, and there is nobody to look.
    pub fn publish(&self, event: Event) {
        if self.0.live.receiver_count() == 0 {
            return;
        }
        // When the thread has ended, `dead` says so.
        if let Err(TrySendError::Full(_)) = self.0.outbox.try_send(event) {
            metrics::counter!("homeward_bus_dropped_total").increment(1);
        }
    }

    /// What happens from now on. A subscriber that lags more than 4,096 events behind is told how many it missed.
    pub fn subscribe(&self) -> broadcast::Receiver<Event> {
        self.0.live.subscribe()
    }

    /// Ends only when the bus is dead.
    pub async fn dead(&self) -> BusDied {
        let mut ended = self.0.ended.clone();
        tokio::select! {
            _ = ended.wait_for(|ended| *ended) => BusDied::Ended,
            () = self.stalled() => BusDied::Stalled,
        }
    }

    async fn stalled(&self) {
        // Counted in looks, not in clock time: a process that was stopped for an hour has a bus that is alive.
        let mut look = tokio::time::interval(self.0.tempo.beat);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut last, mut misses) = (0, 0);
        while misses < self.0.tempo.patience {
            look.tick().await;
            let beats = self.0.beats.load(Ordering::Relaxed);
            misses = if beats == last { misses + 1 } else { 0 };
            last = beats;
        }
    }
}

impl std::fmt::Debug for Bus {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Bus")
    }
}

fn config() -> RouterConfig {
    RouterConfig {
        max_connections: 64,
        max_outgoing_packet_count: 200,
        max_segment_size: SEGMENT_BYTES,
        max_segment_count: 2,
        ..RouterConfig::default()
    }
}

fn start(name: &'static str, work: impl FnOnce() + Send + 'static) -> Result<(), BusError> {
    let started = thread::Builder::new().name(name.to_owned()).spawn(work);
    started
        .map(drop)
        .map_err(|source| BusError::Thread { name, source })
}

/// Publishes until every handle is gone, then says goodbye: a link that is only dropped stays in the router.
fn publish_all(mut link: LinkTx, inbox: &Receiver<Event>, beat: Duration) {
    let mut next_beat = Instant::now();
    loop {
        let now = Instant::now();
        if now >= next_beat {
            next_beat = now + beat;
            if link.publish(BEAT, "1").is_err() {
                return;
            }
        }
        match inbox.recv_timeout(next_beat.saturating_duration_since(now)) {
            Ok(event) if link.publish(event.topic(), "1").is_err() => return,
            Ok(_) | Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => break,
        }
    }
    let goodbye = Disconnect {
        reason_code: DisconnectReasonCode::NormalDisconnection,
    };
    // An `async fn` that never waits.
    let _ = link.send(Packet::Disconnect(goodbye, None)).now_or_never();
}

/// Fans out what the router forwards, until the link breaks. `recv` and not `recv_deadline`: the latter wraps "timed
/// out" and "router gone" in one error.
fn receive_all(mut link: LinkRx, live: &broadcast::Sender<Event>, beats: &AtomicU64) {
    loop {
        match link.recv() {
            Ok(Some(Notification::Forward(forward))) => {
                let topic = &*forward.publish.topic;
                if topic == BEAT.as_bytes() {
                    beats.fetch_add(1, Ordering::Relaxed);
                } else if let Some(event) = std::str::from_utf8(topic).ok().and_then(Event::parse) {
                    // Nobody listening is no fault.
                    let _ = live.send(event);
                }
            }
            // The router waits for this after each full round; without it nothing more is delivered.
            Ok(Some(Notification::Unschedule)) if link.ready().is_err() => return,
            Ok(Some(Notification::Disconnect(..))) | Err(_) => return,
            Ok(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::id::GatewayId;
    use tokio::time::timeout;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(20);
    const QUICK: Tempo = Tempo {
        beat: Duration::from_millis(20),
        patience: 5,
    };

    fn gateway(n: u32) -> GatewayId {
        format!("gw-{n}").parse().expect("an id")
    }

    #[tokio::test]
    async fn a_burst_of_events_reaches_every_subscriber_whole() {
        let bus = Bus::start().expect("a bus");
        let mut subscribers = [bus.subscribe(), bus.subscribe()];
        for n in 0..4000 {
            bus.publish(Event::Stored(gateway(n)));
        }
        for subscriber in &mut subscribers {
            for n in 0..4000 {
                let event = timeout(PATIENCE, subscriber.recv()).await.expect("in time");
                assert_eq!(event.expect("no lag"), Event::Stored(gateway(n)));
            }
        }
    }

    #[tokio::test]
    async fn a_living_bus_is_not_called_dead() {
        let ((mut tx, rx), _other) = router();
        tx.subscribe(EVENTS).expect("subscribed");
        tx.subscribe(BEAT).expect("subscribed");
        let bus = Bus::over(
            tx,
            rx,
            Tempo {
                patience: 50,
                ..QUICK
            },
        )
        .expect("a bus");
        assert_eq!(timeout(QUICK.beat * 100, bus.dead()).await.ok(), None);
    }

    #[tokio::test]
    async fn a_router_that_dies_unnoticed_ends_the_bus() {
        let ((mut tx, rx), (mut poison, _poison)) = router();
        tx.subscribe(BEAT).expect("subscribed");
        let bus = Bus::over(tx, rx, TEMPO).expect("a bus");
        // rumqttd 0.20 slices a topic inside a character and loses its router thread.
        poison.publish("é", "x").expect("sent");
        assert_eq!(
            timeout(PATIENCE, bus.dead()).await.expect("in time"),
            BusDied::Ended
        );
        bus.publish(Event::Changed(gateway(1)));
    }

    #[tokio::test]
    async fn a_router_that_hangs_ends_the_bus() {
        let ((tx, rx), _other) = router();
        let bus = Bus::over(tx, rx, QUICK).expect("a bus");
        assert_eq!(
            timeout(PATIENCE, bus.dead()).await.expect("in time"),
            BusDied::Stalled
        );
    }

    #[tokio::test]
    async fn a_bus_that_is_let_go_leaves_the_router() {
        let ((mut tx, rx), _other) = router();
        tx.subscribe(BEAT).expect("subscribed");
        let bus = Bus::over(tx, rx, TEMPO).expect("a bus");
        let mut ended = bus.0.ended.clone();
        drop(bus);
        let left = timeout(PATIENCE, ended.wait_for(|ended| *ended)).await;
        assert!(left.expect("in time").is_ok_and(|ended| *ended));
    }

    type Link = (LinkTx, LinkRx);

    /// A router with two links.
    fn router() -> (Link, Link) {
        let router = Router::new(0, config()).spawn();
        let link = |name| {
            let (tx, rx, _) = LinkBuilder::new(name, router.clone()).build().expect("a link");
            (tx, rx)
        };
        (link("ours"), link("other"))
    }
}
