//! Who can sign in and who may become root, and where the time comes from: what the helper that looks says of it,
//! against what the policy wants.
//!
//! Both are observed and reported, never changed: an account that is locked by a policy may be the one by which the box
//! is mended, and the time service has files of its own.

use std::collections::{BTreeMap, BTreeSet};

use homeward_protocol::policy::points::Point;
use homeward_protocol::policy::rules::{Accounts, Time, UserName};
use homeward_protocol::posture::fact::{Fact, Value, What};

use super::{Facts, Found};

/// What the helper that looks said; none when nobody has asked, or the box could not answer.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Sights {
    /// Facts of accounts and of sudo.
    pub accounts: Option<Vec<Fact>>,
    /// The members of groups, which sudo's rules may name.
    pub groups: BTreeMap<String, Vec<String>>,
    /// Facts of the time service.
    pub time: Option<Vec<Fact>>,
}

pub(super) fn accounts(point: &Point, rule: &Accounts, sights: &Sights) -> Found {
    let asked = sights.accounts.as_ref();
    let about: &[What] = match point.id.item() {
        "passwords" => &[What::AccountPassword],
        "keys" => &[What::AccountKeys],
        _ => &[What::AccountRoot, What::SudoRule],
    };
    let unknown = |fact: &Fact| about.contains(&fact.id.what()) && matches!(fact.value, Value::Unknown(_));
    let Some(facts) = asked.filter(|facts| !facts.iter().any(unknown)) else {
        return Found::not_here("nobody here may read who can sign in");
    };
    let (allowed, are) = match point.id.item() {
        "passwords" => (&rule.passwords, with_passwords(facts)),
        "keys" => (&rule.keys, with_keys(facts)),
        _ => (&rule.root, roots(facts, &sights.groups)),
    };
    others(are, allowed)
}

fn others(are: BTreeSet<String>, allowed: &[UserName]) -> Found {
    let may = |user: &String| allowed.iter().any(|one| one.as_str() == user);
    let others: Vec<String> = are.into_iter().filter(|user| !may(user)).collect();
    if others.is_empty() {
        Found::seen("nobody else", true)
    } else {
        Found::seen(&format!("also {}", others.join(", ")), false)
    }
}

/// Whose password lets somebody in: an empty one, too.
fn with_passwords(facts: &[Fact]) -> BTreeSet<String> {
    let open = |fact: &&Fact| fact.value.to_string() != "locked";
    named(facts, What::AccountPassword)
        .filter(open)
        .filter_map(subject)
        .collect()
}

fn with_keys(facts: &[Fact]) -> BTreeSet<String> {
    let some = |fact: &&Fact| !matches!(fact.value, Value::Count(0));
    named(facts, What::AccountKeys)
        .filter(some)
        .filter_map(subject)
        .collect()
}

/// Who may become root by sudo, whatever the rule lets him do then, and other names of root. What a rule names that is
/// no user and no group of this box is told as it is written.
fn roots(facts: &[Fact], groups: &BTreeMap<String, Vec<String>>) -> BTreeSet<String> {
    let second = named(facts, What::AccountRoot).filter_map(subject);
    let rules = named(facts, What::SudoRule).filter_map(subject);
    // Several rules of one user are numbered.
    let who = rules.filter_map(|subject| subject.split(' ').next().map(str::to_owned));
    let users = who.flat_map(|who| match who.strip_prefix('%') {
        Some(group) => groups.get(group).cloned().unwrap_or_default(),
        None if who.starts_with("Defaults") => Vec::new(),
        None => vec![who],
    });
    second.chain(users).filter(|user| user != "root").collect()
}

pub(super) fn time(point: &Point, rule: &Time, facts: &Facts) -> Found {
    let answered = facts.sights.time.as_deref().unwrap_or_default();
    if point.id.item() == "error" {
        let offset = named(answered, What::TimeOffset).find_map(|fact| match fact.value {
            Value::Millis(ms) => Some(ms.unsigned_abs()),
            _ => None,
        });
        return match offset {
            _ if !facts.clock_synced => Found::seen("the clock is not synchronised", false),
            Some(ms) => Found::seen(
                &format!("{ms} ms"),
                ms <= u64::from(rule.max_error_ms.unwrap_or(u32::MAX)),
            ),
            None => Found::not_here("no time service here says how far the clock is off"),
        };
    }
    let server = named(answered, What::TimeServer).next();
    let source = named(answered, What::TimeSource).next();
    match (server, source) {
        (Some(server), _) => {
            let server = server.value.to_string();
            let may = rule.sources.iter().any(|one| one.as_str() == server);
            Found::seen(&format!("asks {server}"), may)
        }
        (None, Some(source)) if !matches!(source.value, Value::Unknown(_)) => {
            Found::seen(&format!("asks nobody: {}", source.value), false)
        }
        _ => Found::not_here("no time service here says whom it asks"),
    }
}

fn named(facts: &[Fact], what: What) -> impl Iterator<Item = &Fact> {
    facts
        .iter()
        .filter(move |fact| fact.id.what() == what && !matches!(fact.value, Value::Unknown(_)))
}

