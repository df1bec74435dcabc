//! What is to be told to people outside the console, and how far that is.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx};
use crate::notify::{Message, Notice, Way, wait};

/// Writes a message down for these ways; sending begins at once.
pub fn put(
    tx: &mut dyn Tx,
    about: &str,
    message: &Message,
    ways: &[Way],
    now: Timestamp,
) -> Result<(), StoreError> {
    for way in ways {
        let id = format!("{about}-{}", way.name());
        tx.execute(
            "INSERT INTO notices (id, about, way, gateway, person, subject, body, made_at, next_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)",
            &[
                id.as_str().into(),
                about.into(),
                way.name().into(),
                message.gateway.as_ref().map(GatewayId::as_str).into(),
                message.person.as_str().into(),
                message.subject.as_str().into(),
                message.body.as_str().into(),
                now.ms.into(),
            ],
        )?;
    }
    Ok(())
}

/// Whether one is to be tried now: the cheap question before [`take`].
pub fn any_due(tx: &mut dyn Tx, now: Timestamp) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT id FROM notices WHERE next_at IS NOT NULL AND (next_at <= $1 OR next_at > $2) LIMIT 1",
        &[now.ms.into(), now.plus_ms(FURTHEST_MS).ms.into()],
    )?;
    Ok(row.is_some())
}

/// Takes those that are to be tried now, the oldest first, and notes the try: whatever becomes of it, the next one is
/// due after a wait. One whose next try lies further ahead than any wait is tried, too: the clock was set back.
pub fn take(tx: &mut dyn Tx, limit: i64, now: Timestamp) -> Result<Vec<Notice>, StoreError> {
    let rows = tx.rows(
        "SELECT id, about, way, gateway, person, subject, body, made_at, tries FROM notices
         WHERE next_at IS NOT NULL AND (next_at <= $1 OR next_at > $2) ORDER BY next_at, id LIMIT $3",
        &[now.ms.into(), now.plus_ms(FURTHEST_MS).ms.into(), limit.into()],
    )?;
    let taken: Vec<Notice> = rows.iter().map(notice).collect::<Result<_, _>>()?;
    for one in &taken {
        let wait = wait(one.tries).unwrap_or(LAST);
        let next = now.plus_ms(i64::try_from(wait.as_millis()).unwrap_or(FURTHEST_MS));
        tx.execute(
            "UPDATE notices SET tries = $1, next_at = $2 WHERE id = $3",
            &[
                i64::from(one.tries).into(),
                next.ms.into(),
                one.id.as_str().into(),
            ],
        )?;
    }
    Ok(taken)
}

/// No wait is longer.
const FURTHEST_MS: i64 = 2 * 3_600_000;
/// After the last try: for the case that the process ends before it knows what came of it.
const LAST: std::time::Duration = std::time::Duration::from_hours(1);

/// Notes that one is out.
pub fn sent(tx: &mut dyn Tx, id: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE notices SET sent_at = $1, next_at = NULL WHERE id = $2",
        &[now.ms.into(), id.into()],
    )?;
    Ok(())
}

/// Notes that one is not tried any more; true when its message got out on no way, and none is tried any more.
pub fn give_up(tx: &mut dyn Tx, notice: &Notice) -> Result<bool, StoreError> {
    tx.execute(
        "UPDATE notices SET next_at = NULL WHERE id = $1",
        &[notice.id.as_str().into()],
    )?;
    let hope = tx.row(
        "SELECT id FROM notices WHERE about = $1 AND (sent_at IS NOT NULL OR next_at IS NOT NULL) LIMIT 1",
        &[notice.about.as_str().into()],
    )?;
    Ok(hope.is_none())
}

fn notice(row: &Row) -> Result<Notice, StoreError> {
    let tries = u32::try_from(row.int(8)?).map_err(|e| row.corrupt(8, e))?;
    Ok(Notice {
        id: row.text(0)?.to_owned(),
        about: row.text(1)?.to_owned(),
        way: row.parse(2)?,
        message: Message {
            gateway: row.opt_text(3)?.is_some().then(|| row.parse(3)).transpose()?,
            person: row.text(4)?.to_owned(),
            subject: row.text(5)?.to_owned(),
            body: row.text(6)?.to_owned(),
        },
        made_at: Timestamp::synced(row.int(7)?),
        tries: tries.saturating_add(1),
    })
}
