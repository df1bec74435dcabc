//! Shell: asks connected gateways in turn, takes their answers, and tells them how they stand.
//!
//! ```text
//! each second: who is connected and due? ─▶ a number, its hash committed ─▶ the challenge
//! gate ─▶ evidence ─▶ judged and committed (PUBACK after that) ─▶ the notice, and an event for pages
//! ```
//! # Design
//! When to ask is computed from the row and the connection each time, so a restart or another instance asks no one
//! twice. What is remembered here is only when to look at a row again.
#![expect(clippy::disallowed_methods, reason = "shell: waits, and the random source")]

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use homeward_protocol::attest::{Ask, Challenge, Nonce};
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use ring::rand::{SecureRandom as _, SystemRandom};
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::record;
use super::reference::Reference;
use super::schedule::{Occasion, Present, Ration, due};
use super::take::{Came, Taken, With, hash, spare, take};
use crate::bus::{Bus, Event};
use crate::clock::Clock;
use crate::gate::{Connections, Spoken, Testimony};
use crate::store::{self, Store, StoreError, attest, connections, incidents};

/// How often it is looked who is due.
const LOOK: Duration = Duration::from_secs(1);
/// Answers that are judged together.
const TOGETHER: usize = 64;
/// Rows of gateways that are looked at in one look: a fleet that comes back is read in a few of them.
const ROWS: usize = 500;
/// How long a row that is not due is not looked at again, milliseconds: what another process wrote into it meanwhile
/// (a person's wish) is seen that late.
const AGAIN_MS: i64 = 5_000;

/// What it works with.
pub struct Attest {
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// Where pages hear of changes.
    pub bus: Bus,
    /// What time it is.
    pub clock: Clock,
}

