//! The homeward demo and swarm begin here.
fn main() {}
