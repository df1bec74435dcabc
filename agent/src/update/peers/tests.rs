#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests open sockets, keep files and look at the time"
)]

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use ring::digest::{SHA256, digest};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::slot::file::Folder;
use crate::slot::{Build, Slot, Slots};
use crate::update::share::serve::{RATE, serve};

fn content(bytes: usize) -> Vec<u8> {
    (0..bytes)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 11).to_le_bytes()[0])
        .collect()
}

fn sum(bytes: &[u8]) -> Digest {
    Digest(digest(&SHA256, bytes).as_ref().try_into().expect("32 bytes"))
}

/// A neighbour that has this build in a slot, and its own program beside it.
struct Neighbour {
    _folder: tempfile::TempDir,
    at: SocketAddr,
    stop: CancellationToken,
}

impl Drop for Neighbour {
    fn drop(&mut self) {
        self.stop.cancel();
    }
}

async fn neighbour(build: &[u8]) -> Neighbour {
    let folder = tempfile::tempdir().expect("a folder");
    let slots = Folder::within(folder.path());
    let fresh = folder.path().join("fresh");
    fs::write(&fresh, build).expect("written");
    slots.put(Slot::A, &fresh).expect("put");
    let build = Build {
        sha256: sum(build),
        version: "7.1.0".parse().expect("a version"),
        counter: 1,
    };
    slots
        .save(&Slots::default().commit(build).confirm())
        .expect("saved");
    fs::create_dir_all(folder.path().join("identity")).expect("made");
    fs::write(folder.path().join("identity/key"), "secret").expect("written");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let stop = CancellationToken::new();
    tokio::spawn(serve(listener, folder.path().to_owned(), stop.clone()));
    Neighbour {
        _folder: folder,
        at,
        stop,
    }
}

/// One that answers each connection so, and counts them.
async fn strange<F>(answer: fn(TcpStream) -> F) -> (SocketAddr, Arc<AtomicUsize>, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let at = listener.local_addr().expect("an address");
    let count = Arc::new(AtomicUsize::new(0));
    let asked = Arc::clone(&count);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            asked.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(answer(stream));
        }
    });
    (at, count, task)
}

fn base(at: SocketAddr) -> Base {
    format!("http://{at}/").parse().expect("an address")
}

async fn heard(stream: &mut TcpStream) {
    let mut request = vec![0; 4_096];
    let _ = stream.read(&mut request).await;
}

async fn say(at: SocketAddr, bytes: &[u8]) -> String {
    let mut stream = TcpStream::connect(at).await.expect("reached");
    stream.write_all(bytes).await.expect("sent");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer).await;
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_neighbour_that_has_a_build_gives_it_and_it_is_what_was_asked_for() {
    let build = content(300_000);
    let here = neighbour(&build).await;
    let folder = tempfile::tempdir().expect("a folder");
    let place = folder.path().join("incoming/build");
    let peers = Peers::new(vec![base(here.at)]);
    assert!(
        peers
            .bring((sum(&build), 300_000), &place, &CancellationToken::new())
            .await
    );
    assert_eq!(fs::read(&place).expect("there"), build);
    assert_eq!(
        fs::read_dir(place.parent().expect("a folder"))
            .expect("read")
            .count(),
        1
    );
}

#[tokio::test]
async fn one_that_is_away_one_that_lies_and_one_that_has_nothing_are_passed_by_for_one_that_has_it() {
    let build = content(200_000);
    let gone = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let nobody = gone.local_addr().expect("an address");
    drop(gone);
    let (liar, lies, _task) = strange(|mut stream| async move {
        heard(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        let _ = stream.write_all(&vec![7; 200_000]).await;
    })
    .await;
    let (endless, _, _task) = strange(|mut stream| async move {
        heard(&mut stream).await;
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\n\r\n").await;
        while stream.write_all(&[7; 10_000]).await.is_ok() {}
    })
    .await;
    let (babble, _, _task) = strange(|mut stream| async move {
        heard(&mut stream).await;
        let _ = stream.write_all(&vec![0xff; 100_000]).await;
    })
    .await;
    let other = neighbour(b"something else").await;
    let good = neighbour(&build).await;
    let all = [nobody, liar, endless, babble, other.at, good.at];
    let peers = Peers::new(all.into_iter().map(base).collect());
    let folder = tempfile::tempdir().expect("a folder");
    for _ in 0..2 {
        let place = folder.path().join("build");
        assert!(
            peers
                .bring((sum(&build), 200_000), &place, &CancellationToken::new())
                .await
        );
        assert_eq!(fs::read(&place).expect("there"), build);
        fs::remove_file(&place).expect("there");
    }
    assert_eq!(lies.load(Ordering::SeqCst), 1, "one that lied is asked again");
    let alone = Peers::new(all[..5].iter().copied().map(base).collect());
    assert!(
        !alone
            .bring(
                (sum(&build), 200_000),
                &folder.path().join("build"),
                &CancellationToken::new()
            )
            .await
    );
    assert_eq!(
        fs::read_dir(folder.path()).expect("read").count(),
        0,
        "what came of them stays"
    );
}

#[tokio::test(start_paused = true)]
async fn one_that_drips_costs_seconds() {
    let (drips, _, _task) = strange(|mut stream| async move {
        heard(&mut stream).await;
        let head = "HTTP/1.1 200 OK\r\nContent-Length: 200000\r\n\r\n";
        let _ = stream.write_all(head.as_bytes()).await;
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_secs(1)).await;
        }
    })
    .await;
    let folder = tempfile::tempdir().expect("a folder");
    let begin = tokio::time::Instant::now();
    let peers = Peers::new(vec![base(drips)]);
    assert!(
        !peers
            .bring(
                (Digest([1; 32]), 200_000),
                &folder.path().join("build"),
                &CancellationToken::new()
            )
            .await
    );
    let took = begin.elapsed();
    assert!(took <= Duration::from_secs(15), "{took:?}");
}

