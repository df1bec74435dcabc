//! What a policy changes of the agent's own configuration: how often sensors are asked, when they are silent, how much
//! waits, how often the box reports itself. It holds from the agent's next start on; until then the report says what is.

use std::collections::BTreeMap;
use std::time::Duration;

use homeward_protocol::policy::Policy;

use super::rules::Vital;
use super::standing::{Facts, Read};
use crate::config::Config;
use crate::sense::{Sensor, Way};

/// Lays `policy` over what agent.toml says.
pub fn overlay(policy: &Policy, config: &mut Config, sensors: &mut [Sensor]) {
    if let Some(rule) = &policy.retention {
        config.quota = config.quota.min(rule.outbox_kib.saturating_mul(1024));
    }
    let posture = policy.intervals.as_ref().and_then(|rule| rule.posture_s);
    if let Some(secs) = posture {
        config.posture_interval = config.posture_interval.min(Duration::from_secs(secs.into()));
    }
    for sensor in sensors {
        let every = policy
            .polling
            .as_ref()
            .and_then(|rule| rule.every.iter().find(|one| one.sensor == sensor.id));
        if let Some(every) = every {
            sensor.interval = Duration::from_millis(every.interval_ms.into());
        }
        let rule = policy.thresholds.as_ref();
        let silent = rule.and_then(|rule| rule.silent.iter().find(|one| one.sensor == sensor.id));
        if let Some(silent) = silent {
            // Never before three questions could have been answered.
            sensor.silent_after = Duration::from_mins(silent.minutes.into()).max(sensor.interval * 3);
        }
    }
}

/// What the agent runs with, for the report.
pub fn facts(config: &Config, sensors: &[Sensor]) -> Facts {
    let read = |sensor: &Sensor| Read {
        address: address(&sensor.way),
        interval_ms: u64::try_from(sensor.interval.as_millis()).unwrap_or(u64::MAX),
        silent_min: sensor.silent_after.as_secs() / 60,
    };
    Facts {
        sensors: sensors
            .iter()
            .map(|sensor| (sensor.id.clone(), read(sensor)))
            .collect::<BTreeMap<_, _>>(),
        outbox_kib: config.quota / 1024,
        posture_s: config.posture_interval.as_secs(),
        ..Facts::default()
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
