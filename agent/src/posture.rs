//! What the box says of itself, and when it says it again.
//!
//! A report goes out at the start, when something changed that a person could care about, and once in a while
//! even if nothing did, so that an old report means a silent box and not a quiet one.

use std::time::Duration;

use homeward_protocol::id::BootId;
use homeward_protocol::posture::{Clock, Disk, MAX_SENSORS, PostureReport, SensorHeard, ShortText};
use homeward_protocol::time::{Timestamp, Uptime};
use homeward_protocol::trust::TrustMark;

pub mod collect;
pub mod facts;
pub mod look;
pub mod report;
pub mod show;
pub mod software;
pub mod tell;
pub mod telling;

/// How often a report goes out when nothing changed, unless configured.
pub const DEFAULT_INTERVAL: Duration = Duration::from_hours(24);
/// A change of free room by less than this part of the disk (a tenth) since the last report is noise.
const DISK_PART: u64 = 10;

/// What was found on the box.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// When.
    pub taken_at: Timestamp,
    /// Operating system release.
    pub os: ShortText,
    /// Kernel release.
    pub kernel: ShortText,
    /// Time since the boot.
    pub uptime: Uptime,
    /// Which boot.
    pub boot: BootId,
    /// Room on the disk.
    pub disk: Disk,
    /// The clock.
    pub clock: Clock,
}

impl Facts {
    /// The report, with the sensors as they were last heard and the anchors that are held.
    pub fn report(self, mut sensors: Vec<SensorHeard>, trust: Option<TrustMark>) -> PostureReport {
        sensors.truncate(MAX_SENSORS);
        PostureReport {
            taken_at: self.taken_at,
            agent: ShortText::cut(env!("CARGO_PKG_VERSION")),
            os: self.os,
            kernel: self.kernel,
            uptime: self.uptime,
            boot: self.boot,
            disk: self.disk,
            clock: self.clock,
            sensors,
            trust,
            key: None,
        }
    }
}

/// Whether `new` says something that `old` did not. Time passing, a sensor heard again and bytes coming and
/// going do not count; a sensor that began or stopped answering does.
pub fn changed(old: &PostureReport, new: &PostureReport) -> bool {
    let software = |report: &PostureReport| (report.agent.clone(), report.os.clone(), report.kernel.clone());
    let state = |report: &PostureReport| (report.boot.clone(), report.clock.trust);
    let sensors = |report: &PostureReport| -> Vec<_> {
        let essence = |s: &SensorHeard| {
            (
                s.sensor.clone(),
                s.profile.clone(),
                s.interval_s,
                s.last_heard.is_some(),
                s.failures > 0,
                s.last_error.clone(),
            )
        };
        report.sensors.iter().map(essence).collect()
    };
    let moved = old.disk.free_bytes.abs_diff(new.disk.free_bytes);
    software(old) != software(new)
        || state(old) != state(new)
        || sensors(old) != sensors(new)
        || old.trust != new.trust
        || moved > new.disk.total_bytes / DISK_PART
}

#[cfg(test)]
mod tests {
    use homeward_protocol::time::ClockTrust;

    use super::*;

    fn facts(free_bytes: u64, uptime: u64) -> Facts {
        Facts {
            taken_at: Timestamp::synced(1_795_000_000_000),
            os: ShortText::cut("Debian 12"),
            kernel: ShortText::cut("6.1"),
            uptime: Uptime(uptime),
            boot: "00000000-0000".parse().expect("a boot id"),
            disk: Disk {
                total_bytes: 1000,
                free_bytes,
                outbox_bytes: uptime,
            },
            clock: Clock {
                trust: ClockTrust::Synced,
                error_ms: None,
            },
        }
    }

    fn sensor(failures: u32) -> SensorHeard {
        SensorHeard {
            sensor: "ups".parse().expect("an id"),
            profile: ShortText::cut("ups"),
            last_heard: Some(Timestamp::synced(i64::from(failures))),
            interval_s: 10,
            failures,
            last_error: None,
        }
    }

    #[test]
    fn time_passing_and_bytes_moving_are_not_news() {
        let old = facts(550, 1).report(vec![sensor(0)], None);
        let new = facts(510, 99_000).report(vec![sensor(0)], None);
        assert!(!changed(&old, &new));
    }

    #[test]
    fn a_full_disk_a_boot_and_a_failing_sensor_are_news() {
        let old = facts(550, 1).report(vec![sensor(0)], None);
        assert!(changed(&old, &facts(90, 1).report(vec![sensor(0)], None)));
        assert!(changed(&old, &facts(550, 1).report(vec![sensor(1)], None)));
        let mut booted = facts(550, 1);
        booted.boot = "11111111-1111".parse().expect("a boot id");
        assert!(changed(&old, &booted.report(vec![sensor(0)], None)));
    }

    #[test]
    fn one_more_failure_of_a_failing_sensor_is_not_news() {
        let old = facts(550, 1).report(vec![sensor(1)], None);
        assert!(!changed(&old, &facts(550, 1).report(vec![sensor(2)], None)));
    }
}
