//! The helper that opens what only root may read, as systemd starts it: a socket as its standard input.
#![expect(clippy::disallowed_methods, reason = "shell: tests run programs")]

use std::io::{Read as _, Write as _};
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use homeward_agent::posture::look::{MAX_ANSWER, Question, read};
use homeward_protocol::posture::fact::{Fact, What};
use homeward_tests::programs::binary;

/// Asks; gives what came back, and whether the helper ended well.
fn asked(question: &[u8]) -> (String, bool) {
    let (mut ours, theirs) = UnixStream::pair().expect("a pair of sockets");
    let mut helper = Command::new(binary("homeward-look"))
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stderr(Stdio::null())
        .spawn()
        .expect("it starts");
    ours.set_read_timeout(Some(Duration::from_mins(3)))
        .expect("a limit");
    ours.write_all(question).expect("it is heard");
    let mut answer = String::new();
    let _cut = ours.take(MAX_ANSWER).read_to_string(&mut answer);
    let ended = helper.wait().expect("it ends");
    (answer, ended.success())
}

fn facts(question: Question) -> Vec<Fact> {
    let (answer, ended) = asked(format!("{question}\n").as_bytes());
    assert!(ended, "{question}: {answer}");
    read(question, &answer).unwrap_or_else(|| panic!("{question}: {answer}"))
}

#[test]
fn every_cheap_question_is_answered_with_facts_and_never_a_hash() {
    for question in Question::OFTEN {
        let (answer, _) = asked(format!("{question}\n").as_bytes());
        assert!(read(question, &answer).is_some(), "{question}: {answer}");
        assert!(
            !answer.contains("$y$") && !answer.contains("$6$"),
            "a hash of a password: {answer}"
        );
    }
}

#[test]
fn a_new_listening_socket_is_told_with_its_program() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let name = format!("tcp/{}", listener.local_addr().expect("it has one"));
    let all = facts(Question::Sockets);
    let found = all
        .iter()
        .find(|fact| fact.id.what() == What::Listen && fact.id.subject() == Some(&name))
        .unwrap_or_else(|| panic!("{name} is not told: {all:?}"));
    // `comm` is cut to 15 characters.
    assert!(
        found.value.to_string().contains("installed_look-"),
        "{}",
        found.value
    );
}

#[test]
fn what_is_no_question_gets_no_answer() {
    for bad in [
        &b"shadow\n"[..],
        b"../../etc/shadow\n",
        b"accounts",
        b"accounts\nsudo\n",
        b"\n",
        b"\xff\n",
        &[b'a'; 64],
    ] {
        let (ours, theirs) = UnixStream::pair().expect("a pair of sockets");
        let mut helper = Command::new(binary("homeward-look"))
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()
            .expect("it starts");
        let mut peer = ours;
        let _ = peer.write_all(bad);
        let _ = peer.shutdown(std::net::Shutdown::Write);
        let mut answer = Vec::new();
        let _cut = peer.read_to_end(&mut answer);
        assert!(!helper.wait().expect("it ends").success(), "{bad:?}");
        assert_eq!(answer, b"", "{bad:?}");
    }
}
