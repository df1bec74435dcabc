//! Shell: `homeward-look`: answers one question about this box that only root could answer, and ends.
//!
//! Standard input is a socket (`homeward-look.socket`, a process each connection). One word comes in; facts go out: see
//! [`homeward_agent::posture::look`]. A question that is none gets no answer.
//!
//! # Design
//! The rights (to read what is closed to others, to look at other programs' open files, to list the firewall) are this
//! program's alone, and only until what the word stands for is open: everything that is read and parsed after that is
//! read without them. It has no configuration, no state and no option.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads what the question stands for, looks at the clock"
)]

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use homeward_agent::clock::Clock;
use homeward_agent::posture::look::{MAX_QUESTION, Question, open, written};
use rustix::thread::{CapabilitySet, CapabilitySets, set_capabilities};

/// How long an asker may take, for its question and for hearing the answer.
const LIMIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    match serve() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homeward-look: a question was not answered: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut peer = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let question = heard(&mut peer)?;
    let opened = open::open(question);
    give_up_rights()?;
    let answer = written(&opened.facts(Clock::with_floor(0).now()));
    peer.set_write_timeout(Some(LIMIT))?;
    peer.write_all(answer.as_bytes())
}

/// Nothing is left that could be used, or got back.
fn give_up_rights() -> io::Result<()> {
    let none = CapabilitySets {
        effective: CapabilitySet::empty(),
        permitted: CapabilitySet::empty(),
        inheritable: CapabilitySet::empty(),
    };
    set_capabilities(None, none)?;
    Ok(())
}

/// The question: one line, whole, in time, and nothing behind it.
fn heard(peer: &mut UnixStream) -> io::Result<Question> {
    let wrong = |what: String| io::Error::new(io::ErrorKind::InvalidData, what);
    let end = Instant::now() + LIMIT;
    let mut line = [0; MAX_QUESTION];
    let mut filled = 0;
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        peer.set_read_timeout(Some(left))?;
        let got = peer.read(&mut line[filled..])?;
        filled += got;
        if let Some((b'\n', question)) = line[..filled].split_last() {
            let text = std::str::from_utf8(question).map_err(|_| wrong("it is no text".into()))?;
            return text.parse().map_err(wrong);
        }
        if got == 0 || filled == MAX_QUESTION {
            return Err(wrong("no end of its line".into()));
        }
    }
}
