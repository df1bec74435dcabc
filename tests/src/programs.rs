//! Shell: starts real programs, listens to what they say, and ends them.
//!
//! A [`Program`] that goes out of scope is killed; when its test is failing, its last lines are printed.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts processes, waits, reads the clock"
)]

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{BufRead, BufReader, Read};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::shared;

pub mod agent;
pub mod fleet;

/// Lines kept of one program: a whole demo run is some hundreds.
const KEPT_LINES: usize = 20_000;
/// How often a condition is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(20);
/// Many programs end at once.
const FIRST_LOOK: Duration = Duration::from_millis(1);

/// Looks until `look` gives something.
///
/// # Panics
/// After `limit`, naming what was waited for.
pub fn wait_for<T>(what: &str, limit: Duration, mut look: impl FnMut() -> Option<T>) -> T {
    let begun = Instant::now();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(begun.elapsed() < limit, "waited {limit:?} for {what}");
        thread::sleep(LOOK_EVERY);
    }
}

/// Cargo in the workspace, as from a fresh shell: what an outer cargo or nextest says of the package that it runs
/// would make build scripts that listen to it (ring's) run anew, and all that stands on them with it.
pub fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(shared::workspace());
    let of_a_package = [
        "CARGO_PKG_",
        "CARGO_MANIFEST_",
        "CARGO_BIN_",
        "CARGO_CRATE_",
        "CARGO_PRIMARY_",
        "OUT_DIR",
    ];
    for (name, _) in std::env::vars_os() {
        if of_a_package
            .iter()
            .any(|start| name.to_string_lossy().starts_with(start))
        {
            cargo.env_remove(name);
        }
    }
    cargo
}

/// One of our own binaries, as this test run was built.
///
/// `tests/run` builds them all and says where in `HOMEWARD_BIN`; without that cargo is asked once, so that a test
/// never runs yesterday's program.
///
/// # Panics
/// When cargo cannot build it.
pub fn binary(name: &str) -> PathBuf {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    let folder = BUILT.get_or_init(|| {
        if let Some(folder) = std::env::var_os("HOMEWARD_BIN") {
            return folder.into();
        }
        let me = std::env::current_exe().expect("a running test has a path");
        let folder = me
            .ancestors()
            .find(|p| p.ends_with("debug") || p.ends_with("release"));
        let folder = folder
            .expect("a test lies in target/debug or target/release")
            .to_owned();
        let mut cargo = cargo();
        cargo.args(["build", "--quiet", "--locked", "--bins"]);
        cargo.args([
            "-p",
            "homeward-agent",
            "-p",
            "homeward-fleet",
            "-p",
            "homeward-tests",
        ]);
        cargo.arg("--target-dir").arg(folder.parent().unwrap_or(&folder));
        if folder.ends_with("release") {
            cargo.arg("--release");
        }
        let status = cargo.status().expect("cargo runs");
        assert!(status.success(), "cargo could not build the programs: {status}");
        folder
    });
    folder.join(name)
}

/// What a program that ran to its end gave.
#[derive(Debug)]
pub struct Finished {
    /// How it ended.
    pub status: ExitStatus,
    /// What it wrote to standard output.
    pub stdout: String,
    /// What it wrote to standard error.
    pub stderr: String,
}

impl Finished {
    /// Its standard output, when it ended well.
    ///
    /// # Panics
    /// When it did not, with what it said.
    #[track_caller]
    pub fn ok(self) -> String {
        assert!(
            self.status.success(),
            "{}\n{}{}",
            self.status,
            self.stdout,
            self.stderr
        );
        self.stdout
    }

    /// Its standard error, when it failed as it should.
    ///
    /// # Panics
    /// When it ended well.
    #[track_caller]
    pub fn failed(self) -> String {
        assert!(
            !self.status.success(),
            "was expected to fail and said\n{}",
            self.stdout
        );
        self.stderr
    }
}

