//! When one point did not hold, over the whole fleet.

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::points::PointId;

use super::states::{Spell, spell};
use crate::store::{Row, StoreError, Tx};

/// Spells that are read: the newest.
const NEWEST: i64 = 50;

/// The newest spells of this point on any gateway, the newest first.
pub fn of_point(tx: &mut dyn Tx, point: &PointId) -> Result<Vec<(GatewayId, Spell)>, StoreError> {
    let rows = tx.rows(
        "SELECT point, standing, why, wanted, observed, since, ended_at, gateway FROM drifts WHERE point = $1
         ORDER BY noted_at DESC, gateway LIMIT $2",
        &[(&point.to_string()).into(), NEWEST.into()],
    )?;
    let of = |row: &Row| Ok((row.parse(7)?, spell(row)?));
    rows.iter().map(of).collect()
}
