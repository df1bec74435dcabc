//! Shell: tells boxes of the sessions that are asked for, says who may meet, and writes down what was used.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::support::SessionNumber;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Kept;
use super::hub::{Hub, Used};
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::gate::Connections;
use crate::gate::connections::Sent;
use crate::store::{Store, StoreError, support};

/// How often it is looked: a person waits.
const LOOK: Duration = Duration::from_millis(250);
/// Uses that are written down in one piece.
const AT_ONCE: usize = 256;

/// What it works with.
pub struct Serve {
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// Where the ends meet.
    pub hub: Hub,
    /// What was used.
    pub used: mpsc::Receiver<Used>,
    /// What happens.
    pub bus: Bus,
    /// What time it is.
    pub clock: Clock,
}

type Told = HashMap<(GatewayId, SessionNumber), Timestamp>;

impl Serve {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut told = Told::new();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut waiting = Vec::new();
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => self.look(&mut told).await,
                count = self.used.recv_many(&mut waiting, AT_ONCE) => if count == 0 { return } else {
                    self.note(std::mem::take(&mut waiting)).await
                },
            };
            if let Err(failed) = done {
                warn!("support sessions could not be looked after: {failed}");
            }
        }
    }

    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        let live: Vec<Kept> = self.store.read(move |tx| support::live(tx, now)).await?;
        let may = live.iter().filter(|kept| kept.may_meet(now));
        let may = may.map(|kept| (kept.gateway.clone(), kept.session.session));
        self.hub.permit(&may.collect());
        let key = |kept: &Kept| (kept.gateway.clone(), kept.session.session);
        told.retain(|one, _| live.iter().any(|kept| key(kept) == *one));
        for kept in &live {
            let told_at = told.get(&key(kept)).copied();
            let Some(order) = kept.order(told_at, now) else {
                continue;
            };
            let bytes = match order.encode() {
                Ok(bytes) => bytes,
                Err(failed) => {
                    error!("could not write an order of support: {failed}");
                    continue;
                }
            };
            let topic = Topic::Support(kept.gateway.clone());
            if self.connections.send(&kept.gateway, topic, bytes) == Sent::Queued {
                let (gateway, session) = key(kept);
                info!(gateway.id = %gateway, support.session = session.0, "{gateway} is told of support session {session}");
                told.insert((gateway, session), now);
            }
        }
        Ok(())
    }

    async fn note(&self, used: Vec<Used>) -> Result<(), StoreError> {
        let now = self.clock.now();
        let gateways: Vec<GatewayId> = used.iter().map(|one| one.gateway.clone()).collect();
        self.store
            .write(move |tx| used.iter().try_for_each(|one| support::used(tx, one, now)))
            .await?;
        for gateway in gateways {
            self.bus.publish(Event::Changed(gateway));
        }
        Ok(())
    }
}
