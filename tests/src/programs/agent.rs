//! Shell: a real `homeward-agent` on a folder of its own.
#![expect(clippy::disallowed_methods, reason = "shell: starts processes")]

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use serde_json::Value;

use super::{Finished, Program, binary, finish};

/// A command that does not run on ends within this on a busy machine.
const COMMAND: Duration = Duration::from_mins(1);
/// The promise: SIGTERM stops cleanly within five seconds; twice that on a busy machine.
const STOP: Duration = Duration::from_secs(10);

/// An agent's folder, and the agent while it runs.
#[derive(Debug)]
pub struct Agent {
    dir: PathBuf,
    surroundings: Vec<(OsString, OsString)>,
    program: PathBuf,
    /// What starts it, where that is not the program itself.
    unit: Option<PathBuf>,
    /// What leads into the machine that it is installed on, where that is not this one, and its folder there.
    within: Option<(Vec<OsString>, PathBuf)>,
    running: Option<Program>,
}

impl Agent {
    /// An agent that keeps what it has in `dir`.
    pub fn at(dir: &Path) -> Agent {
        Agent {
            dir: dir.to_owned(),
            surroundings: Vec::new(),
            program: binary("homeward-agent"),
            unit: None,
            within: None,
            running: None,
        }
    }

    /// Sets the environment that its next commands get beside the test's own.
    pub fn surround(&mut self, environment: &[(OsString, OsString)]) {
        self.surroundings = environment.to_vec();
    }

    /// Puts another program in the place of the agent's.
    pub fn replace_program(&mut self, program: &Path) {
        program.clone_into(&mut self.program);
    }

    /// Has it started by this from now on, as by its unit. Commands are the program's own as before: a launcher would count
    /// each of them as a start of what is on trial.
    pub fn start_by(&mut self, unit: &Path) {
        self.unit = Some(unit.to_owned());
    }

    /// Has its commands run by `enter`, which leads into the machine that it is installed on; `dir` is its folder there.
    pub fn within(&mut self, enter: Vec<OsString>, program: &Path, dir: &Path) {
        self.replace_program(program);
        self.within = Some((enter, dir.to_owned()));
    }

    /// Its folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn command(&self) -> Command {
        self.command_of(&self.program)
    }

    fn command_of(&self, program: &Path) -> Command {
        let (enter, dir) = match &self.within {
            Some((enter, dir)) => (enter.as_slice(), dir),
            None => (&[][..], &self.dir),
        };
        let words = enter.iter().map(OsString::as_os_str).chain([program.as_os_str()]);
        let mut words = words.collect::<Vec<_>>().into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg("--data").arg(dir);
        command.envs(self.surroundings.iter().cloned());
        command
    }

    /// Runs one command of the CLI to its end.
    pub fn command_ended<S: AsRef<OsStr>>(&self, args: &[S]) -> Finished {
        finish(self.command().args(args), b"", COMMAND)
    }

    /// Runs one command of the CLI to its end, to which somebody types `answers`.
    pub fn command_told<S: AsRef<OsStr>>(&self, args: &[S], answers: &str) -> Finished {
        finish(self.command().args(args), answers.as_bytes(), COMMAND)
    }

    /// Starts one command of the CLI that goes on until it is told to stop.
    pub fn beside<S: AsRef<OsStr>>(&self, args: &[S]) -> Program {
        Program::start("command", self.command().args(args))
    }

    /// Enrols by a claim given on standard input, at most `limit`.
    pub fn enrol(&self, claim: &str, limit: Duration) -> Finished {
        finish(
            self.command().args(["enrol", "--claim", "-"]),
            claim.as_bytes(),
            limit,
        )
    }

    /// What `status --json` says.
    ///
    /// # Panics
    /// When it fails or does not answer in JSON.
    pub fn status(&self) -> Value {
        let text = finish(self.command().args(["status", "--json"]), b"", COMMAND).ok();
        serde_json::from_str(&text).unwrap_or_else(|e| panic!("not JSON: {e}\n{text}"))
    }

    /// Starts running.
    pub fn run<S: AsRef<OsStr>>(&mut self, args: &[S]) {
        let mut command = self.command_of(self.unit.as_ref().unwrap_or(&self.program));
        self.running = Some(Program::start("agent", command.arg("run").args(args)));
    }

    /// The running agent.
    ///
    /// # Panics
    /// When it does not run.
    pub fn program(&mut self) -> &mut Program {
        self.running.as_mut().expect("the agent was started")
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        drop(self.running.take());
    }

    /// Asks it to stop and waits.
    ///
    /// # Panics
    /// When it does not run or does not stop.
    pub fn stop(&mut self) -> ExitStatus {
        let status = self.program().terminate(STOP);
        self.running = None;
        status
    }
}
