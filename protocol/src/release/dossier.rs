//! A dossier: the firmware of a device as a document for the person who brings it to the device.
//!
//! Nothing is pushed to a device behind a box. A dossier says which devices it is about, what it changes, what is at stake
//! with it and without it, who may carry it out, each step in plain words, and how to see that it worked. It is written as
//! TOML ([`read`]), checked, and lies among the targets as canonical JSON ([`Dossier::to_bytes`]), signed as all targets are.
//!
//! # Design
//! - One text has one form: what does not come back byte for byte as it is written here is refused, so nothing is signed
//!   that a page does not show.
//! - [`Class`] is a fixed list. What acts on a person or a home, and what lies in a body, is confirmed by two people, and
//!   an implant by nobody at home.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::Version;
use crate::tuf::canonical;
use crate::tuf::read::hex;

/// The folder of dossiers among the targets. Nothing in it can be pushed to a box.
pub const DOSSIER_FOLDER: &str = "dossier/";
/// Longest dossier, bytes, as TOML and as JSON.
pub const MAX_DOSSIER: usize = 32 * 1024;
/// Most steps.
pub const MAX_STEPS: usize = 40;
/// Most names of profiles, and most versions that it is for.
pub const MAX_NAMES: usize = 16;
/// Most bytes of one text.
pub const MAX_WORDS: usize = 1_000;
/// Most bytes of a name, or of a version as a device shows it.
pub const MAX_LABEL: usize = 60;
/// What it calls its own form.
const FORM: &str = "homeward/dossier/1";

/// Why a text is no dossier.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DossierError {
    /// Longer than it may be.
    #[error("{0} bytes, where a dossier has at most {MAX_DOSSIER}")]
    TooLong(usize),
    /// It is not of the form.
    #[error("it is no dossier: {0}")]
    Form(String),
    /// It says the same in other bytes than we write.
    #[error("it is not written in the canonical form: make it anew with `release dossier`")]
    NotCanonical,
    /// What it says cannot be: where, and what would be right.
    #[error("{place}: {rule}")]
    Rule {
        /// The key.
        place: String,
        /// The rule.
        rule: &'static str,
    },
}

fn broken(place: &str, rule: &'static str) -> DossierError {
    DossierError::Rule {
        place: place.to_owned(),
        rule,
    }
}

/// What a device is to the person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Class {
    /// It measures.
    Sensor,
    /// It calls for help: a button, a detector, a siren.
    Alarm,
    /// It acts on the person or on the home: a pump, a ventilator, a valve.
    Actuator,
    /// It lies in the body.
    Implant,
}

impl Class {
    /// All of them.
    pub const ALL: [Class; 4] = [Class::Sensor, Class::Alarm, Class::Actuator, Class::Implant];

    /// Its name, as dossiers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Class::Sensor => "sensor",
            Class::Alarm => "alarm",
            Class::Actuator => "actuator",
            Class::Implant => "implant",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Class::Sensor => "measures",
            Class::Alarm => "calls for help",
            Class::Actuator => "acts on the person or the home",
            Class::Implant => "lies in the body",
        }
    }

    /// Whether a second person has to see that it worked.
    pub const fn needs_two(self) -> bool {
        match self {
            Class::Sensor | Class::Alarm => false,
            Class::Actuator | Class::Implant => true,
        }
    }
}

/// Who may carry it out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Performer {
    /// A nurse, in the person's home.
    NurseAtHome,
    /// A clinic, at a visit.
    ClinicVisit,
    /// The maker of the device, or whom it sends.
    Manufacturer,
}

impl Performer {
    /// All of them.
    pub const ALL: [Performer; 3] = [
        Performer::NurseAtHome,
        Performer::ClinicVisit,
        Performer::Manufacturer,
    ];

    /// Its name, as dossiers write it.
    pub const fn name(self) -> &'static str {
        match self {
            Performer::NurseAtHome => "nurse-at-home",
            Performer::ClinicVisit => "clinic-visit",
            Performer::Manufacturer => "manufacturer",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Performer::NurseAtHome => "a nurse at the person's home",
            Performer::ClinicVisit => "a clinic, at a visit",
            Performer::Manufacturer => "the maker of the device",
        }
    }
}

