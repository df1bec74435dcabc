//! Shell: what the box is, for the command line, and what the collector of a running agent is given.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;

use homeward_devices::bluez::bus::Bus as SystemBus;
use homeward_devices::bluez::objects::Adapter;
use homeward_protocol::posture::fact::Fact;
use homeward_protocol::posture::facts::FactSet;
use homeward_protocol::posture::inventory::cyclonedx::{About, document};
use homeward_protocol::time::Timestamp;
use tokio::task::spawn_blocking;
use tokio::time::timeout;

use crate::clock::Clock;
use crate::config::load::load;
use crate::identity::keys::Folder;
use crate::policy::keep::{Seen, Want};
use crate::policy::radio::{self, Switch};
use crate::policy::standing::people::Sights;
use crate::posture::collect::{Bus, Collector};
use crate::posture::facts::accounts;
use crate::posture::facts::seen::Seen as FactSeen;
use crate::posture::look::Question;
use crate::posture::look::ask::Looker;
use crate::posture::look::files::text;
use crate::posture::look::installed::sha256;
use crate::posture::software::Software;
use crate::sense::{Sensor, Way};

/// How long the helper that looks may take, for a policy.
const PATIENCE: Duration = Duration::from_secs(20);
/// What a box is called whose name is not known.
const NAMELESS: &str = "gateway";

/// The buses of these sensors, once for each of them.
pub fn buses(sensors: &[Sensor]) -> Vec<Bus> {
    let bus = |sensor: &Sensor| {
        let how = match &sensor.way {
            Way::Tcp(_) => "Modbus/TCP",
            Way::Tls { .. } => "Modbus/TCP Security",
            Way::Serial { .. } => "Modbus RTU",
            Way::Ble(_) => return None,
        };
        let at = sensor.way.to_string();
        Some(Bus { at, how })
    };
    sensors.iter().filter_map(bus).collect()
}

/// The Bluetooth adapters, when the stack answers.
pub async fn adapters() -> Option<Vec<Adapter>> {
    let bus = SystemBus::open().await.ok()?;
    Some(bus.objects().await.ok()?.adapters)
}

/// What is to be seen for a policy, as far as it is answered in time.
pub async fn seen(want: Want) -> Seen {
    let asked = move || {
        let (looker, at) = (Looker::of_this_process(), Clock::with_floor(0).now());
        let ask = |wanted: bool, questions: &[Question]| {
            wanted.then(|| {
                questions
                    .iter()
                    .flat_map(|one| looker.ask(*one, at))
                    .collect::<Vec<_>>()
            })
        };
        let accounts = ask(want.accounts, &[Question::Accounts, Question::Sudo]);
        let second = if want.accounts {
            second_roots(at)
        } else {
            Vec::new()
        };
        Sights {
            accounts: accounts.map(|facts| facts.into_iter().chain(second).collect()),
            groups: if want.accounts { groups() } else { BTreeMap::new() },
            time: ask(want.time, &[Question::Time]),
        }
    };
    let sights = timeout(PATIENCE, spawn_blocking(asked));
    let radio = async {
        let all = adapters().await?;
        let adapter = |one: Adapter| radio::Adapter {
            path: one.path,
            powered: one.powered,
            discoverable: one.discoverable,
            pairable: one.pairable,
        };
        Some(all.into_iter().map(adapter).collect())
    };
    Seen {
        adapters: if want.radio { radio.await } else { None },
        sights: sights.await.ok().and_then(Result::ok).unwrap_or_default(),
    }
}

/// Switches what the Bluetooth stack has; what it does not do is seen at the next look.
pub async fn switch(orders: Vec<radio::Order>) {
    let Ok(bus) = SystemBus::open().await else { return };
    for order in orders {
        let property = match order.switch {
            Switch::Powered => "org.bluez.Adapter1.Powered",
            Switch::Discoverable => "org.bluez.Adapter1.Discoverable",
            Switch::Pairable => "org.bluez.Adapter1.Pairable",
        };
        if let Err(fault) = bus.set(&order.path, property, order.on).await {
            tracing::warn!(error = ?fault, "{property} of {} could not be set to {}", order.path, order.on);
        }
    }
}

/// Other names of root.
fn second_roots(at: Timestamp) -> Vec<Fact> {
    let all = accounts::accounts(&text("/etc/passwd").unwrap_or_default());
    accounts::roots(&FactSeen::new(at, "/etc/passwd"), &all)
}

/// Who is in which group, beside those whose first group it is.
fn groups() -> BTreeMap<String, Vec<String>> {
    accounts::groups(&text("/etc/group").unwrap_or_default())
}

/// The facts of this box now.
pub fn facts(data: Option<&Path>, quick: bool) -> std::io::Result<FactSet> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    let clock = std::sync::Arc::new(Clock::with_floor(
        data.map_or(0, |data| Folder::within(data).floor()),
    ));
    let loaded = data.and_then(|data| load(data, &clock).ok());
    let collector = Collector {
        looker: Looker::of_this_process(),
        buses: loaded.map(|loaded| buses(&loaded.sensors)).unwrap_or_default(),
        adapters: runtime.block_on(adapters()),
    };
    let mut facts = collector.often(clock.now());
    if !quick {
        facts.extend(collector.seldom(clock.now()).0);
    }
    Ok(FactSet::new(facts))
}

/// The SBOM of this box, as JSON.
pub fn sbom(data: Option<&Path>) -> serde_json::Value {
    let software = Software::of_this_box(sha256(Path::new("/proc/self/exe")));
    let server = data.and_then(|data| Folder::within(data).server().ok());
    let subject = server.map_or_else(|| NAMELESS.to_owned(), |server| server.gateway.to_string());
    let about = About {
        name: software.name(),
        subject: &subject,
        taken_at: Clock::with_floor(0).now(),
        tool: ("homeward-agent", env!("CARGO_PKG_VERSION")),
    };
    document(&software.list, &about)
}
