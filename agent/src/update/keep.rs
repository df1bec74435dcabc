//! Shell: the folder with what is believed of the repository: one file a role, each whole or not at all.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::tuf::Store;

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
        replace(&self.0, name, bytes)
    }
}

/// Written beside, flushed, put in place, and the folder flushed: after a power cut there is the old file or the new.
pub fn replace(folder: &Path, name: &str, bytes: &[u8]) -> io::Result<()> {
    let fresh = folder.join(format!("{name}.new"));
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    put(&fresh, &folder.join(name))
}

/// Puts a flushed file in the place of another, durably.
pub fn put(fresh: &Path, place: &Path) -> io::Result<()> {
    fs::rename(fresh, place)?;
    fs::File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all()
}
