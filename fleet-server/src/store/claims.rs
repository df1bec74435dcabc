//! Claims: one a gateway, the newest.

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx};
use crate::device::Claimed;

/// Keeps a claim; the one before it for the same gateway is gone.
pub fn put(tx: &mut dyn Tx, claim: &Claimed) -> Result<(), StoreError> {
    let id = claim.gateway.as_str();
    tx.execute("DELETE FROM claims WHERE gateway = $1", &[id.into()])?;
    tx.execute(
        "INSERT INTO claims (gateway, code_hash, approval, created_at, created_by, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6)",
        &[
            id.into(),
            claim.code_hash.as_slice().into(),
            claim.approval.name().into(),
            claim.created_at.ms.into(),
            (&claim.created_by).into(),
            claim.expires_at.ms.into(),
        ],
    )?;
    Ok(())
}

/// The claim of a gateway.
pub fn get(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Claimed>, StoreError> {
    let row = tx.row(
        "SELECT gateway, code_hash, approval, created_at, created_by, expires_at, failed_tries, spki, used_at,
           approved_at, approved_by
         FROM claims WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    row.as_ref().map(claimed).transpose()
}

/// All claims whose gateway is not enrolled yet or waits for an approval, newest first; at most `limit`.
pub fn open(tx: &mut dyn Tx, limit: i64) -> Result<Vec<Claimed>, StoreError> {
    let rows = tx.rows(
        "SELECT c.gateway, c.code_hash, c.approval, c.created_at, c.created_by, c.expires_at, c.failed_tries,
           c.spki, c.used_at, c.approved_at, c.approved_by
         FROM claims c JOIN gateways g ON g.id = c.gateway
         WHERE g.state <> 'revoked'
           AND (c.spki IS NULL OR (c.approval = 'operator' AND c.approved_at IS NULL) OR g.state = 'waiting')
         ORDER BY c.created_at DESC, c.gateway LIMIT $1",
        &[limit.into()],
    )?;
    rows.iter().map(claimed).collect()
}

/// Takes the row for the rest of the transaction, so that two servers do not decide about it at once.
pub fn lock(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE claims SET failed_tries = failed_tries WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    Ok(())
}

/// Counts a wrong code.
pub fn note_failure(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE claims SET failed_tries = failed_tries + 1 WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    Ok(())
}

/// Burns the code: from now on it is this key's. False when it is another's already.
pub fn bind(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    key: &PublicKey,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let spki = key.spki();
    let touched = tx.execute(
        "UPDATE claims SET spki = $1, used_at = $2 WHERE gateway = $3 AND spki IS NULL",
        &[spki.as_slice().into(), now.ms.into(), gateway.as_str().into()],
    )?;
    Ok(touched == 1)
}

/// Notes an operator's approval; false when there is one already.
pub fn approve(tx: &mut dyn Tx, gateway: &GatewayId, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE claims SET approved_at = $1, approved_by = $2 WHERE gateway = $3 AND approved_at IS NULL",
        &[now.ms.into(), by.into(), gateway.as_str().into()],
    )?;
    Ok(touched == 1)
}

fn claimed(row: &Row) -> Result<Claimed, StoreError> {
    let at = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp::synced));
    let hash = row.blob(1)?.try_into();
    let key = row
        .opt_blob(7)?
        .map(|spki| PublicKey::from_spki(spki).ok_or_else(|| row.corrupt(7, "not a P-256 key")));
    Ok(Claimed {
        gateway: row.parse(0)?,
        code_hash: hash.map_err(|_| row.corrupt(1, "not 32 bytes"))?,
        approval: row.parse(2)?,
        created_at: Timestamp::synced(row.int(3)?),
        created_by: row.text(4)?.to_owned(),
        expires_at: Timestamp::synced(row.int(5)?),
        failed_tries: row.int(6)?,
        key: key.transpose()?,
        used_at: at(8)?,
        approved_at: at(9)?,
        approved_by: row.opt_text(10)?.map(str::to_owned),
    })
}
