//! Shell: pairing. A window that a person opens for one named sensor; outside of it nothing is paired.
//!
//! # Design
//! A pairing that asks nothing (Just Works) cannot be refused while it happens: the stack asks nobody. So the key is
//! judged afterwards, before anything is read, and a bond that is less than the sensor's profile demands is removed.
//! The number that a person types or compares is never logged.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: talks to the system bus, waits with limits"
)]
#![expect(
    clippy::needless_pass_by_value,
    clippy::unused_self,
    reason = "the bus gives the agent's methods their shape"
)]

use std::time::{Duration, Instant};

use homeward_protocol::bond::{BleAddress, Bond, FULL_KEY, KeyClass};
use tokio::sync::{mpsc, oneshot};
use tokio::time::sleep;
use zbus::message::Header;
use zbus::{ObjectPath, Variant, interface};

use crate::bluez::Bluez;
use crate::bluez::bus::{Bus, Fault, SHORT};
use crate::bluez::fault::Doing;
use crate::bluez::key_file::Answer;
use crate::link::ble::BleError;

/// Where our pairing agent stands on the bus.
const AGENT: &str = "/org/homeward/pairing";
/// The key file is written a moment after the pairing.
const WRITTEN: Duration = Duration::from_secs(5);

/// What a person opened the window for.
#[derive(Debug, Clone, Copy)]
pub struct Window {
    /// The one sensor that may be paired.
    pub address: BleAddress,
    /// The least class of key that its profile takes; with one, only a full key counts.
    pub demand: Option<KeyClass>,
    /// How long the window stays open.
    pub limit: Duration,
}

/// What the person is asked, or told.
#[derive(Debug)]
pub enum Question {
    /// Type the six digits that the sensor shows. `None` refuses.
    Passkey(oneshot::Sender<Option<u32>>),
    /// Does the sensor show this number too?
    Compare {
        /// Six digits.
        number: u32,
        /// Yes or no.
        answer: oneshot::Sender<bool>,
    },
    /// Type these six digits on the sensor.
    Show {
        /// Six digits.
        passkey: u32,
    },
}

/// Why there is no bond.
#[derive(Debug, thiserror::Error)]
pub enum PairError {
    /// There is a bond already.
    #[error("{0} is paired already. Forget it first")]
    Already(BleAddress),
    /// The key is less than the profile demands; the bond was removed again.
    #[error("the sensor paired with {}, but its profile demands {demanded:?} with {FULL_KEY} octets; the bond was removed", said(*.got))]
    TooWeak {
        /// What it was.
        got: Bond,
        /// What it should be.
        demanded: KeyClass,
    },
    /// How the key came about could not be learnt, and the profile makes a demand; the bond was removed again.
    #[error(
        "how the key came about could not be learnt, so the bond was removed: does homeward-bond.socket run?"
    )]
    Unread,
    /// The person or the sensor said no, or the digits were wrong.
    #[error("the pairing failed: {0}")]
    Failed(String),
    /// The window closed.
    #[error("nothing was paired within {} s", .0.as_secs())]
    Closed(Duration),
    /// Bluetooth failed.
    #[error(transparent)]
    Ble(#[from] BleError),
}

fn said(bond: Bond) -> String {
    format!("{:?} and {} octets", bond.class, bond.key_size)
}

/// Whether a bond is what was demanded.
pub fn suffices(bond: Bond, demand: Option<KeyClass>) -> bool {
    demand.is_none_or(|least| bond.class >= least && bond.is_full())
}

impl Bluez {
    /// Opens the window, pairs the one sensor, closes the window, and judges the key.
    ///
    /// The sensor must have been heard. Comes back with the key's class and size; `None` when they could not be
    /// learnt and nothing was demanded. On any failure no bond is left.
    pub async fn pair(
        &self,
        window: Window,
        questions: mpsc::Sender<Question>,
    ) -> Result<Option<Bond>, PairError> {
        let address = window.address;
        let bus = self.session().await?.bus;
        let objects = bus.ready().await?;
        let adapter = objects.adapter().ok_or(BleError::NoAdapter)?.clone();
        let device = objects.device(address).ok_or(BleError::Unheard { address })?;
        if device.bonded {
            return Err(PairError::Already(address));
        }
        let owner = bus.owner().await.map_err(|fault| manage(fault, address))?;
        let agent = Agent {
            device: device.path.clone(),
            bluez: owner.unwrap_or_default(),
            questions,
        };
        open(&bus, &adapter.path, agent, window.limit)
            .await
            .map_err(|fault| manage(fault, address))?;
        let pairing = bus.call(&device.path, "org.bluez.Device1.Pair", &(), window.limit);
        let paired = pairing.await;
        close(&bus, &adapter.path).await;
        if let Err(fault) = paired {
            end(&bus, &device.path).await;
            // A pairing that failed late may have left a key.
            self.remove(&bus, &adapter.path, &device.path).await.ok();
            return Err(failed(fault, window));
        }
        let judged = self.judge(adapter.address, window).await;
        if judged.is_err() {
            self.remove(&bus, &adapter.path, &device.path)
                .await
                .map_err(|fault| manage(fault, address))?;
        }
        judged
    }

