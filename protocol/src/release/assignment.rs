//! The director's word: which target one box shall have, and when.

use serde::{Deserialize, Serialize};

use super::pushable::Pushable;
use crate::id::GatewayId;
use crate::signed::{self, PublicKey, Signed, SignedError, Signer, Verified};
use crate::time::Timestamp;
use crate::tuf::metadata::targets::TargetPath;
use crate::wire::Bytes;

/// Longest assignment, bytes of CBOR.
pub const MAX_ASSIGNMENT: usize = 1024;

/// Which target one box shall have. Travels as a `COSE_Sign1` by the director's key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
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
        Signed::seal(self, director)
    }

    /// Checks the director's signature, then reads it.
    pub fn verify(bytes: &[u8], director: &PublicKey) -> Result<Verified<Assignment>, SignedError> {
        Signed::parse(bytes)?.verify(director)
    }
}

impl signed::Message for Assignment {
    const NAME: &'static str = "homeward/assignment/1";
    const MAX: usize = MAX_ASSIGNMENT;

    fn check(&self) -> Result<(), &'static str> {
        if self.path().is_none() {
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
