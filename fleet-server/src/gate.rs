//! Who may connect, publish and read: the one door through which gateways reach the server.
//!
//! A gateway is who its certificate says. It publishes records ([`Uplink`]) to its own topics, reads what is sent
//! to it ([`Connections::send`]), and nothing else; whoever tries more is cut off and counted.
//!
//! # Design
//! rumqttd's own listener stays closed: one silent socket blocks it, an odd client id or a full house panics it for
//! ever, and it knows no revocation. This gate owns TLS, identity, topic rights, limits and revocation; the broker
//! runs behind it as the bus for live events ([`crate::bus`]). PUBACK is flow control and comes after the commit;
//! the only thing that lets a gateway forget a record is the application's own acknowledgement.

pub mod codec;
pub mod connections;
pub mod limits;
pub mod listen;
pub mod mailbox;
pub mod revoked;
pub mod saying;
pub mod session;
mod socket;

use bytes::Bytes;
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;
use tokio::sync::{mpsc, oneshot};

use crate::ca::TrustDomain;
use crate::clock::Clock;
use crate::support::hub::Hub;
pub use connections::{Connection, Connections, Down, Place, Sent};
pub use limits::Limits;
pub use revoked::Revoked;

/// All that the gate works with.
#[derive(Debug, Clone)]
pub struct Gate {
    /// Whose gateways: the fleet's name in their certificates.
    pub domain: TrustDomain,
    /// Who is connected.
    pub connections: Connections,
    /// Who may not connect.
    pub revoked: Revoked,
    /// Where records go. A full queue slows the gateways down.
    pub uplinks: mpsc::Sender<Uplink>,
    /// Where gateways' words about themselves go.
    pub testimonies: mpsc::Sender<Testimony>,
    /// Where comings and goings go.
    pub passages: mpsc::Sender<Passage>,
    /// Where links of support sessions meet people.
    pub support: Hub,
    /// How much anyone may take.
    pub limits: Limits,
    /// What time it is.
    pub clock: Clock,
}

/// Records that a gateway has sent, on their way to the store.
#[derive(Debug)]
pub struct Uplink {
    /// Who sent them: from the certificate, and equal to the topic's.
    pub gateway: GatewayId,
    /// Which lane of its outbox, from the topic.
    pub lane: Lane,
    /// A signed envelope, not yet looked at; at most 64 KiB.
    pub payload: Bytes,
    /// Fired after the commit: the gate then sends PUBACK. Dropped unfired (the transaction failed), the gate
    /// closes the connection, and the gateway sends the records again.
    pub done: oneshot::Sender<()>,
}

/// What a gateway says of itself, on its way to be judged.
#[derive(Debug)]
pub struct Testimony {
    /// Who says it: from the certificate, and equal to the topic's.
    pub gateway: GatewayId,
    /// The key of the certificate on this connection.
    pub key: PublicKey,
    /// What.
    pub spoken: Spoken,
    /// As [`Uplink::done`].
    pub done: oneshot::Sender<()>,
}

/// What is said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// A wish to be asked: a word.
    Ask(Bytes),
    /// What answers a challenge, not yet looked at; at most 64 KiB.
    Evidence(Bytes),
    /// "What I told you of myself still holds": not yet looked at.
    Still(Bytes),
}

/// A connection began or ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Passage {
    /// A gateway was let in.
    Connected {
        /// Who.
        gateway: GatewayId,
        /// Whether with its spare key.
        spare: bool,
        /// From where: address and port.
        address: String,
        /// When.
        at: Timestamp,
    },
    /// Its connection ended.
    Left {
        /// Who.
        gateway: GatewayId,
        /// When the connection had begun; with the gateway it names the connection.
        connected_at: Timestamp,
        /// When it ended.
        at: Timestamp,
        /// Why.
        why: Why,
    },
}

/// Why a connection was refused or ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Why {
    /// The gateway said goodbye.
    Disconnected,
    /// The connection broke or was closed without goodbye.
    Lost,
    /// Nothing was heard for one and a half times the keep-alive.
    Silent,
    /// What was sent to it was not taken for 10 s.
    Stuck,
    /// Revoked, or the operator cut it off.
    Kicked,
    /// The gateway connected anew; the newest connection wins.
    Replaced,
    /// The store did not take its records; it sends them again after connecting anew.
    NotStored,
    /// The server stops.
    Stopping,
    /// The certificate's gateway is revoked.
    Revoked,
    /// Bytes that are no MQTT 3.1.1 packet, or one that a client may not send now.
    Malformed,
    /// A packet longer than its limit.
    TooLarge,
    /// Another protocol version than MQTT 3.1.1.
    Version,
    /// A client id that is not the certificate's name.
    ClientId,
    /// A will, a retained message or `QoS` 2: features that this service does not give.
    Feature,
    /// A publish to a topic that is not its own.
    Topic,
    /// As many gateways are connected as the configuration allows.
    Full,
    /// It came with its spare key while it is connected with its own.
    Outranked,
    /// Too many sockets that have not said who they are, in all or from this address.
    Crowded,
    /// No TLS greeting, handshake or CONNECT in time.
    Slow,
    /// The TLS handshake failed: no certificate, a foreign or an expired one, or an old TLS version.
    Handshake,
    /// The certificate names no gateway of this fleet, or more than one, or its time is over: a resumed TLS
    /// session does not look at that again.
    Identity,
}

impl Why {
    /// A short word for rows, logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Why::Disconnected => "disconnected",
            Why::Lost => "lost",
            Why::Silent => "silent",
            Why::Stuck => "stuck",
            Why::Kicked => "kicked",
            Why::Replaced => "replaced",
            Why::NotStored => "not-stored",
            Why::Stopping => "stopping",
            Why::Revoked => "revoked",
            Why::Malformed => "malformed",
            Why::TooLarge => "too-large",
            Why::Version => "version",
            Why::ClientId => "client-id",
            Why::Feature => "feature",
            Why::Topic => "topic",
            Why::Full => "full",
            Why::Outranked => "outranked",
            Why::Crowded => "crowded",
            Why::Slow => "slow",
            Why::Handshake => "handshake",
            Why::Identity => "identity",
        }
    }
}

impl std::fmt::Display for Why {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}
