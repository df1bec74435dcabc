//! Shell: listens to the patient's button.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a device of the kernel, and waiting"
)]

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::time::Timestamp;
use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use super::{EVENT, Presses, placed, wish};
use crate::clock::Clock;
use crate::interlock::file::{self, HoldError};

/// A button that is not there, or a disk that takes nothing, is tried again after so long.
const AGAIN: Duration = Duration::from_secs(10);
/// Most events that are read at once.
const MOST: usize = 64;

/// Listens to one button.
pub struct Button {
    /// The data folder.
    pub data: PathBuf,
    /// The clocks.
    pub clock: Arc<Clock>,
    /// The kernel's device: `/dev/input/by-path/…`.
    pub device: PathBuf,
    /// How long a press asks for quiet.
    pub length: Duration,
}

impl Button {
    /// Runs until `stop`.
    pub async fn run(self, stop: CancellationToken) {
        let _stopped = stop.run_until_cancelled(self.listen()).await;
    }

    async fn listen(&self) {
        let mut is_missed = false;
        loop {
            let Err(error) = self.hear(&mut is_missed).await;
            if !is_missed {
                let device = self.device.display();
                error!(
                    "the patient's button {device} is not heard, and nobody can ask for quiet by it: {error}"
                );
                is_missed = true;
            }
            sleep(AGAIN).await;
        }
    }

    /// Hears it until it is gone.
    async fn hear(&self, is_missed: &mut bool) -> Result<std::convert::Infallible, io::Error> {
        let mut options = OpenOptions::new();
        let flags = i32::try_from(OFlags::NONBLOCK.bits()).unwrap_or_default();
        let file = options.read(true).custom_flags(flags).open(&self.device)?;
        // What is said of pipes holds for a device of keys, too: it can be waited for, and read.
        let mut device = Receiver::from_file_unchecked(file)?;
        if std::mem::take(is_missed) {
            info!("the patient's button is heard again");
        }
        let mut bytes = [0; EVENT * MOST];
        let mut heard = Presses::default();
        loop {
            // The kernel gives whole events only.
            let length = device.read(&mut bytes).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let events = bytes.get(..length).unwrap_or_default();
            if heard.hears(events, self.clock.uptime()) {
                self.pressed().await;
            }
        }
    }

    /// Insists until it is kept: a full disk is no reason not to have asked.
    async fn pressed(&self) {
        let now = self.clock.now();
        let mut is_said = false;
        loop {
            let (data, length) = (self.data.clone(), self.length);
            let place = move || -> Result<Timestamp, HoldError> {
                let (id, hold) = wish(now, length);
                let stands = file::all(&data, now)?.remove(&id);
                match placed(hold, stands.as_ref()) {
                    Some(hold) => file::place(&data, &id, &hold, now).map(|()| hold.until),
                    None => Ok(stands.map_or(now, |stands| stands.until)),
                }
            };
            match tokio::task::spawn_blocking(place).await {
                Ok(Ok(until)) => return info!("the patient's button was pressed: quiet until {until}"),
                Ok(Err(error)) if !is_said => {
                    error!("the patient's button was pressed, and quiet cannot be kept yet: {error}");
                    is_said = true;
                }
                _ => {}
            }
            sleep(AGAIN).await;
        }
    }
}
