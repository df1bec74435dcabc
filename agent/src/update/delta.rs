//! Shell: brings a build here: out of the one that runs and a delta, where the repository has one, else whole.
//!
//! | beside `NAME` | holds |
//! |---|---|
//! | `NAME+part` | what has come of the whole |
//! | `NAME+delta`, `NAME+delta+part` | the delta, and what has come of it |
//! | `NAME+made` | what the delta makes, until its hash is known |
//! | `NAME+tried` | that the delta was applied, or begun to be: never a second time |
//!
//! # Design
//! A delta is only ever tried once for a build. The mark is made before it is applied, so that one which takes the agent down
//! with it, say by its memory, is not begun again at each start.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};

use homeward_protocol::release::Installer;
use homeward_protocol::release::delta::{self, DeltaError, MAX_BUILD, delta_path, is_worth};
use homeward_protocol::tuf::client::Found;
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::metadata::targets::{Target, TargetPath};
use homeward_protocol::tuf::role::Role;
use homeward_protocol::tuf::trusted::Trusted;

use super::decide::Plan;
use super::rate::Held;
use super::saved::{Delta, Job};
use super::tuf::{Fetch, UpdateError, aside, beside, download, matches, part};
use crate::causes::chain;
use crate::disk::put;
use crate::install::InstallError;
use crate::slot::Digest;
use crate::slot::file::digest_of;

