//! Shell: one connection to the system bus, with a limit on every call.
#![expect(clippy::disallowed_methods, reason = "shell: talks to the system bus")]

use std::num::NonZeroUsize;
use std::time::Duration;

use homeward_protocol::bond::BleAddress;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zbus::fdo::ManagedObjects;
use zbus::match_rule::Builder;
use zbus::message::Type;
use zbus::wire::Type as Typed;
use zbus::{Connection, DBusError as _, MatchRule, Message, MessageStream};

use crate::bluez::fault::{Doing, meaning, ran_out_of_time};
use crate::bluez::objects::Objects;
use crate::link::ble::{BleError, StackState};

/// The stack's name on the bus.
pub const BLUEZ: &str = "org.bluez";
/// For questions that the stack answers from its memory. A small box under load may need seconds for that.
pub const SHORT: Duration = Duration::from_secs(15);
/// Signals that may wait. A link's changes are few; a restart of the stack is a handful.
const QUEUE: NonZeroUsize = NonZeroUsize::new(64).expect("64 is not 0");
/// Values that may wait while a link asks something, which may last half a minute: of ten sensors with a few a second
/// each. When even these are full the bus waits, and nothing is lost.
const VALUES: NonZeroUsize = NonZeroUsize::new(4096).expect("4096 is not 0");

/// Why a call gave no answer.
#[derive(Debug)]
pub enum Fault {
    /// The stack answered with an error.
    Named {
        /// As `org.bluez.Error.Failed`.
        name: String,
        /// Its text.
        message: String,
    },
    /// No answer within the limit.
    Time(Duration),
    /// The bus itself failed.
    Bus(String),
}

impl Fault {
    /// What it means, having done `doing` (in words: `text`) with `address`.
    pub fn means(self, doing: Doing, address: BleAddress, text: &str) -> BleError {
        match self {
            Fault::Named { name, .. } if ran_out_of_time(&name) => BleError::TimeLimit {
                doing: text.to_owned(),
                after: SHORT,
            },
            Fault::Named { name, message } => meaning(&name, &message, doing, address),
            Fault::Time(after) => BleError::TimeLimit {
                doing: text.to_owned(),
                after,
            },
            Fault::Bus(message) => BleError::Down { message },
        }
    }
}

impl From<zbus::Error> for Fault {
    fn from(error: zbus::Error) -> Self {
        match error {
            zbus::Error::MethodError(name, message, _) => Fault::Named {
                name: name.to_string(),
                message: message.unwrap_or_default(),
            },
            // Errors of the bus's own family, also when the stack sends them: an object that is gone, no answer in time.
            zbus::Error::FDO(error) => Fault::Named {
                name: error.name().to_string(),
                message: error.description().unwrap_or_default().to_owned(),
            },
            other => Fault::Bus(other.to_string()),
        }
    }
}

/// A connection to the system bus.
#[derive(Debug, Clone)]
pub struct Bus {
    /// The connection itself.
    pub connection: Connection,
}

impl Bus {
    /// Connects, to `DBUS_SYSTEM_BUS_ADDRESS` or the usual socket.
    pub async fn open() -> Result<Bus, Fault> {
        match timeout(SHORT, Connection::system()).await {
            Ok(Ok(connection)) => Ok(Bus { connection }),
            Ok(Err(error)) => Err(error.into()),
            Err(_) => Err(Fault::Time(SHORT)),
        }
    }

    /// Calls `method` of the stack's object `path`, as `org.bluez.Device1.Pair`.
    pub async fn call<B: Serialize + Typed>(
        &self,
        path: &str,
        method: &str,
        body: &B,
        limit: Duration,
    ) -> Result<Message, Fault> {
        let (interface, member) = method.rsplit_once('.').unwrap_or_default();
        let call = self
            .connection
            .call_method(Some(BLUEZ), path, Some(interface), member, body);
        match timeout(limit, call).await {
            Ok(answer) => Ok(answer?),
            Err(_) => Err(Fault::Time(limit)),
        }
    }

