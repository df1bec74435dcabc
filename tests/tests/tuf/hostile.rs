//! A server, or somebody between, that means harm: over real sockets.

use std::io::{Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use homeward_agent::update::fetch::Http;
use homeward_agent::update::tuf::{Fetch, FetchError, UpdateError, download, find, refresh};
use homeward_protocol::tuf::{MAX_ROOT_STEPS, TufError};
use homeward_tests::tuf::forge::Ours;
use homeward_tests::tuf::house::House;
use proptest::prelude::*;

/// A server of one connection at a time that answers each request by `answer`; ends with the test.
pub(super) struct Server {
    pub(super) port: u16,
    stop: Arc<AtomicBool>,
    sent: Arc<AtomicU64>,
}

impl Server {
    pub(super) fn start(answer: impl Fn(&str, &mut dyn FnMut(&[u8]) -> bool) + Send + 'static) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let (stop, sent) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (ended, count) = (Arc::clone(&stop), Arc::clone(&sent));
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if ended.load(Ordering::Relaxed) {
                    return;
                }
                let asked = request(&stream);
                let mut stream = stream;
                let mut push = |bytes: &[u8]| {
                    count.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                    !ended.load(Ordering::Relaxed) && stream.write_all(bytes).is_ok()
                };
                answer(&asked, &mut push);
            }
        });
        Server { port, stop, sent }
    }

    pub(super) fn http(&self) -> Http {
        let base = format!("http://127.0.0.1:{}/repository", self.port)
            .parse()
            .expect("an address");
        Http::new(base, None).silent_for(Duration::from_secs(2))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

/// The head of a request.
fn request(mut stream: &TcpStream) -> String {
    let mut head = Vec::new();
    let mut byte = [0];
    while !head.ends_with(b"\r\n\r\n") && stream.read(&mut byte).is_ok_and(|read| read == 1) {
        head.extend_from_slice(&byte);
    }
    String::from_utf8_lossy(&head).into_owned()
}

pub(super) fn wait<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    runtime.expect("a runtime").block_on(work)
}

fn refreshed(server: &Server, house: &House) -> Result<(), UpdateError> {
    wait(refresh(&server.http(), &house.disk, house.now)).map(drop)
}

