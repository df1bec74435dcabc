//! The harness: what stories, the demo and the swarm share.

pub mod load;
