//! Shell: tells connected gateways that hold other roots than today's to fetch them.
//!
//! What was put on a connection that is ending never arrives, so who was told counts for that connection only: on the next
//! one a gateway is told again.
#![expect(clippy::disallowed_methods, reason = "shell: waits between rounds")]

use std::collections::HashMap;
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
use crate::gate::{Connections, Sent};
use crate::store::{self, Store};

/// How often it is looked, and how many are told in one round: each then makes a connection to fetch the roots.
const EVERY: Duration = Duration::from_secs(20);
const AT_ONCE: usize = 200;
/// A gateway that was told and says nothing new is not told again on the same connection for so long, milliseconds.
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
        let mut told: HashMap<GatewayId, Told> = HashMap::new();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(EVERY) => {}
                changed = self.authority.changed() => if changed.is_err() { return } else { told.clear() },
            }
            let now = self.clock.now();
            told.retain(|_, told| told.at.ms + PATIENCE_MS > now.ms);
            let mark = match self.authority.borrow().bundle().mark() {
                Ok(mark) => mark,
                Err(failed) => {
                    warn!("the roots could not be read: {failed}");
                    continue;
                }
            };
            // Those told already fill places in the answer, so it is asked for more.
            let most = i64::try_from(AT_ONCE.saturating_add(told.len())).unwrap_or(i64::MAX);
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
                let on = self.connections.number(&gateway);
                if new == AT_ONCE || !is_due(told.get(&gateway), on) {
                    continue;
                }
                let topic = Topic::Hint(gateway.clone());
                // Who takes nothing now is told in the next round. Who is not there any more is remembered as well: it
                // would fill a place in every answer.
                if self.connections.send(&gateway, topic, WORD.to_vec()) != Sent::Full {
                    told.insert(gateway, Told { at: now, on });
                    new += 1;
                }
            }
            if new > 0 {
                info!("{new} gateways were told to fetch the fleet's roots");
            }
        }
    }
}

/// When a gateway was told, and on which of its connections.
#[derive(Debug, Clone, Copy)]
struct Told {
    at: Timestamp,
    on: Option<u64>,
}

/// Whether a gateway whose connection is `on` has to be told.
fn is_due(told: Option<&Told>, on: Option<u64>) -> bool {
    told.is_none_or(|told| on.is_some() && told.on != on)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gateway_is_told_once_on_a_connection_and_again_on_its_next() {
        let told = |on| Told {
            at: Timestamp::synced(0),
            on,
        };
        assert!(is_due(None, Some(1)));
        assert!(!is_due(Some(&told(Some(1))), Some(1)));
        assert!(is_due(Some(&told(Some(1))), Some(2)));
        // It was gone when it should have been told, and came back.
        assert!(is_due(Some(&told(None)), Some(2)));
        // It is not there: nothing would reach it.
        assert!(!is_due(Some(&told(Some(1))), None));
        assert!(!is_due(Some(&told(None)), None));
    }
}
