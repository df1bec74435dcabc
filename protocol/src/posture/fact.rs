//! One fact about a box: what it is about, its value, where it was read, when.
//!
//! # Design
//! - The names are closed: each is a question that a person, a rule or a page can ask of every box. What there is more
//!   than one of (sockets, accounts, disks) has a subject in brackets: `net.listen[tcp/0.0.0.0:22]`. So each one comes,
//!   changes and goes by itself, and the history tells of it alone.
//! - A fact that could not be had is a fact: [`Value::Unknown`] says why. Silence would read as "all is well".
//! - Values that move by themselves (room, heat, the clock's error) are news only when they moved far: see
//!   [`Value::is_news`].
//! - Names are strict both ways: a fleet's server is updated before its boxes.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use super::ShortText;
pub use super::value::{Value, Why};
use crate::time::Timestamp;

/// Longest subject of a fact, bytes: paths and addresses with room.
pub const MAX_SUBJECT: usize = 96;
/// Most bytes of a fact's id as text.
pub const MAX_ID: usize = MAX_SUBJECT + 32;

macro_rules! whats {
    ($($variant:ident $name:literal $said:literal;)*) => {
        /// What a fact is about.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum What { $(#[doc = $said] $variant,)* }

        impl What {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [What] = &[$(What::$variant,)*];

            /// The dotted name, on the wire and in tables.
            pub const fn name(self) -> &'static str {
                match self { $(What::$variant => $name,)* }
            }

            /// Plain words, for pages and terminals.
            pub const fn said(self) -> &'static str {
                match self { $(What::$variant => $said,)* }
            }
        }
    };
}

whats! {
    OsName "os.name" "operating system";
    OsSupportEnds "os.support-ends" "security support of the system ends";
    OsLongSupportEnds "os.long-support-ends" "long-term support of the system ends";
    KernelRelease "kernel.release" "kernel";
    KernelSetting "kernel.setting" "kernel setting";
    Machine "machine.model" "model of the machine";
    MachineKind "machine.virtual" "virtual machine or container";
    BootSecure "boot.secure-boot" "secure boot is on";
    BootLockdown "boot.lockdown" "kernel lockdown";
    BootParameters "boot.parameters" "kernel command line";
    DiskEncrypted "disk.encryption" "encryption of the disk";
    DiskRoom "disk.size" "size of the disk";
    DiskFree "disk.free" "free room on the disk";
    Mount "disk.mount" "mounted file system";
    MemoryTotal "memory.total" "memory";
    MemoryFree "memory.free" "memory that is free";
    Swap "memory.swap" "swap";
    Temperature "machine.temperature" "temperature";
    Power "machine.power" "power supply";
    PowerLow "machine.undervoltage" "power was too low since the boot";
    AccountPassword "account.password" "password of the account";
    AccountKeys "account.keys" "SSH keys of the account";
    AccountRoot "account.root" "account with the rights of root";
    SudoRule "account.sudo" "sudo rule";
    SetUid "file.setuid" "program that runs with its owner's rights";
    Listen "net.listen" "listening socket";
    Firewall "net.firewall" "firewall in force";
    FirewallRules "net.firewall-rules" "firewall rules";
    FirewallInput "net.firewall-input" "what the firewall does with what no rule names";
    FirewallDigest "net.firewall-digest" "fingerprint of the firewall's rules";
    Sshd "ssh.setting" "setting of the SSH server";
    SshdThere "ssh.server" "SSH server";
    TimeSource "time.source" "time source";
    TimeServer "time.server" "time server in use";
    TimeSynced "time.synchronised" "clock follows its source";
    TimeOffset "time.offset" "clock's distance from its source";
    TimeZone "time.zone" "time zone";
    Updates "updates.pending" "updates that wait";
    UpdatesSecurity "updates.security" "security updates that wait";
    UpdatesLists "updates.lists" "list of updates was fetched";
    UpdatesSelf "updates.automatic" "security updates install themselves";
    UpdatesHeld "updates.held" "packages that are held back";
    UpdatesReboot "updates.reboot" "a reboot is needed";
    Packages "software.packages" "installed packages";
    PackagesBroken "software.broken" "packages that are not whole";
    Inventory "software.inventory" "fingerprint of the list of software";
    Usb "usb.device" "USB device";
    Serial "serial.port" "serial port";
    BluetoothAdapter "bluetooth.adapter" "Bluetooth adapter";
    BluetoothBond "bluetooth.bond" "Bluetooth bond";
    Modbus "modbus.bus" "Modbus bus";
    AgentVersion "agent.version" "version of the agent";
    AgentBinary "agent.binary" "fingerprint of the agent's program";
    AgentIntegrity "agent.integrity" "agent's program against its package";
    AgentLook "agent.look" "helper that opens what needs root";
    LeftOut "left.out" "facts that found no place in the report";
}

