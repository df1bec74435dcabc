//! Shell: keeps the support sessions of a box: hears orders, writes down what becomes of them, tells the server, and says
//! to [`super::carry`] what may be open.
#![expect(clippy::disallowed_methods, reason = "shell: files, and waiting")]

use std::collections::VecDeque;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::envelope::Item;
use homeward_protocol::support::{Moved, SessionNumber, SupportOrder};
use tokio::sync::{mpsc, watch};
use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use super::{Effect, Grant, InForce, Input, Sessions, file};
use crate::clock::Clock;
use crate::outbox::keeper::Outbox;
use crate::session::Moment;

#[cfg(test)]
mod tests;

/// How often it is looked whether somebody at the box wants an open session to end, and at the clock: a timer does not
/// count a sleep of the box.
const LOOK: Duration = Duration::from_secs(1);

/// Keeps the sessions of one box.
pub struct Serving {
    /// Where they are kept.
    pub data: PathBuf,
    /// Where records go.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What the server orders.
    pub orders: mpsc::Receiver<SupportOrder>,
    /// What rules the box.
    pub in_force: watch::Receiver<InForce>,
    /// What may be open.
    pub grant: watch::Sender<Option<Grant>>,
    /// What went through which session.
    pub moved: watch::Receiver<(SessionNumber, Moved)>,
}

impl Serving {
    /// Keeps them until `stop`, which ends one that is open.
    pub async fn run(mut self, stop: CancellationToken) {
        let data = self.data.clone();
        let saved = spawn_blocking(move || file::load(&data)).await.ok().flatten();
        let (mut sessions, effects) = Sessions::resume(saved, self.moment());
        self.act(&mut sessions, effects).await;
        let in_force = self.in_force.borrow_and_update().clone();
        self.step(&mut sessions, Input::Ruled(in_force)).await;
        // Made once: what goes through a session in use must not put the look off.
        let mut looking = interval(LOOK);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let wait = sessions
                .deadline()
                .map(|at| at.since(self.clock.uptime()).max(Duration::from_millis(10)));
            let is_open = sessions.open().is_some();
            let input = tokio::select! {
                () = stop.cancelled() => Input::Stop,
                order = self.orders.recv() => match order {
                    Some(order) => Input::Ordered(order),
                    None => Input::Stop,
                },
                Ok(()) = self.in_force.changed() => Input::Ruled(self.in_force.borrow_and_update().clone()),
                Ok(()) = self.moved.changed() => Input::Tick,
                _ = looking.tick(), if is_open => self.look().await,
                () = sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => Input::Tick,
            };
            let last = input == Input::Stop;
            self.step(&mut sessions, input).await;
            if last {
                return;
            }
        }
    }

    /// What went through the session that is open.
    fn count(&mut self) -> Input {
        let (number, moved) = *self.moved.borrow_and_update();
        let of_open = self.grant.borrow().as_ref().map(|grant| grant.session.session) == Some(number);
        if of_open { Input::Moved(moved) } else { Input::Tick }
    }

    async fn look(&self) -> Input {
        let data = self.data.clone();
        let wished = spawn_blocking(move || file::end_is_wished(&data)).await;
        if wished.unwrap_or(false) {
            Input::Local
        } else {
            Input::Tick
        }
    }

    /// What went through before is counted first: it is told with an end.
    async fn step(&mut self, sessions: &mut Sessions, input: Input) {
        for input in [self.count(), input] {
            let effects = sessions.handle(input, self.moment());
            self.act(sessions, effects).await;
        }
    }

    /// Does effects in order, and what follows from those that could not be done.
    async fn act(&mut self, sessions: &mut Sessions, mut effects: Vec<Effect>) {
        while let Err((error, left)) = self.carry_out(effects).await {
            tracing::error!(error = %error, "a support session could not be written down: {error}");
            effects = sessions.handle(Input::Left(left), self.moment());
        }
    }

    /// Up to the first that fails; that and those after it are handed back.
    async fn carry_out(&mut self, effects: Vec<Effect>) -> Result<(), (io::Error, Vec<Effect>)> {
        let mut effects = VecDeque::from(effects);
        while let Some(effect) = effects.front() {
            if let Err(error) = self.perform(effect.clone()).await {
                return Err((error, effects.into()));
            }
            effects.pop_front();
        }
        Ok(())
    }

    async fn perform(&mut self, effect: Effect) -> io::Result<()> {
        let data = self.data.clone();
        match effect {
            Effect::Close => {
                self.grant.send_replace(None);
                spawn_blocking(move || file::forget_wish(&data)).await?;
            }
            Effect::Save(saved) => spawn_blocking(move || file::save(&data, &saved)).await??,
            Effect::Record(record) => {
                let kept = vec![Item::Support(record.clone())];
                let kept = self.outbox.push(kept, self.clock.now()).await;
                kept.map_err(io::Error::other)?;
                let session = record.of.session;
                tracing::info!(
                    support.session = session.0,
                    support.ticket = record.of.ticket.as_str(),
                    "support session {session}: {:?}",
                    record.became
                );
            }
            Effect::Open(grant) => {
                // A wish from before is not one to end this session.
                spawn_blocking(move || file::forget_wish(&data)).await?;
                self.grant.send_replace(Some(*grant));
            }
        }
        Ok(())
    }

    fn moment(&self) -> Moment {
        Moment {
            uptime: self.clock.uptime(),
            at: self.clock.now(),
        }
    }
}
