//! Shell: reads `agent.toml` and the box's own profiles, `profiles/*.toml`, from the data folder.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::path::{Path, PathBuf};

use homeward_devices::profile::{Profile, ProfileError};

use super::{Config, Faults};
use crate::sense::Sensor;

/// Longest file, bytes: a home with the most sensors that a report can list is far below it.
const MAX_FILE: u64 = 256 * 1024;
/// Most profiles of a box's own.
const MAX_PROFILES: usize = 256;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file could not be read.
    #[error("could not read {path}")]
    Io {
        /// Which file.
        path: PathBuf,
        /// What the file system said.
        source: std::io::Error,
    },
    /// The configuration is wrong.
    #[error("{path} is wrong:\n{faults}")]
    Config {
        /// Which file.
        path: PathBuf,
        /// All that is wrong.
        faults: Faults,
    },
    /// A profile is wrong.
    #[error("{path} is wrong:\n{error}")]
    Profile {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        error: ProfileError,
    },
    /// More profiles than a box may have.
    #[error("{0} holds more than {MAX_PROFILES} profiles: remove those that no sensor uses")]
    Many(PathBuf),
}

/// A checked configuration with its sensors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The sensors, joined with their profiles.
    pub sensors: Vec<Sensor>,
}

/// Reads and checks everything; without `agent.toml`, everything is as usual and there are no sensors.
pub fn load(data: &Path) -> Result<Loaded, LoadError> {
    let path = data.join("agent.toml");
    let text = match read(&path) {
        Err(LoadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => String::new(),
        other => other?,
    };
    let own = profiles(&data.join("profiles"))?;
    let checked = Config::parse(&text).and_then(|config| {
        let sensors = config.sensors(&own)?;
        Ok(Loaded { config, sensors })
    });
    checked.map_err(|faults| LoadError::Config { path, faults })
}

/// Reads one profile.
pub fn profile(path: &Path) -> Result<Profile, LoadError> {
    Profile::parse(&read(path)?).map_err(|error| LoadError::Profile {
        path: path.to_owned(),
        error,
    })
}

fn profiles(dir: &Path) -> Result<Vec<Profile>, LoadError> {
    let io = |source| LoadError::Io {
        path: dir.to_owned(),
        source,
    };
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        other => other.map_err(io)?,
    };
    let mut all = Vec::new();
    for entry in entries {
        let path = entry.map_err(io)?.path();
        if path.extension().is_none_or(|ending| ending != "toml") {
            continue;
        }
        if all.len() == MAX_PROFILES {
            return Err(LoadError::Many(dir.to_owned()));
        }
        all.push(profile(&path)?);
    }
    Ok(all)
}

fn read(path: &Path) -> Result<String, LoadError> {
    let mut text = String::new();
    fs::File::open(path)
        .and_then(|file| file.take(MAX_FILE).read_to_string(&mut text))
        .map_err(|source| LoadError::Io {
            path: path.to_owned(),
            source,
        })?;
    Ok(text)
}
