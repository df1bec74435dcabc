//! One device, and what is known of whether it is being used.

use std::time::Duration;

use homeward_protocol::time::Uptime;

/// How late an answer may be beyond its interval and its time limit before it counts as missing.
const SLACK: Duration = Duration::from_secs(1);
/// How often an asked device has to say that it is idle after somebody wished to act: one answer may have been on its
/// way when the session began.
const ANSWERS: u32 = 2;
/// How long a session that was heard of counts without another word of its device: one answer that is missed ends none,
/// and a device that was switched off at its end will not tell.
pub const UNHEARD: Duration = Duration::from_hours(1);

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
    /// For how long what it said last counts: then it is unknown.
    pub fn fresh(self) -> Duration {
        match self {
            Watching::Asked { every, within } => every.saturating_add(within).saturating_add(SLACK),
            Watching::Told { alive } => alive.saturating_add(SLACK),
        }
    }

    /// The longest that a session can have been running when an act meets it. A device that tells when it begins is
    /// unseen for as long as its listener could be deaf without our knowing; what it does before it connects is never seen.
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
    /// Since when answers count for a wish, and how many said "idle", one after the other.
    wish: Option<Uptime>,
    idle: u32,
}

impl Source {
    pub(super) const fn new(watching: Watching) -> Source {
        Source {
            watching,
            last: None,
            busy_since: None,
            known: None,
            wish: None,
            idle: 0,
        }
    }

    /// Counts only what is asked from `since` on for a wish of that moment.
    pub(super) const fn count_from(&mut self, since: Uptime) {
        self.wish = Some(since);
        self.idle = 0;
    }

    /// Whether a session began. What is older than what is known says nothing new.
    pub(super) fn say(&mut self, activity: Activity, asked: Uptime) -> bool {
        if self.last.is_some_and(|(_, at)| asked < at) && activity == Activity::Idle {
            return false;
        }
        self.last = Some((activity, asked));
        if activity == Activity::Unreadable {
            self.idle = 0;
            return false;
        }
        self.known = Some(asked);
        if activity == Activity::Idle {
            self.busy_since = None;
            let counts = self.wish.is_some_and(|since| asked >= since);
            self.idle = self.idle.saturating_add(u32::from(counts));
            return false;
        }
        self.idle = 0;
        let began = self.busy_since.is_none();
        self.busy_since.get_or_insert(asked);
        began
    }

    /// Whether it has said nothing for so long, in a process that began at `started`, that a session of before would not
    /// count any more; never when a session was the last that it said. An order to force may overrule no other doubt.
    pub(super) fn is_silent(&self, started: Uptime, now: Uptime) -> bool {
        let since = self.known.map_or(started, |at| at.max(started));
        self.busy_since.is_none() && now.since(since) > UNHEARD
    }

    /// How it stands at `now`; for a wish, after it said so often enough. A session that was heard of stands until its
    /// device says otherwise, or nothing for [`UNHEARD`].
    pub(super) fn idle(&self, wished: bool, now: Uptime) -> Idle {
        let fresh = |at: Uptime| now.since(at) <= self.watching.fresh();
        let heard = self.known.is_some_and(|at| now.since(at) <= UNHEARD);
        match (self.busy_since.filter(|_| heard), self.last) {
            (Some(since), _) => Idle::Busy(since),
            (None, Some((Activity::Idle, at))) if fresh(at) => {
                if wished && self.idle < self.watching.answers() {
                    Idle::NotYetSure
                } else {
                    Idle::Yes
                }
            }
            _ => Idle::Unknown(self.known),
        }
    }
}
