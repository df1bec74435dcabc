//! Shell: `homeward-apply`: sets what a policy says where the agent has no right to, answers, and ends.
//!
//! Standard input is a socket (`homeward-apply.socket`, a process each connection). One line comes in, a
//! [`Request`]; one line goes out, an [`Answer`]. A request names settings only: our own nftables table, and our own
//! file of sshd's. It can name no other table, file, program or argument.
//!
//! Arguments are no door: who starts this by hand has the rights that he has. `--sshd-config FILE --sshd-folder DIR
//! --nft PROGRAM --sshd PROGRAM` are for tests, `--remove` takes away what was set, for whoever removes the package.
//!
//! # Design
//! The agent speaks with the network and must not be able to open the box's firewall at large, or to write files of the
//! system. It can still ask this helper to loosen our own table: who has taken over the agent has our table. He has
//! no more than that, and the box's own firewall still holds.
#![expect(clippy::disallowed_methods, reason = "shell: a socket, files and programs")]

use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use homeward_agent::policy::apply::Places;
use homeward_agent::policy::ask::{Answer, MAX_LINE, Request};

/// How long an asker may take for its question, and for hearing the answer.
const LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let (places, remove) = places(std::env::args_os().skip(1));
    if remove {
        return removed(&places);
    }
    match serve(&places) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homeward-apply: a request was not answered: {error}");
            ExitCode::FAILURE
        }
    }
}

fn places(args: impl Iterator<Item = std::ffi::OsString>) -> (Places, bool) {
    let (mut places, mut remove) = (Places::default(), false);
    let mut args = args;
    while let Some(arg) = args.next() {
        let slot = match arg.to_str() {
            Some("--remove") => {
                remove = true;
                continue;
            }
            Some("--nft") => &mut places.nft,
            Some("--sshd") => &mut places.sshd,
            Some("--sshd-config") => &mut places.sshd_config,
            Some("--sshd-folder") => &mut places.sshd_folder,
            Some("--sshd-pid") => &mut places.sshd_pid,
            _ => continue,
        };
        *slot = args.next().map(PathBuf::from).unwrap_or_default();
    }
    (places, remove)
}

fn removed(places: &Places) -> ExitCode {
    let mut code = ExitCode::SUCCESS;
    for request in [Request::SetNetwork(None), Request::SetSshd(None)] {
        if let Answer::Failed(why) = places.answer(&request) {
            eprintln!("homeward-apply: {why}");
            code = ExitCode::FAILURE;
        }
    }
    code
}

fn serve(places: &Places) -> io::Result<()> {
    let mut peer = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let request: Request = serde_json::from_slice(&heard(&mut peer)?)?;
    let answer = places.answer(&request);
    let mut line = serde_json::to_vec(&answer)?;
    line.push(b'\n');
    peer.set_write_timeout(Some(LIMIT))?;
    peer.write_all(&line)
}

/// The question: one line, whole, in time.
fn heard(peer: &mut UnixStream) -> io::Result<Vec<u8>> {
    let end = Instant::now() + LIMIT;
    let (mut line, mut piece) = (Vec::new(), vec![0; 64 * 1024]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        peer.set_read_timeout(Some(left))?;
        let got = peer.read(&mut piece)?;
        line.extend_from_slice(&piece[..got]);
        if line.ends_with(b"\n") {
            return Ok(line);
        }
        if got == 0 || line.len() > MAX_LINE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "no end of its line"));
        }
    }
}
