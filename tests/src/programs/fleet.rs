//! Shell: a real `homeward-fleet` on a folder of its own.
#![expect(clippy::disallowed_methods, reason = "shell: starts processes, reads files")]

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
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
    surroundings: Vec<(OsString, OsString)>,
    serving: Option<Program>,
}

impl Fleet {
    /// Makes the folder with `homeward-fleet init`.
    ///
    /// # Panics
    /// When `init` fails.
    pub fn init<S: AsRef<OsStr>>(dir: &Path, args: &[S]) -> Fleet {
        let fleet = Fleet::at(dir);
        finish(fleet.command().arg("init").args(args), b"", COMMAND).ok();
        fleet
    }

    /// A folder that already is one.
    pub fn at(dir: &Path) -> Fleet {
        Fleet {
            dir: dir.to_owned(),
            surroundings: Vec::new(),
            serving: None,
        }
    }

    /// Sets the environment that its next commands get beside the test's own.
    pub fn surround(&mut self, environment: &[(OsString, OsString)]) {
        self.surroundings = environment.to_vec();
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn command(&self) -> Command {
        let mut command = Command::new(binary("homeward-fleet"));
        command.arg("--data").arg(&self.dir);
        command.envs(self.surroundings.iter().cloned());
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

    /// Starts serving and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends or is not ready in time.
    pub fn serve<S: AsRef<OsStr>>(&mut self, args: &[S]) {
        // What a killed server left says nothing about this one.
        let _ = fs::remove_file(self.ports_file());
        let mut program = Program::start("fleet", self.command().arg("serve").args(args));
        wait_for("the fleet server to be ready", READY, || {
            assert!(
                program.runs(),
                "homeward-fleet serve ended:\n{}",
                program.said().join("\n")
            );
            self.is_ready().then_some(())
        });
        self.serving = Some(program);
    }

    /// Whether `/readyz` on the local listener says so.
    fn is_ready(&self) -> bool {
        let ask = || -> Option<bool> {
            let mut line = TcpStream::connect(("127.0.0.1", self.known_port("local")?)).ok()?;
            line.set_read_timeout(Some(COMMAND)).ok()?;
            line.write_all(b"GET /readyz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
                .ok()?;
            let mut answer = String::new();
            line.read_to_string(&mut answer).ok()?;
            Some(answer.starts_with("HTTP/1.1 200"))
        };
        ask().unwrap_or(false)
    }

    fn known_port(&self, listener: &str) -> Option<u16> {
        let text = fs::read_to_string(self.ports_file()).ok()?;
        let ports: Value = serde_json::from_str(&text).ok()?;
        ports.get(listener)?.as_u64()?.try_into().ok()
    }

    fn ports_file(&self) -> PathBuf {
        self.dir.join("ports.json")
    }

    /// The port that was chosen for a listener (`gate`, `enrol`, `console` …).
    ///
    /// # Panics
    /// When `ports.json` does not name it.
    pub fn port(&self, listener: &str) -> u16 {
        let port = self.known_port(listener);
        port.unwrap_or_else(|| panic!("ports.json does not name {listener}"))
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
