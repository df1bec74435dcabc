//! Whose a sensor's values are, and how sure that is: from its bond, its association, and when it measured them.

use homeward_devices::ble::{DeviceClock, Measured};
use homeward_devices::link::ble::BondState;
use homeward_devices::profile::Memory;
use homeward_devices::sample::Sample;
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_protocol::reading::{Details, Mark, Reading};

use super::Device;
use super::times::{Origin, Placed};
use crate::associate::Association;
use crate::care::{self, Circumstances, Identity, Proof};

impl Device {
    pub(super) fn origin(&self, measured: &Measured) -> Origin {
        let says_stored = measured
            .samples
            .iter()
            .any(|s| s.marks.contains(&Mark::FromStorage));
        match self.session.memory {
            _ if says_stored => Origin::Stored,
            Memory::Records if self.records.asking() => Origin::Stored,
            Memory::Replayed if self.link.replaying && measured.clock != DeviceClock::NotTold => {
                Origin::Unknown
            }
            _ => Origin::Live,
        }
    }

    pub(super) fn readings(&self, measured: &Measured, placed: &Placed, since: bool) -> Vec<Reading> {
        let (grade, reasons) = care::judge(&self.circumstances(placed, since));
        let one = |sample: &Sample| {
            let mut marks = [sample.marks.as_slice(), &placed.marks].concat();
            marks.sort_unstable();
            marks.dedup();
            Reading {
                sensor: self.sensor.id.clone(),
                kind: sample.kind,
                value: sample.value,
                taken_at: placed.taken_at,
                quality: sample.quality,
                grade,
                details: Details {
                    reasons: reasons.clone(),
                    marks,
                    sensor_clock: placed.sensor_clock,
                    sent: sample.sent,
                },
            }
        };
        measured.samples.iter().map(one).collect()
    }

    /// `since`: all that was measured before the association was taken already.
    fn circumstances(&self, placed: &Placed, since: bool) -> Circumstances {
        let stored = placed.marks.contains(&Mark::FromStorage);
        let stands = match &self.association {
            None => true,
            Some(a) if !stored => a.ended.is_none(),
            Some(a) => since || placed.ours && a.stood_at(placed.taken_at.ms),
        };
        let differs = |a: &Association| a.declared.contradicts(&self.link.declared);
        Circumstances {
            proof: self.link.proof,
            association: if stands {
                care::Association::Stands
            } else {
                care::Association::Outside
            },
            identity: if self.association.as_ref().is_some_and(differs) {
                Identity::Unexpected
            } else {
                Identity::AsExpected
            },
            standing: self.sensor.profile.standing,
            gateway: self.gateway,
            clock: placed.taken_at.trust,
            least: self.least,
        }
    }
}

/// What the bond proves, or why the device is refused as the one that was paired with the bond `paired`.
pub(super) fn proof(
    paired: Option<Bond>,
    least: Option<KeyClass>,
    held: BondState,
) -> Result<Proof, &'static str> {
    let Some(paired) = paired else {
        return match least {
            None => Ok(Proof::Nothing),
            Some(_) => Err("it was paired without the bond that its profile demands: pair it again"),
        };
    };
    if least.is_some_and(|least| paired.class < least) {
        return Err("it was paired with a weaker bond than its profile demands: pair it again");
    }
    match held {
        BondState::None => Err("it has no bond any more: it lost it, or is not the sensor that was paired"),
        BondState::Held(bond) if bond.weaker_than(paired) => {
            Err("it came back with a weaker bond: it is not taken for the sensor that was paired")
        }
        BondState::Held(bond) if bond == paired => Ok(Proof::Bonded(bond)),
        BondState::Held(_) | BondState::Unread => Ok(Proof::Broken),
    }
}
