//! How fast updates come, and when they come over a link that costs by the byte.

use std::time::Duration;

use homeward_protocol::policy::rules::OnMetered;
use homeward_protocol::time::Timestamp;

pub mod metered;
pub mod pace;

/// How much of the time that was waited too long is made up for: a machine that is busy wakes late.
const CATCH_UP: Duration = Duration::from_secs(1);

/// Keeps the average of what passes at a rate that may change at any time.
#[derive(Debug, Clone, Copy, Default)]
pub struct Pacer {
    /// When all that passed so far was due, by the clock that it is told; nothing passed yet.
    due: Option<Duration>,
}

impl Pacer {
    /// After `bytes` passed at `now`: how long to wait before more do. `rate`: bytes a second; none: no limit.
    pub fn after(&mut self, bytes: usize, rate: Option<u64>, now: Duration) -> Duration {
        let Some(rate) = rate else {
            self.due = None;
            return Duration::ZERO;
        };
        let bytes = u64::try_from(bytes).unwrap_or(u64::MAX);
        let cost = Duration::from_nanos(bytes.saturating_mul(1_000_000_000) / rate.max(1));
        let since = self.due.unwrap_or(now).max(now.saturating_sub(CATCH_UP));
        let due = since.saturating_add(cost);
        self.due = Some(due);
        due.saturating_sub(now)
    }
}

/// Whether what passes over the link to the server costs by the byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Link {
    /// It does.
    Metered,
    /// It does not, or nobody can say.
    Free,
}

/// What agent.toml says of the link.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Setting {
    /// Ask `NetworkManager`.
    #[default]
    Auto,
    /// It is so.
    Fixed(Link),
}

/// Why nothing is fetched for now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// The link is metered, until then.
    Until(Timestamp),
    /// As long as the link is metered.
    WhileMetered,
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Held::Until(at) => write!(
                f,
                "the link costs by the byte: it is fetched over another one, or from {at} on"
            ),
            Held::WhileMetered => {
                f.write_str("the link costs by the byte, and over such a one nothing is fetched")
            }
        }
    }
}

/// Whether an update that began at `time.0` and is due at `time.1` may be fetched at `now`.
///
/// # Errors
/// Why not.
pub fn may(link: Link, on: OnMetered, time: (Timestamp, Timestamp), now: Timestamp) -> Result<(), Held> {
    match (link, on) {
        (Link::Free, _) | (Link::Metered, OnMetered::Always) => Ok(()),
        (Link::Metered, OnMetered::Never) => Err(Held::WhileMetered),
        (Link::Metered, OnMetered::FromPercent(share)) => {
            let (begin, deadline) = time;
            let whole = deadline.ms.saturating_sub(begin.ms).max(0);
            let share = i64::from(share.min(100));
            let at = begin.plus_ms((whole / 100).saturating_mul(share));
            if now.ms >= at.ms {
                Ok(())
            } else {
                Err(Held::Until(at))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const HOUR: i64 = 3_600_000;

    #[test]
    fn a_metered_link_waits_for_its_share_of_the_time_or_for_ever_and_an_unmetered_one_never() {
        let at = |hours: i64| Timestamp::synced(hours * HOUR);
        let time = (at(100), at(200));
        let half = OnMetered::FromPercent(50);
        assert_eq!(may(Link::Free, OnMetered::Never, time, at(100)), Ok(()));
        assert_eq!(may(Link::Metered, OnMetered::Always, time, at(100)), Ok(()));
        assert_eq!(
            may(Link::Metered, OnMetered::Never, time, at(300)),
            Err(Held::WhileMetered)
        );
        assert_eq!(may(Link::Metered, half, time, at(149)), Err(Held::Until(at(150))));
        assert_eq!(may(Link::Metered, half, time, at(150)), Ok(()));
        // A deadline before the beginning holds nothing back.
        assert_eq!(may(Link::Metered, half, (at(200), at(100)), at(200)), Ok(()));
    }

    proptest! {
        #[test]
        fn the_average_holds_whatever_the_pieces_and_however_late_one_wakes(
            pieces in prop::collection::vec((1_usize..70_000, 0_u32..90), 50..300), rate in 70_000_u64..4_000_000,
        ) {
            let (mut pacer, mut now, mut passed) = (Pacer::default(), Duration::from_secs(5), 0_u64);
            let begin = now;
            for (bytes, late_percent) in pieces {
                passed += bytes as u64;
                let wait = pacer.after(bytes, Some(rate), now);
                now += wait + wait * late_percent / 100;
            }
            let took = now.saturating_sub(begin).as_secs_f64();
            let wanted = Duration::from_nanos(passed * 1_000_000_000 / rate).as_secs_f64();
            prop_assert!(took >= wanted * 0.999, "{took} s instead of {wanted}");
            // All lateness but the last one is made up for: a piece takes a second at most.
            prop_assert!(took <= wanted + 1.0, "{took} s instead of {wanted}");
        }

        #[test]
        fn time_in_which_nothing_passed_is_not_saved_up(idle in 0_u64..100_000) {
            let mut pacer = Pacer::default();
            let mut now = Duration::from_secs(1);
            now += pacer.after(1_000, Some(1_000), now);
            now += Duration::from_secs(idle);
            let begin = now;
            for _ in 0..10 {
                now += pacer.after(1_000, Some(1_000), now);
            }
            prop_assert!(now.saturating_sub(begin) + CATCH_UP >= Duration::from_secs(10));
        }
    }

    #[test]
    fn without_a_limit_nobody_waits_and_a_limit_counts_from_when_it_came() {
        let mut pacer = Pacer::default();
        let now = Duration::from_secs(10);
        for _ in 0..100 {
            assert_eq!(pacer.after(1 << 20, None, now), Duration::ZERO);
        }
        assert_eq!(pacer.after(1_000, Some(1_000), now), Duration::from_secs(1));
    }
}
