//! The helpers as a real systemd starts them: the units as shipped, on a socket each, with the rights that they say and
//! no others, and answers that only those rights give.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: starts systemd, speaks with its sockets"
)]

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::net::UnixStream;
use std::time::Duration;

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
use homeward_tests::machine::{Machine, children};
use homeward_tests::programs::wait_for;

const LIMIT: Duration = Duration::from_mins(1);
/// What `/proc/PID/status` calls these rights. Source: linux/capability.h.
const READ_ALL: u64 = 1 << 2;
const NET_ADMIN: u64 = 1 << 12;
const PTRACE: u64 = 1 << 19;

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

/// Asks the helper that sets rules.
fn ask(machine: &Machine, request: &Request) -> Answer {
    let line = serde_json::to_string(request).expect("a request");
    let answer = machine.ask("apply", &format!("{line}\n"));
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

/// What the kernel says of the helper that waits for a question on this socket.
fn held(machine: &Machine, name: &str) -> (UnixStream, Status) {
    let held = UnixStream::connect(machine.socket(name)).expect("it listens");
    let status = wait_for(&format!("a helper on {name}"), LIMIT, || {
        // The kernel's short name of it: fifteen letters.
        let own: String = format!("homeward-{name}").chars().take(15).collect();
        let all = children(machine.pid()).into_iter();
        let mut of_it = all
            .filter_map(Status::of)
            .filter(|status| status.text("Name") == own);
        of_it.next()
    });
    (held, status)
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
        let (_held, status) = held(&machine, name);
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
    let (_held, status) = held(&machine, "apply");
    for place in ["/var/lib/homeward-apply", "/etc/ssh/sshd_config.d"] {
        let there = machine.file(place.trim_start_matches('/')).exists();
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
    let Answer::Network(set) = ask(&machine, &Request::SetNetwork(Some(Box::new(rules)))) else {
        panic!("not set")
    };
    assert!(set.mark.is_some() && set.kept, "{set:?}");
    let kept = machine.file("var/lib/homeward-apply/network.json");
    assert_eq!(
        fs::metadata(&kept).expect("kept").permissions().mode() & 0o777,
        0o600
    );
    // The kernel's rules go with the power; the unit sets them again.
    machine.run("nft", &["flush", "ruleset"]);
    machine.run("systemctl", &["start", "homeward-rules.service"]);
    let Answer::Network(again) = ask(&machine, &Request::SeeNetwork) else {
        panic!("not seen")
    };
    assert_eq!((again.points, again.mark), (set.points, set.mark));
    let Answer::Network(none) = ask(&machine, &Request::SetNetwork(None)) else {
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
    fs::copy(shop.root(), machine.file("tmp/1.root.json")).expect("the box takes it");
    let helper = "/usr/libexec/homeward/homeward-packages";
    machine.run(helper, &["--trust", "/tmp/1.root.json"]);
    let packages = Packages::new(machine.socket("packages"), shop.metadata(), clock());
    packages.stage(&job, &bundle).expect("staged");
    packages
        .activate(&job, window(Disruption::None))
        .expect("installed");
    let file = fs::metadata(machine.file("usr/share/hw-unit/version")).expect("installed");
    assert_eq!(file.permissions().mode() & 0o7777, 0o4755);
    assert_ne!(file.uid(), 0, "the user that the script made");
    let who = fs::read_to_string(machine.file("usr/share/hw-unit/who"));
    assert_eq!(who.expect("the script ran"), "hwunit\n");
    // What was not permitted did not happen, though the script asked for it.
    assert!(
        machine
            .run("systemctl", &["is-active", "homeward-look.socket"])
            .contains("active")
    );
    let own = fs::metadata(machine.file("var/lib/homeward-packages")).expect("its folder");
    assert_eq!((own.permissions().mode() & 0o777, own.uid()), (0o700, 0));
    let (_held, status) = held(&machine, "packages");
    assert_eq!((status.text("NoNewPrivs"), status.text("Seccomp")), ("1", "2"));
    for missing in [NET_ADMIN, PTRACE] {
        assert_eq!(status.rights("CapBnd") & missing, 0);
    }
}
