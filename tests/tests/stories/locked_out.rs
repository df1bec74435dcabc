//! A policy that would lock the box out, in network namespaces: the real agent under a user of its own, its helper with
//! nft and an sshd that runs, a real server in the world, and a sensor behind the box. Each time the box goes back to
//! what held before, by itself, says why, and misses no reading.
//!
//! It takes over a minute, because a policy has no less than 30 seconds to be confirmed in, twice.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use homeward_agent::policy::ask::{Answer, Request};
use homeward_devices::profile::shipped;
use homeward_devices::simulated::serve::Device;
use homeward_devices::simulated::{Behaviour, Simulated};
use homeward_protocol::id::GatewayId;
use homeward_tests::netns::{Netns, Place, Running};
use homeward_tests::programs::agent::Agent;
use homeward_tests::programs::fleet::Fleet;
use homeward_tests::programs::{binary, wait_for};
use homeward_tests::shared;
use homeward_tests::sshd::Separation;
use homeward_tests::tally::numbers;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::policies::{People, document};
use super::stage::{PLAIN, SOON, claim};

/// The user that the agent runs as.
const AGENT: u32 = 12345;
/// The promise: back, and reported, within so long.
const BACK: Duration = Duration::from_mins(5);
/// What a server says of a box that went back by itself.
const NOT_REACHED: &str = "it did not reach the server after applying";
/// A reading is taken five times a second; on a busy machine none may be missing for longer than this.
const NO_READING: i64 = 5000;

/// The way to the server that the box goes, through a program of its provider: where it leads to is read from a file at
/// each connection.
const RELAY: &str = "
import socket, sys, threading
def copy(a, b):
    try:
        while data := a.recv(65536): b.sendall(data)
    except OSError: pass
    for s in (a, b):
        try: s.shutdown(socket.SHUT_RDWR)
        except OSError: pass
def serve(c):
    try: s = socket.create_connection(('203.0.113.1', int(open(sys.argv[1]).read())), timeout=5)
    except OSError: return c.close()
    s.settimeout(None)
    threading.Thread(target=copy, args=(s, c), daemon=True).start()
    copy(c, s)
listener = socket.create_server(('127.0.0.1', 8800))
while True: threading.Thread(target=serve, args=(listener.accept()[0],), daemon=True).start()
";

/// A server in the world, on ports from `first` on.
fn server(folder: &Path, first: u16) -> Fleet {
    let mut fleet = Fleet::init(folder, &["--name", "203.0.113.1", "--name", "localhost"]);
    let ports = ["gate", "enrol", "renewal", "console"].into_iter().zip(first..);
    let listen: Vec<String> = ports
        .map(|(name, port)| format!("{name} = \"0.0.0.0:{port}\"\n"))
        .collect();
    let (listen, local) = (listen.concat(), first + 9);
    let names = "names = [\"203.0.113.1\", \"localhost\"]\n";
    let text = format!("{names}[listen]\n{listen}local = \"127.0.0.1:{local}\"\n");
    fs::write(folder.join("fleet.toml"), text).expect("its folder");
    fleet.serve(&PLAIN);
    fleet
}

/// The sensor behind the box, for as long as the test runs.
fn sensor(home: &Arc<Netns>) {
    let home = Arc::clone(home);
    thread::spawn(move || {
        home.enter(Place::Device);
        drop(home);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        runtime.expect("a runtime").block_on(async {
            let (_well, behaviour) = watch::channel(Behaviour::Well);
            let begun = Instant::now();
            let device = Device {
                simulated: Simulated::new(shipped("comet-tx5xx").expect("a profile"), 7),
                elapsed: Arc::new(move || begun.elapsed()),
                behaviour,
            };
            device
                .serve(TcpListener::bind("10.20.0.7:502").await.expect("it is alone"))
                .await
        })
    });
}

/// The helper as its socket unit starts it: a process a connection.
fn helper(home: &Netns, socket: &Path, args: &[String]) {
    let listener = UnixListener::bind(socket).expect("a socket");
    fs::set_permissions(socket, fs::Permissions::from_mode(0o666)).expect("ours");
    let program = binary("homeward-apply");
    let words = format!(
        "exec {} {} --kept {} \"$@\"",
        home.prefix(Place::Box),
        program.display(),
        home.kept().display()
    );
    let args = args.to_vec();
    thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(stream) = stream else { return };
            let mut command = Command::new("sh");
            command
                .args(["-c", &words, "sh"])
                .args(&args)
                .stdin(OwnedFd::from(stream));
            let ended = command.status();
            assert!(ended.expect("it starts").success());
        }
    });
}

