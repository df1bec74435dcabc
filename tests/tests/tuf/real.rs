//! A repository of somebody else's making: by tuf-on-ci 0.11, keys in a security key and a cloud service.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use homeward_agent::update::keep::Folder;
use homeward_agent::update::tuf::{UpdateError, download, find, refresh, trust};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::TufError;
use homeward_protocol::tuf::client::Found;
use homeward_protocol::tuf::hash::Hashes;
use homeward_protocol::tuf::metadata::targets::Target;
use homeward_protocol::tuf::role::Role;
use homeward_tests::shared;
use homeward_tests::tuf::forge::{Forge, Ours, Python};
use homeward_tests::tuf::house::{House, TOP};
use homeward_tests::tuf::shelf::Served;

use super::hostile::Server;

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(work)
}

#[test]
fn test_static_repository() {
    let Some(place) = shared::data("data/tuf/static_data/tuf-on-ci-0.11") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let store = Folder::at(dir.path());
    let root = std::fs::read(place.join("initial_root.json")).expect("the root");
    let served = Served(place.join("metadata"));
    let day = Timestamp::from_utc("2025-02-09T09:17:23Z").expect("a moment");
    trust(&store, &root, day).expect("it vouches for itself");
    let mut client = wait(refresh(&served, &store, day)).expect("refreshes");
    let path = "delegatedrole/artifact".parse().expect("a path");
    let found = wait(find(&mut client, path, &served, &store))
        .expect("searches")
        .expect("finds");
    let artifact = std::fs::read(place.join("targets").join(&found.file)).expect("the artifact");
    assert!(found.target.hashes.match_bytes(&artifact));
    assert_eq!(found.by.name(), "delegatedrole");
    // 2044-08-10 is its end.
    let late = Timestamp::from_utc("2044-08-10T10:21:51Z").expect("a moment");
    let over = wait(refresh(&served, &store, late)).expect_err("it is over");
    assert!(
        matches!(over, UpdateError::Tuf(TufError::Expired { .. })),
        "{over}"
    );
}

/// The program that the public suite drives does what its protocol says.
#[test]
fn the_program_for_the_conformance_suite_speaks_its_protocol() {
    let Some(place) = shared::data("data/tuf/static_data/tuf-on-ci-0.11") else {
        return;
    };
    let dir = tempfile::tempdir().expect("a folder");
    let run = |words: &[&str]| code(dir.path(), words);
    let init = place.join("initial_root.json");
    assert_eq!(run(&["init", init.to_str().expect("a path")]), Some(0));
    assert_eq!(run(&["init", "/nowhere"]), Some(1));
    assert_eq!(
        run(&["--metadata-url", "http://127.0.0.1:9/", "refresh"]),
        Some(1)
    );
    assert_eq!(run(&["refresh"]), Some(1));
    assert_eq!(run(&["--nonsense", "refresh"]), Some(1), "1 is the only failure");
    assert_eq!(run(&["--help"]), Some(0));
    assert_eq!(names(dir.path()), ["root.json"]);
    // What a refresh could not load whole is not taken.
    let mut long = std::fs::read(&init).expect("the root");
    long.resize(600_000, b' ');
    let padded = dir.path().join("padded");
    std::fs::write(&padded, long).expect("a file");
    let other = tempfile::tempdir().expect("a folder");
    let words = ["init", padded.to_str().expect("a path")];
    assert_eq!(code(other.path(), &words), Some(1));
    assert!(names(other.path()).is_empty());
}

/// Runs the program; gives its exit code.
fn code(metadata: &Path, words: &[&str]) -> Option<i32> {
    let mut command = Command::new(env!("CARGO_BIN_EXE_homeward-tuf"));
    let done = command.arg("--metadata-dir").arg(metadata).args(words).output();
    done.expect("it runs").status.code()
}

