//! Shell: what happens around the server: who connects, what other processes change, whether the database answers.
#![expect(clippy::disallowed_methods, reason = "shell: waits between looks")]

use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::tend::Tend;
use crate::bus::{Bus, Event};
use crate::facts::{self, Wish};
use crate::gate::{Connections, Passage, Revoked};
use crate::ingest::consume::Keys;
use crate::store::signals::Kind;
use crate::store::{self, Store, StoreError};
use crate::support::hub::Hub;

/// How often the server looks for what other processes changed: well inside "revoked within a second".
const LOOK: Duration = Duration::from_millis(250);
/// Comings and goings written down in one piece.
const AT_ONCE: usize = 4096;
/// How long they are gathered after some were written: a storm of them costs ten commits a second, not hundreds, and
/// the first of a quiet time stands at once.
const GATHER: Duration = Duration::from_millis(100);

/// Writes down who came and went, and tells the pages.
pub(super) async fn write_passages(store: Store, mut passages: mpsc::Receiver<Passage>, bus: Bus) {
    let mut waiting = Vec::new();
    while passages.recv_many(&mut waiting, AT_ONCE).await > 0 {
        let noted = std::mem::take(&mut waiting);
        let events: Vec<Event> = noted.iter().map(event).collect();
        let written = store.write(move |tx| store::connections::note(tx, &noted));
        if let Err(failed) = written.await {
            warn!(
                "{} comings and goings could not be written down: {failed}",
                events.len()
            );
        }
        for event in events {
            bus.publish(event);
        }
        if !passages.is_closed() {
            tokio::time::sleep(GATHER).await;
        }
    }
}

fn event(passage: &Passage) -> Event {
    match passage {
        Passage::Connected { gateway, .. } => Event::Connected(gateway.clone()),
        Passage::Left { gateway, .. } => Event::Left(gateway.clone()),
    }
}

/// Acts on what other processes (the command line, another instance) wrote into the database.
pub(super) struct Look {
    pub(super) store: Store,
    pub(super) connections: Connections,
    pub(super) hub: Hub,
    pub(super) revoked: Revoked,
    pub(super) bus: Bus,
    pub(super) tend: Arc<Tend>,
    pub(super) voices: Keys,
}

impl Look {
    pub(super) async fn run(self, stop: CancellationToken) -> Result<(), String> {
        let mut seen = self
            .store
            .read(store::signals::newest)
            .await
            .map_err(|e| e.to_string())?;
        loop {
            tokio::select! {
                () = tokio::time::sleep(LOOK) => {}
                () = stop.cancelled() => return Ok(()),
            }
            let after = seen;
            let found = self
                .store
                .read(move |tx| store::signals::since(tx, after, 256))
                .await;
            let signals = match found {
                Ok(signals) => signals,
                Err(failed) => {
                    warn!("could not look for changes: {failed}");
                    continue;
                }
            };
            if let Some(last) = signals.last() {
                seen = last.id;
                self.act().await;
                let tended = [Kind::Gateway, Kind::Authority, Kind::Certificate];
                if signals.iter().any(|s| tended.contains(&s.kind)) {
                    self.tend.now().await;
                }
                let changed = [Kind::Gateway, Kind::Certificate];
                for signal in signals.iter().filter(|s| changed.contains(&s.kind)) {
                    if let Ok(gateway) = signal.subject.parse() {
                        self.voices.forget(&gateway);
                    }
                }
                // Only after the new list is in force: whoever has another certificate may come back with it.
                for signal in signals.iter().filter(|s| s.kind == Kind::Certificate) {
                    if let Ok(gateway) = signal.subject.parse() {
                        self.connections.kick(&gateway);
                        self.hub.cut(&gateway);
                    }
                }
                let wanted = signals.iter().filter(|s| s.kind == Kind::Facts);
                for gateway in wanted.filter_map(|s| s.subject.parse().ok()) {
                    facts::serve::ask(&self.connections, &gateway, Wish::Facts);
                }
                for gateway in signals.iter().filter_map(|s| s.subject.parse().ok()) {
                    self.bus.publish(Event::Changed(gateway));
                }
            }
        }
    }

    /// Brings the list of the revoked up to date and ends their connections.
    async fn act(&self) {
        match all_revoked(&self.store).await {
            Ok(revoked) => {
                for gateway in revoked {
                    if !self.revoked.contains(&gateway) {
                        self.revoked.insert(gateway.clone());
                        let was_connected = self.connections.kick(&gateway);
                        self.hub.cut(&gateway);
                        info!(gateway.id = %gateway, connected = was_connected, "gateway {gateway} is shut out");
                    }
                }
            }
            Err(failed) => warn!("could not read who is revoked: {failed}"),
        }
    }
}

/// Everybody who is revoked, page by page.
pub(super) async fn all_revoked(store: &Store) -> Result<Vec<GatewayId>, StoreError> {
    const PAGE: i64 = 1000;
    let mut all: Vec<GatewayId> = Vec::new();
    loop {
        let after = all.last().cloned();
        let page = store
            .read(move |tx| store::gateways::revoked(tx, after.as_ref(), PAGE))
            .await?;
        if page.is_empty() {
            return Ok(all);
        }
        all.extend(page);
    }
}

/// Tells systemd that the server lives, as long as the database answers.
pub(super) async fn watchdog(store: Store, stop: CancellationToken) {
    let every = sd_notify::watchdog_enabled().map_or(Duration::from_mins(1), |limit| limit / 3);
    loop {
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            () = stop.cancelled() => return,
        }
        if store.read(|tx| tx.row("SELECT 1", &[])).await.is_ok() {
            let _ = sd_notify::notify(&[sd_notify::NotifyState::Watchdog]);
        }
    }
}
