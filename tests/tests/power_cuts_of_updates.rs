//! The power is cut between any two calls of an update, by which the agent stages, commits, confirms and takes back, and the
//! launcher counts: what was not flushed is gone or torn. The real launcher then starts what lies there. It is always the
//! build of before or the one of after, whole; and left alone it ends with a confirmed one. A build that is made of the one
//! that runs and a delta comes whole at the next try, wherever the power was cut.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests run programs, and write what they run on"
)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use homeward_protocol::release::delta;
use homeward_tests::disk::{Call, Disk, calls};
use homeward_tests::programs::{binary, finish};
use homeward_tests::shared::debian;

const LIMIT: Duration = Duration::from_secs(30);
/// Ways in which what was not flushed may lie there, for each cut: all of it, and two that dice choose.
const WAYS: u64 = 3;
/// The calls that change a disk, or name what they change.
const CALLS: &str =
    "open,openat,write,fsync,fdatasync,close,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2";
/// Starts after which no trial is left.
const STARTS: usize = 5;

/// A build that says its name only when all of it is there.
fn build(name: &str) -> String {
    format!("#!/bin/sh\n# {}\necho {name}\n", "x".repeat(2_000))
}

fn program(path: &Path, text: &str) {
    fs::create_dir_all(path.parent().expect("a folder")).expect("our own folder");
    fs::write(path, text).expect("our own file");
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).expect("our own file");
}

/// One step of an update: its calls, the disk before it, and what runs before and after.
struct Step {
    what: &'static str,
    base: Disk,
    calls: Vec<Call>,
    /// The program with its words, the disk that it began on, and which of its calls, by their names, changed the disk.
    program: Vec<String>,
    begins: Disk,
    made: BTreeMap<String, Vec<usize>>,
    runs: BTreeSet<&'static str>,
    /// What may be left when nobody confirms anything any more.
    stays: BTreeSet<&'static str>,
}

/// A box: its real folder, on which each step is done once and written down.
struct Home {
    folder: tempfile::TempDir,
    strace: PathBuf,
    disk: Disk,
    files: usize,
    steps: Vec<Step>,
}

impl Home {
    fn new(strace: PathBuf) -> Home {
        let folder = tempfile::tempdir().expect("a folder");
        program(&folder.path().join("package"), &build("package"));
        fs::create_dir(folder.path().join("data")).expect("our own folder");
        Home {
            folder,
            strace,
            disk: Disk::default(),
            files: 0,
            steps: Vec::new(),
        }
    }

    fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    fn step(&mut self, what: &'static str, args: &[&str], runs: &[&'static str], stays: &[&'static str]) {
        let mut command = Command::new(binary("homeward-slots"));
        command.arg(self.data()).args(args);
        self.trace(what, &command, Vec::new(), &[], (runs, stays));
    }

