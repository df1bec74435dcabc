//! Shell: the first operator's one-time code, and what the command line makes: people and tokens.

use homeward_protocol::claim::Code;
use homeward_protocol::id::TeamId;
use homeward_protocol::time::Timestamp;

use super::password::{PasswordError, hash_now};
use super::token::{self, NoRandomness, PREFIX, Secret};
use super::{PasswordRule, Role, SETUP_MS, Scope, UserName, check_password};
use crate::store::{Store, StoreError, tokens, users};

/// Why access could not be given.
#[derive(Debug, thiserror::Error)]
pub enum SetupError {
    /// The password is against a rule.
    #[error("the password is not taken")]
    Password(#[source] PasswordRule),
    /// The password could not be hashed.
    #[error("the password is not taken")]
    Hash(#[source] PasswordError),
    /// A nurse without a team would see nothing; an operator sees all.
    #[error("a nurse needs a care team and an operator has none")]
    Team,
    /// No random bytes.
    #[error("a secret could not be made")]
    Random(#[source] NoRandomness),
    /// The store said no.
    #[error("access could not be kept")]
    Store(#[source] StoreError),
}

/// The one-time code for the first operator, to be printed once; `None` when there is somebody already.
///
/// Only its SHA-256 is kept. Each call replaces the code before, so a restart gives a new one.
pub async fn setup_code(store: &Store, now: Timestamp) -> Result<Option<Code>, SetupError> {
    let code = Code::from_random(token::random().map_err(SetupError::Random)?);
    let hash = token::kept(code.plain());
    let made = store.write(move |tx| {
        let first = users::none(tx)?;
        if first {
            users::put_setup_code(tx, &hash, now.plus_ms(SETUP_MS), now)?;
        }
        Ok(first)
    });
    Ok(made.await.map_err(SetupError::Store)?.then_some(code))
}

/// Makes a person; the password is checked and hashed here. `by` is for the audit trail.
pub async fn add_user(
    store: &Store,
    name: UserName,
    role: Role,
    team: Option<TeamId>,
    password: &str,
    by: &str,
    now: Timestamp,
) -> Result<(), SetupError> {
    check_team(role, team.as_ref())?;
    check_password(&name, password).map_err(SetupError::Password)?;
    let hash = hash_now(password).map_err(SetupError::Hash)?;
    let by = by.to_owned();
    let made = store.write(move |tx| users::add(tx, &name, role, team.as_ref(), &hash, &by, now));
    made.await.map_err(SetupError::Store)
}

/// A nurse has a team, an operator has none.
pub fn check_team(role: Role, team: Option<&TeamId>) -> Result<(), SetupError> {
    match (role, team) {
        (Role::Operator, None) | (Role::Nurse, Some(_)) => Ok(()),
        _ => Err(SetupError::Team),
    }
}

/// Makes an API token that lasts `days`; gives its text, which is shown once and kept nowhere.
pub async fn make_token(
    store: &Store,
    name: &str,
    scopes: Vec<Scope>,
    days: u32,
    by: &str,
    now: Timestamp,
) -> Result<String, SetupError> {
    let secret = Secret::new().map_err(SetupError::Random)?;
    let text = format!("{PREFIX}{}", secret.reveal());
    let hash = token::kept(&text);
    let id = token::public_id(&hash);
    let expires = now.plus_ms(i64::from(days) * 86_400_000);
    let (name, by) = (name.to_owned(), by.to_owned());
    let kept = store.write(move |tx| {
        let new = tokens::New {
            id: &id,
            name: &name,
            hash: &hash,
            scopes: &scopes,
            expires,
            by: &by,
        };
        tokens::add(tx, new, now)
    });
    kept.await.map_err(SetupError::Store)?;
    Ok(text)
}
