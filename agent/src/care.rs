//! Whose reading it is, and how sure we are of that.
//!
//! A gateway stands in one home and knows no names; a sensor in its configuration is one that an installer
//! associated with that home. What remains to be judged is whether the answer comes from that device, and whether
//! this box and its clock can be believed.

use homeward_devices::profile::Standing;
use homeward_protocol::attest::{Notice, Trust};
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::grade::{Grade, Reason};
use homeward_protocol::time::{ClockTrust, Timestamp};

/// Whether what identifies the model (constant registers, device information) is as its profile expects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Identity {
    /// It is, or the profile knows nothing of the kind.
    AsExpected,
    /// It is not: another model, another device, or a setting the profile does not fit.
    Unexpected,
}

/// What the link proves of the device at its other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proof {
    /// Nothing: plain Modbus, or BLE values that are sent to anybody.
    Nothing,
    /// It holds the key of this bond, which is the one of the association.
    Bonded(Bond),
    /// There was a bond at the association, and this is not it: lost, replaced or weaker.
    Broken,
}

/// Whether the device was associated with this placement when the value was measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Association {
    /// It was.
    Stands,
    /// It was not: before the pairing, or after the end of it.
    Outside,
}

/// How the server judges this gateway.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gateway {
    /// Its evidence is fresh and in order.
    Trusted,
    /// Its evidence is fresh, and rests on its own word, or something of it is open.
    Unproven,
    /// Nobody has judged it yet.
    Unjudged,
    /// Its evidence is stale or failed.
    Doubted,
    /// Its TPM does not answer, and it speaks with its spare key.
    Spare,
}

/// What the server said of this gateway, until it ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Judged {
    gateway: Gateway,
    until_ms: i64,
}

impl Judged {
    /// Before the server has said anything.
    pub const NOT_YET: Judged = Judged {
        gateway: Gateway::Unjudged,
        until_ms: i64::MAX,
    };

    /// While the spare key is in use: nobody can judge better.
    pub const SPARE: Judged = Judged {
        gateway: Gateway::Spare,
        until_ms: i64::MAX,
    };

    /// What a notice says. That the server cannot judge is no doubt about the gateway.
    pub fn of(notice: &Notice) -> Judged {
        let gateway = match notice.trust {
            _ if notice.quarantined => Gateway::Doubted,
            Trust::Trusted => Gateway::Trusted,
            Trust::Warning => Gateway::Unproven,
            Trust::Stale | Trust::Failed => Gateway::Doubted,
            Trust::Unknown => Gateway::Unjudged,
        };
        Judged {
            gateway,
            until_ms: notice.expires_at.ms,
        }
    }

    /// How the gateway is judged at `now`: what was good is in doubt from its end on.
    pub const fn at(self, now: Timestamp) -> Gateway {
        match self.gateway {
            Gateway::Trusted | Gateway::Unproven if now.ms >= self.until_ms => Gateway::Doubted,
            gateway => gateway,
        }
    }
}

/// Everything that the grade of a reading hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Circumstances {
    /// What the link proves.
    pub proof: Proof,
    /// Whose it was at the time.
    pub association: Association,
    /// Whether it looks like the model it is taken for.
    pub identity: Identity,
    /// How far its profile may be leaned on.
    pub standing: Standing,
    /// How this box is judged.
    pub gateway: Gateway,
    /// How far this box's clock was trusted.
    pub clock: ClockTrust,
    /// The least grade that the policy wants of it; none where the policy knows no such sensor.
    pub least: Option<Grade>,
}

/// The grade, and what keeps it from a higher one (in the order of [`Reason`]; empty for [`Grade::Verified`] only).
///
/// Each reason alone says how far a reading can still be believed ([`Reason::ceiling`]), and the lowest decides.
pub fn judge(c: &Circumstances) -> (Grade, Vec<Reason>) {
    let mut reasons: Vec<Reason> = against(c).collect();
    let grade = Grade::beside(&reasons);
    if c.least.is_some_and(|least| grade >= least) {
        return (grade, reasons);
    }
    reasons.push(Reason::BelowPolicy);
    (Grade::beside(&reasons), reasons)
}

