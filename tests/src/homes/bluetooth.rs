//! Shell: Bluetooth in a home of the demo: a cuff and an oximeter on a fake stack, or what this machine's adapter hears.
#![expect(clippy::disallowed_methods, reason = "shell: time passes for the sensors")]

use std::sync::Arc;
use std::time::Duration;

use homeward_devices::profile::{Profile, shipped, shipped_ids};
use homeward_fleet::clock::Clock;
use homeward_protocol::bond::{BleAddress, KeyClass};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use crate::fake_bluez::bus::Bus;
use crate::fake_bluez::cuff::{Cuff, MEASUREMENT, cuff, measurement};
use crate::fake_bluez::device::Device;
use crate::fake_bluez::oximeter::{CONTINUOUS, continuous, oximeter};
use crate::fake_bluez::room::{Room, Worn, configure};
use crate::fake_bluez::world::World;
use crate::homes::Home;

const CUFF: Worn<'static> = Worn {
    id: "cuff",
    profile: "blood-pressure",
    address: BleAddress([0xC1, 0, 0, 0, 0, 2]),
};
const CLIP: Worn<'static> = Worn {
    id: "oximeter",
    profile: "pulse-oximeter",
    address: BleAddress([0xC1, 0, 0, 0, 0, 3]),
};
/// What a value of each tells: pressures and pulse; saturation and pulse.
const OF_THE_CUFF: u64 = 3;
const OF_THE_CLIP: u64 = 2;
/// The cuff measures this often; a real one twice a day.
const MEASURES_EVERY: u32 = 5;

/// A cuff and an oximeter that are worn in one home.
#[derive(Debug)]
pub struct Played {
    room: Arc<Room>,
    playing: Option<JoinHandle<u64>>,
}

impl Played {
    /// Brings both into `home`, and pairs them by the box's command line, as an installer would. The agent does not run
    /// yet. Fails with what the command line said.
    pub async fn furnish(home: &mut Home, bus: Bus) -> Result<Played, String> {
        let room = Room::on(bus).await;
        room.furnish(home, &[CUFF, CLIP]);
        room.fake.with(|world| {
            world.bring(cuff(CUFF.address));
            world.bring(oximeter(CLIP.address));
        });
        for (worn, typed) in [(CUFF, "yes"), (CLIP, "314159")] {
            let paired = room.pair(home, worn, typed);
            if !paired.status.success() {
                return Err(paired.stderr);
            }
        }
        Ok(Played {
            room: Arc::new(room),
            playing: None,
        })
    }

    /// Lets them measure, once the box listens.
    pub fn play(&mut self) {
        self.playing = Some(tokio::spawn(measure(Arc::clone(&self.room))));
    }

    /// Ends that. How many readings the box was given.
    pub async fn silence(&mut self) -> u64 {
        self.room.fake.with(|world| {
            world.reach(CUFF.address, false);
            world.reach(CLIP.address, false);
        });
        match self.playing.take() {
            Some(playing) => playing.await.unwrap_or(0),
            None => 0,
        }
    }
}

/// Measures until the oximeter is taken away; how many readings went over the air.
async fn measure(room: Arc<Room>) -> u64 {
    let (mut given, mut kept) = (0, 0);
    for second in 0_u32.. {
        sleep(Duration::from_secs(1)).await;
        let away = room.fake.with(|world| !world.sensor(CLIP.address).reachable);
        if away {
            break;
        }
        let wave = u16::try_from(second % 7).unwrap_or(0);
        if room
            .fake
            .send(CLIP.address, CONTINUOUS, continuous(95 + wave % 3, 64 + wave))
        {
            given += OF_THE_CLIP;
        }
        if second % MEASURES_EVERY == 0 {
            let value = measurement(118 + wave, 76 + wave, 66 + wave, Clock::system().now().ms);
            room.fake.with(|world| measured(world, value));
            kept += OF_THE_CUFF;
        }
    }
    let left = room
        .fake
        .with(|world| memory(world).map_or(0, |cuff| cuff.stored.len()));
    given + kept - OF_THE_CUFF * u64::try_from(left).unwrap_or(0)
}

fn memory(world: &mut World) -> Option<&mut Cuff> {
    match &mut world.sensor(CUFF.address).sensor.device {
        Device::Cuff(cuff) => Some(cuff),
        _ => None,
    }
}

/// The cuff sends what it measured, or keeps it until somebody comes.
fn measured(world: &mut World, value: Vec<u8>) {
    if !world.send(CUFF.address, MEASUREMENT, value.clone())
        && let Some(cuff) = memory(world)
    {
        cuff.stored.push(value);
    }
}

/// A real sensor that was heard, and what its box can do with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Near {
    /// What the home calls it.
    pub id: String,
    /// Where it is.
    pub address: BleAddress,
    /// Its profile.
    pub profile: String,
    /// The least bond that its profile demands; without one it is read as it is.
    pub demands: Option<KeyClass>,
}

/// Listens by this machine's own adapter, and lets the box of `home` watch over every sensor that some shipped profile
/// knows. Fails with what the command line said.
pub fn furnish_real(home: &Home) -> Result<Vec<Near>, String> {
    let scanned = home.agent.command_ended(&["--json", "sensor", "scan"]);
    if !scanned.status.success() {
        let said = serde_json::from_str::<Value>(&scanned.stderr).unwrap_or_default();
        return Err(said["error"].as_str().unwrap_or(&scanned.stderr).to_owned());
    }
    let heard: Value = serde_json::from_str(&scanned.stdout).map_err(|e| e.to_string())?;
    let near = known(&heard["heard"]);
    let worn: Vec<Worn<'_>> = near
        .iter()
        .map(|near| Worn {
            id: &near.id,
            profile: &near.profile,
            address: near.address,
        })
        .collect();
    configure(home, None, &worn);
    Ok(near)
}

/// Those of a scan's adverts that a shipped profile knows by its first service.
fn known(heard: &Value) -> Vec<Near> {
    let profiles: Vec<Profile> = shipped_ids().filter_map(shipped).collect();
    let adverts = heard.as_array().into_iter().flatten();
    let one = |(n, advert): (usize, &Value)| {
        let address = advert["address"].as_str()?.parse().ok()?;
        let services = advert["services"].as_array()?;
        let says = |number: u16| services.contains(&Value::from(format!("{number:04X}")));
        let profile = profiles.iter().find(|profile| {
            let session = profile.session.as_ref();
            session.is_some_and(|s| s.characteristics.first().is_some_and(|c| says(c.at.service)))
        })?;
        Some(Near {
            id: format!("{}-{}", profile.id, n + 1),
            address,
            profile: profile.id.to_string(),
            demands: profile.session.as_ref()?.least_bond,
        })
    };
    adverts.enumerate().filter_map(one).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sensor_is_known_by_its_service_and_a_stranger_is_left_alone() {
        let heard = serde_json::json!([
            {"address": "C1:00:00:00:00:01", "services": ["180D", "180F"]},
            {"address": "C1:00:00:00:00:02", "services": ["180F"]},
            {"address": "C1:00:00:00:00:03", "services": ["1805", "1810"]},
            {"address": "nonsense", "services": ["180D"]},
        ]);
        let found = known(&heard);
        let names: Vec<&str> = found.iter().map(|near| near.id.as_str()).collect();
        assert_eq!(names, ["heart-rate-1", "blood-pressure-3"]);
        assert_eq!(found[0].demands, None);
        assert_eq!(found[1].demands, Some(KeyClass::LegacyAuthenticated));
    }
}
