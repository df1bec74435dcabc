//! What a policy sets, for real: nftables in network namespaces, sshd as Debian has it, by the helper as it is installed.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests start programs and write files"
)]

use std::collections::BTreeSet;
use std::fs;
use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use homeward_agent::policy::ask::{Answer, Request, Table, Way};
use homeward_agent::policy::rules::{Needs, Network, Vital};
use homeward_agent::policy::sshd;
use homeward_agent::policy::standing::{Observed, Part, find};
use homeward_agent::policy::tighten::tightened;
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::check::check;
use homeward_protocol::policy::rules::{May, Sshd};
use homeward_protocol::policy::state::Standing;
use homeward_tests::netns::{Netns, Place, Running};
use homeward_tests::programs::{binary, finish};
use homeward_tests::shared;
use homeward_tests::sshd::Separation;

const LIMIT: Duration = Duration::from_mins(1);
/// The user that the agent is here.
const AGENT: u32 = 12345;

const DOCUMENT: &str = r#"
name = "a home in namespaces"
version = 1
issued = "2026-11-18T08:00:00Z"
expires = "2027-05-18T08:00:00Z"
on_expiry = "strict"
confirm_s = 240
audience = "all"
hazards = { h-1 = "Something speaks to the world through the box." }

[outbound]
hazard = "h-1"
fleet = ["203.0.113.1"]
flow = [{ name = "ntp", peer = "203.0.113.1", protocol = "udp", ports = ["123"] }]

[inbound]
hazard = "h-1"
flow = [{ name = "ssh", peer = "192.168.7.0/24", protocol = "tcp", ports = ["22"] }]

[devices]
hazard = "h-1"
apart_from = ["192.168.0.0/16"]

[[devices.device]]
name = "monitor"
address = "10.20.0.7"
flow = [
  { name = "clinic", peer = "198.51.100.9", protocol = "tcp", ports = ["5000"] },
  { name = "anywhere", peer = "0.0.0.0/0", protocol = "tcp", ports = ["7777"] },
]
"#;

fn policy() -> Policy {
    let checked = check(DOCUMENT);
    checked
        .policy
        .unwrap_or_else(|| panic!("{:#?}", checked.findings))
}

fn rules(policy: &Policy) -> Network {
    let needs = Needs {
        agent: AGENT,
        server_ports: vec![8883],
        vital: vec![Vital {
            peer: Some("10.20.0.7".parse().expect("a network")),
            port: 502,
        }],
        resolvers: Vec::new(),
    };
    Network::of(policy, &needs).expect("it rules the network")
}

fn set(home: &Netns, rules: Option<Network>) -> Table {
    match home.ask(&Request::SetNetwork(rules.map(Box::new)), &[]) {
        Answer::Network(table) => table,
        other => panic!("{other:?}"),
    }
}

fn seen(home: &Netns) -> Table {
    match home.ask(&Request::SeeNetwork, &[]) {
        Answer::Network(table) => table,
        other => panic!("{other:?}"),
    }
}

/// Counts the lines that come to a TCP port, and says how many there were once `wanted` have come.
const COUNT: &str = "
import socket, sys
s = socket.create_server((sys.argv[1], int(sys.argv[2])))
print('ready', flush=True)
wanted, count = int(sys.argv[3]), 0
while count < wanted:
    c, _ = s.accept()
    with c:
        data = c.makefile('rb')
        for line in data:
            count += 1
        c.close()
print(count, flush=True)
";

/// Sends so many readings, a hundred a connection.
const SEND: &str = "
import socket, sys
left = int(sys.argv[3])
while left:
    n = min(100, left)
    with socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=20) as c:
        c.sendall(b'reading\\n' * n)
    left -= n
";

/// Tries so many flows to random addresses and ports, half TCP and half UDP, and prints each.
const STRAY: &str = "
import random, socket, sys
random.seed(int(sys.argv[2]))
seen = set()
while len(seen) < int(sys.argv[1]):
    a = '%d.%d.%d.%d' % (random.randint(1, 126), random.randint(0, 255), random.randint(0, 255), random.randint(1, 254))
    if a.startswith('10.20.0.'):
        continue
    port = random.choice([p for p in (random.randint(1, 65535), 80, 443, 53, 5000) if p != 7777])
    udp = random.random() < 0.5
    if (a, port, udp) in seen:
        continue
    seen.add((a, port, udp))
    s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
    s.setblocking(False)
    try:
        if udp: s.sendto(b'x', (a, port))
        else: s.connect((a, port))
    except OSError:
        pass
    s.close()
    print(17 if udp else 6, a, port)
