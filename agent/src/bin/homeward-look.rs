//! Shell: `homeward-look`: answers one question about this box that only root could answer, and ends.
//!
//! Standard input is a socket (`homeward-look.socket`, a process each connection). One word comes in; facts go out: see
//! [`homeward_agent::posture::look`]. A question that is none gets no answer.
//!
//! # Design
//! The rights (to read what is closed to others, to look at other programs' open files, to list the firewall) are this
//! program's alone, and only until what the word stands for is open: everything that is read and parsed after that is
//! read without them. `sshd -T`, `nft` and the walk for programs with the rights of others need them, and have them; the
//! other programs that it asks are started without. It has no configuration, no state and no option.

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::time::Duration;

use homeward_agent::asked::{line, wrong};
use homeward_agent::clock::Clock;
use homeward_agent::posture::look::{MAX_QUESTION, open, written};
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
    let question = line(&mut peer, MAX_QUESTION, LIMIT)?.parse().map_err(wrong)?;
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
