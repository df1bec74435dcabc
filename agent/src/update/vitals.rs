//! Shell: how the box and its sensors are, before a build is put on trial and while it is.
#![expect(
    clippy::disallowed_methods,
    reason = "shell: reads what the system tells of this process"
)]

use std::fs;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use homeward_protocol::attest::{Notice, Trust};
use homeward_protocol::posture::SensorHeard;
use homeward_protocol::time::Timestamp;
use tokio::sync::watch;

use super::course::Moment;
use super::health::{Drain, Health, Seen, examine, wears};
use super::saved::{Before, Watched};
use crate::status::LinkStatus;
use crate::strain::{Mark, Strain};

/// For so long a build is held against how a day was before: its trial, and the day after it.
const LONGEST: Duration = Duration::from_hours(26);

/// Where it is read from.
pub struct Vitals {
    /// The state of the link.
    pub link: watch::Receiver<LinkStatus>,
    /// How the sensors stand.
    pub sensors: watch::Receiver<Vec<SensorHeard>>,
    /// The newest judgement of this box.
    pub judged: Box<dyn Fn() -> Option<Notice> + Send + Sync>,
    /// What is asked of the sensors.
    pub strain: Strain,
    /// Records that wait to be acknowledged.
    pub waiting: Box<dyn Fn() -> u64 + Send + Sync>,
    /// Whether they go, from look to look.
    pub drain: Mutex<Drain>,
}

/// What stood when something began that is to be judged by what came since.
pub struct Since {
    at: Moment,
    /// When the judgement was made that is not of this.
    judged: Option<Timestamp>,
    /// What this process had taken of a core, milliseconds.
    cpu_ms: u64,
    uses: Mark,
}

impl Vitals {
    /// The agent begins. Where it is `asked` about anew at its start, the judgement that stands is of the one before.
    pub fn begin(&self, asked: bool, now: Moment) -> Since {
        let old = (self.judged)().filter(|_| asked);
        Since {
            at: now,
            judged: old.map(|notice| notice.issued_at),
            cpu_ms: 0,
            uses: self.strain.begin(),
        }
    }

    /// Something begins without a start of the agent: it is not asked about anew for that, so the judgement that stands counts.
    pub fn mark(&self, now: Moment) -> Since {
        Since {
            at: now,
            judged: None,
            cpu_ms: used().cpu_ms,
            uses: self.strain.mark(now.uptime),
        }
    }

    /// How the box is before a build is put on trial; sensors count that are to be heard at least twice within `trial`, and
    /// were. One that is used once a day is not waited for.
    pub fn before(&self, trial: Duration, now: Moment) -> Before {
        let sensors = self.sensors.borrow();
        let heard = sensors
            .iter()
            .filter(|one| Duration::from_secs(one.interval_s.into()) * 2 <= trial)
            .filter(|one| one.last_heard.is_some_and(|at| at.age(now.at) <= trial));
        Before {
            online: self.link.borrow().connected_since.is_some(),
            accepted: (self.judged)().is_some_and(|notice| accepts(&notice) == Some(true)),
            heard: heard.map(|one| one.sensor.clone()).collect(),
            usual: self.strain.usual(now.uptime),
            running_down: self.strain.running_down(),
        }
    }

    /// How a build on trial is.
    pub fn examine(&self, before: &Before, since: &Since, trial: Duration, now: Moment) -> Health {
        let link = self.link.borrow().clone();
        let waits = (self.waiting)();
        let mut drain = self.drain.lock().unwrap_or_else(PoisonError::into_inner);
        let draining = drain.goes(waits, link.last_ack, trial, now.uptime);
        let new = (self.judged)().filter(|notice| Some(notice.issued_at) != since.judged);
        let took = now.uptime.since(since.at.uptime);
        let used = used();
        let sensors = self.sensors.borrow();
        examine(
            before,
            &Seen {
                began: since.at.at,
                now: now.at,
                trial,
                online: link.connected_since.is_some(),
                draining,
                accepted: new.as_ref().and_then(accepts),
                sensors: &sensors,
                memory_bytes: used.memory_bytes,
                cpu: of_a_core(used.cpu_ms.saturating_sub(since.cpu_ms), took),
                radio: self.strain.since(&since.uses, now.uptime),
                running_down: self.strain.running_down(),
            },
        )
    }

    /// Whose battery a confirmed build empties, since it was tried or the agent began.
    pub fn wears(&self, watched: &Watched, since: &Since, now: Moment) -> Option<String> {
        let (uses, time) = self.strain.since(&since.uses, now.uptime);
        // Whatever the clock on the wall says: what is known of before is of days.
        (time <= LONGEST).then(|| wears(&watched.usual, &uses, time))?
    }
}

/// Whether a judgement accepts the evidence; nothing when it says neither.
const fn accepts(notice: &Notice) -> Option<bool> {
    match notice.trust {
        _ if notice.quarantined => Some(false),
        Trust::Trusted | Trust::Warning => Some(true),
        Trust::Failed => Some(false),
        Trust::Stale | Trust::Unknown => None,
    }
}

/// Thousandths of a core.
fn of_a_core(ms: u64, time: Duration) -> u64 {
    let of = u64::try_from(time.as_millis()).unwrap_or(u64::MAX).max(1_000);
    ms.saturating_mul(1_000) / of
}

struct Used {
    memory_bytes: u64,
    cpu_ms: u64,
}

