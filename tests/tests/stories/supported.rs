//! A person of the provider on a box, for a ticket and a time: by ssh through the two programs, as the policy allows, and
//! never longer than the box's own clock says, whatever becomes of the server.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use homeward_tests::console::Person;
use homeward_tests::homes::Home;
use homeward_tests::programs::{Program, binary, finish, wait_for};
use homeward_tests::shared;
use homeward_tests::sshd::Separation;
use rustix::process::Signal;
use serde_json::Value;

use super::policies::{People, document};
use super::stage::{PASSWORD, PLAIN, SOON, Stage, all_arrived};

const LIMIT: Duration = Duration::from_mins(1);
/// What a tunnel may carry in a second, and at once (agent/support/share).
const RATE: u64 = 256 * 1024;
const BURST: u64 = 16 * 1024;

/// A stage with a home whose policy allows tunnels to these ports, for ten minutes.
async fn house(ports: &[u16]) -> (Stage, People, Home) {
    let stage = Stage::new();
    let people = People::new(&stage.fleet.dir().join("ca/root-1.key"));
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(2);
    allow(&stage, &people, 7, ports);
    (stage, people, home)
}

fn allow(stage: &Stage, people: &People, version: u64, ports: &[u16]) {
    let ports: Vec<String> = ports.iter().map(|port| format!("\"{port}\"")).collect();
    let ports = ports.join(", ");
    let tunnel = if ports.is_empty() { "no" } else { "yes" };
    let rules =
        format!("[support]\nhazard = \"h-1\"\ntunnel = \"{tunnel}\"\nmax_minutes = 10\nports = [{ports}]\n");
    let papers = people.signed(&format!("v{version}"), &document(version, &rules));
    stage.fleet.run(&["policy", "load", &papers]).ok();
    stage
        .fleet
        .run(&["policy", "assign", &version.to_string(), "--all"])
        .ok();
    wait_for("the policy to hold", SOON, || {
        let one = stage.fleet.json(&["gateway", "list"]);
        let gateway = one[0]["id"].as_str()?.to_owned();
        let told = stage.fleet.json(&["policy", "status", "--gateway", &gateway]);
        (told["holds"] == version && told["progress"] == "applied").then_some(())
    });
}

fn open(stage: &Stage, gateway: &str, port: u16) {
    let port = port.to_string();
    stage
        .fleet
        .run(&[
            "gateway",
            "support",
            "open",
            gateway,
            "--ticket",
            "INC-4711",
            "--minutes",
            "5",
            "--reason",
            "the scale reports nothing",
            "--port",
            &port,
        ])
        .ok();
}

fn newest(stage: &Stage, gateway: &str) -> Value {
    stage.fleet.json(&["gateway", "support", "list", gateway])[0].clone()
}

fn stands(stage: &Stage, gateway: &str, how: &str) -> Value {
    wait_for(&format!("the session to be {how}"), SOON, || {
        let newest = newest(stage, gateway);
        (newest["stands"] == how).then_some(newest)
    })
}

fn token(stage: &Stage) -> PathBuf {
    let made = stage
        .fleet
        .json(&["token", "new", "desk", "--scope", "support:open"]);
    let file = stage.path().join("token");
    fs::write(&file, made["token"].as_str().expect("a token")).expect("our own folder");
    file
}

/// `gateway support connect`, as a person runs it.
fn connect(stage: &Stage, gateway: &str, token: &Path) -> Command {
    let mut command = Command::new(binary("homeward-fleet"));
    command.args(["gateway", "support", "connect", gateway, "--server"]);
    command.arg(format!("localhost:{}", stage.fleet.port("console")));
    command.arg("--roots").arg(stage.fleet.dir().join("ca/root.crt"));
    command.arg("--token-file").arg(token);
    command
}

fn start(command: &mut Command) -> Child {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command.spawn().expect("homeward-fleet starts")
}

/// What the box itself says: `homeward-agent support status`.
fn on_the_box(home: &Home) -> Value {
    let said = home.agent.command_ended(&["--json", "support", "status"]).ok();
    serde_json::from_str(&said).expect("JSON")
}

