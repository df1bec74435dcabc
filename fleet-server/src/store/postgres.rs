//! Shell: the engine for installations that have outgrown one file: a `PostgreSQL` server.
//!
//! One writer connection and a few readers, each on a thread of its own. When the server goes away, a thread tries
//! to connect again for [`PATIENCE`], with rising pauses; then what waits is told [`StoreError::Unavailable`] and
//! the next piece of work begins a new round. Nothing is ever run twice: work whose commit was cut is refused, and
//! its caller, who does not know, sends again.
//!
//! Several server processes may share one database: what they race for is a row that is updated first, which takes
//! its lock. Limit: no TLS to the database yet. Use a unix socket, or a network of its own.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: connections, and pauses between them"
)]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use postgres::config::SslMode;
use postgres::types::{IsNull, ToSql, Type, to_sql_checked};
use postgres::{Client, Config, NoTls, Statement};

use super::group::{Session, Threads};
use super::{Cell, Row, Store, StoreError, Tx, Value};

/// Reader threads.
const READERS: usize = 4;
/// How long one piece of work waits for a server that is away.
const PATIENCE: Duration = Duration::from_secs(5);
/// The first pause between two tries; it doubles up to a second.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Connects to the server at `url`, brings its schema to the newest and starts the threads.
pub fn open(url: &str) -> Result<Store, StoreError> {
    let config = parse(url)?;
    let writer = begin(config.clone())?;
    let readers = (0..READERS).map(|_| Postgres::new(config.clone())).collect();
    Ok(Store::new(Arc::new(Threads::start(writer, readers)?)))
}

/// The first connection, with the newest schema behind it.
///
/// On a thread of its own, as all later ones: the driver blocks on a runtime inside it, which it may not do on a
/// thread of ours that runs tasks.
fn begin(config: Config) -> Result<Postgres, StoreError> {
    let connect = || {
        let mut writer = Postgres::new(config);
        writer.ready()?;
        super::migrate::postgres(writer.client()?)?;
        Ok(writer)
    };
    let connected = std::thread::scope(|threads| threads.spawn(connect).join());
    connected.unwrap_or_else(|_| {
        Err(StoreError::Unavailable {
            step: "connecting",
            why: "the thread for it panicked".into(),
        })
    })
}

fn parse(url: &str) -> Result<Config, StoreError> {
    let wrong = |why: String| StoreError::Unavailable {
        step: "reading the database's address",
        why,
    };
    let mut config: Config = url.parse().map_err(|e: postgres::Error| wrong(chain(&e)))?;
    if config.get_ssl_mode() == SslMode::Require {
        return Err(wrong(
            "TLS to the database is not built in yet: use a unix socket or a private network, and sslmode=disable".into(),
        ));
    }
    config
        .application_name("homeward-fleet")
        .ssl_mode(SslMode::Disable)
        .connect_timeout(PATIENCE)
        .keepalives_idle(Duration::from_secs(30))
        .tcp_user_timeout(Duration::from_secs(30));
    Ok(config)
}

struct Postgres {
    config: Config,
    client: Option<Client>,
    statements: HashMap<&'static str, Statement>,
    begun: bool,
}

impl Postgres {
    fn new(config: Config) -> Postgres {
        Postgres {
            config,
            client: None,
            statements: HashMap::new(),
            begun: false,
        }
    }

    fn client(&mut self) -> Result<&mut Client, StoreError> {
        self.client.as_mut().ok_or_else(|| StoreError::Unavailable {
            step: "running a statement",
            why: "there is no connection to the database server".into(),
        })
    }

    fn connect(&mut self) -> Result<(), StoreError> {
        self.statements.clear();
        self.client = None;
        let give_up = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            match self.config.connect(NoTls) {
                Ok(client) => {
                    self.client = Some(client);
                    return Ok(());
                }
                Err(e) if Instant::now() + pause > give_up => return Err(failed("connecting", &e)),
                Err(_) => std::thread::sleep(pause),
            }
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn prepared(&mut self, sql: &'static str) -> Result<Statement, StoreError> {
        if let Some(statement) = self.statements.get(sql) {
            return Ok(statement.clone());
        }
        let statement = self
            .client()?
            .prepare(sql)
            .map_err(|e| failed("preparing a statement", &e))?;
        self.statements.insert(sql, statement.clone());
        Ok(statement)
    }
}

impl Session for Postgres {
    const BEGIN_WRITE: &'static str = "BEGIN";
    const BEGIN_READ: &'static str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";

    fn ready(&mut self) -> Result<(), StoreError> {
        let open = std::mem::replace(&mut self.begun, true);
        match &mut self.client {
            Some(client) if !client.is_closed() => {
                if !open || client.batch_execute("ROLLBACK").is_ok() {
                    return Ok(());
                }
                self.connect()
            }
            _ => self.connect(),
        }
    }

