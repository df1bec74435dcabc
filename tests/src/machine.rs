//! Shell: a box with a real systemd: the first process of namespaces of its own, over the machine's files, of which it sees a
//! copy that goes away.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts systemd, speaks with its sockets"
)]

use std::ffi::OsString;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::programs::agent::Agent;
use crate::programs::{binary, finish, wait_for};
use crate::shared;

const LIMIT: Duration = Duration::from_mins(1);
/// The sockets of the helpers.
const SOCKETS: [&str; 4] = ["look", "bond", "apply", "packages"];
/// Set where a test runs on a network of its own.
const APART: &str = "HOMEWARD_TEST_APART";

/// Makes a box of this machine's files and starts systemd in it. Arguments: a folder, the packaging, the programs, and, for a box
/// with an agent, the folder that the agent keeps what it has in and its build.
///
/// The units find what they order themselves by; nothing else of the machine is started. The devices are those that
/// `PrivateDevices=` passes on.
const BOX: &str = r#"
set -e
work=$1 units=$2 programs=$3 data=$4 agent=$5
mount --make-rprivate /
mount -t tmpfs tmpfs "$work"
mkdir "$work/up" "$work/w" "$work/box"
mount -t overlay overlay -o "lowerdir=/,upperdir=$work/up,workdir=$work/w" "$work/box"
cd "$work/box"
mount -t proc proc proc
mount -t sysfs sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
for folder in run tmp dev var/lib; do mount -t tmpfs tmpfs $folder; done
for node in null zero full random urandom tty; do touch dev/$node; mount --bind /dev/$node dev/$node; done
mkdir -p dev/shm dev/pts dev/mqueue dev/hugepages usr/libexec/homeward usr/lib/sysusers.d units before
mount -t devpts devpts dev/pts -o newinstance,ptmxmode=0666
ln -s pts/ptmx dev/ptmx
for program in look bond apply packages; do
    touch usr/libexec/homeward/homeward-$program
    mount --bind "$programs/homeward-$program" usr/libexec/homeward/homeward-$program
done
if [ -n "$agent" ]; then
    mkdir -p var/lib/homeward-agent
    mount --bind "$data" var/lib/homeward-agent
    touch usr/libexec/homeward/homeward-launch usr/bin/homeward-agent
    mount --bind "$programs/homeward-launch" usr/libexec/homeward/homeward-launch
    mount --bind "$agent" usr/bin/homeward-agent
fi
cp -a /var/lib/dpkg var/lib/
cp "$units"/homeward-*.service "$units"/homeward-*.socket units/
cp "$units"/sysusers.conf usr/lib/sysusers.d/homeward-agent.conf
chroot . systemd-sysusers homeward-agent.conf
if [ -n "$agent" ]; then chroot . chown homeward-agent: /var/lib/homeward-agent; fi
for name in sysinit basic shutdown sockets network-pre; do
    printf '[Unit]\nDefaultDependencies=no\n' >units/$name.target
done
printf '[Unit]\nWants=homeward-look.socket homeward-bond.socket homeward-apply.socket homeward-packages.socket\n' >units/box.target
pivot_root . before
cd /
umount -l /before
exec env -i container=test PATH=/usr/sbin:/usr/bin SYSTEMD_UNIT_PATH=/units \
    /lib/systemd/systemd --system --unit=box.target --log-target=null --show-status=no
"#;

/// A box with systemd; it ends with this.
#[derive(Debug)]
pub struct Machine {
    unshare: Child,
    pid: u32,
    _group: Group,
    _folder: tempfile::TempDir,
}

/// The agent of a box that has one.
#[derive(Debug, Clone, Copy)]
pub struct Installed<'a> {
    /// Where it keeps what it has, outside.
    pub data: &'a Path,
    /// The build of the package.
    pub build: &'a Path,
}

/// A group of processes, below which systemd makes its own; it goes with what is below it.
#[derive(Debug)]
struct Group(PathBuf);

impl Group {
    /// In the group of this process; none where there are none of the second version.
    fn new() -> Option<Group> {
        let mounts = fs::read_to_string("/proc/self/mountinfo").ok()?;
        let mut groups = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
        let root = groups.next()?.split(' ').nth(4)?;
        let own = fs::read_to_string("/proc/self/cgroup").ok()?;
        let own = own.lines().find_map(|line| line.strip_prefix("0::/"))?;
        let made = tempfile::Builder::new()
            .prefix("homeward-box-")
            .tempdir_in(Path::new(root).join(own));
        Some(Group(made.ok()?.keep()))
    }

