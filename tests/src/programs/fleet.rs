//! Shell: a real `homeward-fleet` on a folder of its own.
#![expect(clippy::disallowed_methods, reason = "shell: starts processes, reads files")]

use std::ffi::OsStr;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use super::{Finished, Program, binary, finish, wait_for};

/// A command that does not serve ends within this on a busy machine.
const COMMAND: Duration = Duration::from_mins(1);
/// A server is ready within this on a busy machine.
const READY: Duration = Duration::from_mins(1);
/// The promise: SIGTERM stops cleanly within five seconds; twice that on a busy machine.
const STOP: Duration = Duration::from_secs(10);

/// A fleet server's folder, and the server while it runs.
#[derive(Debug)]
pub struct Fleet {
    dir: PathBuf,
    serving: Option<Program>,
}

impl Fleet {
    /// Makes the folder with `homeward-fleet init`.
    ///
    /// # Panics
    /// When `init` fails.
    pub fn init<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Fleet {
        let fleet = Fleet {
            dir: dir.to_owned(),
            serving: None,
        };
        finish(fleet.command().arg("init").args(args), b"", COMMAND).ok();
        fleet
    }

    /// A folder that already is one.
    pub fn at(dir: &Path) -> Fleet {
        Fleet {
            dir: dir.to_owned(),
            serving: None,
        }
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("homeward-fleet"));
        command.arg("--data").arg(&self.dir);
        command
    }

    /// Runs one command of the CLI to its end.
    pub fn run<S: AsRef<OsStr>>(&self, args: &[S]) -> Finished {
        finish(self.command().args(args), b"", COMMAND)
    }

    /// Runs one command that is told something on standard input (a password).
    pub fn tell<S: AsRef<OsStr>>(&self, args: &[S], input: &str) -> Finished {
        finish(self.command().args(args), input.as_bytes(), COMMAND)
    }

    /// Runs one command with `--json` and reads its answer.
    ///
    /// # Panics
    /// When it fails or does not answer in JSON.
    pub fn json<S: AsRef<OsStr>>(&self, args: &[S]) -> Value {
        let text = finish(self.command().args(args).arg("--json"), b"", COMMAND).ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON: {e}\n{text}"))
    }

    /// Starts serving and waits until the ports are known.
    ///
    /// # Panics
    /// When it ends or is not ready in time.
    pub fn serve<S: AsRef<OsStr>>(&mut self, args: &[S]) {
        // What a killed server left says nothing about this one.
        let _ = fs::remove_file(self.ports_file());
        let mut program = Program::start("fleet", self.command().arg("serve").args(args));
        wait_for("the fleet server's ports.json", READY, || {
            assert!(
                program.runs(),
                "homeward-fleet serve ended:\n{}",
                program.said().join("\n")
            );
            self.ports_file().is_file().then_some(())
        });
        self.serving = Some(program);
    }

    fn ports_file(&self) -> PathBuf {
        self.dir.join("ports.json")
    }

    /// The port that was chosen for a listener (`gate`, `enrol`, `console` …).
    ///
    /// # Panics
    /// When `ports.json` does not name it.
    pub fn port(&self, listener: &str) -> u16 {
        let text = fs::read_to_string(self.ports_file()).unwrap_or_default();
        let ports: Value = serde_json::from_str(&text).unwrap_or_default();
        let port = ports
            .get(listener)
            .and_then(Value::as_u64)
            .and_then(|p| u16::try_from(p).ok());
        port.unwrap_or_else(|| panic!("ports.json does not name {listener}: {text}"))
    }

    /// The running server.
    ///
    /// # Panics
    /// When it does not run.
    pub fn program(&mut self) -> &mut Program {
        self.serving.as_mut().expect("the fleet server was started")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        drop(self.serving.take());
    }

    /// Asks it to stop and waits.
    ///
    /// # Panics
    /// When it does not run or does not stop.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.program().terminate(STOP);
        self.serving = None;
        status
    }
}
