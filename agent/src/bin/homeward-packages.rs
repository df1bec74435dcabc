//! Shell: `homeward-packages`: takes a bundle of Debian packages, believes it or not, installs exactly that, and ends.
//!
//! Standard input is a socket (`homeward-packages.socket`, a process each connection). What is asked and answered stands in
//! [`homeward_agent::install::packages::ask`]: what to take, and when to install it; never a program, an option or a place.
//!
//! `homeward-packages --trust ROOT.json`, by root and once, gives it the root by which it believes releases: the same file
//! that `homeward-agent update trust` takes. Without one it installs nothing.
//!
//! Arguments are no door: who starts this by hand has the rights that he has.
//!
//! # Design
//! Who may install packages may do everything on a box, and the agent speaks with the network. So the helper believes the
//! agent nothing: it holds a root of its own, follows it by what the agent brings, with a bundle or without, copies a
//! bundle before it looks at it, and installs what
//! the release's offline keys signed as a set of packages for this hardware. Who has taken the agent over can hand it such a
//! release, and say when; he cannot make one, and cannot go back to an older one.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: a socket, its clock, and arguments"
)]

use std::io::{self, Read, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use homeward_agent::asked::{line, wrong};
use homeward_agent::clock::Clock;
use homeward_agent::install::packages::ask::{Answer, MAX_FILES, MAX_LINE, MAX_METADATA, Request};
use homeward_agent::install::packages::help::{Places, Sender};

/// How long an asker may take for its question, for the next bytes, and for hearing an answer.
const LIMIT: Duration = Duration::from_secs(30);
/// How long all that follows a question may take.
const ALL: Duration = Duration::from_mins(15);
const HELP: &str = "homeward-packages: installs the Debian packages of a release, for the Homeward agent, over a socket.\n\n\
                    Usage: homeward-packages --trust ROOT.json\n\nGives it the root by which it believes releases, once. \
                    After that it follows the root by what the agent \
                    brings: whenever that has heard of a newer one, and with each bundle.\n\nExample:\n  sudo \
                    /usr/libexec/homeward/homeward-packages --trust 1.root.json";

fn main() -> ExitCode {
    let args: Vec<_> = std::env::args_os().skip(1).collect();
    let now = Clock::with_floor(0).now();
    let first = args.first().and_then(|first| first.to_str());
    let outcome = match (first, args.get(1)) {
        (None, _) => serve(),
        (Some("--trust"), Some(root)) => Places::default()
            .trust(&PathBuf::from(root), now)
            .map(|version| println!("Releases that follow root {version} are believed now"))
            .map_err(io::Error::other),
        _ => {
            println!("{HELP}");
            return ExitCode::from(u8::from(!matches!(first, Some("--help" | "-h"))) * 2);
        }
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homeward-packages: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve() -> io::Result<()> {
    let mut peer = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let asked = line(&mut peer, MAX_LINE, LIMIT)?;
    let places = Places::default();
    let now = Clock::with_floor(0).now();
    peer.set_write_timeout(Some(LIMIT))?;
    let mut peer = Peer {
        stream: peer,
        end: Instant::now() + ALL,
    };
    let Ok(request) = serde_json::from_str::<Request>(&asked) else {
        // One of the two is older than the other: who asks hears that, and not only an end.
        let why = "this helper does not know that question: it and the agent are of different versions";
        eprintln!("homeward-packages: {why}");
        return peer.tell(&Answer::Later(why.to_owned()));
    };
    let answer = match request {
        Request::See => places.see(now),
        Request::Follow(files) => {
            fits(&files)?;
            places.follow(&files, &mut peer, now)
        }
        Request::Stage(offer) => {
            fits(&offer.files)?;
            places.stage(&offer, &mut peer, now)
        }
        // It goes on when nobody listens any more: half of it would be the worst.
        Request::Install(asked) => places.install(&asked),
    };
    match &answer {
        Answer::Refused(why) | Answer::Stays(why) => eprintln!("homeward-packages: {why}"),
        Answer::Done => eprintln!("homeward-packages: the packages of a release are installed"),
        Answer::State(_) | Answer::Go | Answer::Follows(_) | Answer::Staged | Answer::Later(_) => {}
    }
    peer.tell(&answer)
}

/// Nobody makes it keep more than it has room for.
fn fits(files: &[(String, u64)]) -> io::Result<()> {
    let all = files
        .iter()
        .try_fold(0_u64, |sum, (_, length)| sum.checked_add(*length));
    if files.len() > MAX_FILES || all.is_none_or(|all| all > MAX_METADATA) {
        return Err(wrong("more metadata than any release has"));
    }
    Ok(())
}

struct Peer {
    stream: UnixStream,
    end: Instant,
}

impl Peer {
    fn tell(&mut self, answer: &Answer) -> io::Result<()> {
        let mut line = serde_json::to_vec(answer)?;
        line.push(b'\n');
        self.stream.write_all(&line)
    }
}

impl Read for Peer {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        self.stream.set_read_timeout(Some(left.min(LIMIT)))?;
        self.stream.read(into)
    }
}

impl Sender for Peer {
    fn go(&mut self) -> io::Result<()> {
        self.tell(&Answer::Go)
    }
}