/// Why a build could not be made by a delta.
#[derive(Debug, thiserror::Error)]
pub enum ApplyError {
    /// The build that runs is not the one that the delta is for.
    #[error("another build runs here than it is for")]
    OtherBuild,
    /// The delta.
    #[error(transparent)]
    Delta(#[from] DeltaError),
    /// What came of it is not the build that was promised.
    #[error("what comes of it is not the build that the repository promised")]
    NotAsPromised,
    /// The disk.
    #[error("the disk did not take or give it")]
    Disk(#[source] io::Error),
}

/// Why a build did not come.
#[derive(Debug, thiserror::Error)]
pub enum BringError {
    /// It is not to come over this link for now.
    #[error("{0}")]
    Held(Held),
    /// Its installer.
    #[error(transparent)]
    Install(#[from] InstallError),
    /// Anything else: in words.
    #[error("{0}")]
    Failed(String),
}

impl From<UpdateError> for BringError {
    fn from(error: UpdateError) -> BringError {
        error
            .held()
            .map_or_else(|| BringError::Failed(chain(&error)), BringError::Held)
    }
}

/// The delta that the repository has from the build at `own` to the one that is planned. Only the holders of targets
/// speak of deltas.
pub(super) async fn offered(trusted: &Trusted, plan: &Plan, own: &Path) -> Option<Delta> {
    if plan.custom.installer != Installer::AgentSlot {
        return None;
    }
    let own = own.to_owned();
    let from = aside(move || digest_of(&own)).await.ok()?;
    let new = plan.found.target.hashes.get_sha256()?;
    let path: TargetPath = delta_path(&from.0, &new).parse().ok()?;
    let target = trusted.targets()?.targets.get(path.as_str())?;
    let whole = plan.found.target.length;
    (is_worth(target.length, whole) && whole <= MAX_BUILD).then_some(())?;
    Some(Delta {
        from,
        file: target.file(&path, trusted.root().consistent),
        length: target.length,
        sha256: Digest(target.hashes.get_sha256()?),
    })
}

/// What an earlier try may have left beside `place` that the next one goes on with.
pub(super) fn stays(place: &Path) -> [PathBuf; 4] {
    let delta = beside(place, "+delta");
    [part(place), part(&delta), delta, beside(place, "+tried")]
}

/// How many bytes have come of what is brought to `place`, from wherever.
pub(super) fn have(place: &Path) -> u64 {
    let [whole, delta, ..] = stays(place);
    let all = [whole, delta, beside(place, "+peer")];
    all.iter()
        .filter_map(|path| Some(fs::metadata(path).ok()?.len()))
        .sum()
}

/// Whether the build of `job` lies at `place` already.
pub(super) async fn is_here(job: &Job, place: &Path) -> bool {
    let (target, place) = (promised(job.length, job.sha256), place.to_owned());
    aside(move || matches(&target, &place)).await.unwrap_or(false)
}

/// Brings the build of `job` to `place`, which is `own` and a delta, or all of it.
///
/// # Errors
/// Why it did not come. What has come of it stays for the next try.
pub async fn bring(job: &Job, fetch: &impl Fetch, own: &Path, place: &Path) -> Result<(), BringError> {
    if is_here(job, place).await {
        return Ok(());
    }
    let version = job.custom.version;
    if let Some(delta) = job.delta.as_ref().filter(|_| !beside(place, "+tried").exists()) {
        match by_delta(job, delta, fetch, own, place).await {
            Came::Made => {
                let (few, all) = (delta.length, job.length);
                tracing::info!(
                    "version {version} was made of the build that runs and {few} bytes, instead of {all}"
                );
                return Ok(());
            }
            Came::Later(why) => return Err(why),
            Came::Not(why) => {
                tracing::warn!("the delta to version {version} does not do, and all of it is fetched: {why}");
            }
        }
    }
    let path = job
        .path
        .parse()
        .map_err(|why| BringError::Failed(str::to_owned(why)))?;
    let found = Found {
        path,
        target: promised(job.length, job.sha256),
        by: Role::Targets,
        file: job.file.clone(),
    };
    Ok(download(&found, fetch, place).await?)
}

/// What came of a delta.
enum Came {
    /// The build.
    Made,
    /// A part of it: the rest may come later.
    Later(BringError),
    /// Nothing that can be used.
    Not(String),
}

async fn by_delta(job: &Job, delta: &Delta, fetch: &impl Fetch, own: &Path, place: &Path) -> Came {
    let tried = beside(place, "+tried");
    let given_up = |why: String| {
        let _ = fs::write(&tried, b"");
        let _ = fs::remove_file(beside(place, "+delta"));
        Came::Not(why)
    };
    let path: TargetPath = match delta_path(&delta.from.0, &job.sha256.0).parse() {
        Ok(path) => path,
        Err(why) => return given_up(str::to_owned(why)),
    };
    let found = Found {
        path,
        target: promised(delta.length, delta.sha256),
        by: Role::Targets,
        file: delta.file.clone(),
    };
    let came = beside(place, "+delta");
    let here = || fs::metadata(part(&came)).map_or(0, |meta| meta.len());
    let before = here();
    if let Err(error) = download(&found, fetch, &came).await {
        if error.held().is_some() {
            return Came::Later(error.into());
        }
        let why = chain(&error);
        return match (error.may_pass(), here() > before) {
            (true, true) => Came::Later(BringError::Failed(why)),
            // Who gives nothing of it may give the whole; if the network is away, that fails too.
            (true, false) => Came::Not(why),
            (false, _) => given_up(why),
        };
    }
    let (from, target) = (delta.from, promised(job.length, job.sha256));
    let (own, to) = (own.to_owned(), place.to_owned());
    match aside(move || Ok(apply((&own, from), &came, &target, &to))).await {
        Ok(Ok(())) => Came::Made,
        Ok(Err(error)) => given_up(chain(&error)),
        Err(error) => given_up(error.to_string()),
    }
}

fn promised(length: u64, sha256: Digest) -> Target {
    Target {
        length,
        hashes: Hashes::sha256(sha256.0),
        custom: None,
        notes: None,
    }
}

/// Makes what `delta` makes of the build `old`, and puts it in its place once it is proved to be the target.
///
/// # Errors
/// When it is not, or cannot be made. Nothing of it stays.
pub fn apply(
    (old, from): (&Path, Digest),
    delta: &Path,
    target: &Target,
    place: &Path,
) -> Result<(), ApplyError> {
    let disk = ApplyError::Disk;
    fs::write(beside(place, "+tried"), b"").map_err(disk)?;
    let mut bytes = Vec::new();
    let mut file = fs::File::open(old).map_err(disk)?.take(MAX_BUILD + 1);
    file.read_to_end(&mut bytes).map_err(disk)?;
    if ring::digest::digest(&ring::digest::SHA256, &bytes).as_ref() != from.0 {
        return Err(ApplyError::OtherBuild);
    }
    let made = beside(place, "+made");
    let done = build(&bytes, delta, target, &made)
        .and_then(|()| put(&made, place).map_err(disk))
        .inspect_err(|_| {
            let _ = fs::remove_file(&made);
        });
    if done.is_ok() {
        let _ = fs::remove_file(delta);
    }
    done
}

fn build(old: &[u8], delta: &Path, target: &Target, made: &Path) -> Result<(), ApplyError> {
    let disk = ApplyError::Disk;
    let delta = io::BufReader::new(fs::File::open(delta).map_err(disk)?);
    let mut file = fs::File::create(made).map_err(disk)?;
    let (mut check, mut length) = (target.hashes.check(), 0);
    delta::apply(old, delta, target.length, |piece| {
        check.update(piece);
        length += piece.len() as u64;
        file.write_all(piece)
    })?;
    if length != target.length || !check.finish() {
        return Err(ApplyError::NotAsPromised);
    }
    file.sync_all().map_err(disk)
}

#[cfg(test)]
mod tests;
