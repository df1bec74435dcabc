//! Shell: the holds of a box, one file each in the data folder, so that they stand whether or not the agent runs; and
//! how the interlock stands, for `homeward-agent update status`.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{ErrorKind, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use homeward_protocol::posture::ShortText;
use homeward_protocol::time::Timestamp;

use super::Quiet;
use super::hold::{self, Hold, HoldId};

/// Longest file that is read, bytes.
const MAX: u64 = 64 * 1024;
const DAY_MS: i64 = 86_400_000;

/// Why a hold could not be read, placed or lifted.
#[derive(Debug, thiserror::Error)]
pub enum HoldError {
    /// The file system refused.
    #[error("could not read or write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// There are too many.
    #[error("there are {} holds already: lift one first", hold::MOST)]
    TooMany,
    /// It would not be the agent's.
    #[error(
        "this has to be the user of the agent, whose folder {0} is: use `runuser -u homeward-agent -- ...`"
    )]
    Owner(PathBuf),
    /// It is the console's, which says that it stands for as long as nobody ends it there.
    #[error(
        "the hold `{0}` is the console's: it is placed and ended there, and ends by itself after three days at most"
    )]
    Console(HoldId),
    /// There is none of this name.
    #[error("there is no hold `{0}`: see `homeward-agent update hold --list`")]
    None(HoldId),
}

fn folder(data: &Path) -> PathBuf {
    data.join("holds")
}

fn at(data: &Path, id: &HoldId) -> PathBuf {
    folder(data).join(format!("{id}.json"))
}

fn io(path: &Path) -> impl FnOnce(std::io::Error) -> HoldError {
    let path = path.to_owned();
    move |source| HoldError::Io { path, source }
}

/// All holds. One that cannot be read stands: somebody asked for quiet.
///
/// # Errors
/// When the folder cannot be read; then nobody knows, and nothing may be disturbed.
pub fn all(data: &Path, now: Timestamp) -> Result<BTreeMap<HoldId, Hold>, HoldError> {
    let path = folder(data);
    let entries = match fs::read_dir(&path) {
        Ok(entries) => entries,
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(io(&path)(error)),
    };
    let mut holds = BTreeMap::new();
    for entry in entries {
        let name = entry.map_err(io(&path))?.file_name();
        let named = name.to_str().and_then(|name| name.strip_suffix(".json"));
        if let Some(id) = named.and_then(|name| name.parse::<HoldId>().ok()) {
            let held = read(&at(data, &id)).unwrap_or_else(|| unreadable(now));
            holds.insert(id, held);
        }
    }
    Ok(holds)
}

fn read(path: &Path) -> Option<Hold> {
    let mut text = String::new();
    File::open(path).ok()?.take(MAX).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

/// Stands for one that cannot be read: until the end of the next day, so that it has not ended at any look.
fn unreadable(now: Timestamp) -> Hold {
    Hold {
        by: ShortText::cut("somebody"),
        reason: ShortText::cut("the hold's file cannot be read"),
        placed: now.plus_ms(-now.ms.rem_euclid(DAY_MS)),
        until: now.plus_ms(2 * DAY_MS - now.ms.rem_euclid(DAY_MS)),
    }
}

/// Whether a person at the box may place and lift a hold of this name.
///
/// # Errors
/// [`HoldError::Console`].
pub fn is_own(id: &HoldId) -> Result<(), HoldError> {
    if *id == HoldId::console() {
        return Err(HoldError::Console(id.clone()));
    }
    Ok(())
}

/// Places a hold, or replaces the one of this name. On return it is on the disk.
///
/// # Errors
/// [`HoldError::TooMany`] and [`HoldError::Io`].
pub fn place(data: &Path, id: &HoldId, held: &Hold, now: Timestamp) -> Result<(), HoldError> {
    let standing = all(data, now)?;
    if standing.len() >= hold::MOST && !standing.contains_key(id) {
        return Err(HoldError::TooMany);
    }
    let path = at(data, id);
    let owner = fs::metadata(data).map_err(io(data))?.uid();
    // What root leaves here the agent could neither read nor remove: it would stand for ever.
    if owner != rustix::process::geteuid().as_raw() {
        return Err(HoldError::Owner(data.to_owned()));
    }
    fs::create_dir_all(folder(data)).map_err(io(&path))?;
    let text = serde_json::to_vec_pretty(held).unwrap_or_default();
    replace(&path, &text).map_err(io(&path))
}

/// Lifts a hold.
///
/// # Errors
/// [`HoldError::None`] and [`HoldError::Io`].
pub fn lift(data: &Path, id: &HoldId) -> Result<(), HoldError> {
    let path = at(data, id);
    match fs::remove_file(&path) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::NotFound => Err(HoldError::None(id.clone())),
        Err(error) => Err(io(&path)(error)),
    }
}

