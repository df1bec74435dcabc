//! Shell: what the helper with rights does: our nftables table, and our file for sshd.
//!
//! The table lies in the kernel and goes with the power. The rules that were set to stay are kept beside it, and a unit
//! sets them before the box has a network ([`Places::at_start`]). Set first, then kept: what is kept was set once.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: files, and the programs nft and sshd"
)]

use std::fs;
use std::io::{self, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_protocol::policy::rules::Sshd;
use rustix::io::Errno;
use rustix::process::{Pid, Signal, kill_process, test_kill_process};
use serde_json::Value;

use super::ask::{Answer, MAX_LINE, Request, Table};
use super::rules::Network;
use super::{nftables, sshd};
use crate::disk::replace;
use crate::program::run;

/// How long one program may take.
const LIMIT: Duration = Duration::from_secs(10);
/// An sshd that does not bear its new settings has ended within this.
const COMES_BACK: Duration = Duration::from_secs(1);
/// How often it is looked whether it has.
const PAUSE: Duration = Duration::from_millis(20);
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
    /// The network's rules that were set last, for the start of the box.
    pub kept: PathBuf,
}

impl Default for Places {
    fn default() -> Places {
        Places {
            nft: "/usr/sbin/nft".into(),
            sshd: "/usr/sbin/sshd".into(),
            sshd_config: "/etc/ssh/sshd_config".into(),
            sshd_folder: "/etc/ssh/sshd_config.d".into(),
            sshd_pid: "/run/sshd.pid".into(),
            kept: "/var/lib/homeward-apply/network.json".into(),
        }
    }
}

impl Places {
    /// Does what is asked.
    pub fn answer(&self, request: &Request) -> Answer {
        let outcome = match request {
            Request::SetNetwork(rules) => self.set_network(rules.as_deref()),
            Request::TryNetwork(rules) => self.try_network(rules.as_deref()),
            Request::SeeNetwork => self.see_network().map(Answer::Network),
            Request::SetSshd(rule) => self.set_sshd(rule.as_ref()),
            Request::SeeSshd => self.see_sshd(),
        };
        outcome.unwrap_or_else(|refusal| refusal)
    }

    /// Sets the rules that were set last, at the start of the box, before anybody asks. Nothing where none were.
    ///
    /// # Errors
    /// Why they are not set.
    pub fn at_start(&self) -> Result<(), String> {
        match self.load() {
            Ok(None) => Ok(()),
            Ok(Some(rules)) => match self.table(Some(&rules)) {
                Ok(_) => Ok(()),
                Err(Answer::NotHere(why) | Answer::Failed(why)) => Err(why),
                Err(_) => Err("nft answered another question".to_owned()),
            },
            Err(error) => Err(format!("{}: {error}", self.kept.display())),
        }
    }

    fn set_network(&self, rules: Option<&Network>) -> Result<Answer, Answer> {
        if rules.is_none() && Places::present(&self.nft, "nft").is_err() {
            self.keep(None).map_err(|e| failed("what was kept", &e))?;
            return Ok(Answer::Network(Table {
                kept: true,
                ..Table::default()
            }));
        }
        self.table(rules)?;
        // Not kept is said by the answer: a disk that is full must not keep a box open.
        let kept = self.keep(rules);
        if let (Err(error), None) = (&kept, rules) {
            return Err(failed("what was kept", error));
        }
        Ok(Answer::Network(self.see_network()?))
    }

    fn try_network(&self, rules: Option<&Network>) -> Result<Answer, Answer> {
        if rules.is_none() && Places::present(&self.nft, "nft").is_err() {
            return Ok(Answer::Network(Table {
                kept: matches!(self.load(), Ok(None)),
                ..Table::default()
            }));
        }
        self.table(rules)?;
        Ok(Answer::Network(self.see_network()?))
    }

    /// Replaces our table.
    fn table(&self, rules: Option<&Network>) -> Result<Table, Answer> {
        Places::present(&self.nft, "nft")?;
        let input = nftables::transaction(rules).to_string();
        let output = run(
            Command::new(&self.nft).args(["-j", "-f", "-"]),
            input.as_bytes(),
            LIMIT,
        )
        .map_err(|e| failed("nft", &e))?;
        if !output.status.success() {
            return Err(Answer::Failed(format!("nft: {}", first_line(&output.stderr))));
        }
        let table = self.list()?;
        // nft's word for it is not enough.
        if table.mark != rules.map(nftables::mark_of) {
            return Err(Answer::Failed("nft did not set what it was given".into()));
        }
        Ok(table)
    }

