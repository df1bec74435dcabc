//! Shell: ends the tasks whose instructions are not published any more.
//!
//! What cannot be read, or is not believed, recalls nothing: that those who signed it took it out has to be seen.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits between rounds, reads aside"
)]

use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::TaskId;
use super::papers::Papers;
use crate::clock::Clock;
use crate::store::{Store, StoreError, dossiers};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(20);

/// What it works with.
pub struct Recall {
    /// What is kept.
    pub store: Store,
    /// What is published.
    pub papers: Papers,
    /// What time it is.
    pub clock: Clock,
}

impl Recall {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.look().await {
                Ok(ended) if ended.is_empty() => {}
                Ok(ended) => info!(
                    "{} tasks ended: their dossiers are not published any more",
                    ended.len()
                ),
                Err(failed) => warn!("tasks of dossiers could not be looked after: {failed}"),
            }
        }
    }

    /// Looks once; gives the tasks that ended.
    pub async fn look(&self) -> Result<Vec<TaskId>, StoreError> {
        let (asked, now) = (self.store.read(dossiers::asked_for).await?, self.clock.now());
        if asked.is_empty() {
            return Ok(Vec::new());
        }
        let paths: Vec<String> = asked.iter().map(|(_, path)| path.clone()).collect();
        let papers = self.papers.clone();
        let read = tokio::task::spawn_blocking(move || papers.named(&paths, now)).await;
        let named = match read.unwrap_or_else(|_| Err("the published repository could not be read".into())) {
            Ok(named) => named,
            Err(why) => {
                debug!("whether dossiers are still published could not be seen: {why}");
                return Ok(Vec::new());
            }
        };
        // Only what was looked for, and is not there or is another text now.
        let gone = asked.into_iter().filter(|(sha256, path)| {
            named
                .get(path)
                .is_some_and(|published| published.as_ref() != Some(sha256))
        });
        let gone: Vec<String> = gone.map(|(sha256, _)| sha256).collect();
        if gone.is_empty() {
            return Ok(Vec::new());
        }
        let end = move |tx: &mut dyn crate::store::Tx| {
            let mut ended = Vec::new();
            for sha256 in &gone {
                ended.extend(dossiers::recall(tx, sha256, now)?);
            }
            Ok(ended)
        };
        self.store.write(end).await
    }
}
