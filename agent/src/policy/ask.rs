//! What the agent asks of the helper with rights, and what it is answered.
//!
//! One request a connection, one line of JSON each way. A request names settings, never a file, a program or an
//! argument: whoever speaks for the agent can set our own nftables table and our own sshd file, and nothing else.

use std::collections::BTreeMap;
use std::net::IpAddr;

use homeward_protocol::policy::network::Protocol;
use homeward_protocol::policy::rules::Sshd;
use serde::{Deserialize, Serialize};

use super::rules::Network;

/// Longest line either way, bytes: the largest policy, and some thousand stopped flows.
pub const MAX_LINE: usize = 2 << 20;

/// A request.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Request {
    /// Replace our table by these rules, at the next start of the box, too; none takes it away.
    SetNetwork(Option<Box<Network>>),
    /// As that, for a policy on trial: the next start of the box sets what was confirmed before.
    TryNetwork(Option<Box<Network>>),
    /// Say what our table holds.
    SeeNetwork,
    /// Replace our file by these settings; none takes it away.
    SetSshd(Option<Sshd>),
    /// Say what sshd says of itself.
    SeeSshd,
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Answer {
    /// What our table holds, read back.
    Network(Table),
    /// What sshd says of itself, read back: the settings that rules name, by their names in `sshd -T`.
    Sshd(BTreeMap<String, String>),
    /// This box has not what it takes, and what that is.
    NotHere(String),
    /// It was tried, and what was before stands again.
    Failed(String),
}

/// What our table holds.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Table {
    /// Which rules it was made from; none when it bears no mark of ours.
    pub mark: Option<String>,
    /// Whether the next start of the box sets the same, before its network is there.
    pub kept: bool,
    /// The rules of each point, by its name, as a digest without counters and handles. Empty when there is no table.
    pub points: BTreeMap<String, String>,
    /// Flows that were stopped within the last hour.
    pub stopped: Vec<Stop>,
    /// How many more there were.
    pub more: u32,
}

/// A flow that was stopped.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Stop {
    /// In which chain.
    pub way: Way,
    /// The user of the box whose process it was, for [`Way::Out`].
    pub user: Option<u32>,
    /// Where it came from, for the other ways.
    pub from: Option<IpAddr>,
    /// Where it went; the box itself for [`Way::In`], which has many addresses.
    pub to: Option<IpAddr>,
    /// TCP or UDP; none for others.
    pub protocol: Option<u8>,
    /// The port; 0 where there is none.
    pub port: u16,
}

impl Stop {
    /// The protocol, when it is one with ports.
    pub const fn with_ports(&self) -> Option<Protocol> {
        match self.protocol {
            Some(6) => Some(Protocol::Tcp),
            Some(17) => Some(Protocol::Udp),
            _ => None,
        }
    }
}

/// A chain of ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// From the box.
    Out,
    /// To the box.
    In,
    /// Through the box.
    Through,
}

impl Way {
    /// All of them.
    pub const ALL: [Way; 3] = [Way::Out, Way::In, Way::Through];

    /// The name of its chain.
    pub const fn chain(self) -> &'static str {
        match self {
            Way::Out => "out",
            Way::In => "in",
            Way::Through => "through",
        }
    }
}
