//! Shell: a home's Bluetooth: a bus with the fake stack, and the sensors of the home on it, for a whole agent.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: writes the agent's configuration"
)]

use std::fmt::Write as _;
use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use homeward_devices::link::ble::At;
use homeward_protocol::bond::BleAddress;

use super::FakeBluez;
use super::bus::Bus;
use crate::homes::Home;
use crate::programs::{Finished, wait_for};

/// A sensor is connected within this on a busy machine: at most one pause and one window of the scan, and a bond check.
const CONNECTED: Duration = Duration::from_mins(1);

/// A room with Bluetooth.
#[derive(Debug)]
pub struct Room {
    /// The stack and what is near it.
    pub fake: FakeBluez,
    bus: Bus,
}

/// A sensor of the home.
#[derive(Debug, Clone, Copy)]
pub struct Worn<'a> {
    /// What the home calls it.
    pub id: &'a str,
    /// Its profile.
    pub profile: &'a str,
    /// Which device it is.
    pub address: BleAddress,
}

impl Room {
    /// An empty one; `None`, said aloud, where there is no bus.
    pub async fn open() -> Option<Room> {
        Some(Room::on(Bus::start()?).await)
    }

    /// An empty one on that bus.
    pub async fn on(bus: Bus) -> Room {
        let fake = FakeBluez::start(&bus.address(), &bus.folder().join("keys")).await;
        Room { fake, bus }
    }

    /// Lets the box of `home` be in this room, and watch over these sensors when it runs next.
    ///
    /// # Panics
    /// When its configuration cannot be written.
    pub fn furnish(&self, home: &mut Home, sensors: &[Worn<'_>]) {
        home.agent.surround(&self.bus.surroundings());
        fs::create_dir_all(self.fake.keys()).expect("the room's own folder");
        configure(home, Some(&self.fake.keys()), sensors);
    }

    /// Pairs one of them by the box's command line, where somebody types `answer`.
    pub fn pair(&self, home: &Home, worn: Worn<'_>, answer: &str) -> Finished {
        let address = worn.address.to_string();
        let args = [
            "--json",
            "sensor",
            "pair",
            worn.id,
            &address,
            "--profile",
            worn.profile,
            "--by",
            "E. Installer",
            "--seconds",
            "30",
        ];
        home.agent.command_told(&args, &format!("{answer}\n"))
    }

    /// Waits until the box listens to `at` of the sensor at `address`.
    ///
    /// # Panics
    /// When it does not.
    pub fn listened(&self, address: BleAddress, at: At) {
        wait_for(&format!("the box to listen to {address}"), CONNECTED, || {
            self.fake.is_heard(address, at).then_some(())
        });
    }
}

/// Adds sensors to what the box of `home` watches over; `keys` says where keys of bonds are learnt.
///
/// # Panics
/// When the configuration cannot be written.
pub fn configure(home: &Home, keys: Option<&Path>, sensors: &[Worn<'_>]) {
    let mut text = String::new();
    // Writing to a String cannot fail.
    if let Some(keys) = keys {
        let _ = write!(text, "\n[bluetooth]\nkeys = \"{}\"\n", keys.display());
    }
    for Worn { id, profile, address } in sensors {
        let _ = write!(
            text,
            "\n[[sensor]]\nid = \"{id}\"\nprofile = \"{profile}\"\naddress = \"{address}\"\n"
        );
    }
    append(&home.agent.dir().join("agent.toml"), &text).expect("the box's folder");
}

fn append(file: &Path, text: &str) -> std::io::Result<()> {
    OpenOptions::new()
        .append(true)
        .open(file)?
        .write_all(text.as_bytes())
}
