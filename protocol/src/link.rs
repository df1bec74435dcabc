//! What a gateway says of its own connection: when the way to the server was gone, and why.

use serde::{Deserialize, Serialize};

use crate::time::Timestamp;

/// Why the way to the server was gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The network or the server did not answer.
    Unreachable,
    /// The TLS handshake failed: a certificate on one side was not accepted.
    Untrusted,
    /// The server closed the connection.
    Closed,
    /// The agent itself was not running.
    NotRunning,
}

/// One stretch without a connection that has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Outage {
    /// When the connection was lost, or the last moment the agent is known to have run.
    pub from: Timestamp,
    /// When it came back.
    pub until: Timestamp,
    /// Why, as the gateway saw it.
    pub cause: Cause,
}
