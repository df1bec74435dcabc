//! Shell: walks the TUF client through a refresh: fetches what it asks for, keeps what it says before going on.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: files, and waiting for the network"
)]

use std::fs;
use std::future::Future;
use std::io::{self, Read as _, Seek as _, Write as _};
use std::path::{Path, PathBuf};

use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::TufError;
use homeward_protocol::tuf::client::{Answer, Ask, Client, Found, Step};
use homeward_protocol::tuf::metadata::targets::{Target, TargetPath};
use homeward_protocol::tuf::role::Role;

use super::rate::Held;
use crate::causes::chain;
use crate::disk::put;

/// Bytes that are read from the disk at once.
const CHUNK: usize = 64 * 1024;

/// Where files come from: a server, a mirror, a stick. Nothing that it says is believed.
pub trait Fetch {
    /// Gives the bytes of `file` from `from` on, in pieces, to `take`; at most up to `max` bytes of the whole file.
    ///
    /// `take` is told where each piece begins; a server that cannot begin in the middle begins at 0 again.
    fn get(
        &self,
        file: &str,
        from: u64,
        max: u64,
        take: &mut (dyn FnMut(u64, &[u8]) -> io::Result<()> + Send),
    ) -> impl Future<Output = Result<(), FetchError>> + Send;
}

/// Where what is believed lies.
pub trait Store {
    /// At most `max` bytes of what was kept under `name`; `None` when nothing was.
    fn load(&self, name: &str, max: u64) -> io::Result<Option<Vec<u8>>>;
    /// Keeps `bytes` under `name`, durably, whole or not at all.
    fn save(&self, name: &str, bytes: &[u8]) -> io::Result<()>;
}

/// Why a file did not come.
#[derive(Debug, thiserror::Error)]
pub enum FetchError {
    /// The server says that there is no such file.
    #[error("the server does not have it")]
    Absent,
    /// It is longer than it may be.
    #[error("it is longer than {0} bytes")]
    TooLong(u64),
    /// The network, the server, time.
    #[error("{0}")]
    Failed(String),
    /// It is not to come over this link for now.
    #[error("{0}")]
    Held(Held),
    /// What came could not be kept.
    #[error("could not keep it")]
    Keep(#[source] io::Error),
}

/// Why a refresh, a search or a download failed. What was believed before still is.
#[derive(Debug, thiserror::Error)]
pub enum UpdateError {
    /// There is no root to begin with.
    #[error("there is no trusted root: bring one with `update trust`")]
    NoRoot,
    /// The repository is not believed.
    #[error(transparent)]
    Tuf(#[from] TufError),
    /// The disk.
    #[error("could not read or keep {name}")]
    Disk {
        /// Which file.
        name: String,
        /// What the disk said.
        source: io::Error,
    },
    /// A target did not come.
    #[error("could not get {path}")]
    Target {
        /// Which.
        path: String,
        /// Why.
        source: FetchError,
    },
    /// A target came, and is not what was promised.
    #[error("{0} is not what the repository promised: its length or a hash differs")]
    NotAsPromised(String),
}

impl UpdateError {
    /// Why nothing comes over this link for now, when that is it.
    pub const fn held(&self) -> Option<Held> {
        match self {
            UpdateError::Target {
                source: FetchError::Held(held),
                ..
            } => Some(*held),
            _ => None,
        }
    }

    /// For people who wait for an update: what is in the way of it.
    pub fn plainly(&self) -> String {
        let why = chain(self);
        match self {
            UpdateError::NoRoot => {
                "this box was given no release keys: bring them with `homeward-agent update trust`".to_owned()
            }
            UpdateError::Tuf(TufError::Fetch { .. }) | UpdateError::Target { .. } => {
                format!("the repository does not give what it should: {why}")
            }
            UpdateError::Tuf(_) | UpdateError::NotAsPromised(_) => {
                format!("the repository is not believed: {why}")
            }
            UpdateError::Disk { .. } => format!("the disk of the box refuses: {why}"),
        }
    }

