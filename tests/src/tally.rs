//! Shell: holds what a gateway numbered against what the server stored, from both databases, when both are at rest.

use std::path::Path;

use homeward_agent::outbox::sqlite::Db;
use homeward_agent::vault::disk;
use homeward_fleet::clock::Clock;
use homeward_protocol::envelope::Lane;
use homeward_protocol::id::{Epoch, GatewayId};
use rusqlite::{Connection, OpenFlags};
use serde::Serialize;

/// Readings of one gateway or of several.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Tally {
    /// Given a number by the outbox: committed on the gateway.
    pub produced: u64,
    /// Different ones in the server's table.
    pub stored: u64,
    /// Still in the outbox and not in the server's table.
    pub held: u64,
    /// In neither.
    pub missing: u64,
    /// In the server's table more than once.
    pub duplicates: u64,
    /// Given up by the outbox and said so.
    pub lost: u64,
}

impl Tally {
    /// Both together.
    #[must_use]
    pub fn plus(self, other: Tally) -> Tally {
        Tally {
            produced: self.produced + other.produced,
            stored: self.stored + other.stored,
            held: self.held + other.held,
            missing: self.missing + other.missing,
            duplicates: self.duplicates + other.duplicates,
            lost: self.lost + other.lost,
        }
    }
}

/// Compares one gateway's outbox with the server's database. Neither program may be running.
pub fn compare(outbox: &Path, database: &Path, gateway: &GatewayId) -> Result<Tally, String> {
    let vault = disk::at(outbox.parent().unwrap_or(Path::new("."))).map_err(|e| e.to_string())?;
    let (db, _) = Db::open(outbox, &vault, u64::MAX >> 1, Epoch(0), Clock::system().now())
        .map_err(|e| e.to_string())?;
    let ledger = *db.ledger();
    let lane = ledger.lane(Lane::Vital);
    let (produced, acked) = (lane.next.0 - 1, lane.oldest.0 - 1);
    let server =
        Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY).map_err(|e| e.to_string())?;
    let epoch = ledger.epoch.to_string();
    let count = |sql: &str, limit: u64| {
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = server.query_row(sql, (gateway.as_str(), epoch.as_str(), limit), |row| {
            row.get::<_, i64>(0)
        });
        found
            .map_err(|e| e.to_string())
            .map(|n| u64::try_from(n).unwrap_or(0))
    };
    let mine = "FROM readings WHERE gateway = ?1 AND epoch = ?2 AND seq <= ?3";
    let stored = count(&format!("SELECT count(*) {mine}"), produced)?;
    let below = count(&format!("SELECT count(*) {mine}"), acked)?;
    let given_up = count(
        "SELECT coalesce(sum(missing), 0) FROM gaps
         WHERE gateway = ?1 AND epoch = ?2 AND lane = 'vital' AND from_seq <= ?3",
        produced,
    )?;
    let duplicates = count(
        "SELECT count(*) - count(DISTINCT sensor || '/' || kind || '/' || taken_at)
         FROM readings WHERE gateway = ?1 AND ?2 <> '' AND ?3 >= 0",
        produced,
    )?;
    Ok(Tally {
        produced,
        stored,
        held: (produced - acked).saturating_sub(stored - below),
        missing: acked.saturating_sub(below + given_up),
        duplicates,
        lost: given_up,
    })
}

/// One whole number from the server's database, also while the server runs; 0 for NULL.
///
/// # Panics
/// When the database cannot be read or the question is wrong.
pub fn number(database: &Path, question: &str) -> i64 {
    let server = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let answer = server.and_then(|db| {
        db.busy_timeout(std::time::Duration::from_secs(10))?;
        db.query_row(question, (), |row| row.get::<_, Option<i64>>(0))
    });
    let answer = answer.unwrap_or_else(|e| panic!("{}: {question}: {e}", database.display()));
    answer.unwrap_or(0)
}

/// A column of whole numbers from the server's database, also while the server runs; NULLs are left out.
///
/// # Panics
/// When the database cannot be read or the question is wrong.
pub fn numbers(database: &Path, question: &str) -> Vec<i64> {
    let server = Connection::open_with_flags(database, OpenFlags::SQLITE_OPEN_READ_ONLY);
    let answer = server.and_then(|db| {
        db.busy_timeout(std::time::Duration::from_secs(10))?;
        let mut asked = db.prepare(question)?;
        let rows = asked.query_map((), |row| row.get::<_, Option<i64>>(0))?;
        rows.filter_map(Result::transpose).collect()
    });
    answer.unwrap_or_else(|e| panic!("{}: {question}: {e}", database.display()))
}
