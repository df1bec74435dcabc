//! Shell: the real programs of others that ours are tested against: PostgreSQL, mosquitto, pymodbus.
//!
//! Each `start` gives `None` when this machine does not have it, said aloud by [`shared::missing`].
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts processes, writes their files, picks ports"
)]

use std::fs;
use std::net::{TcpListener, TcpStream};
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::{Signal, geteuid};

use crate::programs::{Program, finish, wait_for};
use crate::shared;

mod modbus;

pub use modbus::{Pymodbus, Site, serial_line};

/// A peer answers within this on a busy machine.
const READY: Duration = Duration::from_mins(1);

/// A port that was free a moment ago. Another may take it: who starts a program on it tries again.
///
/// # Panics
/// When the machine has no port left.
pub fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback has a free port");
    listener.local_addr().expect("a listener has an address").port()
}

fn wait_port(program: &mut Program, port: u16) {
    wait_for(&format!("port {port} to answer"), READY, || {
        assert!(
            program.runs(),
            "ended before it listened:\n{}",
            program.said().join("\n")
        );
        TcpStream::connect(("127.0.0.1", port)).ok().map(drop)
    });
}

/// A PostgreSQL of its own, in a folder of its own, on a socket of its own.
#[derive(Debug)]
pub struct Postgres {
    program: Program,
    dir: tempfile::TempDir,
}

impl Postgres {
    /// Makes an empty cluster and starts it. `fsync` is needed only where power cuts are tested.
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn start(fsync: bool) -> Option<Postgres> {
        let Some(bin) = postgres_bin() else {
            shared::missing(
                "PostgreSQL",
                "install the Debian package postgresql-15, or run tests/run --install",
            );
            return None;
        };
        // A short path: a socket's has at most 107 bytes.
        let dir = tempfile::Builder::new()
            .prefix("hwpg")
            .tempdir_in("/tmp")
            .expect("a folder in /tmp");
        let user = postgres_user();
        if let Some((uid, gid)) = user {
            chown(dir.path(), Some(uid), Some(gid)).expect("root may give a folder away");
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o711)).expect("our own folder");
        }
        let as_user = |program: &str| {
            let mut command = Command::new(bin.join(program));
            if let Some((uid, gid)) = user {
                command.uid(uid).gid(gid);
            }
            command.current_dir(dir.path());
            command
        };
        let data = dir.path().join("data");
        let mut initdb = as_user("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            "hw",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]);
        finish(&mut initdb, b"", READY).ok();
        let mut postgres = as_user("postgres");
        postgres
            .arg("-D")
            .arg(&data)
            .arg("-k")
            .arg(dir.path())
            .args(["-h", ""]);
        if !fsync {
            postgres.arg("-F");
        }
        let mut program = Program::start("postgres", &mut postgres);
        program.wait_line("ready to accept connections", READY);
        Some(Postgres { program, dir })
    }

    /// How to reach it: user `hw`, database `postgres`, no password.
    pub fn url(&self) -> String {
        format!(
            "postgresql:///postgres?user=hw&host={}",
            self.dir.path().display()
        )
    }

    /// Ends it as a power cut would.
    pub fn kill(&mut self) {
        // SIGQUIT leaves without a checkpoint and takes the children along, which SIGKILL of the parent alone
        // does only when each notices.
        self.program.signal(Signal::QUIT);
        self.program.wait(READY);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.program.runs() {
            self.program.signal(Signal::INT);
            let gone = (0..250).any(|_| {
                std::thread::sleep(Duration::from_millis(20));
                !self.program.runs()
            });
            if !gone {
                self.program.kill();
            }
        }
    }
}

/// The newest PostgreSQL's folder of programs: Debian keeps them off the path.
fn postgres_bin() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?.filter_map(Result::ok);
    let mut bins: Vec<PathBuf> = versions.map(|v| v.path().join("bin")).collect();
    bins.sort();
    bins.into_iter().rev().find(|bin| bin.join("initdb").is_file())
}

/// Whom to become, as PostgreSQL refuses to run as root: the package's own user.
fn postgres_user() -> Option<(u32, u32)> {
    if !geteuid().is_root() {
        return None;
    }
    let passwd = fs::read_to_string("/etc/passwd").ok()?;
    let mut fields = passwd
        .lines()
        .find(|l| l.starts_with("postgres:"))?
        .split(':')
        .skip(2);
    Some((fields.next()?.parse().ok()?, fields.next()?.parse().ok()?))
}

/// A mosquitto on loopback.
#[derive(Debug)]
pub struct Mosquitto {
    /// The broker.
    pub program: Program,
    /// Its port.
    pub port: u16,
}

impl Mosquitto {
    /// Starts it in `dir` with `settings` after its listener line; certificates are named in them.
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn start(dir: &Path, settings: &str) -> Option<Mosquitto> {
        let mosquitto = shared::debian("mosquitto", "mosquitto")?;
        let port = free_port();
        let file = dir.join("mosquitto.conf");
        // As root it would become another user and could not read the test's keys.
        let user = if geteuid().is_root() { "user root\n" } else { "" };
        let text = format!("listener {port} 127.0.0.1\n{user}{settings}\n");
        fs::write(&file, text).expect("the test's folder can be written");
        let mut program = Program::start("mosquitto", Command::new(mosquitto).arg("-c").arg(&file));
        wait_port(&mut program, port);
        Some(Mosquitto { program, port })
    }
}

/// The Python that has pymodbus, or `None`, said aloud.
pub fn python_with_pymodbus() -> Option<PathBuf> {
    let ours = shared::tools().join("venv/bin/python3");
    let usable = |python: &PathBuf| {
        let mut command = Command::new(python);
        python.is_file()
            && finish(command.args(["-c", "import pymodbus"]), b"", READY)
                .status
                .success()
    };
    let found = [Some(ours), shared::program("python3")]
        .into_iter()
        .flatten()
        .find(usable);
    if found.is_none() {
        shared::missing("pymodbus", "run tests/run --install");
    }
    found
}
