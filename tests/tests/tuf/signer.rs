//! `homeward-fleet release`: three holders of the root, two of the targets, each alone, and a box that believes the end.

use std::path::{Path, PathBuf};
use std::process::Command;

use homeward_agent::update::keep::Folder;
use homeward_agent::update::tuf::{find, refresh, trust};
use homeward_fleet::admin::dossier::papers;
use homeward_fleet::release::dossiers;
use homeward_protocol::release::dossier::read;
use homeward_protocol::release::{Custom, Installer};
use homeward_protocol::time::Timestamp;
use homeward_protocol::tuf::key::Key;
use homeward_protocol::tuf::read::to_hex;
use homeward_protocol::tuf::sign::{SigningKey, Unsigned};
use homeward_tests::programs::binary;
use homeward_tests::tuf::forge::Python;
use homeward_tests::tuf::shelf::Served;
use homeward_tests::wall::Surroundings;
use serde_json::{Value, json};

/// What a release means for people.
const NOTES: &str = include_str!("../../../protocol/tests/notes/agent.toml");

/// Where releases are made: the holders' keys and a release folder `rel`.
pub(crate) struct Desk {
    dir: tempfile::TempDir,
}

impl Desk {
    pub(crate) fn new() -> Desk {
        let desk = Desk {
            dir: tempfile::tempdir().expect("a folder"),
        };
        std::fs::write(desk.path("pass"), "correct horse battery\n").expect("a file");
        for name in ["alice", "bob", "carol", "dave", "erin", "online"] {
            desk.ok(&[
                "release",
                "keygen",
                "--out",
                &desk.at(name),
                "--passphrase-file",
                &desk.at("pass"),
            ]);
        }
        desk
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    pub(crate) fn at(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    /// Runs the real program without any network configuration or data folder; gives what it said, or why it did not.
    pub(crate) fn run(&self, words: &[&str]) -> Result<String, String> {
        self.run_in(words, &Surroundings::new())
    }

    /// The same with this environment.
    pub(crate) fn run_in(&self, words: &[&str], environment: &Surroundings) -> Result<String, String> {
        let mut command = Command::new(binary("homeward-fleet"));
        let done = command
            .args(words)
            .env_clear()
            .envs(environment.iter().cloned())
            .current_dir(self.dir.path())
            .output()
            .expect("it runs");
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if done.status.success() {
            Ok(text(&done.stdout))
        } else {
            Err(text(&done.stderr))
        }
    }

    pub(crate) fn ok(&self, words: &[&str]) -> String {
        self.run(words).unwrap_or_else(|why| panic!("{words:?}: {why}"))
    }

    pub(crate) fn root(&self) -> String {
        let public = |name: &str| format!("{}.pub", self.at(name));
        self.ok(&[
            "release",
            "root",
            "rel",
            "--root",
            &public("alice"),
            "--root",
            &public("bob"),
            "--root",
            &public("carol"),
            "--targets",
            &public("dave"),
            "--targets",
            &public("erin"),
            "--online",
            &public("online"),
        ])
    }

    pub(crate) fn sign(&self, folder: &str, who: &str) -> Result<String, String> {
        self.run(&[
            "release",
            "sign",
            folder,
            "--key",
            &self.at(who),
            "--passphrase-file",
            &self.at("pass"),
        ])
    }

    pub(crate) fn publish(&self) -> Result<String, String> {
        self.run(&[
            "release",
            "publish",
            "rel",
            "--key",
            &self.at("online"),
            "--passphrase-file",
            &self.at("pass"),
        ])
    }

    fn add(&self, version: &str, content: &str) -> String {
        std::fs::write(self.path("agent.bin"), content).expect("a file");
        std::fs::write(self.path("notes.toml"), NOTES).expect("a file");
        self.ok(&[
            "release",
            "add",
            "rel",
            "agent.bin",
            "--path",
            "agent/x86_64",
            "--installer",
            "agent-slot",
            "--hw",
            "x86_64",
            "--version",
            version,
            "--min-version",
            "1.0.0",
            "--disruption",
            "agent-restart",
            "--security-floor",
            "1.0.0",
            "--notes",
            "notes.toml",
        ])
    }
}

fn wait<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
        .block_on(work)
}

fn now() -> Timestamp {
    homeward_agent::clock::Clock::with_floor(0).now()
}

/// What a box finds under the agent's path.
fn custom(desk: &Desk, store: &Path) -> Option<Custom> {
    let (served, store) = (Served(desk.path("rel/repository/metadata")), Folder::at(store));
    let mut client = wait(refresh(&served, &store, now())).expect("refreshes");
    let path = "agent/x86_64".parse().expect("a path");
    let found = wait(find(&mut client, path, &served, &store)).expect("searches")?;
    assert!(
        desk.path("rel/repository/targets").join(&found.file).exists(),
        "{}",
        found.file
    );
    Some(Custom::read(found.target.custom.as_ref()).expect("it says what it is"))
}

#[test]
fn holders_sign_alone_and_a_box_believes_the_end() {
    let desk = Desk::new();
    let said = desk.root();
    assert!(said.contains("root: 2 of 3 keys must sign"), "{said}");
    assert!(said.contains("targets: 2 of 2 keys must sign"), "{said}");
    let said = desk.add("1.4.0", "agent 1.4.0");
    for words in [
        "agent-slot 1.4.0 for x86_64",
        "restarts the agent",
        "only where 1.0.0",
        "signed by 0 of the 2",
        "staff [en] The box asks its Bluetooth sensors less often",
        "patient [fr] Le petit boîtier chez vous reçoit une amélioration.",
    ] {
        assert!(said.contains(words), "{words}: {said}");
    }
    // Nobody has signed enough yet.
    desk.sign("rel", "alice").expect("alice signs the root");
    let why = desk.publish().expect_err("one of two");
    assert!(
        why.contains("root version 1 is signed by 1 of its keys, and needs 2"),
        "{why}"
    );
    assert!(
        !desk.path("rel/repository").exists(),
        "nothing is published halfway"
    );
    // Carol signs a copy on another machine; so do both holders of targets.
    for who in ["carol", "dave", "erin"] {
        let copy = desk.path(&format!("copy-{who}/draft"));
        std::fs::create_dir_all(&copy).expect("a folder");
        for name in ["root.json", "targets.json"] {
            std::fs::copy(desk.path("rel/draft").join(name), copy.join(name)).expect("a copy");
        }
        desk.sign(&format!("copy-{who}"), who).expect("signs");
    }
    desk.ok(&["release", "merge", "rel", "copy-carol", "copy-dave"]);
    let why = desk.publish().expect_err("one of two");
    assert!(why.contains("targets version 1 is signed by 1"), "{why}");
    let said = desk.ok(&["release", "merge", "rel", "copy-erin"]);
    assert!(said.contains("signed by 2 of the 2"), "{said}");
    let why = desk
        .sign("rel", "online")
        .expect_err("the online key makes no software");
    assert!(why.contains("may sign none"), "{why}");
    desk.publish().expect("now it is whole");
    let store = desk.path("box");
    let root = std::fs::read(desk.path("rel/repository/metadata/1.root.json")).expect("the root");
    trust(&Folder::at(&store), &root, now()).expect("it vouches for itself");
    let what = custom(&desk, &store).expect("the agent");
    assert_eq!(
        (what.installer, what.version),
        (Installer::AgentSlot, "1.4.0".parse().expect("a version"))
    );
    // The daily renewal needs the online key alone.
    desk.publish().expect("renews");
    // A key is lost: bob and the others make a new root, and targets go on.
    desk.ok(&[
        "release",
        "keygen",
        "--out",
        &desk.at("frank"),
        "--passphrase-file",
        &desk.at("pass"),
    ]);
    let public = |name: &str| format!("{}.pub", desk.at(name));
    let said = desk.ok(&[
        "release",
        "root",
        "rel",
        "--root",
        &public("alice"),
        "--root",
        &public("bob"),
        "--root",
        &public("frank"),
        "--targets",
        &public("dave"),
        "--targets",
        &public("frank"),
        "--online",
        &public("online"),
    ]);
    assert!(said.contains("no key more") && said.contains("new key"), "{said}");
    desk.add("1.5.0", "agent 1.5.0");
    for who in ["alice", "frank", "dave"] {
        desk.sign("rel", who).expect("signs");
    }
    let why = desk.publish().expect_err("alice alone of the old holders");
    assert!(why.contains("root version 2 is signed by 1"), "{why}");
    desk.sign("rel", "carol").expect("an old holder");
    desk.publish().expect("published");
    assert_eq!(
        custom(&desk, &store)
            .map(|what| what.version.to_string())
            .as_deref(),
        Some("1.5.0")
    );
    python_agrees(&desk);
}

#[test]
fn notes_that_say_nothing_to_patients_are_not_drafted() {
    let desk = Desk::new();
    desk.root();
    desk.add("1.4.0", "agent 1.4.0");
    std::fs::write(desk.path("odd.toml"), "[staff]\nen = 'Short.'\n").expect("a file");
    let odd = "release add rel agent.bin --path agent/odd --installer agent-slot --hw x86_64 --version 1.4.1 --disruption none \
               --notes odd.toml";
    let why = desk
        .run(&odd.split(' ').collect::<Vec<_>>())
        .expect_err("nothing for patients");
    assert!(why.contains("odd.toml") && why.contains("patient"), "{why}");
}

/// python-tuf's own client takes the same repository.
fn python_agrees(desk: &Desk) {
    let Some(mut python) = Python::start() else { return };
    let mut files = std::collections::BTreeMap::new();
    for folder in ["metadata", "targets/agent"] {
        for entry in std::fs::read_dir(desk.path("rel/repository").join(folder)).expect("a folder") {
            let path = entry.expect("an entry").path();
            let name = format!("{folder}/{}", path.file_name().expect("a name").to_string_lossy());
            files.insert(name, std::fs::read(&path).expect("a file"));
        }
    }
    let root = files["metadata/1.root.json"].clone();
    assert_eq!(
        python.check(&root, &files, "agent/x86_64").as_deref(),
        Ok(b"agent 1.5.0".as_slice())
    );
}

#[test]
fn keys_are_sealed_and_never_written_over() {
    let desk = Desk::new();
    let key = std::fs::read_to_string(desk.path("alice")).expect("the key");
    assert!(key.contains("ENCRYPTED PRIVATE KEY"), "{key}");
    let mode = std::os::unix::fs::PermissionsExt::mode(
        &std::fs::metadata(desk.path("alice"))
            .expect("the key")
            .permissions(),
    );
    assert_eq!(mode & 0o077, 0);
    let why = desk.run(&[
        "release",
        "keygen",
        "--out",
        &desk.at("alice"),
        "--passphrase-file",
        &desk.at("pass"),
    ]);
    assert!(why.expect_err("it exists").contains("never written over"));
    desk.root();
    std::fs::write(desk.path("other"), "another passphrase\n").expect("a file");
    let why = desk.run(&[
        "release",
        "sign",
        "rel",
        "--key",
        &desk.at("alice"),
        "--passphrase-file",
        &desk.at("other"),
    ]);
    assert!(why.expect_err("closed").contains("passphrase is another one"));
    std::fs::write(desk.path("short"), "short\n").expect("a file");
    assert!(
        desk.run(&[
            "release",
            "keygen",
            "--out",
            &desk.at("x"),
            "--passphrase-file",
            &desk.at("short")
        ])
        .is_err()
    );
    // The online key may make no software.
    let public = |name: &str| format!("{}.pub", desk.at(name));
    let why = desk.run(&[
        "release",
        "root",
        "rel",
        "--root",
        &public("alice"),
        "--root",
        &public("bob"),
        "--targets",
        &public("dave"),
        "--targets",
        &public("online"),
        "--online",
        &public("online"),
    ]);
    assert!(
        why.expect_err("refused")
            .contains("a stolen server would make software")
    );
}

/// Changes a file of metadata without its holders.
fn forge(path: &Path, change: impl FnOnce(&mut Value)) {
    let mut file: Value = serde_json::from_slice(&std::fs::read(path).expect("a file")).expect("JSON");
    change(&mut file["signed"]);
    std::fs::write(path, file.to_string()).expect("a file");
}

#[test]
fn an_id_that_stands_for_another_key_is_refused_before_anybody_signs() {
    let desk = Desk::new();
    desk.root();
    let key = |name: &str| -> Value {
        let text = std::fs::read(desk.path(&format!("{name}.pub"))).expect("a key");
        serde_json::from_slice(&text).expect("JSON")
    };
    let root = desk.path("rel/draft/root.json");
    let (before, other) = (std::fs::read(&root).expect("a draft"), key("online"));
    let p256 = json!({
        "keytype": "ecdsa", "scheme": "ecdsa-sha2-nistp256",
        "keyval": { "public": "-----BEGIN PUBLIC KEY-----\n-----END PUBLIC KEY-----" },
    });
    for key in [other, p256] {
        std::fs::write(&root, &before).expect("a draft");
        forge(&root, |signed| {
            let keys = signed["keys"].as_object_mut().expect("keys");
            let id = signed_by(&desk, "dave");
            assert!(keys.insert(id, key.clone()).is_some());
        });
        for said in [desk.run(&["release", "show", "rel"]), desk.sign("rel", "alice")] {
            assert!(said.expect_err("another key").contains("stands another key"));
        }
    }
}

/// The id of somebody's key.
fn signed_by(desk: &Desk, name: &str) -> String {
    let text = std::fs::read(desk.path(&format!("{name}.pub"))).expect("a key");
    let key: Value = serde_json::from_slice(&text).expect("JSON");
    Key::read(&key)
        .expect("a key")
        .and_then(|key| key.id())
        .expect("ours")
}

#[test]
fn drafts_of_others_are_published_only_as_a_box_would_take_them() {
    let desk = Desk::new();
    desk.root();
    desk.add("1.4.0", "agent 1.4.0");
    let maker = format!("{}.pub", desk.at("carol"));
    desk.ok(&[
        "release",
        "delegate",
        "rel",
        "--name",
        "acme pumps",
        "--key",
        &maker,
        "--pattern",
        "acme/*",
    ]);
    for who in ["alice", "bob", "dave", "erin"] {
        desk.sign("rel", who).expect("signs");
    }
    desk.publish().expect("published");
    let draft = desk.path("rel/draft/acme pumps.json");
    let put = |version: u64, expires: &str, seed: Option<u8>| {
        let mut file = Unsigned::new(json!({
            "_type": "targets", "spec_version": "1.0.34", "version": version, "expires": expires, "targets": {},
        }));
        if let Some(seed) = seed {
            file.sign(&SigningKey::from_seed(&[seed; 32]).expect("a key"))
                .expect("signs");
        }
        std::fs::create_dir_all(desk.path("rel/draft")).expect("a folder");
        std::fs::write(&draft, file.to_bytes()).expect("a draft");
    };
    // The maker's key is made anew, as one whose secret is at hand here.
    let key = SigningKey::from_seed(&[7; 32]).expect("a key").public();
    std::fs::write(desk.path("maker.pub"), key.to_json().expect("ours").to_string()).expect("a file");
    desk.ok(&[
        "release",
        "delegate",
        "rel",
        "--name",
        "acme pumps",
        "--key",
        &desk.at("maker.pub"),
        "--pattern",
        "acme/*",
    ]);
    for who in ["dave", "erin"] {
        desk.sign("rel", who).expect("signs");
    }
    let late = "2099-01-01T00:00:00Z";
    for (version, expires, seed, why) in [
        (1, late, None, "signed by 0 of its keys"),
        (1, late, Some(8), "signed by 0 of its keys"),
        (1, "2020-01-01T00:00:00Z", Some(7), "expired"),
    ] {
        put(version, expires, seed);
        let said = desk.publish().expect_err("no box would take it");
        assert!(said.contains(why), "{why}: {said}");
    }
    put(2, late, Some(7));
    desk.publish().expect("as a box would take it");
    assert!(desk.path("rel/repository/metadata/2.acme%20pumps.json").exists());
    for version in [1, 2] {
        put(version, late, Some(7));
        let said = desk.publish().expect_err("it is not newer");
        assert!(said.contains("and 2 is published"), "{said}");
    }
    std::fs::remove_file(&draft).expect("a draft");
    desk.publish().expect("it stays listed");
    // Nobody handed anything to that one.
    put(3, late, Some(7));
    std::fs::rename(&draft, desk.path("rel/draft/stranger.json")).expect("a draft");
    let said = desk.publish().expect_err("nobody knows it");
    assert!(said.contains("nothing is handed to `stranger`"), "{said}");
}

/// Whoever asks for tasks finds what a maker signed for its part, as a box would; what nobody signed names nothing, and hides nothing.
#[test]
fn instructions_of_a_maker_are_found_and_what_nobody_signed_is_nobodys() {
    let desk = Desk::new();
    desk.root();
    let key = SigningKey::from_seed(&[7; 32]).expect("a key");
    std::fs::write(
        desk.path("maker.pub"),
        key.public().to_json().expect("ours").to_string(),
    )
    .expect("a file");
    let delegate = ["release", "delegate", "rel", "--name", "maker", "--key"];
    let part = ["maker.pub", "--pattern", "dossier/guide/*"];
    desk.ok(&[&delegate[..], &part].concat());
    let mut guide = read(include_str!("../../../protocol/tests/dossiers/cuff.toml")).expect("a dossier");
    guide.name = "guide".into();
    let (path, bytes) = (guide.path(), guide.to_bytes().expect("bytes"));
    let digest = ring::digest::digest(&ring::digest::SHA256, &bytes);
    let sha256 = to_hex(digest.as_ref());
    let target =
        json!({ "length": bytes.len(), "hashes": { "sha256": sha256 }, "custom": dossiers::custom(&guide) });
    let named = |path: &str, version: u64| {
        let mut targets = serde_json::Map::new();
        targets.insert(path.to_owned(), target.clone());
        json!({
            "_type": "targets", "spec_version": "1.0.34", "version": version, "expires": "2099-01-01T00:00:00Z",
            "targets": targets,
        })
    };
    let mut file = Unsigned::new(named(&path, 1));
    file.sign(&key).expect("signs");
    std::fs::create_dir_all(desk.path("rel/draft")).expect("a folder");
    std::fs::write(desk.path("rel/draft/maker.json"), file.to_bytes()).expect("a draft");
    let version = path.rsplit('/').next().expect("a version");
    let lies = desk.path(&format!(
        "rel/repository/targets/dossier/guide/{sha256}.{version}"
    ));
    std::fs::create_dir_all(lies.parent().expect("a folder")).expect("a folder");
    std::fs::write(&lies, &bytes).expect("a file");
    for who in ["alice", "bob", "dave", "erin"] {
        desk.sign("rel", who).expect("signs");
    }
    desk.publish().expect("published");

    let papers = papers(desk.path("rel"));
    let newest = || papers.newest(now()).expect("it is believed");
    let found: Vec<String> = newest().whole.into_iter().map(|one| one.path).collect();
    assert_eq!(found, std::slice::from_ref(&path));
    // Somebody can write to the server's disk: a newer version, and a line of its own.
    for (n, forged) in [(7, "dossier/guide/9.0.0"), (8, "dossier/other/1.0.0")] {
        let text = json!({ "signed": named(forged, n), "signatures": [] }).to_string();
        let at = desk.path(&format!("rel/repository/metadata/{n}.maker.json"));
        std::fs::write(at, text).expect("a file");
    }
    let found: Vec<String> = newest().whole.into_iter().map(|one| one.path).collect();
    assert_eq!(found, std::slice::from_ref(&path));
    // What is published and is not there as it was signed is said, and nothing stands in for it.
    std::fs::write(&lies, b"{}").expect("a file");
    let seen = newest();
    assert!(seen.whole.is_empty());
    assert_eq!(seen.broken.len(), 1);
    assert!(
        seen.broken[0].0 == path && seen.broken[0].1.contains("not what the targets promise"),
        "{seen:?}"
    );
}

#[test]
fn a_draft_of_another_form_is_an_error_and_no_panic() {
    let desk = Desk::new();
    desk.root();
    desk.add("1.4.0", "agent 1.4.0");
    let maker = format!("{}.pub", desk.at("carol"));
    let delegate = || {
        desk.run(&[
            "release",
            "delegate",
            "rel",
            "--name",
            "a",
            "--key",
            &maker,
            "--pattern",
            "a/*",
        ])
    };
    let targets = desk.path("rel/draft/targets.json");
    forge(&targets, |signed| signed["delegations"] = json!([]));
    assert!(delegate().expect_err("no object").contains("are no object"));
    forge(&targets, |signed| signed["targets"] = json!([]));
    let said = desk.run(&[
        "release",
        "add",
        "rel",
        &desk.at("alice.pub"),
        "--path",
        "a",
        "--installer",
        "agent-slot",
        "--hw",
        "x86_64",
        "--version",
        "1.0.0",
        "--disruption",
        "none",
        "--security-floor",
        "1.0.0",
    ]);
    assert!(said.expect_err("no object").contains("are no object"));
}
