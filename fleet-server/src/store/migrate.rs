//! Shell: brings a database to the newest schema.
//!
//! Two folders, one text: the files differ only in the column that numbers itself, and a test holds that. A
//! migration adds; what is no longer used is removed by a later release. What was applied may not change: a
//! database whose history differs is refused, not mended.

use refinery_core::traits::sync::{Migrate, Query, Transaction};
use refinery_core::{Migration, Runner};
use rusqlite::Connection;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::StoreError;

/// Every migration: its name and its text.
pub(super) const SQLITE: &[(&str, &str)] = &[
    ("V1__first", include_str!("../../migrations/sqlite/V1__first.sql")),
    (
        "V2__details",
        include_str!("../../migrations/sqlite/V2__details.sql"),
    ),
    ("V3__watch", include_str!("../../migrations/sqlite/V3__watch.sql")),
    (
        "V4__attestation",
        include_str!("../../migrations/sqlite/V4__attestation.sql"),
    ),
    ("V5__trust", include_str!("../../migrations/sqlite/V5__trust.sql")),
    (
        "V6__attempts",
        include_str!("../../migrations/sqlite/V6__attempts.sql"),
    ),
    ("V7__chips", include_str!("../../migrations/sqlite/V7__chips.sql")),
    (
        "V8__postures",
        include_str!("../../migrations/sqlite/V8__postures.sql"),
    ),
    (
        "V11__facts",
        include_str!("../../migrations/sqlite/V11__facts.sql"),
    ),
    (
        "V12__spare",
        include_str!("../../migrations/sqlite/V12__spare.sql"),
    ),
    (
        "V14__fleetpol",
        include_str!("../../migrations/sqlite/V14__fleetpol.sql"),
    ),
    (
        "V15__support",
        include_str!("../../migrations/sqlite/V15__support.sql"),
    ),
    (
        "V16__updates",
        include_str!("../../migrations/sqlite/V16__updates.sql"),
    ),
    (
        "V17__reference",
        include_str!("../../migrations/sqlite/V17__reference.sql"),
    ),
    (
        "V18__campaigns",
        include_str!("../../migrations/sqlite/V18__campaigns.sql"),
    ),
    (
        "V19__drafts",
        include_str!("../../migrations/sqlite/V19__drafts.sql"),
    ),
    (
        "V20__dossiers",
        include_str!("../../migrations/sqlite/V20__dossiers.sql"),
    ),
    (
        "V22__deadlines",
        include_str!("../../migrations/sqlite/V22__deadlines.sql"),
    ),
    (
        "V23__campaign_terms",
        include_str!("../../migrations/sqlite/V23__campaign_terms.sql"),
    ),
    (
        "V24__forces",
        include_str!("../../migrations/sqlite/V24__forces.sql"),
    ),
    (
        "V28__campaign_due",
        include_str!("../../migrations/sqlite/V28__campaign_due.sql"),
    ),
    (
        "V29__quiet",
        include_str!("../../migrations/sqlite/V29__quiet.sql"),
    ),
    (
        "V30__dossier_homes",
        include_str!("../../migrations/sqlite/V30__dossier_homes.sql"),
    ),
    (
        "V31__advisories",
        include_str!("../../migrations/sqlite/V31__advisories.sql"),
    ),
    (
        "V26__moved_tasks",
        include_str!("../../migrations/sqlite/V26__moved_tasks.sql"),
    ),
];
const POSTGRES: &[(&str, &str)] = &[
    (
        "V1__first",
        include_str!("../../migrations/postgres/V1__first.sql"),
    ),
    (
        "V2__details",
        include_str!("../../migrations/postgres/V2__details.sql"),
    ),
    (
        "V3__watch",
        include_str!("../../migrations/postgres/V3__watch.sql"),
    ),
    (
        "V4__attestation",
        include_str!("../../migrations/postgres/V4__attestation.sql"),
    ),
    (
        "V5__trust",
        include_str!("../../migrations/postgres/V5__trust.sql"),
    ),
    (
        "V6__attempts",
        include_str!("../../migrations/postgres/V6__attempts.sql"),
    ),
    (
        "V7__chips",
        include_str!("../../migrations/postgres/V7__chips.sql"),
    ),
    (
        "V8__postures",
        include_str!("../../migrations/postgres/V8__postures.sql"),
    ),
    (
        "V11__facts",
        include_str!("../../migrations/postgres/V11__facts.sql"),
    ),
    (
        "V12__spare",
        include_str!("../../migrations/postgres/V12__spare.sql"),
    ),
    (
        "V14__fleetpol",
        include_str!("../../migrations/postgres/V14__fleetpol.sql"),
    ),
    (
        "V15__support",
        include_str!("../../migrations/postgres/V15__support.sql"),
    ),
    (
        "V16__updates",
        include_str!("../../migrations/postgres/V16__updates.sql"),
    ),
    (
        "V17__reference",
        include_str!("../../migrations/postgres/V17__reference.sql"),
    ),
    (
        "V18__campaigns",
        include_str!("../../migrations/postgres/V18__campaigns.sql"),
    ),
    (
        "V19__drafts",
        include_str!("../../migrations/postgres/V19__drafts.sql"),
    ),
    (
        "V20__dossiers",
        include_str!("../../migrations/postgres/V20__dossiers.sql"),
    ),
    (
        "V22__deadlines",
        include_str!("../../migrations/postgres/V22__deadlines.sql"),
    ),
    (
        "V23__campaign_terms",
        include_str!("../../migrations/postgres/V23__campaign_terms.sql"),
    ),
    (
        "V24__forces",
        include_str!("../../migrations/postgres/V24__forces.sql"),
    ),
    (
        "V28__campaign_due",
        include_str!("../../migrations/postgres/V28__campaign_due.sql"),
    ),
    (
        "V29__quiet",
        include_str!("../../migrations/postgres/V29__quiet.sql"),
    ),
    (
        "V30__dossier_homes",
        include_str!("../../migrations/postgres/V30__dossier_homes.sql"),
    ),
    (
        "V31__advisories",
        include_str!("../../migrations/postgres/V31__advisories.sql"),
    ),
    (
        "V26__moved_tasks",
        include_str!("../../migrations/postgres/V26__moved_tasks.sql"),
    ),
];

