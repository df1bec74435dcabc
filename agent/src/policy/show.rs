//! The policy of a box for people: what holds, and what another one would change.

use std::collections::BTreeSet;

use homeward_protocol::policy::check::Checked;
use homeward_protocol::policy::diff::diff;
use homeward_protocol::policy::isolation::Ordered;
use homeward_protocol::policy::points::Rule;
use homeward_protocol::policy::state::{Basis, Phase, PolicyState, ReturnCause, Standing};
use homeward_protocol::policy::{Policy, PolicyVersion};
use homeward_protocol::posture::ShortText;

use super::standing::does::Does;

/// What was last told, in plain words.
pub fn show(state: &PolicyState) -> String {
    let mut text = String::new();
    let mut line = |said: String| text.push_str(&(said + "\n"));
    match state.policy {
        Some(mark) => line(format!(
            "Policy {} ({:?}): {}",
            mark.version,
            mark.digest,
            basis(state.basis)
        )),
        None => line(format!("No policy: {}", basis(state.basis))),
    }
    match state.phase {
        Phase::Settled => {}
        Phase::Applying => line("It is being applied.".into()),
        Phase::Confirming => line("It is applied, and waits for the server to be reached.".into()),
    }
    if let Some(refused) = &state.refused {
        let which = refused.mark.map_or_else(
            || "An offer".to_owned(),
            |mark| format!("Policy {}", mark.version),
        );
        line(format!("{which} was refused at {}: {}.", refused.at, refused.why));
    }
    if let Some(returned) = &state.returned {
        let why = match &returned.cause {
            ReturnCause::ServerNotReached => "the server was not reached",
            ReturnCause::StepFailed(why) => why.as_str(),
        };
        line(format!(
            "Returned from policy {} at {}: {why}.",
            returned.from.version, returned.at
        ));
    }
    if let Some(isolation) = &state.isolation {
        line(match (isolation.ordered, isolation.since) {
            (Ordered::Isolate, Some(since)) => format!("Isolated since {since} (order {}).", isolation.order),
            (Ordered::Isolate, None) => format!(
                "Isolation is ordered and does not hold (order {}).",
                isolation.order
            ),
            (Ordered::Lift, _) => format!("Isolation was lifted (order {}).", isolation.order),
        });
    }
    for point in &state.points {
        let how = match &point.standing {
            Standing::Holds => "holds".to_owned(),
            Standing::Drifted => "DRIFTED".to_owned(),
            Standing::NotEnforceableHere(why) => format!("not enforceable here: {}", why.as_str()),
            Standing::Failed(why) => format!("FAILED: {}", why.as_str()),
        };
        let column = |text: &Option<ShortText>| text.as_ref().map_or("-", ShortText::as_str).to_owned();
        line(format!(
            "  {} ({}): {how}, since {}",
            point.point, point.hazard, point.since
        ));
        line(format!("      wanted {}", point.wanted.as_str()));
        line(format!(
            "      applied {}; observed {}",
            column(&point.applied),
            column(&point.observed)
        ));
    }
    if state.more > 0 {
        line(format!("  and {} more", state.more));
    }
    text
}

const fn basis(basis: Basis) -> &'static str {
    match basis {
        Basis::Nothing => "this box is as its installer made it",
        Basis::Signed => "as it was signed",
        Basis::Expired => "its time is over, and it goes on holding",
        Basis::StrictAfterExpiry => "its time is over: the strict one holds",
        Basis::StrictUnreadable => "what was kept cannot be read: the strict one holds",
    }
}

/// What a document would change on a box that `now` rules, in plain words; nothing is changed by this.
pub fn plan(now: Option<&Policy>, checked: &Checked, state: Option<&PolicyState>) -> String {
    let mut text = String::new();
    for finding in &checked.findings {
        text.push_str(&format!("{finding}\n"));
    }
    let Some(next) = &checked.policy else {
        text.push_str("It cannot be used: see above.\n");
        return text;
    };
    let bare = Policy {
        version: PolicyVersion(0),
        ..bare(next)
    };
    let before = now.unwrap_or(&bare);
    let changes = diff(before, next);
    text.push_str(&format!("{} things would change on this box:\n", changes.len()));
    for change in &changes {
        text.push_str(&format!("  {change}\n"));
    }
    let rules: BTreeSet<Rule> = next.points().iter().map(|point| point.id.rule()).collect();
    for rule in rules {
        let said = match Does::of(rule) {
            Does::Enforces => continue,
            Does::Observes => "seen and reported, never changed",
            Does::Nothing => "neither set nor seen by this agent",
        };
        text.push_str(&format!("  {}: {said}\n", rule.name()));
    }
    let stuck = state.into_iter().flat_map(|state| &state.points);
    for point in stuck {
        if let Standing::NotEnforceableHere(why) = &point.standing
            && next.points().iter().any(|wanted| wanted.id == point.point)
        {
            text.push_str(&format!(
                "  {}: not enforceable here: {}\n",
                point.point,
                why.as_str()
            ));
        }
    }
    text.push_str(&format!(
        "If the server is not reached within {} s after applying, the box returns by itself.\n",
        next.confirm_s
    ));
    text
}

/// The head of a policy without any rule.
fn bare(policy: &Policy) -> Policy {
    Policy {
        outbound: None,
        inbound: None,
        devices: None,
        sensors: None,
        bluetooth: None,
        modbus_writes: None,
        sshd: None,
        accounts: None,
        usb: None,
        listening: None,
        time: None,
        polling: None,
        retention: None,
        intervals: None,
        maintenance: None,
        support: None,
        thresholds: None,
        updates: None,
        ..policy.clone()
    }
}
