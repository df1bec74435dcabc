//! Shell: releases for stories and the demo: people with keys on machines of their own, who make, sign and publish what boxes
//! may run; and homes whose agents a launcher starts, as their units do.
#![expect(clippy::disallowed_methods, reason = "shell: writes files, starts processes")]

use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use serde_json::Value;

use crate::homes::Home;
use crate::programs::fleet::Fleet;
use crate::programs::{Finished, binary, finish};
use crate::shared;
use crate::wall::Surroundings;

/// What a release of these means for people.
pub const NOTES: &str = include_str!("../../protocol/tests/notes/agent.toml");
const LIMIT: Duration = Duration::from_mins(1);
/// Making a delta of an unoptimised build, on a busy machine.
const DELTA: Duration = Duration::from_mins(4);
/// A build is tried for so long, and a start counts as an alarm for so long, seconds. As short as a busy machine lets: in each look
/// of a trial the sensors have to be heard and the server reached, and two looks may fail.
const SHORT: &str = "trial_s = 20\nquiet_s = 10\n";

/// Whether a program can be started without a network here.
fn has_namespaces() -> bool {
    static HAS: OnceLock<bool> = OnceLock::new();
    *HAS.get_or_init(|| {
        let tried = Command::new("unshare")
            .args(["--map-root-user", "--net", "--", "true"])
            .output();
        let has = tried.is_ok_and(|tried| tried.status.success());
        // Elsewhere they are signed with the network there: it is not asked.
        assert!(has || !shared::in_ci(), "`unshare -rn true` has to work in CI");
        has
    })
}

/// People with keys on machines of their own, and the folder that goes from one to the next.
pub struct Releases {
    desk: tempfile::TempDir,
    /// The agent as it is shipped, without what a debugger needs.
    pub shipped: PathBuf,
    /// Whose keys count for root: two of three.
    root: [&'static str; 3],
    /// Which key signs online.
    online: &'static str,
    /// Their clocks, where they are not the machine's.
    surroundings: Surroundings,
}

impl Releases {
    /// Keys, a first root, and the server's key as the director among the targets.
    ///
    /// # Panics
    /// When a program refuses: a story cannot begin without its releases.
    pub fn new(fleet: &Fleet) -> Releases {
        let desk = tempfile::tempdir().expect("a folder");
        let (built, shipped) = (binary("homeward-agent"), desk.path().join("shipped"));
        let strip = Command::new("strip").arg("-o").arg(&shipped).arg(&built).status();
        if !strip.is_ok_and(|status| status.success()) {
            // Where there is no such program, it is larger.
            fs::copy(&built, &shipped).expect("our own folder");
        }
        let releases = Releases {
            desk,
            shipped,
            root: ["alice", "bob", "carol"],
            online: "online",
            surroundings: Vec::new(),
        };
        releases.write("passphrase", b"four dry badgers sing\n");
        for name in ["alice", "bob", "carol", "dave", "erin", "online"] {
            releases.keygen(name);
        }
        releases.draft_root();
        let pem = fleet.run(&["update", "director"]).ok();
        releases.write("director.pub", pem.as_bytes());
        releases.ok(&["add", "REL", "director.pub", "--director"]);
        releases
    }

    fn keygen(&self, name: &str) {
        let key = format!("{name}.key");
        self.ok(&["keygen", "--out", &key, "--passphrase-file", "passphrase"]);
    }

    fn draft_root(&self) {
        let public = |name: &str| format!("{name}.key.pub");
        let mut args = vec!["root".to_owned(), "REL".to_owned()];
        args.extend(
            self.root
                .iter()
                .flat_map(|name| ["--root".to_owned(), public(name)]),
        );
        let others = [
            ("--targets", "dave"),
            ("--targets", "erin"),
            ("--online", self.online),
        ];
        args.extend(
            others
                .into_iter()
                .flat_map(|(role, name)| [role.to_owned(), public(name)]),
        );
        self.ok(&args.iter().map(String::as_str).collect::<Vec<_>>());
    }

    /// Other people's keys count for root from here on, and another one signs online: signed by two of each, and carried to the
    /// server.
    ///
    /// # Panics
    /// When it is refused.
    pub fn rotate(&mut self, fleet: &Fleet, root: [&'static str; 3], online: &'static str) {
        root.into_iter()
            .chain([online])
            .for_each(|name| self.keygen(name));
        let [one, two, _] = std::mem::replace(&mut self.root, root);
        self.online = online;
        self.draft_root();
        self.sign(&[one, two]);
        self.publish(fleet);
    }

    /// What they do from here on they do in these surroundings, such as another clock.
    pub fn surround(&mut self, surroundings: &[(OsString, OsString)]) {
        self.surroundings = surroundings.to_vec();
    }

    fn sign(&self, names: &[&str]) {
        for name in names {
            let key = format!("{name}.key");
            self.tell(&["sign", "REL", "--key", &key, "--passphrase-file", "passphrase"]);
        }
    }

    /// The folder that they share.
    pub fn desk(&self) -> &Path {
        self.desk.path()
    }

    /// Puts a file there.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn write(&self, name: &str, bytes: &[u8]) -> PathBuf {
        let path = self.desk.path().join(name);
        fs::write(&path, bytes).expect("our own folder");
        path
    }

