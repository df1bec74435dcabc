//! Shell: the release folder, and keys on removable media.
#![expect(clippy::disallowed_methods, reason = "shell: files and random bytes")]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use homeward_protocol::release::delta::MAX_BUILD;
use homeward_protocol::tuf::client::Answer;
use homeward_protocol::tuf::key::Key;
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::sign::{SigningKey, Unsigned};
use pkcs8::der::zeroize::Zeroizing;
use ring::digest::{Context, SHA256, digest};
use ring::rand::{SecureRandom as _, SystemRandom};
use ring::signature::Ed25519KeyPair;
use serde_json::Value;

use super::Files;
use crate::ca::sealed::{self, SealError};

/// Largest file of metadata or of a key, bytes.
const MAX_FILE: u64 = 5_000_000;

/// Why a folder or a key could not be used.
#[derive(Debug, thiserror::Error)]
pub enum FolderError {
    /// The file system.
    #[error("could not {step} {}", .path.display())]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A file that is not what it should be.
    #[error("{}: {why}", .path.display())]
    Odd {
        /// Which.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The system gave no random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

fn file(step: &'static str, path: &Path) -> impl FnOnce(io::Error) -> FolderError {
    let path = path.to_owned();
    move |source| FolderError::File { step, path, source }
}

fn odd(path: &Path, why: &(impl ToString + ?Sized)) -> FolderError {
    FolderError::Odd {
        path: path.to_owned(),
        why: why.to_string(),
    }
}

/// A release folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

impl Folder {
    /// The folder at `path`.
    pub fn at(path: &Path) -> Folder {
        Folder(path.to_owned())
    }

    /// Where boxes fetch from.
    pub fn repository(&self) -> PathBuf {
        self.0.join("repository")
    }

    fn metadata(&self) -> PathBuf {
        self.repository().join("metadata")
    }

    /// Where a file lies that was taken in, by its SHA-256 in hex.
    pub fn taken_in(&self, sha256: &str) -> PathBuf {
        self.0.join("files").join(sha256)
    }

    /// The draft of a role.
    pub fn draft(&self, role: &str) -> Result<Option<Unsigned>, FolderError> {
        unsigned(&self.0.join("draft").join(format!("{role}.json")))
    }

    /// Names of all drafts: `root`, `targets`, and roles that somebody else signs for.
    pub fn drafts(&self) -> Result<Vec<String>, FolderError> {
        let names = names(&self.0.join("draft"))?;
        Ok(names
            .iter()
            .filter_map(|name| name.strip_suffix(".json").map(str::to_owned))
            .collect())
    }

    /// Keeps a draft.
    pub fn keep_draft(&self, role: &str, draft: &Unsigned) -> Result<(), FolderError> {
        write(
            &self.0.join("draft").join(format!("{role}.json")),
            &draft.to_bytes(),
            0o644,
        )
    }

    /// Drafts that were published are drafts no more.
    pub fn drop_draft(&self, role: &str) -> Result<(), FolderError> {
        let path = self.0.join("draft").join(format!("{role}.json"));
        fs::remove_file(&path).map_err(file("remove", &path))
    }

    /// All metadata that is published.
    pub fn published(&self) -> Result<Files, FolderError> {
        let folder = self.metadata();
        let mut files = BTreeMap::new();
        for name in names(&folder)?
            .into_iter()
            .filter(|name| name.strip_suffix(".json").is_some())
        {
            if let Some(bytes) = read(&folder.join(&name))? {
                files.insert(name, bytes);
            }
        }
        Ok(files)
    }

    /// Takes a file into the folder; gives its length and its SHA-256.
    pub fn take_in(&self, from: &Path) -> Result<(u64, [u8; 32]), FolderError> {
        let mut source = fs::File::open(from).map_err(file("read", from))?;
        let folder = self.0.join("files");
        fs::create_dir_all(&folder).map_err(file("make", &folder))?;
        let fresh = folder.join("incoming.new");
        let mut to = fs::File::create(&fresh).map_err(file("write", &fresh))?;
        let (mut hash, mut length, mut buffer) = (Context::new(&SHA256), 0, vec![0; 64 * 1024]);
        loop {
            let read = source.read(&mut buffer).map_err(file("read", from))?;
            let piece = buffer.get(..read).unwrap_or_default();
            if piece.is_empty() {
                break;
            }
            hash.update(piece);
            to.write_all(piece).map_err(file("write", &fresh))?;
            length += u64::try_from(read).unwrap_or(0);
        }
        to.sync_all().map_err(file("write", &fresh))?;
        let digest: [u8; 32] = hash.finish().as_ref().try_into().unwrap_or_default();
        let place = folder.join(to_hex(&digest));
        fs::rename(&fresh, &place).map_err(file("write", &place))?;
        Ok((length, digest))
    }

    /// Takes in what was made here; gives its length and its SHA-256.
    pub fn take_in_bytes(&self, bytes: &[u8]) -> Result<(u64, [u8; 32]), FolderError> {
        let sha256 = sum(bytes);
        write(&self.taken_in(&to_hex(&sha256)), bytes, 0o644)?;
        Ok((bytes.len() as u64, sha256))
    }

    /// Offers a file that was taken in under the name that boxes ask for; a link where the file system can.
    pub fn offer(&self, sha256: [u8; 32], name: &str) -> Result<(), FolderError> {
        let (from, to) = (
            self.0.join("files").join(to_hex(&sha256)),
            self.repository().join("targets").join(name),
        );
        if to.exists() {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            fs::create_dir_all(folder).map_err(file("make", folder))?;
        }
        fs::hard_link(&from, &to)
            .or_else(|_| copy(&from, &to))
            .map_err(file("copy", &from))
    }

    /// Publishes metadata. The timestamp is last: until it is there, boxes see what was before.
    pub fn publish(&self, files: &Files) -> Result<(), FolderError> {
        let newest = "timestamp.json";
        let first = files.iter().filter(|(name, _)| *name != newest);
        for (name, bytes) in first.chain(files.get_key_value(newest)) {
            write(&self.metadata().join(name), bytes, 0o644)?;
        }
        Ok(())
    }
}

/// A build that a delta is made from, or makes.
pub struct Build {
    /// All of it.
    pub bytes: Vec<u8>,
    /// Their SHA-256.
    pub sha256: [u8; 32],
}

/// Reads a build, unless it is too long for a delta.
pub fn build(path: &Path) -> Result<Build, FolderError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_BUILD + 1).read_to_end(&mut bytes))
        .map_err(file("read", path))?;
    if bytes.len() as u64 > MAX_BUILD {
        let why = format!("it is longer than the {MAX_BUILD} bytes of which deltas are made");
        return Err(odd(path, &why));
    }
    let sha256 = sum(&bytes);
    Ok(Build { bytes, sha256 })
}

