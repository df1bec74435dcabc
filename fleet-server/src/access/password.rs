//! Shell: hashes and checks passwords (argon2id) away from the async threads, a few at a time.
#![expect(clippy::disallowed_methods, reason = "shell: blocking threads, random salts")]

use std::sync::Arc;

use argon2::Argon2;
use argon2::password_hash::phc::PasswordHash;
use argon2::password_hash::{PasswordHasher, PasswordVerifier};
use tokio::sync::Semaphore;

/// Passwords hashed at once. Each takes 19 MiB for some tens of milliseconds; more than this wait in line.
const AT_ONCE: usize = 2;
/// Attempts that may wait in line; beyond this a sign-in is turned away with "try again".
const IN_LINE: usize = 64;

/// Why a password could not be hashed or checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum PasswordError {
    /// Too many people sign in at this moment.
    #[error("too many sign-ins at this moment")]
    Busy,
    /// The hash function refused.
    #[error("the password could not be hashed")]
    Hash,
}

/// Hashes passwords, a few at a time. Cheap to clone.
#[derive(Clone)]
pub struct Passwords {
    line: Arc<Semaphore>,
    work: Arc<Semaphore>,
    /// What an unknown name is compared with, so that it takes as long as a known one.
    decoy: Arc<str>,
}

impl std::fmt::Debug for Passwords {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Passwords")
    }
}

impl Passwords {
    /// A hasher with its own line.
    pub fn new() -> Result<Passwords, PasswordError> {
        let decoy = hash_now("nobody has this password")?;
        Ok(Passwords {
            line: Arc::new(Semaphore::new(IN_LINE)),
            work: Arc::new(Semaphore::new(AT_ONCE)),
            decoy: decoy.into(),
        })
    }

    /// The PHC string that is kept.
    pub async fn hash(&self, password: String) -> Result<String, PasswordError> {
        self.run(move || hash_now(&password)).await?
    }

    /// Whether `password` is the one whose PHC string is `kept`; a missing one takes as long, and is wrong.
    pub async fn is_right(&self, password: String, kept: Option<String>) -> Result<bool, PasswordError> {
        let decoy = Arc::clone(&self.decoy);
        let check = move || {
            let known = kept.is_some();
            let kept = kept.unwrap_or_else(|| decoy.to_string());
            let parsed = PasswordHash::new(&kept).map_err(|_| PasswordError::Hash)?;
            let right = Argon2::default()
                .verify_password(password.as_bytes(), &parsed)
                .is_ok();
            Ok(right && known)
        };
        self.run(check).await?
    }

    async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, PasswordError> {
        let _place = self.line.try_acquire().map_err(|_| PasswordError::Busy)?;
        let turn = Arc::clone(&self.work)
            .acquire_owned()
            .await
            .map_err(|_| PasswordError::Busy)?;
        let done = tokio::task::spawn_blocking(move || {
            let answer = work();
            drop(turn);
            answer
        });
        done.await.map_err(|_| PasswordError::Hash)
    }
}

/// The PHC string of a password, on this thread: for the command line.
pub fn hash_now(password: &str) -> Result<String, PasswordError> {
    let hash = Argon2::default().hash_password(password.as_bytes());
    hash.map(|h| h.to_string()).map_err(|_| PasswordError::Hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_right_password_of_a_known_person_is_right() {
        let passwords = Passwords::new().expect("hashes");
        let kept = passwords.hash("a long password".into()).await.expect("hashes");
        assert!(kept.starts_with("$argon2id$"), "{kept}");
        let is_right = |password: &str, kept: Option<String>| passwords.is_right(password.into(), kept);
        assert_eq!(is_right("a long password", Some(kept.clone())).await, Ok(true));
        assert_eq!(is_right("a long passwort", Some(kept)).await, Ok(false));
        assert_eq!(is_right("nobody has this password", None).await, Ok(false));
        assert_eq!(
            is_right("x", Some("not a hash".into())).await,
            Err(PasswordError::Hash)
        );
    }
}
