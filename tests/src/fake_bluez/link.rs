//! Links, and the values that go over them.

use homeward_devices::link::ble::At;
use homeward_protocol::bond::BleAddress;
use homeward_protocol::time::Timestamp;

use super::device::Sent;
use super::objects::{owned, value_path};
use super::say::{Body, CallId, Refusal, Say};
use super::world::World;

/// A characteristic: whose, in which of its services, which of that one's values.
type Spot = (BleAddress, usize, usize);

impl World {
    pub(super) fn connect(&mut self, call: CallId, address: BleAddress) {
        if !self.adapter.powered {
            return self.answer(call, Err(Refusal::bluez("NotReady", "Resource Not Ready")));
        }
        let near = self.near.get(&address);
        let reachable = near.is_some_and(|near| near.reachable);
        let holds_bond = near.is_some_and(|near| near.holds_bond);
        let Some(known) = self.known.get_mut(&address) else {
            return self.answer(call, Err(Refusal::bus("UnknownObject")));
        };
        if known.connecting.is_some() {
            return self.answer(call, Err(Refusal::bluez("InProgress", "In Progress")));
        }
        if known.connected {
            return self.answer(call, Ok(Body::Empty));
        }
        if !reachable {
            known.connecting = Some(call);
            return;
        }
        // The link comes up, encryption with our key fails, and the stack ends it.
        if known.bond.is_some() && !holds_bond {
            let refused = Refusal::bluez("Failed", "le-connection-abort-by-local");
            return self.answer(call, Err(refused));
        }
        self.link(address);
        self.answer(call, Ok(Body::Empty));
    }

    /// There is a link, and its services are looked up. The stack subscribes again what was subscribed before.
    pub(super) fn link(&mut self, address: BleAddress) {
        let unresolved = self.unresolved;
        let Some(known) = self.known.get_mut(&address) else {
            return;
        };
        known.connected = true;
        known.link += 1;
        known.rssi = None;
        if let Some(near) = self.near.get_mut(&address) {
            near.sensor.device.linked();
        }
        let again: Vec<(usize, usize)> = known.subscribed.keys().copied().collect();
        self.changed_device(address, &["Connected"]);
        if unresolved {
            return;
        }
        self.explore(address);
        for (service, value) in again {
            self.stir((address, service, value));
        }
    }

    /// The services of a linked sensor are looked up, where that was held up by [`World::unresolved`].
    pub fn resolve(&mut self, address: BleAddress) {
        self.explore(address);
    }

    fn explore(&mut self, address: BleAddress) {
        let before = self.below(address).len();
        if let Some(known) = self.known.get_mut(&address) {
            known.explored = true;
            known.resolved = true;
        }
        let all = self.below(address);
        for (path, _) in all.into_iter().skip(before) {
            let interfaces = self.added(&path);
            self.said.push(Say::Added(path, interfaces));
        }
        self.changed_device(address, &["ServicesResolved"]);
    }

    pub(super) fn disconnect(&mut self, call: CallId, address: BleAddress) {
        let tried = self.known.get_mut(&address).and_then(|k| k.connecting.take());
        let connected = self.known.get(&address).is_some_and(|known| known.connected);
        if let Some(tried) = tried {
            let broken = Refusal::bluez("Failed", "le-connection-abort-by-local");
            self.answer(tried, Err(broken));
        } else if !connected {
            let none = Refusal::bluez("NotConnected", "Not Connected");
            return self.answer(call, Err(none));
        }
        self.lose(address);
        self.answer(call, Ok(Body::Empty));
    }

    /// The place of a spot, when there is a link over which it may be used; else why not.
    fn usable(&self, spot: Spot, flag: &[&str]) -> Result<At, Refusal> {
        let (address, s, v) = spot;
        let known = self.known.get(&address).filter(|known| known.connected);
        let Some((known, near)) = known.zip(self.near.get(&address)) else {
            return Err(Refusal::bluez("Failed", "Not connected"));
        };
        let service = near.sensor.services.get(s);
        let value = service.and_then(|service| service.values.get(v));
        let Some((service, value)) = service.zip(value) else {
            return Err(Refusal::bus("UnknownObject"));
        };
        if !flag.iter().any(|flag| value.flags.contains(flag)) {
            return Err(Refusal::bluez("NotSupported", "Operation is not supported"));
        }
        if value.guarded && known.bond.is_none() {
            return Err(Refusal::bluez("NotPermitted", "Not paired"));
        }
        Ok(At {
            service: service.number,
            characteristic: value.number,
        })
    }

