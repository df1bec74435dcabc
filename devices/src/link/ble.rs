//! The port to Bluetooth Low Energy sensors: what the radio can be asked, and what can go wrong.
//!
//! # Design
//! The agent's core knows these traits only; `ble/bluez.rs` is the one for a real box, and a simulated sensor
//! implements them for tests. Three rules hold for whoever implements them:
//! - every call ends within its limit, and a call that ran out of time leaves nothing behind that could spoil the
//!   next one (`BlueZ` goes on connecting after a time limit: the implementer disconnects);
//! - a [`Notice`] is a value that the sensor sent because of our subscription. An answer to a read is none;
//! - a thing that is there twice is refused ([`BleError::Ambiguous`]): nobody guesses which sensor it is.

use std::fmt;
use std::future::Future;
use std::time::Duration;

use homeward_protocol::bond::{BleAddress, Bond};
use tokio::sync::watch;

/// The longest value of a characteristic, octets. Source: Bluetooth Core, volume 3, part F, section 3.2.9.
pub const MAX_VALUE: usize = 512;

/// The box's Bluetooth adapter.
pub trait Central: Send + Sync {
    /// A connection to one sensor.
    type Link: Peripheral;

    /// Listens for `window` and tells every sensor heard, each once, by address.
    ///
    /// `services` (16-bit) narrows what the radio reports; empty hears everything. Connected sensors do not
    /// advertise and may be missing. Fails with [`BleError::AdapterOff`] rather than switching the adapter on.
    fn scan(
        &self,
        window: Duration,
        services: &[u16],
    ) -> impl Future<Output = Result<Vec<Advert>, BleError>> + Send;

    /// Connects to `address` and learns its services, within `limit`.
    ///
    /// Fails with [`BleError::Unheard`] when the adapter has no handle for it: [`Central::scan`] makes one. After
    /// any error nothing goes on trying.
    fn connect(
        &self,
        address: BleAddress,
        limit: Duration,
    ) -> impl Future<Output = Result<Self::Link, BleError>> + Send;

    /// How the adapter is tied to `address` now. Needs no link.
    fn bond(&self, address: BleAddress) -> impl Future<Output = Result<BondState, BleError>> + Send;

    /// How the Bluetooth stack of the box is: the latest state, and a wake-up at each change.
    ///
    /// When [`Stack::life`] has moved, every link, subscription and scan of before is gone without a word.
    fn stack(&self) -> watch::Receiver<Stack>;
}

/// A connection to one sensor. Dropping it does not end it: call [`Peripheral::disconnect`].
pub trait Peripheral: Send {
    /// Whose it is.
    fn address(&self) -> BleAddress;

    /// Every characteristic that the sensor serves with 16-bit numbers; one that is there twice stands here twice.
    fn served(&self) -> Vec<At>;

    /// Reads a value. The answer does not come again as a [`Notice`].
    ///
    /// Never read a characteristic that is subscribed (the two could not be told apart), and never one that the
    /// profile says is protected before the bond is checked: the stack would begin a pairing by itself.
    fn read(&self, at: At) -> impl Future<Output = Result<Vec<u8>, BleError>> + Send;

    /// Writes a value and waits for the sensor's answer.
    fn write(&self, at: At, value: &[u8]) -> impl Future<Output = Result<(), BleError>> + Send;

    /// Asks for notifications or indications. Values may come before this returns; they wait for [`Self::next`].
    ///
    /// Ok is no proof of a link. Asking twice on one link is harmless and changes nothing.
    fn subscribe(&mut self, at: At) -> impl Future<Output = Result<(), BleError>> + Send;

    /// The next value of a subscribed characteristic, in the sensor's order; waits for it without a limit.
    ///
    /// `None` when the link is lost (or the stack died): nothing more comes. May be dropped and asked again.
    fn next(&mut self) -> impl Future<Output = Option<Notice>> + Send;

    /// Ends the link, within a few seconds. A link that is already gone is no error.
    fn disconnect(self) -> impl Future<Output = ()> + Send;
}

/// Where a value lives on a sensor, by the Bluetooth SIG's 16-bit numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct At {
    /// The service, as `0x180D`.
    pub service: u16,
    /// The characteristic in it, as `0x2A37`.
    pub characteristic: u16,
}

impl fmt::Display for At {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04X}/{:04X}", self.service, self.characteristic)
    }
}

/// A value that came by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Notice {
    /// Where it came from.
    pub at: At,
    /// As sent, at most [`MAX_VALUE`] octets.
    pub value: Vec<u8>,
}

/// A sensor heard nearby. All of it is what the sensor says of itself, and proves nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Advert {
    /// Its address.
    pub address: BleAddress,
    /// What sort of address that is.
    pub kind: AddressKind,
    /// The name in its advertisement.
    pub name: Option<String>,
    /// The services that it advertises, those with 16-bit numbers, in rising order.
    pub services: Vec<u16>,
    /// The strength of its last signal, dBm.
    pub rssi: Option<i16>,
}

/// What sort of address a sensor uses. Source: Bluetooth Core, volume 6, part B, section 1.3.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AddressKind {
    /// Registered with the IEEE; stays.
    Public,
    /// Made up by the sensor; stays at least until it is switched off.
    Static,
    /// Private, changes, can be resolved by who is bonded.
    Resolvable,
    /// Private, changes, cannot be resolved: no lasting name for a sensor.
    Unresolvable,
}

