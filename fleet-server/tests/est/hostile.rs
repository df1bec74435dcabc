//! Bad input and bad manners, through the real listener.

use std::fs;
use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::{Duration, Instant};

use homeward_fleet::device::Approval;
use homeward_fleet::https::Limits;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

use crate::world::{World, have};

fn hasty() -> Limits {
    Limits {
        handshake: Duration::from_millis(700),
        head: Duration::from_millis(700),
        body: Duration::from_millis(700),
        ..Limits::default()
    }
}

#[test]
fn bad_bodies_get_a_sentence_and_harm_nobody() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let world = World::new();
    let (_, user) = world.claim(Approval::Automatic);
    let device = world.device(&[]);
    let der = fs::read(&device.request).expect("there");
    let url = World::est(world.enrol, "simpleenroll");
    let table: [(&[u8], u16, &str); 8] = [
        (b"", 400, "PKCS #10"),
        (b"hello", 400, "base64"),
        (b"aGVsbG8=", 400, "PKCS #10"),
        (b"\x00\xff\xfe", 400, "base64"),
        (&der[..der.len() - 1], 400, "PKCS #10"),
        (&[der.as_slice(), b"!"].concat(), 400, "PKCS #10"),
        (&vec![b'A'; 17 * 1024], 413, "16384 bytes"),
        (&vec![b'A'; 200 * 1024], 413, "16384 bytes"),
    ];
    for (body, status, says) in table {
        let file = world.fresh("bad");
        fs::write(&file, body).expect("written");
        let reply = world.post(&["-u", &user], &file, &url).expect("an answer");
        assert_eq!(reply.status, status, "{} bytes: {}", body.len(), reply.text());
        assert!(
            reply.text().contains(says),
            "{} bytes: {}",
            body.len(),
            reply.text()
        );
    }
    let reply = world.curl(&["-u", &user, &url]).expect("an answer");
    assert_eq!(reply.status, 405);
    let nowhere = format!("https://localhost:{}/admin", world.enrol.port());
    assert_eq!(world.curl(&[&nowhere]).expect("an answer").status, 404);
    let long = format!("X-Long: {}", "a".repeat(32 * 1024));
    assert_eq!(world.curl(&["-H", &long, &url]).expect("an answer").status, 431);
    assert_eq!(world.simpleenroll(&user, &device.base64).status, 200);
}

#[test]
fn plain_http_is_told_to_use_https() {
    let world = World::new();
    let mut socket = TcpStream::connect(world.enrol).expect("connects");
    socket
        .write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        .expect("sent");
    let mut said = String::new();
    // The server closes with our bytes unread, so the end may be a reset.
    let _ = socket.read_to_string(&mut said);
    assert!(said.contains("https://"), "{said}");
}

#[test]
fn silent_and_slow_sockets_delay_nobody_and_are_closed() {
    if !have(&["curl", "openssl"]) {
        return;
    }
    let limits = Limits {
        handshakes: 4,
        ..hasty()
    };
    let world = World::with(limits);
    let silent: Vec<TcpStream> = (0..60).map(|_| socket(&world)).collect();
    let half_hello: Vec<TcpStream> = (0..60)
        .map(|_| {
            let mut socket = socket(&world);
            socket.write_all(&[22, 3, 1, 2, 0, 1, 0]).expect("sent");
            socket
        })
        .collect();
    let half_head: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = tls(&world);
            stream.write_all(b"GET / HTTP/1.1\r\nHost: ").expect("sent");
            stream
        })
        .collect();
    let half_body: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = tls(&world);
            let head = "POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: localhost\r\nContent-Length: 99\r\n\r\n";
            stream.write_all(head.as_bytes()).expect("sent");
            stream
        })
        .collect();
    let begun = Instant::now();
    let url = World::est(world.enrol, "cacerts");
    assert_eq!(world.curl(&[&url]).expect("an answer").status, 200);
    assert!(
        begun.elapsed() < Duration::from_secs(3),
        "took {:?}",
        begun.elapsed()
    );
    for mut socket in silent.into_iter().chain(half_hello) {
        let _ = socket
            .read_to_end(&mut Vec::new())
            .map_err(|error| refuse_timeout(&error));
    }
    for mut stream in half_head {
        let _ = stream
            .read_to_end(&mut Vec::new())
            .map_err(|error| refuse_timeout(&error));
    }
    for mut stream in half_body {
        let mut said = Vec::new();
        let _ = stream
            .read_to_end(&mut said)
            .map_err(|error| refuse_timeout(&error));
        let said = String::from_utf8_lossy(&said);
        assert!(
            said.starts_with("HTTP/1.1 400") && said.contains("too slowly"),
            "{said}"
        );
    }
}

#[test]
fn one_address_cannot_take_all_places() {
    let limits = Limits {
        per_address: 3,
        ..Limits::default()
    };
    let world = World::with(limits);
    let held: Vec<TcpStream> = (0..3).map(|_| socket(&world)).collect();
    let mut one_more = socket(&world);
    // Closed at once, long before any time limit.
    one_more
        .set_read_timeout(Some(Duration::from_secs(4)))
        .expect("set");
    assert_eq!(one_more.read(&mut [0]).expect("closed"), 0);
    drop(held);
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let mut again = socket(&world);
        again
            .set_read_timeout(Some(Duration::from_millis(300)))
            .expect("set");
        if again.read(&mut [0]).is_err() {
            return; // it stays open
        }
        assert!(Instant::now() < deadline, "no place was given back");
    }
}

#[test]
fn a_listener_stops_within_five_seconds_whoever_is_connected() {
    let world = World::new();
    let _silent: Vec<TcpStream> = (0..10).map(|_| socket(&world)).collect();
    let mut idle = tls(&world);
    let mut slow = tls(&world);
    slow.write_all(b"POST /.well-known/est/simpleenroll HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n")
        .expect("sent");
    slow.flush().expect("sent");
    assert!(world.stop() < Duration::from_secs(1), "still accepts");
    let begun = Instant::now();
    let _ = idle
        .read_to_end(&mut Vec::new())
        .map_err(|error| refuse_timeout(&error));
    let _ = slow
        .read_to_end(&mut Vec::new())
        .map_err(|error| refuse_timeout(&error));
    assert!(
        begun.elapsed() < Duration::from_secs(6),
        "took {:?}",
        begun.elapsed()
    );
}

/// A read that timed out means that the server left the socket open; any other end is a close.
fn refuse_timeout(error: &std::io::Error) {
    let kind = error.kind();
    assert!(
        kind != std::io::ErrorKind::WouldBlock && kind != std::io::ErrorKind::TimedOut,
        "the socket was left open"
    );
}

fn socket(world: &World) -> TcpStream {
    let socket = TcpStream::connect(world.enrol).expect("connects");
    socket
        .set_read_timeout(Some(Duration::from_secs(20)))
        .expect("set");
    socket
}

fn tls(world: &World) -> StreamOwned<ClientConnection, TcpStream> {
    let mut roots = RootCertStore::empty();
    for root in world.authority.trust_bundle() {
        roots.add(root).expect("a root");
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let name = ServerName::try_from("localhost").expect("a name");
    let connection = ClientConnection::new(Arc::new(config), name).expect("a client");
    let mut stream = StreamOwned::new(connection, socket(world));
    stream.conn.complete_io(&mut stream.sock).expect("a handshake");
    stream
}
