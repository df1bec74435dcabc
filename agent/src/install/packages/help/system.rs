//! Shell: what the helper asks of dpkg and apt, and lets dpkg do.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: files, a clock, and the programs dpkg and apt-get"
)]

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_protocol::release::bundle::debian::{Architecture, DebName};
use homeward_protocol::release::bundle::{Index, Package};
use ring::digest::{Context, SHA256};
use rustix::fs::{FlockOperation, fcntl_lock};

use super::{Places, Set, Stop, folder, later, read, refused};
use crate::install::packages::plan::{self, FORMAT, Known};
use crate::program::{run, run_logged};

/// How long a program that only looks may take.
pub(super) const LOOK: Duration = Duration::from_mins(2);
/// With less time left than this dpkg is not started: it would be ended in its middle.
const LEAST: Duration = Duration::from_secs(30);
/// Most of a log that is looked at, bytes.
const MAX_LOG: u64 = 256 * 1024;
/// What packages are told beside where programs lie: nobody answers questions, settings that somebody changed stay.
const UNATTENDED: [(&str, &str); 6] = [
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("DPKG_FRONTEND_LOCKED", "true"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("NEEDRESTART_SUSPEND", "1"),
    ("HOME", "/root"),
];

/// What is left until `end`, when that is enough to begin anything.
pub(super) fn time_left(end: Instant) -> Result<Duration, Stop> {
    let left = end.saturating_duration_since(Instant::now());
    if left < LEAST {
        return Err(later("too little of the quiet time is left"));
    }
    Ok(left)
}

impl Places {
    /// What is to be installed, in order; file names.
    pub(super) fn planned(&self, set: &Set, within: &Path) -> Result<Vec<String>, Stop> {
        let (native, known) = known(&set.index)?;
        let due = plan::due(&set.index, &native, &known)?;
        if due.is_empty() {
            return Ok(Vec::new());
        }
        let lists = self.own.join("lists");
        folder(&lists)?;
        let mut command = Command::new("apt-get");
        command.args([
            "--simulate",
            "--no-download",
            "--no-install-recommends",
            "--no-remove",
        ]);
        // Nothing that could be fetched is known to it, so nothing is pulled in.
        for option in [
            format!("Dir::State::lists={}/", lists.display()),
            "Dir::Etc::sourcelist=/dev/null".to_owned(),
            "Dir::Etc::sourceparts=/dev/null".to_owned(),
            "Dir::Cache::pkgcache=".to_owned(),
            "Dir::Cache::srcpkgcache=".to_owned(),
            "Debug::NoLocking=1".to_owned(),
        ] {
            command.args(["-o", &option]);
        }
        let files = due.iter().map(|one| within.join(one.file()));
        let output = run(command.arg("install").args(files), &[], LOOK)?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if !output.status.success() {
            return Err(plan::failed(&text(&output.stdout), &text(&output.stderr)).into());
        }
        let order = plan::ordered(&due, &text(&output.stdout))?;
        Ok(order.iter().map(|one| one.file()).collect())
    }

    /// What is still to be installed of a set that was begun, without asking apt where it was asked before: it refuses a
    /// box on which something is not whole.
    pub(super) fn left(&self, set: &Set, within: &Path, begun: bool) -> Result<Vec<String>, Stop> {
        if !begun {
            return self.planned(set, within);
        }
        let (native, known) = known(&set.index)?;
        let due = plan::due(&set.index, &native, &known)?;
        Ok(due.iter().map(|one| one.file()).collect())
    }

    pub(super) fn dpkg(
        &self,
        what: &[&str],
        files: &[PathBuf],
        denied: bool,
        end: Instant,
    ) -> Result<(), Stop> {
        let left = time_left(end)?;
        let mut options = fs::OpenOptions::new();
        let log = self.own.join("last.log");
        let log = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(log)?;
        let mut environment = UNATTENDED.to_vec();
        if denied {
            environment.push(("SYSTEMD_OFFLINE", "1"));
        }
        let mut command = Command::new("dpkg");
        command
            .args(["--force-confdef", "--force-confold"])
            .args(what)
            .args(files);
        match run_logged(&mut command, &environment, &log, left) {
            // How it ended is looked at, not believed.
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::TimedOut => Err(Stop::Late),
            Err(error) => Err(error.into()),
        }
    }

    /// What dpkg has not finished, if anything: its own words.
    pub(super) fn unfinished(&self) -> io::Result<Option<String>> {
        let output = run(Command::new("dpkg").arg("--audit"), &[], LOOK)?;
        let said = plan::audited(&String::from_utf8_lossy(&output.stdout));
        let journal = fs::read_dir(self.dpkg.join("updates"));
        let waits = journal.is_ok_and(|mut entries| entries.next().is_some());
        let waits = waits.then(|| "dpkg was interrupted".to_owned());
        Ok(said.or(waits))
    }

    /// What dpkg said of its first failure.
    pub(super) fn last_words(&self) -> String {
        let log = read(&self.own.join("last.log"), MAX_LOG).unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let failed = log.lines().skip_while(|line| !line.starts_with("dpkg: error"));
        let words: Vec<&str> = failed.take(2).collect();
        words.join(" ")
    }
}

/// The file still is what the index says.
pub(super) fn is_whole(one: &Package, within: &Path) -> Result<(), Stop> {
    let mut file = fs::File::open(within.join(one.file()))?;
    let mut hash = Context::new(&SHA256);
    let mut buffer = vec![0; 64 * 1024];
    loop {
        let read = file.read(&mut buffer)?;
        if read == 0 {
            break;
        }
        hash.update(buffer.get(..read).unwrap_or_default());
    }
    if hash.finish().as_ref() == one.sha256() {
        Ok(())
    } else {
        Err(refused(format!(
            "{} is not the file any more that was staged",
            one.name
        )))
    }
}

/// A lock of dpkg's, for as long as it lives.
pub(super) fn held(path: &Path) -> Result<fs::File, Stop> {
    let mut options = fs::OpenOptions::new();
    let file = options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o640)
        .open(path)?;
    match fcntl_lock(&file, FlockOperation::NonBlockingLockExclusive) {
        Ok(()) => Ok(file),
        Err(_) => Err(later("another package manager is at work on this box")),
    }
}

/// What its control file says is what the index says.
pub(super) fn is_what_it_says(one: &Package, within: &Path) -> Result<(), Stop> {
    let mut command = Command::new("dpkg-deb");
    command.args(["--show", "--showformat=${Package}\\t${Architecture}\\t${Version}"]);
    let output = run(command.arg(within.join(one.file())), &[], LOOK)?;
    let says = format!("{}\t{}\t{}", one.name, one.architecture, one.version);
    if output.status.success() && output.stdout == says.as_bytes() {
        return Ok(());
    }
    Err(refused(format!(
        "{} is another package inside than its index says",
        one.name
    )))
}

/// What this box is, and what of a set it has.
pub(super) fn known(index: &Index) -> Result<(Architecture, BTreeMap<DebName, Known>), Stop> {
    let native = run(Command::new("dpkg").arg("--print-architecture"), &[], LOOK)?;
    let native = String::from_utf8_lossy(&native.stdout).trim().parse();
    let native: Architecture = native.map_err(|why| later(format!("dpkg: {why}")))?;
    let mut command = Command::new("dpkg-query");
    command.args(["--show", "--showformat", FORMAT]);
    let names = index.packages().iter().map(|one| one.name.to_string());
    // It fails where a package is not known at all; what it knows of others it says.
    let said = run(command.args(names), &[], LOOK)?;
    let known = plan::known(&String::from_utf8_lossy(&said.stdout), &native);
    Ok((native, known))
}