#[tokio::test]
async fn a_box_that_shares_gives_builds_by_their_hash_and_nothing_else_and_names_nothing() {
    let build = content(10_000);
    let here = neighbour(&build).await;
    let name = sum(&build);
    let rest = say(
        here.at,
        format!("GET /sha256/{name} HTTP/1.1\r\nRange: bytes=9990-\r\n\r\n").as_bytes(),
    )
    .await;
    assert_eq!(
        rest.split_once("\r\n\r\n").map(|(head, _)| head),
        Some(
            "HTTP/1.1 206 Partial Content\r\nContent-Range: bytes 9990-9999/10000\r\nContent-Length: 10\r\nConnection: close"
        )
    );
    let secret = sum(b"secret");
    for (asked, status) in [
        (format!("/sha256/{secret}"), "404"),
        ("/identity/key".to_owned(), "404"),
        ("/sha256/../identity/key".to_owned(), "404"),
        ("/metadata/timestamp.json".to_owned(), "404"),
        (format!("/sha256/{name} and more"), "400"),
    ] {
        let answer = say(here.at, format!("GET {asked} HTTP/1.1\r\n\r\n").as_bytes()).await;
        assert!(
            answer.starts_with(&format!("HTTP/1.1 {status} ")),
            "{asked}: {answer}"
        );
        assert!(answer.ends_with("\r\n\r\n"), "{asked}: {answer}");
    }
    let beyond = format!("GET /sha256/{name} HTTP/1.1\r\nRange: bytes=10000-\r\n\r\n");
    assert!(say(here.at, beyond.as_bytes()).await.starts_with("HTTP/1.1 416 "));
    assert!(!say(here.at, &[b'x'; 5_000]).await.contains(" 200 "));
}

#[tokio::test]
async fn a_box_that_shares_serves_a_few_at_once_and_forgets_those_that_say_nothing() {
    let build = content(1_000);
    let here = neighbour(&build).await;
    let mut silent = Vec::new();
    for _ in 0..4 {
        silent.push(TcpStream::connect(here.at).await.expect("reached"));
    }
    let question = format!("GET /sha256/{} HTTP/1.1\r\n\r\n", sum(&build));
    // All seats are taken: who comes now is turned away, and goes elsewhere.
    tokio::time::sleep(Duration::from_millis(200)).await;
    let mut late = TcpStream::connect(here.at).await.expect("reached");
    let _ = late.write_all(question.as_bytes()).await;
    let mut answer = Vec::new();
    let _ = late.read_to_end(&mut answer).await;
    assert!(answer.is_empty(), "{}", String::from_utf8_lossy(&answer));
    let begin = Instant::now();
    loop {
        if say(here.at, question.as_bytes())
            .await
            .starts_with("HTTP/1.1 200 ")
        {
            break;
        }
        assert!(
            begin.elapsed() < Duration::from_secs(30),
            "silent ones keep their seats"
        );
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

#[tokio::test]
async fn a_box_that_shares_keeps_its_pace_for_all_together() {
    let bytes = usize::try_from(RATE).expect("fits");
    let build = content(bytes);
    let here = neighbour(&build).await;
    let folder = tempfile::tempdir().expect("a folder");
    let bring = |name: &str| {
        let (at, place, sha256) = (here.at, folder.path().join(name), sum(&build));
        async move {
            Peers::new(vec![base(at)])
                .bring((sha256, RATE), &place, &CancellationToken::new())
                .await
        }
    };
    let begin = Instant::now();
    let (one, two) = tokio::join!(bring("one"), bring("two"));
    assert!(one && two);
    // Two files of a second each.
    assert!(
        begin.elapsed() >= Duration::from_millis(1_900),
        "{:?}",
        begin.elapsed()
    );
}
