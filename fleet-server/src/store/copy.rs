//! Shell: backup of a data folder with its embedded database, and the way back.
//!
//! A backup is a folder: the database as one file, the other files as they were, and `manifest.json`, written last,
//! with the length and SHA-256 of each. It is made while the server runs and shows one moment of the database.
//! `PostgreSQL` has its own tools (`pg_dump`, `pgBackRest`); only the other files are copied then.
//!
//! # Design
//! The database is copied in one step by the online backup interface: a reader's lock in `WAL` mode, which delays no
//! writer. `VACUUM INTO` took three times as long. The copy is checked before it is called a backup.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs::{DirBuilder, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Component, Path, PathBuf};

use homeward_protocol::time::Timestamp;
use ring::digest::{Context, SHA256};
use rusqlite::backup::Backup;
use serde::{Deserialize, Serialize};

use super::StoreError;
use super::sqlite::connect;

/// The manifest's name.
const MANIFEST: &str = "manifest.json";
/// Most bytes of a manifest: some thousand files.
const MAX_MANIFEST: u64 = 1 << 20;
/// What this program writes and reads.
const FORMAT: u32 = 1;

/// Why there is no backup, or no way back.
#[derive(Debug, thiserror::Error)]
pub enum CopyError {
    /// A step on a file failed.
    #[error("could not {step} {}", path.display())]
    File {
        /// What was tried.
        step: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// The database could not be read or written.
    #[error("could not copy the database")]
    Database(#[source] StoreError),
    /// The copy of the database is damaged.
    #[error("the database's copy does not pass its check: {0}")]
    Damaged(String),
    /// Nothing is overwritten without being asked.
    #[error("{} is there already; choose another folder, or move it away first", .0.display())]
    Exists(PathBuf),
    /// A data folder is in use already.
    #[error("{} is there already; restore into an empty folder, or add --replace to put the backup in its place", .0.display())]
    InTheWay(PathBuf),
    /// Not a folder that `backup` made.
    #[error("{} is not a whole backup: {why}", path.display())]
    Manifest {
        /// Which folder.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// A file is not what was written.
    #[error("{} was changed or damaged after the backup was made", .0.display())]
    Changed(PathBuf),
}

/// One file of a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Copied {
    /// Its path within the data folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// SHA-256, lower case hex.
    pub sha256: String,
}

/// What a backup holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// The layout of the backup.
    pub format: u32,
    /// When it was made, milliseconds since 1970.
    pub made_at_ms: i64,
    /// Its files.
    pub files: Vec<Copied>,
}

/// What to do with files that are there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// Leave everything as it is.
    Refuse,
    /// Put the backup's files in their place.
    Replace,
}

/// Writes a backup of the data folder `folder` into the new folder `to`: its `database` (the name of the embedded
/// one, when it is used), and the files and folders named in `also`, where those exist.
pub fn backup(
    folder: &Path,
    database: Option<&str>,
    also: &[&str],
    to: &Path,
    now: Timestamp,
) -> Result<Manifest, CopyError> {
    let made = DirBuilder::new().mode(0o700).create(to);
    made.map_err(|source| match source.kind() {
        std::io::ErrorKind::AlreadyExists => CopyError::Exists(to.to_owned()),
        _ => file("make the folder", to)(source),
    })?;
    let mut names = Vec::new();
    if let Some(name) = database {
        copy_database(&folder.join(name), &to.join(name))?;
        names.push(name.to_owned());
    }
    for name in also {
        copy_tree(folder, to, Path::new(name), &mut names)?;
    }
    let files: Result<Vec<Copied>, CopyError> = names.iter().map(|name| describe(to, name)).collect();
    let manifest = Manifest {
        format: FORMAT,
        made_at_ms: now.ms,
        files: files?,
    };
    let text = serde_json::to_vec_pretty(&manifest).unwrap_or_default();
    write_new(&to.join(MANIFEST), &mut text.as_slice())?;
    sync(to)?;
    Ok(manifest)
}

/// Whether `from` is a whole backup: every file is there with the content that its manifest says, and the database
/// passes its check.
pub fn verify(from: &Path) -> Result<Manifest, CopyError> {
    let not_whole = |why: String| CopyError::Manifest {
        path: from.to_owned(),
        why,
    };
    let path = from.join(MANIFEST);
    let mut text = Vec::new();
    let opened = File::open(&path).map_err(file("open", &path))?;
    opened
        .take(MAX_MANIFEST)
        .read_to_end(&mut text)
        .map_err(file("read", &path))?;
    let manifest: Manifest = serde_json::from_slice(&text).map_err(|e| not_whole(e.to_string()))?;
    if manifest.format != FORMAT {
        return Err(not_whole(format!(
            "its layout is {}, this program reads {FORMAT}",
            manifest.format
        )));
    }
    for copied in &manifest.files {
        if !plain(&copied.name) {
            return Err(not_whole(format!("it names the file {:?}", copied.name)));
        }
        if describe(from, &copied.name)? != *copied {
            return Err(CopyError::Changed(from.join(&copied.name)));
        }
        if is_database(&copied.name) {
            quick_check(&from.join(&copied.name))?;
        }
    }
    Ok(manifest)
}

