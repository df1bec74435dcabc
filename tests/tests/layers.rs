//! Who may know whom, held by reading the sources.
//!
//! ```text
//! protocol  <-  devices  <-  agent
//! protocol  <-  fleet-server
//! ```
//! Agent and server meet on the wire only, so that either can be replaced, tested and trusted without the other.
//! Inside a program `noun.rs` decides and `noun/verb.rs` acts: a decision without clock, disk, network and tasks
//! can be tested by a table, and replayed after a power cut.
//!
//! A file that acts opens with `//! Shell:`. `main.rs` and `run.rs` act by their place. Each failure names the
//! file, the line and the rule; an exception belongs in a table below, with its reason.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests read the sources from the disk"
)]

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// Crates, their folders, and the crates of ours that each may depend on.
const ARROWS: [(&str, &[&str]); 5] = [
    ("protocol", &[]),
    ("devices", &["homeward-protocol"]),
    ("agent", &["homeward-devices", "homeward-protocol"]),
    ("fleet-server", &["homeward-protocol"]),
    (
        "tests",
        &[
            "homeward-agent",
            "homeward-devices",
            "homeward-fleet",
            "homeward-protocol",
        ],
    ),
];

/// Words that a decision has no use for.
const WORLD: [&str; 18] = [
    "async fn",
    "async move",
    ".await",
    "tokio::",
    "std::fs",
    "std::thread",
    "std::process",
    "std::env",
    "TcpStream",
    "TcpListener",
    "UdpSocket",
    "SystemTime",
    "Instant::now",
    "SystemRandom",
    "rusqlite",
    "postgres::",
    "rumqttc::AsyncClient",
    "unsafe",
];

/// What of the world a decision may hold: the end of a channel waits for nothing as long as nobody awaits it.
const HARMLESS: &str = "tokio::sync";

/// Starting a task or a thread that goes on by itself. `spawn_blocking` is none: a shell waits for its end.
const SPAWNS: [&str; 6] = [
    "tokio::spawn",
    "task::spawn",
    "thread::spawn",
    "thread::Builder",
    "spawn_local",
    ".spawn(",
];

/// Who beside `run.rs` may start a task or a thread, and why.
const MAY_SPAWN: [(&str, &str); 14] = [
    (
        "fleet-server/src/run/supervise.rs",
        "the set of long tasks that run.rs starts and stops as one",
    ),
    (
        "fleet-server/src/https/serve.rs",
        "an accept loop starts one task a connection, on a JoinSet of its own",
    ),
    (
        "fleet-server/src/gate/listen.rs",
        "an accept loop starts one task a connection, on a JoinSet of its own",
    ),
    (
        "fleet-server/src/store/group.rs",
        "database engines block, and have threads of their own: one writer, N readers",
    ),
    (
        "fleet-server/src/store/postgres.rs",
        "the driver blocks on a runtime inside it: the first connection is made on a thread that ends with it",
    ),
    (
        "fleet-server/src/bus/embedded.rs",
        "the router library brings threads; their death ends the server",
    ),
    (
        "fleet-server/src/ingest/consume.rs",
        "signatures are verified in bounded chunks on all cores, drained before it ends",
    ),
    (
        "agent/src/guard/serve.rs",
        "an accept loop starts one task a connection, on a JoinSet of its own",
    ),
    (
        "agent/src/update/share/serve.rs",
        "an accept loop starts one task a neighbour, on a JoinSet of its own",
    ),
    (
        "agent/src/sense/live/tap.rs",
        "an accept loop starts one task a listener, on a JoinSet of its own",
    ),
    (
        "agent/src/run/live.rs",
        "as run.rs, for a command that reads sensors where no agent runs",
    ),
    ("agent/src/outbox/keeper.rs", "SQLite has a thread of its own"),
    (
        "agent/src/program.rs",
        "a program of the system is started, fed and read beside the watch over its time; all of it is waited for",
    ),
    ("agent/src/tpm/thread.rs", "a TPM is slow, and one thread owns it"),
];

/// Shells whose handles every other shell may hold: places to keep things, to say things, to ask the time or a program.
const HANDLES: [&str; 10] = [
    "store", "clock", "config", "audit", "outbox", "vault", "tpm", "disk", "program", "slot",
];

/// Files that only say what their noun's shells are given, the clock among it, and why.
const FRONTS: [(&str, &str); 1] = [(
    "fleet-server/src/gate.rs",
    "all that the gate works with is declared in one place",
)];

