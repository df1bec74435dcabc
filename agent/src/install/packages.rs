//! Shell: a pinned set of Debian packages, by a helper with rights. Forward only.
//!
//! # Design
//! The agent fetches, and says when the home may be disturbed; the helper (`homeward-packages`) believes by a root of its
//! own, and installs. What of a set is in place, the helper finds: what was begun and not finished is gone on with, by a
//! permission as for any other act. Services restart only when the permission is for that.
#![expect(clippy::disallowed_methods, reason = "shell: a socket, and files of metadata")]

pub mod ask;
pub mod authority;
pub mod deny;
pub mod help;
pub mod plan;

use std::fs;
use std::io::{self, BufRead as _, BufReader, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::posture::ShortText;
use homeward_protocol::release::state::Can;
use homeward_protocol::release::{Disruption, Installer as Kind};

use self::ask::{Answer, Follows, Install, MAX_FILES, MAX_LINE, Offer, Request, Restarts, State, fit};
use super::{InstallError, Installer, LONGEST_PACKAGES, Standing};
use crate::clock::Clock;
use crate::interlock::Window;
use crate::update::saved::Job;

/// How long it may take to say how things stand: the agent's start waits for it.
const GLANCE: Duration = Duration::from_secs(20);
/// How long an answer may take that needs a look at all that is installed.
const SHORT: Duration = Duration::from_mins(3);
/// What the helper needs beside the time that dpkg may take.
const BESIDE: Duration = Duration::from_mins(5);
/// What is believed beside roots, in the order in which it follows.
const REST: [&str; 3] = ["timestamp.json", "snapshot.json", "targets.json"];
/// With less time than this nothing is begun.
const LEAST: Duration = Duration::from_mins(2);

/// The way to the helper.
pub struct Packages {
    socket: PathBuf,
    metadata: PathBuf,
    clock: Arc<Clock>,
}

impl Packages {
    /// The helper at `socket`; `metadata` is the folder of what the agent believes of its repository.
    pub const fn new(socket: PathBuf, metadata: PathBuf, clock: Arc<Clock>) -> Packages {
        Packages {
            socket,
            metadata,
            clock,
        }
    }

    /// Begins with a question.
    fn ask(&self, request: &Request, patience: Duration) -> io::Result<Talk> {
        let stream = UnixStream::connect(&self.socket)?;
        stream.set_read_timeout(Some(patience))?;
        stream.set_write_timeout(Some(SHORT))?;
        let mut talk = Talk(BufReader::new(stream));
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        talk.send(&line)?;
        Ok(talk)
    }

    fn see(&self) -> io::Result<State> {
        match self.ask(&Request::See, GLANCE)?.hear()? {
            Answer::State(state) => Ok(state),
            Answer::Later(why) => Err(io::Error::other(why)),
            _ => Err(io::ErrorKind::InvalidData.into()),
        }
    }

    /// Roots after the one that the helper has, in the order in which they follow.
    fn roots(&self, trusts: u64) -> io::Result<Vec<(u64, String)>> {
        let mut roots = Vec::new();
        for entry in fs::read_dir(&self.metadata)?.flatten() {
            let name = entry.file_name().to_string_lossy().into_owned();
            let version = name
                .strip_suffix(".root.json")
                .and_then(|version| version.parse::<u64>().ok());
            roots.extend(
                version
                    .filter(|version| *version > trusts)
                    .map(|version| (version, name)),
            );
        }
        roots.sort();
        roots.truncate(MAX_FILES - REST.len());
        Ok(roots)
    }

    /// What the agent believes, in the order in which it follows: roots after the one that the helper has, and the rest.
    fn vouchers(&self, trusts: u64) -> io::Result<Vec<Voucher>> {
        let rest = REST.map(str::to_owned);
        let names = self.roots(trusts)?.into_iter().map(|(_, name)| name).chain(rest);
        let files = names.map(|name| {
            let path = self.metadata.join(&name);
            let length = fs::metadata(&path)?.len();
            Ok((name, path, length))
        });
        files.collect()
    }

    /// Hands on what the agent believes; what the helper believes then.
    fn hand_on(&self, files: &[Voucher]) -> Result<Follows, InstallError> {
        let named = files.iter().map(|(name, _, length)| (name.clone(), *length));
        let mut talk = self.ask(&Request::Follow(named.collect()), SHORT)?;
        // One that does not know the question says nothing at all.
        let first = talk.hear().map_err(|error| {
            InstallError::Later(format!(
                "{error}: it may be older than this agent, and hears of newer release keys only with a bundle then; the \
                 package homeward-agent brings both"
            ))
        })?;
        if first != Answer::Go {
            return Err(ended(first));
        }
        for (_, path, length) in files {
            talk.send_file(path, *length)?;
        }
        match talk.hear()? {
            Answer::Follows(follows) => Ok(follows),
            other => Err(ended(other)),
        }
    }
}

/// A file of metadata: its name on a server, where it lies, and its bytes.
type Voucher = (String, PathBuf, u64);

/// A connection to the helper.
struct Talk(BufReader<UnixStream>);

impl Talk {
    fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.get_mut().write_all(bytes)
    }

    fn send_file(&mut self, path: &Path, length: u64) -> io::Result<()> {
        let sent = io::copy(&mut fs::File::open(path)?.take(length), self.0.get_mut())?;
        if sent == length {
            Ok(())
        } else {
            Err(io::ErrorKind::UnexpectedEof.into())
        }
    }

    fn hear(&mut self) -> io::Result<Answer> {
        let mut line = Vec::new();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        self.0.by_ref().take(most).read_until(b'\n', &mut line)?;
        if line.last() != Some(&b'\n') {
            return Err(io::Error::other("the helper ended without a word"));
        }
        Ok(serde_json::from_slice(&line)?)
    }

    /// Hears that the next part may come.
    fn go(&mut self) -> Result<(), InstallError> {
        match self.hear()? {
            Answer::Go => Ok(()),
            other => Err(ended(other)),
        }
    }
}

