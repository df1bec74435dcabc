//! Shell: reads the lists of the package managers that are here.
#![expect(clippy::disallowed_methods, reason = "shell: reads the box's files")]

use std::path::Path;
use std::time::Duration;

use homeward_protocol::posture::fact::{Fact, Value, What, text};
use homeward_protocol::posture::facts::Mark;
use homeward_protocol::posture::inventory::{self, Component, Inventory, Kind, Word};
use homeward_protocol::time::Timestamp;

use super::facts::packages::{self, Found};
use super::facts::seen::Seen;
use super::facts::{own, updates};
use super::look::files::text_up_to;
use super::look::run::printed;

/// The longest list that is read, bytes: a full desktop's has 6 MiB.
const MAX_LIST: u64 = 64 * 1024 * 1024;
/// How long `rpm` may take.
const LIMIT: Duration = Duration::from_mins(1);

/// The software of the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Software {
    /// The list.
    pub list: Inventory,
    /// Its bytes.
    pub bytes: Vec<u8>,
    broken: u64,
    held: u64,
    source: String,
}

impl Software {
    /// Reads it; `sha256` is the fingerprint of the agent's program.
    pub fn of_this_box(sha256: Option<[u8; 32]>) -> Software {
        let release = text_up_to("/etc/os-release", MAX_LIST).unwrap_or_default();
        let (id, version) = updates::system(&release);
        let system = id.and_then(|id| id.parse().ok()).unwrap_or_else(unknown);
        let version: Option<Word> = version.and_then(|version| version.parse().ok());
        let (found, sources) = all();
        let own: Option<Component> = own::component(env!("CARGO_PKG_VERSION"), sha256);
        let components = found.components.into_iter().chain(own).collect();
        let list = Inventory::new((system, version), components);
        // Its parts are within their limits, and 16,384 of the longest would be too much: then it is said to be empty.
        let bytes = list.encode().unwrap_or_default();
        Software {
            list,
            bytes,
            broken: found.broken,
            held: found.held,
            source: sources.join(", "),
        }
    }

    /// The list's name.
    pub fn name(&self) -> Mark {
        inventory::name(&self.bytes)
    }

    /// What is told of it as facts.
    pub fn facts(&self, at: Timestamp) -> Vec<Fact> {
        let seen = Seen::new(at, &self.source);
        let packaged = |c: &&Component| !matches!(c.kind, Kind::Program | Kind::Crate);
        let count = self.list.components.iter().filter(packaged).count() as u64;
        vec![
            seen.one(What::Packages, Value::Count(count)),
            seen.one(What::PackagesBroken, Value::Count(self.broken)),
            seen.one(What::UpdatesHeld, Value::Count(self.held)),
            seen.one(What::Inventory, text(&self.name().to_string())),
        ]
    }
}

fn unknown() -> Word {
    "linux".parse().expect("a constant of the right form")
}

/// Reads one kind of list.
type Reader = fn(&str) -> Found;

/// Everything that every package manager here says, and where it stands.
fn all() -> (Found, Vec<String>) {
    let mut all = Found::default();
    let mut sources = Vec::new();
    let files: [(&str, Reader); 4] = [
        ("/var/lib/dpkg/status", |text| packages::dpkg(Kind::Deb, text)),
        ("/usr/lib/opkg/status", |text| packages::dpkg(Kind::Ipk, text)),
        ("/var/lib/opkg/status", |text| packages::dpkg(Kind::Ipk, text)),
        ("/lib/apk/db/installed", packages::apk),
    ];
    let mut take = |found: Found, source: &str| {
        all.components.extend(found.components);
        all.broken += found.broken;
        all.held += found.held;
        sources.push(source.to_owned());
    };
    for (path, read) in files {
        if let Some(text) = text_up_to(path, MAX_LIST) {
            take(read(&text), path);
        }
    }
    // Debian has the program `rpm`, too, and then a database with nothing in it.
    let has_rpm = ["/var/lib/rpm", "/usr/lib/sysimage/rpm"]
        .iter()
        .any(|path| Path::new(path).is_dir());
    if has_rpm && let Ok(text) = printed("rpm", &["-qa", "--queryformat", packages::RPM_FORMAT], LIMIT) {
        take(packages::rpm(&text), "rpm -qa");
    }
    (all, sources)
}
