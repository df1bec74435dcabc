//! The programs as services: what they tell systemd, how they stop, and what only their own machine may ask.

use std::ffi::OsString;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::time::{Duration, Instant};

use homeward_tests::console::Person;
use homeward_tests::programs::wait_for;

use super::stage::{PLAIN, SOON, Stage};

/// The promise.
const STOPS_WITHIN: Duration = Duration::from_secs(5);

/// A systemd that listens, and wants a sign of life within half a second.
struct Manager(UnixDatagram, Vec<(OsString, OsString)>);

impl Manager {
    fn new(path: &Path) -> Manager {
        let socket = UnixDatagram::bind(path).expect("a socket");
        socket.set_nonblocking(true).expect("a socket");
        let environment = vec![
            ("NOTIFY_SOCKET".into(), path.into()),
            ("WATCHDOG_USEC".into(), "500000".into()),
        ];
        Manager(socket, environment)
    }

    fn hears(&self, word: &str) {
        let mut heard = [0; 256];
        wait_for(&format!("systemd to hear {word}"), SOON, || {
            let size = self.0.recv(&mut heard).ok()?;
            let said = String::from_utf8_lossy(heard.get(..size)?).into_owned();
            said.lines().any(|line| line == word).then_some(())
        });
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn both_programs_tell_systemd_how_they_are_and_stop_within_five_seconds() {
    let mut stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    stage.fleet.stop();
    let manager = Manager::new(&stage.path().join("fleet.notify"));
    stage.fleet.surround(&manager.1);
    stage.fleet.serve(&PLAIN);
    for word in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        manager.hears(word);
    }
    let box_manager = Manager::new(&stage.path().join("box.notify"));
    home.agent.surround(&box_manager.1);
    home.run();
    for word in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
        box_manager.hears(word);
    }
    stage.more_readings(4);

    let asked = Instant::now();
    assert!(home.agent.stop().success());
    assert!(asked.elapsed() < STOPS_WITHIN, "{:?}", asked.elapsed());
    box_manager.hears("STOPPING=1");
    home.run();
    stage.more_readings(4);
    // With a gateway on the line and somebody half in a request.
    let _half = TcpStream::connect(("127.0.0.1", stage.fleet.port("console"))).expect("it listens");
    let asked = Instant::now();
    assert!(stage.fleet.stop().success());
    assert!(asked.elapsed() < STOPS_WITHIN, "{:?}", asked.elapsed());
    manager.hears("STOPPING=1");
}

pub(crate) fn ask(port: u16, path: &str) -> String {
    let mut line = TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    line.set_read_timeout(Some(SOON)).expect("a limit can be set");
    let request = format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    line.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    // A TLS listener hangs up on plain text.
    let _ = line.read_to_string(&mut answer);
    answer
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_own_machine_may_ask_for_health_and_metrics() {
    let stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(4);
    let local = stage.fleet.port("local");
    for path in ["/livez", "/readyz", "/metrics"] {
        let answer = ask(local, path);
        assert!(answer.starts_with("HTTP/1.1 200"), "{path}: {answer}");
    }
    let metrics = ask(local, "/metrics");
    assert!(metrics.contains("homeward_envelopes_total"), "{metrics}");
    assert!(metrics.contains("homeward_readings_total"), "{metrics}");
    for other in ["gate", "enrol", "renewal", "console"] {
        let answer = ask(stage.fleet.port(other), "/metrics");
        assert!(!answer.contains("homeward_"), "{other}: {answer}");
    }
    if let Some(someone) = Person::at(&stage.fleet, stage.path(), "someone") {
        for path in ["/livez", "/readyz", "/metrics"] {
            assert_eq!(someone.get(path).status, 404, "{path} on the console");
        }
    }
    let config = stage.fleet.dir().join("fleet.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let open = text.replace("local = \"127.0.0.1:", "local = \"0.0.0.0:");
    assert_ne!(open, text);
    std::fs::write(&config, open).expect("the story's folder");
    let said = stage.fleet.run(&["serve", "--check"]).failed();
    assert!(said.contains("listen.local"), "{said}");
}
