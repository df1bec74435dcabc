//! Shell: `homeward-apply`: sets what a policy says where the agent has no right to, answers, and ends.
//!
//! Standard input is a socket (`homeward-apply.socket`, a process each connection). One line comes in, a
//! [`Request`]; one line goes out, an [`Answer`]. A request names settings only: our own nftables table, and our own
//! file of sshd's. It can name no other table, file, program or argument.
//!
//! With `--at-start` nobody is listened to: the network's rules that were set last are set again
//! (`homeward-rules.service`, before the box has a network).
//!
//! Arguments are no door: who starts this by hand has the rights that he has. `--sshd-config FILE --sshd-folder DIR
//! --sshd-pid FILE --nft PROGRAM --sshd PROGRAM --kept FILE` are for tests.
//!
//! # Design
//! The agent speaks with the network and must not be able to open the box's firewall at large, or to write files of the
//! system. It can still ask this helper to take away what policies tightened: our own table, and our own file of sshd's.
//! The table stands beside the box's own firewall, which still holds, and the file is written by the helper with what is
//! stricter than the box's sshd is by itself and nothing else: who has taken over the agent opens nothing that its box
//! keeps closed.
#![expect(clippy::disallowed_methods, reason = "shell: a socket, files and programs")]

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use homeward_agent::asked::line;
use homeward_agent::policy::apply::Places;
use homeward_agent::policy::ask::{MAX_LINE, Request};

/// How long an asker may take for its question, and for hearing the answer.
const LIMIT: Duration = Duration::from_secs(5);

fn main() -> ExitCode {
    let (places, at_start) = places(std::env::args_os().skip(1));
    let outcome = if at_start {
        places
            .at_start()
            .map_err(|why| format!("the last rules are not set: {why}"))
    } else {
        serve(&places).map_err(|error| format!("a request was not answered: {error}"))
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("homeward-apply: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Where everything is, and whether the box starts.
fn places(mut args: impl Iterator<Item = std::ffi::OsString>) -> (Places, bool) {
    let (mut places, mut at_start) = (Places::default(), false);
    while let Some(arg) = args.next() {
        let slot = match arg.to_str() {
            Some("--nft") => &mut places.nft,
            Some("--sshd") => &mut places.sshd,
            Some("--sshd-config") => &mut places.sshd_config,
            Some("--sshd-folder") => &mut places.sshd_folder,
            Some("--sshd-pid") => &mut places.sshd_pid,
            Some("--kept") => &mut places.kept,
            Some("--at-start") => {
                at_start = true;
                continue;
            }
            _ => continue,
        };
        *slot = args.next().map(PathBuf::from).unwrap_or_default();
    }
    (places, at_start)
}

fn serve(places: &Places) -> io::Result<()> {
    let mut peer = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let request: Request = serde_json::from_str(&line(&mut peer, MAX_LINE, LIMIT)?)?;
    let answer = places.answer(&request);
    let mut told = serde_json::to_vec(&answer)?;
    told.push(b'\n');
    peer.set_write_timeout(Some(LIMIT))?;
    peer.write_all(&told)
}
