//! Streams (one lane of one outbox of one gateway) and the envelopes they came in, signed as they came.

use homeward_protocol::envelope::{ChainHash, Envelope, Lane};
use homeward_protocol::id::{Epoch, GatewayId, Seq};
use homeward_protocol::signed::Signed;

use super::records::{Origin, Past};
use super::{Row, StoreError, Tx};
use crate::ingest::{Arrived, Cause, Gap, Known, Stream};

/// How far a stream is stored, and whether its gateway had other outboxes.
pub(super) fn find(tx: &mut dyn Tx, at: &Origin<'_>) -> Result<(Option<Stream>, Past), StoreError> {
    let rows = tx.rows(
        "SELECT up_to, head, closed,
            (SELECT count(*) FROM (SELECT 1 FROM streams o WHERE o.gateway = $1 AND o.epoch <> $2 LIMIT 1) other)
         FROM streams WHERE gateway = $1 AND epoch = $2 AND lane = $3",
        &[at.gateway.into(), at.epoch.into(), at.lane.name().into()],
    )?;
    if let Some(row) = rows.first() {
        return Ok((Some(stream(row, 0)?), Past::of(row.int(3)? > 0)));
    }
    let other = tx.row(
        "SELECT epoch FROM streams WHERE gateway = $1 AND epoch <> $2 LIMIT 1",
        &[at.gateway.into(), at.epoch.into()],
    )?;
    Ok((None, Past::of(other.is_some())))
}

fn stream(row: &Row, column: usize) -> Result<Stream, StoreError> {
    let head = ChainHash::from_slice(row.blob(column + 1)?);
    Ok(Stream {
        up_to: seq(row, column)?,
        head: head.ok_or_else(|| row.corrupt(column + 1, "not 32 bytes"))?,
        closed: row.int(column + 2)? != 0,
    })
}

fn seq(row: &Row, column: usize) -> Result<Seq, StoreError> {
    let number = u64::try_from(row.int(column)?);
    number.map(Seq).map_err(|_| row.corrupt(column, "below zero"))
}

/// A number as the tables have it; [`Envelope`]'s own check holds it below 2^63.
pub(super) fn number(seq: Seq) -> i64 {
    i64::try_from(seq.0).unwrap_or(i64::MAX)
}

/// Whether a spare key began this outbox; nothing when nobody has.
pub(super) fn is_spare(tx: &mut dyn Tx, at: &Origin<'_>) -> Result<Option<bool>, StoreError> {
    let row = tx.row(
        "SELECT spare FROM streams WHERE gateway = $1 AND epoch = $2 LIMIT 1",
        &[at.gateway.into(), at.epoch.into()],
    )?;
    row.map(|row| Ok(row.int(0)? != 0)).transpose()
}

/// Moves a stream on from where it was found. Another process that moved it meanwhile is a conflict: nothing of the
/// envelope is kept, and the gateway sends it again.
pub(super) fn put(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    from: Option<&Stream>,
    to: &Stream,
) -> Result<(), StoreError> {
    let sql = if from.is_some() {
        "UPDATE streams SET up_to = $1, head = $2, updated_at = $3
         WHERE gateway = $4 AND epoch = $5 AND lane = $6 AND up_to = $7"
    } else {
        "INSERT INTO streams (up_to, head, started_at, updated_at, gateway, epoch, lane, spare)
         VALUES ($1, $2, $3, $3, $4, $5, $6, $7)"
    };
    let mut with = vec![
        number(to.up_to).into(),
        to.head.0.as_slice().into(),
        at.now.ms.into(),
        at.gateway.into(),
        at.epoch.into(),
        at.lane.name().into(),
    ];
    with.push(
        from.map_or(i64::from(at.spare), |stream| number(stream.up_to))
            .into(),
    );
    if tx.execute(sql, &with)? == 1 {
        Ok(())
    } else {
        Err(StoreError::Conflict(
            "another process moved this stream on".into(),
        ))
    }
}

pub(super) fn close(tx: &mut dyn Tx, at: &Origin<'_>) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE streams SET closed = 1 WHERE gateway = $1 AND epoch = $2 AND lane = $3",
        &[at.gateway.into(), at.epoch.into(), at.lane.name().into()],
    )?;
    Ok(())
}

pub(super) fn keep_envelope(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    arrived: &Arrived,
    signed: &[u8],
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO envelopes (gateway, epoch, lane, first_seq, last_seq, received_at, signed)
         VALUES ($1, $2, $3, $4, $5, $6, $7) ON CONFLICT DO NOTHING",
        &[
            at.gateway.into(),
            at.epoch.into(),
            at.lane.name().into(),
            number(arrived.first()).into(),
            number(arrived.last()).into(),
            at.now.ms.into(),
            signed.into(),
        ],
    )?;
    Ok(())
}

/// What is stored in the place of an envelope; nothing is read when it is all new.
pub(super) fn known(
    tx: &mut dyn Tx,
    at: &Origin<'_>,
    arrived: &Arrived,
    stream: Option<&Stream>,
) -> Result<Known, StoreError> {
    let mut known = Known::default();
    if arrived.overlaps(stream) {
        known.gaps = gaps_between(tx, at, arrived.first(), arrived.last())?;
    }
    if let Some(seq) = arrived.wants(stream) {
        known.covering = covering(tx, at, seq)?;
    }
    Ok(known)
}

