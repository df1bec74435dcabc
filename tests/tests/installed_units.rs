//! The helpers as a real systemd starts them: the units as shipped, on a socket each, with the rights that they say and
//! no others, and answers that only those rights give. systemd is the first process of namespaces of its own, over the
//! machine's files, of which it sees a copy that goes away.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts systemd, speaks with its sockets"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use homeward_agent::install::Installer as _;
use homeward_agent::install::packages::Packages;
use homeward_agent::policy::ask::{Answer, Request};
use homeward_agent::policy::rules::{Needs, Network};
use homeward_agent::policy::tighten::tightened;
use homeward_agent::posture::look::{Question, read};
use homeward_protocol::posture::fact::What;
use homeward_protocol::release::Disruption;
use homeward_tests::debs::Deb;
use homeward_tests::debs::shop::{Shop, clock, window};
use homeward_tests::programs::{binary, finish, wait_for};
use homeward_tests::shared;

const LIMIT: Duration = Duration::from_mins(1);
/// What `/proc/PID/status` calls these rights. Source: linux/capability.h.
const READ_ALL: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const PTRACE: u64 = 1 << 19;

/// Makes a box of this machine's files and starts systemd in it. Arguments: a folder, the packaging, the programs.
///
/// The units find what they order themselves by; nothing else of the machine is started. The devices are those that
/// `PrivateDevices=` passes on.
const BOX: &str = r#"
set -e
work=$1 units=$2 programs=$3
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
cp -a /var/lib/dpkg var/lib/
cp "$units"/homeward-*.service "$units"/homeward-*.socket units/
cp "$units"/sysusers.conf usr/lib/sysusers.d/homeward-agent.conf
chroot . systemd-sysusers homeward-agent.conf
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
struct Machine {
    unshare: Child,
    pid: u32,
    _group: Group,
    _folder: tempfile::TempDir,
}

