//! Shell: RAUC's service and logind on the system's message bus, with a limit on every call.
//!
//! Each use opens a connection of its own: a box is asked a few times a day.
//! Source: RAUC 1.8, `de.pengutronix.rauc.Installer`; systemd, `org.freedesktop.login1`.
#![expect(clippy::disallowed_methods, reason = "shell: talks to the system bus")]

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::time::Duration;

use futures_util::StreamExt as _;
use homeward_protocol::posture::ShortText;
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;
use zbus::connection::Builder;
use zbus::message::Type;
use zbus::wire::Type as Typed;
use zbus::{Connection, DBusError as _, MatchRule, Message, MessageStream, OwnedVariant, Variant};

use super::status::{Row, Unfit, read};
use super::{Seen, SlotName};

/// For what is answered from memory, and for a service that the bus has to start first. A small box may need seconds.
const SHORT: Duration = Duration::from_secs(30);
/// For what reads a whole bundle: its signature is over all of it.
const READING: Duration = Duration::from_mins(10);
/// How often it is looked whether RAUC still works: the end of its service is told by nobody.
const LOOK: Duration = Duration::from_secs(1);
/// Signals that may wait.
const QUEUE: NonZeroUsize = NonZeroUsize::new(16).expect("16 is not 0");
/// Longest answer that is read, bytes: of 64 slots with 1 KiB each.
const MAX_ANSWER: usize = 64 * 1024;

const DAEMON: &str = "org.freedesktop.DBus";
const RAUC: &str = "de.pengutronix.rauc";
const INSTALLER: &str = "de.pengutronix.rauc.Installer";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";
const LOGIND: &str = "org.freedesktop.login1";
const LOGIND_AT: &str = "/org/freedesktop/login1";
const MANAGER: &str = "org.freedesktop.login1.Manager";

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum Fault {
    /// Nobody has RAUC's name, and nobody would be started for it.
    #[error("there is no RAUC on this box")]
    Absent,
    /// The bus, or the way to somebody on it.
    #[error("the system's message bus: {}", .0.as_str())]
    Bus(ShortText),
    /// No answer in time.
    #[error("no answer within {} s", .0.as_secs())]
    Time(Duration),
    /// An error from who was asked.
    #[error("{}", .0.as_str())]
    Said(ShortText),
    /// An answer that is none.
    #[error("an answer that cannot be read")]
    Unread,
    /// It does other work.
    #[error("RAUC is at work: {}", .0.as_str())]
    Busy(ShortText),
    /// Its slots are not enough.
    #[error(transparent)]
    Unfit(#[from] Unfit),
}

impl From<zbus::Error> for Fault {
    fn from(error: zbus::Error) -> Fault {
        match error {
            // Those of the bus's own family say that nobody is there, or that it is not allowed.
            zbus::Error::MethodError(name, message, _) if !name.starts_with("org.freedesktop.DBus.") => {
                Fault::Said(ShortText::cut(&message.unwrap_or_else(|| name.to_string())))
            }
            zbus::Error::MethodError(name, message, _) => {
                Fault::Bus(ShortText::cut(&message.unwrap_or_else(|| name.to_string())))
            }
            zbus::Error::FDO(error) => {
                let said = error.description().unwrap_or_default();
                Fault::Bus(ShortText::cut(&format!("{} {said}", error.name())))
            }
            other => Fault::Bus(ShortText::cut(&other.to_string())),
        }
    }
}

/// Where the bus is: the system's, or at an address.
#[derive(Debug, Clone, Default)]
pub struct Place(Option<String>);

impl Place {
    /// The bus at this address, as `unix:path=/run/dbus/system_bus_socket`.
    pub fn at(address: &str) -> Place {
        Place(Some(address.to_owned()))
    }

    async fn connect(&self) -> Result<Connection, Fault> {
        let builder = match &self.0 {
            Some(address) => Builder::address(address.as_str()),
            None => Builder::system(),
        };
        Ok(within(SHORT, builder.build()).await??)
    }

    /// RAUC's service, started if the bus knows how.
    ///
    /// # Errors
    /// [`Fault::Absent`] where there is none.
    pub async fn rauc(&self) -> Result<Rauc, Fault> {
        let bus = self.connect().await?;
        let there: bool = ask(&bus, DAEMON_AT, "NameHasOwner", &RAUC, SHORT).await?;
        if !there {
            let could: Vec<String> = ask(&bus, DAEMON_AT, "ListActivatableNames", &(), SHORT).await?;
            if !could.iter().any(|name| name == RAUC) {
                return Err(Fault::Absent);
            }
            let _started: u32 = ask(&bus, DAEMON_AT, "StartServiceByName", &(RAUC, 0u32), SHORT).await?;
        }
        let owner = ask(&bus, DAEMON_AT, "GetNameOwner", &RAUC, SHORT).await?;
        Ok(Rauc { bus, owner })
    }

    /// Whether logind would let us reboot the box: `yes`, or why not in its own word.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn can_reboot(&self) -> Result<String, Fault> {
        let bus = self.connect().await?;
        ask(&bus, LOGIND_PLACE, "CanReboot", &(), SHORT).await
    }

    /// Reboots the box.
    ///
    /// # Errors
    /// When logind does not.
    pub async fn reboot(&self) -> Result<(), Fault> {
        let bus = self.connect().await?;
        // Nobody is asked for a password.
        let interactive = false;
        call(&bus, LOGIND_PLACE, "Reboot", &interactive, SHORT)
            .await
            .map(drop)
    }
}

