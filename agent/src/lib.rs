//! The agent on the home gateway box: reads sensors, keeps every record until the server has it, says how it is.
//!
//! A capability is a pair: `noun.rs` decides, without clock, disk, network or randomness; `noun/verb.rs` acts.

pub mod clock;
pub mod enrol;
pub mod identity;
pub mod outbox;
pub mod posture;
pub mod session;
pub mod status;
