//! Which sensors a box has, as configured.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use homeward_devices::profile::{self, LineSettings, Profile, ProfileId, Transport};
use homeward_protocol::bond::BleAddress;
use homeward_protocol::id::SensorId;
use homeward_protocol::posture::MAX_SENSORS;
use homeward_protocol::time::Uptime;
use serde::Deserialize;

use crate::sense::Line;

/// Where a sensor is: `host:port` for Modbus/TCP, the path of a serial port such as `/dev/ttyUSB0`, or a Bluetooth
/// address such as `C1:00:00:00:00:01`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(try_from = "String")]
pub enum Address {
    /// A TCP endpoint, `host:port`.
    Tcp(String),
    /// A serial port of this box.
    Serial(String),
    /// A Bluetooth device.
    Ble(BleAddress),
}

impl FromStr for Address {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.starts_with('/') {
            return Ok(Address::Serial(text.to_owned()));
        }
        if let Ok(address) = text.parse() {
            return Ok(Address::Ble(address));
        }
        let port = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
        match port.and_then(|(_, port)| port.parse::<u16>().ok()) {
            Some(1..) => Ok(Address::Tcp(text.to_owned())),
            _ => Err(format!(
                "`{text}` is no address: write host:port (such as 192.0.2.7:502), the path of a serial port, or a \
                 Bluetooth address (such as C1:00:00:00:00:01)"
            )),
        }
    }
}

impl TryFrom<String> for Address {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Address::Tcp(text) | Address::Serial(text) => f.write_str(text),
            Address::Ble(address) => address.fmt(f),
        }
    }
}

/// One `[[sensor]]` of the agent's configuration.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorConfig {
    /// What this home calls it, such as `ups-bedroom`.
    pub id: SensorId,
    /// Its profile: a shipped one by its name, or one of the box's own.
    pub profile: ProfileId,
    /// Where it is: `host:port`, the path of a serial port, or a Bluetooth address.
    pub address: Address,
    /// Certificates, when the device speaks Modbus/TCP Security. There is no way back to the plain protocol.
    pub tls: Option<SensorTls>,
    /// Bits per second of the serial port, when not the profile's.
    pub baud: Option<u32>,
    /// The Modbus unit id, when not the profile's.
    pub unit: Option<u8>,
    /// How often to ask, milliseconds, when not the profile's; at least 50.
    pub interval_ms: Option<u32>,
    /// Maker and product that a Modbus device says of itself, when not what it said first. Anything else at its place
    /// is told as another device.
    pub identity: Option<String>,
}

/// Where the certificates of Modbus/TCP Security lie: PEM files, absolute or in the data folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFiles {
    /// The authority that the other side's certificates come from. No other counts.
    pub authority: PathBuf,
    /// This site's certificate, then its intermediates.
    pub certificate: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// `tls` of a `[[sensor]]`.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SensorTls {
    /// The authority that the device's certificate comes from: a PEM file. No other counts.
    pub authority: PathBuf,
    /// This site's certificate, then its intermediates: a PEM file.
    pub certificate: PathBuf,
    /// Its private key: a PEM file.
    pub key: PathBuf,
    /// The name in the device's certificate, when it is not the host of the address.
    pub name: Option<String>,
}

/// What is wrong with the configured sensors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SensorFault {
    /// No profile has that name.
    #[error("sensor {sensor}: there is no profile {profile}; known are {known}")]
    UnknownProfile {
        /// Which sensor.
        sensor: SensorId,
        /// The name that was asked for.
        profile: ProfileId,
        /// All names.
        known: String,
    },
    /// The device cannot be reached at such an address.
    #[error("sensor {sensor}: a {profile} is not reached at an address like {address}")]
    Transport {
        /// Which sensor.
        sensor: SensorId,
        /// Its profile.
        profile: ProfileId,
        /// The address.
        address: Address,
    },
    /// A value that makes no sense.
    #[error("sensor {sensor}: {rule}")]
    Value {
        /// Which sensor.
        sensor: SensorId,
        /// What would be right.
        rule: &'static str,
    },
    /// Two sensors have one name.
    #[error("two sensors are called {0}")]
    Twice(SensorId),
    /// Two sensors on one port or endpoint want different line settings, or another TLS.
    #[error("sensor {sensor}: {place} is already used with other line or TLS settings: one port has one")]
    Settings {
        /// The later of the two.
        sensor: SensorId,
        /// The port.
        place: String,
    },
    /// Two sensors are one Bluetooth device.
    #[error("sensor {sensor}: {address} is already another sensor; one device is one sensor")]
    OneDevice {
        /// The later of the two.
        sensor: SensorId,
        /// The device.
        address: BleAddress,
    },
    /// More sensors than a report can list.
    #[error("{0} sensors are configured; a gateway watches at most {MAX_SENSORS}")]
    Many(usize),
}

