//! How sure we are that a reading comes from the device that is associated with this placement.

use serde::{Deserialize, Serialize};

/// From least to most sure. The order is part of the contract: a check asks `grade >= Grade::Associated`.
///
/// Plain Modbus has no identity of its own, so nothing read over it can grade above [`Grade::Associated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Nothing ties the reading to a known device. Shown and labelled, never hidden.
    Unverified,
    /// Came from the address an installer associated with the placement; the link itself proves nothing.
    Associated,
    /// Came over an authenticated bond with that device, without a break since the association.
    Verified,
}