/// A real sshd on a loopback port, for the key in `folder`.
fn sshd(folder: &Path) -> Option<(Program, u16)> {
    let program = shared::debian("sshd", "openssh-server")?;
    let here = |name: &str| folder.join(name).to_str().expect("text").to_owned();
    for key in ["host", "person"] {
        let mut make = Command::new("ssh-keygen");
        make.args(["-q", "-t", "ed25519", "-N", "", "-f", &here(key)]);
        finish(&mut make, b"", LIMIT).ok();
    }
    fs::copy(folder.join("person.pub"), folder.join("authorized")).expect("our own folder");
    let port = free_port();
    let config = format!(
        "Port {port}\nListenAddress 127.0.0.1\nHostKey {}\nAuthorizedKeysFile {}\nStrictModes no\nUsePAM no\n\
         PasswordAuthentication no\nPermitRootLogin prohibit-password\nPidFile none\n",
        here("host"),
        here("authorized")
    );
    fs::write(folder.join("sshd_config"), config).expect("our own folder");
    let mut command = Command::new(program);
    command.args(["-D", "-e", "-f", &here("sshd_config")]);
    let mut sshd = Program::start("sshd", &mut command);
    sshd.wait_line("Server listening", SOON);
    Some((sshd, port))
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address").port()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ssh_comes_through_as_the_policy_allows_and_both_sides_record_it() {
    let folder = tempfile::tempdir().expect("a folder");
    // Where root starts it, it wants a place for its children.
    let _there = Separation::hold();
    let Some((_sshd, port)) = sshd(folder.path()) else {
        return;
    };
    let (mut stage, people, mut home) = house(&[port]).await;
    let gateway = home.gateway.to_string();
    let token = token(&stage);
    // What the policy does not name is refused by the box.
    open(&stage, &gateway, port - 1);
    let refused = stands(&stage, &gateway, "refused");
    assert!(
        refused["said"]
            .as_str()
            .is_some_and(|said| said.contains("no tunnel to this port")),
        "{refused}"
    );
    let said = finish(&mut connect(&stage, &gateway, &token), b"", LIMIT).failed();
    assert!(
        said.contains("no support session of this gateway is open"),
        "{said}"
    );

    open(&stage, &gateway, port);
    stands(&stage, &gateway, "open");
    let status = home.agent.command_ended(&["status"]).ok();
    assert!(
        status.contains("a session is open: command line, ticket INC-4711"),
        "{status}"
    );
    let known = folder.path().join("known_hosts");
    let host = fs::read_to_string(folder.path().join("host.pub")).expect("a key");
    fs::write(&known, format!("the-box {host}")).expect("our own folder");
    let proxy = connect(&stage, &gateway, &token);
    let words: Vec<String> = std::iter::once(proxy.get_program())
        .chain(proxy.get_args())
        .map(|word| word.to_str().expect("text").to_owned())
        .collect();
    // Twice: a link is for one connection, a session for as many as fit into its time.
    for word in ["one", "two"] {
        let mut ssh = Command::new("ssh");
        ssh.arg("-o").arg(format!("ProxyCommand={}", words.join(" ")));
        ssh.arg("-o")
            .arg(format!("UserKnownHostsFile={}", known.display()));
        ssh.args([
            "-o",
            "BatchMode=yes",
            "-o",
            "StrictHostKeyChecking=yes",
            "-o",
            "LogLevel=ERROR",
        ]);
        ssh.arg("-i").arg(folder.path().join("person"));
        ssh.args(["-l", "root", "the-box", "echo", word]);
        assert_eq!(finish(&mut ssh, b"", LIMIT).ok().trim(), word);
    }
    // A policy that allows it no more ends it.
    allow(&stage, &people, 8, &[]);
    let ended = stands(&stage, &gateway, "ended");
    assert_eq!(ended["ended"]["cause"], "policy", "{ended}");
    let moved = &ended["ended"]["moved"];
    assert!(
        moved["links"] == 2
            && moved["in_bytes"].as_u64() > Some(1000)
            && moved["out_bytes"].as_u64() > Some(1000),
        "{ended}"
    );
    let trail = |action: &str| {
        stage.number(&format!(
            "SELECT count(*) FROM audit WHERE action = 'support-{action}'"
        ))
    };
    assert_eq!(
        ["asked", "refused", "opened", "connected", "left", "ended"].map(trail),
        [2, 1, 1, 2, 2, 1]
    );
    let past = on_the_box(&home);
    assert!(
        past["open"].is_null() && past["past"].as_array().is_some_and(|past| past.len() == 3),
        "{past}"
    );
    home.agent.stop();
    stage.fleet.stop();
}

