//! What this fleet has to say of a draft that no checker of documents can know.

use std::collections::BTreeSet;

use homeward_protocol::id::GroupId;
use homeward_protocol::policy::sign::{PolicyMark, SignedDigest};
use homeward_protocol::policy::{Audience, Policy};
use homeward_protocol::time::Timestamp;

use crate::policy::book::{Book, Entry, Target};
use crate::policy::rollout::{Line, Plan, plan};

/// A policy that ends sooner than that says so, milliseconds.
const SOON_MS: i64 = 7 * 86_400_000;

/// What a person should know before asking for a review. `newest` is the highest number that is loaded; `lines` are the
/// gateways in service.
pub fn notices(
    policy: &Policy,
    newest: Option<u64>,
    book: &Book,
    lines: &[Line],
    now: Timestamp,
) -> Vec<String> {
    let mut said = Vec::new();
    if let Some(newest) = newest
        && policy.version.0 <= newest
    {
        said.push(format!(
            "its version is {}, and policy {newest} is loaded: boxes never go back, so it needs {} or a higher one",
            policy.version,
            newest + 1
        ));
    }
    let left_ms = policy.expires.ms() - now.ms;
    if left_ms <= 0 {
        said.push(format!("its time is over since {}", policy.expires));
    } else if left_ms < SOON_MS {
        said.push(format!("its time is over soon: {}", policy.expires));
    }
    if policy.issued.ms() > now.ms {
        said.push(format!("boxes take it from {} on, not before", policy.issued));
    }
    said.extend(strangers(&policy.audience, book, lines));
    said
}

/// Names in its audience that nobody here has.
fn strangers(audience: &Audience, book: &Book, lines: &[Line]) -> Vec<String> {
    match audience {
        Audience::All => Vec::new(),
        Audience::Groups(groups) => {
            let here: BTreeSet<&GroupId> = lines.iter().flat_map(|line| book.groups(&line.gateway)).collect();
            let empty = groups.iter().filter(|group| !here.contains(group));
            empty
                .map(|group| format!("no gateway in service is in its group {group}"))
                .collect()
        }
        Audience::Gateways(gateways) => {
            let unknown = gateways
                .iter()
                .filter(|gateway| !lines.iter().any(|line| line.gateway == **gateway));
            unknown
                .map(|gateway| format!("no gateway in service has its name {gateway}"))
                .collect()
        }
    }
}

/// What would change on which boxes if it were signed and given to all that it is for.
pub fn rehearsed(policy: &Policy, book: &Book, lines: &[Line], now: Timestamp) -> Plan {
    let with = book.with(entry(policy));
    plan(&with, lines, policy.version.0, &[Target::All], now)
}

/// A policy that nobody signed, to reckon with; it is in no store, and nothing is sent of it.
fn entry(policy: &Policy) -> Entry {
    Entry {
        mark: PolicyMark {
            version: policy.version,
            digest: SignedDigest([0; 32]),
        },
        signed: Vec::new(),
        review: None,
        policy: policy.clone(),
        withdrawn: false,
    }
}
