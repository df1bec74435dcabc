//! The director's word: which target one box shall have, and when.
//!
//! # Design
//! An [`Assignment`] is made of what may be pushed, or read from bytes that the director signed; nothing else reads one. What
//! travels is a form of its own (`Word`) that nobody outside sees, so no file, call or test can make one up.

use serde::{Deserialize, Serialize};

use super::pushable::Pushable;
use crate::id::GatewayId;
use crate::signed::{self, Message as _, PublicKey, Signed, SignedError, Signer, Verified};
use crate::time::Timestamp;
use crate::tuf::metadata::targets::TargetPath;
use crate::wire::Bytes;

/// Longest assignment, bytes of CBOR.
pub const MAX_ASSIGNMENT: usize = 1024;

/// Which target one box shall have. Travels as a `COSE_Sign1` by the director's key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Assignment {
    /// The box.
    pub device: GatewayId,
    /// The target's path in the repository.
    path: String,
    /// Its SHA-256, 32 bytes: what the repository names under that path must have the same.
    sha256: Bytes,
    /// The wave of the campaign, from 0.
    pub wave: u16,
    /// Not to be activated before this.
    pub not_before: Timestamp,
    /// By when it should be done. Passing it escalates to people; it never overrides the interlock.
    pub deadline: Timestamp,
    /// Higher with each assignment for this box: an older one is no more.
    pub counter: u64,
}

impl Assignment {
    /// The name that is bound into the director's signature.
    pub const NAME: &'static str = Word::NAME;

    /// An assignment of what may be pushed: there is no other way to make one, so none is of a device's firmware.
    pub fn new(
        device: GatewayId,
        target: &Pushable,
        (not_before, deadline): (Timestamp, Timestamp),
        wave: u16,
        counter: u64,
    ) -> Assignment {
        Assignment {
            device,
            path: target.path().as_str().to_owned(),
            sha256: Bytes(target.sha256().to_vec()),
            wave,
            not_before,
            deadline,
            counter,
        }
    }

    /// The target's path; `None` for one that cannot be one, which [`Assignment::verify`] refuses.
    pub fn path(&self) -> Option<TargetPath> {
        self.path.parse().ok()
    }

    /// The SHA-256 that the target must have.
    pub fn sha256(&self) -> [u8; 32] {
        self.sha256.0.as_slice().try_into().unwrap_or_default()
    }

    /// Signs it; gives the bytes that travel.
    pub fn seal(&self, director: &dyn Signer) -> Result<Vec<u8>, SignedError> {
        Signed::seal(&Word::from(self.clone()), director)
    }

    /// Checks the director's signature, then reads it.
    pub fn verify(bytes: &[u8], director: &PublicKey) -> Result<Verified<Assignment>, SignedError> {
        let word = Signed::<Word>::parse(bytes)?.verify(director)?;
        word.try_map(|word| Ok(Assignment::from(word.clone())))
    }

    /// The SHA-256 that sealed bytes name, whoever signed them: for who sealed and kept them. It makes no assignment.
    ///
    /// # Errors
    /// When they are none.
    pub fn sha256_of_sealed(bytes: &[u8]) -> Result<[u8; 32], SignedError> {
        let word = Signed::<Word>::parse(bytes)?.unverified()?;
        Ok(Assignment::from(word).sha256())
    }
}

/// An [`Assignment`] as it travels.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Word {
    device: GatewayId,
    path: String,
    sha256: Bytes,
    wave: u16,
    not_before: Timestamp,
    deadline: Timestamp,
    counter: u64,
}

impl From<Assignment> for Word {
    fn from(said: Assignment) -> Word {
        Word {
            device: said.device,
            path: said.path,
            sha256: said.sha256,
            wave: said.wave,
            not_before: said.not_before,
            deadline: said.deadline,
            counter: said.counter,
        }
    }
}

impl From<Word> for Assignment {
    fn from(word: Word) -> Assignment {
        Assignment {
            device: word.device,
            path: word.path,
            sha256: word.sha256,
            wave: word.wave,
            not_before: word.not_before,
            deadline: word.deadline,
            counter: word.counter,
        }
    }
}

impl signed::Message for Word {
    const NAME: &'static str = "homeward/assignment/1";
    const MAX: usize = MAX_ASSIGNMENT;

    fn check(&self) -> Result<(), &'static str> {
        if self.path.parse::<TargetPath>().is_err() {
            return Err("an assignment of a path that is none");
        }
        if self.sha256.0.len() != 32 {
            return Err("an assignment without a SHA-256");
        }
        if self.deadline.ms < self.not_before.ms {
            return Err("an assignment whose deadline lies before its beginning");
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde::de::DeserializeOwned;

    use super::Assignment;

    /// Each type has this; what can be read from bytes of anybody has it twice.
    trait NotRead<Which> {
        const IS: () = ();
    }
    struct Once;
    struct Twice;
    impl<T> NotRead<Once> for T {}
    impl<T: DeserializeOwned> NotRead<Twice> for T {}

    #[test]
    fn no_assignment_is_read_from_what_nobody_signed() {
        // With two ways to answer, this line is no program: it does not compile once an assignment can be read.
        let () = <Assignment as NotRead<_>>::IS;
    }
}
