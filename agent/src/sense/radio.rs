//! Shell: scans in windows, and one link for each Bluetooth sensor.
#![expect(clippy::disallowed_methods, reason = "shell: waits for sensors and for time")]

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::link::ble::{Advert, BondState, Central, Notice, Peripheral, StackState};
use homeward_protocol::id::SensorId;
use homeward_protocol::reading::Reading;
use tokio::sync::{broadcast, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::Heard;
use super::ble::{Device, Effect, Input, Kept, Noticed};
use super::live::tap as live;
use super::poll::Clock;
use crate::associate::Associations;
use crate::care::Judged;
use crate::outbox::keeper::Outbox;
use crate::outbox::sqlite::OutboxError;
use crate::policy::habits::Now;
use crate::strain::Strain;
use crate::watch::Event;

/// How long is listened at a time: a sensor that has something to tell advertises several times a second.
pub const WINDOW: Duration = Duration::from_secs(4);
/// The pause between two windows. A cuff waits about half a minute after it measured.
pub const PAUSE: Duration = Duration::from_secs(6);
/// How long is waited at the start for the first word about the stack; without a stack there is none.
const FIRST_LOOK: Duration = Duration::from_secs(2);
/// Scans that a slow sensor may miss before it is told that it missed some: each is heard again in the next.
pub const SCANS: usize = 4;

/// What one window heard.
pub type Scan = Arc<Vec<Advert>>;

/// Scans for ever while the adapter is on. Nobody switches it on.
pub async fn scan<C: Central>(central: Arc<C>, heard: broadcast::Sender<Scan>, stop: CancellationToken) {
    let mut said = false;
    loop {
        let window = central.scan(WINDOW, &[]);
        let Some(result) = stop.run_until_cancelled(window).await else {
            return;
        };
        match result {
            Ok(adverts) => {
                said = false;
                // Without a sensor nobody listens.
                let _nobody = heard.send(Arc::new(adverts));
            }
            Err(error) => {
                if !said {
                    warn!(error = %error, "the radio does not listen: {error}");
                }
                said = true;
            }
        }
        if stop
            .run_until_cancelled(tokio::time::sleep(PAUSE))
            .await
            .is_none()
        {
            return;
        }
    }
}

/// What one sensor needs of the world.
pub struct Radio<C: Central> {
    /// The adapter.
    pub central: Arc<C>,
    /// Where its values are kept.
    pub outbox: Outbox,
    /// Both clocks.
    pub clock: Clock,
    /// What scans hear.
    pub scans: broadcast::Receiver<Scan>,
    /// Who is paired.
    pub paired: watch::Receiver<Arc<Associations>>,
    /// How this box is judged.
    pub judged: watch::Receiver<Judged>,
    /// What its policy wants of its sensors.
    pub habits: Now,
    /// Takes how the sensor stands; its records are kept by then.
    pub heard: mpsc::Sender<Heard>,
    /// Takes what the watch wants to know.
    pub events: mpsc::Sender<Event>,
    /// Takes each reading that is kept, for who looks on.
    pub readings: broadcast::Sender<Reading>,
    /// Counts how often its radio is used.
    pub strain: Strain,
}

/// How often it is said that somebody listens.
const SAYS_SO: Duration = Duration::from_secs(15);

enum Woken {
    Input(Input),
    Listens,
    Scan(Scan),
    Nothing,
}

impl<C: Central> Radio<C> {
    /// Serves `device` until `stop`, or until its records cannot be kept any more.
    pub async fn run(mut self, mut device: Device, stop: CancellationToken) -> Result<(), OutboxError> {
        let mut stack = self.central.stack();
        // Else the life that is found a moment later would look like a new one, and end the first link: what a sensor
        // sends by itself on that one would be gone.
        let found = tokio::time::timeout(FIRST_LOOK, stack.wait_for(|stack| stack.life > 0));
        if stop.run_until_cancelled(found).await.is_none() {
            return Ok(());
        }
        let mut life = stack.borrow_and_update().life;
        let mut link: Option<C::Link> = None;
        let mut says_so = tokio::time::interval(SAYS_SO);
        says_so.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let mut todo: VecDeque<Input> = VecDeque::from([Input::Tick]);
        loop {
            while let Some(input) = todo.pop_front() {
                let (now, up) = (self.clock)();
                device.judge(self.judged.borrow().at(now));
                device.follow(&self.habits.borrow());
                for effect in device.handle(input, now, up) {
                    let act = self.act(&mut link, effect, &device);
                    let Some(answer) = stop.run_until_cancelled(act).await else {
                        return self.leave(link).await;
                    };
                    todo.extend(answer?);
                }
            }
            let deadline = device.deadline();
            let (_, up) = (self.clock)();
            let woken = tokio::select! {
                () = stop.cancelled() => return self.leave(link).await,
                notice = next(link.as_mut()) => Woken::Input(notice.map_or(Input::Lost, Input::Value)),
                scan = self.scans.recv() => scan.map_or(Woken::Nothing, Woken::Scan),
                changed = self.paired.changed() => {
                    if changed.is_err() {
                        return self.leave(link).await;
                    }
                    Woken::Input(Input::Paired(None))
                }
                changed = stack.changed() => {
                    if changed.is_err() {
                        return self.leave(link).await;
                    }
                    let now = *stack.borrow_and_update();
                    let anew = now.life != life && now.state == StackState::Ready;
                    if anew { life = now.life; Woken::Input(Input::StackNew) } else { Woken::Nothing }
                }
                Ok(()) = self.habits.changed() => Woken::Input(Input::Tick),
                _ = says_so.tick() => Woken::Listens,
                () = tokio::time::sleep(deadline.since(up).max(Duration::from_millis(1))) => {
                    Woken::Input(Input::Tick)
                }
            };
            todo.extend(match woken {
                Woken::Input(Input::Paired(_)) => {
                    let all = Arc::clone(&self.paired.borrow_and_update());
                    Some(Input::Paired(all.of(device.sensor()).cloned()))
                }
                Woken::Input(input) => Some(input),
                Woken::Listens => {
                    if stack.borrow().state == StackState::Ready {
                        self.listens(&device).await;
                    }
                    None
                }
                Woken::Scan(scan) => {
                    let mine = scan.iter().any(|advert| advert.address == device.address());
                    mine.then_some(Input::Heard)
                }
                Woken::Nothing => None,
            });
        }
    }

    async fn act(
        &self,
        link: &mut Option<C::Link>,
        effect: Effect,
        device: &Device,
    ) -> Result<Option<Input>, OutboxError> {
        if matches!(
            effect,
            Effect::Connect(..) | Effect::Read(_) | Effect::Subscribe(_) | Effect::Write(..)
        ) {
            let (_, up) = (self.clock)();
            self.strain.used(device.sensor(), up);
        }
        let answer = match (effect, link.as_mut()) {
            (Effect::Connect(address, limit), _) => {
                let connected = self.central.connect(address, limit).await;
                Some(Input::Connected(connected.map(|new| link.insert(new).served())))
            }
            (Effect::AskBond(address), _) => Some(Input::Bond(self.central.bond(address).await)),
            (Effect::Read(at), Some(link)) => Some(Input::Read(at, link.read(at).await)),
            (Effect::Subscribe(at), Some(link)) => Some(Input::Subscribed(at, link.subscribe(at).await)),
            (Effect::Write(at, value), Some(link)) => Some(Input::Written(link.write(at, &value).await)),
            (Effect::Read(_) | Effect::Subscribe(_) | Effect::Write(..), None) => Some(Input::Lost),
            (Effect::Disconnect, _) => {
                if let Some(link) = link.take() {
                    link.disconnect().await;
                }
                None
            }
            (Effect::Keep(kept), _) => {
                self.keep(*kept).await?;
                None
            }
            (Effect::Tell(noticed), _) => {
                tell(device.sensor(), &noticed);
                if let Some(event) = event(device.sensor(), noticed) {
                    // Asked to stop, the watch ends first.
                    let _ended = self.events.send(event).await;
                }
                None
            }
        };
        Ok(answer)
    }

    /// Says that somebody listens to the sensor, and whether it is linked.
    async fn listens(&self, device: &Device) {
        let heard = Heard {
            items: Vec::new(),
            state: device.heard().clone(),
            sign: device.listens(),
        };
        let _nobody = self.heard.send(heard).await; // the agent stops
    }

    async fn keep(&self, kept: Kept) -> Result<(), OutboxError> {
        let Kept { heard, progress } = kept;
        let (now, _) = (self.clock)();
        let events: Vec<Event> = heard.items.iter().filter_map(Event::of).collect();
        let shown = live::readings(&heard.items, &self.readings);
        if !heard.items.is_empty() || progress.is_some() {
            match self.outbox.keep(heard.items, progress, now).await {
                Ok(()) | Err(OutboxError::DiskRefused { .. } | OutboxError::Encode(_)) => {}
                Err(error) => return Err(error),
            }
        }
        for reading in shown {
            let _nobody = self.readings.send(reading); // whoever looked on has just left
        }
        let state = Heard {
            items: Vec::new(),
            state: heard.state,
            sign: heard.sign,
        };
        // Nobody reports any more: the agent stops.
        let _nobody = self.heard.send(state).await;
        for event in events {
            let _ended = self.events.send(event).await; // asked to stop, the watch ends first
        }
        Ok(())
    }

    async fn leave(&self, link: Option<C::Link>) -> Result<(), OutboxError> {
        if let Some(link) = link {
            link.disconnect().await;
        }
        Ok(())
    }
}

async fn next<L: Peripheral>(link: Option<&mut L>) -> Option<Notice> {
    match link {
        Some(link) => link.next().await,
        None => std::future::pending().await,
    }
}

/// What of it concerns the watch.
fn event(sensor: &SensorId, noticed: Noticed) -> Option<Event> {
    let sensor = sensor.clone();
    match noticed {
        Noticed::Connected(BondState::Held(bond)) => Some(Event::Connected {
            sensor,
            bond: Some(bond),
        }),
        Noticed::Connected(BondState::None) => Some(Event::Connected { sensor, bond: None }),
        Noticed::BondRefused => Some(Event::BondRefused { sensor }),
        Noticed::Told { firmware, battery } => Some(Event::Told {
            sensor,
            firmware,
            battery,
        }),
        Noticed::Session(session) => Some(Event::Session { sensor, session }),
        // A bond that could not be read is no sign that it changed.
        Noticed::Connected(BondState::Unread) | Noticed::Failed(_) | Noticed::Quarantined { .. } => None,
    }
}

/// Logs what changed, never a value.
fn tell(id: &SensorId, noticed: &Noticed) {
    match noticed {
        Noticed::Connected(_) => info!(sensor.id = %id, "sensor {id} is connected"),
        Noticed::BondRefused => warn!(
            sensor.id = %id,
            "sensor {id} does not hold its bond: it lost it, or it is not the sensor. If it is: pair it again"
        ),
        Noticed::Failed(_) => debug!(sensor.id = %id, "sensor {id} could not be reached, or was lost"),
        Noticed::Quarantined { at, said } => {
            warn!(sensor.id = %id, "a value of {id} at {at} is put aside: {said}");
        }
        Noticed::Told { .. } | Noticed::Session(_) => {}
    }
}