/// What an answer other than the hoped one means.
fn ended(answer: Answer) -> InstallError {
    match answer {
        Answer::Later(why) => InstallError::Later(fit(&why)),
        Answer::Refused(why) => InstallError::Refused(fit(&why)),
        Answer::Stays(why) => InstallError::Stays(fit(&why)),
        Answer::State(_) | Answer::Go | Answer::Follows(_) | Answer::Staged | Answer::Done => {
            InstallError::Later("the helper answered another question".to_owned())
        }
    }
}

impl Installer for Packages {
    fn kind(&self) -> Kind {
        Kind::Apt
    }

    fn probe(&self) -> Can {
        let no = |why: &str| Can::No(ShortText::cut(why));
        match self.see() {
            Ok(state) if state.trusts.is_none() => {
                no("its helper was given no root to believe releases by: homeward-packages --trust")
            }
            Ok(state) => Can::Yes(state.version),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                no("there is no helper with the right to install packages")
            }
            Err(error) => no(&format!("the helper that installs packages: {error}")),
        }
    }

    fn follow(&self) -> Result<(), InstallError> {
        let state = match self.see() {
            // A box without a helper takes no packages: nobody has to hear of keys.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            state => state?,
        };
        let Some(trusts) = state.trusts else { return Ok(()) };
        let roots = self.roots(trusts)?;
        let Some(&(newest, _)) = roots.last() else {
            return Ok(());
        };
        let files = roots.into_iter().map(|(_, name)| {
            let path = self.metadata.join(&name);
            let length = fs::metadata(&path)?.len();
            Ok((name, path, length))
        });
        let files: Vec<Voucher> = files.collect::<io::Result<_>>()?;
        let follows = self.hand_on(&files)?;
        if follows.root < newest {
            let why = follows.ended.unwrap_or_default();
            return Err(InstallError::Later(fit(&format!(
                "it believes releases by root {} still, and root {newest} is known: {why}",
                follows.root
            ))));
        }
        tracing::info!("the helper that installs packages believes releases by root {newest} now");
        Ok(())
    }

    fn is_staged(&self, job: &Job) -> Result<bool, InstallError> {
        Ok(self.see()?.staged == Some(job.sha256))
    }

    fn stage(&self, job: &Job, from: &Path) -> Result<(), InstallError> {
        let trusts = self.see()?.trusts.unwrap_or(0);
        let vouchers = self.vouchers(trusts)?;
        let offer = Offer {
            path: job.path.clone(),
            files: vouchers
                .iter()
                .map(|(name, _, length)| (name.clone(), *length))
                .collect(),
            length: job.length,
        };
        let mut talk = self.ask(&Request::Stage(offer), SHORT)?;
        talk.go()?;
        for (_, path, length) in &vouchers {
            talk.send_file(path, *length)?;
        }
        talk.go()?;
        // Whoever stops listening says why.
        let sent = talk.send_file(from, job.length);
        match talk.hear() {
            Ok(Answer::Staged) => Ok(()),
            Ok(other) => Err(ended(other)),
            Err(error) => Err(sent.err().unwrap_or(error).into()),
        }
    }

    fn activate(&self, job: &Job, window: Window) -> Result<(), InstallError> {
        let left = window.until().since(self.clock.uptime());
        if left < LEAST {
            return Err(InstallError::Later(
                "too little of the permitted time is left".to_owned(),
            ));
        }
        let restarts = match window.act().disruption {
            Disruption::None | Disruption::AgentRestart => Restarts::Denied,
            Disruption::ServiceRestart | Disruption::Reboot => Restarts::Allowed,
        };
        let asked = Request::Install(Install {
            sha256: job.sha256,
            restarts,
            seconds: left.min(LONGEST_PACKAGES).as_secs(),
        });
        match self.ask(&asked, left + BESIDE)?.hear()? {
            Answer::Done => Ok(()),
            other => Err(ended(other)),
        }
    }

    fn standing(&self, wanted: Option<&Job>) -> Standing {
        let Some(job) = wanted.filter(|job| job.custom.installer == Kind::Apt) else {
            return Standing::Nothing;
        };
        match self.see() {
            Ok(state) if state.begun == Some(job.sha256) => {
                let what = state
                    .unfinished
                    .as_deref()
                    .unwrap_or("it was not seen to its end");
                Standing::Unfinished(ShortText::cut(&format!("packages are not whole: {what}")))
            }
            Ok(state) if state.done == Some(job.sha256) => Standing::OnTrial,
            _ => Standing::Nothing,
        }
    }

    fn confirm(&self) -> Result<(), InstallError> {
        Ok(())
    }

    fn roll_back(&self) -> Result<(), InstallError> {
        Err(InstallError::NoWayBack(Kind::Apt))
    }
}
