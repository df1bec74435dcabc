//! Shell: opens what a question stands for, and makes facts of it.
//!
//! [`open`] needs the rights, [`Opened::facts`] does not: between the two the helper gives them up. What needs none is
//! asked afterwards.
#![expect(clippy::disallowed_methods, reason = "shell: reads the box's files")]

use std::collections::BTreeMap;
use std::fs::File;
use std::path::Path;
use std::time::Duration;

use homeward_devices::bluez::key_file;
use homeward_protocol::bond::BleAddress;
use homeward_protocol::posture::fact::{Fact, Value, What, Why, text};
use homeward_protocol::posture::value::MAX_LIST;
use homeward_protocol::time::Timestamp;

use super::installed::{Walked, origins, walk};
use super::run::printed;
use super::{Question, disks, files};
use crate::posture::facts::accounts::{self, Account};
use crate::posture::facts::seen::Seen;
use crate::posture::facts::setuid::{self, Origin};
use crate::posture::facts::sockets::{Listening, Table, inode_of, listening};
use crate::posture::facts::{firewall, plugged, sockets, sshd, sudo, timing, updates};

/// How long a program that only prints settings may take.
const SHORT: Duration = Duration::from_secs(10);
/// How long the package manager may take on a slow card.
const LONG: Duration = Duration::from_mins(2);
/// Most programs whose open files are looked at.
const MAX_PROGRAMS: usize = 4096;
/// Most accounts whose keys are counted.
const MAX_ACCOUNTS: usize = 256;

/// What a question stands for, opened.
#[derive(Debug)]
pub enum Opened {
    /// Accounts, the file with the states of their passwords, and files of keys.
    Accounts(Vec<Account>, Option<File>, Vec<(String, File)>),
    /// Files of rules, with their names; `None` when there is no sudo.
    Sudo(Option<Vec<(String, File)>>),
    /// What `sshd -T` printed.
    Sshd(Result<String, Why>),
    /// What `nft` printed, and the names of older tables.
    Firewall(Result<String, Why>, Option<String>),
    /// Sockets, and who holds which.
    Sockets(Vec<Listening>, BTreeMap<u64, Vec<String>>),
    /// What is mounted.
    Mounts(String),
    /// What `chronyc` and `timedatectl` print: they need no rights.
    Time,
    /// Adapter, device, and the file of its key.
    Bonds(Option<Vec<(String, BleAddress, File)>>),
    /// What `apt-get` prints: it needs no rights.
    Updates,
    /// Programs with the rights of others, and where each comes from.
    SetUid(Walked, BTreeMap<String, Origin>),
}

/// Opens what the question stands for.
pub fn open(question: Question) -> Opened {
    match question {
        Question::Accounts => open_accounts(),
        Question::Sudo => Opened::Sudo(sudoers()),
        Question::Sshd => Opened::Sshd(printed("sshd", &["-T"], SHORT)),
        Question::Firewall => Opened::Firewall(
            printed("nft", &["-j", "list", "ruleset"], SHORT),
            files::text("/proc/net/ip_tables_names"),
        ),
        Question::Sockets => Opened::Sockets(all_sockets(), owners()),
        Question::Mounts => Opened::Mounts(disks::mountinfo()),
        Question::Time => Opened::Time,
        Question::Bonds => Opened::Bonds(bonds(Path::new("/var/lib/bluetooth"))),
        Question::Updates => Opened::Updates,
        Question::SetUid => {
            let walked = walk();
            let paths: Vec<String> = walked.found.iter().map(|one| one.path.clone()).collect();
            Opened::SetUid(walked, origins(&paths))
        }
    }
}

/// Opens and answers, for a process that has the rights anyway.
pub fn answer(question: Question, at: Timestamp) -> Vec<Fact> {
    open(question).facts(at)
}

