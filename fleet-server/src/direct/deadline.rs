//! When an update that waits is brought before a person, and when a policy makes up for it.
//!
//! At 80 % of its time a named person is asked; at its deadline a compensating policy applies; when a box confirms the
//! update, another policy ends that. None of it touches the interlock: a box still waits for a quiet moment.
//!
//! # Design
//! [`due`] is asked at every look and says what should have been done by now; the store says what was, in the same
//! transaction that does it. So each thing is done once, whatever stops in between, and a clock that is set back undoes
//! nothing. Boxes take no policy with a lower number than they have; so what makes up for an update has a policy with a
//! higher number beside it, that ends it.

pub mod escalate;
pub mod watch;

use std::time::Duration;

use homeward_protocol::id::GatewayId;
use homeward_protocol::release::Version;
use homeward_protocol::release::state::{Outcome, UpdateState};
use homeward_protocol::time::Timestamp;

/// Longest reason, bytes.
const MAX_REASON: usize = 500;
/// Longest name of a person, bytes.
const MAX_PERSON: usize = 80;

/// What goes with an update: why it matters, and who is asked about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Terms {
    reason: String,
    person: String,
    /// What makes up for it at the deadline.
    pub rule: Option<Rule>,
}

/// What goes with each word of a campaign.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Each {
    /// What goes with it.
    pub terms: Terms,
    /// How long a home may take, from when it is told.
    pub within: Duration,
}

/// Why there can be no such terms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TermsError {
    /// The reason.
    #[error("a reason is one line of 1 to 500 bytes, in words that a clinician understands")]
    Reason,
    /// The person.
    #[error("a person is named in one line of 1 to 80 bytes")]
    Person,
    /// The numbers of the policies.
    #[error(
        "the policy that ends a compensation has a higher number than the one that compensates: boxes never go back"
    )]
    Order,
}

impl Terms {
    /// Of these words.
    pub fn new(reason: &str, person: &str, rule: Option<Rule>) -> Result<Terms, TermsError> {
        let line = |text: &str, most: usize| {
            let text = text.trim();
            let fits = !text.is_empty() && text.len() <= most && !text.chars().any(char::is_control);
            fits.then(|| text.to_owned())
        };
        if rule.is_some_and(|rule| rule.afterwards <= rule.compensate) {
            return Err(TermsError::Order);
        }
        Ok(Terms {
            reason: line(reason, MAX_REASON).ok_or(TermsError::Reason)?,
            person: line(person, MAX_PERSON).ok_or(TermsError::Person)?,
            rule,
        })
    }

    /// Why the update matters.
    pub fn reason(&self) -> &str {
        &self.reason
    }

    /// Who is asked.
    pub fn person(&self) -> &str {
        &self.person
    }
}

/// Two policies that people signed: one makes up for an update that is not there, the other ends that.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rule {
    /// Applies from the deadline on.
    pub compensate: u64,
    /// Takes its place when the update is confirmed.
    pub afterwards: u64,
}

/// What was done about one word by now.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Done {
    /// When the person was asked.
    pub asked: Option<Timestamp>,
    /// When the deadline was found to be over.
    pub passed: Option<Timestamp>,
    /// Whether the compensating policy was assigned then, and no other took its place.
    pub compensates: bool,
    /// When there was nothing more to do.
    pub ended: Option<Timestamp>,
}

/// Whether a word still is what its gateway shall do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stands {
    /// It is the newest.
    Newest,
    /// A later word took its place.
    Superseded,
    /// The gateway is out of service.
    Gone,
}

/// One word with a deadline.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// Whom it is for.
    pub gateway: GatewayId,
    /// Its number.
    pub counter: u64,
    /// The version that it is about.
    pub version: Version,
    /// When it was given.
    pub at: Timestamp,
    /// Nothing begins before this.
    pub not_before: Timestamp,
    /// By when.
    pub deadline: Timestamp,
    /// What goes with it.
    pub terms: Terms,
    /// Whether it still counts.
    pub stands: Stands,
    /// Whether the newest word brings this version, or a newer one: a campaign that ends or goes back gives a word that does
    /// not.
    pub newest_brings: bool,
    /// What was done.
    pub done: Done,
}

impl Case {
    /// When the person is asked: after 80 % of the time, and not before the update may begin.
    pub fn ask_at(&self) -> Timestamp {
        let whole = self.deadline.ms.saturating_sub(self.at.ms).max(0);
        let part = self.at.plus_ms(whole / 5 * 4);
        Timestamp::synced(part.ms.max(self.not_before.ms).min(self.deadline.ms))
    }
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Due {
    /// Ask the person.
    Ask,
    /// The time is over: say so, and let the compensating policy apply if there is one.
    Pass,
    /// The update is there: end the compensation, and with it the case.
    TakeBack,
    /// There is nothing more to do.
    End,
}

impl Due {
    /// The name in logs and metrics.
    pub const fn name(self) -> &'static str {
        match self {
            Due::Ask => "asked",
            Due::Pass => "passed",
            Due::TakeBack => "taken-back",
            Due::End => "over",
        }
    }
}

