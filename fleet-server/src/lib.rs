//! The telecare provider's server.

pub mod clock;
pub mod store;
