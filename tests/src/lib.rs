//! The harness: what stories, the demo and the swarm share. Real programs, real peers, shared data, a faulty wire.
//!
//! A test asks for what it needs and gets `None` when this machine does not have it; that is said aloud, and is a
//! failure where `CI` is set (see [`shared::missing`]). Nothing here waits for a time: it waits for a condition,
//! with a limit.

pub mod browser;
pub mod campaign;
pub mod console;
pub mod debs;
pub mod disk;
pub mod fake_bluez;
pub mod guest;
pub mod homes;
pub mod limbo;
pub mod load;
pub mod machine;
pub mod netns;
pub mod peers;
pub mod prepared;
pub mod programs;
pub mod proxy;
pub mod rauc;
pub mod releases;
pub mod rollout;
pub mod shared;
pub mod sshd;
pub mod swtpm;
pub mod tally;
pub mod testimony;
pub mod tuf;
pub mod wall;
