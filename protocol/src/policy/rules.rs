//! The rules of a box that are not about its network.
//!
//! Each names the hazard that it guards against. A rule that is absent rules nothing.

use serde::{Deserialize, Serialize};

use super::net::{Net, Ports};
use super::network::Protocol;
use crate::grade::Grade;
use crate::id::{HazardId, SensorId};
use crate::posture::ShortText;

/// What is done about a change that somebody made by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnDrift {
    /// Reported only.
    #[default]
    Report,
    /// Reported, and put back.
    PutBack,
}

/// Whether something may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum May {
    /// It may.
    Yes,
    /// It may not.
    No,
}

impl May {
    /// `yes` or `no`.
    pub const fn name(self) -> &'static str {
        match self {
            May::Yes => "yes",
            May::No => "no",
        }
    }
}

/// Which sensors a box reads, and how sure it must be of each.
///
/// A reading is never dropped for this rule: what does not meet it is shown as unverified, with the reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sensors {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// The sensors, each once.
    #[serde(default)]
    pub allow: Vec<AllowedSensor>,
}

/// One sensor that a box may read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowedSensor {
    /// What the box calls it.
    pub sensor: SensorId,
    /// Where it is: a Bluetooth address, `host:port`, or the path of a serial port. Absent: wherever the box has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<ShortText>,
    /// The least grade of its readings: `unverified`, `associated` or `verified`.
    pub least_grade: Grade,
}

/// What the box's Bluetooth radio is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RadioMode {
    /// Nothing: it is off.
    Off,
    /// Devices that are bonded. Nobody sees the box, and it pairs only while an installer asks it to.
    BondedOnly,
    /// Whatever the box does.
    Open,
}

impl RadioMode {
    /// As it is written in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            RadioMode::Off => "off",
            RadioMode::BondedOnly => "bonded-only",
            RadioMode::Open => "open",
        }
    }
}

/// The box's Bluetooth radio. It is not switched off on a box that reads a sensor by Bluetooth.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Bluetooth {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// What the radio is for.
    pub mode: RadioMode,
    /// What is done about a change by hand.
    #[serde(default)]
    pub on_drift: OnDrift,
}

/// What other masters may write to devices on the box's buses. A write passes when this rule and the box's own
/// configuration of its guard both allow it; nothing else is written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct ModbusWrites {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// The writes that may be.
    #[serde(default)]
    pub allow: Vec<AllowedWrite>,
}

/// One kind of write that may be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct AllowedWrite {
    /// The device.
    pub sensor: SensorId,
    /// By whom; absent: by whom the box's own configuration allows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Net>,
    /// Modbus functions of writing: 5, 6, 15 or 16.
    pub functions: Vec<u8>,
    /// The first address, as in the frame.
    pub first: u16,
    /// The last address.
    pub last: u16,
}

/// What sshd must say of itself (`sshd -T`). Absent fields rule nothing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Sshd {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Sign-in by password.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub password_login: Option<May>,
    /// How root may sign in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub root_login: Option<RootLogin>,
    /// Forwarding of TCP connections.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp_forwarding: Option<May>,
    /// Forwarding of X11.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub x11_forwarding: Option<May>,
    /// Forwarding of the agent of whoever signs in.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub agent_forwarding: Option<May>,
    /// Most tries of one connection, 1 to 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_auth_tries: Option<u8>,
    /// The only users that may sign in. An empty list is no list.
    #[serde(default)]
    pub allow_users: Vec<UserName>,
    /// What is done about a change by hand.
    #[serde(default)]
    pub on_drift: OnDrift,
}

/// How root may sign in by ssh.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum RootLogin {
    /// Not at all.
    No,
    /// By a key only.
    KeysOnly,
}

/// A user of the box: 1 to 32 of a-z, 0-9, `_` and `-`, beginning with a letter or `_`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct UserName(String);

