//! Shell: the slots of a data folder.
//!
//! | file | holds |
//! |---|---|
//! | `slots/state.json`, `slots/copy.json` | [`Slots`], with its own digest; the first that can be read counts |
//! | `slots/a/homeward-agent`, `slots/b/homeward-agent` | the builds |
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ring::digest::{self, SHA256};
use serde::{Deserialize, Serialize};

use super::{Digest, Place, Slot, Slots};
use crate::disk::{put, replace};

/// The name of a build, and of the agent's program.
pub const PROGRAM: &str = "homeward-agent";
/// Longest record that is read, bytes.
const MAX: u64 = 16 * 1024;
/// Bytes that are read at once.
const CHUNK: usize = 64 * 1024;
const FOLDER: &str = "slots";
const RECORDS: [&str; 2] = ["state.json", "copy.json"];

/// The slots of one data folder.
#[derive(Debug, Clone)]
pub struct Folder(PathBuf);

#[derive(Serialize, Deserialize)]
struct Record {
    /// The JSON of [`Slots`], as it was written: another build may have known more of them.
    slots: String,
    sha256: Digest,
}

fn sum(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest::digest(&SHA256, bytes).as_ref());
    sum
}

impl Folder {
    /// Those of `data`.
    pub fn within(data: &Path) -> Folder {
        Folder(data.join(FOLDER))
    }

    /// What is kept; none where there never was an update, an error when neither record can be read.
    ///
    /// # Errors
    /// When the disk does not give it, or what it gives is no record.
    pub fn load(&self) -> io::Result<Option<Slots>> {
        let mut worst = None;
        for name in RECORDS {
            match read(&self.0.join(name)) {
                Ok(slots) => return Ok(Some(slots)),
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => worst = Some(error),
            }
        }
        worst.map_or(Ok(None), Err)
    }

    /// Keeps them, durably. The commit is the first record's: the second is for a disk that spoils it.
    ///
    /// # Errors
    /// When the disk does not take it. Then it may be kept or not.
    pub fn save(&self, slots: &Slots) -> io::Result<()> {
        made(&self.0)?;
        let slots = serde_json::to_string(slots)?;
        let sha256 = Digest(sum(slots.as_bytes()));
        let text = serde_json::to_vec(&Record { slots, sha256 })?;
        RECORDS
            .into_iter()
            .try_for_each(|name| replace(&self.0.join(name), &text))
    }

    /// Where the build of a slot is.
    pub fn program(&self, slot: Slot) -> PathBuf {
        self.0.join(slot.name()).join(PROGRAM)
    }

    /// Whether a slot holds the bytes of this digest.
    pub fn is_whole(&self, slot: Slot, wanted: &Digest) -> bool {
        digest_of(&self.program(slot)).is_ok_and(|found| found == *wanted)
    }

    /// Puts the build at `from` into a slot, flushed, so that it can run; the file is moved.
    ///
    /// # Errors
    /// When the disk does not take it. The slot may hold what it held, or nothing.
    pub fn put(&self, slot: Slot, from: &Path) -> io::Result<()> {
        let place = self.program(slot);
        made(&self.0)?;
        made(place.parent().unwrap_or(&self.0))?;
        fs::set_permissions(from, fs::Permissions::from_mode(0o700))?;
        fs::File::open(from)?.sync_all()?;
        put(from, &place)
    }

    /// Where the program at `path`, which has no links in it, lies.
    pub fn place_of(&self, path: &Path) -> Place {
        let mut slots = Slot::ALL.into_iter();
        let is_it = |slot: &Slot| fs::canonicalize(self.program(*slot)).is_ok_and(|program| program == path);
        let at = slots.find(is_it);
        at.map_or(Place::Package, Place::Slot)
    }
}

/// A folder, and that it is there after a power cut.
fn made(folder: &Path) -> io::Result<()> {
    if folder.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(folder)?;
    fs::File::open(folder.parent().unwrap_or(folder))?.sync_all()
}

fn read(path: &Path) -> io::Result<Slots> {
    let mut text = Vec::new();
    fs::File::open(path)?.take(MAX).read_to_end(&mut text)?;
    let record: Record = serde_json::from_slice(&text)?;
    if sum(record.slots.as_bytes()) != record.sha256.0 {
        return Err(io::Error::other("the record of the slots is damaged"));
    }
    Ok(serde_json::from_str(&record.slots)?)
}

/// The SHA-256 of a file.
///
/// # Errors
/// When it cannot be read.
pub fn digest_of(path: &Path) -> io::Result<Digest> {
    let mut file = fs::File::open(path)?;
    let mut context = digest::Context::new(&SHA256);
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => break,
            read => context.update(buffer.get(..read).unwrap_or_default()),
        }
    }
    let mut sum = [0; 32];
    sum.copy_from_slice(context.finish().as_ref());
    Ok(Digest(sum))
}
