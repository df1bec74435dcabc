//! A repository of somebody else's making: by tuf-on-ci 0.11, keys in a security key and a cloud service.

use std::path::Path;
use std::process::Command;

use homeward_agent::update::keep::Folder;
use homeward_agent::update::tuf::{Fetch, FetchError, UpdateError, find, refresh, trust};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::TufError;
use homeward_tests::shared;

/// A folder as a server would offer it.
struct Served(std::path::PathBuf);

impl Fetch for Served {
    async fn get(
        &self,
        file: &str,
        _: u64,
        _: u64,
        take: &mut (dyn FnMut(u64, &[u8]) -> std::io::Result<()> + Send),
    ) -> Result<(), FetchError> {
        let bytes = std::fs::read(self.0.join(file)).map_err(|_| FetchError::Absent)?;
        take(0, &bytes).map_err(FetchError::Keep)
    }
}

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
    let run = |words: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_homeward-tuf"));
        let done = command
            .arg("--metadata-dir")
            .arg(dir.path())
            .args(words)
            .output()
            .expect("it runs");
        done.status.code()
    };
    let init = place.join("initial_root.json");
    assert_eq!(run(&["init", init.to_str().expect("a path")]), Some(0));
    assert_eq!(run(&["init", "/nowhere"]), Some(1));
    assert_eq!(
        run(&["--metadata-url", "http://127.0.0.1:9/", "refresh"]),
        Some(1)
    );
    assert_eq!(run(&["refresh"]), Some(1));
    assert_eq!(names(dir.path()), ["root.json"]);
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
