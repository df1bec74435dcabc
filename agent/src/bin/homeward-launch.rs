//! Shell: `homeward-launch`: starts the build of the agent that is to run, and becomes it.
//!
//! ```text
//! homeward-launch --data FOLDER [--package PROGRAM] WORDS ...
//! ```
//! All words are handed on to the agent. It is never part of an update of the agent: what it must know is the record of
//! the slots, and nothing else.
#![expect(clippy::disallowed_methods, reason = "shell: files, arguments and a program")]

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use homeward_agent::slot::file::Folder;
use homeward_agent::slot::{Cause, LAUNCHED, Launch, PACKAGE, Place, launch};

fn main() -> ExitCode {
    let (data, package, words) = arguments(std::env::args_os().skip(1));
    let Some(data) = data else {
        eprintln!("usage: homeward-launch --data FOLDER [--package PROGRAM] WORDS ...");
        return ExitCode::from(2);
    };
    let folder = Folder::within(&data);
    let place = choose(&folder);
    let error = start(&folder, place, &package, &words);
    eprintln!("homeward-launch: the build in {place} could not be started: {error}");
    if place == Place::Package {
        return ExitCode::FAILURE;
    }
    // A build that cannot even be started is no trial any more.
    match folder.load() {
        Ok(Some(slots)) if slots.trial.is_some() => {
            let back = slots.take_back(Cause::NotStarted);
            if let Err(error) = folder.save(&back) {
                eprintln!("homeward-launch: that could not be noted: {error}");
            }
            // The next start runs the confirmed one.
            ExitCode::FAILURE
        }
        _ => {
            let error = start(&folder, Place::Package, &package, &words);
            eprintln!("homeward-launch: nor could the package's: {error}");
            ExitCode::FAILURE
        }
    }
}

/// `--data` is the agent's too and stays among the words; `--package` is ours.
fn arguments(given: impl Iterator<Item = OsString>) -> (Option<PathBuf>, PathBuf, Vec<OsString>) {
    let (mut data, mut package, mut words) = (None, PathBuf::from(PACKAGE), Vec::new());
    let mut given = given.peekable();
    while let Some(word) = given.next() {
        if word == "--package" {
            package = given.next().map(PathBuf::from).unwrap_or(package);
            continue;
        }
        if word == "--data" {
            data = given.peek().map(PathBuf::from);
        }
        words.push(word);
    }
    (data, package, words)
}

/// The build that is to run; what is to be kept first is kept.
fn choose(folder: &Folder) -> Place {
    let slots = match folder.load() {
        Ok(None) => return Place::Package,
        Ok(Some(slots)) => slots,
        Err(error) => {
            eprintln!(
                "homeward-launch: the record of the slots cannot be read: {error}; the package's build runs"
            );
            return Place::Package;
        }
    };
    let whole = |slot, digest: &_| folder.is_whole(slot, digest);
    let Launch { place, save } = launch(&slots, whole);
    let Some(save) = save else {
        return place;
    };
    match folder.save(&save) {
        Ok(()) => place,
        Err(error) => {
            // A start that cannot be counted is none: it would be tried for ever.
            eprintln!("homeward-launch: the start could not be counted: {error}; the confirmed build runs");
            let settled = slots.take_back(Cause::Spent);
            launch(&settled, whole).place
        }
    }
}

fn start(folder: &Folder, place: Place, package: &Path, words: &[OsString]) -> std::io::Error {
    let program = match place {
        Place::Package => package.to_owned(),
        Place::Slot(slot) => folder.program(slot),
    };
    Command::new(program).args(words).env(LAUNCHED, package).exec()
}
