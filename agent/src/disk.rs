//! Shell: files of the agent's own, replaced whole and durably, for their owner alone.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Puts `bytes` in the place of a file: written beside, flushed, put in place, and the folder flushed. After a power cut
/// there is the one before, or this one.
///
/// # Errors
/// When the disk does not take it; then the one before stands.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().ok_or(io::ErrorKind::InvalidInput)?.to_owned();
    name.push(".new");
    let fresh = path.with_file_name(name);
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    let mut file = options.open(&fresh)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    put(&fresh, path)
}

/// Puts a flushed file in the place of another, durably.
///
/// # Errors
/// When the disk does not take it.
pub fn put(fresh: &Path, place: &Path) -> io::Result<()> {
    fs::rename(fresh, place)?;
    fs::File::open(place.parent().unwrap_or(Path::new(".")))?.sync_all()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_replaced_whole_for_its_owner_alone_and_nothing_stays_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("kept.json");
        replace(&path, b"the first, which is longer").expect("written");
        replace(&path, b"the second").expect("written");
        assert_eq!(fs::read(&path).expect("there"), b"the second");
        let mode = fs::metadata(&path).expect("there").permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1);
        assert!(replace(&folder.path().join("no/kept.json"), b"x").is_err());
    }
}