/// What is due, in this order. `said` is what the box says of its software.
pub fn due(case: &Case, said: Option<&UpdateState>, now: Timestamp) -> Vec<Due> {
    if case.done.ended.is_some() {
        return Vec::new();
    }
    let compensates = case.done.compensates;
    if is_confirmed(case, said) {
        return vec![if compensates { Due::TakeBack } else { Due::End }];
    }
    match case.stands {
        // What makes up for it stays until some later word is confirmed.
        Stands::Superseded if compensates => return Vec::new(),
        Stands::Superseded | Stands::Gone => return vec![Due::End],
        Stands::Newest => {}
    }
    let is_over = now.ms >= case.deadline.ms;
    let ask = case.done.asked.is_none() && now.ms >= case.ask_at().ms;
    let pass = case.done.passed.is_none() && is_over;
    [(ask, Due::Ask), (pass, Due::Pass)]
        .into_iter()
        .filter_map(|(is, due)| is.then_some(due))
        .collect()
}

/// Whether the box runs what this word gave it, or a later one that brings as much, and is well.
fn is_confirmed(case: &Case, said: Option<&UpdateState>) -> bool {
    let ended = said.and_then(|said| said.ended.as_ref());
    let is_word = |word| word == case.counter || (word > case.counter && case.newest_brings);
    ended.is_some_and(|ended| ended.outcome == Outcome::Confirmed && ended.counter.is_some_and(is_word))
}

/// What the person is asked, in plain words. `how` is how the update stands.
pub fn asks(case: &Case, how: &str) -> String {
    let rule = match case.terms.rule {
        Some(rule) => format!(
            "At the deadline policy {} applies at this box and makes up for the missing update; readings still flow",
            rule.compensate
        ),
        None => "No policy was named that makes up for the missing update".to_owned(),
    };
    format!(
        "{person}: {gateway} shall have {version} by {deadline}. Why: {reason}. How it stands: {how}. Please find a time with \
         the home at which the box may be disturbed, or end a hold that is no longer needed. {rule}. Nobody can make the box \
         interrupt a therapy or a measurement.",
        person = case.terms.person(),
        gateway = case.gateway,
        version = case.version,
        deadline = case.deadline,
        reason = case.terms.reason().trim_end_matches('.'),
    )
}

/// What is said when the time is over. `applied` is what came of the compensating policy, if there is one.
pub fn passed(case: &Case, how: &str, applied: Option<Result<(), &str>>) -> String {
    let rule = match (case.terms.rule, applied) {
        (Some(rule), Some(Ok(()))) => format!(
            "Policy {} applies at this box from now on and makes up for the missing update; readings still flow. Policy {} \
             ends that when the update is in place",
            rule.compensate, rule.afterwards
        ),
        (Some(rule), Some(Err(why))) => format!(
            "Policy {} should make up for the missing update and could not be given: {why}. Nothing makes up for it now",
            rule.compensate
        ),
        _ => "No policy was named that makes up for it, so nothing does".to_owned(),
    };
    format!(
        "{person}: the time for {version} on {gateway} is over since {deadline}. Why it matters: {reason}. How it stands: \
         {how}. {rule}. The box still takes the update at the first quiet moment, and interrupts no therapy for it.",
        person = case.terms.person(),
        gateway = case.gateway,
        version = case.version,
        deadline = case.deadline,
        reason = case.terms.reason().trim_end_matches('.'),
    )
}

/// How the deadline of a word stands, in one sentence for people.
pub fn words(case: &Case) -> String {
    let mut text = format!(
        "due by {}, because: {}; {} is asked from {} on",
        case.deadline,
        case.terms.reason(),
        case.terms.person(),
        case.ask_at()
    );
    if let Some(at) = case.done.asked {
        text.push_str(&format!("; asked {at}"));
    }
    match (case.terms.rule, case.done.passed) {
        (Some(rule), None) => text.push_str(&format!("; at the deadline policy {} applies", rule.compensate)),
        (Some(rule), Some(at)) if case.done.compensates => {
            text.push_str(&format!("; policy {} applies since {at}", rule.compensate));
        }
        (Some(rule), Some(at)) if case.done.ended.is_none() => text.push_str(&format!(
            "; policy {} could not be given at the deadline, {at}",
            rule.compensate
        )),
        (_, Some(at)) => text.push_str(&format!("; the deadline was passed {at}")),
        (None, None) => {}
    }
    if let Some(at) = case.done.ended {
        text.push_str(&format!("; over {at}"));
    }
    text
}

#[cfg(test)]
mod tests;
