//! People who sign in, their sessions, and the set-up codes for the first of them.

use homeward_protocol::id::TeamId;
use homeward_protocol::time::Timestamp;

use super::{Row, StoreError, Tx, audit};
use crate::access::{IDLE_MS, Role, SESSION_MS, UserName, locked_until};
use crate::audit::Action;

/// A session's end is moved at most this often, so that looking at pages is not a write each time.
const TOUCH_EVERY_MS: i64 = 60_000;
/// Most people that are listed.
const MOST: i64 = 1000;

/// A person who may sign in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// The sign-in name.
    pub name: UserName,
    /// What the person may do.
    pub role: Role,
    /// A nurse's care team.
    pub team: Option<TeamId>,
    /// Since when.
    pub created_at: Timestamp,
    /// Shut out since.
    pub disabled_at: Option<Timestamp>,
}

/// What a sign-in is checked against.
#[derive(Clone, PartialEq, Eq)]
pub struct Kept {
    /// The PHC string of the password.
    pub password: String,
    /// What the person may do.
    pub role: Role,
    /// No sign-in until then, after too many wrong passwords.
    pub locked_until: Option<Timestamp>,
}

/// An open session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Session {
    /// Who.
    pub user: UserName,
    /// What the person may do, now.
    pub role: Role,
    /// The person's care team, now.
    pub team: Option<TeamId>,
    /// What forms must carry.
    pub csrf: String,
}

/// Makes a person. `password` is a PHC string. [`StoreError::Conflict`] when the name is taken or the team missing.
pub fn add(
    tx: &mut dyn Tx,
    name: &UserName,
    role: Role,
    team: Option<&TeamId>,
    password: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let with = [
        name.as_str().into(),
        role.name().into(),
        team.map(TeamId::as_str).into(),
        password.into(),
        now.ms.into(),
    ];
    tx.execute(
        "INSERT INTO users (name, role, team, password, created_at) VALUES ($1, $2, $3, $4, $5)",
        &with,
    )?;
    let detail = team.map_or(role.name().to_owned(), |team| {
        format!("{} of team {team}", role.name())
    });
    audit::record(tx, now, by, Action::UserAdded, name.as_str(), &detail)
}

/// Everybody, by name.
pub fn list(tx: &mut dyn Tx) -> Result<Vec<User>, StoreError> {
    let rows = tx.rows(
        "SELECT name, role, team, created_at, disabled_at FROM users ORDER BY name LIMIT $1",
        &[MOST.into()],
    )?;
    let user = |row: &Row| {
        Ok(User {
            name: row.parse(0)?,
            role: row.parse(1)?,
            team: row.opt_text(2)?.map(|_| row.parse(2)).transpose()?,
            created_at: Timestamp::synced(row.int(3)?),
            disabled_at: row.opt_int(4)?.map(Timestamp::synced),
        })
    };
    rows.iter().map(user).collect()
}

/// Whether there is nobody yet.
pub fn none(tx: &mut dyn Tx) -> Result<bool, StoreError> {
    Ok(tx.row("SELECT name FROM users LIMIT 1", &[])?.is_none())
}

/// Shuts a person out at once: sessions end too. False when there is nobody of that name, or already shut out.
pub fn disable(tx: &mut dyn Tx, name: &UserName, by: &str, now: Timestamp) -> Result<bool, StoreError> {
    let with = [now.ms.into(), name.as_str().into()];
    let sql = "UPDATE users SET disabled_at = $1 WHERE name = $2 AND disabled_at IS NULL";
    if tx.execute(sql, &with)? == 0 {
        return Ok(false);
    }
    tx.execute(
        "DELETE FROM sessions WHERE user_name = $1",
        &[name.as_str().into()],
    )?;
    audit::record(tx, now, by, Action::UserDisabled, name.as_str(), "")?;
    Ok(true)
}

/// What a sign-in under this name is checked against; `None` for nobody, or somebody shut out.
pub fn kept(tx: &mut dyn Tx, name: &UserName) -> Result<Option<Kept>, StoreError> {
    let row = tx.row(
        "SELECT password, role, locked_until FROM users WHERE name = $1 AND disabled_at IS NULL",
        &[name.as_str().into()],
    )?;
    let kept = |row: Row| {
        Ok(Kept {
            password: row.text(0)?.to_owned(),
            role: row.parse(1)?,
            locked_until: row.opt_int(2)?.map(Timestamp::synced),
        })
    };
    row.map(kept).transpose()
}

/// Notes a wrong password, and closes sign-in for a while after too many.
pub fn note_failure(tx: &mut dyn Tx, name: &UserName, now: Timestamp) -> Result<(), StoreError> {
    let who = name.as_str();
    tx.execute(
        "UPDATE users SET failed_tries = failed_tries + 1 WHERE name = $1",
        &[who.into()],
    )?;
    let Some(row) = tx.row("SELECT failed_tries FROM users WHERE name = $1", &[who.into()])? else {
        return Ok(());
    };
    if let Some(until) = locked_until(row.int(0)?, now) {
        let with = [until.ms.into(), who.into()];
        tx.execute("UPDATE users SET locked_until = $1 WHERE name = $2", &with)?;
    }
    audit::record(tx, now, who, Action::SignInRefused, who, "wrong password")
}

