//! Shell: the status as a JSON file, replaced as a whole.
#![expect(clippy::disallowed_methods, reason = "shell: a file")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use super::Status;

/// Longest file that is read, bytes: 256 sensors with long errors are below it.
const MAX: u64 = 256 * 1024;

/// Why the status could not be read or written.
#[derive(Debug, thiserror::Error)]
pub enum StatusError {
    /// There is none.
    #[error("no status at {0}: has the agent run with this data folder? Start it with `homeward-agent run`")]
    None(PathBuf),
    /// The file system refused.
    #[error("could not read or write the status at {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file holds something else.
    #[error("the status at {path} cannot be read; it is replaced while the agent runs")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
}

/// Where it lies within a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("status.json")
}

/// Reads it.
pub fn read(data: &Path) -> Result<Status, StatusError> {
    let path = path(data);
    let mut text = String::new();
    match fs::File::open(&path).and_then(|file| file.take(MAX).read_to_string(&mut text)) {
        Ok(_) => {}
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Err(StatusError::None(path)),
        Err(source) => return Err(StatusError::Io { path, source }),
    }
    serde_json::from_str(&text).map_err(|source| StatusError::Malformed { path, source })
}

/// Replaces it. Not flushed: after a power cut an older one is as good.
pub fn write(data: &Path, status: &Status) -> Result<(), StatusError> {
    let path = path(data);
    let text = serde_json::to_vec_pretty(status).map_err(|source| StatusError::Malformed {
        path: path.clone(),
        source,
    })?;
    let next = path.with_extension("json.new");
    fs::write(&next, text)
        .and_then(|()| fs::rename(&next, &path))
        .map_err(|source| StatusError::Io { path, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_status_says_what_to_do() {
        let dir = tempfile::tempdir().expect("a directory");
        let error = read(dir.path()).expect_err("there is none");
        assert!(error.to_string().contains("homeward-agent run"));
    }
}
