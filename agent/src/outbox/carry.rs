//! Shell: moves what waits in one outbox into another, for when a box changes the one that it sends from.
//!
//! Each step keeps records there and how far it came in one commit, and only then forgets them here: a power cut
//! between the two neither loses nor doubles one.

use homeward_protocol::ack::{Ack, Next};
use homeward_protocol::envelope::{Entry, Lane};
use homeward_protocol::id::{Epoch, SensorId};
use homeward_protocol::time::Timestamp;

use super::keeper::Outbox;
use super::sqlite::OutboxError;
use super::{Batch, Progress, Settled};

/// Moves everything, also how far the memories of these sensors were taken; gives how many records, and how many that
/// `from` had given up before. These are stated in `to`. Afterwards `from` holds nothing.
///
/// # Errors
/// When one of the two cannot be read or written: what was not moved stays where it is.
pub async fn carry(
    from: &Outbox,
    to: &Outbox,
    sensors: &[SensorId],
    now: Timestamp,
) -> Result<(u64, u64), OutboxError> {
    memories(from, to, sensors, now).await?;
    let (mut moved, mut lost) = (0, 0);
    // Forgetting the last loss of one lane may write the end of its alarm into another.
    while let Some(lane) = filled(from) {
        let oldest = from.ledger().borrow().lane(lane).oldest;
        let batch = from.batch(lane, oldest, now).await?;
        let batch = batch.ok_or(OutboxError::Corrupt("what it holds cannot be moved"))?;
        let stream = format!("carried {} {lane}", batch.epoch);
        let done = to.progress(&stream).await?.map_or(0, |kept| number(&kept.cursor));
        let entries = after(&batch, done);
        for (_, entry) in &entries {
            match entry {
                Entry::Item(_) => moved += 1,
                Entry::Lost(gone) => lost += gone.count,
            }
        }
        let progress = mark(stream, batch.last.0.max(done));
        to.take(entries, Some(progress), now).await?;
        forget(from, &batch, now).await?;
    }
    Ok((moved, lost))
}

/// Once in the life of `from`: while some of it stays, the sensors go on in `to`.
async fn memories(
    from: &Outbox,
    to: &Outbox,
    sensors: &[SensorId],
    now: Timestamp,
) -> Result<(), OutboxError> {
    let Epoch(epoch) = from.ledger().borrow().epoch;
    let stream = "carried memories".to_owned();
    if to
        .progress(&stream)
        .await?
        .is_some_and(|kept| number(&kept.cursor) == epoch)
    {
        return Ok(());
    }
    for sensor in sensors {
        if let Some(progress) = from.progress(sensor.as_str()).await? {
            to.take(Vec::new(), Some(progress), now).await?;
        }
    }
    to.take(Vec::new(), Some(mark(stream, epoch)), now).await
}

fn mark(stream: String, number: u64) -> Progress {
    Progress {
        stream,
        cursor: number.to_be_bytes().to_vec(),
        keys: Vec::new(),
    }
}

fn number(cursor: &[u8]) -> u64 {
    cursor.try_into().map_or(0, u64::from_be_bytes)
}

/// The most important lane that holds something, be it a loss.
fn filled(outbox: &Outbox) -> Option<Lane> {
    let ledger = *outbox.ledger().borrow();
    Lane::ALL.into_iter().find(|lane| !ledger.lane(*lane).is_empty())
}