    fn stands(&self) -> bool {
        self.client.as_ref().is_some_and(|client| !client.is_closed())
    }

    fn fatal(&self) -> Option<&str> {
        None // a server that is away may come back
    }
}

impl Tx for Postgres {
    fn execute(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<u64, StoreError> {
        let statement = self.prepared(sql)?;
        let params: Vec<Param<'_>> = with.iter().map(Param).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let touched = self.client()?.execute(&statement, &params);
        let touched = touched.map_err(|e| failed("running a statement", &e))?;
        if sql == "COMMIT" || sql == "ROLLBACK" {
            self.begun = false;
        }
        Ok(touched)
    }

    fn rows(&mut self, sql: &'static str, with: &[Value<'_>]) -> Result<Vec<Row>, StoreError> {
        let statement = self.prepared(sql)?;
        let params: Vec<Param<'_>> = with.iter().map(Param).collect();
        let params: Vec<&(dyn ToSql + Sync)> = params.iter().map(|p| p as &(dyn ToSql + Sync)).collect();
        let found = self.client()?.query(&statement, &params);
        let found = found.map_err(|e| failed("running a query", &e))?;
        found.iter().map(|row| convert(sql, row)).collect()
    }
}

#[derive(Debug)]
struct Param<'a>(&'a Value<'a>);

impl ToSql for Param<'_> {
    fn to_sql(
        &self,
        ty: &Type,
        out: &mut BytesMut,
    ) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match self.0 {
            Value::Null => Ok(IsNull::Yes),
            Value::Int(v) if *ty == Type::INT8 => v.to_sql(ty, out),
            Value::Text(v) if *ty == Type::TEXT => v.to_sql(ty, out),
            Value::Blob(v) if *ty == Type::BYTEA => v.to_sql(ty, out),
            _ => Err(format!("a parameter of type {ty} takes BIGINT, TEXT or BYTEA only").into()),
        }
    }

    fn accepts(_: &Type) -> bool {
        true // `to_sql` says no, with a reason
    }

    to_sql_checked!();
}

fn convert(sql: &'static str, row: &postgres::Row) -> Result<Row, StoreError> {
    let mut kept = Row {
        statement: sql,
        cells: Vec::with_capacity(row.len()),
    };
    for column in 0..row.len() {
        let cell = cell(row, column).map_err(|why| kept.corrupt(column, why))?;
        kept.cells.push(cell);
    }
    Ok(kept)
}

fn cell(row: &postgres::Row, column: usize) -> Result<Cell, String> {
    let ty = row.columns()[column].type_();
    let cell = if *ty == Type::INT8 {
        row.try_get::<_, Option<i64>>(column).map(|v| v.map(Cell::Int))
    } else if *ty == Type::INT4 {
        row.try_get::<_, Option<i32>>(column)
            .map(|v| v.map(|v| Cell::Int(v.into())))
    } else if *ty == Type::BOOL {
        row.try_get::<_, Option<bool>>(column)
            .map(|v| v.map(|v| Cell::Int(v.into())))
    } else if *ty == Type::TEXT {
        row.try_get::<_, Option<String>>(column)
            .map(|v| v.map(Cell::Text))
    } else if *ty == Type::BYTEA {
        row.try_get::<_, Option<Vec<u8>>>(column)
            .map(|v| v.map(Cell::Blob))
    } else {
        return Err(format!(
            "of type {ty}: cast it to BIGINT, TEXT or BYTEA in the statement"
        ));
    };
    cell.map(|cell| cell.unwrap_or(Cell::Null)).map_err(|e| chain(&e))
}

pub(super) fn failed(step: &'static str, error: &postgres::Error) -> StoreError {
    let code = error.code().map(postgres::error::SqlState::code);
    match code {
        // Integrity constraints; serialisation failures and deadlocks.
        Some(code) if code.starts_with("23") || code == "40001" || code == "40P01" => {
            StoreError::Conflict(chain(error))
        }
        _ => StoreError::Unavailable {
            step,
            why: chain(error),
        },
    }
}

/// The driver's error says little without its source.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text.push_str(": ");
        text.push_str(&source.to_string());
        next = source.source();
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_that_asks_for_tls_is_refused_with_the_reason() {
        let refused =
            parse("postgresql://hw@db.example/hw?sslmode=require").expect_err("TLS is not built in");
        assert!(
            refused
                .to_string()
                .contains("TLS to the database is not built in yet")
        );
        assert!(parse("postgresql://hw@/hw?host=/run/postgresql").is_ok());
        assert!(parse("postgresql://[").is_err());
    }
}