";

/// Whether a TCP connection can be made.
const REACH: &str = "
import os, socket, sys
'x'.encode('idna')
if len(sys.argv) > 3: os.setuid(int(sys.argv[3]))
try:
    socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=3).close()
    print('yes')
except OSError:
    print('no')
";

/// Takes connections on ports for ever.
const LISTEN: &str = "
import selectors, socket, sys
sel = selectors.DefaultSelector()
for port in sys.argv[1:]:
    s = socket.create_server(('', int(port)))
    sel.register(s, selectors.EVENT_READ)
print('ready', flush=True)
while True:
    for key, _ in sel.select():
        c, _ = key.fileobj.accept()
        c.close()
";

/// Answers each line over TCP, each datagram over UDP, and says something to everybody ten times a second.
const SPEAK: &str = "
import selectors, socket, sys, time
sel, peers, ports = selectors.DefaultSelector(), [], sys.argv[1:]
def add(s, what):
    s.setblocking(False)
    sel.register(s, selectors.EVENT_READ, what)
for port in ports:
    add(socket.create_server(('', int(port))), 'take')
    u = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    u.bind(('', int(port)))
    add(u, 'datagram')
print('ready', flush=True)
due = time.monotonic()
while True:
    for key, _ in sel.select(0.05):
        s = key.fileobj
        try:
            if key.data == 'take':
                c, _ = s.accept()
                add(c, 'line')
                peers.append(c.send)
            elif key.data == 'datagram':
                data, who = s.recvfrom(1000)
                s.sendto(b'answer ' + data, who)
                peers.append(lambda b, s=s, who=who: s.sendto(b, who))
            else:
                data = s.recv(1000)
                if data: s.send(b'answer ' + data)
                else: sel.unregister(s)
        except OSError:
            pass
    if time.monotonic() > due:
        due = time.monotonic() + 0.1
        for say in peers:
            try: say(b'by itself\\n')
            except OSError: pass
";

/// Holds a flow open. For each word: `go` sends a line and says whether it was answered, `hear` says whether anything
/// comes by itself.
const HOLD: &str = "
import os, socket, sys, time
'x'.encode('idna')
udp, address, port = sys.argv[1] == 'udp', sys.argv[2], int(sys.argv[3])
if len(sys.argv) > 4: os.setuid(int(sys.argv[4]))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM if udp else socket.SOCK_STREAM)
s.settimeout(10)
s.connect((address, port))
s.settimeout(0.1)
def come(word, limit):
    end, got = time.monotonic() + limit, b''
    while time.monotonic() < end:
        try: got += s.recv(65536)
        except OSError: time.sleep(0.05)
        if word in got: return True
    return False
count = 0
for word in sys.stdin:
    if word == 'go\\n':
        count += 1
        try: s.send(b'%d!\\n' % count)
        except OSError: pass
        good = come(b'answer %d!' % count, 3)
    else:
        come(b'nothing that is said', 0.3)
        good = come(b'by itself', 1.5)
    print('yes' if good else 'no', flush=True)
";

/// A flow that is held open.
struct Held {
    _running: Running,
    words: std::process::ChildStdin,
    said: BufReader<std::process::ChildStdout>,
}

impl Held {
    fn open(home: &Netns, place: Place, args: &[&str]) -> Held {
        use std::process::Stdio;
        let mut command = home.command(place, "python3");
        command
            .args(["-c", HOLD])
            .args(args)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let (words, said) = (child.stdin.take(), child.stdout.take());
        Held {
            _running: Running(child),
            words: words.expect("it was piped"),
            said: BufReader::new(said.expect("it was piped")),
        }
    }

    fn ask(&mut self, word: &str) {
        use std::io::Write as _;
        writeln!(self.words, "{word}").expect("it listens");
    }

    fn answer(&mut self) -> bool {
        let mut line = String::new();
        self.said.read_line(&mut line).expect("it speaks");
        line == "yes\n"
    }
}

fn python(home: &Netns, place: Place, script: &str, args: &[&str]) -> String {
    home.run(place, "python3", &[&["-c", script], args].concat())
}

/// Starts one that says that it is ready.
fn ready(
    home: &Netns,
    place: Place,
    script: &str,
    args: &[&str],
) -> (Running, BufReader<std::process::ChildStdout>) {
    let mut running = home.start(place, "python3", &[&["-c", script], args].concat());
    let mut lines = BufReader::new(running.0.stdout.take().expect("it was piped"));
    let mut line = String::new();
    lines.read_line(&mut line).expect("it speaks");
    assert_eq!(line, "ready\n");
    (running, lines)
}