fn subject(fact: &Fact) -> Option<String> {
    fact.id.subject().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use homeward_protocol::policy::check::check;
    use homeward_protocol::policy::state::Standing;
    use homeward_protocol::time::Timestamp;

    use super::*;
    use crate::posture::facts::seen::Seen;
    use crate::posture::facts::{accounts as read, sudo, timing};

    fn document(rules: &str) -> homeward_protocol::policy::Policy {
        let text = format!(
            "name = \"a\"\nversion = 1\nissued = \"2026-11-18T08:00:00Z\"\nexpires = \"2027-05-18T08:00:00Z\"\n\
             on_expiry = \"keep\"\nconfirm_s = 60\naudience = \"all\"\nhazards = {{ h-1 = \"A stranger.\" }}\n{rules}"
        );
        let checked = check(&text);
        checked.policy.unwrap_or_else(|| panic!("{:?}", checked.findings))
    }

    fn said(found: &Found) -> (String, Standing) {
        let said = found.observed.as_ref().map(|said| said.as_str().to_owned());
        (said.unwrap_or_default(), found.standing.clone())
    }

    #[test]
    fn who_can_sign_in_or_become_root_beyond_the_policy_is_found() {
        let policy = document(
            "[accounts]\nhazard = \"h-1\"\npasswords = [\"care\"]\nkeys = [\"installer\"]\nroot = [\"installer\"]\n",
        );
        let rule = policy.accounts.as_ref().expect("ruled");
        let seen = Seen::new(Timestamp::synced(0), "a test");
        let all = read::accounts(
            "root:x:0:0::/root:/bin/bash\ntoor:x:0:0::/root:/bin/sh\ncare:x:1000:1000::/home/care:/bin/sh\n\
             installer:x:1001:1001::/home/i:/bin/sh\nguest:x:1002:1002::/home/g:/bin/sh\n",
        );
        let shadow = "root:*:1::::::\ncare:$y$x:1::::::\ninstaller:!:1::::::\nguest::1::::::\n";
        let mut facts = read::passwords(&seen, &all, shadow);
        facts.push(read::key_count(&seen, "installer", 2));
        facts.push(read::key_count(&seen, "care", 0));
        facts.extend(read::roots(&seen, &all));
        facts.extend(sudo::rules(
            &seen,
            "root ALL=(ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\nDefaults !authenticate\n",
        ));
        let mut sights = Sights {
            accounts: Some(facts),
            groups: [(
                "sudo".to_owned(),
                vec!["installer".to_owned(), "guest".to_owned()],
            )]
            .into(),
            time: None,
        };
        let find = |item: &str, sights: &Sights| {
            let points = policy.points();
            let point = points
                .iter()
                .find(|point| point.id.item() == item)
                .expect("a point");
            said(&accounts(point, rule, sights))
        };
        let is = |text: &str, standing| (text.to_owned(), standing);
        assert_eq!(find("passwords", &sights), is("also guest", Standing::Drifted));
        assert_eq!(find("keys", &sights), is("nobody else", Standing::Holds));
        assert_eq!(find("root", &sights), is("also guest, toor", Standing::Drifted));
        sights.accounts = None;
        assert!(matches!(find("keys", &sights).1, Standing::NotEnforceableHere(_)));
        sights.accounts = Some(vec![seen.unknown(
            What::AccountPassword,
            homeward_protocol::posture::fact::Why::NeedsRights,
        )]);
        assert!(matches!(
            find("passwords", &sights).1,
            Standing::NotEnforceableHere(_)
        ));
    }

    #[test]
    fn whom_the_time_service_asks_and_how_far_the_clock_is_off_is_held_against_the_policy() {
        let policy =
            document("[time]\nhazard = \"h-1\"\nsources = [\"ntp.example.net\"]\nmax_error_ms = 4\n");
        let rule = policy.time.as_ref().expect("ruled");
        let seen = Seen::new(Timestamp::synced(0), "a test");
        let tracking = |name: &str, off: &str| {
            let line =
                format!("C0000201,{name},3,1795000000.1,{off},0.1,0.2,1.2,0.01,0.3,0.02,0.001,64.2,Normal\n");
            timing::chrony(&seen, &line)
        };
        let find = |item: &str, time: Option<Vec<Fact>>, clock_synced| {
            let facts = Facts {
                sights: Sights {
                    time,
                    ..Sights::default()
                },
                clock_synced,
                ..Facts::default()
            };
            let points = policy.points();
            let point = points
                .iter()
                .find(|point| point.id.item() == item)
                .expect("a point");
            said(&super::time(point, rule, &facts))
        };
        let good = || Some(tracking("ntp.example.net", "-0.0036"));
        assert_eq!(
            find("sources", good(), true),
            ("asks ntp.example.net".into(), Standing::Holds)
        );
        assert_eq!(find("error", good(), true), ("4 ms".into(), Standing::Holds));
        assert_eq!(find("error", good(), false).1, Standing::Drifted);
        let other = || Some(tracking("time.example.com", "0.7"));
        assert_eq!(find("sources", other(), true).1, Standing::Drifted);
        assert_eq!(find("error", other(), true), ("700 ms".into(), Standing::Drifted));
        let off = timing::systemd(&seen, "NTP=no\nNTPSynchronized=no\n", None);
        assert_eq!(find("sources", Some(off), true).1, Standing::Drifted);
        assert!(matches!(
            find("sources", None, true).1,
            Standing::NotEnforceableHere(_)
        ));
        assert!(matches!(
            find("error", None, true).1,
            Standing::NotEnforceableHere(_)
        ));
    }
}
