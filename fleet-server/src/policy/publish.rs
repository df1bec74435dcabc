//! Shell: sends gateways what they shall have, and orders that shut them off.
//!
//! ```text
//! each quarter of a second: did anything change? who is connected, and due to be looked at?
//!   ─▶ what each says ─▶ what is missing there ─▶ the offer, or the order
//! ```
//! # Design
//! Level by level: what a gateway reports is compared with what it shall have, at each connection, at each change and
//! once a minute. Orders go first, and also to those in quarantine. What is remembered here is only what was said on
//! which connection, and when to look at a row again.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::isolation::IsolationOrder;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::book::Book;
use super::contain;
use super::progress::{Present, Progress, Told, due, progress};
use super::roots::Roots;
use crate::attest::record::{Quarantine, Sending};
use crate::clock::Clock;
use crate::gate::Connections;
use crate::gate::connections::Sent;
use crate::store::policies::{self, isolation, states};
use crate::store::{Store, StoreError, Tx, attest};

/// How often it is looked: well inside "an order goes out within a second".
const LOOK: Duration = Duration::from_millis(250);
/// Rows of gateways that are looked at in one look.
const ROWS: usize = 500;
/// Policies sent in one look: a whole fleet of 5,000 in some five seconds, and its reports do not come in one heap.
const AT_ONCE: usize = 250;
/// A row that is not in line is looked at again after so long, milliseconds.
const SOON_MS: i64 = 5_000;
/// One that is, after so long: what a box says by itself is seen that late.
const LATER_MS: i64 = 60_000;

/// What it works with.
pub struct Publish {
    /// What is kept.
    pub store: Store,
    /// Who is connected.
    pub connections: Connections,
    /// Whose signatures count.
    pub roots: Roots,
    /// What time it is.
    pub clock: Clock,
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
                warn!("policies could not be sent: {failed}");
            }
        }
    }

    async fn look(&self, memory: &mut Memory) -> Result<(), StoreError> {
        self.refresh(memory).await?;
        let now = self.clock.now();
        let connections = self.connections.list();
        // A spare key hears nothing but acknowledgements.
        let own = connections.into_iter().filter(|one| !one.spare);
        let present = own.map(|one| (one.gateway, one.since));
        memory.keep_present(present.collect());
        self.order(memory, now).await?;
        self.offer(memory, now).await
    }

    /// Reads who shall have what again, if it changed.
    async fn refresh(&self, memory: &mut Memory) -> Result<(), StoreError> {
        let mark = self.store.read(policies::mark).await?;
        let roots = self.roots.now();
        if memory.read == Some(mark) && memory.roots == roots {
            return Ok(());
        }
        let with = roots.clone();
        let (book, orders) = self
            .store
            .read(move |tx| Ok((policies::book(tx, &with)?, isolation::all(tx)?)))
            .await?;
        memory.book = book;
        memory.orders = orders.into_iter().collect();
        memory.read = Some(mark);
        memory.roots = roots;
        memory.offers_at.clear();
        memory.orders_at.clear();
        Ok(())
    }

    /// Says orders to those who do not report them.
    async fn order(&self, memory: &mut Memory, now: Timestamp) -> Result<(), StoreError> {
        let look = memory.orders_to_look_at(now);
        if look.is_empty() {
            return Ok(());
        }
        let said = self.store.read(move |tx| said_of(tx, look)).await?;
        for (gateway, said) in said {
            let Some(order) = memory.orders.get(&gateway).cloned() else {
                continue;
            };
            let heard = said.and_then(|said| said.state.isolation);
            let told = memory.told_orders.get(&gateway).copied();
            let in_line = heard.is_some_and(|heard| heard.order == order.order);
            if contain::due(&order, heard.as_ref(), told, now) && self.say(&gateway, &order) {
                memory.told_orders.insert(gateway.clone(), (order.order, now));
            }
            let again = now.plus_ms(if in_line { LATER_MS } else { SOON_MS });
            memory.orders_at.insert(gateway, again);
        }
        Ok(())
    }

    fn say(&self, gateway: &GatewayId, order: &IsolationOrder) -> bool {
        let bytes = match order.encode() {
            Ok(bytes) => bytes,
            Err(failed) => {
                error!("could not write an order: {failed}");
                return false;
            }
        };
        let topic = Topic::Isolation(gateway.clone());
        let sent = self.connections.send(gateway, topic, bytes) == Sent::Queued;
        if sent {
            metrics::counter!("homeward_isolation_orders_sent_total").increment(1);
            info!(
                gateway.id = %gateway, isolation.order = order.order,
                "{gateway} is told: {:?}", order.ordered
            );
        }
        sent
    }

    /// Sends policies to those who do not have what they shall have.
    async fn offer(&self, memory: &mut Memory, now: Timestamp) -> Result<(), StoreError> {
        let look = memory.offers_to_look_at(now);
        if look.is_empty() {
            return Ok(());
        }
        let rows = self.store.read(move |tx| rows_of(tx, look)).await?;
        let mut sent = 0;
        for (gateway, said, quarantine) in rows {
            let Some(wanted) = memory.book.wanted(&gateway, now) else {
                continue;
            };
            let held = !Sending::Policy.may_go(quarantine.as_ref());
            let present = Present {
                connected: true,
                held,
            };
            let how = progress(Some(&wanted), said.as_ref().map(|said| &said.state), present);
            let told = memory.told.get(&gateway).copied();
            let returned = said.and_then(|said| said.returned_heard);
            if due(how, &wanted, told, returned, (held, now)) {
                if sent >= AT_ONCE {
                    continue; // the next look takes it up
                }
                if self.send(&gateway, &memory.book, &wanted) {
                    sent += 1;
                    let mark = wanted.entry.mark;
                    memory.told.insert(gateway.clone(), Told { mark, at: now });
                }
            }
            let settled = matches!(how, Progress::Applied | Progress::Strict | Progress::Newer);
            let again = now.plus_ms(if settled { LATER_MS } else { SOON_MS });
            memory.offers_at.insert(gateway, again);
        }
        Ok(())
    }

    fn send(&self, gateway: &GatewayId, book: &Book, wanted: &super::book::Wanted<'_>) -> bool {
        let bytes = match book.offer(wanted.entry, gateway).encode() {
            Ok(bytes) => bytes,
            Err(failed) => {
                error!("could not write an offer: {failed}");
                return false;
            }
        };
        let topic = Topic::Policy(gateway.clone());
        let sent = self.connections.send(gateway, topic, bytes) == Sent::Queued;
        if sent {
            metrics::counter!("homeward_policies_sent_total").increment(1);
            let version = wanted.entry.mark.version;
            debug!(gateway.id = %gateway, policy.version = %version, "sent policy {version} to {gateway}");
        }
        sent
    }
}