/// A version of firmware as the device itself shows it: 1 to 60 printable bytes, without space around it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Firmware(String);

impl Firmware {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for Firmware {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Firmware, Self::Err> {
        let good = plain(text, MAX_LABEL);
        good.then(|| Firmware(text.to_owned()))
            .ok_or("a version is 1 to 60 printable characters, as the device shows it")
    }
}

impl TryFrom<String> for Firmware {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Firmware, Self::Error> {
        text.parse()
    }
}

impl From<Firmware> for String {
    fn from(firmware: Firmware) -> String {
        firmware.0
    }
}

impl fmt::Display for Firmware {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Whether a character hides something from who reads: a control character, one without width, or one that turns the direction
/// of writing around.
pub fn hides(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Something to read, of which nothing is hidden: 1 to `most` bytes, without space around it.
pub fn plain(text: &str, most: usize) -> bool {
    (1..=most).contains(&text.len()) && text.trim() == text && !text.chars().any(hides)
}

/// A name as ids of profiles are: 1 to 40 of `a-z`, `0-9` and `-`.
fn is_name(text: &str) -> bool {
    let good = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    (1..=40).contains(&text.len()) && text.bytes().all(good)
}

/// What is at stake for the person, for a clinician to weigh.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Risk {
    /// What may happen without it.
    pub without: String,
    /// What may happen by it, and while it is done.
    pub with: String,
}

/// The file of the firmware, where the maker gives one out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FirmwareFile {
    /// What it is called.
    pub name: String,
    /// Its length, bytes.
    pub bytes: u64,
    /// Its SHA-256, 64 hexadecimal digits in lower case.
    pub sha256: String,
}

/// What a person needs to bring firmware to a device.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dossier {
    /// The form: `homeward/dossier/1`.
    pub form: String,
    /// Its name, by which it lies among the targets: `gmp251-recalibration`.
    pub name: String,
    /// The version of the dossier itself: a better text is a higher one.
    pub version: Version,
    /// Who makes the device.
    pub maker: String,
    /// Which device.
    pub model: String,
    /// How boxes call such a device: ids of profiles. Empty where no box reads it, as of an implant.
    #[serde(default)]
    pub profiles: Vec<String>,
    /// What the device is to the person.
    pub class: Class,
    /// Versions that it is for; empty for any.
    #[serde(default)]
    pub before: Vec<Firmware>,
    /// What the device shows when it worked.
    pub after: Firmware,
    /// Who may carry it out.
    pub by: Performer,
    /// What is at stake.
    pub risk: Risk,
    /// What to do, step by step.
    pub steps: Vec<String>,
    /// How to see that it worked: where the device shows its version, and what else to look at.
    pub worked: String,
    /// The firmware's file.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FirmwareFile>,
}

/// Reads the document that a release desk writes: TOML of at most [`MAX_DOSSIER`] bytes.
pub fn read(text: &str) -> Result<Dossier, DossierError> {
    if text.len() > MAX_DOSSIER {
        return Err(DossierError::TooLong(text.len()));
    }
    let read = toml::from_str::<Dossier>(text);
    let dossier = read.map_err(|error| DossierError::Form(error.to_string().trim_end().to_owned()))?;
    dossier.check().map(|()| dossier)
}

impl Dossier {
    /// Reads what lies among the targets: canonical JSON, at most [`MAX_DOSSIER`] bytes.
    pub fn decode(bytes: &[u8]) -> Result<Dossier, DossierError> {
        if bytes.len() > MAX_DOSSIER {
            return Err(DossierError::TooLong(bytes.len()));
        }
        let read = serde_json::from_slice::<Dossier>(bytes);
        let dossier = read.map_err(|error| DossierError::Form(error.to_string()))?;
        if dossier.to_bytes()? == bytes {
            Ok(dossier)
        } else {
            Err(DossierError::NotCanonical)
        }
    }