    /// What is below goes first.
    fn remove(place: &Path) -> std::io::Result<()> {
        for below in fs::read_dir(place)?.flatten() {
            if below.file_type()?.is_dir() {
                Group::remove(&below.path())?;
            }
        }
        fs::remove_dir(place)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel ends its processes a moment after the first of them.
        let end = Instant::now() + LIMIT;
        while Group::remove(&self.0).is_err() && self.0.exists() && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

impl Machine {
    /// One with the helpers alone, on a network of its own; none, said aloud, where it cannot be made.
    ///
    /// # Panics
    /// When it could be made and is not.
    pub fn start() -> Option<Machine> {
        Machine::made(&["--net"], None)
    }

    /// One with an agent, too, which is not started, on the network of whoever calls this: see [`apart`].
    ///
    /// # Panics
    /// As [`Machine::start`].
    pub fn with(agent: Installed<'_>) -> Option<Machine> {
        Machine::made(&[], Some(agent))
    }

    fn made(more: &[&str], agent: Option<Installed<'_>>) -> Option<Machine> {
        shared::debian("systemctl", "systemd")?;
        shared::debian("unshare", "util-linux")?;
        shared::debian("nft", "nftables")?;
        if !rustix::process::geteuid().is_root() {
            shared::missing("root", "namespaces and mounts need it");
            return None;
        }
        let Some(group) = Group::new() else {
            shared::missing("a group of processes", "systemd keeps its services apart by them");
            return None;
        };
        let folder = tempfile::tempdir().expect("a folder");
        let programs = binary("homeward-look");
        let kinds = [
            "--mount",
            "--pid",
            "--uts",
            "--ipc",
            "--cgroup",
            "--fork",
            "--kill-child",
        ];
        let enters = r#"echo $$ >"$1/cgroup.procs"; shift; exec "$@""#;
        let mut command = Command::new("sh");
        command
            .args(["-ec", enters, "sh"])
            .arg(&group.0)
            .arg("unshare")
            .args(kinds)
            .args(more)
            .args(["sh", "-c", BOX, "sh"])
            .arg(folder.path())
            .arg(shared::workspace().join("packaging/agent"))
            .arg(programs.parent().expect("a folder"));
        if let Some(Installed { data, build }) = agent {
            command.arg(data).arg(build);
        }
        let quiet = command
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null());
        let mut unshare = quiet.spawn().expect("it starts");
        let pid = wait_for("systemd and its sockets", LIMIT, || {
            let ended = unshare.try_wait().expect("ours");
            assert!(ended.is_none(), "the box was not made: {ended:?}");
            let pid = children(unshare.id()).first().copied()?;
            // It is given to its group a moment after it is made.
            let there = |name: &str| {
                let socket = fs::metadata(inside(pid, &format!("run/homeward-{name}.sock")));
                socket.is_ok_and(|socket| socket.gid() != 0)
            };
            SOCKETS.into_iter().all(there).then_some(pid)
        });
        Some(Machine {
            unshare,
            pid,
            _group: group,
            _folder: folder,
        })
    }

    /// Its first process.
    pub const fn pid(&self) -> u32 {
        self.pid
    }

    /// A file of it, from outside; `path` without the first `/`.
    pub fn file(&self, path: &str) -> PathBuf {
        inside(self.pid, path)
    }

    /// The socket of a helper.
    pub fn socket(&self, name: &str) -> PathBuf {
        self.file(&format!("run/homeward-{name}.sock"))
    }

    /// Asks a helper, and gives all that it says.
    ///
    /// # Panics
    /// When it does not listen or answer.
    pub fn ask(&self, name: &str, line: &str) -> String {
        let mut stream = UnixStream::connect(self.socket(name)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.write_all(line.as_bytes()).expect("it hears");
        stream.shutdown(Shutdown::Write).expect("a socket");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    /// A command in the box, which has to end well; gives what it says.
    ///
    /// # Panics
    /// When it does not.
    pub fn run(&self, program: &str, args: &[&str]) -> String {
        let mut words = self.enter().into_iter();
        let mut command = Command::new(words.next().unwrap_or_default());
        command.args(words).arg(program).args(args);
        finish(&mut command, b"", LIMIT).ok()
    }

    /// What leads into it.
    fn enter(&self) -> Vec<OsString> {
        let pid = self.pid.to_string();
        let words = ["nsenter", "-t", &pid, "-m", "-p", "-n", "-r", "-w"];
        words.into_iter().map(OsString::from).collect()
    }

    /// Its agent, whose commands are run in it by the agent's own user.
    pub fn agent(&self, installed: Installed<'_>) -> Agent {
        let mut agent = Agent::at(installed.data);
        let user = ["runuser", "-u", "homeward-agent", "--"].map(OsString::from);
        let enter = [self.enter(), user.to_vec()].concat();
        agent.within(
            enter,
            Path::new("/usr/bin/homeward-agent"),
            Path::new("/var/lib/homeward-agent"),
        );
        agent
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ended = self.unshare.kill();
        let _seen = self.unshare.wait();
    }
}

fn inside(pid: u32, path: &str) -> PathBuf {
    Path::new(&format!("/proc/{pid}/root")).join(path)
}

/// The processes that a process started and that have not ended.
pub fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|one| one.parse().ok())
        .collect()
}

/// Whether this test runs on a network of its own, which has loopback and nothing else. Where it does not, it is run once more on
/// one, to its end, and there is nothing left to do here. `test` is its whole name.
///
/// # Panics
/// When it fails there.
pub fn apart(test: &str) -> bool {
    if std::env::var_os(APART).is_some() {
        return true;
    }
    let tools = shared::debian("unshare", "util-linux").zip(shared::debian("ip", "iproute2"));
    let Some((unshare, ip)) = tools else {
        return false;
    };
    if !rustix::process::geteuid().is_root() {
        shared::missing("root", "a network of its own needs it");
        return false;
    }
    let own = std::env::current_exe().expect("this program");
    let mut again = Command::new(unshare);
    again
        .args(["--net", "--fork", "--kill-child", "sh", "-ec"])
        .arg(r#""$1" link set lo up; shift; exec "$@""#)
        .arg("sh")
        .args([&ip, &own])
        .args(["--exact", test, "--nocapture"])
        .env(APART, "1");
    assert!(
        again.status().expect("it starts").success(),
        "{test} failed on a network of its own"
    );
    false
}
