//! Shell: makes the links of the chain of postures, and keeps each with the records, in one commit.
#![expect(clippy::disallowed_methods, reason = "shell: waits, and measures")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::attest::Nonce;
use homeward_protocol::envelope::Item;
use homeward_protocol::evidence::ChainEnd;
use homeward_protocol::postures::{Occasion, TpmClock, measured};
use homeward_protocol::signed::{Signed, Signer};
use homeward_protocol::wire::{self, Bytes};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::chain::{Chain, Kept};
use super::measure::measure;
use super::{Quoting, Standing};
use crate::clock::Clock;
use crate::outbox::Progress;
use crate::outbox::keeper::Outbox;
use crate::outbox::sqlite::OutboxError;
use crate::policy::habits::Now;
use crate::status::LinkStatus;

/// Under which name the outbox keeps where the chain stands.
const STREAM: &str = "postures";
/// Most bytes of what is kept.
const MAX_KEPT: usize = 256;

/// What the evidence says of the chain.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct End {
    /// Where it ends.
    pub end: Option<ChainEnd>,
    /// A link is being made: it will end elsewhere in a moment.
    pub making: bool,
}

/// Keeps the chain.
pub struct Keeping {
    /// The data folder: what is measured.
    pub data: PathBuf,
    /// What is true while the agent runs.
    pub standing: Standing,
    /// Signs links: the box's key.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// The TPM, for its clock.
    pub tpm: Option<Arc<dyn Quoting>>,
    /// Where records are kept.
    pub outbox: Outbox,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What the policy wants.
    pub habits: Now,
    /// Whether there is a connection.
    pub link: watch::Receiver<LinkStatus>,
    /// Where the chain ends, for the evidence.
    pub end: watch::Sender<End>,
}

impl Keeping {
    /// Runs until `stop`.
    ///
    /// # Errors
    /// When it cannot be read where the chain stands: a second chain would look like a box that was put back.
    pub async fn run(mut self, stop: CancellationToken) -> Result<(), OutboxError> {
        let mut chain = Chain::resume(self.kept().await?, self.clock.uptime());
        self.tell(&chain, false);
        self.habits.mark_changed();
        loop {
            let wait = chain.deadline().map(|at| at.since(self.clock.uptime()));
            let occasion = tokio::select! {
                () = stop.cancelled() => return Ok(()),
                changed = self.link.changed() => {
                    if changed.is_err() {
                        return Ok(());
                    }
                    let connected = self.link.borrow_and_update().connected_since.is_some();
                    chain.connected(connected, self.clock.uptime())
                }
                Ok(()) = self.habits.changed() => {
                    let most = self.habits.borrow_and_update().evidence;
                    chain.at_least_every(most, self.clock.uptime());
                    None
                }
                () = sleep(wait.unwrap_or(Duration::MAX)), if wait.is_some() => chain.due(self.clock.uptime()),
            };
            if let Some(occasion) = occasion {
                self.tell(&chain, true);
                self.make(&mut chain, occasion).await;
                self.tell(&chain, false);
            }
        }
    }

    async fn kept(&self) -> Result<Kept, OutboxError> {
        let key = Nonce(self.standing.key);
        let saved = self.outbox.progress(STREAM).await?;
        let kept: Option<Kept> = saved.and_then(|saved| wire::decode(&saved.cursor, MAX_KEPT).ok());
        Ok(kept.filter(|kept| kept.key == key).unwrap_or(Kept::begin(key)))
    }

    fn tell(&self, chain: &Chain, making: bool) {
        let end = chain.kept().end();
        self.end.send_replace(End { end, making });
    }

