//! The object tree of the fake stack: paths, properties, and the XML that tells what is below an object.

use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;

use homeward_devices::bluez::objects::long_uuid;
use homeward_protocol::bond::BleAddress;
use zbus::fdo::ManagedObjects;
use zbus::names::OwnedInterfaceName;
use zbus::{ObjectPath, OwnedObjectPath, OwnedVariant, Variant};

use super::world::World;

/// Properties by name.
pub type Properties = HashMap<String, OwnedVariant>;
type Interfaces = BTreeMap<&'static str, Properties>;

/// The adapter's object.
pub const ADAPTER: &str = "/org/bluez/hci0";

/// Where an object stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/org/bluez`.
    Manager,
    /// The adapter.
    Adapter,
    /// A sensor.
    Device(BleAddress),
    /// One of its values: number of the service, number of the value in it.
    Value(BleAddress, usize, usize),
    /// Anywhere else in the tree: above it, or a service.
    Elsewhere,
}

/// A sensor's object.
pub fn device_path(address: BleAddress) -> String {
    format!("{ADAPTER}/dev_{}", address.to_string().replace(':', "_"))
}

fn service_path(address: BleAddress, service: usize) -> String {
    format!("{}/service{:04x}", device_path(address), (service + 1) * 16)
}

/// A characteristic's object.
pub fn value_path(address: BleAddress, service: usize, value: usize) -> String {
    let place = (service + 1) * 16 + value + 1;
    format!("{}/char{place:04x}", service_path(address, service))
}

/// A value as the bus carries it.
///
/// # Panics
/// Never: only values without file descriptors are given to it.
pub fn owned<'a>(value: impl Into<Variant<'a>>) -> OwnedVariant {
    value.into().try_to_owned().expect("no file descriptor")
}

fn object(path: String) -> OwnedVariant {
    let path = ObjectPath::try_from(path).expect("made of such parts");
    owned(path)
}

fn properties<const N: usize>(all: [(&str, OwnedVariant); N]) -> Properties {
    all.into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}

impl World {
    /// Every object with its interfaces, in the order of the paths.
    fn objects(&self) -> BTreeMap<String, Interfaces> {
        let mut all = BTreeMap::new();
        all.insert(
            "/org/bluez".to_owned(),
            Interfaces::from([("org.bluez.AgentManager1", Properties::new())]),
        );
        if !self.adapter.plugged {
            return all;
        }
        all.insert(
            ADAPTER.to_owned(),
            Interfaces::from([("org.bluez.Adapter1", self.adapter_properties())]),
        );
        for address in self.known.keys().copied() {
            let device = self.device_properties(address);
            all.insert(
                device_path(address),
                Interfaces::from([("org.bluez.Device1", device)]),
            );
            self.explored(address, &mut all);
        }
        for (path, interface, name, value) in &self.lies {
            let there = all.get_mut(path).and_then(|o| o.get_mut(interface));
            let Some(properties) = there else { continue };
            match value.as_ref().and_then(|v| v.try_clone().ok()) {
                Some(value) => drop(properties.insert((*name).to_owned(), value)),
                None => drop(properties.remove(*name)),
            }
        }
        all
    }

    fn adapter_properties(&self) -> Properties {
        let adapter = &self.adapter;
        properties([
            ("Address", owned(adapter.address.to_string())),
            ("AddressType", owned("public")),
            ("Name", owned("a box")),
            ("Alias", owned("a box")),
            ("Modalias", owned("usb:v1D6Bp0246d0542")),
            ("Powered", owned(adapter.powered)),
            ("Pairable", owned(adapter.pairable)),
            ("PairableTimeout", owned(0_u32)),
            ("Discovering", owned(!adapter.scanning.is_empty())),
        ])
    }

    fn device_properties(&self, address: BleAddress) -> Properties {
        let known = self.known.get(&address).cloned().unwrap_or_default();
        let near = self.near.get(&address);
        let name = near.map_or(String::new(), |near| near.sensor.name.clone());
        let random = near.is_some_and(|near| near.sensor.random);
        let uuids = near.map(|near| near.sensor.advertised()).unwrap_or_default();
        let mut all = properties([
            ("Address", owned(address.to_string())),
            ("AddressType", owned(if random { "random" } else { "public" })),
            ("Name", owned(name.clone())),
            ("Alias", owned(name)),
            ("Adapter", object(ADAPTER.to_owned())),
            ("Paired", owned(known.bond.is_some())),
            ("Bonded", owned(known.bond.is_some())),
            ("Trusted", owned(false)),
            ("Blocked", owned(false)),
            ("LegacyPairing", owned(false)),
            ("Connected", owned(known.connected)),
            ("ServicesResolved", owned(known.resolved)),
            ("UUIDs", owned(uuids)),
        ]);
        if let Some(rssi) = known.rssi {
            all.insert("RSSI".to_owned(), owned(rssi));
        }
        all
    }

