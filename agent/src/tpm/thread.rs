//! Shell: the thread that owns the TPM, and the handle by which everybody else asks it.
#![expect(clippy::disallowed_methods, reason = "shell: a thread that waits for the TPM")]

use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::Duration;

use tokio::sync::oneshot;

use super::chip::Chip;
use super::{Address, TpmError};

/// Requests that wait: a connect signs once, a challenge quotes once. More than these at a time is a fault.
const QUEUE: usize = 16;
/// How long somebody who cannot await may wait. A handshake's peer gives up about then.
const PATIENCE: Duration = Duration::from_secs(20);

type Job = Box<dyn FnOnce(&mut Chip) + Send>;

/// The way to the box's TPM. Clones lead to the same one.
#[derive(Clone)]
pub struct Tpm {
    jobs: SyncSender<Job>,
}

impl Tpm {
    /// Starts the thread; the chip is opened at the first request. The thread ends with the last handle.
    pub fn start(at: Address) -> std::io::Result<Tpm> {
        Tpm::with(Chip::new(at))
    }

    /// The same over a chip that is there already.
    pub fn with(chip: Chip) -> std::io::Result<Tpm> {
        let (jobs, inbox) = sync_channel(QUEUE);
        std::thread::Builder::new()
            .name("tpm".into())
            .spawn(move || serve(&inbox, chip))?;
        Ok(Tpm { jobs })
    }

    /// Has `work` done, and waits without holding a thread of the runtime.
    pub async fn call<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chip) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let (reply, answer) = oneshot::channel();
        self.queue(Box::new(move |chip| {
            let _nobody = reply.send(work(chip));
        }))?;
        answer.await.map_err(|_| TpmError::Silent)?
    }

    /// Has `work` done, and waits on this thread, at most twenty seconds. Not for threads of the runtime.
    pub fn wait<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Chip) -> Result<T, TpmError> + Send + 'static,
    ) -> Result<T, TpmError> {
        let (reply, answer) = sync_channel(1);
        self.queue(Box::new(move |chip| {
            let _nobody = reply.send(work(chip));
        }))?;
        answer.recv_timeout(PATIENCE).map_err(|_| TpmError::Silent)?
    }

    fn queue(&self, job: Job) -> Result<(), TpmError> {
        self.jobs.try_send(job).map_err(|error| match error {
            TrySendError::Full(_) => TpmError::Busy("one request more"),
            TrySendError::Disconnected(_) => TpmError::Silent,
        })
    }
}

impl std::fmt::Debug for Tpm {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tpm")
    }
}

fn serve(inbox: &Receiver<Job>, mut chip: Chip) {
    while let Ok(job) = inbox.recv() {
        job(&mut chip);
    }
}