impl Opened {
    /// What it says.
    pub fn facts(self, at: Timestamp) -> Vec<Fact> {
        match self {
            Opened::Accounts(all, shadow, keys) => of_accounts(at, &all, shadow, keys),
            Opened::Sudo(None) => vec![Seen::new(at, "/etc/sudoers").unknown(What::SudoRule, Why::NotThere)],
            Opened::Sudo(Some(all)) => {
                let rules = |(name, file): (String, File)| {
                    sudo::rules(
                        &Seen::new(at, &name),
                        &files::text_of(file, files::USUAL).unwrap_or_default(),
                    )
                };
                all.into_iter().flat_map(rules).collect()
            }
            Opened::Sshd(printed) => of_sshd(at, printed),
            Opened::Firewall(printed, tables) => of_firewall(at, printed, tables.as_deref()),
            Opened::Sockets(all, owners) => {
                sockets::facts(&Seen::new(at, "/proc/net, /proc/PID/fd"), &all, Some(&owners))
            }
            Opened::Mounts(mountinfo) => disks::facts(at, &mountinfo),
            Opened::Time => of_time(at),
            Opened::Bonds(all) => of_bonds(at, all),
            Opened::Updates => {
                let seen = Seen::new(at, "apt-get -s dist-upgrade");
                let words = ["-s", "-q", "-o", "Debug::NoLocking=true", "dist-upgrade"];
                printed("apt-get", &words, LONG).map_or_else(
                    |why| vec![seen.unknown(What::Updates, why)],
                    |text| updates::apt(&seen, &text),
                )
            }
            Opened::SetUid(walked, origins) => of_setuid(at, &walked, &origins),
        }
    }
}

fn open_accounts() -> Opened {
    let mut all = accounts::accounts(&files::text("/etc/passwd").unwrap_or_default());
    all.truncate(MAX_ACCOUNTS);
    let mut keys = Vec::new();
    for account in &all {
        for name in ["authorized_keys", "authorized_keys2"] {
            let path = Path::new(&account.home).join(".ssh").join(name);
            let absolute = account.home.starts_with('/');
            keys.extend(
                files::open(&path)
                    .filter(|_| absolute)
                    .map(|file| (account.name.clone(), file)),
            );
        }
    }
    Opened::Accounts(all, files::open(Path::new("/etc/shadow")), keys)
}

fn of_accounts(at: Timestamp, all: &[Account], shadow: Option<File>, keys: Vec<(String, File)>) -> Vec<Fact> {
    let seen = Seen::new(at, "/etc/shadow");
    let mut facts = match shadow.and_then(|file| files::text_of(file, files::USUAL)) {
        Some(shadow) => accounts::passwords(&seen, all, &shadow),
        None => vec![seen.unknown(What::AccountPassword, Why::NeedsRights)],
    };
    let seen = Seen::new(at, "~/.ssh/authorized_keys");
    let mut counts: BTreeMap<String, u64> = BTreeMap::new();
    for (account, file) in keys {
        let text = files::text_of(file, files::USUAL).unwrap_or_default();
        *counts.entry(account).or_default() += accounts::keys(&text);
    }
    facts.extend(
        counts
            .iter()
            .map(|(account, count)| accounts::key_count(&seen, account, *count)),
    );
    facts
}

fn sudoers() -> Option<Vec<(String, File)>> {
    let main = "/etc/sudoers";
    let first = files::open(Path::new(main))?;
    let mut all = vec![(main.to_owned(), first)];
    for path in files::names("/etc/sudoers.d") {
        // sudo itself passes over names with a dot or a tilde at the end.
        let name = files::last(&path);
        if !name.contains('.') && !name.ends_with('~') {
            all.extend(files::open(&path).map(|file| (path.to_string_lossy().into_owned(), file)));
        }
    }
    Some(all)
}

fn of_sshd(at: Timestamp, printed: Result<String, Why>) -> Vec<Fact> {
    let seen = Seen::new(at, "sshd -T");
    match printed {
        Ok(printed) => {
            let mut facts = vec![seen.one(What::SshdThere, Value::Flag(true))];
            facts.extend(sshd::settings(&seen, &printed));
            facts
        }
        Err(Why::NotThere) => vec![seen.one(What::SshdThere, Value::Flag(false))],
        Err(why) => vec![
            seen.one(What::SshdThere, Value::Flag(true)),
            seen.unknown(What::Sshd, why),
        ],
    }
}

