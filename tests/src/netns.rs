//! Shell: network namespaces: a box, a device behind it, the household's network, and the world, each with a real stack.
//!
//! ```text
//! device 10.20.0.7 ── 10.20.0.1 box 203.0.113.2 ── 203.0.113.1 world (also 198.51.100.0/24)
//!                               box 192.168.7.2 ── 192.168.7.1 household
//! ```
//! Needs root. What is made goes when it goes out of scope.
#![expect(clippy::disallowed_methods, reason = "shell: starts ip, nft and others")]

use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use homeward_agent::policy::ask::{Answer, Request};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use crate::programs::{Finished, binary, finish};
use crate::shared;

const LIMIT: Duration = Duration::from_mins(1);

/// A home in network namespaces.
#[derive(Debug)]
pub struct Netns {
    name: String,
    ip: PathBuf,
    /// Where the box keeps things.
    folder: tempfile::TempDir,
}

/// Who is in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The box.
    Box,
    /// A device behind it.
    Device,
    /// The household's network.
    Household,
    /// The world.
    World,
}

impl Place {
    const ALL: [Place; 4] = [Place::Box, Place::Device, Place::Household, Place::World];

    const fn name(self) -> &'static str {
        match self {
            Place::Box => "box",
            Place::Device => "device",
            Place::Household => "household",
            Place::World => "world",
        }
    }
}

impl Netns {
    /// A home; `None`, said aloud, on a machine that has not what it takes. `name` is the test's own.
    ///
    /// # Panics
    /// When the namespaces cannot be made although the programs and the rights are there.
    pub fn new(name: &str) -> Option<Netns> {
        let ip = shared::debian("ip", "iproute2")?;
        shared::debian("nft", "nftables")?;
        shared::debian("python3", "python3")?;
        if !rustix::process::geteuid().is_root() {
            shared::missing("root", "network namespaces need it");
            return None;
        }
        let home = Netns {
            name: format!("hw-{name}-{}", std::process::id()),
            ip,
            folder: tempfile::tempdir().expect("a folder"),
        };
        if !home.ip(&["netns", "add", &home.of(Place::Box)]).status.success() {
            shared::missing("network namespaces", "this machine does not let root make them");
            return None;
        }
        home.lay();
        Some(home)
    }

    /// Where the helper with rights keeps the rules for the box's next start.
    pub fn kept(&self) -> PathBuf {
        self.folder.path().join("network.json")
    }

    /// Moves this thread, and all that it starts from now on, to a place.
    ///
    /// # Panics
    /// When the kernel does not let it.
    pub fn enter(&self, place: Place) {
        let file = std::fs::File::open(format!("/run/netns/{}", self.of(place))).expect("a namespace");
        move_into_link_name_space(file.as_fd(), Some(LinkNameSpaceType::Network)).expect("root may");
    }

    /// The words before a program that start it in a place.
    pub fn prefix(&self, place: Place) -> String {
        format!("{} netns exec {}", self.ip.display(), self.of(place))
    }

    fn of(&self, place: Place) -> String {
        format!("{}-{}", self.name, place.name())
    }

    fn ip(&self, args: &[&str]) -> Finished {
        finish(Command::new(&self.ip).args(args), b"", LIMIT)
    }

    fn must(&self, args: &str) {
        let words: Vec<&str> = args.split(' ').collect();
        let output = self.ip(&words);
        assert!(output.status.success(), "ip {args}: {}", output.stderr);
    }

    fn lay(&self) {
        for place in [Place::Device, Place::Household, Place::World] {
            self.must(&format!("netns add {}", self.of(place)));
        }
        let links = [
            (Place::Device, "home", "10.20.0.1/24", "10.20.0.7/24"),
            (Place::Household, "lan", "192.168.7.2/24", "192.168.7.1/24"),
            (Place::World, "wan", "203.0.113.2/24", "203.0.113.1/24"),
        ];
        let ours = self.of(Place::Box);
        for (place, link, box_address, their_address) in links {
            let theirs = self.of(place);
            self.must(&format!(
                "-n {ours} link add {link} type veth peer name eth0 netns {theirs}"
            ));
            self.must(&format!("-n {ours} address add {box_address} dev {link}"));
            self.must(&format!("-n {ours} link set {link} up"));
            self.must(&format!("-n {theirs} address add {their_address} dev eth0"));
            self.must(&format!("-n {theirs} link set eth0 up"));
        }
        for place in Place::ALL {
            self.must(&format!("-n {} link set lo up", self.of(place)));
        }
        self.must(&format!("-n {ours} route add default via 203.0.113.1"));
        self.must(&format!(
            "-n {} route add default via 10.20.0.1",
            self.of(Place::Device)
        ));
        self.must(&format!(
            "-n {} route add default via 192.168.7.2",
            self.of(Place::Household)
        ));
        self.must(&format!(
            "-n {} route add 10.20.0.0/24 via 203.0.113.2",
            self.of(Place::World)
        ));
        self.must(&format!(
            "-n {} address add 198.51.100.9/32 dev lo",
            self.of(Place::World)
        ));
        self.run(
            Place::Box,
            "sh",
            &["-c", "echo 1 > /proc/sys/net/ipv4/ip_forward"],
        );
    }

    /// A program in one of the places.
    pub fn command(&self, place: Place, program: &str) -> Command {
        let mut command = Command::new(&self.ip);
        command.args(["netns", "exec", &self.of(place), program]);
        command
    }

    /// Runs a program to its end, which must be a good one; gives what it said.
    ///
    /// # Panics
    /// When it fails.
    pub fn run(&self, place: Place, program: &str, args: &[&str]) -> String {
        let output = finish(self.command(place, program).args(args), b"", LIMIT);
        assert!(output.status.success(), "{program}: {}", output.stderr);
        output.stdout
    }

    /// Starts a program that is ended with what is given.
    ///
    /// # Panics
    /// When it cannot be started.
    pub fn start(&self, place: Place, program: &str, args: &[&str]) -> Running {
        let mut command = self.command(place, program);
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        Running(command.spawn().expect("it starts"))
    }

    /// What the helper with rights answers on the box, given `args` of its own.
    ///
    /// # Panics
    /// When it gives no answer.
    pub fn ask(&self, request: &Request, args: &[&str]) -> Answer {
        let (mut ours, its) = UnixStream::pair().expect("a pair of sockets");
        let program = binary("homeward-apply");
        let mut command = self.command(Place::Box, &program.to_string_lossy());
        command
            .arg("--kept")
            .arg(self.kept())
            .args(args)
            .stdin(OwnedFd::from(its))
            .stdout(Stdio::null());
        let mut child = command.spawn().expect("it starts");
        drop(command);
        let mut line = serde_json::to_vec(request).expect("a request");
        line.push(b'\n');
        ours.write_all(&line).expect("it listens");
        ours.shutdown(Shutdown::Write).expect("a socket");
        let mut answer = String::new();
        ours.read_to_string(&mut answer).expect("it answers");
        child.wait().expect("it ends");
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }
}

impl Drop for Netns {
    fn drop(&mut self) {
        for place in Place::ALL {
            let _gone = self.ip(&["netns", "delete", &self.of(place)]);
        }
    }
}

/// A program that runs, and ends with this.
#[derive(Debug)]
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ended = self.0.kill();
        let _seen = self.0.wait();
    }
}
