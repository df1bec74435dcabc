//! Shell: asks the helper, or looks by itself where it has the rights.

use std::io::{Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_protocol::posture::fact::{Fact, Why};
use homeward_protocol::time::Timestamp;

use super::{MAX_ANSWER, Question, SOCKET, open, read};
use crate::posture::facts::seen::Seen;

/// How long an answer may take: to the setuid question all folders are walked through.
const LIMIT: Duration = Duration::from_secs(150);

/// Who answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Looker {
    /// This process: it runs as root.
    Own,
    /// The helper behind this socket.
    Helper(PathBuf),
}

impl Looker {
    /// As fits this process.
    pub fn of_this_process() -> Looker {
        if rustix::process::geteuid().is_root() {
            Looker::Own
        } else {
            Looker::Helper(SOCKET.into())
        }
    }

    /// Asks one question, and waits for the answer. Whoever does not answer leaves a fact that says so.
    pub fn ask(&self, question: Question, at: Timestamp) -> Vec<Fact> {
        match self {
            Looker::Own => open::answer(question, at),
            Looker::Helper(socket) => over(socket, question).unwrap_or_else(|why| {
                let seen = Seen::new(at, "homeward-look");
                question
                    .about()
                    .first()
                    .map(|what| seen.unknown(*what, why))
                    .into_iter()
                    .collect()
            }),
        }
    }
}

fn over(socket: &Path, question: Question) -> Result<Vec<Fact>, Why> {
    let late = |error: &std::io::Error| match error.kind() {
        std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Why::TimedOut,
        _ => Why::Failed,
    };
    let mut stream = UnixStream::connect(socket).map_err(|_| Why::NeedsRights)?;
    let limits = stream
        .set_read_timeout(Some(LIMIT))
        .and_then(|()| stream.set_write_timeout(Some(LIMIT)));
    limits.map_err(|_| Why::Failed)?;
    stream
        .write_all(format!("{question}\n").as_bytes())
        .map_err(|error| late(&error))?;
    let mut answer = String::new();
    stream
        .take(MAX_ANSWER)
        .read_to_string(&mut answer)
        .map_err(|error| late(&error))?;
    read(question, &answer).ok_or(Why::Failed)
}
