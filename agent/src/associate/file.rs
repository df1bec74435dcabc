//! Shell: the associations as a JSON file in the data folder, replaced as a whole.
#![expect(clippy::disallowed_methods, reason = "shell: a file, and waiting")]

use std::fs::{self, File};
use std::io::{ErrorKind, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::{Associations, PairError};
use crate::disk::replace;

/// Longest file that is read, bytes: the most associations with the longest texts are below it.
const MAX: u64 = 1 << 20;
/// How soon a running agent notices a new pairing: an installer waits for it.
const LOOK: Duration = Duration::from_secs(2);

/// Why the associations could not be read or changed.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// The file system refused.
    #[error("could not read or write the paired devices at {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What it said.
        source: std::io::Error,
    },
    /// The file holds something else. Nobody guesses who is paired.
    #[error("the paired devices at {path} cannot be read: put the file back, or remove it and pair anew")]
    Malformed {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        source: serde_json::Error,
    },
    /// The change makes no sense.
    #[error(transparent)]
    Pair(#[from] PairError),
}

/// Where it lies within a data folder.
pub fn path(data: &Path) -> PathBuf {
    data.join("associations.json")
}

/// Reads it; without a file nobody is paired.
///
/// # Errors
/// [`FileError::Io`] and [`FileError::Malformed`].
pub fn load(data: &Path) -> Result<Associations, FileError> {
    let path = path(data);
    let mut text = String::new();
    match File::open(&path).and_then(|file| file.take(MAX).read_to_string(&mut text)) {
        Ok(_) => serde_json::from_str(&text).map_err(|source| FileError::Malformed { path, source }),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Associations::default()),
        Err(source) => Err(FileError::Io { path, source }),
    }
}

/// Changes it: on return the change is on the disk, and no other change was lost. Gives what `change` gave.
///
/// # Errors
/// Those of [`load`], [`FileError::Io`], and the error of `change`; then nothing is changed.
pub fn change<T>(
    data: &Path,
    change: impl FnOnce(&mut Associations) -> Result<T, PairError>,
) -> Result<T, FileError> {
    let path = path(data);
    let io = |source| FileError::Io {
        path: path.clone(),
        source,
    };
    let _lock = lock(&path.with_extension("lock")).map_err(io)?;
    let mut all = load(data)?;
    let given = change(&mut all)?;
    let text = serde_json::to_vec_pretty(&all).map_err(|source| FileError::Malformed {
        path: path.clone(),
        source,
    })?;
    replace(&path, &text).map_err(io)?;
    Ok(given)
}

fn lock(path: &Path) -> std::io::Result<File> {
    let file = private(path)?;
    rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive)?;
    Ok(file)
}

fn private(path: &Path) -> std::io::Result<File> {
    let mut options = fs::OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options.open(path)
}

/// Tells `seen` of each change for ever. A file that cannot be read changes nothing and is said once.
pub async fn follow(data: PathBuf, seen: watch::Sender<Arc<Associations>>, stop: CancellationToken) {
    let mut last = changed_at(&data);
    while stop.run_until_cancelled(sleep(LOOK)).await.is_some() {
        let at = changed_at(&data);
        if at == last {
            continue;
        }
        last = at;
        match load(&data) {
            Ok(all) => {
                seen.send_if_modified(|known| {
                    let new = **known != all;
                    if new {
                        *known = Arc::new(all);
                    }
                    new
                });
            }
            Err(error) => tracing::error!(error = %error, "{error}"),
        }
    }
}

fn changed_at(data: &Path) -> Option<(SystemTime, u64)> {
    let meta = fs::metadata(path(data)).ok()?;
    Some((meta.modified().ok()?, meta.len()))
}

#[cfg(test)]
mod tests {
    use homeward_protocol::bond::BleAddress;
    use homeward_protocol::posture::ShortText;
    use homeward_protocol::time::Timestamp;

    use super::*;
    use crate::associate::{Association, Declared};

    fn association(last: u8) -> Association {
        Association {
            sensor: format!("cuff-{last}").parse().expect("an id"),
            address: BleAddress([0xC1, 0, 0, 0, 0, last]),
            bond: None,
            by: ShortText::cut("an installer"),
            since: Timestamp::synced(7),
            ended: None,
            declared: Declared::default(),
        }
    }

    #[test]
    fn what_was_paired_is_read_again_and_no_change_is_lost() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(load(dir.path()).expect("reads"), Associations::default());
        let pairs: Vec<_> = (1..=8)
            .map(|last| {
                let data = dir.path().to_owned();
                std::thread::spawn(move || change(&data, |all| all.pair(association(last))))
            })
            .collect();
        for pair in pairs {
            pair.join().expect("no panic").expect("pairs");
        }
        assert_eq!(load(dir.path()).expect("reads").standing().count(), 8);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_stays_as_it_is() {
        let dir = tempfile::tempdir().expect("a directory");
        fs::write(path(dir.path()), "{\"association\": [{}]}").expect("writes");
        assert!(matches!(load(dir.path()), Err(FileError::Malformed { .. })));
        let changed = change(dir.path(), |all| all.pair(association(1)));
        assert!(matches!(changed, Err(FileError::Malformed { .. })));
        let kept = fs::read_to_string(path(dir.path())).expect("reads");
        assert_eq!(kept, "{\"association\": [{}]}");
    }
}
