//! Which gateways hold which trust anchors: what a change of roots waits for.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;
use homeward_protocol::trust::TrustMark;

use super::{Row, StoreError, Tx};

/// A gateway that may come back, and what it said of its anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// Which.
    pub gateway: GatewayId,
    /// Its anchors, as its newest posture says; `None` when it never said.
    pub mark: Option<TrustMark>,
}

/// The gateways in service whose newest certificate ends at or after `ending_after`: the others need a person anyway.
/// By id, from behind `after`; at most `limit`.
pub fn holders(
    tx: &mut dyn Tx,
    ending_after: Timestamp,
    after: Option<&GatewayId>,
    limit: i64,
) -> Result<Vec<Holder>, StoreError> {
    let rows = tx.rows(
        "SELECT g.id, p.trust FROM gateways g LEFT JOIN postures p ON p.gateway = g.id
         WHERE g.state = 'enrolled' AND g.id > $1 AND EXISTS (SELECT 1 FROM certificates c
             WHERE c.gateway = g.id AND c.revoked_at IS NULL AND c.not_after >= $2)
         ORDER BY g.id LIMIT $3",
        &[
            after.map_or("", GatewayId::as_str).into(),
            ending_after.ms.into(),
            limit.into(),
        ],
    )?;
    rows.iter().map(holder).collect()
}

/// Connected gateways that said that they hold other anchors than these; at most `limit`.
pub fn behind(tx: &mut dyn Tx, mark: TrustMark, limit: i64) -> Result<Vec<GatewayId>, StoreError> {
    let rows = tx.rows(
        "SELECT g.id FROM gateways g JOIN postures p ON p.gateway = g.id
         WHERE g.connected_at IS NOT NULL AND g.by_spare = 0 AND p.trust <> $1 ORDER BY g.id LIMIT $2",
        &[(&mark.to_string()).into(), limit.into()],
    )?;
    rows.iter().map(|row| row.parse(0)).collect()
}

fn holder(row: &Row) -> Result<Holder, StoreError> {
    let mark = match row.opt_text(1)? {
        None => None,
        Some(text) => Some(text.parse().map_err(|why| row.corrupt(1, why))?),
    };
    Ok(Holder {
        gateway: row.parse(0)?,
        mark,
    })
}
