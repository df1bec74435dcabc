//! `homeward-bond` as it is installed: it tells the class and the size of a key to who may ask, and nothing else to
//! anybody. Each process gets a socket, as systemd gives it one.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests start programs and write files"
)]

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::Shutdown;
use std::os::fd::OwnedFd;
use std::os::unix::fs::PermissionsExt as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use homeward_devices::bluez::key_file::{Answer, Question};
use homeward_devices::bluez::keys::Keys;
use homeward_protocol::bond::{Bond, KeyClass};
use homeward_tests::programs::{binary, finish};
use homeward_tests::shared;

/// More than the program allows itself, on a busy machine.
const LIMIT: Duration = Duration::from_secs(30);
const ADAPTER: &str = "A0:B1:C2:D3:E4:F5";
const DEVICE: &str = "C1:00:00:00:00:02";
const KEY: &str = "00112233445566778899AABBCCDDEEFF";

/// Makes a folder as `bluetoothd` keeps it, with one device whose file says this.
fn keys(info: &str) -> tempfile::TempDir {
    let dir = tempfile::Builder::new().tempdir_in("/tmp").expect("a folder");
    let device = dir.path().join(ADAPTER).join(DEVICE);
    fs::create_dir_all(&device).expect("our own folder");
    fs::write(device.join("info"), info).expect("our own folder");
    fs::set_permissions(device.join("info"), fs::Permissions::from_mode(0o600)).expect("our own file");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).expect("our own folder");
    dir
}

fn info(class: u8, size: u8) -> String {
    format!(
        "[General]\nName=CUFF\n\n[LongTermKey]\nKey={KEY}\nAuthenticated={class}\nEncSize={size}\nEDiv=0\nRand=0\n"
    )
}

/// Starts it on one end of a pair; the other is the asker's.
fn start(command: &mut Command) -> (UnixStream, Child) {
    let (ours, its) = UnixStream::pair().expect("a pair of sockets");
    command.stdin(OwnedFd::from(its)).stdout(Stdio::null());
    let child = command.stderr(Stdio::piped()).spawn().expect("it starts");
    // Its end is kept by the command as long as that lives.
    command.stdin(Stdio::null());
    ours.set_read_timeout(Some(LIMIT)).expect("a socket has a limit");
    (ours, child)
}

fn helper(folder: &Path) -> Command {
    let mut command = Command::new(binary("homeward-bond"));
    command.arg(folder);
    command
}

/// What is answered to these octets, and what is said beside.
fn ask(mut command: Command, octets: &[u8]) -> (String, String) {
    let (mut socket, mut child) = start(&mut command);
    // It may have hung up on too much.
    let _ = socket.write_all(octets);
    let _ = socket.shutdown(Shutdown::Write);
    let mut answer = String::new();
    let _ = socket.read_to_string(&mut answer);
    let mut said = String::new();
    let mut stderr = child.stderr.take().expect("it was piped");
    stderr.read_to_string(&mut said).expect("text");
    child.wait().expect("it ends");
    (answer, said)
}

fn question() -> Vec<u8> {
    format!("{ADAPTER} {DEVICE}\n").into_bytes()
}

#[test]
fn class_and_size_are_told_and_never_a_key() {
    for class in 0..=4 {
        let folder = keys(&info(class, 16));
        let (answer, said) = ask(helper(folder.path()), &question());
        assert_eq!((answer, said), (format!("{class} 16\n"), String::new()));
    }
    for (file, expected) in [
        (info(3, 7), "3 7\n"),
        ("[General]\nName=none\n".to_owned(), "none\n"),
        (info(9, 16), "unread\n"),
        (
            format!("[LongTermKey]\nAuthenticated={KEY}\nEncSize=16\n"),
            "unread\n",
        ),
        // A weaker key may lie behind what is read of a file that is too long.
        (info(3, 16) + &"#".repeat(65 * 1024), "unread\n"),
    ] {
        let folder = keys(&file);
        let (answer, said) = ask(helper(folder.path()), &question());
        assert_eq!(answer, expected, "{said}");
        assert!(!said.contains(&KEY[..8]), "{said}");
    }
    let folder = keys(&info(3, 16));
    let other = format!("{ADAPTER} C1:00:00:00:00:09\n");
    assert_eq!(ask(helper(folder.path()), other.as_bytes()).0, "none\n");
    let gone = folder.path().join("gone");
    assert_eq!(
        ask(helper(&gone), &question()).0,
        "unread\n",
        "no folder is no proof"
    );
}

