//! When gateways were connected.
//!
//! Limit: the columns of `gateways` that say who is connected now are right while one server process uses the
//! database; several processes would each have to say whose connection it is.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx};
use crate::gate::Passage;

/// One connection of a gateway, for its page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Connection {
    /// When it began.
    pub connected_at: Timestamp,
    /// From where: address and port.
    pub address: String,
    /// When it ended and why; `None` while it lasts.
    pub ended: Option<(Timestamp, String)>,
}

/// Puts on record that a connection began or ended.
pub fn note(tx: &mut dyn Tx, passage: &Passage) -> Result<(), StoreError> {
    match passage {
        Passage::Connected { gateway, address, at } => began(tx, gateway, address, *at),
        Passage::Left {
            gateway,
            connected_at,
            at,
            why,
        } => ended(tx, gateway, *connected_at, *at, why.name()),
    }
}

fn began(tx: &mut dyn Tx, gateway: &GatewayId, address: &str, at: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO connections (gateway, connected_at, address) VALUES ($1, $2, $3)
         ON CONFLICT (gateway, connected_at) DO UPDATE SET address = excluded.address, ended_at = NULL,
             ended_why = NULL",
        &[gateway.as_str().into(), at.ms.into(), address.into()],
    )?;
    tx.execute(
        "UPDATE gateways SET connected_at = $1, address = $2 WHERE id = $3",
        &[at.ms.into(), address.into(), gateway.as_str().into()],
    )?;
    Ok(())
}

/// An older connection that ends after a newer one began leaves the newer one alone.
fn ended(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    connected_at: Timestamp,
    at: Timestamp,
    why: &str,
) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE connections SET ended_at = $1, ended_why = $2 WHERE gateway = $3 AND connected_at = $4",
        &[
            at.ms.into(),
            why.into(),
            gateway.as_str().into(),
            connected_at.ms.into(),
        ],
    )?;
    tx.execute(
        "UPDATE gateways SET connected_at = NULL WHERE id = $1 AND connected_at = $2",
        &[gateway.as_str().into(), connected_at.ms.into()],
    )?;
    Ok(())
}

/// At the start of the server: what was open when it went away has ended; gives how many.
pub fn end_all_open(tx: &mut dyn Tx, now: Timestamp) -> Result<u64, StoreError> {
    tx.execute(
        "UPDATE gateways SET connected_at = NULL WHERE connected_at IS NOT NULL",
        &[],
    )?;
    tx.execute(
        "UPDATE connections SET ended_at = $1, ended_why = 'server-gone' WHERE ended_at IS NULL",
        &[now.ms.into()],
    )
}

/// A gateway's newest connections, newest first; at most `limit`.
pub fn history(tx: &mut dyn Tx, gateway: &GatewayId, limit: i64) -> Result<Vec<Connection>, StoreError> {
    let rows = tx.rows(
        "SELECT connected_at, address, ended_at, ended_why FROM connections WHERE gateway = $1
         ORDER BY connected_at DESC LIMIT $2",
        &[gateway.as_str().into(), limit.into()],
    )?;
    rows.iter().map(connection).collect()
}

fn connection(row: &Row) -> Result<Connection, StoreError> {
    let why = row.opt_text(3)?.unwrap_or_default().to_owned();
    Ok(Connection {
        connected_at: Timestamp::synced(row.int(0)?),
        address: row.text(1)?.to_owned(),
        ended: row.opt_int(2)?.map(|at| (Timestamp::synced(at), why)),
    })
}
