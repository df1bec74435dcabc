//! Certificates issued to gateways. Their keys are also what signs envelopes.

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx};
use crate::ca::{Issued, Rank, Revoked, Serial};
use crate::ingest::open::Voice;

/// Most keys of one gateway that are still looked at: one a renewal that changed the key.
const KEYS: i64 = 16;
/// Most entries of a revocation list; beyond it the oldest are left to the deny list alone.
const LISTED: i64 = 50_000;

/// Whether a renewal came in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Timing {
    /// While the certificate before it was valid, or the first.
    InTime,
    /// After the certificate before it had ended.
    Late,
}

/// One certificate's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// Its number.
    pub serial: Serial,
    /// Whose it is.
    pub gateway: GatewayId,
    /// Its key.
    pub key: PublicKey,
    /// From when it is valid.
    pub not_before: Timestamp,
    /// Until when it is valid.
    pub not_after: Timestamp,
    /// When it was issued.
    pub issued_at: Timestamp,
    /// Whether that was in time.
    pub timing: Timing,
    /// The certificate itself.
    pub der: Vec<u8>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
}

/// Keeps one that was issued now.
pub fn add(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    issued: &Issued,
    timing: Timing,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO certificates (serial, gateway, point, not_before, not_after, issued_at, late, der, spare)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)",
        &[
            (&issued.serial.to_string()).into(),
            gateway.as_str().into(),
            issued.key.point().into(),
            issued.not_before.ms.into(),
            issued.not_after.ms.into(),
            now.ms.into(),
            i64::from(timing == Timing::Late).into(),
            issued.der.as_ref().into(),
            i64::from(issued.rank == Rank::Spare).into(),
        ],
    )?;
    Ok(())
}

/// The one of this number.
pub fn by_serial(tx: &mut dyn Tx, serial: Serial) -> Result<Option<Certificate>, StoreError> {
    let row = tx.row(
        "SELECT serial, gateway, point, not_before, not_after, issued_at, late, der, revoked_at
         FROM certificates WHERE serial = $1",
        &[(&serial.to_string()).into()],
    )?;
    row.as_ref().map(certificate).transpose()
}

/// Those over a gateway's own keys, newest first; at most `limit`.
pub fn of(tx: &mut dyn Tx, gateway: &GatewayId, limit: i64) -> Result<Vec<Certificate>, StoreError> {
    ranked(tx, gateway, 0, limit)
}

/// Those over its spare keys, newest first; at most `limit`.
pub fn spare_of(tx: &mut dyn Tx, gateway: &GatewayId, limit: i64) -> Result<Vec<Certificate>, StoreError> {
    ranked(tx, gateway, 1, limit)
}

fn ranked(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    spare: i64,
    limit: i64,
) -> Result<Vec<Certificate>, StoreError> {
    let rows = tx.rows(
        "SELECT serial, gateway, point, not_before, not_after, issued_at, late, der, revoked_at
         FROM certificates WHERE gateway = $1 AND spare = $2 ORDER BY issued_at DESC, serial LIMIT $3",
        &[gateway.as_str().into(), spare.into(), limit.into()],
    )?;
    rows.iter().map(certificate).collect()
}

/// Its own keys among [`voices`].
pub fn keys(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<PublicKey>, StoreError> {
    let voices = voices(tx, gateway)?;
    Ok(voices
        .into_iter()
        .filter_map(|voice| (!voice.spare).then_some(voice.key))
        .collect())
}

/// The keys of a gateway's certificates that were not revoked, newest first: what its envelopes may be signed with.
/// Age does not matter: what was signed last month and arrives today is still true.
pub fn voices(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<Voice>, StoreError> {
    let rows = tx.rows(
        "SELECT point, MAX(issued_at), MAX(spare) FROM certificates WHERE gateway = $1 AND revoked_at IS NULL
         GROUP BY point ORDER BY MAX(issued_at) DESC LIMIT $2",
        &[gateway.as_str().into(), KEYS.into()],
    )?;
    let voice = |row: &Row| {
        Ok(Voice {
            key: point(row, 0)?,
            spare: row.int(2)? != 0,
        })
    };
    rows.iter().map(voice).collect()
}

/// Whether a key is, or was, somebody's own: then it is nobody's spare one.
pub fn is_own(tx: &mut dyn Tx, key: &PublicKey) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT 1 FROM certificates WHERE point = $1 AND spare = 0 LIMIT 1",
        &[key.point().into()],
    )?;
    Ok(row.is_some())
}

