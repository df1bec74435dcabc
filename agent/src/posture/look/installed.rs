//! Shell: holds files against what their packages installed, and walks through the disks for programs with the rights
//! of others.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads the box's files, looks at the clock"
)]

use std::collections::BTreeMap;
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use homeward_protocol::tuf::read::to_hex;
use md5::{Digest as _, Md5};
use ring::digest::{Context, SHA256};

use super::{disks, files};
use crate::posture::facts::disks::{Mounted, mounted};
use crate::posture::facts::setuid::{Origin, SetId, checksum, spellings};

/// Where dpkg says what each package installed.
const INFO: &str = "/var/lib/dpkg/info";
/// The longest list of a package that is read, bytes: the kernel's has 1 MiB.
const MAX_LIST: u64 = 16 * 1024 * 1024;
/// The largest program that is hashed, bytes.
const MAX_PROGRAM: u64 = 256 * 1024 * 1024;
/// Most entries of folders that are looked at, and for how long: a household box has some 100,000.
const MAX_ENTRIES: u64 = 3_000_000;
const WALK: Duration = Duration::from_secs(90);
/// Where other systems lie in folders of this one.
const OTHERS: [&str; 4] = [
    "/var/lib/docker",
    "/var/lib/containers",
    "/var/lib/containerd",
    "/var/lib/machines",
];

/// How each of these files stands to its package.
pub fn origins(paths: &[String]) -> BTreeMap<String, Origin> {
    let mut wanted: BTreeMap<String, &String> = BTreeMap::new();
    for path in paths {
        wanted.extend(spellings(path).into_iter().map(|spelling| (spelling, path)));
    }
    let mut found: BTreeMap<String, Origin> = paths
        .iter()
        .map(|path| (path.clone(), Origin::Stranger))
        .collect();
    for list in files::names(INFO) {
        let is_list = list.extension().is_some_and(|e| e == "list");
        let Some(text) = files::text_up_to(&list, MAX_LIST).filter(|_| is_list) else {
            continue;
        };
        for line in text.lines() {
            if let Some((spelling, path)) = wanted.get_key_value(line) {
                found.insert((*path).clone(), against(&list, path, spelling));
            }
        }
    }
    found
}

/// A file against the checksums beside a package's list.
fn against(list: &Path, path: &str, spelling: &str) -> Origin {
    let name = files::last(&list.with_extension(""));
    let package = name.split(':').next().unwrap_or_default().to_owned();
    let sums = files::text_up_to(list.with_extension("md5sums"), MAX_LIST).unwrap_or_default();
    match (checksum(&sums, spelling), md5(Path::new(path))) {
        (Some(installed), Some(now)) if installed == now => Origin::As(package),
        (Some(_), Some(_)) => Origin::Changed(package),
        _ => Origin::Unchecked(package),
    }
}

fn md5(path: &Path) -> Option<String> {
    let mut hash = Md5::new();
    each_piece(path, |piece| hash.update(piece))?;
    Some(to_hex(&hash.finalize()))
}

/// The SHA-256 of a program.
pub fn sha256(path: &Path) -> Option<[u8; 32]> {
    let mut hash = Context::new(&SHA256);
    each_piece(path, |piece| hash.update(piece))?;
    hash.finish().as_ref().try_into().ok()
}

fn each_piece(path: &Path, mut take: impl FnMut(&[u8])) -> Option<()> {
    let mut file = files::open(path)?.take(MAX_PROGRAM);
    let mut buffer = [0; 16 * 1024];
    loop {
        match file.read(&mut buffer).ok()? {
            0 => return Some(()),
            read => take(buffer.get(..read)?),
        }
    }
}

/// What the walk found, and whether it got through.
#[derive(Debug, Default)]
pub struct Walked {
    /// The programs, by path.
    pub found: Vec<SetId>,
    /// Whether everything was looked at.
    pub whole: bool,
}

/// All files whose mode gives their owner's or group's rights, on the disks on which such a mode counts.
pub fn walk() -> Walked {
    let mounts = mounted(&disks::mountinfo());
    let counts = |m: &&Mounted| m.kind != "tmpfs" && !m.options.iter().any(|option| option == "nosuid");
    let end = Instant::now() + WALK;
    let mut walked = Walked {
        whole: true,
        ..Walked::default()
    };
    let mut left = MAX_ENTRIES;
    for mount in mounts.iter().filter(counts) {
        disk(Path::new(&mount.at), end, &mut left, &mut walked);
    }
    walked.found.sort_by(|a, b| a.path.cmp(&b.path));
    walked.found.dedup();
    walked
}

fn disk(root: &Path, end: Instant, left: &mut u64, walked: &mut Walked) {
    let Ok(device) = std::fs::symlink_metadata(root).map(|meta| meta.dev()) else {
        return;
    };
    let mut folders: Vec<PathBuf> = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        if OTHERS.iter().any(|other| folder == Path::new(other)) {
            continue;
        }
        for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
            if *left == 0 || Instant::now() > end {
                walked.whole = false;
                return;
            }
            *left -= 1;
            // What is neither a folder nor a file cannot be run; its kind is known without a look at it.
            let Ok(kind) = entry.file_type() else { continue };
            if !kind.is_dir() && !kind.is_file() {
                continue;
            }
            let Ok(meta) = entry.metadata() else { continue };
            if kind.is_dir() && meta.dev() == device {
                folders.push(entry.path());
            } else if kind.is_file() && meta.mode() & 0o6000 != 0 && meta.mode() & 0o111 != 0 {
                walked.found.push(SetId {
                    path: entry.path().to_string_lossy().into_owned(),
                    mode: meta.mode(),
                    owner: meta.uid(),
                    group: meta.gid(),
                });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_of_a_package_is_known_and_a_new_one_is_a_stranger() {
        if !Path::new(INFO).exists() {
            eprintln!("skipped: no dpkg here");
            return;
        }
        let dir = tempfile::tempdir().expect("a folder");
        let own = dir.path().join("own").to_string_lossy().into_owned();
        std::fs::write(&own, "x").expect("writes");
        let all = origins(&["/usr/bin/dpkg".into(), own.clone()]);
        assert_eq!(all["/usr/bin/dpkg"], Origin::As("dpkg".into()));
        assert_eq!(all[&own], Origin::Stranger);
        assert_eq!(
            md5(Path::new(&own)).as_deref(),
            Some("9dd4e461268c8034f5c8564e155c67a6")
        );
    }
}
