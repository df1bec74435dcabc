//! The agent's configuration: one TOML file, `agent.toml` in the data folder. All of it is optional.
//!
//! Unknown keys are refused with their line; every value that makes no sense is listed with its key.

use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use homeward_devices::profile::Profile;
use homeward_protocol::claim::Endpoint;
use homeward_protocol::time::Uptime;
use serde::Deserialize;

use crate::guard::{GuardConfig, GuardFault, Plan, plans};
use crate::interlock::QUIET_AFTER_ALARM;
use crate::outbox::DEFAULT_QUOTA;
use crate::posture::DEFAULT_INTERVAL;
use crate::sense::{Sensor, SensorConfig, SensorFault, lines};
use crate::session::Limits;
use crate::update::base::Base;
use crate::update::rate::{Link, Setting};

pub mod load;

/// Most neighbours that are asked for builds.
const MAX_PEERS: usize = 8;

/// The file as written.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Raw {
    #[serde(default)]
    outbox: RawOutbox,
    #[serde(default)]
    server: RawServer,
    #[serde(default)]
    posture: RawPosture,
    #[serde(default)]
    bluetooth: RawBluetooth,
    #[serde(default)]
    policy: RawPolicy,
    #[serde(default)]
    update: RawUpdate,
    #[serde(default)]
    sensor: Vec<SensorConfig>,
    #[serde(default)]
    guard: Vec<GuardConfig>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawOutbox {
    /// Most that waiting records may take, KiB; from 256. When it is reached, the oldest of the least important
    /// go first, and the server is told how many. Default 65536 (64 MiB).
    quota_kib: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawServer {
    /// The gate as HOST:PORT, when this box must go another way than the server says (a forwarder in the home).
    /// The certificate must name this host. Default: what the server said at enrolment.
    gate: Option<Endpoint>,
    /// Longest silence before the agent asks whether the server is still there, seconds, 5 to 1200. Default 60.
    keep_alive_s: Option<u64>,
    /// Longest first wait after a lost connection, milliseconds, from 10. Default 1000.
    retry_min_ms: Option<u64>,
    /// Longest wait between two tries, milliseconds, at least `retry_min_ms`. Default 300000 (5 minutes).
    retry_max_ms: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPosture {
    /// How often the box reports how it is when nothing changed, seconds, from 60. Default 86400 (a day).
    interval_s: Option<u64>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawBluetooth {
    /// Where it is learnt how the key of a bond came about: the folder in which `bluetoothd` keeps its keys, or the
    /// socket of the helper that may read it. Default: /var/lib/bluetooth where that can be listed, else
    /// /run/homeward-bond.sock.
    keys: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPolicy {
    /// The socket of the helper that sets what a policy says and the agent has no right to. Default:
    /// /run/homeward-apply.sock.
    helper: Option<PathBuf>,
}

#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawUpdate {
    /// Where releases are fetched, when not from the server: the address of a folder, `https://HOST/PATH/`. Whoever is
    /// there is not believed; only what the release's keys signed is installed.
    repository: Option<String>,
    /// How long a new build has to be well at a stretch before it is kept, seconds, from 10 to 86400. Default 600
    /// (10 minutes). One that is not, in three times that, is taken back.
    trial_s: Option<u64>,
    /// How long nothing restarts after an alarm, and after a start of the agent, seconds, from 10 to 86400. Default 600
    /// (10 minutes). What is new waits as long after the server is reached again, at most a minute.
    quiet_s: Option<u64>,
    /// Most of the disk that what is fetched may take, MiB, from 16 to 65536. Default 2048. What is larger is not fetched.
    most_mib: Option<u64>,
    /// The patient's button: the kernel's device of a key that a person in the home presses for quiet, `/dev/input/by-path/…`.
    /// The unit lets the agent read no such device: it takes a drop-in with DeviceAllow=char-input r and the group `input`.
    /// Default: none.
    button: Option<PathBuf>,
    /// How long a press asks for quiet, minutes, from 5 to 720. Default 120.
    button_min: Option<u64>,
    /// Whether the way to the server costs by the byte: true, false or "auto", which asks `NetworkManager`. What is not known
    /// does not. Default "auto". What is done then is the policy's (`[updates]`).
    metered: Option<toml::Value>,
    /// Boxes and mirrors of the home's own network that are asked for a build before the server is: `http://HOST:PORT/`, at
    /// most 8. What they give is believed by its hash alone.
    peers: Option<Vec<String>>,
    /// Where this box gives others what updates brought it, an address and a port of the home's own network. The unit lets
    /// the agent listen nowhere: it takes a drop-in with SocketBindAllow=tcp:PORT. Default: nowhere.
    share: Option<SocketAddr>,
    /// The socket of the helper that installs the packages of a release. Default: /run/homeward-packages.sock.
    packages: Option<PathBuf>,
}

/// What is said of updates.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UpdateConfig {
    /// Where releases are fetched, when not from the server.
    pub repository: Option<Base>,
    /// How long a new build has to be well at a stretch.
    pub trial: Duration,
    /// How long nothing restarts after an alarm, and after a start.
    pub quiet: Duration,
    /// Most of the disk that what is fetched may take, bytes.
    pub most: u64,
    /// The patient's button, and how long a press asks for quiet.
    pub button: Option<(PathBuf, Duration)>,
    /// Whether the way to the server costs by the byte.
    pub metered: Setting,
    /// Who is asked for builds before the server is.
    pub peers: Vec<Base>,
    /// Where this box gives others what updates brought it.
    pub share: Option<SocketAddr>,
    /// The socket of the helper that installs packages, when not where it usually is.
    pub packages: Option<PathBuf>,
}

/// The configuration, checked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// Most that waiting records may take, bytes.
    pub quota: u64,
    /// The gate, when it is not the one that the server said.
    pub gate: Option<Endpoint>,
    /// Longest silence before a ping.
    pub keep_alive: Duration,
    /// How patient the session is.
    pub limits: Limits,
    /// How often the posture is reported when nothing changed.
    pub posture_interval: Duration,
    /// Where it is learnt how the key of a bond came about, when not where it usually is.
    pub bluetooth_keys: Option<PathBuf>,
    /// The socket of the helper with rights, when not where it usually is.
    pub policy_helper: Option<PathBuf>,
    /// What is said of updates.
    pub update: UpdateConfig,
    /// The sensors as configured; [`Config::sensors`] joins them with their profiles.
    pub sensor: Vec<SensorConfig>,
    /// The guards as configured; [`Config::guards`] joins them with the sensors.
    pub guard: Vec<GuardConfig>,
}

/// What is wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fault {
    /// It is not TOML, or a key is unknown or of another type: the parser's words, with the line.
    Syntax(String),
    /// A value makes no sense.
    Value {
        /// The key.
        key: &'static str,
        /// What would be right.
        rule: &'static str,
    },
    /// A `[[sensor]]` makes no sense.
    Sensor(SensorFault),
    /// A `[[guard]]` makes no sense.
    Guard(GuardFault),
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::Syntax(text) => f.write_str(text.trim_end()),
            Fault::Value { key, rule } => write!(f, "{key}: {rule}"),
            Fault::Sensor(fault) => fault.fmt(f),
            Fault::Guard(fault) => fault.fmt(f),
        }
    }
}

