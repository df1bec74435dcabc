//! What happens to one Bluetooth sensor, what is done then, and what is waited for.

use std::collections::VecDeque;
use std::time::Duration;

use homeward_devices::link::ble::{At, BleError, BondState, Notice, Remedy};
use homeward_protocol::bond::BleAddress;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Uptime;

use crate::associate::Association;
use crate::outbox::Progress;
use crate::sense::Heard;
use crate::watch::Session;

/// What happened.
#[derive(Debug)]
pub enum Input {
    /// The sensor was heard in a scan.
    Heard,
    /// The connection was made, and this is served; or not.
    Connected(Result<Vec<At>, BleError>),
    /// How the adapter is tied to the sensor.
    Bond(Result<BondState, BleError>),
    /// The answer to [`Effect::Read`].
    Read(At, Result<Vec<u8>, BleError>),
    /// The answer to [`Effect::Subscribe`].
    Subscribed(At, Result<(), BleError>),
    /// The answer to [`Effect::Write`].
    Written(Result<(), BleError>),
    /// A value came.
    Value(Notice),
    /// The link is gone.
    Lost,
    /// The Bluetooth stack began anew, or can be used again: no link of before is left.
    StackNew,
    /// The association is this now.
    Paired(Option<Association>),
    /// Time passed.
    Tick,
}

/// What is to be done, in order. The answer to each of the first five comes back as an [`Input`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// Connect within the limit.
    Connect(BleAddress, Duration),
    /// Ask how the adapter is tied to the sensor.
    AskBond(BleAddress),
    /// Read a value.
    Read(At),
    /// Subscribe.
    Subscribe(At),
    /// Write a value.
    Write(At, Vec<u8>),
    /// End the link. Nothing comes back.
    Disconnect,
    /// Keep these, in one commit.
    Keep(Box<Kept>),
    /// Tell the watch.
    Tell(Noticed),
}

/// What is to be kept and reported.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// Records and the sensor's state.
    pub heard: Heard,
    /// How far its memory was taken, when that moved.
    pub progress: Option<Progress>,
}

/// What is noticed of a sensor beside its values, for the watch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Noticed {
    /// It connected, and is tied to the adapter like this.
    Connected(BondState),
    /// It does not hold the bond of its association.
    BondRefused,
    /// It could not be connected, or was lost while something was asked.
    Failed(Remedy),
    /// What it said of itself.
    Told {
        /// Firmware revision.
        firmware: Option<ShortText>,
        /// Charge of its battery, per cent.
        battery: Option<u8>,
    },
    /// How the session of a continuous glucose sensor is.
    Session(Session),
    /// A value that no decoder knows, or that is damaged: put aside, never read as a vital sign.
    Quarantined {
        /// Where it came from.
        at: At,
        /// Why.
        said: String,
    },
}

/// What is waited for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// Nobody paired it, and its profile demands a bond.
    Unpaired,
    /// Its next try.
    Away {
        /// Not before this, even when it is heard.
        not_before: Uptime,
        /// Then even when it is not heard; none for one that visits.
        blind_at: Option<Uptime>,
    },
    /// The connection.
    Connecting,
    /// The word about its bond.
    Checking,
    /// What it says of itself; what is still to be read.
    Reading(VecDeque<At>),
    /// Its subscriptions; what is still to be subscribed.
    Subscribing(VecDeque<At>),
    /// Its values.
    Listening {
        /// When the last one came, or listening began.
        quiet_since: Uptime,
    },
}