/// Shells that know another noun's shell, and why. (importing noun, imported noun, reason)
const MAY_KNOW: [(&str, &str, &str); 9] = [
    (
        "web",
        "direct",
        "pages show what is published, which is read anew aside for each",
    ),
    (
        "api",
        "direct",
        "the API says what is published, read in the same way",
    ),
    (
        "gate",
        "support",
        "a link of a support session comes in by the gate's handshake",
    ),
    (
        "update",
        "identity",
        "a look at a repository goes over the TLS that identity sets up",
    ),
    (
        "enrol",
        "identity",
        "enrolment makes the key and speaks as the identity that it is for",
    ),
    (
        "web",
        "access",
        "the console checks passwords and sessions where the command line makes them",
    ),
    (
        "web",
        "device",
        "the console hands out claims as the command line does",
    ),
    (
        "api",
        "access",
        "the API checks tokens where the command line makes them",
    ),
    (
        "api",
        "device",
        "the API hands out claims as the command line does",
    ),
];

struct Source {
    /// From the root of the repository, with `/`.
    path: String,
    krate: &'static str,
    raw: String,
    /// Without comments, texts and unit tests; line numbers kept.
    code: String,
}

impl Source {
    /// `gate/listen` for `fleet-server/src/gate/listen.rs`.
    fn module(&self) -> &str {
        let inner = self.path.split_once("/src/").map_or("", |(_, rest)| rest);
        inner.strip_suffix(".rs").unwrap_or(inner)
    }

    /// The capability it belongs to: the first part of its module.
    fn noun(&self) -> &str {
        self.module().split('/').next().unwrap_or_default()
    }

    fn is_root(&self) -> bool {
        matches!(self.module(), "main" | "lib" | "run") || self.module().starts_with("bin/")
    }

    /// Where capabilities are joined: a running program, and the commands that work on its folder.
    fn joins(&self) -> bool {
        self.is_root() || matches!(self.noun(), "run" | "admin")
    }

    fn is_shell(&self) -> bool {
        self.is_root() || self.raw.starts_with("//! Shell:")
    }

    fn is_test(&self) -> bool {
        self.module()
            .split('/')
            .any(|part| matches!(part, "tests" | "promises"))
    }

    /// Lines whose code holds `word`, as `path:line`.
    fn lines_with<'a>(&'a self, word: &'a str) -> impl Iterator<Item = String> + 'a {
        let hits = self
            .code
            .lines()
            .enumerate()
            .filter(move |(_, line)| holds(line, word));
        hits.map(move |(at, _)| format!("{}:{}", self.path, at + 1))
    }
}

/// `word` in `line`, not as the end of a longer name.
fn holds(line: &str, word: &str) -> bool {
    line.match_indices(word).any(|(at, _)| {
        let part = |c: char| c.is_alphanumeric() || c == '_';
        let (before, after) = (
            line[..at].chars().next_back(),
            line[at + word.len()..].chars().next(),
        );
        let begins = !word.starts_with(part) || !before.is_some_and(part);
        begins && (!word.ends_with(part) || !after.is_some_and(part))
    })
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the tests crate lies in the workspace")
        .to_owned()
}

fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    let mut entries: Vec<PathBuf> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    entries.sort();
    for path in entries {
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|e| e == "rs") {
            found.push(path);
        }
    }
}

/// Every source file of the product's crates.
fn sources() -> Vec<Source> {
    let root = root();
    let mut all = Vec::new();
    for (krate, _) in ARROWS.iter().filter(|(krate, _)| *krate != "tests") {
        let mut found = Vec::new();
        walk(&root.join(krate).join("src"), &mut found);
        assert!(
            !found.is_empty(),
            "{krate}/src holds no source: has the folder moved?"
        );
        for file in found {
            let raw = fs::read_to_string(&file).expect("a source file is readable UTF-8");
            let path = file
                .strip_prefix(&root)
                .expect("below the root")
                .to_string_lossy()
                .replace('\\', "/");
            all.push(Source {
                path,
                krate,
                code: code_of(&raw),
                raw,
            });
        }
    }
    all
}

/// The text without comments, string and character literals, and what follows `#[cfg(test)]`.
fn code_of(raw: &str) -> String {
    let mut out = String::with_capacity(raw.len());
    let mut rest = raw;
    while let Some(c) = rest.chars().next() {
        let skipped = if rest.starts_with("//") {
            rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            rest.find("*/").map_or(rest.len(), |at| at + 2)
        } else if rest.starts_with("#[cfg(test)]") {
            rest.len()
        } else if c == '"' {
            text_length(rest)
        } else if rest.starts_with("r\"") || rest.starts_with("r#") {
            raw_text_length(rest)
        } else if c == '\'' {
            char_length(rest)
        } else {
            0
        };
        let (gone, left) = rest.split_at(skipped);
        out.extend(gone.chars().filter(|c| *c == '\n'));
        if skipped == 0 {
            out.push(c);
            rest = &left[c.len_utf8()..];
        } else {
            rest = left;
        }
    }
    out
}

fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

fn raw_text_length(text: &str) -> usize {
    let hashes = text[1..].chars().take_while(|c| *c == '#').count();
    if !text[1 + hashes..].starts_with('"') {
        return 0;
    }
    let end = format!("\"{}", "#".repeat(hashes));
    let body = 2 + hashes;
    text[body..]
        .find(&end)
        .map_or(text.len(), |at| body + at + end.len())
}

/// A character literal's length; 0 for a lifetime.
fn char_length(text: &str) -> usize {
    let mut inner = text.char_indices().skip(1);
    match (inner.next(), inner.next()) {
        (Some((_, '\\')), Some(_)) => text[3..].find('\'').map_or(0, |at| at + 4),
        (Some(_), Some((at, '\''))) => at + 1,
        _ => 0,
    }
}

/// Module paths that `source` names by `crate::…`, as (`path:line`, `gate/listen`).
fn imports(source: &Source) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (at, line) in source.code.lines().enumerate() {
        for (from, _) in line.match_indices("crate::") {
            let place = format!("{}:{}", source.path, at + 1);
            let after = &line[from + "crate::".len()..];
            if let Some(list) = after.strip_prefix('{') {
                let names = list.split([',', '}']).filter_map(|part| part.split("::").next());
                found.extend(
                    names
                        .map(|n| (place.clone(), n.trim().to_owned()))
                        .filter(|(_, n)| !n.is_empty()),
                );
            } else {
                let plain = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
                let path: String = after.chars().take_while(|c| plain(*c)).collect();
                found.push((place, path.trim_end_matches(':').replace("::", "/")));
            }
        }
    }
    found
}

/// The file of `krate` that a path names: the longest module that exists.
fn target<'a>(all: &'a BTreeMap<(&str, &str), &Source>, krate: &str, path: &str) -> Option<&'a Source> {
    let mut path = path;
    loop {
        if let Some(found) = all.get(&(krate, path)) {
            return Some(found);
        }
        path = path.rsplit_once('/')?.0;
    }
}

fn hold(rule: &str, faults: &[String]) {
    let mut text = String::new();
    for fault in faults {
        let _ = write!(text, "\n  {fault}");
    }
    assert!(faults.is_empty(), "{rule}{text}");
}

#[test]
fn crates_point_one_way() {
    let mut faults = Vec::new();
    for (krate, allowed) in ARROWS {
        let text =
            fs::read_to_string(root().join(krate).join("Cargo.toml")).expect("each crate has a Cargo.toml");
        let manifest: toml::Table = text.parse().expect("Cargo.toml is TOML");
        for table in ["dependencies", "dev-dependencies", "build-dependencies"] {
            let names = manifest
                .get(table)
                .and_then(toml::Value::as_table)
                .into_iter()
                .flat_map(toml::Table::keys);
            for name in names.filter(|n| n.starts_with("homeward-") && !allowed.contains(&n.as_str())) {
                faults.push(format!("{krate}/Cargo.toml [{table}]: {name}"));
            }
        }
    }
    hold(
        "agent and server meet on the wire, and nobody looks up the arrows:",
        &faults,
    );
}

#[test]
fn files_are_named_for_what_they_are() {
    let nameless = ["mod", "util", "utils", "common", "types", "helpers", "misc"];
    let faults: Vec<String> = sources()
        .iter()
        .filter(|s| s.module().split('/').any(|part| nameless.contains(&part)))
        .map(|s| s.path.clone())
        .collect();
    hold("a thing without a home is a noun we have not named yet:", &faults);
}

#[test]
fn shells_say_that_they_are() {
    let marked = |s: &Source| {
        let flat: String = s.raw.split_whitespace().collect::<Vec<_>>().join(" ");
        flat.contains("#![expect( clippy::disallowed_methods")
            || flat.contains("#![expect(clippy::disallowed_methods")
    };
    let faults: Vec<String> = sources()
        .iter()
        .filter(|s| marked(s) && !s.is_shell() && !s.is_test())
        .map(|s| {
            format!(
                "{}: expects clippy::disallowed_methods but does not open with `//! Shell:`",
                s.path
            )
        })
        .collect();
    hold(
        "one search for `//! Shell:` lists every file that touches the world:",
        &faults,
    );
}

#[test]
fn decisions_do_not_touch_the_world() {
    let mut faults = Vec::new();
    for source in sources().iter_mut().filter(|s| !s.is_shell() && !s.is_test()) {
        source.code = source.code.replace(HARMLESS, "");
        for word in WORLD {
            faults.extend(source.lines_with(word).map(|place| format!("{place}: `{word}`")));
        }
    }
    hold(
        "a file that does not open with `//! Shell:` decides, without clock, disk, network or tasks:",
        &faults,
    );
}