impl AddressKind {
    /// The kind of `address`, of which the stack said whether it is `random`: the top two bits tell the rest.
    pub const fn of(address: BleAddress, random: bool) -> Self {
        match (random, address.0[0] >> 6) {
            (false, _) => AddressKind::Public,
            (true, 0b11) => AddressKind::Static,
            (true, 0b01) => AddressKind::Resolvable,
            (true, _) => AddressKind::Unresolvable,
        }
    }
}

/// How the adapter is tied to a sensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BondState {
    /// Not at all.
    None,
    /// There is a bond, but how its key came about could not be learnt: it proves nothing until it is.
    Unread,
    /// There is a bond with this key.
    Held(Bond),
}

/// How the box's Bluetooth is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Stack {
    /// Counts the lives of the stack's daemon, from 1; 0 before the first.
    pub life: u32,
    /// What it can do now.
    pub state: StackState,
}

/// What the box's Bluetooth can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StackState {
    /// The daemon runs and the adapter is on.
    Ready,
    /// The daemon runs, the adapter is off.
    AdapterOff,
    /// The daemon runs and knows no adapter.
    NoAdapter,
    /// No daemon, or no way to it.
    Down,
}

/// Why the radio did not do what it was asked.
#[derive(Debug, thiserror::Error)]
pub enum BleError {
    /// The adapter has no handle for this sensor: it was not heard lately.
    #[error("{address} has not been heard: is it switched on and near?")]
    Unheard {
        /// Which sensor.
        address: BleAddress,
    },
    /// No answer in time; whatever was begun has been ended.
    #[error("{doing} took longer than {} ms", .after.as_millis())]
    TimeLimit {
        /// What was tried: `connecting to …`.
        doing: String,
        /// How long was waited.
        after: Duration,
    },
    /// The link is gone.
    #[error("the link to {address} is lost")]
    LinkLost {
        /// Whose link.
        address: BleAddress,
    },
    /// We hold a bond, and the one at this address did not prove that it does.
    #[error("{address} has lost its bond, or is not the sensor that was paired")]
    BondRefused {
        /// Which sensor.
        address: BleAddress,
    },
    /// The sensor wants a bond, or a better one, for this.
    #[error("the sensor protects {at}: pair it first")]
    Protected {
        /// What was asked for.
        at: At,
    },
    /// The sensor serves no such thing.
    #[error("the sensor has no {at}")]
    NotServed {
        /// What was asked for.
        at: At,
    },
    /// The sensor serves it more than once, and nobody may guess which is meant.
    #[error("the sensor has {at} {count} times: which one is meant cannot be known")]
    Ambiguous {
        /// What was asked for.
        at: At,
        /// How many there are.
        count: usize,
    },
    /// The sensor refused by an ATT error code.
    #[error("the sensor refused {at}: {message}")]
    Refused {
        /// What was asked for.
        at: At,
        /// What the stack said of it.
        message: String,
    },
    /// The stack is busy with something else.
    #[error("Bluetooth is busy with this sensor")]
    Busy,
    /// The adapter is off. Only a person or the policy switches it on.
    #[error("the Bluetooth adapter is off")]
    AdapterOff,
    /// There is no adapter.
    #[error("this box has no Bluetooth adapter")]
    NoAdapter,
    /// There is no Bluetooth daemon, or no way to it.
    #[error("Bluetooth is down: {message}")]
    Down {
        /// What was noticed.
        message: String,
    },
    /// An error that has no meaning of its own here.
    #[error("Bluetooth failed: {name}: {message}")]
    Other {
        /// Its name on the bus, as `org.bluez.Error.Failed`.
        name: String,
        /// What it said.
        message: String,
    },
}

/// What helps after a [`BleError`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remedy {
    /// Trying again later, from the connection on.
    Reconnect,
    /// Hearing the sensor again first: the handle is stale.
    Rescan,
    /// Waiting for the stack ([`Central::stack`]).
    AwaitStack,
    /// Nothing without a person: pairing, another profile, another sensor.
    Person,
}

impl BleError {
    /// What helps.
    pub const fn remedy(&self) -> Remedy {
        match self {
            BleError::Unheard { .. } => Remedy::Rescan,
            BleError::TimeLimit { .. }
            | BleError::LinkLost { .. }
            | BleError::Busy
            | BleError::Refused { .. }
            | BleError::Other { .. } => Remedy::Reconnect,
            BleError::AdapterOff | BleError::NoAdapter | BleError::Down { .. } => Remedy::AwaitStack,
            BleError::BondRefused { .. }
            | BleError::Protected { .. }
            | BleError::NotServed { .. }
            | BleError::Ambiguous { .. } => Remedy::Person,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_top_bits_of_a_random_address_tell_its_kind() {
        let kind = |first: u8, random| AddressKind::of(BleAddress([first, 0, 0, 0, 0, 1]), random);
        assert_eq!(kind(0xC1, false), AddressKind::Public);
        assert_eq!(kind(0xC1, true), AddressKind::Static);
        assert_eq!(kind(0x7F, true), AddressKind::Resolvable);
        assert_eq!(kind(0x3F, true), AddressKind::Unresolvable);
        assert_eq!(kind(0x80, true), AddressKind::Unresolvable);
    }
}
