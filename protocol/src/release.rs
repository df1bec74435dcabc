//! What an update is: the `custom` of a target, and the director's word on who gets which.
//!
//! The repository is signed offline and is the same for all boxes. The *director* (the server) says which target one box
//! shall have. A box installs only what both name with the same hash: a stolen server can delay and choose among what
//! was signed, it cannot invent. Source: an idea of Uptane; not the whole of it.

pub mod assignment;
pub mod bundle;
pub mod delta;
pub mod dossier;
pub mod force;
pub mod notes;
pub mod pushable;
pub mod state;

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// How long each role's metadata is good, milliseconds. `timestamp`: the longest freeze that an attacker in the network
/// can force; `targets`: the longest that a stolen server can.
pub mod lifetime {
    const DAY: i64 = 86_400_000;
    /// Signed online, daily.
    pub const TIMESTAMP_MS: i64 = 7 * DAY;
    /// Signed online.
    pub const SNAPSHOT_MS: i64 = 14 * DAY;
    /// Signed offline.
    pub const TARGETS_MS: i64 = 365 * DAY;
    /// Signed offline.
    pub const ROOT_MS: i64 = 730 * DAY;
}

/// Where the director's public key lies among the targets: PEM, P-256. The offline keys say who directs.
pub const DIRECTOR_KEY: &str = "homeward/director.pub";
/// Where the public key lies whose signature reference values bear: PEM, P-256. The offline keys say who measures.
pub const REFERENCE_KEY: &str = "homeward/reference.pub";
/// The folder of reference values among the targets: of each release that evidence is held against, one file.
pub const REFERENCE_FOLDER: &str = "homeward/reference/";

/// Where the reference values of the release of this name lie among the targets.
pub fn reference_path(name: &str) -> String {
    format!("{REFERENCE_FOLDER}{name}.rim")
}

/// Most hardware names of one target.
const MAX_HW: usize = 16;

/// A version as releases count them: `MAJOR.MINOR.PATCH`, compared number by number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Version([u32; 3]);

impl Version {
    /// Before every release.
    pub const ZERO: Version = Version([0; 3]);
}

impl FromStr for Version {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Version, Self::Err> {
        let rule = "a version is three numbers: 1.4.2";
        let number = |part: &str| {
            let plain =
                part.bytes().all(|b| b.is_ascii_digit()) && (part.len() == 1 || !part.starts_with('0'));
            part.parse().ok().filter(|_| plain)
        };
        let numbers: Option<Vec<u32>> = text.split('.').map(number).collect();
        let numbers = numbers.and_then(|all| all.try_into().ok());
        numbers.map(Version).ok_or(rule)
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [major, minor, patch] = self.0;
        write!(f, "{major}.{minor}.{patch}")
    }
}

impl TryFrom<String> for Version {
    type Error = &'static str;
    fn try_from(text: String) -> Result<Version, Self::Error> {
        text.parse()
    }
}

impl From<Version> for String {
    fn from(version: Version) -> String {
        version.to_string()
    }
}

/// What puts a target in place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installer {
    /// The agent itself: one of two slots, with a way back.
    AgentSlot,
    /// A pinned set of Debian packages: forward only.
    Apt,
    /// A whole image, by the boot loader.
    Rauc,
    /// Firmware of a device behind the box: a dossier, which a person carries out.
    Dossier,
}

impl Installer {
    /// All of them.
    pub const ALL: [Installer; 4] = [
        Installer::AgentSlot,
        Installer::Apt,
        Installer::Rauc,
        Installer::Dossier,
    ];

    /// Its name, as metadata writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Installer::AgentSlot => "agent-slot",
            Installer::Apt => "apt",
            Installer::Rauc => "rauc",
            Installer::Dossier => "dossier",
        }
    }

    /// Whether nothing takes back what it put in place: another release that goes forward is the only way.
    pub const fn is_forward_only(self) -> bool {
        match self {
            Installer::Apt | Installer::Dossier => true,
            Installer::AgentSlot | Installer::Rauc => false,
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Installer::AgentSlot => "the agent itself, which goes back by itself when it is not well",
            Installer::Apt => "packages of the system, forward only: there is no way back",
            Installer::Rauc => "a whole image, which goes back by the boot loader when it is not well",
            Installer::Dossier => "instructions that a person carries out: nothing is pushed",
        }
    }
}

impl FromStr for Installer {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Installer, Self::Err> {
        let found = Installer::ALL.into_iter().find(|one| one.name() == text);
        found.ok_or("an installer is agent-slot, apt, rauc or dossier")
    }
}