fn reaches(home: &Netns, place: Place, address: &str, port: &str, user: Option<&str>) -> bool {
    let args: Vec<&str> = [address, port].into_iter().chain(user).collect();
    python(home, place, REACH, &args).trim() == "yes"
}

#[test]
fn a_thousand_forbidden_flows_are_stopped_and_told_and_of_ten_thousand_readings_none_is_lost() {
    let Some(home) = Netns::new("flows") else { return };
    set(&home, Some(rules(&policy())));
    let (_clinic, mut counted) = ready(&home, Place::World, COUNT, &["198.51.100.9", "5000", "10000"]);
    let sending = home.start(
        Place::Device,
        "python3",
        &["-c", SEND, "198.51.100.9", "5000", "10000"],
    );
    let tried = python(&home, Place::Device, STRAY, &["1000", "7"]);
    let tried: BTreeSet<String> = tried.lines().map(str::to_owned).collect();
    assert_eq!(tried.len(), 1000);
    let told: BTreeSet<String> = seen(&home)
        .stopped
        .into_iter()
        .filter(|stop| stop.way == Way::Through)
        .map(|stop| {
            assert_eq!(stop.from, Some("10.20.0.7".parse().expect("an address")));
            let to = stop.to.expect("a destination");
            format!("{} {to} {}", stop.protocol.unwrap_or(0), stop.port)
        })
        .collect();
    assert_eq!(told, tried, "each is told at its first packet");
    let mut count = String::new();
    counted.read_line(&mut count).expect("it speaks");
    assert_eq!(count, "10000\n");
    drop(sending);
}

#[test]
fn what_was_open_before_ends_when_it_is_not_allowed_and_lives_on_when_it_is() {
    let Some(home) = Netns::new("open") else { return };
    let (_world, _said) = ready(&home, Place::World, SPEAK, &["5000", "8883", "80", "9000"]);
    let (_box, _said) = ready(&home, Place::Box, SPEAK, &["22", "80"]);
    let (_sensor, _said) = ready(&home, Place::Device, SPEAK, &["502", "80"]);
    let agent = AGENT.to_string();
    // Whether it lives under the policy, and whether in isolation.
    let flows: [(Place, &[&str], bool, bool); 11] = [
        (Place::Box, &["tcp", "203.0.113.1", "8883", &agent], true, true),
        (Place::Box, &["tcp", "10.20.0.7", "502", &agent], true, true),
        (Place::Device, &["tcp", "198.51.100.9", "5000"], true, false),
        (Place::Household, &["tcp", "192.168.7.2", "22"], true, false),
        (Place::Box, &["tcp", "203.0.113.1", "8883"], false, false),
        (Place::Box, &["udp", "203.0.113.1", "9000"], false, false),
        (Place::Device, &["udp", "203.0.113.1", "9000"], false, false),
        (Place::Household, &["tcp", "192.168.7.2", "80"], false, false),
        (Place::World, &["udp", "203.0.113.2", "80"], false, false),
        (Place::World, &["tcp", "10.20.0.7", "80"], false, false),
        (Place::World, &["udp", "10.20.0.7", "80"], false, false),
    ];
    let mut held: Vec<Held> = flows
        .iter()
        .map(|(place, args, ..)| Held::open(&home, *place, args))
        .collect();
    let mut asked = |when: &str, may: [bool; 11]| {
        // All at once: each takes seconds.
        for word in ["go", "hear"] {
            for one in &mut held {
                one.ask(word);
            }
            for ((one, (place, args, ..)), may) in held.iter_mut().zip(flows).zip(may) {
                // Not even what comes without being asked for is heard, in the direction of answers. What only the agent
                // may ask for does come: a packet to the box has no user yet.
                let to_nobody = word == "hear" && place == Place::Box && args.len() == 3 && args[2] == "8883";
                let good = one.answer();
                assert!(good == may || to_nobody, "{when}: {place:?} {args:?} {word}");
            }
        }
    };
    asked("before", [true; 11]);
    set(&home, Some(rules(&policy())));
    asked("under the policy", flows.map(|flow| flow.2));
    set(&home, Some(rules(&tightened(Some(&policy())))));
    asked("isolated", flows.map(|flow| flow.3));
    // The last packets of a flow belong to no process any more: no stopped flow is told of them.
    let mine = |table: Table| {
        table
            .stopped
            .into_iter()
            .filter(|stop| stop.user == Some(AGENT))
            .count()
    };
    assert_eq!(mine(seen(&home)), 0);
    let closing = "
import os, socket, sys
'x'.encode('idna')
os.setuid(int(sys.argv[1]))
for _ in range(20):
    s = socket.create_connection(('203.0.113.1', 8883), timeout=5)
    s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    s.sendall(b'reading' * 20000)
    s.close()
print('sent')
";
    assert_eq!(python(&home, Place::Box, closing, &[&agent]), "sent\n");
    assert_eq!(mine(seen(&home)), 0);
}