    /// Removes the bond with `address` and everything that the stack knows of it. False: there was none.
    pub async fn forget(&self, address: BleAddress) -> Result<bool, BleError> {
        let bus = self.session().await?.bus;
        let objects = bus.ready().await?;
        let adapter = objects.adapter().ok_or(BleError::NoAdapter)?;
        let Some(device) = objects.device(address) else {
            return Ok(false);
        };
        self.remove(&bus, &adapter.path, &device.path)
            .await
            .map_err(|fault| manage(fault, address))?;
        self.remembered().remove(&address);
        Ok(device.bonded)
    }

    async fn judge(&self, adapter: BleAddress, window: Window) -> Result<Option<Bond>, PairError> {
        let until = Instant::now() + WRITTEN;
        loop {
            match self.key(adapter, window.address).await {
                Answer::Held(bond) if suffices(bond, window.demand) => return Ok(Some(bond)),
                Answer::Held(got) => {
                    let demanded = window.demand.unwrap_or(KeyClass::Debug);
                    return Err(PairError::TooWeak { got, demanded });
                }
                Answer::None if Instant::now() < until => sleep(Duration::from_millis(100)).await,
                Answer::None | Answer::Unread if window.demand.is_none() => return Ok(None),
                Answer::None | Answer::Unread => return Err(PairError::Unread),
            }
        }
    }

    async fn remove(&self, bus: &Bus, adapter: &str, device: &str) -> Result<(), Fault> {
        let path = ObjectPath::try_from(device).map_err(|error| Fault::Bus(error.to_string()))?;
        bus.call(adapter, "org.bluez.Adapter1.RemoveDevice", &path, SHORT)
            .await
            .map(drop)
    }
}

/// Registers the agent, as the one that is asked for everything, and lets the adapter keep keys for a while.
async fn open(bus: &Bus, adapter: &str, agent: Agent, limit: Duration) -> Result<(), Fault> {
    let server = bus.connection.object_server();
    server.remove::<Agent, _>(AGENT).await.ok();
    server.at(AGENT, agent).await?;
    let path = ObjectPath::from_static_str_unchecked(AGENT);
    let register = "org.bluez.AgentManager1.RegisterAgent";
    let capable = (&path, "KeyboardDisplay");
    bus.call("/org/bluez", register, &capable, SHORT).await?;
    let first = "org.bluez.AgentManager1.RequestDefaultAgent";
    bus.call("/org/bluez", first, &path, SHORT).await?;
    // Should we die, the stack ends this by itself.
    let seconds = u32::try_from(limit.as_secs())
        .unwrap_or(u32::MAX)
        .saturating_add(5);
    let timed = ("org.bluez.Adapter1", "PairableTimeout", Variant::from(seconds));
    bus.call(adapter, "org.freedesktop.DBus.Properties.Set", &timed, SHORT)
        .await?;
    bus.set(adapter, "org.bluez.Adapter1.Pairable", true).await
}

/// Closes the window. What cannot be undone here ends with our connection to the bus.
async fn close(bus: &Bus, adapter: &str) {
    let path = ObjectPath::from_static_str_unchecked(AGENT);
    let unregister = "org.bluez.AgentManager1.UnregisterAgent";
    let steps = [
        bus.set(adapter, "org.bluez.Adapter1.Pairable", false).await,
        bus.call("/org/bluez", unregister, &path, SHORT).await.map(drop),
        bus.connection
            .object_server()
            .remove::<Agent, _>(AGENT)
            .await
            .map(drop)
            .map_err(Fault::from),
    ];
    for fault in steps.into_iter().filter_map(Result::err) {
        tracing::warn!("closing the pairing window: {fault:?}");
    }
}

/// Ends a pairing that may still go on in the stack, and its link.
async fn end(bus: &Bus, device: &str) {
    for method in ["org.bluez.Device1.CancelPairing", "org.bluez.Device1.Disconnect"] {
        if let Err(fault) = bus.call(device, method, &(), SHORT).await {
            tracing::debug!("ending a pairing: {fault:?}");
        }
    }
}

