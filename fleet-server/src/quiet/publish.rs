//! Shell: says wishes for quiet to the boxes that have not named them.
//!
//! # Design
//! Level by level, as the director's words are said: a wish is said on each connection, and again after a while, until what the
//! box says of its software names it.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::gate::Connections;
use crate::gate::connections::Sent;
use crate::store::{Store, StoreError, quiets};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// It is said again on a connection after this.
const AGAIN: Duration = Duration::from_secs(20);

/// What it works with.
pub struct Publish {
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// What time it is.
    pub clock: Clock,
}

/// On which connection a wish was last said, and when.
type Told = HashMap<(GatewayId, u64), (Timestamp, Timestamp)>;

impl Publish {
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
                warn!("wishes for quiet could not be said: {failed}");
            }
        }
    }

    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        let waiting = self.store.read(move |tx| quiets::waiting(tx, now)).await?;
        // A spare key hears nothing but acknowledgements.
        let own = self.connections.list().into_iter().filter(|one| !one.spare);
        let present: HashMap<GatewayId, Timestamp> = own.map(|one| (one.gateway, one.since)).collect();
        told.retain(|(gateway, _), (since, _)| present.get(gateway) == Some(since));
        for (gateway, order) in waiting {
            let Some(since) = present.get(&gateway) else {
                continue;
            };
            let key = (gateway.clone(), order.order);
            let lately = |(_, at): &(Timestamp, Timestamp)| at.ms <= now.ms && at.age(now) < AGAIN;
            if told.get(&key).is_some_and(lately) {
                continue;
            }
            let Ok(bytes) = order.encode() else {
                warn!(gateway.id = %gateway, "a wish for quiet is too long to be said");
                continue;
            };
            if self
                .connections
                .send(&gateway, Topic::Quiet(gateway.clone()), bytes)
                == Sent::Queued
            {
                told.insert(key, (*since, now));
                info!(gateway.id = %gateway, quiet.order = order.order, "{gateway} is told of a wish for quiet");
            }
        }
        Ok(())
    }
}
