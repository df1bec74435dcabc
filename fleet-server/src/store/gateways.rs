//! Gateways: who there is, and where each is in its life.

use homeward_protocol::id::{GatewayId, PlacementId};
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx};
use crate::device::State;

/// One gateway's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Its id.
    pub id: GatewayId,
    /// Where it is in its life.
    pub state: State,
    /// The home it is in.
    pub placement: Option<PlacementId>,
    /// When it was first claimed.
    pub created_at: Timestamp,
    /// When it got its first certificate.
    pub enrolled_at: Option<Timestamp>,
    /// When it was shut out.
    pub revoked_at: Option<Timestamp>,
    /// Why.
    pub revoked_why: Option<String>,
    /// Since when it is connected; `None` while it is not.
    pub connected_at: Option<Timestamp>,
    /// From where, or from where last.
    pub address: Option<String>,
    /// When something of it was stored last.
    pub last_heard: Option<Timestamp>,
}

/// Adds one that is expected.
pub fn add(
    tx: &mut dyn Tx,
    id: &GatewayId,
    placement: Option<&PlacementId>,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO gateways (id, state, placement, created_at) VALUES ($1, 'expected', $2, $3)",
        &[
            id.as_str().into(),
            placement.map(PlacementId::as_str).into(),
            now.ms.into(),
        ],
    )?;
    Ok(())
}

/// Takes the row for the rest of the transaction, so that two that ask at once are answered one after the other.
pub fn lock(tx: &mut dyn Tx, id: &GatewayId) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE gateways SET state = state WHERE id = $1",
        &[id.as_str().into()],
    )?;
    Ok(())
}

/// The one of this id.
pub fn get(tx: &mut dyn Tx, id: &GatewayId) -> Result<Option<Gateway>, StoreError> {
    let row = tx.row(
        "SELECT id, state, placement, created_at, enrolled_at, revoked_at, revoked_why, connected_at, address,
           last_heard
         FROM gateways WHERE id = $1",
        &[id.as_str().into()],
    )?;
    row.as_ref().map(gateway).transpose()
}

/// Those in `state`, or all, by id from behind `after`; at most `limit`.
pub fn list(
    tx: &mut dyn Tx,
    state: Option<State>,
    after: Option<&GatewayId>,
    limit: i64,
) -> Result<Vec<Gateway>, StoreError> {
    let rows = tx.rows(
        "SELECT id, state, placement, created_at, enrolled_at, revoked_at, revoked_why, connected_at, address,
           last_heard
         FROM gateways WHERE ($1 = '' OR state = $1) AND id > $2 ORDER BY id LIMIT $3",
        &[
            state.map_or("", State::name).into(),
            after.map_or("", GatewayId::as_str).into(),
            limit.into(),
        ],
    )?;
    rows.iter().map(gateway).collect()
}

/// Moves one from a state to another; false when it was not in the first.
pub fn advance(
    tx: &mut dyn Tx,
    id: &GatewayId,
    from: State,
    to: State,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let enrolled_at = (to == State::Enrolled).then_some(now.ms);
    let touched = tx.execute(
        "UPDATE gateways SET state = $1, enrolled_at = COALESCE(enrolled_at, $2) WHERE id = $3 AND state = $4",
        &[
            to.name().into(),
            enrolled_at.into(),
            id.as_str().into(),
            from.name().into(),
        ],
    )?;
    Ok(touched == 1)
}

/// Shuts one out; false when it was already, or does not exist.
pub fn revoke(tx: &mut dyn Tx, id: &GatewayId, why: &str, now: Timestamp) -> Result<bool, StoreError> {
    let touched = tx.execute(
        "UPDATE gateways SET state = 'revoked', revoked_at = $1, revoked_why = $2
         WHERE id = $3 AND state <> 'revoked'",
        &[now.ms.into(), why.into(), id.as_str().into()],
    )?;
    Ok(touched == 1)
}

/// The ids of those shut out, from behind `after`; at most `limit`. The gate's deny list is read in such pages.
pub fn revoked(tx: &mut dyn Tx, after: Option<&GatewayId>, limit: i64) -> Result<Vec<GatewayId>, StoreError> {
    let rows = tx.rows(
        "SELECT id FROM gateways WHERE state = 'revoked' AND id > $1 ORDER BY id LIMIT $2",
        &[after.map_or("", GatewayId::as_str).into(), limit.into()],
    )?;
    rows.iter().map(|row| row.parse(0)).collect()
}

fn gateway(row: &Row) -> Result<Gateway, StoreError> {
    let at = |column| Ok::<_, StoreError>(row.opt_int(column)?.map(Timestamp::synced));
    Ok(Gateway {
        id: row.parse(0)?,
        state: row.parse(1)?,
        placement: row.opt_text(2)?.is_some().then(|| row.parse(2)).transpose()?,
        created_at: Timestamp::synced(row.int(3)?),
        enrolled_at: at(4)?,
        revoked_at: at(5)?,
        revoked_why: row.opt_text(6)?.map(str::to_owned),
        connected_at: at(7)?,
        address: row.opt_text(8)?.map(str::to_owned),
        last_heard: at(9)?,
    })
}
