//! Shell: looks at the deadlines of updates and does what is due.
//!
//! # Design
//! It goes round: a bounded piece of what is not over at each look, so that a fleet in which nobody finds a quiet moment
//! costs no more at a time than a few homes.
#![expect(clippy::disallowed_methods, reason = "shell: waits, and the random source")]

use std::time::Duration;

use homeward_protocol::release::state::UpdateState;
use ring::rand::{SecureRandom, SystemRandom};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use super::escalate::{Ground, carry_out};
use super::{Case, Due, due};
use crate::clock::Clock;
use crate::direct;
use crate::notify::Reach;
use crate::policy::roots::Roots;
use crate::store::{Store, StoreError, Tx, connections, deadlines, hex, updates};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(1);
/// Deadlines that are looked at in one look.
const ROWS: i64 = 200;

/// What it works with.
pub struct Watch {
    /// What is kept.
    pub store: Store,
    /// Whose signatures count under a keyring of policies.
    pub roots: Roots,
    /// Which ways lead to people.
    pub reach: Reach,
    /// What time it is.
    pub clock: Clock,
}

type Found = (Case, Option<UpdateState>, String);

impl Watch {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let mut from = Place::default();
        let mut tick = tokio::time::interval(LOOK);
        tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            if let Err(failed) = self.look(&mut from).await {
                warn!("deadlines of updates could not be looked after: {failed}");
            }
        }
    }

    /// Looks at the next piece, and does what is due there.
    pub async fn look(&self, from: &mut Place) -> Result<(), StoreError> {
        let (gateway, counter) = from.0.clone();
        let found = self.store.read(move |tx| found(tx, (&gateway, counter))).await?;
        let last = found
            .last()
            .map(|(case, _, _)| (case.gateway.as_str().to_owned(), case.counter));
        let is_all = i64::try_from(found.len()).is_ok_and(|rows| rows < ROWS);
        from.0 = last.filter(|_| !is_all).unwrap_or_default();
        let now = self.clock.now();
        for (case, said, how) in found {
            for one in due(&case, said.as_ref(), now) {
                self.act(case.clone(), one, how.clone()).await?;
            }
        }
        Ok(())
    }

    async fn act(&self, case: Case, due: Due, how: String) -> Result<(), StoreError> {
        let mut bytes = [0; 16];
        let filled = SystemRandom::new().fill(&mut bytes);
        filled.map_err(|_| StoreError::Unavailable {
            step: "making a random number",
            why: "the system gave none".into(),
        })?;
        let (id, roots, reach, now) = (
            hex(&bytes),
            self.roots.now(),
            self.reach.clone(),
            self.clock.now(),
        );
        let (gateway, version, counter) = (case.gateway.clone(), case.version, case.counter);
        let said = self
            .store
            .write(move |tx| {
                let ground = Ground {
                    how: &how,
                    roots: &roots,
                    reach: &reach,
                    id: &id,
                    now,
                };
                carry_out(tx, &case, due, ground)
            })
            .await?;
        if let Some(said) = said {
            metrics::counter!("homeward_update_deadlines_total", "step" => due.name()).increment(1);
            let step = due.name();
            match due {
                Due::Ask | Due::Pass => {
                    warn!(gateway.id = %gateway, update.version = %version, update.word = counter, deadline.step = step, "{said}");
                }
                Due::TakeBack | Due::End => {
                    info!(gateway.id = %gateway, update.version = %version, update.word = counter, deadline.step = step, "{said}");
                }
            }
        }
        Ok(())
    }
}

/// Behind which row the next look begins.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Place((String, u64));

fn found(tx: &mut dyn Tx, from: (&str, u64)) -> Result<Vec<Found>, StoreError> {
    let mut all = Vec::new();
    for case in deadlines::open_after(tx, from, ROWS)? {
        let said = updates::said(tx, &case.gateway)?.map(|said| said.state);
        let word = updates::get(tx, &case.gateway)?;
        let newest = connections::history(tx, &case.gateway, 1)?;
        let here = newest.first().is_some_and(|newest| newest.ended.is_none());
        let how = word.map(|word| direct::words(&word, said.as_ref(), Some(here)));
        all.push((case, said, how.unwrap_or_default()));
    }
    Ok(all)
}