fn of_firewall(at: Timestamp, printed: Result<String, Why>, tables: Option<&str>) -> Vec<Fact> {
    let seen = Seen::new(at, "nft -j list ruleset");
    match printed {
        Ok(printed) => firewall::nftables(&seen, &printed)
            .unwrap_or_else(|| vec![seen.unknown(What::Firewall, Why::Failed)]),
        Err(Why::NotThere) => firewall::without_nft(&Seen::new(at, "/proc/net/ip_tables_names"), tables),
        Err(why) => vec![seen.unknown(What::Firewall, why)],
    }
}

/// The kernel's tables of sockets.
pub fn all_sockets() -> Vec<Listening> {
    let tables = [
        (Table::Tcp, "tcp"),
        (Table::Tcp, "tcp6"),
        (Table::Udp, "udp"),
        (Table::Udp, "udp6"),
    ];
    let read = |(table, name): (Table, &str)| {
        listening(
            table,
            &files::text(format!("/proc/net/{name}")).unwrap_or_default(),
        )
    };
    tables.into_iter().flat_map(read).collect()
}

/// Which programs hold which socket.
fn owners() -> BTreeMap<u64, Vec<String>> {
    let mut owners: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    let programs = files::names("/proc").into_iter();
    let programs = programs.filter(|path| files::last(path).bytes().all(|b| b.is_ascii_digit()));
    for program in programs.take(MAX_PROGRAMS) {
        let held = files::names(program.join("fd"))
            .into_iter()
            .filter_map(files::link);
        let held: Vec<u64> = held.filter_map(|link| inode_of(&link)).collect();
        if held.is_empty() {
            continue;
        }
        let name = files::text(program.join("comm"))
            .unwrap_or_default()
            .trim()
            .to_owned();
        for inode in held {
            let known = owners.entry(inode).or_default();
            if !known.contains(&name) && known.len() < MAX_LIST {
                known.push(name.clone());
            }
        }
    }
    owners
}

fn of_time(at: Timestamp) -> Vec<Fact> {
    if let Ok(tracking) = printed("chronyc", &["-c", "tracking"], SHORT) {
        return timing::chrony(&Seen::new(at, "chronyc tracking"), &tracking);
    }
    let seen = Seen::new(at, "timedatectl");
    match printed("timedatectl", &["show"], SHORT) {
        Ok(show) => {
            let timesync = printed("timedatectl", &["show-timesync"], SHORT).ok();
            timing::systemd(&seen, &show, timesync.as_deref())
        }
        Err(why) => vec![seen.unknown(What::TimeSource, why)],
    }
}

fn bonds(folder: &Path) -> Option<Vec<(String, BleAddress, File)>> {
    std::fs::read_dir(folder).ok()?;
    let mut all = Vec::new();
    for adapter in files::names(folder) {
        for device in files::names(&adapter) {
            let address = files::last(&device).parse().ok();
            let file = address.and_then(|_| files::open(&device.join("info")));
            all.extend(
                address
                    .zip(file)
                    .map(|(address, file)| (files::last(&adapter), address, file)),
            );
        }
    }
    Some(all)
}

fn of_bonds(at: Timestamp, all: Option<Vec<(String, BleAddress, File)>>) -> Vec<Fact> {
    let seen = Seen::new(at, "/var/lib/bluetooth");
    let Some(all) = all else {
        return vec![seen.unknown(What::BluetoothBond, Why::NotThere)];
    };
    let one = |(_, address, file): (String, BleAddress, File)| {
        let info = files::text_of(file, 64 * 1024)?;
        let value = match key_file::parse(&info) {
            Ok(Some(bond)) => text(&plugged::bond(bond)),
            Ok(None) => return None,
            Err(_) => Value::Unknown(Why::Failed),
        };
        Some(seen.about(What::BluetoothBond, &address.to_string(), value))
    };
    all.into_iter().filter_map(one).collect()
}

fn of_setuid(at: Timestamp, walked: &Walked, origins: &BTreeMap<String, Origin>) -> Vec<Fact> {
    let seen = Seen::new(at, "all folders, dpkg's lists");
    let one = |file: &setuid::SetId| {
        let origin = origins.get(&file.path).unwrap_or(&Origin::Stranger);
        setuid::fact(&seen, file, origin)
    };
    let mut facts: Vec<Fact> = walked.found.iter().map(one).collect();
    if !walked.whole {
        facts.push(seen.unknown(What::SetUid, Why::TimedOut));
    }
    facts
}
