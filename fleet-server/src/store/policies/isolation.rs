//! Orders that shut gateways off from what is not vital, and the ones that lift that.

use homeward_protocol::id::GatewayId;
use homeward_protocol::policy::isolation::{IsolationOrder, Ordered};
use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::{signed_number, states, touch, unsigned};
use crate::audit::Action;
use crate::policy::contain::next_number;
use crate::store::care::named;
use crate::store::records::word;
use crate::store::{Row, StoreError, Tx, audit, gateways};

/// Most orders that are read.
const MOST: i64 = 1_000_000;

/// What came of an order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ordering {
    /// It stands, and is sent at once or when the gateway connects.
    Given(IsolationOrder),
    /// It stood so before; nothing new is said.
    Already,
    /// There is no such gateway, or it is out of service.
    Unknown,
}

/// An order with who gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Given {
    /// The order.
    pub order: IsolationOrder,
    /// By whom.
    pub by: String,
}

/// Gives an order.
pub fn order(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    ordered: Ordered,
    reason: &str,
    by: &str,
    now: Timestamp,
) -> Result<Ordering, StoreError> {
    let known = gateways::get(tx, gateway)?;
    if known.is_none_or(|known| known.state == crate::device::State::Revoked) {
        return Ok(Ordering::Unknown);
    }
    let before = get(tx, gateway)?.map(|given| given.order);
    let said = states::get(tx, gateway)?.and_then(|said| said.state.isolation);
    // One that a server before this one gave is lifted here, too.
    let stands = before.as_ref().map(|order| order.ordered);
    let foreign = before.is_none() && said.is_some_and(|said| said.ordered == Ordered::Isolate);
    if stands == Some(ordered) || (stands.is_none() && ordered == Ordered::Lift && !foreign) {
        return Ok(Ordering::Already);
    }
    let number = next_number(before.map(|order| order.order), said.map(|said| said.order), now);
    let order = IsolationOrder {
        order: number,
        ordered,
        reason: ShortText::cut(reason),
        at: now,
    };
    put(tx, gateway, &order, by)?;
    let action = match ordered {
        Ordered::Isolate => Action::GatewayIsolated,
        Ordered::Lift => Action::IsolationLifted,
    };
    audit::record(tx, now, by, action, gateway.as_str(), reason)?;
    touch(tx, gateway.as_str(), now)?;
    Ok(Ordering::Given(order))
}

fn put(tx: &mut dyn Tx, gateway: &GatewayId, order: &IsolationOrder, by: &str) -> Result<(), StoreError> {
    tx.execute(
        "INSERT INTO isolations (gateway, number, ordered, reason, ordered_at, ordered_by)
         VALUES ($1, $2, $3, $4, $5, $6)
         ON CONFLICT (gateway) DO UPDATE SET number = excluded.number, ordered = excluded.ordered,
             reason = excluded.reason, ordered_at = excluded.ordered_at, ordered_by = excluded.ordered_by",
        &[
            gateway.as_str().into(),
            signed_number(order.order).into(),
            (&word(&order.ordered)).into(),
            order.reason.as_str().into(),
            order.at.ms.into(),
            by.into(),
        ],
    )?;
    Ok(())
}

/// The newest order about a gateway.
pub fn get(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<Option<Given>, StoreError> {
    let row = tx.row(
        "SELECT gateway, number, ordered, reason, ordered_at, ordered_by FROM isolations WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    row.as_ref()
        .map(|row| given(row).map(|(_, given)| given))
        .transpose()
}

/// The newest order about each gateway that was ever given one.
pub fn all(tx: &mut dyn Tx) -> Result<Vec<(GatewayId, IsolationOrder)>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway, number, ordered, reason, ordered_at, ordered_by FROM isolations ORDER BY gateway LIMIT $1",
        &[MOST.into()],
    )?;
    let order = |row: &Row| given(row).map(|(gateway, given)| (gateway, given.order));
    rows.iter().map(order).collect()
}

fn given(row: &Row) -> Result<(GatewayId, Given), StoreError> {
    let order = IsolationOrder {
        order: unsigned(row, 1)?,
        ordered: named(row, 2)?,
        reason: ShortText::cut(row.text(3)?),
        at: Timestamp::synced(row.int(4)?),
    };
    let by = row.text(5)?.to_owned();
    Ok((row.parse(0)?, Given { order, by }))
}