/// The way to a sensor, shared by all behind one endpoint or port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Way {
    /// Modbus/TCP to `host:port`.
    Tcp(String),
    /// Modbus/TCP Security.
    Tls {
        /// The endpoint, `host:port`.
        endpoint: String,
        /// The name that the device's certificate must hold.
        name: String,
        /// Where our certificates lie.
        files: TlsFiles,
    },
    /// Modbus RTU on a serial port.
    Serial {
        /// Such as `/dev/ttyUSB0`.
        path: String,
        /// Speed and framing.
        settings: LineSettings,
    },
    /// Bluetooth.
    Ble(BleAddress),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Way::Tcp(endpoint) | Way::Tls { endpoint, .. } => f.write_str(endpoint),
            Way::Serial { path, .. } => f.write_str(path),
            Way::Ble(address) => address.fmt(f),
        }
    }
}

/// A sensor to watch: the configuration joined with its profile.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sensor {
    /// What this home calls it.
    pub id: SensorId,
    /// What is known of its model.
    pub profile: Arc<Profile>,
    /// The way to it.
    pub way: Way,
    /// Its Modbus unit id.
    pub unit: u8,
    /// Maker and product that it has to say of itself; none: what it says first.
    pub identity: Option<String>,
    /// How often to ask.
    pub interval: Duration,
    /// Without a value for this long, it is silent: the profile's, but at least three intervals.
    pub silent_after: Duration,
}

/// How often a sensor is asked, and how long it may give nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pace {
    /// How often to ask.
    pub interval: Duration,
    /// Without a value for this long, it is silent.
    pub silent_after: Duration,
}

impl Sensor {
    /// Its pace.
    pub const fn pace(&self) -> Pace {
        Pace {
            interval: self.interval,
            silent_after: self.silent_after,
        }
    }

    /// Gives it another pace.
    pub const fn keep_pace(&mut self, pace: Pace) {
        self.interval = pace.interval;
        self.silent_after = pace.silent_after;
    }

    /// Its Bluetooth address; none for a sensor on a wire.
    pub const fn ble_address(&self) -> Option<BleAddress> {
        match self.way {
            Way::Ble(address) => Some(address),
            Way::Tcp(_) | Way::Tls { .. } | Way::Serial { .. } => None,
        }
    }
}

impl SensorConfig {
    /// Joins it with its profile: one of `own`, else a shipped one.
    pub fn resolve(&self, own: &[Profile]) -> Result<Sensor, SensorFault> {
        let mine = own.iter().find(|p| p.id == self.profile).cloned();
        let profile = mine
            .or_else(|| profile::shipped(self.profile.as_str()))
            .ok_or_else(|| self.unknown(own))?;
        let way = self.way(&profile).ok_or_else(|| SensorFault::Transport {
            sensor: self.id.clone(),
            profile: self.profile.clone(),
            address: self.address.clone(),
        })?;
        self.check()?;
        if self.identity.is_some() && !profile.identifies {
            return Err(SensorFault::Value {
                sensor: self.id.clone(),
                rule: "identity is for a device that says who it is, by its profile",
            });
        }
        let own_interval = self.interval_ms.map(|ms| Duration::from_millis(u64::from(ms)));
        let interval = own_interval.unwrap_or(profile.interval);
        Ok(Sensor {
            id: self.id.clone(),
            way,
            unit: self.unit.unwrap_or(profile.unit),
            identity: self.identity.clone(),
            interval,
            silent_after: profile.silent_after.max(interval * 3),
            profile: Arc::new(profile),
        })
    }