impl Attest {
    /// Runs until `stop`, or until the gate is gone.
    pub async fn run(self, mut arriving: mpsc::Receiver<Testimony>, stop: CancellationToken) {
        let mut rows = Rows::default();
        let mut ration = Ration::new(self.clock.now());
        let mut came = Vec::new();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                count = arriving.recv_many(&mut came, TOGETHER) => {
                    if count == 0 {
                        return;
                    }
                    self.hear(&mut came, &mut rows).await;
                }
                _ = tick.tick() => {
                    self.watch_clock().await;
                    if let Err(failed) = self.note_spares(&mut rows).await {
                        warn!("what came in with a spare key could not be written down: {failed}");
                    }
                    if let Err(failed) = self.ask(&mut rows, &mut ration).await {
                        warn!("gateways could not be asked: {failed}");
                    }
                }
            }
        }
    }

    async fn hear(&self, came: &mut Vec<Testimony>, rows: &mut Rows) {
        let mut evidence = Vec::new();
        for one in came.drain(..) {
            match &one.spoken {
                Spoken::Ask(word) => {
                    if let Some(ask) = Ask::from_word(word) {
                        rows.wishes.insert(one.gateway.clone(), ask);
                    }
                    let _ = one.done.send(()); // the connection may be gone
                }
                Spoken::Evidence(_) => evidence.push(one),
                // Sorted out before it comes here.
                Spoken::Still(_) => {}
            }
        }
        if evidence.is_empty() {
            return;
        }
        let reference = match rows.reference(&self.store).await {
            Ok(reference) => reference,
            Err(failed) => {
                // A fault of ours is not the gateways': they are asked again.
                error!("the reference values cannot be read, so no evidence can be judged: {failed}");
                return;
            }
        };
        let judged = join_all(evidence.into_iter().map(|one| self.judge(one, reference.clone()))).await;
        for gateway in judged.into_iter().flatten() {
            rows.look_at.remove(&gateway);
        }
    }

    /// Judges one answer; not acknowledged when it could not be stored, so that the connection ends and it is asked
    /// again.
    async fn judge(&self, one: Testimony, reference: Reference) -> Option<GatewayId> {
        let Testimony {
            gateway,
            key,
            spoken: Spoken::Evidence(bytes),
            done,
        } = one
        else {
            return None;
        };
        let judged = self.judged(gateway.clone(), key, bytes, reference).await;
        match judged {
            Ok(taken) => {
                let _ = done.send(());
                self.tell(&gateway, taken);
                Some(gateway)
            }
            Err(failed) => {
                warn!(gateway.id = %gateway, "the evidence of {gateway} could not be judged: {failed}");
                None
            }
        }
    }

    async fn judged(
        &self,
        gateway: GatewayId,
        key: PublicKey,
        bytes: Bytes,
        reference: Reference,
    ) -> Result<Taken, StoreError> {
        let dice = u64::from_be_bytes(random()?);
        let incidents = [store::hex(&random::<16>()?), store::hex(&random::<16>()?)];
        let now = self.clock.now();
        let work = move |tx: &mut dyn store::Tx| {
            let came = Came {
                gateway: &gateway,
                key: &key,
                bytes: &bytes,
            };
            let with = With {
                reference: &reference,
                dice,
                incidents: &incidents,
                now,
            };
            take(tx, &came, &with)
        };
        self.store.write(work).await
    }

    fn tell(&self, gateway: &GatewayId, taken: Taken) {
        let notice = match taken {
            Taken::Judged(notice) => notice,
            Taken::Ignored(why) => {
                metrics::counter!("homeward_evidence_ignored_total", "why" => why).increment(1);
                debug!(gateway.id = %gateway, "evidence of {gateway} was put aside: {why}");
                return;
            }
        };
        metrics::counter!("homeward_evidence_total", "trust" => notice.trust.name()).increment(1);
        info!(
            gateway.id = %gateway, attest.trust = notice.trust.name(), attest.tier = %notice.tier,
            "{gateway} is {} until {}", notice.trust.name(), notice.expires_at
        );
        match notice.encode() {
            Ok(bytes) => {
                let sent = self
                    .connections
                    .send(gateway, Topic::Verdict(gateway.clone()), bytes);
                debug!(gateway.id = %gateway, "told {gateway} how it stands: {sent:?}");
            }
            Err(failed) => error!("could not write a notice: {failed}"),
        }
        self.bus.publish(Event::Changed(gateway.clone()));
    }

    /// Asks those who are connected and due, as far as the ration goes.
    async fn ask(&self, rows: &mut Rows, ration: &mut Ration) -> Result<(), StoreError> {
        let now = self.clock.now();
        let free = ration.free(now);
        let present: HashMap<GatewayId, Timestamp> = self
            .connections
            .list()
            .into_iter()
            // A spare key is not asked: it proves nothing of the box.
            .filter(|connection| !connection.spare)
            .map(|connection| (connection.gateway, connection.since))
            .collect();
        rows.forget_absent(&present);
        let look = rows.to_look_at(&present, now);
        if look.is_empty() || free == 0 {
            return Ok(());
        }
        let found = self.store.read(move |tx| read(tx, look)).await?;
        let mut asking = Vec::new();
        for (gateway, present, kept) in found {
            let mut asked = kept.asked;
            // A challenge of this connection serves the wish too.
            if asked.last.is_some_and(|at| at.ms >= present.since.ms) {
                rows.wishes.remove(&gateway);
            }
            let wish = rows.wishes.get(&gateway).copied();
            if wish.is_some() {
                asked.next = Some(Timestamp::synced(i64::MIN));
            }
            match due(&asked, present, now) {
                Some(occasion) if asking.len() < free => {
                    let occasion = wish
                        .filter(|_| occasion == Occasion::Daily)
                        .map_or(occasion, Occasion::from);
                    rows.wishes.remove(&gateway);
                    asking.push((gateway, occasion, kept));
                }
                Some(_) => {}
                None => {
                    rows.look_at.insert(gateway, now.plus_ms(AGAIN_MS));
                }
            }
        }
        ration.take(asking.len());
        self.challenge(asking, rows, now).await
    }

    /// Writes each connection by a spare key down once.
    async fn note_spares(&self, rows: &mut Rows) -> Result<(), StoreError> {
        let all = self.connections.list();
        let here: HashMap<GatewayId, Timestamp> = all
            .into_iter()
            .filter_map(|c| c.spare.then_some((c.gateway, c.since)))
            .collect();
        rows.spares
            .retain(|gateway, since| here.get(gateway) == Some(since));
        for (gateway, since) in here {
            if rows.spares.contains_key(&gateway) {
                continue;
            }
            let (of, incident, now) = (gateway.clone(), store::hex(&random::<16>()?), self.clock.now());
            self.store.write(move |tx| spare(tx, &of, &incident, now)).await?;
            warn!(gateway.id = %gateway, "{gateway} came in with its spare key: its TPM does not answer");
            self.bus.publish(Event::Changed(gateway.clone()));
            rows.spares.insert(gateway, since);
        }
        Ok(())
    }

    async fn challenge(
        &self,
        asking: Vec<(GatewayId, Occasion, attest::Kept)>,
        rows: &mut Rows,
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let mut made = Vec::with_capacity(asking.len());
        for (gateway, occasion, kept) in asking {
            made.push((gateway, occasion, kept.held, Nonce(random()?)));
        }
        if made.is_empty() {
            return Ok(());
        }
        let noted: Vec<_> = made
            .iter()
            .map(|(gateway, occasion, _, nonce)| (gateway.clone(), *occasion, hash(&nonce.0)))
            .collect();
        self.store
            .write(move |tx| {
                noted
                    .iter()
                    .try_for_each(|(gateway, occasion, hash)| attest::ask(tx, gateway, hash, *occasion, now))
            })
            .await?;
        for (gateway, occasion, held, nonce) in made {
            let challenge = Challenge { nonce, held };
            match challenge.encode() {
                Ok(bytes) => {
                    let topic = Topic::Challenge(gateway.clone());
                    let sent = self.connections.send(&gateway, topic, bytes);
                    debug!(gateway.id = %gateway, "asked {gateway} ({}): {sent:?}", occasion.name());
                }
                Err(failed) => error!("could not write a challenge: {failed}"),
            }
            rows.look_at.insert(gateway, now.plus_ms(AGAIN_MS));
        }
        Ok(())
    }

    /// A clock that lies before what is on record is said, once, until a person has looked.
    async fn watch_clock(&self) {
        let now = self.clock.now();
        let newest = self.store.read(attest::newest_record).await;
        let Ok(newest) = newest else { return };
        if !record::is_clock_behind(now, newest) {
            return;
        }
        let said = format!(
            "this server's clock says {now}, and something here was written at {newest}: no gateway counts as trusted \
             until the clock is right"
        );
        let Ok(id) = random::<16>() else { return };
        let (text, id) = (said.clone(), store::hex(&id));
        let raised = self
            .store
            .write(move |tx| incidents::raise_own(tx, &id, incidents::Kind::ServerClock, &text, now))
            .await;
        if raised.is_ok_and(|new| new) {
            error!("{said}");
        }
    }
}

