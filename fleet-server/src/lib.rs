//! The telecare provider's server.
//!
//! Each capability is a pair: `noun.rs` decides (no async, clock, disk, network or randomness), `noun/verb.rs` acts.

pub mod access;
pub mod admin;
pub mod advisory;
pub mod api;
pub mod attest;
pub mod audit;
pub mod bus;
pub mod ca;
pub mod calendar;
pub mod campaign;
pub mod care;
pub mod cli;
pub mod clock;
pub mod config;
pub mod device;
pub mod direct;
pub mod dossier;
pub mod enrol;
pub mod facts;
pub mod force;
pub mod gate;
pub mod https;
pub mod ingest;
pub mod local;
pub mod log;
pub mod notify;
pub mod place;
pub mod policy;
pub mod quiet;
pub mod release;
pub mod routes;
pub mod run;
pub mod stamp;
pub mod store;
pub mod support;
pub mod tls;
pub mod web;