    /// What is signed: canonical JSON. Fails when the rules do not hold.
    pub fn to_bytes(&self) -> Result<Vec<u8>, DossierError> {
        self.check()?;
        let form = |error: &dyn fmt::Display| DossierError::Form(error.to_string());
        let value = serde_json::to_value(self).map_err(|error| form(&error))?;
        let bytes = canonical::encode(&value).map_err(|error| form(&error))?;
        if bytes.len() > MAX_DOSSIER {
            return Err(DossierError::TooLong(bytes.len()));
        }
        Ok(bytes)
    }

    /// Where it lies among the targets.
    pub fn path(&self) -> String {
        format!("{DOSSIER_FOLDER}{}/{}", self.name, self.version)
    }

    /// Whether it is for a device that boxes read by this profile. `firmware` is what the device said of itself, where it does:
    /// see [`Dossier::is_needed`].
    pub fn is_for(&self, profile: &str, firmware: Option<&str>) -> bool {
        self.profiles.iter().any(|one| one == profile) && self.is_needed(firmware)
    }

    /// Whether a device that showed this firmware needs it: one that has the new version already, or none of those that it is
    /// for, needs nothing. One of which nothing is known may need it.
    pub fn is_needed(&self, firmware: Option<&str>) -> bool {
        let needs = |shows: &str| {
            let listed = self.before.is_empty() || self.before.iter().any(|one| one.as_str() == shows);
            listed && shows != self.after.as_str()
        };
        firmware.map(str::trim).is_none_or(needs)
    }

    /// What must hold beyond the form.
    pub fn check(&self) -> Result<(), DossierError> {
        if self.form != FORM {
            return Err(broken("form", "it is \"homeward/dossier/1\""));
        }
        if !is_name(&self.name) {
            return Err(broken("name", "a name is 1 to 40 of a-z, 0-9 and hyphen"));
        }
        let (names, before) = (self.profiles.len(), self.before.len());
        if names > MAX_NAMES || !self.profiles.iter().all(|name| is_name(name)) {
            return Err(broken("profiles", "at most 16 names of a-z, 0-9 and hyphen"));
        }
        if before > MAX_NAMES || self.before.contains(&self.after) {
            return Err(broken("before", "at most 16 versions, and not the one it brings"));
        }
        for (place, text) in [("maker", &self.maker), ("model", &self.model)] {
            if !plain(text, MAX_LABEL) {
                return Err(broken(
                    place,
                    "1 to 60 printable bytes, without space around them",
                ));
            }
        }
        let words = "1 to 1000 printable bytes in one line, without space around them";
        for (place, text) in [
            ("risk.without", &self.risk.without),
            ("risk.with", &self.risk.with),
            ("worked", &self.worked),
        ] {
            if !plain(text, MAX_WORDS) {
                return Err(broken(place, words));
            }
        }
        if self.steps.is_empty() || self.steps.len() > MAX_STEPS {
            return Err(broken("steps", "1 to 40 steps"));
        }
        if let Some(at) = self.steps.iter().position(|step| !plain(step, MAX_WORDS)) {
            return Err(broken(&format!("steps[{at}]"), words));
        }
        if self.class == Class::Implant && self.by == Performer::NurseAtHome {
            return Err(broken(
                "by",
                "nobody changes an implant at home: clinic-visit or manufacturer",
            ));
        }
        self.file.as_ref().map_or(Ok(()), FirmwareFile::check)
    }
}

impl FirmwareFile {
    fn check(&self) -> Result<(), DossierError> {
        if !plain(&self.name, MAX_LABEL) || self.name.contains(['/', '\\']) {
            return Err(broken("file.name", "1 to 60 printable bytes, and no path"));
        }
        let lower = !self.sha256.bytes().any(|b| b.is_ascii_uppercase());
        if !lower || hex(&self.sha256).is_none_or(|bytes| bytes.len() != 32) {
            return Err(broken("file.sha256", "64 hexadecimal digits in lower case"));
        }
        if self.bytes == 0 {
            return Err(broken("file.bytes", "a file has at least one byte"));
        }
        Ok(())
    }
}
