//! The policy: what a box should be. Written by an operator as TOML, signed by two people, carried as CBOR.
//!
//! One type is both the document and the message. [`check`] reads the document with findings by line and column,
//! [`diff`] says in plain words what changes, [`sign`] holds who may sign and what makes a [`crate::signed::Verified`]
//! one, [`state`] is what a box says of it, [`isolation`] is the order that only tightens.
//!
//! # Design
//! - The keys that sign policies are named in a [`sign::Keyring`] that the fleet's *root* signs. A root's key is not on
//!   the server, and a box holds the roots since its enrolment: a server that was taken over can choose among the
//!   policies that two people signed, and can make none.
//! - Version numbers order all policies of a fleet, whatever their name. To go back, the older text is signed again
//!   under a new number.
//! - A rule that is absent rules nothing. A box that never had a policy is left as its installer made it, and says so;
//!   one whose policy ended falls back to [`OnExpiry`].

pub mod check;
pub mod diff;
pub mod isolation;
pub mod moment;
pub mod net;
pub mod network;
pub mod points;
pub mod rules;
#[cfg(feature = "schema")]
pub mod schema;
pub mod sign;
pub mod state;
pub mod windows;

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};

use crate::id::{GatewayId, GroupId, HazardId};
use crate::posture::ShortText;
use crate::signed::Message;

use moment::Moment;
use network::{Devices, Inbound, Outbound};
use rules::{
    Accounts, Bluetooth, Intervals, Listening, Maintenance, ModbusWrites, Polling, Retention, Sensors, Sshd,
    Support, Thresholds, Time, Updates, Usb,
};

/// Most bytes of a policy's CBOR, and of its TOML text.
pub const MAX_POLICY: usize = 32 * 1024;
/// Most entries of any list of a policy.
pub const MAX_LIST: usize = 64;
/// Most gateways that an audience names: what fits beside the rules.
pub const MAX_GATEWAYS: usize = 256;

/// Orders the policies of a fleet: 1 and up. 0 is the built-in one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PolicyVersion(pub u64);

impl fmt::Display for PolicyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Whom a policy is for.
///
/// Which groups a box is in is the server's word. A policy that must not rule any other box names its gateways.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Audience {
    /// Every gateway of the fleet.
    All,
    /// Those of these groups or rings.
    Groups(Vec<GroupId>),
    /// These.
    Gateways(Vec<GatewayId>),
}

/// What holds once a policy's time is over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnExpiry {
    /// The policy goes on holding, and every report says that it has expired.
    Keep,
    /// The strict one: the network for vital flows only. It asks for no writes, no tunnels and no pairing too, which a box
    /// reports as not enforceable as long as it cannot hold them.
    Strict,
}

/// What a box should be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What people call it.
    pub name: ShortText,
    /// Its number, from 1. A box never goes back to a lower one.
    pub version: PolicyVersion,
    /// When it begins, such as "2026-11-26T08:00:00Z".
    pub issued: Moment,
    /// When its time is over.
    pub expires: Moment,
    /// What holds after that.
    pub on_expiry: OnExpiry,
    /// A box that does not reach its server within this time after applying returns to what held before by itself;
    /// seconds, 30 to 3600.
    pub confirm_s: u16,
    /// Whom it is for: "all", { groups = [...] } or { gateways = [...] }.
    pub audience: Audience,
    /// The hazards that its rules name, each in one line.
    #[serde(default)]
    pub hazards: BTreeMap<HazardId, ShortText>,
    /// What the box may reach.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outbound: Option<Outbound>,
    /// Who may reach the box.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub inbound: Option<Inbound>,
    /// What devices behind the box may do.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub devices: Option<Devices>,
    /// Which sensors it reads.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sensors: Option<Sensors>,
    /// Its radio.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bluetooth: Option<Bluetooth>,
    /// What may be written on its buses.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub modbus_writes: Option<ModbusWrites>,
    /// Its sshd.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sshd: Option<Sshd>,
    /// Its users.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accounts: Option<Accounts>,
    /// What may be plugged in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub usb: Option<Usb>,
    /// What may listen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub listening: Option<Listening>,
    /// Its time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time: Option<Time>,
    /// How often sensors are asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub polling: Option<Polling>,
    /// How much it keeps.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention: Option<Retention>,
    /// How often it proves and reports itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub intervals: Option<Intervals>,
    /// When work disturbs least.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub maintenance: Option<Maintenance>,
    /// Support tunnels.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub support: Option<Support>,
    /// When findings are raised.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thresholds: Option<Thresholds>,
    /// How updates come to it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub updates: Option<Updates>,
}

impl Message for Policy {
    const NAME: &'static str = "homeward/policy/1";
    const MAX: usize = MAX_POLICY;

    fn check(&self) -> Result<(), &'static str> {
        if check::faults(self).is_empty() {
            Ok(())
        } else {
            Err("a policy with faults")
        }
    }
}

impl Policy {
    /// Whether it is for this gateway, which the server counts to these groups.
    pub fn is_for(&self, gateway: &GatewayId, groups: &[GroupId]) -> bool {
        match &self.audience {
            Audience::All => true,
            Audience::Groups(of) => of.iter().any(|group| groups.contains(group)),
            Audience::Gateways(of) => of.contains(gateway),
        }
    }
}