/// Puts the backup `from` into the data folder `into`, after [`verify`]. No server may run there. What the gateways
/// still hold they send again; what is gone shows as a gap.
pub fn restore(from: &Path, into: &Path, existing: Existing) -> Result<Manifest, CopyError> {
    let manifest = verify(from)?;
    if existing == Existing::Refuse {
        let there = manifest
            .files
            .iter()
            .map(|copied| into.join(&copied.name))
            .find(|path| path.exists());
        if let Some(path) = there {
            return Err(CopyError::InTheWay(path));
        }
    }
    make_dir(into)?;
    for copied in &manifest.files {
        let (source, target) = (from.join(&copied.name), into.join(&copied.name));
        let fresh = into.join(format!("{}.restoring", copied.name));
        if let Some(parent) = target.parent() {
            make_dir(parent)?;
        }
        remove(&fresh)?; // of a restore that was cut short
        let mut opened = File::open(&source).map_err(file("open", &source))?;
        write_new(&fresh, &mut opened)?;
        if is_database(&copied.name) {
            // What belongs to the database that was there must not be taken for part of this one.
            remove(&into.join(format!("{}-wal", copied.name)))?;
            remove(&into.join(format!("{}-shm", copied.name)))?;
        }
        std::fs::rename(&fresh, &target).map_err(file("put in place", &target))?;
        target.parent().map_or(Ok(()), sync)?;
    }
    Ok(manifest)
}

fn is_database(name: &str) -> bool {
    Path::new(name).extension().is_some_and(|e| e == "db")
}

/// A path of plain names that stays within its folder.
fn plain(name: &str) -> bool {
    let inner = Path::new(name)
        .components()
        .all(|part| matches!(part, Component::Normal(_)));
    inner && !name.is_empty() && !name.contains('\0')
}

fn copy_database(from: &Path, to: &Path) -> Result<(), CopyError> {
    let failed = |e: rusqlite::Error| CopyError::Database(super::sqlite::failed("copying it", &e));
    write_new(to, &mut std::io::empty())?; // for its mode
    let source = connect(from, true).map_err(CopyError::Database)?;
    let mut target = rusqlite::Connection::open(to).map_err(failed)?;
    Backup::new(&source, &mut target)
        .and_then(|backup| backup.step(-1))
        .map_err(failed)?;
    // One file, without a log beside it.
    target
        .pragma_update(None, "journal_mode", "DELETE")
        .map_err(failed)?;
    target.close().map_err(|(_, e)| failed(e))?;
    quick_check(to)?;
    sync(to)
}

/// The engine's own check of a database file.
pub fn quick_check(path: &Path) -> Result<(), CopyError> {
    let failed = |e: rusqlite::Error| CopyError::Damaged(e.to_string());
    let flags = rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY;
    let db = rusqlite::Connection::open_with_flags(path, flags).map_err(failed)?;
    let said: String = db
        .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
        .map_err(failed)?;
    if said == "ok" {
        Ok(())
    } else {
        Err(CopyError::Damaged(said))
    }
}

fn copy_tree(folder: &Path, to: &Path, name: &Path, names: &mut Vec<String>) -> Result<(), CopyError> {
    let from = folder.join(name);
    if from.is_dir() {
        make_dir(&to.join(name))?;
        let entries = std::fs::read_dir(&from).map_err(file("list", &from))?;
        for entry in entries {
            let entry = entry.map_err(file("list", &from))?;
            copy_tree(folder, to, &name.join(entry.file_name()), names)?;
        }
    } else if from.exists() {
        let mut opened = File::open(&from).map_err(file("open", &from))?;
        write_new(&to.join(name), &mut opened)?;
        names.push(name.display().to_string());
    }
    Ok(())
}

fn describe(folder: &Path, name: &str) -> Result<Copied, CopyError> {
    let path = folder.join(name);
    let mut opened = File::open(&path).map_err(file("open", &path))?;
    let (mut hash, mut bytes) = (Context::new(&SHA256), 0);
    let mut block = vec![0; 1 << 16];
    loop {
        let read = opened.read(&mut block).map_err(file("read", &path))?;
        if read == 0 {
            break;
        }
        hash.update(&block[..read]);
        bytes += read as u64;
    }
    Ok(Copied {
        name: name.to_owned(),
        bytes,
        sha256: super::hex(hash.finish().as_ref()),
    })
}

fn write_new(path: &Path, content: &mut dyn Read) -> Result<(), CopyError> {
    let opened = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(path);
    let mut target = opened.map_err(file("write", path))?;
    std::io::copy(content, &mut target).map_err(file("write", path))?;
    target
        .flush()
        .and_then(|()| target.sync_all())
        .map_err(file("write", path))
}

fn make_dir(path: &Path) -> Result<(), CopyError> {
    let made = DirBuilder::new().recursive(true).mode(0o700).create(path);
    made.map_err(file("make the folder", path))
}

fn remove(path: &Path) -> Result<(), CopyError> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != std::io::ErrorKind::NotFound => Err(file("remove", path)(e)),
        _ => Ok(()),
    }
}

fn sync(path: &Path) -> Result<(), CopyError> {
    let opened = File::open(path).map_err(file("open", path))?;
    opened.sync_all().map_err(file("write", path))
}

fn file(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> CopyError {
    let path = path.to_owned();
    move |source| CopyError::File { step, path, source }
}
