//! Plain words for judgements. The pages, the API, the command line and the notice to the gateway say the same.

use homeward_protocol::attest::{Tier, Trust};
use homeward_protocol::evidence::Component;

use super::{Ima, Log, Quote, Why};

/// What a tier proves, as a sentence about the box.
pub const fn tier(tier: Tier) -> &'static str {
    match tier {
        Tier::Software => "a process that holds the box's key said so",
        Tier::TpmKey => "the box's key cannot be copied off its TPM",
        Tier::TpmChip => "the box's key is in a real TPM of a known maker",
        Tier::MeasuredBoot => "the box started what was signed",
    }
}

/// How a gateway stands, as people read it.
pub const fn trust(trust: Trust) -> &'static str {
    match trust {
        Trust::Trusted => "Trusted",
        Trust::Warning => "Warning",
        Trust::Stale => "Stale",
        Trust::Failed => "Failed",
        Trust::Unknown => "Unknown",
    }
}

const fn component(component: Component) -> &'static str {
    match component {
        Component::Launcher => "the launcher",
        Component::Agent => "the agent's program",
        Component::Policy => "the policy in force",
        Component::Kernel => "the kernel",
        Component::Packages => "the set of installed packages",
    }
}

/// Why a judgement is what it is, as a clause.
pub fn why(why: &Why) -> String {
    match why {
        Why::InOrder => "everything is in order".into(),
        Why::Unreadable => "what the box sent as its evidence cannot be read".into(),
        Why::BadSignature => "the evidence is not signed by the key of the box's connection".into(),
        Why::OtherKey => "the evidence names another key than the one of the box's connection".into(),
        Why::WrongNonce => "the evidence answers a challenge that was never made to this box".into(),
        Why::Replayed => {
            "the evidence answers a challenge that was answered before: it is a recording".into()
        }
        Why::OtherBox => "another box speaks with this box's key".into(),
        Why::TwoBoxes => "two boxes take turns with one key".into(),
        Why::TierDropped { from, to } => {
            format!("the box proved {from} before, and only {to} now")
        }
        Why::QuoteFails(Quote::OtherKey) => "the TPM's statement is not by the TPM that was enrolled".into(),
        Why::QuoteFails(Quote::OtherNonce) => "the TPM's statement is about other evidence".into(),
        Why::QuoteFails(_) => "the TPM's statement does not hold".into(),
        Why::LogDiffers => "the firmware's log does not fit what the TPM measured".into(),
        Why::RunLogDiffers => "the kernel's log of what it ran does not fit what the TPM measured".into(),
        Why::Tampered(what) => format!("{} is not the one of its release", component(*what)),
        Why::OtherBoot(register) => {
            format!("the box started something else than its release (register {register})")
        }
        Why::SpareKey => {
            "the box's TPM does not answer: it speaks with its spare key, which only brings readings and alarms".into()
        }
        Why::TooLate => "the evidence came after the challenge's time".into(),
        Why::CountedBack => {
            "the box counts fewer boots than before: its memory was put back, or there are two of it".into()
        }
        Why::FirmwareChanged => {
            "the box's firmware is another than before, and nobody has accepted it yet".into()
        }
        Why::UnknownRelease(what) => format!(
            "{} is of a version that no loaded release describes",
            component(*what)
        ),
        Why::Unmeasured(count) => {
            format!("{count} files changed while they were in use, so the kernel could not measure them")
        }
        Why::Unproven => "what the box did while it was away is not proved without a gap".into(),
        Why::SoftwareOnly => {
            "only the box's own word stands behind it: it has no TPM, or does not use it".into()
        }
        Why::UnknownChip => "nobody vouches for the maker of the box's TPM".into(),
        Why::LogIncomplete => "its logs of measurements have not come whole yet".into(),
        Why::NoReference => "no loaded release describes what the box should start".into(),
    }
}

/// How a firmware's log stands to the registers that were quoted.
pub const fn log(log: Log) -> &'static str {
    match log {
        Log::Replays => "replays to what the TPM quoted",
        Log::Differs => "DIFFERS from what the TPM quoted",
        Log::Incomplete => "has not come whole yet",
        Log::None => "not sent",
    }
}

/// The same of the kernel's.
pub fn ima(ima: Ima) -> String {
    match ima {
        Ima::Replays => log(Log::Replays).into(),
        Ima::Violations(count) => format!("{}, {count} files could not be measured", log(Log::Replays)),
        Ima::Differs => log(Log::Differs).into(),
        Ima::Incomplete => log(Log::Incomplete).into(),
        Ima::None => log(Log::None).into(),
    }
}

/// All reasons as one clause.
pub fn all(reasons: &[Why]) -> String {
    let clauses: Vec<String> = reasons.iter().map(why).collect();
    clauses.join("; ")
}

/// What a person can do about a state.
pub const fn action(state: Trust, quarantined: bool) -> &'static str {
    match (state, quarantined) {
        (_, true) => "find out what happened to the box, then lift the quarantine with a reason",
        (Trust::Failed, _) => "look at the reasons; the box is asked again in a minute",
        (Trust::Stale, _) => "see whether the box has power and network",
        (Trust::Unknown, _) => "wait for its first evidence, or look at the server's own incidents",
        (Trust::Warning, _) => "look at the reasons",
        (Trust::Trusted, _) => "nothing",
    }
}
