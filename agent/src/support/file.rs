//! Shell: what is kept of support sessions, and the wish of somebody at the box to end one.
//!
//! | file | holds |
//! |---|---|
//! | `support.json` | the session that is open, the highest number that was heard, and what became of the newest ([`Saved`]) |
//! | `support-end` | is there while somebody at the box wants the open session to end |
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, ErrorKind, Read as _};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use super::Saved;
use crate::disk::replace;

/// Longest file that is read, bytes: forty records and a session at their longest are below it.
const MAX: u64 = 128 * 1024;
const FILE: &str = "support.json";
const END: &str = "support-end";

/// Why an open session could not be ended from here.
#[derive(Debug, thiserror::Error)]
pub enum EndError {
    /// The file system refused.
    #[error("could not write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// It would not be the agent's.
    #[error(
        "this has to be the user of the agent, whose folder {0} is: use `runuser -u homeward-agent -- ...`, or stop the agent"
    )]
    Owner(PathBuf),
}

/// What is kept in a data folder. Nothing kept is an empty one; `None` is what cannot be read.
pub fn load(data: &Path) -> Option<Saved> {
    match read(&data.join(FILE)) {
        Ok(bytes) => serde_json::from_slice(&bytes).ok(),
        Err(error) if error.kind() == ErrorKind::NotFound => Some(Saved::default()),
        Err(_) => None,
    }
}

/// Keeps it, durably.
///
/// # Errors
/// When the disk does not take it; then what was kept before stands.
pub fn save(data: &Path, saved: &Saved) -> io::Result<()> {
    let text = serde_json::to_vec_pretty(saved).map_err(io::Error::other)?;
    replace(&data.join(FILE), &text)
}

/// Asks the running agent to end the open session.
///
/// # Errors
/// [`EndError`].
pub fn wish_end(data: &Path) -> Result<(), EndError> {
    let path = data.join(END);
    let io = |source| EndError::Io {
        path: path.clone(),
        source,
    };
    let owner = fs::metadata(data).map_err(io)?.uid();
    // What root leaves here the agent could not remove: it would end every session to come.
    if owner != rustix::process::geteuid().as_raw() {
        return Err(EndError::Owner(data.to_owned()));
    }
    replace(&path, b"").map_err(io)
}

/// Whether somebody wants the open session to end.
pub fn end_is_wished(data: &Path) -> bool {
    data.join(END).exists()
}

/// The wish is fulfilled, or was for a session that is over.
pub fn forget_wish(data: &Path) {
    // Left over it would end the next session, which is the safe side.
    let _stays = fs::remove_file(data.join(END));
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}
