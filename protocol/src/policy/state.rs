//! What a box says of its policy: which one holds, and how each point stands.
//!
//! # Design
//! A report is the whole state, sent at the start and at each change, as an [`crate::envelope::Item`]: a lost one costs
//! time, never truth, and no change is no record. What was stopped travels apart, because it is a stream.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};

use super::isolation::Ordered;
use super::network::Protocol;
use super::points::{PointId, Rule};
use super::sign::{PolicyMark, Refusal};
use crate::id::HazardId;
use crate::posture::ShortText;
use crate::time::Timestamp;

/// Most points in one report; those that do not hold come first. With every text at its longest it fits a record.
pub const MAX_POINTS: usize = 60;
/// Most flows in one record of what was stopped.
pub const MAX_STOPPED: usize = 128;

/// How one point stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// What is observed is what is wanted.
    Holds,
    /// What is observed is something else.
    Drifted,
    /// This box can neither enforce nor observe it, and why. Never counted as done.
    NotEnforceableHere(ShortText),
    /// It was tried, and did not work, and why.
    Failed(ShortText),
}

/// One point: wanted, applied, observed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PointState {
    /// Which point.
    pub point: PointId,
    /// The hazard that it guards against.
    pub hazard: HazardId,
    /// What the policy wants.
    pub wanted: ShortText,
    /// What this box last set; none when it sets nothing here (it only observes), or could not.
    pub applied: Option<ShortText>,
    /// What it last saw; none when it cannot see.
    pub observed: Option<ShortText>,
    /// How that stands.
    pub standing: Standing,
    /// Since when it stands so.
    pub since: Timestamp,
}

/// What rules the box.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Basis {
    /// No policy was ever taken: the box is as its installer made it.
    Nothing,
    /// The policy, as signed.
    Signed,
    /// The policy, whose time is over and which says that it goes on.
    Expired,
    /// The strict one, because the policy's time is over and it says so.
    StrictAfterExpiry,
    /// The strict one, because what was kept cannot be read any more.
    StrictUnreadable,
}

/// How far applying has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Nothing is under way.
    Settled,
    /// A policy is being applied.
    Applying,
    /// It is applied, and the server has not been reached since.
    Confirming,
}

/// A policy that was offered and not taken.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Refused {
    /// Which, when it could be read.
    pub mark: Option<PolicyMark>,
    /// Why.
    pub why: Refusal,
    /// When.
    pub at: Timestamp,
}

/// Why a box went back to what held before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ReturnCause {
    /// It did not reach its server within the policy's time after applying.
    ServerNotReached,
    /// A step could not be done: the system's words.
    StepFailed(ShortText),
}

/// A return to what held before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Returned {
    /// From which policy.
    pub from: PolicyMark,
    /// Why.
    pub cause: ReturnCause,
    /// When.
    pub at: Timestamp,
}

/// How the box stands to orders of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Isolation {
    /// The number of the newest order that it heard.
    pub order: u64,
    /// What that ordered.
    pub ordered: Ordered,
    /// Since when it holds on the box; none while it does not.
    pub since: Option<Timestamp>,
}

/// All that a box says of its policy at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PolicyState {
    /// When.
    pub taken_at: Timestamp,
    /// What rules the box.
    pub basis: Basis,
    /// The policy that holds, or whose strict form holds. While one is being applied or confirmed: that one.
    pub policy: Option<PolicyMark>,
    /// The highest keyring that the box has seen; 0 for none.
    pub keyring: u64,
    /// How far applying has come.
    pub phase: Phase,
    /// The newest offer that was not taken, until one is.
    pub refused: Option<Refused>,
    /// The newest return, until a later policy is confirmed.
    pub returned: Option<Returned>,
    /// The newest order of isolation; none when there never was one.
    pub isolation: Option<Isolation>,
    /// The points, those that do not hold first; at most [`MAX_POINTS`].
    pub points: Vec<PointState>,
    /// How many more there are.
    pub more: u32,
}

impl PolicyState {
    /// Whether it fits a record.
    pub fn is_within_limits(&self) -> bool {
        self.points.len() <= MAX_POINTS
    }
}

/// A flow that the box stopped.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppedFlow {
    /// By which rule: [`Rule::Outbound`], [`Rule::Inbound`] or [`Rule::Devices`], as its point `others`.
    pub point: PointId,
    /// Who tried: a device by its name in the policy or its address, a user of the box, or an outside address.
    pub who: ShortText,
    /// Whom it would have reached.
    pub peer: IpAddr,
    /// TCP or UDP; none for other protocols.
    pub protocol: Option<Protocol>,
    /// The port; 0 where there is none.
    pub port: u16,
}

impl StoppedFlow {
    /// Whether its point is one of the network's.
    pub fn is_of_the_network(&self) -> bool {
        matches!(self.point.rule(), Rule::Outbound | Rule::Inbound | Rule::Devices)
    }
}

/// What was stopped since the last such record. Each flow is told at its first packet, and not again for an hour.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StoppedFlows {
    /// When the box looked.
    pub taken_at: Timestamp,
    /// The flows; at least one, at most [`MAX_STOPPED`].
    pub flows: Vec<StoppedFlow>,
    /// How many more there were.
    pub more: u32,
}

impl StoppedFlows {
    /// Whether it fits a record.
    pub fn is_within_limits(&self) -> bool {
        (1..=MAX_STOPPED).contains(&self.flows.len()) && self.flows.iter().all(StoppedFlow::is_of_the_network)
    }
}