impl UserName {
    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for UserName {
    type Error = String;
    fn try_from(name: String) -> Result<Self, String> {
        let first = name.bytes().next().unwrap_or(0);
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_' || b == b'-';
        if name.len() <= 32 && (first.is_ascii_lowercase() || first == b'_') && name.bytes().all(plain) {
            Ok(UserName(name))
        } else {
            let shown = super::net::shown(&name);
            Err(format!(
                "`{shown}` is no user: 1 to 32 of a-z, 0-9, _ and -, beginning with a letter or _"
            ))
        }
    }
}

impl From<UserName> for String {
    fn from(name: UserName) -> String {
        name.0
    }
}

/// Who may sign in to the box, and become root. Anybody else who could is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Accounts {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Users that may have a password.
    #[serde(default)]
    pub passwords: Vec<UserName>,
    /// Users that may have keys for ssh.
    #[serde(default)]
    pub keys: Vec<UserName>,
    /// Users that may become root.
    #[serde(default)]
    pub root: Vec<UserName>,
}

/// A class of USB devices. Source: USB-IF, Defined Class Codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum UsbClass {
    /// 01: sound.
    Audio,
    /// 02 and 0a: modems, serial adapters and network cards that follow the standard.
    Communication,
    /// 03: keyboards, mice, buttons.
    HumanInterface,
    /// 06: cameras for pictures.
    Image,
    /// 07: printers.
    Printer,
    /// 08: sticks and disks.
    MassStorage,
    /// 09: hubs.
    Hub,
    /// 0b: smart-card readers.
    SmartCard,
    /// 0e: cameras for video.
    Video,
    /// 0f: personal health devices.
    PersonalHealth,
    /// e0: Bluetooth and other radios.
    Wireless,
    /// ff: what its maker calls it; most serial adapters.
    VendorSpecific,
}

impl UsbClass {
    /// The class of an interface of this code; none for one that no rule can name.
    pub const fn of(code: u8) -> Option<UsbClass> {
        Some(match code {
            0x01 => UsbClass::Audio,
            0x02 | 0x0a => UsbClass::Communication,
            0x03 => UsbClass::HumanInterface,
            0x06 => UsbClass::Image,
            0x07 => UsbClass::Printer,
            0x08 => UsbClass::MassStorage,
            0x09 => UsbClass::Hub,
            0x0b => UsbClass::SmartCard,
            0x0e => UsbClass::Video,
            0x0f => UsbClass::PersonalHealth,
            0xe0 => UsbClass::Wireless,
            0xff => UsbClass::VendorSpecific,
            _ => return None,
        })
    }

    /// As it is written in a policy.
    pub const fn name(self) -> &'static str {
        match self {
            UsbClass::Audio => "audio",
            UsbClass::Communication => "communication",
            UsbClass::HumanInterface => "human-interface",
            UsbClass::Image => "image",
            UsbClass::Printer => "printer",
            UsbClass::MassStorage => "mass-storage",
            UsbClass::Hub => "hub",
            UsbClass::SmartCard => "smart-card",
            UsbClass::Video => "video",
            UsbClass::PersonalHealth => "personal-health",
            UsbClass::Wireless => "wireless",
            UsbClass::VendorSpecific => "vendor-specific",
        }
    }
}

/// Which classes of USB devices may be plugged in. Others are reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Usb {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// The classes.
    #[serde(default)]
    pub allow: Vec<UsbClass>,
}

/// Which sockets may listen on the box beyond the loopback. Others are reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Listening {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// The sockets.
    #[serde(default)]
    pub allow: Vec<Socket>,
}

/// A socket that may listen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Socket {
    /// TCP or UDP.
    pub protocol: Protocol,
    /// Its ports.
    pub ports: Ports,
}

/// Where the box gets the time from. What is otherwise is reported.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Time {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// The only sources: names or addresses. An empty list rules nothing.
    #[serde(default)]
    pub sources: Vec<ShortText>,
    /// How far the clock may be off by the time service's own estimate, milliseconds, 1 to 60000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_error_ms: Option<u32>,
}