#[test]
fn decisions_import_no_shell_and_shells_no_other_shell() {
    let sources = sources();
    let all: BTreeMap<(&str, &str), &Source> = sources.iter().map(|s| ((s.krate, s.module()), s)).collect();
    let mut faults = Vec::new();
    for source in sources.iter().filter(|s| !s.joins() && !s.is_test()) {
        for (place, path) in imports(source) {
            let Some(to) = target(&all, source.krate, &path).filter(|to| to.is_shell()) else {
                continue;
            };
            let front = FRONTS.iter().any(|(path, _)| *path == source.path);
            if to.noun() == source.noun() && source.is_shell() || to.noun() == "clock" && front {
                continue;
            }
            let known = HANDLES.contains(&to.noun())
                || MAY_KNOW
                    .iter()
                    .any(|(who, whom, _)| *who == source.noun() && *whom == to.noun());
            if !source.is_shell() {
                faults.push(format!("{place}: a decision imports the shell {}", to.path));
            } else if !known {
                faults.push(format!(
                    "{place}: a shell imports another noun's shell {}",
                    to.path
                ));
            }
        }
    }
    hold(
        "a decision imports decisions; a shell imports decisions, its own noun, and the handles in HANDLES:",
        &faults,
    );
}

#[test]
fn nobody_imports_run_or_the_pages() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.joins() && !s.is_test()) {
        for (place, path) in imports(source) {
            let noun = path.split('/').next().unwrap_or_default();
            let own = noun == source.noun();
            if matches!(noun, "run" | "admin") || (matches!(noun, "web" | "api") && !own) {
                faults.push(format!("{place}: imports {noun}"));
            }
        }
    }
    hold(
        "`run` and `web` are where everything comes together, and lead nowhere:",
        &faults,
    );
}

#[test]
fn only_run_starts_tasks() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|s| !s.is_root() && !s.is_test()) {
        if MAY_SPAWN.iter().any(|(path, _)| *path == source.path) {
            continue;
        }
        for word in SPAWNS {
            faults.extend(source.lines_with(word).map(|place| format!("{place}: `{word}`")));
        }
    }
    faults.dedup();
    hold(
        "long tasks are started by run.rs, or by an engine named in MAY_SPAWN with its reason:",
        &faults,
    );
}

/// An exception outlives its reason otherwise.
#[test]
fn exceptions_are_still_needed() {
    let sources = sources();
    let at = |path: &str| sources.iter().find(|s| s.path == path);
    let spawns = |s: &Source| SPAWNS.iter().any(|word| s.lines_with(word).next().is_some());
    let mut faults = Vec::new();
    for (path, _) in MAY_SPAWN.iter().filter(|(path, _)| !at(path).is_some_and(spawns)) {
        faults.push(format!("MAY_SPAWN: {path} starts nothing"));
    }
    let holds_clock = |s: &Source| imports(s).iter().any(|(_, to)| to.starts_with("clock"));
    for (path, _) in FRONTS
        .iter()
        .filter(|(path, _)| !at(path).is_some_and(holds_clock))
    {
        faults.push(format!("FRONTS: {path} holds no clock"));
    }
    for (who, whom, _) in MAY_KNOW {
        let mut knows = sources.iter().filter(|s| s.noun() == who).flat_map(imports);
        if !knows.any(|(_, to)| to.split('/').next() == Some(whom)) {
            faults.push(format!("MAY_KNOW: {who} does not know {whom}"));
        }
    }
    hold("an exception that nobody needs is taken away:", &faults);
}

#[test]
fn the_reader_of_sources_can_tell_code_from_text() {
    let raw = "let a = \"std::fs\"; // tokio::\nlet b = r#\"std::env\"#; let c = '\"'; fn f<'a>() {}\nstd::thread\n";
    let code = code_of(raw);
    assert!(
        !code.contains("std::fs") && !code.contains("tokio") && !code.contains("std::env"),
        "{code}"
    );
    assert!(
        code.contains("std::thread") && code.contains("fn f<'a>()"),
        "{code}"
    );
    assert_eq!(code.lines().count(), raw.lines().count(), "line numbers are kept");
    assert!(
        code_of("a\n#[cfg(test)]\nmod tests { std::fs }\n")
            .lines()
            .all(|l| !l.contains("fs"))
    );
    assert!(holds("x.spawn(y)", ".spawn(") && !holds("my_async fn", "async fn"));
    assert!(!holds("task::spawn_blocking(f)", "task::spawn"));
}
