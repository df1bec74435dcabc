//! Shell: says the director's words to those who do not have them.
//!
//! # Design
//! Level by level, as policies are sent: what a gateway says of its software is compared with the newest word for it, at
//! each connection and every few seconds. Also to those in quarantine: an update is how a box that fell behind is mended.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::due;
use crate::clock::Clock;
use crate::gate::Connections;
use crate::gate::connections::Sent;
use crate::store::updates::{self, Assigned};
use crate::store::{Store, StoreError};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Gateways that are looked at in one look.
const ROWS: usize = 500;
/// One is looked at again after so long, milliseconds.
const SOON_MS: i64 = 10_000;

/// What it works with.
pub struct Publish {
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// What time it is.
    pub clock: Clock,
}

/// What is remembered between looks.
#[derive(Default)]
struct Memory {
    mark: i64,
    words: HashMap<GatewayId, Assigned>,
    /// On which connection a gateway was last looked at, when, and when its word was last said there.
    seen: HashMap<GatewayId, Seen>,
}

#[derive(Clone, Copy)]
struct Seen {
    since: Timestamp,
    looked: Timestamp,
    told: Option<(u64, Timestamp)>,
}

impl Publish {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut memory = Memory::default();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(failed) = self.look(&mut memory).await {
                warn!("words on software could not be said: {failed}");
            }
        }
    }

    async fn look(&self, memory: &mut Memory) -> Result<(), StoreError> {
        let mark = self.store.read(updates::mark).await?;
        if mark != memory.mark {
            let words = self.store.read(updates::assigned).await?;
            memory.words = words.into_iter().map(|one| (one.gateway.clone(), one)).collect();
            memory.mark = mark;
            memory
                .seen
                .values_mut()
                .for_each(|seen| seen.looked.ms = i64::MIN);
        }
        if memory.words.is_empty() {
            return Ok(());
        }
        let now = self.clock.now();
        let connections = self.connections.list();
        // A spare key hears nothing but acknowledgements.
        let own = connections.into_iter().filter(|one| !one.spare);
        let present: HashMap<GatewayId, Timestamp> = own.map(|one| (one.gateway, one.since)).collect();
        memory
            .seen
            .retain(|gateway, seen| present.get(gateway) == Some(&seen.since));
        let is_due = |gateway: &GatewayId| {
            let looked = memory.seen.get(gateway).map(|seen| seen.looked.ms);
            looked.is_none_or(|at| at > now.ms || now.ms.saturating_sub(at) >= SOON_MS)
        };
        let named = present
            .keys()
            .filter(|gateway| memory.words.contains_key(*gateway));
        let look: Vec<GatewayId> = named
            .filter(|gateway| is_due(gateway))
            .take(ROWS)
            .cloned()
            .collect();
        if look.is_empty() {
            return Ok(());
        }
        let read = move |tx: &mut dyn crate::store::Tx| {
            let said = look.into_iter().map(|gateway| {
                let said = updates::said(tx, &gateway)?;
                Ok((gateway, said))
            });
            said.collect::<Result<Vec<_>, StoreError>>()
        };
        for (gateway, said) in self.store.read(read).await? {
            let (Some(word), Some(since)) = (memory.words.get(&gateway), present.get(&gateway)) else {
                continue;
            };
            let told = memory.seen.get(&gateway).and_then(|seen| seen.told);
            let told = told.filter(|(counter, _)| *counter == word.counter);
            let state = said.as_ref().map(|said| &said.state);
            let mut seen = Seen {
                since: *since,
                looked: now,
                told,
            };
            if due(word.counter, state, told.map(|(_, at)| at), now) && self.say(word) {
                seen.told = Some((word.counter, now));
            }
            memory.seen.insert(gateway, seen);
        }
        Ok(())
    }

    fn say(&self, word: &Assigned) -> bool {
        let gateway = &word.gateway;
        let topic = Topic::Assignment(gateway.clone());
        let sent = self.connections.send(gateway, topic, word.word.clone()) == Sent::Queued;
        if sent {
            metrics::counter!("homeward_assignments_sent_total").increment(1);
            info!(
                gateway.id = %gateway, update.version = %word.version, update.word = word.counter,
                "{gateway} is told to take {}", word.version
            );
        }
        sent
    }
}
