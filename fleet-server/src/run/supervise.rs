//! Shell: all long tasks of the server as one: the first to end, for any reason, stops the rest.
#![expect(clippy::disallowed_methods, reason = "shell: starts the server's long tasks")]

use std::fmt::Display;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::RunError;

/// How long open work may take to end after the server was asked to stop.
const GRACE: Duration = Duration::from_secs(4);

/// The long tasks, each with its name.
pub(super) struct Parts {
    tasks: JoinSet<(&'static str, Result<(), String>)>,
    stop: CancellationToken,
}

impl Parts {
    /// None yet; `stop` is what asks them to end.
    pub(super) fn new(stop: CancellationToken) -> Parts {
        let tasks = JoinSet::new();
        Parts { tasks, stop }
    }

    /// Starts one.
    pub(super) fn start<E: Display>(
        &mut self,
        name: &'static str,
        work: impl Future<Output = Result<(), E>> + Send + 'static,
    ) {
        self.tasks
            .spawn(async move { (name, work.await.map_err(|e| e.to_string())) });
    }

    /// Starts one that only ends well.
    pub(super) fn start_sure(&mut self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        self.tasks.spawn(async move {
            work.await;
            (name, Ok(()))
        });
    }

    /// Starts a watch over something whose end is the end of the server; `died` says why.
    pub(super) fn watch<E: Display>(
        &mut self,
        name: &'static str,
        died: impl Future<Output = E> + Send + 'static,
    ) {
        let stop = self.stop.clone();
        self.tasks.spawn(async move {
            let ended = stop.run_until_cancelled(died).await;
            (name, ended.map_or(Ok(()), |why| Err(why.to_string())))
        });
    }

    /// Waits for the first to end, stops the rest, and gives them [`GRACE`].
    pub(super) async fn run(mut self) -> Result<(), RunError> {
        let first = self.tasks.join_next().await;
        let asked = self.stop.is_cancelled();
        self.stop.cancel();
        let _ = sd_notify::notify(&[sd_notify::NotifyState::Stopping]);
        let outcome = match first {
            Some(Ok((_, Ok(())))) if asked => Ok(()),
            Some(Ok((part, Ok(())))) => Err(RunError::Part {
                part,
                why: "without being asked".into(),
            }),
            Some(Ok((part, Err(why)))) => Err(RunError::Part { part, why }),
            Some(Err(panic)) => Err(RunError::Part {
                part: "a task",
                why: panic.to_string(),
            }),
            None => Ok(()),
        };
        let rest = async {
            while let Some(ended) = self.tasks.join_next().await {
                if let Ok((part, Err(why))) = ended {
                    warn!(part.name = part, "{part} did not end well: {why}");
                }
            }
        };
        if tokio::time::timeout(GRACE, rest).await.is_err() {
            warn!(
                "some work did not end within {} s and was cut off",
                GRACE.as_secs()
            );
        }
        if let Err(failed) = &outcome {
            error!("the server stops: {failed}");
        } else {
            info!("the server has stopped");
        }
        outcome
    }
}

/// The two signals that ask the server to stop. Installed before anything else, so that one that comes early counts.
pub(super) struct Signals {
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    /// Installs the handlers.
    pub(super) fn install() -> Result<Signals, RunError> {
        let on = |kind| {
            signal(kind).map_err(|e| RunError::Process {
                step: "install a signal handler",
                why: e.to_string(),
            })
        };
        Ok(Signals {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
        })
    }

    /// Waits for one of them, or for another reason to stop, and passes it on.
    pub(super) async fn wait(mut self, stop: CancellationToken) {
        tokio::select! {
            _ = self.terminate.recv() => info!("asked to stop"),
            _ = self.interrupt.recv() => info!("interrupted"),
            () = stop.cancelled() => {}
        }
        stop.cancel();
    }
}
