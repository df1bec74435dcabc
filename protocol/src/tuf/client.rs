//! The client: what to load, fetch and keep next, until it is known what software there is.
//!
//! ```text
//! begin(root) -> Step { save, ask }      the shell keeps `save` durably, then does `ask`
//! handle(answer) -> Step                 … until `ask` is Ask::Nothing
//! find(path) -> Step, handle(answer) …   until `ask` is Ask::Nothing; then `found()`
//! ```
//! Each file is kept before anything is asked that relies on it, so that the power may fail between any two steps: the
//! next refresh begins with what was kept. An error ends the refresh; what was kept stays kept.

use std::collections::BTreeSet;

use super::metadata::targets::{Target, TargetPath, Targets};
use super::role::Role;
use super::trusted::{News, Trusted};
use super::{MAX_ROLES, MAX_ROOT_STEPS, TufError};
use crate::time::Timestamp;

/// Bytes to keep under a name, durably, before the next question is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Save {
    /// Its name in the store; a plain file name.
    pub name: String,
    /// All of it.
    pub bytes: Vec<u8>,
}

/// What the client needs to know next.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ask {
    /// What was kept under a name; at most so many bytes of it.
    Load {
        /// The name.
        name: String,
        /// Most bytes.
        max: u64,
    },
    /// A file of the repository. What is longer is cut off and answered by [`Answer::TooLong`].
    Fetch {
        /// Its name beside the other metadata; percent-quoted.
        file: String,
        /// Most bytes.
        max: u64,
    },
    /// Nothing: it is done.
    Nothing,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// What was kept; `None` when nothing was, or it cannot be read.
    Loaded(Option<Vec<u8>>),
    /// The file.
    Fetched(Vec<u8>),
    /// The server says that there is no such file.
    Absent,
    /// The file has more bytes than were asked for.
    TooLong,
    /// Anything else went wrong: in words, for the log.
    Failed(String),
}

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    /// To keep first.
    pub save: Option<Save>,
    /// To do then.
    pub ask: Ask,
}

/// A target that somebody who may speak of it speaks of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// Its path.
    pub path: TargetPath,
    /// What was promised.
    pub target: Target,
    /// Who promised it.
    pub by: Role,
    /// Its file on the server, percent-quoted, below the folder of targets.
    pub file: String,
}

#[derive(Debug, Clone)]
enum State {
    Root {
        steps: u32,
    },
    LocalTimestamp,
    Timestamp,
    LocalSnapshot,
    Snapshot,
    LocalTargets,
    Targets,
    /// Looking for a target; `at` is being loaded, or fetched when it was not kept.
    Search {
        search: Search,
        at: Visit,
        kept: bool,
    },
    Ready(Option<Found>),
    Failed,
}

/// A walk through roles, depth first, in the order of their delegations.
#[derive(Debug, Clone)]
struct Search {
    path: TargetPath,
    /// Whom to ask next, the last one first, each with who speaks for its keys.
    waiting: Vec<(Role, usize)>,
    seen: BTreeSet<Role>,
    /// Targets that were read, by which others are verified; without their files, which may be many.
    read: Vec<Targets>,
}

#[derive(Debug, Clone)]
struct Visit {
    role: Role,
    by: usize,
}

/// A refresh, and searches after it.
#[derive(Debug, Clone)]
pub struct Client {
    trusted: Trusted,
    state: State,
}

impl Client {
    /// Begins with the newest root that was kept. `now` is the floored clock; it stays the same for the whole refresh.
    pub fn begin(root: &[u8], now: Timestamp) -> Result<(Client, Step), TufError> {
        let client = Client {
            trusted: Trusted::begin(root, now)?,
            state: State::Root { steps: 0 },
        };
        let step = client.ask_root(None);
        Ok((client, step))
    }

    /// What is believed by now.
    pub const fn trusted(&self) -> &Trusted {
        &self.trusted
    }