/// Removes a hold that ended.
pub(super) fn swept(data: &Path, id: &HoldId) {
    // Who was faster, or a folder that is gone: there is nothing left to do.
    let _gone = lift(data, id);
}

fn replace(path: &Path, text: &[u8]) -> std::io::Result<()> {
    let next = path.with_extension("new");
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&next)?;
    file.write_all(text)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    File::open(path.parent().unwrap_or(Path::new(".")))?.sync_all()
}

/// Where the state lies within a data folder.
fn state(data: &Path) -> PathBuf {
    data.join("interlock.json")
}

/// How the running agent sees it; none when it never ran, or cannot be read.
pub fn quiet(data: &Path) -> Option<Quiet> {
    let mut text = String::new();
    File::open(state(data))
        .ok()?
        .take(MAX)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

/// Replaces it. Not flushed: after a power cut nothing of it is true.
pub(super) fn tell(data: &Path, quiet: &Quiet) -> std::io::Result<()> {
    let path = state(data);
    let next = path.with_extension("json.new");
    fs::write(&next, serde_json::to_vec_pretty(quiet)?)?;
    fs::rename(&next, &path)
}

/// Takes back what was told.
pub(super) fn silent(data: &Path) {
    // If it cannot be removed, it is stale soon.
    let _stale = fs::remove_file(state(data));
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    fn name(text: &str) -> HoldId {
        text.parse().expect("a name")
    }

    fn hold() -> Hold {
        Hold {
            by: ShortText::cut("nurse"),
            reason: ShortText::cut("a visit"),
            placed: NOW,
            until: NOW.plus_ms(3_600_000),
        }
    }

    #[test]
    fn a_hold_is_placed_listed_and_lifted() {
        let dir = tempfile::tempdir().expect("a folder");
        assert!(all(dir.path(), NOW).expect("none").is_empty());
        place(dir.path(), &name("visit"), &hold(), NOW).expect("placed");
        let listed = all(dir.path(), NOW).expect("one");
        assert_eq!(listed.get(&name("visit")), Some(&hold()));
        lift(dir.path(), &name("visit")).expect("lifted");
        let again = lift(dir.path(), &name("visit")).expect_err("gone");
        assert!(again.to_string().contains("no hold `visit`"));
    }

    #[test]
    fn a_hold_that_cannot_be_read_stands() {
        let dir = tempfile::tempdir().expect("a folder");
        place(dir.path(), &name("visit"), &hold(), NOW).expect("placed");
        fs::write(at(dir.path(), &name("visit")), "{").expect("torn");
        let listed = all(dir.path(), NOW).expect("one");
        assert!(
            listed
                .get(&name("visit"))
                .is_some_and(|hold| hold.until.ms > NOW.ms)
        );
        // The same one all day: it does not begin anew at each look.
        assert_eq!(listed, all(dir.path(), NOW.plus_ms(5_000)).expect("one"));
    }

    #[test]
    fn there_is_a_most_of_holds() {
        let dir = tempfile::tempdir().expect("a folder");
        for n in 0..hold::MOST {
            place(dir.path(), &name(&format!("h{n}")), &hold(), NOW).expect("placed");
        }
        assert!(matches!(
            place(dir.path(), &name("more"), &hold(), NOW),
            Err(HoldError::TooMany)
        ));
        place(dir.path(), &name("h0"), &hold(), NOW).expect("replaced");
    }
}
