//! Shell: what the helper does that installs packages: it takes a bundle, believes it by a root of its own, and lets dpkg
//! install exactly that.
//!
//! | below its folder | holds |
//! |---|---|
//! | `trust/` | the metadata that is believed: the first root, given by hand, and what followed it |
//! | `staged/SHA256/` | a bundle's packages, and `set.cbor`: what the release says of them |
//! | `kept.cbor` | what was put in place, and what was begun ([`Kept`]) |
//! | `last.log` | what dpkg said last |
#![expect(
    clippy::disallowed_methods,
    reason = "shell: files, a clock, and the programs dpkg and apt-get"
)]

mod system;

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_protocol::release::bundle::{BundleError, Index, MAX_BUNDLE, unpack};
use homeward_protocol::release::{Disruption, Version};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::hash::Check;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use system::{LOOK, held, is_what_it_says, is_whole, known, time_left};

use super::ask::{Answer, Follows, Install, Offer, Restarts, State, fit};
use super::authority::{self, Believed, Files};
use super::deny::{self, allow};
use super::plan::{self, Why};
use crate::disk::{put, replace};
use crate::program::run;
use crate::slot::Digest;

/// Longest that installing may take, whatever is asked.
const LONGEST: u64 = 20 * 60;
/// Room that stays free beside a bundle, bytes: packages take more room than their files.
const SPARE_ROOM: u64 = 64 << 20;
/// So many times its packed size a package may take, beside what it takes the place of.
const UNPACKED: u64 = 5;
/// So often a set is gone on with whose time was over: a script of it that never ends would hold the home up for ever.
const MOST_LATE: u8 = 3;
/// Longest record that is read, bytes.
const MAX_RECORD: u64 = 1 << 20;
/// Where the helper finds what it works with. The usual places; others in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// Its own folder, which nobody else may write to.
    pub own: PathBuf,
    /// dpkg's.
    pub dpkg: PathBuf,
    /// What is asked whether services may restart.
    pub policy: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            own: "/var/lib/homeward-packages".into(),
            dpkg: "/var/lib/dpkg".into(),
            policy: deny::POLICY.into(),
        }
    }
}

/// What outlasts a power cut.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    /// The release that was put in place last.
    version: Version,
    /// Its bundle.
    done: Option<Digest>,
    /// The bundle that was begun, until one is whole.
    begun: Option<Digest>,
    /// How often that was ended because its time was over.
    #[serde(default)]
    late: u8,
}

impl Kept {
    /// The time of what was begun is over once more: what that means.
    fn was_late(&mut self) -> Stop {
        self.late = self.late.saturating_add(1);
        if self.late < MOST_LATE {
            return later("it took longer than it may, was ended, and is to be gone on with");
        }
        self.late = 0;
        Stop::Stays(format!(
            "it took longer than it may {MOST_LATE} times, and was ended"
        ))
    }
}

/// What lies staged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Set {
    version: Version,
    restarts: Restarts,
    index: Index,
}

impl Set {
    /// Of all its packages, bytes.
    fn length(&self) -> u64 {
        self.index.packages().iter().map(|one| one.length).sum()
    }
}

/// Why something ended early.
enum Stop {
    Later(String),
    Refused(String),
    Stays(String),
    /// Its time was over, in the middle of it.
    Late,
    Disk(io::Error),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Stop {
        Stop::Disk(error)
    }
}

impl Stop {
    /// The same when something was changed by then: what is refused stays as it is.
    fn after_a_change(self) -> Stop {
        match self {
            Stop::Refused(why) => Stop::Stays(why),
            stop => stop,
        }
    }
}

impl From<Why> for Stop {
    fn from(why: Why) -> Stop {
        match why {
            Why::Later(why) => Stop::Later(why),
            Why::Refused(why) => Stop::Refused(why),
        }
    }
}

fn later(why: impl Into<String>) -> Stop {
    Stop::Later(why.into())
}

fn refused(why: impl Into<String>) -> Stop {
    Stop::Refused(why.into())
}

fn answered(outcome: Result<Answer, Stop>) -> Answer {
    match outcome {
        Ok(answer) => answer,
        Err(Stop::Later(why)) => Answer::Later(why),
        Err(Stop::Refused(why)) => Answer::Refused(why),
        Err(Stop::Stays(why)) => Answer::Stays(why),
        Err(Stop::Late) => Answer::Later("its time was over".to_owned()),
        Err(Stop::Disk(error)) => Answer::Later(fit(&format!("the helper that installs packages: {error}"))),
    }
}