#[test]
fn what_the_agent_sent_before_it_closed_arrives_whole() {
    let Some(home) = Netns::new("closed") else { return };
    set(&home, Some(rules(&tightened(Some(&policy())))));
    let (_server, mut counted) = ready(&home, Place::World, COUNT, &["203.0.113.1", "8883", "10000"]);
    let script = format!("import os, socket; 'x'.encode('idna'); os.setuid({AGENT})\n{SEND}");
    let sending = home.start(
        Place::Box,
        "python3",
        &["-c", &script, "203.0.113.1", "8883", "10000"],
    );
    let mut count = String::new();
    counted.read_line(&mut count).expect("it speaks");
    assert_eq!(count, "10000\n");
    drop(sending);
}

#[test]
fn the_household_stays_apart_and_each_reaches_only_what_is_listed() {
    let Some(home) = Netns::new("apart") else { return };
    let (_world, _said) = ready(&home, Place::World, LISTEN, &["5000", "7777", "8883", "80"]);
    let (_house, _said) = ready(&home, Place::Household, LISTEN, &["7777", "80"]);
    let (_box, _said) = ready(&home, Place::Box, LISTEN, &["22", "80"]);
    let (_sensor, _said) = ready(&home, Place::Device, LISTEN, &["502", "80"]);
    let agent = AGENT.to_string();
    let me = Some(agent.as_str());
    assert!(
        reaches(&home, Place::Device, "192.168.7.1", "80", None),
        "before, all is open"
    );
    set(&home, Some(rules(&policy())));
    let table = [
        (Place::Device, "198.51.100.9", "5000", None, true),
        (Place::Device, "203.0.113.1", "7777", None, true),
        (Place::Device, "192.168.7.1", "7777", None, false),
        (Place::Device, "192.168.7.1", "80", None, false),
        (Place::Device, "203.0.113.1", "80", None, false),
        (Place::Household, "10.20.0.7", "80", None, false),
        (Place::World, "10.20.0.7", "80", None, false),
        (Place::Household, "192.168.7.2", "22", None, true),
        (Place::Household, "192.168.7.2", "80", None, false),
        (Place::World, "203.0.113.2", "22", None, false),
        (Place::Box, "203.0.113.1", "8883", me, true),
        (Place::Box, "203.0.113.1", "8883", None, false),
        (Place::Box, "203.0.113.1", "80", me, false),
        (Place::Box, "10.20.0.7", "502", me, true),
        (Place::Box, "10.20.0.7", "502", None, false),
    ];
    for (place, address, port, user, may) in table {
        assert_eq!(
            reaches(&home, place, address, port, user),
            may,
            "{place:?} -> {address}:{port} as {user:?}"
        );
    }
    let stopped = seen(&home).stopped;
    let users: BTreeSet<Option<u32>> = stopped
        .iter()
        .filter(|stop| stop.way == Way::Out)
        .map(|stop| stop.user)
        .collect();
    assert_eq!(
        users,
        [Some(0), Some(AGENT)].into(),
        "a program of the box is told by its user"
    );
    // What looks like DHCP and is none passes for nobody.
    let stray = "
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
if len(sys.argv) > 1: s.bind(('', int(sys.argv[1])))
try: print(s.sendto(b'x', ('203.0.113.1', 67)))
except OSError: print('stopped')
";
    assert_eq!(python(&home, Place::Box, stray, &[]), "stopped\n");
    assert_eq!(python(&home, Place::Box, stray, &["68"]), "1\n");
    let told = seen(&home).stopped;
    assert!(
        told.iter().any(|stop| stop.way == Way::Out && stop.port == 67),
        "{told:?}"
    );
    // Isolated: what is vital stays, everything else ends.
    set(&home, Some(rules(&tightened(Some(&policy())))));
    for (place, address, port, user, may) in [
        (Place::Box, "203.0.113.1", "8883", me, true),
        (Place::Box, "10.20.0.7", "502", me, true),
        (Place::Device, "198.51.100.9", "5000", None, false),
        (Place::Household, "192.168.7.2", "22", None, false),
    ] {
        assert_eq!(
            reaches(&home, place, address, port, user),
            may,
            "isolated: {address}:{port}"
        );
    }
    set(&home, None);
    assert!(
        reaches(&home, Place::World, "203.0.113.2", "22", None),
        "taken away, all is as before"
    );
}

