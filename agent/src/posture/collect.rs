//! Shell: looks at the whole box and takes its facts. Blocks: away from tasks that must not wait.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads what the kernel and the system say"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use homeward_devices::bluez::objects::Adapter;
use homeward_protocol::posture::fact::{Fact, Value};
use homeward_protocol::time::Timestamp;

use super::facts::plugged::{self, Mode, Usb};
use super::facts::seen::Seen;
use super::facts::setuid::Origin;
use super::facts::{accounts, boot, machine, os, own, sockets, timing, updates};
use super::look::ask::Looker;
use super::look::disks::room;
use super::look::files::{last, link, names, text, text_up_to};
use super::look::open::all_sockets;
use super::look::{Question, installed};
use super::software::Software;

/// A bus that the box reads sensors over.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Bus {
    /// Where: a port, or a host with its port.
    pub at: String,
    /// Over what, in words.
    pub how: &'static str,
}

/// What the collector is given.
#[derive(Debug, Clone)]
pub struct Collector {
    /// Who answers what needs rights.
    pub looker: Looker,
    /// The buses, once for each device on them.
    pub buses: Vec<Bus>,
    /// The Bluetooth adapters, as the stack on the bus says; `None`: it does not answer.
    pub adapters: Option<Vec<Adapter>>,
}

impl Collector {
    /// What is cheap to read: some hundred small files, and a question to the helper for each of
    /// [`Question::OFTEN`].
    pub fn often(&self, at: Timestamp) -> Vec<Fact> {
        let mut facts = system(at);
        facts.extend(boot_facts(at));
        facts.extend(machine_facts(at));
        facts.extend(self.plugged(at));
        facts.extend(update_facts(at));
        let seen = Seen::new(at, "/etc/localtime");
        facts.push(timing::zone(&seen, link("/etc/localtime").as_deref()));
        let all = accounts::accounts(&text("/etc/passwd").unwrap_or_default());
        facts.extend(accounts::roots(&Seen::new(at, "/etc/passwd"), &all));
        for question in Question::OFTEN {
            facts.extend(self.asked(question, at));
        }
        facts
    }

    /// Who is not answered about sockets or disks still knows the sockets, and the room on the first disk.
    fn asked(&self, question: Question, at: Timestamp) -> Vec<Fact> {
        let mut facts = self.looker.ask(question, at);
        let unanswered = |fact: &Fact| fact.id.subject().is_none() && matches!(fact.value, Value::Unknown(_));
        if !facts.iter().any(unanswered) {
            return facts;
        }
        match question {
            Question::Sockets => {
                let seen = Seen::new(at, "/proc/net");
                sockets::facts(&seen, &all_sockets(), None)
            }
            Question::Mounts => {
                facts.extend(room(at, "/"));
                facts
            }
            _ => facts,
        }
    }

    /// What costs something: the walk through all folders, the package manager's work, the list of software.
    pub fn seldom(&self, at: Timestamp) -> (Vec<Fact>, Software) {
        let mut facts = Vec::new();
        for question in Question::SELDOM {
            facts.extend(self.looker.ask(question, at));
        }
        let program = link("/proc/self/exe").unwrap_or_default();
        let sha256 = installed::sha256(Path::new("/proc/self/exe"));
        let origins = installed::origins(std::slice::from_ref(&program));
        let seen = Seen::new(at, &program);
        let origin = origins.get(&program).unwrap_or(&Origin::Stranger);
        facts.extend(own::facts(&seen, env!("CARGO_PKG_VERSION"), sha256, origin));
        let software = Software::of_this_box(sha256);
        facts.extend(software.facts(at));
        (facts, software)
    }

    fn plugged(&self, at: Timestamp) -> Vec<Fact> {
        let seen = Seen::new(at, "/sys/bus/usb/devices");
        let mut facts: Vec<Fact> = usb().iter().map(|device| plugged::usb(&seen, device)).collect();
        let seen = Seen::new(at, "/sys/class/tty");
        for port in names("/sys/class/tty") {
            let driver = link(port.join("device/driver")).unwrap_or_default();
            facts.extend(plugged::serial(&seen, &last(&port), &last(Path::new(&driver))));
        }
        let seen = Seen::new(at, "/sys/class/bluetooth, bluetoothd");
        for adapter in names("/sys/class/bluetooth") {
            let name = last(&adapter);
            if !name.contains(':') {
                facts.push(plugged::adapter(&seen, &name, self.mode(&name).as_ref()));
            }
        }
        let mut counts: BTreeMap<&Bus, u64> = BTreeMap::new();
        for bus in &self.buses {
            *counts.entry(bus).or_default() += 1;
        }
        let seen = Seen::new(at, "agent.toml");
        facts.extend(
            counts
                .iter()
                .map(|(bus, count)| plugged::bus(&seen, &bus.at, bus.how, *count)),
        );
        facts
    }

    fn mode(&self, name: &str) -> Option<Mode> {
        let all = self.adapters.as_ref()?;
        let adapter = all
            .iter()
            .find(|adapter| adapter.path.ends_with(&format!("/{name}")))?;
        Some(Mode {
            powered: adapter.powered,
            discoverable: adapter.discoverable,
            pairable: adapter.pairable,
        })
    }
}