#[test]
fn a_fetch_that_never_ends_is_cut_at_its_size() {
    let server = Server::start(|_, send| {
        send(b"HTTP/1.1 200 OK\r\n\r\n");
        while send(&[b' '; 8192]) {}
    });
    let house = House::new(Box::new(Ours));
    let error = refreshed(&server, &house).expect_err("it has no end");
    assert!(
        matches!(error, UpdateError::Tuf(TufError::TooLong { max: 512_000, .. })),
        "{error}"
    );
    assert!(
        server.sent.load(Ordering::Relaxed) < 8_000_000,
        "what was sent stays bounded"
    );
    // A length that is a lie.
    let server = Server::start(|_, send| {
        send(b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n");
        while send(&[b' '; 8192]) {}
    });
    assert!(refreshed(&server, &house).is_err());
}

#[test]
fn a_server_that_goes_silent_or_drips_holds_nobody_for_ever() {
    let house = House::new(Box::new(Ours));
    for answer in [
        b"".as_slice(),
        b"HTTP/1.1 200 OK\r\n\r\n{",
        b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n",
    ] {
        let server = Server::start(move |_, send| {
            send(answer);
            std::thread::sleep(Duration::from_secs(4));
        });
        let began = Instant::now();
        let error = refreshed(&server, &house).expect_err("nothing comes");
        assert!(
            matches!(error, UpdateError::Tuf(TufError::Fetch { .. })),
            "{error}"
        );
        assert!(began.elapsed() < Duration::from_secs(30));
    }
    // One byte at a time, for ever: less than the slowest pace that is waited for.
    let server = Server::start(|_, send| {
        send(b"HTTP/1.1 200 OK\r\n\r\n");
        while send(b" ") {
            std::thread::sleep(Duration::from_millis(2));
        }
    });
    let began = Instant::now();
    let http = server.http().silent_for(Duration::from_millis(10));
    let mut take = |_: u64, _: &[u8]| Ok(());
    let dripped = wait(http.get("file", 0, 1_000_000, &mut take));
    assert!(matches!(dripped, Err(FetchError::Failed(_))), "{dripped:?}");
    assert!(began.elapsed() < Duration::from_mins(1));
}

#[test]
fn an_answer_that_is_not_no_is_not_taken_for_no() {
    // Anything but "not found" fails the refresh: to end the chain of roots there would hide a rotation.
    let house = House::new(Box::new(Ours));
    for status in [
        "301 Moved",
        "403 Forbidden",
        "500 Oops",
        "503 Busy",
        "204 Nothing",
        "206 Part",
    ] {
        let server = Server::start(move |_, send| {
            send(format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\nLocation: /x\r\n\r\n").as_bytes());
        });
        let error = refreshed(&server, &house).expect_err(status);
        assert!(error.to_string().contains("2.root.json"), "{error}");
    }
}

/// Serves what the house offers; the body of a target ends after so many bytes, time by time, while there are cuts left.
fn serve(house: &House, mut cuts: Vec<usize>) -> Server {
    let metadata = house.metadata.all();
    let targets = house.targets.all();
    cuts.reverse();
    let left = Mutex::new(cuts);
    Server::start(move |asked, send| {
        let path = asked
            .split(' ')
            .nth(1)
            .unwrap_or_default()
            .trim_start_matches("/repository/");
        let Some(bytes) = metadata.get(path).or_else(|| targets.get(path)) else {
            send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n");
            return;
        };
        let lower = asked.to_lowercase();
        let from = lower
            .split_once("range: bytes=")
            .and_then(|(_, rest)| rest.split('-').next()?.parse::<usize>().ok());
        let from = from.unwrap_or(0).min(bytes.len());
        let head = match from {
            0 => "HTTP/1.1 200 OK\r\n".to_owned(),
            _ => format!(
                "HTTP/1.1 206 Part\r\nContent-Range: bytes {from}-{}/{}\r\n",
                bytes.len() - 1,
                bytes.len()
            ),
        };
        let body = &bytes[from..];
        send(format!("{head}Content-Length: {}\r\n\r\n", body.len()).as_bytes());
        let cut = left
            .lock()
            .expect("one at a time")
            .pop_if(|_| targets.contains_key(path));
        send(&body[..cut.unwrap_or(body.len()).min(body.len())]);
    })
}

#[test]
fn a_download_goes_on_where_it_was_cut() {
    let mut house = House::new(Box::new(Ours));
    let content: Vec<u8> = (0..200_000_u32).flat_map(u32::to_le_bytes).collect();
    house.add_target("targets", "agent", &content);
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    let cuts = 7;
    let server = serve(&house, vec![100_001; cuts]);
    let http = server.http();
    let mut client = wait(refresh(&http, &house.disk, house.now)).expect("refreshes");
    let path = "agent".parse().expect("a path");
    let found = wait(find(&mut client, path, &http, &house.disk))
        .expect("finds")
        .expect("there");
    let place = house.folder.path().join("agent");
    let before = server.sent.load(Ordering::Relaxed);
    let tries = (1..100)
        .find(|_| wait(download(&found, &http, &place)).is_ok())
        .expect("it comes");
    assert_eq!(tries, cuts + 1);
    assert_eq!(std::fs::read(&place).expect("the file"), content);
    let sent = server.sent.load(Ordering::Relaxed) - before;
    assert!(
        sent < content.len() as u64 + 4_000,
        "{sent} bytes were sent: nothing twice"
    );
    assert!(!house.folder.path().join("agent+part").exists());
}

/// Downloads `content` from a server that ends its answers so; gives how often it was tried, and how much was sent.
fn cut_at(content: &[u8], cuts: Vec<usize>) -> (usize, u64) {
    let mut house = House::new(Box::new(Ours));
    house.add_target("targets", "agent", content);
    house.publish_all(&["targets", "snapshot", "timestamp"]);
    let server = serve(&house, cuts);
    let http = server.http();
    let mut client = wait(refresh(&http, &house.disk, house.now)).expect("refreshes");
    let path = "agent".parse().expect("a path");
    let found = wait(find(&mut client, path, &http, &house.disk))
        .expect("finds")
        .expect("there");
    let place = house.folder.path().join("agent");
    let before = server.sent.load(Ordering::Relaxed);
    let tries = (1..10_000).find(|_| wait(download(&found, &http, &place)).is_ok());
    assert_eq!(std::fs::read(&place).expect("the file"), content);
    let sent = server.sent.load(Ordering::Relaxed) - before;
    (tries.expect("it comes"), sent)
}

#[test]
fn a_download_goes_on_at_every_byte_of_a_file() {
    // Byte by byte: each one but the last is where an answer ended.
    let content: Vec<u8> = (0..=255_u8).collect();
    let (tries, sent) = cut_at(&content, vec![1; content.len() - 1]);
    assert_eq!(tries, content.len());
    assert!(sent < content.len() as u64 * 200, "{sent} bytes, heads and all");
    for first in [0, 1, 2, 100, 254, 255] {
        let (tries, _) = cut_at(&content, vec![first, 0]);
        assert_eq!(tries, 3, "{first}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(40))]

    #[test]
    fn a_download_goes_on_wherever_it_was_cut(length in 1_usize..60_000, cuts in prop::collection::vec(0_usize..20_000, 0..8)) {
        let content: Vec<u8> = (0..length).map(|n| ((n * 31) >> 3).to_le_bytes()[0]).collect();
        let heads = 200 * (cuts.len() as u64 + 1);
        let (tries, sent) = cut_at(&content, cuts.clone());
        prop_assert!(tries <= cuts.len() + 1);
        prop_assert!(sent <= length as u64 + heads, "{} bytes: nothing twice", sent);
    }
}

#[test]
fn ten_thousand_roots_are_taken_in_bounded_steps() {
    let mut house = House::new(Box::new(Ours));
    for _ in 1..10_000 {
        house.publish("root");
    }
    house.publish("timestamp");
    let mut refreshes = 0;
    let began = Instant::now();
    while let Err(error) = house.refresh() {
        assert!(
            matches!(error, UpdateError::Tuf(TufError::TooManyRoots)),
            "{error}"
        );
        refreshes += 1;
        let steps = u64::from(MAX_ROOT_STEPS) * refreshes;
        assert_eq!(
            house.believes("root"),
            Some(1 + steps),
            "each refresh moves on, and no further"
        );
        assert!(house.metadata.asked().len() <= 2 + MAX_ROOT_STEPS as usize);
    }
    assert_eq!((house.believes("root"), refreshes), (Some(10_000), 39));
    assert!(began.elapsed() < Duration::from_mins(1), "{:?}", began.elapsed());
}