#[test]
fn a_change_by_hand_is_seen_by_its_point_and_other_tables_are_left_alone() {
    let Some(home) = Netns::new("drift") else { return };
    home.run(
        Place::Box,
        "nft",
        &["add table inet filter { chain mine { type filter hook input priority 0 ; } ; }"],
    );
    let before = set(&home, Some(rules(&policy())));
    assert_eq!(seen(&home).points, before.points);
    let document = policy();
    let how = |table: &Table, name: &str| {
        let points = document.points();
        let point = points
            .iter()
            .find(|point| point.id.to_string() == name)
            .expect("a point");
        let observed = Observed {
            network: Part::Said(Answer::Network(table.clone())),
            ..Observed::default()
        };
        find(point, &document, Some(&before.points), &observed).standing
    };
    for point in document.points() {
        let name = point.id.to_string();
        assert_eq!(how(&seen(&home), &name), Standing::Holds, "{name}");
    }
    home.run(
        Place::Box,
        "nft",
        &["insert rule inet homeward through ip daddr 198.51.100.1 accept"],
    );
    let after = seen(&home);
    assert_eq!(
        how(&after, "devices/others"),
        Standing::Drifted,
        "a rule that is nobody's"
    );
    assert_eq!(how(&after, "outbound/others"), Standing::Holds);
    home.run(
        Place::Box,
        "nft",
        &["insert rule inet homeward out accept comment \"outbound/flow/mine\""],
    );
    assert_eq!(
        how(&seen(&home), "outbound/others"),
        Standing::Drifted,
        "under a point's name"
    );
    assert_eq!(how(&seen(&home), "outbound/flow/ntp"), Standing::Holds);
    set(&home, Some(rules(&policy())));
    assert_eq!(seen(&home).points, before.points, "put back");
    home.run(Place::Box, "nft", &["flush chain inet homeward out"]);
    assert_eq!(how(&seen(&home), "outbound/fleet"), Standing::Drifted);
    home.run(Place::Box, "nft", &["delete table inet homeward"]);
    assert_eq!(seen(&home), Table::default());
    assert!(
        home.run(Place::Box, "nft", &["list tables"])
            .contains("inet filter")
    );
    // What uninstalling does, with folders of the machine that are its own.
    set(&home, Some(rules(&policy())));
    let postrm = shared::workspace().join("packaging/agent/debian/postrm");
    let removes = format!(
        "set -e; mount -t tmpfs tmpfs /var/lib; mkdir /var/lib/homeward-apply; \
         ! test -d /etc/ssh/sshd_config.d || mount -t tmpfs tmpfs /etc/ssh/sshd_config.d; \
         echo {{}} >/var/lib/homeward-apply/network.json; sh {} remove; ls /var/lib",
        postrm.display()
    );
    let left = home.run(Place::Box, "unshare", &["--mount", "sh", "-c", &removes]);
    assert_eq!(left, "", "nothing is set at the next start");
    assert_eq!(seen(&home), Table::default());
    assert!(
        home.run(Place::Box, "nft", &["list tables"])
            .contains("inet filter")
    );
}

/// Sets what was set last, as the start of the box does.
fn starts(home: &Netns) -> bool {
    let program = binary("homeward-apply");
    let mut command = home.command(Place::Box, &program.to_string_lossy());
    command.args(["--at-start", "--kept"]).arg(home.kept());
    finish(&mut command, b"", LIMIT).status.success()
}

/// What a power cut leaves of a box's rules.
fn power_cut(home: &Netns) {
    home.run(Place::Box, "nft", &["flush ruleset"]);
    assert!(seen(home).points.is_empty());
}

