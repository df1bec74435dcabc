//! Shell: sends orders to force to those that wait for them.
//!
//! # Design
//! Level by level, as the director's words are said: an order whose end is not known is sent to its gateway on each
//! connection until what the gateway says of its software names the order. It is sent once the gateway says that it has the
//! update, because it refuses an order for another one.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::force::ForceNumber;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::clock::Clock;
use crate::gate::Connections;
use crate::gate::connections::Sent;
use crate::store::{Store, StoreError, forces};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(2);
/// It is sent again on a connection after this.
const AGAIN: Duration = Duration::from_mins(1);

/// What it works with.
pub struct Publish {
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// What time it is.
    pub clock: Clock,
}

/// On which connection an order was last sent, and when.
type Told = HashMap<(GatewayId, ForceNumber), (Timestamp, Timestamp)>;

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
                warn!("orders to force could not be sent: {failed}");
            }
        }
    }

    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        let waiting = self.store.read(move |tx| forces::waiting(tx, now)).await?;
        if waiting.is_empty() {
            told.clear();
            return Ok(());
        }
        // A spare key hears nothing but acknowledgements.
        let own = self.connections.list().into_iter().filter(|one| !one.spare);
        let present: HashMap<GatewayId, Timestamp> = own.map(|one| (one.gateway, one.since)).collect();
        told.retain(|(gateway, _), (since, _)| present.get(gateway) == Some(since));
        for (gateway, number, paper) in waiting {
            let Some(since) = present.get(&gateway) else {
                continue;
            };
            let key = (gateway.clone(), number);
            let just = told
                .get(&key)
                .is_some_and(|(_, at)| at.ms <= now.ms && at.age(now) < AGAIN);
            if just
                || self
                    .connections
                    .send(&gateway, Topic::Force(gateway.clone()), paper)
                    != Sent::Queued
            {
                continue;
            }
            told.insert(key, (*since, now));
            info!(gateway.id = %gateway, force.number = %number, "{gateway} is sent the order to force {number}");
            self.store
                .write(move |tx| forces::sent(tx, &gateway, number, now))
                .await?;
        }
        Ok(())
    }
}
