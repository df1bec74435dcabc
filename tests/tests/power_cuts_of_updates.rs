//! The power is cut between any two calls of an update, by which the agent stages, commits, confirms and takes back, and the
//! launcher counts: what was not flushed is gone or torn. The real launcher then starts what lies there. It is always the
//! build of before or the one of after, whole; and left alone it ends with a confirmed one. A build that is made of the one
//! that runs and a delta comes whole at the next try, wherever the power was cut.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: tests run programs, and write what they run on"
)]

use std::collections::BTreeSet;
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
        traced.args(["-e", "trace=open,openat,write,fsync,fdatasync,close,mkdir,mkdirat,unlink,unlinkat,rename,renameat,renameat2"]);
        traced.arg(command.get_program()).args(command.get_args());
        finish(&mut traced, b"", LIMIT).ok();
        let text = fs::read_to_string(&trace).expect("a trace");
        calls_before.extend(calls(&text, &self.data(), known, self.files));
        self.files += calls_before.len();
        let after = self.disk.clone().after(&calls_before);
        self.steps.push(Step {
            what,
            base: std::mem::replace(&mut self.disk, after),
            calls: calls_before,
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

/// What runs after each cut, held against what may; gives the number of cuts and what went wrong.
fn cut_everywhere(home: &Home, forget: impl Fn(&Call) -> bool) -> (usize, Vec<String>) {
    let (mut cuts, mut wrong) = (0, Vec::new());
    let place = home.folder.path().join("after");
    for (n, step) in home.steps.iter().enumerate() {
        for upto in 0..=step.calls.len() {
            for way in 0..WAYS {
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
    let home = life(strace);
    let (cuts, wrong) = cut_everywhere(&home, |_| false);
    assert!(cuts >= 500, "{cuts} cuts are too few to tell");
    assert!(
        wrong.is_empty(),
        "{} of {cuts}:\n{}",
        wrong.len(),
        wrong.join("\n")
    );
    // The same without the flushes of files: the disk that forgets is found to matter.
    let (_, found) = cut_everywhere(&home, |call| matches!(call, Call::Flush(_)));
    assert!(
        !found.is_empty(),
        "files that are not flushed did no harm on this disk"
    );
    println!(
        "{cuts} cuts; without flushes of files {} of them would have done harm",
        found.len()
    );
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