fn gaps_between(tx: &mut dyn Tx, at: &Origin<'_>, first: Seq, last: Seq) -> Result<Vec<Gap>, StoreError> {
    let rows = tx.rows(
        "SELECT from_seq, to_seq, missing, cause FROM gaps
         WHERE gateway = $1 AND epoch = $2 AND lane = $3 AND to_seq >= $4 AND from_seq <= $5 LIMIT 1000",
        &[
            at.gateway.into(),
            at.epoch.into(),
            at.lane.name().into(),
            number(first).into(),
            number(last).into(),
        ],
    )?;
    let gap = |row: &Row| {
        Ok(Gap {
            from: seq(row, 0)?,
            to: seq(row, 1)?,
            missing: seq(row, 2)?.0,
            cause: Cause::from_name(row.text(3)?).ok_or_else(|| row.corrupt(3, "not a cause"))?,
        })
    };
    rows.iter().map(gap).collect()
}

/// The stored envelope that covers number `seq`.
fn covering(tx: &mut dyn Tx, at: &Origin<'_>, seq: Seq) -> Result<Option<Arrived>, StoreError> {
    let row = tx.row(
        "SELECT signed FROM envelopes WHERE gateway = $1 AND epoch = $2 AND lane = $3 AND last_seq >= $4
         ORDER BY last_seq LIMIT 1",
        &[
            at.gateway.into(),
            at.epoch.into(),
            at.lane.name().into(),
            number(seq).into(),
        ],
    )?;
    row.map(|row| unpack(&row, 0)).transpose()
}

fn unpack(row: &Row, column: usize) -> Result<Arrived, StoreError> {
    let envelope = Signed::<Envelope>::parse(row.blob(column)?).and_then(|signed| signed.unverified());
    Ok(Arrived::new(envelope.map_err(|e| row.corrupt(column, e))?))
}

pub(super) fn gaps(tx: &mut dyn Tx, at: &Origin<'_>, gaps: &[Gap]) -> Result<(), StoreError> {
    for gap in gaps {
        tx.execute(
            "INSERT INTO gaps (gateway, epoch, lane, from_seq, to_seq, missing, cause, noted_at)
             VALUES ($1, $2, $3, $4, $5, $6, $7, $8) ON CONFLICT DO NOTHING",
            &[
                at.gateway.into(),
                at.epoch.into(),
                at.lane.name().into(),
                number(gap.from).into(),
                number(gap.to).into(),
                number(Seq(gap.missing)).into(),
                gap.cause.name().into(),
                at.now.ms.into(),
            ],
        )?;
    }
    Ok(())
}

/// One stream's name and state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Whose.
    pub gateway: GatewayId,
    /// Which outbox.
    pub epoch: Epoch,
    /// Which lane.
    pub lane: Lane,
    /// How far it is stored.
    pub stream: Stream,
}

/// Streams after `after` in the order of their names; at most `limit`.
pub fn list(tx: &mut dyn Tx, after: Option<&Named>, limit: i64) -> Result<Vec<Named>, StoreError> {
    let (gateway, epoch, lane) = after.map_or((String::new(), String::new(), ""), |named| {
        (
            named.gateway.to_string(),
            named.epoch.to_string(),
            named.lane.name(),
        )
    });
    let rows = tx.rows(
        "SELECT gateway, epoch, lane, up_to, head, closed FROM streams WHERE (gateway, epoch, lane) > ($1, $2, $3)
         ORDER BY gateway, epoch, lane LIMIT $4",
        &[(&gateway).into(), (&epoch).into(), lane.into(), limit.into()],
    )?;
    rows.iter().map(named).collect()
}

fn named(row: &Row) -> Result<Named, StoreError> {
    let epoch = u64::from_str_radix(row.text(1)?, 16);
    Ok(Named {
        gateway: row.parse(0)?,
        epoch: Epoch(epoch.map_err(|e| row.corrupt(1, e))?),
        lane: Lane::from_name(row.text(2)?).ok_or_else(|| row.corrupt(2, "not a lane"))?,
        stream: stream(row, 3)?,
    })
}

/// Stored envelopes of a stream that end after number `after`, in order, taken apart; at most `limit`.
pub fn envelopes(tx: &mut dyn Tx, of: &Named, after: Seq, limit: i64) -> Result<Vec<Arrived>, StoreError> {
    let rows = tx.rows(
        "SELECT signed FROM envelopes WHERE gateway = $1 AND epoch = $2 AND lane = $3 AND last_seq > $4
         ORDER BY last_seq LIMIT $5",
        &[
            of.gateway.as_str().into(),
            (&of.epoch.to_string()).into(),
            of.lane.name().into(),
            number(after).into(),
            limit.into(),
        ],
    )?;
    rows.iter().map(|row| unpack(row, 0)).collect()
}

/// Whether a gap or a fault of a stream is on record that begins at number `from`.
pub fn gap_stands(tx: &mut dyn Tx, of: &Named, from: Seq) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT cause FROM gaps WHERE gateway = $1 AND epoch = $2 AND lane = $3 AND from_seq = $4 LIMIT 1",
        &[
            of.gateway.as_str().into(),
            (&of.epoch.to_string()).into(),
            of.lane.name().into(),
            number(from).into(),
        ],
    )?;
    Ok(row.is_some())
}
