//! Shell: shows what sensors bring as it comes: from the running agent, or by reading them where none runs.
//!
//! # Design
//! A Bluetooth sensor hands out what it measured once. So what it gives here goes into the box's outbox as with a running
//! agent, and is sent when one runs: nothing is lost for having been looked at. A device on a wire is only asked.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts tasks, and waits for their end"
)]

use std::fs::File;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::bluez::keys::Keys;
use homeward_devices::modbus::bus::{Bus, Master};
use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::reading::Reading;
use homeward_protocol::time::Uptime;
use tokio::net::UnixStream;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{broadcast, mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::bluetooth::Bluetooth;
use super::wards::{Ears, Task, task};
use super::{GRACE, RECORDS, RunError, foreign, lock, open_outbox};
use crate::associate::file as paired;
use crate::attest::file;
use crate::care::Judged;
use crate::clock::Clock;
use crate::config::load::{self, Loaded, load};
use crate::policy::habits::Now;
use crate::sense::live::{Live, Troubles, tap};
use crate::sense::{Heard, Line, Sensor, lines, poll};
use crate::strain::Strain;
use crate::tpm::thread::Tpm;
use crate::vault;
use crate::watch::Event;

/// How often an agent that holds the folder is tried to be followed, and how long after each try.
const TRIES: u32 = 10;
const BETWEEN: Duration = Duration::from_millis(200);

/// Where what is heard is shown.
struct Show {
    heard: mpsc::Receiver<Heard>,
    readings: broadcast::Receiver<Reading>,
    /// For the watch, which does not run here.
    events: mpsc::Receiver<Event>,
    to: mpsc::Sender<Live>,
}

/// Shows what the sensors of `data` bring, or only `which`, until `stop`, until the agent that is followed stops, or
/// until nobody takes it. `tpm` is asked for only where the outbox has to be opened.
///
/// # Errors
/// [`RunError::NoSensor`]; [`RunError::Taken`] when an agent runs that cannot be followed; and what reading needs.
pub async fn live(
    data: &Path,
    which: Option<&SensorId>,
    (clock, tpm): (&Arc<Clock>, impl FnOnce() -> Option<Tpm>),
    to: mpsc::Sender<Live>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let Loaded { config, sensors, .. } = load(data, clock)?;
    let sensors = wanted(sensors, which)?;
    let _lock = match agent_or_folder(data).await? {
        Found::Agent(agent) => {
            let following = tap::follow(agent, which, &to);
            let ended = stop.run_until_cancelled(following).await;
            return ended.unwrap_or(Ok(())).map_err(RunError::System);
        }
        Found::Folder(lock) => lock,
    };
    let stop = stop.child_token();
    let (ears, show) = ears(to, clock.uptime());
    // As the server judged this box last: nobody judges it anew here.
    let before = file::verdict(data);
    let (_last, judged) = watch::channel(before.as_ref().map_or(Judged::NOT_YET, Judged::of));
    // Who looks on without an agent follows no policy.
    let habits = watch::channel(Arc::default()).1;
    let mut tasks = Vec::new();
    for line in lines(sensors.clone(), clock.uptime()).unwrap_or_default() {
        let master = load::master(line.way(), line.time_limit(), data, clock)?;
        tasks.push(asked(line, master, (clock, &judged, &habits), &ears, &stop));
    }
    let mut kept = None;
    if sensors.iter().any(|sensor| sensor.ble_address().is_some()) {
        let vault = vault::chip::at(data, tpm().as_ref()).await.map_err(foreign)?;
        let outbox = open_outbox(data, &vault, config.quota, clock).await?;
        let keys = Keys::at(config.bluetooth_keys.as_deref());
        let bluetooth = Bluetooth::resume(&sensors, paired::load(data)?, &[], &outbox, clock, keys).await?;
        tasks.extend(bluetooth.tasks(data, (clock, &judged, &habits), &ears, &stop));
        kept = Some(outbox);
    }
    let ended = together(tasks, show.run(&stop), &stop).await;
    if let Some(outbox) = kept {
        outbox.close().await;
    }
    ended
}

/// Who reads the sensors.
enum Found {
    /// A running agent.
    Agent(UnixStream),
    /// Nobody: the folder is ours.
    Folder(File),
}

/// An agent that just starts has the folder before it can be followed.
async fn agent_or_folder(data: &Path) -> Result<Found, RunError> {
    for _ in 0..TRIES {
        if let Some(agent) = tap::connect(data).await {
            return Ok(Found::Agent(agent));
        }
        match lock(data) {
            Err(RunError::Taken(_)) => sleep(BETWEEN).await,
            other => return other.map(Found::Folder),
        }
    }
    Err(RunError::Taken(data.to_owned()))
}

/// The same for one device behind `master` that no configuration names.
///
/// # Errors
/// When reading ends by itself.
pub async fn tried(
    sensor: Sensor,
    master: Master,
    clock: &Arc<Clock>,
    to: mpsc::Sender<Live>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let stop = stop.child_token();
    let (ears, show) = ears(to, clock.uptime());
    let line = lines(vec![sensor], clock.uptime()).unwrap_or_default().pop();
    let (_never, judged) = watch::channel(Judged::NOT_YET);
    let tasks = line.map(|line| {
        asked(
            line,
            master,
            (clock, &judged, &watch::channel(Arc::default()).1),
            &ears,
            &stop,
        )
    });
    together(tasks.into_iter().collect(), show.run(&stop), &stop).await
}

fn wanted(sensors: Vec<Sensor>, which: Option<&SensorId>) -> Result<Vec<Sensor>, RunError> {
    let known: Vec<String> = sensors.iter().map(|sensor| sensor.id.to_string()).collect();
    let wanted: Vec<Sensor> = sensors
        .into_iter()
        .filter(|sensor| which.is_none_or(|id| sensor.id == *id))
        .collect();
    if wanted.is_empty() {
        return Err(RunError::NoSensor {
            wanted: which.map_or_else(|| "sensor at all".to_owned(), |id| format!("sensor {id}")),
            known: known.join(", "),
        });
    }
    Ok(wanted)
}

fn ears(to: mpsc::Sender<Live>, up: Uptime) -> (Ears, Show) {
    let (heard_tx, heard) = mpsc::channel(RECORDS);
    let (events_tx, events) = mpsc::channel(RECORDS);
    let (readings_tx, readings) = broadcast::channel(tap::QUEUE);
    let ears = Ears {
        heard: heard_tx,
        events: events_tx,
        readings: readings_tx,
        strain: Strain::new(up),
    };
    let show = Show {
        heard,
        readings,
        events,
        to,
    };
    (ears, show)
}

fn asked(
    line: Line,
    master: Master,
    (clock, judged, habits): (&Arc<Clock>, &watch::Receiver<Judged>, &Now),
    ears: &Ears,
    stop: &CancellationToken,
) -> Task {
    let clock = Arc::clone(clock);
    let both: poll::Clock = Arc::new(move || (clock.now(), clock.uptime()));
    let with = (both, judged.clone(), habits.clone());
    let polling = poll::run(
        Bus::new(master),
        line,
        with,
        ears.heard.clone(),
        None,
        stop.clone(),
    );
    task("sensors", polling)
}

/// Runs `tasks` beside `show`. When that ends, or one of them, all are asked to.
async fn together(
    tasks: Vec<Task>,
    show: impl Future<Output = ()>,
    stop: &CancellationToken,
) -> Result<(), RunError> {
    let mut running: JoinSet<(&'static str, Result<(), RunError>)> = JoinSet::new();
    for task in tasks {
        running.spawn(task);
    }
    let first = tokio::select! {
        () = show => Ok(()),
        ended = running.join_next() => match ended {
            Some(Ok((_, Err(error)))) => Err(error),
            Some(Ok((name, Ok(())))) if !stop.is_cancelled() => Err(RunError::Ended(name)),
            Some(Err(_)) => Err(RunError::Ended("a task that panicked")),
            Some(Ok(_)) | None => Ok(()),
        },
    };
    stop.cancel();
    // Links are ended; what a sensor does not answer in time is left to the stack.
    let _late = timeout(GRACE, async { while running.join_next().await.is_some() {} }).await;
    first
}

impl Show {
    async fn run(mut self, stop: &CancellationToken) {
        let mut troubles = Troubles::default();
        loop {
            let news: Vec<Live> = tokio::select! {
                () = stop.cancelled() => return,
                Some(heard) = self.heard.recv() => {
                    let readings = heard.items.into_iter().filter_map(|item| match item {
                        Item::Reading(reading) => Some(Live::Reading(Box::new(reading))),
                        _ => None,
                    });
                    readings.chain(troubles.news(&[heard.state])).collect()
                }
                came = self.readings.recv() => match came {
                    Ok(reading) => vec![Live::Reading(Box::new(reading))],
                    Err(RecvError::Lagged(count)) => vec![Live::Missed(count)],
                    Err(RecvError::Closed) => return,
                },
                Some(_) = self.events.recv() => Vec::new(),
            };
            for live in news {
                if self.to.send(live).await.is_err() {
                    return;
                }
            }
        }
    }
}
