//! Shell: opens and reads files of the system: plain ones only, and never more than a limit.
#![expect(clippy::disallowed_methods, reason = "shell: reads the box's files")]

use std::fs::{File, OpenOptions};
use std::io::Read as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

/// Longest file that is read unless something else is said, bytes.
pub const USUAL: u64 = 1024 * 1024;
/// Most names of one folder that are looked at.
const MAX_NAMES: usize = 4096;

/// Opens a plain file. A pipe or a device that lies there under its name would make its reader wait for ever: those are
/// not opened.
pub fn open(path: &Path) -> Option<File> {
    let flags = rustix::fs::OFlags::NONBLOCK | rustix::fs::OFlags::NOCTTY | rustix::fs::OFlags::CLOEXEC;
    let mut options = OpenOptions::new();
    let bits = i32::try_from(flags.bits()).ok()?;
    let file = options.read(true).custom_flags(bits).open(path).ok()?;
    file.metadata().ok().filter(std::fs::Metadata::is_file)?;
    Some(file)
}

/// The text of an open file, up to `most` bytes; what is no UTF-8 is replaced.
pub fn text_of(file: File, most: u64) -> Option<String> {
    let mut bytes = Vec::new();
    file.take(most).read_to_end(&mut bytes).ok()?;
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The bytes of a file of at most so many.
pub fn bytes(path: &Path, most: u64) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(most).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// The text of a file.
pub fn text(path: impl AsRef<Path>) -> Option<String> {
    text_up_to(path, USUAL)
}

/// The text of a file that may be long.
pub fn text_up_to(path: impl AsRef<Path>, most: u64) -> Option<String> {
    text_of(open(path.as_ref())?, most)
}

/// What lies in a folder, by name.
pub fn names(folder: impl AsRef<Path>) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    let mut all: Vec<PathBuf> = entries
        .take(MAX_NAMES)
        .filter_map(|e| Some(e.ok()?.path()))
        .collect();
    all.sort();
    all
}

/// The last part of a path, as text.
pub fn last(path: &Path) -> String {
    path.file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned()
}

/// What a link points to, as text.
pub fn link(path: impl AsRef<Path>) -> Option<String> {
    let target = std::fs::read_link(path).ok()?;
    Some(target.to_string_lossy().into_owned())
}
