//! Shell: where a running agent tells what its sensors bring, to programs of its own machine and user: a socket in the
//! data folder.
//!
//! # Design
//! Nobody who listens can hold anything up: there are few seats, a listener that is slow misses some and is told how
//! many, and one that does not take anything is let go. Nothing is read from it.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a socket, one task a listener, limits of waits"
)]

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_protocol::envelope::Item;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::SensorHeard;
use homeward_protocol::reading::Reading;
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, AsyncWriteExt as _, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::{Live, Troubles};

/// Readings that wait for a slow listener: a few seconds of a home with many sensors.
pub const QUEUE: usize = 256;
/// Who installs a home, and one more.
const SEATS: usize = 4;
/// How long a line may take to be taken.
const TAKE: Duration = Duration::from_secs(5);
/// The longest line that is read, octets: a reading with every detail has less than 2,000.
const LONGEST: u64 = 64 * 1024;

/// Where it lies within a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("live.sock")
}

/// What is told.
#[derive(Clone)]
pub struct Tap {
    /// Each reading.
    pub readings: broadcast::Sender<Reading>,
    /// How the sensors stand.
    pub sensors: watch::Receiver<Vec<SensorHeard>>,
}

impl Tap {
    /// Tells it at the socket in `data` until `stop`. Who runs this holds the folder's lock, so a socket that is there
    /// is left from an earlier run.
    pub async fn run(self, data: PathBuf, stop: CancellationToken) {
        match open(&path(&data)) {
            Ok(listener) => self.serve(listener, &stop).await,
            Err(error) => {
                warn!(%error, "`sensor watch` cannot follow this agent: no socket in {}", data.display());
            }
        }
        stop.cancelled().await;
        // Left over it would do no harm.
        let _ = fs::remove_file(path(&data));
    }

    async fn serve(&self, listener: UnixListener, stop: &CancellationToken) {
        let mut listeners = JoinSet::new();
        while let Some(came) = stop.run_until_cancelled(listener.accept()).await {
            while listeners.try_join_next().is_some() {}
            match came {
                Ok((stream, _)) if listeners.len() < SEATS => {
                    listeners.spawn(tell(stream, self.readings.subscribe(), self.sensors.clone()));
                }
                Ok(_) => debug!("nobody more can follow"),
                Err(error) => {
                    debug!(%error, "somebody could not follow");
                    sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }
}

/// The readings among `items`, when somebody looks on.
pub fn readings(items: &[Item], to: &broadcast::Sender<Reading>) -> Vec<Reading> {
    if to.receiver_count() == 0 {
        return Vec::new();
    }
    let reading = |item: &Item| match item {
        Item::Reading(reading) => Some(reading.clone()),
        _ => None,
    };
    items.iter().filter_map(reading).collect()
}

/// For this user only.
fn open(path: &Path) -> io::Result<UnixListener> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Tells one listener, until it leaves.
async fn tell(
    mut to: UnixStream,
    mut readings: broadcast::Receiver<Reading>,
    mut sensors: watch::Receiver<Vec<SensorHeard>>,
) {
    let mut troubles = Troubles::default();
    let mut news = troubles.news(&sensors.borrow_and_update());
    loop {
        for live in news.drain(..) {
            if !line(&mut to, &live).await {
                return;
            }
        }
        tokio::select! {
            came = readings.recv() => match came {
                Ok(reading) => news.push(Live::Reading(Box::new(reading))),
                Err(RecvError::Lagged(count)) => news.push(Live::Missed(count)),
                Err(RecvError::Closed) => return,
            },
            changed = sensors.changed() => match changed {
                Ok(()) => news = troubles.news(&sensors.borrow_and_update()),
                Err(_) => return,
            },
            // It says nothing; what can be read is its end.
            _ = to.readable() => if to.try_read(&mut [0; 64]).is_ok() { return },
        }
    }
}

async fn line(to: &mut UnixStream, live: &Live) -> bool {
    let Ok(mut text) = serde_json::to_vec(live) else {
        return true;
    };
    text.push(b'\n');
    matches!(timeout(TAKE, to.write_all(&text)).await, Ok(Ok(())))
}

/// Follows the agent of `data`; `None` when none runs that can be followed.
pub async fn connect(data: &Path) -> Option<UnixStream> {
    UnixStream::connect(path(data)).await.ok()
}

/// Gives what `from` tells, of `which` sensor or of all, to `to`, until the agent stops or nobody takes it.
///
/// # Errors
/// When the agent's socket says something that is none of its lines.
pub async fn follow(from: UnixStream, which: Option<&SensorId>, to: &mpsc::Sender<Live>) -> io::Result<()> {
    let mut from = BufReader::new(from);
    loop {
        let mut text = String::new();
        let read = (&mut from).take(LONGEST).read_line(&mut text).await?;
        if read == 0 {
            return Ok(());
        }
        let live: Live = serde_json::from_str(&text)?;
        if which.is_none_or(|sensor| live.concerns(sensor)) && to.send(live).await.is_err() {
            return Ok(());
        }
    }
}