/// An sshd on the box, the helper's arguments for it, and its main file.
fn sshd(home: &Netns, folder: &Path) -> (Running, Vec<String>, PathBuf) {
    let (main, pid) = (folder.join("sshd_config"), folder.join("sshd.pid"));
    fs::create_dir(folder.join("sshd_config.d")).expect("our own folder");
    home.run(
        Place::Box,
        "ssh-keygen",
        &[
            "-q",
            "-t",
            "ed25519",
            "-N",
            "",
            "-f",
            &folder.join("key").to_string_lossy(),
        ],
    );
    let shown = folder.display();
    let text = format!(
        "Include {shown}/sshd_config.d/*.conf\nHostKey {shown}/key\nPidFile {shown}/sshd.pid\nMaxAuthTries 6\n"
    );
    fs::write(&main, text).expect("our own folder");
    let mut command = home.command(Place::Box, "/usr/sbin/sshd");
    command.args(["-D", "-f"]).arg(&main).stderr(Stdio::null());
    let running = Running(command.spawn().expect("it starts"));
    wait_for("sshd", SOON, || pid.exists().then_some(()));
    let args = [
        ("--sshd-config", main.clone()),
        ("--sshd-folder", folder.join("sshd_config.d")),
        ("--sshd-pid", pid),
    ];
    let args = args
        .into_iter()
        .flat_map(|(name, path)| [name.to_owned(), path.display().to_string()]);
    (running, args.collect(), main)
}

/// A program that does this on the box, by the agent's user.
fn script(home: &Netns, path: &Path, words: &str) {
    let text = format!(
        "#!/bin/sh\nexec {} setpriv --reuid={AGENT} --regid={AGENT} --clear-groups {words} \"$@\"\n",
        home.prefix(Place::Box)
    );
    fs::write(path, text).expect("ours");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("ours");
}

/// A home whose box has a real firewall, between the world and the device behind it.
pub(crate) struct Story {
    pub(crate) home: Arc<Netns>,
    folder: tempfile::TempDir,
    pub(crate) fleet: Fleet,
    pub(crate) people: People,
    pub(crate) gateway: GatewayId,
    pub(crate) agent: Agent,
    sshd_args: Vec<String>,
    sshd_main: PathBuf,
    _running: Vec<Running>,
    /// What its sshd wants.
    _there: Option<Separation>,
}

impl Story {
    pub(crate) fn begin() -> Option<Story> {
        let home = Arc::new(Netns::new("locked")?);
        shared::debian("sshd", "openssh-server")?;
        let folder = tempfile::tempdir().expect("a folder");
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).expect("ours");
        let path = |name: &str| folder.path().join(name);
        let there = Separation::hold();
        let (ssh, sshd_args, sshd_main) = sshd(&home, folder.path());
        helper(&home, &path("apply.sock"), &sshd_args);
        sensor(&home);
        fs::write(path("leads-to"), "8883").expect("ours");
        let leads_to = path("leads-to").display().to_string();
        let relay = home.start(Place::Box, "python3", &["-c", RELAY, &leads_to]);
        // From here on this test is in the world.
        home.enter(Place::World);
        let fleet = server(&path("fleet"), 8883);
        let people = People::new(&fleet.dir().join("ca/root-1.key"));
        let claim = claim(&fleet, "mill-road-12");
        fs::create_dir(path("box")).expect("ours");
        chown(path("box"), Some(AGENT), Some(AGENT)).expect("root may");
        let program = path("agent.sh");
        script(&home, &program, &binary("homeward-agent").display().to_string());
        let mut agent = Agent::at(&path("box"));
        agent.replace_program(&program);
        agent.enrol(&claim.to_string(), SOON).ok();
        let text = format!(
            "[server]\ngate = \"localhost:8800\"\nretry_min_ms = 200\nretry_max_ms = 1000\n[policy]\nhelper = \"{}\"\n\
             [[sensor]]\nid = \"room\"\nprofile = \"comet-tx5xx\"\naddress = \"10.20.0.7:502\"\ninterval_ms = 200\n",
            path("apply.sock").display()
        );
        fs::write(path("box/agent.toml"), text).expect("ours");
        agent.run(&PLAIN);
        Some(Story {
            home,
            folder,
            fleet,
            people,
            gateway: claim.gateway,
            agent,
            sshd_args,
            sshd_main,
            _running: vec![ssh, relay],
            _there: there,
        })
    }

    /// Has the agent started by the launcher from here on, as its unit does.
    pub(crate) fn launch(&mut self) {
        let unit = self.folder.path().join("unit.sh");
        let (launcher, agent) = (binary("homeward-launch"), binary("homeward-agent"));
        let words = format!("{} --package {}", launcher.display(), agent.display());
        script(&self.home, &unit, &words);
        self.agent.stop();
        self.agent.start_by(&unit);
        self.agent.run(&PLAIN);
    }

    fn give(&self, version: u64, rules: &str) {
        let text = document(version, rules).replace("confirm_s = 60", "confirm_s = 30");
        let papers = self.people.signed(&format!("v{version}"), &text);
        self.fleet.run(&["policy", "load", &papers]).ok();
        self.fleet
            .run(&["policy", "assign", &version.to_string(), "--all"])
            .ok();
    }

    fn status(&self) -> Value {
        self.fleet
            .json(&["policy", "status", "--gateway", self.gateway.as_str()])
    }

    /// Waits for the box to say this of its policy; gives all that it says.
    pub(crate) fn says(&self, progress: &str, holds: u64) -> Value {
        wait_for(&format!("{progress}, and {holds}"), BACK, || {
            let told = self.status();
            (told["progress"] == progress && told["holds"] == holds).then_some(told)
        })
    }

    /// Version 7 holds on the box, in the kernel and in sshd.
    fn stands(&self, before: &(Option<String>, String)) {
        // While the helper sets it anew, sshd's file is away for a moment.
        wait_for("version 7 to stand", SOON, || {
            (self.set() == *before).then_some(())
        });
        self.more_readings();
    }

    /// The table's mark, and our file of sshd's.
    fn set(&self) -> (Option<String>, String) {
        let args: Vec<&str> = self.sshd_args.iter().map(String::as_str).collect();
        let Answer::Network(table) = self.home.ask(&Request::SeeNetwork, &args) else {
            panic!("no network")
        };
        let file = self.folder.path().join("sshd_config.d/00-homeward.conf");
        (table.mark, fs::read_to_string(file).unwrap_or_default())
    }

    pub(crate) fn more_readings(&self) {
        let count = || {
            numbers(
                &self.fleet.dir().join("fleet.db"),
                "SELECT count(*) FROM readings",
            )[0]
        };
        let wanted = count() + 10;
        wait_for("more readings", SOON, || (count() >= wanted).then_some(()));
    }

    fn leads_to(&self, port: u16) {
        fs::write(self.folder.path().join("leads-to"), port.to_string()).expect("ours");
    }
}

