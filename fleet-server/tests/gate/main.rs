//! The gate through its real listener, on loopback, with real TLS.
//!
//! Each fault that the listener of the broker behind the gate has (rumqttd 0.20, never opened) is tried from outside.
//! After each, an honest gateway connects and delivers within a second.
//!
//! | fault there | here |
//! |---|---|
//! | a socket that waits holds everyone up; handshakes run one by one | [`crowds`], [`cores`] |
//! | a client id such as `a/b`, twice, or a full house ends the listener | [`packets`], [`crowds`] |
//! | a slow reader that is taken over ends the broker | [`shutting_out`] |
//! | a topic outside ASCII, or a shared subscription, ends the broker | [`packets`] |
//! | no revocation, no way to cut off, any client id under a certificate | [`shutting_out`], [`packets`] |
//! | PUBACK before the message is safe; a slow consumer loses messages in silence | [`delivery`] |
//! | filters, retained messages and storms of connections keep memory for ever | [`memory`], [`packets`] |
//! | each connection handshakes in full | [`shutting_out`] |
//!
//! What a dead or flooded broker does to the bus is tried where the bus is.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a test with real sockets and real time"
)]

mod client;
mod cores;
mod crowds;
mod delivery;
mod house;
mod memory;
mod packets;
mod peers;
mod rights;
mod sequences;
mod shutting_out;
