//! Shell: reads `agent.toml` and the box's own profiles, `profiles/*.toml`, from the data folder.
#![expect(clippy::disallowed_methods, reason = "shell: files")]

use std::fs;
use std::io::{ErrorKind, Read as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::bluez::keys::Keys;
use homeward_devices::modbus::bus::Master;
use homeward_devices::modbus::role::Role;
use homeward_devices::modbus::serial::{Port, Rtu};
use homeward_devices::modbus::tcp::Tcp;
use homeward_devices::modbus::tls::{self, Pem, TlsFault};
use homeward_devices::profile::{Profile, ProfileError};
use rustls::ServerConfig;
use rustls::time_provider::TimeProvider;

use super::{Config, Faults};
use crate::clock::Clock;
use crate::guard::Plan;
use crate::sense::{Sensor, TlsFiles, Way};

/// The role that reads and never writes, as the specification's examples call it.
const MONITOR: &str = "monitor";

/// Longest file, bytes: a home with the most sensors that a report can list is far below it.
const MAX_FILE: u64 = 256 * 1024;
/// Most profiles of a box's own.
const MAX_PROFILES: usize = 256;

/// Why there is no configuration.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A Bluetooth sensor was to be asked as one on a wire.
    #[error(
        "{0} is a Bluetooth sensor: it sends when it has something to tell, nobody can ask it. Follow it with `sensor watch`"
    )]
    Bluetooth(String),
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
    /// Certificates for Modbus/TCP Security cannot be used.
    #[error("the certificates for {way} cannot be used")]
    Tls {
        /// Which line or guard.
        way: String,
        /// What is wrong.
        source: TlsFault,
    },
    /// A certificate that lets this box do more than it should.
    #[error(
        "the certificate for {way} has the role {role}: nothing there may be written, so let it have the role \
         {MONITOR}"
    )]
    Role {
        /// Which line.
        way: String,
        /// Its role.
        role: Role,
    },
    /// More profiles than a box may have.
    #[error("{0} holds more than {MAX_PROFILES} profiles: remove those that no sensor uses")]
    Many(PathBuf),
}

/// A checked configuration with its sensors.
#[derive(Debug, Clone)]
pub struct Loaded {
    /// The configuration.
    pub config: Config,
    /// The sensors, joined with their profiles.
    pub sensors: Vec<Sensor>,
    /// The guards, joined with the sensors that they stand before.
    pub guards: Vec<Guarding>,
}

/// A guard with what it needs to speak TLS.
#[derive(Debug, Clone)]
pub struct Guarding {
    /// Where, before what, and for whom.
    pub plan: Plan,
    /// TLS, when it speaks it.
    pub tls: Option<Arc<ServerConfig>>,
}

/// Reads and checks everything; without `agent.toml`, everything is as usual and there are no sensors.
pub fn load(data: &Path, clock: &Arc<Clock>) -> Result<Loaded, LoadError> {
    let path = data.join("agent.toml");
    let text = configured(&path)?;
    let own = profiles(&data.join("profiles"))?;
    let checked = Config::parse(&text).and_then(|config| {
        let sensors = config.sensors(&own)?;
        let plans = config.guards(&sensors)?;
        Ok((config, sensors, plans))
    });
    let (config, sensors, plans) = checked.map_err(|faults| LoadError::Config { path, faults })?;
    for sensor in sensors.iter().filter(|sensor| sensor.ble_address().is_none()) {
        let master = master(&sensor.way, sensor.profile.time_limit, data, clock)?;
        modest(sensor, &master)?;
    }
    let guarding = |plan: Plan| {
        let tls = plan.tls.as_ref();
        let tls = tls
            .map(|files| server(files, plan.listen, data, clock))
            .transpose()?;
        Ok(Guarding { plan, tls })
    };
    Ok(Loaded {
        config,
        sensors,
        guards: plans
            .into_iter()
            .map(guarding)
            .collect::<Result<_, LoadError>>()?,
    })
}

/// Where the class of a bond's key is learnt, for commands that need nothing else of the configuration.
pub fn keys(data: &Path) -> Result<Keys, LoadError> {
    let path = data.join("agent.toml");
    let config = Config::parse(&configured(&path)?);
    let config = config.map_err(|faults| LoadError::Config { path, faults })?;
    Ok(Keys::at(config.bluetooth_keys.as_deref()))
}

/// The line that leads to a sensor; nothing is connected or opened yet. `limit` is how long an answer may take.
pub fn master(way: &Way, limit: Duration, data: &Path, clock: &Arc<Clock>) -> Result<Master, LoadError> {
    let line = match way.clone() {
        Way::Tcp(endpoint) => Tcp::new(endpoint, limit),
        Way::Tls {
            endpoint,
            name,
            files,
        } => {
            let texts = Texts::read(&files, data)?;
            let time: Arc<dyn TimeProvider> = Arc::<Clock>::clone(clock);
            let secured = tls::client(texts.pem(), &name, time).map_err(|source| LoadError::Tls {
                way: endpoint.clone(),
                source,
            })?;
            Tcp::secured(endpoint, limit, secured)
        }
        Way::Ble(address) => return Err(LoadError::Bluetooth(address.to_string())),
        Way::Serial { path, settings } => {
            return Ok(Master::Serial(Rtu::new(Port { path, settings }, limit)));
        }
    };
    Ok(Master::Tcp(Box::new(line)))
}

/// Fails when our certificate gives more rights at a device than its profile has use for.
fn modest(sensor: &Sensor, master: &Master) -> Result<(), LoadError> {
    let Master::Tcp(line) = master else {
        return Ok(());
    };
    match line.role() {
        Some(role) if role.as_str() != MONITOR && sensor.profile.writable.is_empty() => {
            Err(LoadError::Role {
                way: sensor.way.to_string(),
                role: role.clone(),
            })
        }
        _ => Ok(()),
    }
}

fn server(
    files: &TlsFiles,
    listen: SocketAddr,
    data: &Path,
    clock: &Arc<Clock>,
) -> Result<Arc<ServerConfig>, LoadError> {
    let texts = Texts::read(files, data)?;
    let time: Arc<dyn TimeProvider> = Arc::<Clock>::clone(clock);
    tls::server(texts.pem(), time).map_err(|source| LoadError::Tls {
        way: listen.to_string(),
        source,
    })
}

/// The texts of PEM files. The key is among them, so it is never shown.
struct Texts {
    authority: String,
    certificate: String,
    key: String,
}

impl Texts {
    fn read(files: &TlsFiles, data: &Path) -> Result<Texts, LoadError> {
        Ok(Texts {
            authority: read(&data.join(&files.authority))?,
            certificate: read(&data.join(&files.certificate))?,
            key: read(&data.join(&files.key))?,
        })
    }

    fn pem(&self) -> Pem<'_> {
        Pem {
            authority: self.authority.as_bytes(),
            certificate: self.certificate.as_bytes(),
            key: self.key.as_bytes(),
        }
    }
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

/// The text of `agent.toml`; none is an empty one.
fn configured(path: &Path) -> Result<String, LoadError> {
    match read(path) {
        Err(LoadError::Io { source, .. }) if source.kind() == ErrorKind::NotFound => Ok(String::new()),
        other => other,
    }
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