/// A session of some seconds, asked for over the API, as a program of the provider does.
fn open_for(stage: &Stage, gateway: &str, port: u16, seconds: u32, token: &Path) {
    let Some(curl) = shared::debian("curl", "curl") else {
        return;
    };
    let mut ask = Command::new(curl);
    ask.args(["--silent", "--show-error", "--fail-with-body", "--cacert"]);
    ask.arg(stage.fleet.dir().join("ca/root.crt"));
    let token = fs::read_to_string(token).expect("a token");
    ask.args(["-H", &format!("Authorization: Bearer {token}")]);
    ask.args(["-H", "Content-Type: application/json"]);
    let body =
        format!("{{\"ticket\":\"INC-1\",\"reason\":\"a test\",\"port\":{port},\"lasts_s\":{seconds}}}");
    ask.args(["-d", &body]);
    let console = stage.fleet.port("console");
    ask.arg(format!(
        "https://localhost:{console}/api/v1/gateways/{gateway}/support/open"
    ));
    finish(&mut ask, b"", LIMIT).ok();
}

/// Connects, and gives both ends: the person's, and what the box connected to.
fn joined(stage: &Stage, gateway: &str, token: &Path, service: &TcpListener) -> (Child, TcpStream) {
    let mut person = start(&mut connect(stage, gateway, token));
    let (mut box_end, _) = service.accept().expect("the box connects");
    box_end.set_read_timeout(Some(LIMIT)).expect("a limit");
    let mut to_box = person.stdin.take().expect("a pipe");
    to_box.write_all(b"ping").expect("takes it");
    to_box.flush().expect("takes it");
    let mut said = [0; 4];
    box_end.read_exact(&mut said).expect("it comes through");
    assert_eq!(&said, b"ping");
    box_end.write_all(b"pong").expect("takes it");
    let from_box = person.stdout.as_mut().expect("a pipe");
    from_box.read_exact(&mut said).expect("it comes back");
    assert_eq!(&said, b"pong");
    person.stdin = Some(to_box);
    (person, box_end)
}

/// Waits for the box to close its end; how long that took.
fn closes(box_end: &mut TcpStream) -> Duration {
    let from = Instant::now();
    let mut rest = Vec::new();
    // Closed or reset: both are an end.
    let _how = box_end.read_to_end(&mut rest);
    from.elapsed()
}

