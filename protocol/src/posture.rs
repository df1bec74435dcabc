//! What a gateway says of itself.

use serde::{Deserialize, Serialize};

use crate::id::{BootId, SensorId};
use crate::time::{ClockTrust, Timestamp, Uptime};
use crate::trust::TrustMark;

pub mod fact;
pub mod facts;
pub mod inventory;
pub mod value;

/// Most sensors one report may list: a home has a handful, a small ward some dozens. With every text at its
/// longest such a report still fits a record of [`crate::envelope::MAX_ITEM`] bytes.
pub const MAX_SENSORS: usize = 112;
/// Longest free text in a report, bytes: release names and kernel versions are far shorter.
pub const MAX_TEXT: usize = 128;

/// A text from the box, cut to [`MAX_TEXT`] bytes on a character border and without control characters.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ShortText(String);

impl ShortText {
    /// Takes what fits of `text`.
    pub fn cut(text: &str) -> Self {
        let mut kept = String::new();
        for c in text.chars().filter(|c| !c.is_control()) {
            if kept.len() + c.len_utf8() > MAX_TEXT {
                break;
            }
            kept.push(c);
        }
        ShortText(kept)
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for ShortText {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let cut = ShortText::cut(&text);
        if cut.0 == text {
            Ok(cut)
        } else {
            Err(format!("text longer than {MAX_TEXT} bytes or not printable"))
        }
    }
}

impl From<ShortText> for String {
    fn from(t: ShortText) -> String {
        t.0
    }
}

/// Room on the disk that holds the outbox, bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Disk {
    /// Size of the file system.
    pub total_bytes: u64,
    /// Free for an unprivileged process.
    pub free_bytes: u64,
    /// Taken by the outbox.
    pub outbox_bytes: u64,
}

/// The box's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Clock {
    /// How far it is trusted.
    pub trust: ClockTrust,
    /// The kernel's estimate of its error, milliseconds, when it has one.
    pub error_ms: Option<u64>,
}

/// One sensor that the gateway was told to watch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorHeard {
    /// Which sensor.
    pub sensor: SensorId,
    /// The profile it is read by.
    pub profile: ShortText,
    /// When it last gave a value; never, if it has not since it was configured.
    pub last_heard: Option<Timestamp>,
    /// How often it is asked, seconds.
    pub interval_s: u32,
    /// Times in a row that it did not answer.
    pub failures: u32,
    /// What went wrong the last time, in plain words.
    pub last_error: Option<ShortText>,
}

/// Which key a gateway speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum KeyPlace {
    /// Its own, in its TPM.
    Tpm,
    /// Its own, in a file.
    File,
    /// Its spare one, in a file, because its TPM does not answer.
    Spare,
}

/// What keeps a key on the disk from whoever has the disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Sealing {
    /// The box's TPM.
    Tpm,
    /// A credential of systemd.
    Credential,
    /// Facts of the machine: a stolen box opens it, a stolen disk alone does not.
    Machine,
    /// Nothing.
    Nothing,
}

/// Where the key is that a gateway speaks with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct KeyFacts {
    /// Which key.
    pub place: KeyPlace,
    /// What seals it.
    pub sealed: Sealing,
}

/// What a gateway says of itself at one moment.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PostureReport {
    /// When the facts were gathered.
    pub taken_at: Timestamp,
    /// The agent's own version.
    pub agent: ShortText,
    /// Operating system release, as `/etc/os-release` names it.
    pub os: ShortText,
    /// Kernel release.
    pub kernel: ShortText,
    /// Time since the boot.
    pub uptime: Uptime,
    /// Which boot.
    pub boot: BootId,
    /// Room on the disk.
    pub disk: Disk,
    /// The clock.
    pub clock: Clock,
    /// Every sensor the gateway was told to watch.
    pub sensors: Vec<SensorHeard>,
    /// Which trust anchors it holds; older agents do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub trust: Option<TrustMark>,
    /// Where its key is; older agents do not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<KeyFacts>,
}
