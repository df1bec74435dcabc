//! What the stack's object tree says: adapters, sensors, and what each sensor serves. Unknown things are left out.

use std::collections::HashMap;

use homeward_protocol::bond::BleAddress;
use uuid::Uuid;
use zbus::OwnedVariant;
use zbus::fdo::ManagedObjects;

use crate::link::ble::{AddressKind, Advert, At, StackState};

/// The last twelve octets of a 16-bit UUID written out. Source: Bluetooth Core, volume 3, part B, section 2.5.1.
const BASE: u128 = 0x0000_0000_0000_1000_8000_0080_5F9B_34FB;

/// An adapter of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Adapter {
    /// Its object, as `/org/bluez/hci0`.
    pub path: String,
    /// Its own address.
    pub address: BleAddress,
    /// Whether it is on.
    pub powered: bool,
    /// Whether everybody near can see it.
    pub discoverable: bool,
    /// Whether it takes new bonds.
    pub pairable: bool,
}

/// A sensor that the stack knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Device {
    /// Its object, as `/org/bluez/hci0/dev_C1_00_00_00_00_01`.
    pub path: String,
    /// Its address.
    pub address: BleAddress,
    /// What sort of address that is.
    pub kind: AddressKind,
    /// What it calls itself.
    pub name: Option<String>,
    /// Services that it told of, those with 16-bit numbers.
    pub services: Vec<u16>,
    /// The strength of its last signal, dBm; there only while a scan hears it.
    pub rssi: Option<i16>,
    /// Whether a key is kept for it.
    pub bonded: bool,
    /// Whether there is a link now.
    pub connected: bool,
    /// Whether its services were looked up over that link.
    pub resolved: bool,
    /// Whether the stack lets it do things without asking.
    pub trusted: bool,
}

impl Device {
    /// What a scan tells of it.
    pub fn advert(self) -> Advert {
        Advert {
            address: self.address,
            kind: self.kind,
            name: self.name,
            services: self.services,
            rssi: self.rssi,
        }
    }
}

/// The stack's object tree, read once.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Objects {
    /// Adapters, in the order of their paths.
    pub adapters: Vec<Adapter>,
    /// Sensors, in the order of their paths.
    pub devices: Vec<Device>,
    /// Characteristics with 16-bit numbers, by their object's path, in that order.
    characteristics: Vec<(String, At)>,
}

type Properties = HashMap<String, OwnedVariant>;

impl Objects {
    /// Reads what `GetManagedObjects` answered.
    pub fn read(tree: ManagedObjects) -> Objects {
        let mut services = HashMap::new();
        let mut values = Vec::new();
        let mut found = Objects::default();
        for (path, interfaces) in tree {
            let path = path.to_string();
            for (interface, properties) in interfaces {
                match interface.as_str() {
                    "org.bluez.Adapter1" => found.adapters.extend(adapter(&path, &properties)),
                    "org.bluez.Device1" => found.devices.extend(device(&path, &properties)),
                    "org.bluez.GattService1" => {
                        services.extend(short(&properties).map(|uuid| (path.clone(), uuid)));
                    }
                    "org.bluez.GattCharacteristic1" => {
                        values.extend(short(&properties).map(|uuid| (path.clone(), uuid)));
                    }
                    _ => {}
                }
            }
        }
        found.characteristics = values
            .into_iter()
            .filter_map(|(path, characteristic)| {
                let service = *services.get(path.rsplit_once('/')?.0)?;
                Some((
                    path,
                    At {
                        service,
                        characteristic,
                    },
                ))
            })
            .collect();
        found.adapters.sort_by(|a, b| a.path.cmp(&b.path));
        found.devices.sort_by(|a, b| a.path.cmp(&b.path));
        found.characteristics.sort();
        found
    }

    /// The adapter that is used: the first that is on, else the first.
    pub fn adapter(&self) -> Option<&Adapter> {
        self.adapters.iter().find(|a| a.powered).or(self.adapters.first())
    }

    /// What the stack can do.
    pub fn state(&self) -> StackState {
        match self.adapter() {
            None => StackState::NoAdapter,
            Some(adapter) if adapter.powered => StackState::Ready,
            Some(_) => StackState::AdapterOff,
        }
    }

    /// The sensor at `address`, on the adapter that is used.
    pub fn device(&self, address: BleAddress) -> Option<&Device> {
        let adapter = format!("{}/", self.adapter()?.path);
        self.devices
            .iter()
            .find(|d| d.address == address && d.path.starts_with(&adapter))
    }

    /// What the sensor with the object `device` serves: each characteristic's object and place, one that is there
    /// twice twice.
    pub fn served<'a>(&'a self, device: &str) -> impl Iterator<Item = &'a (String, At)> {
        let below = format!("{device}/");
        self.characteristics
            .iter()
            .filter(move |(path, _)| path.starts_with(&below))
    }
}

fn adapter(path: &str, properties: &Properties) -> Option<Adapter> {
    Some(Adapter {
        path: path.to_owned(),
        address: text(properties, "Address")?.parse().ok()?,
        powered: flag(properties, "Powered"),
        discoverable: flag(properties, "Discoverable"),
        pairable: flag(properties, "Pairable"),
    })
}

