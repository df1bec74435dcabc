//! Shell: moves what waits in one outbox into another, for when a box changes the one that it sends from.
//!
//! Each step keeps records there and how far it came in one commit, and only then forgets them here: a power cut
//! between the two neither loses nor doubles one.

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::{Entry, Item, Lane};
use homeward_protocol::time::Timestamp;

use super::keeper::Outbox;
use super::sqlite::OutboxError;
use super::{Batch, Progress, Settled};

/// Moves everything; gives how many records, and how many that `from` had to give up before.
///
/// # Errors
/// When one of the two cannot be read or written: what was not moved stays where it is.
pub async fn carry(from: &Outbox, to: &Outbox, now: Timestamp) -> Result<(u64, u64), OutboxError> {
    let (mut moved, mut lost) = (0, 0);
    for lane in Lane::ALL {
        loop {
            let oldest = from.ledger().borrow().lane(lane).oldest;
            let Some(batch) = from.batch(lane, oldest, now).await? else {
                break;
            };
            let stream = format!("carried {} {lane}", batch.epoch);
            let done = to.progress(&stream).await?.map_or(0, |kept| number(&kept.cursor));
            let (items, given_up) = after(&batch, done);
            moved += items.len() as u64;
            lost += given_up;
            let progress = Progress {
                stream,
                cursor: batch.last.0.max(done).to_be_bytes().to_vec(),
                keys: Vec::new(),
            };
            to.keep(items, Some(progress), now).await?;
            forget(from, &batch, now).await?;
        }
    }
    Ok((moved, lost))
}

fn number(cursor: &[u8]) -> u64 {
    cursor.try_into().map_or(0, u64::from_be_bytes)
}

/// The records of a run after this number, and how many it states as lost.
fn after(batch: &Batch, done: u64) -> (Vec<Item>, u64) {
    let (mut items, mut lost) = (Vec::new(), 0);
    let mut seq = batch.first.0;
    for entry in &batch.entries {
        let span = entry.span();
        match entry {
            Entry::Item(body) if seq > done => match Item::decode(body) {
                Ok(item) => items.push(item),
                Err(error) => {
                    tracing::error!(error = %error, "a record that waited cannot be read, and stays behind");
                    lost += 1;
                }
            },
            Entry::Lost(_) if seq > done => lost += span,
            Entry::Item(_) | Entry::Lost(_) => {}
        }
        seq = seq.saturating_add(span);
    }
    (items, lost)
}

async fn forget(from: &Outbox, batch: &Batch, now: Timestamp) -> Result<(), OutboxError> {
    let ack = Ack {
        epoch: batch.epoch,
        lane: batch.lane,
        up_to: batch.last,
        next: Next::Continue,
    };
    match from.settle(ack, batch.epoch, now).await? {
        Settled::Deleted(_) => Ok(()),
        Settled::Ignored | Settled::Rebased | Settled::Later => {
            Err(OutboxError::Corrupt("what was moved cannot be forgotten"))
        }
    }
}

#[cfg(test)]
mod tests {
    use homeward_protocol::alarm::{Alarm, Condition};
    use homeward_protocol::id::{Epoch, Seq};

    use super::*;
    use crate::outbox::keeper::{Keeper, Place};

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn item(n: i64) -> Item {
        Item::Alarm(Alarm {
            condition: Condition::TpmSilent,
            sensor: None,
            active: true,
            at: NOW.plus_ms(n),
        })
    }

    async fn outbox(keeper: &Keeper, epoch: u64) -> Outbox {
        let opened = keeper.open(Place::Memory, 1 << 20, Epoch(epoch), NOW).await;
        opened.expect("opens").0
    }

    async fn held(outbox: &Outbox) -> Vec<Item> {
        let mut all = Vec::new();
        let mut next = Seq(1);
        while let Some(batch) = outbox.batch(Lane::Urgent, next, NOW).await.expect("reads") {
            all.extend(after(&batch, 0).0);
            next = batch.last.next();
        }
        all
    }

    #[tokio::test]
    async fn everything_is_moved_once_also_after_a_power_cut_in_between() {
        let keeper = Keeper::start().expect("a thread");
        let (from, to) = (outbox(&keeper, 1).await, outbox(&keeper, 2).await);
        to.push(vec![item(0)], NOW).await.expect("keeps");
        from.push((1..=300).map(item).collect(), NOW)
            .await
            .expect("keeps");
        // A run that came as far as the first commit, and was not forgotten here.
        let batch = from
            .batch(Lane::Urgent, Seq(1), NOW)
            .await
            .expect("reads")
            .expect("some");
        let (items, _) = after(&batch, 0);
        let first = u64::try_from(items.len()).expect("few");
        let progress = Progress {
            stream: format!("carried {} {}", batch.epoch, Lane::Urgent),
            cursor: batch.last.0.to_be_bytes().to_vec(),
            keys: Vec::new(),
        };
        to.keep(items, Some(progress), NOW).await.expect("keeps");
        let (moved, lost) = carry(&from, &to, NOW).await.expect("moves");
        assert_eq!((first + moved, lost), (300, 0));
        assert_eq!(held(&to).await, (0..=300).map(item).collect::<Vec<_>>());
        assert_eq!(from.ledger().borrow().items(), 0);
        assert_eq!(carry(&from, &to, NOW).await.expect("nothing is left"), (0, 0));
    }
}
