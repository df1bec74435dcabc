//! How a Bluetooth sensor is talked to: which bond it must have, what is read from it, and when.

use homeward_protocol::bond::KeyClass;
use serde::Deserialize;

use crate::link::ble::At;

/// How a Bluetooth sensor of a model is talked to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// The least bond with which anything is read from it; none when it gives its values to anybody.
    pub least_bond: Option<KeyClass>,
    /// When it is connected.
    pub visits: Visits,
    /// What it keeps of what it measured while nobody listened.
    pub memory: Memory,
    /// What is read from it, in the order in which it is asked for.
    pub characteristics: Vec<Characteristic>,
}

impl Session {
    /// What is subscribed, in order; the record access point last, because nothing may be asked before.
    pub fn subscribed(&self) -> impl Iterator<Item = &Characteristic> {
        let values = self.characteristics.iter().filter(|c| c.way == Way::Subscribe);
        values.chain(self.records())
    }

    /// The record access point.
    pub fn records(&self) -> Option<&Characteristic> {
        self.characteristics.iter().find(|c| c.way == Way::Records)
    }

    /// What is read once after each connection.
    pub fn read(&self) -> impl Iterator<Item = &Characteristic> {
        self.characteristics.iter().filter(|c| c.way == Way::Read)
    }

    /// The services by which it is recognised in a scan, each once.
    pub fn services(&self) -> Vec<u16> {
        let mut all: Vec<u16> = self.characteristics.iter().map(|c| c.at.service).collect();
        all.sort_unstable();
        all.dedup();
        all
    }
}

/// When a sensor is connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Visits {
    /// Whenever it can be reached: it is worn and sends all the time.
    Always,
    /// When it is heard: it wakes up to tell what it has, then sleeps.
    WhenHeard,
}

/// What a sensor keeps of what it measured while nobody listened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Memory {
    /// Nothing.
    #[default]
    None,
    /// It sends what it kept by itself, with its own time, as soon as it is subscribed.
    Replayed,
    /// It gives its records when asked (Record Access Control Point, 2A52).
    Records,
}

/// What is done with a characteristic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Way {
    /// Its notifications or indications are the sensor's values.
    Subscribe,
    /// It is read once after each connection.
    Read,
    /// It is the record access point.
    Records,
}

/// One characteristic of a profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Characteristic {
    /// What it is called in its service.
    pub name: String,
    /// Where it is.
    pub at: At,
    /// What is done with it.
    pub way: Way,
    /// Whether a sensor without it is none of this profile.
    pub needed: bool,
}
