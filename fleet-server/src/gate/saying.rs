//! Shell: says orders to boxes until they name them.
//!
//! # Design
//! Level by level: nothing is remembered of what was sent but for the moment. What waits is asked of the store at each look, and
//! said once on each connection, and again on the same one after a while, until the box names it.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::Connections;
use super::connections::Sent;
use crate::clock::Clock;
use crate::store::{Store, StoreError, Tx, forces, quiets};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);

/// What waits to be said: to which box, its number, its bytes.
type Waiting = Vec<(GatewayId, u64, Vec<u8>)>;

/// One kind of orders.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// In words, as "orders to force".
    pub name: &'static str,
    /// Where they are said.
    pub topic: fn(GatewayId) -> Topic,
    /// One is said again on a connection after this.
    pub again: Duration,
    /// What waits.
    pub waiting: fn(&mut dyn Tx, Timestamp) -> Result<Waiting, StoreError>,
    /// One was said.
    pub sent: fn(&mut dyn Tx, &GatewayId, u64, Timestamp) -> Result<(), StoreError>,
}

/// Orders to force: once the box says that it has the update, because it refuses an order for another one.
pub const FORCES: Kind = Kind {
    name: "orders to force",
    topic: Topic::Force,
    again: Duration::from_mins(1),
    waiting: forces::waiting,
    sent: forces::sent,
};

/// Wishes for quiet. Who wished one stands in the audit trail, and that it was said in what the box names.
pub const QUIET: Kind = Kind {
    name: "wishes for quiet",
    topic: Topic::Quiet,
    again: Duration::from_secs(20),
    waiting: quiets::waiting,
    sent: |_, _, _, _| Ok(()),
};

/// What it works with.
pub struct Saying {
    /// What is said.
    pub kind: Kind,
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// What time it is.
    pub clock: Clock,
}

/// On which connection an order was last said, and when.
type Told = HashMap<(GatewayId, u64), (Timestamp, Timestamp)>;

impl Saying {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut told = Told::new();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(failed) = self.look(&mut told).await {
                warn!("{} could not be sent: {failed}", self.kind.name);
            }
        }
    }

    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        let (now, kind) = (self.clock.now(), self.kind);
        let waiting = self.store.read(move |tx| (kind.waiting)(tx, now)).await?;
        // A spare key hears nothing but acknowledgements.
        let own = self.connections.list().into_iter().filter(|one| !one.spare);
        let present: HashMap<GatewayId, Timestamp> = own.map(|one| (one.gateway, one.since)).collect();
        told.retain(|(gateway, _), (since, _)| present.get(gateway) == Some(since));
        for (gateway, number, bytes) in waiting {
            let Some(since) = present.get(&gateway) else {
                continue;
            };
            let key = (gateway.clone(), number);
            let lately = |(_, at): &(Timestamp, Timestamp)| at.ms <= now.ms && at.age(now) < kind.again;
            if told.get(&key).is_some_and(lately) {
                continue;
            }
            let topic = (kind.topic)(gateway.clone());
            if self.connections.send(&gateway, topic, bytes) == Sent::Queued {
                told.insert(key, (*since, now));
                info!(gateway.id = %gateway, order.number = number, "{gateway} is sent one of the {}", kind.name);
                let sent = move |tx: &mut dyn Tx| (kind.sent)(tx, &gateway, number, now);
                self.store.write(sent).await?;
            }
        }
        Ok(())
    }
}
