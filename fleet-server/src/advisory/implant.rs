//! The register of what lies in people, or is worn and acts on them, where no box reads it: so that an advisory, or new
//! instructions of its maker, find whom they concern.
//!
//! It is of homes, by their pseudonyms, and never of a person's name or a device's serial number.

use std::fmt;
use std::str::FromStr;

use homeward_protocol::id::{PlacementId, SensorId};
use homeward_protocol::release::dossier::{Class, Firmware, plain};
use homeward_protocol::time::Timestamp;

/// Longest name of a maker or a model, bytes: as a dossier's.
const MAX_NAME: usize = 60;

/// The name of a maker or of a model: 1 to 60 printable bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Name(String);

impl Name {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Whether it is the same, but for upper and lower case and spaces.
    pub fn is(&self, other: &str) -> bool {
        let plain = |text: &str| {
            text.split_whitespace()
                .collect::<Vec<_>>()
                .join(" ")
                .to_lowercase()
        };
        plain(&self.0) == plain(other)
    }
}

impl FromStr for Name {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Name, Self::Err> {
        let text = text.trim();
        let good = plain(text, MAX_NAME) && text.chars().any(char::is_alphanumeric);
        good.then(|| Name(text.to_owned())).ok_or(
            "a maker or a model is named in 1 to 60 printable bytes, as it stands on the device or its card",
        )
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What such a device is to the person. What only measures or calls is read by a box, or is not weighed like this.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It lies in the body.
    Implant,
    /// It is worn, or stands beside, and acts on the person.
    Worn,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 2] = [Kind::Implant, Kind::Worn];

    /// How it is kept and written.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Implant => "implant",
            Kind::Worn => "worn",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Kind::Implant => "lies in the body",
            Kind::Worn => "is worn and acts on the person",
        }
    }

    /// Its class in a dossier.
    pub const fn class(self) -> Class {
        match self {
            Kind::Implant => Class::Implant,
            Kind::Worn => Class::Actuator,
        }
    }
}

impl FromStr for Kind {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Kind, Self::Err> {
        let found = Kind::ALL.into_iter().find(|kind| kind.name() == text);
        found.ok_or("a device of the register is `implant` or `worn`")
    }
}

/// Which entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ImplantId(pub i64);

impl FromStr for ImplantId {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<ImplantId, Self::Err> {
        super::number(text)
            .map(ImplantId)
            .ok_or("an entry is a number, as `implant list` shows it")
    }
}

impl fmt::Display for ImplantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What is told of a device that somebody has.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Implant {
    /// The home, by its pseudonym.
    pub placement: PlacementId,
    /// What the device is called here: a kind or a number, never a person.
    pub device: SensorId,
    /// What it is to the person.
    pub kind: Kind,
    /// Who makes it.
    pub maker: Name,
    /// Which model.
    pub model: Name,
    /// The version that it showed last, where anybody looked.
    pub shows: Option<Firmware>,
}

/// An entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub id: ImplantId,
    /// What is told.
    pub implant: Implant,
    /// Since when.
    pub told_at: Timestamp,
    /// By whom.
    pub told_by: String,
    /// When it ended, and why: it was taken out, or the person is not in care any more.
    pub ended: Option<(Timestamp, String)>,
}