/// What the box may still speak with.
pub(crate) const RULES: &str = r#"
[outbound]
hazard = "h-1"
fleet = ["203.0.113.1"]
flow = [{ name = "provider", peer = "203.0.113.1", protocol = "tcp", ports = ["8883-18883"] }]
[inbound]
hazard = "h-1"
flow = [{ name = "ssh", peer = "192.168.7.0/24", protocol = "tcp", ports = ["22"] }]
[devices]
hazard = "h-1"
[sshd]
hazard = "h-1"
password_login = "no"
"#;

#[test]
fn a_policy_that_locks_the_box_out_is_left_by_itself_with_its_reason_and_no_reading_is_missed() {
    let Some(mut story) = Story::begin() else { return };
    story.more_readings();
    story.give(7, RULES);
    story.says("applied", 7);
    let before = story.set();
    assert!(
        before.0.is_some() && before.1.contains("passwordauthentication no"),
        "{before:?}"
    );

    // A firewall rule that cuts the server off: who wrote it did not know of the provider's program.
    let begun = Instant::now();
    let flow = RULES
        .lines()
        .find(|line| line.starts_with("flow = [{ name = \"provider\""));
    story.give(8, &RULES.replace(flow.expect("a flow"), ""));
    let told = story.says("returned", 7);
    assert!(begun.elapsed() > Duration::from_secs(20), "it was tried");
    assert_eq!(
        (&told["wanted"], &told["returned"]),
        (&8.into(), &NOT_REACHED.into()),
        "{told}"
    );
    story.stands(&before);

    // An sshd rule that sshd does not take, because its main file is broken meanwhile.
    let main = fs::read_to_string(&story.sshd_main).expect("there");
    fs::write(&story.sshd_main, format!("{main}NoSuchSetting yes\n")).expect("ours");
    story.give(9, &format!("{RULES}max_auth_tries = 3\n"));
    let told = story.says("returned", 7);
    let why = told["returned"].as_str().unwrap_or_default();
    assert!(
        why.starts_with("a step failed: ") && why.contains("NoSuchSetting"),
        "{told}"
    );
    fs::write(&story.sshd_main, main).expect("ours");
    story.stands(&before);
    let banner = story.home.run(
        Place::Household,
        "python3",
        &[
            "-c",
            "import socket; print(socket.create_connection(('192.168.7.2', 22), timeout=5).recv(4))",
        ],
    );
    assert_eq!(banner.trim(), "b'SSH-'", "who signs in still can");

    // A server with another authority in the place of ours confirms nothing.
    let mut other = server(&story.folder.path().join("other"), 18883);
    story.leads_to(18883);
    story.give(10, &RULES.replace("8883-18883", "8883-18884"));
    wait_for("the box to be away", SOON, || {
        let known = story.agent.status()["link"]["connected_since"].is_null();
        known.then_some(())
    });
    thread::sleep(Duration::from_secs(30));
    story.leads_to(8883);
    let told = story.says("returned", 7);
    assert_eq!(
        (&told["wanted"], &told["returned"]),
        (&10.into(), &NOT_REACHED.into()),
        "{told}"
    );
    story.stands(&before);
    let said = story.agent.program().said().join("\n");
    assert!(said.contains("invalid peer certificate"), "{said}");

    story.agent.stop();
    assert_eq!(story.set(), before, "what was set stays when the agent is away");
    other.stop();
    story.fleet.stop();
    let taken = "SELECT DISTINCT taken_at FROM readings ORDER BY taken_at";
    let taken = numbers(&story.fleet.dir().join("fleet.db"), taken);
    let longest = taken.windows(2).map(|two| two[1] - two[0]).max();
    assert!(longest.is_some_and(|longest| longest < NO_READING), "{longest:?}");
}
