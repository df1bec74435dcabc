//! Rules of the network: what the box may reach, who may reach it, and what each device behind it may do.
//!
//! Whatever these rules say, a box keeps its *vital flows*: what its own configuration needs to read its sensors. What
//! leads to the fleet server is kept as [`Outbound::fleet`] says, and always to the doors that the box knows.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::net::{Net, Ports};
use crate::id::{EntryName, HazardId};

/// A transport protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
}

impl Protocol {
    /// As nftables and people write it.
    pub const fn name(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
        }
    }
}

/// One kind of traffic that is allowed. Answers to it are, too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Flow {
    /// What it is called here, each name once in its list.
    pub name: EntryName,
    /// The other side: whom the box or device may reach, or who may reach the box.
    pub peer: Net,
    /// TCP or UDP.
    pub protocol: Protocol,
    /// The ports that are reached, such as "443" or "5000-5100"; at least one.
    pub ports: Vec<Ports>,
}

impl fmt::Display for Flow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {} port", self.protocol.name(), self.peer)?;
        for (place, ports) in self.ports.iter().enumerate() {
            write!(f, "{}{ports}", if place == 0 { " " } else { ", " })?;
        }
        Ok(())
    }
}

/// What the box itself may reach. Everything else is stopped at the first packet and reported.
///
/// Beside the flows listed: what the box's own sensors need, the loopback, DHCP, neighbour discovery and answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Outbound {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Where the fleet server may be, by the agent's own user and on the server's ports only, beside the doors that the
    /// box knows, which stay open to it. Empty: anywhere.
    #[serde(default)]
    pub fleet: Vec<Net>,
    /// Whom the box may ask for names; empty: anybody, on port 53.
    #[serde(default)]
    pub resolvers: Vec<Net>,
    /// What else it may reach: time sources, package archives.
    #[serde(default)]
    pub flow: Vec<Flow>,
}

/// Who may reach the box. Everybody else is stopped and reported; answers, ICMP and the loopback pass.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Inbound {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// What may come in.
    #[serde(default)]
    pub flow: Vec<Flow>,
}

/// One device behind the box.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Device {
    /// What it is called here, each name once.
    pub name: EntryName,
    /// Its address, or the network that it has for itself.
    pub address: Net,
    /// What it may reach through the box.
    #[serde(default)]
    pub flow: Vec<Flow>,
}

/// What the devices behind the box may reach through it. What is not listed is stopped at the first packet, and
/// reported with its device; nobody reaches a device from outside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Devices {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Networks of the household: no device behind the box reaches them, and they reach no device, also where a flow
    /// to a larger network would allow it.
    #[serde(default)]
    pub apart_from: Vec<Net>,
    /// The devices. One that is not listed may reach nothing.
    #[serde(default)]
    pub device: Vec<Device>,
}
