//! Shell: TPMs in software (swtpm), each with a state of its own, and a maker that certifies them or not.
//!
//! A [`Chip`] that goes out of scope ends; its state lies in the folder that it was given and can be started again.
#![expect(clippy::disallowed_methods, reason = "shell: starts swtpm, writes its files")]

use std::fs;
use std::io::{Read as _, Write as _};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use crate::programs::{Program, finish, wait_for};
use crate::shared;

const PATIENCE: Duration = Duration::from_mins(2);

/// A maker of TPMs, with a certificate authority in a folder.
#[derive(Debug)]
pub struct Maker {
    dir: PathBuf,
}

/// Whether a new TPM gets certificates of its maker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Vouched {
    /// For its RSA and its P-384 key, as swtpm 0.7 does it.
    Yes,
    /// It gets none.
    No,
}

/// A running TPM.
#[derive(Debug)]
pub struct Chip {
    program: Program,
    socket: PathBuf,
}

impl Maker {
    /// A maker in `dir`; `None`, said aloud, on a machine without swtpm.
    ///
    /// # Panics
    /// When its files cannot be written.
    pub fn new(dir: &Path) -> Option<Maker> {
        shared::debian("swtpm", "swtpm")?;
        shared::debian("swtpm_setup", "swtpm-tools")?;
        shared::debian("certtool", "gnutls-bin")?;
        let dir = dir.join("maker");
        fs::create_dir_all(dir.join("ca")).expect("our own folder");
        let d = dir.display();
        let write = |name: &str, text: String| fs::write(dir.join(name), text).expect("our own folder");
        write(
            "setup.conf",
            format!(
                "create_certs_tool = /usr/bin/swtpm_localca\ncreate_certs_tool_config = {d}/ca.conf\n\
                 create_certs_tool_options = {d}/ca.options\nactive_pcr_banks = sha256\n"
            ),
        );
        write(
            "ca.conf",
            format!(
                "statedir = {d}/ca\nsigningkey = {d}/ca/signkey.pem\nissuercert = {d}/ca/issuercert.pem\n\
                 certserial = {d}/ca/certserial\n"
            ),
        );
        write(
            "ca.options",
            "--platform-manufacturer Homeward\n--platform-version 1\n--platform-model test\n".into(),
        );
        Some(Maker { dir })
    }

    /// The folder of the maker's anchors, PEM: its root, and what certifies chips.
    pub fn root(&self) -> PathBuf {
        self.dir.join("ca/swtpm-localca-rootca-cert.pem")
    }

    /// What certifies chips, PEM.
    pub fn issuer(&self) -> PathBuf {
        self.dir.join("ca/issuercert.pem")
    }

    /// Makes the state of a new TPM in `state` and starts it.
    ///
    /// # Panics
    /// When swtpm refuses.
    pub fn make(&self, state: &Path, vouched: Vouched) -> Chip {
        self.prepare(state, vouched);
        Chip::start(state)
    }

    /// Makes the state of a new TPM in `state`.
    ///
    /// # Panics
    /// When swtpm refuses.
    pub fn prepare(&self, state: &Path, vouched: Vouched) {
        fs::create_dir_all(state).expect("our own folder");
        let mut setup = Command::new("swtpm_setup");
        setup.arg("--tpm2").arg("--tpmstate").arg(state);
        setup.arg("--config").arg(self.dir.join("setup.conf"));
        if vouched == Vouched::Yes {
            setup.arg("--create-ek-cert");
        }
        finish(&mut setup, b"", PATIENCE).ok();
    }
}

/// Starts the TPM whose state lies in `state` for a machine that powers it itself; gives the socket by which the machine
/// does so.
///
/// # Panics
/// When it does not come up.
pub fn in_a_machine(state: &Path) -> (Program, PathBuf) {
    let ctrl = state.join("ctrl");
    let mut command = Command::new("swtpm");
    command.args(["socket", "--tpm2"]);
    command.arg("--tpmstate").arg(format!("dir={}", state.display()));
    command
        .arg("--ctrl")
        .arg(format!("type=unixio,path={}", ctrl.display()));
    let mut program = Program::start("swtpm", &mut command);
    wait_for("swtpm to listen", PATIENCE, || {
        assert!(program.runs(), "swtpm ended: {}", program.said().join("\n"));
        ctrl.exists().then_some(())
    });
    (program, ctrl)
}

impl Chip {
    /// Starts the TPM whose state lies in `state`, as a machine does that was switched on.
    ///
    /// # Panics
    /// When it does not come up.
    pub fn start(state: &Path) -> Chip {
        let socket = state.join("socket");
        let _ = fs::remove_file(&socket);
        let mut command = Command::new("swtpm");
        command.args(["socket", "--tpm2", "--flags", "not-need-init,startup-clear"]);
        command.arg("--tpmstate").arg(format!("dir={}", state.display()));
        command
            .arg("--server")
            .arg(format!("type=unixio,path={}", socket.display()));
        // Where tpm2-tools looks for it.
        let ctrl = state.join("socket.ctrl");
        command
            .arg("--ctrl")
            .arg(format!("type=unixio,path={}", ctrl.display()));
        let mut program = Program::start("swtpm", &mut command);
        wait_for("swtpm to listen", PATIENCE, || {
            assert!(program.runs(), "swtpm ended: {}", program.said().join("\n"));
            UnixStream::connect(&socket).ok().map(drop)
        });
        Chip { program, socket }
    }

    /// Where the agent finds it.
    pub fn address(&self) -> String {
        format!("swtpm:{}", self.socket.display())
    }

    /// For tpm2-tools.
    pub fn tcti(&self) -> String {
        format!("swtpm:path={}", self.socket.display())
    }

    /// A power cut.
    pub fn kill(mut self) {
        self.program.kill();
    }

    /// Runs one of tpm2-tools on it, in `dir`. One client at a time: nobody else may be connected.
    ///
    /// # Panics
    /// When the tool fails.
    pub fn tool(&self, dir: &Path, tool: &str, arguments: &[&str]) -> String {
        let mut command = Command::new(tool);
        command.args(arguments).current_dir(dir);
        command
            .env("TPM2TOOLS_TCTI", self.tcti())
            .env("TSS2_LOG", "all+NONE");
        finish(&mut command, b"", PATIENCE).ok()
    }

    /// Whether something answers at its socket.
    pub fn answers(&self) -> bool {
        UnixStream::connect(&self.socket).is_ok()
    }
}

/// A way to a TPM that answers each command only after `wait`, as real chips do. Gives its address; it ends with the
/// process.
///
/// # Panics
/// When there is no socket for it.
pub fn slow(chip: &Chip, folder: &Path, wait: Duration) -> String {
    let (at, to) = (folder.join("slow"), chip.socket.clone());
    let listener = UnixListener::bind(&at).expect("a socket of our own");
    std::thread::spawn(move || {
        for client in listener.incoming().map_while(Result::ok) {
            if let Ok(server) = UnixStream::connect(&to) {
                // Ends with either side.
                let _ended = forward(client, server, wait);
            }
        }
    });
    format!("swtpm:{}", at.display())
}

fn forward(mut client: UnixStream, mut server: UnixStream, wait: Duration) -> std::io::Result<()> {
    let mut message = vec![0; 4096];
    loop {
        let length = client.read(&mut message)?;
        if length == 0 {
            return Ok(());
        }
        server.write_all(&message[..length])?;
        let length = server.read(&mut message)?;
        std::thread::sleep(wait);
        client.write_all(&message[..length])?;
    }
}
