//! Shell: tells boxes of the sessions that are asked for, says who may meet, and writes down what was used.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::support::SessionNumber;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::Kept;
use super::hub::{Hub, Used};
use crate::access::of_caller;
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::gate::Connections;
use crate::gate::connections::Sent;
use crate::store::{Store, StoreError, Tx, support, tokens};

/// How often it is looked: a person waits.
const LOOK: Duration = Duration::from_millis(250);
/// Uses that are written down in one piece.
const AT_ONCE: usize = 256;
/// Who may be here is not known for so long: then nobody may.
const BLIND: Duration = Duration::from_mins(1);
/// How long those who are here may take to leave when the server stops, with what they used.
const LEAVE: Duration = Duration::from_secs(3);
/// How often it is looked whether they have.
const LEFT: Duration = Duration::from_millis(20);

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
        let mut seen = Instant::now();
        loop {
            let done = tokio::select! {
                () = stop.cancelled() => break,
                _ = tick.tick() => {
                    let looked = self.look(&mut told).await;
                    if looked.is_ok() {
                        seen = Instant::now();
                    } else if seen.elapsed() >= BLIND {
                        self.hub.permit(&HashMap::new());
                    }
                    // What could not be written down before.
                    looked.and(self.note(&mut waiting).await)
                },
                count = self.used.recv_many(&mut waiting, AT_ONCE), if waiting.is_empty() => {
                    if count == 0 {
                        return;
                    }
                    self.note(&mut waiting).await
                },
            };
            if let Err(failed) = done {
                warn!("support sessions could not be looked after: {failed}");
            }
        }
        self.hub.close();
        if timeout(LEAVE, self.drain(waiting)).await.is_err() {
            warn!(
                "what somebody used of a support session is not written down: it is told as unknown at the next start"
            );
        }
    }

    /// Writes down what those used who leave now.
    async fn drain(&mut self, mut waiting: Vec<Used>) {
        loop {
            let nobody = self.hub.users().is_empty();
            while let Ok(used) = self.used.try_recv() {
                waiting.push(used);
            }
            let written = self.note(&mut waiting).await;
            if nobody && written.is_ok() {
                return;
            }
            sleep(LEFT).await;
        }
    }

    async fn look(&self, told: &mut Told) -> Result<(), StoreError> {
        let now = self.clock.now();
        let live: Vec<Kept> = self.store.read(move |tx| support::live(tx, now)).await?;
        self.hub.permit(&meeting(&live, now));
        self.oust(now).await?;
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

    /// Whose token ended, or was taken back, leaves.
    async fn oust(&self, now: Timestamp) -> Result<(), StoreError> {
        let users = self.hub.users();
        if users.is_empty() {
            return Ok(());
        }
        let asked = users.clone();
        let work = move |tx: &mut dyn Tx| {
            let stands = |by: &String| of_caller(by).map_or(Ok(false), |id| tokens::stands(tx, id, now));
            asked.iter().map(stands).collect::<Result<Vec<bool>, _>>()
        };
        let stand = self.store.read(work).await?;
        for (by, _) in users.iter().zip(stand).filter(|(_, stands)| !stands) {
            info!(token.id = %by, "{by} may not use support sessions any more and is cut");
            self.hub.oust(by);
        }
        Ok(())
    }

    /// Writes these down, or leaves them where they are.
    async fn note(&self, waiting: &mut Vec<Used>) -> Result<(), StoreError> {
        if waiting.is_empty() {
            return Ok(());
        }
        let (now, used) = (self.clock.now(), waiting.clone());
        self.store
            .write(move |tx| used.iter().try_for_each(|one| support::used(tx, one, now)))
            .await?;
        for used in waiting.drain(..) {
            self.bus.publish(Event::Changed(used.gateway));
        }
        Ok(())
    }
}

/// Which session of each box may meet people here: the one that the box says is open, else one that it was asked for.
fn meeting(live: &[Kept], now: Timestamp) -> HashMap<GatewayId, SessionNumber> {
    let may = |opened: bool| {
        live.iter()
            .filter(move |kept| kept.may_meet(now) && kept.opened_heard.is_some() == opened)
            .map(|kept| (kept.gateway.clone(), kept.session.session))
    };
    may(false).chain(may(true)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::{StoreConfig, open};

    #[tokio::test]
    async fn an_end_that_could_not_be_written_down_is_written_down_later_also_at_the_stop() {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open(&StoreConfig::Sqlite(folder.path().join("homeward.db"))).expect("a store");
        let run = |sql: &'static str| store.write(move |tx| tx.execute(sql, &[]));
        let left = || {
            store.read(|tx| {
                let row = tx.row("SELECT COUNT(*) FROM audit WHERE action = 'support-left'", &[])?;
                row.map_or(Ok(0), |row| row.int(0))
            })
        };
        let (hub, used) = Hub::new();
        let serve = Serve {
            store: store.clone(),
            connections: Connections::new(1),
            hub: hub.clone(),
            used,
            bus: Bus::start().expect("a bus"),
            clock: Clock::system(),
        };
        // The store refuses for a while.
        run("ALTER TABLE support_sessions RENAME TO away")
            .await
            .expect("renamed");
        let stop = CancellationToken::new();
        let task = tokio::spawn(serve.run(stop.clone()));
        let here = |by: &str| {
            let (hub, end) = (hub.clone(), hub.enter(by));
            async move {
                end.over.cancelled().await;
                let used = Used {
                    gateway: "gw-1".parse().expect("an id"),
                    session: SessionNumber(7),
                    by: "token:a".into(),
                    in_bytes: 1,
                    out_bytes: 2,
                };
                hub.uses().send(used).await.expect("heard");
            }
        };
        let (first, last) = (here("token:a"), here("token:b"));
        hub.oust("token:a");
        first.await;
        sleep(LOOK * 3).await;
        assert_eq!(left().await.expect("reads"), 0);
        run("ALTER TABLE away RENAME TO support_sessions")
            .await
            .expect("renamed");
        while left().await.expect("reads") < 1 {
            sleep(LEFT).await;
        }
        // Who is there when the server stops is cut, and told.
        stop.cancel();
        last.await;
        task.await.expect("well");
        assert_eq!(left().await.expect("reads"), 2);
    }
}