#[test]
fn the_start_of_the_box_sets_the_last_rules_before_anybody_asks_and_none_when_none_were_set() {
    let Some(home) = Netns::new("start") else { return };
    let (_world, _said) = ready(&home, Place::World, LISTEN, &["5000", "80"]);
    let allowed = |home: &Netns| {
        let to = |address, port| reaches(home, Place::Device, address, port, None);
        [to("198.51.100.9", "5000"), to("203.0.113.1", "80")]
    };
    assert!(starts(&home), "a box without a policy");
    assert_eq!(
        seen(&home),
        Table {
            kept: true,
            ..Table::default()
        }
    );
    let before = set(&home, Some(rules(&policy())));
    assert!(before.kept);
    power_cut(&home);
    assert_eq!(allowed(&home), [true, true]);
    assert!(starts(&home));
    let table = seen(&home);
    assert_eq!(
        (&table.points, &table.mark, table.kept),
        (&before.points, &before.mark, true)
    );
    assert_eq!(allowed(&home), [true, false]);
    // What is only tried is set, and the start of the box sets what was set to stay.
    let tried = home.ask(&Request::TryNetwork(None), &[]);
    assert_eq!(tried, Answer::Network(Table::default()), "not kept");
    assert!(starts(&home));
    let strict = Box::new(rules(&tightened(Some(&policy()))));
    let Answer::Network(tried) = home.ask(&Request::TryNetwork(Some(strict)), &[]) else {
        panic!("not set");
    };
    assert!(!tried.kept && tried.mark != before.mark && allowed(&home) == [false, false]);
    power_cut(&home);
    assert!(starts(&home));
    assert_eq!(allowed(&home), [true, false]);
    // Isolation, too; and lifted by taking all away.
    set(&home, Some(rules(&tightened(Some(&policy())))));
    power_cut(&home);
    assert!(starts(&home));
    assert_eq!(allowed(&home), [false, false]);
    set(&home, None);
    power_cut(&home);
    assert!(starts(&home));
    assert_eq!(allowed(&home), [true, true]);
    // What is kept was changed by hand: seen, and what is not whole is not set.
    set(&home, Some(rules(&policy())));
    let whole = fs::read(home.kept()).expect("kept");
    fs::write(home.kept(), &whole[..whole.len() / 2]).expect("our own folder");
    assert!(!seen(&home).kept);
    power_cut(&home);
    assert!(!starts(&home));
    assert_eq!(seen(&home).mark, None);
}

/// A tiny disk, for as long as it is in scope.
struct TinyDisk(std::path::PathBuf);

impl Drop for TinyDisk {
    fn drop(&mut self) {
        let _gone = Command::new("umount").arg(&self.0).status();
    }
}

#[test]
fn a_disk_that_is_full_while_applying_keeps_no_box_open_and_leaves_what_was_kept_before() {
    let Some(home) = Netns::new("full") else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let mount = ["-t", "tmpfs", "-o", "size=16k", "tmpfs"];
    let mounted = Command::new("mount").args(mount).arg(folder.path()).status();
    assert!(mounted.expect("mount").success());
    let disk = TinyDisk(folder.path().to_owned());
    let kept = folder.path().join("network.json").to_string_lossy().into_owned();
    let set = |rules: Network| match home.ask(&Request::SetNetwork(Some(Box::new(rules))), &["--kept", &kept])
    {
        Answer::Network(table) => table,
        other => panic!("{other:?}"),
    };
    let before = set(rules(&policy()));
    assert!(before.kept);
    let file = fs::read(&kept).expect("kept");
    fs::write(folder.path().join("ballast"), vec![0; 1 << 16]).expect_err("it is full");
    let isolated = set(rules(&tightened(Some(&policy()))));
    assert!(
        isolated.mark.is_some() && isolated.mark != before.mark,
        "in force"
    );
    assert!(!isolated.kept, "and said not to outlast the power");
    assert_eq!(fs::read(&kept).expect("kept"), file, "whole, as it was");
    fs::remove_file(folder.path().join("ballast")).expect("ours");
    assert!(set(rules(&tightened(Some(&policy())))).kept);
    drop(disk);
}

#[test]
fn rules_that_nft_refuses_leave_those_before_and_a_box_without_nft_says_so() {
    let Some(home) = Netns::new("half") else { return };
    let before = set(&home, Some(rules(&policy())));
    let folder = tempfile::tempdir().expect("a folder");
    // An nft that fails half-way: it is given the first half of its input.
    let half = folder.path().join("nft");
    let script = "#!/bin/sh\nif [ \"$2\" = list ]; then exec /usr/sbin/nft \"$@\"; fi\n/usr/bin/head -c 3000 | /usr/sbin/nft -j -f -\n";
    fs::write(&half, script).expect("our own folder");
    Command::new("chmod")
        .arg("755")
        .arg(&half)
        .status()
        .expect("chmod");
    let other = Request::SetNetwork(Some(Box::new(rules(&tightened(None)))));
    let answer = home.ask(&other, &["--nft", &half.to_string_lossy()]);
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    assert_eq!(seen(&home).points, before.points, "all or nothing");
    // One that does nothing, and says that all is well.
    let script = "#!/bin/sh\nif [ \"$2\" = list ]; then exec /usr/sbin/nft \"$@\"; fi\n";
    fs::write(&half, script).expect("our own folder");
    let answer = home.ask(&other, &["--nft", &half.to_string_lossy()]);
    assert!(matches!(answer, Answer::Failed(_)), "{answer:?}");
    let answer = home.ask(&other, &["--nft", "/nonexistent/nft"]);
    assert!(
        matches!(&answer, Answer::NotHere(why) if why.contains("nft")),
        "{answer:?}"
    );
    let answer = home.ask(&Request::SetNetwork(None), &["--nft", "/nonexistent/nft"]);
    assert!(
        matches!(answer, Answer::Network(_)),
        "nothing to take away: {answer:?}"
    );
}

