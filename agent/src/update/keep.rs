//! Shell: the folder with what is believed of the repository: one file a role, each whole or not at all.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use homeward_protocol::tuf::role::Role;

use super::tuf::Store;
use crate::disk::replace;

/// A folder.
#[derive(Debug, Clone)]
pub struct Folder {
    path: PathBuf,
    roots: Roots,
}

/// Which roots are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Roots {
    /// The newest.
    Newest,
    /// Each that was the newest once, too, under its name on a server: whoever follows them later has all.
    Each,
}

impl Folder {
    /// The folder at `path`; made when something is first kept.
    pub fn at(path: impl Into<PathBuf>) -> Folder {
        Folder {
            path: path.into(),
            roots: Roots::Newest,
        }
    }

    /// The same, which keeps each root beside the newest.
    #[must_use]
    pub fn with_each_root(self) -> Folder {
        Folder {
            roots: Roots::Each,
            ..self
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Store for Folder {
    fn load(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = Vec::new();
        match fs::File::open(self.path.join(name)).and_then(|file| file.take(max).read_to_end(&mut bytes)) {
            Ok(_) => Ok(Some(bytes)),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    fn save(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        fs::create_dir_all(&self.path)?;
        if self.roots == Roots::Each && name == Role::Root.kept_as() {
            let root: Option<serde_json::Value> = serde_json::from_slice(bytes).ok();
            let version = root.and_then(|root| root.get("signed")?.get("version")?.as_u64());
            if version.is_some() {
                replace(&self.path.join(Role::Root.file(version)), bytes)?;
            }
        }
        replace(&self.path.join(name), bytes)
    }
}