/// Reads a document of at most so many bytes.
pub fn text(path: &Path, most: u64) -> Result<String, FolderError> {
    let mut bytes = Vec::new();
    fs::File::open(path)
        .and_then(|file| file.take(most + 1).read_to_end(&mut bytes))
        .map_err(file("read", path))?;
    if bytes.len() as u64 > most {
        return Err(odd(path, &format!("it is longer than {most} bytes")));
    }
    String::from_utf8(bytes).map_err(|_| odd(path, "it is no text"))
}

fn sum(bytes: &[u8]) -> [u8; 32] {
    digest(&SHA256, bytes).as_ref().try_into().unwrap_or_default()
}

/// A repository, or a copy of one: nothing in it is believed by itself.
#[derive(Debug, Clone)]
pub struct Repository(PathBuf);

impl Repository {
    /// The one in a release folder, or the folder itself.
    pub fn of(path: &Path) -> Repository {
        let within = path.join("repository");
        Repository(if within.is_dir() { within } else { path.to_owned() })
    }

    /// A file of metadata, by the name that a client asks for.
    pub fn metadata(&self, name: &str, max: u64) -> Answer {
        answer(&self.0.join("metadata").join(name), max)
    }

    /// A target's file, likewise; at most so many bytes.
    pub fn target(&self, name: &str, max: u64) -> Answer {
        answer(&self.0.join("targets").join(name), max)
    }
}

