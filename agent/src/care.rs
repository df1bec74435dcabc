//! Whose reading it is, and how sure we are of that.
//!
//! A gateway stands in one home and knows no names; a sensor in its configuration is one that an installer
//! associated with that home. What remains to be judged is whether the answer comes from that device.

use homeward_devices::profile::Standing;
use homeward_protocol::grade::Grade;

/// Whether the registers that never change on this model say what its profile expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// They do, or the profile knows none.
    AsExpected,
    /// They do not: another model, another device, or a setting the profile does not fit.
    Unexpected,
}

/// The grade of a reading taken over Modbus.
///
/// Plain Modbus proves nothing of the device, so [`Grade::Associated`] is the most it can have.
pub const fn grade(standing: Standing, identity: Identity) -> Grade {
    match (standing, identity) {
        (Standing::Shape, _) | (_, Identity::Unexpected) => Grade::Unverified,
        (Standing::FromManual | Standing::Tried, Identity::AsExpected) => Grade::Associated,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_read_over_modbus_grades_as_verified() {
        for standing in [Standing::FromManual, Standing::Tried, Standing::Shape] {
            for identity in [Identity::AsExpected, Identity::Unexpected] {
                assert!(grade(standing, identity) <= Grade::Associated);
            }
        }
        assert_eq!(grade(Standing::Tried, Identity::AsExpected), Grade::Associated);
        assert_eq!(grade(Standing::Tried, Identity::Unexpected), Grade::Unverified);
        assert_eq!(grade(Standing::Shape, Identity::AsExpected), Grade::Unverified);
    }
}