    /// The program at their desk, on a machine with no network.
    fn command(&self, surroundings: &[(OsString, OsString)]) -> Command {
        let fleet = binary("homeward-fleet");
        let mut command = if has_namespaces() {
            let mut command = Command::new("unshare");
            command.args(["--map-root-user", "--net", "--"]).arg(fleet);
            command
        } else {
            Command::new(fleet)
        };
        command
            .current_dir(self.desk.path())
            .envs(surroundings.iter().cloned());
        command
    }

    /// Runs one `release` command there, to whatever end.
    pub fn tell(&self, args: &[&str]) -> Finished {
        let mut command = self.command(&self.surroundings);
        finish(command.arg("release").args(args), b"", LIMIT)
    }

    /// Runs one that has to end well; gives what it said.
    ///
    /// # Panics
    /// When it does not.
    pub fn ok(&self, args: &[&str]) -> String {
        self.tell(args).ok()
    }

    /// Adds a build of the agent, as `agent/VERSION` for the hardware of this machine; nothing below `floor` comes back after it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn add(&self, version: &str, build: &Path, floor: &str) {
        let path = format!("agent/{version}");
        let mut add = vec!["add", "REL", build.to_str().expect("text"), "--path", &path];
        add.extend([
            "--installer",
            "agent-slot",
            "--hw",
            std::env::consts::ARCH,
            "--version",
            version,
        ]);
        add.extend(["--disruption", "agent-restart", "--security-floor", floor]);
        self.write("notes.toml", NOTES.as_bytes());
        add.extend(["--notes", "notes.toml"]);
        self.ok(&add);
    }

    /// Adds a bundle of these packages, as `packages/VERSION` for the hardware of this machine; gives what was said of it.
    ///
    /// # Panics
    /// When it is refused.
    pub fn packages(&self, version: &str, debs: &[PathBuf], disruption: &str) -> String {
        let bundle = format!("{version}.hwb");
        let mut make = vec!["bundle", "--out", &bundle];
        make.extend(debs.iter().filter_map(|deb| deb.to_str()));
        self.ok(&make);
        let path = format!("packages/{version}");
        let mut add = vec!["add", "REL", &bundle, "--path", &path, "--installer", "apt"];
        add.extend([
            "--hw",
            std::env::consts::ARCH,
            "--version",
            version,
            "--disruption",
            disruption,
        ]);
        self.ok(&add)
    }

    /// Adds what makes a build of the agent out of an older one; gives its length, bytes.
    ///
    /// # Panics
    /// When it is refused.
    pub fn delta(&self, from: &Path, to: &Path) -> u64 {
        let args = ["--json", "release", "delta", "REL", "--from"];
        let mut command = self.command(&self.surroundings);
        command.args(args).arg(from);
        let said = finish(command.arg("--to").arg(to), b"", DELTA).ok();
        let said: Value = serde_json::from_str(&said).expect("JSON");
        said["bytes"].as_u64().expect("its length")
    }

    /// Signed by two of each, published, and carried to the server.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish(&self, fleet: &Fleet) {
        self.publish_by(fleet, &self.surroundings);
    }

    /// The same, with what is signed online signed in these surroundings, such as another clock.
    ///
    /// # Panics
    /// When it is refused.
    pub fn publish_by(&self, fleet: &Fleet, surroundings: &[(OsString, OsString)]) {
        let [one, two, _] = self.root;
        self.sign(&[one, two, "dave", "erin"]);
        let mut publish = self.command(surroundings);
        publish
            .args(["release", "publish", "REL", "--key"])
            .arg(format!("{}.key", self.online))
            .args(["--passphrase-file", "passphrase"]);
        finish(&mut publish, b"", LIMIT).ok();
        let served = fleet.dir().join("release");
        let copied = Command::new("cp")
            .args(["-rT", "--"])
            .arg(self.desk.path().join("REL"))
            .arg(&served)
            .status();
        assert!(copied.expect("cp runs").success());
    }

    /// Short times for the updates of this home; `more` is said of them in agent.toml.
    ///
    /// # Panics
    /// When the disk refuses.
    pub fn hurry(&self, home: &Home, more: &str) {
        let settings = home.agent.dir().join("agent.toml");
        let text = fs::read_to_string(&settings).expect("agent.toml");
        fs::write(&settings, format!("{text}\n[update]\n{SHORT}{more}")).expect("agent.toml");
    }

    /// The first root of the release keys.
    pub fn first_root(&self) -> PathBuf {
        self.desk().join("REL/repository/metadata/1.root.json")
    }

    /// Has the agent of this home started by the launcher, as its unit does, with short times and the root of the releases;
    /// `more` is said of its updates in agent.toml. It does not run yet.
    ///
    /// # Panics
    /// When a program or the disk refuses.
    pub fn launch(&self, home: &mut Home, more: &str) {
        let root = self.first_root();
        home.agent
            .command_ended(&["update", "trust", root.to_str().expect("text")])
            .ok();
        self.hurry(home, more);
        let (launcher, agent) = (binary("homeward-launch"), &self.shipped);
        let script = format!(
            "#!/bin/sh\nexec '{}' --package '{}' \"$@\"\n",
            launcher.display(),
            agent.display()
        );
        let unit = self.write("unit", script.as_bytes());
        fs::set_permissions(&unit, fs::Permissions::from_mode(0o755)).expect("our own file");
        home.agent.start_by(&unit);
    }
}