fn device(path: &str, properties: &Properties) -> Option<Device> {
    let address = text(properties, "Address")?.parse().ok()?;
    let random = text(properties, "AddressType")? == "random";
    let uuids: Vec<String> = get(properties, "UUIDs").unwrap_or_default();
    let mut services: Vec<u16> = uuids.iter().filter_map(|uuid| short_of(uuid)).collect();
    services.sort_unstable();
    services.dedup();
    Some(Device {
        path: path.to_owned(),
        address,
        kind: AddressKind::of(address, random),
        name: text(properties, "Name"),
        services,
        rssi: get(properties, "RSSI"),
        // Releases before 5.65 have no Bonded.
        bonded: get(properties, "Bonded").unwrap_or_else(|| flag(properties, "Paired")),
        connected: flag(properties, "Connected"),
        resolved: flag(properties, "ServicesResolved"),
        trusted: flag(properties, "Trusted"),
    })
}

fn get<T: TryFrom<OwnedVariant>>(properties: &Properties, name: &str) -> Option<T> {
    T::try_from(properties.get(name)?.clone()).ok()
}

fn text(properties: &Properties, name: &str) -> Option<String> {
    get(properties, name)
}

fn flag(properties: &Properties, name: &str) -> bool {
    get(properties, name).unwrap_or_default()
}

fn short(properties: &Properties) -> Option<u16> {
    short_of(&text(properties, "UUID")?)
}

fn short_of(uuid: &str) -> Option<u16> {
    short_uuid(Uuid::parse_str(uuid).ok()?)
}

/// The 16-bit number of a UUID of the Bluetooth SIG; `None` for everybody else's.
pub fn short_uuid(uuid: Uuid) -> Option<u16> {
    let number = uuid.as_u128();
    let place = u16::try_from(number >> 96).ok()?;
    (number == long_uuid(place).as_u128()).then_some(place)
}

/// A 16-bit number written out.
pub fn long_uuid(short: u16) -> Uuid {
    Uuid::from_u128((u128::from(short) << 96) | BASE)
}

#[cfg(test)]
mod tests {
    use zbus::{OwnedObjectPath, Variant};

    use super::*;

    fn object(tree: &mut ManagedObjects, path: &str, interface: &str, properties: &[(&str, Variant<'_>)]) {
        let properties = properties
            .iter()
            .map(|(name, value)| ((*name).to_owned(), value.try_to_owned().expect("a plain value")))
            .collect();
        let path = OwnedObjectPath::try_from(path).expect("a path");
        let name = zbus::names::OwnedInterfaceName::try_from(interface).expect("an interface");
        tree.entry(path).or_default().insert(name, properties);
    }

    fn tree() -> ManagedObjects {
        let mut tree = ManagedObjects::new();
        let hci = "/org/bluez/hci0";
        object(
            &mut tree,
            hci,
            "org.bluez.Adapter1",
            &[("Address", "A0:B1:C2:D3:E4:F5".into()), ("Powered", true.into())],
        );
        let device = "/org/bluez/hci0/dev_C1_00_00_00_00_04";
        object(
            &mut tree,
            device,
            "org.bluez.Device1",
            &[
                ("Address", "C1:00:00:00:00:04".into()),
                ("AddressType", "random".into()),
                ("Paired", true.into()),
                ("RSSI", (-50i16).into()),
                (
                    "UUIDs",
                    vec![
                        "00001822-0000-1000-8000-00805f9b34fb",
                        "0000180f-0000-1000-8000-00805f9b34fb",
                        "6e400001-b5a3-f393-e0a9-e50e24dcca9e",
                    ]
                    .into(),
                ),
            ],
        );
        for (service, uuid, value) in [
            ("service0010", "180f", "2a19"),
            ("service0020", "180f", "2a19"),
            ("service0030", "1822", "2a5f"),
        ] {
            let long = |short: &str| format!("0000{short}-0000-1000-8000-00805f9b34fb");
            let place = format!("{device}/{service}");
            object(
                &mut tree,
                &place,
                "org.bluez.GattService1",
                &[("UUID", long(uuid).into())],
            );
            let place = format!("{place}/char0001");
            object(
                &mut tree,
                &place,
                "org.bluez.GattCharacteristic1",
                &[("UUID", long(value).into())],
            );
        }
        tree
    }

    #[test]
    fn a_tree_is_read_into_adapters_sensors_and_what_they_serve() {
        let objects = Objects::read(tree());
        assert_eq!(objects.state(), StackState::Ready);
        let address = "C1:00:00:00:00:04".parse().expect("an address");
        let device = objects.device(address).expect("is there");
        assert_eq!(
            (device.kind, device.rssi, device.bonded, device.name.clone()),
            (AddressKind::Static, Some(-50), true, None)
        );
        assert_eq!(device.services, [0x180F, 0x1822]);
        let batteries = objects
            .served(&device.path)
            .filter(|(_, at)| at.characteristic == 0x2A19);
        assert_eq!(batteries.count(), 2, "equal ones are not merged");
    }

    #[test]
    fn what_lacks_its_address_is_left_out_and_no_adapter_is_said() {
        let mut tree = tree();
        let path = OwnedObjectPath::try_from("/org/bluez/hci0").expect("a path");
        tree.remove(&path);
        let mut nameless = tree.clone();
        for interfaces in nameless.values_mut() {
            for properties in interfaces.values_mut() {
                properties.remove("Address");
            }
        }
        assert_eq!(Objects::read(tree).state(), StackState::NoAdapter);
        assert!(Objects::read(nameless).devices.is_empty());
    }

    #[test]
    fn short_numbers_are_the_sigs_only() {
        assert_eq!(short_uuid(long_uuid(0x2A37)), Some(0x2A37));
        let other = Uuid::parse_str("00002a37-0000-1000-8000-00805f9b34fc").expect("a uuid");
        assert_eq!(short_uuid(other), None);
        let wide = Uuid::parse_str("00012a37-0000-1000-8000-00805f9b34fb").expect("a uuid");
        assert_eq!(short_uuid(wide), None);
    }
}
