//! Shell: what the helper with rights does: our nftables table, and our file for sshd.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: files, and the programs nft and sshd"
)]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use homeward_protocol::policy::rules::Sshd;
use serde_json::Value;

use super::ask::{Answer, Request, Table};
use super::rules::Network;
use super::{nftables, sshd};

/// How long one program may take.
const LIMIT: Duration = Duration::from_secs(10);
/// Most bytes that a program's output may have.
const MAX_OUTPUT: u64 = 16 << 20;
/// Our file in the folder of drop-ins.
const FILE: &str = "00-homeward.conf";

/// Where the helper finds what it rules. The usual places; others in tests.
#[derive(Debug, Clone)]
pub struct Places {
    /// The program nft.
    pub nft: PathBuf,
    /// The program sshd.
    pub sshd: PathBuf,
    /// The file that sshd reads.
    pub sshd_config: PathBuf,
    /// The folder of its drop-ins.
    pub sshd_folder: PathBuf,
    /// The file with the number of sshd's process.
    pub sshd_pid: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            nft: "/usr/sbin/nft".into(),
            sshd: "/usr/sbin/sshd".into(),
            sshd_config: "/etc/ssh/sshd_config".into(),
            sshd_folder: "/etc/ssh/sshd_config.d".into(),
            sshd_pid: "/run/sshd.pid".into(),
        }
    }
}

impl Places {
    /// Does what is asked.
    pub fn answer(&self, request: &Request) -> Answer {
        let outcome = match request {
            Request::SetNetwork(rules) => self.set_network(rules.as_deref()),
            Request::SeeNetwork => self.see_network().map(Answer::Network),
            Request::SetSshd(rule) => self.set_sshd(rule.as_ref()),
            Request::SeeSshd => self.see_sshd(),
        };
        outcome.unwrap_or_else(|refusal| refusal)
    }

    fn set_network(&self, rules: Option<&Network>) -> Result<Answer, Answer> {
        if rules.is_none() && Places::present(&self.nft, "nft").is_err() {
            return Ok(Answer::Network(Table::default()));
        }
        Places::present(&self.nft, "nft")?;
        let input = nftables::transaction(rules).to_string();
        let output = run(Command::new(&self.nft).args(["-j", "-f", "-"]), input.as_bytes())
            .map_err(|e| failed("nft", &e))?;
        if !output.status.success() {
            return Err(Answer::Failed(format!("nft: {}", first_line(&output.stderr))));
        }
        let table = self.see_network()?;
        // nft's word for it is not enough.
        if table.mark != rules.map(nftables::mark_of) {
            return Err(Answer::Failed("nft did not set what it was given".into()));
        }
        Ok(Answer::Network(table))
    }

    fn see_network(&self) -> Result<Table, Answer> {
        Places::present(&self.nft, "nft")?;
        let list = ["-j", "list", "table", "inet", nftables::TABLE];
        let output = run(Command::new(&self.nft).args(list), &[]).map_err(|e| failed("nft", &e))?;
        if !output.status.success() {
            let said = first_line(&output.stderr);
            // No table is a state; anything else is a failure.
            let gone = said.contains("No such file or directory");
            return if gone {
                Ok(Table::default())
            } else {
                Err(Answer::Failed(format!("nft: {said}")))
            };
        }
        let listing: Value = serde_json::from_slice(&output.stdout)
            .map_err(|e| Answer::Failed(format!("nft's listing: {e}")))?;
        nftables::read(&listing).map_err(|why| Answer::Failed(format!("nft's listing: {why}")))
    }

    fn set_sshd(&self, rule: Option<&Sshd>) -> Result<Answer, Answer> {
        let path = self.sshd_folder.join(FILE);
        let before = fs::read_to_string(&path).ok();
        let wanted = rule.map(sshd::file);
        if wanted.is_none() && before.is_none() {
            return self
                .see_sshd()
                .or(Ok(Answer::NotHere("sshd is not installed".into())));
        }
        Places::present(&self.sshd, "sshd")?;
        if !self.sshd_folder.is_dir() {
            return Err(Answer::NotHere(format!(
                "there is no folder {}",
                self.sshd_folder.display()
            )));
        }
        if wanted != before {
            write(&path, wanted.as_deref()).map_err(|e| failed("sshd's file", &e))?;
            if let Err(refusal) = self.tested() {
                // What was there before stands again, whatever became of the new one.
                let _worse = write(&path, before.as_deref());
                return Err(refusal);
            }
            self.reload();
        }
        self.see_sshd()
    }

