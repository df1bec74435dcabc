//! Updates: what software this box may run.
//!
//! [`tuf`] brings the repository's metadata up to date by the rules of `homeward_protocol::tuf`; [`fetch`] gets files
//! from a server or a mirror, [`keep`] keeps them. Whoever carries the files is not believed: only signatures count.

pub mod base;
pub mod course;
pub mod decide;
pub mod delta;
pub mod fetch;
pub mod force;
pub mod go;
pub mod health;
pub mod inbox;
pub mod keep;
pub mod look;
pub mod peers;
pub mod rate;
mod room;
pub mod saved;
pub mod share;
pub mod tuf;
pub mod vitals;
pub mod word;
pub mod words;
