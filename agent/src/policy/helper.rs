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
    /// Asks. A box without the socket has no helper; one that does not answer has failed.
    pub async fn ask(&self, request: &Request) -> Answer {
        let answer = timeout(LIMIT, self.converse(request)).await;
        match answer.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into())) {
            Ok(answer) => answer,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Answer::NotHere("no helper with rights".to_owned())
            }
            Err(error) => Answer::Failed(format!("the helper with rights: {error}")),
        }
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

#[cfg(test)]
mod tests {
    use tokio::net::UnixListener;

    use super::*;

    #[tokio::test]
    async fn only_a_socket_that_is_not_there_is_no_helper() {
        let folder = tempfile::tempdir().expect("a folder");
        let helper = Helper {
            socket: folder.path().join("apply.sock"),
        };
        let none = helper.ask(&Request::SeeNetwork).await;
        assert!(matches!(none, Answer::NotHere(_)), "{none:?}");
        // One that is cut off in the middle of its answer.
        let listener = UnixListener::bind(&helper.socket).expect("a socket");
        let half = async {
            let (mut peer, _) = listener.accept().await.expect("asked");
            peer.write_all(b"{\"network\":").await.expect("it listens");
        };
        let (cut, ()) = tokio::join!(helper.ask(&Request::SeeNetwork), half);
        assert!(matches!(cut, Answer::Failed(_)), "{cut:?}");
        // The socket is left over.
        drop(listener);
        let refused = helper.ask(&Request::SeeNetwork).await;
        assert!(matches!(refused, Answer::Failed(_)), "{refused:?}");
    }
}