/// What an activation interrupts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Disruption {
    /// Nothing.
    None,
    /// Readings pause for seconds.
    AgentRestart,
    /// Services of the system restart.
    ServiceRestart,
    /// The box is away for minutes.
    Reboot,
}

impl Disruption {
    /// Its name, as metadata writes it.
    pub const fn name(self) -> &'static str {
        match self {
            Disruption::None => "none",
            Disruption::AgentRestart => "agent-restart",
            Disruption::ServiceRestart => "service-restart",
            Disruption::Reboot => "reboot",
        }
    }

    /// For people.
    pub const fn words(self) -> &'static str {
        match self {
            Disruption::None => "interrupts nothing",
            Disruption::AgentRestart => "restarts the agent: readings pause for seconds",
            Disruption::ServiceRestart => "restarts services of the system",
            Disruption::Reboot => "reboots the box: it is away for minutes",
        }
    }

    /// How long it lasts, for people.
    pub const fn lasts(self) -> &'static str {
        match self {
            Disruption::None => "no time",
            Disruption::AgentRestart => "seconds",
            Disruption::ServiceRestart => "seconds to minutes, by what restarts",
            Disruption::Reboot => "minutes",
        }
    }
}

impl FromStr for Disruption {
    type Err = &'static str;
    fn from_str(text: &str) -> Result<Disruption, Self::Err> {
        let all = [
            Disruption::None,
            Disruption::AgentRestart,
            Disruption::ServiceRestart,
            Disruption::Reboot,
        ];
        let found = all.into_iter().find(|one| one.name() == text);
        found.ok_or("a disruption is none, agent-restart, service-restart or reboot")
    }
}

/// What a target is: its `custom` in the metadata, which the offline keys signed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Custom {
    /// What puts it in place.
    pub installer: Installer,
    /// Hardware that it is for, as boxes call themselves: `x86_64`, `aarch64`; each once.
    pub hw: Vec<String>,
    /// What it is then.
    pub version: Version,
    /// What must run before; anything, when it is not said.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub min_version: Option<Version>,
    /// What putting it in place interrupts.
    pub disruption: Disruption,
    /// Once this ran, nothing below that version is installed any more. Never above its own.
    pub security_floor: Version,
}

impl Custom {
    /// Reads the `custom` of a target.
    pub fn read(value: Option<&serde_json::Value>) -> Result<Custom, &'static str> {
        let value = value.ok_or("it does not say what it is")?;
        let custom: Custom =
            serde::Deserialize::deserialize(value).map_err(|_| "what it says of itself cannot be read")?;
        custom.check().map(|()| custom)
    }

    /// What must hold beyond its form.
    pub fn check(&self) -> Result<(), &'static str> {
        let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"-_".contains(&b);
        let name = |hw: &String| (1..=40).contains(&hw.len()) && hw.bytes().all(plain);
        if self.hw.is_empty() || self.hw.len() > MAX_HW || !self.hw.iter().all(name) {
            return Err("it is for no hardware that could be named");
        }
        if self.security_floor > self.version {
            return Err("its security floor lies above itself");
        }
        if self.min_version.is_some_and(|min| min > self.version) {
            return Err("it demands a newer version than it is");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn versions_are_compared_number_by_number() {
        let version = |text: &str| text.parse::<Version>();
        assert!(version("1.10.0") > version("1.9.9"));
        assert_eq!(version("1.2.3").map(|v| v.to_string()).as_deref(), Ok("1.2.3"));
        for odd in [
            "",
            "1",
            "1.2",
            "1.2.3.4",
            "1.2.x",
            "01.2.3",
            "+1.2.3",
            "1.2.-3",
            "1..3",
            "4294967296.0.0",
        ] {
            assert!(version(odd).is_err(), "{odd}");
        }
    }

    #[test]
    fn what_a_target_says_of_itself_is_read_strictly() {
        let good = json!({
            "installer": "agent-slot", "hw": ["x86_64"], "version": "1.4.0", "min_version": "1.2.0",
            "disruption": "agent-restart", "security_floor": "1.3.0",
        });
        let custom = Custom::read(Some(&good)).expect("a target");
        assert_eq!(serde_json::to_value(&custom).ok(), Some(good.clone()));
        for (key, odd) in [
            ("installer", json!("shell")),
            ("hw", json!([])),
            ("hw", json!(["x86/64"])),
            ("version", json!("1.4")),
            ("min_version", json!("1.5.0")),
            ("security_floor", json!("1.4.1")),
            ("more", json!(1)),
            ("disruption", json!(null)),
        ] {
            let mut bad = good.clone();
            bad[key] = odd;
            assert!(Custom::read(Some(&bad)).is_err(), "{bad}");
        }
        assert!(Custom::read(None).is_err());
    }
}
