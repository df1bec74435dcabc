//! Orders to force: the rows behind [`crate::force`].

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::force::{Accepted, ForceNumber};
use homeward_protocol::release::state::{ForceStanding, UpdateState};
use homeward_protocol::time::Timestamp;
use homeward_protocol::wire;

use super::policies::{signed_number, unsigned};
use super::records::Origin;
use super::{Row, StoreError, Tx, audit, updates};
use crate::audit::Action;
use crate::force::Kept;

/// Most bytes of what a box says of one.
const MAX_STANDING: usize = 2 * 1024;
/// Most orders that are looked at at a time.
const MOST: i64 = 500;

/// Keeps one.
pub fn put(
    tx: &mut dyn Tx,
    accepted: &Accepted,
    paper: &[u8],
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let (order, (author, reviewer)) = (accepted.order(), accepted.people());
    let overrules = order.overrules.to_string();
    tx.execute(
        "INSERT INTO forces (gateway, number, digest, assignment, overrules, reason, author, reviewer, not_before, until_at,
           brought_at, brought_by, live, paper)
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1, $13)",
        &[
            order.gateway.as_str().into(),
            signed_number(order.number.0).into(),
            accepted.digest().to_string().as_str().into(),
            signed_number(order.assignment).into(),
            overrules.as_str().into(),
            order.reason.as_str().into(),
            author.as_str().into(),
            reviewer.as_str().into(),
            order.not_before.ms().into(),
            order.until.ms().into(),
            now.ms.into(),
            by.into(),
            paper.into(),
        ],
    )?;
    let detail = format!(
        "number {} for word {}, by {} and {}, overrules {overrules} until {}: {}",
        order.number,
        order.assignment,
        author.as_str(),
        reviewer.as_str(),
        order.until,
        order.reason.as_str()
    );
    audit::record(tx, now, by, Action::ForceBrought, order.gateway.as_str(), &detail)?;
    Ok(())
}

/// The order with this number.
pub fn get(tx: &mut dyn Tx, gateway: &GatewayId, number: ForceNumber) -> Result<Option<Kept>, StoreError> {
    let sql = "SELECT gateway, number, digest, assignment, overrules, reason, author, reviewer, not_before, until_at,
       brought_at, brought_by, sent_at, stands, said_at FROM forces WHERE gateway = $1 AND number = $2";
    let row = tx.row(sql, &[gateway.as_str().into(), signed_number(number.0).into()])?;
    row.as_ref().map(kept).transpose()
}

/// The highest number of a gateway; 0 when there is none. One that the box named counts, too.
pub fn highest(tx: &mut dyn Tx, gateway: &GatewayId) -> Result<ForceNumber, StoreError> {
    let row = tx.row(
        "SELECT COALESCE(MAX(number), 0) FROM forces WHERE gateway = $1",
        &[gateway.as_str().into()],
    )?;
    let here = row.map_or(Ok(0), |row| unsigned(&row, 0))?;
    let said = updates::said(tx, gateway)?;
    let there = said.iter().flat_map(|said| &said.state.forces);
    let there = there.filter_map(|told| told.words.as_ref());
    let there = there.map(|words| words.number.0).max().unwrap_or(0);
    Ok(ForceNumber(here.max(there)))
}

/// Those of a gateway, the newest first; at most so many.
pub fn of(tx: &mut dyn Tx, gateway: &GatewayId, most: i64) -> Result<Vec<Kept>, StoreError> {
    let sql = "SELECT gateway, number, digest, assignment, overrules, reason, author, reviewer, not_before, until_at,
       brought_at, brought_by, sent_at, stands, said_at FROM forces WHERE gateway = $1 ORDER BY number DESC LIMIT $2";
    let rows = tx.rows(sql, &[gateway.as_str().into(), most.into()])?;
    rows.iter().map(kept).collect()
}

/// Those of all gateways, the newest first; at most so many.
pub fn newest(tx: &mut dyn Tx, most: i64) -> Result<Vec<Kept>, StoreError> {
    let sql = "SELECT gateway, number, digest, assignment, overrules, reason, author, reviewer, not_before, until_at,
       brought_at, brought_by, sent_at, stands, said_at FROM forces ORDER BY brought_at DESC, gateway LIMIT $1";
    let rows = tx.rows(sql, &[most.into()])?;
    rows.iter().map(kept).collect()
}

