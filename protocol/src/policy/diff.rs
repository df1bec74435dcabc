//! What changes between two policies, in plain words.

use std::collections::BTreeMap;
use std::fmt;

use super::points::PointId;
use super::rules::OnDrift;
use super::{Audience, OnExpiry, Policy};

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The point, or the part of the policy's head: `version`, `audience`.
    pub what: String,
    /// What was wanted before; none when nothing was.
    pub before: Option<String>,
    /// What is wanted now; none when nothing is.
    pub after: Option<String>,
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let what = &self.what;
        match (&self.before, &self.after) {
            (Some(before), Some(after)) => write!(f, "{what}: {before} -> {after}"),
            (None, Some(after)) => write!(f, "{what}: new: {after}"),
            (Some(before), None) => write!(f, "{what}: no longer ruled; was: {before}"),
            (None, None) => write!(f, "{what}: nothing"),
        }
    }
}

/// What changes from `before` to `after`: the head first, then what becomes of a change by hand, then the points in their
/// order. Empty for the same, and for nothing else.
pub fn diff(before: &Policy, after: &Policy) -> Vec<Change> {
    let heads = head(before).into_iter().zip(head(after));
    let mut changes: Vec<Change> = heads
        .filter(|((_, old), (_, new))| old != new)
        .map(|((what, old), (_, new))| changed(what, Some(old), Some(new)))
        .collect();
    let by_hand = by_hand(before).into_iter().zip(by_hand(after));
    changes.extend(
        by_hand
            .filter(|((_, old), (_, new))| old != new)
            .map(|((what, old), (_, new))| changed(what, old.map(str::to_owned), new.map(str::to_owned))),
    );
    let (old, new) = (points(before), points(after));
    let mut names: Vec<&PointId> = old.keys().chain(new.keys()).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let (was, is) = (old.get(name), new.get(name));
        if was != is {
            changes.push(changed(&name.to_string(), was.cloned(), is.cloned()));
        }
    }
    if changes.is_empty() && before != after {
        // Nobody may sign a change that was not shown.
        changes.push(changed(
            "something that has no words",
            Some("as it was".to_owned()),
            Some("another; compare the documents line by line".to_owned()),
        ));
    }
    changes
}

/// What becomes of a change by hand, by each rule that says so.
fn by_hand(policy: &Policy) -> [(&'static str, Option<&'static str>); 2] {
    let said = |on_drift: OnDrift| match on_drift {
        OnDrift::Report => "reported, and stays",
        OnDrift::PutBack => "put back, and reported",
    };
    [
        (
            "bluetooth, changed by hand",
            policy.bluetooth.as_ref().map(|rule| said(rule.on_drift)),
        ),
        (
            "sshd, changed by hand",
            policy.sshd.as_ref().map(|rule| said(rule.on_drift)),
        ),
    ]
}

fn changed(what: &str, before: Option<String>, after: Option<String>) -> Change {
    Change {
        what: what.to_owned(),
        before,
        after,
    }
}

/// Each point with its words and the hazard's line, which is part of what two people signed.
fn points(policy: &Policy) -> BTreeMap<PointId, String> {
    let points = policy.points().into_iter();
    points
        .map(|point| {
            let line = policy.hazards.get(&point.hazard).map_or("", |line| line.as_str());
            let said = format!("{} (against {}: {line})", point.wanted, point.hazard);
            (point.id, said)
        })
        .collect()
}

fn head(policy: &Policy) -> [(&'static str, String); 7] {
    let audience = match &policy.audience {
        Audience::All => "all gateways".to_owned(),
        Audience::Groups(groups) => format!("groups {}", join(groups)),
        Audience::Gateways(gateways) => format!("gateways {}", join(gateways)),
    };
    let on_expiry = match policy.on_expiry {
        OnExpiry::Keep => "goes on holding",
        OnExpiry::Strict => "the strict one holds",
    };
    [
        ("name", policy.name.as_str().to_owned()),
        ("version", policy.version.to_string()),
        ("issued", policy.issued.to_string()),
        ("expires", policy.expires.to_string()),
        ("after its end", on_expiry.to_owned()),
        ("confirmed within", format!("{} s", policy.confirm_s)),
        ("audience", audience),
    ]
}

fn join<T: fmt::Display>(items: &[T]) -> String {
    let all: Vec<String> = items.iter().map(ToString::to_string).collect();
    all.join(", ")
}
