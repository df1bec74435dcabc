//! When gateways were connected.
//!
//! Limit: the columns of `gateways` that say who is connected now are right while one server process uses the
//! database; several processes would each have to say whose connection it is.

use std::collections::HashMap;

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

/// Puts on record who came and went, in that order. A connection that began and ended among them is written once: what
/// comes and goes in a storm costs half.
pub fn note(tx: &mut dyn Tx, passages: &[Passage]) -> Result<(), StoreError> {
    for note in notes(passages) {
        let (gateway, began) = (note.gateway, note.began);
        match (note.came, note.end) {
            (Some(how), end) => came(tx, gateway, how, began, end)?,
            (None, Some((at, why))) => ended(tx, gateway, began, at, why)?,
            (None, None) => {}
        }
    }
    Ok(())
}

/// What is to be written about one connection.
struct Note<'a> {
    gateway: &'a GatewayId,
    began: Timestamp,
    /// From where it came, and whether by its spare key, when it came now.
    came: Option<(&'a str, bool)>,
    /// When it ended and why, when it ended now.
    end: Option<(Timestamp, &'static str)>,
}

fn notes(passages: &[Passage]) -> Vec<Note<'_>> {
    let mut notes: Vec<Note<'_>> = Vec::with_capacity(passages.len());
    let mut open = HashMap::new();
    for passage in passages {
        match passage {
            Passage::Connected {
                gateway,
                spare,
                address,
                at,
            } => {
                open.insert((gateway, at.ms), notes.len());
                notes.push(Note {
                    gateway,
                    began: *at,
                    came: Some((address, *spare)),
                    end: None,
                });
            }
            Passage::Left {
                gateway,
                connected_at,
                at,
                why,
            } => {
                let end = Some((*at, why.name()));
                let known = open.remove(&(gateway, connected_at.ms));
                match known.and_then(|place| notes.get_mut(place)) {
                    Some(note) => note.end = end,
                    None => notes.push(Note {
                        gateway,
                        began: *connected_at,
                        came: None,
                        end,
                    }),
                }
            }
        }
    }
    notes
}

/// It began; `end` when it is over already.
fn came(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    (address, spare): (&str, bool),
    at: Timestamp,
    end: Option<(Timestamp, &'static str)>,
) -> Result<(), StoreError> {
    let (ended_at, ended_why) = (end.map(|(at, _)| at.ms), end.map(|(_, why)| why));
    tx.execute(
        "INSERT INTO connections (gateway, connected_at, address, ended_at, ended_why) VALUES ($1, $2, $3, $4, $5)
         ON CONFLICT (gateway, connected_at) DO UPDATE SET address = excluded.address,
             ended_at = excluded.ended_at, ended_why = excluded.ended_why",
        &[
            gateway.as_str().into(),
            at.ms.into(),
            address.into(),
            ended_at.into(),
            ended_why.into(),
        ],
    )?;
    tx.execute(
        "UPDATE gateways SET connected_at = $1, address = $2, by_spare = $3 WHERE id = $4",
        &[
            end.is_none().then_some(at.ms).into(),
            address.into(),
            i64::from(spare).into(),
            gateway.as_str().into(),
        ],
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

/// When the connection before the one that began at `since` ended; nothing when there was none, or it has not.
pub fn left_before(
    tx: &mut dyn Tx,
    gateway: &GatewayId,
    since: Timestamp,
) -> Result<Option<Timestamp>, StoreError> {
    let row = tx.row(
        "SELECT ended_at FROM connections WHERE gateway = $1 AND connected_at < $2 ORDER BY connected_at DESC LIMIT 1",
        &[gateway.as_str().into(), since.ms.into()],
    )?;
    row.map_or(Ok(None), |row| Ok(row.opt_int(0)?.map(Timestamp::synced)))
}
