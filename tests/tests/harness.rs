//! The harness itself: peers start and stop, and the faulty wire does what it says.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests talk to real programs over sockets"
)]

use std::net::SocketAddr;
use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homeward_tests::browser::{self, Page, Visit};
use homeward_tests::load::Connection;
use homeward_tests::peers::{Mosquitto, Postgres, Pymodbus};
use homeward_tests::prepared::Prepared;
use homeward_tests::programs::{Program, finish};
use homeward_tests::proxy::{Link, Proxy};
use homeward_tests::shared;
use rustls::{HandshakeKind, NamedGroup};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const LIMIT: Duration = Duration::from_secs(20);

#[test]
fn postgres_starts_answers_and_survives_a_power_cut() {
    let Some(mut postgres) = Postgres::start(true) else {
        return;
    };
    let url = postgres.url();
    let Some(psql) = shared::debian("psql", "postgresql-client-15") else {
        return;
    };
    let answer = finish(
        Command::new(psql).args(["-At", "-c", "select 6*7", &url]),
        b"",
        LIMIT,
    )
    .ok();
    assert_eq!(answer.trim(), "42");
    postgres.kill();
}

#[test]
fn mosquitto_listens() {
    let dir = tempfile::tempdir().expect("a folder");
    let Some(mut mosquitto) = Mosquitto::start(dir.path(), "allow_anonymous true") else {
        return;
    };
    assert!(mosquitto.program.terminate(LIMIT).success());
}

#[test]
fn pymodbus_answers_with_its_registers() {
    use std::io::{Read as _, Write as _};
    let Some(device) = Pymodbus::start(&[(7, 0x1234)]) else {
        return;
    };
    let mut line = std::net::TcpStream::connect(("127.0.0.1", device.port)).expect("it listens");
    line.set_read_timeout(Some(LIMIT))
        .expect("a time limit can be set");
    // Read holding registers: transaction 1, protocol 0, 6 bytes, unit 1, function 3, address 7, count 1.
    line.write_all(&[0, 1, 0, 0, 0, 6, 1, 3, 0, 7, 0, 1])
        .expect("it reads");
    let mut answer = [0; 11];
    line.read_exact(&mut answer).expect("it answers");
    assert_eq!(answer, [0, 1, 0, 0, 0, 5, 1, 3, 2, 0x12, 0x34]);
}

#[test]
fn a_browser_sees_a_page_and_its_faults_without_scripts_too() {
    let dir = tempfile::tempdir().expect("a folder");
    let html = "<!doctype html><html lang=en><title>t</title><main><h1>Two people</h1><input></main>";
    std::fs::write(dir.path().join("page.html"), html).expect("a file");
    let url = format!("file://{}/page.html", dir.path().display());
    for scripts in [true, false] {
        let order = Visit {
            sign_in: None,
            scripts,
            pages: vec![Page::new(url.clone(), 390)],
        };
        let Some(seen) = browser::visit(&order) else {
            return;
        };
        let page = seen.first().expect("one page was asked for");
        assert_eq!(page.heading, "Two people");
        assert!(!page.overflows);
        let found = page.violations.iter().any(|v| v.starts_with("label"));
        assert_eq!(found, scripts, "axe runs where scripts do: {page:?}");
    }
}

#[test]
fn a_program_is_heard_and_stopped() {
    let mut program = Program::start("sh", Command::new("sh").args(["-c", "echo up; exec sleep 600"]));
    program.wait_line("up", LIMIT);
    assert!(program.runs() && program.resident_bytes().is_some_and(|b| b > 0));
    assert!(!program.terminate(LIMIT).success());
}

/// Answers every byte with itself.
async fn echo() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut from, mut to) = stream.split();
                let _ = tokio::io::copy(&mut from, &mut to).await;
            });
        }
    });
    address
}

async fn say(stream: &mut TcpStream, size: usize) -> std::io::Result<()> {
    stream.write_all(&vec![7; size]).await?;
    stream.read_exact(&mut vec![0; size]).await.map(drop)
}

#[tokio::test]
async fn the_wire_carries_waits_crawls_and_breaks() {
    let proxy = Proxy::start(echo().await, 5).await;
    let mut stream = TcpStream::connect(proxy.address())
        .await
        .expect("the proxy listens");
    say(&mut stream, 100_000).await.expect("a clear link carries");

    proxy.set(Link::Delay(Duration::from_millis(40)));
    let begun = Instant::now();
    say(&mut stream, 10).await.expect("a slow answer is an answer");
    assert!(begun.elapsed() >= Duration::from_millis(80), "there and back");

    proxy.set(Link::Slow(20_000));
    let begun = Instant::now();
    say(&mut stream, 4_000).await.expect("a slow answer is an answer");
    assert!(
        begun.elapsed() >= Duration::from_millis(180),
        "{:?}",
        begun.elapsed()
    );

    proxy.set(Link::HalfOpen);
    let silent = tokio::time::timeout(Duration::from_millis(300), say(&mut stream, 10)).await;
    assert!(silent.is_err(), "nothing passes a half-open link");

    proxy.set(Link::Down);
    let mut byte = [0; 64];
    let gone = async { while stream.read(&mut byte).await.is_ok_and(|n| n > 0) {} };
    tokio::time::timeout(LIMIT, gone)
        .await
        .expect("a broken link ends its connections");
    let mut refused = TcpStream::connect(proxy.address())
        .await
        .expect("the kernel accepts");
    assert!(
        say(&mut refused, 10).await.is_err(),
        "no new connection over a broken link"
    );

    proxy.set(Link::CutAfter(20_000));
    let mut cut = TcpStream::connect(proxy.address())
        .await
        .expect("the proxy listens");
    let mut carried = 0;
    while carried < 100_000 && say(&mut cut, 1_000).await.is_ok() {
        carried += 1_000;
    }
    assert!((5_000..40_000).contains(&carried), "cut after {carried}");
    assert!(proxy.cuts() >= 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_s_first_handshake_is_whole_and_its_next_one_resumes_both_on_the_cheaper_curve() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut prepared = Prepared::new(&folder.path().join("fleet"), 1).expect("a fleet");
    prepared.start();
    let target = prepared.gate().expect("a gate");
    let member = prepared.members().first().expect("a gateway").clone();
    let key = member.key.for_tls().expect("a key");
    let tls = target
        .tls_that_resumes(&member.chain, key)
        .expect("a configuration");
    for kind in [HandshakeKind::Full, HandshakeKind::Resumed] {
        let open = Connection::open(&target, Arc::clone(&tls), member.id.as_str());
        let connection = open.await.expect("admitted");
        assert_eq!(connection.handshake(), Some(kind), "no round trip more");
        assert_eq!(connection.curve(), Some(NamedGroup::secp256r1));
        connection.close().await;
    }
}
