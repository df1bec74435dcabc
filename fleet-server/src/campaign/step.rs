//! Where one home stands in a campaign, what is heard of it, and what is to be done.

use homeward_protocol::id::GatewayId;
use homeward_protocol::time::Timestamp;

use super::plan::Wave;

/// Why a box has not acted yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Waits {
    /// It has no connection.
    Offline,
    /// Its home may not be disturbed: in therapy, on hold, or unknown.
    Quiet,
    /// It fetches.
    Fetching,
    /// A person stopped the campaign before it acted: it was told to keep what it runs.
    Stopped,
}

/// Where one box stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Its wave has not opened.
    NotYet,
    /// It is to take the release.
    Assigned,
    /// It waits.
    Waiting(Waits),
    /// It began.
    Acting {
        /// When.
        since: Timestamp,
    },
    /// It runs the release, and is well.
    Confirmed {
        /// Since when.
        at: Timestamp,
    },
    /// It ran the release and was well, and nothing is heard of it since: it may be switched off, or dead.
    Away {
        /// Since when it was well.
        at: Timestamp,
    },
    /// The same, and that began while it was watched: it counts against the release until a person has looked.
    Dark {
        /// Since when it was well.
        at: Timestamp,
    },
    /// It runs the release by its own word and is not well by other signs: it is told to go back.
    Unwell,
    /// It went back, and the release was the cause.
    Failed,
    /// It began, and said nothing in its time.
    Silent,
    /// It is told to go back.
    TakenBack,
    /// It was told to go back, and does not: a person has to go there.
    Stuck,
    /// It runs the release before again.
    Returned,
    /// It waited until the end, its wave never opened, or it is no part of the campaign any more.
    LeftOut,
}

impl Step {
    /// Its name, and since when where the step itself says so.
    pub const fn name(self) -> (&'static str, Option<Timestamp>) {
        match self {
            Step::NotYet => ("not-yet", None),
            Step::Assigned => ("assigned", None),
            Step::Waiting(Waits::Offline) => ("offline", None),
            Step::Waiting(Waits::Quiet) => ("waiting", None),
            Step::Waiting(Waits::Fetching) => ("fetching", None),
            Step::Waiting(Waits::Stopped) => ("stopped", None),
            Step::Acting { since } => ("acting", Some(since)),
            Step::Confirmed { at } => ("confirmed", Some(at)),
            Step::Away { at } => ("away", Some(at)),
            Step::Dark { at } => ("dark", Some(at)),
            Step::Unwell => ("unwell", None),
            Step::Failed => ("failed", None),
            Step::Silent => ("silent", None),
            Step::TakenBack => ("taken-back", None),
            Step::Stuck => ("stuck", None),
            Step::Returned => ("returned", None),
            Step::LeftOut => ("left-out", None),
        }
    }

    /// The step of that name, which began then.
    pub fn from_name(name: &str, since: Timestamp) -> Option<Step> {
        Some(match name {
            "not-yet" => Step::NotYet,
            "assigned" => Step::Assigned,
            "offline" => Step::Waiting(Waits::Offline),
            "waiting" => Step::Waiting(Waits::Quiet),
            "fetching" => Step::Waiting(Waits::Fetching),
            "stopped" => Step::Waiting(Waits::Stopped),
            "acting" => Step::Acting { since },
            "confirmed" => Step::Confirmed { at: since },
            "away" => Step::Away { at: since },
            "dark" => Step::Dark { at: since },
            "unwell" => Step::Unwell,
            "failed" => Step::Failed,
            "silent" => Step::Silent,
            "taken-back" => Step::TakenBack,
            "stuck" => Step::Stuck,
            "returned" => Step::Returned,
            "left-out" => Step::LeftOut,
            _ => return None,
        })
    }

    /// Whether nothing more will happen to it by itself.
    pub const fn has_ended(self) -> bool {
        matches!(
            self,
            Step::Confirmed { .. }
                | Step::Away { .. }
                | Step::Dark { .. }
                | Step::Failed
                | Step::Silent
                | Step::Stuck
                | Step::Returned
                | Step::LeftOut
        )
    }

    /// Whether the release may be on the box.
    pub const fn may_run_it(self) -> bool {
        matches!(
            self,
            Step::Acting { .. }
                | Step::Confirmed { .. }
                | Step::Away { .. }
                | Step::Dark { .. }
                | Step::Unwell
                | Step::Silent
                | Step::TakenBack
                | Step::Stuck
        )
    }

    /// Whether it may take the release any moment, and has not begun.
    pub const fn is_told(self) -> bool {
        matches!(self, Step::Assigned | Step::Waiting(_))
    }

    /// Whether it ran the release and was well.
    pub const fn was_well(self) -> bool {
        matches!(
            self,
            Step::Confirmed { .. } | Step::Away { .. } | Step::Dark { .. }
        )
    }

    /// Whether it counts against the release.
    pub const fn is_bad(self) -> bool {
        matches!(self, Step::Unwell | Step::Failed | Step::Silent | Step::Stuck)
    }
}

/// What a box says, or what is found out about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Event {
    /// It waits.
    Waits(Waits),
    /// It begins.
    Acts,
    /// It runs the release and is well: it confirmed, its evidence after that was accepted, its sensors are heard.
    Confirms,
    /// It was well, and is not heard any more.
    Away,
    /// It was well, was away, and is heard again.
    There,
    /// Somebody depends on it highly now.
    DependedOn,
    /// It went back without proof that the release was the cause.
    NotProven,
    /// The release is bad for it, and it went back for that cause.
    Bad,
    /// It runs the release, and its evidence was not accepted, or its sensors suffer.
    Unwell,
    /// It runs the release before.
    IsBack,
    /// It does not go back: it refused the word for it, what ran before is not well there any more, nothing that it could go
    /// back to is published, or its time is over.
    Stuck,
    /// It is no part of the campaign any more: it took another word, refused this one, or is out of service.
    Gone,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Effect {
    /// The box is told to take the release.
    Assign(GatewayId),
    /// The box is told to go back to the one before. The interlock of its home has the last word on when.
    TakeBack(GatewayId),
    /// The box, which has not begun, is told to keep what it runs.
    Keep(GatewayId),
    /// A wave opened.
    Opened(Wave),
    /// It stopped by itself, for this reason: a person lets it go on, or ends it.
    Stopped(String),
    /// It halted, for this reason: people are told.
    Halted(String),
    /// It is over.
    Done,
}
