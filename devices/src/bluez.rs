//! Shell: the box's Bluetooth, by `BlueZ` on the system bus.
//!
//! # Design
//! Reading, writing and subscribing go through btleplug. What it cannot do or gets wrong is asked directly over the bus:
//! scanning (btleplug switches the adapter on by itself, and floods itself with signal strengths), connecting and the
//! values that come ([`gatt`]: the end of one link silenced another), whether a thing is there twice,
//! bonds and pairing ([`pair`]), and the life of the stack ([`watch`]; btleplug never notices that it died). How a
//! key came about is learnt by [`keys`]. Limits for calls that wait for a sensor are longer than the 30 s inside the
//! stack: a call that is given up earlier goes on in there and spoils the next.
#![expect(clippy::disallowed_methods, reason = "shell: talks to the system bus")]

pub mod bus;
pub mod fault;
pub mod gatt;
pub mod key_file;
pub mod keys;
pub mod objects;
pub mod pair;
pub mod watch;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex as Lock, PoisonError};
use std::time::Duration;

use btleplug::api::{Central as _, Manager as _, Peripheral as _};
use btleplug::platform::{Manager, Peripheral as Handle};
use homeward_protocol::bond::BleAddress;
use tokio::sync::{Mutex, watch as channel};
use tokio::time::{sleep, timeout};
use zbus::Variant;

use crate::bluez::bus::{Bus, Fault, SHORT};
use crate::bluez::fault::Doing;
use crate::bluez::gatt::{Link, btleplug_means};
use crate::bluez::key_file::{Answer, Question};
use crate::bluez::keys::Keys;
use crate::bluez::objects::{Device, long_uuid};
use crate::bluez::watch::Watch;
use crate::link::ble::{Advert, At, BleError, BondState, Central, Stack, StackState};

/// For calls that wait for a sensor: more than the stack's own 30 s.
pub const LONG: Duration = Duration::from_secs(35);

/// How long a link that was ended may still be in the way of the next.
const SETTLE: Duration = Duration::from_secs(2);

/// The box's Bluetooth. Cheap to copy; all copies are one.
#[derive(Clone)]
pub struct Bluez {
    inner: Arc<Inner>,
}

struct Inner {
    keys: Keys,
    session: Mutex<Option<Session>>,
    stack: channel::Sender<Stack>,
    /// What is remembered of each sensor between two links.
    held: Lock<HashMap<BleAddress, Held>>,
}

/// The two connections to the bus.
#[derive(Clone)]
struct Session {
    bus: Bus,
    manager: Manager,
}

/// A sensor's handle, and what was subscribed on it: the stack subscribes that again by itself when the sensor comes
/// back, so values may come before anybody asks.
#[derive(Clone)]
struct Held {
    handle: Handle,
    subscribed: BTreeSet<At>,
}

impl Bluez {
    /// The Bluetooth of this box, and the task that watches over it: run it as long as the other is used.
    pub fn new(keys: Keys) -> (Bluez, Watch) {
        let (stack, _) = channel::channel(Stack {
            life: 0,
            state: StackState::Down,
        });
        let inner = Inner {
            keys,
            session: Mutex::new(None),
            stack,
            held: Lock::default(),
        };
        let bluez = Bluez {
            inner: Arc::new(inner),
        };
        (bluez.clone(), Watch::new(bluez))
    }

    /// Every sensor that the stack knows now: bonded, connected, or heard within the last half minute.
    pub async fn known(&self) -> Result<Vec<Device>, BleError> {
        let objects = self.session().await?.bus.ready().await?;
        Ok(objects.devices)
    }

    /// Every characteristic of a connected sensor that has `at`, read one by one: two batteries are two values.
    pub async fn read_each(&self, address: BleAddress, at: At) -> Result<Vec<Vec<u8>>, BleError> {
        let session = self.session().await?;
        let objects = session.bus.ready().await?;
        let device = objects.device(address).ok_or(BleError::Unheard { address })?;
        let options: HashMap<&str, Variant<'_>> = HashMap::new();
        let mut values = Vec::new();
        for (path, _) in objects.served(&device.path).filter(|(_, place)| *place == at) {
            let method = "org.bluez.GattCharacteristic1.ReadValue";
            let answer = session.bus.call(path, method, &options, LONG).await;
            let means = |fault: Fault| fault.means(Doing::Value(at), address, "reading a value");
            let message = answer.map_err(means)?;
            let value = message.body().deserialize::<Vec<u8>>();
            values.push(value.map_err(|error| means(Fault::Bus(error.to_string())))?);
        }
        Ok(values)
    }

    /// The connections, made anew when the bus was lost.
    async fn session(&self) -> Result<Session, BleError> {
        let mut held = self.inner.session.lock().await;
        if let Some(session) = held.as_ref().filter(|s| !s.bus.connection.is_closed()) {
            return Ok(session.clone());
        }
        let down = |message: String| BleError::Down { message };
        let bus = Bus::open()
            .await
            .map_err(|fault| fault.means(Doing::Manage, BleAddress([0; 6]), "reaching the system bus"))?;
        let manager = match timeout(SHORT, Manager::new()).await {
            Ok(manager) => manager.map_err(|error| down(error.to_string()))?,
            Err(_) => return Err(down("the system bus does not answer".into())),
        };
        self.remembered().clear();
        let session = Session { bus, manager };
        *held = Some(session.clone());
        Ok(session)
    }

