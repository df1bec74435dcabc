//! The Update Framework (TUF) 1.0: what software a box may believe in, whoever brings it.
//!
//! [`client::Client`] says what to load, fetch and keep next; [`trusted`] holds the rules; [`sign`] makes what they
//! accept. No IO, no clock: `now` is given once for a whole refresh.
//!
//! # Design
//! - A threshold counts *decoded key bytes* ([`key::Material`]), neither key ids nor the text of a key: one key under
//!   two ids, or written in two ways, counts once.
//! - What lies in the store counts only while it verifies under the root that is trusted now. That is also how a fleet
//!   comes back from an attacker who moved version numbers far ahead: a new key makes the old files worthless.
//! - Keys of a kind that we do not know and signatures of strangers are passed over; an id that stands twice in
//!   `signatures` or `keyids` is refused.
//! - JSON is read into values, and what is signed is written anew in its one canonical form; a float has none.
//!
//! Source: The Update Framework Specification 1.0.34, sections 4 (formats) and 5 (client workflow).

pub mod canonical;
pub mod client;
pub mod der;
pub mod envelope;
pub mod glob;
pub mod hash;
pub mod key;
pub mod metadata;
pub mod read;
pub mod role;
pub mod sign;
pub mod trusted;

use crate::time::Timestamp;
use role::Role;

/// Most root versions that one refresh goes through. A box that is further behind goes on at the next one.
pub const MAX_ROOT_STEPS: u32 = 256;
/// Most roles that one search for a target looks into, the top one included.
pub const MAX_ROLES: usize = 33;

/// Why metadata was not believed, or could not be had. Nothing that was trusted before is lost by it.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TufError {
    /// Not what TUF 1.0 calls metadata of this role.
    #[error("{role} is not metadata of TUF 1.0: {why}")]
    Malformed {
        /// Of which role.
        role: Role,
        /// What is wrong.
        why: &'static str,
    },
    /// Not signed by enough different keys of the role.
    #[error("{role} version {version} is signed by {have} of its keys, and needs {need}")]
    Threshold {
        /// Of which role.
        role: Role,
        /// Its version.
        version: u64,
        /// Different keys that signed.
        have: usize,
        /// Keys that are needed.
        need: usize,
    },
    /// A version that is not the one that was promised.
    #[error("{role} has version {got} where {want} was promised")]
    Version {
        /// Of which role.
        role: Role,
        /// What came.
        got: u64,
        /// What was promised.
        want: u64,
    },
    /// Something older than what was seen before.
    #[error("{what} went back from version {from} to {to}")]
    Rollback {
        /// Which file.
        what: String,
        /// Seen before.
        from: u64,
        /// Offered now.
        to: u64,
    },
    /// A file that the last snapshot listed is not listed any more.
    #[error("the snapshot does not list {0} any more")]
    Unlisted(String),
    /// Its time is over.
    #[error("{role} version {version} expired on {at}")]
    Expired {
        /// Of which role.
        role: Role,
        /// Its version.
        version: u64,
        /// Until when it was good.
        at: Timestamp,
    },
    /// Other bytes than those that were promised.
    #[error("{0} does not have the length or the hash that was promised")]
    Content(String),
    /// Longer than it may be.
    #[error("{file} is longer than {max} bytes")]
    TooLong {
        /// Which file.
        file: String,
        /// Most bytes.
        max: u64,
    },
    /// The box is too many roots behind for one refresh.
    #[error("{MAX_ROOT_STEPS} new roots were taken; there are more, for the next refresh")]
    TooManyRoots,
    /// It could not be fetched. The network, the server, or somebody between.
    #[error("could not get {file}: {why}")]
    Fetch {
        /// Which file.
        file: String,
        /// What the fetcher said.
        why: String,
    },
    /// The caller did not answer what was asked.
    #[error("the update client was used wrongly: {0}")]
    Misuse(&'static str),
}
