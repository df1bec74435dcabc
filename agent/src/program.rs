//! Shell: runs a program of the system, sized and timed.
#![expect(clippy::disallowed_methods, reason = "shell: starts programs, waits for them")]

use std::fs;
use std::io::{self, Read, Write as _};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process_group};

/// Most bytes that are read of what a program prints.
const MAX_OUTPUT: u64 = 16 << 20;
/// How often it is looked whether it has ended.
const PAUSE: Duration = Duration::from_millis(5);
/// The environment that every program is given.
const ENVIRONMENT: [(&str, &str); 2] = [("LC_ALL", "C"), ("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")];

/// Runs a program with `input` and a small environment of ours. It is ended when it takes longer than `limit`, to read
/// its input too, or prints more than [`MAX_OUTPUT`].
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when it was ended; else when it could not be started or read.
pub fn run(command: &mut Command, input: &[u8], limit: Duration) -> io::Result<Output> {
    let mut child = command
        .env_clear()
        .envs(ENVIRONMENT)
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
        let status = ended(&mut child, limit, |child| {
            let _gone = child.kill();
        });
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

/// Runs a program that starts others, with `more` in its environment and without anything to read. What they print goes to
/// `log`: one that stays, as a service does, holds nobody up. All of them are ended when it takes longer than `limit`.
///
/// # Errors
/// [`io::ErrorKind::TimedOut`] when they were ended; else when it could not be started.
pub fn run_logged(
    command: &mut Command,
    more: &[(&str, &str)],
    log: &fs::File,
    limit: Duration,
) -> io::Result<ExitStatus> {
    let mut child = command
        .env_clear()
        .envs(ENVIRONMENT)
        .envs(more.iter().copied())
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log.try_clone()?)
        .process_group(0)
        .spawn()?;
    ended(&mut child, limit, |child| {
        // Not yet waited for, so the number is still this group's.
        if let Some(group) = i32::try_from(child.id()).ok().and_then(Pid::from_raw) {
            let _gone = kill_process_group(group, Signal::KILL);
        }
    })
}

fn all(from: Option<impl Read>) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    if let Some(from) = from {
        from.take(MAX_OUTPUT).read_to_end(&mut bytes)?;
    }
    Ok(bytes)
}

fn ended(child: &mut Child, limit: Duration, end_it: impl FnOnce(&mut Child)) -> io::Result<ExitStatus> {
    let end = Instant::now() + limit;
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return Ok(status),
            Ok(None) if Instant::now() < end => std::thread::sleep(PAUSE),
            Ok(None) | Err(_) => {
                end_it(child);
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

    #[test]
    fn a_program_that_starts_others_is_ended_with_them_and_one_that_leaves_a_service_holds_nobody_up() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log");
        let log = fs::File::create(&path).expect("a file");
        let script = |text: &str, limit: u64| {
            let mut shell = Command::new("/bin/sh");
            run_logged(
                shell.args(["-c", text]),
                &[("TOLD", "so")],
                &log,
                Duration::from_secs(limit),
            )
        };
        let begun = Instant::now();
        let left = script("echo $TOLD; sleep 40 & echo $!", 30).expect("it runs");
        assert!(left.success() && begun.elapsed() < Duration::from_secs(30));
        let ended = script("sleep 41 & echo $!; wait", 1).expect_err("it was ended");
        assert_eq!(ended.kind(), io::ErrorKind::TimedOut);
        let said = fs::read_to_string(&path).expect("text");
        let lines: Vec<&str> = said.lines().collect();
        assert_eq!(lines.first(), Some(&"so"));
        let pid = |at: usize| {
            lines
                .get(at)
                .and_then(|pid| pid.parse().ok())
                .and_then(Pid::from_raw)
                .expect("a number")
        };
        let gone = Instant::now() + Duration::from_secs(30);
        let stat =
            |pid: Pid| fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
        let runs = |pid: Pid| {
            !matches!(
                stat(pid).rsplit(") ").next().and_then(|rest| rest.chars().next()),
                None | Some('Z')
            )
        };
        while runs(pid(2)) {
            assert!(Instant::now() < gone, "a program of the group lives on");
            std::thread::sleep(PAUSE);
        }
        assert!(runs(pid(1)), "what was left behind goes on");
        rustix::process::kill_process(pid(1), Signal::KILL).expect("ours");
    }
}