/// All that is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"))]
pub struct Faults(pub Vec<Fault>);

impl RawUpdate {
    fn checked(self, check: &mut impl FnMut(bool, &'static str, &'static str)) -> UpdateConfig {
        let repository: Option<Result<Base, _>> = self.repository.as_deref().map(str::parse);
        check(
            repository.as_ref().is_none_or(Result::is_ok),
            "update.repository",
            "the address of a folder: https://HOST/PATH/",
        );
        let trial = self.trial_s.unwrap_or(600);
        check(
            (10..=86_400).contains(&trial),
            "update.trial_s",
            "from 10 to 86400 (a day)",
        );
        let quiet = self.quiet_s.unwrap_or(QUIET_AFTER_ALARM.as_secs());
        check(
            (10..=86_400).contains(&quiet),
            "update.quiet_s",
            "from 10 to 86400 (a day)",
        );
        let most = self.most_mib.unwrap_or(2_048);
        check(
            (16..=65_536).contains(&most),
            "update.most_mib",
            "from 16 to 65536",
        );
        let button_min = self.button_min.unwrap_or(120);
        check(
            (5..=720).contains(&button_min),
            "update.button_min",
            "from 5 to 720 (12 hours)",
        );
        check(
            self.button.as_deref().is_none_or(Path::is_absolute),
            "update.button",
            "an absolute path",
        );
        let metered = match self.metered.as_ref() {
            None => Some(Setting::Auto),
            Some(toml::Value::Boolean(true)) => Some(Setting::Fixed(Link::Metered)),
            Some(toml::Value::Boolean(false)) => Some(Setting::Fixed(Link::Free)),
            Some(other) => (other.as_str() == Some("auto")).then_some(Setting::Auto),
        };
        check(metered.is_some(), "update.metered", "true, false or \"auto\"");
        let peers = self.peers.unwrap_or_default();
        let peers: Option<Vec<Base>> = peers.iter().map(|peer| peer.parse().ok()).collect();
        let plain = |all: &Vec<Base>| all.len() <= MAX_PEERS && !all.iter().any(Base::is_secure);
        check(
            peers.as_ref().is_some_and(plain),
            "update.peers",
            "at most 8 addresses of the form http://HOST:PORT/",
        );
        check(
            self.packages.as_deref().is_none_or(Path::is_absolute),
            "update.packages",
            "an absolute path",
        );
        UpdateConfig {
            repository: repository.and_then(Result::ok),
            trial: Duration::from_secs(trial),
            quiet: Duration::from_secs(quiet),
            most: most.saturating_mul(1 << 20),
            button: self
                .button
                .map(|path| (path, Duration::from_secs(button_min.saturating_mul(60)))),
            metered: metered.unwrap_or_default(),
            peers: peers.unwrap_or_default(),
            share: self.share,
            packages: self.packages,
        }
    }
}