/// Init, refresh and download over HTTP, as the suite does it.
fn whole(forge: Box<dyn Forge>) {
    let mut house = House::bare(forge);
    house.promises = true;
    for role in TOP {
        house.doc(role)["expires"] = "2099-01-01T00:00:00Z".into();
    }
    house.delegate("targets", "acme pumps", &["pumps/*"], true);
    house.doc("acme pumps")["expires"] = "2099-01-01T00:00:00Z".into();
    let long = "n".repeat(300);
    // The first ones would share a working file that is called by a suffix.
    let files = ["a", "a.part", &long, "dir/b c", "pumps/p"].map(str::to_owned);
    for (path, role) in files
        .iter()
        .zip(["targets", "targets", "targets", "targets", "acme pumps"])
    {
        house.add_target(role, path, format!("content of {path}").as_bytes());
    }
    for role in ["root", "acme pumps", "targets", "snapshot", "timestamp"] {
        house.publish(role);
    }
    let root = house.metadata.get("1.root.json").expect("a root");
    let server = Server::start(move |asked, push| {
        let path = asked.split(' ').nth(1).unwrap_or_default();
        let found = match path.trim_start_matches('/').split_once('/') {
            Some(("metadata", name)) => house.metadata.get(name),
            Some(("targets", name)) => house.targets.get(&name.replace("%20", " ")),
            _ => None,
        };
        let (status, body) = found.map_or(("404 Not Found", Vec::new()), |body| ("200 OK", body));
        let head = format!(
            "HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
            body.len()
        );
        let _ = push(head.as_bytes()) && push(&body);
    });
    let dir = tempfile::tempdir().expect("a folder");
    let (metadata, targets) = (dir.path().join("metadata"), dir.path().join("targets"));
    let first = dir.path().join("first.json");
    std::fs::write(&first, root).expect("a file");
    let at = |folder: &str| format!("http://127.0.0.1:{}/{folder}/", server.port);
    let (url, base) = (at("metadata"), at("targets"));
    let run = |words: &[&str]| code(&metadata, words);
    assert_eq!(run(&["init", first.to_str().expect("a path")]), Some(0));
    assert_eq!(run(&["--metadata-url", &url, "refresh"]), Some(0));
    assert_eq!(
        names(&metadata),
        ["root.json", "snapshot.json", "targets.json", "timestamp.json"]
    );
    let folder = targets.to_str().expect("a path");
    let common = [
        "--metadata-url",
        &url,
        "--target-base-url",
        &base,
        "--target-dir",
        folder,
    ];
    let download = |names: &[&str]| {
        let wanted = names.iter().flat_map(|name| ["--target-name", name]);
        let words: Vec<&str> = common.into_iter().chain(wanted).chain(["download"]).collect();
        run(&words)
    };
    assert_eq!(download(&[]), Some(1), "of nothing");
    assert_eq!(download(&["nobody/speaks/of/it"]), Some(1));
    assert_eq!(download(&files.each_ref().map(String::as_str)), Some(0));
    let mut got: Vec<String> = names(&targets)
        .iter()
        .map(|name| std::fs::read_to_string(targets.join(name)).expect("a target"))
        .collect();
    let mut want = files.map(|path| format!("content of {path}"));
    got.sort();
    want.sort();
    assert_eq!(got, want);
    assert_eq!(
        std::fs::read(targets.join("a.part")).expect("a target"),
        b"content of a.part"
    );
}

#[test]
fn the_whole_program_gets_software_from_a_repository_of_ours() {
    whole(Box::new(Ours));
}

#[test]
fn the_whole_program_gets_software_from_a_repository_of_python_tuf() {
    if let Some(python) = Python::start() {
        whole(Box::new(python));
    }
}

/// The sensors are read on the same thread.
#[test]
fn while_a_download_is_hashed_other_work_goes_on() {
    let house = House::new(Box::new(Ours));
    let content = vec![7; 64 << 20];
    let digest = ring::digest::digest(&ring::digest::SHA256, &content);
    let place = house.folder.path().join("there");
    std::fs::write(&place, &content).expect("a file");
    let found = Found {
        path: "there".parse().expect("a path"),
        target: Target {
            length: content.len() as u64,
            hashes: Hashes::sha256(digest.as_ref().try_into().expect("32 bytes")),
            custom: None,
            notes: None,
        },
        by: Role::Targets,
        file: "there".to_owned(),
    };
    let mut ticks = 0;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .build();
    runtime.expect("a runtime").block_on(async {
        let ticking = async {
            loop {
                tokio::time::sleep(Duration::from_millis(1)).await;
                ticks += 1;
            }
        };
        let shelf = &house.targets;
        tokio::select! {
            biased;
            done = download(&found, &shelf, &place) => done.expect("it is there already"),
            () = ticking => {}
        }
    });
    assert!(ticks > 3, "{ticks}");
}

fn names(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> = std::fs::read_dir(folder)
        .expect("the folder")
        .map(|entry| {
            entry
                .expect("an entry")
                .file_name()
                .to_string_lossy()
                .into_owned()
        })
        .collect();
    names.sort();
    names
}