/// Brings an embedded database to the newest schema.
pub fn sqlite(db: &mut Connection) -> Result<(), StoreError> {
    run(SQLITE, &mut Embedded(db))
}

/// Brings a `PostgreSQL` database to the newest schema.
pub fn postgres(client: &mut postgres::Client) -> Result<(), StoreError> {
    // When two processes start at once, the second finds the work done under its feet; then it looks again.
    run(POSTGRES, &mut Server(client)).or_else(|_| run(POSTGRES, &mut Server(client)))
}

fn run(files: &[(&str, &str)], on: &mut impl Migrate) -> Result<(), StoreError> {
    let failed = |e: refinery_core::Error| StoreError::Unavailable {
        step: "bringing it to the newest schema",
        why: e.to_string(),
    };
    let migrations: Result<Vec<Migration>, _> = files
        .iter()
        .map(|(name, sql)| Migration::unapplied(name, sql))
        .collect();
    let runner = Runner::new(&migrations.map_err(failed)?).set_grouped(true);
    runner.run(on).map(drop).map_err(failed)
}

/// A row of the history: version, name, when (RFC 3339), checksum.
fn applied(version: i32, name: String, on: &str, checksum: &str) -> Option<Migration> {
    let on = OffsetDateTime::parse(on, &Rfc3339).ok()?;
    Some(Migration::applied(version, name, on, checksum.parse().ok()?))
}

/// `refinery`'s own driver stops at an older `rusqlite` than ours.
struct Embedded<'a>(&'a mut Connection);

impl Transaction for Embedded<'_> {
    type Error = rusqlite::Error;

    fn execute<'q, T: Iterator<Item = &'q str>>(&mut self, steps: T) -> Result<usize, Self::Error> {
        let tx = self.0.transaction()?;
        let mut done = 0;
        for sql in steps {
            tx.execute_batch(sql)?;
            done += 1;
        }
        tx.commit()?;
        Ok(done)
    }
}

impl Query<Vec<Migration>> for Embedded<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Migration>, Self::Error> {
        let mut statement = self.0.prepare(query)?;
        let rows = statement.query_map([], |row| {
            let (on, checksum): (String, String) = (row.get(2)?, row.get(3)?);
            let odd = || rusqlite::Error::InvalidColumnName("the history of migrations is damaged".into());
            applied(row.get(0)?, row.get(1)?, &on, &checksum).ok_or_else(odd)
        })?;
        rows.collect()
    }
}

impl Migrate for Embedded<'_> {}

/// A `PostgreSQL` connection; several processes that start at once migrate one after another.
struct Server<'a>(&'a mut postgres::Client);

/// Any number that nothing else on the server locks: "homeward" in ASCII.
const LOCK: &str = "SELECT pg_advisory_xact_lock(7525353784921387620)";

#[derive(Debug, thiserror::Error)]
enum ServerError {
    #[error("{}", .0.as_db_error().map_or_else(|| .0.to_string(), |e| e.message().to_owned()))]
    Driver(#[from] postgres::Error),
    #[error("the history of migrations is damaged")]
    History,
}

impl Transaction for Server<'_> {
    type Error = ServerError;

    fn execute<'q, T: Iterator<Item = &'q str>>(&mut self, steps: T) -> Result<usize, Self::Error> {
        let mut tx = self.0.transaction()?;
        tx.batch_execute(LOCK)?;
        let mut done = 0;
        for sql in steps {
            tx.batch_execute(sql)?;
            done += 1;
        }
        tx.commit()?;
        Ok(done)
    }
}

