//! Shell: tells connected gateways that hold other roots than today's to fetch them.
#![expect(clippy::disallowed_methods, reason = "shell: waits between rounds")]

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use crate::ca::Authority;
use crate::clock::Clock;
use crate::gate::Connections;
use crate::store::{self, Store};

/// How often it is looked, and how many are told in one round: each then makes a connection to fetch the roots.
const EVERY: Duration = Duration::from_secs(20);
const AT_ONCE: i64 = 200;
/// A gateway that was told and says nothing new is not told again for so long, milliseconds.
const PATIENCE_MS: i64 = 3_600_000;
/// The word of the hint.
const WORD: &[u8] = b"trust";

/// What it works with.
pub(super) struct Roots {
    pub(super) store: Store,
    pub(super) authority: watch::Receiver<Arc<Authority>>,
    pub(super) connections: Connections,
    pub(super) clock: Clock,
}

impl Roots {
    pub(super) async fn run(mut self, stop: CancellationToken) {
        let mut told: HashMap<GatewayId, Timestamp> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                changed = self.authority.changed() => if changed.is_err() { return } else { told.clear() },
            }
            let now = self.clock.now();
            told.retain(|_, at| at.ms + PATIENCE_MS > now.ms);
            let mark = match self.authority.borrow().bundle().mark() {
                Ok(mark) => mark,
                Err(failed) => {
                    warn!("the roots could not be read: {failed}");
                    continue;
                }
            };
            // Those told already fill places in the answer, so it is asked for more.
            let most = AT_ONCE + i64::try_from(told.len()).unwrap_or(0);
            let behind = self
                .store
                .read(move |tx| store::trust::behind(tx, mark, most))
                .await;
            let behind = behind.unwrap_or_else(|failed| {
                warn!("who holds which roots could not be read: {failed}");
                Vec::new()
            });
            let mut new = 0;
            for gateway in behind {
                if let Entry::Vacant(place) = told.entry(gateway) {
                    let gateway = place.key();
                    self.connections
                        .send(gateway, Topic::Hint(gateway.clone()), WORD.to_vec());
                    place.insert(now);
                    new += 1;
                }
            }
            if new > 0 {
                info!("{new} gateways were told to fetch the fleet's roots");
            }
        }
    }
}