/// A folder with an sshd's files, and the helper's arguments for it.
fn sshd_of(folder: &Path, main: &str) -> Vec<String> {
    let drop_ins = folder.join("sshd_config.d");
    fs::create_dir_all(&drop_ins).expect("our own folder");
    let key = folder.join("key");
    if !key.exists() {
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "ed25519", "-N", "", "-f"])
            .arg(&key)
            .status();
        assert!(made.expect("ssh-keygen").success());
    }
    let config = folder.join("sshd_config");
    let include = format!(
        "Include {}/*.conf\nHostKey {}\n{main}\n",
        drop_ins.display(),
        key.display()
    );
    fs::write(&config, include).expect("our own folder");
    let text = |path: &Path| path.to_string_lossy().into_owned();
    vec![
        "--sshd-config".into(),
        text(&config),
        "--sshd-folder".into(),
        text(&drop_ins),
        "--sshd-pid".into(),
        text(&folder.join("no-pid")),
    ]
}

fn ask_here(request: &Request, args: &[String]) -> Answer {
    use std::io::{Read as _, Write as _};
    let (mut ours, its) = std::os::unix::net::UnixStream::pair().expect("a pair");
    let mut command = Command::new(binary("homeward-apply"));
    command.args(args).stdin(std::os::fd::OwnedFd::from(its));
    let mut child = command.spawn().expect("it starts");
    drop(command);
    let mut line = serde_json::to_vec(request).expect("a request");
    line.push(b'\n');
    ours.write_all(&line).expect("it listens");
    let mut answer = String::new();
    ours.read_to_string(&mut answer).expect("it answers");
    child.wait().expect("it ends");
    serde_json::from_str(&answer).unwrap_or_else(|e| panic!("{e}: {answer}"))
}

/// A real sshd that can be asked, or nothing, said aloud.
fn an_sshd() -> Option<Separation> {
    shared::debian("sshd", "openssh-server")?;
    if !rustix::process::geteuid().is_root() {
        shared::missing("root", "sshd -T reads its host keys as root");
        return None;
    }
    Separation::hold()
}

fn sshd_rule() -> Sshd {
    let text = include_str!("../../protocol/tests/policies/every-rule.toml");
    check(text).policy.and_then(|policy| policy.sshd).expect("ruled")
}

#[test]
fn sshd_is_set_read_back_and_a_setting_that_it_refuses_leaves_the_file_before() {
    let Some(_there) = an_sshd() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let args = sshd_of(folder.path(), "PasswordAuthentication yes");
    let rule = sshd_rule();
    let Answer::Sshd(seen) = ask_here(&Request::SetSshd(Some(rule.clone())), &args) else {
        panic!("not set")
    };
    for (_, item) in sshd::SETTINGS {
        let (said, holds) = sshd::observed(&rule, item, &seen);
        assert!(holds, "{item}: {said}");
    }
    let file = folder.path().join("sshd_config.d/00-homeward.conf");
    let before = fs::read_to_string(&file).expect("our file");
    // A main file that sshd refuses: what is written makes no difference, and what was there stands again.
    let broken = sshd_of(folder.path(), "NoSuchSetting yes");
    let other = Sshd {
        max_auth_tries: Some(9),
        ..rule.clone()
    };
    let answer = ask_here(&Request::SetSshd(Some(other)), &broken);
    assert!(
        matches!(&answer, Answer::Failed(why) if why.contains("NoSuchSetting")),
        "{answer:?}"
    );
    assert_eq!(fs::read_to_string(&file).expect("our file"), before);
    // Somebody's own file that comes first: seen as drift.
    let args = sshd_of(folder.path(), "");
    fs::write(
        folder.path().join("sshd_config.d/00-a.conf"),
        "PasswordAuthentication yes\n",
    )
    .expect("written");
    let Answer::Sshd(seen) = ask_here(&Request::SeeSshd, &args) else {
        panic!("not seen")
    };
    assert!(!sshd::observed(&rule, "password-login", &seen).1);
    let answer = ask_here(&Request::SetSshd(None), &args);
    assert!(matches!(answer, Answer::Sshd(_)) && !file.exists(), "{answer:?}");
    // A box that is stricter by itself stays so, whatever it is asked for.
    fs::remove_file(folder.path().join("sshd_config.d/00-a.conf")).expect("ours");
    let strict = "PasswordAuthentication no\nPermitRootLogin no\nMaxAuthTries 2\nAllowUsers nurse\nAllowTcpForwarding no";
    let args = sshd_of(folder.path(), strict);
    let open = Sshd {
        password_login: Some(May::Yes),
        tcp_forwarding: Some(May::Yes),
        max_auth_tries: Some(9),
        ..rule.clone()
    };
    let Answer::Sshd(by_itself) = ask_here(&Request::SeeSshd, &args) else {
        panic!("not seen")
    };
    for _ in 0..2 {
        let Answer::Sshd(seen) = ask_here(&Request::SetSshd(Some(open.clone())), &args) else {
            panic!("not set")
        };
        let kept = [
            "passwordauthentication",
            "permitrootlogin",
            "maxauthtries",
            "allowusers",
            "allowtcpforwarding",
        ];
        for name in kept {
            assert_eq!(seen.get(name), by_itself.get(name), "{name}");
        }
    }
    let none_left = ask_here(&Request::SetSshd(None), &args);
    assert!(matches!(none_left, Answer::Sshd(_)) && !file.exists());
}

