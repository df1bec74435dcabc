//! Shell: a named person is told outside the console that advisories are to be weighed; in the console they stand in any case.
#![expect(clippy::disallowed_methods, reason = "shell: waits between looks")]

use std::time::Duration;

use ring::rand::{SecureRandom, SystemRandom};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::WeighId;
use super::words;
use crate::clock::Clock;
use crate::notify::Reach;
use crate::store::{Store, StoreError, Tx, notices, weighings};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(20);

/// Tells of what is to be weighed.
pub struct Upkeep {
    /// What is kept.
    pub store: Store,
    /// Who is told.
    pub person: String,
    /// Which ways lead to people.
    pub reach: Reach,
    /// What time it is.
    pub clock: Clock,
}

impl Upkeep {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            match self.look().await {
                Ok(0) => {}
                Ok(tasks) => info!(
                    "advisories: {} is told that {tasks} tasks are to be weighed",
                    self.person
                ),
                Err(failed) => warn!("what is to be weighed could not be told: {failed}"),
            }
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
        }
    }

    /// Looks once: how many tasks were told of.
    ///
    /// # Errors
    /// When the store does not answer, or the system gives no random number.
    pub async fn look(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let ways = self.reach.ways(&self.person);
        if ways.is_empty() {
            // The server said at its start that the ways out cannot be used. Nobody was told, and that stays so.
            return Ok(0);
        }
        let waits = self.store.read(move |tx| weighings::untold(tx, now)).await?;
        if waits.is_empty() {
            return Ok(0);
        }
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| StoreError::Unavailable {
            step: "making a random number",
            why: "the system gave none".into(),
        })?;
        let id = homeward_protocol::tuf::read::to_hex(&bytes);
        let person = self.person.clone();
        let tell = move |tx: &mut dyn Tx| {
            // Read again: somebody may have decided in between.
            let waits = weighings::untold(tx, now)?;
            if waits.is_empty() {
                return Ok(0);
            }
            let message = words::message(&person, &waits);
            notices::put(tx, &id, &message, &ways, now)?;
            let all: Vec<WeighId> = waits.iter().map(|one| one.id).collect();
            weighings::told(tx, &all, &person, now)?;
            Ok(all.len())
        };
        self.store.write(tell).await
    }
}
