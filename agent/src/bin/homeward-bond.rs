//! Shell: `homeward-bond`: answers one question about the key of one bond, and ends.
//!
//! Standard input is a socket (`homeward-bond.socket`, a process each connection). One line comes in, two addresses;
//! one line goes out, the class and the size of that key. What is asked can name nothing but a key file, and what is
//! answered holds nothing of a key: see [`homeward_devices::bluez::key_file`]. A question that is none gets no answer.
//!
//! The one argument, for tests, is the folder of the keys. It is no door: who starts this by hand has the rights that
//! he has.
//!
//! # Design
//! Those files hold the keys themselves, and the agent, which speaks with the network, must never be able to read
//! them. So the right to read them is here, in a program that has nothing else: no network, no configuration, no
//! state. Turned down: the agent with that right; the group of the files changed (`bluetoothd` writes them anew).
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads one key file, looks at the clock"
)]

use std::io::{self, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use homeward_agent::asked::{line, wrong};
use homeward_devices::bluez::key_file::{Answer, MAX_LINE};
use homeward_devices::bluez::keys::{FOLDER, read};

/// How long an asker may take, for its question and for hearing the answer.
const LIMIT: Duration = Duration::from_secs(3);

fn main() -> ExitCode {
    let folder = std::env::args_os()
        .nth(1)
        .map_or_else(|| FOLDER.into(), PathBuf::from);
    match serve(&folder) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("homeward-bond: a question was not answered: {error}");
            ExitCode::FAILURE
        }
    }
}

fn serve(folder: &Path) -> io::Result<()> {
    let mut peer = UnixStream::from(io::stdin().as_fd().try_clone_to_owned()?);
    let question = line(&mut peer, MAX_LINE, LIMIT)?.parse().map_err(wrong)?;
    let answer = read(folder, question).unwrap_or_else(|error| {
        eprintln!("homeward-bond: {}: its key file: {error}", question.device);
        Answer::Unread
    });
    peer.set_write_timeout(Some(LIMIT))?;
    peer.write_all(format!("{answer}\n").as_bytes())
}
