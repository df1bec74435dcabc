//! How many records a kind of attempt may become.

use std::time::Duration;

use homeward_protocol::guard::WriteAttempt;
use homeward_protocol::time::Uptime;

/// Records that follow each other without a pause: more than a person's mistakes make in an hour.
pub const RECORDS: u32 = 64;
/// One more record is allowed every so often: a flood becomes 17,280 records a day, some 4 MB.
pub const PACE: Duration = Duration::from_secs(5);

/// Gives out records as long as there are any; what comes after that is counted.
#[derive(Debug)]
pub(super) struct Ration {
    left: u32,
    /// Since when the next one is being saved up.
    since: Uptime,
    /// The newest attempt that is not told, and how many there are.
    pending: Option<(WriteAttempt, u32)>,
}

impl Ration {
    /// A full one.
    pub(super) fn full(up: Uptime) -> Ration {
        Ration {
            left: RECORDS,
            since: up,
            pending: None,
        }
    }

    /// Takes an attempt; gives the record of it, unless it is only counted.
    pub(super) fn take(&mut self, attempt: WriteAttempt, up: Uptime) -> Option<WriteAttempt> {
        let before = self.pending.take().map_or(0, |(_, count)| count);
        self.pending = Some((attempt, before.saturating_add(1)));
        self.sum(up)
    }

    /// The record of what was only counted, when one is allowed again.
    pub(super) fn sum(&mut self, up: Uptime) -> Option<WriteAttempt> {
        self.save(up);
        self.left = self.left.checked_sub(u32::from(self.pending.is_some()))?;
        let (mut attempt, times) = self.pending.take()?;
        attempt.times = times;
        Some(attempt)
    }

    /// When [`Ration::sum`] has something to tell.
    pub(super) fn due(&self) -> Option<Uptime> {
        self.pending.as_ref().map(|_| match self.left {
            0 => self.since.plus(PACE),
            _ => self.since,
        })
    }

    fn save(&mut self, up: Uptime) {
        let pace = PACE.as_millis().max(1);
        let earned = up.since(self.since).as_millis() / pace;
        let earned = u32::try_from(earned).unwrap_or(u32::MAX);
        self.left = self.left.saturating_add(earned).min(RECORDS);
        self.since = if self.left == RECORDS {
            up
        } else {
            self.since.plus(PACE.saturating_mul(earned))
        };
    }
}
