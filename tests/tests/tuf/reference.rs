//! Reference values that a release carries: a server takes them over when it believes the repository, and only then.

use std::fs;
use std::path::Path;

use homeward_tests::wall::{self, Surroundings};
use serde_json::{Value, json};

use crate::signer::Desk;

/// A desk with a key that measures, and the folder of a server.
fn desk() -> Desk {
    let desk = Desk::new();
    for name in ["maker", "stranger"] {
        let key = rcgen::KeyPair::generate().expect("a key");
        fs::write(desk.path(&format!("{name}.key")), key.serialize_pem()).expect("a file");
        fs::write(desk.path(&format!("{name}.pem")), key.public_key_pem()).expect("a file");
    }
    desk.ok(&["--data", "server", "init", "--name", "localhost"]);
    desk
}

/// Signs values of a release whose agent has this content.
fn measure(desk: &Desk, name: &str, content: &str, by: &str) -> String {
    let (agent, out) = (format!("agent-{name}"), format!("{name}-{by}.rim"));
    fs::write(desk.path(&agent), content).expect("a file");
    let _ = fs::remove_file(desk.path(&out));
    let key = format!("{by}.key");
    desk.ok(&[
        "reference",
        "make",
        "--release",
        name,
        "--agent",
        &agent,
        "--key",
        &key,
        "--out",
        &out,
    ]);
    out
}

fn publish(desk: &Desk, signers: &[&str]) {
    for who in signers {
        desk.sign("rel", who).expect("signs");
    }
    desk.publish().expect("published");
}

fn import(desk: &Desk, folder: &str, more: &[&str]) -> Result<Value, String> {
    import_in(desk, folder, more, &Surroundings::new())
}

fn import_in(desk: &Desk, folder: &str, more: &[&str], environment: &Surroundings) -> Result<Value, String> {
    let words = ["--data", "server", "--json", "reference", "import", folder];
    let said = desk.run_in(&[&words[..], more].concat(), environment)?;
    Ok(serde_json::from_str(&said).expect("JSON"))
}

/// What is loaded: each release with the targets that name it.
fn loaded(desk: &Desk) -> Vec<(String, Option<u64>)> {
    let said = desk.ok(&["--data", "server", "--json", "reference", "list"]);
    let rows: Vec<Value> = serde_json::from_str(&said).expect("JSON");
    let one = |row: &Value| {
        (
            row["release"].as_str().unwrap_or_default().to_owned(),
            row["targets"].as_u64(),
        )
    };
    rows.iter().map(one).collect()
}

fn named(name: &str, targets: u64) -> (String, Option<u64>) {
    (name.to_owned(), Some(targets))
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("a folder");
    for entry in fs::read_dir(from).expect("a folder").map_while(Result::ok) {
        let (path, to) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &to);
        } else {
            fs::copy(&path, to).expect("copies");
        }
    }
}

#[test]
fn a_release_brings_its_reference_values_and_takes_them_back() {
    let desk = desk();
    desk.root();
    let first = measure(&desk, "1.4.0", "the agent", "maker");
    let why = desk.run(&["release", "add", "rel", &first, "--reference"]);
    assert!(
        why.expect_err("nobody measures")
            .contains("--reference-key first")
    );
    desk.ok(&["release", "add", "rel", "maker.pem", "--reference-key"]);
    let strange = measure(&desk, "1.4.0", "another agent", "stranger");
    let why = desk.run(&["release", "add", "rel", &strange, "--reference"]);
    assert!(why.expect_err("another key").contains("not believed"));
    let said = desk.ok(&["release", "add", "rel", &first, "--reference"]);
    for words in ["WHO MEASURES", "homeward/reference/1.4.0.rim: reference values"] {
        assert!(said.contains(words), "{words}: {said}");
    }
    publish(&desk, &["alice", "bob", "dave", "erin"]);

    // 1. The root is brought by a person, once; a dry run changes nothing.
    let why = import(&desk, "rel", &[]).expect_err("no root");
    assert!(why.contains("give --root FILE the first time"), "{why}");
    let root = "rel/repository/metadata/1.root.json";
    let said = import(&desk, "rel", &["--root", root, "--dry-run"]).expect("believed");
    assert_eq!(said["releases"], json!([{ "release": "1.4.0", "change": "new" }]));
    assert_eq!(loaded(&desk), []);
    import(&desk, "rel", &["--root", root]).expect("imported");
    assert_eq!(loaded(&desk), [named("1.4.0", 1)]);
    assert!(
        import(&desk, "rel", &["--root", root])
            .expect_err("known")
            .contains("known already")
    );

    // 2. By hand another is loaded; the next targets bring one more, and leave the first as it is.
    copy(&desk.path("rel/repository"), &desk.path("before"));
    let own = measure(&desk, "own", "of one site", "stranger");
    desk.ok(&[
        "--data",
        "server",
        "reference",
        "load",
        &own,
        "--signer",
        "stranger.pem",
    ]);
    let second = measure(&desk, "1.5.0", "the newer agent", "maker");
    desk.ok(&["release", "add", "rel", &second, "--reference"]);
    publish(&desk, &["dave", "erin"]);
    let said = import(&desk, "rel/repository", &[]).expect("imported");
    let changes = json!([{ "release": "1.4.0", "change": "same" }, { "release": "1.5.0", "change": "new" }]);
    assert_eq!(said["releases"], changes);
    let all = [named("1.4.0", 2), ("own".to_owned(), None), named("1.5.0", 2)];
    assert_eq!(loaded(&desk), all);

    // 3. What is older, tampered with, of others or over is not believed, and changes nothing.
    let why = import(&desk, "before", &[]).expect_err("rolled back");
    assert!(why.contains("went back from version 2 to 1"), "{why}");
    copy(&desk.path("rel/repository"), &desk.path("spoilt"));
    spoil(&desk.path("spoilt/targets/homeward/reference"));
    let why = import(&desk, "spoilt", &[]).expect_err("spoilt");
    assert!(why.contains("it is not what the targets promise"), "{why}");
    copy(&desk.path("rel/repository"), &desk.path("unsigned"));
    spoil(&desk.path("unsigned/metadata"));
    let why = import(&desk, "unsigned", &[]).expect_err("unsigned");
    assert!(why.contains("is not believed"), "{why}");
    if let Some(later) = wall::clock("+8d") {
        let why = import_in(&desk, "rel", &[], &later).expect_err("over");
        assert!(why.contains("timestamp version 2 expired"), "{why}");
    }
    assert_eq!(loaded(&desk), all);

    // 4. The holders take one back.
    desk.ok(&[
        "release",
        "remove",
        "rel",
        "--path",
        "homeward/reference/1.4.0.rim",
    ]);
    publish(&desk, &["dave", "erin"]);
    import(&desk, "rel", &[]).expect("imported");
    assert_eq!(loaded(&desk), [("own".to_owned(), None), named("1.5.0", 3)]);
}

/// Changes a byte at the end of every file but the roots.
fn spoil(folder: &Path) {
    for entry in fs::read_dir(folder).expect("a folder").map_while(Result::ok) {
        if !entry.file_name().to_string_lossy().ends_with("root.json") {
            let mut bytes = fs::read(entry.path()).expect("a file");
            let at = bytes.len() / 2;
            bytes[at] ^= 1;
            fs::write(entry.path(), bytes).expect("a file");
        }
    }
}
