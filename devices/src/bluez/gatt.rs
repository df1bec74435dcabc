//! Shell: a link to one sensor: read, written and subscribed by btleplug, connected and heard by ourselves.
//!
//! # Design
//! btleplug's own stream of values is not used. It asks the bus for all that lies below the sensor's object, and takes
//! that back when a link ends; `dbus-daemon` 1.14 then forgets the newest such rule, whichever sensor it is of, and a
//! sensor that is still connected is never heard again. Its `connect` waits by such a rule too: of two sensors that
//! connect at once, the first to be done would let the other wait for nothing.
#![expect(clippy::disallowed_methods, reason = "shell: waits with limits")]

use std::collections::{BTreeSet, HashMap};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bluez_async::BluetoothError;
use btleplug::api::{Characteristic, Peripheral as _, WriteType};
use btleplug::platform::Peripheral as Handle;
use futures_util::StreamExt as _;
use homeward_protocol::bond::BleAddress;
use tokio::sync::watch;
use tokio::time::{Instant, timeout, timeout_at};
use zbus::{Message, MessageStream, OwnedVariant};

use crate::bluez::bus::{Bus, Fault, SHORT};
use crate::bluez::fault::{Doing, meaning, ran_out_of_time};
use crate::bluez::objects::{Device, Objects, long_uuid};
use crate::bluez::{Bluez, Held, LONG, Session};
use crate::link::ble::{At, BleError, MAX_VALUE, Notice, Peripheral, Stack, StackState};

/// Values that were sent before the link broke may be taken after the word of it: they wait in a queue of their own.
/// After this long all are here.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A link to one sensor.
pub struct Link {
    bluez: Bluez,
    bus: Bus,
    path: String,
    address: BleAddress,
    handle: Handle,
    /// Each characteristic's object and place.
    served: Vec<(String, At)>,
    /// What this link asked for.
    asked: BTreeSet<At>,
    /// What counts as a notice: what any link to this sensor ever asked for.
    accepted: BTreeSet<At>,
    incoming: Mutex<Incoming>,
    stack: watch::Receiver<Stack>,
    life: u32,
    /// Once it is lost: until when values may still come.
    lost: Option<Instant>,
}

/// In a lock only because a stream cannot be shared; nobody ever waits for it.
struct Incoming {
    /// Of all sensors.
    values: MessageStream,
    changes: MessageStream,
}

impl Link {
    /// Connects to `device` within `limit`; nothing goes on trying after an error.
    pub(super) async fn open(
        bluez: &Bluez,
        session: &Session,
        device: &Device,
        held: Held,
        limit: Duration,
    ) -> Result<Link, BleError> {
        let (address, handle) = (device.address, held.handle);
        let doing = Doing::Connect {
            bonded: device.bonded,
        };
        let opening = async {
            let stack = bluez.inner.stack.subscribe();
            let life = stack.borrow().life;
            let of_bus = |fault: Fault| fault.means(doing, address, "connecting");
            let owner = session.bus.owner().await.map_err(of_bus)?.unwrap_or_default();
            // Before the link: a bonded sensor is subscribed again by the stack, and sends at once.
            let values = session.bus.values(&owner).await.map_err(of_bus)?;
            let changes = session
                .bus
                .changes(&owner, Some(&device.path), "org.bluez.Device1");
            let mut changes = changes.await.map_err(of_bus)?;
            let connect = "org.bluez.Device1.Connect";
            let connected = session.bus.call(&device.path, connect, &(), LONG);
            connected.await.map_err(of_bus)?;
            let objects = resolved(&session.bus, address, &mut changes).await?;
            let means = |error| btleplug_means(&error, doing, address);
            handle.discover_services().await.map_err(means)?;
            Ok(Link {
                bluez: bluez.clone(),
                bus: session.bus.clone(),
                path: device.path.clone(),
                address,
                handle: handle.clone(),
                served: objects.served(&device.path).cloned().collect(),
                asked: BTreeSet::new(),
                accepted: held.subscribed,
                incoming: Mutex::new(Incoming { values, changes }),
                stack,
                life,
                lost: None,
            })
        };
        let opened = timeout(limit, opening).await.unwrap_or_else(|_| {
            Err(BleError::TimeLimit {
                doing: format!("connecting to {address}"),
                after: limit,
            })
        });
        if opened.is_err() {
            hang_up(&session.bus, &device.path).await;
        }
        opened
    }