#[test]
fn an_sshd_that_ends_instead_of_reading_its_files_leaves_those_before_and_a_box_without_one_says_so() {
    let Some(_there) = an_sshd() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let args = sshd_of(folder.path(), "PasswordAuthentication yes");
    let file = folder.path().join("sshd_config.d/00-homeward.conf");
    let rule = sshd_rule();
    // An sshd that is not told of its new file has not got it.
    let pid = folder.path().join("pid");
    fs::write(&pid, "0x").expect("written");
    let told = [
        &args[..],
        &["--sshd-pid".into(), pid.to_string_lossy().into_owned()],
    ]
    .concat();
    assert!(matches!(
        ask_here(&Request::SetSshd(Some(rule.clone())), &told),
        Answer::Sshd(_)
    ));
    let before = fs::read_to_string(&file).ok();
    // One that ends instead of reading its files again: what was there before stands again.
    let mut ends = Running(Command::new("sleep").arg("600").spawn().expect("it starts"));
    fs::write(&pid, ends.0.id().to_string()).expect("written");
    let closed = Sshd {
        max_auth_tries: Some(1),
        ..rule.clone()
    };
    let answer = ask_here(&Request::SetSshd(Some(closed)), &told);
    assert!(
        matches!(&answer, Answer::Failed(why) if why.contains("it ended when it was told")),
        "{answer:?}"
    );
    assert_eq!(fs::read_to_string(&file).ok(), before);
    assert!(ends.0.try_wait().expect("ours").is_some());
    let none: Vec<String> = [&args[..], &["--sshd".into(), "/nonexistent".into()]].concat();
    let answer = ask_here(&Request::SetSshd(Some(rule)), &none);
    assert!(
        matches!(&answer, Answer::NotHere(why) if why.contains("sshd")),
        "{answer:?}"
    );
}

#[test]
fn what_is_no_request_is_not_answered_and_nothing_is_waited_for_long() {
    use std::io::{Read as _, Write as _};
    for bytes in [
        &b"\n"[..],
        b"{}\n",
        b"{\"set-network\":{\"table\":\"filter\"}}\n",
        &[0xff; 64],
    ] {
        let (mut ours, its) = std::os::unix::net::UnixStream::pair().expect("a pair");
        let mut command = Command::new(binary("homeward-apply"));
        command
            .stdin(std::os::fd::OwnedFd::from(its))
            .stderr(std::process::Stdio::null());
        let mut child = command.spawn().expect("it starts");
        drop(command);
        let begun = Instant::now();
        let _ = ours.write_all(bytes);
        let mut answer = Vec::new();
        let _ = ours.read_to_end(&mut answer);
        assert!(answer.is_empty() && !child.wait().expect("it ends").success());
        assert!(begun.elapsed() < LIMIT);
    }
    let help = finish(
        Command::new(binary("homeward-agent")).args(["policy", "--help"]),
        b"",
        LIMIT,
    );
    assert!(help.stdout.contains("plan") && help.stdout.contains("show"));
}
