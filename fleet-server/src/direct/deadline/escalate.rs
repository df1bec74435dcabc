//! What is done in the store when something about a deadline is due: each thing once, in one transaction with its trace.

use std::collections::HashMap;

use homeward_protocol::id::GatewayId;
use homeward_protocol::signed::PublicKey;
use homeward_protocol::time::Timestamp;

use super::{Case, Due, Rule, asks, passed};
use crate::audit::Action;
use crate::notify::{Message, Reach};
use crate::policy::book::{Book, Fit, Target, audience};
use crate::store::incidents::{self, Kind};
use crate::store::policies::{self, groups, states};
use crate::store::{StoreError, Tx, audit, deadlines, notices};

/// In the audit trail and on assignments, who does what a deadline brings.
pub const BY: &str = "deadline";

/// What is needed beside the case.
#[derive(Debug, Clone, Copy)]
pub struct Ground<'a> {
    /// How the update stands, in words.
    pub how: &'a str,
    /// Whose signatures count under a keyring.
    pub roots: &'a [PublicKey],
    /// Which ways lead to people outside the console.
    pub reach: &'a Reach,
    /// A name that nothing has yet.
    pub id: &'a str,
    /// Now.
    pub now: Timestamp,
}

/// Does what is due; gives what there is to say about it, if that is new.
pub fn carry_out(
    tx: &mut dyn Tx,
    case: &Case,
    due: Due,
    ground: Ground<'_>,
) -> Result<Option<String>, StoreError> {
    match due {
        Due::Ask => ask(tx, case, ground),
        Due::Pass => pass(tx, case, ground),
        Due::TakeBack => take_back(tx, case, ground),
        Due::End => end(tx, case, ground.now),
    }
}

fn ask(tx: &mut dyn Tx, case: &Case, ground: Ground<'_>) -> Result<Option<String>, StoreError> {
    if !deadlines::ask(tx, case, ground.now)? {
        return Ok(None);
    }
    let text = asks(case, ground.how);
    say(tx, case, Kind::UpdateWaits, &text, ground)?;
    let subject = format!(
        "Update {} of {} needs a quiet moment by {}",
        case.version, case.gateway, case.deadline
    );
    tell(tx, case, &subject, &text, ground)?;
    let whom = format!("word {}: {} is asked", case.counter, case.terms.person());
    trace(tx, case, Action::DeadlineAsked, &whom, ground.now)?;
    Ok(Some(text))
}

fn pass(tx: &mut dyn Tx, case: &Case, ground: Ground<'_>) -> Result<Option<String>, StoreError> {
    let applied = match case.terms.rule {
        None => None,
        Some(rule) => Some(applies(tx, case, rule, ground)?),
    };
    let compensates = applied == Some(Ok(()));
    if !deadlines::pass(tx, case, compensates, ground.now)? {
        return Ok(None);
    }
    let target = Target::Gateway(case.gateway.clone());
    let rule = case.terms.rule.filter(|_| compensates);
    if let Some(rule) = rule {
        policies::assign(tx, rule.compensate, &[target], BY, ground.now)?;
    }
    let applied = applied.as_ref().map(|one| match one {
        Ok(()) => Ok(()),
        Err(why) => Err(why.as_str()),
    });
    let text = passed(case, ground.how, applied);
    incidents::settle(tx, &case.gateway, Kind::UpdateWaits, BY, ground.now)?;
    say(tx, case, Kind::UpdateOverdue, &text, ground)?;
    let subject = format!("Update {} of {} is overdue", case.version, case.gateway);
    tell(tx, case, &subject, &text, ground)?;
    let what = match rule {
        Some(rule) => format!(
            "word {}: policy {} makes up for it",
            case.counter, rule.compensate
        ),
        None => format!("word {}: nothing makes up for it", case.counter),
    };
    trace(tx, case, Action::DeadlinePassed, &what, ground.now)?;
    Ok(Some(text))
}

fn applies(
    tx: &mut dyn Tx,
    case: &Case,
    rule: Rule,
    ground: Ground<'_>,
) -> Result<Result<(), String>, StoreError> {
    let times = (ground.now, ground.now);
    match unfit(tx, ground.roots, (rule.compensate, &case.gateway), times)? {
        Some(why) => Ok(Err(why)),
        None => stays_below(tx, ground.roots, (rule.compensate, &case.gateway), ground.now),
    }
}

fn take_back(tx: &mut dyn Tx, case: &Case, ground: Ground<'_>) -> Result<Option<String>, StoreError> {
    let Some(rule) = case.terms.rule else {
        return end(tx, case, ground.now);
    };
    // A policy with a higher number, by a person, ended it before.
    let book = policies::book_of(tx, ground.roots, &case.gateway)?;
    let newer = book
        .wanted(&case.gateway, ground.now)
        .is_some_and(|wanted| wanted.entry.mark.version.0 > rule.compensate);
    if !newer {
        let times = (ground.now, ground.now);
        if let Some(why) = unfit(tx, ground.roots, (rule.afterwards, &case.gateway), times)? {
            let text = format!(
                "{} has {} now, and policy {}, which made up for it, still applies: policy {} should end that, and {why}. Give \
                 the box a policy with a higher number.",
                case.gateway, case.version, rule.compensate, rule.afterwards
            );
            let new = say(tx, case, Kind::UpdateOverdue, &text, ground)?;
            return Ok(new.then_some(text));
        }
        let target = Target::Gateway(case.gateway.clone());
        policies::assign(tx, rule.afterwards, &[target], BY, ground.now)?;
    }
    end(tx, case, ground.now)?;
    Ok(Some(format!(
        "{} has {}: policy {} makes up for it no more",
        case.gateway, case.version, rule.compensate
    )))
}

