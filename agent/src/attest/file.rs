//! Shell: what has to outlast a restart: the boots, the box's name, and the newest judgement.
//!
//! | file | holds |
//! |---|---|
//! | `boots.json` | the count and the random bytes of the newest boot |
//! | `identity/box-id` | 16 random bytes, made after each enrolment |
//! | `verdict.cbor` | what the server last said of this box; it ends by its own date |
#![expect(clippy::disallowed_methods, reason = "shell: files and randomness")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use homeward_protocol::attest::{MAX_NOTICE, Notice};
use homeward_protocol::id::BootId;
use homeward_protocol::tuf::read::to_hex;
use ring::rand::{SecureRandom as _, SystemRandom};

use super::{Boots, Since, unhex};
use crate::disk;

const MAX: u64 = 64 * 1024;
/// Made anew with each identity, because it lies in its folder.
const BOX_ID: &str = "identity/box-id";

/// Why something could not be kept or read.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refused.
    #[error("could not read or write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The random source failed.
    #[error("the system gave no random bytes")]
    Random,
}

/// Random bytes of the system.
pub fn random<const N: usize>() -> Result<[u8; N], FileError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| FileError::Random)?;
    Ok(bytes)
}

/// The boots with the one that runs, kept before they are given out. A file that cannot be read begins anew.
pub fn boots(data: &Path, boot: BootId, version: &str) -> Result<(Boots, Since), FileError> {
    let path = data.join("boots.json");
    let saved = read(&path)?.and_then(|bytes| serde_json::from_slice(&bytes).ok());
    let (boots, since) = Boots::next(saved, boot, version, random()?);
    if since != Since::Nothing {
        replace(&path, &serde_json::to_vec_pretty(&boots).unwrap_or_default())?;
    }
    Ok((boots, since))
}

/// The boots as they were last kept; nothing is counted.
pub fn known_boots(data: &Path) -> Option<Boots> {
    let bytes = read(&data.join("boots.json")).ok().flatten()?;
    serde_json::from_slice(&bytes).ok()
}

/// The box's name since its enrolment; made when there is none.
pub fn box_id(data: &Path) -> Result<[u8; 16], FileError> {
    let path = data.join(BOX_ID);
    let kept = read(&path)?.and_then(|bytes| unhex(std::str::from_utf8(&bytes).ok()?));
    if let Some(kept) = kept {
        return Ok(kept);
    }
    let made = random()?;
    replace(&path, to_hex(&made).as_bytes())?;
    Ok(made)
}

/// What the server last said; nothing when it said nothing, or that cannot be read.
pub fn verdict(data: &Path) -> Option<Notice> {
    let bytes = read(&data.join("verdict.cbor")).ok().flatten()?;
    Notice::decode(bytes.get(..bytes.len().min(MAX_NOTICE))?).ok()
}

/// Keeps what the server said.
pub fn keep_verdict(data: &Path, notice: &[u8]) -> Result<(), FileError> {
    replace(&data.join("verdict.cbor"), notice)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FileError> {
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(MAX).read_to_end(&mut bytes)) {
        Ok(_) => Ok(Some(bytes)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(io(path, source)),
    }
}

/// A file of the owner's alone: written beside, flushed, put in place, and the folder flushed.
fn replace(path: &Path, bytes: &[u8]) -> Result<(), FileError> {
    disk::replace(path, bytes).map_err(|source| io(path, source))
}

fn io(path: &Path, source: std::io::Error) -> FileError {
    FileError::Io {
        path: path.to_owned(),
        source,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn boots_and_names_are_kept_and_a_new_identity_has_a_new_name() {
        let dir = tempfile::tempdir().expect("a directory");
        let data = dir.path();
        fs::create_dir(data.join("identity")).expect("a folder");
        let boot = |name: &str| boots(data, name.parse().expect("an id"), "1.0").expect("keeps");
        assert_eq!(
            (boot("boot-0001").0.count, boot("boot-0001").1),
            (1, Since::Nothing)
        );
        assert_eq!(boot("boot-0002").0.count, 2);
        assert_eq!(known_boots(data).map(|b| b.count), Some(2));
        let first = box_id(data).expect("a name");
        assert_eq!(box_id(data).expect("a name"), first);
        fs::write(data.join("boots.json"), "torn").expect("writes");
        assert_eq!(boot("boot-0003").0.count, 1, "begins anew");
        fs::remove_file(data.join(BOX_ID)).expect("removes");
        assert_ne!(box_id(data).expect("a name"), first);
        assert_eq!(verdict(data), None);
        keep_verdict(data, b"odd").expect("keeps");
        assert_eq!(verdict(data), None);
    }
}
