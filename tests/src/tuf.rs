//! A TUF repository that tests shape at will, made by python-tuf or by our own signer, and a box that updates from it.

pub mod disk;
pub mod forge;
pub mod house;
pub mod shelf;
