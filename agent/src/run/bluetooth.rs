//! Shell: what an agent with Bluetooth sensors runs beside the rest. Without such a sensor nothing here is started,
//! and the adapter is left alone.

use std::path::Path;
use std::sync::Arc;

use homeward_devices::bluez::Bluez;
use homeward_devices::bluez::keys::Keys;
use homeward_protocol::posture::SensorHeard;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::RunError;
use super::wards::{Ears, Task, task};
use crate::associate::{Associations, file};
use crate::care::{Gateway, Judged};
use crate::clock::Clock;
use crate::outbox::keeper::Outbox;
use crate::policy::habits::Now;
use crate::sense::Sensor;
use crate::sense::ble::Device;
use crate::sense::radio::{self, Radio, SCANS};
use crate::watch::{Event, Scan, listed};

/// The Bluetooth sensors of a box, not yet served.
pub struct Bluetooth {
    sensors: Vec<Sensor>,
    devices: Vec<Device>,
    paired: Associations,
    outbox: Outbox,
    keys: Keys,
}

impl Bluetooth {
    /// Takes those of `sensors` that are reached by Bluetooth, and goes on from what is kept in `outbox`. `before` is
    /// how the sensors stood in an earlier run.
    ///
    /// # Errors
    /// [`RunError::Outbox`].
    pub async fn resume(
        sensors: &[Sensor],
        paired: Associations,
        before: &[SensorHeard],
        outbox: &Outbox,
        clock: &Clock,
        keys: Keys,
    ) -> Result<Bluetooth, RunError> {
        let mut devices = Vec::new();
        for sensor in sensors.iter().filter(|sensor| sensor.ble_address().is_some()) {
            let saved = outbox.progress(sensor.id.as_str()).await?;
            let heard = before.iter().find(|heard| heard.sensor == sensor.id);
            // Until the server has judged this box, its readings say that nobody did.
            devices.extend(Device::resume(
                sensor.clone(),
                Gateway::Unjudged,
                paired.of(&sensor.id).cloned(),
                saved.as_ref(),
                heard.and_then(|heard| heard.last_heard),
                clock.uptime(),
            ));
        }
        Ok(Bluetooth {
            sensors: sensors.to_vec(),
            devices,
            paired,
            outbox: outbox.clone(),
            keys,
        })
    }

    /// How the sensors stand.
    pub fn heard(&self) -> impl Iterator<Item = SensorHeard> + '_ {
        self.devices.iter().map(|device| device.heard().clone())
    }

    /// The tasks that serve them until `stop`; none without a sensor.
    pub fn tasks(
        self,
        data: &Path,
        (clock, judged, habits): (&Arc<Clock>, &watch::Receiver<Judged>, &Now),
        ears: &Ears,
        stop: &CancellationToken,
    ) -> Vec<Task> {
        if self.devices.is_empty() {
            return Vec::new();
        }
        let (bluez, life) = Bluez::new(self.keys);
        let central = Arc::new(bluez);
        let (scans, _) = broadcast::channel(SCANS);
        let (paired_tx, paired) = watch::channel(Arc::new(self.paired));
        let mut tasks: Vec<Task> = Vec::new();
        for device in self.devices {
            let clock = Arc::clone(clock);
            let radio = Radio {
                central: Arc::clone(&central),
                outbox: self.outbox.clone(),
                clock: Arc::new(move || (clock.now(), clock.uptime())),
                scans: scans.subscribe(),
                paired: paired.clone(),
                judged: judged.clone(),
                habits: habits.clone(),
                heard: ears.heard.clone(),
                events: ears.events.clone(),
                readings: ears.readings.clone(),
                strain: ears.strain.clone(),
            };
            let serving = radio.run(device, stop.clone());
            tasks.push(Box::pin(async {
                ("bluetooth", serving.await.map_err(RunError::from))
            }));
        }
        let (overheard, ended) = (scans.subscribe(), stop.clone());
        let events = ears.events.clone();
        tasks.push(task("overhear", overhear(overheard, events.clone(), ended)));
        tasks.push(task("listing", list(self.sensors, paired, events, stop.clone())));
        tasks.push(task("scan", radio::scan(central, scans, stop.clone())));
        tasks.push(task(
            "paired",
            file::follow(data.to_owned(), paired_tx, stop.clone()),
        ));
        let watching = stop.clone();
        tasks.push(task("bluetooth stack", async move {
            watching.run_until_cancelled(life.run()).await;
        }));
        tasks
    }
}

/// Tells the watch what each scan window heard. Windows that it was too slow for are missed: the next comes soon.
async fn overhear(
    mut scans: broadcast::Receiver<radio::Scan>,
    to: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    loop {
        match stop.run_until_cancelled(scans.recv()).await {
            Some(Ok(heard)) => {
                let scan = Scan {
                    every: radio::WINDOW + radio::PAUSE,
                    heard: heard.to_vec(),
                };
                if to.send(Event::Scan(scan)).await.is_err() {
                    break;
                }
            }
            Some(Err(broadcast::error::RecvError::Lagged(_))) => {}
            Some(Err(broadcast::error::RecvError::Closed)) | None => break,
        }
    }
    // The watch ends first when all were asked to stop; only then may this end.
    stop.cancelled().await;
}

/// Tells the watch each time that a device was paired or forgotten.
async fn list(
    sensors: Vec<Sensor>,
    mut paired: watch::Receiver<Arc<Associations>>,
    to: mpsc::Sender<Event>,
    stop: CancellationToken,
) {
    while let Some(Ok(())) = stop.run_until_cancelled(paired.changed()).await {
        let all = Arc::clone(&paired.borrow_and_update());
        if to.send(Event::Listed(listed(&sensors, &all))).await.is_err() {
            break;
        }
    }
    stop.cancelled().await;
}
