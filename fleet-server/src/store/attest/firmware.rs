//! Firmware values of gateways: what was accepted, and what was seen since.

use std::collections::BTreeMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::bytes;
use crate::attest::baseline::{Baseline, Change};
use crate::store::{Row, StoreError, Tx};

/// The accepted values.
pub fn baseline(tx: &mut dyn Tx, id: &GatewayId) -> Result<Baseline, StoreError> {
    let rows = tx.rows(
        "SELECT register, accepted FROM baselines WHERE gateway = $1 AND accepted IS NOT NULL ORDER BY register",
        &[id.as_str().into()],
    )?;
    let one = |row: &Row| Ok((register(row)?, bytes(row, 1)?.unwrap_or_default()));
    let all: Result<BTreeMap<u8, [u8; 32]>, StoreError> = rows.iter().map(one).collect();
    all.map(Baseline)
}

fn register(row: &Row) -> Result<u8, StoreError> {
    u8::try_from(row.int(0)?).map_err(|e| row.corrupt(0, e))
}

/// Accepts these values: seen for the first time, or by a person.
pub fn accept(
    tx: &mut dyn Tx,
    id: &GatewayId,
    values: &Baseline,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM baselines WHERE gateway = $1", &[id.as_str().into()])?;
    for (register, value) in &values.0 {
        tx.execute(
            "INSERT INTO baselines (gateway, register, accepted, accepted_at, accepted_by) VALUES ($1, $2, $3, $4, $5)",
            &[
                id.as_str().into(),
                i64::from(*register).into(),
                value.as_slice().into(),
                now.ms.into(),
                by.into(),
            ],
        )?;
    }
    Ok(())
}

/// Notes what was seen where it differs; without a difference what was noted is forgotten.
pub fn see(tx: &mut dyn Tx, id: &GatewayId, changes: &[Change], now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE baselines SET seen = NULL, seen_at = NULL WHERE gateway = $1",
        &[id.as_str().into()],
    )?;
    tx.execute(
        "DELETE FROM baselines WHERE gateway = $1 AND accepted IS NULL",
        &[id.as_str().into()],
    )?;
    for change in changes {
        // A register that was left out is seen as empty.
        let after = change.after.as_ref().map_or(&[][..], <[u8; 32]>::as_slice);
        tx.execute(
            "INSERT INTO baselines (gateway, register, seen, seen_at) VALUES ($1, $2, $3, $4)
             ON CONFLICT (gateway, register) DO UPDATE SET seen = excluded.seen, seen_at = excluded.seen_at",
            &[
                id.as_str().into(),
                i64::from(change.register).into(),
                after.into(),
                now.ms.into(),
            ],
        )?;
    }
    Ok(())
}

/// What was seen and is not accepted, side by side.
pub fn changes(tx: &mut dyn Tx, id: &GatewayId) -> Result<Vec<Change>, StoreError> {
    let rows = tx.rows(
        "SELECT register, accepted, seen FROM baselines WHERE gateway = $1 AND seen IS NOT NULL ORDER BY register",
        &[id.as_str().into()],
    )?;
    let change = |row: &Row| {
        let after = match row.blob(2)? {
            [] => None,
            value => Some(value.try_into().map_err(|_| row.corrupt(2, "another length"))?),
        };
        Ok(Change {
            register: register(row)?,
            before: bytes(row, 1)?,
            after,
        })
    };
    rows.iter().map(change).collect()
}
