//! What the fake stack does with each call.

use std::collections::btree_map::Entry;

use homeward_protocol::bond::BleAddress;

use super::call::{Ask, Call};
use super::fault::Does;
use super::objects::{Place, device_path};
use super::say::{Body, CallId, Refusal, Say};
use super::world::{Known, World};

impl World {
    /// Takes a call. Its answer comes out of [`World::says`], now or later; a call that hangs gets none.
    pub fn call(&mut self, call: Call) {
        self.heard
            .push((call.client.clone(), call.path.clone(), call.method.clone()));
        match self.fault(&call) {
            None => self.obey(call),
            Some(Does::Hang) => {}
            Some(Does::Fail(refusal)) => self.answer(call.id, Err(refusal)),
            Some(Does::Late(after)) => self.said.push(Say::Later(call, after)),
            Some(Does::Vanish) => {
                let hit = self.addresses().into_iter();
                for address in hit.filter(|a| call.path.starts_with(&device_path(*a))) {
                    self.vanish(address);
                }
                self.obey(call);
            }
        }
    }

    /// The same for a call that was made to wait: nothing goes wrong any more.
    pub fn late(&mut self, call: Call) {
        self.obey(call);
    }

    fn fault(&mut self, call: &Call) -> Option<Does> {
        let hit = self
            .faults
            .iter_mut()
            .find(|f| f.left > 0 && f.method == call.method && call.path.contains(&f.path))?;
        if hit.left != u32::MAX {
            hit.left -= 1;
        }
        Some(hit.does.clone())
    }

    fn obey(&mut self, call: Call) {
        let Some(place) = self.place(&call.path) else {
            return self.answer(call.id, Err(Refusal::bus("UnknownObject")));
        };
        if let Some(told) = self.told(&call) {
            return self.answer(call.id, told);
        }
        match place {
            Place::Manager => self.manage(call),
            Place::Adapter => self.adapter(&call),
            Place::Device(address) => match call.ask {
                Ask::Connect => self.connect(call.id, address),
                Ask::Disconnect => self.disconnect(call.id, address),
                Ask::Pair => self.pair(call.id, &call.client, address),
                Ask::CancelPairing => self.cancel_pairing(call.id, address),
                _ => self.unknown(call.id),
            },
            Place::Value(address, service, value) => {
                let spot = (address, service, value);
                match call.ask {
                    Ask::Read => self.read(call.id, spot, call.now),
                    Ask::Write(value) => self.write(call.id, spot, &value),
                    Ask::StartNotify => self.subscribe(call.id, spot, &call.client),
                    Ask::StopNotify => self.unsubscribe(call.id, spot, &call.client),
                    _ => self.unknown(call.id),
                }
            }
            Place::Elsewhere => self.unknown(call.id),
        }
    }

    fn unknown(&mut self, call: CallId) {
        self.answer(call, Err(Refusal::bus("UnknownMethod")));
    }

    /// The answer to what any object can be asked.
    fn told(&self, call: &Call) -> Option<Result<Body, Refusal>> {
        Some(match &call.ask {
            Ask::Objects if call.path == "/" => Ok(Body::Objects(self.managed())),
            Ask::Introspect => Ok(Body::Text(self.introspection(&call.path))),
            Ask::Ping => Ok(Body::Empty),
            Ask::Get(interface, name) => {
                let found = self.properties(&call.path, interface);
                let value = found.and_then(|mut all| all.remove(name));
                value
                    .map(Body::Property)
                    .ok_or_else(|| Refusal::bus("UnknownProperty"))
            }
            Ask::GetAll(interface) => {
                let found = self.properties(&call.path, interface);
                found
                    .map(Body::Properties)
                    .ok_or_else(|| Refusal::bus("UnknownInterface"))
            }
            _ => return None,
        })
    }

    fn adapter(&mut self, call: &Call) {
        match &call.ask {
            Ask::Set(_, name, value) => self.set_adapter(call.id, name, value),
            Ask::Filter => self.answer(call.id, Ok(Body::Empty)),
            Ask::StartScan => self.scan(call.id, &call.client),
            Ask::StopScan => self.stop_scan(call.id, &call.client),
            Ask::Remove(path) => self.remove(call.id, path),
            _ => self.unknown(call.id),
        }
    }