/// The entries of a run after this number.
fn after(batch: &Batch, done: u64) -> Vec<(Lane, Entry)> {
    let mut seq = batch.first.0;
    let is_new = |entry: &&Entry| {
        let new = seq > done;
        seq = seq.saturating_add(entry.span());
        new
    };
    let new = batch.entries.iter().filter(is_new);
    new.map(|entry| (batch.lane, entry.clone())).collect()
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
    use homeward_protocol::envelope::{Item, LossCause};
    use homeward_protocol::id::Seq;
    use homeward_protocol::wire::Bytes;

    use super::*;
    use crate::outbox::keeper::{Keeper, Place};

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);
    const ROOM: u64 = 1 << 20;

    fn item(n: i64) -> Item {
        alarm(Condition::TpmSilent, true, n)
    }

    fn alarm(condition: Condition, active: bool, n: i64) -> Item {
        Item::Alarm(Alarm {
            condition,
            sensor: None,
            active,
            at: NOW.plus_ms(n),
        })
    }

    /// What may stand in any lane: the outbox looks into no body.
    fn body(n: u64) -> Entry {
        Entry::Item(Bytes(n.to_be_bytes().to_vec()))
    }

    async fn outbox(keeper: &Keeper, epoch: u64, quota: u64) -> Outbox {
        let opened = keeper.open(Place::Memory, quota, Epoch(epoch), NOW).await;
        opened.expect("opens").0
    }

    async fn held(outbox: &Outbox, lane: Lane) -> Vec<Entry> {
        let mut all = Vec::new();
        let mut next = Seq(1);
        while let Some(batch) = outbox.batch(lane, next, NOW).await.expect("reads") {
            all.extend(batch.entries);
            next = batch.last.next();
        }
        all
    }

    fn items(entries: &[Entry]) -> Vec<Item> {
        let item = |entry: &Entry| match entry {
            Entry::Item(body) => Item::decode(body).ok(),
            Entry::Lost(_) => None,
        };
        entries.iter().filter_map(item).collect()
    }

    #[tokio::test]
    async fn everything_is_moved_once_also_after_a_power_cut_in_between() {
        let keeper = Keeper::start().expect("a thread");
        let (from, to) = (outbox(&keeper, 1, ROOM).await, outbox(&keeper, 2, ROOM).await);
        to.push(vec![item(0)], NOW).await.expect("keeps");
        from.push((1..=300).map(item).collect(), NOW)
            .await
            .expect("keeps");
        // A run that came as far as the first commit, and was not forgotten here.
        let batch = from.batch(Lane::Urgent, Seq(1), NOW).await;
        let batch = batch.expect("reads").expect("some");
        let entries = after(&batch, 0);
        let first = u64::try_from(entries.len()).expect("few");
        let progress = mark(format!("carried {} {}", batch.epoch, Lane::Urgent), batch.last.0);
        to.take(entries, Some(progress), NOW).await.expect("keeps");
        let (moved, lost) = carry(&from, &to, &[], NOW).await.expect("moves");
        assert_eq!((first + moved, lost), (300, 0));
        let all = items(&held(&to, Lane::Urgent).await);
        assert_eq!(all, (0..=300).map(item).collect::<Vec<_>>());
        assert_eq!(filled(&from), None);
        assert_eq!(
            carry(&from, &to, &[], NOW).await.expect("nothing is left"),
            (0, 0)
        );
    }

    #[tokio::test]
    async fn all_lanes_are_moved_with_what_was_given_up_and_what_nobody_can_read() {
        let keeper = Keeper::start().expect("a thread");
        let (from, to) = (outbox(&keeper, 1, 60_000).await, outbox(&keeper, 2, ROOM).await);
        for n in 0..300 {
            let entries = Lane::ALL.map(|lane| (lane, body(n))).to_vec();
            from.take(entries, None, NOW).await.expect("keeps");
        }
        let before = *from.ledger().borrow();
        assert!(before.losing && before.lost > 0, "it was too much for it");
        let (moved, lost) = carry(&from, &to, &[], NOW).await.expect("moves");
        assert_eq!(lost, before.lost);
        assert_eq!(moved, before.items() + 1, "and the end of its alarm");
        assert_eq!(filled(&from), None, "also the end of its alarm was moved");
        let mut stated = 0;
        for lane in Lane::ALL {
            for entry in held(&to, lane).await {
                if let Entry::Lost(gone) = entry {
                    assert_eq!(gone.cause, LossCause::Quota);
                    stated += gone.count;
                }
            }
        }
        let after = *to.ledger().borrow();
        assert_eq!((stated, after.lost), (before.lost, before.lost));
        assert!(after.losing, "and says so itself");
        let alarms = items(&held(&to, Lane::Urgent).await);
        let ends = |active| {
            let is = |item: &&Item| matches!(item, Item::Alarm(alarm) if alarm.active == active);
            alarms.iter().filter(is).count()
        };
        assert_eq!((ends(true), ends(false)), (2, 1), "of both, and the end of one");
    }

    #[tokio::test]
    async fn how_far_a_sensor_was_read_is_moved_once() {
        let keeper = Keeper::start().expect("a thread");
        let (from, to) = (outbox(&keeper, 1, ROOM).await, outbox(&keeper, 2, ROOM).await);
        let sensor: SensorId = "meter".parse().expect("a name");
        let far = |far| mark("meter".to_owned(), far);
        let sensors = std::slice::from_ref(&sensor);
        from.take(Vec::new(), Some(far(5)), NOW).await.expect("keeps");
        carry(&from, &to, sensors, NOW).await.expect("moves");
        assert_eq!(to.progress("meter").await.expect("reads"), Some(far(5)));
        // It was not finished, and the sensor went on meanwhile.
        to.take(Vec::new(), Some(far(9)), NOW).await.expect("keeps");
        carry(&from, &to, sensors, NOW).await.expect("moves");
        assert_eq!(to.progress("meter").await.expect("reads"), Some(far(9)));
        // Another time of the spare key.
        let later = outbox(&keeper, 3, ROOM).await;
        later.take(Vec::new(), Some(far(12)), NOW).await.expect("keeps");
        carry(&later, &to, sensors, NOW).await.expect("moves");
        assert_eq!(to.progress("meter").await.expect("reads"), Some(far(12)));
    }
}
