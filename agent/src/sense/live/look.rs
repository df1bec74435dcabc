//! Shell: what comes live, on the terminal.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a terminal, a signal, and waiting"
)]

use std::future::Future;
use std::io::Write as _;
use std::time::Duration;

use homeward_protocol::reading::Reading;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::Live;
use crate::sense::shown;

/// After a first reading the others of the same moment come within this.
const SETTLE: Duration = Duration::from_millis(1500);
/// Something goes wrong; within this it may still become well.
const PATIENCE: Duration = Duration::from_secs(10);

/// Prints what `showing` sends to `from` until it ends, Ctrl-C, or nobody reads what is printed; the latter two cancel
/// `stop`, at which `showing` ends. As JSON one object a line.
///
/// # Errors
/// Those of `showing`.
pub async fn watch<E>(
    showing: impl Future<Output = Result<(), E>>,
    mut from: mpsc::Receiver<Live>,
    stop: &CancellationToken,
    json: bool,
) -> Result<(), E> {
    tokio::pin!(showing);
    let mut ended = None;
    loop {
        tokio::select! {
            live = from.recv() => match live {
                Some(live) => if !print(&live, json) { stop.cancel(); },
                None => return ended.unwrap_or(Ok(())),
            },
            result = &mut showing, if ended.is_none() => ended = Some(result),
            _ = tokio::signal::ctrl_c(), if !stop.is_cancelled() => stop.cancel(),
        }
    }
}

/// False when nobody reads it.
fn print(live: &Live, json: bool) -> bool {
    let mut out = std::io::stdout().lock();
    let written = match live {
        live if json => writeln!(out, "{}", serde_json::to_string(live).unwrap_or_default()),
        Live::Reading(reading) => writeln!(out, "{}", shown(reading)),
        Live::Trouble { sensor, said } => {
            let said = said.as_ref().map_or("well again", |said| said.as_str());
            eprintln!("{sensor}: {said}");
            Ok(())
        }
        Live::Missed(count) => {
            eprintln!("{count} readings came faster than they were shown");
            Ok(())
        }
    };
    written.and_then(|()| out.flush()).is_ok()
}

/// What a sensor sent next, and what went wrong with it last.
#[derive(Debug, Default)]
pub struct Next {
    /// All readings of one moment; none when none came in time.
    pub readings: Vec<Reading>,
    /// What goes wrong.
    pub trouble: Option<String>,
}

/// Waits at most `limit` for the next that `showing` sends to `from`, then cancels `stop`, at which `showing` ends.
///
/// # Errors
/// Those of `showing`.
pub async fn next<E>(
    showing: impl Future<Output = Result<(), E>>,
    mut from: mpsc::Receiver<Live>,
    stop: &CancellationToken,
    limit: Duration,
) -> Result<Next, E> {
    tokio::pin!(showing);
    let mut next = Next::default();
    let mut until = Instant::now() + limit;
    let mut ended = None;
    loop {
        tokio::select! {
            live = from.recv() => match live {
                Some(Live::Reading(reading)) => {
                    if next.readings.is_empty() {
                        until = Instant::now() + SETTLE;
                    }
                    next.readings.push(*reading);
                }
                Some(Live::Trouble { said, .. }) => {
                    next.trouble = said.map(|said| said.as_str().to_owned());
                    if next.readings.is_empty() && next.trouble.is_some() {
                        until = until.min(Instant::now() + PATIENCE);
                    }
                }
                Some(Live::Missed(_)) => {}
                None => return ended.unwrap_or(Ok(())).map(|()| next),
            },
            result = &mut showing, if ended.is_none() => ended = Some(result),
            () = sleep_until(until), if !stop.is_cancelled() => stop.cancel(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use homeward_protocol::posture::ShortText;

    /// A sensor that tells `lives` and then goes on until it is stopped.
    async fn telling(
        to: mpsc::Sender<Live>,
        lives: Vec<Live>,
        stop: CancellationToken,
    ) -> Result<(), String> {
        for live in lives {
            to.send(live).await.map_err(|e| e.to_string())?;
        }
        stop.cancelled().await;
        Ok(())
    }

    #[tokio::test]
    async fn without_a_reading_in_time_the_last_trouble_is_given() {
        let trouble = |said: Option<&str>| Live::Trouble {
            sensor: "clip".parse().expect("an id"),
            said: said.map(ShortText::cut),
        };
        for (lives, said) in [
            (vec![], None),
            (vec![trouble(Some("not paired"))], Some("not paired")),
            (vec![trouble(Some("lost")), trouble(None)], None),
        ] {
            let (to, from) = mpsc::channel(4);
            let stop = CancellationToken::new();
            let telling = telling(to, lives, stop.clone());
            let next = next(telling, from, &stop, Duration::from_millis(200)).await;
            let next = next.expect("ends well");
            assert_eq!((next.readings.len(), next.trouble.as_deref()), (0, said));
        }
    }

    #[tokio::test]
    async fn what_went_wrong_with_the_telling_is_its_error() {
        let (to, from) = mpsc::channel(4);
        let stop = CancellationToken::new();
        let failing = async move {
            drop(to);
            Err::<(), _>("no such sensor")
        };
        let failed = next(failing, from, &stop, Duration::from_mins(1)).await;
        assert_eq!(failed.expect_err("fails"), "no such sensor");
    }
}
