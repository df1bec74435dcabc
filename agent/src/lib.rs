//! The agent on the home gateway box: reads sensors, keeps every record until the server has it, says how it is.
//!
//! A capability is a pair: `noun.rs` decides, without clock, disk, network or randomness; `noun/verb.rs` acts.

pub mod asked;
pub mod associate;
pub mod attest;
pub mod care;
pub mod causes;
pub mod cli;
pub mod clock;
pub mod config;
pub mod disk;
pub mod enrol;
pub mod guard;
pub mod identity;
pub mod install;
pub mod interlock;
pub mod log;
pub mod outbox;
pub mod policy;
pub mod posture;
pub mod program;
pub mod run;
pub mod sense;
pub mod session;
pub mod slot;
pub mod status;
pub mod strain;
pub mod support;
pub mod tpm;
pub mod trials;
pub mod update;
pub mod vault;
pub mod watch;

#[cfg(test)]
mod tests;