/// How often sensors are asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Polling {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// One entry a sensor.
    #[serde(default)]
    pub every: Vec<PollEvery>,
}

/// How often one sensor is asked.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct PollEvery {
    /// Which.
    pub sensor: SensorId,
    /// How often, milliseconds, 50 to 86400000 (a day).
    pub interval_ms: u32,
}

/// How much waits on the box for its server, at most.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Retention {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Most that waiting records may take, KiB, 256 to 1073741824. Beyond it the oldest of the least important go
    /// first, and are counted.
    pub outbox_kib: u64,
}

/// How often the box proves and reports itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Intervals {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// A report of the box at least so often, seconds, 60 to 604800 (a week).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub posture_s: Option<u32>,
    /// A link of the chain of postures at least so often while away, seconds, 600 to 86400.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence_s: Option<u32>,
    /// A new certificate when the one in use is older than this, hours, 24 to 336 (14 days).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub certificate_h: Option<u16>,
}

/// A day of the week.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
#[expect(missing_docs, reason = "the days of the week")]
pub enum Day {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

/// When work on the box may begin: an update is put in place, and the box reboots for it, only where the whole of it fits
/// into a window; without windows, whenever the home is quiet. What goes back to what ran before waits for none. In a window
/// the interlock still has the last word.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Maintenance {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// The windows.
    #[serde(default)]
    pub window: Vec<Window>,
}

/// One window for work, in UTC.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Window {
    /// On which days it begins; empty: on all.
    #[serde(default)]
    pub days: Vec<Day>,
    /// When it begins, minutes after midnight UTC, 0 to 1439.
    pub from_min: u16,
    /// How long it lasts, minutes, 10 to 1440.
    pub minutes: u16,
}

/// Whether, how long and whereto a support tunnel may be opened from the box. It is the box that ends it, by its own
/// clock.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Support {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Whether there may be one at all.
    pub tunnel: May,
    /// How long one may last, minutes, 1 to 480.
    pub max_minutes: u16,
    /// Where the fleet server, which is the far end, must be for this; empty: wherever it is.
    #[serde(default)]
    pub to: Vec<Net>,
    /// Ports of the box itself that it may lead to, for example "22".
    #[serde(default)]
    pub ports: Vec<Ports>,
    /// Whether there may be one also while the box is isolated; not said: no.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub while_isolated: Option<May>,
}

/// What is done about updates while the way to the server costs by the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum OnMetered {
    /// They are fetched as over any other.
    Always,
    /// They are not fetched over it.
    Never,
    /// They are fetched over it once this share of the time from their beginning to their deadline is over, percent, 1 to
    /// 99.
    FromPercent(u8),
}

impl OnMetered {
    /// What a box does that no policy tells.
    pub const USUAL: OnMetered = OnMetered::FromPercent(50);
}

impl Default for OnMetered {
    fn default() -> OnMetered {
        OnMetered::USUAL
    }
}

impl std::fmt::Display for OnMetered {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            OnMetered::Always => f.write_str("fetched as over any other"),
            OnMetered::Never => f.write_str("not fetched"),
            OnMetered::FromPercent(share) => {
                write!(f, "fetched from {share} % of the time to the deadline on")
            }
        }
    }
}

/// How updates come to the box. It says nothing of what neighbours in the home's own network give.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Updates {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// Most KiB a second, on the average, 8 to 1048576.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_kib_s: Option<u32>,
    /// What is done while the way to the server costs by the byte: "always", "never" or { from-percent = 50 }.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub metered: Option<OnMetered>,
}

/// When a finding about a sensor is raised, where not by its profile.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Thresholds {
    /// The hazard that this rule guards against.
    pub hazard: HazardId,
    /// One entry a sensor.
    #[serde(default)]
    pub silent: Vec<SilentAfter>,
}

/// When one sensor counts as silent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct SilentAfter {
    /// Which.
    pub sensor: SensorId,
    /// Without a value for so long, minutes, 1 to 10080 (a week).
    pub minutes: u16,
}