/// Whoever sends what was announced, when he is told to.
pub trait Sender: Read {
    /// Lets the next part come.
    ///
    /// # Errors
    /// When he cannot be told.
    fn go(&mut self) -> io::Result<()>;
}

impl Places {
    /// Takes the first root. By hand, by root.
    ///
    /// # Errors
    /// When there is one already, or this is none.
    pub fn trust(&self, root: &Path, now: Timestamp) -> Result<u64, String> {
        let trust = self.own.join("trust");
        let said = |error: io::Error| error.to_string();
        let bytes = read(root, authority::MAX_ROOT).map_err(said)?;
        let version = authority::root(&bytes, now).map_err(|why| why.to_string())?;
        if let Some(before) = self.trusts(now) {
            return Err(format!(
                "it trusts root {before} already, and follows it by what the agent brings; it takes no other"
            ));
        }
        folder(&self.own).and_then(|()| folder(&trust)).map_err(said)?;
        replace(&trust.join("root.json"), &bytes).map_err(said)?;
        Ok(version)
    }

    /// How it stands. A denial that a crash left behind is taken back.
    pub fn see(&self, now: Timestamp) -> Answer {
        let seen = || -> Result<Answer, Stop> {
            folder(&self.own)?;
            if let Ok(_alone) = self.lock() {
                allow(&self.policy)?;
            }
            let kept = self.kept()?;
            let unfinished = kept.begun.map(|_| self.unfinished()).transpose()?.flatten();
            Ok(Answer::State(State {
                trusts: self.trusts(now),
                version: kept.version,
                done: kept.done,
                staged: self.staged()?,
                begun: kept.begun,
                unfinished,
            }))
        };
        answered(seen())
    }

    /// Keeps what it can believe of files of metadata, as far as they verify. Nothing is installed.
    pub fn follow(&self, files: &[(String, u64)], from: &mut impl Sender, now: Timestamp) -> Answer {
        let mut followed = || -> Result<Answer, Stop> {
            folder(&self.own)?;
            let _alone = self.lock()?;
            from.go()?;
            let given = given(files, from)?;
            let followed = authority::follow(self.believed(), &given, now, &mut |name, bytes| {
                self.keep_believed(name, bytes)
            });
            let (root, ended) = followed.map_err(later)?;
            Ok(Answer::Follows(Follows {
                root,
                ended: ended.map(|why| fit(&why)),
            }))
        };
        answered(followed())
    }

    /// Takes a bundle and checks it: who signed for it, that it is whole, that it is for this box as it is.
    pub fn stage(&self, offer: &Offer, from: &mut impl Sender, now: Timestamp) -> Answer {
        let mut taken = || -> Result<Answer, Stop> {
            folder(&self.own)?;
            let _alone = self.lock()?;
            let incoming = self.own.join("incoming");
            let taken = self.taken(offer, from, &incoming, now);
            // What was not taken leaves nothing.
            let _gone = fs::remove_dir_all(&incoming);
            taken
        };
        answered(taken())
    }

    /// The same by who holds the lock.
    fn taken(
        &self,
        offer: &Offer,
        from: &mut impl Sender,
        incoming: &Path,
        now: Timestamp,
    ) -> Result<Answer, Stop> {
        from.go()?;
        let given = given(&offer.files, from)?;
        let believed = authority::believe(
            self.believed(),
            &given,
            (&offer.path, std::env::consts::ARCH),
            now,
            &mut |name, bytes| self.keep_believed(name, bytes),
        )?;
        let kept = self.kept()?;
        if believed.custom.version < kept.version {
            let why = format!("{} is in place, and packages go forward only", kept.version);
            return Err(refused(why));
        }
        if believed.target.length != offer.length || offer.length > MAX_BUNDLE {
            return Err(refused("it has another length than the release's keys signed"));
        }
        room(&self.own, offer.length)?;
        from.go()?;
        let set = received(&believed, from, incoming)?;
        let sha256 = believed.target.hashes.get_sha256();
        let sha256 = Digest(sha256.ok_or_else(|| refused("the release's keys signed no SHA-256 of it"))?);
        // What the box is like by then is asked again; what can never be is said now.
        match self.planned(&set, incoming) {
            Err(Stop::Later(_)) | Ok(_) => {}
            Err(stop) => return Err(stop),
        }
        let record = serde_cbor::to_vec(&set).map_err(io::Error::other)?;
        replace(&incoming.join("set.cbor"), &record)?;
        let all = self.own.join("staged");
        let _gone = fs::remove_dir_all(&all);
        folder(&all)?;
        put(incoming, &all.join(sha256.to_string()))?;
        Ok(Answer::Staged)
    }