    fn explored(&self, address: BleAddress, all: &mut BTreeMap<String, Interfaces>) {
        let explored = self.known.get(&address).is_some_and(|known| known.explored);
        let Some(near) = self.near.get(&address).filter(|_| explored) else {
            return;
        };
        for (s, service) in near.sensor.services.iter().enumerate() {
            let path = service_path(address, s);
            for (v, value) in service.values.iter().enumerate() {
                let flags: Vec<String> = value.flags.iter().map(|flag| (*flag).to_owned()).collect();
                let known = self.known.get(&address);
                let notifying = known.is_some_and(|k| k.connected && k.subscribed.contains_key(&(s, v)));
                let told = properties([
                    ("UUID", owned(long_uuid(value.number).to_string())),
                    ("Service", object(path.clone())),
                    ("Flags", owned(flags)),
                    ("Notifying", owned(notifying)),
                    ("MTU", owned(247_u16)),
                ]);
                all.insert(
                    value_path(address, s, v),
                    Interfaces::from([("org.bluez.GattCharacteristic1", told)]),
                );
            }
            let told = properties([
                ("UUID", owned(long_uuid(service.number).to_string())),
                ("Primary", owned(true)),
                ("Device", object(device_path(address))),
            ]);
            all.insert(path, Interfaces::from([("org.bluez.GattService1", told)]));
        }
    }

    /// What stands at `path`; none when nothing does.
    pub(super) fn place(&self, path: &str) -> Option<Place> {
        let there = self.objects();
        if path == "/org/bluez" {
            return Some(Place::Manager);
        }
        if !there.contains_key(path) {
            let above = format!("{}/", path.trim_end_matches('/'));
            let any = there.keys().any(|other| other.starts_with(&above));
            return any.then_some(Place::Elsewhere);
        }
        if path == ADAPTER {
            return Some(Place::Adapter);
        }
        for address in self.known.keys() {
            if path == device_path(*address) {
                return Some(Place::Device(*address));
            }
            let Some(near) = self.near.get(address) else {
                continue;
            };
            let value = near
                .sensor
                .places()
                .find(|(s, v, _)| path == value_path(*address, *s, *v));
            if let Some((s, v, _)) = value {
                return Some(Place::Value(*address, s, v));
            }
        }
        Some(Place::Elsewhere)
    }

    /// The properties of one interface of an object.
    pub(super) fn properties(&self, path: &str, interface: &str) -> Option<Properties> {
        self.objects().get_mut(path)?.remove(interface)
    }

    /// The objects of a sensor with the names of their interfaces, in the order of their paths.
    pub(super) fn below(&self, address: BleAddress) -> Vec<(String, Vec<String>)> {
        let device = device_path(address);
        let all = self.objects().into_iter();
        all.filter(|(path, _)| path.starts_with(&device))
            .map(|(path, interfaces)| (path, interfaces.into_keys().map(str::to_owned).collect()))
            .collect()
    }

    /// The tree as `GetManagedObjects` gives it.
    pub(super) fn managed(&self) -> ManagedObjects {
        let all = self.objects().into_iter();
        all.map(|(path, interfaces)| {
            let path = OwnedObjectPath::try_from(path).expect("made of such parts");
            let named = interfaces.into_iter().map(|(name, properties)| {
                let name = OwnedInterfaceName::try_from(name).expect("a constant");
                (name, properties)
            });
            (path, named.collect())
        })
        .collect()
    }

    /// One object as `InterfacesAdded` tells it.
    pub(super) fn added(&self, path: &str) -> HashMap<String, Properties> {
        let found = self.objects().remove(path).unwrap_or_default();
        found
            .into_iter()
            .map(|(name, properties)| (name.to_owned(), properties))
            .collect()
    }

    /// What is at `path` and right below it.
    pub(super) fn introspection(&self, path: &str) -> String {
        let all = self.objects();
        let above = format!("{}/", path.trim_end_matches('/'));
        let mut below: Vec<&str> = all
            .keys()
            .filter_map(|other| other.strip_prefix(&above)?.split('/').next())
            .collect();
        below.dedup();
        let mut xml = String::from("<node>\n");
        // Writing to a String cannot fail.
        for interface in all.get(path).into_iter().flat_map(BTreeMap::keys) {
            let _ = writeln!(xml, "  <interface name=\"{interface}\"></interface>");
        }
        for name in below {
            let _ = writeln!(xml, "  <node name=\"{name}\"/>");
        }
        xml + "</node>\n"
    }
}
