//! How policies and their progress are said.

use homeward_protocol::policy::points::Rule;
use homeward_protocol::policy::state::{Basis, ReturnCause, Standing};

use super::book::Fit;
use super::contain::Containment;
use super::draft::State;
use super::progress::Progress;
use super::rollout::Counts;
use crate::store::policies::Loading;

/// How far a gateway has come.
pub fn progress(progress: Progress) -> String {
    match progress {
        Progress::Nothing => "no policy is for it".into(),
        Progress::Newer => "it has a newer one, and boxes never go back".into(),
        Progress::Unfit(Fit::SignersGone) => "not sent: the newest keyring does not stand behind it".into(),
        Progress::Unfit(_) => "not sent: its time is over".into(),
        Progress::Held => "not sent: the box is in quarantine".into(),
        Progress::Away => "waits for the box to connect".into(),
        Progress::OnItsWay => "sent, no word yet".into(),
        Progress::Refused(why) => format!("refused: {why}"),
        Progress::Returned => "applied, and went back to what held before".into(),
        Progress::Applying => "is being applied".into(),
        Progress::Confirming => "applied; the box makes sure that it still reaches the server".into(),
        Progress::Applied => "applied".into(),
        Progress::Strict => "the strict rules hold in its place".into(),
    }
}

/// How a draft stands, in a word or two.
pub const fn draft_short(state: &State) -> &'static str {
    match state {
        State::Writing(None) => "being written",
        State::Writing(Some(_)) => "returned",
        State::Asked(_) => "waits for a review",
        State::Reviewed(..) => "to be signed",
        State::Signed(..) => "signed",
        State::Dropped(_) => "given up",
    }
}

/// What a draft waits for.
pub fn draft(state: &State) -> String {
    match state {
        State::Writing(None) => "being written".into(),
        State::Writing(Some(against)) => format!("returned by {}: {}", against.mover.by, against.why),
        State::Asked(mover) => format!("waits for a review, asked for by {}", mover.by),
        State::Reviewed(mover, _) => format!("reviewed by {}, to be signed", mover.by),
        State::Signed(_, version) => format!("signed as policy {version}"),
        State::Dropped(against) => format!("given up by {}: {}", against.mover.by, against.why),
    }
}

/// What is said of a roll-out beside what is applied, worst first: a number and what it counts.
pub fn counts(counts: &Counts) -> Vec<(usize, &'static str)> {
    let all = [
        (counts.refused, "refused it"),
        (counts.returned, "went back from it"),
        (counts.strict, "hold the strict rules in its place"),
        (counts.unfit, "cannot be sent it"),
        (counts.in_part, "cannot enforce every rule"),
        (counts.unheard, "applied it and are not connected now"),
        (counts.under_way, "are applying it"),
        (counts.on_its_way, "were sent it and said nothing yet"),
        (counts.away, "have not been told: they are not connected"),
        (counts.held, "are in quarantine"),
    ];
    all.into_iter().filter(|(count, _)| *count > 0).collect()
}

/// What came of loading a policy, in one word.
pub const fn loading(loading: Loading) -> &'static str {
    match loading {
        Loading::New => "new",
        Loading::SignedAnew => "signed-anew",
        Loading::NewKeyring => "new-keyring",
        Loading::Same => "same",
        Loading::OtherContent => "other-content",
    }
}

/// What came of loading a policy whose number was known.
pub const fn loaded_again(loading: Loading) -> &'static str {
    match loading {
        Loading::SignedAnew => "was loaded before; its new signatures count from now on",
        Loading::NewKeyring => "was loaded before; its keyring counts from now on",
        _ => "was loaded before",
    }
}

/// What rules a box.
pub const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Nothing => "no policy: the box is as its installer made it",
        Basis::Signed => "the policy as signed",
        Basis::Expired => "the policy, although its time is over",
        Basis::StrictAfterExpiry => "the strict rules: the policy's time is over",
        Basis::StrictUnreadable => "the strict rules: what was kept cannot be read",
    }
}

/// Why a box went back.
pub fn cause(cause: &ReturnCause) -> String {
    match cause {
        ReturnCause::ServerNotReached => "it did not reach the server after applying".into(),
        ReturnCause::StepFailed(why) => format!("a step failed: {}", why.as_str()),
    }
}

/// How a point stands, in a word.
pub const fn standing(standing: &Standing) -> &'static str {
    match standing {
        Standing::Holds => "Holds",
        Standing::Drifted => "Changed by hand",
        Standing::NotEnforceableHere(_) => "Not enforceable here",
        Standing::Failed(_) => "Could not be set",
    }
}

/// How a box stands to an order that shuts it off.
pub const fn containment(containment: Containment) -> &'static str {
    match containment {
        Containment::Open => "not shut off",
        Containment::Ordered => "shut off is ordered; the box has not confirmed it",
        Containment::Heard => "the box heard the order; it does not hold yet",
        Containment::Holds(_) => "shut off: vital flows only, as the box says",
        Containment::Lifting => "to be opened again; the box has not confirmed it",
        Containment::Foreign => "shut off by an order that this server does not know",
    }
}

/// What a rule is about.
pub const fn rule(rule: Rule) -> &'static str {
    match rule {
        Rule::Outbound => "What the box may reach",
        Rule::Inbound => "Who may reach the box",
        Rule::Devices => "What devices behind the box may do",
        Rule::Sensors => "Which sensors it reads",
        Rule::Bluetooth => "Its radio",
        Rule::ModbusWrites => "What may be written on its buses",
        Rule::Sshd => "Signing in by ssh",
        Rule::Accounts => "Its users",
        Rule::Usb => "What may be plugged in",
        Rule::Listening => "What may listen",
        Rule::Time => "Its time",
        Rule::Polling => "How often sensors are asked",
        Rule::Retention => "How much it keeps",
        Rule::Intervals => "How often it proves and reports itself",
        Rule::Maintenance => "When work disturbs least",
        Rule::Support => "Support tunnels",
        Rule::Thresholds => "When findings are raised",
        Rule::Updates => "How updates come to it",
    }
}
