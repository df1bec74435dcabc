//! Shell: what a helper with rights is asked: one line, whole, in time, and nothing behind it.
#![expect(clippy::disallowed_methods, reason = "shell: a socket, and its clock")]

use std::io::{self, Read as _};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

/// The line that `peer` sends within `limit`, without its end; at most `most` bytes with it.
///
/// # Errors
/// When it is no such line, or does not come.
pub fn line(peer: &mut UnixStream, most: usize, limit: Duration) -> io::Result<String> {
    let end = Instant::now() + limit;
    let (mut line, mut piece) = (Vec::new(), vec![0; most.min(64 * 1024)]);
    loop {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        peer.set_read_timeout(Some(left))?;
        let got = peer.read(&mut piece)?;
        line.extend_from_slice(&piece[..got]);
        let too_long = line.len() > most;
        if line.last() == Some(&b'\n') && !too_long {
            line.pop();
            return String::from_utf8(line).map_err(wrong);
        }
        if got == 0 || too_long || line.contains(&b'\n') {
            return Err(wrong("no end of its line, or something behind it"));
        }
    }
}

/// What was asked is no question.
pub fn wrong(why: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn told(bytes: &[u8]) -> io::Result<String> {
        let (mut ours, mut its) = UnixStream::pair()?;
        its.write_all(bytes)?;
        its.shutdown(std::net::Shutdown::Write)?;
        line(&mut ours, 8, Duration::from_secs(5))
    }

    #[test]
    fn one_line_is_heard_and_nothing_else() {
        assert_eq!(told(b"\n").expect("empty"), "");
        assert_eq!(told(b"1234567\n").expect("the longest"), "1234567");
        for bytes in [&b""[..], b"123", b"12345678\n", b"1\n2", b"\xff\n"] {
            assert!(told(bytes).is_err(), "{bytes:?}");
        }
        let (mut ours, _its) = UnixStream::pair().expect("a pair");
        let silent = line(&mut ours, 8, Duration::from_millis(50)).expect_err("silent");
        assert!(matches!(
            silent.kind(),
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock
        ));
    }
}