    /// Whether a later try may do better: the network was away, or the disk was.
    pub const fn may_pass(&self) -> bool {
        match self {
            UpdateError::Target { source, .. } => {
                matches!(
                    source,
                    FetchError::Failed(_) | FetchError::Held(_) | FetchError::Keep(_)
                )
            }
            UpdateError::Disk { .. } => true,
            UpdateError::NoRoot | UpdateError::Tuf(_) | UpdateError::NotAsPromised(_) => false,
        }
    }
}

/// Takes `root` as the one that the box begins with; it must vouch for itself.
pub fn trust(store: &impl Store, root: &[u8], now: Timestamp) -> Result<(), UpdateError> {
    let (name, max) = (Role::Root.kept_as(), Role::Root.max_bytes());
    if root.len() as u64 > max {
        // A refresh would read less of it.
        return Err(TufError::TooLong { file: name, max }.into());
    }
    Client::begin(root, now)?;
    store.save(&name, root).map_err(disk(&name))
}

/// Brings what is believed up to date. `now` is the floored clock.
pub async fn refresh(fetch: &impl Fetch, store: &impl Store, now: Timestamp) -> Result<Client, UpdateError> {
    let name = Role::Root.kept_as();
    let kept = store.load(&name, Role::Root.max_bytes()).map_err(disk(&name))?;
    let (mut client, step) = Client::begin(&kept.ok_or(UpdateError::NoRoot)?, now)?;
    walk(&mut client, step, fetch, store).await?;
    Ok(client)
}

/// Looks for a target after a refresh.
pub async fn find(
    client: &mut Client,
    path: TargetPath,
    fetch: &impl Fetch,
    store: &impl Store,
) -> Result<Option<Found>, UpdateError> {
    let step = client.find(path)?;
    walk(client, step, fetch, store).await?;
    Ok(client.found().cloned())
}

async fn walk(
    client: &mut Client,
    first: Step,
    fetch: &impl Fetch,
    store: &impl Store,
) -> Result<(), UpdateError> {
    let mut step = first;
    loop {
        if let Some(save) = &step.save {
            store.save(&save.name, &save.bytes).map_err(disk(&save.name))?;
        }
        let answer = match step.ask {
            Ask::Nothing => return Ok(()),
            // What cannot be read was not kept: it is fetched again.
            Ask::Load { name, max } => Answer::Loaded(store.load(&name, max).unwrap_or_default()),
            Ask::Fetch { file, max } => answer(fetch, &file, max).await,
        };
        step = client.handle(answer)?;
    }
}

async fn answer(fetch: &impl Fetch, file: &str, max: u64) -> Answer {
    let mut bytes = Vec::new();
    let mut take = |_, piece: &[u8]| {
        bytes.extend_from_slice(piece);
        Ok(())
    };
    match fetch.get(file, 0, max, &mut take).await {
        Ok(()) => Answer::Fetched(bytes),
        Err(FetchError::Absent) => Answer::Absent,
        Err(FetchError::TooLong(_)) => Answer::TooLong,
        Err(error) => Answer::Failed(error.to_string()),
    }
}

/// Brings a target to `place`, going on where an earlier try stopped. What is there already and matches stays.
///
/// Until all of it matches it lies beside, as `NAME+part`: no quoted name holds a `+`.
pub async fn download(found: &Found, fetch: &impl Fetch, place: &Path) -> Result<(), UpdateError> {
    let name = place.display().to_string();
    let (target, there) = (found.target.clone(), place.to_owned());
    if aside(move || matches(&target, &there))
        .await
        .map_err(disk(&name))?
    {
        return Ok(());
    }
    if let Some(folder) = place.parent() {
        fs::create_dir_all(folder).map_err(disk(&name))?;
    }
    let part = part(place);
    let mut options = fs::OpenOptions::new();
    let mut file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&part)
        .map_err(disk(&name))?;
    let have = file.metadata().map_err(disk(&name))?.len();
    let from = if have < found.target.length { have } else { 0 };
    let mut take = |at, piece: &[u8]| {
        file.seek(io::SeekFrom::Start(at))?;
        file.write_all(piece)
    };
    let fetched = fetch.get(&found.file, from, found.target.length, &mut take).await;
    if let Err(source) = fetched {
        if !matches!(source, FetchError::Failed(_) | FetchError::Held(_)) {
            // Nothing to go on with.
            let _ = fs::remove_file(&part);
        }
        return Err(UpdateError::Target {
            path: found.path.to_string(),
            source,
        });
    }
    let (target, place) = (found.target.clone(), place.to_owned());
    let finish = move || {
        // What an earlier try left behind the end.
        file.set_len(target.length.min(file.metadata()?.len()))?;
        file.sync_all()?;
        if !matches(&target, &part)? {
            let _ = fs::remove_file(&part);
            return Ok(false);
        }
        put(&part, &place).map(|()| true)
    };
    if aside(finish).await.map_err(disk(&name))? {
        Ok(())
    } else {
        Err(UpdateError::NotAsPromised(found.path.to_string()))
    }
}

/// Where what has come of a file lies until all of it has.
pub(super) fn part(place: &Path) -> PathBuf {
    beside(place, "+part")
}

/// The file beside `place` whose name has this more. No quoted name holds a `+`.
pub(super) fn beside(place: &Path, more: &str) -> PathBuf {
    let mut name = place.as_os_str().to_owned();
    name.push(more);
    PathBuf::from(name)
}

/// Hashing and flushing take seconds on a slow card: not on the thread that everything else runs on.
pub(super) async fn aside<T: Send + 'static>(
    work: impl FnOnce() -> io::Result<T> + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .unwrap_or_else(|ended| Err(io::Error::other(ended)))
}

/// Whether the file at `place` is the target, by length and by all hashes.
pub fn matches(target: &Target, place: &Path) -> io::Result<bool> {
    let mut file = match fs::File::open(place) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    };
    if file.metadata()?.len() != target.length {
        return Ok(false);
    }
    let mut check = target.hashes.check();
    let mut buffer = vec![0; CHUNK];
    loop {
        match file.read(&mut buffer)? {
            0 => return Ok(check.finish()),
            read => check.update(buffer.get(..read).unwrap_or_default()),
        }
    }
}

fn disk(name: &str) -> impl Fn(io::Error) -> UpdateError {
    let name = name.to_owned();
    move |source| UpdateError::Disk {
        name: name.clone(),
        source,
    }
}