    /// A build that has come, and is not flushed yet, is put into the free slot.
    fn put(&mut self, name: &'static str, runs: &[&'static str]) {
        let path = self.data().join("incoming").join(name);
        program(&path, &build(name));
        let came = vec![
            Call::Make(path.clone(), self.files),
            Call::Write(self.files, build(name).into_bytes()),
        ];
        let known = [(path.clone(), self.files)];
        self.files += 1;
        let mut command = Command::new(binary("homeward-slots"));
        command.arg(self.data()).arg("put").arg(&path);
        self.trace("put", &command, came, &known, (runs, runs));
    }

    /// A build comes, as the agent brings it from this shelf, and is put into the free slot; `own` is what runs.
    fn brought(&mut self, name: &'static str, (own, at): (&Path, &Path), runs: &[&'static str]) {
        let path = self.data().join("incoming").join(name);
        let mut command = Command::new(binary("homeward-slots"));
        command.arg(self.data()).arg("bring").arg(own).arg(at).arg(&path);
        self.trace("bring", &command, Vec::new(), &[], (runs, runs));
        self.step("keep", &["keep", "2"], runs, runs);
        let came = self.disk.file(&path).expect("it came");
        let mut command = Command::new(binary("homeward-slots"));
        command.arg(self.data()).arg("put").arg(&path);
        self.trace("put", &command, Vec::new(), &[(path, came)], (runs, runs));
    }

    /// How many different moments there are between its calls.
    fn points(&self) -> usize {
        self.steps.iter().map(|step| step.calls.len() + 1).sum()
    }

    fn start(&mut self, runs: &[&'static str], stays: &[&'static str]) {
        let command = launcher(self.folder.path(), &self.data());
        self.trace("start", &command, Vec::new(), &[], (runs, stays));
    }

    fn trace(
        &mut self,
        what: &'static str,
        command: &Command,
        mut calls_before: Vec<Call>,
        known: &[(PathBuf, usize)],
        (runs, stays): (&[&'static str], &[&'static str]),
    ) {
        let trace = self.folder.path().join("trace");
        let mut traced = Command::new(&self.strace);
        traced.args(["-f", "-xx", "-s", "10000000", "-o"]).arg(&trace);
        traced.args(["-e", &format!("trace={CALLS}")]);
        traced.arg(command.get_program()).args(command.get_args());
        finish(&mut traced, b"", LIMIT).ok();
        let text = fs::read_to_string(&trace).expect("a trace");
        let mut made: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        for line in text.lines() {
            let name = line
                .split('(')
                .next()
                .and_then(|name| name.split(' ').next_back());
            let Some(name) = name.filter(|name| CALLS.split(',').any(|call| call == *name)) else {
                continue;
            };
            let nth = seen.entry(name.to_owned()).or_default();
            *nth += 1;
            // What only looks changes nothing.
            let looks = name == "close" || name.starts_with("open") && !line.contains("O_CREAT");
            if !looks {
                made.entry(name.to_owned()).or_default().push(*nth);
            }
        }
        let words = [command.get_program()].into_iter().chain(command.get_args());
        let program = words.map(|word| word.to_string_lossy().into_owned()).collect();
        let begins = self.disk.clone().after(&calls_before);
        calls_before.extend(calls(&text, &self.data(), known, self.files));
        self.files += calls_before.len();
        let after = self.disk.clone().after(&calls_before);
        self.steps.push(Step {
            what,
            base: std::mem::replace(&mut self.disk, after),
            calls: calls_before,
            program,
            begins,
            made,
            runs: runs.iter().copied().collect(),
            stays: stays.iter().copied().collect(),
        });
    }
}

fn launcher(folder: &Path, data: &Path) -> Command {
    let mut command = Command::new(binary("homeward-launch"));
    command.arg("--package").arg(folder.join("package"));
    command.arg("--data").arg(data);
    command
}

/// From a fresh box over two confirmed updates to one that is taken back and one that is never confirmed.
fn life(strace: PathBuf) -> Home {
    let mut home = Home::new(strace);
    home.put("one", &["package"]);
    home.step("commit", &["commit"], &["package", "one"], &["package"]);
    home.start(&["one"], &["package"]);
    home.step("confirm", &["confirm"], &["one"], &["package", "one"]);
    home.put("two", &["one"]);
    home.step("commit", &["commit"], &["one", "two"], &["one"]);
    home.start(&["two"], &["one"]);
    home.step("confirm", &["confirm"], &["two"], &["one", "two"]);
    home.put("three", &["two"]);
    home.step("commit", &["commit"], &["two", "three"], &["two"]);
    home.start(&["three"], &["two"]);
    home.step("back", &["back"], &["two", "three"], &["two"]);
    home.put("four", &["two"]);
    home.step("commit", &["commit"], &["two", "four"], &["two"]);
    for _ in 0..3 {
        home.start(&["two", "four"], &["two"]);
    }
    home.start(&["two"], &["two"]);
    home
}

/// Two updates as an agent does them, with all that it keeps: what it believes, what it wants, and builds that come in pieces, one
/// whole and one by a delta.
fn whole(strace: PathBuf) -> Home {
    let mut home = Home::new(strace);
    let package = home.folder.path().join("package");
    let mut own = package.clone();
    let builds: [(&str, &str, &str); 2] = [("1", "package", "one"), ("2", "one", "two")];
    for (version, before, name) in builds {
        let shelf = home.folder.path().join("shelf").join(name);
        let text = rich(name, 11);
        program(&shelf.join("whole"), &text);
        if before == "one" {
            let old = fs::read(&own).expect("it runs");
            let made = delta::make(&old, text.as_bytes()).expect("a delta");
            fs::write(shelf.join("delta"), made).expect("our own file");
        }
        home.step("keep", &["keep", "1"], &[before], &[before]);
        home.step("believe", &["believe", version], &[before], &[before]);
        home.brought(name, (&own, &shelf), &[before]);
        home.step("commit", &["commit"], &[before, name], &[before]);
        home.start(&[name], &[before]);
        home.step("confirm", &["confirm"], &[name], &[before, name]);
        home.step("keep", &["keep", "3"], &[name], &[name]);
        own = home
            .data()
            .join(if name == "one" { "slots/a" } else { "slots/b" })
            .join("homeward-agent");
        assert_eq!(fs::read(&own).expect("it runs"), text.as_bytes());
    }
    home
}

