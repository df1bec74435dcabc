//! A real `PostgreSQL` server for tests: Debian's, on a unix socket in a directory of its own.
#![expect(clippy::disallowed_methods, reason = "test: starts a real server")]

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use postgres::{Client, NoTls};

/// A running server; stopped and removed when dropped.
pub(crate) struct Server {
    dir: tempfile::TempDir,
    bin: PathBuf,
    process: Option<Child>,
}

impl Server {
    /// Starts one. `None`, said aloud, when `PostgreSQL` is not installed; a failure when `CI` is set.
    pub(crate) fn start() -> Option<Server> {
        let Some(bin) = find() else {
            assert!(
                std::env::var_os("CI").is_none(),
                "PostgreSQL is missing: apt-get install postgresql-15"
            );
            eprintln!("skipped: PostgreSQL is not installed (apt-get install postgresql-15)");
            return None;
        };
        let dir = tempfile::Builder::new()
            .prefix("hwpg")
            .tempdir_in("/tmp")
            .expect("a directory");
        let data = dir.path().join("data");
        std::fs::create_dir(&data).expect("a directory");
        if is_root() {
            let owner = Command::new("chown")
                .arg("-R")
                .arg("postgres")
                .arg(dir.path())
                .status();
            assert!(owner.expect("chown").success());
        }
        let made = as_owner(&bin.join("initdb"))
            .args([
                "-U",
                "hw",
                "-A",
                "trust",
                "-E",
                "UTF8",
                "--locale=C",
                "--no-sync",
                "-D",
            ])
            .arg(&data)
            .stdout(Stdio::null())
            .status();
        assert!(made.expect("initdb").success());
        let mut server = Server {
            dir,
            bin,
            process: None,
        };
        server.restart();
        Some(server)
    }

    /// A fresh database of that name; gives its address.
    pub(crate) fn database(&self, name: &str) -> String {
        let name = &name[..name.len().min(60)];
        let mut client = Client::connect(&self.address("postgres"), NoTls).expect("connects");
        client
            .batch_execute(&format!("CREATE DATABASE {name}"))
            .expect("a database");
        self.address(name)
    }

    fn address(&self, name: &str) -> String {
        format!("host={} user=hw dbname={name}", self.dir.path().display())
    }

    /// Kills every process of the server, as a crash does.
    pub(crate) fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let group = rustix::process::Pid::from_child(&process);
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
            let _ = process.wait();
        }
    }

    /// Starts the server on its data again, and waits until it answers.
    pub(crate) fn restart(&mut self) {
        let _ = std::fs::remove_file(self.dir.path().join("data/postmaster.pid"));
        let process = as_owner(&self.bin.join("postgres"))
            .arg("-D")
            .arg(self.dir.path().join("data"))
            .arg("-k")
            .arg(self.dir.path())
            .args(["-h", "", "-F"])
            .process_group(0)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        self.process = Some(process.expect("postgres"));
        let give_up = Instant::now() + Duration::from_mins(1);
        while Client::connect(&self.address("postgres"), NoTls).is_err() {
            assert!(Instant::now() < give_up, "PostgreSQL did not start");
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
    }
}

/// `PostgreSQL` refuses to run as root.
fn as_owner(program: &Path) -> Command {
    if !is_root() {
        return Command::new(program);
    }
    let mut command = Command::new("runuser");
    command
        .args(["-u", "postgres", "--"])
        .arg(program)
        .current_dir("/");
    command
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn find() -> Option<PathBuf> {
    let asked = Command::new("pg_config").arg("--bindir").output().ok();
    let said = asked.map(|o| PathBuf::from(String::from_utf8_lossy(&o.stdout).trim()));
    let debian = (13..=18)
        .rev()
        .map(|v| PathBuf::from(format!("/usr/lib/postgresql/{v}/bin")));
    said.into_iter()
        .chain(debian)
        .find(|bin| bin.join("initdb").exists() && bin.join("postgres").exists())
}