/// How many were issued to a gateway since then, over its own keys.
pub fn issued_since(tx: &mut dyn Tx, gateway: &GatewayId, since: Timestamp) -> Result<i64, StoreError> {
    let row = tx.row(
        "SELECT COUNT(*) FROM certificates WHERE gateway = $1 AND issued_at >= $2 AND spare = 0",
        &[gateway.as_str().into(), since.ms.into()],
    )?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// Revokes a gateway's spare ones over other keys than this one; gives how many there were.
pub fn revoke_other_spares(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    keep: &PublicKey,
    now: Timestamp,
) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE certificates SET revoked_at = $1
         WHERE gateway = $2 AND point <> $3 AND spare = 1 AND revoked_at IS NULL",
        &[now.ms.into(), gateway.as_str().into(), keep.point().into()],
    )
}

/// Revokes one.
pub fn revoke(tx: &mut dyn Tx, serial: Serial, now: Timestamp) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE certificates SET revoked_at = $1 WHERE serial = $2 AND revoked_at IS NULL",
        &[now.ms.into(), (&serial.to_string()).into()],
    )
}

/// Revokes all of a gateway; gives how many there were.
pub fn revoke_of(tx: &mut dyn Tx, gateway: &GatewayId, now: Timestamp) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE certificates SET revoked_at = $1 WHERE gateway = $2 AND revoked_at IS NULL",
        &[now.ms.into(), gateway.as_str().into()],
    )
}

/// Revokes those of a gateway over other keys than this one; gives how many there were.
pub fn revoke_others(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    keep: &PublicKey,
    now: Timestamp,
) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE certificates SET revoked_at = $1 WHERE gateway = $2 AND point <> $3 AND revoked_at IS NULL",
        &[now.ms.into(), gateway.as_str().into(), keep.point().into()],
    )
}

/// Those revoked whose end is not before `ending_after`, newest first: the revocation list.
pub fn revoked(tx: &mut dyn Tx, ending_after: Timestamp) -> Result<Vec<Revoked>, StoreError> {
    let rows = tx.rows(
        "SELECT serial, revoked_at FROM certificates WHERE revoked_at IS NOT NULL AND not_after >= $1
         ORDER BY revoked_at DESC, serial LIMIT $2",
        &[ending_after.ms.into(), LISTED.into()],
    )?;
    let entry = |row: &Row| {
        Ok(Revoked {
            serial: row.parse(0)?,
            at: Timestamp::synced(row.int(1)?),
        })
    };
    rows.iter().map(entry).collect()
}

fn point(row: &Row, column: usize) -> Result<PublicKey, StoreError> {
    PublicKey::from_point(row.blob(column)?).ok_or_else(|| row.corrupt(column, "not a point of P-256"))
}

fn certificate(row: &Row) -> Result<Certificate, StoreError> {
    let timing = match row.int(6)? {
        0 => Timing::InTime,
        1 => Timing::Late,
        _ => return Err(row.corrupt(6, "neither 0 nor 1")),
    };
    Ok(Certificate {
        serial: row.parse(0)?,
        gateway: row.parse(1)?,
        key: point(row, 2)?,
        not_before: Timestamp::synced(row.int(3)?),
        not_after: Timestamp::synced(row.int(4)?),
        issued_at: Timestamp::synced(row.int(5)?),
        timing,
        der: row.blob(7)?.to_vec(),
        revoked_at: row.opt_int(8)?.map(Timestamp::synced),
    })
}