    pub(super) fn read(&mut self, call: CallId, spot: Spot, now: Timestamp) {
        let at = match self.usable(spot, &["read"]) {
            Ok(at) => at,
            Err(refusal) => return self.answer(call, Err(refusal)),
        };
        let (address, s, v) = spot;
        let value = self.near.get(&address).map_or(Vec::new(), |near| {
            let stands = || {
                near.sensor
                    .services
                    .get(s)
                    .and_then(|service| service.values.get(v))
                    .map_or(Vec::new(), |value| value.value.clone())
            };
            near.sensor.device.read(at, now).unwrap_or_else(stands)
        });
        // The stack tells everybody of a value that one of them read.
        self.tell_value(address, s, v, value.clone());
        self.answer(call, Ok(Body::Octets(value)));
    }

    pub(super) fn write(&mut self, call: CallId, spot: Spot, value: &[u8]) {
        let at = match self.usable(spot, &["write"]) {
            Ok(at) => at,
            Err(refusal) => return self.answer(call, Err(refusal)),
        };
        let Some(near) = self.near.get_mut(&spot.0) else {
            return;
        };
        match near.sensor.device.written(at, value) {
            Ok(sent) => {
                self.answer(call, Ok(Body::Empty));
                self.sends(spot.0, sent);
            }
            Err(error) => {
                let text = format!("Operation failed with ATT error: 0x{:02x}", error.0);
                self.answer(call, Err(Refusal::bluez("Failed", &text)));
            }
        }
    }

    pub(super) fn subscribe(&mut self, call: CallId, spot: Spot, client: &str) {
        if let Err(refusal) = self.usable(spot, &["notify", "indicate"]) {
            return self.answer(call, Err(refusal));
        }
        let (address, s, v) = spot;
        let Some(known) = self.known.get_mut(&address) else {
            return;
        };
        let clients = known.subscribed.entry((s, v)).or_default();
        let first = clients.is_empty();
        if !clients.insert(client.to_owned()) {
            return self.answer(call, Err(Refusal::bluez("InProgress", "In Progress")));
        }
        if self.hasty && first {
            self.stir(spot);
            self.answer(call, Ok(Body::Empty));
        } else {
            self.answer(call, Ok(Body::Empty));
            if first {
                self.stir(spot);
            }
        }
    }

    pub(super) fn unsubscribe(&mut self, call: CallId, spot: Spot, client: &str) {
        let (address, s, v) = spot;
        let clients = self
            .known
            .get_mut(&address)
            .and_then(|known| known.subscribed.get_mut(&(s, v)));
        let had = clients.is_some_and(|clients| clients.remove(client));
        if let Some(known) = self.known.get_mut(&address) {
            known.subscribed.retain(|_, clients| !clients.is_empty());
        }
        let none = Refusal::bluez("Failed", "No notify session started");
        self.answer(call, if had { Ok(Body::Empty) } else { Err(none) });
    }

    /// The sensor hears that somebody subscribed.
    fn stir(&mut self, spot: Spot) {
        let Ok(at) = self.usable(spot, &["notify", "indicate"]) else {
            return;
        };
        if let Some(near) = self.near.get_mut(&spot.0) {
            let sent = near.sensor.device.subscribed(at);
            self.sends(spot.0, sent);
        }
    }

    /// Values without a pause go out now; those with one are left to the shell.
    fn sends(&mut self, address: BleAddress, sent: Vec<Sent>) {
        let link = self.known.get(&address).map_or(0, |known| known.link);
        if sent.iter().any(|one| !one.after.is_zero()) {
            self.said.push(Say::Send(address, link, sent));
            return;
        }
        for one in sent {
            self.send_within(address, link, one);
        }
    }

    pub(super) fn tell_value(&mut self, address: BleAddress, s: usize, v: usize, value: Vec<u8>) {
        let told = [("Value".to_owned(), owned(value))].into();
        let path = value_path(address, s, v);
        self.said
            .push(Say::Changed(path, "org.bluez.GattCharacteristic1", told));
    }
}