    /// Pairing agents.
    fn manage(&mut self, call: Call) {
        let agents = &mut self.agents;
        let done = match call.ask {
            Ask::RegisterAgent(path) => {
                agents.all.insert(call.client, path);
                true
            }
            Ask::DefaultAgent => {
                let known = agents.all.contains_key(&call.client);
                agents.first = known.then_some(call.client);
                known
            }
            Ask::UnregisterAgent => {
                agents.first.take_if(|first| *first == call.client);
                agents.all.remove(&call.client).is_some()
            }
            _ => return self.unknown(call.id),
        };
        let none = Refusal::bluez("DoesNotExist", "Does Not Exist");
        self.answer(call.id, if done { Ok(Body::Empty) } else { Err(none) });
    }

    fn set_adapter(&mut self, call: CallId, name: &str, value: &zbus::OwnedVariant) {
        let on = value.try_clone().ok().and_then(|v| bool::try_from(v).ok());
        match (name, on) {
            ("Powered", Some(on)) => self.power(on),
            ("Pairable", Some(on)) => {
                self.adapter.pairable = on;
                self.changed_adapter(&["Pairable"]);
            }
            ("PairableTimeout", None) => {}
            _ => return self.answer(call, Err(Refusal::bus("InvalidArgs"))),
        }
        self.answer(call, Ok(Body::Empty));
    }

    fn scan(&mut self, call: CallId, client: &str) {
        if !self.adapter.powered {
            return self.answer(call, Err(Refusal::bluez("NotReady", "Resource Not Ready")));
        }
        let began = self.adapter.scanning.is_empty();
        if !self.adapter.scanning.insert(client.to_owned()) {
            let busy = Refusal::bluez("InProgress", "Operation already in progress");
            return self.answer(call, Err(busy));
        }
        self.answer(call, Ok(Body::Empty));
        if began {
            self.changed_adapter(&["Discovering"]);
            let near: Vec<_> = self.near.keys().copied().collect();
            for address in near {
                self.overhear(address);
            }
        }
    }

    /// A scan hears a sensor, if it advertises: it is within reach and not linked.
    pub(super) fn overhear(&mut self, address: BleAddress) {
        let linked = self.known.get(&address).is_some_and(|known| known.connected);
        let heard = self.near.get(&address).is_some_and(|near| near.reachable);
        if !heard || linked {
            return;
        }
        self.know(address);
        if let Some(known) = self.known.get_mut(&address) {
            known.rssi = Some(-50);
        }
        self.changed_device(address, &["RSSI"]);
    }

    /// Makes an object for a sensor, if it has none.
    pub(super) fn know(&mut self, address: BleAddress) {
        if let Entry::Vacant(place) = self.known.entry(address) {
            place.insert(Known::default());
            let path = device_path(address);
            let interfaces = self.added(&path);
            self.said.push(Say::Added(path, interfaces));
        }
    }

    fn stop_scan(&mut self, call: CallId, client: &str) {
        if !self.adapter.scanning.remove(client) {
            let none = Refusal::bluez("Failed", "No discovery started");
            return self.answer(call, Err(none));
        }
        if self.adapter.scanning.is_empty() {
            self.silence();
        }
        self.answer(call, Ok(Body::Empty));
    }

    /// Nobody scans any more: signal strengths are gone.
    pub(super) fn silence(&mut self) {
        for known in self.known.values_mut() {
            known.rssi = None;
        }
        self.changed_adapter(&["Discovering"]);
    }

    fn remove(&mut self, call: CallId, path: &str) {
        let found = self.addresses().into_iter().find(|a| device_path(*a) == path);
        let Some(address) = found else {
            let none = Refusal::bluez("DoesNotExist", "Does Not Exist");
            return self.answer(call, Err(none));
        };
        self.lose(address);
        self.said.push(Say::Key(address, None));
        self.vanish(address);
        self.answer(call, Ok(Body::Empty));
    }
}
