//! Who is connected now, and the way to reach them.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use futures_util::task::AtomicWaker;
use homeward_protocol::ack::Ack;
use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::topic::Topic;

use super::Why;
use super::mailbox::{Mailbox, NoPlace};

/// A message on its way to a gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Down {
    /// Where to: acknowledgements, challenges and judgements go at `QoS` 1, everything else at `QoS` 0.
    pub topic: Topic,
    /// What.
    pub payload: Vec<u8>,
}

/// What became of a message to a gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sent {
    /// It waits to be written.
    Queued,
    /// The gateway does not take what is sent to it: this message was dropped.
    Full,
    /// The gateway is not connected.
    Absent,
}

/// One connected gateway.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// Who.
    pub gateway: GatewayId,
    /// From where: address and port.
    pub address: String,
    /// Since when.
    pub since: Timestamp,
    /// Whether by its spare key.
    pub spare: bool,
}

/// The connected gateways. A cheap handle: clones see the same map.
#[derive(Debug, Clone)]
pub struct Connections(Arc<Map>);

#[derive(Debug)]
struct Map {
    limit: usize,
    numbers: AtomicU64,
    entries: Mutex<HashMap<GatewayId, Entry>>,
}

#[derive(Debug)]
struct Entry {
    number: u64,
    line: Arc<Line>,
    address: String,
    since: Timestamp,
    spare: bool,
}

impl Connections {
    /// Nobody yet, and at most `limit` gateways at a time.
    pub fn new(limit: usize) -> Connections {
        Connections(Arc::new(Map {
            limit,
            numbers: AtomicU64::new(1),
            entries: Mutex::default(),
        }))
    }

    /// Sends a message to one gateway, without waiting.
    pub fn send(&self, gateway: &GatewayId, topic: Topic, payload: Vec<u8>) -> Sent {
        let line = self.entries().get(gateway).map(|entry| Arc::clone(&entry.line));
        line.map_or(Sent::Absent, |line| {
            line.put(|mail| mail.put(Down { topic, payload }))
        })
    }

    /// Sends an acknowledgement to one gateway, without waiting; `payload` is `ack` written out. It takes the place of
    /// one of the same lane that still waits.
    pub fn acknowledge(&self, gateway: &GatewayId, ack: Ack, payload: Vec<u8>) -> Sent {
        let line = self.entries().get(gateway).map(|entry| Arc::clone(&entry.line));
        let topic = Topic::Ack(gateway.clone());
        line.map_or(Sent::Absent, |line| {
            line.put(|mail| {
                mail.put_ack(ack, Down { topic, payload });
                Ok(())
            })
        })
    }

    /// Sends a message to every connected gateway; says how many took it.
    pub fn send_all(&self, topic: &Topic, payload: &[u8]) -> usize {
        let lines: Vec<_> = self
            .entries()
            .values()
            .map(|entry| Arc::clone(&entry.line))
            .collect();
        let put = |line: &Arc<Line>| {
            let down = Down {
                topic: topic.clone(),
                payload: payload.to_vec(),
            };
            line.put(|mail| mail.put(down)) == Sent::Queued
        };
        lines.iter().filter(|line| put(line)).count()
    }

    /// Cuts a gateway off at once; says whether it was connected. It may come back, unless it is revoked.
    pub fn kick(&self, gateway: &GatewayId) -> bool {
        let line = self.entries().get(gateway).map(|entry| Arc::clone(&entry.line));
        line.is_some_and(|line| line.end(Why::Kicked))
    }

    /// Ends every connection, because the server stops.
    pub fn end_all(&self) {
        for entry in self.entries().values() {
            entry.line.end(Why::Stopping);
        }
    }

    /// Whether a gateway is connected.
    pub fn contains(&self, gateway: &GatewayId) -> bool {
        self.entries().contains_key(gateway)
    }

