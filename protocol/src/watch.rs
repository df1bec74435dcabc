//! What a gateway noticed about its sensors: suspicions that a person should look at, and the devices themselves.
//!
//! # Design
//! A report is the whole state, sent at the start and at each change, and kept apart from the posture so that both
//! stay below the limit of a record. A lost report therefore costs time, never truth.

use serde::{Deserialize, Serialize};

use crate::bond::{BleAddress, Bond};
use crate::id::SensorId;
use crate::posture::{MAX_SENSORS, ShortText};
use crate::time::Timestamp;

/// Most findings in one report: more would not be read, and the count says that there are more.
pub const MAX_FINDINGS: usize = 64;
/// Most bytes of a firmware revision that are carried; revisions are far shorter.
pub const MAX_FIRMWARE: usize = 32;

/// What looks wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Suspicion {
    /// The same value for longer than this kind of value stands still.
    Frozen,
    /// Nothing for longer than its profile allows.
    Silent,
    /// The sensor's session or life has ended (CGM), yet it is still worn.
    SessionExpired,
    /// A change that no body and no room makes in that time.
    ImpossibleChange,
    /// The sensor's clock is off, or jumped.
    ClockShift,
    /// The radio hears nothing at all although it should.
    ScannerStopped,
    /// The sensor's battery falls faster than before, or is nearly empty.
    BatteryFalling,
    /// Another firmware revision than before.
    FirmwareChanged,
    /// A medical device nearby that nobody listed.
    UnlistedDevice,
    /// The device lost its bond, has another or a weaker one, or is not the device.
    BondChanged,
    /// A second device with the name and services of a listed one.
    LookAlike,
    /// A device on a wire is another one than before: a moved cable, or exchanged.
    OtherDevice,
    /// Somebody tried to write what the profile does not allow.
    WriteRefused,
}

impl Suspicion {
    /// All of them, in the order of the contract.
    pub const ALL: [Suspicion; 13] = [
        Suspicion::Frozen,
        Suspicion::Silent,
        Suspicion::SessionExpired,
        Suspicion::ImpossibleChange,
        Suspicion::ClockShift,
        Suspicion::ScannerStopped,
        Suspicion::BatteryFalling,
        Suspicion::FirmwareChanged,
        Suspicion::UnlistedDevice,
        Suspicion::BondChanged,
        Suspicion::LookAlike,
        Suspicion::OtherDevice,
        Suspicion::WriteRefused,
    ];

    /// Plain English, for pages and terminals.
    pub const fn name(self) -> &'static str {
        match self {
            Suspicion::Frozen => "its value stands still",
            Suspicion::Silent => "nothing is heard from it",
            Suspicion::SessionExpired => "the sensor's life has ended",
            Suspicion::ImpossibleChange => "its value jumps",
            Suspicion::ClockShift => "its clock is off",
            Suspicion::ScannerStopped => "the radio hears nothing",
            Suspicion::BatteryFalling => "its battery runs down",
            Suspicion::FirmwareChanged => "its firmware changed",
            Suspicion::UnlistedDevice => "a device nearby that nobody listed",
            Suspicion::BondChanged => "its bond is lost or another one",
            Suspicion::LookAlike => "a second device that looks like it",
            Suspicion::OtherDevice => "another device on its wire",
            Suspicion::WriteRefused => "somebody tried to change a setting of it",
        }
    }
}

/// One suspicion that stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// What looks wrong.
    pub suspicion: Suspicion,
    /// Which sensor, when it is about one.
    pub sensor: Option<SensorId>,
    /// Which other device, when it is about one that is not listed. Not on the wire when it is not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<BleAddress>,
    /// Since when.
    pub since: Timestamp,
    /// In plain words, with the figures that led to it; never a reading's value.
    pub said: ShortText,
}

/// What is known of one BLE device that the gateway was told to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DeviceFacts {
    /// Which sensor it is.
    pub sensor: SensorId,
    /// Its address.
    pub address: BleAddress,
    /// The bond of the association; none when the device gives its values to anybody.
    pub bond: Option<Bond>,
    /// When it was paired and associated.
    pub associated_at: Timestamp,
    /// Firmware revision as the device declares it, at most [`MAX_FIRMWARE`] bytes of it.
    pub firmware: Option<ShortText>,
    /// Charge of its battery, per cent, when it tells.
    pub battery: Option<u8>,
}

/// The whole state of the watch at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WatchReport {
    /// When.
    pub taken_at: Timestamp,
    /// What stands, most recent first; at most [`MAX_FINDINGS`].
    pub findings: Vec<Finding>,
    /// How many more stand than are listed.
    pub more: u32,
    /// The BLE devices.
    pub devices: Vec<DeviceFacts>,
}

impl WatchReport {
    /// Whether it fits a record.
    pub fn is_within_limits(&self) -> bool {
        let firmware = |d: &DeviceFacts| d.firmware.as_ref().map_or(0, |text| text.as_str().len());
        self.findings.len() <= MAX_FINDINGS
            && self.devices.len() <= MAX_SENSORS
            && self.devices.iter().all(|d| firmware(d) <= MAX_FIRMWARE)
    }
}
