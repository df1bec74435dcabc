//! What vouches for stored readings: the signed envelopes that they came in, as they came.

use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{GatewayId, SensorId, Seq};

use super::streams::number;
use super::{Row, StoreError, Tx};

/// Outboxes of one gateway that are looked at: a box gets a new one when its disk is put back or exchanged.
const OUTBOXES: i64 = 1000;

/// Readings of one outbox.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// Which outbox, 16 hex digits.
    pub epoch: String,
    /// The first of them.
    pub from: Seq,
    /// The last of them.
    pub to: Seq,
    /// How many.
    pub readings: i64,
}

/// Where readings of a gateway stand, of one sensor or of all, taken from `from` on and before `until` (milliseconds
/// since 1970), by when they first arrived.
pub fn runs(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    sensor: Option<&SensorId>,
    (from, until): (i64, i64),
) -> Result<Vec<Run>, StoreError> {
    let rows = tx.rows(
        "SELECT epoch, MIN(seq), MAX(seq), COUNT(*) FROM readings
         WHERE gateway = $1 AND ($2 = '' OR sensor = $2) AND taken_at >= $3 AND taken_at < $4
         GROUP BY epoch ORDER BY MIN(received_at), epoch LIMIT $5",
        &[
            gateway.as_str().into(),
            sensor.map_or("", SensorId::as_str).into(),
            from.into(),
            until.into(),
            OUTBOXES.into(),
        ],
    )?;
    let run = |row: &Row| {
        Ok(Run {
            epoch: row.text(0)?.to_owned(),
            from: seq(row, 1)?,
            to: seq(row, 2)?,
            readings: row.int(3)?,
        })
    };
    rows.iter().map(run).collect()
}

/// Signed envelopes of one lane that hold anything from number `from` up to `to`, in order, each with its last
/// number; at most `limit`.
pub fn envelopes(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    (epoch, lane): (&str, Lane),
    (from, to): (Seq, Seq),
    limit: i64,
) -> Result<Vec<(Seq, Vec<u8>)>, StoreError> {
    let rows = tx.rows(
        "SELECT last_seq, signed FROM envelopes
         WHERE gateway = $1 AND epoch = $2 AND lane = $3 AND last_seq >= $4 AND first_seq <= $5
         ORDER BY last_seq LIMIT $6",
        &[
            gateway.as_str().into(),
            epoch.into(),
            lane.name().into(),
            number(from).into(),
            number(to).into(),
            limit.into(),
        ],
    )?;
    let envelope = |row: &Row| Ok((seq(row, 0)?, row.blob(1)?.to_vec()));
    rows.iter().map(envelope).collect()
}

fn seq(row: &Row, column: usize) -> Result<Seq, StoreError> {
    let number = u64::try_from(row.int(column)?);
    number.map(Seq).map_err(|e| row.corrupt(column, e))
}
