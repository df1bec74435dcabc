//! Shell: a wall clock of a program's own, by libfaketime: a box in 1970, a server 90 days on.
//!
//! Only the wall clock is another one; monotonic time runs as it does.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: looks for a library, writes a file"
)]

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::shared;

/// The environment of a program.
pub type Surroundings = Vec<(OsString, OsString)>;

/// libfaketime as Debian installs it, or `None`, said aloud.
fn library() -> Option<PathBuf> {
    let folders = fs::read_dir("/usr/lib").ok()?.map_while(Result::ok);
    let mut all = folders.map(|folder| folder.path().join("faketime/libfaketime.so.1"));
    let found = all.find(|file| file.is_file());
    if found.is_none() {
        shared::missing(
            "libfaketime",
            "install the Debian package faketime, or run tests/run --install",
        );
    }
    found
}

/// A clock that begins at `moment` (`@1970-01-02 00:00:00`) or is so far off (`+90d`) at every start.
pub fn clock(moment: &str) -> Option<Surroundings> {
    Some(vec![
        ("LD_PRELOAD".into(), library()?.into()),
        ("FAKETIME".into(), moment.into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
    ])
}

/// A clock that is as far off as `file` says, now and whenever [`jump`] changes it.
pub fn movable(file: &Path) -> Option<Surroundings> {
    jump(file, "+0");
    Some(vec![
        ("LD_PRELOAD".into(), library()?.into()),
        ("FAKETIME_TIMESTAMP_FILE".into(), file.into()),
        ("FAKETIME_NO_CACHE".into(), "1".into()),
        ("FAKETIME_DONT_FAKE_MONOTONIC".into(), "1".into()),
    ])
}

/// Moves the clock of every program that was started with `file`.
///
/// # Panics
/// When the file cannot be written.
pub fn jump(file: &Path, offset: &str) {
    let new = file.with_extension("new");
    fs::write(&new, offset).expect("the test's folder can be written");
    fs::rename(&new, file).expect("the test's folder can be written");
}
