//! Shell: a message bus of a test's own: Debian's `dbus-daemon`, on a socket in a folder that goes with it.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts a program, writes its file"
)]

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::programs::{Program, wait_for};
use crate::shared;

/// A daemon is ready within this on a busy machine.
const READY: Duration = Duration::from_secs(30);

/// What is usual on a system bus is turned round: everybody on it is the test.
const CONFIGURATION: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path=SOCKET</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow user="*"/>
    <allow own="*"/>
    <allow send_destination="*" eavesdrop="true"/>
    <allow eavesdrop="true"/>
  </policy>
  <limit name="max_match_rules_per_connection">4096</limit>
</busconfig>
"#;

/// A bus with nobody on it yet.
#[derive(Debug)]
pub struct Bus {
    _program: Program,
    dir: tempfile::TempDir,
}

impl Bus {
    /// Starts one; `None`, said aloud, where there is no `dbus-daemon`.
    ///
    /// # Panics
    /// When it is there and cannot be started.
    pub fn start() -> Option<Bus> {
        Some(Bus::by(&shared::debian("dbus-daemon", "dbus")?))
    }

    /// Starts one by that daemon.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn by(daemon: &Path) -> Bus {
        // A short path: a socket's has at most 107 bytes.
        let dir = tempfile::Builder::new()
            .prefix("hwbus")
            .tempdir_in("/tmp")
            .expect("a folder in /tmp");
        let socket = dir.path().join("bus");
        let file = dir.path().join("bus.conf");
        let text = CONFIGURATION.replace("SOCKET", &socket.display().to_string());
        fs::write(&file, text).expect("our own folder");
        let mut command = Command::new(daemon);
        command.arg(format!("--config-file={}", file.display())).args([
            "--nofork",
            "--nopidfile",
            "--nosyslog",
        ]);
        let mut program = Program::start("dbus-daemon", &mut command);
        wait_for("the bus to answer", READY, || {
            assert!(program.runs(), "it ended:\n{}", program.said().join("\n"));
            UnixStream::connect(&socket).ok().map(drop)
        });
        Bus {
            _program: program,
            dir,
        }
    }

    /// How it is reached, as in `DBUS_SYSTEM_BUS_ADDRESS`.
    pub fn address(&self) -> String {
        format!("unix:path={}", self.dir.path().join("bus").display())
    }

    /// The environment of a program for which it is the system's bus.
    pub fn surroundings(&self) -> Vec<(OsString, OsString)> {
        vec![("DBUS_SYSTEM_BUS_ADDRESS".into(), self.address().into())]
    }

    /// A folder for what goes with it.
    pub fn folder(&self) -> PathBuf {
        self.dir.path().to_owned()
    }
}
