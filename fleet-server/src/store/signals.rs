//! Rows by which one process tells the others on the same database to look now.
//!
//! The command line writes to the database while `serve` runs. A signal is only a hint: what is true stands in the
//! other tables, so a signal that is read twice or not at all costs time, never truth.

use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx};

/// What changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Kind {
    /// A gateway was approved, revoked or changed; the subject is its id.
    Gateway,
    /// A claim was made or used; the subject is the gateway's id.
    Claim,
    /// A policy changed.
    Policy,
    /// The authority has new certificates; the subject is empty.
    Authority,
    /// One certificate was revoked; the subject is its gateway's id.
    Certificate,
    /// Somebody wants all facts of a gateway; the subject is its id.
    Facts,
}

impl Kind {
    const ALL: [Kind; 6] = [
        Kind::Gateway,
        Kind::Claim,
        Kind::Policy,
        Kind::Authority,
        Kind::Certificate,
        Kind::Facts,
    ];

    /// The name in the table.
    pub const fn name(self) -> &'static str {
        match self {
            Kind::Gateway => "gateway",
            Kind::Claim => "claim",
            Kind::Policy => "policy",
            Kind::Authority => "authority",
            Kind::Certificate => "certificate",
            Kind::Facts => "facts",
        }
    }
}

/// One hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Signal {
    /// Rises; where to go on reading.
    pub id: i64,
    /// What changed.
    pub kind: Kind,
    /// Which one.
    pub subject: String,
}

/// Tells every process that reads this database to look at `subject` now.
pub fn raise(tx: &mut dyn Tx, kind: Kind, subject: &str, now: Timestamp) -> Result<(), StoreError> {
    // Takes the row's lock, so that numbers become visible in the order in which they were given.
    tx.execute("UPDATE meta SET value = value WHERE key = 'signals'", &[])?;
    tx.execute(
        "INSERT INTO signals (kind, subject, at) VALUES ($1, $2, $3)",
        &[kind.name().into(), subject.into(), now.ms.into()],
    )?;
    Ok(())
}

/// The number of the newest signal, 0 when there is none: where a process that has just started begins to read.
pub fn newest(tx: &mut dyn Tx) -> Result<i64, StoreError> {
    let row = tx.row("SELECT id FROM signals ORDER BY id DESC LIMIT 1", &[])?;
    row.map_or(Ok(0), |row| row.int(0))
}

/// Signals after number `id`, oldest first; at most `limit`.
pub fn since(tx: &mut dyn Tx, id: i64, limit: i64) -> Result<Vec<Signal>, StoreError> {
    let rows = tx.rows(
        "SELECT id, kind, subject FROM signals WHERE id > $1 ORDER BY id LIMIT $2",
        &[id.into(), limit.into()],
    )?;
    rows.iter().map(signal).collect()
}

fn signal(row: &Row) -> Result<Signal, StoreError> {
    let name = row.text(1)?;
    let kind = Kind::ALL.into_iter().find(|kind| kind.name() == name);
    Ok(Signal {
        id: row.int(0)?,
        kind: kind.ok_or_else(|| row.corrupt(1, "not a kind of signal"))?,
        subject: row.text(2)?.to_owned(),
    })
}
