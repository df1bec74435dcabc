//! A call on the bus of the fake stack, as data.

use homeward_protocol::time::Timestamp;

use super::say::CallId;

/// What a call asks for.
#[derive(Debug)]
pub struct Call {
    /// Which it is.
    pub id: CallId,
    /// Who calls: a unique name of the bus.
    pub client: String,
    /// Which object.
    pub path: String,
    /// What, without its interface.
    pub method: String,
    /// What, with everything that belongs to it.
    pub ask: Ask,
    /// When.
    pub now: Timestamp,
}

/// What can be asked.
#[derive(Debug)]
pub enum Ask {
    /// The tree.
    Objects,
    /// What is below an object, in XML.
    Introspect,
    /// A sign of life.
    Ping,
    /// One property.
    Get(String, String),
    /// All of an interface.
    GetAll(String),
    /// Set one.
    Set(String, String, zbus::OwnedVariant),
    /// What a scan should tell; here everything is told.
    Filter,
    /// Begin a scan.
    StartScan,
    /// End it.
    StopScan,
    /// Forget a device and its bond.
    Remove(String),
    /// Make a link.
    Connect,
    /// End it.
    Disconnect,
    /// Pair.
    Pair,
    /// Stop pairing.
    CancelPairing,
    /// Read a value.
    Read,
    /// Write one.
    Write(Vec<u8>),
    /// Subscribe.
    StartNotify,
    /// End that.
    StopNotify,
    /// A client's pairing agent.
    RegisterAgent(String),
    /// It is asked first.
    DefaultAgent,
    /// It is no more.
    UnregisterAgent,
    /// Something that the stack does not know.
    Unknown,
}
