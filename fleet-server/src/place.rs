//! Shell: the server's data folder.
//!
//! | file | what |
//! |---|---|
//! | `fleet.toml` | the configuration |
//! | `fleet.db` | the embedded database |
//! | `ca/` | the certificate authority's keys and certificates |
//! | `director.key` | the key by which this server says which released software a gateway shall have |
//! | `release/repository/` | releases, for gateways to fetch |
//! | `ports.json` | the ports listened on, written at each start |
//! | `lock` | held while a server runs |
#![expect(clippy::disallowed_methods, reason = "shell: the data folder")]

use std::fs::File;
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};

use crate::config::{Config, ConfigError};

/// Why the data folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
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
    /// The configuration is not right.
    #[error("{} is not right:\n{source}", path.display())]
    Config {
        /// Which file.
        path: PathBuf,
        /// What is wrong.
        source: ConfigError,
    },
    /// There is something there already.
    #[error("{} is already set up; nothing was changed", .0.display())]
    Taken(PathBuf),
    /// A server runs there.
    #[error("a server already runs in {}", .0.display())]
    Running(PathBuf),
    /// Nothing is there.
    #[error("{at} is not set up: run `homeward-fleet --data {at} init --name YOUR.DNS.NAME` first", at = .0.display())]
    Empty(PathBuf),
    /// The ports are not known because no server has run here.
    #[error("the server's ports are not known yet: start `homeward-fleet --data {} serve` first", .0.display())]
    NoPorts(PathBuf),
}

/// The ports that the running (or last) server listens on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ports {
    /// MQTT.
    pub gate: u16,
    /// Enrolment.
    pub enrol: u16,
    /// Late renewal.
    pub renewal: u16,
    /// Console and API.
    pub console: u16,
    /// The local listener.
    pub local: u16,
}

/// A data folder.
#[derive(Debug, Clone)]
pub struct Place {
    folder: PathBuf,
}

/// Held while a server runs in a folder.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Place {
    /// The folder at this path, which need not exist yet.
    pub fn at(folder: &Path) -> Place {
        Place {
            folder: folder.to_owned(),
        }
    }

    /// Its path.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The embedded database.
    pub fn database(&self) -> PathBuf {
        self.folder.join("fleet.db")
    }

    /// The folder of the certificate authority.
    pub fn authority(&self) -> PathBuf {
        self.folder.join("ca")
    }

    /// The key by which this server directs: it chooses among what is released, and makes nothing.
    pub fn director(&self) -> PathBuf {
        self.folder.join("director.key")
    }

    /// The release folder whose repository gateways fetch from.
    pub fn release(&self) -> PathBuf {
        self.folder.join("release")
    }

    fn config_path(&self) -> PathBuf {
        self.folder.join("fleet.toml")
    }

    /// Refuses when the folder has a configuration already.
    pub fn is_free(&self) -> Result<(), PlaceError> {
        if self.config_path().exists() {
            return Err(PlaceError::Taken(self.folder.clone()));
        }
        Ok(())
    }

    /// Makes the folder and its configuration; refuses when there is one.
    pub fn make(&self, config: &str) -> Result<(), PlaceError> {
        let made = std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.folder);
        made.map_err(file("make the folder", &self.folder))?;
        self.is_free()?;
        self.write("fleet.toml", config.as_bytes())
    }

    /// Reads the configuration.
    pub fn config(&self) -> Result<Config, PlaceError> {
        let path = self.config_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => {
                return Err(PlaceError::Empty(self.folder.clone()));
            }
            Err(source) => {
                return Err(PlaceError::File {
                    step: "read",
                    path,
                    source,
                });
            }
        };
        Config::parse(&text, &self.folder).map_err(|source| PlaceError::Config { path, source })
    }

    /// Takes the folder for one server; released when the answer is dropped or the process ends.
    pub fn lock(&self) -> Result<Lock, PlaceError> {
        let path = self.folder.join("lock");
        let options = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(false)
            .mode(0o600)
            .open(&path);
        let lock = options.map_err(file("open", &path))?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive)
            .map_err(|_| PlaceError::Running(self.folder.clone()))?;
        Ok(Lock { _file: lock })
    }

    /// Writes down the ports.
    pub fn write_ports(&self, ports: &Ports) -> Result<(), PlaceError> {
        let text = serde_json::to_string(ports).unwrap_or_default();
        self.write("ports.json", text.as_bytes())
    }

    /// Reads the ports.
    pub fn ports(&self) -> Result<Ports, PlaceError> {
        let none = || PlaceError::NoPorts(self.folder.clone());
        let text = std::fs::read_to_string(self.folder.join("ports.json")).map_err(|_| none())?;
        serde_json::from_str(&text).map_err(|_| none())
    }

    /// Writes a file so that it is there whole or not at all.
    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), PlaceError> {
        let (path, new) = (self.folder.join(name), self.folder.join(format!("{name}.new")));
        let step = "write";
        let options = std::fs::OpenOptions::new()
            .create(true)
            .write(true)
            .truncate(true)
            .mode(0o600)
            .open(&new);
        let mut out = options.map_err(file(step, &new))?;
        out.write_all(bytes)
            .and_then(|()| out.sync_all())
            .map_err(file(step, &new))?;
        std::fs::rename(&new, &path).map_err(file(step, &path))?;
        File::open(&self.folder)
            .and_then(|d| d.sync_all())
            .map_err(file(step, &self.folder))
    }
}

fn file(step: &'static str, path: &Path) -> impl FnOnce(std::io::Error) -> PlaceError {
    let path = path.to_owned();
    move |source| PlaceError::File { step, path, source }
}