/// Not the name of a fact.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FactIdError {
    /// No fact has this name.
    #[error("there is no fact of that name")]
    Name,
    /// The subject is empty, too long, or holds brackets or control characters.
    #[error("the subject of a fact is a plain text of 1 to {MAX_SUBJECT} bytes without brackets")]
    Subject,
}

impl FromStr for What {
    type Err = FactIdError;
    fn from_str(text: &str) -> Result<What, FactIdError> {
        let found = What::ALL.iter().find(|what| what.name() == text);
        found.copied().ok_or(FactIdError::Name)
    }
}

/// The stable name of a fact: what it is about, and which one when there are several.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct FactId {
    what: What,
    subject: Option<String>,
}

impl FactId {
    /// The one fact of this kind.
    pub const fn of(what: What) -> FactId {
        FactId { what, subject: None }
    }

    /// The fact about `subject`, which comes from the box: what does not fit is cut off, what may not stand there is
    /// replaced, and nothing at all becomes `?`.
    pub fn about(what: What, subject: &str) -> FactId {
        let mut kept = String::new();
        for c in subject.chars() {
            let c = match c {
                '[' => '(',
                ']' => ')',
                c if c.is_control() => '?',
                c => c,
            };
            if kept.len() + c.len_utf8() > MAX_SUBJECT {
                break;
            }
            kept.push(c);
        }
        if kept.is_empty() {
            kept.push('?');
        }
        FactId {
            what,
            subject: Some(kept),
        }
    }

    /// What it is about.
    pub const fn what(&self) -> What {
        self.what
    }

    /// Which one, when there are several.
    pub fn subject(&self) -> Option<&str> {
        self.subject.as_deref()
    }
}

impl FromStr for FactId {
    type Err = FactIdError;
    fn from_str(text: &str) -> Result<FactId, FactIdError> {
        let Some((name, rest)) = text.split_once('[') else {
            return Ok(FactId::of(text.parse()?));
        };
        let what: What = name.parse()?;
        let subject = rest.strip_suffix(']').ok_or(FactIdError::Subject)?;
        let id = FactId::about(what, subject);
        if id.subject() == Some(subject) {
            Ok(id)
        } else {
            Err(FactIdError::Subject)
        }
    }
}

impl TryFrom<String> for FactId {
    type Error = FactIdError;
    fn try_from(text: String) -> Result<FactId, FactIdError> {
        text.parse()
    }
}

impl From<FactId> for String {
    fn from(id: FactId) -> String {
        id.to_string()
    }
}

impl fmt::Display for FactId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.subject {
            None => f.write_str(self.what.name()),
            Some(subject) => write!(f, "{}[{subject}]", self.what.name()),
        }
    }
}

/// One fact.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Fact {
    /// Its stable name.
    pub id: FactId,
    /// What is so.
    pub value: Value,
    /// The file or the command it was read from.
    pub source: ShortText,
    /// When it was read.
    pub taken_at: Timestamp,
}

impl Fact {
    /// One fact.
    pub fn new(id: FactId, value: Value, source: &str, taken_at: Timestamp) -> Fact {
        Fact {
            id,
            value,
            source: ShortText::cut(source),
            taken_at,
        }
    }
}

/// A text that fits, for values and sources: [`ShortText::cut`].
pub fn text(text: &str) -> Value {
    Value::Text(ShortText::cut(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_its_own_and_reads_back() {
        let mut names: Vec<&str> = What::ALL.iter().map(|what| what.name()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), What::ALL.len());
        for what in What::ALL {
            assert!(what.name().len() <= MAX_ID - MAX_SUBJECT - 2, "{}", what.name());
            assert_eq!(what.name().parse(), Ok(*what));
            let id = FactId::about(*what, "tcp/0.0.0.0:22");
            assert_eq!(id.to_string().parse(), Ok(id));
        }
    }

    #[test]
    fn subjects_from_a_box_always_make_an_id_that_reads_back() {
        for subject in ["", "[::]:22", "a\0b", &"é".repeat(200), "]]", "a[b]c", " "] {
            let id = FactId::about(What::Listen, subject);
            assert_eq!(id.to_string().parse(), Ok(id.clone()), "{subject:?}");
            assert!(id.to_string().len() <= MAX_ID);
        }
    }

    #[test]
    fn what_is_no_id_is_refused() {
        for bad in [
            "",
            "os",
            "os.name[",
            "os.name[]",
            "os.name[a]b",
            "os.name[a[b]",
            "OS.NAME",
            "[x]",
            "os.name]",
        ] {
            assert!(bad.parse::<FactId>().is_err(), "{bad:?} was accepted");
        }
    }
}