/// Runs a command to its end, at most `limit`.
///
/// # Panics
/// When it cannot be started or takes longer.
pub fn finish(command: &mut Command, input: &[u8], limit: Duration) -> Finished {
    use std::io::Write as _;
    command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command
        .spawn()
        .unwrap_or_else(|e| panic!("could not start {command:?}: {e}"));
    if let Some(mut stdin) = child.stdin.take() {
        // A program that does not read its input closes the pipe; what it says afterwards is what counts.
        let _ = stdin.write_all(input);
    }
    let stdout = collect(child.stdout.take());
    let stderr = collect(child.stderr.take());
    let (begun, mut rest) = (Instant::now(), FIRST_LOOK);
    let status = loop {
        match child.try_wait().expect("a child can be waited for") {
            Some(status) => break status,
            None if begun.elapsed() > limit => {
                let _ = child.kill();
                let _ = child.wait();
                panic!("{command:?} took longer than {limit:?}");
            }
            None => thread::sleep(rest),
        }
        rest = (rest * 2).min(LOOK_EVERY);
    };
    let text = |joined: thread::JoinHandle<String>| joined.join().unwrap_or_default();
    Finished {
        status,
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

fn collect(from: Option<impl Read + Send + 'static>) -> thread::JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        if let Some(mut from) = from {
            let _ = from.read_to_end(&mut bytes);
        }
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// A program that runs until it is told to stop.
#[derive(Debug)]
pub struct Program {
    name: String,
    child: Child,
    said: Arc<Mutex<VecDeque<String>>>,
}

impl Program {
    /// Starts it.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(name: &str, command: &mut Command) -> Program {
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command
            .spawn()
            .unwrap_or_else(|e| panic!("could not start {command:?}: {e}"));
        let said = Arc::new(Mutex::new(VecDeque::new()));
        listen(child.stdout.take(), &said);
        listen(child.stderr.take(), &said);
        Program {
            name: name.to_owned(),
            child,
            said,
        }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// All it has said so far, both ways out, line by line.
    pub fn said(&self) -> Vec<String> {
        self.said
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .cloned()
            .collect()
    }

    /// Waits for a line that holds `text`, also one that was said before.
    ///
    /// # Panics
    /// When it ends or `limit` passes without it.
    pub fn wait_line(&mut self, text: &str, limit: Duration) -> String {
        let what = format!("{} to say {text:?}", self.name);
        wait_for(&what, limit, || {
            let found = self.said().into_iter().find(|line| line.contains(text));
            let ended = self.child.try_wait().ok().flatten();
            assert!(
                found.is_some() || ended.is_none(),
                "{} ended ({ended:?}) before it said {text:?}",
                self.name
            );
            found
        })
    }

    /// True while it runs.
    pub fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Ends it as a power cut would: SIGKILL.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Asks it to stop (SIGTERM) and waits.
    ///
    /// # Panics
    /// When it has not stopped after `limit`.
    pub fn terminate(&mut self, limit: Duration) -> ExitStatus {
        self.signal(Signal::TERM);
        self.wait(limit)
    }

    /// Sends a signal to it, and to nobody when it has ended.
    pub fn signal(&mut self, signal: Signal) {
        if self.runs() {
            // Not yet waited for, so the number is still this child's.
            if let Some(pid) = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw) {
                let _ = kill_process(pid, signal);
            }
        }
    }

    /// Waits until it has ended.
    ///
    /// # Panics
    /// When it has not after `limit`.
    pub fn wait(&mut self, limit: Duration) -> ExitStatus {
        let what = format!("{} to end", self.name);
        wait_for(&what, limit, || self.child.try_wait().ok().flatten())
    }

    /// Its resident memory, bytes, as the kernel counts it.
    pub fn resident_bytes(&self) -> Option<u64> {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.pid())).ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmRSS:"))?;
        line.trim()
            .strip_suffix("kB")?
            .trim()
            .parse::<u64>()
            .ok()
            .map(|kib| kib * 1024)
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
        if thread::panicking() {
            let said = self.said();
            let mut text = String::new();
            for line in said.iter().skip(said.len().saturating_sub(60)) {
                let _ = writeln!(text, "{}: {line}", self.name);
            }
            eprint!("{text}");
        }
    }
}

fn listen(from: Option<impl Read + Send + 'static>, said: &Arc<Mutex<VecDeque<String>>>) {
    let (Some(from), said) = (from, Arc::clone(said)) else {
        return;
    };
    thread::spawn(move || {
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            let mut said = said.lock().unwrap_or_else(PoisonError::into_inner);
            if said.len() == KEPT_LINES {
                said.pop_front();
            }
            said.push_back(line);
        }
    });
}
