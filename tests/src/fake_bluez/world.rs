//! What the fake stack knows, and how that changes. Pure: calls and events go in, what is to be said comes out.
//!
//! # Design
//! It follows `bluetoothd` 5.66 and 5.82 as our notes measured them: a device that was never bonded is forgotten,
//! subscriptions of a client outlive a lost link and not the client, a read is told as a value too.

use std::collections::{BTreeMap, BTreeSet};

use homeward_devices::link::ble::At;
use homeward_protocol::bond::{BleAddress, Bond};

use super::device::Sent;
use super::fault::Fault;
use super::objects::{ADAPTER, Properties, device_path};
use super::say::{Body, CallId, Refusal, Say};
use super::sensor::Sensor;

/// The adapter.
#[derive(Debug, Clone)]
pub struct Adapter {
    /// Its own address.
    pub address: BleAddress,
    /// Whether it is there at all.
    pub plugged: bool,
    /// Whether it is on.
    pub powered: bool,
    /// Whether it lets itself be paired.
    pub pairable: bool,
    /// Who scans.
    pub scanning: BTreeSet<String>,
}

/// A device that the stack has an object for.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// A key is kept for it.
    pub bond: Option<Bond>,
    /// There is a link.
    pub connected: bool,
    /// Its services were looked up in this link.
    pub resolved: bool,
    /// Its services are objects.
    pub explored: bool,
    /// It was heard in the scan that goes on.
    pub rssi: Option<i16>,
    /// Who subscribed what, by the characteristic's place in the sensor.
    pub subscribed: BTreeMap<(usize, usize), BTreeSet<String>>,
    /// A connection is tried for this call.
    pub connecting: Option<CallId>,
    /// A pairing goes on for this call.
    pub pairing: Option<CallId>,
    /// Counts its links.
    pub link: u32,
}

/// A sensor in the room.
#[derive(Debug, Clone)]
pub struct Near {
    /// What it is.
    pub sensor: Sensor,
    /// Whether it can be heard and reached.
    pub reachable: bool,
    /// Whether it holds its side of the bond.
    pub holds_bond: bool,
}

/// The pairing agents that clients registered: bus name to object.
#[derive(Debug, Clone, Default)]
pub struct Agents {
    /// All of them.
    pub all: BTreeMap<String, String>,
    /// Whose is asked for what nobody here began.
    pub first: Option<String>,
}

/// The stack and the room that it is in.
#[derive(Debug)]
pub struct World {
    /// The adapter.
    pub adapter: Adapter,
    /// Sensors in the room.
    pub near: BTreeMap<BleAddress, Near>,
    /// Sensors that the stack knows.
    pub known: BTreeMap<BleAddress, Known>,
    /// Pairing agents.
    pub agents: Agents,
    /// What goes wrong.
    pub faults: Vec<Fault>,
    /// Properties that are told otherwise than they are: object, interface, name, value; none hides it.
    pub lies: Vec<(String, &'static str, &'static str, Option<zbus::OwnedVariant>)>,
    /// Every call that came: client, object, method.
    pub heard: Vec<(String, String, String)>,
    /// Values are sent before the answer to their subscription.
    pub hasty: bool,
    /// A link comes without its services ever being resolved.
    pub unresolved: bool,
    /// To be said next.
    pub(super) said: Vec<Say>,
}

impl World {
    /// An adapter that is on, and nobody near.
    pub fn new() -> World {
        World {
            adapter: Adapter {
                address: BleAddress([0xA0, 0xB1, 0xC2, 0xD3, 0xE4, 0xF5]),
                plugged: true,
                powered: true,
                pairable: false,
                scanning: BTreeSet::new(),
            },
            near: BTreeMap::new(),
            known: BTreeMap::new(),
            agents: Agents::default(),
            faults: Vec::new(),
            lies: Vec::new(),
            heard: Vec::new(),
            hasty: false,
            unresolved: false,
            said: Vec::new(),
        }
    }

    /// What is to be said, in order; each thing once.
    pub fn says(&mut self) -> Vec<Say> {
        std::mem::take(&mut self.said)
    }

    /// Says something beside the truth.
    pub fn tell(&mut self, say: Say) {
        self.said.push(say);
    }

    /// Puts a sensor into the room, switched on; one that was there at that address is gone.
    pub fn bring(&mut self, sensor: Sensor) {
        let address = sensor.address;
        let near = Near {
            sensor,
            reachable: true,
            holds_bond: false,
        };
        self.near.insert(address, near);
        if !self.adapter.scanning.is_empty() {
            self.overhear(address);
        }
    }

    /// The sensor at `address`.
    ///
    /// # Panics
    /// When it was never brought.
    pub fn sensor(&mut self, address: BleAddress) -> &mut Near {
        self.near.get_mut(&address).expect("it was brought into the room")
    }

    /// Makes both sides hold a bond, as an earlier pairing left it.
    pub fn bonded(&mut self, address: BleAddress, bond: Bond) {
        self.sensor(address).holds_bond = true;
        self.know(address);
        if let Some(known) = self.known.get_mut(&address) {
            known.bond = Some(bond);
        }
        self.said.push(Say::Key(address, Some(bond)));
        self.changed_device(address, &["Paired", "Bonded"]);
    }