    /// Whether a refresh came to its end, so that targets may be looked for.
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready(_))
    }

    /// What the last search found; `None` when nobody speaks of that path.
    pub const fn found(&self) -> Option<&Found> {
        match &self.state {
            State::Ready(found) => found.as_ref(),
            _ => None,
        }
    }

    /// Takes the answer to what was asked.
    pub fn handle(&mut self, answer: Answer) -> Result<Step, TufError> {
        // An error leaves the client failed: half a refresh is none.
        match (std::mem::replace(&mut self.state, State::Failed), answer) {
            (State::Root { steps }, answer) => self.root(steps, answer),
            (State::LocalTimestamp, Answer::Loaded(kept)) => {
                // What does not verify under today's root does not count.
                let _ = kept.map(|bytes| self.trusted.known_timestamp(&bytes));
                self.state = State::Timestamp;
                Ok(fetch(Role::Timestamp.file(None), Role::Timestamp.max_bytes()))
            }
            (State::Timestamp, answer) => {
                let bytes = fetched(&Role::Timestamp.file(None), Role::Timestamp.max_bytes(), answer)?;
                let save = match self.trusted.new_timestamp(&bytes)? {
                    News::Newer => Some(keep(&Role::Timestamp, bytes)),
                    News::Same => None,
                };
                self.state = State::LocalSnapshot;
                Ok(load(&Role::Snapshot, save))
            }
            (State::LocalSnapshot, Answer::Loaded(kept)) => {
                let newest = kept.is_some_and(|bytes| self.trusted.known_snapshot(&bytes) == Ok(true));
                if newest {
                    Ok(self.ask_targets(None))
                } else {
                    self.ask_snapshot()
                }
            }
            (State::Snapshot, answer) => {
                let (file, max) = self.snapshot_file()?;
                let bytes = fetched(&file, max, answer)?;
                self.trusted.new_snapshot(&bytes)?;
                Ok(self.ask_targets(Some(keep(&Role::Snapshot, bytes))))
            }
            (State::LocalTargets, Answer::Loaded(kept)) => {
                if kept.is_some_and(|bytes| self.trusted.take_targets(&bytes).is_ok()) {
                    return Ok(self.ready(None, None));
                }
                let (file, max) = self.file_of(&Role::Targets)?;
                self.state = State::Targets;
                Ok(fetch(file, max))
            }
            (State::Targets, answer) => {
                let (file, max) = self.file_of(&Role::Targets)?;
                let bytes = fetched(&file, max, answer)?;
                self.trusted.take_targets(&bytes)?;
                Ok(self.ready(None, Some(keep(&Role::Targets, bytes))))
            }
            (State::Search { search, at, kept }, answer) => self.visit(search, at, kept, answer),
            (State::LocalTimestamp | State::LocalSnapshot | State::LocalTargets, _) => {
                Err(TufError::Misuse("something was to be loaded"))
            }
            (State::Ready(_) | State::Failed, _) => Err(TufError::Misuse("nothing was asked")),
        }
    }

    /// Looks for a target, after a refresh. Delegated roles are fetched as they are needed.
    pub fn find(&mut self, path: TargetPath) -> Result<Step, TufError> {
        let top = match (&self.state, self.trusted.targets()) {
            (State::Ready(_), Some(top)) => top.about(&path),
            _ => return Err(TufError::Misuse("targets are looked for after a refresh")),
        };
        let search = Search {
            path,
            waiting: Vec::new(),
            seen: BTreeSet::from([Role::Targets]),
            read: Vec::new(),
        };
        Ok(self.look_into(search, &Role::Targets, top, None))
    }

    fn root(&mut self, steps: u32, answer: Answer) -> Result<Step, TufError> {
        let (file, max) = (self.root_file(), Role::Root.max_bytes());
        // Only a clear "there is none" ends the chain: any other failure could hide a rotation.
        if answer == Answer::Absent {
            self.trusted.end_of_roots()?;
            self.state = State::LocalTimestamp;
            return Ok(load(&Role::Timestamp, None));
        }
        let bytes = fetched(&file, max, answer)?;
        if steps >= MAX_ROOT_STEPS {
            return Err(TufError::TooManyRoots);
        }
        self.trusted.next_root(&bytes)?;
        self.state = State::Root { steps: steps + 1 };
        Ok(self.ask_root(Some(keep(&Role::Root, bytes))))
    }

    fn root_file(&self) -> String {
        Role::Root.file(Some(self.trusted.root().head.version.saturating_add(1)))
    }

    fn ask_root(&self, save: Option<Save>) -> Step {
        Step {
            save,
            ..fetch(self.root_file(), Role::Root.max_bytes())
        }
    }

    fn snapshot_file(&self) -> Result<(String, u64), TufError> {
        let wanted = self.trusted.snapshot_wanted()?;
        let version = self.trusted.root().consistent.then_some(wanted.version);
        let max = wanted.length.unwrap_or(Role::Snapshot.max_bytes());
        Ok((Role::Snapshot.file(version), max.min(Role::Snapshot.max_bytes())))
    }

    fn ask_snapshot(&mut self) -> Result<Step, TufError> {
        let (file, max) = self.snapshot_file()?;
        self.state = State::Snapshot;
        Ok(fetch(file, max))
    }

    /// A file of targets on the server, and most bytes of it.
    fn file_of(&self, role: &Role) -> Result<(String, u64), TufError> {
        let promised = self.trusted.promised(role)?;
        let version = self.trusted.root().consistent.then_some(promised.version);
        let max = promised.length.unwrap_or(role.max_bytes());
        Ok((role.file(version), max.min(role.max_bytes())))
    }

    fn ask_targets(&mut self, save: Option<Save>) -> Step {
        self.state = State::LocalTargets;
        load(&Role::Targets, save)
    }

    fn ready(&mut self, found: Option<Found>, save: Option<Save>) -> Step {
        self.state = State::Ready(found);
        Step {
            save,
            ask: Ask::Nothing,
        }
    }

    fn visit(&mut self, search: Search, at: Visit, kept: bool, answer: Answer) -> Result<Step, TufError> {
        let by = search
            .read
            .get(at.by)
            .ok_or(TufError::Misuse("nobody delegated to that role"))?;
        let (file, max) = self.file_of(&at.role)?;
        if kept {
            let Answer::Loaded(bytes) = answer else {
                return Err(TufError::Misuse("something was to be loaded"));
            };
            let read = bytes.and_then(|bytes| self.trusted.delegated(&at.role, by, &bytes).ok());
            if let Some(targets) = read {
                return Ok(self.look_into(search, &at.role, targets, None));
            }
            self.state = State::Search {
                search,
                at,
                kept: false,
            };
            return Ok(fetch(file, max));
        }
        let bytes = fetched(&file, max, answer)?;
        let targets = self.trusted.delegated(&at.role, by, &bytes)?;
        let save = keep(&at.role, bytes);
        Ok(self.look_into(search, &at.role, targets, Some(save)))
    }

    /// Looks into what one role says; goes on with the next when it says nothing of the path.
    fn look_into(&mut self, mut search: Search, role: &Role, targets: Targets, save: Option<Save>) -> Step {
        if let Some(target) = targets.targets.get(search.path.as_str()) {
            let found = Found {
                file: target.file(&search.path, self.trusted.root().consistent),
                path: search.path,
                target: target.clone(),
                by: role.clone(),
            };
            return self.ready(Some(found), save);
        }
        search.go_down(targets);
        match search.next() {
            None => self.ready(None, save),
            Some(at) => {
                let step = load(&at.role, save);
                self.state = State::Search {
                    search,
                    at,
                    kept: true,
                };
                step
            }
        }
    }
}

