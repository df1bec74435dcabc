//! Shell: the status as a JSON file, replaced as a whole.
#![expect(clippy::disallowed_methods, reason = "shell: a file, and waiting")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::posture::SensorHeard;
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Backlog, CertificateStatus, EVERY, KeyStatus, LinkStatus, Status};
use crate::clock::Clock;
use crate::outbox::Ledger;

/// Longest file that is read, bytes: 256 sensors with long errors are below it.
const MAX: u64 = 256 * 1024;

/// Why the status could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is none.
    #[error("no status at {0}: has the agent run with this data folder? Start it with `homeward-agent run`")]
    None(PathBuf),
    /// The file system refused.
    #[error("could not read or write the status at {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("the status at {path} cannot be read; it is replaced while the agent runs")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Where it lies within a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("status.json")
}

/// Reads it.
pub fn read(data: &Path) -> Result<Status, StatusError> {
    let path = path(data);
    let mut text = String::new();
    match fs::File::open(&path).and_then(|file| file.take(MAX).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(StatusError::None(path)),
        Err(source) => return Err(StatusError::Io { path, source }),
    }
    serde_json::from_str(&text).map_err(|source| StatusError::Malformed { path, source })
}

/// Replaces it. Not flushed: after a power cut an older one is as good.
pub fn write(data: &Path, status: &Status) -> Result<(), StatusError> {
    let path = path(data);
    let text = serde_json::to_vec_pretty(status).map_err(|source| StatusError::Malformed {
        path: path.clone(),
        source,
    })?;
    let next = path.with_extension("json.new");
    fs::write(&next, text)
        .and_then(|()| fs::rename(&next, &path))
        .map_err(|source| StatusError::Io { path, source })
}

/// Writes the status of a running agent for ever: at each change of the link or the outbox (at most once a second),
/// and at least once a minute.
pub struct Writer {
    /// The data folder.
    pub data: PathBuf,
    /// Which gateway.
    pub gateway: GatewayId,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The link.
    pub link: watch::Receiver<LinkStatus>,
    /// The outbox.
    pub ledger: watch::Receiver<Ledger>,
    /// The sensors.
    pub sensors: watch::Receiver<Vec<SensorHeard>>,
    /// The certificate.
    pub certificate: watch::Receiver<CertificateStatus>,
    /// Where the key is.
    pub key: Option<KeyStatus>,
}

impl Writer {
    /// Runs until `stop`, and writes once more then.
    pub async fn run(mut self, stop: CancellationToken) {
        loop {
            self.write();
            tokio::select! {
                () = stop.cancelled() => break,
                () = sleep(EVERY) => {}
                changed = self.link.changed() => if changed.is_err() { break },
                changed = self.ledger.changed() => if changed.is_err() { break },
            }
            if stop
                .run_until_cancelled(sleep(Duration::from_secs(1)))
                .await
                .is_none()
            {
                break;
            }
        }
        self.write();
    }

    fn write(&mut self) {
        let ledger = *self.ledger.borrow_and_update();
        let status = Status {
            as_of: self.clock.now(),
            gateway: self.gateway.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            link: self.link.borrow_and_update().clone(),
            backlog: Backlog::of(&ledger),
            lost: ledger.lost,
            sensors: self.sensors.borrow().clone(),
            certificate: Some(*self.certificate.borrow()),
            key: self.key.clone(),
        };
        if let Err(error) = write(&self.data, &status) {
            tracing::warn!(error = %error, "could not write the status");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_status_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = read(dir.path()).expect_err("there is none");
        assert!(error.to_string().contains("homeward-agent run"));
    }
}
