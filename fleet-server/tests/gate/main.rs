//! The gate through its real listener, on loopback, with real TLS.
//!
//! Each fault that the broker behind the gate has or had (see `ARCHITECTURE.md`) is tried from outside. After each,
//! an honest gateway connects and delivers within a second.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a test with real sockets and real time"
)]

mod client;
mod crowds;
mod delivery;
mod house;
mod memory;
mod packets;
mod peers;
mod rights;
mod sequences;
mod shutting_out;
