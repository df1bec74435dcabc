//! How every gateway in service stands to what it shall have.

use std::collections::HashSet;

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::states::{self, Said, Tally};
use crate::policy::book::Book;
use crate::policy::progress::{Present, progress};
use crate::policy::rollout::Line;
use crate::store::{Row, StoreError, Tx};

/// Most gateways that are read.
const MOST: i64 = 1_000_000;

/// Every gateway in service, by id.
pub fn lines(tx: &mut dyn Tx, book: &Book, now: Timestamp) -> Result<Vec<Line>, StoreError> {
    let rows = tx.rows(
        "SELECT id, connected_at, by_spare FROM gateways WHERE state = 'enrolled' ORDER BY id LIMIT $1",
        &[MOST.into()],
    )?;
    let held = quarantined(tx)?;
    let said = states::all(tx)?;
    let tallies = states::tallies(tx)?;
    let one = |row: &Row| {
        let gateway: GatewayId = row.parse(0)?;
        let present = Present {
            connected: row.opt_int(1)?.is_some() && row.int(2)? == 0,
            held: held.contains(row.text(0)?),
        };
        let tally = tallies.get(&gateway).copied().unwrap_or_default();
        Ok(of(book, said.get(&gateway), (present, tally), gateway, now))
    };
    rows.iter().map(one).collect()
}

/// One gateway, whatever its state.
pub fn line(
    tx: &mut dyn Tx,
    book: &Book,
    id: &GatewayId,
    now: Timestamp,
) -> Result<Option<Line>, StoreError> {
    let row = tx.row(
        "SELECT g.connected_at, g.by_spare, a.quarantined_at FROM gateways g LEFT JOIN attestation a ON a.gateway = g.id
         WHERE g.id = $1",
        &[id.as_str().into()],
    )?;
    let Some(row) = row else { return Ok(None) };
    let present = Present {
        connected: row.opt_int(0)?.is_some() && row.int(1)? == 0,
        held: row.opt_int(2)?.is_some(),
    };
    let said = states::get(tx, id)?;
    let mut tally = Tally::default();
    for point in states::points(tx, id)? {
        tally.add(states::standing(&point.standing).0, 1);
    }
    Ok(Some(of(book, said.as_ref(), (present, tally), id.clone(), now)))
}

fn of(
    book: &Book,
    said: Option<&Said>,
    (present, tally): (Present, Tally),
    gateway: GatewayId,
    now: Timestamp,
) -> Line {
    let wanted = book.wanted(&gateway, now);
    Line {
        connected: present.connected,
        progress: progress(wanted.as_ref(), said.map(|said| &said.state), present),
        wanted: wanted.map(|wanted| wanted.entry.mark.version.0),
        holds: said.and_then(|said| said.state.policy),
        drifted: tally.drifted,
        failed: tally.failed,
        not_enforceable: tally.not_enforceable,
        heard: said.map(|said| said.received_at),
        gateway,
    }
}

fn quarantined(tx: &mut dyn Tx) -> Result<HashSet<String>, StoreError> {
    let rows = tx.rows(
        "SELECT gateway FROM attestation WHERE quarantined_at IS NOT NULL LIMIT $1",
        &[MOST.into()],
    )?;
    rows.iter().map(|row| Ok(row.text(0)?.to_owned())).collect()
}