    /// Makes one link. What fails is said and tried again: a chain that stands still shows as a gap.
    async fn make(&self, chain: &mut Chain, occasion: Occasion) {
        let (data, tpm) = (self.data.clone(), self.tpm.clone());
        let look = move || -> (Nonce, Option<TpmClock>) {
            (measured(&measure(&data)), tpm.and_then(|tpm| tpm.clock().ok()))
        };
        let Ok(facts) = tokio::task::spawn_blocking(look).await else {
            return chain.refused(self.clock.uptime());
        };
        let (now, up) = (self.clock.now(), self.clock.uptime());
        let link = chain.link(occasion, &self.standing.boots, facts, now, up);
        let signed = match Signed::seal(&link, self.signer.as_ref()) {
            Ok(signed) => signed,
            Err(error) => {
                warn!(error = %error, "a link of the postures could not be signed: {error}");
                return chain.refused(up);
            }
        };
        let kept = chain.with(&link, &signed);
        let Ok(cursor) = wire::encode(&kept, MAX_KEPT) else {
            return chain.refused(up);
        };
        let progress = Progress {
            stream: STREAM.to_owned(),
            cursor,
            keys: Vec::new(),
        };
        let item = Item::Proof(Bytes(signed));
        match self.outbox.keep(vec![item], Some(progress), now).await {
            Ok(()) => {
                debug!("link {} of the postures is kept", link.seq);
                chain.made(kept, up);
            }
            Err(error) => {
                warn!(error = %error, "a link of the postures could not be kept: {error}");
                chain.refused(up);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::envelope::{Entry, Lane};
    use homeward_protocol::id::{Epoch, Seq};
    use homeward_protocol::postures::{Link, START, after};
    use homeward_protocol::signed::tagged::thumbprint;

    use super::*;
    use crate::attest::Boots;
    use crate::identity::keys::DeviceKey;
    use crate::outbox::keeper::{Keeper, Place};

    async fn links(outbox: &Outbox, clock: &Clock) -> Vec<Vec<u8>> {
        let batch = outbox
            .batch(Lane::Routine, Seq(1), clock.now())
            .await
            .expect("reads");
        let entries = batch.map(|batch| batch.entries).unwrap_or_default();
        let proof = |entry: &Entry| match entry {
            Entry::Item(body) => match Item::decode(body) {
                Ok(Item::Proof(bytes)) => Some(bytes.0),
                _ => None,
            },
            Entry::Lost(_) => None,
        };
        entries.iter().filter_map(proof).collect()
    }

    #[tokio::test]
    async fn links_are_signed_chained_and_kept_with_where_the_chain_stands() {
        let dir = tempfile::tempdir().expect("a directory");
        let clock = Arc::new(Clock::with_floor(0));
        let keeper = Keeper::start().expect("a thread");
        let opened = keeper.open(Place::Memory, 1 << 24, Epoch(7), clock.now()).await;
        let (outbox, _) = opened.expect("opens");
        let key = Arc::new(DeviceKey::make().expect("a key"));
        let public = key.public().expect("a point");
        // An absence that was going on when the power went.
        let before = Kept {
            made: 1,
            ..Kept::begin(Nonce(thumbprint(&public)))
        };
        let progress = Progress {
            stream: STREAM.to_owned(),
            cursor: wire::encode(&before, MAX_KEPT).expect("fits"),
            keys: Vec::new(),
        };
        outbox
            .keep(Vec::new(), Some(progress), clock.now())
            .await
            .expect("kept");
        let (link, seen) = watch::channel(LinkStatus::default());
        let (end, mut told) = watch::channel(End::default());
        let keeping = || Keeping {
            data: dir.path().to_owned(),
            standing: Standing {
                box_id: [1; 16],
                boots: Boots::next(None, "boot-0001".parse().expect("an id"), "1.0", [3; 32]).0,
                key: thumbprint(&public),
            },
            signer: Arc::clone(&key) as _,
            tpm: None,
            outbox: outbox.clone(),
            clock: Arc::clone(&clock),
            link: seen.clone(),
            end: end.clone(),
            habits: watch::channel(Arc::default()).1,
        };
        let stop = CancellationToken::new();
        let running = tokio::spawn(keeping().run(stop.clone()));
        let made = |n: u64| move |end: &End| !end.making && end.end.is_some_and(|end| end.seq == n);
        told.wait_for(made(1)).await.expect("the start");
        link.send_modify(|status| status.connected_since = Some(clock.now()));
        told.wait_for(made(2)).await.expect("the return");
        stop.cancel();
        running.await.expect("ends").expect("well");

        let all = links(&outbox, &clock).await;
        let mut prev = START;
        for (signed, occasion) in all.iter().zip([Occasion::Start, Occasion::Back]) {
            let link = Signed::<Link>::parse(signed)
                .and_then(|s| s.verify(&public))
                .expect("signed");
            assert_eq!((link.get().prev, link.get().occasion), (prev, occasion));
            prev = after(&prev, signed);
        }
        assert_eq!(all.len(), 2);
        let last = told.borrow().end.expect("an end");
        assert_eq!((last.seq, last.head), (2, prev.0));
        // After a restart the chain goes on where it stood.
        assert_eq!(keeping().kept().await.expect("read").end(), Some(last));
    }
}
