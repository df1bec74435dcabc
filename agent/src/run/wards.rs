//! Shell: the sensors of a box, the guards before its devices, and the watch over them all, as tasks.

use std::future::Future;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::bluez::keys::Keys;
use homeward_devices::modbus::bus::{Bus, Master};
use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::SensorHeard;
use homeward_protocol::reading::Reading;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::bluetooth::Bluetooth;
use super::{RECORDS, RunError, done};
use crate::associate::file as paired;
use crate::care::Judged;
use crate::clock::Clock;
use crate::config::load::{self, Guarding};
use crate::guard::Guard;
use crate::guard::serve::Post;
use crate::interlock;
use crate::interlock::activity::Activities;
use crate::interlock::follow::Ties;
use crate::outbox::keeper::Outbox;
use crate::policy::habits::Now;
use crate::sense::live::tap::{self, Tap};
use crate::sense::{Heard, Line, Sensor, Sign, lines, poll};
use crate::strain::Strain;
use crate::watch::follow::Follow;
use crate::watch::{Event, Listed, listed};

/// How long a question of another master may wait for its turn on a line: longer than a poll's time limit, shorter
/// than most masters are patient.
const PATIENCE: Duration = Duration::from_secs(3);

/// A long task and its name.
pub type Task = Pin<Box<dyn Future<Output = (&'static str, Result<(), RunError>)> + Send>>;

/// A task that cannot fail, under its name.
pub fn task(name: &'static str, work: impl Future<Output = ()> + Send + 'static) -> Task {
    Box::pin(done(name, work))
}

/// What a box watches over, not yet served.
pub struct Wards {
    /// The lines of its Modbus devices, each with its one master.
    lines: Vec<(Line, Bus<Master>)>,
    /// Who else may reach them.
    guards: Vec<Guarding>,
    bluetooth: Bluetooth,
    /// Every sensor, as the watch knows it.
    listed: Vec<Listed>,
    /// Every sensor, as the interlock knows it.
    activities: Activities,
    data: PathBuf,
    clock: Arc<Clock>,
    outbox: Outbox,
}

/// Where what is heard goes.
#[derive(Clone)]
pub struct Ears {
    /// How a sensor stands, with its records where they are not kept yet.
    pub heard: mpsc::Sender<Heard>,
    /// What concerns the watch.
    pub events: mpsc::Sender<Event>,
    /// Each reading, for who looks on.
    pub readings: broadcast::Sender<Reading>,
    /// What is asked of the sensors.
    pub strain: Strain,
}

impl Wards {
    /// Goes on from what is kept in `data` and `outbox`. `before` is how the sensors stood in an earlier run.
    ///
    /// # Errors
    /// [`RunError::Paired`], [`RunError::Outbox`], and [`RunError::Config`] for what TLS to a device needs.
    pub async fn resume(
        sensors: Vec<Sensor>,
        guards: Vec<Guarding>,
        before: &[SensorHeard],
        data: &Path,
        outbox: &Outbox,
        clock: &Arc<Clock>,
        keys: Keys,
    ) -> Result<Wards, RunError> {
        let associations = paired::load(data)?;
        let listed = listed(&sensors, &associations);
        let activities = Activities::new(&sensors);
        let bluetooth = Bluetooth::resume(&sensors, associations, before, outbox, clock, keys).await?;
        let mut shared = Vec::new();
        for mut line in lines(sensors, clock.uptime()).unwrap_or_default() {
            line.remember(before);
            let ids: Vec<SensorId> = line.sensors().map(|sensor| sensor.id.clone()).collect();
            for id in ids {
                if let Some(kept) = outbox.progress(id.as_str()).await? {
                    line.recall(&id, &kept.cursor);
                }
            }
            let master = load::master(line.way(), line.time_limit(), data, clock)?;
            shared.push((line, Bus::new(master)));
        }
        Ok(Wards {
            lines: shared,
            guards,
            bluetooth,
            listed,
            activities,
            data: data.to_owned(),
            clock: Arc::clone(clock),
            outbox: outbox.clone(),
        })
    }

    /// How the sensors stand.
    pub fn heard(&self) -> Vec<SensorHeard> {
        let wired = self.lines.iter().flat_map(|(line, _)| line.state());
        wired.chain(self.bluetooth.heard()).collect()
    }

    /// The tasks that serve them until `stop`, grading by how this box is `judged` and letting the interlock hear and tell by its `ties`: polls, guards, Bluetooth, the watch over all of it, and those that part
    /// what comes. Without a sensor the senders are kept, so that nothing looks finished.
    pub fn tasks(
        self,
        records: mpsc::Sender<Vec<Item>>,
        sensors: watch::Sender<Vec<SensorHeard>>,
        (judged, habits): (&watch::Receiver<Judged>, &Now),
        (ties, strain): (Ties, Strain),
        stop: &CancellationToken,
    ) -> Vec<Task> {
        let (heard_tx, heard) = mpsc::channel(RECORDS);
        let (guarded_tx, guarded) = mpsc::channel(RECORDS);
        let (events_tx, events) = mpsc::channel(RECORDS);
        let (readings, _) = broadcast::channel(tap::QUEUE);
        let ears = Ears {
            heard: heard_tx,
            events: events_tx,
            readings,
            strain: strain.clone(),
        };
        let tap = Tap {
            readings: ears.readings.clone(),
            sensors: sensors.subscribe(),
        };
        let mut tasks = self.guarding(&guarded_tx, habits, stop);
        for (line, bus) in self.lines {
            let clock = Arc::clone(&self.clock);
            let both: poll::Clock = Arc::new(move || (clock.now(), clock.uptime()));
            let polling = poll::run(
                bus,
                line,
                (both, judged.clone(), habits.clone()),
                ears.heard.clone(),
                Some(self.outbox.clone()),
                stop.clone(),
            );
            tasks.push(task("sensors", polling));
        }
        let follow = Follow {
            data: self.data.clone(),
            clock: Arc::clone(&self.clock),
            listed: self.listed,
            habits: habits.clone(),
            events,
            records: records.clone(),
            strain,
        };
        tasks.push(task("watch", follow.run(stop.clone())));
        let (signs_tx, signs) = mpsc::channel(RECORDS);
        let interlock = interlock::follow::Follow {
            data: self.data.clone(),
            clock: Arc::clone(&self.clock),
            activities: self.activities,
            habits: habits.clone(),
            signs,
            ties,
        };
        tasks.push(task("interlock", interlock.run(stop.clone())));
        let with = (&self.clock, judged, habits);
        tasks.extend(self.bluetooth.tasks(&self.data, with, &ears, stop));
        tasks.push(task("tap", tap.run(self.data.clone(), stop.clone())));
        let to = To {
            records,
            events: ears.events.clone(),
            readings: ears.readings.clone(),
            signs: signs_tx,
        };
        tasks.push(task(
            "guarded",
            overhear(guarded, guarded_tx, to.clone(), stop.clone()),
        ));
        tasks.push(task("heard", tell(heard, ears.heard, to, sensors, stop.clone())));
        tasks
    }

    fn guarding(
        &self,
        records: &mpsc::Sender<Vec<Item>>,
        habits: &Now,
        stop: &CancellationToken,
    ) -> Vec<Task> {
        let post = |guarding: &Guarding| {
            let mut before = self
                .lines
                .iter()
                .filter(|(line, _)| *line.way() == guarding.plan.way);
            let (_, bus) = before.next()?;
            let post = Post {
                listen: guarding.plan.listen,
                tls: guarding.tls.clone(),
                guest: bus.guest(PATIENCE),
                guard: Guard::new(guarding.plan.rules.clone(), self.clock.now(), self.clock.uptime()),
                clock: Arc::clone(&self.clock),
                habits: habits.clone(),
                records: records.clone(),
            };
            Some(task("guard", post.run(stop.clone())))
        };
        self.guards.iter().filter_map(post).collect()
    }
}

/// Who wants what is heard.
#[derive(Clone)]
struct To {
    records: mpsc::Sender<Vec<Item>>,
    events: mpsc::Sender<Event>,
    readings: broadcast::Sender<Reading>,
    signs: mpsc::Sender<(SensorId, Sign)>,
}

impl To {
    /// Records go first: whatever the watch does, it stops none. False when nobody takes records any more.
    async fn hear(&self, items: Vec<Item>) -> bool {
        let events: Vec<Event> = items.iter().filter_map(Event::of).collect();
        let shown = tap::readings(&items, &self.readings);
        if !items.is_empty() && self.records.send(items).await.is_err() {
            return false;
        }
        for reading in shown {
            // Whoever looked on has just left.
            let _nobody = self.readings.send(reading);
        }
        for event in events {
            // Asked to stop, the watch ends first.
            let _ended = self.events.send(event).await;
        }
        true
    }
}

/// What guards record goes to the outbox, and refused writes to the watch. `_open` keeps the inbox open.
async fn overhear(
    mut guarded: mpsc::Receiver<Vec<Item>>,
    _open: mpsc::Sender<Vec<Item>>,
    to: To,
    stop: CancellationToken,
) {
    while let Some(Some(items)) = stop.run_until_cancelled(guarded.recv()).await {
        if !to.hear(items).await {
            return;
        }
    }
    guarded.close();
    while let Some(items) = guarded.recv().await {
        if !to.hear(items).await {
            return;
        }
    }
}

/// Parts what is heard: records to the outbox, readings to the watch, the sensors' state to reports. `_open` keeps the
/// inbox open.
async fn tell(
    mut heard: mpsc::Receiver<Heard>,
    _open: mpsc::Sender<Heard>,
    to: To,
    sensors: watch::Sender<Vec<SensorHeard>>,
    stop: CancellationToken,
) {
    while let Some(Some(one)) = stop.run_until_cancelled(heard.recv()).await {
        // One that finds no place is missed: what is not heard of is taken to be in use.
        let _missed = to.signs.try_send((one.state.sensor.clone(), one.sign));
        sensors.send_modify(
            |all| match all.iter_mut().find(|s| s.sensor == one.state.sensor) {
                Some(known) => *known = one.state,
                None => all.push(one.state),
            },
        );
        if !to.hear(one.items).await {
            return;
        }
    }
    heard.close();
    while let Some(one) = heard.recv().await {
        if !to.hear(one.items).await {
            return;
        }
    }
}