/// What this process has and took so far. Nothing where the system does not tell. Source: Linux, proc(5), /proc/self/statm and
/// /proc/self/stat.
fn used() -> Used {
    let number = |text: Option<&str>| text.and_then(|text| text.parse::<u64>().ok()).unwrap_or(0);
    let statm = fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = number(statm.split(' ').nth(1));
    let stat = fs::read_to_string("/proc/self/stat").unwrap_or_default();
    // After the name in brackets come the fields from the third on; times are the 14th and 15th.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut fields = fields.split_whitespace().skip(11);
    let ticks = number(fields.next()).saturating_add(number(fields.next()));
    Used {
        memory_bytes: pages.saturating_mul(u64::try_from(rustix::param::page_size()).unwrap_or(0)),
        cpu_ms: ticks.saturating_mul(1_000) / rustix::param::clock_ticks_per_second().max(1),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU64, Ordering};

    use homeward_protocol::id::SensorId;
    use homeward_protocol::posture::ShortText;
    use homeward_protocol::release::Installer;
    use homeward_protocol::time::Uptime;

    use super::*;

    const DAY_S: u64 = 86_400;
    const TRIAL: Duration = Duration::from_mins(10);

    fn at(seconds: u64) -> Moment {
        Moment {
            uptime: Uptime(seconds * 1_000),
            at: Timestamp::synced(i64::try_from(seconds * 1_000).expect("small")),
        }
    }

    fn vitals(strain: &Strain) -> Vitals {
        Vitals {
            link: watch::channel(LinkStatus::default()).1,
            sensors: watch::channel(Vec::new()).1,
            judged: Box::new(|| None),
            strain: strain.clone(),
            waiting: Box::new(|| 0),
            drain: Mutex::default(),
        }
    }

    /// One acknowledgement after the start says nothing of the records that wait now; and a slow link is not one that stands still.
    #[test]
    fn what_waits_has_to_be_acknowledged_again_and_again() {
        let well = |acked: &dyn Fn(u64) -> Option<u64>, waits: &'static (dyn Fn(u64) -> u64 + Sync)| {
            let (told, link) = watch::channel(LinkStatus::default());
            let clock = Arc::new(AtomicU64::new(0));
            let ticks = Arc::clone(&clock);
            let vitals = Vitals {
                link,
                waiting: Box::new(move || waits(ticks.load(Ordering::Relaxed))),
                ..vitals(&Strain::new(Uptime(0)))
            };
            let since = vitals.begin(true, at(0));
            (1..=60).map(|look| look * 10).all(|s| {
                clock.store(s, Ordering::Relaxed);
                told.send_replace(LinkStatus {
                    connected_since: Some(at(5).at),
                    last_ack: acked(s).map(|s| at(s).at),
                    ..LinkStatus::default()
                });
                vitals
                    .examine(&Before::default(), &since, TRIAL, at(s))
                    .missing
                    .is_empty()
            })
        };
        assert!(
            well(&|s| Some(s - 1), &|_| 3),
            "each look finds some, and they go"
        );
        assert!(
            well(&|s| Some(s / 200 * 200), &|s| u64::from(s % 200 == 0)),
            "a record is rare, and slow"
        );
        assert!(
            well(&|_| Some(1), &|_| 0) && well(&|_| None, &|_| 0),
            "nothing waits"
        );
        assert!(!well(&|_| Some(1), &|_| 3), "they pile up");
        assert!(!well(&|_| None, &|_| 1), "none ever went");
        assert!(
            !well(&|s| Some(s.min(300)), &|_| 1),
            "it stands still in the middle"
        );
    }

    fn link(strain: &Strain, cuff: &SensorId, at_s: u64) {
        (0..12).for_each(|_| strain.used(cuff, at(at_s).uptime));
    }

    /// From whoever uses the radio to whoever judges: a build that follows a start, and packages that follow nothing.
    #[test]
    fn what_is_asked_of_a_sensor_is_held_against_the_day_before_and_only_from_the_beginning_of_a_trial_on() {
        let cuff: SensorId = "cuff".parse().expect("an id");
        let old = Strain::new(Uptime(0));
        // Every half hour: a link of twelve.
        (0..48).for_each(|n| link(&old, &cuff, n * 1_800));
        let one = vitals(&old);
        let before = one.before(TRIAL, at(DAY_S));
        let harm = "it uses the radio of cuff 90 times as often as before, which empties its battery";

        // Packages: what was used before they were there is not theirs.
        let packages = one.mark(at(DAY_S));
        let examine = |since: &Since, now| one.examine(&before, since, TRIAL, at(now)).harm;
        assert_eq!(examine(&packages, DAY_S + 600), None);
        (1..=30).for_each(|n| link(&old, &cuff, DAY_S + n * 20));
        assert_eq!(examine(&packages, DAY_S + 600), Some(ShortText::cut(harm)));

        // A build that begins anew.
        let new = Strain::new(at(DAY_S).uptime);
        let two = vitals(&new);
        let since = two.begin(true, at(DAY_S));
        let examine = |now| two.examine(&before, &since, TRIAL, at(now)).harm;
        (1..=3).for_each(|n| link(&new, &cuff, DAY_S + n * 20));
        assert_eq!(examine(DAY_S + 600), None, "two links more than one may be lost");
        (4..=30).for_each(|n| link(&new, &cuff, DAY_S + n * 20));
        assert_eq!(examine(DAY_S + 600), Some(ShortText::cut(harm)));

        // And for a day after it was confirmed.
        let watched = Watched {
            counter: 7,
            installer: Installer::AgentSlot,
            usual: before.usual.clone(),
            until: at(3 * DAY_S).at,
        };
        let wears = |now| two.wears(&watched, &since, at(now));
        assert_eq!(wears(DAY_S + 600).as_deref(), Some(harm));
        assert_eq!(
            wears(DAY_S + 28_800),
            None,
            "thirty links in eight hours are not three times as many"
        );
    }
}
