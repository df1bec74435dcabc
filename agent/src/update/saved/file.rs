//! Shell: what is kept of updates in a data folder.
//!
//! | file | holds |
//! |---|---|
//! | `update/course.cbor` | [`Saved`], as it is: the build before reads it, too |
//! | `update/course-copy.cbor` | the same bytes and their digest, for a disk that spoils the first |
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Read as _};
use std::path::Path;

use homeward_protocol::wire::Bytes;
use ring::digest::{SHA256, digest};
use serde::{Deserialize, Serialize};

use super::Saved;
use crate::disk::replace;
use crate::update::look::FOLDER;

/// Longest file that is read, bytes.
const MAX: u64 = 64 * 1024;
const FIRST: &str = "course.cbor";
const COPY: &str = "course-copy.cbor";

#[derive(Serialize, Deserialize)]
struct Copy {
    saved: Bytes,
    sha256: Bytes,
}

/// What is kept in a data folder; none where nothing is. The first file that can be read counts.
///
/// # Errors
/// When it is there and neither can be read: without the floors that it holds, something old could come back.
pub fn load(data: &Path) -> io::Result<Option<Saved>> {
    let read = |bytes: Vec<u8>| serde_cbor::from_slice(&bytes).map_err(io::Error::other);
    let worst = match first(data).and_then(read) {
        Ok(saved) => return Ok(Some(saved)),
        Err(error) => error,
    };
    match copy(data).and_then(read) {
        Ok(saved) => Ok(Some(saved)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            if worst.kind() == io::ErrorKind::NotFound {
                Ok(None)
            } else {
                Err(worst)
            }
        }
        Err(error) => Err(error),
    }
}

/// As [`load`], at a start: a file that is spoiled, or that a build before did not write, is written again from the other.
///
/// # Errors
/// As [`load`].
pub fn resume(data: &Path) -> io::Result<Option<Saved>> {
    let saved = load(data)?;
    let same = || Ok::<bool, io::Error>(first(data)? == copy(data)?);
    if let Some(saved) = saved.as_ref().filter(|_| !same().unwrap_or(false)) {
        tracing::warn!("one of the two records of updates is spoiled or old; it is written again");
        if let Err(error) = save(data, saved) {
            tracing::warn!(error = %error, "it cannot be written");
        }
    }
    Ok(saved)
}

/// Keeps it, whole or not at all. What counts is the first file; the second is written after it.
///
/// # Errors
/// When the disk refuses. Then it may be kept or not.
pub fn save(data: &Path, saved: &Saved) -> io::Result<()> {
    let folder = data.join(FOLDER);
    fs::create_dir_all(&folder)?;
    let bytes = serde_cbor::to_vec(saved).map_err(io::Error::other)?;
    replace(&folder.join(FIRST), &bytes)?;
    let sha256 = Bytes(digest(&SHA256, &bytes).as_ref().to_vec());
    let copy = Copy {
        saved: Bytes(bytes),
        sha256,
    };
    let copy = serde_cbor::to_vec(&copy).map_err(io::Error::other)?;
    replace(&folder.join(COPY), &copy)
}

fn first(data: &Path) -> io::Result<Vec<u8>> {
    read(&data.join(FOLDER).join(FIRST))
}

fn copy(data: &Path) -> io::Result<Vec<u8>> {
    let bytes = read(&data.join(FOLDER).join(COPY))?;
    let copy: Copy = serde_cbor::from_slice(&bytes).map_err(io::Error::other)?;
    if digest(&SHA256, &copy.saved.0).as_ref() != copy.sha256.0 {
        return Err(io::Error::other("the copy of what is kept of updates is damaged"));
    }
    Ok(copy.saved.0)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::decide::Floor;

    fn saved(counter: u64) -> Saved {
        Saved {
            floor: Floor {
                counter,
                ..Floor::NEW
            },
            ..Saved::NEW
        }
    }

    /// The file with one block of it gone.
    fn spoil(data: &Path, name: &str) {
        let path = data.join(FOLDER).join(name);
        let mut bytes = fs::read(&path).expect("kept");
        let length = bytes.len().min(512);
        bytes[..length].fill(0);
        fs::write(&path, bytes).expect("written");
    }

    #[test]
    fn one_bad_block_of_either_file_is_survived_and_mended_at_the_next_start() {
        for name in [FIRST, COPY] {
            let dir = tempfile::tempdir().expect("a folder");
            let data = dir.path();
            save(data, &saved(7)).expect("kept");
            spoil(data, name);
            assert_eq!(load(data).expect("read"), Some(saved(7)), "{name}");
            assert_eq!(resume(data).expect("read"), Some(saved(7)));
            assert_eq!(
                first(data).expect("mended"),
                copy(data).expect("mended"),
                "{name}"
            );
            // Then the other goes.
            spoil(data, if name == FIRST { COPY } else { FIRST });
            assert_eq!(load(data).expect("read"), Some(saved(7)), "{name}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_not_taken_for_nothing_and_what_an_older_build_wrote_goes_before_its_copy() {
        let dir = tempfile::tempdir().expect("a folder");
        let data = dir.path();
        assert_eq!(load(data).expect("nothing is there"), None);
        save(data, &saved(7)).expect("kept");
        // A build that knows of no copy.
        let newer = serde_cbor::to_vec(&saved(8)).expect("encodes");
        replace(&data.join(FOLDER).join(FIRST), &newer).expect("written");
        assert_eq!(resume(data).expect("read"), Some(saved(8)));
        assert_eq!(copy(data).expect("mended"), newer);
        spoil(data, FIRST);
        spoil(data, COPY);
        assert!(load(data).is_err() && resume(data).is_err());
        fs::remove_file(data.join(FOLDER).join(COPY)).expect("removed");
        assert!(load(data).is_err(), "the first is there");
    }
}
