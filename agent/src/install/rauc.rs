//! Whole images by RAUC, into the slot of the box that does not run: how a job stands, by what RAUC says of its slots.
//!
//! ```text
//! the old slot runs ─▶ Begun ─▶ RAUC writes the other ─▶ Installed ─▶ the box reboots ─▶ it runs, on trial ─▶ Confirmed
//!                                                                      the boot loader, or we: the old slot runs again
//! ```
//! # Design
//! - RAUC knows what its slots hold, which runs, and which the boot loader takes next. It does not know that a slot is on
//!   trial: a loader calls a slot good from the moment that it was written. So one small [`Record`] says from which slot
//!   the box left, in which boot, and for which word of the director; everything else is asked ([`Seen`]).
//! - The boot tells a box that has not rebooted yet from one whose boot loader went back.
//! - The data folder has to lie outside the slots, as all that the agent keeps has.
//! - The bundle is the job's by its digest, which the offline keys signed. What RAUC itself asks of a bundle, its own
//!   signature and `compatible`, comes after that and replaces nothing.

use std::collections::BTreeMap;
use std::fmt;

use homeward_protocol::id::BootId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Outcome;
use homeward_protocol::release::{Installer, Version};
use serde::{Deserialize, Serialize};

use super::Standing;

pub mod bus;
pub mod images;
pub mod status;

/// How often an image is written for one word of the director, and how often the box is rebooted for it.
pub const TRIES: u8 = 3;
/// Longest name of a slot, bytes.
const MAX_NAME: usize = 64;

/// A slot, as RAUC's configuration names it: `rootfs.0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct SlotName(String);

impl SlotName {
    /// As RAUC takes it.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for SlotName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for SlotName {
    type Error = &'static str;
    fn try_from(text: String) -> Result<SlotName, Self::Error> {
        let plain = text.bytes().all(|b| b.is_ascii_graphic());
        if plain && (1..=MAX_NAME).contains(&text.len()) {
            Ok(SlotName(text))
        } else {
            Err("a slot's name is 1 to 64 plain characters")
        }
    }
}

impl From<SlotName> for String {
    fn from(name: SlotName) -> String {
        name.0
    }
}

/// What RAUC says of one slot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slot {
    /// Slots of one class take each other's place: `rootfs`.
    pub class: String,
    /// Whether the boot loader can start from it.
    pub boots: bool,
    /// Whether the boot loader calls it bad.
    pub bad: bool,
    /// The version of the bundle that was written to it last; none where RAUC did not write it.
    pub version: Option<String>,
    /// Whether that was written to its end.
    pub whole: bool,
}

impl Slot {
    /// Whether it holds `version`, whole.
    pub fn holds(&self, version: Version) -> bool {
        self.whole && self.version.as_deref() == Some(version.to_string().as_str())
    }
}

/// What RAUC says of a box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// The slot that runs.
    pub booted: SlotName,
    /// The slot that the boot loader starts next.
    pub primary: SlotName,
    /// All of them.
    pub slots: BTreeMap<SlotName, Slot>,
}

impl Seen {
    /// Whether `name` holds `version`, whole.
    pub fn holds(&self, name: &SlotName, version: Version) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.holds(version))
    }

    /// What runs; the version before every release where RAUC did not write it.
    pub fn runs(&self) -> Version {
        let slot = self.slots.get(&self.booted);
        let said = slot
            .filter(|slot| slot.whole)
            .and_then(|slot| slot.version.as_deref());
        said.and_then(|text| text.parse().ok()).unwrap_or(Version::ZERO)
    }

    /// The slots that can take the place of the one that runs.
    pub fn others(&self) -> impl Iterator<Item = &SlotName> {
        let class = self.slots.get(&self.booted).map(|slot| slot.class.as_str());
        let other = move |(name, slot): &(&SlotName, &Slot)| {
            slot.boots && **name != self.booted && Some(slot.class.as_str()) == class
        };
        self.slots.iter().filter(other).map(|(name, _)| name)
    }

    /// What starts next is another slot than the one that runs, and it holds `version`, whole.
    pub fn is_in_place(&self, version: Version) -> bool {
        self.primary != self.booted && self.holds(&self.primary, version)
    }
}

/// How far a job was brought here.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// RAUC was about to write it.
    Begun,
    /// RAUC has written it, and the boot loader starts it next.
    Installed,
    /// It stays.
    Confirmed,
    /// It is to run no more.
    TakenBack,
}

/// What is kept of the newest job, so that the next boot knows that it is on trial. An agent of another image reads it too:
/// what it does not know it leaves out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The director's word.
    pub counter: u64,
    /// What its release calls itself.
    pub version: Version,
    /// The slot that ran.
    pub from: SlotName,
    /// The slot that it is in, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub to: Option<SlotName>,
    /// The boot in which that was written.
    pub boot: BootId,
    /// How far it came.
    pub phase: Phase,
    /// How often RAUC was asked to write it.
    #[serde(default)]
    pub tries: u8,
    /// How often the box was asked to reboot for it.
    #[serde(default)]
    pub reboots: u8,
}

impl Record {
    /// Whether the box runs what this job brought.
    pub fn runs(&self, seen: &Seen) -> bool {
        seen.booted != self.from
            && match &self.to {
                Some(to) => *to == seen.booted,
                None => seen.holds(&seen.booted, self.version),
            }
    }

    /// How it stands in the boot `boot`, for the job that is wanted, by its number.
    pub fn standing(&self, wanted: Option<u64>, seen: &Seen, boot: &BootId) -> Standing {
        let mine = wanted == Some(self.counter);
        let if_mine = |standing| if mine { standing } else { Standing::Nothing };
        let over = |why: &str| if_mine(Standing::Over(Outcome::NotProven(ShortText::cut(why))));
        let unwanted = Standing::Unwanted(Installer::Rauc);
        let runs = self.runs(seen);
        match self.phase {
            // The power was cut between the confirmation and what is kept of it.
            Phase::Confirmed if runs => if_mine(Standing::Confirmed),
            Phase::Confirmed => over("after it was confirmed the boot loader started what ran before"),
            // Not rebooted yet, or the boot loader took it although it was called bad.
            Phase::TakenBack if runs && (self.boot == *boot || seen.is_bad(&seen.booted)) => unwanted,
            Phase::TakenBack => over("it was taken back"),
            Phase::Begun | Phase::Installed if runs && mine => Standing::OnTrial,
            Phase::Begun | Phase::Installed if runs => unwanted,
            Phase::Begun | Phase::Installed if seen.booted != self.from => {
                over("the box runs from a slot that this image was not put into")
            }
            Phase::Begun | Phase::Installed if seen.is_in_place(self.version) => {
                let spent = self.reboots >= TRIES && self.boot != *boot;
                if mine && !spent {
                    Standing::Leaving
                } else {
                    unwanted
                }
            }
            Phase::Installed if self.boot != *boot => {
                over("the boot loader went back to what ran before: it did not start, or the power was cut")
            }
            Phase::Begun | Phase::Installed => Standing::Nothing,
        }
    }
}

impl Seen {
    fn is_bad(&self, name: &SlotName) -> bool {
        self.slots.get(name).is_some_and(|slot| slot.bad)
    }
}

#[cfg(test)]
mod tests;