fn against(c: &Circumstances) -> impl Iterator<Item = Reason> {
    let bond = match c.proof {
        Proof::Bonded(bond) => Some(bond),
        Proof::Nothing | Proof::Broken => None,
    };
    let class = |class: KeyClass| bond.is_some_and(|b| b.class == class);
    let unauthenticated = class(KeyClass::LegacyUnauthenticated) || class(KeyClass::SecureUnauthenticated);
    // In the order of `Reason`.
    [
        (c.proof == Proof::Nothing, Reason::NoIdentity),
        (unauthenticated, Reason::UnauthenticatedBond),
        (class(KeyClass::LegacyAuthenticated), Reason::LegacyBond),
        (bond.is_some_and(|b| !b.is_full()), Reason::ShortKey),
        (class(KeyClass::Debug), Reason::DebugKey),
        (c.proof == Proof::Broken, Reason::BondChanged),
        (c.association == Association::Outside, Reason::NotAssociated),
        (c.identity == Identity::Unexpected, Reason::OtherDevice),
        (c.standing == Standing::Shape, Reason::ShapeOnly),
        (c.gateway == Gateway::Unjudged, Reason::GatewayUnjudged),
        (c.gateway == Gateway::Doubted, Reason::GatewayDoubted),
        (c.clock != ClockTrust::Synced, Reason::ClockUntrusted),
        (c.gateway == Gateway::Unproven, Reason::GatewayUnproven),
        (c.gateway == Gateway::Spare, Reason::SpareKey),
    ]
    .into_iter()
    .filter_map(|(holds, reason)| holds.then_some(reason))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::bond::FULL_KEY;

    use super::*;

    fn best() -> Circumstances {
        Circumstances {
            proof: Proof::Bonded(Bond {
                class: KeyClass::SecureAuthenticated,
                key_size: FULL_KEY,
            }),
            association: Association::Stands,
            identity: Identity::AsExpected,
            standing: Standing::Tried,
            gateway: Gateway::Trusted,
            clock: ClockTrust::Synced,
            least: Some(Grade::Unverified),
        }
    }

    #[test]
    fn what_the_policy_wants_to_be_surer_of_is_unverified_and_says_so() {
        let plain = Circumstances {
            proof: Proof::Nothing,
            ..best()
        };
        let under = |c: Circumstances, least| judge(&Circumstances { least, ..c });
        for enough in [Grade::Unverified, Grade::Associated] {
            assert_eq!(
                under(plain, Some(enough)),
                (Grade::Associated, vec![Reason::NoIdentity])
            );
        }
        assert_eq!(
            under(plain, Some(Grade::Verified)),
            (Grade::Unverified, vec![Reason::NoIdentity, Reason::BelowPolicy])
        );
        assert_eq!(
            under(best(), Some(Grade::Verified)),
            (Grade::Verified, Vec::new())
        );
        assert_eq!(
            under(best(), None),
            (Grade::Unverified, vec![Reason::BelowPolicy])
        );
    }

    #[test]
    fn only_an_authenticated_full_bond_with_nothing_against_it_is_verified() {
        assert_eq!(judge(&best()), (Grade::Verified, Vec::new()));
        let worse: [fn(&mut Circumstances); 8] = [
            |c| c.gateway = Gateway::Unproven,
            |c| c.proof = Proof::Nothing,
            |c| c.proof = Proof::Broken,
            |c| c.association = Association::Outside,
            |c| c.identity = Identity::Unexpected,
            |c| c.gateway = Gateway::Unjudged,
            |c| c.gateway = Gateway::Doubted,
            |c| c.clock = ClockTrust::Unsynced,
        ];
        for spoil in worse {
            let mut c = best();
            spoil(&mut c);
            let (grade, reasons) = judge(&c);
            assert!(grade < Grade::Verified && reasons.len() == 1, "{c:?}");
        }
    }

    #[test]
    fn a_judgement_counts_until_its_end_and_then_there_is_doubt() {
        let at = Timestamp::synced;
        for (trust, quarantined, before, after) in [
            (Trust::Trusted, false, Gateway::Trusted, Gateway::Doubted),
            (Trust::Warning, false, Gateway::Unproven, Gateway::Doubted),
            (Trust::Unknown, false, Gateway::Unjudged, Gateway::Unjudged),
            (Trust::Failed, false, Gateway::Doubted, Gateway::Doubted),
            (Trust::Trusted, true, Gateway::Doubted, Gateway::Doubted),
        ] {
            let judged = Judged::of(&Notice {
                trust,
                tier: homeward_protocol::attest::Tier::TpmChip,
                issued_at: at(0),
                expires_at: at(1000),
                quarantined,
                said: Vec::new(),
            });
            assert_eq!(
                (judged.at(at(999)), judged.at(at(1000))),
                (before, after),
                "{trust:?}"
            );
        }
        assert_eq!(Judged::NOT_YET.at(at(i64::MAX - 1)), Gateway::Unjudged);
    }

    #[test]
    fn just_works_and_plain_modbus_never_grade_as_verified() {
        for class in [
            KeyClass::Debug,
            KeyClass::LegacyUnauthenticated,
            KeyClass::SecureUnauthenticated,
        ] {
            let proof = Proof::Bonded(Bond {
                class,
                key_size: FULL_KEY,
            });
            assert_eq!(judge(&Circumstances { proof, ..best() }).0, Grade::Unverified);
        }
        let proof = Proof::Nothing;
        assert_eq!(
            judge(&Circumstances { proof, ..best() }),
            (Grade::Associated, vec![Reason::NoIdentity])
        );
    }

    #[test]
    fn legacy_passkeys_are_associated_and_short_keys_are_not() {
        let grade = |class, key_size| {
            let proof = Proof::Bonded(Bond { class, key_size });
            judge(&Circumstances { proof, ..best() }).0
        };
        assert_eq!(grade(KeyClass::LegacyAuthenticated, 16), Grade::Associated);
        assert_eq!(grade(KeyClass::LegacyAuthenticated, 7), Grade::Unverified);
        assert_eq!(grade(KeyClass::SecureAuthenticated, 15), Grade::Unverified);
    }
}