    /// Keeps rules for the next start of the box; none: nothing is kept.
    fn keep(&self, rules: Option<&Network>) -> io::Result<()> {
        match rules {
            Some(rules) => replace(&self.kept, &serde_json::to_vec(rules)?),
            None => gone(&self.kept),
        }
    }

    /// The rules that the next start sets.
    fn load(&self) -> io::Result<Option<Network>> {
        let file = match fs::File::open(&self.kept) {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error),
        };
        let most = u64::try_from(MAX_LINE).unwrap_or(u64::MAX);
        let mut bytes = Vec::new();
        file.take(most).read_to_end(&mut bytes)?;
        Ok(Some(serde_json::from_slice(&bytes)?))
    }

    fn see_network(&self) -> Result<Table, Answer> {
        let table = self.list()?;
        let kept = self
            .load()
            .is_ok_and(|kept| kept.as_ref().map(nftables::mark_of) == table.mark);
        Ok(Table { kept, ..table })
    }

    fn list(&self) -> Result<Table, Answer> {
        Places::present(&self.nft, "nft")?;
        let list = ["-j", "list", "table", "inet", nftables::TABLE];
        let output = run(Command::new(&self.nft).args(list), &[], LIMIT).map_err(|e| failed("nft", &e))?;
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
        if rule.is_none() && before.is_none() {
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
        if let Err(refusal) = self.replace_file(&path, rule, before.as_deref()) {
            // What was there before stands again, whatever became of the new one.
            let _worse = write(&path, before.as_deref());
            return Err(refusal);
        }
        self.see_sshd()
    }

    /// Puts the file of a rule in the place of the one before. What the box's sshd is by itself is asked while there is
    /// none: for that moment it holds alone, and who starts then starts as the box has it.
    fn replace_file(&self, path: &Path, rule: Option<&Sshd>, before: Option<&str>) -> Result<(), Answer> {
        let written = |text: Option<&str>| write(path, text).map_err(|e| failed("sshd's file", &e));
        written(None)?;
        let wanted = match rule {
            None => None,
            Some(rule) => match self.see_sshd()? {
                Answer::Sshd(without) => Some(sshd::file(rule, &without)),
                other => return Err(other),
            },
        };
        written(wanted.as_deref())?;
        if wanted.as_deref() == before {
            return Ok(());
        }
        self.tested()?;
        self.reload()
            .map_err(|e| failed("sshd was not told to read its files again", &e))
    }

    fn tested(&self) -> Result<(), Answer> {
        let mut command = Command::new(&self.sshd);
        let output = run(command.arg("-t").arg("-f").arg(&self.sshd_config), &[], LIMIT)
            .map_err(|e| failed("sshd", &e))?;
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
        let output = run(command.arg("-T").arg("-f").arg(&self.sshd_config), &[], LIMIT)
            .map_err(|e| failed("sshd", &e))?;
        if output.status.success() {
            Ok(Answer::Sshd(sshd::read(&String::from_utf8_lossy(&output.stdout))))
        } else {
            Err(Answer::Failed(format!(
                "sshd does not say its settings: {}",
                first_line(&output.stderr)
            )))
        }
    }

    /// A running sshd reads its files again, and must live on; one that is started later reads them then.
    fn reload(&self) -> io::Result<()> {
        let pid = fs::read_to_string(&self.sshd_pid).ok();
        let pid = pid
            .and_then(|text| text.trim().parse().ok())
            .and_then(Pid::from_raw);
        let Some(pid) = pid else { return Ok(()) };
        match kill_process(pid, Signal::HUP) {
            Ok(()) => lives(pid),
            // The file may outlive the process that it names.
            Err(Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
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

/// It starts itself anew, under the same number, or ends.
fn lives(pid: Pid) -> io::Result<()> {
    let end = Instant::now() + COMES_BACK;
    while Instant::now() < end {
        if test_kill_process(pid) == Err(Errno::SRCH) || is_dead(pid) {
            return Err(io::Error::other("it ended when it was told"));
        }
        std::thread::sleep(PAUSE);
    }
    Ok(())
}

/// Whether it has ended and nobody has asked for its end yet. Source: proc(5), `/proc/PID/stat`.
fn is_dead(pid: Pid) -> bool {
    let stat = fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero())).unwrap_or_default();
    stat.rsplit(')')
        .next()
        .is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

fn failed(what: &str, error: &io::Error) -> Answer {
    Answer::Failed(format!("{what}: {error}"))
}

/// Puts `text` in the place of the file in one step, or takes the file away.
fn write(path: &Path, text: Option<&str>) -> io::Result<()> {
    let Some(text) = text else {
        return gone(path);
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

fn gone(path: &Path) -> io::Result<()> {
    fs::remove_file(path).or_else(|e| match e.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(e),
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
