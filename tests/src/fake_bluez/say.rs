//! What the fake stack says: answers, signals, questions to pairing agents; and what it leaves to the shell.

use std::collections::HashMap;
use std::time::Duration;

use homeward_protocol::bond::{BleAddress, Bond};

use super::call::Call;
use super::device::Sent;
use super::objects::Properties;

/// A call that waits for its answer.
pub type CallId = u64;

/// An error by name, with its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// As `org.bluez.Error.Failed`.
    pub name: String,
    /// What it says.
    pub message: String,
}

impl Refusal {
    /// One of the stack's own.
    pub fn bluez(name: &str, message: &str) -> Refusal {
        Refusal {
            name: format!("org.bluez.Error.{name}"),
            message: message.to_owned(),
        }
    }

    /// One of the bus.
    pub fn bus(name: &str) -> Refusal {
        Refusal {
            name: format!("org.freedesktop.DBus.Error.{name}"),
            message: "no such thing".to_owned(),
        }
    }
}

/// What an answer carries.
#[derive(Debug)]
pub enum Body {
    /// Nothing.
    Empty,
    /// A characteristic's value.
    Octets(Vec<u8>),
    /// A text.
    Text(String),
    /// One property.
    Property(zbus::OwnedVariant),
    /// Several.
    Properties(Properties),
    /// The whole tree.
    Objects(zbus::fdo::ManagedObjects),
}

/// A question that the pairing agent of a client is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Question {
    /// Which passkey does the sensor show?
    Passkey,
    /// Do both show this number?
    Confirm(u32),
    /// Show these digits.
    Display(u32),
}

/// What is to be said or done, in order.
#[derive(Debug)]
pub enum Say {
    /// The answer to a call.
    Answer(CallId, Result<Body, Refusal>),
    /// Properties of an object changed.
    Changed(String, &'static str, Properties),
    /// An object is there, with these interfaces.
    Added(String, HashMap<String, Properties>),
    /// An object is gone.
    Removed(String, Vec<String>),
    /// A sensor sends these, one after the other, as long as that link lasts.
    Send(BleAddress, u32, Vec<Sent>),
    /// Ask a pairing agent, and come back with what it said.
    Ask {
        /// For whom.
        call: CallId,
        /// The bus name and the object of the agent.
        agent: (String, String),
        /// Which sensor.
        device: BleAddress,
        /// What.
        question: Question,
    },
    /// The key file of a sensor is this now, or is gone.
    Key(BleAddress, Option<Bond>),
    /// Try the call again after this time.
    Later(Call, Duration),
}