/// Those that are to be sent when their gateway is connected: it has the update, and names the order not yet.
pub fn waiting(tx: &mut dyn Tx, now: Timestamp) -> Result<Vec<(GatewayId, u64, Vec<u8>)>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway, number, digest, assignment, paper FROM forces WHERE live = 1 AND until_at > $1
         ORDER BY gateway, number LIMIT $2",
        &[now.ms.into(), MOST.into()],
    )?;
    let mut waiting = Vec::new();
    for row in &rows {
        let gateway: GatewayId = row.text(0)?.parse().map_err(|e| row.corrupt(0, e))?;
        let Some(said) = updates::said(tx, &gateway)? else {
            continue;
        };
        let digest = row.text(2)?;
        let knows = said
            .state
            .forces
            .iter()
            .any(|told| told.digest.to_string() == digest);
        let assignment = unsigned(row, 3)?;
        let has = said.state.now.is_some_and(|(mark, _)| mark.counter == assignment);
        if has && !knows {
            waiting.push((gateway, unsigned(row, 1)?, row.blob(4)?.to_vec()));
        }
    }
    Ok(waiting)
}

/// It was sent; the first time has a row in the audit trail.
pub fn sent(tx: &mut dyn Tx, gateway: &GatewayId, number: u64, now: Timestamp) -> Result<(), StoreError> {
    let changed = tx.execute(
        "UPDATE forces SET sent_at = $1 WHERE gateway = $2 AND number = $3 AND sent_at IS NULL",
        &[
            now.ms.into(),
            gateway.as_str().into(),
            signed_number(number).into(),
        ],
    )?;
    if changed > 0 {
        let detail = format!("number {number}");
        audit::record(tx, now, "system", Action::ForceSent, gateway.as_str(), &detail)?;
    }
    Ok(())
}

/// Notes what a box says of those that were brought here; each change has a row in the audit trail.
pub fn told(tx: &mut dyn Tx, at: &Origin<'_>, state: &UpdateState) -> Result<(), StoreError> {
    for one in &state.forces {
        let row = tx.row(
            "SELECT number, stands FROM forces WHERE gateway = $1 AND digest = $2 AND live = 1",
            &[at.gateway.into(), one.digest.to_string().as_str().into()],
        )?;
        let Some(row) = row else { continue };
        let bytes = wire::encode(&one.stands, MAX_STANDING).map_err(|e| StoreError::Unavailable {
            step: "writing down how an order to force stands",
            why: e.to_string(),
        })?;
        if row.opt_blob(1)?.is_some_and(|before| before == bytes.as_slice()) {
            continue;
        }
        let number = row.int(0)?;
        tx.execute(
            "UPDATE forces SET stands = $1, said_at = $2, live = $3 WHERE gateway = $4 AND number = $5",
            &[
                bytes.as_slice().into(),
                at.now.ms.into(),
                i64::from(!one.stands.is_over()).into(),
                at.gateway.into(),
                number.into(),
            ],
        )?;
        let mut detail = format!("number {number} {}", one.stands.words());
        if let ForceStanding::Used(what) = &one.stands {
            for one in what {
                detail.push_str(&format!("; it overruled: {}", one.as_str()));
            }
        }
        audit::record(tx, at.now, at.gateway, Action::ForceAnswered, at.gateway, &detail)?;
    }
    Ok(())
}

fn kept(row: &Row) -> Result<Kept, StoreError> {
    let said = match (row.opt_blob(13)?, row.opt_int(14)?) {
        (Some(bytes), Some(at)) => {
            let stands = wire::decode(bytes, MAX_STANDING).map_err(|e| row.corrupt(13, e))?;
            Some((stands, Timestamp::synced(at)))
        }
        _ => None,
    };
    Ok(Kept {
        gateway: row.text(0)?.parse().map_err(|e| row.corrupt(0, e))?,
        number: ForceNumber(unsigned(row, 1)?),
        digest: row.text(2)?.to_owned(),
        assignment: unsigned(row, 3)?,
        overrules: row.text(4)?.to_owned(),
        reason: row.text(5)?.to_owned(),
        author: row.text(6)?.to_owned(),
        reviewer: row.text(7)?.to_owned(),
        not_before: Timestamp::synced(row.int(8)?),
        until: Timestamp::synced(row.int(9)?),
        brought_at: Timestamp::synced(row.int(10)?),
        brought_by: row.text(11)?.to_owned(),
        sent_at: row.opt_int(12)?.map(Timestamp::synced),
        said,
    })
}
