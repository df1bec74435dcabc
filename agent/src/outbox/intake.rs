//! Shell: takes what the sensors bring and keeps it, several lots in one commit.

use std::sync::Arc;

use homeward_protocol::envelope::Item;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::keeper::Outbox;
use super::sqlite::OutboxError;
use crate::clock::Clock;

/// Lots taken together: what a slow disk lets pile up while it commits.
const LOTS: usize = 64;

/// Keeps records until `stop`, then what was sent before it, and ends. Ends with an error only when the outbox
/// cannot be used any more.
pub async fn run(
    mut records: mpsc::Receiver<Vec<Item>>,
    outbox: Outbox,
    clock: Arc<Clock>,
    stop: CancellationToken,
) -> Result<(), OutboxError> {
    let mut refused = false;
    let mut lots = Vec::new();
    loop {
        let got = tokio::select! {
            biased;
            got = records.recv_many(&mut lots, LOTS) => got,
            () = stop.cancelled(), if !records.is_closed() => {
                records.close();
                continue;
            }
        };
        if got == 0 {
            return Ok(());
        }
        let items = lots.drain(..).flatten().collect();
        match outbox.push(items, clock.now()).await {
            Ok(()) => refused = false,
            Err(error @ OutboxError::DiskRefused { .. }) => {
                // Once, not at each record: it may last for hours.
                if !refused {
                    tracing::error!(error = %error, "{error}");
                }
                refused = true;
            }
            Err(OutboxError::Encode(error)) => {
                tracing::error!(error = %error, "a record could not be encoded");
            }
            Err(error) => return Err(error),
        }
    }
}
