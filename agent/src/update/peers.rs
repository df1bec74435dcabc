//! Shell: asks neighbours for a build before the server is asked; what they give is believed by its hash alone.
//!
//! # Design
//! What a neighbour gave is never gone on with by another or by the server: one that lies would spoil what honest ones add.
//! So it costs its own bytes, at most the file's length, and its own time, and nothing of the way to the server. One that
//! lied is not asked again before the agent's next start.
#![expect(clippy::disallowed_methods, reason = "shell: files, and a limit of waiting")]

use std::collections::BTreeSet;
use std::fs;
use std::io::{self, Write as _};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::tuf::hash::Hashes;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::base::Base;
use super::fetch::Http;
use super::share::FOLDER;
use super::tuf::{Fetch as _, FetchError, aside, beside};
use crate::disk::put;
use crate::slot::Digest;

/// How long one may be silent: it is in the same home.
const SILENCE: Duration = Duration::from_secs(5);
/// How long a file may take beside its size, and the slowest that it may come, bytes a second.
const GRACE: Duration = Duration::from_secs(10);
const SLOWEST: u64 = 128 * 1024;

/// The neighbours of a box.
#[derive(Debug, Default)]
pub struct Peers {
    all: Vec<Base>,
    /// Places in `all` of those that gave other bytes than they were asked for.
    liars: Mutex<BTreeSet<usize>>,
}

/// What came of asking one.
#[derive(Debug, thiserror::Error)]
enum Failed {
    #[error("it does not have it")]
    Absent,
    #[error("{0}")]
    Away(String),
    #[error("it gave other bytes than it was asked for, and is not asked again")]
    Lied,
    #[error("the disk does not take it: {0}")]
    Disk(io::Error),
}

impl Peers {
    /// These, which are asked in this order.
    pub fn new(all: Vec<Base>) -> Peers {
        Peers {
            all,
            liars: Mutex::default(),
        }
    }

    /// Brings the file with these bytes to `place` from the first that gives it before `until`. Whether one did.
    pub async fn bring(
        &self,
        (sha256, length): (Digest, u64),
        place: &Path,
        until: &CancellationToken,
    ) -> bool {
        for (n, peer) in self.all.iter().enumerate() {
            if until.is_cancelled() || self.liars(|liars| liars.contains(&n)) {
                continue;
            }
            let patience = GRACE.saturating_add(Duration::from_secs(length / SLOWEST));
            let came = timeout(patience, from(peer, (sha256, length), place, until)).await;
            let why = match came.unwrap_or_else(|_| Err(Failed::Away("it takes too long".into()))) {
                Ok(()) => {
                    tracing::info!("{length} bytes came from the neighbour {peer}");
                    return true;
                }
                Err(why) => why,
            };
            if matches!(why, Failed::Lied) {
                self.liars(|liars| liars.insert(n));
                tracing::warn!("the neighbour {peer} does not serve: {why}");
            } else {
                tracing::info!("the neighbour {peer} does not serve: {why}");
            }
            let _ = fs::remove_file(beside(place, "+peer"));
        }
        false
    }

    fn liars<T>(&self, look: impl FnOnce(&mut BTreeSet<usize>) -> T) -> T {
        look(&mut self.liars.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn from(
    peer: &Base,
    (sha256, length): (Digest, u64),
    place: &Path,
    until: &CancellationToken,
) -> Result<(), Failed> {
    let came = beside(place, "+peer");
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(Failed::Disk)?;
    }
    let mut file = fs::File::create(&came).map_err(Failed::Disk)?;
    let hashes = Hashes::sha256(sha256.0);
    let (mut check, mut have) = (hashes.check(), 0);
    let http = Http::new(peer.clone(), None).silent_for(SILENCE).nameless();
    let http = http.until(until.clone());
    let mut take = |_, piece: &[u8]| {
        check.update(piece);
        have += piece.len() as u64;
        file.write_all(piece)
    };
    let name = format!("{FOLDER}{sha256}");
    match http.get(&name, 0, length, &mut take).await {
        Ok(()) if have == length && check.finish() => {}
        Ok(()) | Err(FetchError::TooLong(_)) => return Err(Failed::Lied),
        Err(FetchError::Absent) => return Err(Failed::Absent),
        Err(FetchError::Keep(error)) => return Err(Failed::Disk(error)),
        Err(error) => return Err(Failed::Away(error.to_string())),
    }
    let place = place.to_owned();
    let keep = move || {
        file.sync_all()?;
        put(&came, &place)
    };
    aside(keep).await.map_err(Failed::Disk)
}

#[cfg(test)]
mod tests;