    fn tested(&self) -> Result<(), Answer> {
        let mut command = Command::new(&self.sshd);
        let output =
            run(command.arg("-t").arg("-f").arg(&self.sshd_config), &[]).map_err(|e| failed("sshd", &e))?;
        if output.status.success() {
            Ok(())
        } else {
            Err(Answer::Failed(format!(
                "sshd refuses the settings: {}",
                first_line(&output.stderr)
            )))
        }
    }

    fn see_sshd(&self) -> Result<Answer, Answer> {
        Places::present(&self.sshd, "sshd")?;
        let mut command = Command::new(&self.sshd);
        let output =
            run(command.arg("-T").arg("-f").arg(&self.sshd_config), &[]).map_err(|e| failed("sshd", &e))?;
        if output.status.success() {
            Ok(Answer::Sshd(sshd::read(&String::from_utf8_lossy(&output.stdout))))
        } else {
            Err(Answer::Failed(format!("sshd: {}", first_line(&output.stderr))))
        }
    }

    /// A running sshd reads its files again; one that is started later reads them then.
    fn reload(&self) {
        let pid = fs::read_to_string(&self.sshd_pid).ok();
        let pid = pid
            .and_then(|text| text.trim().parse().ok())
            .and_then(rustix::process::Pid::from_raw);
        if let Some(pid) = pid
            && let Err(error) = rustix::process::kill_process(pid, rustix::process::Signal::HUP)
        {
            eprintln!("homeward-apply: sshd was not told to read its files again: {error}");
        }
    }

    fn present(program: &Path, name: &str) -> Result<(), Answer> {
        if program.is_file() {
            Ok(())
        } else {
            Err(Answer::NotHere(format!("{name} is not installed")))
        }
    }
}

fn failed(what: &str, error: &io::Error) -> Answer {
    Answer::Failed(format!("{what}: {error}"))
}

/// Puts `text` in the place of the file in one step, or takes the file away.
fn write(path: &Path, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else {
        return fs::remove_file(path);
    };
    // Not `.conf`: a half-written one is none of sshd's.
    let beside = path.with_extension("new");
    let written = (|| {
        let mut file = fs::File::create(&beside)?;
        file.write_all(text.as_bytes())?;
        file.sync_all()?;
        fs::rename(&beside, path)
    })();
    if written.is_err() {
        let _gone = fs::remove_file(&beside);
    }
    written
}

/// Runs a program with `input`, within its time and its size of output.
fn run(command: &mut Command, input: &[u8]) -> io::Result<Output> {
    command
        .env_clear()
        .env("LC_ALL", "C")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut child = command.spawn()?;
    let mut feed = child.stdin.take().ok_or(io::ErrorKind::BrokenPipe)?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let all = |from: Option<std::process::ChildStdout>| {
        let mut bytes = Vec::new();
        from.map_or(Ok(0), |from| from.take(MAX_OUTPUT).read_to_end(&mut bytes))
            .map(|_| bytes)
    };
    let (stdout, stderr) = std::thread::scope(|scope| {
        let stdout = scope.spawn(move || all(out));
        let stderr = scope.spawn(move || {
            let mut bytes = Vec::new();
            err.map_or(Ok(0), |from| from.take(MAX_OUTPUT).read_to_end(&mut bytes))
                .map(|_| bytes)
        });
        // A program that ends early does not read all: what it says tells why.
        let _early = feed.write_all(input);
        drop(feed);
        let end = Instant::now() + LIMIT;
        while child.try_wait()?.is_none() {
            if Instant::now() >= end {
                child.kill()?;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        let join = |bytes: std::thread::Result<io::Result<Vec<u8>>>| {
            bytes.unwrap_or_else(|_| Err(io::Error::other("a reader ended")))
        };
        Ok::<_, io::Error>((join(stdout.join())?, join(stderr.join())?))
    })?;
    let status = child.wait()?;
    Ok(Output {
        status,
        stdout,
        stderr,
    })
}

fn first_line(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(bytes);
    let line = text.lines().map(str::trim).find(|line| !line.is_empty());
    line.unwrap_or("it ended without a word")
        .chars()
        .filter(|c| !c.is_control())
        .take(200)
        .collect()
}