    /// Lets the connections go; the next call makes new ones.
    async fn drop_session(&self) {
        *self.inner.session.lock().await = None;
    }

    fn remembered(&self) -> std::sync::MutexGuard<'_, HashMap<BleAddress, Held>> {
        self.inner.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The handle of `address`: the one that was used before, whose subscriptions go on, or a new one.
    async fn handle(
        &self,
        session: &Session,
        adapter: BleAddress,
        address: BleAddress,
    ) -> Result<Held, BleError> {
        if let Some(held) = self.remembered().get(&address) {
            return Ok(held.clone());
        }
        let means = |error| btleplug_means(&error, Doing::Manage, address);
        let find = async {
            for one in session.manager.adapters().await.map_err(means)? {
                let its = one.adapter_address().await.map_err(means)?;
                if its.is_some_and(|its| its.into_inner() == adapter.0) {
                    return one.peripherals().await.map_err(means);
                }
            }
            Err(BleError::NoAdapter)
        };
        let found = timeout(SHORT, find).await.unwrap_or_else(|_| {
            Err(BleError::TimeLimit {
                doing: "looking for the sensor's handle".into(),
                after: SHORT,
            })
        })?;
        let handle = found
            .into_iter()
            .find(|h| h.address().into_inner() == address.0)
            .ok_or(BleError::Unheard { address })?;
        let held = Held {
            handle,
            subscribed: BTreeSet::new(),
        };
        self.remembered().insert(address, held.clone());
        Ok(held)
    }

    /// How the key of the bond with `device` came about.
    async fn key(&self, adapter: BleAddress, device: BleAddress) -> Answer {
        self.inner.keys.ask(Question { adapter, device }).await
    }
}

impl Central for Bluez {
    type Link = Link;

    async fn scan(&self, window: Duration, services: &[u16]) -> Result<Vec<Advert>, BleError> {
        let bus = self.session().await?.bus;
        let nobody = BleAddress([0; 6]);
        let means = |fault: Fault| fault.means(Doing::Manage, nobody, "scanning");
        let adapter = bus
            .ready()
            .await?
            .adapter()
            .ok_or(BleError::NoAdapter)?
            .path
            .clone();
        // Low energy only: classic Bluetooth is refused altogether.
        let mut filter: HashMap<&str, Variant<'_>> = HashMap::from([("Transport", Variant::from("le"))]);
        if !services.is_empty() {
            let uuids: Vec<String> = services.iter().map(|s| long_uuid(*s).to_string()).collect();
            filter.insert("UUIDs", uuids.into());
        }
        let setting = bus.call(&adapter, "org.bluez.Adapter1.SetDiscoveryFilter", &filter, SHORT);
        setting.await.map_err(means)?;
        let starting = bus.call(&adapter, "org.bluez.Adapter1.StartDiscovery", &(), SHORT);
        let begun = starting.await;
        // Another scan of ours already runs: its results are ours too.
        if !matches!(&begun, Err(Fault::Named { name, .. }) if name.ends_with(".InProgress")) {
            begun.map_err(means)?;
        }
        sleep(window).await;
        // The strength of a signal stands only as long as the scan goes on: it tells who was heard.
        let heard = bus.objects_within(LONG).await.map_err(means);
        let stopping = bus.call(&adapter, "org.bluez.Adapter1.StopDiscovery", &(), SHORT);
        if let Err(fault) = stopping.await {
            tracing::debug!("the scan did not stop as it should: {fault:?}");
        }
        // The filter is a union over all programs of the box: it is applied again here.
        let wanted = |d: &Device| services.is_empty() || services.iter().any(|s| d.services.contains(s));
        let below = format!("{adapter}/");
        let mut adverts: Vec<Advert> = heard?
            .devices
            .into_iter()
            .filter(|d| d.path.starts_with(&below) && d.rssi.is_some() && wanted(d))
            .map(Device::advert)
            .collect();
        adverts.sort_by_key(|advert| advert.address);
        Ok(adverts)
    }

    async fn connect(&self, address: BleAddress, limit: Duration) -> Result<Link, BleError> {
        let session = self.session().await?;
        let objects = session.bus.ready().await?;
        let device = objects.device(address).ok_or(BleError::Unheard { address })?;
        let adapter = objects.adapter().ok_or(BleError::NoAdapter)?.address;
        let held = self.handle(&session, adapter, address).await?;
        let mut opened = Link::open(self, &session, device, held.clone(), limit).await;
        if let Err(BleError::BondRefused { .. }) = &opened {
            // A link that is just being ended looks the same, once.
            sleep(SETTLE).await;
            opened = Link::open(self, &session, device, held, limit).await;
        }
        if let Err(BleError::Unheard { .. }) = &opened {
            self.remembered().remove(&address);
        }
        opened
    }

    async fn bond(&self, address: BleAddress) -> Result<BondState, BleError> {
        let objects = self.session().await?.bus.ready().await?;
        let adapter = objects.adapter().ok_or(BleError::NoAdapter)?.address;
        if !objects.device(address).is_some_and(|device| device.bonded) {
            return Ok(BondState::None);
        }
        Ok(match self.key(adapter, address).await {
            Answer::Held(bond) => BondState::Held(bond),
            // The stack holds a bond that has no key file (yet): nothing is proved.
            Answer::Unread | Answer::None => BondState::Unread,
        })
    }

    fn stack(&self) -> channel::Receiver<Stack> {
        self.inner.stack.subscribe()
    }
}