    /// Which of all connections is a gateway's now: no two have the same number.
    pub fn number(&self, gateway: &GatewayId) -> Option<u64> {
        self.entries().get(gateway).map(|entry| entry.number)
    }

    /// The connected gateways, in no order.
    pub fn list(&self) -> Vec<Connection> {
        let connection = |(gateway, entry): (&GatewayId, &Entry)| Connection {
            gateway: gateway.clone(),
            address: entry.address.clone(),
            since: entry.since,
            spare: entry.spare,
        };
        self.entries().iter().map(connection).collect()
    }

    /// How many gateways are connected.
    pub fn count(&self) -> usize {
        self.entries().len()
    }

    /// Registers a connection, by the gateway's own key or its spare one. The newest one of a gateway wins: an older one is
    /// told to end; but a spare one never takes the place of its own.
    ///
    /// Fails with [`Why::Full`] or [`Why::Outranked`].
    pub fn enter(
        &self,
        gateway: &GatewayId,
        spare: bool,
        address: &str,
        since: Timestamp,
    ) -> Result<Place, Why> {
        let mut entries = self.entries();
        if spare && entries.get(gateway).is_some_and(|entry| !entry.spare) {
            return Err(Why::Outranked);
        }
        if entries.len() >= self.0.limit && !entries.contains_key(gateway) {
            return Err(Why::Full);
        }
        let number = self.0.numbers.fetch_add(1, Ordering::Relaxed);
        let line = Arc::new(Line::default());
        let entry = Entry {
            number,
            line: Arc::clone(&line),
            address: address.to_owned(),
            since,
            spare,
        };
        if let Some(older) = entries.insert(gateway.clone(), entry) {
            older.line.end(Why::Replaced);
        }
        drop(entries);
        Ok(Place {
            connections: self.clone(),
            gateway: gateway.clone(),
            number,
            line,
        })
    }

    fn entries(&self) -> MutexGuard<'_, HashMap<GatewayId, Entry>> {
        self.0.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place among the connected; dropping it leaves, and touches no newer connection's place.
#[derive(Debug)]
pub struct Place {
    connections: Connections,
    gateway: GatewayId,
    number: u64,
    line: Arc<Line>,
}

impl Place {
    /// Takes the oldest message that waits, or notes who to wake when one comes.
    ///
    /// One task may wait on a place: the last waker given is the one that is woken, also when the connection has
    /// to end.
    pub fn poll_mail(&self, cx: &Context<'_>) -> Poll<Down> {
        self.line.waker.register(cx.waker());
        self.line.state().mail.take().map_or(Poll::Pending, Poll::Ready)
    }

    /// Why this connection has to end, once it has to; otherwise notes who to wake.
    pub fn poll_ended(&self, cx: &Context<'_>) -> Poll<Why> {
        self.line.waker.register(cx.waker());
        self.line.state().ended.map_or(Poll::Pending, Poll::Ready)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut entries = self.connections.entries();
        if entries
            .get(&self.gateway)
            .is_some_and(|entry| entry.number == self.number)
        {
            entries.remove(&self.gateway);
        }
    }
}

#[derive(Debug, Default)]
struct Line {
    state: Mutex<LineState>,
    waker: AtomicWaker,
}

#[derive(Debug, Default)]
struct LineState {
    mail: Mailbox,
    ended: Option<Why>,
}

impl Line {
    fn put(&self, letter: impl FnOnce(&mut Mailbox) -> Result<(), NoPlace>) -> Sent {
        let mut state = self.state();
        if state.ended.is_some() {
            return Sent::Absent;
        }
        if letter(&mut state.mail).is_err() {
            return Sent::Full;
        }
        drop(state);
        self.waker.wake();
        Sent::Queued
    }

    fn end(&self, why: Why) -> bool {
        let first = self.state().ended.replace(why).is_none();
        self.waker.wake();
        first
    }