/// Who is asked: a name on the bus, an object, an interface.
type Whom<'a> = (&'a str, &'a str, &'a str);

const DAEMON_AT: Whom<'static> = (DAEMON, "/org/freedesktop/DBus", DAEMON);
const LOGIND_PLACE: Whom<'static> = (LOGIND, LOGIND_AT, MANAGER);

async fn within<T>(limit: Duration, work: impl Future<Output = T>) -> Result<T, Fault> {
    timeout(limit, work).await.map_err(|_| Fault::Time(limit))
}

async fn call<B: Serialize + Typed + Sync>(
    bus: &Connection,
    (name, object, interface): Whom<'_>,
    method: &str,
    body: &B,
    limit: Duration,
) -> Result<Message, Fault> {
    let call = bus.call_method(Some(name), object, Some(interface), method, body);
    Ok(within(limit, call).await??)
}

async fn ask<B: Serialize + Typed + Sync, T: DeserializeOwned + Typed>(
    bus: &Connection,
    whom: Whom<'_>,
    method: &str,
    body: &B,
    limit: Duration,
) -> Result<T, Fault> {
    let answer = call(bus, whom, method, body, limit).await?;
    if answer.body().len() > MAX_ANSWER {
        return Err(Fault::Unread);
    }
    answer.body().deserialize().map_err(|_| Fault::Unread)
}

/// RAUC's service, as long as it is the same process.
#[derive(Debug)]
pub struct Rauc {
    bus: Connection,
    owner: String,
}

impl Rauc {
    async fn ask<B: Serialize + Typed + Sync, T: DeserializeOwned + Typed>(
        &self,
        method: &str,
        body: &B,
        limit: Duration,
    ) -> Result<T, Fault> {
        ask(&self.bus, (&self.owner, "/", INSTALLER), method, body, limit).await
    }

    async fn property(&self, name: &str) -> Result<String, Fault> {
        let question = (INSTALLER, name);
        let whom = (self.owner.as_str(), "/", PROPERTIES);
        let said: OwnedVariant = ask(&self.bus, whom, "Get", &question, SHORT).await?;
        String::try_from(said).map_err(|_| Fault::Unread)
    }

