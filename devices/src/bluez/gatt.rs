//! Shell: a link to one sensor, by btleplug.
#![expect(clippy::disallowed_methods, reason = "shell: waits with limits")]

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bluez_async::BluetoothError;
use btleplug::api::{Characteristic, Peripheral as _, ValueNotification, WriteType};
use btleplug::platform::Peripheral as Handle;
use futures_util::{Stream, StreamExt as _};
use homeward_protocol::bond::BleAddress;
use tokio::sync::watch;
use tokio::time::timeout;
use zbus::MessageStream;

use crate::bluez::bus::{Bus, Fault, SHORT};
use crate::bluez::fault::{Doing, meaning, ran_out_of_time};
use crate::bluez::objects::{Device, long_uuid, short_uuid};
use crate::bluez::{Bluez, Held, LONG, Session};
use crate::link::ble::{At, BleError, MAX_VALUE, Notice, Peripheral, Stack, StackState};

/// Values that were sent before the link broke may come after the word of it: they have a bus connection of their
/// own. This long without one, and all are here.
const LAST_WORDS: Duration = Duration::from_millis(300);

/// A link to one sensor.
pub struct Link {
    bluez: Bluez,
    bus: Bus,
    path: String,
    address: BleAddress,
    handle: Handle,
    served: Vec<At>,
    /// What this link asked for.
    asked: BTreeSet<At>,
    /// What counts as a notice: what any link to this sensor ever asked for.
    accepted: BTreeSet<At>,
    incoming: Mutex<Incoming>,
    stack: watch::Receiver<Stack>,
    life: u32,
    lost: bool,
}

/// In a lock only because a stream cannot be shared; nobody ever waits for it.
struct Incoming {
    values: Pin<Box<dyn Stream<Item = ValueNotification> + Send>>,
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
            // Before the link: a bonded sensor is subscribed again by the stack, and sends at once.
            let means = |error| btleplug_means(&error, doing, address);
            let values = handle.notifications().await.map_err(means)?;
            handle.connect().await.map_err(means)?;
            handle.discover_services().await.map_err(means)?;
            let means = |fault: Fault| fault.means(doing, address, "connecting");
            let owner = session.bus.owner().await.map_err(means)?.unwrap_or_default();
            let changes = session
                .bus
                .changes(&owner, Some(&device.path), "org.bluez.Device1");
            let changes = changes.await.map_err(means)?;
            let objects = session.bus.ready().await?;
            if !objects.device(address).is_some_and(|now| now.connected) {
                return Err(BleError::LinkLost { address });
            }
            Ok(Link {
                bluez: bluez.clone(),
                bus: session.bus.clone(),
                path: device.path.clone(),
                address,
                handle: handle.clone(),
                served: objects.served(&device.path).map(|(_, at)| *at).collect(),
                asked: BTreeSet::new(),
                accepted: held.subscribed,
                incoming: Mutex::new(Incoming { values, changes }),
                stack,
                life,
                lost: false,
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
        let count = self.served.iter().filter(|place| **place == at).count();
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

    /// What btleplug brought, if it is a value that was asked for. An answer to a read, ours or another program's,
    /// comes the same way and is none.
    fn notice(&self, came: ValueNotification) -> Option<Notice> {
        let at = At {
            service: short_uuid(came.service_uuid)?,
            characteristic: short_uuid(came.uuid)?,
        };
        let wanted = self.accepted.contains(&at) && came.value.len() <= MAX_VALUE;
        wanted.then_some(Notice {
            at,
            value: came.value,
        })
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
        self.served.clone()
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
            let gone = self.lost || self.stack_is_gone();
            let incoming = self.incoming.get_mut().unwrap_or_else(PoisonError::into_inner);
            if gone {
                self.lost = true;
                let came = timeout(LAST_WORDS, incoming.values.next()).await.ok()??;
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
                    self.lost = !matches!(change, Some(Ok(message)) if !says_lost(&message));
                }
                told = self.stack.changed() => if told.is_err() { self.lost = true },
            }
        }
    }

    async fn disconnect(self) {
        hang_up(&self.bus, &self.path).await;
    }
}

/// Ends a link, or the attempt at one. One that is not there is no error.
async fn hang_up(bus: &Bus, path: &str) {
    if let Err(fault) = bus.call(path, "org.bluez.Device1.Disconnect", &(), SHORT).await {
        tracing::debug!("hanging up: {fault:?}");
    }
}

/// Whether a change of a sensor's properties says that it is no longer connected.
fn says_lost(change: &zbus::Message) -> bool {
    type Changed<'a> = (
        &'a str,
        std::collections::HashMap<&'a str, zbus::Variant<'a>>,
        Vec<&'a str>,
    );
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
