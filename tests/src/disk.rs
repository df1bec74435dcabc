//! Shell: a disk that forgets what was not flushed: built from the calls that real programs made, and put down as it may lie there
//! after the power was cut.
//!
//! # Design
//! Calls come from `strace`. Names are journaled in their order, as ext4 and btrfs do it: after a cut a prefix of them is
//! there, which holds at least those before the last flush of a folder. A file's bytes are there from its flush on; before
//! it all of them, none or a part may be, also under a name that is there. What is flushed stays.

#![expect(
    clippy::disallowed_methods,
    reason = "shell: writes a folder as a disk would hold it"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a program did to the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Call {
    /// A file was made, or emptied; it is called by its number from here on.
    Make(PathBuf, usize),
    /// Bytes were added to a file.
    Write(usize, Vec<u8>),
    /// A file was flushed.
    Flush(usize),
    /// A folder was flushed.
    FlushFolder(PathBuf),
    /// A folder was made.
    Folder(PathBuf),
    /// A name was put in the place of another.
    Rename(PathBuf, PathBuf),
    /// A name was taken away.
    Remove(PathBuf),
}

/// Reads the calls below `root` from what `strace -f -xx -s 10000000` wrote of one program. `known` are files that were there,
/// with their numbers; new ones are counted from `first` on.
///
/// # Panics
/// When two threads called at the same time: then nobody knows in which order.
pub fn calls(trace: &str, root: &Path, known: &[(PathBuf, usize)], first: usize) -> Vec<Call> {
    assert!(!trace.contains("<unfinished"), "two threads called at once");
    let mut open: BTreeMap<i64, Open> = BTreeMap::new();
    let mut calls = Vec::new();
    let mut next = first;
    for line in trace.lines() {
        let Some((name, args, result)) = parts(line) else {
            continue;
        };
        if result < 0 {
            continue;
        }
        let texts = texts(args);
        let path = |n: usize| {
            let text = String::from_utf8_lossy(texts.get(n).map_or(&[][..], Vec::as_slice)).into_owned();
            Some(PathBuf::from(text)).filter(|path| path.starts_with(root))
        };
        let fd = || {
            args.split([',', ')'])
                .next()
                .and_then(|fd| fd.trim().parse::<i64>().ok())
        };
        match name {
            "openat" | "open" => {
                open.remove(&result);
                let Some(path) = path(0) else { continue };
                if args.contains("O_CREAT") {
                    calls.push(Call::Make(path, next));
                    open.insert(result, Open::File(next));
                    next += 1;
                } else if let Some((_, file)) = known.iter().find(|(known, _)| *known == path) {
                    open.insert(result, Open::File(*file));
                } else if path.is_dir() {
                    open.insert(result, Open::Name(path));
                }
            }
            "write" => {
                if let (Some(Open::File(file)), Some(bytes)) =
                    (fd().and_then(|fd| open.get(&fd)), texts.first())
                {
                    calls.push(Call::Write(*file, bytes.clone()));
                }
            }
            "fsync" | "fdatasync" => match fd().and_then(|fd| open.get(&fd)) {
                Some(Open::File(file)) => calls.push(Call::Flush(*file)),
                Some(Open::Name(path)) => calls.push(Call::FlushFolder(path.clone())),
                None => {}
            },
            "close" => {
                fd().and_then(|fd| open.remove(&fd));
            }
            "mkdir" | "mkdirat" => calls.extend(path(0).map(Call::Folder)),
            "unlink" | "unlinkat" => calls.extend(path(0).map(Call::Remove)),
            "rename" | "renameat" | "renameat2" => {
                calls.extend(path(0).zip(path(1)).map(|(from, to)| Call::Rename(from, to)));
            }
            _ => {}
        }
    }
    calls
}

enum Open {
    File(usize),
    Name(PathBuf),
}