    /// The box's side of a bond is gone, and nobody of ours did it.
    pub fn unbond(&mut self, address: BleAddress) {
        if let Some(known) = self.known.get_mut(&address) {
            known.bond = None;
        }
        self.said.push(Say::Key(address, None));
        self.changed_device(address, &["Paired", "Bonded"]);
    }

    /// Takes a sensor away, or brings it back. Its link breaks; one that is being tried succeeds when it is back.
    pub fn reach(&mut self, address: BleAddress, reachable: bool) {
        self.sensor(address).reachable = reachable;
        if !reachable {
            self.lose(address);
        } else if let Some(call) = self.known.get_mut(&address).and_then(|k| k.connecting.take()) {
            self.link(address);
            self.answer(call, Ok(Body::Empty));
        }
    }

    /// The link to a sensor breaks.
    pub fn lose(&mut self, address: BleAddress) {
        let Some(known) = self.known.get_mut(&address).filter(|known| known.connected) else {
            return;
        };
        known.connected = false;
        known.resolved = false;
        self.changed_device(address, &["ServicesResolved", "Connected"]);
    }

    /// Switches the adapter, as an operator or a radio kill switch does.
    pub fn power(&mut self, on: bool) {
        if !on {
            for address in self.addresses() {
                self.lose(address);
            }
            self.adapter.scanning.clear();
        }
        self.adapter.powered = on;
        self.changed_adapter(&["Powered", "Discovering"]);
    }

    /// The stack forgets a sensor, as it does with one that was never bonded, half a minute after it was heard.
    pub fn vanish(&mut self, address: BleAddress) {
        let gone: Vec<(String, Vec<String>)> = self.below(address);
        self.known.remove(&address);
        for (path, interfaces) in gone.into_iter().rev() {
            self.said.push(Say::Removed(path, interfaces));
        }
    }

    /// The daemon dies. What it kept on the disk is there when it starts again: bonds, and what it knows of the bonded.
    pub fn die(&mut self) {
        self.known.retain(|_, known| known.bond.is_some());
        for known in self.known.values_mut() {
            *known = Known {
                bond: known.bond,
                explored: known.explored,
                link: known.link,
                ..Known::default()
            };
        }
        self.adapter.scanning.clear();
        self.adapter.pairable = false;
        self.agents = Agents::default();
        self.said.clear();
    }

    /// A client left the bus: what it wanted ends.
    pub fn client_left(&mut self, client: &str) {
        if self.adapter.scanning.remove(client) && self.adapter.scanning.is_empty() {
            self.silence();
        }
        for known in self.known.values_mut() {
            for clients in known.subscribed.values_mut() {
                clients.remove(client);
            }
            known.subscribed.retain(|_, clients| !clients.is_empty());
        }
        self.agents.all.remove(client);
        self.agents.first.take_if(|first| first == client);
    }

    /// A sensor sends a value: it goes to the bus when there is a link and somebody subscribed. False: it went nowhere.
    pub fn send(&mut self, address: BleAddress, at: At, value: Vec<u8>) -> bool {
        let spot = self.listened(address, at);
        if let Some((service, number)) = spot {
            self.tell_value(address, service, number, value);
        }
        spot.is_some()
    }

    /// Whether a sensor is linked and somebody listens there.
    pub fn is_heard(&self, address: BleAddress, at: At) -> bool {
        self.listened(address, at).is_some()
    }

    fn listened(&self, address: BleAddress, at: At) -> Option<(usize, usize)> {
        let near = self.near.get(&address)?;
        let (service, number, _) = near.sensor.places().find(|(.., here)| *here == at)?;
        let known = self.known.get(&address)?;
        let wanted = known.connected && known.subscribed.contains_key(&(service, number));
        wanted.then_some((service, number))
    }

    /// The same, for the values of [`Say::Send`]: not when the link of then is gone.
    pub fn send_within(&mut self, address: BleAddress, link: u32, sent: Sent) -> bool {
        if self.known.get(&address).is_none_or(|known| known.link != link) {
            return false;
        }
        if let Some(near) = self.near.get_mut(&address) {
            near.sensor.device.sent(sent.at);
        }
        self.send(address, sent.at, sent.value)
    }

    /// How often a method was called; of one object or, with an empty path, of any.
    pub fn calls(&self, path: &str, method: &str) -> usize {
        let all = self.heard.iter();
        all.filter(|(_, object, name)| name == method && object.contains(path))
            .count()
    }

    pub(super) fn addresses(&self) -> Vec<BleAddress> {
        self.known.keys().copied().collect()
    }

    pub(super) fn answer(&mut self, call: CallId, with: Result<Body, Refusal>) {
        self.said.push(Say::Answer(call, with));
    }

    pub(super) fn changed_adapter(&mut self, names: &[&str]) {
        let values = self.some_of(ADAPTER, "org.bluez.Adapter1", names);
        self.said
            .push(Say::Changed(ADAPTER.to_owned(), "org.bluez.Adapter1", values));
    }

    pub(super) fn changed_device(&mut self, address: BleAddress, names: &[&str]) {
        let path = device_path(address);
        let values = self.some_of(&path, "org.bluez.Device1", names);
        self.said.push(Say::Changed(path, "org.bluez.Device1", values));
    }

    fn some_of(&self, path: &str, interface: &str, names: &[&str]) -> Properties {
        let mut all = self.properties(path, interface).unwrap_or_default();
        all.retain(|name, _| names.contains(&name.as_str()));
        all
    }
}

impl Default for World {
    fn default() -> World {
        World::new()
    }
}
