//! Shell: what the published repository says of dossiers is followed by their tasks.
//!
//! Tasks whose instructions are not published any more end, and are asked for again when those are published again; instructions
//! for what lies in a body open their tasks by themselves, wherever a box reads such a device. What cannot be read, or is not
//! believed, ends and opens nothing.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: waits between rounds, reads aside"
)]

use std::collections::BTreeMap;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::asks_by_itself;
use super::papers::{Newest, Papers};
use crate::clock::Clock;
use crate::release::dossiers::Carried;
use crate::store::dossiers::{self, How, ITSELF, Opening};
use crate::store::{Store, StoreError, Tx};

/// How often it is looked.
const LOOK: Duration = Duration::from_secs(20);

/// Follows what is published.
pub struct Upkeep {
    store: Store,
    papers: Papers,
    clock: Clock,
    /// What was told of instructions that cannot be read, by their paths.
    told: BTreeMap<String, String>,
}

/// What came of a look: how many tasks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Followed {
    /// Ended, as their instructions are not published any more.
    pub recalled: usize,
    /// Are asked for again.
    pub returned: usize,
    /// Were opened by themselves.
    pub opened: usize,
}

impl Upkeep {
    /// Of these tasks, by these papers.
    pub const fn new(store: Store, papers: Papers, clock: Clock) -> Upkeep {
        Upkeep {
            store,
            papers,
            clock,
            told: BTreeMap::new(),
        }
    }

    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            match self.look().await {
                Ok(Followed {
                    recalled: 0,
                    returned: 0,
                    opened: 0,
                }) => {}
                Ok(followed) => info!(
                    "dossiers: {} tasks ended, as their instructions are not published any more; {} are asked for again; {} were \
                     opened for devices that lie in a body",
                    followed.recalled, followed.returned, followed.opened
                ),
                Err(failed) => warn!("tasks of dossiers could not be looked after: {failed}"),
            }
        }
    }

    /// Looks once.
    ///
    /// # Errors
    /// When the store does not answer.
    pub async fn look(&mut self) -> Result<Followed, StoreError> {
        let recalled = self.recall().await?;
        let (papers, now) = (self.papers.clone(), self.clock.now());
        let newest = match aside(move || papers.newest(now)).await {
            Ok(newest) => newest,
            Err(why) => {
                debug!("which dossiers are published could not be seen: {why}");
                Newest::default()
            }
        };
        self.tell(newest.broken);
        let (mut returned, mut opened) = (0, 0);
        for one in newest.whole {
            returned += self.again(&one).await?;
            if asks_by_itself(one.dossier.class) {
                opened += self.open(one).await?;
            }
        }
        Ok(Followed {
            recalled,
            returned,
            opened,
        })
    }

    /// Says of each that cannot be read why, once: nobody is asked to do what it says.
    fn tell(&mut self, broken: Vec<(String, String)>) {
        for (path, why) in &broken {
            if self.told.get(path) != Some(why) {
                error!("a dossier is published that cannot be read, and nobody is asked to act on it: {why}");
            }
        }
        self.told = broken.into_iter().collect();
    }

    /// Ends the tasks of what is not published any more.
    async fn recall(&self) -> Result<usize, StoreError> {
        let (asked, now) = (self.store.read(dossiers::asked_for).await?, self.clock.now());
        if asked.is_empty() {
            return Ok(0);
        }
        let paths: Vec<String> = asked.iter().map(|(_, path)| path.clone()).collect();
        let papers = self.papers.clone();
        let named = match aside(move || papers.named(&paths, now)).await {
            Ok(named) => named,
            Err(why) => {
                debug!("whether dossiers are still published could not be seen: {why}");
                return Ok(0);
            }
        };
        // Only what was looked for, and is not there or is another text now.
        let is_gone = |(sha256, path): &(String, String)| {
            let published = named.get(path);
            published.is_some_and(|published| published.as_ref() != Some(sha256))
        };
        let mut ended = 0;
        for (sha256, _) in asked.into_iter().filter(is_gone) {
            let end = move |tx: &mut dyn Tx| dossiers::recall(tx, &sha256, now);
            ended += self.store.write(end).await?.len();
        }
        Ok(ended)
    }

    /// Asks again for what ended because these instructions were not published for a time.
    async fn again(&self, one: &Carried) -> Result<usize, StoreError> {
        let (asked, now) = (one.sha256.clone(), self.clock.now());
        let waits = self
            .store
            .read(move |tx| dossiers::ended_with(tx, &asked))
            .await?;
        if waits.is_empty() {
            return Ok(0);
        }
        let sha256 = one.sha256.clone();
        let again = move |tx: &mut dyn Tx| dossiers::ask_again(tx, &sha256, now);
        Ok(self.store.write(again).await?.len())
    }

    async fn open(&self, one: Carried) -> Result<usize, StoreError> {
        let asked = one.clone();
        let waits = move |tx: &mut dyn Tx| dossiers::without_a_task(tx, &asked);
        if self.store.read(waits).await?.is_empty() {
            return Ok(0);
        }
        let now = self.clock.now();
        let open = move |tx: &mut dyn Tx| dossiers::open_all(tx, &one, (None, How::Really), ITSELF, now);
        let opened = self.store.write(open).await?;
        let new = opened
            .devices
            .iter()
            .filter(|(_, opening)| matches!(opening, Some(Opening::Opened(_))));
        Ok(new.count())
    }
}

/// Reads files where nobody waits for it.
async fn aside<T: Send + 'static>(
    read: impl FnOnce() -> Result<T, String> + Send + 'static,
) -> Result<T, String> {
    let read = tokio::task::spawn_blocking(read).await;
    read.unwrap_or_else(|_| Err("the published repository could not be read".into()))
}
