//! How sure we are that a reading comes from the device that is associated with this placement.

use serde::{Deserialize, Serialize};

/// From least to most sure. The order is part of the contract: a check asks `grade >= Grade::Associated`.
///
/// Plain Modbus has no identity of its own, and a Just Works bond none that was checked, so nothing read over them
/// can grade above [`Grade::Associated`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Grade {
    /// Nothing ties the reading to a known device. Shown and labelled, never hidden.
    Unverified,
    /// Came from the address an installer associated with the placement; the link itself proves nothing.
    Associated,
    /// Came over an authenticated bond with that device, without a break since the association, by a gateway that
    /// is trusted and whose clock is.
    Verified,
}

/// What keeps a reading from a higher grade. It travels, signed, beside the grade.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reason {
    /// The link has no identity: plain Modbus, or a BLE value that anybody may read and imitate.
    NoIdentity,
    /// The device is bonded, but nothing was checked when it was (Just Works).
    UnauthenticatedBond,
    /// The bond was authenticated by legacy pairing: who overheard it can compute its key.
    LegacyBond,
    /// The bond's key is shorter than 16 octets.
    ShortKey,
    /// The bond uses the key that is public for debugging.
    DebugKey,
    /// The bond is not the one of the association: lost, replaced or weaker.
    BondChanged,
    /// Nobody associated the device with this placement at the time of the reading.
    NotAssociated,
    /// Registers or device information that identify the model are not as expected.
    OtherDevice,
    /// Its profile has only the shape of such a device's.
    ShapeOnly,
    /// Nobody has judged the gateway yet.
    GatewayUnjudged,
    /// The gateway's evidence is stale or failed.
    GatewayDoubted,
    /// The gateway's clock was not disciplined.
    ClockUntrusted,
    /// The gateway's evidence is fresh, and rests on its own word alone, or something of it is open.
    GatewayUnproven,
    /// The gateway's TPM did not answer: it spoke with its spare key, which can be copied off its disk.
    SpareKey,
    /// The policy of the gateway names no such sensor, or wants to be surer of it than the other reasons leave.
    BelowPolicy,
}

impl Reason {
    /// All of them, in their order.
    pub const ALL: [Reason; 15] = [
        Reason::NoIdentity,
        Reason::UnauthenticatedBond,
        Reason::LegacyBond,
        Reason::ShortKey,
        Reason::DebugKey,
        Reason::BondChanged,
        Reason::NotAssociated,
        Reason::OtherDevice,
        Reason::ShapeOnly,
        Reason::GatewayUnjudged,
        Reason::GatewayDoubted,
        Reason::ClockUntrusted,
        Reason::GatewayUnproven,
        Reason::SpareKey,
        Reason::BelowPolicy,
    ];

    /// The highest grade that a reading can have in spite of it. Gateway, server and verifier hold to the same table.
    pub const fn ceiling(self) -> Grade {
        match self {
            Reason::NoIdentity
            | Reason::LegacyBond
            | Reason::GatewayUnjudged
            | Reason::ClockUntrusted
            | Reason::GatewayUnproven => Grade::Associated,
            Reason::UnauthenticatedBond
            | Reason::ShortKey
            | Reason::DebugKey
            | Reason::BondChanged
            | Reason::NotAssociated
            | Reason::OtherDevice
            | Reason::ShapeOnly
            | Reason::GatewayDoubted
            | Reason::SpareKey
            | Reason::BelowPolicy => Grade::Unverified,
        }
    }
}

impl Grade {
    /// The highest grade that these reasons leave; [`Grade::Verified`] for none.
    pub fn beside(reasons: &[Reason]) -> Grade {
        let ceilings = reasons.iter().map(|reason| reason.ceiling());
        ceilings.min().unwrap_or(Grade::Verified)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_stands_in_its_place_and_keeps_a_reading_from_the_highest_grade() {
        assert!(Reason::ALL.is_sorted_by(|a, b| a < b));
        for reason in Reason::ALL {
            assert!(Grade::beside(&[reason]) < Grade::Verified, "{reason:?}");
            assert_eq!(
                Grade::beside(&[reason, Reason::ShapeOnly]),
                Grade::Unverified,
                "the lowest decides"
            );
        }
        assert_eq!(Grade::beside(&[]), Grade::Verified);
    }
}
