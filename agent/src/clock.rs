//! Shell: the two clocks of the box, and a floor below which the wall clock is not believed.
//!
//! A box without a battery-backed clock wakes up in 1970. The floor is the newest moment that somebody
//! trustworthy vouched for: the build, a certificate of ours, a server certificate under our own trust anchor; and what has passed
//! since then by the clock that counts from the boot, which nobody sets; a thousandth less, as that runs as fast as its crystal: a
//! floor that overtook the time would never come back. It is never the raw system clock, which one wrong answer
//! from the network could push into the future.
#![expect(clippy::disallowed_methods, reason = "shell: reads the clocks")]

use std::path::Path;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use homeward_protocol::time::{ClockTrust, Timestamp, Uptime};
use rustls::pki_types::UnixTime;
use rustls::time_provider::TimeProvider;

/// Made by systemd-timesyncd, and by the NTP services that follow its convention, when the clock was set from
/// the network in this boot. The kernel's own flag would need a system call that no safe library offers.
const SYNCHRONIZED: &str = "/run/systemd/timesync/synchronized";

/// The clocks. Shared by reference.
#[derive(Debug)]
pub struct Clock {
    /// Where the floor was at the boot, milliseconds since 1970.
    booted_ms: AtomicI64,
}

impl Clock {
    /// A clock with a floor, in milliseconds since 1970.
    pub fn with_floor(floor_ms: i64) -> Clock {
        let clock = Clock {
            booted_ms: AtomicI64::new(i64::MIN),
        };
        clock.raise_floor(floor_ms.max(built_ms()));
        clock
    }

    /// The moment, and how far it is trusted.
    pub fn now(&self) -> Timestamp {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let ms = i64::try_from(since.as_millis()).unwrap_or(i64::MAX);
        let floor = self.floor_ms();
        if ms < floor {
            Timestamp {
                ms: floor,
                trust: ClockTrust::Floor,
            }
        } else if Path::new(SYNCHRONIZED).exists() {
            Timestamp::synced(ms)
        } else {
            Timestamp {
                ms,
                trust: ClockTrust::Unsynced,
            }
        }
    }

    /// Time since the boot, also counting sleep.
    pub fn uptime(&self) -> Uptime {
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        let secs = u64::try_from(time.tv_sec).unwrap_or(0);
        let ms = u64::try_from(time.tv_nsec).unwrap_or(0) / 1_000_000;
        Uptime(secs.saturating_mul(1000).saturating_add(ms))
    }

    /// The floor, in milliseconds since 1970.
    pub fn floor_ms(&self) -> i64 {
        self.booted_ms
            .load(Ordering::Relaxed)
            .saturating_add(slowly(self.uptime()))
    }

    /// Somebody trustworthy vouched for this moment having passed, in milliseconds since 1970.
    pub fn raise_floor(&self, ms: i64) {
        self.booted_ms
            .fetch_max(ms.saturating_sub(slowly(self.uptime())), Ordering::Relaxed);
    }
}

/// The clock that TLS judges lifetimes by.
impl TimeProvider for Clock {
    fn current_time(&self) -> Option<UnixTime> {
        let secs = u64::try_from(self.now().secs()).unwrap_or(0);
        Some(UnixTime::since_unix_epoch(Duration::from_secs(secs)))
    }
}

/// What has passed for sure since the boot, milliseconds: less than what is counted, by ten times more than the crystal of any box is
/// wrong.
fn slowly(up: Uptime) -> i64 {
    let counted = i64::try_from(up.0).unwrap_or(i64::MAX);
    counted - counted / 1_000
}

/// When this program was built, by the convention of reproducible builds; 0 when the build did not say.
fn built_ms() -> i64 {
    option_env!("SOURCE_DATE_EPOCH")
        .and_then(|secs| secs.parse::<i64>().ok())
        .map_or(0, |secs| secs.saturating_mul(1000))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_its_floor_says_the_floor_goes_on_from_there_and_admits_it() {
        let far = 4_000_000_000_000;
        let clock = Clock::with_floor(far);
        let first = clock.now();
        assert_eq!(first.trust, ClockTrust::Floor);
        assert!((far..far + 60_000).contains(&first.ms), "{first:?}");
        clock.raise_floor(far - 100_000);
        let up = clock.uptime();
        while clock.uptime() < up.plus(Duration::from_millis(5)) {
            std::thread::yield_now();
        }
        let later = clock.now();
        assert!(
            (first.ms + 3..first.ms + 60_000).contains(&later.ms),
            "{first:?} {later:?}"
        );
        clock.raise_floor(far + 3_600_000);
        assert!(clock.now().ms >= far + 3_600_000);
        clock.raise_floor(i64::MAX);
        assert_eq!(clock.floor_ms(), i64::MAX);
    }

    #[test]
    fn a_crystal_that_is_fast_does_not_carry_the_floor_past_the_time() {
        let month = 30 * 86_400_000_u64;
        // 200 parts in a million, twice what the worst of them are.
        let counted = month + month / 5_000;
        let passed = slowly(Uptime(counted));
        assert!(passed < i64::try_from(month).expect("small"), "{passed}");
        assert!(
            passed > i64::try_from(month - month / 500).expect("small"),
            "{passed}"
        );
        assert!(slowly(Uptime(u64::MAX)) > 0);
    }

    #[test]
    fn uptime_goes_forward() {
        let clock = Clock::with_floor(0);
        let first = clock.uptime();
        assert!(first > Uptime(0));
        assert!(clock.uptime() >= first);
    }
}
