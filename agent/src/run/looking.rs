//! Shell: what the box is, for the command line, and what the collector of a running agent is given.

use std::path::Path;

use homeward_devices::bluez::bus::Bus as SystemBus;
use homeward_devices::bluez::objects::Adapter;
use homeward_protocol::posture::facts::FactSet;
use homeward_protocol::posture::inventory::cyclonedx::{About, document};

use crate::clock::Clock;
use crate::config::load::load;
use crate::identity::keys::Folder;
use crate::posture::collect::{Bus, Collector};
use crate::posture::look::ask::Looker;
use crate::posture::look::installed::sha256;
use crate::posture::software::Software;
use crate::sense::{Sensor, Way};

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
