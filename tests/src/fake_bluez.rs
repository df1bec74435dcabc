//! A Bluetooth stack that is none: `org.bluez` on a bus of its own, with virtual sensors, and faults on demand.
//!
//! What stands over the bus is ours and real: `devices::bluez` with btleplug and zbus, or a whole `homeward-agent`.
//! What real `BlueZ` does beside this is tested in a guest (`tests/tests/installed_ble.rs`); what cannot be brought
//! about there (calls that hang, errors by name, malformed answers, forged senders) is played here, in seconds.
//!
//! # Design
//! The stack and the room are data ([`world`]): calls go in, answers and signals come out, and all of it in one order.
//! Only [`serve`] and [`bus`] touch the world outside. python-dbusmock was tried and turned down: bluez-async cannot
//! read its introspection, and it has no values.

pub mod alone;
pub mod asked;
pub mod bonding;
pub mod bus;
pub mod call;
pub mod calls;
pub mod cuff;
pub mod device;
pub mod fault;
pub mod link;
pub mod meter;
pub mod objects;
pub mod oximeter;
pub mod room;
pub mod say;
pub mod sensor;
pub mod serve;
pub mod world;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use homeward_devices::link::ble::At;
use homeward_protocol::bond::BleAddress;
use serde::Serialize;
use tokio::sync::Mutex;
use zbus::{Connection, Message};

use serve::{Life, Shared};
use world::World;

/// The fake stack.
#[derive(Debug)]
pub struct FakeBluez {
    address: String,
    shared: Arc<Shared>,
    life: Mutex<Option<Life>>,
}

impl FakeBluez {
    /// Starts it on the bus at `address`; keys are kept below `keys`, laid out as `/var/lib/bluetooth`.
    ///
    /// # Panics
    /// When the bus is not there, or has such a stack already.
    pub async fn start(address: &str, keys: &Path) -> FakeBluez {
        let fake = FakeBluez {
            address: address.to_owned(),
            shared: Arc::new(Shared::new(keys.to_owned())),
            life: Mutex::new(None),
        };
        fake.restart().await;
        fake
    }

    /// The daemon dies. Bonds stay.
    pub async fn crash(&self) {
        if let Some(life) = self.life.lock().await.take() {
            life.end(&self.shared).await;
        }
    }

    /// The daemon starts, after it died if it still runs.
    ///
    /// # Panics
    /// As [`FakeBluez::start`].
    pub async fn restart(&self) {
        self.crash().await;
        let life = Life::begin(&self.shared, &self.address).await;
        *self.life.lock().await = Some(life.expect("the bus has room for it"));
    }

    /// Looks at the room and the stack, or changes them; what follows from it is told on the bus.
    pub fn with<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        self.shared.with(change)
    }

    /// A sensor sends a value. False: there is no link, or nobody subscribed.
    pub fn send(&self, address: BleAddress, at: At, value: Vec<u8>) -> bool {
        self.with(|world| world.send(address, at, value))
    }

    /// Whether a sensor is linked and somebody listens there.
    pub fn is_heard(&self, address: BleAddress, at: At) -> bool {
        self.with(|world| world.is_heard(address, at))
    }

    /// Where keys are kept.
    pub fn keys(&self) -> PathBuf {
        self.shared.keys.clone()
    }

    /// The stack asks the pairing agent that is asked first, as it does when somebody else begins a pairing. `None`
    /// when there is no agent.
    ///
    /// # Panics
    /// When the daemon is dead.
    pub async fn asks<B>(&self, method: &str, body: &B) -> Option<zbus::Result<Message>>
    where
        B: Serialize + zbus::wire::DynamicType,
    {
        let connection = self
            .life
            .lock()
            .await
            .as_ref()
            .map(|life| life.connection.clone());
        ask_first(self, &connection.expect("the daemon lives"), method, body).await
    }

    /// Another program of the box asks it, which it must not.
    ///
    /// # Panics
    /// When the bus is gone.
    pub async fn stranger_asks<B>(&self, method: &str, body: &B) -> Option<zbus::Result<Message>>
    where
        B: Serialize + zbus::wire::DynamicType,
    {
        ask_first(self, &self.stranger().await, method, body).await
    }

    /// Another program on the bus.
    ///
    /// # Panics
    /// When the bus is gone.
    pub async fn stranger(&self) -> Connection {
        let address = self.address.as_str();
        let builder = zbus::connection::Builder::address(address);
        builder.build().await.expect("the bus has room")
    }
}

async fn ask_first<B>(
    fake: &FakeBluez,
    from: &Connection,
    method: &str,
    body: &B,
) -> Option<zbus::Result<Message>>
where
    B: Serialize + zbus::wire::DynamicType,
{
    let (client, path) = fake.with(|world| {
        let client = world.agents.first.clone()?;
        let path = world.agents.all.get(&client)?.clone();
        Some((client, path))
    })?;
    let agent = Some("org.bluez.Agent1");
    Some(
        from.call_method(Some(client.as_str()), path.as_str(), agent, method, body)
            .await,
    )
}