    /// The one characteristic that is meant, or why there is not exactly one.
    fn characteristic(&self, at: At) -> Result<Characteristic, BleError> {
        let count = self.served.iter().filter(|(_, place)| *place == at).count();
        if count > 1 {
            return Err(BleError::Ambiguous { at, count });
        }
        let (service, uuid) = (long_uuid(at.service), long_uuid(at.characteristic));
        let known = self.handle.characteristics();
        known
            .into_iter()
            .find(|c| c.service_uuid == service && c.uuid == uuid)
            .ok_or(BleError::NotServed { at })
    }

    /// Waits for a call about `at`. Without an answer the sensor's state is unknown, so the link is ended.
    async fn wait<T>(
        &self,
        at: At,
        text: &str,
        call: impl Future<Output = btleplug::Result<T>> + Send,
    ) -> Result<T, BleError> {
        let answer = match timeout(LONG, call).await {
            Ok(answer) => answer.map_err(|error| btleplug_means(&error, Doing::Value(at), self.address)),
            Err(_) => Err(BleError::TimeLimit {
                doing: format!("{text} {at}"),
                after: LONG,
            }),
        };
        if matches!(answer, Err(BleError::TimeLimit { .. })) {
            hang_up(&self.bus, &self.path).await;
        }
        answer
    }

    /// What the bus brought, if it is a value of this sensor that was asked for. An answer to a read, ours or another
    /// program's, comes the same way and is none.
    fn notice(&self, came: zbus::Result<Message>) -> Option<Notice> {
        let came = came.ok()?;
        let header = came.header();
        let path = header.path()?.as_str();
        let (_, at) = self.served.iter().find(|(object, _)| object == path)?;
        let value = value(&came).filter(|value| value.len() <= MAX_VALUE)?;
        self.accepted.contains(at).then_some(Notice { at: *at, value })
    }

    fn stack_is_gone(&self) -> bool {
        let now = *self.stack.borrow();
        // Before the watch has looked for the first time nothing is known of the stack.
        now.life != self.life && self.life != 0 || now.life != 0 && now.state != StackState::Ready
    }
}

impl Peripheral for Link {
    fn address(&self) -> BleAddress {
        self.address
    }

    fn served(&self) -> Vec<At> {
        self.served.iter().map(|(_, at)| *at).collect()
    }

    async fn read(&self, at: At) -> Result<Vec<u8>, BleError> {
        let characteristic = self.characteristic(at)?;
        if self.accepted.contains(&at) {
            let message = "it is subscribed, and an answer could not be told from a value".to_owned();
            return Err(BleError::Refused { at, message });
        }
        let value = self
            .wait(at, "reading", self.handle.read(&characteristic))
            .await?;
        if value.len() > MAX_VALUE {
            let message = format!("its value has {} octets", value.len());
            return Err(BleError::Refused { at, message });
        }
        Ok(value)
    }

    async fn write(&self, at: At, value: &[u8]) -> Result<(), BleError> {
        let characteristic = self.characteristic(at)?;
        let writing = self.handle.write(&characteristic, value, WriteType::WithResponse);
        self.wait(at, "writing", writing).await
    }

    async fn subscribe(&mut self, at: At) -> Result<(), BleError> {
        let characteristic = self.characteristic(at)?;
        if self.asked.contains(&at) {
            return Ok(());
        }
        // Before the call: values may overtake its answer.
        let before = !self.accepted.insert(at);
        let subscribed = self
            .wait(at, "subscribing to", self.handle.subscribe(&characteristic))
            .await;
        match subscribed {
            // Of an earlier link; the stack kept it.
            Err(BleError::Busy) if before => {}
            Err(BleError::Refused { message, .. }) if message.contains("Already notifying") => {}
            Err(error) => {
                if !before {
                    self.accepted.remove(&at);
                }
                return Err(error);
            }
            Ok(()) => {}
        }
        self.asked.insert(at);
        if let Some(held) = self.bluez.remembered().get_mut(&self.address) {
            held.subscribed.insert(at);
        }
        Ok(())
    }