    /// Installs what was staged, or goes on with it.
    pub fn install(&self, asked: &Install) -> Answer {
        answered(self.installed(asked))
    }

    fn installed(&self, asked: &Install) -> Result<Answer, Stop> {
        let end = Instant::now() + Duration::from_secs(asked.seconds.min(LONGEST));
        folder(&self.own)?;
        let _alone = self.lock()?;
        let within = self.own.join("staged").join(asked.sha256.to_string());
        let set = set(&within)?;
        let mut kept = self.kept()?;
        if set.version < kept.version {
            return Err(refused(format!(
                "{} is in place, and packages go forward only",
                kept.version
            )));
        }
        // Nobody else installs from here on, and nobody was in the middle of it.
        let _frontend = held(&self.dpkg.join("lock-frontend"))?;
        drop(held(&self.dpkg.join("lock"))?);
        for one in set.index.packages() {
            is_whole(one, &within)?;
        }
        let begun = kept.begun == Some(asked.sha256);
        if !begun {
            // What is packed becomes several times as much, and root may fill a disk that readings need, too.
            room(&self.dpkg, set.length().saturating_mul(UNPACKED))?;
        }
        let unfinished = self.unfinished()?;
        if let (Some(what), None) = (&unfinished, kept.begun) {
            return Err(later(format!(
                "packages that others began are not finished: {what}"
            )));
        }
        let denied = asked.restarts == Restarts::Denied || set.restarts == Restarts::Denied;
        let mut order = match (begun, &unfinished) {
            // Mended first, and planned then.
            (_, Some(_)) => Vec::new(),
            (_, None) => self.planned(&set, &within)?,
        };
        time_left(end)?;
        if !begun {
            kept.late = 0;
        }
        kept.begun = Some(asked.sha256);
        self.keep(&kept)?;
        if denied {
            deny::deny(&self.policy)?;
        }
        let acted = (|| -> Result<(), Stop> {
            if unfinished.is_some() {
                // What it cannot configure, the set may bring anew.
                self.dpkg(&["--configure", "--pending"], &[], denied, end)?;
                order = self.left(&set, &within, begun).map_err(Stop::after_a_change)?;
            }
            if !order.is_empty() {
                let files: Vec<PathBuf> = order.iter().map(|one| within.join(one)).collect();
                self.dpkg(&["--install"], &files, denied, end)?;
            }
            Ok(())
        })();
        allow(&self.policy)?;
        if denied && Path::new("/run/systemd/system").is_dir() {
            // Scripts were told that nothing runs: units that came are read now, and started by whoever may.
            let _at_next_start = run(Command::new("systemctl").arg("daemon-reload"), &[], LOOK);
        }
        if matches!(acted, Err(Stop::Late)) {
            let stop = kept.was_late();
            self.keep(&kept)?;
            return Err(stop);
        }
        acted?;
        let lacks = plan::lacking(&set.index, &known(&set.index)?.1);
        if let Some(first) = lacks.first() {
            return Ok(Answer::Stays(fit(&format!("{first}; {}", self.last_words()))));
        }
        self.keep(&Kept {
            version: set.version,
            done: Some(asked.sha256),
            begun: None,
            late: 0,
        })?;
        Ok(Answer::Done)
    }

    /// Held for as long as it lives: one helper acts at a time.
    fn lock(&self) -> Result<fs::File, Stop> {
        let mut options = fs::OpenOptions::new();
        let path = self.own.join("lock");
        let file = options
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(path)?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(file),
            Err(_) => Err(later("packages are being taken or installed already")),
        }
    }

    fn trusts(&self, now: Timestamp) -> Option<u64> {
        let bytes = read(&self.own.join("trust/root.json"), authority::MAX_ROOT).ok()?;
        authority::root(&bytes, now).ok()
    }

    /// What is kept of the repository; what cannot be read is not believed.
    fn believed(&self) -> Files {
        let trust = self.own.join("trust");
        let names = ["root.json", "timestamp.json", "snapshot.json", "targets.json"];
        let kept = names.map(|name| {
            Some((
                name.to_owned(),
                read(&trust.join(name), authority::MAX_FILE).ok()?,
            ))
        });
        kept.into_iter().flatten().collect()
    }

    fn keep_believed(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        replace(&self.own.join("trust").join(name), bytes)
    }

    fn staged(&self) -> io::Result<Option<Digest>> {
        let all = match fs::read_dir(self.own.join("staged")) {
            Ok(all) => all,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let mut names = all
            .flatten()
            .filter_map(|entry| entry.file_name().into_string().ok());
        Ok(names.find_map(|name| name.try_into().ok()))
    }

    fn kept(&self) -> io::Result<Kept> {
        match read(&self.own.join("kept.cbor"), MAX_RECORD) {
            Ok(bytes) => serde_cbor::from_slice(&bytes).map_err(io::Error::other),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Kept {
                version: Version::ZERO,
                done: None,
                begun: None,
                late: 0,
            }),
            Err(error) => Err(error),
        }
    }

    fn keep(&self, kept: &Kept) -> io::Result<()> {
        let bytes = serde_cbor::to_vec(kept).map_err(io::Error::other)?;
        replace(&self.own.join("kept.cbor"), &bytes)
    }
}