#[test]
fn what_is_no_question_is_not_answered_and_no_other_file_is_reached() {
    let folder = keys(&info(3, 16));
    let secret = folder.path().join("secret");
    fs::create_dir(&secret).expect("our own folder");
    fs::write(secret.join("info"), info(1, 16)).expect("our own folder");
    let long = [b'A'; 4096];
    let mut twice = question();
    twice.extend(question());
    for bad in [
        b"".as_slice(),
        b"\n",
        b"secret \n",
        b". secret\n",
        b"A0:B1:C2:D3:E4:F5 ../secret\n",
        b"A0:B1:C2:D3:E4:F5/../secret C1:00:00:00:00:02\n",
        b"A0:B1:C2:D3:E4:F5 C1:00:00:00:00:02/../../secret\n",
        b"A0:B1:C2:D3:E4:F5 C1:00:00:00:00:02\0\n",
        b"A0:B1:C2:D3:E4:F5  C1:00:00:00:00:02\n",
        b"A0:B1:C2:D3:E4:F5 C1:00:00:00:00:02",
        b"A0:B1:C2:D3:E4:F5\n",
        b"\xff\xfe\n",
        &twice,
        &long,
    ] {
        let (answer, said) = ask(helper(folder.path()), bad);
        assert_eq!(answer, "", "{}", bad.escape_ascii());
        assert!(said.contains("was not answered"), "{said}");
    }
}

#[test]
fn who_does_not_ask_in_time_is_hung_up_on() {
    let folder = keys(&info(3, 16));
    let begun = Instant::now();
    let (_silent, mut first) = start(&mut helper(folder.path()));
    let (mut slow, mut second) = start(&mut helper(folder.path()));
    // An octet now and then must not keep it alive.
    while second.try_wait().expect("a child").is_none() {
        assert!(begun.elapsed() < LIMIT, "it is kept alive by octets");
        let _ = slow.write_all(b"A");
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(!first.wait().expect("it ends").success());
}

#[tokio::test]
async fn the_agents_way_of_asking_is_understood() {
    let folder = keys(&info(1, 16));
    let path = folder.path().join("bond.sock");
    let listener = std::os::unix::net::UnixListener::bind(&path).expect("our own folder");
    let question: Question = format!("{ADAPTER} {DEVICE}").parse().expect("a question");
    let serve = tokio::task::spawn_blocking({
        let folder = folder.path().to_owned();
        move || {
            let (socket, _) = listener.accept().expect("somebody asks");
            let mut command = helper(&folder);
            command.stdin(OwnedFd::from(socket));
            command.status().expect("it starts")
        }
    });
    let answer = Keys::Helper(path).ask(question).await;
    assert!(serve.await.expect("it ran").success());
    let bond = Bond {
        class: KeyClass::LegacyAuthenticated,
        key_size: 16,
    };
    assert_eq!(answer, Answer::Held(bond));
}

/// A copy that everybody may start: what was built may lie where others do not come.
fn copy() -> (tempfile::TempDir, PathBuf) {
    let dir = tempfile::Builder::new().tempdir_in("/tmp").expect("a folder");
    fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).expect("our own folder");
    let program = dir.path().join("homeward-bond");
    fs::copy(binary("homeward-bond"), &program).expect("our own folder");
    (dir, program)
}

#[test]
fn its_one_right_is_enough_and_without_it_nothing_is_proved() {
    let Some(setpriv) = shared::debian("setpriv", "util-linux") else {
        return;
    };
    if !rustix::process::geteuid().is_root() {
        return shared::missing("a right to give", "run this test as root");
    }
    let folder = keys(&info(3, 16));
    let (_dir, program) = copy();
    // As the unit starts it: nobody's user, one right.
    let with = |rights: &str| {
        let mut command = Command::new(&setpriv);
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "--no-new-privs",
        ]);
        for set in ["inh-caps", "ambient-caps", "bounding-set"] {
            command.arg(format!("--{set}={rights}"));
        }
        command.arg(&program).arg(folder.path());
        command
    };
    let tried = finish(with("-all,+dac_read_search").arg("--none"), b"", LIMIT);
    if tried.stderr.contains("setpriv") {
        return shared::missing(
            "the right CAP_DAC_READ_SEARCH",
            "a container was started without it",
        );
    }
    assert_eq!(ask(with("-all,+dac_read_search"), &question()).0, "3 16\n");
    assert_eq!(ask(with("-all"), &question()).0, "unread\n");
}
