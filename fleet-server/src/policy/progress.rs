//! How far a gateway has come to what it shall have, and whether to send it now.

use homeward_protocol::policy::sign::{PolicyMark, Refusal};
use homeward_protocol::policy::state::{Basis, Phase, PolicyState};
use homeward_protocol::time::Timestamp;

use super::book::{Fit, Wanted};

/// A gateway that is connected and says nothing of what it was sent is sent it again after so long, milliseconds.
const AGAIN_MS: i64 = 60_000;
/// One that refused is asked again after so long on the same connection: its clock may be right by then.
const REFUSED_MS: i64 = 3_600_000;

/// How far it has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Progress {
    /// No policy is for it, and it has none.
    Nothing,
    /// It has a newer one than it shall have, or one that nobody wants any more. Boxes never go back.
    Newer,
    /// Boxes would not take what it shall have.
    Unfit(Fit),
    /// It is in quarantine: nothing with authority is sent to it.
    Held,
    /// It is not connected: it is told when it comes back.
    Away,
    /// It is told, and has not said anything of it yet.
    OnItsWay,
    /// It refused, and why.
    Refused(Refusal),
    /// It applied it and went back to what held before.
    Returned,
    /// It is applying it.
    Applying,
    /// It has applied it, and makes sure that it still reaches the server.
    Confirming,
    /// It is applied. Whether each point holds is another question.
    Applied,
    /// It has it, and the strict rules hold instead: its time is over there, or what was kept cannot be read.
    Strict,
}

impl Progress {
    /// The name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Progress::Nothing => "nothing-wanted",
            Progress::Newer => "newer",
            Progress::Unfit(fit) => fit.name(),
            Progress::Held => "quarantined",
            Progress::Away => "away",
            Progress::OnItsWay => "on-its-way",
            Progress::Refused(_) => "refused",
            Progress::Returned => "returned",
            Progress::Applying => "applying",
            Progress::Confirming => "confirming",
            Progress::Applied => "applied",
            Progress::Strict => "strict",
        }
    }

    /// Whether a person should look.
    pub const fn is_wrong(self) -> bool {
        matches!(
            self,
            Progress::Unfit(_) | Progress::Refused(_) | Progress::Returned | Progress::Strict
        )
    }
}

/// What is known of a gateway beside its word.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Present {
    /// Whether it is connected by its own key: the spare one says and hears nothing of policies.
    pub connected: bool,
    /// Whether nothing with authority may go to it.
    pub held: bool,
}

/// How far a gateway has come.
pub fn progress(wanted: Option<&Wanted<'_>>, said: Option<&PolicyState>, present: Present) -> Progress {
    let holds = said.and_then(|said| said.policy);
    let strict =
        said.is_some_and(|said| !matches!(said.basis, Basis::Nothing | Basis::Signed | Basis::Expired));
    let Some(wanted) = wanted else {
        return if strict {
            Progress::Strict
        } else if holds.is_some() {
            Progress::Newer
        } else {
            Progress::Nothing
        };
    };
    let mark = wanted.entry.mark;
    match (holds, said.map(|said| said.phase)) {
        (Some(held), Some(Phase::Applying)) if held == mark => return Progress::Applying,
        (Some(held), Some(Phase::Confirming)) if held == mark => return Progress::Confirming,
        (Some(held), _) if held == mark && strict => return Progress::Strict,
        (Some(held), _) if held == mark => return Progress::Applied,
        (Some(held), _) if held.version > mark.version => return Progress::Newer,
        _ => {}
    }
    let refused = said.and_then(|said| said.refused.as_ref());
    let returned = said.and_then(|said| said.returned.as_ref());
    if let Some(refused) = refused.filter(|refused| refused.mark == Some(mark)) {
        Progress::Refused(refused.why)
    } else if returned.is_some_and(|returned| returned.from == mark) {
        Progress::Returned
    } else if wanted.fit != Fit::Fit {
        Progress::Unfit(wanted.fit)
    } else if present.held {
        Progress::Held
    } else if present.connected {
        Progress::OnItsWay
    } else {
        Progress::Away
    }
}

/// What a gateway was told on this connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Told {
    /// Which policy.
    pub mark: PolicyMark,
    /// When.
    pub at: Timestamp,
}

/// Whether a connected gateway is sent what it shall have now. `told` is of this connection only; `returned` is when
/// the server heard that the gateway went back, if it did.
///
/// What a gateway went back from is sent again only after a person assigned it again: to try over and over would take
/// it off the air over and over.
pub fn due(
    progress: Progress,
    wanted: &Wanted<'_>,
    told: Option<Told>,
    returned: Option<Timestamp>,
    (held, now): (bool, Timestamp),
) -> bool {
    if held || wanted.fit != Fit::Fit {
        return false;
    }
    let told = told.filter(|told| told.mark == wanted.entry.mark);
    let rested =
        |ms: i64| told.is_none_or(|told| now.ms.saturating_sub(told.at.ms) >= ms || told.at.ms > now.ms);
    match progress {
        Progress::OnItsWay => rested(AGAIN_MS),
        Progress::Refused(_) => rested(REFUSED_MS),
        Progress::Returned => {
            let again = returned.is_none_or(|heard| wanted.since.ms > heard.ms);
            again && rested(AGAIN_MS)
        }
        _ => false,
    }
}
