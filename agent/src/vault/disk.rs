//! Shell: the vault's file, `vault.json` in the data folder.
#![expect(clippy::disallowed_methods, reason = "shell: a file, and random bytes")]

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use ring::rand::{SecureRandom as _, SystemRandom};

use super::sources::found;
use super::{Kind, Nonces, Random, Source, Vault, VaultError, kind_in, make, open, refreshed};
use crate::disk::replace;

/// Its name.
const FILE: &str = "vault.json";
/// Longest file that is read, bytes.
const MOST: u64 = 64 * 1024;

/// Why there is no vault.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// It cannot be read or written.
    #[error("could not read or write {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// It does not open.
    #[error("{path}: {source}")]
    Vault {
        /// Which file.
        path: PathBuf,
        /// Why.
        source: VaultError,
    },
    /// No random bytes.
    #[error("the system gave no random bytes")]
    Random,
}

/// `N` random bytes.
pub fn random<const N: usize>() -> Result<[u8; N], DiskError> {
    let mut bytes = [0; N];
    SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| DiskError::Random)?;
    Ok(bytes)
}

/// The vault of a data folder on this machine; a new one when there is none.
pub fn at(data: &Path) -> Result<Vault, DiskError> {
    at_by(data, &found(Path::new("/")))
}

/// The same by these secrets.
pub fn at_by(data: &Path, sources: &[Source]) -> Result<Vault, DiskError> {
    let path = data.join(FILE);
    let Some(text) = read(&path)? else {
        let (vault, text) = make(sources, dice()?).map_err(wrong(&path))?;
        write(&path, &text)?;
        return Ok(vault);
    };
    let vault = open(&text, sources).map_err(wrong(&path))?;
    let mut nonces = Nonces::new(&random()?);
    if let Some(text) = refreshed(&text, sources, &mut nonces).map_err(wrong(&path))? {
        write(&path, &text)?;
    }
    Ok(vault)
}

/// How strong the vault of a data folder is; `None` when there is none.
pub fn kind(data: &Path) -> Option<Kind> {
    kind_in(&read(&data.join(FILE)).ok()??)
}

/// Moves a vault that does not open out of the way, with everything that was sealed by it, and gives where it is.
pub fn set_aside(data: &Path, sealed: &[&str], now_ms: i64) -> Result<PathBuf, DiskError> {
    let aside = data.join(format!("foreign-{now_ms}"));
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| DiskError::Io { path, source }
    };
    fs::create_dir_all(&aside).map_err(io(&aside))?;
    for name in sealed.iter().chain(&[FILE]) {
        let from = data.join(name);
        match fs::rename(&from, aside.join(Path::new(name).file_name().unwrap_or_default())) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => return Err(io(&from)(error)),
            _ => {}
        }
    }
    Ok(aside)
}

fn dice() -> Result<Random, DiskError> {
    Ok(Random {
        key: random()?,
        salt: random()?,
        own: random()?,
        nonces: Nonces::new(&random()?),
    })
}

fn read(path: &Path) -> Result<Option<String>, DiskError> {
    let mut text = String::new();
    match fs::File::open(path).and_then(|file| file.take(MOST).read_to_string(&mut text)) {
        Ok(_) => Ok(Some(text)),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
        Err(source) => Err(DiskError::Io {
            path: path.to_owned(),
            source,
        }),
    }
}

/// Whole or not at all, for the owner alone.
pub(super) fn write(path: &Path, text: &str) -> Result<(), DiskError> {
    replace(path, text.as_bytes()).map_err(|source| DiskError::Io {
        path: path.to_owned(),
        source,
    })
}

fn wrong(path: &Path) -> impl FnOnce(VaultError) -> DiskError {
    let path = path.to_owned();
    move |source| DiskError::Vault { path, source }
}