fn system(at: Timestamp) -> Vec<Fact> {
    let release = text("/etc/os-release").unwrap_or_default();
    let mut facts = os::release(&Seen::new(at, "/etc/os-release"), &release);
    let uname = rustix::system::uname();
    facts.push(boot::kernel(
        &Seen::new(at, "uname"),
        &uname.release().to_string_lossy(),
    ));
    for name in os::SETTINGS {
        let path = os::setting_path(name);
        facts.push(os::setting(&Seen::new(at, &path), name, text(&path).as_deref()));
    }
    facts
}

fn boot_facts(at: Timestamp) -> Vec<Fact> {
    let efi = Path::new("/sys/firmware/efi").is_dir();
    let variable = std::fs::read(boot::SECURE_BOOT).ok();
    let lockdown = "/sys/kernel/security/lockdown";
    vec![
        boot::secure(&Seen::new(at, "/sys/firmware/efi"), efi, variable.as_deref()),
        boot::lockdown(&Seen::new(at, lockdown), text(lockdown).as_deref()),
        boot::parameters(
            &Seen::new(at, "/proc/cmdline"),
            &text("/proc/cmdline").unwrap_or_default(),
        ),
    ]
}

fn machine_facts(at: Timestamp) -> Vec<Fact> {
    let dmi = "/sys/class/dmi/id";
    let tree = text("/proc/device-tree/model");
    let read = |name: &str| text(Path::new(dmi).join(name));
    let (maker, product) = (read("sys_vendor"), read("product_name"));
    let source = if tree.is_some() {
        "/proc/device-tree/model"
    } else {
        dmi
    };
    let cpuinfo = text("/proc/cpuinfo");
    let container = text("/run/systemd/container");
    let mut facts = vec![
        os::machine(
            &Seen::new(at, source),
            maker.as_deref(),
            product.as_deref(),
            tree.as_deref(),
        ),
        os::virtual_kind(
            &Seen::new(at, "/proc/cpuinfo"),
            cpuinfo.as_deref(),
            container.as_deref(),
        ),
        machine::swap(
            &Seen::new(at, "/proc/swaps"),
            &text("/proc/swaps").unwrap_or_default(),
        ),
    ];
    let meminfo = text("/proc/meminfo").unwrap_or_default();
    facts.extend(machine::memory(&Seen::new(at, "/proc/meminfo"), &meminfo));
    let seen = Seen::new(at, "/sys/class/thermal");
    for zone in names("/sys/class/thermal") {
        if let Some((kind, millis)) = text(zone.join("type")).zip(text(zone.join("temp"))) {
            facts.push(machine::temperature(&seen, &kind, &millis));
        }
    }
    let seen = Seen::new(at, "/sys/class/power_supply");
    for supply in names("/sys/class/power_supply") {
        let read = |name: &str| text(supply.join(name));
        let kind = read("type").unwrap_or_default();
        let (online, status) = (read("online"), read("status"));
        facts.push(machine::power(
            &seen,
            &last(&supply),
            &kind,
            online.as_deref(),
            status.as_deref(),
        ));
    }
    for sensor in names("/sys/class/hwmon") {
        let is_board = text(sensor.join("name")).is_some_and(|name| name.trim() == "rpi_volt");
        if let Some(alarm) = text(sensor.join("in0_lcrit_alarm")).filter(|_| is_board) {
            facts.push(machine::low_power(&Seen::new(at, "rpi_volt"), &alarm));
        }
    }
    facts
}

fn usb() -> Vec<Usb> {
    let one = |device: PathBuf| {
        let read = |name: &str| text(device.join(name));
        let interfaces = names(&device).into_iter().filter(|path| last(path).contains(':'));
        Some(Usb {
            port: last(&device),
            id: (read("idVendor")?, read("idProduct")?),
            names: [read("manufacturer"), read("product")],
            has_serial: read("serial").is_some(),
            classes: interfaces
                .filter_map(|path| text(path.join("bInterfaceClass")))
                .collect(),
            authorized: read("authorized"),
        })
    };
    names("/sys/bus/usb/devices")
        .into_iter()
        .filter_map(one)
        .collect()
}

fn update_facts(at: Timestamp) -> Vec<Fact> {
    let lists = names("/var/lib/apt/lists")
        .into_iter()
        .filter(|path| last(path).contains("Release"));
    let newest = lists.filter_map(|path| {
        let changed = std::fs::metadata(path).ok()?.modified().ok()?;
        i64::try_from(changed.duration_since(UNIX_EPOCH).ok()?.as_millis()).ok()
    });
    let apt = names("/etc/apt/apt.conf.d");
    let settings: Vec<String> = apt
        .iter()
        .filter_map(|path| text_up_to(path, 64 * 1024))
        .collect();
    let asked = Path::new("/run/reboot-required").exists();
    let mut facts = vec![updates::reboot(&Seen::new(at, "/run/reboot-required"), asked)];
    if !apt.is_empty() {
        facts.push(updates::lists(&Seen::new(at, "/var/lib/apt/lists"), newest.max()));
        facts.push(updates::automatic(
            &Seen::new(at, "/etc/apt/apt.conf.d"),
            &settings.join("\n"),
        ));
    }
    facts
}
