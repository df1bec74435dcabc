//! Shell: asks how the key of a bond came about.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads key files, asks the helper"
)]

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::bluez::key_file::{Answer, MAX_LINE, Question, parse};

/// Where `bluetoothd` keeps its keys.
pub const FOLDER: &str = "/var/lib/bluetooth";
/// Where the helper listens (`homeward-bond.socket`).
pub const SOCKET: &str = "/run/homeward-bond.sock";
/// The helper is started for each question; a small box needs its time.
const LIMIT: Duration = Duration::from_secs(5);
/// The longest key file that is read, octets. Real ones have less than 2,000.
const MAX_FILE: u64 = 64 * 1024;

/// How the class of a key can be learnt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Keys {
    /// From the files of `bluetoothd` in this folder: for root, and for tests.
    Folder(PathBuf),
    /// From the helper behind this socket.
    Helper(PathBuf),
}

impl Keys {
    /// As fits this process: the files when they can be listed, else the helper.
    pub fn of_this_box() -> Keys {
        match std::fs::read_dir(FOLDER) {
            Ok(_) => Keys::Folder(FOLDER.into()),
            Err(_) => Keys::Helper(SOCKET.into()),
        }
    }

    /// By `path` when it is given: a folder, else a socket. Without one, as fits this process.
    pub fn at(path: Option<&Path>) -> Keys {
        match path {
            None => Keys::of_this_box(),
            Some(folder) if folder.is_dir() => Keys::Folder(folder.to_owned()),
            Some(socket) => Keys::Helper(socket.to_owned()),
        }
    }

    /// Asks. Whatever goes wrong is [`Answer::Unread`]: nothing is proved then.
    pub async fn ask(&self, question: Question) -> Answer {
        let answer = match self {
            Keys::Folder(folder) => read(folder, question),
            Keys::Helper(socket) => match timeout(LIMIT, over(socket, question)).await {
                Ok(answer) => answer,
                Err(_) => Err(io::Error::from(io::ErrorKind::TimedOut)),
            },
        };
        answer.unwrap_or_else(|error| {
            tracing::warn!(%error, "the key class of {} could not be learnt", question.device);
            Answer::Unread
        })
    }
}

/// Reads the key file in `folder`. No file in a folder that is there: no bond.
///
/// # Errors
/// The folder or the file cannot be read, or the file is longer than a key file is: what lies behind its end might
/// be the weaker key.
pub fn read(folder: &Path, question: Question) -> io::Result<Answer> {
    let path = folder
        .join(question.adapter.to_string())
        .join(question.device.to_string())
        .join("info");
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return std::fs::metadata(folder).map(|_| Answer::None);
        }
        Err(error) => return Err(error),
    };
    let mut text = String::new();
    let size = io::Read::read_to_string(&mut io::Read::take(file, MAX_FILE + 1), &mut text)?;
    if size as u64 > MAX_FILE {
        return Err(io::ErrorKind::FileTooLarge.into());
    }
    Ok(parse(&text).into())
}

async fn over(socket: &Path, question: Question) -> io::Result<Answer> {
    let mut stream = UnixStream::connect(socket).await?;
    stream.write_all(format!("{question}\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.take(MAX_LINE as u64).read_to_string(&mut answer).await?;
    answer
        .parse()
        .map_err(|error: String| io::Error::new(io::ErrorKind::InvalidData, error))
}
