//! Shell: instructions for what lies in a body ask for a clinician by themselves, wherever a box reads such a device.
//!
//! Nobody has to notice that they were published. For all other classes a person decides when the tasks are opened. A device whose
//! task was withdrawn has one, and gets no second by the same instructions.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits between rounds, reads aside"
)]

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::papers::Papers;
use crate::clock::Clock;
use crate::release::dossiers::Carried;
use crate::store::{Store, StoreError, Tx, dossiers};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(20);

/// What it works with.
pub struct Opener {
    /// What is kept.
    pub store: Store,
    /// What is published.
    pub papers: Papers,
    /// What time it is.
    pub clock: Clock,
}

impl Opener {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.look().await {
                Ok(0) => {}
                Ok(opened) => info!("{opened} tasks were opened for devices that lie in a body"),
                Err(failed) => warn!("tasks for devices that lie in a body could not be opened: {failed}"),
            }
        }
    }

    /// Looks once; gives how many tasks were opened.
    pub async fn look(&self) -> Result<usize, StoreError> {
        let now = self.clock.now();
        let papers = self.papers.clone();
        let read = tokio::task::spawn_blocking(move || papers.implants(now)).await;
        let published =
            match read.unwrap_or_else(|_| Err("the published repository could not be read".into())) {
                Ok(published) => published,
                Err(why) => {
                    debug!("instructions for devices that lie in a body could not be seen: {why}");
                    return Ok(0);
                }
            };
        let mut opened = 0;
        for one in published {
            opened += self.open(one).await?;
        }
        Ok(opened)
    }

    async fn open(&self, one: Carried) -> Result<usize, StoreError> {
        let asked = one.clone();
        let waits = move |tx: &mut dyn Tx| dossiers::without_a_task(tx, &asked);
        if self.store.read(waits).await?.is_empty() {
            return Ok(0);
        }
        let now = self.clock.now();
        let open = move |tx: &mut dyn Tx| {
            dossiers::open_all(tx, &one, (None, dossiers::How::Really), dossiers::ITSELF, now)
        };
        let opened = self.store.write(open).await?;
        let new = |(_, opening): &&(dossiers::Found, Option<dossiers::Opening>)| {
            matches!(opening, Some(dossiers::Opening::Opened(_)))
        };
        Ok(opened.devices.iter().filter(new).count())
    }
}
