//! API tokens: kept as SHA-256, with scopes, an end, and when they were last used.

use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, audit};
use crate::access::Scope;
use crate::audit::Action;

/// "Last used" is written at most this often.
const TOUCH_EVERY_MS: i64 = 60_000;

/// A token as it is to be kept.
#[derive(Debug, Clone, Copy)]
pub struct New<'a> {
    /// Its own id, which is no secret.
    pub id: &'a str,
    /// What it is for.
    pub name: &'a str,
    /// SHA-256 of its text.
    pub hash: &'a [u8],
    /// What it may do.
    pub scopes: &'a [Scope],
    /// Until when.
    pub expires: Timestamp,
    /// Who made it.
    pub by: &'a str,
}

/// A token that may be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Valid {
    /// Its id.
    pub id: String,
    /// What it may do.
    pub scopes: Vec<Scope>,
    /// Whether "last used" should be written ([`touch`]).
    pub stale: bool,
}

/// Keeps a new token.
pub fn add(tx: &mut dyn Tx, new: New<'_>, now: Timestamp) -> Result<(), StoreError> {
    let scopes = new.scopes.iter().map(|s| s.name()).collect::<Vec<_>>().join(" ");
    tx.execute(
        "INSERT INTO tokens (id, name, token_hash, scopes, created_by, created_at, expires_at)
         VALUES ($1, $2, $3, $4, $5, $6, $7)",
        &[
            new.id.into(),
            new.name.into(),
            new.hash.into(),
            scopes.as_str().into(),
            new.by.into(),
            now.ms.into(),
            new.expires.ms.into(),
        ],
    )?;
    let detail = format!("{scopes}, until {}", new.expires);
    audit::record(tx, now, new.by, Action::TokenMade, new.id, &detail)
}

/// The token with this hash, when it may be used now.
pub fn valid(tx: &mut dyn Tx, hash: &[u8], now: Timestamp) -> Result<Option<Valid>, StoreError> {
    let row = tx.row(
        "SELECT id, scopes, last_used FROM tokens
         WHERE token_hash = $1 AND expires_at > $2 AND revoked_at IS NULL",
        &[hash.into(), now.ms.into()],
    )?;
    row.map(|row| valid_row(&row, now)).transpose()
}

fn valid_row(row: &Row, now: Timestamp) -> Result<Valid, StoreError> {
    let scopes = row
        .text(1)?
        .split(' ')
        .map(|s| s.parse::<Scope>().map_err(|e| row.corrupt(1, e)));
    Ok(Valid {
        id: row.text(0)?.to_owned(),
        scopes: scopes.collect::<Result<_, _>>()?,
        stale: row.opt_int(2)?.is_none_or(|at| now.ms - at >= TOUCH_EVERY_MS),
    })
}

/// Whether the token of this id may still be used.
pub fn stands(tx: &mut dyn Tx, id: &str, now: Timestamp) -> Result<bool, StoreError> {
    let row = tx.row(
        "SELECT 1 FROM tokens WHERE id = $1 AND expires_at > $2 AND revoked_at IS NULL",
        &[id.into(), now.ms.into()],
    )?;
    Ok(row.is_some())
}

/// A token, as it is listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Its own id, which is no secret.
    pub id: String,
    /// What it is for.
    pub name: String,
    /// What it may do.
    pub scopes: String,
    /// Who made it.
    pub by: String,
    /// When.
    pub made: Timestamp,
    /// Until when it may be used.
    pub expires: Timestamp,
    /// When it was last used, to the minute.
    pub used: Option<Timestamp>,
    /// When it was taken back.
    pub revoked: Option<Timestamp>,
}

/// The newest tokens.
pub fn list(tx: &mut dyn Tx, limit: i64) -> Result<Vec<Listed>, StoreError> {
    let rows = tx.rows(
        "SELECT id, name, scopes, created_by, created_at, expires_at, last_used, revoked_at FROM tokens
         ORDER BY created_at DESC, id LIMIT $1",
        &[limit.into()],
    )?;
    let listed = |row: &Row| -> Result<Listed, StoreError> {
        Ok(Listed {
            id: row.text(0)?.to_owned(),
            name: row.text(1)?.to_owned(),
            scopes: row.text(2)?.to_owned(),
            by: row.text(3)?.to_owned(),
            made: Timestamp::synced(row.int(4)?),
            expires: Timestamp::synced(row.int(5)?),
            used: row.opt_int(6)?.map(Timestamp::synced),
            revoked: row.opt_int(7)?.map(Timestamp::synced),
        })
    };
    rows.iter().map(listed).collect()
}

/// Notes that a token was used.
pub fn touch(tx: &mut dyn Tx, id: &str, now: Timestamp) -> Result<(), StoreError> {
    tx.execute(
        "UPDATE tokens SET last_used = $1 WHERE id = $2",
        &[now.ms.into(), id.into()],
    )?;
    Ok(())
}

/// Ends a token. False when there is none of that id, or it has ended already.
pub fn revoke(tx: &mut dyn Tx, id: &str, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let with = [now.ms.into(), id.into()];
    let ended = tx.execute(
        "UPDATE tokens SET revoked_at = $1 WHERE id = $2 AND revoked_at IS NULL",
        &with,
    )?;
    if ended > 0 {
        audit::record(tx, now, by, Action::TokenRevoked, id, "")?;
    }
    Ok(ended > 0)
}
