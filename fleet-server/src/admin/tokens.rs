//! Shell: `token new|list|revoke`.

use homeward_protocol::time::Timestamp;
use serde_json::{Value, json};

use super::{AdminError, BY, Said};
use crate::access::{Scope, of_caller, setup};
use crate::cli::TokenCommand;
use crate::clock::Clock;
use crate::store::Store;
use crate::store::tokens::{self, Listed};

/// Tokens in a listing.
const MOST: i64 = 500;

/// Runs one `token` command on a data folder.
pub(super) async fn run(store: &Store, command: &TokenCommand, clock: &Clock) -> Result<Said, AdminError> {
    match command {
        TokenCommand::New { name, scopes, days } => new(store, name, scopes, *days, clock).await,
        TokenCommand::List => list(store, clock).await,
        TokenCommand::Revoke { id } => revoke(store, id, clock).await,
    }
}

async fn new(
    store: &Store,
    name: &str,
    scopes: &[String],
    days: u16,
    clock: &Clock,
) -> Result<Said, AdminError> {
    let scopes: Vec<Scope> = scopes.iter().map(super::asked).collect::<Result<_, _>>()?;
    let token = setup::make_token(store, name, scopes, u32::from(days), BY, clock.now()).await?;
    let text = format!("{token}\n\nThis is shown once. It ends in {days} days.");
    Ok(Said::new(text, &json!({ "token": token, "days": days })))
}

async fn list(store: &Store, clock: &Clock) -> Result<Said, AdminError> {
    let (all, now) = (store.read(|tx| tokens::list(tx, MOST)).await?, clock.now());
    if all.is_empty() {
        let text = "There is no token. Make one: homeward-fleet --data DIR token new NAME --scope fleet:read";
        return Ok(Said::new(text, &json!([])));
    }
    let lines: Vec<String> = all.iter().map(|one| line(one, now)).collect();
    let row = |one: &Listed| {
        json!({
            "id": one.id, "name": one.name, "scopes": one.scopes.split(' ').collect::<Vec<_>>(), "by": one.by,
            "made_at": one.made.ms, "expires_at": one.expires.ms, "last_used": one.used.map(|at| at.ms),
            "revoked_at": one.revoked.map(|at| at.ms), "stands": stands(one, now),
        })
    };
    let rows: Vec<Value> = all.iter().map(row).collect();
    Ok(Said::new(lines.join("\n"), &rows))
}

fn stands(one: &Listed, now: Timestamp) -> bool {
    one.revoked.is_none() && one.expires.ms > now.ms
}

fn line(one: &Listed, now: Timestamp) -> String {
    let until = match one.revoked {
        Some(at) => format!("TAKEN BACK at {at}"),
        None if stands(one, now) => format!("until {}", one.expires),
        None => format!("ended at {}", one.expires),
    };
    let used = one
        .used
        .map_or("never used".to_owned(), |at| format!("last used at {at}"));
    format!(
        "{}  {}  {}\n  made by {} at {}; {until}; {used}",
        one.id, one.name, one.scopes, one.by, one.made
    )
}

async fn revoke(store: &Store, id: &str, clock: &Clock) -> Result<Said, AdminError> {
    // As `token list` says it, or as the audit trail does.
    let id = of_caller(id).unwrap_or(id);
    let (which, now) = (id.to_owned(), clock.now());
    if store.write(move |tx| tokens::revoke(tx, &which, BY, now)).await? {
        let text = format!(
            "Token {id} opens nothing any more; a running server cuts what it holds open of support sessions"
        );
        Ok(Said::new(text, &json!({ "id": id })))
    } else {
        Err(AdminError::Found(format!(
            "there is no token {id} that could be taken back: see `token list`"
        )))
    }
}
