//! Devices near the gateway that nobody listed, and such as look like a listed one.
//!
//! Both need to be near, as far as a radio can tell: a signal that stays above [`NEAR`] on average, in at least three
//! windows. Found
//! - a second device with the name and the services of a listed one: when it was there for [`LOOKS`];
//! - a medical device that nobody listed: when it was there for [`STAYS`], so that a visiting nurse's cuff is none.
//!
//! False alarms: a neighbour's device behind a wall arrives 15 dB below the limit; an average that wanders by 5 dB a
//! window does not cross that in years. Where the radio tells no strength, nothing is judged near. A person's second
//! device that should have been listed is no false alarm.
//!
//! Over when it was not near for a week. Private addresses are not followed: each
//! lives some minutes.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_devices::link::ble::{AddressKind, Advert};
use homeward_protocol::bond::BleAddress;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::watch::Suspicion;
use serde::{Deserialize, Serialize};

use super::board::Key;
use super::{Claim, Finds};

/// Average signal of what is in the same rooms, dBm.
const NEAR: f64 = -68.0;
/// Weight of the newest window in the average.
const NEWEST: f64 = 0.125;
/// Windows before anything is said.
const WINDOWS: u32 = 3;
/// Long enough not to be somebody who passes with the same model.
const LOOKS: Duration = Duration::from_mins(5);
/// An unlisted device is one that stays so long.
const STAYS: Duration = Duration::from_hours(2);
/// Not near for so long: gone.
const GONE: Duration = Duration::from_hours(7 * 24);
/// Strangers that are followed at once: a block of flats. The one that was not heard for longest makes room, first of those that are not near.
const MOST: usize = 256;

/// Services of medical sensors. Source: Bluetooth assigned numbers, 16-bit UUIDs.
const MEDICAL: [u16; 8] = [0x1808, 0x1809, 0x1810, 0x181B, 0x181D, 0x181F, 0x1822, 0x180D];

/// A scan window that ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Scan {
    /// How long after it the next one ends.
    pub every: Duration,
    /// Each device once; empty when nothing was heard.
    pub heard: Vec<Advert>,
}

/// How a listed sensor looks to a scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Face {
    name: ShortText,
    services: Vec<u16>,
}

impl Face {
    /// Takes the look of an advert that gives a name; others add services only.
    pub(super) fn learn(face: &mut Option<Face>, advert: &Advert) {
        let Some(name) = name_of(advert) else {
            return;
        };
        let services = sorted(&advert.services);
        match face {
            Some(known) if known.name == name && services.is_empty() => {}
            _ => *face = Some(Face { name, services }),
        }
    }

    fn is_like(&self, stranger: &Stranger) -> bool {
        stranger.name.as_ref() == Some(&self.name) && self.services == stranger.services
    }
}

/// Whether the device keeps its address.
pub(super) const fn lasts(advert: &Advert) -> bool {
    matches!(advert.kind, AddressKind::Public | AddressKind::Static)
}

/// The name, unless it is empty.
fn name_of(advert: &Advert) -> Option<ShortText> {
    let name = advert.name.as_deref().filter(|name| !name.is_empty());
    name.map(ShortText::cut)
}

fn sorted(services: &[u16]) -> Vec<u16> {
    let mut services = services.to_vec();
    services.sort_unstable();
    services.dedup();
    services
}

#[derive(Debug)]
struct Stranger {
    name: Option<ShortText>,
    services: Vec<u16>,
    average: f64,
    windows: u32,
    /// First and last time near.
    near: Option<(Uptime, Timestamp, Uptime)>,
    heard: Uptime,
}

impl Stranger {
    fn is_medical(&self) -> bool {
        self.services.iter().any(|s| MEDICAL.contains(s))
    }

    fn is_near(&self) -> bool {
        self.windows >= WINDOWS && self.average >= NEAR
    }
}

#[derive(Debug, Default)]
pub(super) struct Nearby {
    strangers: BTreeMap<BleAddress, Stranger>,
}

impl Nearby {
    /// The device at this address is a listed one.
    pub(super) fn listed(&mut self, address: BleAddress) {
        self.strangers.remove(&address);
    }

    pub(super) fn see(&mut self, advert: &Advert, now: Timestamp, up: Uptime) {
        let Some(rssi) = advert.rssi.map(f64::from).filter(|_| lasts(advert)) else {
            return;
        };
        if !self.strangers.contains_key(&advert.address) {
            self.make_room();
        }
        let known = self.strangers.entry(advert.address).or_insert_with(|| Stranger {
            name: None,
            services: Vec::new(),
            average: rssi,
            windows: 0,
            near: None,
            heard: up,
        });
        known.windows = known.windows.saturating_add(1);
        known.average += (rssi - known.average) * NEWEST;
        known.heard = up;
        if let Some(name) = name_of(advert) {
            known.name = Some(name);
        }
        if !advert.services.is_empty() {
            known.services = sorted(&advert.services);
        }
        if known.is_near() {
            let (first, at) = known.near.map_or((up, now), |(first, at, _)| (first, at));
            known.near = Some((first, at, up));
        }
    }

    fn make_room(&mut self) {
        if self.strangers.len() < MOST {
            return;
        }
        let oldest = self
            .strangers
            .iter()
            .min_by_key(|(_, s)| (s.near.is_some(), s.heard));
        if let Some(address) = oldest.map(|(address, _)| *address) {
            self.strangers.remove(&address);
        }
    }

    /// What stands about each stranger. A look-alike is not told a second time as an unlisted device.
    pub(super) fn finds(&self, faces: &[(&SensorId, &Face)], up: Uptime) -> Vec<(Key, Finds)> {
        let mut all = Vec::new();
        for (address, stranger) in &self.strangers {
            let Some((first, at, last)) = stranger.near else {
                continue;
            };
            let stands = |holds: bool, said: String| {
                if holds && up.since(last) < GONE {
                    Finds::Stands(Claim { since: at, said })
                } else {
                    Finds::Fine
                }
            };
            let like = faces.iter().find(|(_, face)| face.is_like(stranger));
            let looked = last.since(first) >= LOOKS;
            for (sensor, _) in faces {
                let alike = like.is_some_and(|(id, _)| id == sensor);
                let said = format!("{address} has the name and the services of {sensor}");
                all.push((
                    key(Suspicion::LookAlike, Some(sensor), *address),
                    stands(alike && looked, said),
                ));
            }
            let stays = last.since(first) >= STAYS && stranger.is_medical() && like.is_none();
            let said = format!("{address} offers {} and stays near", offers(&stranger.services));
            all.push((
                key(Suspicion::UnlistedDevice, None, *address),
                stands(stays, said),
            ));
        }
        all
    }
}

fn key(suspicion: Suspicion, sensor: Option<&SensorId>, address: BleAddress) -> Key {
    Key {
        suspicion,
        sensor: sensor.cloned(),
        address: Some(address),
    }
}

/// The first medical service, in words.
fn offers(services: &[u16]) -> &'static str {
    match services.iter().find(|s| MEDICAL.contains(s)) {
        Some(0x1808) => "blood glucose",
        Some(0x1809) => "body temperature",
        Some(0x1810) => "blood pressure",
        Some(0x181B | 0x181D) => "body weight",
        Some(0x181F) => "continuous glucose",
        Some(0x1822) => "oxygen saturation",
        Some(0x180D) => "heart rate",
        _ => "a medical service",
    }
}
