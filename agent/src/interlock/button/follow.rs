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

use rustix::fs::OFlags;
use tokio::io::AsyncReadExt as _;
use tokio::net::unix::pipe::Receiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::{EVENT, presses, wish};
use crate::clock::Clock;
use crate::interlock::file;

/// A button that is not there is looked for again after so long.
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
        loop {
            // The kernel gives whole events only.
            let length = device.read(&mut bytes).await?;
            if length == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            if presses(bytes.get(..length).unwrap_or_default()) > 0 {
                self.pressed().await;
            }
        }
    }

    async fn pressed(&self) {
        let (now, data) = (self.clock.now(), self.data.clone());
        let (id, hold) = wish(now, self.length);
        let until = hold.until;
        let place = move || file::place(&data, &id, &hold, now);
        match tokio::task::spawn_blocking(place).await {
            Ok(Ok(())) => info!("the patient's button was pressed: quiet until {until}"),
            Ok(Err(error)) => warn!("the patient's button was pressed, and quiet could not be kept: {error}"),
            Err(error) => warn!("the patient's button was pressed, and quiet could not be kept: {error}"),
        }
    }
}