impl Query<Vec<Migration>> for Server<'_> {
    fn query(&mut self, query: &str) -> Result<Vec<Migration>, Self::Error> {
        let rows = self.0.query(query, &[])?;
        let read = |row: &postgres::Row| {
            let (on, checksum): (String, String) = (row.try_get(2)?, row.try_get(3)?);
            applied(row.try_get(0)?, row.try_get(1)?, &on, &checksum).ok_or(ServerError::History)
        };
        rows.iter().map(read).collect()
    }
}

impl Migrate for Server<'_> {}

/// Makes a database as a release with this newest schema left it, with something in it.
#[cfg(test)]
pub(super) fn as_of_version(config: &super::StoreConfig, version: u32) -> Result<(), StoreError> {
    const FILLED: &str =
        "INSERT INTO gateways (id, state, created_at, connected_at) VALUES ('gw-1', 'enrolled', 1, 2);
         INSERT INTO certificates (serial, gateway, point, not_before, not_after, issued_at, der)
             VALUES ('aa', 'gw-1', BYTES4, 1, 9, 1, BYTES30);
         INSERT INTO streams (gateway, epoch, lane, up_to, head, started_at, updated_at)
             VALUES ('gw-1', '01', 'vital', 7, BYTES0, 1, 2);";
    let filled = |[open, close]: [&str; 2]| {
        let bytes = |hex: &str| format!("{open}{hex}{close}");
        let filled = FILLED
            .replace("BYTES30", &bytes("30"))
            .replace("BYTES4", &bytes("04"));
        filled.replace("BYTES0", &bytes("00"))
    };
    let older = |files: &[(&'static str, &'static str)]| -> Vec<(&'static str, &'static str)> {
        let number = |name: &str| name[1..].split("__").next().and_then(|n| n.parse::<u32>().ok());
        let older = files
            .iter()
            .copied()
            .filter(|(name, _)| number(name).is_some_and(|n| n <= version));
        older.collect()
    };
    match config {
        super::StoreConfig::Sqlite(path) => {
            let mut db = Connection::open(path).expect("opens");
            run(&older(SQLITE), &mut Embedded(&mut db))?;
            db.execute_batch(&filled(["x'", "'"])).expect("filled");
        }
        super::StoreConfig::Postgres(url) => {
            let mut client = postgres::Client::connect(url, postgres::NoTls).expect("connects");
            run(&older(POSTGRES), &mut Server(&mut client))?;
            client.batch_execute(&filled(["'\\x", "'"])).expect("filled");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[expect(clippy::disallowed_methods, reason = "tests: reads the folder of migrations")]
    fn both_engines_have_one_schema_text_but_for_the_column_that_numbers_itself() {
        assert_eq!(SQLITE.len(), POSTGRES.len());
        for engine in ["sqlite", "postgres"] {
            let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/migrations/").to_owned() + engine;
            let files = std::fs::read_dir(folder).expect("the folder").count();
            assert_eq!(files, SQLITE.len(), "a file of {engine} is not named here");
        }
        for ((name, embedded), (same, server)) in SQLITE.iter().zip(POSTGRES) {
            assert_eq!(name, same);
            let server = server.replace(
                "BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY",
                "INTEGER PRIMARY KEY AUTOINCREMENT",
            );
            let statements = |text: &str| {
                let lines: Vec<String> = text
                    .lines()
                    .filter(|line| !line.starts_with("--"))
                    .map(str::to_owned)
                    .collect();
                lines
            };
            assert_eq!(statements(embedded), statements(&server), "{name} differs");
        }
    }

    /// What is asked in the writer, and grows with the fleet.
    #[test]
    fn questions_in_the_writer_have_an_index() {
        let mut db = Connection::open_in_memory().expect("memory");
        sqlite(&mut db).expect("migrates");
        for (question, index) in [
            (
                "SELECT 1 FROM certificates WHERE point = x'04' AND spare = 0 LIMIT 1",
                "certificates_by_point",
            ),
            (
                "DELETE FROM packages WHERE inventory = 'a'",
                "sqlite_autoindex_packages_1",
            ),
            (
                "SELECT noted_at FROM drifts WHERE gateway = 'a' ORDER BY noted_at DESC LIMIT 1 OFFSET 9",
                "drifts_by_gateway",
            ),
        ] {
            let plan = format!("EXPLAIN QUERY PLAN {question}");
            let plan: String = db.query_row(&plan, [], |row| row.get(3)).expect("a plan");
            assert!(plan.contains(index), "{question}: {plan}");
        }
    }

    #[test]
    fn migrating_twice_changes_nothing_and_a_changed_history_is_refused() {
        let mut db = Connection::open_in_memory().expect("memory");
        sqlite(&mut db).expect("first");
        sqlite(&mut db).expect("again");
        db.execute_batch("UPDATE refinery_schema_history SET checksum = '1'")
            .expect("tampering");
        assert!(sqlite(&mut db).is_err());
    }
}
