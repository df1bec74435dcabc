//! What crosses the wire between a home gateway and the fleet server.
//!
//! No IO, no async, no clock, no randomness. Everything here is parsed at the door: a value of one of these
//! types is well formed, within its limits, and can be printed. Bytes from outside never panic a decoder.
//!
//! # Design
//! Messages are CBOR by serde (RFC 8949), decoded strictly: no trailing byte, no unknown field, no longer than
//! the message's own limit. What is signed is signed as the bytes that travel (`COSE_Sign1`, RFC 9052), because
//! CBOR has more than one encoding of a value.

pub mod ack;
pub mod alarm;
pub mod attest;
pub mod bond;
pub mod claim;
pub mod code;
pub mod envelope;
pub mod event_log;
pub mod evidence;
pub mod grade;
pub mod guard;
pub mod id;
pub mod ima;
pub mod link;
pub mod policy;
pub mod posture;
pub mod postures;
pub mod quiet;
pub mod reading;
pub mod reference;
pub mod release;
pub mod signed;
pub mod support;
pub mod time;
pub mod topic;
pub mod tpm;
pub mod trust;
pub mod tuf;
pub mod unit;
pub mod watch;
pub mod wire;
