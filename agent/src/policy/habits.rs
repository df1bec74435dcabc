//! What a policy changes of the agent's own habits: how often sensors are asked, when they are silent, how sure it must
//! be of each, what may be written, how much waits, how often the box reports and proves itself,
//! when work on it may begin. Whoever does one of these is told of the habits of now, and follows them at once.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use homeward_protocol::grade::Grade;
use homeward_protocol::id::SensorId;
use homeward_protocol::policy::Policy;
use homeward_protocol::policy::rules::{AllowedSensor, AllowedWrite, Maintenance, OnMetered};
use tokio::sync::watch;

use super::rules::Vital;
use super::standing::{Facts, Read};
use crate::config::Config;
use crate::sense::{Pace, Sensor, Way};

/// The habits of now, and word of each change.
pub type Now = watch::Receiver<Arc<Habits>>;

/// The habits that a policy wants; where it wants nothing, the box has its own.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Habits {
    polling: BTreeMap<SensorId, Duration>,
    silent: BTreeMap<SensorId, Duration>,
    /// Each sensor that may be read; none: any.
    sensors: Option<BTreeMap<SensorId, AllowedSensor>>,
    /// The writes that may be; none: those of the box's own configuration.
    pub writes: Option<Vec<AllowedWrite>>,
    /// Most bytes that may wait.
    pub waiting: Option<u64>,
    /// A report of the box at least so often.
    pub posture: Option<Duration>,
    /// A link of the chain of postures at least so often, while away.
    pub evidence: Option<Duration>,
    /// A new certificate once the one in use is so old.
    pub certificate: Option<Duration>,
    /// Most bytes a second, at which updates are fetched.
    pub fetch_rate: Option<u64>,
    /// What is done about them while the way to the server costs by the byte.
    pub metered: OnMetered,
    /// When work on the box may begin; none: whenever the home is quiet.
    pub maintenance: Option<Maintenance>,
}

impl Habits {
    /// Those of a policy.
    pub fn of(policy: Option<&Policy>) -> Habits {
        let Some(policy) = policy else {
            return Habits::default();
        };
        let secs = |secs: u32| Duration::from_secs(secs.into());
        let intervals = policy.intervals.as_ref();
        let updates = policy.updates.as_ref();
        let polling = policy.polling.iter().flat_map(|rule| &rule.every);
        let silent = policy.thresholds.iter().flat_map(|rule| &rule.silent);
        let named = |rule: &homeward_protocol::policy::rules::Sensors| {
            let all = rule.allow.iter();
            all.map(|one| (one.sensor.clone(), one.clone())).collect()
        };
        Habits {
            polling: polling
                .map(|one| (one.sensor.clone(), Duration::from_millis(one.interval_ms.into())))
                .collect(),
            silent: silent
                .map(|one| (one.sensor.clone(), Duration::from_mins(one.minutes.into())))
                .collect(),
            sensors: policy.sensors.as_ref().map(named),
            writes: policy.modbus_writes.as_ref().map(|rule| rule.allow.clone()),
            waiting: policy
                .retention
                .as_ref()
                .map(|rule| rule.outbox_kib.saturating_mul(1024)),
            posture: intervals.and_then(|rule| rule.posture_s).map(secs),
            evidence: intervals.and_then(|rule| rule.evidence_s).map(secs),
            certificate: intervals
                .and_then(|rule| rule.certificate_h)
                .map(|hours| Duration::from_hours(hours.into())),
            fetch_rate: updates
                .and_then(|rule| rule.max_kib_s)
                .map(|kib| u64::from(kib) * 1024),
            metered: updates.and_then(|rule| rule.metered).unwrap_or_default(),
            maintenance: policy.maintenance.clone(),
        }
    }

    /// The pace of a sensor that has this of its own. It is never silent before three questions could be answered.
    pub fn pace(&self, sensor: &SensorId, own: Pace) -> Pace {
        let interval = self.interval(sensor, own.interval);
        let silent = self.silent.get(sensor).copied().unwrap_or(own.silent_after);
        Pace {
            interval,
            silent_after: silent.max(interval.saturating_mul(3)),
        }
    }

    /// How often a sensor is asked that is asked each `own` by itself.
    pub fn interval(&self, sensor: &SensorId, own: Duration) -> Duration {
        self.polling.get(sensor).copied().unwrap_or(own)
    }

    /// How sure the box must be of a reading of `sensor`, which is at `address`; more than it can be for one that the
    /// policy does not name, or names at another place.
    pub fn least_grade(&self, sensor: &Sensor) -> Option<Grade> {
        let Some(all) = &self.sensors else {
            return Some(Grade::Unverified);
        };
        let known = all.get(&sensor.id)?;
        let there = known
            .address
            .as_ref()
            .is_none_or(|address| address.as_str() == self::address(&sensor.way));
        there.then_some(known.least_grade)
    }

    /// What the agent runs with under these habits, for the report.
    pub fn facts(&self, config: &Config, sensors: &[Sensor]) -> Facts {
        let read = |sensor: &Sensor| {
            let pace = self.pace(&sensor.id, sensor.pace());
            Read {
                address: address(&sensor.way),
                interval_ms: u64::try_from(pace.interval.as_millis()).unwrap_or(u64::MAX),
                silent_min: pace.silent_after.as_secs() / 60,
                least_grade: self.least_grade(sensor),
            }
        };
        let secs = |wanted: Option<Duration>| wanted.map(|time| time.as_secs());
        Facts {
            sensors: sensors
                .iter()
                .map(|sensor| (sensor.id.clone(), read(sensor)))
                .collect(),
            outbox_kib: self.quota(config.quota) / 1024,
            posture_s: self.posture(config.posture_interval).as_secs(),
            evidence_s: secs(self.evidence),
            certificate_s: secs(self.certificate),
            fetch_rate: self.fetch_rate,
            metered: self.metered,
            maintenance: self.maintenance.clone(),
            ..Facts::default()
        }
    }

    /// How many bytes may wait on a box that takes `own` by itself.
    pub fn quota(&self, own: u64) -> u64 {
        self.waiting.map_or(own, |most| most.min(own))
    }

    /// How often a box reports itself that does it each `own`.
    pub fn posture(&self, own: Duration) -> Duration {
        self.posture.map_or(own, |most| most.min(own))
    }
}

fn address(way: &Way) -> String {
    match way {
        Way::Tcp(at) => at.clone(),
        Way::Tls { endpoint, .. } => endpoint.clone(),
        Way::Serial { path, .. } => path.clone(),
        Way::Ble(address) => address.to_string(),
    }
}

/// The flows that the sensors need.
pub fn vital(sensors: &[Sensor]) -> Vec<Vital> {
    let mut all: Vec<Vital> = sensors
        .iter()
        .filter_map(|sensor| match &sensor.way {
            Way::Tcp(at) | Way::Tls { endpoint: at, .. } => Vital::of(at),
            Way::Serial { .. } | Way::Ble(_) => None,
        })
        .collect();
    all.sort_unstable();
    all.dedup();
    all
}