/// A group of processes, below which systemd makes its own; it goes with what is below it.
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
    /// None, said aloud, where it cannot be made.
    fn start() -> Option<Machine> {
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
            "--net",
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
            .args(["sh", "-c", BOX, "sh"])
            .arg(folder.path())
            .arg(shared::workspace().join("packaging/agent"))
            .arg(programs.parent().expect("a folder"));
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
            ["look", "bond", "apply", "packages"]
                .into_iter()
                .all(there)
                .then_some(pid)
        });
        Some(Machine {
            unshare,
            pid,
            _group: group,
            _folder: folder,
        })
    }

    fn socket(&self, name: &str) -> PathBuf {
        inside(self.pid, &format!("run/homeward-{name}.sock"))
    }

    fn ask(&self, name: &str, line: &str) -> String {
        let mut stream = UnixStream::connect(self.socket(name)).expect("it listens");
        stream.set_read_timeout(Some(LIMIT)).expect("a limit");
        stream.write_all(line.as_bytes()).expect("it hears");
        stream.shutdown(Shutdown::Write).expect("a socket");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        answer
    }

    fn set(&self, request: &Request) -> Answer {
        let line = serde_json::to_string(request).expect("a request");
        let answer = self.ask("apply", &format!("{line}\n"));
        serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
    }

    /// A command in the box.
    fn run(&self, program: &str, args: &[&str]) -> String {
        let pid = self.pid.to_string();
        let mut command = Command::new("nsenter");
        command
            .args(["-t", &pid, "-m", "-p", "-n", "-r", "-w", program])
            .args(args);
        finish(&mut command, b"", LIMIT).ok()
    }

    /// What the kernel says of the helper that waits for a question on this socket.
    fn helper(&self, name: &str) -> (UnixStream, Status) {
        let held = UnixStream::connect(self.socket(name)).expect("it listens");
        let status = wait_for(&format!("a helper on {name}"), LIMIT, || {
            // The kernel's short name of it: fifteen letters.
            let own: String = format!("homeward-{name}").chars().take(15).collect();
            let all = children(self.pid).into_iter();
            let mut of_it = all
                .filter_map(Status::of)
                .filter(|status| status.text("Name") == own);
            of_it.next()
        });
        (held, status)
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

fn children(pid: u32) -> Vec<u32> {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace()
        .filter_map(|one| one.parse().ok())
        .collect()
}

/// `/proc/PID/status` and `mountinfo`.
struct Status {
    text: String,
    mounts: String,
}

impl Status {
    fn of(pid: u32) -> Option<Status> {
        Some(Status {
            text: fs::read_to_string(format!("/proc/{pid}/status")).ok()?,
            mounts: fs::read_to_string(format!("/proc/{pid}/mountinfo")).ok()?,
        })
    }

    fn text(&self, name: &str) -> &str {
        let mut lines = self.text.lines().filter_map(|line| line.split_once(":\t"));
        lines
            .find_map(|(key, value)| (key == name).then_some(value))
            .unwrap_or_default()
    }

    fn rights(&self, name: &str) -> u64 {
        u64::from_str_radix(self.text(name), 16).expect("a number")
    }

    /// Whether what is mounted there may be written to.
    fn writable(&self, place: &str) -> bool {
        let fields = self
            .mounts
            .lines()
            .map(|line| line.split(' ').collect::<Vec<_>>());
        let mut there = fields.filter(|fields| fields.get(4) == Some(&place));
        there
            .next_back()
            .is_some_and(|fields| fields[5].split(',').any(|option| option == "rw"))
    }
}

#[test]
fn a_real_systemd_starts_each_helper_with_the_rights_that_its_unit_says_and_no_others() {
    let Some(machine) = Machine::start() else { return };
    for (name, rights, root) in [
        ("look", READ_ALL | PTRACE | NET_ADMIN, false),
        ("bond", READ_ALL, false),
        ("apply", NET_ADMIN, true),
    ] {
        let socket = fs::metadata(machine.socket(name)).expect("a socket");
        assert_eq!(
            (socket.permissions().mode() & 0o777, socket.uid()),
            (0o660, 0),
            "{name}"
        );
        assert_ne!(socket.gid(), 0, "{name}: the agent's group");
        let (_held, status) = machine.helper(name);
        for set in ["CapPrm", "CapEff", "CapBnd"] {
            assert_eq!(status.rights(set), rights, "{name} {set}");
        }
        assert_eq!(status.text("Uid").starts_with("0\t"), root, "{name}");
        assert_eq!(
            (status.text("NoNewPrivs"), status.text("Seccomp")),
            ("1", "2"),
            "{name}"
        );
        assert!(!status.writable("/"), "{name}:\n{}", status.mounts);
    }
    let (_held, status) = machine.helper("apply");
    for place in ["/var/lib/homeward-apply", "/etc/ssh/sshd_config.d"] {
        let there = inside(machine.pid, place.trim_start_matches('/')).exists();
        assert!(status.writable(place) || !there, "{place}:\n{}", status.mounts);
    }
}

#[test]
fn under_a_real_systemd_the_helpers_answer_and_the_last_rules_are_set_at_the_start() {
    let Some(machine) = Machine::start() else { return };
    let facts = read(Question::Accounts, &machine.ask("look", "accounts\n")).expect("an answer");
    let passwords = facts
        .iter()
        .filter(|fact| fact.id.what() == What::AccountPassword);
    assert!(passwords.count() > 0, "what only root may read: {facts:?}");
    assert_eq!(machine.ask("look", "shadow\n"), "", "a word that is none");
    let address = "A0:B1:C2:D3:E4:F5 C1:00:00:00:00:02\n";
    let told = machine.ask("bond", address);
    assert!(!told.contains("Key"), "{told}");

    let needs = Needs {
        server_ports: vec![8883],
        ..Needs::default()
    };
    let rules = Network::of(&tightened(None), &needs).expect("it rules the network");
    let Answer::Network(set) = machine.set(&Request::SetNetwork(Some(Box::new(rules)))) else {
        panic!("not set")
    };
    assert!(set.mark.is_some() && set.kept, "{set:?}");
    let kept = inside(machine.pid, "var/lib/homeward-apply/network.json");
    assert_eq!(
        fs::metadata(&kept).expect("kept").permissions().mode() & 0o777,
        0o600
    );
    // The kernel's rules go with the power; the unit sets them again.
    machine.run("nft", &["flush", "ruleset"]);
    machine.run("systemctl", &["start", "homeward-rules.service"]);
    let Answer::Network(again) = machine.set(&Request::SeeNetwork) else {
        panic!("not seen")
    };
    assert_eq!((again.points, again.mark), (set.points, set.mark));
    let Answer::Network(none) = machine.set(&Request::SetNetwork(None)) else {
        panic!("not taken away")
    };
    assert!(none.mark.is_none() && !kept.exists());
}

#[test]
fn under_a_real_systemd_packages_are_installed_within_their_unit_as_it_is_shipped() {
    let Some(machine) = Machine::start() else { return };
    let mut shop = Shop::new();
    // What scripts of packages do most: users, owners, programs that run as somebody else, services.
    let deb = shop.build(Deb {
        name: "hw-unit",
        version: "1.0",
        postinst: "set -e\nuseradd --system hwunit\nchown hwunit /usr/share/hw-unit/version\nchmod 4755 \
                   /usr/share/hw-unit/version\nrunuser -u hwunit -- id -un >/usr/share/hw-unit/who\nsystemctl stop \
                   homeward-look.socket",
        ..Deb::default()
    });
    let (job, bundle) = shop.release("1.0.0", Disruption::None, &[deb]);
    fs::copy(shop.root(), inside(machine.pid, "tmp/1.root.json")).expect("the box takes it");
    let helper = "/usr/libexec/homeward/homeward-packages";
    machine.run(helper, &["--trust", "/tmp/1.root.json"]);
    let packages = Packages::new(machine.socket("packages"), shop.metadata(), clock());
    packages.stage(&job, &bundle).expect("staged");
    packages
        .activate(&job, window(Disruption::None))
        .expect("installed");
    let file = fs::metadata(inside(machine.pid, "usr/share/hw-unit/version")).expect("installed");
    assert_eq!(file.permissions().mode() & 0o7777, 0o4755);
    assert_ne!(file.uid(), 0, "the user that the script made");
    let who = fs::read_to_string(inside(machine.pid, "usr/share/hw-unit/who"));
    assert_eq!(who.expect("the script ran"), "hwunit\n");
    // What was not permitted did not happen, though the script asked for it.
    assert!(
        machine
            .run("systemctl", &["is-active", "homeward-look.socket"])
            .contains("active")
    );
    let own = fs::metadata(inside(machine.pid, "var/lib/homeward-packages")).expect("its folder");
    assert_eq!((own.permissions().mode() & 0o777, own.uid()), (0o700, 0));
    let (_held, status) = machine.helper("packages");
    assert_eq!((status.text("NoNewPrivs"), status.text("Seccomp")), ("1", "2"));
    for missing in [NET_ADMIN, PTRACE] {
        assert_eq!(status.rights("CapBnd") & missing, 0);
    }
}