    fn state(&self) -> MutexGuard<'_, LineState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::gate::mailbox::MAILBOX;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn gateway(name: &str) -> GatewayId {
        name.parse().expect("an id")
    }

    fn ended(place: &Place) -> Option<Why> {
        match place.poll_ended(&Context::from_waker(Waker::noop())) {
            Poll::Ready(why) => Some(why),
            Poll::Pending => None,
        }
    }

    fn mail(place: &Place) -> Option<Down> {
        match place.poll_mail(&Context::from_waker(Waker::noop())) {
            Poll::Ready(down) => Some(down),
            Poll::Pending => None,
        }
    }

    #[test]
    fn the_newest_connection_wins_and_an_older_one_leaves_it_alone() {
        let connections = Connections::new(1);
        let gw = gateway("gw-1");
        let older = connections.enter(&gw, false, "a:1", NOW).expect("room");
        let newer = connections.enter(&gw, false, "a:2", NOW).expect("its own place");
        assert_eq!((ended(&older), ended(&newer)), (Some(Why::Replaced), None));
        drop(older);
        assert_eq!(connections.list()[0].address, "a:2");
        drop(newer);
        assert_eq!(connections.count(), 0);
    }

    #[test]
    fn a_full_house_has_room_again_when_one_leaves() {
        let connections = Connections::new(1);
        let first = connections
            .enter(&gateway("gw-1"), false, "a:1", NOW)
            .expect("room");
        assert_eq!(
            connections.enter(&gateway("gw-2"), false, "a:2", NOW).err(),
            Some(Why::Full)
        );
        drop(first);
        assert!(connections.enter(&gateway("gw-2"), false, "a:2", NOW).is_ok());
    }

    #[test]
    fn a_full_mailbox_drops_the_message_and_says_so() {
        let connections = Connections::new(1);
        let gw = gateway("gw-1");
        assert_eq!(
            connections.send(&gw, Topic::Hint(gw.clone()), vec![]),
            Sent::Absent
        );
        let place = connections.enter(&gw, false, "a:1", NOW).expect("room");
        for n in 0..MAILBOX {
            let n = u8::try_from(n).expect("small");
            assert_eq!(
                connections.send(&gw, Topic::Hint(gw.clone()), vec![n]),
                Sent::Queued
            );
        }
        assert_eq!(
            connections.send(&gw, Topic::Hint(gw.clone()), vec![99]),
            Sent::Full
        );
        assert_eq!(mail(&place).expect("the oldest").payload, [0]);
        assert_eq!(connections.send_all(&Topic::FleetNotice, b"policy"), 1);
    }

    #[test]
    fn a_spare_key_never_takes_the_place_of_the_gateway_s_own() {
        let connections = Connections::new(2);
        let gw = gateway("gw-1");
        let spare = connections.enter(&gw, true, "a:1", NOW).expect("room");
        let own = connections.enter(&gw, false, "a:2", NOW).expect("its own place");
        assert_eq!(ended(&spare), Some(Why::Replaced));
        let again = connections.enter(&gw, true, "a:3", NOW);
        assert_eq!(again.err(), Some(Why::Outranked));
        assert_eq!(ended(&own), None);
        assert!(!connections.list()[0].spare);
        drop(own);
        let back = connections.enter(&gw, true, "a:3", NOW).expect("it is gone");
        assert!(connections.list()[0].spare);
        drop(back);
    }

    #[test]
    fn a_kick_is_seen_at_once_and_nothing_more_is_sent() {
        let connections = Connections::new(2);
        let gw = gateway("gw-1");
        let place = connections.enter(&gw, false, "a:1", NOW).expect("room");
        assert!(connections.kick(&gw));
        assert!(!connections.kick(&gateway("gw-2")));
        assert_eq!(ended(&place), Some(Why::Kicked));
        assert_eq!(
            connections.send(&gw, Topic::Hint(gw.clone()), vec![]),
            Sent::Absent
        );
    }
}