/// The name, the arguments and the result of one line of a trace.
fn parts(line: &str) -> Option<(&str, &str, i64)> {
    let (name, rest) = line.split_once('(')?;
    let (args, result) = rest.rsplit_once(" = ")?;
    let result = result.split(' ').next()?;
    // With `-f` the thread that calls stands before the name.
    let name = name.rsplit(' ').next()?;
    Some((name, args, result.parse().ok()?))
}

/// The texts in quotes, which `-xx` writes as `\x2f…`.
fn texts(args: &str) -> Vec<Vec<u8>> {
    let quoted = args.split('"').skip(1).step_by(2);
    let bytes = |text: &str| {
        let pairs = text.split("\\x").skip(1);
        pairs
            .filter_map(|pair| u8::from_str_radix(pair, 16).ok())
            .collect()
    };
    quoted.map(bytes).collect()
}

/// A disk on which everything so far was flushed.
#[derive(Debug, Clone, Default)]
pub struct Disk {
    names: BTreeMap<PathBuf, usize>,
    folders: Vec<PathBuf>,
    bytes: BTreeMap<usize, Vec<u8>>,
}

impl Disk {
    /// The disk after `calls`, all of it flushed.
    #[must_use]
    pub fn after(mut self, calls: &[Call]) -> Disk {
        for call in calls {
            self.name(call);
            if let Call::Write(file, more) = call {
                self.bytes.entry(*file).or_default().extend(more);
            }
        }
        self
    }

    /// The disk as it may be when the power is cut after `calls`; `dice` gives numbers below its argument.
    #[must_use]
    pub fn cut(mut self, calls: &[Call], dice: &mut impl FnMut(usize) -> usize) -> Disk {
        let flushed = calls
            .iter()
            .rposition(|call| matches!(call, Call::FlushFolder(_)));
        let sure = flushed.unwrap_or(0);
        let upto = sure + dice(calls.len() - sure + 1);
        for call in calls.iter().take(upto) {
            self.name(call);
        }
        let mut loose: BTreeMap<usize, Vec<u8>> = BTreeMap::new();
        for call in calls {
            match call {
                Call::Write(file, more) => loose.entry(*file).or_default().extend(more),
                Call::Flush(file) => {
                    let sure = loose.remove(file).unwrap_or_default();
                    self.bytes.entry(*file).or_default().extend(sure);
                }
                _ => {}
            }
        }
        for (file, more) in loose {
            let keep = match dice(3) {
                0 => 0,
                1 => more.len(),
                _ => dice(more.len() + 1),
            };
            self.bytes.entry(file).or_default().extend(&more[..keep]);
        }
        self
    }

    /// Which file lies there.
    pub fn file(&self, path: &Path) -> Option<usize> {
        self.names.get(path).copied()
    }

    fn name(&mut self, call: &Call) {
        match call {
            Call::Make(path, file) => {
                self.names.insert(path.clone(), *file);
            }
            Call::Folder(path) => self.folders.push(path.clone()),
            Call::Rename(from, to) => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
            Call::Remove(path) => {
                self.names.remove(path);
            }
            Call::Write(..) | Call::Flush(_) | Call::FlushFolder(_) => {}
        }
    }

    /// Puts it down: what lay below `root` lies below `place`. Files can be run.
    ///
    /// # Panics
    /// When that cannot be written.
    pub fn put_down(&self, root: &Path, place: &Path) {
        use std::os::unix::fs::PermissionsExt as _;
        let at = |path: &Path| place.join(path.strip_prefix(root).expect("below the root"));
        for folder in &self.folders {
            std::fs::create_dir_all(at(folder)).expect("our own folder");
        }
        for (path, file) in &self.names {
            let path = at(path);
            std::fs::create_dir_all(path.parent().expect("a folder")).expect("our own folder");
            std::fs::write(&path, self.bytes.get(file).map_or(&[][..], Vec::as_slice)).expect("our own file");
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o700)).expect("our own file");
        }
    }
}
