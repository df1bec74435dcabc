//! Groups of gateways: rings of a roll-out, wards, kinds of boxes.

use std::collections::HashMap;

use homeward_protocol::id::{GatewayId, GroupId};
use homeward_protocol::policy::sign::MAX_GROUPS;
use homeward_protocol::time::Timestamp;

use super::touch;
use crate::audit::Action;
use crate::store::{Row, StoreError, Tx, audit, gateways};

/// Most memberships that are read.
const MOST: i64 = 1_000_000;

/// What came of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Joining {
    /// It is done.
    Done,
    /// It was so before.
    Already,
    /// There is no such gateway.
    Unknown,
    /// The gateway is in as many groups as it can be.
    Full,
}

/// Puts a gateway into a group.
pub fn add(
    tx: &mut dyn Tx,
    group: &GroupId,
    gateway: &GatewayId,
    by: &str,
    now: Timestamp,
) -> Result<Joining, StoreError> {
    if gateways::get(tx, gateway)?.is_none() {
        return Ok(Joining::Unknown);
    }
    let own = of(tx, gateway)?;
    if own.contains(group) {
        return Ok(Joining::Already);
    }
    if own.len() >= MAX_GROUPS {
        return Ok(Joining::Full);
    }
    tx.execute(
        "INSERT INTO group_members (group_id, gateway, added_at, added_by) VALUES ($1, $2, $3, $4)",
        &[
            group.as_str().into(),
            gateway.as_str().into(),
            now.ms.into(),
            by.into(),
        ],
    )?;
    let detail = format!("into {group}");
    audit::record(tx, now, by, Action::GroupChanged, gateway.as_str(), &detail)?;
    touch(tx, gateway.as_str(), now)?;
    Ok(Joining::Done)
}

/// Takes a gateway out of a group.
pub fn remove(
    tx: &mut dyn Tx,
    group: &GroupId,
    gateway: &GatewayId,
    by: &str,
    now: Timestamp,
) -> Result<Joining, StoreError> {
    let gone = tx.execute(
        "DELETE FROM group_members WHERE group_id = $1 AND gateway = $2",
        &[group.as_str().into(), gateway.as_str().into()],
    )?;
    if gone == 0 {
        return Ok(Joining::Already);
    }
    let detail = format!("out of {group}");
    audit::record(tx, now, by, Action::GroupChanged, gateway.as_str(), &detail)?;
    touch(tx, gateway.as_str(), now)?;
    Ok(Joining::Done)
}

/// The groups of one gateway, by id.
pub fn of(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Vec<GroupId>, StoreError> {
    let rows = tx.rows(
        "SELECT group_id FROM group_members WHERE gateway = $1 ORDER BY group_id LIMIT 100",
        &[gateway.as_str().into()],
    )?;
    rows.iter().map(|row| row.parse(0)).collect()
}

/// The groups, with how many gateways each has.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<(GroupId, i64)>, StoreError> {
    let rows = tx.rows(
        "SELECT group_id, COUNT(*) FROM group_members GROUP BY group_id ORDER BY group_id LIMIT 1000",
        &[],
    )?;
    rows.iter().map(|row| Ok((row.parse(0)?, row.int(1)?))).collect()
}

/// The gateways of a group, by id.
pub fn members(tx: &mut dyn Tx, group: &GroupId) -> Result<Vec<GatewayId>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway FROM group_members WHERE group_id = $1 ORDER BY gateway LIMIT $2",
        &[group.as_str().into(), MOST.into()],
    )?;
    rows.iter().map(|row| row.parse(0)).collect()
}

/// The groups of every gateway that is in one.
pub(super) fn all(tx: &mut dyn Tx) -> Result<HashMap<GatewayId, Vec<GroupId>>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway, group_id FROM group_members ORDER BY gateway, group_id LIMIT $1",
        &[MOST.into()],
    )?;
    let mut all: HashMap<GatewayId, Vec<GroupId>> = HashMap::new();
    let mut add = |row: &Row| {
        all.entry(row.parse(0)?).or_default().push(row.parse(1)?);
        Ok::<_, StoreError>(())
    };
    rows.iter().try_for_each(&mut add)?;
    Ok(all)
}
