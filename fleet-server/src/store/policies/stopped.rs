//! Flows that gateways stopped.

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::network::Protocol;
use homeward_protocol::policy::state::{StoppedFlow, StoppedFlows};
use homeward_protocol::time::Timestamp;

use crate::store::records::Origin;
use crate::store::{Row, StoreError, Tx};

/// Flows of one gateway that are kept; of more, the newest. The totals count all.
pub const MAX_FLOWS: i64 = 512;

/// Notes what was stopped.
pub fn put(tx: &mut dyn Tx, at: &Origin<'_>, flows: &StoppedFlows) -> Result<(), StoreError> {
    for flow in &flows.flows {
        put_flow(tx, at, flow)?;
    }
    let listed = i64::try_from(flows.flows.len()).unwrap_or(i64::MAX);
    tx.execute(
        "INSERT INTO stopped_totals (gateway, listed, more, last_at) VALUES ($1, $2, $3, $4)
         ON CONFLICT (gateway) DO UPDATE SET listed = stopped_totals.listed + excluded.listed,
             more = stopped_totals.more + excluded.more, last_at = excluded.last_at",
        &[
            at.gateway.into(),
            listed.into(),
            i64::from(flows.more).into(),
            at.now.ms.into(),
        ],
    )?;
    tx.execute(
        "DELETE FROM stopped_flows WHERE gateway = $1 AND (point, who, peer, protocol, port) IN
             (SELECT point, who, peer, protocol, port FROM stopped_flows WHERE gateway = $1
              ORDER BY last_at DESC, point, who, peer, protocol, port LIMIT 1000 OFFSET $2)",
        &[at.gateway.into(), MAX_FLOWS.into()],
    )?;
    Ok(())
}

fn put_flow(tx: &mut dyn Tx, at: &Origin<'_>, flow: &StoppedFlow) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO stopped_flows (gateway, point, who, peer, protocol, port, first_at, last_at, told)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $7, 1)
         ON CONFLICT (gateway, point, who, peer, protocol, port) DO UPDATE SET last_at = excluded.last_at,
             told = stopped_flows.told + 1",
        &[
            at.gateway.into(),
            (&flow.point.to_string()).into(),
            flow.who.as_str().into(),
            (&flow.peer.to_string()).into(),
            flow.protocol.map_or("", Protocol::name).into(),
            i64::from(flow.port).into(),
            at.now.ms.into(),
        ],
    )?;
    Ok(())
}

/// A stopped flow as it is shown.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shown {
    /// By which point.
    pub point: String,
    /// Who tried.
    pub who: String,
    /// Whom it would have reached.
    pub peer: String,
    /// `tcp` or `udp`; empty for others.
    pub protocol: String,
    /// The port; 0 where there is none.
    pub port: i64,
    /// When the server first heard of it.
    pub first_at: Timestamp,
    /// When it last heard.
    pub last_at: Timestamp,
    /// How often it was told; at most once an hour.
    pub told: i64,
}

/// The newest flows that a gateway stopped, at most `limit`.
pub fn newest(tx: &mut dyn Tx, id: &GatewayId, limit: i64) -> Result<Vec<Shown>, StoreError> {
    let rows = tx.rows(
        "SELECT point, who, peer, protocol, port, first_at, last_at, told FROM stopped_flows WHERE gateway = $1
         ORDER BY last_at DESC, point, who, peer, port LIMIT $2",
        &[id.as_str().into(), limit.into()],
    )?;
    let shown = |row: &Row| {
        Ok(Shown {
            point: row.text(0)?.to_owned(),
            who: row.text(1)?.to_owned(),
            peer: row.text(2)?.to_owned(),
            protocol: row.text(3)?.to_owned(),
            port: row.int(4)?,
            first_at: Timestamp::synced(row.int(5)?),
            last_at: Timestamp::synced(row.int(6)?),
            told: row.int(7)?,
        })
    };
    rows.iter().map(shown).collect()
}

/// How many flows a gateway ever told, and how many it only counted.
pub fn totals(tx: &mut dyn Tx, id: &GatewayId) -> Result<(i64, i64), StoreError> {
    let row = tx.row(
        "SELECT listed, more FROM stopped_totals WHERE gateway = $1",
        &[id.as_str().into()],
    )?;
    row.map_or(Ok((0, 0)), |row| Ok((row.int(0)?, row.int(1)?)))
}