fn manage(fault: Fault, address: BleAddress) -> BleError {
    fault.means(Doing::Manage, address, "pairing")
}

fn failed(fault: Fault, window: Window) -> PairError {
    match fault {
        Fault::Time(_) => PairError::Closed(window.limit),
        Fault::Named { name, message } if name.contains(".Authentication") => {
            let text = match name.rsplit('.').next() {
                Some("AuthenticationRejected") => "it was refused".to_owned(),
                Some("AuthenticationCanceled") => "it was broken off".to_owned(),
                Some("AuthenticationTimeout") => "nobody answered in time".to_owned(),
                _ => format!("the sensor and this box did not agree ({message})"),
            };
            PairError::Failed(text)
        }
        Fault::Named { name, .. } if name.ends_with(".AlreadyExists") => PairError::Already(window.address),
        other => PairError::Ble(manage(other, window.address)),
    }
}

/// Answers the stack for one sensor, and refuses everything else.
struct Agent {
    device: String,
    /// The stack's unique name: nobody else may ask.
    bluez: String,
    questions: mpsc::Sender<Question>,
}

/// What the stack is told when it gets no answer.
#[derive(Debug, zbus::DBusError)]
#[zbus(prefix = "org.bluez.Error")]
enum Refusal {
    #[zbus(error)]
    ZBus(zbus::Error),
    Rejected(String),
    Canceled(String),
}

impl Agent {
    fn check(&self, header: &Header<'_>, device: &ObjectPath<'_>) -> Result<(), Refusal> {
        let asked_by_the_stack = header.sender().is_some_and(|s| s.as_str() == self.bluez);
        if asked_by_the_stack && device.as_str() == self.device {
            return Ok(());
        }
        tracing::warn!("a pairing that nobody asked for was refused: {device}");
        Err(no("another device"))
    }

    async fn put(&self, question: Question) -> Result<(), Refusal> {
        self.questions
            .send(question)
            .await
            .map_err(|_| Refusal::Canceled("nobody is there".into()))
    }
}

fn no(why: &str) -> Refusal {
    Refusal::Rejected(why.to_owned())
}

#[interface(name = "org.bluez.Agent1")]
impl Agent {
    async fn request_passkey(
        &self,
        #[zbus(header)] header: Header<'_>,
        device: ObjectPath<'_>,
    ) -> Result<u32, Refusal> {
        self.check(&header, &device)?;
        let (answer, typed) = oneshot::channel();
        self.put(Question::Passkey(answer)).await?;
        let passkey = typed.await.ok().flatten().filter(|p| *p < 1_000_000);
        passkey.ok_or_else(|| no("no passkey was typed"))
    }

    async fn request_confirmation(
        &self,
        #[zbus(header)] header: Header<'_>,
        device: ObjectPath<'_>,
        number: u32,
    ) -> Result<(), Refusal> {
        self.check(&header, &device)?;
        let (answer, same) = oneshot::channel();
        self.put(Question::Compare { number, answer }).await?;
        match same.await {
            Ok(true) => Ok(()),
            Ok(false) | Err(_) => Err(no("the numbers differ")),
        }
    }

    async fn display_passkey(
        &self,
        #[zbus(header)] header: Header<'_>,
        device: ObjectPath<'_>,
        passkey: u32,
        entered: u16,
    ) -> Result<(), Refusal> {
        self.check(&header, &device)?;
        // It comes again for each digit that is typed over there.
        if entered > 0 {
            return Ok(());
        }
        self.put(Question::Show { passkey }).await
    }

    /// Only pairings that somebody else began ask this.
    fn request_authorization(&self, device: ObjectPath<'_>) -> Result<(), Refusal> {
        tracing::warn!("a pairing that nobody asked for was refused: {device}");
        Err(no("no pairing but the one that was asked for"))
    }

    fn authorize_service(&self, device: ObjectPath<'_>, uuid: String) -> Result<(), Refusal> {
        tracing::warn!("{device} asked to use {uuid} and was refused");
        Err(no("this box serves nothing"))
    }

    /// Classic Bluetooth.
    fn request_pin_code(&self, device: ObjectPath<'_>) -> Result<String, Refusal> {
        Err(no(&format!("classic Bluetooth is refused: {device}")))
    }

    /// Classic Bluetooth.
    fn display_pin_code(&self, device: ObjectPath<'_>, code: String) -> Result<(), Refusal> {
        drop(code);
        Err(no(&format!("classic Bluetooth is refused: {device}")))
    }

    fn cancel(&self) {
        tracing::debug!("the stack broke the pairing off");
    }

    fn release(&self) {
        tracing::debug!("the stack let the pairing agent go");
    }
}