/// What is remembered between looks.
#[derive(Default)]
struct Rows {
    /// When each connected gateway's row is looked at again.
    look_at: HashMap<GatewayId, Timestamp>,
    /// Gateways that ask to be asked.
    wishes: HashMap<GatewayId, Ask>,
    /// Connections by spare keys that are written down.
    spares: HashMap<GatewayId, Timestamp>,
    reference: Option<((i64, i64), Reference)>,
}

impl Rows {
    fn forget_absent(&mut self, present: &HashMap<GatewayId, Timestamp>) {
        self.look_at.retain(|gateway, _| present.contains_key(gateway));
        self.wishes.retain(|gateway, _| present.contains_key(gateway));
    }

    fn to_look_at(
        &self,
        present: &HashMap<GatewayId, Timestamp>,
        now: Timestamp,
    ) -> Vec<(GatewayId, Timestamp)> {
        let is_due = |gateway: &GatewayId| {
            let at = self.look_at.get(gateway);
            // A clock that went back must not make anybody wait longer than usual.
            at.is_none_or(|at| at.ms <= now.ms || at.ms > now.plus_ms(AGAIN_MS).ms)
                || self.wishes.contains_key(gateway)
        };
        let due = present.iter().filter(|(gateway, _)| is_due(gateway));
        due.take(ROWS)
            .map(|(gateway, since)| (gateway.clone(), *since))
            .collect()
    }

    /// The loaded releases, read again when they changed.
    async fn reference(&mut self, store: &Store) -> Result<Reference, StoreError> {
        let mark = store.read(attest::releases::mark).await?;
        if let Some((known, reference)) = &self.reference
            && *known == mark
        {
            return Ok(reference.clone());
        }
        let reference = store.read(attest::releases::reference).await?;
        self.reference = Some((mark, reference.clone()));
        Ok(reference)
    }
}

type Row = (GatewayId, Present, attest::Kept);

fn read(tx: &mut dyn store::Tx, look: Vec<(GatewayId, Timestamp)>) -> Result<Vec<Row>, StoreError> {
    let mut rows = Vec::with_capacity(look.len());
    for (gateway, since) in look {
        let kept = attest::kept(tx, &gateway)?;
        let left = connections::left_before(tx, &gateway, since)?;
        rows.push((gateway, Present { since, left }, kept));
    }
    Ok(rows)
}

fn random<const N: usize>() -> Result<[u8; N], StoreError> {
    let mut bytes = [0; N];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| StoreError::Unavailable {
        step: "making a random number",
        why: "the system gave none".into(),
    })?;
    Ok(bytes)
}