    /// Nothing, when it has nothing to do.
    ///
    /// # Errors
    /// [`Fault::Busy`] when it has.
    pub async fn idle(&self) -> Result<(), Fault> {
        match self.property("Operation").await?.as_str() {
            "idle" => Ok(()),
            other => Err(Fault::Busy(ShortText::cut(other))),
        }
    }

    /// What a bundle has to be for.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn compatible(&self) -> Result<String, Fault> {
        self.property("Compatible").await
    }

    /// What went wrong last; nothing when nothing did.
    ///
    /// # Errors
    /// When it does not say.
    pub async fn last_error(&self) -> Result<ShortText, Fault> {
        Ok(ShortText::cut(&self.property("LastError").await?))
    }

    /// What its slots hold, and which run now and next.
    ///
    /// # Errors
    /// [`Fault::Unfit`] when that is not enough for an image.
    pub async fn seen(&self) -> Result<Seen, Fault> {
        let rows: Vec<Row> = self.ask("GetSlotStatus", &(), SHORT).await?;
        let primary: String = match self.ask("GetPrimary", &(), SHORT).await {
            Ok(primary) => primary,
            Err(Fault::Said(_)) => return Err(Unfit::NoPrimary.into()),
            Err(fault) => return Err(fault),
        };
        Ok(read(rows, &primary)?)
    }

    /// For what the bundle at `path` is, and its version; after its signature was checked.
    ///
    /// # Errors
    /// [`Fault::Said`] when RAUC does not accept it.
    pub async fn info(&self, path: &str) -> Result<(String, String), Fault> {
        self.ask("Info", &path, READING).await
    }

    /// Calls a slot `good` or `bad`, or makes it the one that starts next (`active`).
    ///
    /// # Errors
    /// When it does not.
    pub async fn mark(&self, state: &str, slot: &SlotName) -> Result<(), Fault> {
        let _said: (String, String) = self.ask("Mark", &(state, slot.as_str()), SHORT).await?;
        Ok(())
    }

    /// Begins to write the bundle at `path` into the slots that do not run.
    ///
    /// # Errors
    /// When it does not begin; then nothing is changed.
    pub async fn begin(&self, path: &str) -> Result<Work<'_>, Fault> {
        let rule = MatchRule::builder()
            .msg_type(Type::Signal)
            .sender(self.owner.clone())
            .interface(INSTALLER)
            .member("Completed")
            .build()?;
        let ends = MessageStream::for_match_rule(rule, &self.bus, Some(QUEUE));
        let ends = within(SHORT, ends).await??;
        let arguments: HashMap<&str, Variant<'_>> = HashMap::new();
        let () = self.ask("InstallBundle", &(path, arguments), SHORT).await?;
        Ok(Work { rauc: self, ends })
    }
}

/// An image that is being written.
pub struct Work<'a> {
    rauc: &'a Rauc,
    ends: MessageStream,
}

impl Work<'_> {
    /// Waits for its end, at most `limit`: nothing when RAUC says that it went well.
    ///
    /// # Errors
    /// [`Fault::Said`] with RAUC's reason; [`Fault::Time`] when it still writes; another one when its service is gone.
    pub async fn end(mut self, limit: Duration) -> Result<(), Fault> {
        let result = within(limit, self.result()).await??;
        if result == 0 {
            return Ok(());
        }
        Err(Fault::Said(self.rauc.last_error().await?))
    }

    async fn result(&mut self) -> Result<i32, Fault> {
        loop {
            match timeout(LOOK, self.ends.next()).await {
                Ok(Some(signal)) => {
                    return signal?.body().deserialize().map_err(|_| Fault::Unread);
                }
                Ok(None) => return Err(Fault::Bus(ShortText::cut("the connection is lost"))),
                Err(_) => {}
            }
            match self.rauc.idle().await {
                Err(Fault::Busy(_)) => {}
                // The word of its end was missed.
                Ok(()) => return Ok(i32::from(!self.rauc.last_error().await?.as_str().is_empty())),
                Err(fault) => return Err(fault),
            }
        }
    }
}