impl Config {
    /// Reads a file's text; an empty one is a configuration too.
    pub fn parse(text: &str) -> Result<Config, Faults> {
        let raw: Raw = toml::from_str(text).map_err(|e| Faults(vec![Fault::Syntax(e.to_string())]))?;
        let mut faults = Vec::new();
        let mut check = |right: bool, key, rule| {
            if !right {
                faults.push(Fault::Value { key, rule });
            }
        };
        let usual = Limits::default();
        let quota = raw
            .outbox
            .quota_kib
            .map_or(DEFAULT_QUOTA, |kib| kib.saturating_mul(1024));
        check(
            (256 * 1024..=1 << 40).contains(&quota),
            "outbox.quota_kib",
            "from 256 (what the largest reports need) to 1073741824",
        );
        let keep_alive = raw.server.keep_alive_s.unwrap_or(60);
        check(
            (5..=1200).contains(&keep_alive),
            "server.keep_alive_s",
            "from 5 to 1200",
        );
        let min_wait = raw
            .server
            .retry_min_ms
            .map_or(usual.min_wait, Duration::from_millis);
        let max_wait = raw
            .server
            .retry_max_ms
            .map_or(usual.max_wait, Duration::from_millis);
        check(min_wait.as_millis() >= 10, "server.retry_min_ms", "at least 10");
        check(
            (min_wait..=Duration::from_hours(24)).contains(&max_wait),
            "server.retry_max_ms",
            "at least retry_min_ms, at most 86400000 (a day)",
        );
        let posture_interval = raw
            .posture
            .interval_s
            .map_or(DEFAULT_INTERVAL, Duration::from_secs);
        let keys = raw.bluetooth.keys.as_deref();
        check(
            keys.is_none_or(Path::is_absolute),
            "bluetooth.keys",
            "an absolute path: a folder or a socket",
        );
        let helper = raw.policy.helper.as_deref();
        check(
            helper.is_none_or(Path::is_absolute),
            "policy.helper",
            "an absolute path: a socket",
        );
        let update = raw.update.checked(&mut check);
        check(
            (60..=7 * 86_400).contains(&posture_interval.as_secs()),
            "posture.interval_s",
            "from 60 to 604800 (a week)",
        );
        if !faults.is_empty() {
            return Err(Faults(faults));
        }
        Ok(Config {
            quota,
            gate: raw.server.gate,
            keep_alive: Duration::from_secs(keep_alive),
            limits: Limits {
                min_wait,
                max_wait,
                ..usual
            },
            posture_interval,
            bluetooth_keys: raw.bluetooth.keys,
            policy_helper: raw.policy.helper,
            update,
            sensor: raw.sensor,
            guard: raw.guard,
        })
    }

    /// The guards, joined with the sensors that they stand before.
    pub fn guards(&self, sensors: &[Sensor]) -> Result<Vec<Plan>, Faults> {
        plans(&self.guard, sensors).map_err(|all| Faults(all.into_iter().map(Fault::Guard).collect()))
    }

    /// The sensors, joined with the profiles of this box's `own` and the shipped ones.
    pub fn sensors(&self, own: &[Profile]) -> Result<Vec<Sensor>, Faults> {
        let mut sensors = Vec::new();
        let mut faults = Vec::new();
        for sensor in &self.sensor {
            match sensor.resolve(own) {
                Ok(sensor) => sensors.push(sensor),
                Err(fault) => faults.push(Fault::Sensor(fault)),
            }
        }
        if let Err(more) = lines(sensors.clone(), Uptime::default()) {
            faults.extend(more.into_iter().map(Fault::Sensor));
        }
        if faults.is_empty() {
            Ok(sensors)
        } else {
            Err(Faults(faults))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_configured_is_a_configuration() {
        let config = Config::parse("").expect("is right");
        assert_eq!(config.quota, DEFAULT_QUOTA);
    }

    #[test]
    fn an_unknown_key_is_refused_with_its_line() {
        let error = Config::parse("[outbox]\nquota_kib = 512\nquotas = 1\n").expect_err("is wrong");
        let text = error.to_string();
        assert!(text.contains("line 3") && text.contains("quotas"), "{text}");
    }

    #[test]
    fn a_sensor_without_a_profile_is_refused_with_its_name() {
        let text = "[[sensor]]\nid = \"ups\"\nprofile = \"no-such-one\"\naddress = \"192.0.2.1:502\"\n";
        let config = Config::parse(text).expect("reads");
        let error = config.sensors(&[]).expect_err("is wrong").to_string();
        assert!(error.contains("ups") && error.contains("no-such-one"), "{error}");
    }

    #[test]
    fn every_fault_is_listed_with_its_key() {
        let error = Config::parse("[outbox]\nquota_kib = 1\n[server]\nkeep_alive_s = 1\nretry_max_ms = 1\n")
            .expect_err("is wrong");
        let text = error.to_string();
        for key in ["outbox.quota_kib", "server.keep_alive_s", "server.retry_max_ms"] {
            assert!(text.contains(key), "{key}: {text}");
        }
    }
}
