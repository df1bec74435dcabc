//! One device, and what is known of whether it is being used.

use std::time::Duration;

use homeward_protocol::time::Uptime;

/// How late an answer may be beyond its interval and its time limit before it counts as missing.
const SLACK: Duration = Duration::from_secs(1);
/// How often an asked device has to say that it is idle after somebody wished to act: one answer may have been on its
/// way when the session began.
const ANSWERS: u32 = 2;

/// What a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Activity {
    /// Nothing that may not be disturbed.
    Idle,
    /// A therapy, a measurement, or an alarm of its own.
    Busy,
    /// It did not answer, or not in a way that tells.
    Unreadable,
}

/// How it is known what a device is doing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Watching {
    /// It is asked in turn.
    Asked {
        /// How often.
        every: Duration,
        /// How long an answer may take.
        within: Duration,
    },
    /// It says by itself when something begins, as long as whoever listens to it does.
    Told {
        /// The listener says that it still listens at least this often.
        alive: Duration,
    },
}

impl Watching {
    /// Of a device that nobody listed: what it says counts for a short while only.
    pub const UNKNOWN: Watching = Watching::Told {
        alive: Duration::from_mins(1),
    };

    /// For how long what it said last counts: then it is unknown.
    pub fn fresh(self) -> Duration {
        match self {
            Watching::Asked { every, within } => every.saturating_add(within).saturating_add(SLACK),
            Watching::Told { alive } => alive.saturating_add(SLACK),
        }
    }

    /// The longest that a session can have been running when an act meets it. A device that tells when it begins is
    /// unseen for as long as its listener could be dead without our knowing.
    pub fn unseen(self) -> Duration {
        self.fresh()
    }

    const fn answers(self) -> u32 {
        match self {
            Watching::Asked { .. } => ANSWERS,
            Watching::Told { .. } => 1,
        }
    }
}

/// Whether a device is idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Idle {
    Yes,
    /// It was at the last look, but has not said so often enough since the wish.
    NotYetSure,
    Busy(Uptime),
    Unknown(Option<Uptime>),
}

pub(super) struct Source {
    pub(super) watching: Watching,
    last: Option<(Activity, Uptime)>,
    busy_since: Option<Uptime>,
    known: Option<Uptime>,
    /// Questions since the wish that were answered "idle", one after the other; the first one's moment.
    idle: (u32, Option<Uptime>),
}

impl Source {
    pub(super) const fn new(watching: Watching) -> Source {
        Source {
            watching,
            last: None,
            busy_since: None,
            known: None,
            idle: (0, None),
        }
    }

    /// Forgets what was heard before a wish, as far as it counts for the wish.
    pub(super) const fn forget(&mut self) {
        self.idle = (0, None);
    }

    /// Whether a session began. What is older than what is known says nothing new.
    pub(super) fn say(&mut self, activity: Activity, asked: Uptime) -> bool {
        if self.last.is_some_and(|(_, at)| asked < at) && activity == Activity::Idle {
            return false;
        }
        self.last = Some((activity, asked));
        if activity == Activity::Unreadable {
            self.idle = (0, None);
            return false;
        }
        self.known = Some(asked);
        if activity == Activity::Idle {
            self.busy_since = None;
            self.idle = (self.idle.0.saturating_add(1), self.idle.1.or(Some(asked)));
            return false;
        }
        self.idle = (0, None);
        let began = self.busy_since.is_none();
        self.busy_since.get_or_insert(asked);
        began
    }

    /// How it stands at `now`, for a wish of `asked`.
    pub(super) fn idle(&self, asked: Option<Uptime>, now: Uptime) -> Idle {
        let fresh = |at: Uptime| now.since(at) <= self.watching.fresh();
        match self.last {
            Some((Activity::Busy, at)) if fresh(at) => Idle::Busy(self.busy_since.unwrap_or(at)),
            Some((Activity::Idle, at)) if fresh(at) => {
                let enough = |since| {
                    let (count, first) = self.idle;
                    count >= self.watching.answers() && first.is_some_and(|first| first >= since)
                };
                if asked.is_none_or(enough) {
                    Idle::Yes
                } else {
                    Idle::NotYetSure
                }
            }
            _ => Idle::Unknown(self.known),
        }
    }
}