fn end(tx: &mut dyn Tx, case: &Case, now: Timestamp) -> Result<Option<String>, StoreError> {
    if !deadlines::end(tx, case, now)? {
        return Ok(None);
    }
    // What a later word says of the same gateway stands.
    if !deadlines::has_open(tx, &case.gateway)? {
        incidents::settle(tx, &case.gateway, Kind::UpdateWaits, BY, now)?;
        incidents::settle(tx, &case.gateway, Kind::UpdateOverdue, BY, now)?;
    }
    let detail = format!("word {}", case.counter);
    trace(tx, case, Action::DeadlineOver, &detail, now)?;
    Ok(None)
}

/// Shows it in the console in the place of what stood there about this gateway; false when the very same stands there.
fn say(tx: &mut dyn Tx, case: &Case, kind: Kind, text: &str, ground: Ground<'_>) -> Result<bool, StoreError> {
    let open = incidents::open_of(tx, &case.gateway)?;
    if open.iter().any(|one| one.kind == kind && one.said == text) {
        return Ok(false);
    }
    incidents::settle(tx, &case.gateway, kind, BY, ground.now)?;
    let id = format!("{}-{}", ground.id, kind.name());
    incidents::raise(tx, &id, &case.gateway, kind, text, ground.now)
}

fn tell(
    tx: &mut dyn Tx,
    case: &Case,
    subject: &str,
    text: &str,
    ground: Ground<'_>,
) -> Result<(), StoreError> {
    let message = Message {
        gateway: Some(case.gateway.clone()),
        person: case.terms.person().to_owned(),
        subject: subject.to_owned(),
        body: text.to_owned(),
    };
    notices::put(
        tx,
        ground.id,
        &message,
        &ground.reach.ways(&message.person),
        ground.now,
    )
}

fn trace(
    tx: &mut dyn Tx,
    case: &Case,
    action: Action,
    detail: &str,
    now: Timestamp,
) -> Result<(), StoreError> {
    audit::record(tx, now, BY, action, case.gateway.as_str(), detail)
}

/// Why a pair of policies cannot make up for an update of this gateway until `deadline`, if so.
pub fn misfit(
    tx: &mut dyn Tx,
    roots: &[PublicKey],
    (rule, gateway): (Rule, &GatewayId),
    (now, deadline): (Timestamp, Timestamp),
) -> Result<Option<String>, StoreError> {
    for version in [rule.compensate, rule.afterwards] {
        if let Some(why) = unfit(tx, roots, (version, gateway), (now, deadline))? {
            return Ok(Some(why));
        }
    }
    let below = stays_below(tx, roots, (rule.compensate, gateway), now)?;
    Ok(below.err())
}

/// Why boxes would not take this policy, now or until then.
fn unfit(
    tx: &mut dyn Tx,
    roots: &[PublicKey],
    (version, gateway): (u64, &GatewayId),
    (now, until): (Timestamp, Timestamp),
) -> Result<Option<String>, StoreError> {
    let Some(loaded) = policies::get(tx, version)? else {
        return Ok(Some(format!("no policy {version} is loaded")));
    };
    let entry = loaded.entry;
    if entry.withdrawn {
        return Ok(Some(format!("policy {version} was withdrawn")));
    }
    if !entry.policy.is_for(gateway, &groups::of(tx, gateway)?) {
        let whom = audience(&entry.policy.audience);
        return Ok(Some(format!("policy {version} is for {whom}, not for {gateway}")));
    }
    if entry.policy.issued.ms() > until.ms {
        return Ok(Some(format!("policy {version} begins later than that")));
    }
    let keyring = policies::keyring(tx)?.map(|(_, bytes, until)| (bytes, until));
    let book = Book::new(vec![entry.clone()], keyring, &[], HashMap::new(), roots);
    Ok(match book.fit(&entry, now) {
        Fit::SignersGone => Some(format!("the signatures of policy {version} count no more")),
        Fit::Expired => Some(format!("policy {version} has expired")),
        Fit::Fit if entry.policy.expires.ms() <= until.ms => {
            Some(format!("policy {version} expires before that"))
        }
        Fit::Fit => None,
    })
}

/// Whether the gateway would take it: boxes never go back to a lower number.
fn stays_below(
    tx: &mut dyn Tx,
    roots: &[PublicKey],
    (version, gateway): (u64, &GatewayId),
    now: Timestamp,
) -> Result<Result<(), String>, StoreError> {
    let book = policies::book_of(tx, roots, gateway)?;
    let wanted = book.wanted(gateway, now).map(|one| one.entry.mark.version.0);
    let held = states::get(tx, gateway)?.and_then(|said| said.state.policy);
    let highest = wanted.max(held.map(|mark| mark.version.0));
    Ok(match highest {
        Some(highest) if highest > version => Err(format!(
            "{gateway} is at policy {highest}, and boxes never go back to a lower number than that, such as {version}"
        )),
        _ => Ok(()),
    })
}
