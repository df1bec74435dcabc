//! Shell: holds what is fetched to the pace that the policy wants, and stops it when the link begins to cost.
#![expect(clippy::disallowed_methods, reason = "shell: waits")]

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::time::{Timestamp, Uptime};
use tokio::time::sleep;

use super::metered::link;
use super::{Held, Pacer, Setting, may};
use crate::clock::Clock;
use crate::policy::habits::Now;

/// How often it is looked what the link is while something is fetched.
const LOOK: Duration = Duration::from_secs(30);

/// The pace of what is fetched over the way to the server; all that hold it share it.
#[derive(Clone)]
pub struct Pace {
    habits: Now,
    setting: Setting,
    clock: Arc<Clock>,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    pacer: Pacer,
    /// When the update began, and is due: how long a link that costs is waited for. None: it is not waited for.
    time: Option<(Timestamp, Timestamp)>,
    looked: Option<Uptime>,
}

impl Pace {
    /// By these habits, over the link that `setting` names.
    pub fn new(habits: Now, setting: Setting, clock: Arc<Clock>) -> Pace {
        Pace {
            habits,
            setting,
            clock,
            state: Arc::default(),
        }
    }

    /// Whether an update that began at `time.0` and is due at `time.1` may be fetched now. What is fetched from now on is
    /// fetched for it.
    ///
    /// # Errors
    /// Why not.
    pub async fn begin(&self, time: (Timestamp, Timestamp)) -> Result<(), Held> {
        self.change(|state| {
            *state = State {
                time: Some(time),
                looked: Some(self.clock.uptime()),
                ..State::default()
            };
        });
        self.look(time).await
    }

    /// After so many bytes came: waits as long as the policy wants.
    ///
    /// # Errors
    /// When the link costs by now, and nothing more is to come over it.
    pub async fn pay(&self, bytes: usize) -> Result<(), Held> {
        let now = self.clock.uptime();
        let rate = self.habits.borrow().fetch_rate;
        let (wait, look) = self.change(|state| {
            let wait = state.pacer.after(bytes, rate, Duration::from_millis(now.0));
            let due = state.looked.is_none_or(|at| now.since(at) >= LOOK);
            let look = state.time.filter(|_| due);
            if look.is_some() {
                state.looked = Some(now);
            }
            (wait, look)
        });
        if let Some(time) = look {
            self.look(time).await?;
        }
        if !wait.is_zero() {
            sleep(wait).await;
        }
        Ok(())
    }

    async fn look(&self, time: (Timestamp, Timestamp)) -> Result<(), Held> {
        let link = link(self.setting).await;
        let on = self.habits.borrow().metered;
        may(link, on, time, self.clock.now())
    }

    fn change<T>(&self, how: impl FnOnce(&mut State) -> T) -> T {
        how(&mut self.state.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