/// Files of metadata, as they come one after the other.
fn given(files: &[(String, u64)], from: &mut impl Read) -> io::Result<Files> {
    let mut given = Files::new();
    for (name, length) in files {
        let mut bytes = Vec::new();
        from.by_ref().take(*length).read_to_end(&mut bytes)?;
        given.insert(name.clone(), bytes);
    }
    Ok(given)
}

/// Bytes that are hashed as they pass.
struct Checking<'a, R> {
    from: R,
    check: Check<'a>,
}

impl<R: Read> Read for Checking<'_, R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.check.update(into.get(..read).unwrap_or_default());
        Ok(read)
    }
}

/// Copies the bundle as it comes into a folder that nobody else can write to, and looks only at that copy.
fn received(believed: &Believed, from: &mut impl Read, incoming: &Path) -> Result<Set, Stop> {
    let _gone = fs::remove_dir_all(incoming);
    folder(incoming)?;
    let mut from = Checking {
        from: from.take(believed.target.length),
        check: believed.target.hashes.check(),
    };
    let mut open: Option<(String, fs::File)> = None;
    let index = unpack(
        &mut from,
        |_| Ok(()),
        |package, piece| {
            let name = package.file();
            if open.as_ref().is_none_or(|(before, _)| *before != name) {
                if let Some((_, before)) = open.take() {
                    before.sync_all()?;
                }
                let file = fs::File::create_new(incoming.join(&name))?;
                open = Some((name, file));
            }
            open.as_mut().map_or(Ok(()), |(_, file)| file.write_all(piece))
        },
    );
    let index = index.map_err(|why| match why {
        BundleError::Read(error) | BundleError::Keep { source: error, .. } => Stop::Disk(error),
        BundleError::Short => later("who sent it went away before its end"),
        why => refused(fit(&why.to_string())),
    })?;
    if let Some((_, last)) = open {
        last.sync_all()?;
    }
    if !from.check.finish() {
        return Err(refused("it is not what the release's keys signed"));
    }
    for one in index.packages() {
        is_what_it_says(one, incoming)?;
    }
    let restarts = match believed.custom.disruption {
        Disruption::None | Disruption::AgentRestart => Restarts::Denied,
        Disruption::ServiceRestart | Disruption::Reboot => Restarts::Allowed,
    };
    Ok(Set {
        version: believed.custom.version,
        restarts,
        index,
    })
}

/// For root alone.
fn folder(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

fn read(path: &Path, max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    fs::File::open(path)?.take(max).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn set(within: &Path) -> Result<Set, Stop> {
    match read(&within.join("set.cbor"), MAX_RECORD) {
        Ok(bytes) => serde_cbor::from_slice(&bytes).map_err(|error| Stop::Disk(io::Error::other(error))),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Err(later("it is not staged")),
        Err(error) => Err(error.into()),
    }
}

fn room(within: &Path, comes: u64) -> Result<(), Stop> {
    let disk = rustix::fs::statvfs(within).map_err(io::Error::from)?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let needs = comes.saturating_add(SPARE_ROOM);
    if free >= needs {
        return Ok(());
    }
    Err(later(format!(
        "the disk has room for {} MiB, and {} MiB are needed",
        free >> 20,
        needs >> 20
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_never_done_in_its_time_is_gone_on_with_so_often_and_then_stays() {
        let mut kept = Kept {
            version: Version::ZERO,
            done: None,
            begun: Some(Digest([1; 32])),
            late: 0,
        };
        // A person may have it tried anew by giving it once more.
        for _ in 0..2 {
            let stays = [(); 3].map(|()| matches!(kept.was_late(), Stop::Stays(_)));
            assert_eq!(stays, [false, false, true]);
        }
    }
}
