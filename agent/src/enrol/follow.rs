//! Shell: fetches the fleet's anchors and doors now and then, and when the server asks for it.
#![expect(clippy::disallowed_methods, reason = "shell: the network, and waiting")]

use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::claim::ServerInfo;
use hyper::Method;
use rustls::pki_types::CertificateDer;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::anchors::{Unfollowed, follow};
use super::est::{CACERTS, EstError, INFO, ask, list};
use crate::clock::Clock;
use crate::identity::keys::{Folder, Server};
use crate::identity::tls::verified;

/// How often it is looked, at most; the server asks when there is something new.
const DAILY: Duration = Duration::from_hours(24);
/// After a failure.
const AGAIN: Duration = Duration::from_mins(30);

/// What following needs.
pub struct Follower {
    /// Our name and the doors.
    pub server: Server,
    /// The anchors that are held; new ones go out here.
    pub trust: watch::Sender<Vec<CertificateDer<'static>>>,
    /// Where they are kept.
    pub folder: Folder,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// A random number that spreads a fleet's looks.
    pub dice: u64,
}

/// Why nothing was fetched.
#[derive(Debug, thiserror::Error)]
enum FollowError {
    #[error(transparent)]
    Est(#[from] EstError),
    #[error(
        "the server's list of trust anchors is not followed: {0}. The anchors stay as they are; tell the operator"
    )]
    Unfollowed(#[from] Unfollowed),
}

impl Follower {
    /// Looks for ever; at once at each change of `asked`.
    pub async fn run(mut self, mut asked: watch::Receiver<u64>, stop: CancellationToken) {
        // Not all boxes of a fleet at once after a power cut.
        let mut wait = DAILY / 20 + DAILY / 1200 * u32::try_from(self.dice % 1000).unwrap_or(0);
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                () = sleep(wait) => {}
                changed = asked.changed() => if changed.is_err() { return },
            }
            wait = match stop.run_until_cancelled(self.look()).await {
                None => return,
                Some(Ok(())) => DAILY,
                Some(Err(error)) => {
                    tracing::warn!(error = %error, "the fleet's trust anchors could not be fetched");
                    AGAIN
                }
            };
        }
    }

    async fn look(&mut self) -> Result<(), FollowError> {
        let held = self.trust.borrow().clone();
        let tls = Arc::new(verified(&held, None, &self.clock).map_err(EstError::from)?);
        let door = self.server.enrolment.clone();
        let found = ask(&door, &tls, Method::GET, CACERTS, None, None).await?;
        let offered = list(&found).map_err(EstError::from)?;
        let next = follow(&held, &offered, self.clock.now())?;
        if !same(&held, &next) {
            let next: Vec<_> = next.into_iter().map(CertificateDer::from).collect();
            self.folder.keep_trust(&next).map_err(EstError::from)?;
            tracing::info!(
                anchors = next.len(),
                "the fleet has other trust anchors, and this box holds them now"
            );
            self.trust.send_replace(next);
        }
        let info = ask(&door, &tls, Method::GET, INFO, None, None).await?;
        self.keep_doors(serde_json::from_slice(&info.body).ok())
    }

    /// New addresses are used from the next start on: the ones in use work.
    fn keep_doors(&mut self, doors: Option<ServerInfo>) -> Result<(), FollowError> {
        let Some(doors) = doors.filter(|doors| *doors != self.server.doors) else {
            return Ok(());
        };
        self.server.doors = doors;
        self.folder.keep_server(&self.server).map_err(EstError::from)?;
        tracing::info!("the server has other addresses; they are used from the next start on");
        Ok(())
    }
}

fn same(held: &[CertificateDer<'_>], next: &[Vec<u8>]) -> bool {
    held.len() == next.len() && held.iter().zip(next).all(|(a, b)| a.as_ref() == b.as_slice())
}
