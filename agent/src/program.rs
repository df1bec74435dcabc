//! Shell: runs a program of the system, sized and timed.
#![expect(clippy::disallowed_methods, reason = "shell: starts programs, waits for them")]

use std::io::{self, Read, Write as _};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

/// Most bytes that are read of what a program prints.
const MAX_OUTPUT: u64 = 16 << 20;
/// How often it is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);

/// Runs a program with `input` and a small environment of ours. It is ended when it takes longer than `limit`, to read
/// its input too, or prints more than [`MAX_OUTPUT`].
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it was ended; else when it could not be started or read.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Output> {
    let mut child = command
        .env_clear()
        .envs([("LC_ALL", "C"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")])
        .current_dir("/")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let feed = child.stdin.take();
    let (out, err) = (child.stdout.take(), child.stderr.take());
    std::thread::scope(|scope| {
        scope.spawn(move || {
            // A program that ends early does not read all: what it says tells why.
            let _early = feed.map(|mut feed| feed.write_all(input));
        });
        let stdout = scope.spawn(move || all(out));
        let stderr = scope.spawn(move || all(err));
        let status = ended(&mut child, limit);
        let join = |read: std::thread::Result<io::Result<Vec<u8>>>| {
            read.unwrap_or_else(|_| Err(io::Error::other("a reader ended")))
        };
        let (stdout, stderr) = (join(stdout.join()), join(stderr.join()));
        Ok(Output {
            status: status?,
            stdout: stdout?,
            stderr: stderr?,
        })
    })
}

fn all(from: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn ended(child: &mut Child, limit: Duration) -> io::Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(PAUSE),
            Ok(None) | Err(_) => {
                let _gone = child.kill();
                let _gone = child.wait();
                return Err(io::ErrorKind::TimedOut.into());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_fed_and_read_and_one_that_reads_nothing_is_ended_in_time() {
        let long = vec![b'x'; 1 << 20];
        let output = run(&mut Command::new("/bin/cat"), &long, Duration::from_secs(30)).expect("it runs");
        assert!(output.status.success());
        assert_eq!(output.stdout, long);
        let begun = Instant::now();
        let mut deaf = Command::new("/bin/sleep");
        let error = run(deaf.arg("60"), &long, Duration::from_millis(100)).expect_err("it was ended");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(30));
        assert!(run(&mut Command::new("/nowhere"), &[], Duration::from_secs(1)).is_err());
    }
}