/// Takes the nine seconds that a session lasts here.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tunnel_closes_by_the_boxs_clock_with_the_server_frozen_and_dead() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = service.local_addr().expect("an address").port();
    let (mut stage, _people, mut home) = house(&[port]).await;
    let gateway = home.gateway.to_string();
    let token = token(&stage);
    let asked = Instant::now();
    open_for(&stage, &gateway, port, 9, &token);
    stands(&stage, &gateway, "open");
    let (mut person, mut box_end) = joined(&stage, &gateway, &token, &service);
    // The server stands still: its sockets stay, and nobody tells the box anything.
    stage.fleet.program().signal(Signal::STOP);
    closes(&mut box_end);
    let after = asked.elapsed();
    assert!(
        after >= Duration::from_secs(8) && after < Duration::from_secs(9) + SOON,
        "{after:?}"
    );
    stage.fleet.kill();
    let _ended = person.wait();
    let past = on_the_box(&home);
    assert!(past["open"].is_null(), "{past}");
    // What became of it reaches the server that comes back.
    stage.fleet.serve(&PLAIN);
    let ended = stands(&stage, &gateway, "ended");
    assert_eq!(ended["ended"]["cause"], "expired", "{ended}");
    assert_eq!(ended["ended"]["moved"]["in_bytes"], 4, "{ended}");
    let lasted = ended["ended"]["lasted_s"].as_u64();
    assert!(lasted >= Some(9) && lasted <= Some(11), "{ended}");
    let who = "SELECT count(*) FROM audit WHERE action = 'support-ended' AND actor = subject";
    assert_eq!(stage.number(who), 1, "the box is who says so");

    // Killed at once: the link is gone with it, and the session all the same at its time.
    open_for(&stage, &gateway, port, 9, &token);
    stands(&stage, &gateway, "open");
    stage.fleet.kill();
    assert!(!on_the_box(&home)["open"].is_null());
    wait_for("the box to end it by itself", SOON, || {
        on_the_box(&home)["open"].is_null().then_some(())
    });
    let past = on_the_box(&home);
    let last = past["past"].as_array().and_then(|past| past.last().cloned());
    let last = last.expect("a record");
    assert_eq!(last["became"]["ended"]["cause"], "expired", "{past}");
    stage.fleet.serve(&PLAIN);
    stage.more_readings(2);
    all_arrived(&home);
    home.agent.stop();
    stage.fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_is_at_the_box_or_the_console_ends_it_and_a_restart_does() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = service.local_addr().expect("an address").port();
    let (mut stage, _people, mut home) = house(&[port]).await;
    stage.operator("olivia");
    let gateway = home.gateway.to_string();
    let token = token(&stage);
    let Some(olivia) = Person::at(&stage.fleet, stage.path(), "olivia") else {
        return;
    };
    let olivia = olivia.signed_in("olivia", PASSWORD);
    let page = format!("/gateways/{gateway}");
    let csrf = || homeward_tests::console::csrf(&olivia.get(&page).text).to_owned();
    let ask = |password: &str| {
        let port = port.to_string();
        let csrf = csrf();
        let fields = [
            ("csrf", csrf.as_str()),
            ("ticket", "INC-4711"),
            ("reason", "silent"),
            ("minutes", "10"),
            ("port", &port),
            ("password", password),
        ];
        olivia.post(&format!("{page}/support/open"), &fields).status
    };
    // An open console is not enough.
    assert_eq!(ask("not-the-password-at-all"), 422);
    assert_eq!(stage.number("SELECT count(*) FROM support_sessions"), 0);

    // At the box.
    assert_eq!(ask(PASSWORD), 303);
    stands(&stage, &gateway, "open");
    // In use: from the far end comes what it can.
    let (mut person, mut box_end) = joined(&stage, &gateway, &token, &service);
    let mut to_box = person.stdin.take().expect("a pipe");
    let piece = vec![b'x'; 65536];
    let flood = std::thread::spawn(move || while to_box.write_all(&piece).is_ok() {});
    let said = home.agent.command_ended(&["support", "end"]).ok();
    assert!(said.contains("No support session is open on this box"), "{said}");
    assert!(closes(&mut box_end) < SOON);
    let _ended = person.wait();
    flood.join().expect("ended");
    assert_eq!(stands(&stage, &gateway, "ended")["ended"]["cause"], "local");
    assert!(
        olivia
            .get("/support")
            .text
            .contains("somebody ended it at the box")
    );

    // At the console, and not a byte more than the tunnel's share while it is flooded; readings go on.
    assert_eq!(ask(PASSWORD), 303);
    stands(&stage, &gateway, "open");
    let (mut person, box_end) = joined(&stage, &gateway, &token, &service);
    let (from, before) = (Instant::now(), stage.readings());
    let flood = std::thread::spawn(move || {
        let mut box_end = box_end;
        let (piece, mut sent) = (vec![b'x'; 65536], 0u64);
        while let Ok(count) = box_end.write(&piece) {
            sent += count as u64;
        }
        sent
    });
    let mut out = person.stdout.take().expect("a pipe");
    let reading = std::thread::spawn(move || {
        let (mut piece, mut sum) = (vec![0; 65536], 0u64);
        while let Ok(count @ 1..) = out.read(&mut piece) {
            sum += count as u64;
        }
        sum
    });
    wait_for("readings to come through beside it", SOON, || {
        (stage.readings() >= before + 30).then_some(())
    });
    let end = [("csrf", csrf()), ("reason", "done".to_owned())];
    let end: Vec<(&str, &str)> = end.iter().map(|(name, value)| (*name, value.as_str())).collect();
    assert_eq!(olivia.post(&format!("{page}/support/end"), &end).status, 303);
    let came = reading.join().expect("ended");
    let most = RATE * (from.elapsed().as_secs() + 1) + 2 * BURST;
    assert!(came > RATE && came <= most, "{came} bytes, at most {most}");
    assert!(flood.join().expect("ended") >= came, "it was flooded");
    let _ended = person.wait();
    assert_eq!(stands(&stage, &gateway, "ended")["ended"]["cause"], "ordered");

    // With the agent. The order, which may come again, opens nothing.
    assert_eq!(ask(PASSWORD), 303);
    stands(&stage, &gateway, "open");
    let (mut person, mut box_end) = joined(&stage, &gateway, &token, &service);
    home.agent.kill();
    assert!(closes(&mut box_end) < SOON);
    let _ended = person.wait();
    home.run();
    let ended = stands(&stage, &gateway, "ended");
    assert_eq!(ended["ended"]["cause"], "restarted", "{ended}");
    assert!(ended["ended"]["moved"].is_null(), "nobody counted: {ended}");
    stage.more_readings(2);
    assert!(on_the_box(&home)["open"].is_null());
    home.agent.stop();
    stage.fleet.stop();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_or_a_certificate_taken_back_cuts_what_is_open_and_each_end_is_in_the_trail() {
    let service = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = service.local_addr().expect("an address").port();
    let (mut stage, _people, mut home) = house(&[port]).await;
    let gateway = home.gateway.to_string();
    open(&stage, &gateway, port);
    stands(&stage, &gateway, "open");
    let trail = |stage: &Stage, action: &str| {
        let who = format!("SELECT count(*) FROM audit WHERE action = 'support-{action}'");
        stage.number(&who)
    };
    let left = |stage: &Stage, count: i64| {
        wait_for("everybody to be told as gone", SOON, || {
            (trail(stage, "left") == count).then_some(())
        });
        assert_eq!(trail(stage, "connected"), count);
    };

    // The token.
    let made = token(&stage);
    let (mut person, mut box_end) = joined(&stage, &gateway, &made, &service);
    let listed = stage.fleet.json(&["token", "list"]);
    assert_eq!(listed[0]["stands"], true, "{listed}");
    let id = listed[0]["id"].as_str().expect("an id").to_owned();
    stage.fleet.run(&["token", "revoke", &id]).ok();
    assert!(closes(&mut box_end) < SOON);
    let _ended = person.wait();
    left(&stage, 1);
    let said = finish(&mut connect(&stage, &gateway, &made), b"", LIMIT).failed();
    assert!(!said.is_empty());
    assert_eq!(stage.fleet.json(&["token", "list"])[0]["stands"], false);
    assert_eq!(
        newest(&stage, &gateway)["stands"],
        "open",
        "for others it still is"
    );

    // The server, asked to stop; and killed.
    let made = token(&stage);
    for (kill, count) in [(false, 2), (true, 3)] {
        let (mut person, mut box_end) = joined(&stage, &gateway, &made, &service);
        if kill {
            stage.fleet.kill();
        } else {
            stage.fleet.stop();
            assert_eq!(trail(&stage, "left"), count, "before it has stopped");
        }
        closes(&mut box_end);
        let _ended = person.wait();
        stage.fleet.serve(&PLAIN);
        left(&stage, count);
    }
    let unknown =
        "SELECT count(*) FROM audit WHERE action = 'support-left' AND detail LIKE '%amount unknown%'";
    assert_eq!(stage.number(unknown), 1);

    // The box's certificate, under which its link stands.
    let (mut person, mut box_end) = joined(&stage, &gateway, &made, &service);
    let shown = stage.fleet.json(&["gateway", "show", &gateway]);
    let serial = shown["certificates"][0]["serial"]
        .as_str()
        .expect("a number")
        .to_owned();
    stage
        .fleet
        .run(&["ca", "revoke", &serial, "--reason", "the key was copied"])
        .ok();
    assert!(closes(&mut box_end) < SOON);
    let _ended = person.wait();
    left(&stage, 4);
    home.agent.stop();
    stage.fleet.stop();
}
