//! How old the session of a continuous glucose sensor is and how long it lasts, as far as one connection tells.
//!
//! # Design
//! Its age is the sensor's own count of minutes: of its status when it connects, of its newest value afterwards. Only
//! a sensor without a status is judged by the time at which its session began, because that is some clock's. What
//! comes from a memory tells nothing: it is older than what is known.

use std::time::Duration;

use homeward_devices::ble::{CgmStatus, GlucoseRecord, SessionRunTime, SessionStart};
use homeward_protocol::time::{ClockTrust, Timestamp};

use crate::watch::Session;

/// What one connection told of the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Worn {
    life: Option<Duration>,
    began: Option<i64>,
    status: Option<CgmStatus>,
}

impl Worn {
    /// Nothing is known yet.
    pub(super) const fn new() -> Worn {
        Worn {
            life: None,
            began: None,
            status: None,
        }
    }

    /// Takes how long it lasts (2AAB). No hours at all is no life, it was not said.
    pub(super) fn lasts(&mut self, told: SessionRunTime) {
        self.life = (told.hours > 0).then(|| Duration::from_hours(told.hours.into()));
    }

    /// Takes when it began (2AAA).
    pub(super) fn began(&mut self, told: SessionStart) {
        self.began = told.utc_ms();
    }

    /// Takes how it is (2AA9).
    pub(super) const fn is(&mut self, told: CgmStatus) {
        self.status = Some(told);
    }

    /// The session by what was read when it connected; none when nothing of its age was said.
    pub(super) fn at_connection(&self, now: Timestamp) -> Option<Session> {
        let by_start = || {
            let age = now.ms.checked_sub(self.began?)?;
            let known = now.trust == ClockTrust::Synced;
            u64::try_from(age)
                .ok()
                .filter(|_| known)
                .map(Duration::from_millis)
        };
        let counted = self.status.map(|status| minutes(status.minutes));
        Some(Session {
            age: counted.or_else(by_start)?,
            life: self.life,
            stopped: self.status.is_some_and(CgmStatus::stopped),
        })
    }

    /// The session by a value that was just measured.
    pub(super) fn at_value(&self, record: &GlucoseRecord) -> Session {
        Session {
            age: minutes(record.minutes),
            life: self.life,
            stopped: record.stopped(),
        }
    }
}

fn minutes(count: u16) -> Duration {
    Duration::from_mins(count.into())
}

#[cfg(test)]
mod tests {
    use homeward_devices::ble::DateTime;

    use super::*;

    const NOW: Timestamp = Timestamp::synced(1_795_000_000_000);

    /// 2026-11-18 10:00 in UTC; `NOW` is 2026-11-18 11:06:40.
    const START: SessionStart = SessionStart {
        time: DateTime::from_octets([0xEA, 0x07, 11, 18, 10, 0, 0]),
        zone: 0,
        daylight_saving: 0,
    };

    #[test]
    fn the_sensors_own_count_goes_before_any_clock() {
        let mut worn = Worn::new();
        assert_eq!(worn.at_connection(NOW), None);
        worn.lasts(SessionRunTime { hours: 240 });
        worn.began(START);
        let by_start = worn.at_connection(NOW).expect("said");
        assert_eq!(by_start.age, Duration::from_secs(4000));
        assert_eq!(by_start.life, Some(Duration::from_hours(240)));
        worn.is(CgmStatus {
            minutes: 90,
            status: 1,
        });
        let counted = worn.at_connection(NOW).expect("said");
        assert_eq!((counted.age, counted.stopped), (Duration::from_mins(90), true));
    }

    #[test]
    fn a_start_is_nothing_without_a_clock_of_ours_or_in_the_future() {
        let mut worn = Worn::new();
        worn.began(START);
        let unsure = Timestamp {
            trust: ClockTrust::Unsynced,
            ..NOW
        };
        assert_eq!(worn.at_connection(unsure), None);
        assert_eq!(worn.at_connection(NOW.plus_ms(-86_400_000)), None);
        worn.lasts(SessionRunTime { hours: 0 });
        assert_eq!(worn.at_connection(NOW).expect("said").life, None);
    }
}
