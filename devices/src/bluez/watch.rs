//! Shell: watches over the life of the Bluetooth stack.
#![expect(clippy::disallowed_methods, reason = "shell: waits for signals and time")]

use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::time::sleep;
use zbus::MessageStream;

use crate::bluez::Bluez;
use crate::bluez::bus::{Bus, Fault};
use crate::link::ble::{Stack, StackState};

/// How often is looked without a signal: losing the bus, or a daemon that hangs, is never told.
const HEARTBEAT: Duration = Duration::from_secs(10);
/// How soon after a change: an adapter comes a moment after its daemon, without a signal that is heard. The pause
/// doubles from here up to [`HEARTBEAT`], so that a box without Bluetooth does not spend itself on asking.
const HURRY: Duration = Duration::from_millis(250);

/// Keeps [`crate::link::ble::Central::stack`] true.
pub struct Watch {
    bluez: Bluez,
    owner: Option<String>,
    pause: Duration,
}

/// What wakes it.
struct Signals {
    owners: MessageStream,
    adapters: Option<MessageStream>,
}

impl Watch {
    pub(super) fn new(bluez: Bluez) -> Watch {
        Watch {
            bluez,
            owner: None,
            pause: HURRY,
        }
    }

    /// Runs until dropped; losing nothing by that, it may be dropped at any time.
    pub async fn run(mut self) {
        loop {
            if let Err(fault) = self.on_one_bus().await {
                tracing::debug!("the system bus is lost or silent: {fault:?}");
            }
            self.bluez.drop_session().await;
            self.owner = None;
            self.tell(StackState::Down);
            sleep(self.pause).await;
        }
    }

    /// Watches as long as one connection to the bus lasts.
    async fn on_one_bus(&mut self) -> Result<(), Fault> {
        let bus = match self.bluez.session().await {
            Ok(session) => session.bus,
            Err(error) => return Err(Fault::Bus(error.to_string())),
        };
        let mut signals = Signals {
            owners: bus.owners().await?,
            adapters: None,
        };
        loop {
            let state = self.look(&bus, &mut signals).await?;
            self.tell(state);
            let lost = tokio::select! {
                signal = signals.owners.next() => signal.is_none(),
                _ = next(&mut signals.adapters) => false,
                () = bus.connection.closed() => true,
                () = sleep(self.pause) => false,
            };
            if lost {
                return Ok(());
            }
        }
    }

    /// How the stack is. An error means that the bus itself failed.
    async fn look(&mut self, bus: &Bus, signals: &mut Signals) -> Result<StackState, Fault> {
        let owner = bus.owner().await?;
        if owner != self.owner {
            signals.adapters = match &owner {
                Some(name) => Some(bus.changes(name, None, "org.bluez.Adapter1").await?),
                None => None,
            };
            if owner.is_some() {
                self.bluez.inner.stack.send_modify(|stack| stack.life += 1);
            }
            self.owner = owner;
        }
        if self.owner.is_none() {
            return Ok(StackState::Down);
        }
        match bus.objects().await {
            Ok(objects) => Ok(objects.state()),
            // The daemon, not the bus: it died meanwhile, or it hangs.
            Err(Fault::Named { .. } | Fault::Time(_)) => Ok(StackState::Down),
            Err(fault) => Err(fault),
        }
    }

    fn tell(&mut self, state: StackState) {
        let changed = self.bluez.inner.stack.send_if_modified(|stack: &mut Stack| {
            let changed = stack.state != state;
            stack.state = state;
            changed
        });
        self.pause = if changed {
            HURRY
        } else {
            HEARTBEAT.min(self.pause * 2)
        };
    }
}

/// The next signal; never, when there is nobody to hear.
async fn next(stream: &mut Option<MessageStream>) -> Option<zbus::Result<zbus::Message>> {
    match stream {
        Some(stream) => stream.next().await,
        None => std::future::pending().await,
    }
}