    async fn next(&mut self) -> Option<Notice> {
        loop {
            if self.lost.is_none() && self.stack_is_gone() {
                self.lost = Some(last_words());
            }
            let incoming = self.incoming.get_mut().unwrap_or_else(PoisonError::into_inner);
            if let Some(end) = self.lost {
                let came = timeout_at(end, incoming.values.next()).await.ok()??;
                if let Some(notice) = self.notice(came) {
                    return Some(notice);
                }
                continue;
            }
            tokio::select! {
                biased;
                came = incoming.values.next() => match came {
                    Some(came) => if let Some(notice) = self.notice(came) { return Some(notice) },
                    None => return None,
                },
                change = incoming.changes.next() => {
                    let stands = matches!(change, Some(Ok(message)) if !says_lost(&message));
                    self.lost = (!stands).then(last_words);
                }
                told = self.stack.changed() => if told.is_err() { self.lost = Some(last_words()) },
            }
        }
    }

    async fn disconnect(self) {
        hang_up(&self.bus, &self.path).await;
    }
}

/// Waits until there is a link to `address` and its services are looked up; the tree of then. Fails when the link is
/// lost meanwhile. The caller sets the limit.
async fn resolved(bus: &Bus, address: BleAddress, changes: &mut MessageStream) -> Result<Objects, BleError> {
    loop {
        let objects = bus.ready().await?;
        match objects.device(address) {
            None => return Err(BleError::Unheard { address }),
            Some(device) if !device.connected => return Err(BleError::LinkLost { address }),
            Some(device) if device.resolved => return Ok(objects),
            Some(_) => {}
        }
        if changes.next().await.is_none() {
            return Err(BleError::LinkLost { address });
        }
    }
}

fn last_words() -> Instant {
    Instant::now() + LAST_WORDS
}

/// Ends a link, or the attempt at one. One that is not there is no error.
async fn hang_up(bus: &Bus, path: &str) {
    if let Err(fault) = bus.call(path, "org.bluez.Device1.Disconnect", &(), SHORT).await {
        tracing::debug!("hanging up: {fault:?}");
    }
}

/// The value in a change of a characteristic's properties.
fn value(change: &Message) -> Option<Vec<u8>> {
    type Changed = (String, HashMap<String, OwnedVariant>, Vec<String>);
    let (_, mut values, _) = change.body().deserialize::<Changed>().ok()?;
    values.remove("Value")?.try_into().ok()
}

/// Whether a change of a sensor's properties says that it is no longer connected.
fn says_lost(change: &Message) -> bool {
    type Changed<'a> = (&'a str, HashMap<&'a str, zbus::Variant<'a>>, Vec<&'a str>);
    let body = change.body();
    let Ok((_, values, _)) = body.deserialize::<Changed<'_>>() else {
        return false;
    };
    matches!(values.get("Connected"), Some(zbus::Variant::Bool(false)))
}

/// What an error of btleplug means.
pub(super) fn btleplug_means(error: &btleplug::Error, doing: Doing, address: BleAddress) -> BleError {
    let other = |message: String| BleError::Other {
        name: "btleplug".into(),
        message,
    };
    let too_long = || BleError::TimeLimit {
        doing: "Bluetooth's own waiting".into(),
        after: Duration::from_secs(30),
    };
    match error {
        btleplug::Error::DeviceNotFound => BleError::Unheard { address },
        btleplug::Error::NotConnected => BleError::LinkLost { address },
        btleplug::Error::TimedOut(_) => too_long(),
        btleplug::Error::Other(inner) => match inner.downcast_ref::<BluetoothError>() {
            Some(BluetoothError::DbusError(bus)) => {
                let name = bus.name().unwrap_or_default();
                if ran_out_of_time(name) {
                    return too_long();
                }
                meaning(name, bus.message().unwrap_or_default(), doing, address)
            }
            Some(BluetoothError::ServiceDiscoveryTimedOut) => too_long(),
            Some(error) => other(error.to_string()),
            None => other(inner.to_string()),
        },
        error => other(error.to_string()),
    }
}
