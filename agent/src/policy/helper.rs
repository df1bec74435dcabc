//! Shell: asks the helper with rights, over its socket.
#![expect(clippy::disallowed_methods, reason = "shell: a socket, and waiting")]

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::time::timeout;

use super::ask::{Answer, MAX_LINE, Request};

/// Where the helper listens.
pub const SOCKET: &str = "/run/homeward-apply.sock";
/// How long an answer may take: sshd is checked and reloaded, a large table listed.
const LIMIT: Duration = Duration::from_secs(30);

/// The way to the helper.
#[derive(Debug, Clone)]
pub struct Helper {
    /// Its socket.
    pub socket: PathBuf,
}

impl Helper {
    /// Asks. Fails when there is no helper, or it does not answer.
    pub async fn ask(&self, request: &Request) -> io::Result<Answer> {
        timeout(LIMIT, self.converse(request))
            .await
            .unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
    }

    async fn converse(&self, request: &Request) -> io::Result<Answer> {
        let mut stream = UnixStream::connect(&self.socket).await?;
        let mut line = serde_json::to_vec(request)?;
        line.push(b'\n');
        stream.write_all(&line).await?;
        let mut answer = Vec::new();
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        stream.take(most).read_to_end(&mut answer).await?;
        Ok(serde_json::from_slice(&answer)?)
    }
}