/// Numbers below their argument, the same each time. Source: Marsaglia, Xorshift RNGs (2003).
fn dice(seed: u64) -> impl FnMut(usize) -> usize {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    move |below| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state >> 33).unwrap_or(0) % below.max(1)
    }
}

/// Whether all that is kept there can be read.
fn is_whole(place: &Path) -> bool {
    let mut command = Command::new(binary("homeward-slots"));
    finish(command.arg(place).arg("check"), b"", LIMIT)
        .status
        .success()
}

/// What runs after each cut, in so many ways each, held against what may; gives the number of cuts and what went wrong.
fn cut_everywhere(home: &Home, ways: u64, forget: impl Fn(&Call) -> bool) -> (usize, Vec<String>) {
    let (mut cuts, mut wrong) = (0, Vec::new());
    let place = home.folder.path().join("after");
    for (n, step) in home.steps.iter().enumerate() {
        for upto in 0..=step.calls.len() {
            for way in 0..ways {
                let kept = step.calls[..upto].iter().filter(|call| !forget(call));
                let kept: Vec<Call> = kept.cloned().collect();
                let mut dice = dice(way ^ (upto as u64) << 8 ^ (n as u64) << 16);
                // The first way is a program that was killed: the disk forgets nothing.
                let disk = match way {
                    0 => step.base.clone().after(&kept),
                    _ => step.base.clone().cut(&kept, &mut dice),
                };
                let _ = fs::remove_dir_all(&place);
                fs::create_dir(&place).expect("our own folder");
                disk.put_down(&home.data(), &place);
                let start = || {
                    let ended = finish(&mut launcher(home.folder.path(), &place), b"", LIMIT);
                    ended.stdout.trim().to_owned()
                };
                let first = start();
                let where_ = || format!("step {n} ({}), cut after {upto} calls, way {way}", step.what);
                if !step.runs.contains(first.as_str()) {
                    wrong.push(format!("{}: {first:?} runs", where_()));
                }
                if !is_whole(&place) {
                    wrong.push(format!("{}: what is kept cannot be read", where_()));
                }
                if way == 1 {
                    let last = (1..STARTS).fold(first, |_, _| start());
                    if !step.stays.contains(last.as_str()) {
                        wrong.push(format!("{}: {last:?} stays", where_()));
                    }
                }
                cuts += 1;
            }
        }
    }
    (cuts, wrong)
}

#[test]
fn whenever_the_power_is_cut_the_old_build_or_the_new_one_runs_whole() {
    let Some(strace) = debian("strace", "strace") else {
        return;
    };
    let (home, updates) = (life(strace.clone()), whole(strace));
    let points = home.points() + updates.points();
    assert!(points >= 500, "{points} points are too few to tell");
    let mut cuts = 0;
    for (home, ways) in [(&home, WAYS), (&updates, 2)] {
        let (more, wrong) = cut_everywhere(home, ways, |_| false);
        assert!(
            wrong.is_empty(),
            "{} of {more}:\n{}",
            wrong.len(),
            wrong.join("\n")
        );
        cuts += more;
    }
    // The same without the flushes of files: the disk that forgets is found to matter.
    let (_, found) = cut_everywhere(&home, WAYS, |call| matches!(call, Call::Flush(_)));
    assert!(
        !found.is_empty(),
        "files that are not flushed did no harm on this disk"
    );
    println!(
        "{cuts} cuts at {points} points; without flushes of files {} of them would have done harm",
        found.len()
    );
}

/// As the kernel ends a process, and not as we imagine it: at each call of each step that changes the disk, those of the launcher
/// among them.
#[test]
fn each_step_is_killed_at_each_of_its_calls_and_goes_on_at_the_next_start() {
    let Some(strace) = debian("strace", "strace") else {
        return;
    };
    let home = life(strace);
    let (data, place) = (home.data(), home.folder.path().join("after"));
    let mut kills = 0;
    for step in &home.steps {
        for (call, made) in &step.made {
            for nth in made {
                let _ = fs::remove_dir_all(&place);
                fs::create_dir(&place).expect("our own folder");
                step.begins.put_down(&data, &place);
                let words = step.program.iter();
                let words: Vec<String> = words
                    .map(|word| word.replace(&*data.to_string_lossy(), &place.to_string_lossy()))
                    .collect();
                let mut killed = Command::new(&home.strace);
                let inject = format!("inject={call}:signal=KILL:when={nth}");
                killed.args([
                    "-f",
                    "-o",
                    "/dev/null",
                    "-e",
                    &format!("trace={call}"),
                    "-e",
                    &inject,
                ]);
                let ended = finish(killed.args(&words), b"", LIMIT);
                assert!(
                    !ended.status.success(),
                    "{}: {call} {nth} is never made",
                    step.what
                );
                kills += 1;
                let start = || finish(&mut launcher(home.folder.path(), &place), b"", LIMIT).stdout;
                let first = start();
                let at = format!("{}, killed at {call} {nth}", step.what);
                assert!(step.runs.contains(first.trim()), "{at}: {first:?} runs");
                assert!(is_whole(&place), "{at}");
                let last = (1..STARTS).fold(first, |_, _| start());
                assert!(step.stays.contains(last.trim()), "{at}: {last:?} stays");
            }
        }
    }
    assert!(kills >= 150, "{kills} kills");
    println!("{kills} kills");
}