fn answer(path: &Path, max: u64) -> Answer {
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(max.saturating_add(1)).read_to_end(&mut bytes)) {
        Ok(read) if u64::try_from(read).is_ok_and(|read| read <= max) => Answer::Fetched(bytes),
        Ok(_) => Answer::TooLong,
        Err(error) if error.kind() == io::ErrorKind::NotFound => Answer::Absent,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// A public key that `keygen` wrote.
pub fn public_key(path: &Path) -> Result<Key, FolderError> {
    let bytes = read(path)?.ok_or_else(|| odd(path, "there is no such file"))?;
    let value: Value = serde_json::from_slice(&bytes).map_err(|_| odd(path, "it is no public key"))?;
    let key = Key::read(&value).map_err(|why| odd(path, &why))?;
    key.filter(|key| key.id().is_some())
        .ok_or_else(|| odd(path, "it is no Ed25519 public key"))
}

/// Makes a key, sealed; gives its id. The public half goes beside it.
pub fn keygen(path: &Path, passphrase: &str) -> Result<String, FolderError> {
    if path.exists() {
        return Err(odd(path, "it exists already: a key is never written over"));
    }
    let random = SystemRandom::new();
    let pair = Ed25519KeyPair::generate_pkcs8(&random).map_err(|_| FolderError::Random)?;
    let der = Zeroizing::new(pair.as_ref().to_vec());
    let key = SigningKey::from_pkcs8(&der).map_err(|why| odd(path, &why))?;
    let (mut salt, mut iv) = ([0; 16], [0; 16]);
    random
        .fill(&mut salt)
        .and_then(|()| random.fill(&mut iv))
        .map_err(|_| FolderError::Random)?;
    let text = sealed::seal(&der, passphrase, &salt, &iv).map_err(|why| odd(path, &why))?;
    write(path, text.as_bytes(), 0o600)?;
    let public = key.public().to_json().unwrap_or_default();
    let mut bytes = serde_json::to_vec_pretty(&public).unwrap_or_default();
    bytes.push(b'\n');
    write(&public_half(path), &bytes, 0o644)?;
    Ok(key.id().to_owned())
}

/// Where the public half of a key lies.
pub fn public_half(path: &Path) -> PathBuf {
    path.with_added_extension("pub")
}

/// Opens a sealed key.
pub fn open_key(path: &Path, passphrase: &str) -> Result<SigningKey, FolderError> {
    let bytes = Zeroizing::new(read(path)?.ok_or_else(|| odd(path, "there is no such file"))?);
    let text = std::str::from_utf8(&bytes).map_err(|_| odd(path, "it is no key"))?;
    let der = sealed::open(text, passphrase).map_err(|why| match why {
        SealError::Passphrase => odd(path, "the passphrase is another one"),
        SealError::Form => odd(path, "it is no sealed key: `release keygen` makes one"),
    })?;
    SigningKey::from_pkcs8(&der).map_err(|why| odd(path, &why))
}

fn unsigned(path: &Path) -> Result<Option<Unsigned>, FolderError> {
    let found = read(path)?;
    found
        .map(|bytes| Unsigned::parse(&bytes).map_err(|why| odd(path, &why)))
        .transpose()
}

fn names(folder: &Path) -> Result<Vec<String>, FolderError> {
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(file("read", folder)(error)),
    };
    let names = entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok());
    let mut names: Vec<String> = names.collect();
    names.sort();
    Ok(names)
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, FolderError> {
    let mut bytes = Vec::new();
    match fs::File::open(path).and_then(|file| file.take(MAX_FILE + 1).read_to_end(&mut bytes)) {
        Ok(read) if u64::try_from(read).is_ok_and(|read| read <= MAX_FILE) => Ok(Some(bytes)),
        Ok(_) => Err(odd(path, "it is longer than any file of metadata")),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(file("read", path)(error)),
    }
}

/// A copy under a name that boxes ask for: whole or not at all.
fn copy(from: &Path, to: &Path) -> io::Result<()> {
    let fresh = to.with_added_extension("new");
    fs::copy(from, &fresh)?;
    fs::File::open(&fresh)?.sync_all()?;
    fs::rename(&fresh, to)
}

/// Whole or not at all.
fn write(path: &Path, bytes: &[u8], mode: u32) -> Result<(), FolderError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let folder = if folder.as_os_str().is_empty() {
        Path::new(".")
    } else {
        folder
    };
    fs::create_dir_all(folder).map_err(file("make", folder))?;
    let fresh = path.with_added_extension("new");
    let written = || -> io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let mut to = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(mode)
            .open(&fresh)?;
        to.write_all(bytes)?;
        to.sync_all()?;
        fs::rename(&fresh, path)?;
        fs::File::open(folder)?.sync_all()
    };
    written().map_err(file("write", path))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_that_was_cut_has_no_name_that_boxes_ask_for() {
        let dir = tempfile::tempdir().expect("a folder");
        let (from, to) = (dir.path().join("from"), dir.path().join("to"));
        fs::write(&from, "software").expect("a file");
        // The copy beside cannot be made, as on a full medium.
        fs::create_dir(dir.path().join("to.new")).expect("a folder");
        assert!(copy(&from, &to).is_err() && !to.exists());
        fs::remove_dir(dir.path().join("to.new")).expect("an empty folder");
        copy(&from, &to).expect("copies");
        assert_eq!(fs::read(&to).expect("a file"), b"software");
    }
}
