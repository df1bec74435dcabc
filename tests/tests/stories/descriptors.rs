//! A server that has no file descriptors left, as when somebody holds more sockets than its limit allows.

use std::fs;
use std::net::TcpStream;
use std::time::Duration;

use homeward_tests::programs::wait_for;
use homeward_tests::proxy::Link;
use homeward_tests::tally::compare;
use rustix::process::{Pid, Resource, Rlimit, prlimit};

use super::stage::{SOON, Stage, all_arrived};

/// Descriptors that are left to it.
const LEFT: u64 = 12;
/// Sockets that want nothing, at each door.
const SILENT: usize = 150;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_without_descriptors_says_so_stays_up_and_takes_everything_afterwards() {
    let mut stage = Stage::new();
    let mut home = stage.home("mill-road-12").await;
    home.run();
    stage.more_readings(10);
    let pid = stage.fleet.program().pid();
    let open = fs::read_dir(format!("/proc/{pid}/fd"))
        .expect("our own child")
        .count();
    limit(pid, u64::try_from(open).expect("few") + LEFT);

    home.set_link(Link::Down);
    let ports = [stage.fleet.port("gate"), stage.fleet.port("console")];
    let silent: Vec<TcpStream> = ports.iter().flat_map(|port| hold(*port)).collect();
    let program = stage.fleet.program();
    program.wait_line("the gate gets no more sockets", SOON);
    home.set_link(Link::Clear);
    wait_for("readings to wait at the box", SOON, || {
        (home.waiting() >= 20).then_some(())
    });
    assert!(program.runs(), "it stays up");
    let complaints = program
        .said()
        .iter()
        .filter(|line| line.contains("limit of open files"))
        .count();
    assert!(complaints < 50, "{complaints} lines say the same");

    drop(silent);
    all_arrived(&home);
    stage.more_readings(10);
    home.agent.stop();
    stage.fleet.stop();
    let outbox = home.agent.dir().join("outbox.db");
    let tally = compare(&outbox, &stage.database(), &home.gateway).expect("both can be read");
    assert_eq!((tally.missing, tally.duplicates), (0, 0), "{tally:?}");
}

/// Sets the most files that a process may have open.
fn limit(pid: u32, files: u64) {
    let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
    let limit = Rlimit {
        current: Some(files),
        maximum: Some(files),
    };
    prlimit(pid, Resource::Nofile, limit).expect("a limit may be lowered");
}

fn hold(port: u16) -> Vec<TcpStream> {
    let address = ([127, 0, 0, 1], port).into();
    let socket = |_| TcpStream::connect_timeout(&address, Duration::from_secs(5)).ok();
    (0..SILENT).filter_map(socket).collect()
}