/// A build with much in it that no other has.
fn rich(name: &str, seed: u64) -> String {
    let mut dice = dice(seed);
    let noise: String = (0..8_000)
        .map(|_| char::from(b"0123456789abcdef"[dice(16)]))
        .collect();
    format!("#!/bin/sh\n# {noise}\n{}", build(name))
}

/// Brings the build, as an agent tries to at each start until it is there.
fn bring(data: &Path, own: &Path, shelf: &Path) -> Command {
    let mut command = Command::new(binary("homeward-slots"));
    command.arg(data).arg("bring").arg(own).arg(shelf);
    command.arg(data.join("incoming/two"));
    command
}

#[test]
fn a_build_that_comes_as_a_delta_is_whole_at_the_next_try_wherever_the_power_was_cut() {
    let Some(strace) = debian("strace", "strace") else {
        return;
    };
    let mut home = Home::new(strace);
    home.put("one", &["package"]);
    home.step("commit", &["commit"], &["package", "one"], &["package"]);
    home.start(&["one"], &["package"]);
    home.step("confirm", &["confirm"], &["one"], &["package", "one"]);
    let own = PathBuf::from("slots/a/homeward-agent");
    let (old, new) = (build("one"), rich("two", 9));
    assert_eq!(fs::read(home.data().join(&own)).expect("it runs"), old.as_bytes());
    let shelf = home.folder.path().join("shelf");
    program(&shelf.join("whole"), &new);
    let made = delta::make(old.as_bytes(), new.as_bytes()).expect("a delta");
    assert!(
        made.len() * 3 < new.len() * 2,
        "{} of {} bytes",
        made.len(),
        new.len()
    );
    fs::write(shelf.join("delta"), &made).expect("our own file");
    let command = bring(&home.data(), &home.data().join(&own), &shelf);
    home.trace("bring", &command, Vec::new(), &[], (&["one"], &["one"]));
    let step = home.steps.pop().expect("a step");
    let by_delta = |call: &Call| matches!(call, Call::Rename(from, _) if from.ends_with("two+made"));
    assert!(step.calls.iter().any(by_delta), "{:?}", step.calls);

    let place = home.folder.path().join("after");
    let mut cuts = 0;
    for upto in 0..=step.calls.len() {
        for way in 0..WAYS {
            let mut dice = dice(way ^ (upto as u64) << 8);
            let calls = &step.calls[..upto];
            let disk = match way {
                0 => step.base.clone().after(calls),
                _ => step.base.clone().cut(calls, &mut dice),
            };
            let _ = fs::remove_dir_all(&place);
            fs::create_dir(&place).expect("our own folder");
            disk.put_down(&home.data(), &place);
            let starts = || {
                let ended = finish(&mut launcher(home.folder.path(), &place), b"", LIMIT);
                ended.stdout.trim().to_owned()
            };
            let at = format!("cut after {upto} calls, way {way}");
            assert_eq!(starts(), "one", "{at}");
            let came = || {
                finish(&mut bring(&place, &place.join(&own), &shelf), b"", LIMIT)
                    .status
                    .success()
            };
            let tries = (1..=3).find(|_| came());
            assert!(tries.is_some(), "{at}: it never comes");
            let there = fs::read(place.join("incoming/two")).expect("it came");
            assert!(there == new.as_bytes(), "{at}: something else came");
            for step in [&["put", "incoming/two"][..], &["commit"]] {
                let mut command = Command::new(binary("homeward-slots"));
                command.current_dir(&place).arg(".").args(step);
                finish(&mut command, b"", LIMIT).ok();
            }
            assert_eq!(starts(), "two", "{at}");
            cuts += 1;
        }
    }
    println!("{cuts} cuts of a delta");
}
