//! Shell: asks to be asked, answers challenges, and keeps what the server makes of the answers.
#![expect(clippy::disallowed_methods, reason = "shell: the random source and files")]

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::attest::{Challenge, Nonce, Notice};
use homeward_protocol::evidence::bundle::Bundle;
use homeward_protocol::evidence::{ChainEnd, Profile};
use homeward_protocol::posture::ShortText;
use homeward_protocol::signed::Signer;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::keep::End;
use super::measure::measure;
use super::{Asking, Heard, Quoting, Since, Speech, Standing, claims, file};
use crate::care::Judged;
use crate::clock::Clock;
use crate::status::LinkStatus;

/// How long a link that is being made is waited for.
const LINK_TIME: Duration = Duration::from_secs(10);

/// What the answers are made of.
pub struct Proof {
    /// The data folder: what is measured, and where the judgement is kept.
    pub data: PathBuf,
    /// What is true while the agent runs.
    pub standing: Standing,
    /// What is new since it last ran.
    pub since: Since,
    /// Signs the claims: the key of the connection.
    pub signer: Arc<dyn Signer + Send + Sync>,
    /// The TPM, where there is one.
    pub tpm: Option<Arc<dyn Quoting>>,
    /// How this box is judged, for whoever grades readings.
    pub judged: watch::Sender<Judged>,
}

/// The conversation about trust.
pub struct Answer {
    /// What the answers are made of.
    pub proof: Proof,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// What the link hears.
    pub heard: mpsc::Receiver<Heard>,
    /// What the link is to say.
    pub says: mpsc::Sender<Speech>,
    /// Whether there is a connection.
    pub link: watch::Receiver<LinkStatus>,
    /// Where the chain of postures ends.
    pub postures: watch::Receiver<End>,
}

impl Answer {
    /// Runs until `stop`.
    pub async fn run(mut self, stop: CancellationToken) {
        let mut asking = Asking::new(self.proof.since);
        let mut was_connected = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                changed = self.link.changed() => {
                    if changed.is_err() {
                        return;
                    }
                    let connected = self.link.borrow_and_update().connected_since.is_some();
                    self.link_changed(&mut asking, was_connected, connected);
                    was_connected = connected;
                }
                heard = self.heard.recv() => match heard {
                    Some(Heard::Challenge(challenge, connection)) => self.answer(challenge, connection).await,
                    Some(Heard::Verdict(notice, bytes)) => {
                        asking.judged();
                        self.keep(&notice, &bytes);
                    }
                    None => return,
                },
            }
        }
    }

    fn link_changed(&self, asking: &mut Asking, was_connected: bool, connected: bool) {
        let up = self.clock.uptime();
        match (was_connected, connected) {
            (true, false) => asking.left(up),
            (false, true) => {
                if let Some(ask) = asking.connected(up) {
                    debug!(attest.ask = ask.name(), "asking to be asked: {}", ask.name());
                    let _full = self.says.try_send(Speech::Ask(ask.name()));
                }
            }
            _ => {}
        }
    }

    async fn answer(&self, challenge: Challenge, connection: u64) {
        let data = self.proof.data.clone();
        let Ok(measured) = tokio::task::spawn_blocking(move || measure(&data)).await else {
            return;
        };
        let profile = if self.proof.tpm.is_some() {
            Profile::Tpm
        } else {
            Profile::Software
        };
        let made = claims(
            &self.proof.standing,
            measured,
            self.chain_end().await,
            (challenge.nonce, profile),
            self.clock.now(),
            self.clock.uptime(),
        );
        let sealed = made.seal(self.proof.signer.as_ref());
        let (token, binding) = match (sealed, made.binding()) {
            (Ok(token), Ok(binding)) => (token, binding),
            (Err(error), _) | (_, Err(error)) => {
                warn!(error = %error, "the evidence could not be made: {error}");
                return;
            }
        };
        let tpm = self.quoted(binding, Nonce(made.boot_seed), challenge).await;
        match (Bundle { token, tpm }).encode() {
            Ok(bytes) => {
                let size = bytes.len();
                let _full = self.says.try_send(Speech::Evidence(bytes, connection));
                debug!(size_bytes = size, "answered a challenge with {size} bytes");
            }
            Err(error) => warn!(error = %error, "the evidence could not be made: {error}"),
        }
    }

    /// The end of the chain; a link that is being made is waited for, for a while.
    async fn chain_end(&self) -> Option<ChainEnd> {
        let mut postures = self.postures.clone();
        let settled = postures.wait_for(|end| !end.making);
        match tokio::time::timeout(LINK_TIME, settled).await {
            Ok(Ok(end)) => end.end,
            _ => self.postures.borrow().end,
        }
    }

    /// What the TPM says. One that fails says nothing: the server sees that, and a person is told there.
    async fn quoted(
        &self,
        binding: [u8; 32],
        boot: Nonce,
        challenge: Challenge,
    ) -> Option<homeward_protocol::evidence::bundle::TpmPart> {
        let tpm = Arc::clone(self.proof.tpm.as_ref()?);
        let asked = tokio::task::spawn_blocking(move || tpm.quote(binding, boot, challenge.held.as_ref()));
        match asked.await {
            Ok(Ok(part)) => Some(part),
            Ok(Err(why)) => {
                warn!("the TPM does not speak for this box: {why}");
                None
            }
            Err(_) => None,
        }
    }

    fn keep(&self, notice: &Notice, bytes: &[u8]) {
        if let Err(error) = file::keep_verdict(&self.proof.data, bytes) {
            warn!(error = %error, "the server's judgement could not be kept: {error}");
        }
        let said: Vec<&str> = notice.said.iter().map(ShortText::as_str).collect();
        info!(
            attest.trust = notice.trust.name(), attest.tier = %notice.tier,
            "the server judges this box: {} until {} ({})", notice.trust.name(), notice.expires_at, said.join("; ")
        );
        self.proof.judged.send_replace(Judged::of(notice));
    }
}