impl Search {
    /// Puts those in front to whom `targets` handed the path.
    fn go_down(&mut self, mut targets: Targets) {
        targets.targets.clear();
        let by = self.read.len();
        let mut below = Vec::new();
        for one in targets
            .delegations
            .iter()
            .filter(|one| one.paths.cover(self.path.as_str()))
        {
            below.push((one.role.clone(), by));
            if one.terminating {
                // Nobody else is asked, not even those that waited before.
                self.waiting.clear();
                break;
            }
        }
        self.waiting.extend(below.into_iter().rev());
        self.read.push(targets);
    }

    /// The next role that was not asked yet, while there may be more.
    fn next(&mut self) -> Option<Visit> {
        while let Some((role, by)) = self.waiting.pop() {
            if self.seen.len() >= MAX_ROLES {
                return None;
            }
            if self.seen.insert(role.clone()) {
                return Some(Visit { role, by });
            }
        }
        None
    }
}

fn load(role: &Role, save: Option<Save>) -> Step {
    Step {
        save,
        ask: Ask::Load {
            name: role.kept_as(),
            max: role.max_bytes(),
        },
    }
}

fn fetch(file: String, max: u64) -> Step {
    Step {
        save: None,
        ask: Ask::Fetch { file, max },
    }
}

fn keep(role: &Role, bytes: Vec<u8>) -> Save {
    Save {
        name: role.kept_as(),
        bytes,
    }
}

/// The bytes of a file, which the fetcher need not have counted.
fn fetched(file: &str, max: u64, answer: Answer) -> Result<Vec<u8>, TufError> {
    let too_long = || TufError::TooLong {
        file: file.to_owned(),
        max,
    };
    let failed = |why: String| TufError::Fetch {
        file: file.to_owned(),
        why,
    };
    match answer {
        Answer::Fetched(bytes) if u64::try_from(bytes.len()).is_ok_and(|length| length <= max) => Ok(bytes),
        Answer::Fetched(_) | Answer::TooLong => Err(too_long()),
        Answer::Absent => Err(failed("the server does not have it".to_owned())),
        Answer::Failed(why) => Err(failed(why)),
        Answer::Loaded(_) => Err(TufError::Misuse("something was to be fetched")),
    }
}
