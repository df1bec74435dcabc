//! Shell: the folder with what is believed of the repository: one file a role, each whole or not at all.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use super::tuf::Store;
use crate::disk::replace;

/// A folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`; made when something is first kept.
    pub fn at(path: impl Into<PathBuf>) -> Folder {
        Folder(path.into())
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Store for Folder {
    fn load(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match fs::File::open(self.0.join(name)).and_then(|file| file.take(max).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.0)?;
        replace(&self.0.join(name), bytes)
    }
}