    /// Sets `property` (as `org.bluez.Adapter1.Pairable`) of the object `path`.
    pub async fn set(&self, path: &str, property: &str, value: bool) -> Result<(), Fault> {
        let (interface, member) = property.rsplit_once('.').unwrap_or_default();
        let body = (interface, member, zbus::Variant::from(value));
        self.call(path, "org.freedesktop.DBus.Properties.Set", &body, SHORT)
            .await
            .map(drop)
    }

    /// The stack's object tree now.
    pub async fn objects(&self) -> Result<Objects, Fault> {
        self.objects_within(SHORT).await
    }

    /// The same, where the stack has much else to do.
    pub async fn objects_within(&self, limit: Duration) -> Result<Objects, Fault> {
        let method = "org.freedesktop.DBus.ObjectManager.GetManagedObjects";
        let answer = self.call("/", method, &(), limit).await?;
        Ok(Objects::read(body::<ManagedObjects>(&answer)?))
    }

    /// The tree, when the adapter is on; else why not.
    pub async fn ready(&self) -> Result<Objects, BleError> {
        let nobody = BleAddress([0; 6]);
        let objects = self
            .objects()
            .await
            .map_err(|fault| fault.means(Doing::Manage, nobody, "asking Bluetooth how it is"))?;
        match objects.state() {
            StackState::Ready => Ok(objects),
            StackState::AdapterOff => Err(BleError::AdapterOff),
            StackState::NoAdapter | StackState::Down => Err(BleError::NoAdapter),
        }
    }

    /// Who the stack is now: its unique name, or `None` when nobody has its name.
    pub async fn owner(&self) -> Result<Option<String>, Fault> {
        let bus = Some("org.freedesktop.DBus");
        let asked = self
            .connection
            .call_method(bus, "/org/freedesktop/DBus", bus, "GetNameOwner", &BLUEZ);
        match timeout(SHORT, asked).await {
            Ok(Ok(answer)) => Ok(Some(body(&answer)?)),
            Ok(Err(error)) => match Fault::from(error) {
                Fault::Named { name, .. } if name.ends_with(".NameHasNoOwner") => Ok(None),
                other => Err(other),
            },
            Err(_) => Err(Fault::Time(SHORT)),
        }
    }

    /// Changes of properties of `interface`, told by `owner` and nobody else; of one object, or of all.
    pub async fn changes(
        &self,
        owner: &str,
        path: Option<&str>,
        interface: &str,
    ) -> Result<MessageStream, Fault> {
        let mut rule = changed(owner, interface);
        if let Some(path) = path {
            rule = rule.path(path.to_owned());
        }
        self.listen(rule.build()?, QUEUE).await
    }

    /// The values of all sensors, as `owner` tells them.
    ///
    /// Not those of one sensor: a rule about all that lies below an object is mistaken for that of another object when
    /// it is taken back (`dbus-daemon` 1.14 compares everything but the object), and the other sensor falls silent.
    pub async fn values(&self, owner: &str) -> Result<MessageStream, Fault> {
        let rule = changed(owner, "org.bluez.GattCharacteristic1");
        self.listen(rule.build()?, VALUES).await
    }

    /// Changes of who has the stack's name.
    pub async fn owners(&self) -> Result<MessageStream, Fault> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender("org.freedesktop.DBus")
            .interface("org.freedesktop.DBus")
            .member("NameOwnerChanged")
            .arg(0, BLUEZ)
            .build()?;
        self.listen(rule, QUEUE).await
    }

    async fn listen(&self, rule: MatchRule<'_>, queue: NonZeroUsize) -> Result<MessageStream, Fault> {
        let listening = MessageStream::for_match_rule(rule.to_owned(), &self.connection, Some(queue));
        match timeout(SHORT, listening).await {
            Ok(stream) => Ok(stream?),
            Err(_) => Err(Fault::Time(SHORT)),
        }
    }
}

/// A rule for changes of the properties of `interface`.
fn changed(owner: &str, interface: &str) -> Builder<'static> {
    MatchRule::builder()
        .msg_type(Type::Signal)
        .sender(owner.to_owned())
        .interface("org.freedesktop.DBus.Properties")
        .member("PropertiesChanged")
        .arg(0, interface.to_owned())
}

fn body<T: DeserializeOwned + Typed>(message: &Message) -> Result<T, Fault> {
    message
        .body()
        .deserialize()
        .map_err(|error| Fault::Bus(error.to_string()))
}