/// Opens a session: `token` and `csrf` are random, only the token's hash is kept.
pub fn open_session(
    tx: &mut dyn Tx,
    name: &UserName,
    token_hash: &[u8],
    csrf: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    let who = name.as_str();
    tx.execute(
        "UPDATE users SET failed_tries = 0, locked_until = NULL WHERE name = $1",
        &[who.into()],
    )?;
    tx.execute("DELETE FROM sessions WHERE expires_at <= $1", &[now.ms.into()])?;
    let expires = now.plus_ms(IDLE_MS).ms;
    tx.execute(
        "INSERT INTO sessions (token_hash, user_name, csrf, created_at, expires_at) VALUES ($1, $2, $3, $4, $5)",
        &[token_hash.into(), who.into(), csrf.into(), now.ms.into(), expires.into()],
    )?;
    audit::record(tx, now, who, Action::UserSignedIn, who, "")
}

/// The open session behind a token's hash, and whether its end should be moved ([`touch_session`]).
pub fn session(
    tx: &mut dyn Tx,
    token_hash: &[u8],
    now: Timestamp,
) -> Result<Option<(Session, bool)>, StoreError> {
    let row = tx.row(
        "SELECT u.name, u.role, u.team, s.csrf, s.created_at, s.expires_at
         FROM sessions s JOIN users u ON u.name = s.user_name
         WHERE s.token_hash = $1 AND s.expires_at > $2 AND u.disabled_at IS NULL",
        &[token_hash.into(), now.ms.into()],
    )?;
    let Some(row) = row else { return Ok(None) };
    let session = Session {
        user: row.parse(0)?,
        role: row.parse(1)?,
        team: row.opt_text(2)?.map(|_| row.parse(2)).transpose()?,
        csrf: row.text(3)?.to_owned(),
    };
    let end = until(row.int(4)?, now);
    Ok(Some((session, end - row.int(5)? >= TOUCH_EVERY_MS)))
}

/// A page was opened: the session lasts on, but never beyond its longest life.
pub fn touch_session(tx: &mut dyn Tx, token_hash: &[u8], now: Timestamp) -> Result<(), StoreError> {
    let Some(row) = tx.row(
        "SELECT created_at FROM sessions WHERE token_hash = $1",
        &[token_hash.into()],
    )?
    else {
        return Ok(());
    };
    let with = [until(row.int(0)?, now).into(), token_hash.into()];
    tx.execute("UPDATE sessions SET expires_at = $1 WHERE token_hash = $2", &with)?;
    Ok(())
}

fn until(created_ms: i64, now: Timestamp) -> i64 {
    now.plus_ms(IDLE_MS).ms.min(created_ms.saturating_add(SESSION_MS))
}

/// Ends a session.
pub fn close_session(
    tx: &mut dyn Tx,
    token_hash: &[u8],
    name: &UserName,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM sessions WHERE token_hash = $1", &[token_hash.into()])?;
    audit::record(tx, now, name.as_str(), Action::UserSignedOut, name.as_str(), "")
}

/// Gives a person another password (a PHC string) and ends every session of theirs but the one behind `token_hash`.
/// False, and nothing done, for somebody who was shut out.
pub fn change_password(
    tx: &mut dyn Tx,
    name: &UserName,
    password: &str,
    token_hash: &[u8],
    now: Timestamp,
) -> Result<bool, StoreError> {
    let who = name.as_str();
    let changed = tx.execute(
        "UPDATE users SET password = $1, failed_tries = 0, locked_until = NULL
         WHERE name = $2 AND disabled_at IS NULL",
        &[password.into(), who.into()],
    )?;
    if changed == 0 {
        return Ok(false);
    }
    let ended = tx.execute(
        "DELETE FROM sessions WHERE user_name = $1 AND token_hash <> $2",
        &[who.into(), token_hash.into()],
    )?;
    let detail = format!("other sessions ended: {ended}");
    audit::record(tx, now, who, Action::PasswordChanged, who, &detail)?;
    Ok(true)
}

/// Puts a set-up code in the place of any before it.
pub fn put_setup_code(
    tx: &mut dyn Tx,
    code_hash: &[u8],
    expires: Timestamp,
    now: Timestamp,
) -> Result<(), StoreError> {
    tx.execute("DELETE FROM setup_codes", &[])?;
    let with = [code_hash.into(), now.ms.into(), expires.ms.into()];
    tx.execute(
        "INSERT INTO setup_codes (code_hash, created_at, expires_at) VALUES ($1, $2, $3)",
        &with,
    )?;
    Ok(())
}

/// Burns a set-up code and makes the first operator with it. False, and nothing done, when the code is not the one,
/// is too old, or there is somebody already.
pub fn first_operator(
    tx: &mut dyn Tx,
    code_hash: &[u8],
    name: &UserName,
    password: &str,
    now: Timestamp,
) -> Result<bool, StoreError> {
    let with = [code_hash.into(), now.ms.into()];
    let burnt = tx.execute(
        "DELETE FROM setup_codes WHERE code_hash = $1 AND expires_at > $2",
        &with,
    )?;
    if burnt == 0 || !none(tx)? {
        return Ok(false);
    }
    add(tx, name, Role::Operator, None, password, "setup", now)?;
    audit::record(tx, now, "setup", Action::FirstOperatorMade, name.as_str(), "")?;
    Ok(true)
}
