//! Enrolment, renewal and revocation through the real listeners, driven by curl, openssl and strongSwan's `pki`.
//!
//! The peers verify the server by the real time; the server's own clock is moved where a test needs age.
#![expect(
    clippy::disallowed_methods,
    reason = "tests: real programs, sockets and folders"
)]

#[path = "est/desk.rs"]
mod desk;
#[path = "est/hostile.rs"]
mod hostile;
#[path = "est/peers.rs"]
mod peers;
#[path = "est/world.rs"]
mod world;