    /// The way to a device of that profile; none when the device cannot be reached like that.
    fn way(&self, profile: &Profile) -> Option<Way> {
        match &self.address {
            Address::Tcp(endpoint) => profile
                .goes_over(Transport::Tcp)
                .then(|| self.network(endpoint.clone())),
            Address::Ble(address) => profile.goes_over(Transport::Ble).then_some(Way::Ble(*address)),
            Address::Serial(path) => {
                let line = profile.line.filter(|_| profile.goes_over(Transport::Rtu))?;
                Some(Way::Serial {
                    path: path.clone(),
                    settings: LineSettings {
                        baud: self.baud.unwrap_or(line.baud),
                        ..line
                    },
                })
            }
        }
    }

    fn network(&self, endpoint: String) -> Way {
        let Some(tls) = &self.tls else {
            return Way::Tcp(endpoint);
        };
        let host = endpoint.rsplit_once(':').map_or("", |(host, _)| host);
        let host = host.trim_start_matches('[').trim_end_matches(']');
        Way::Tls {
            name: tls.name.clone().unwrap_or_else(|| host.to_owned()),
            files: TlsFiles {
                authority: tls.authority.clone(),
                certificate: tls.certificate.clone(),
                key: tls.key.clone(),
            },
            endpoint,
        }
    }

    fn unknown(&self, own: &[Profile]) -> SensorFault {
        let mine = own.iter().map(|p| p.id.to_string());
        let known: Vec<String> = mine.chain(profile::shipped_ids().map(str::to_owned)).collect();
        SensorFault::UnknownProfile {
            sensor: self.id.clone(),
            profile: self.profile.clone(),
            known: known.join(", "),
        }
    }

    fn check(&self) -> Result<(), SensorFault> {
        let value = |rule| {
            Err(SensorFault::Value {
                sensor: self.id.clone(),
                rule,
            })
        };
        let baud_fits = self.baud.is_none_or(|b| (300..=1_000_000).contains(&b));
        match (&self.address, self.baud) {
            (Address::Serial(_) | Address::Ble(_), _) if self.tls.is_some() => {
                value("tls is for host:port only")
            }
            (Address::Tcp(_) | Address::Ble(_), Some(_)) => value("baud is for serial ports only"),
            _ if !baud_fits => value("baud lies between 300 and 1000000"),
            (Address::Ble(_), None) if self.unit.is_some() => value("unit is for Modbus only"),
            _ if self.unit == Some(0) => value("unit 0 is the broadcast address: nobody answers there"),
            _ if self
                .interval_ms
                .is_some_and(|ms| !(50..=86_400_000).contains(&ms)) =>
            {
                value("interval_ms lies between 50 and 86400000")
            }
            _ => Ok(()),
        }
    }
}

/// One line for each endpoint and port, watched from `up` on. Every fault is listed, also those of the Bluetooth
/// sensors, which are on no line.
pub fn lines(sensors: Vec<Sensor>, up: Uptime) -> Result<Vec<Line>, Vec<SensorFault>> {
    let mut faults = Vec::new();
    if sensors.len() > MAX_SENSORS {
        faults.push(SensorFault::Many(sensors.len()));
    }
    let (mut names, mut devices) = (BTreeSet::new(), BTreeSet::new());
    let mut shared: BTreeMap<String, Vec<Sensor>> = BTreeMap::new();
    for sensor in sensors {
        if !names.insert(sensor.id.clone()) {
            faults.push(SensorFault::Twice(sensor.id.clone()));
        }
        if let Way::Ble(address) = sensor.way {
            if !devices.insert(address) {
                faults.push(SensorFault::OneDevice {
                    sensor: sensor.id.clone(),
                    address,
                });
            }
            continue;
        }
        let place = sensor.way.to_string();
        let neighbours = shared.entry(place.clone()).or_default();
        if neighbours.first().is_some_and(|first| first.way != sensor.way) {
            faults.push(SensorFault::Settings {
                sensor: sensor.id.clone(),
                place,
            });
        }
        neighbours.push(sensor);
    }
    if !faults.is_empty() {
        return Err(faults);
    }
    let line = |sensors: Vec<Sensor>| Some(Line::new(sensors.first()?.way.clone(), sensors, up));
    Ok(shared.into_values().filter_map(line).collect())
}