/// What is remembered between looks.
#[derive(Default)]
struct Memory {
    read: Option<i64>,
    roots: Vec<PublicKey>,
    book: Book,
    orders: HashMap<GatewayId, IsolationOrder>,
    /// Since when each is connected.
    present: HashMap<GatewayId, Timestamp>,
    /// When each row is looked at again.
    offers_at: HashMap<GatewayId, Timestamp>,
    orders_at: HashMap<GatewayId, Timestamp>,
    /// What was said on this connection.
    told: HashMap<GatewayId, Told>,
    told_orders: HashMap<GatewayId, (u64, Timestamp)>,
}

impl Memory {
    /// Forgets what was said to those who left, or have another connection now.
    fn keep_present(&mut self, present: HashMap<GatewayId, Timestamp>) {
        let before = std::mem::replace(&mut self.present, present);
        let present = &self.present;
        let same = |gateway: &GatewayId| {
            present.contains_key(gateway) && present.get(gateway) == before.get(gateway)
        };
        self.offers_at.retain(|gateway, _| same(gateway));
        self.orders_at.retain(|gateway, _| same(gateway));
        self.told.retain(|gateway, _| same(gateway));
        self.told_orders.retain(|gateway, _| same(gateway));
    }

    fn orders_to_look_at(&self, now: Timestamp) -> Vec<GatewayId> {
        let there = self
            .orders
            .keys()
            .filter(|gateway| self.present.contains_key(*gateway));
        let due = there.filter(|gateway| is_due(self.orders_at.get(*gateway), now, LATER_MS));
        due.take(ROWS).cloned().collect()
    }

    /// Those who shall have something, and are due.
    fn offers_to_look_at(&mut self, now: Timestamp) -> Vec<GatewayId> {
        let mut look = Vec::new();
        for gateway in self.present.keys() {
            if look.len() >= ROWS {
                break;
            }
            if !is_due(self.offers_at.get(gateway), now, LATER_MS) {
                continue;
            }
            if self.book.wanted(gateway, now).is_some() {
                look.push(gateway.clone());
            } else {
                self.offers_at.insert(gateway.clone(), now.plus_ms(SOON_MS));
            }
        }
        look
    }
}

/// A clock that went back must not make anybody wait longer than usual.
fn is_due(at: Option<&Timestamp>, now: Timestamp, longest_ms: i64) -> bool {
    at.is_none_or(|at| at.ms <= now.ms || at.ms > now.plus_ms(longest_ms).ms)
}

type Said = Option<states::Said>;

fn said_of(tx: &mut dyn Tx, look: Vec<GatewayId>) -> Result<Vec<(GatewayId, Said)>, StoreError> {
    look.into_iter()
        .map(|gateway| {
            let said = states::get(tx, &gateway)?;
            Ok((gateway, said))
        })
        .collect()
}

type Row = (GatewayId, Said, Option<Quarantine>);

fn rows_of(tx: &mut dyn Tx, look: Vec<GatewayId>) -> Result<Vec<Row>, StoreError> {
    look.into_iter()
        .map(|gateway| {
            let said = states::get(tx, &gateway)?;
            let quarantine = attest::kept(tx, &gateway)?.known.quarantine;
            Ok((gateway, said, quarantine))
        })
        .collect()
}

#[cfg(test)]
mod tests;
