//! What a connection costs, measured in a process of its own.
//!
//! The test starts itself twice: once as the gate, alone in its process, and from there as the clients, so that
//! their memory and time are not counted.

use std::env;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use homeward_fleet::ca::Authority;
use homeward_fleet::gate::Limits;
use rcgen::KeyPair;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::client::Client;
use crate::house::{House, credentials, until};
use crate::packets::ask_for_twenty_thousand_filters;

const NAME: &str = "memory::a_connection_costs_little_and_a_second_storm_nothing_more";
const ROLE: &str = "HOMEWARD_GATE_TEST_ROLE";
const ADDRESS: &str = "HOMEWARD_GATE_TEST_ADDRESS";
const AUTHORITY: &str = "HOMEWARD_GATE_TEST_AUTHORITY";
/// The broker behind the gate keeps 116 MiB for 20,000 filters.
const FILTERS_KIB: usize = 9 * 1024;
const COUNT: usize = 1000;
/// KiB a connection. The target of a release build is 17; a build without optimisation moves larger futures.
const MOST_KIB: usize = if cfg!(debug_assertions) { 24 } else { 17 };

#[test]
fn a_connection_costs_little_and_a_second_storm_nothing_more() {
    let runtime = || Runtime::new().expect("a runtime");
    match env::var(ROLE).as_deref() {
        Ok("gate") => runtime().block_on(gate()),
        Ok("clients") => runtime().block_on(clients()),
        _ => assert!(
            again("gate").status().expect("started").success(),
            "see its output above"
        ),
    }
}

/// This test again, in another role.
fn again(role: &str) -> Command {
    let mut command = Command::new(env::current_exe().expect("this program"));
    command.args(["--exact", NAME, "--nocapture"]).env(ROLE, role);
    command
}

async fn gate() {
    let limits = Limits {
        waiting_per_address: COUNT,
        ..Limits::default()
    };
    let house = House::with(limits, 2 * COUNT).await;
    house.serves_an_honest_gateway().await;
    let empty = resident_kib();
    ask_for_twenty_thousand_filters(&house).await;
    let after = resident_kib();
    // The asking client is counted too.
    assert!(
        after < empty + FILTERS_KIB,
        "20,000 filters took {} KiB",
        after - empty
    );
    let (before, began) = (resident_kib(), cpu_ms());
    let first = storm(&house).await;
    let (during, worked) = (resident_kib(), cpu_ms());
    let each = (during - before) / COUNT;
    println!(
        "one idle connection: {each} KiB; 1,000 connects with one publish each: {} CPU-ms",
        worked - began
    );
    assert!(each <= MOST_KIB, "{each} KiB a connection, {MOST_KIB} at most");
    end(&house, first).await;
    let second = storm(&house).await;
    let again = resident_kib();
    println!("resident: {before} KiB before, {during} KiB with the first storm, {again} KiB with the second");
    assert!(
        again < during + during * 15 / 100,
        "a second storm grows from {during} to {again} KiB"
    );
    end(&house, second).await;
    house.serves_an_honest_gateway().await;
}

/// Lets the clients come, and waits until all are idle.
async fn storm(house: &House) -> Child {
    let mut clients = again("clients")
        .env(ADDRESS, house.address.to_string())
        .env(AUTHORITY, house.authority_folder())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let said = clients.stdout.take().expect("piped");
    let ready = tokio::task::spawn_blocking(move || {
        BufReader::new(said)
            .lines()
            .any(|line| line.is_ok_and(|l| l == "ready"))
    });
    assert!(ready.await.expect("read"), "the clients failed");
    assert_eq!(house.connections.count(), COUNT);
    clients
}

async fn end(house: &House, mut clients: Child) {
    drop(clients.stdin.take());
    clients.wait().expect("ended");
    until("all have left", || house.connections.count() == 0).await;
}

async fn clients() {
    let address: SocketAddr = env::var(ADDRESS).expect("given").parse().expect("an address");
    let authority = Authority::open(Path::new(&env::var(AUTHORITY).expect("given"))).expect("an authority");
    let key = KeyPair::generate().expect("a key");
    let (mut dialling, mut connected) = (JoinSet::new(), Vec::new());
    for n in 0..COUNT {
        let name = format!("gw-{n}");
        let credentials = credentials(&authority, &name, &key);
        dialling.spawn(async move {
            let mut client = Client::dial(address, credentials).await.expect("TLS");
            client.greet(&name).await;
            client.subscribe(&[&format!("hw1/{name}/down/#")]).await;
            client.receive().await.expect("SUBACK");
            client
                .publish(&format!("hw1/{name}/up/vital"), 1, &[7; 300])
                .await;
            client.next_puback().await;
            client
        });
        if dialling.len() >= 32 {
            connected.push(dialling.join_next().await.expect("some").expect("no panic"));
        }
    }
    connected.extend(dialling.join_all().await);
    println!("\nready");
    std::io::stdout().flush().expect("written");
    let _ = std::io::stdin().read(&mut [0]);
    // At once: nobody reads what the test harness would say.
    std::process::exit(0);
}

fn resident_kib() -> usize {
    let status = fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next());
    kib.expect("a number").parse().expect("a number")
}

/// Time of the processor that this process has had, in ms, to 10 ms.
fn cpu_ms() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, fields) = stat.rsplit_once(')').expect("a name in brackets");
    let ticks = fields
        .split_whitespace()
        .skip(11)
        .take(2)
        .map(|n| n.parse::<u64>().expect("ticks"));
    ticks.sum::<u64>() * 10
}
